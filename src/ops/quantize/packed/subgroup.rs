//! For software adapters: a subgroup's lanes read different weights and share them by broadcast.

use super::pack;
use super::problem::Problem;
use crate::kernel::{Candidate, DeviceClass, Kernel};
use crate::ops::conv::axis_params;

/// Time in that of 10 GFLOP/s: two cores of lavapipe do 35 to 60.
const SLOWNESS: f64 = 0.2;

/// The candidates, if the device has subgroups of eight (or of fours that make eight) and the sums are dense.
pub(super) fn candidates(problem: &Problem<'_>) -> Vec<Candidate> {
    let lanes = problem.request.device.subgroup_size.filter(|s| matches!(s, 4 | 8 | 16));
    let dense = problem.geometry.groups == 1 && problem.geometry.group_inputs > 0;
    match lanes {
        Some(lanes) if dense && problem.request.device.class == DeviceClass::Software => {
            blocks(problem, lanes as usize).into_iter().filter_map(|b| candidate(problem, lanes as usize, b)).collect()
        }
        _ => vec![],
    }
}

/// Output channels and pixels of an invocation.
fn blocks(_: &Problem<'_>, _: usize) -> Vec<(usize, usize)> {
    vec![(16, 4)]
}

fn candidate(problem: &Problem<'_>, lanes: usize, (block, pixels): (usize, usize)) -> Option<Candidate> {
    let g = &problem.geometry;
    let [h, w] = g.axes;
    let steps = g.group_inputs.div_ceil(4);
    let blocks = g.outputs.div_ceil(block);
    let strips = w.output.div_ceil(pixels) * h.output;
    let words = blocks * block * problem.taps() * steps;
    let [o, i, t] = g.w_steps;
    let packing = vec![g.outputs, g.group_inputs, problem.taps(), o, i, t, block];
    let weights = pack::constant(problem.weights, pack::OFFSET_WORDS, packing, words);
    let kernel = Kernel::of("quantize/packed_subgroup.wgsl")
        .define("LANES", lanes as i64)
        .define("BLOCK", block as i64)
        .define("GROUPS", block.div_ceil(lanes) as i64)
        .define("QUADS", (block / 4) as i64)
        .define("PIXELS", pixels as i64)
        .define("REST_SUMS", ((block / 4 - 1) * pixels) as i64);
    let dispatch = problem
        .dispatch(kernel, weights, blocks * block)
        .param("out_quads", g.outputs.div_ceil(4))
        .param("steps", steps);
    let dispatch = axis_params(dispatch, &[h, w]);
    let fits = |n: usize| u32::try_from(n).ok().filter(|&n| n <= problem.request.device.max_workgroups);
    let dispatch = dispatch.workgroups(fits(blocks)?, fits(strips.div_ceil(lanes))?, fits(g.samples)?);
    // Lanes beyond the plane, pixels beyond the row and channels beyond the last are computed too.
    let computed = (strips.next_multiple_of(lanes) * pixels * blocks * block) as f64;
    let waste = computed / (g.outputs * problem.pixels()) as f64;
    problem.candidate("integers, subgroup", dispatch, blocks * block, waste * SLOWNESS)
}
