//! Winograd's F(4×4, 3×3): 4×4 pixels by 36 products where the direct way takes 144, in three dispatches: the input's
//! tiles are brought to 36 points, there multiplied with the weights, and brought back.
//!
//! The products are those of matrices, by whichever family of `matmul` suits the device.

use super::pack;
use super::problem::Problem;
use crate::kernel::{Binding, Candidate, DeviceClass, Dispatch, Kernel, Layout, Packing, Storage};
use crate::ops::matmul::{BatchAxis, Product, Tiles, families, in_panels};

const WORKGROUP: u32 = 64;
/// Pixels of a tile's side.
pub(crate) const TILE: usize = 4;
/// Points of a tile.
pub(crate) const POINTS: usize = 36;
/// Time of a byte moved in that of 10 GB/s: a software adapter reads and writes element by element.
const SOFTWARE_MOVES: f64 = 2.5;

/// The candidate, if the convolution is a dense one of 3×3 that moves by one pixel, with channels enough to pay.
pub(super) fn candidate(problem: &Problem<'_>) -> Option<Candidate> {
    let weights = problem.weights?;
    let [_, h, w] = problem.axes;
    let fits = |axis: &crate::ops::window::Axis| axis.kernel == 3 && axis.stride == 1 && axis.dilation == 1;
    let software = problem.device.class == DeviceClass::Software;
    // With fewer channels the transformations cost about what is saved (measured in software), and the points take more
    // memory than the values around them. On GPUs the bounds are LiteRT's.
    let (least, least_tiles) = match problem.device.class {
        DeviceClass::Software => (64, 1),
        DeviceClass::Adreno => (128, 64),
        _ => (64, 32),
    };
    let dense = problem.groups == 1 && problem.x_shape.len() == 4 && problem.inputs.min(problem.outputs) >= least;
    // Weights in 16 bits would lose more by their transformation than by their own rounding, and scratch in 32 bits
    // would take the memory that values in 16 save.
    let request = problem.request;
    let storages = [request.storage(0).ok()?, request.storage(1).ok()?, request.output_storage(0).ok()?];
    let exact = storages == [Storage::F32; 3];
    if !(dense && exact && fits(&h) && fits(&w)) {
        return None;
    }
    let (tiles_y, tiles_x) = (h.output.div_ceil(TILE), w.output.div_ceil(TILE));
    let tiles = problem.samples * tiles_y * tiles_x;
    if tiles < least_tiles {
        return None;
    }
    let product = Product {
        batch: vec![BatchAxis { size: POINTS, a: 1, b: 1 }],
        ..Product::of_matrices(tiles, problem.inputs, problem.outputs, false, false)
    };
    let cheapest = |a: &Tiles, b: &Tiles| a.operations.total_cmp(&b.operations);
    let family = families(&product, problem.device).into_iter().min_by(cheapest)?;
    let panel = family.panel(&product);
    let elements = POINTS * problem.inputs * problem.outputs.div_ceil(4).next_multiple_of(panel) * 4;
    let biases = problem.outputs.next_multiple_of(4);
    let packed = problem.constant(weights, PACKING, &[panel], (elements, biases))?;

    let layout = if software { Layout::Rows } else { Layout::Channels4 };
    let (in_quads, out_quads) = (problem.inputs.div_ceil(4), problem.outputs.div_ceil(4));
    let mut candidate = problem.candidate("winograd", layout);
    candidate.scratch = [in_quads, out_quads].map(|quads| ((POINTS * tiles * quads) as u64, Storage::F32)).to_vec();
    let [seen, products] = [0, 1].map(|i| (Binding::Scratch(i), Storage::F32));
    let kernel =
        |shader| Kernel::of(shader).define("WORKGROUP", WORKGROUP).define("CHANNELS4", layout == Layout::Channels4);
    let input = Dispatch::of(kernel("conv/winograd_input.wgsl"))
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
    let output =
        Dispatch::of(kernel("conv/winograd_output.wgsl")).bind(products.0, products.1).bind(constant.0, constant.1);
    let output = problem
        .tail(output)?
        .param("invocations", tiles * out_quads)
        .param("outputs", problem.outputs)
        .param("tiles_y", tiles_y)
        .param("tiles_x", tiles_x)
        .param("output_y", h.output)
        .param("output_x", w.output)
        .param("biases", packed.biases)
        .linear((tiles * out_quads) as u64, WORKGROUP, problem.device);
    // What the transformations move: each tile's 36 points, written and read again, and 36 and 16 pixels.
    let moved = 4.0 * (tiles * (in_quads + out_quads) * 4) as f64 * (2 * POINTS) as f64 + 2.0 * problem.bytes();
    let moved = moved * if software { SOFTWARE_MOVES } else { 1.0 };
    Some(candidate.dispatch(input).dispatch(multiply).dispatch(output).cost(family.operations, moved))
}

/// The factors G that bring a row of three weights to the points 0, ±√½, ±√2 and ∞.
fn points(w: [f64; 3]) -> [f64; 6] {
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

/// The weights of a pair of channels at the points, G w Gᵀ.
pub(crate) fn weights_at_points(w: &[f32; 9]) -> [f32; POINTS] {
    let rows = [0, 1, 2].map(|r| points([0, 1, 2].map(|c| f64::from(w[r * 3 + c]))));
    let mut all = [0.0; POINTS];
    for c in 0..6 {
        for (r, value) in points(rows.map(|row| row[c])).into_iter().enumerate() {
            all[r * 6 + c] = value as f32;
        }
    }
    all
}

/// The weights at the points: for each point a matrix of inputs by outputs, in the panels that `matmul` reads.
/// Parameters: units of a panel.
const PACKING: Packing = Packing {
    name: "conv/winograd",
    pack: |w, parameters| {
        let (outputs, inputs) = (w.shape()[0], w.shape()[1]);
        pack::packed(w, &parameters[1..], |w| {
            let mut at_points = vec![0.0; POINTS * inputs * outputs];
            let pairs = (0..outputs).flat_map(|o| (0..inputs).map(move |i| i * outputs + o));
            for (pair, own) in pairs.zip(w.as_chunks::<9>().0) {
                for (point, value) in weights_at_points(own).into_iter().enumerate() {
                    at_points[point * inputs * outputs + pair] = value;
                }
            }
            in_panels(&at_points, &[POINTS, inputs, outputs, 0, parameters[0]])
        })
    },
};
