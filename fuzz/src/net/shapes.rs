//! Shapes that are computed, as exporters write them.

use rimlight::graph::Definition;
use rimlight::{ElementType, Tensor};

use super::Grid;
use super::draw::Draw;

pub fn computed(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(&[4, 3, 2]);
    let (shape, grid) = (d.shape_of(x), d.grid(x));
    let small = Some(Grid { unit: 0, top: 10 });
    let of = d.node(Definition::new("Shape"), &[x], small)?;
    match d.below(5) {
        0 | 1 => {
            // Reshape to the first dimension and whatever is left.
            let at = d.below(shape.len()) as i64;
            let at = d.parameter(Tensor::scalar(at));
            let first = d.node(Definition::new("Gather").attribute("axis", 0i64), &[of, at], small)?;
            let axes = d.list(vec![0]);
            let first = d.node(Definition::new("Unsqueeze"), &[first, axes], small)?;
            if shape.contains(&0) {
                return None;
            }
            let rest = d.list(vec![-1]);
            let to = d.node(Definition::new("Concat").attribute("axis", 0i64), &[first, rest], small)?;
            d.node(Definition::new("Reshape"), &[x, to], grid)?;
        }
        2 => {
            let value = d.pick(&[0.0f32, 1.5]);
            let definition = Definition::new("ConstantOfShape").attribute("value", Tensor::vector(vec![value]));
            let filled = d.node(definition, &[of], Some(Grid { unit: 1, top: 1 }))?;
            let grid = grid.map(|grid| grid.with(Grid { unit: 1, top: 1 }).higher(1));
            d.node(Definition::new("Add"), &[x, filled], grid)?;
        }
        3 => {
            // Half of the last dimension.
            let (start, end) = (d.list(vec![-1]), d.list(vec![i64::MAX]));
            let last = d.node(Definition::new("Slice"), &[of, start, end], small)?;
            let two = d.list(vec![2]);
            let half = d.node(Definition::new("Div"), &[last, two], small)?;
            let (zero, axis) = (d.list(vec![0]), d.list(vec![-1]));
            d.node(Definition::new("Slice"), &[x, zero, half, axis], grid)?;
        }
        _ => {
            let one = d.weights(&vec![1; shape.len()]);
            d.node(Definition::new("Expand"), &[one, of], d.grid(one))?;
            let to = i64::from(ElementType::F32.data_type());
            d.node(Definition::new("Cast").attribute("to", to), &[of], small)?;
        }
    }
    Some(())
}
