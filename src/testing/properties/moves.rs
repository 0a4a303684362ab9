//! Operators that put elements elsewhere: elements of every size.

use super::draw::*;
use super::{Case, Drawing, Entry, entry};
use crate::tensor::Tensor;
use crate::tensor::shape::elements;

fn transpose(d: &mut Draw) -> Case {
    let shape = d.shape(0..=6);
    let perm = d.permutation(shape.len());
    let given = d.flip().then_some(perm);
    d.case().maybe("perm", given).run(d.any(&shape))
}

fn concat(d: &mut Draw) -> Case {
    let mut shape = d.shape(1..=4);
    let axis = d.axis(shape.len());
    let at = front(axis, shape.len());
    let mut case = d.case().attribute("axis", axis);
    for _ in 0..d.within(1..=5) {
        shape[at] = if d.random.one_in(8) { 0 } else { d.within(1..=9) };
        let part = d.any(&shape);
        case = case.input(d.input(part));
    }
    case
}

fn front(axis: i64, rank: usize) -> usize {
    axis.rem_euclid(rank as i64) as usize
}

fn slice(d: &mut Draw) -> Case {
    let shape = d.shape(1..=4);
    let axes = d.axes(shape.len());
    let mut bounds = [(); 3].map(|()| vec![]);
    for &axis in &axes {
        let size = shape[front(axis, shape.len())] as i64;
        // Bounds beyond either end are brought to it.
        let mut bound =
            || if d.random.one_in(6) { d.pick(&[i64::MIN, i64::MAX]) } else { d.integer(-size - 1..=size + 1) };
        let (start, end) = (bound(), bound());
        let step = if d.random.one_in(12) { d.pick(&[i64::MAX, -i64::MAX]) } else { d.pick(&[1, 1, 2, 3, -1, -2]) };
        for (list, value) in bounds.iter_mut().zip([start, end, step]) {
            list.push(value);
        }
    }
    let [starts, ends, steps] = bounds;
    let x = d.any(&shape);
    if d.random.one_in(4) {
        // Before operator set 10 they were attributes, and there were no steps.
        return d.case().opset(9).attribute("axes", axes).attribute("starts", starts).attribute("ends", ends).run(x);
    }
    d.case().run(x).list(starts).list(ends).list(axes).list(steps)
}

fn split(d: &mut Draw) -> Case {
    let shape = d.shape(1..=4);
    let axis = d.axis(shape.len());
    let size = shape[front(axis, shape.len())];
    let case = d.case().attribute("axis", axis);
    if d.flip() {
        let (mut sizes, mut left) = (vec![], size);
        for _ in 0..d.below(4) {
            let part = d.within(0..=left);
            sizes.push(part as i64);
            left -= part;
        }
        sizes.push(left as i64);
        return case.outputs(sizes.len()).run(d.any(&shape)).list(sizes);
    }
    // Equal parts, but for the last.
    let parts = d.within(1..=3);
    let parts = if size.div_ceil(parts) * (parts - 1) <= size { parts } else { 1 };
    case.outputs(parts).attribute("num_outputs", parts as i64).run(d.any(&shape))
}

fn pad(d: &mut Draw) -> Case {
    let mode = d.pick(&["constant", "reflect", "edge", "wrap"]);
    // Of nothing there is nothing to repeat.
    let shape = if mode == "constant" { d.shape(1..=4) } else { d.full(1..=4) };
    let axes = d.axes(shape.len());
    let mut amounts = [vec![], vec![]];
    for &axis in &axes {
        let size = shape[front(axis, shape.len())] as i64;
        // A border is not repeated by its mirror image, and nothing is left of what is cut away.
        let most = if mode == "constant" { 5 } else { (size - 1).min(5) };
        // Nor does a kernel make something of nothing.
        let most = if size == 0 || shape.contains(&0) { 0 } else { most };
        let (before, after) = (d.integer(0..=most), d.integer(0..=most));
        let cut = if d.random.one_in(4) { -d.integer(0..=(size - 1).clamp(0, 2)) } else { before };
        amounts[0].push(cut);
        amounts[1].push(after);
    }
    let case = d.case().attribute("mode", mode).run(d.any(&shape)).list(amounts.concat());
    let value = d.any(&[]);
    let case = if mode == "constant" && d.flip() { case.constant(value) } else { case.missing() };
    case.list(axes)
}

fn expand(d: &mut Draw) -> Case {
    let shape = d.shape(0..=4);
    let own = d.broadcast(&shape);
    let x = d.any(&own);
    d.case().run(x).list(shape.into_iter().map(|n| n as i64).collect())
}

fn tile(d: &mut Draw) -> Case {
    let shape = d.shape(0..=4);
    let mut most = 3000 / elements(&shape).unwrap().max(1);
    let mut repeats = vec![];
    for _ in &shape {
        let times = if d.random.one_in(12) { 0 } else { d.within(1..=most.clamp(1, 3)) };
        most /= times.max(1);
        repeats.push(times as i64);
    }
    d.case().run(d.any(&shape)).list(repeats)
}

/// A shape whose dimension at an axis is not 0, and the axis.
fn indexed(d: &mut Draw, rank: std::ops::RangeInclusive<usize>) -> (Vec<usize>, i64, usize) {
    let mut shape = d.shape(rank);
    let axis = d.axis(shape.len());
    let at = front(axis, shape.len());
    shape[at] = shape[at].max(1);
    (shape, axis, at)
}

fn gather(d: &mut Draw) -> Case {
    let (shape, axis, at) = indexed(d, 1..=4);
    let chosen = match d.below(4) {
        0 => vec![],
        1 => vec![d.size(), d.within(1..=3)],
        _ => vec![d.size()],
    };
    let places = d.places(&chosen, shape[at]);
    let places = d.input(places);
    d.case().attribute("axis", axis).run(d.any(&shape)).input(places)
}

fn gather_elements(d: &mut Draw) -> Case {
    let (shape, axis, at) = indexed(d, 1..=4);
    let mut wanted: Vec<usize> = shape.iter().map(|&n| if d.flip() { n } else { n.div_ceil(2) }).collect();
    wanted[at] = d.within(0..=9);
    let places = d.places(&wanted, shape[at]);
    let places = d.input(places);
    d.case().attribute("axis", axis).run(d.any(&shape)).input(places)
}

/// Tuples of indices into the dimensions of a shape from `shared` on.
fn tuples(d: &mut Draw, shape: &[usize], (head, shared, taken): (&[usize], usize, usize)) -> Tensor {
    let count = elements(head).unwrap();
    let mut indices = vec![];
    for _ in 0..count {
        for &size in &shape[shared..shared + taken] {
            let size = size as i64;
            indices.push(d.integer(-size..=size - 1));
        }
    }
    let shape = [head, &[taken]].concat();
    // Of 32 bits the standard takes none here.
    Tensor::new(shape, indices).unwrap()
}

fn gather_nd(d: &mut Draw) -> Case {
    let shape = d.full(1..=4);
    let shared = d.below(shape.len());
    let taken = d.within(1..=shape.len() - shared);
    let mut head = shape[..shared].to_vec();
    for _ in 0..d.within(0..=2) {
        head.push(if d.random.one_in(8) { 0 } else { d.within(1..=4) });
    }
    let indices = tuples(d, &shape, (&head, shared, taken));
    let indices = d.input(indices);
    d.case().attribute("batch_dims", shared as i64).run(d.any(&shape)).input(indices)
}

/// How updates meet what is there, and numbers for which the order does not matter to the last bit.
fn reduction(d: &mut Draw, case: Case) -> (Case, bool) {
    if !NUMBERS.contains(&d.element_type) || d.flip() {
        return (case, false);
    }
    (case.attribute("reduction", d.pick(&["add", "mul", "min", "max"])), true)
}

fn scatter_nd(d: &mut Draw) -> Case {
    let shape = d.full(1..=4);
    let taken = d.within(1..=shape.len());
    let head: Vec<usize> = (0..d.within(0..=2)).map(|_| d.within(0..=3)).collect();
    let indices = tuples(d, &shape, (&head, 0, taken));
    let (indices, updates) = (d.input(indices), [&head, &shape[taken..]].concat());
    let (case, reduces) = reduction(d, d.case());
    let mut values = |shape: &[usize]| if reduces { d.whole(shape, -2, 2) } else { d.any(shape) };
    let (x, updates) = (values(&shape), values(&updates));
    case.run(x).input(indices).run(updates)
}

fn scatter(d: &mut Draw) -> Case {
    let (shape, axis, at) = indexed(d, 1..=4);
    let mut wanted: Vec<usize> = shape.iter().map(|&n| if d.flip() { n } else { n.div_ceil(2) }).collect();
    wanted[at] = d.within(0..=5);
    let places = d.places(&wanted, shape[at]);
    let places = d.input(places);
    let case = d.case().attribute("axis", axis);
    let (case, reduces) = if d.name() == "Scatter" { (case.opset(9), false) } else { reduction(d, case) };
    let mut values = |shape: &[usize]| if reduces { d.whole(shape, -2, 2) } else { d.any(shape) };
    let (x, updates) = (values(&shape), values(&wanted));
    case.run(x).input(places).run(updates)
}

fn reshape(d: &mut Draw) -> Case {
    let shape = d.shape(0..=4);
    let n = elements(&shape).unwrap() as i64;
    let wanted = match d.below(3) {
        // The same dimensions elsewhere.
        0 => d.permutation(shape.len()).into_iter().map(|at| shape[at as usize] as i64).collect(),
        1 if n > 0 => vec![1, -1],
        1 => vec![3, 0],
        // 0 is the input's own.
        _ if n > 0 => shape.iter().map(|_| 0).collect(),
        _ => shape.iter().map(|&n| n as i64).collect(),
    };
    let case = if n == 0 { d.case().attribute("allowzero", 1) } else { d.case() };
    case.run(d.any(&shape)).list(wanted)
}

fn flatten(d: &mut Draw) -> Case {
    let shape = d.shape(0..=4);
    let rank = shape.len() as i64;
    d.case().attribute("axis", d.integer(-rank..=rank)).run(d.any(&shape))
}

fn squeeze(d: &mut Draw) -> Case {
    let mut shape = d.shape(0..=4);
    let axes = d.axes(shape.len());
    if d.flip() {
        return d.case().run(d.any(&shape));
    }
    for &axis in &axes {
        let at = front(axis, shape.len());
        shape[at] = 1;
    }
    d.case().run(d.any(&shape)).list(axes)
}

fn unsqueeze(d: &mut Draw) -> Case {
    let shape = d.shape(0..=3);
    let added = d.within(0..=2);
    let rank = shape.len() + added;
    let mut axes = d.permutation(rank);
    axes.truncate(added);
    let axes = axes.into_iter().map(|at| if d.flip() { at } else { at - rank as i64 }).collect();
    d.case().run(d.any(&shape)).list(axes)
}

fn blocks(d: &mut Draw) -> Case {
    let block = d.within(1..=3);
    let [n, c, h, w] = [d.size().min(2), d.up_to(9), d.up_to(7), d.up_to(9)];
    let case = d.case().attribute("blocksize", block as i64);
    if d.name() == "SpaceToDepth" {
        return case.run(d.any(&[n, c, h * block, w * block]));
    }
    case.attribute("mode", d.pick(&["DCR", "CRD"])).run(d.any(&[n, c * block * block, h, w]))
}

fn reverse_sequence(d: &mut Draw) -> Case {
    let shape = d.shape(2..=4);
    let batch_first = d.flip();
    let (time, batch) = if batch_first { (shape[1], shape[0]) } else { (shape[0], shape[1]) };
    let lengths: Vec<i64> = (0..batch).map(|_| d.within(0..=time) as i64).collect();
    let lengths = d.input(Tensor::vector(lengths));
    let (time_axis, batch_axis) = if batch_first { (1, 0) } else { (0, 1) };
    let case = d.case().attribute("time_axis", time_axis).attribute("batch_axis", batch_axis);
    case.run(d.any(&shape)).input(lengths)
}

fn one_hot(d: &mut Draw) -> Case {
    let shape = d.shape(0..=3);
    let depth = d.within(1..=9) as i64;
    // What is out of range is nowhere on, be it beyond 32 bits.
    let n = elements(&shape).unwrap();
    let mut index = || if d.random.one_in(10) { d.pick(&[1 << 40, i64::MIN]) } else { d.integer(-depth - 1..=depth) };
    let indices: Vec<i64> = (0..n).map(|_| index()).collect();
    let indices = Tensor::new(shape.clone(), indices).unwrap();
    let (axis, values) = (d.axis(shape.len() + 1), d.any(&[2]));
    let values = d.input(values);
    d.case().attribute("axis", axis).run(indices).constant(Tensor::scalar(depth)).input(values)
}

fn eye_like(d: &mut Draw) -> Case {
    let shape = d.shape(2..=2);
    let case = d.case().attribute("k", d.integer(-9..=9)).run(d.any(&shape));
    if d.flip() { case.attribute("dtype", i64::from(d.pick(ALL).data_type())) } else { case }
}

fn triangle(d: &mut Draw) -> Case {
    let shape = d.shape(2..=4);
    let case = d.case().attribute("upper", d.flag()).run(d.any(&shape));
    let diagonal = if d.random.one_in(8) { d.pick(&[i64::MIN, i64::MAX]) } else { d.integer(-9..=9) };
    if d.flip() { case.constant(Tensor::scalar(diagonal)) } else { case }
}

fn tensor_scatter(d: &mut Draw) -> Case {
    let mut shape = d.shape(3..=4);
    let at = d.within(1..=shape.len() - 1);
    shape[at] = shape[at].max(1);
    let mut new = shape.clone();
    new[at] = d.within(0..=shape[at]);
    let circular = d.flip();
    let last = if circular { shape[at] - 1 } else { shape[at] - new[at] };
    let starts: Vec<i64> = (0..shape[0]).map(|_| d.within(0..=last) as i64).collect();
    let axis = if d.flip() { at as i64 } else { at as i64 - shape.len() as i64 };
    let (x, update) = (d.any(&shape), d.any(&new));
    let case = d.case().attribute("axis", axis).attribute("mode", if circular { "circular" } else { "linear" });
    let case = case.run(x).run(update);
    if d.random.one_in(4) { case } else { case.input(d.input(Tensor::vector(starts))) }
}

fn center_crop_pad(d: &mut Draw) -> Case {
    let shape = d.shape(1..=4);
    let axes = d.axes(shape.len());
    if d.flip() {
        // No kernel makes something of nothing.
        let most = if shape.contains(&0) { 0 } else { 9 };
        let sizes = axes.iter().map(|_| d.within(0..=most) as i64).collect();
        return d.case().attribute("axes", axes).run(d.any(&shape)).list(sizes);
    }
    let most = if shape.contains(&0) { 0 } else { 6 };
    let sizes = shape.iter().map(|_| d.within(0..=most) as i64).collect();
    d.case().run(d.any(&shape)).list(sizes)
}

fn constant_of_shape(d: &mut Draw) -> Case {
    let shape = d.shape(0..=4);
    let value = d.any(&[1]);
    let shape = shape.into_iter().map(|n| n as i64).collect();
    d.case().attribute("value", value).list(shape)
}

pub fn entries() -> Vec<Entry> {
    let moves: [(&'static str, Drawing); 24] = [
        ("CenterCropPad", center_crop_pad),
        ("Concat", concat),
        ("ConstantOfShape", constant_of_shape),
        ("DepthToSpace", blocks),
        ("Expand", expand),
        ("EyeLike", eye_like),
        ("Flatten", flatten),
        ("Gather", gather),
        ("GatherElements", gather_elements),
        ("GatherND", gather_nd),
        ("OneHot", one_hot),
        ("Pad", pad),
        ("Reshape", reshape),
        ("ReverseSequence", reverse_sequence),
        ("Scatter", scatter),
        ("ScatterElements", scatter),
        ("ScatterND", scatter_nd),
        ("Slice", slice),
        ("SpaceToDepth", blocks),
        ("Split", split),
        ("Squeeze", squeeze),
        ("Tile", tile),
        ("Transpose", transpose),
        ("Trilu", triangle),
    ];
    let mut entries: Vec<Entry> = moves.into_iter().map(|(name, draw)| entry(name, ALL, draw)).collect();
    entries.extend([entry("Unsqueeze", ALL, unsqueeze), entry("TensorScatter", ALL, tensor_scatter)]);
    entries
}
