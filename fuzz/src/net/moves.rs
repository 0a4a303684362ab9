//! What moves elements and leaves them as they are.

use rimlight::Tensor;
use rimlight::graph::Definition;

use super::draw::{Draw, Kind, filled};
use super::elementwise::RANKS;

/// The same elements in another shape or order.
pub fn shuffle(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(if d.kind == Kind::Any { &RANKS } else { &[4, 2] });
    let (shape, grid) = (d.shape_of(x), d.grid(x));
    let rank = shape.len();
    match d.below(if d.kind == Kind::Any { 9 } else { 3 }) {
        0 => {
            let mut perm: Vec<i64> = (0..rank as i64).collect();
            if d.kind == Kind::FewKernels {
                perm.reverse();
            } else {
                for i in (1..rank).rev() {
                    perm.swap(i, d.below(i + 1));
                }
            }
            d.node(Definition::new("Transpose").attribute("perm", perm), &[x], grid)?;
        }
        1 => {
            // Neighbours joined, or one set free.
            let mut to: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
            if rank >= 2 && d.flip() {
                let at = d.below(rank - 1);
                to[at] *= to.remove(at + 1);
            }
            if !shape.contains(&0) && !to.is_empty() && d.flip() {
                let at = d.below(to.len());
                to[at] = -1;
            }
            let allowzero = i64::from(shape.contains(&0));
            let to = d.list(to);
            d.node(Definition::new("Reshape").attribute("allowzero", allowzero), &[x, to], grid)?;
        }
        2 => {
            let mut inputs = vec![x];
            let axis = d.axis(rank.max(1));
            for _ in 0..=d.below(2) {
                inputs.push(if d.flip() { x } else { d.weights(&shape) });
            }
            let grid = inputs.iter().map(|&i| d.grid(i)).reduce(|a, b| a.zip(b).map(|(a, b)| a.with(b)))?;
            d.node(Definition::new("Concat").attribute("axis", axis), &inputs, grid)?;
        }
        3 => {
            let axis = d.within(0, rank as i64);
            d.node(Definition::new("Flatten").attribute("axis", axis), &[x], grid)?;
        }
        4 => {
            let at = d.within(0, rank as i64);
            let axes = d.list(vec![at]);
            d.node(Definition::new("Unsqueeze"), &[x, axes], grid)?;
        }
        5 => {
            let ones: Vec<i64> = (0..rank).filter(|&i| shape[i] == 1).map(|i| i as i64).collect();
            let axes = d.list(ones);
            d.node(Definition::new("Squeeze"), &[x, axes], grid)?;
        }
        6 => {
            let deep = d.flip();
            let name = if deep { "DepthToSpace" } else { "SpaceToDepth" };
            let mut definition = Definition::new(name).attribute("blocksize", 2i64);
            if deep {
                definition = definition.attribute("mode", d.pick(&["DCR", "CRD"]));
            }
            d.node(definition, &[x], grid)?;
        }
        7 => {
            let definition = Definition::new("Trilu").attribute("upper", d.flag());
            d.node(definition, &[x], grid)?;
        }
        _ => {
            let name = d.pick(&["Identity", "Dropout"]);
            d.node(Definition::new(name), &[x], grid)?;
        }
    }
    Some(())
}

/// A part of a value, or more than it.
pub fn part(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(&[4, 3, 2, 1]);
    let (shape, grid) = (d.shape_of(x), d.grid(x));
    let rank = shape.len();
    match d.below(6) {
        0 | 1 => {
            let axes: Vec<i64> = (0..rank as i64).filter(|_| d.flip()).collect();
            let step: Vec<i64> = axes.iter().map(|_| d.pick(&[1, 1, 2, -1, -2, 3])).collect();
            let starts = axes
                .iter()
                .zip(&step)
                .map(|(_, &s)| if s > 0 { d.within(-3, 3) } else { d.pick(&[-1, 5, 100]) })
                .collect();
            let ends = step
                .iter()
                .map(|&s| if s > 0 { d.pick(&[i64::MAX, 2, -1, 7]) } else { d.pick(&[i64::MIN, 0, -4]) })
                .collect();
            let inputs = [x, d.list(starts), d.list(ends), d.list(axes), d.list(step)];
            d.node(Definition::new("Slice"), &inputs, grid)?;
        }
        2 => {
            let axis = d.below(rank);
            let first = d.below(shape[axis] + 1) as i64;
            let sizes = d.list(vec![first, shape[axis] as i64 - first]);
            let definition = Definition::new("Split").attribute("axis", axis as i64);
            d.nodes(definition, &[Some(x), Some(sizes)], &[grid, grid])?;
        }
        3 => {
            let mode = d.pick(&["constant", "reflect", "edge", "wrap"]);
            let least = if mode == "constant" { -1 } else { 0 };
            let pads: Vec<i64> =
                (0..2 * rank).map(|i| if shape[i % rank] > 2 { d.within(least, 2) } else { 0 }).collect();
            let pads = d.list(pads);
            d.node(Definition::new("Pad").attribute("mode", mode), &[x, pads], grid)?;
        }
        4 => {
            let repeats: Vec<i64> = (0..rank).map(|_| d.within(1, 2)).collect();
            let repeats = d.list(repeats);
            d.node(Definition::new("Tile"), &[x, repeats], grid)?;
        }
        _ => {
            let mut to: Vec<i64> = shape.iter().map(|&n| if n == 1 { d.within(1, 4) } else { n as i64 }).collect();
            if d.flip() {
                to.insert(0, d.within(1, 3));
            }
            let to = d.list(to);
            d.node(Definition::new("Expand"), &[x, to], grid)?;
        }
    }
    Some(())
}

/// Elements by their indices.
pub fn gather(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(&[2, 3, 1, 4]);
    let (shape, grid) = (d.shape_of(x), d.grid(x));
    let axis = d.below(shape.len());
    let size = shape[axis] as i64;
    if size == 0 {
        return None;
    }
    let seed = d.below(64);
    // From either end.
    let index = move |i: usize| (i * 7 + seed) as i64 % (2 * size) - size;
    let known = |d: &mut Draw<'_, '_>, tensor: Tensor| {
        if d.flip() { d.parameter(tensor) } else { d.given(tensor, super::Grid::SMALL) }
    };
    match d.below(5) {
        0 | 1 => {
            let of: &[usize] = d.pick(&[&[], &[1], &[3], &[2, 2]]);
            let indices = known(d, filled(of, index));
            d.node(Definition::new("Gather").attribute("axis", axis as i64), &[x, indices], grid)?;
        }
        2 => {
            let indices = known(d, filled(&shape, index));
            d.node(Definition::new("GatherElements").attribute("axis", axis as i64), &[x, indices], grid)?;
        }
        3 => {
            // Each place once, so that the order does not matter.
            let line = |i: usize| {
                let inner: usize = shape[axis + 1..].iter().product();
                (i / inner.max(1)) as i64 % size
            };
            let indices = known(d, filled(&shape, line));
            let updates = d.weights(&shape);
            let grid = grid.zip(d.grid(updates)).map(|(a, b)| a.with(b));
            d.node(Definition::new("ScatterElements").attribute("axis", axis as i64), &[x, indices, updates], grid)?;
        }
        _ => {
            let first = shape[0].max(1) as i64;
            let indices = known(d, filled(&[3, 1], move |i| (i * 5 + seed) as i64 % first));
            d.node(Definition::new("GatherND"), &[x, indices], grid)?;
        }
    }
    Some(())
}

/// Pictures of another size.
pub fn resize(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(&[4]);
    let (shape, grid) = (d.shape_of(x), d.grid(x));
    let mode = d.pick(&["nearest", "linear"]);
    let transform = d.pick(&["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]);
    let definition =
        Definition::new("Resize").attribute("mode", mode).attribute("coordinate_transformation_mode", transform);
    let definition = if mode == "nearest" { definition.attribute("nearest_mode", "floor") } else { definition };
    // Powers of two are exact, and so are the places that they give.
    let scales: Vec<f32> =
        shape.iter().enumerate().map(|(i, _)| if i < 2 { 1.0 } else { d.pick(&[1.0, 2.0, 0.5]) }).collect();
    let scales = d.parameter(Tensor::vector(scales));
    d.nodes(definition, &[Some(x), None, Some(scales)], &[grid.filter(|_| mode == "nearest")])?;
    Some(())
}
