//! The family for software adapters: planar pixels, weights shared by a subgroup's broadcasts.

use super::direct::axis_params;
use super::pack;
use super::problem::Problem;
use crate::kernel::{Binding, Candidate, DeviceClass, Dispatch, Kernel, Layout};
use crate::ops::window::Axis;

/// Time in that of 10 GFLOP/s: two cores of lavapipe do 30 to 50.
const SLOWNESS: f64 = 0.25;

/// The candidates, if the device has subgroups of a size that is always the same and the convolution is dense: the best size of
/// its blocks first, then others, which may save a pipeline.
pub(super) fn candidates(problem: &Problem<'_>) -> Vec<Candidate> {
    let Some(lanes) = problem.device.subgroup_size.filter(|s| (4..=32).contains(s)) else { return vec![] };
    let blocks = blocks(problem, lanes as usize);
    let best = blocks.first().map_or(1.0, |&(_, cost)| cost as f64);
    let mut candidates: Vec<_> =
        blocks.iter().filter_map(|&(block, cost)| Some((cost, candidate(problem, lanes as usize, block)?))).collect();
    let time = candidates.first().map_or(0.0, |(_, best)| best.cost);
    for (cost, candidate) in &mut candidates {
        candidate.cost = time * *cost as f64 / best;
    }
    candidates.into_iter().map(|(_, candidate)| candidate).collect()
}

fn candidate(problem: &Problem<'_>, lanes: usize, block: usize) -> Option<Candidate> {
    let weights = problem.weights?;
    if problem.device.class != DeviceClass::Software
        || problem.groups != 1
        || !problem.is_planar()
        || problem.inputs == 0
    {
        return None;
    }
    let [_, h, w] = problem.axes;
    let pixels = h.output * w.output;
    let [h, w] = if h.is_pointwise() && w.is_pointwise() {
        let row = h.output * w.output.next_multiple_of(4);
        [Axis::ONE, Axis { input: row, output: row, ..Axis::ONE }]
    } else {
        [h, w]
    };
    // Weights of four input channels lie in a unit; a first layer's one to three are not padded to four.
    let inputs = problem.inputs.min(4);
    let steps = problem.inputs.div_ceil(inputs);
    let blocks = problem.outputs.div_ceil(block);
    let units = h.output * w.output.div_ceil(4);
    let count = blocks * steps * h.kernel * w.kernel * block;
    // The taps of a row are written out where that is not too much to compile.
    let written_out =
        w.kernel <= 7 && w.dilation == 1 && w.stride <= 2 && w.before < 8 && w.kernel * inputs * block <= 400;
    let taps = if written_out { w.kernel } else { 1 };
    let mut kernel = Kernel::of("conv/subgroup.wgsl")
        .define("LANES", lanes as i64)
        .define("GROUPS", (block / lanes) as i64)
        .define("BLOCK", block as i64)
        .define("REST", (block - lanes) as i64)
        .define("INPUTS", inputs as i64)
        .define("TAPS", taps as i64);
    if written_out {
        let (units_before, span) = (w.before.div_ceil(4), 3 * w.stride + w.kernel);
        let offset = units_before * 4 - w.before;
        kernel = kernel
            .define("KERNEL", w.kernel as i64)
            .define("STRIDE", w.stride as i64)
            .define("PADDED", h.is_padded() || w.is_padded())
            .define("SPAN", span as i64)
            .define("OFFSET", offset as i64)
            .define("UNITS", (offset + span).div_ceil(4) as i64)
            .define("UNITS_BEFORE", units_before as i64);
    }
    let packed = problem.constant(weights, pack::PANELS, &[block, inputs, taps], (count * 4, blocks * block))?;
    let dispatch = Dispatch::of(kernel)
        .bind(Binding::Input(0), problem.request.storage(0).ok()?)
        .bind(packed.binding, packed.storage);
    let dispatch = problem
        .tail(dispatch)?
        .param("inputs", problem.inputs)
        .param("outputs", problem.outputs)
        .param("biases", packed.biases);
    let dispatch = axis_params(dispatch, &[h, w]);
    let fits = |n: usize| u32::try_from(n).ok().filter(|&n| n <= problem.device.max_workgroups);
    let dispatch = dispatch.workgroups(fits(blocks)?, fits(units.div_ceil(lanes))?, fits(problem.samples)?);
    // Lanes beyond the plane, pixels beyond the row and channels beyond the last are computed too.
    let computed = units.next_multiple_of(lanes) * 4 * blocks * block;
    let waste = computed as f64 / (problem.outputs * pixels) as f64;
    let candidate = problem.candidate("subgroup", Layout::Rows).dispatch(dispatch);
    Some(candidate.cost(problem.operations() * waste * SLOWNESS, problem.bytes()))
}

/// Output channels of an invocation and what each costs in comparison: as many as waste least come first. Larger blocks read x
/// less often, but take twice as long to compile (lavapipe: 0.2 to 0.4 s for 32), so there are few sizes, and the largest only
/// where it pays: with a stride of two and in first layers, which read more of x for each product, it gains nothing.
fn blocks(problem: &Problem<'_>, lanes: usize) -> Vec<(usize, usize)> {
    let large = lanes >= 8 && problem.inputs >= 4 && problem.axes[2].stride == 1;
    let sizes: &[usize] = if large { &[32, 16, 8] } else { &[16, 8] };
    let cost = |block: usize| problem.outputs.div_ceil(block) * (10 + block);
    let mut blocks: Vec<_> = sizes.iter().filter(|b| *b % lanes == 0).map(|&b| (b, cost(b))).collect();
    blocks.sort_by_key(|&(_, cost)| cost);
    if blocks.is_empty() { vec![(lanes, 1)] } else { blocks }
}
