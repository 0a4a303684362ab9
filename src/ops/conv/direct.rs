//! The kernel that runs every convolution over up to three axes, in ONNX's own order; slow.

use super::pack;
use super::problem::Problem;
use crate::kernel::{Binding, Candidate, Dispatch, Kernel, Layout, Want, units};
use crate::ops::matmul::idle;
use crate::ops::window::Axis;

const WORKGROUP: u32 = 64;
/// Time in that of 10 GFLOP/s: two cores of lavapipe do 1 at most, bound by its reads of single elements.
const SLOWNESS: f64 = 20.0;

/// The candidate, unless it needs more buffers than the device has.
pub(super) fn candidate(problem: &Problem<'_>) -> Option<Candidate> {
    let [d, h, w] = problem.axes;
    let taps = d.kernel * h.kernel * w.kernel;
    let count = problem.outputs * problem.group_inputs() * taps;
    let mut candidate = problem.candidate("direct", Layout::Linear);
    let kernel = Kernel::of("conv/direct.wgsl").define("WORKGROUP", WORKGROUP);
    let mut dispatch = Dispatch::of(kernel).bind(Binding::Input(0), problem.request.storage(0).ok()?);
    // Where the biases begin in the packed constant; 0 for none.
    let mut biases = 0;
    if let Some(weights) = problem.weights {
        let listed = if problem.biased { problem.outputs } else { 0 };
        let packed = problem.constant(weights, pack::FLAT, &[], (count, listed))?;
        biases = if problem.biased { packed.biases } else { 0 };
        dispatch = dispatch.bind(packed.binding, packed.storage);
    } else {
        candidate.inputs[1] = Want::In(Layout::Linear);
        dispatch = dispatch.bind(Binding::Input(1), problem.request.storage(1).ok()?);
        if problem.biased {
            candidate.inputs[2] = Want::In(Layout::Linear);
            dispatch.kernel = dispatch.kernel.define("BIAS", 1);
            dispatch = dispatch.bind(Binding::Input(2), problem.request.storage(2).ok()?);
        }
    }
    let units = units(&problem.y_shape, Layout::Linear)?;
    let dispatch = problem
        .tail(dispatch)?
        .param("units", u32::try_from(units).ok()?)
        .param("outputs", problem.outputs)
        .param("group_inputs", problem.group_inputs())
        .param("group_outputs", problem.group_outputs())
        .param("channels", problem.inputs)
        .param("biases", biases)
        .param("elements", problem.y_shape.iter().product::<usize>());
    let dispatch = axis_params(dispatch, &problem.axes).linear(units, WORKGROUP, problem.device);
    let time = problem.operations() * SLOWNESS * idle(dispatch.workgroups, problem.device);
    Some(candidate.dispatch(dispatch).cost(time, problem.bytes()))
}

/// Sets the parameters of the last axes.
pub(in crate::ops) fn axis_params(mut dispatch: Dispatch, axes: &[Axis]) -> Dispatch {
    for (axis, names) in axes.iter().rev().zip(AXIS_PARAMS.iter().rev()).rev() {
        let values = [axis.input, axis.output, axis.kernel, axis.stride, axis.dilation, axis.before];
        for (name, value) in names.iter().zip(values) {
            dispatch = dispatch.param(name, value);
        }
    }
    dispatch
}

/// The names of an axis' parameters: input, output, kernel, stride, dilation, padding before.
const AXIS_PARAMS: [[&str; 6]; 3] = [
    ["input_z", "output_z", "kernel_z", "stride_z", "dilation_z", "before_z"],
    ["input_y", "output_y", "kernel_y", "stride_y", "dilation_y", "before_y"],
    ["input_x", "output_x", "kernel_x", "stride_x", "dilation_x", "before_x"],
];
