//! The family for GPUs with fast workgroup memory: tiles of a matrix product, over channels in groups of four.

use super::direct::axis_params;
use super::pack;
use super::problem::Problem;
use super::register::{self, flattened};
use super::split::Split;
use crate::kernel::{Binding, Candidate, DeviceClass, Dispatch, Kernel, Layout};
use crate::ops::matmul::idle;

/// Pixels of a workgroup's tile.
const PIXELS: usize = 32;

/// The candidates, undivided and with the inputs split, if the convolution is dense.
pub(super) fn candidates(problem: &Problem<'_>) -> Vec<Candidate> {
    made(problem).into_iter().flatten().collect()
}

fn made(problem: &Problem<'_>) -> Option<Vec<Candidate>> {
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
        .bind(packed.binding.clone(), packed.storage);
    let sized = |dispatch: Dispatch| {
        let dispatch = dispatch.param("inputs", problem.inputs).param("out_quads", out_quads).param("biases", count);
        axis_params(dispatch, &[h, w])
    };
    let fits = |n: usize| u32::try_from(n).ok().filter(|&n| n <= problem.device.max_workgroups);
    let (x, y, z) = (fits(pixels.div_ceil(PIXELS))?, fits(out_quads.div_ceil(8 * quads))?, fits(problem.samples)?);
    // A tile is computed whole.
    let computed = tiles(quads) * PIXELS * 32 * quads * steps.next_multiple_of(4) * 4;
    let waste = computed as f64 / (problem.samples * pixels * problem.outputs * problem.inputs) as f64;
    let time = problem.operations() * waste * slowness * register::SLOWNESS;
    let whole = sized(problem.tail(dispatch.clone())?).workgroups(x, y, z);
    let own = time * idle(whole.workgroups, problem.device);
    let undivided = problem.candidate("workgroup", Layout::Channels4).dispatch(whole).cost(own, problem.bytes());
    let split = || {
        let split = Split::of(problem, x.saturating_mul(y).saturating_mul(z))?;
        let partial = sized(split.partial(dispatch)).workgroups(x, y, fits(problem.samples * split.parts)?);
        split.candidate(problem, "workgroup, split", partial, (packed.binding, packed.storage), time)
    };
    Some([Some(undivided), split()].into_iter().flatten().collect())
}
