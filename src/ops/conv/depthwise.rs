//! Convolutions whose output channels see one input channel each: a planar kernel, and one over groups of four channels.

use super::direct::axis_params;
use super::pack;
use super::problem::Problem;
use crate::kernel::{Binding, Candidate, DeviceClass, Dispatch, Kernel, Layout};

const WORKGROUP: u32 = 64;
/// The candidates, if the convolution is a depthwise one.
pub(super) fn candidates(problem: &Problem<'_>) -> Vec<Candidate> {
    let depthwise = problem.group_inputs() == 1 && problem.groups > 1 && problem.is_planar();
    if depthwise && problem.weights.is_some() {
        rows(problem).into_iter().chain(channels4(problem)).collect()
    } else {
        vec![]
    }
}

/// Time in that of 10 GFLOP/s: measured on two cores of lavapipe, and guessed for GPUs, where reads of whole units by
/// neighbours are one, and those of single pixels are not.
fn slowness(problem: &Problem<'_>, software: f64, gpu: f64) -> f64 {
    if problem.device.class == DeviceClass::Software { software } else { gpu }
}

fn rows(problem: &Problem<'_>) -> Option<Candidate> {
    let weights = problem.weights?;
    let [_, h, w] = problem.axes;
    let square = h.kernel == w.kernel && h.stride == w.stride && h.dilation == 1 && w.dilation == 1;
    let written_out = square && matches!(w.kernel, 3 | 5) && w.stride <= 2 && w.before < 8;
    let mut kernel = Kernel::of("conv/depthwise_rows.wgsl").define("WORKGROUP", WORKGROUP);
    if written_out {
        let (span, lead) = (3 * w.stride + w.kernel, (w.kernel - 1) / w.stride);
        let units_before = w.before.div_ceil(4);
        let offset = units_before * 4 - w.before;
        kernel = kernel
            .define("KERNEL", w.kernel as i64)
            .define("STRIDE", w.stride as i64)
            .define("SPAN", span as i64)
            .define("OFFSET", offset as i64)
            .define("UNITS", (offset + span).div_ceil(4) as i64)
            .define("UNITS_BEFORE", units_before as i64)
            .define("KEPT", (span * (w.kernel - w.stride)) as i64)
            .define("LEAD", lead as i64)
            .define("EXTRA", ((lead + 1) * w.stride - w.kernel) as i64);
    }
    let count = problem.outputs * h.kernel * w.kernel;
    let packed = problem.constant(weights, pack::FLAT, &[], (count, problem.outputs))?;
    let dispatch = Dispatch::of(kernel)
        .bind(Binding::Input(0), problem.request.storage(0).ok()?)
        .bind(packed.binding, packed.storage);
    let planes = problem.samples * problem.outputs;
    let rows = rows_each(problem, planes * w.output.div_ceil(4));
    let dispatch = problem
        .tail(dispatch)?
        .param("planes", planes)
        .param("outputs", problem.outputs)
        .param("multiplier", problem.group_outputs())
        .param("biases", packed.biases)
        .param("rows", rows);
    let invocations = planes * h.output.div_ceil(rows) * w.output.div_ceil(4);
    let dispatch = axis_params(dispatch, &[h, w]).linear(invocations as u64, WORKGROUP, problem.device);
    let slowness = slowness(problem, 1.8, 3.0) * if written_out { 1.0 } else { 2.0 };
    let candidate = problem.candidate("depthwise rows", Layout::Rows).dispatch(dispatch);
    Some(candidate.cost(problem.operations() * slowness, problem.bytes()))
}

/// Units one below the other that an invocation of the planar kernel computes, of so many columns of units. The rows that a
/// window reaches beyond them are read by two: the more the better, as long as there is work for all (measured on
/// lavapipe; on GPUs, which want thousands of invocations, guessed).
fn rows_each(problem: &Problem<'_>, columns: usize) -> usize {
    let height = problem.axes[1].output;
    let (most, invocations) = if problem.device.class == DeviceClass::Software { (16, 1024) } else { (4, 1 << 14) };
    let bands = height.div_ceil(most).max(invocations / columns).clamp(1, height);
    height.div_ceil(bands)
}

fn channels4(problem: &Problem<'_>) -> Option<Candidate> {
    let weights = problem.weights.filter(|_| problem.group_outputs() == 1)?;
    let [_, h, w] = problem.axes;
    let written_out = matches!(w.kernel, 3 | 5) && w.stride <= 2 && w.dilation == 1;
    let mut kernel = Kernel::of("conv/depthwise_channels4.wgsl").define("WORKGROUP", WORKGROUP);
    if written_out {
        kernel = kernel
            .define("KERNEL", w.kernel as i64)
            .define("STRIDE", w.stride as i64)
            .define("SPAN", (w.stride + w.kernel) as i64);
    }
    let groups = problem.outputs.div_ceil(4);
    let count = groups * h.kernel * w.kernel;
    let packed = problem.constant(weights, pack::DEPTHWISE4, &[], (count * 4, groups * 4))?;
    let dispatch = Dispatch::of(kernel)
        .bind(Binding::Input(0), problem.request.storage(0).ok()?)
        .bind(packed.binding, packed.storage);
    let planes = problem.samples * groups;
    let dispatch = problem.tail(dispatch)?.param("planes", planes).param("groups", groups).param("biases", count);
    let invocations = planes * h.output * w.output.div_ceil(2);
    let dispatch = axis_params(dispatch, &[h, w]).linear(invocations as u64, WORKGROUP, problem.device);
    let slowness = slowness(problem, 3.5, 1.0) * if written_out { 1.0 } else { 1.5 };
    let candidate = problem.candidate("depthwise channels", Layout::Channels4).dispatch(dispatch);
    Some(candidate.cost(problem.operations() * slowness, problem.bytes()))
}
