//! For any device: a block of pixels and output channels in each invocation's registers.

use super::pack;
use super::problem::Problem;
use crate::kernel::{Candidate, Kernel};
use crate::ops::conv::axis_params;

const WORKGROUP: u32 = 64;
/// Time in that of 10 GFLOP/s on lavapipe. On GPUs it is the only kernel for dense sums.
const SLOWNESS: f64 = 0.8;

/// The candidate, if the groups, where there are some, fall on whole quads of channels.
pub(super) fn candidate(problem: &Problem<'_>) -> Option<Candidate> {
    let g = &problem.geometry;
    let whole = g.group_inputs.is_multiple_of(4) && problem.group_outputs().is_multiple_of(4);
    if !(g.groups == 1 || whole) || g.group_inputs == 0 {
        return None;
    }
    let [h, w] = g.axes;
    let quads = g.outputs.div_ceil(4);
    let steps = g.group_inputs.div_ceil(4);
    // A single pixel or row of a matrix: neighbours would be computed for nothing.
    let pixels = if w.output == 1 { 1 } else { 4 };
    let group_quads = quads / g.groups;
    let many = group_quads.is_multiple_of(2) && problem.pixels() * g.samples * quads >= 1 << 14;
    let block = if many { 2 } else { 1 };
    let words = quads * problem.taps() * steps * 4;
    let [o, i, t] = g.w_steps;
    let packing = vec![g.outputs, g.group_inputs, problem.taps(), o, i, t, 4];
    let weights = pack::constant(problem.weights, pack::WORDS, packing, words);
    let kernel = Kernel::of("quantize/packed_register.wgsl")
        .define("WORKGROUP", WORKGROUP)
        .define("PIXELS", pixels)
        .define("QUADS", block as i64);
    let invocations = g.samples * quads.div_ceil(block) * h.output * w.output.div_ceil(pixels as usize);
    let dispatch = problem
        .dispatch(kernel, weights, quads * 4)
        .param("invocations", invocations)
        .param("out_quads", quads)
        .param("steps", steps)
        .param("group_quads", group_quads);
    let dispatch = axis_params(dispatch, &[h, w]).linear(invocations as u64, WORKGROUP, problem.request.device);
    let idle = crate::ops::matmul::idle(dispatch.workgroups, problem.request.device);
    problem.candidate("integers, register", dispatch, quads * 4, SLOWNESS * idle)
}
