//! Depthwise convolutions: four neighbouring channels, each of which sees one input channel.

use super::pack;
use super::problem::Problem;
use crate::kernel::{Candidate, DeviceClass, Kernel};
use crate::ops::conv::axis_params;

const WORKGROUP: u32 = 64;

/// The candidate, if each channel sees its own.
pub(super) fn candidate(problem: &Problem<'_>) -> Option<Candidate> {
    let g = &problem.geometry;
    if g.group_inputs != 1 || g.groups != g.outputs || g.groups < 2 {
        return None;
    }
    let [h, w] = g.axes;
    let software = problem.request.device.class == DeviceClass::Software;
    let written_out = h.kernel == w.kernel
        && matches!(w.kernel, 3 | 5)
        && h.stride == w.stride
        && w.stride <= 2
        && h.dilation == 1
        && w.dilation == 1;
    // Pixels side by side and one below the other: neighbours share what they read, but GPUs want many invocations.
    let (columns, rows) = match (written_out, software) {
        (false, _) => (1, 1),
        (true, false) => (2, 1),
        (true, true) if w.kernel == 3 && w.stride == 1 => (4, 4),
        (true, true) => (4, 2),
    };
    let quads = g.outputs.div_ceil(4);
    let weights =
        pack::constant(problem.weights, pack::CHANNELS, vec![g.outputs, problem.taps()], quads * problem.taps());
    let mut kernel = Kernel::of("quantize/packed_depthwise.wgsl")
        .define("WORKGROUP", WORKGROUP)
        .define("COLUMNS", columns)
        .define("ROWS", rows);
    if written_out {
        let span = |n: i64| (n - 1) * w.stride as i64 + w.kernel as i64;
        kernel = kernel
            .define("KERNEL", w.kernel as i64)
            .define("STRIDE", w.stride as i64)
            .define("SPAN", span(columns))
            .define("LINES", span(rows));
    }
    let invocations = g.samples * quads * h.output.div_ceil(rows as usize) * w.output.div_ceil(columns as usize);
    let dispatch =
        problem.dispatch(kernel, weights, quads * 4).param("invocations", invocations).param("out_quads", quads);
    let dispatch = axis_params(dispatch, &[h, w]).linear(invocations as u64, WORKGROUP, problem.request.device);
    let slowness = if software { 2.0 } else { 1.0 } * if written_out { 1.0 } else { 2.0 };
    problem.candidate("integers, depthwise", dispatch, quads * 4, slowness)
}
