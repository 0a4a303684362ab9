//! Winograd's F(4×4, 3×3) and F(2×2, 3×3) (Lavin and Gray, 2015): 4×4 pixels by 36 products where the direct way takes 144,
//! or 2×2 by 16 instead of 36, in three dispatches: the input's tiles are brought to points, there multiplied with the
//! weights, and brought back.
//!
//! The products are those of matrices, by whichever family of `matmul` suits the device.

use super::pack;
use super::problem::Problem;
use crate::kernel::{Binding, Candidate, DeviceClass, Dispatch, Kernel, Layout, Packing, Storage};
use crate::ops::matmul::{BatchAxis, Product, Tiles, families, in_panels};
use crate::tensor::Tensor;

const WORKGROUP: u32 = 64;
/// Pixels of a large tile's side.
pub(crate) const TILE: usize = 4;
/// Points of a large tile.
pub(crate) const POINTS: usize = 36;
/// Pixels of a side up to which a plane is small. So says ncnn, too, where it takes small tiles.
const SMALL_PLANE: usize = 16;
/// Time of a byte moved in that of 10 GB/s: a software adapter reads and writes element by element.
const SOFTWARE_MOVES: f64 = 2.5;

/// A size of tiles.
struct Size {
    name: &'static str,
    /// Pixels of a side.
    side: usize,
    packing: Packing,
}

const LARGE: Size = Size { name: "winograd-4x4", side: TILE, packing: LARGE_PACKING };
const SMALL: Size = Size { name: "winograd-2x2", side: 2, packing: SMALL_PACKING };

/// The candidates, if the convolution is a dense one of 3×3 that moves by one pixel, with channels enough to pay.
pub(super) fn candidates(problem: &Problem<'_>) -> Vec<Candidate> {
    [LARGE, SMALL].iter().filter_map(|size| candidate(problem, size)).collect()
}

/// The fewest channels and tiles for which it is offered.
fn least(class: DeviceClass, size: &Size) -> (usize, usize) {
    // With fewer channels the transformations cost about what is saved (measured in software), and the points take more
    // memory than the values around them. On GPUs the bounds of large tiles are LiteRT's; small ones fit small planes better,
    // where ncnn takes them too (up to 18×18).
    match (class, size.side) {
        (DeviceClass::Software, _) => (64, 1),
        (DeviceClass::Adreno, TILE) => (128, 64),
        (DeviceClass::Adreno, _) => (128, 32),
        (_, TILE) => (64, 32),
        _ => (64, 16),
    }
}

fn candidate(problem: &Problem<'_>, size: &Size) -> Option<Candidate> {
    let weights = problem.weights?;
    let [_, h, w] = problem.axes;
    let fits = |axis: &crate::ops::window::Axis| axis.kernel == 3 && axis.stride == 1 && axis.dilation == 1;
    let software = problem.device.class == DeviceClass::Software;
    let (least, least_tiles) = least(problem.device.class, size);
    let dense = problem.groups == 1 && problem.x_shape.len() == 4 && problem.inputs.min(problem.outputs) >= least;
    // Weights in 16 bits would lose more by their transformation to 36 points than by their own rounding. Scratch is in 32
    // bits: that of a large plane would take more memory than values in 16 save.
    let request = problem.request;
    let storages = [request.storage(0).ok()?, request.storage(1).ok()?, request.output_storage(0).ok()?];
    let exact = storages == [Storage::F32; 3];
    let small = size.side == SMALL.side && h.output.max(w.output) <= SMALL_PLANE;
    if !(dense && (exact || small) && fits(&h) && fits(&w)) {
        return None;
    }
    let (side, edge) = (size.side, size.side + 2);
    let points = edge * edge;
    let (tiles_y, tiles_x) = (h.output.div_ceil(side), w.output.div_ceil(side));
    let tiles = problem.samples * tiles_y * tiles_x;
    if tiles < least_tiles {
        return None;
    }
    let product = Product {
        batch: vec![BatchAxis { size: points, a: 1, b: 1 }],
        ..Product::of_matrices(tiles, problem.inputs, problem.outputs, false, false)
    };
    let cheapest = |a: &Tiles, b: &Tiles| a.operations.total_cmp(&b.operations);
    let family = families(&product, problem.device).into_iter().min_by(cheapest)?;
    let panel = family.panel(&product);
    let elements = points * problem.inputs * problem.outputs.div_ceil(4).next_multiple_of(panel) * 4;
    let biases = problem.outputs.next_multiple_of(4);
    let packed = problem.constant(weights, size.packing, &[panel], (elements, biases))?;

    let layout = if software { Layout::Rows } else { Layout::Channels4 };
    let (in_quads, out_quads) = (problem.inputs.div_ceil(4), problem.outputs.div_ceil(4));
    let mut candidate = problem.candidate(size.name, layout);
    candidate.scratch = [in_quads, out_quads].map(|quads| ((points * tiles * quads) as u64, Storage::F32)).to_vec();
    let [seen, products] = [0, 1].map(|i| (Binding::Scratch(i), Storage::F32));
    let kernel = |shader| {
        Kernel::of(shader)
            .define("WORKGROUP", WORKGROUP)
            .define("CHANNELS4", layout == Layout::Channels4)
            .define("SIDE", side as i64)
            .define("EDGE", edge as i64)
    };
    let input =
        kernel("conv/winograd_input.wgsl").define("UP", (edge * (edge - 1)) as i64).define("LAST", (points - 1) as i64);
    let input = Dispatch::of(input)
        .bind(Binding::Input(0), problem.request.storage(0).ok()?)
        .bind(seen.0.clone(), seen.1)
        .param("invocations", tiles * in_quads)
        .param("inputs", problem.inputs)
        .param("tiles_y", tiles_y)
        .param("tiles_x", tiles_x)
        .param("input_y", h.input)
        .param("input_x", w.input)
        .param("before_y", h.before)
        .param("before_x", w.before)
        .linear((tiles * in_quads) as u64, WORKGROUP, problem.device);
    let constant = (packed.binding, packed.storage);
    let multiply = family.dispatch(&product, [seen, constant.clone(), products.clone()]);
    // Of y's rows an invocation owns whole units.
    let across = if layout == Layout::Rows { 4 / side } else { 1 };
    let output = kernel("conv/winograd_output.wgsl")
        .define("UP", (side * (edge - 1)) as i64)
        .define("ACROSS", across as i64)
        .define("WIDTH", (across * side) as i64)
        .define("REST", ((side - 1) * across * side) as i64);
    let output = Dispatch::of(output).bind(products.0, products.1).bind(constant.0, constant.1);
    let invocations = problem.samples * tiles_y * tiles_x.div_ceil(across) * out_quads;
    let output = problem
        .tail(output)?
        .param("invocations", invocations)
        .param("point", tiles * out_quads)
        .param("outputs", problem.outputs)
        .param("tiles_y", tiles_y)
        .param("tiles_x", tiles_x)
        .param("output_y", h.output)
        .param("output_x", w.output)
        .param("biases", packed.biases)
        .linear(invocations as u64, WORKGROUP, problem.device);
    // What the transformations move: each tile's points, written and read again, and the pixels.
    let moved = 4.0 * (tiles * (in_quads + out_quads) * 4) as f64 * (2 * points) as f64 + 2.0 * problem.bytes();
    let moved = moved * if software { SOFTWARE_MOVES } else { 1.0 };
    Some(candidate.dispatch(input).dispatch(multiply).dispatch(output).cost(family.operations, moved))
}

/// The factors G that bring a row of three weights to the points 0, ±√½, ±√2 and ∞.
fn large(w: [f64; 3]) -> [f64; 6] {
    use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};
    let at = |p: f64, factor: f64| factor * (w[0] + p * w[1] + p * p * w[2]);
    [
        w[0],
        at(FRAC_1_SQRT_2, -2.0 / 3.0),
        at(-FRAC_1_SQRT_2, -2.0 / 3.0),
        at(SQRT_2, 1.0 / 6.0),
        at(-SQRT_2, 1.0 / 6.0),
        w[2],
    ]
}

/// The same to the points 0, ±1 and ∞.
fn small(w: [f64; 3]) -> [f64; 4] {
    let (even, odd) = (w[0] + w[2], w[1]);
    [w[0], (even + odd) / 2.0, (even - odd) / 2.0, w[2]]
}

/// The weights of a pair of channels at the points of a large tile, G w Gᵀ.
pub(crate) fn weights_at_points(w: &[f32; 9]) -> [f32; POINTS] {
    at_points(w, large)
}

/// The weights of a pair of channels at the points of which `points` brings a row: first along x, then along y.
fn at_points<const EDGE: usize, const ALL: usize>(w: &[f32; 9], points: fn([f64; 3]) -> [f64; EDGE]) -> [f32; ALL] {
    let rows = [0, 1, 2].map(|r| points([0, 1, 2].map(|c| f64::from(w[r * 3 + c]))));
    let mut all = [0.0; ALL];
    for c in 0..EDGE {
        for (r, value) in points(rows.map(|row| row[c])).into_iter().enumerate() {
            all[r * EDGE + c] = value as f32;
        }
    }
    all
}

/// The weights at the points of large tiles: for each point a matrix of inputs by outputs, in the panels that `matmul` reads.
/// Parameters: units of a panel.
const LARGE_PACKING: Packing =
    Packing { name: "conv/winograd-4x4", pack: |w, parameters| packed(w, parameters, weights_at_points) };

/// The same of small tiles.
const SMALL_PACKING: Packing = Packing {
    name: "conv/winograd-2x2",
    pack: |w, parameters| packed(w, parameters, |w| at_points::<4, 16>(w, small)),
};

fn packed<const ALL: usize>(w: &Tensor, parameters: &[usize], points: impl Fn(&[f32; 9]) -> [f32; ALL]) -> Tensor {
    let (outputs, inputs) = (w.shape()[0], w.shape()[1]);
    pack::packed(w, &parameters[1..], |w| {
        let mut all = vec![0.0; ALL * inputs * outputs];
        let pairs = (0..outputs).flat_map(|o| (0..inputs).map(move |i| i * outputs + o));
        for (pair, own) in pairs.zip(w.as_chunks::<9>().0) {
            for (point, value) in points(own).into_iter().enumerate() {
                all[point * inputs * outputs + pair] = value;
            }
        }
        in_panels(&all, &[ALL, inputs, outputs, 0, parameters[0]])
    })
}
