//! The ways to normalize lanes on a GPU, with a scale and a shift afterwards.

use super::{Groups, Lanes, WORKGROUP, lanes};
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::ops::broadcast::{self, Operand};

/// What a lane is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Its standard deviation, after its mean was taken out.
    Deviation = 0,
    /// The root of its mean square.
    RootMeanSquare = 1,
    /// The sum of its magnitudes.
    L1 = 2,
    /// The root of the sum of its squares.
    L2 = 3,
}

impl Mode {
    /// What is taken from a lane's elements, and by what they are multiplied then.
    pub fn statistics(self, lane: &[f64], epsilon: f32) -> (f64, f64) {
        let mean = |v: &dyn Fn(f64) -> f64| lane.iter().map(|&x| v(x)).sum::<f64>() / lane.len() as f64;
        match self {
            Self::Deviation => {
                let centre = mean(&|x| x);
                (centre, 1.0 / (mean(&|x| (x - centre) * (x - centre)) + f64::from(epsilon)).sqrt())
            }
            Self::RootMeanSquare => (0.0, 1.0 / (mean(&|x| x * x) + f64::from(epsilon)).sqrt()),
            Self::L1 => (0.0, 1.0 / lane.iter().map(|x| x.abs()).sum::<f64>()),
            Self::L2 => (0.0, 1.0 / lane.iter().map(|x| x * x).sum::<f64>().sqrt()),
        }
    }
}

/// Where scale and shift (inputs 1 and 2, where there are any) apply.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Affine {
    Nowhere,
    /// Otherwise than by lanes: a dispatch of their own applies them.
    Apart,
    /// Along a lane.
    Elements,
    /// To each channel, the second dimension, of which each lane is one.
    Channels,
}

/// Lanes along some dimensions of input 0, to be normalized.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub mode: Mode,
    pub epsilon: f32,
    /// The shape of input 0, or another with as many elements.
    pub shape: Vec<usize>,
    /// The dimensions along which lanes go.
    pub from: usize,
    pub to: usize,
    pub affine: Affine,
    /// The shapes with which scale and shift broadcast to the output's shape.
    pub aligned: Vec<Vec<usize>>,
}

impl Plan {
    /// The candidates, for input 0 as it lies and in order.
    pub fn candidates(&self, request: &Request<'_>) -> Candidates {
        let lanes = Lanes::of(&self.shape, self.from, self.to).map_err(|e| e.to_string())?;
        if u32::try_from(lanes.elements()).is_err() {
            return Err("it has more elements than a shader can count".to_owned());
        }
        let own = request.input(0)?.layout;
        // Under another shape than its own, only the order of its elements is known.
        let reshaped = request.shape(0)? != self.shape;
        let layouts = if own == Layout::Linear || reshaped { vec![Layout::Linear] } else { vec![own, Layout::Linear] };
        let mut all = vec![];
        for layout in layouts {
            let candidate = match Groups::of(&self.shape, self.from, self.to, layout) {
                Some(groups) => self.whole(request, groups, layout)?,
                None if layout == Layout::Linear => self.shared(request, lanes)?,
                None => continue,
            };
            let units = lanes.elements().div_ceil(4) as f64;
            let passes = candidate.dispatches.len() as f64;
            all.push(candidate.cost(units * 20.0, units * (2.0 + passes) * request.storage(0)?.unit_bytes() as f64));
        }
        Ok(all)
    }

    fn wants(&self, request: &Request<'_>, layout: Layout) -> Vec<Want> {
        let mut wants = vec![Want::In(Layout::Linear); request.inputs.len()];
        wants[0] = Want::In(layout);
        wants
    }

    /// Lanes of whole units: one dispatch, scale and shift included where they lie as the kernel takes them.
    fn whole(&self, request: &Request<'_>, groups: Groups, layout: Layout) -> Result<Candidate, String> {
        let fits = |i: usize, n: usize| {
            request.optional(i).is_none_or(|f| f.fact.concrete().is_some_and(|s| s.iter().product::<usize>() == n))
        };
        let channels = self.shape.get(1).copied().unwrap_or(1);
        let affine = match self.affine {
            Affine::Elements if !groups.columns && fits(1, groups.length) && fits(2, groups.length) => 1,
            Affine::Channels if fits(1, channels) && fits(2, channels) => 2,
            _ => 0,
        };
        let shift = affine != 0 && request.optional(2).is_some();
        let kernel = Kernel::of("norm/normalize.wgsl")
            .define("WORKGROUP", WORKGROUP)
            .define("MODE", self.mode as i64)
            .define("COLUMNS", groups.columns)
            .define("COOPERATIVE", groups.cooperative(request.device))
            .define("AFFINE", affine)
            .define("SHIFT", shift);
        let mut dispatch = Dispatch::of(kernel).bind(Binding::Input(0), request.storage(0)?);
        if affine != 0 {
            dispatch = dispatch.bind(Binding::Input(1), request.storage(1)?);
        }
        if shift {
            dispatch = dispatch.bind(Binding::Input(2), request.storage(2)?);
        }
        dispatch = dispatch.bind(Binding::Output(0), request.output_storage(0)?).param("epsilon", self.epsilon);
        if affine == 2 {
            dispatch = dispatch.param("channels", if groups.columns { channels.div_ceil(4) } else { channels });
        }
        let dispatch = groups.dispatch(dispatch, request.device);
        let name = if groups.columns { "columns" } else { "rows" };
        let candidate = Candidate::new(name, self.wants(request, layout), vec![layout]).dispatch(dispatch);
        if affine == 0 { self.finished(request, candidate) } else { Ok(candidate.in_place(0)) }
    }

    /// Lanes that share units: their statistics first, then each unit.
    fn shared(&self, request: &Request<'_>, lanes: Lanes) -> Result<Candidate, String> {
        let candidate = Candidate::new("shared", self.wants(request, Layout::Linear), vec![Layout::Linear]);
        if lanes.elements() == 0 {
            return Ok(candidate);
        }
        let statistics = Kernel::of("norm/normalize.wgsl").define("MODE", self.mode as i64);
        let statistics = Dispatch::of(statistics).param("epsilon", self.epsilon);
        let apply = Kernel::of("norm/apply.wgsl");
        self.finished(request, lanes::shared(candidate, request, lanes, statistics, apply)?)
    }

    /// With a last dispatch that applies scale and shift to what was written, in place.
    fn finished(&self, request: &Request<'_>, mut candidate: Candidate) -> Result<Candidate, String> {
        if self.affine == Affine::Nowhere {
            return Ok(candidate.in_place(0));
        }
        let shape = request.output_shape(0)?;
        let so_far =
            Operand { binding: Binding::Output(0), storage: request.output_storage(0)?, aligned: shape.clone(), shape };
        let mut operands = vec![so_far];
        for (i, aligned) in (1..).zip(&self.aligned) {
            let mut operand = Operand::input(request, i)?;
            operand.aligned.clone_from(aligned);
            operands.push(operand);
        }
        let expression = if operands.len() == 2 { "a * b" } else { "fma(a, b, c)" };
        let steps = broadcast::candidates(request, &operands, expression)?;
        let step =
            steps.into_iter().find(|s| s.outputs == candidate.outputs).ok_or("its scale does not lie as it must")?;
        for i in 1..operands.len() {
            candidate.inputs[i] = step.inputs[i];
        }
        for mut dispatch in step.dispatches {
            dispatch.kernel.in_place = Some((0, operands.len()));
            candidate.dispatches.push(dispatch);
        }
        Ok(candidate)
    }
}
