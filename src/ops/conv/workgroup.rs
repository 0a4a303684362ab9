//! The family for GPUs with fast workgroup memory: tiles of a matrix product, over channels in groups of four.

use super::direct::axis_params;
use super::pack;
use super::problem::Problem;
use super::register::{self, flattened};
use crate::kernel::{Binding, Candidate, DeviceClass, Dispatch, Kernel, Layout};

/// Pixels of a workgroup's tile.
const PIXELS: usize = 32;

/// The candidate, if the convolution is dense.
pub(super) fn candidate(problem: &Problem<'_>) -> Option<Candidate> {
    let weights = problem.weights?;
    if problem.groups != 1 || !problem.is_planar() || problem.inputs == 0 {
        return None;
    }
    // On a CPU workgroup memory is memory like any other, and a barrier is dear.
    let slowness = match problem.device.class {
        DeviceClass::Nvidia | DeviceClass::Amd | DeviceClass::Intel => 0.5,
        DeviceClass::Software => return None,
        _ => 1.5,
    };
    let [h, w] = flattened(problem);
    let out_quads = problem.outputs.div_ceil(4);
    let pixels = h.output * w.output;
    let tiles = |quads: usize| pixels.div_ceil(PIXELS) * out_quads.div_ceil(8 * quads) * problem.samples;
    // The larger tile where it wastes nothing and leaves enough workgroups to fill a GPU.
    let quads = if out_quads.is_multiple_of(16) && tiles(2) >= 64 { 2 } else { 1 };
    let memory = (128 + 128 * quads as u32) * 16;
    if problem.device.workgroup_memory < memory || problem.device.max_invocations < 64 {
        return None;
    }
    let steps = problem.inputs.div_ceil(4);
    let count = out_quads * h.kernel * w.kernel * steps * 4;
    let packed = problem.constant(weights, pack::QUADS, &[], (count * 4, out_quads * 4))?;
    let dispatch = Dispatch::of(Kernel::of("conv/workgroup.wgsl").define("QUADS", quads as i64))
        .bind(Binding::Input(0), problem.request.storage(0).ok()?)
        .bind(packed.binding, packed.storage);
    let dispatch =
        problem.tail(dispatch)?.param("inputs", problem.inputs).param("out_quads", out_quads).param("biases", count);
    let fits = |n: usize| u32::try_from(n).ok().filter(|&n| n <= problem.device.max_workgroups);
    let groups = [pixels.div_ceil(PIXELS), out_quads.div_ceil(8 * quads), problem.samples];
    let dispatch = axis_params(dispatch, &[h, w]).workgroups(fits(groups[0])?, fits(groups[1])?, fits(groups[2])?);
    // A tile is computed whole.
    let computed = tiles(quads) * PIXELS * 32 * quads * steps.next_multiple_of(4) * 4;
    let waste = computed as f64 / (problem.samples * pixels * problem.outputs * problem.inputs) as f64;
    let candidate = problem.candidate("workgroup", Layout::Channels4).dispatch(dispatch);
    Some(candidate.cost(problem.operations() * waste * slowness * register::SLOWNESS, problem.bytes()))
}
