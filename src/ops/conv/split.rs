//! Convolutions whose grid is too small for the device while their sums are long: the inputs are split over workgroups
//! ("split-K"), whose sums a second dispatch adds, always in the same order, before it finishes them.
//!
//! From how many products on, and into how many parts at most, is as in [`matmul`](crate::ops::matmul). What a part costs beside
//! its work is counted: the planner chooses. A software adapter's units are the host's threads, which any grid fills: there it
//! is not offered.

use super::problem::Problem;
use crate::kernel::{Binding, Candidate, Dispatch, Kernel, Layout, Storage};
use crate::ops::matmul::{idle, parts};

const WORKGROUP: u32 = 64;

/// A convolution cut along its inputs.
pub(super) struct Split {
    pub parts: usize,
    /// Quads of inputs of a part, a multiple of four.
    pub part: usize,
    /// Units of the result.
    units: usize,
    /// Where the biases begin behind the weights, in units.
    biases: usize,
}

impl Split {
    /// The parts that suit the device, if there are several, where so many workgroups would run undivided.
    pub fn of(problem: &Problem<'_>, workgroups: u32) -> Option<Self> {
        let [_, h, w] = problem.axes;
        let steps = problem.inputs.div_ceil(4);
        let wanted = parts(problem.inputs * h.kernel * w.kernel, workgroups, problem.device)?;
        let part = steps.div_ceil(wanted).next_multiple_of(4);
        let parts = steps.div_ceil(part);
        let out_quads = problem.outputs.div_ceil(4);
        let units = problem.samples * out_quads * h.output * w.output;
        let biases = out_quads * h.kernel * w.kernel * steps * 4;
        (problem.groups == 1 && parts > 1).then_some(Self { parts, part, units, biases })
    }

    /// The kernel that computes the sums of parts, and where it writes them: scratch memory, in 32 bits.
    pub fn partial(&self, dispatch: Dispatch) -> Dispatch {
        let kernel = dispatch.kernel.clone().define("SPLIT", 1);
        Dispatch { kernel, ..dispatch }.bind(Binding::Scratch(0), Storage::F32)
    }

    /// The candidate that does this, of which only the part is not told yet, and adds the sums up. `time` is that of a grid
    /// that fills the device.
    pub fn candidate(
        &self,
        problem: &Problem<'_>,
        name: &'static str,
        partial: Dispatch,
        weights: (Binding, Storage),
        time: f64,
    ) -> Option<Candidate> {
        let [_, h, w] = problem.axes;
        let join = Dispatch::of(Kernel::of("conv/join.wgsl").define("WORKGROUP", WORKGROUP))
            .bind(Binding::Scratch(0), Storage::F32)
            .bind(weights.0, weights.1);
        let join = problem
            .tail(join)?
            .param("units", self.units)
            .param("parts", self.parts)
            .param("area", h.output * w.output)
            .param("out_quads", problem.outputs.div_ceil(4))
            .param("biases", self.biases)
            .linear(self.units as u64, WORKGROUP, problem.device);
        let partial = partial.param("samples", problem.samples).param("part", self.part);
        let mut candidate = problem.candidate(name, Layout::Channels4);
        candidate.scratch.push(((self.parts * self.units) as u64, Storage::F32));
        let moved = 2.0 * (self.parts * self.units) as f64 * Storage::F32.unit_bytes() as f64;
        let time = time * idle(partial.workgroups, problem.device);
        Some(candidate.dispatch(partial).dispatch(join).cost(time, problem.bytes() + moved))
    }
}
