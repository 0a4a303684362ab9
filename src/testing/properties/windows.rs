//! What moves a window over a picture: convolutions and pools, and what reads pictures between their elements.

use super::draw::*;
use super::{Case, Drawing, Entry, entry};
use crate::tensor::shape::elements;
use crate::tensor::{ElementType, Tensor};
use crate::testing::Tolerance;

/// One axis of a window.
struct Axis {
    size: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    pads: (usize, usize),
}

impl Axis {
    /// Elements from the first tap to the last.
    const fn reach(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// Places of the window.
    const fn places(&self) -> usize {
        (self.size + self.pads.0 + self.pads.1 - self.reach()) / self.stride + 1
    }
}

/// One to three axes over which windows of up to `kernel` elements fit; a pool's padding is less than the window.
fn axes(d: &mut Draw, kernel: usize, pool: bool) -> Vec<Axis> {
    let rank = d.pick(&[1, 2, 2, 2, 3]);
    let most = if rank == 3 { 7 } else { 13 };
    let mut axis = |_| {
        let (size, kernel, stride, dilation) = (d.up_to(most), d.within(1..=kernel), d.within(1..=3), d.within(1..=2));
        let pads = if pool { kernel - 1 } else { 2 };
        let pads = (d.within(0..=pads), d.within(0..=pads));
        let mut axis = Axis { size, kernel, stride, dilation, pads };
        axis.size = size.max(axis.reach().saturating_sub(pads.0 + pads.1)).max(1);
        axis
    };
    (0..rank).map(&mut axis).collect()
}

fn list(axes: &[Axis], f: impl Fn(&Axis) -> usize) -> Vec<i64> {
    axes.iter().map(|axis| f(axis) as i64).collect()
}

fn sizes(first: [usize; 2], axes: &[Axis], f: impl Fn(&Axis) -> usize) -> Vec<usize> {
    first.into_iter().chain(axes.iter().map(f)).collect()
}

/// Strides, dilations and padding, which may be left to the operator.
fn window(d: &mut Draw, case: Case, axes: &[Axis]) -> Case {
    let case = case.attribute("strides", list(axes, |a| a.stride)).attribute("dilations", list(axes, |a| a.dilation));
    if d.random.one_in(5) {
        return case.attribute("auto_pad", d.pick(&["SAME_UPPER", "SAME_LOWER"]));
    }
    case.attribute("pads", [list(axes, |a| a.pads.0), list(axes, |a| a.pads.1)].concat())
}

/// Sums of so many products up to 1: 1e-6 for each is several times what rounding makes of random signs.
fn of_terms(terms: usize) -> Tolerance {
    Tolerance { absolute: 1e-6 * (terms + 1) as f32, relative: 2e-6 }
}

/// The number of pictures.
fn pictures(d: &mut Draw) -> usize {
    d.size().min(2)
}

/// Weights are mostly known before a run.
fn weights(d: &mut Draw, case: Case, shapes: &[Vec<usize>]) -> Case {
    let known = !d.random.one_in(3);
    shapes.iter().fold(case, |case, shape| {
        let tensor = d.floats(shape, -1.0, 1.0);
        if known { case.constant(tensor) } else { case.run(tensor) }
    })
}

/// As many channels as Winograd's way asks for.
fn dense(d: &mut Draw) -> Case {
    let (inputs, outputs) = (d.within(64..=66), d.within(64..=66));
    let x = [1, inputs, d.within(7..=9), d.within(7..=9)];
    let terms = 9 * inputs;
    // Weights in 16 bits are rounded at the points: 1e-4 in the root mean square for each product, six times that for the sum.
    let in_half = Tolerance { absolute: 6e-4 * (terms as f32).sqrt(), ..of_terms(terms).half() };
    let case = d.case().attribute("pads", vec![1i64; 4]).within(of_terms(terms)).within_in_half(in_half);
    let case = case.run(d.floats(&x, -1.0, 1.0));
    weights(d, case, &[vec![outputs, inputs, 3, 3], vec![outputs]])
}

fn convolution(d: &mut Draw) -> Case {
    if d.random.one_in(24) {
        return dense(d);
    }
    let axes = axes(d, 4, false);
    let (groups, inputs, outputs) = match d.below(4) {
        // Each channel for itself.
        0 => (d.up_to(9), 1, 1),
        1 => (d.within(2..=3), d.up_to(5), d.up_to(5)),
        _ => (1, d.up_to(9), d.up_to(13)),
    };
    let x = sizes([pictures(d), groups * inputs], &axes, |a| a.size);
    let w = sizes([groups * outputs, inputs], &axes, |a| a.kernel);
    let terms = elements(&w[1..]).unwrap();
    let case = d.case().attribute("group", groups as i64);
    let case = window(d, case, &axes).run(d.floats(&x, -1.0, 1.0)).within(of_terms(terms));
    let bias = vec![groups * outputs];
    if d.flip() { weights(d, case, &[w, bias]) } else { weights(d, case, &[w]) }
}

fn transposed(d: &mut Draw) -> Case {
    let mut axes = axes(d, 4, false);
    for axis in &mut axes {
        axis.size = axis.size.min(6);
        // Something is left of each dimension.
        axis.pads =
            if (axis.size - 1) * axis.stride + axis.reach() > 2 { (d.within(0..=1), d.within(0..=1)) } else { (0, 0) };
    }
    let (groups, inputs, outputs) = (d.up_to(3), d.up_to(5), d.up_to(5));
    let x = sizes([pictures(d), groups * inputs], &axes, |a| a.size);
    let w = sizes([groups * inputs, outputs], &axes, |a| a.kernel);
    let terms = inputs * axes.iter().map(|a| a.kernel).product::<usize>();
    let case = d.case().attribute("group", groups as i64);
    let case = match d.flip() {
        true => case.attribute("output_padding", list(&axes, |a| a.stride - 1)),
        false => case,
    };
    let case = window(d, case, &axes).run(d.floats(&x, -1.0, 1.0)).within(of_terms(terms));
    let bias = vec![groups * outputs];
    if d.flip() { weights(d, case, &[w, bias]) } else { weights(d, case, &[w]) }
}

fn deformed(d: &mut Draw) -> Case {
    let mut axes = axes(d, 3, true);
    for axis in &mut axes {
        axis.size = axis.size.min(7).max(axis.reach());
    }
    let (groups, inputs, outputs, moved) = (d.within(1..=2), d.within(1..=2), d.up_to(3), d.within(1..=2));
    let channels = groups * inputs * moved;
    let taps: usize = axes.iter().map(|a| a.kernel).product();
    let n = pictures(d);
    let x = sizes([n, channels], &axes, |a| a.size);
    let w = sizes([groups * outputs, channels / groups], &axes, |a| a.kernel);
    let offsets = sizes([n, moved * taps * axes.len()], &axes, Axis::places);
    let mask = sizes([n, moved * taps], &axes, Axis::places);
    let terms = elements(&w[1..]).unwrap();
    let case = d.case().attribute("group", groups as i64).attribute("offset_group", moved as i64);
    let case = case.attribute("strides", list(&axes, |a| a.stride)).attribute("dilations", list(&axes, |a| a.dilation));
    let case = case.attribute("pads", [list(&axes, |a| a.pads.0), list(&axes, |a| a.pads.1)].concat());
    let case = case.run(d.floats(&x, -1.0, 1.0)).constant(d.floats(&w, -1.0, 1.0));
    let case = case.run(d.floats(&offsets, -2.5, 2.5));
    let case = if d.flip() { case.constant(d.floats(&[groups * outputs], -1.0, 1.0)) } else { case.missing() };
    let case = if d.flip() { case.run(d.floats(&mask, -1.0, 1.0)) } else { case };
    // Places up to 10 are off by 2⁻²⁰, between neighbours that differ by up to 2.
    case.within(Tolerance { absolute: 4e-6 * (terms + 1) as f32, relative: 1e-5 })
}

fn pool(d: &mut Draw) -> Case {
    let axes = axes(d, 4, true);
    let x = sizes([pictures(d), d.up_to(9)], &axes, |a| a.size);
    let case = d.case().attribute("kernel_shape", list(&axes, |a| a.kernel)).attribute("ceil_mode", d.flag());
    let case = window(d, case, &axes);
    match d.name() {
        "MaxPool" => {
            let case = case.outputs(d.within(1..=2)).attribute("storage_order", d.flag());
            // Few values: the first of equals is meant.
            case.run(if d.flip() { d.whole(&x, -4, 4) } else { d.floats(&x, -100.0, 100.0) })
        }
        "AveragePool" => {
            let case = case.attribute("count_include_pad", d.flag());
            // A mean of at most 64 values.
            case.run(d.floats(&x, -1.0, 1.0)).within(Tolerance::relative(1e-6))
        }
        // Powers by exponential and logarithm: a few 2⁻²⁴ times ln(1009), and once more for the root.
        _ => case.attribute("p", d.integer(1..=4)).run(d.floats(&x, -1.0, 1.0)).within(Tolerance::relative(1e-5)),
    }
}

fn global(d: &mut Draw) -> Case {
    let axes = axes(d, 1, false);
    let x = sizes([pictures(d), d.up_to(9)], &axes, |a| a.size);
    let case = if d.name() == "GlobalLpPool" { d.case().attribute("p", d.integer(1..=3)) } else { d.case() };
    let x = d.floats(&x, -1.0, 1.0);
    // Sums of at most 343 values up to 1.
    case.run(x).within(if d.name() == "GlobalMaxPool" { Tolerance::EXACT } else { Tolerance::relative(1e-5) })
}

fn unpool(d: &mut Draw) -> Case {
    let mut axes = axes(d, 3, true);
    for axis in &mut axes {
        (axis.size, axis.dilation, axis.pads) = (axis.size.min(4), 1, (0, 0));
    }
    let (n, c) = (pictures(d), d.up_to(3));
    let x = sizes([n, c], &axes, |a| a.size);
    let whole = sizes([n, c], &axes, |a| (a.size - 1) * a.stride + a.kernel);
    let (count, places) = (elements(&x).unwrap(), elements(&whole).unwrap());
    // Some places have several maxima.
    let indices: Vec<i64> = (0..count).map(|_| d.below(places) as i64).collect();
    let case =
        d.case().attribute("kernel_shape", list(&axes, |a| a.kernel)).attribute("strides", list(&axes, |a| a.stride));
    let case = case.run(d.any(&x)).run(Tensor::new(x, indices).unwrap());
    if d.flip() {
        return case;
    }
    let larger = whole.iter().enumerate().map(|(i, &n)| (n + if i > 1 { d.below(3) } else { 0 }) as i64).collect();
    case.list(larger)
}

fn blocks_to_picture(d: &mut Draw) -> Case {
    let mut axes = axes(d, 4, false);
    for axis in &mut axes {
        axis.size = axis.size.min(7);
        let (before, after) = axis.pads;
        axis.size = axis.size.max(axis.reach().saturating_sub(before + after)).max(1);
    }
    let taps: usize = axes.iter().map(|a| a.kernel).product();
    let blocks: usize = axes.iter().map(Axis::places).product();
    let x = [pictures(d), d.size().min(3) * taps, blocks];
    let case =
        d.case().attribute("strides", list(&axes, |a| a.stride)).attribute("dilations", list(&axes, |a| a.dilation));
    let case = case.attribute("pads", [list(&axes, |a| a.pads.0), list(&axes, |a| a.pads.1)].concat());
    let float = d.element_type.is_float();
    let case = case.run(d.summands(&x)).list(list(&axes, |a| a.size)).list(list(&axes, |a| a.kernel));
    // Sums of at most 64 numbers.
    case.within(if float { Tolerance::relative(4e-6) } else { Tolerance::EXACT })
}

/// Factors whose products with sizes are whole or far from it: next to one, two machines may round to either side.
const FACTORS: [f32; 7] = [1.0, 2.0, 3.0, 0.5, 1.75, 0.625, 1.375];

fn resize(d: &mut Draw) -> Case {
    let shape = [d.size().min(2), d.up_to(5), d.up_to(7), d.up_to(9)];
    let mode = d.pick(&["nearest", "linear", "cubic"]);
    let float = FLOATS.contains(&d.element_type);
    let x = if float { d.floats(&shape, -1.0, 1.0) } else { d.any(&shape) };
    let mode = if float { mode } else { "nearest" };
    let coordinates = d.pick(&[
        "half_pixel",
        "half_pixel_symmetric",
        "pytorch_half_pixel",
        "align_corners",
        "asymmetric",
        "tf_crop_and_resize",
    ]);
    let case = d
        .case()
        .attribute("mode", mode)
        .attribute("coordinate_transformation_mode", coordinates)
        .attribute("nearest_mode", d.pick(&["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]))
        .attribute("exclude_outside", d.flag())
        .attribute("antialias", d.flag())
        .attribute("extrapolation_value", 0.25f32)
        .run(x);
    let region = Tensor::vector(vec![0f32, 0.0, 0.125, -0.25, 1.0, 1.0, 0.75, 1.125]);
    let case = if coordinates == "tf_crop_and_resize" { case.constant(region) } else { case.missing() };
    let case = if d.flip() {
        case.constant(Tensor::vector(vec![1.0, 1.0, d.pick(&FACTORS), d.pick(&FACTORS)]))
    } else {
        let sizes = [shape[0], shape[1], d.within(1..=11), d.within(1..=11)];
        case.missing().list(sizes.iter().map(|&n| n as i64).collect())
    };
    // At most 8 taps of weights below 2 and values up to 1 along two axes.
    case.within(if mode == "nearest" { Tolerance::EXACT } else { Tolerance::relative(1e-5) })
}

fn upsample(d: &mut Draw) -> Case {
    let shape = [d.size().min(2), d.up_to(5), d.up_to(7), d.up_to(9)];
    let float = FLOATS.contains(&d.element_type);
    let mode = if float { d.pick(&["nearest", "linear"]) } else { "nearest" };
    let x = if float { d.floats(&shape, -1.0, 1.0) } else { d.any(&shape) };
    let factors = vec![1.0f32, 1.0, d.pick(&[1.0, 2.0, 3.0]), d.pick(&[1.0, 1.5, 2.0])];
    let case = d.case().opset(9).attribute("mode", mode).run(x).constant(Tensor::vector(factors));
    case.within(if mode == "nearest" { Tolerance::EXACT } else { Tolerance::relative(1e-5) })
}

fn grid_sample(d: &mut Draw) -> Case {
    let axes = axes(d, 1, false);
    let n = pictures(d);
    let x = sizes([n, d.up_to(3)], &axes, |a| a.size.min(7));
    let mut grid = vec![n];
    grid.extend((0..axes.len()).map(|_| d.within(1..=5)));
    grid.push(axes.len());
    let float = FLOATS.contains(&d.element_type);
    let mode = if float { d.pick(&["nearest", "linear", "cubic"]) } else { "nearest" };
    let x = if float { d.floats(&x, -1.0, 1.0) } else { d.any(&x) };
    let grid = d.numbers(F32, &grid, -1.7, 1.7);
    let case = d.case().attribute("mode", mode).attribute("padding_mode", d.pick(&["zeros", "border", "reflection"]));
    // A coordinate is off by a few 2⁻²⁴ of up to 8, and neighbours differ by up to 2 (3 in slopes of cubics); up to 64 terms.
    case.attribute("align_corners", d.flag()).run(x).run(grid).within(Tolerance { absolute: 3e-5, relative: 1e-5 })
}

fn affine_grid(d: &mut Draw) -> Case {
    let (n, rank) = (d.size().min(3), d.within(2..=3));
    let mut size = vec![n as i64, 3];
    size.extend((0..rank).map(|_| d.size().min(7) as i64));
    let theta = d.floats(&[n, rank, rank + 1], -1.0, 1.0);
    // Sums of four products of numbers up to 1.
    d.case().attribute("align_corners", d.flag()).run(theta).list(size).within(Tolerance::relative(1e-6))
}

/// Pictures and regions, whose corners are eighths: 16 bits hold them.
fn regions(d: &mut Draw) -> ([usize; 4], usize, Vec<[f64; 4]>) {
    let x = [d.up_to(2), d.size().min(3), d.up_to(9), d.up_to(9)];
    let count = d.size().min(4);
    let corners = (0..count).map(|_| [(); 4].map(|()| d.integer(-16..=96) as f64 / 8.0)).collect();
    (x, count, corners)
}

fn roi_align(d: &mut Draw) -> Case {
    let (x, count, corners) = regions(d);
    let case = d.case().attribute("output_height", d.integer(1..=4)).attribute("output_width", d.integer(1..=3));
    let case = case.attribute("mode", d.pick(&["avg", "max"])).attribute("sampling_ratio", d.integer(0..=3));
    let case = case.attribute("coordinate_transformation_mode", d.pick(&["half_pixel", "output_half_pixel"]));
    let images: Vec<i64> = (0..count).map(|_| d.below(x[0]) as i64).collect();
    let rois = Tensor::from_f64(d.element_type, [count, 4], corners.concat()).unwrap();
    let case = case.attribute("spatial_scale", 0.75f32).run(d.floats(&x, 0.0, 1.0)).run(rois);
    // Coordinates up to 20 are off by a few 2⁻²⁰, neighbours differ by up to 1.
    case.run(Tensor::vector(images)).within(Tolerance { absolute: 2e-5, relative: 1e-5 })
}

fn roi_pool(d: &mut Draw) -> Case {
    let (x, count, corners) = regions(d);
    let mut rois = vec![];
    for corners in corners {
        rois.push(d.below(x[0]) as f64);
        rois.extend(corners);
    }
    let rois = Tensor::from_f64(d.element_type, [count, 5], rois).unwrap();
    let case = d.case().attribute("pooled_shape", [d.integer(1..=4), d.integer(1..=3)]);
    case.attribute("spatial_scale", 0.5f32).run(d.floats(&x, 0.0, 1.0)).run(rois)
}

pub fn entries() -> Vec<Entry> {
    const RESIZED: &[ElementType] = &[F32, F16, BF16, I32, I16, U16, I8, U8, Bool];
    const UNPOOLED: &[ElementType] = &[F32, F16, BF16, F64, I64, I32, I16, I8, U64, U32, U16, U8, I4, U4];
    const POOLED: &[ElementType] = &[F32, F16, BF16, I8, U8];
    let all: [(&'static str, &'static [ElementType], Drawing); 18] = [
        ("AffineGrid", FLOATS, affine_grid),
        ("AveragePool", FLOATS, pool),
        ("Col2Im", COMPUTED, blocks_to_picture),
        ("Conv", FLOATS, convolution),
        ("ConvTranspose", FLOATS, transposed),
        ("DeformConv", FLOATS, deformed),
        ("GlobalAveragePool", FLOATS, global),
        ("GlobalLpPool", FLOATS, global),
        ("GlobalMaxPool", POOLED, global),
        ("GridSample", ALL, grid_sample),
        ("LpPool", FLOATS, pool),
        ("MaxPool", POOLED, pool),
        ("MaxRoiPool", FLOATS, roi_pool),
        ("MaxUnpool", UNPOOLED, unpool),
        ("Resize", RESIZED, resize),
        ("RoiAlign", FLOATS, roi_align),
        ("Upsample", RESIZED, upsample),
        ("LRN", FLOATS, response),
    ];
    all.into_iter().map(|(name, types, draw)| entry(name, types, draw)).collect()
}

fn response(d: &mut Draw) -> Case {
    let axes = axes(d, 1, false);
    let x = sizes([pictures(d), d.up_to(11)], &axes, |a| a.size);
    let case = d.case().attribute("size", d.integer(1..=8)).attribute("beta", d.pick(&[0.0f32, 0.5, 0.75, 1.0, 2.0]));
    let case = case.attribute("alpha", 0.5f32).attribute("bias", 2.0f32);
    // A power by exponential and logarithm: their roundings of a few 2⁻²⁴ grow with beta · ln, below 10 here.
    case.run(d.floats(&x, -3.0, 3.0)).within(Tolerance::relative(3e-6))
}
