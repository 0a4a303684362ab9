//! The family for any device: channels in groups of four, a block of outputs in each invocation's registers.

use super::direct::axis_params;
use super::pack;
use super::problem::Problem;
use super::split::Split;
use crate::kernel::{Binding, Candidate, Dispatch, Kernel, Layout};
use crate::ops::matmul::idle;
use crate::ops::window::Axis;

const WORKGROUP: u32 = 64;
/// Time in that of 10 GFLOP/s: what two cores of lavapipe do. On GPUs only its ratio to the workgroup family matters.
pub(super) const SLOWNESS: f64 = 1.0;
/// Neighbouring pixels of an invocation.
const PIXELS: usize = 4;

/// The candidates, undivided and with the inputs split, if the groups, where there are some, fall on whole quads of channels.
pub(super) fn candidates(problem: &Problem<'_>) -> Vec<Candidate> {
    made(problem).into_iter().flatten().collect()
}

fn made(problem: &Problem<'_>) -> Option<Vec<Candidate>> {
    let weights = problem.weights?;
    let whole = problem.group_inputs().is_multiple_of(4) && problem.group_outputs().is_multiple_of(4);
    if !problem.is_planar() || !(problem.groups == 1 || whole) || problem.inputs == 0 {
        return None;
    }
    let [h, w] = flattened(problem);
    let out_quads = problem.outputs.div_ceil(4);
    let group_quads = out_quads / problem.groups;
    // Two quads where there is enough to do for many invocations, and a block stays inside a group.
    let pixels = problem.samples * h.output * w.output;
    let quads = if group_quads.is_multiple_of(2) && pixels * out_quads >= 1 << 14 { 2 } else { 1 };
    let steps = problem.group_inputs().div_ceil(4);
    let count = out_quads * h.kernel * w.kernel * steps * 4;
    let kernel = Kernel::of("conv/register.wgsl")
        .define("WORKGROUP", WORKGROUP)
        .define("PIXELS", PIXELS as i64)
        .define("QUADS", quads as i64);
    let packed = problem.constant(weights, pack::QUADS, &[], (count * 4, out_quads * 4))?;
    let dispatch = Dispatch::of(kernel)
        .bind(Binding::Input(0), problem.request.storage(0).ok()?)
        .bind(packed.binding.clone(), packed.storage);
    let invocations = problem.samples * out_quads.div_ceil(quads) * h.output * w.output.div_ceil(PIXELS);
    let sized = |dispatch: Dispatch, invocations: usize| {
        let dispatch = dispatch
            .param("invocations", invocations)
            .param("in_quads", problem.inputs.div_ceil(4))
            .param("out_quads", out_quads)
            .param("group_inputs", problem.group_inputs())
            .param("group_quads", group_quads)
            .param("biases", count);
        axis_params(dispatch, &[h, w]).linear(invocations as u64, WORKGROUP, problem.device)
    };
    // Pixels beyond the row and channels beyond the last are computed too.
    let waste = (w.output.next_multiple_of(PIXELS) as f64 / w.output as f64)
        * ((out_quads * 4) as f64 / problem.outputs as f64)
        * ((steps * 4) as f64 / problem.group_inputs() as f64);
    let time = problem.operations() * waste * SLOWNESS;
    let whole = sized(problem.tail(dispatch.clone())?, invocations);
    let own = time * idle(whole.workgroups, problem.device);
    let undivided = problem.candidate("register", Layout::Channels4).dispatch(whole).cost(own, problem.bytes());
    let split = || {
        let split = Split::of(problem, invocations.div_ceil(WORKGROUP as usize).try_into().ok()?)?;
        let partial = sized(split.partial(dispatch), invocations * split.parts);
        split.candidate(problem, "register, split", partial, (packed.binding, packed.storage), time)
    };
    Some([Some(undivided), split()].into_iter().flatten().collect())
}

/// Height and width, a pointwise convolution's plane as one row.
pub(super) fn flattened(problem: &Problem<'_>) -> [Axis; 2] {
    let [_, h, w] = problem.axes;
    if !(h.is_pointwise() && w.is_pointwise()) {
        return [h, w];
    }
    let pixels = h.output * w.output;
    [Axis::ONE, Axis { input: pixels, output: pixels, ..Axis::ONE }]
}
