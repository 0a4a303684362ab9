//! Softmax, LogSoftmax and Hardmax (ONNX opsets 1, 11, 13).
//!
//! `y_i = exp(x_i - max x) / Σ_j exp(x_j - max x)` along `axis`, its logarithm, or 1 at the first maximum and 0 elsewhere.
//! Before opset 13 the axes from `axis` on count as one.

use std::sync::Arc;

use super::lanes::map_lanes;
use super::{Groups, Lanes, WORKGROUP, lanes};
use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Storage, Want};
use crate::tensor::shape;

/// What is computed along a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Softmax,
    LogSoftmax,
    Hardmax,
}

/// Softmax along an axis, or one of its kin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Softmax {
    function: Function,
    axis: i64,
    /// Whether the lanes go on to the last axis.
    flattened: bool,
}

/// Makes the function that the definition names.
pub(in crate::ops) fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let flattened = definition.opset < 13;
    Ok(Arc::new(Softmax {
        function: match definition.op_type.as_str() {
            "Softmax" => Function::Softmax,
            "LogSoftmax" => Function::LogSoftmax,
            _ => Function::Hardmax,
        },
        axis: definition.int("axis")?.unwrap_or(if flattened { 1 } else { -1 }),
        flattened,
    }))
}

impl Softmax {
    /// The lanes of an input of this shape as blocks, elements of a lane, and lanes side by side, and whether the logarithm
    /// is meant; `None` for another function.
    pub(crate) fn lanes(&self, shape: &[usize]) -> Option<([usize; 3], bool)> {
        let (from, to) = self.axes(shape.len()).ok()?;
        let lanes = Lanes::of(shape, from, to).ok()?;
        (self.function != Function::Hardmax).then_some(([lanes.outer, lanes.length, lanes.inner], self.log()))
    }

    /// The axes along which the lanes go: from the first one until before the second.
    fn axes(&self, rank: usize) -> Result<(usize, usize), ShapeError> {
        // Flattening may begin behind the last axis: each element is a lane then. A scalar is a lane of its own.
        if self.flattened && i64::try_from(rank) == Ok(self.axis) {
            return Ok((rank, rank));
        }
        if rank == 0 {
            return Ok((0, 0));
        }
        let axis = shape::axis(self.axis, rank)
            .ok_or_else(|| ShapeError::new(format!("axis {} is out of range for rank {rank}", self.axis)))?;
        Ok((axis, if self.flattened { rank } else { axis + 1 }))
    }
}

impl Operator for Softmax {
    fn gives_probabilities(&self) -> bool {
        self.function == Function::Softmax
    }

    fn name(&self) -> &str {
        match self.function {
            Function::Softmax => "Softmax",
            Function::LogSoftmax => "LogSoftmax",
            Function::Hardmax => "Hardmax",
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        if !x.element_type.is_float() {
            return Err(ShapeError::new(format!("it takes floating-point numbers, not {}", x.element_type)));
        }
        self.axes(x.rank())?;
        Ok(vec![x.without_content()])
    }

    /// Reference. The maximum is taken out first, so that no exponent overflows.
    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let (from, to) = self.axes(x.rank())?;
        let lanes = Lanes::of(x.shape(), from, to)?;
        let y = map_lanes(x, lanes, |_, lane| {
            let max = lane.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = lane.iter().map(|v| (v - max).exp()).sum();
            // As ArgMax: nothing is larger than a NaN at the beginning, and no NaN is larger than a number.
            let best = (1..lane.len()).fold(0, |best, i| if lane[i] > lane[best] { i } else { best });
            for (i, v) in lane.iter_mut().enumerate() {
                *v = match self.function {
                    Function::Softmax => (*v - max).exp() / sum,
                    Function::LogSoftmax => *v - max - sum.ln(),
                    Function::Hardmax => f64::from(u8::from(best == i)),
                };
            }
        })?;
        Ok(vec![y.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let dims = request.shape(0)?;
        let (from, to) = self.axes(dims.len()).map_err(|e| e.to_string())?;
        let lanes = Lanes::of(&dims, from, to).map_err(|e| e.to_string())?;
        if self.function == Function::Hardmax {
            return hardmax(request, lanes);
        }
        let own = request.input(0)?.layout;
        let layouts = if own == Layout::Linear { vec![own] } else { vec![own, Layout::Linear] };
        let mut all = vec![];
        for layout in layouts {
            let candidate = match Groups::of(&dims, from, to, layout) {
                Some(groups) => self.whole(request, groups, layout)?,
                None if layout == Layout::Linear => self.shared(request, lanes)?,
                None => continue,
            };
            let units = lanes.elements().div_ceil(4) as f64;
            all.push(candidate.cost(units * 120.0, units * 4.0 * request.storage(0)?.unit_bytes() as f64));
        }
        Ok(all)
    }

    fn work(&self, _: &[Option<&Fact>], outputs: &[Fact]) -> f64 {
        let elements: f64 = outputs.iter().filter_map(Fact::concrete).flatten().map(|d| d as f64).product();
        5.0 * elements
    }
}

impl Softmax {
    fn log(&self) -> bool {
        self.function == Function::LogSoftmax
    }

    /// Lanes of whole units: one dispatch.
    fn whole(&self, request: &Request<'_>, groups: Groups, layout: Layout) -> Result<Candidate, String> {
        let kernel = Kernel::of("norm/softmax.wgsl")
            .define("WORKGROUP", WORKGROUP)
            .define("LOG", self.log())
            .define("COLUMNS", groups.columns)
            .define("COOPERATIVE", groups.cooperative(request.device));
        let dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(0), request.storage(0)?)
            .bind(Binding::Output(0), request.output_storage(0)?);
        Ok(Candidate::new(if groups.columns { "columns" } else { "rows" }, vec![Want::In(layout)], vec![layout])
            .dispatch(groups.dispatch(dispatch, request.device))
            .in_place(0))
    }

    /// Lanes that share units: their maxima and sums first, then each unit.
    fn shared(&self, request: &Request<'_>, lanes: Lanes) -> Result<Candidate, String> {
        let candidate = Candidate::new("shared", vec![Want::In(Layout::Linear)], vec![Layout::Linear]).in_place(0);
        if u32::try_from(lanes.elements()).is_err() {
            return Err("it has more elements than a shader can count".to_owned());
        }
        if lanes.elements() == 0 {
            return Ok(candidate);
        }
        let statistics = Dispatch::of(Kernel::of("norm/softmax.wgsl"));
        let apply = Kernel::of("norm/apply.wgsl").define("SOFTMAX", true).define("LOG", self.log());
        lanes::shared(candidate, request, lanes, statistics, apply)
    }
}

/// The place of each lane's first maximum, as ArgMax finds it, then ones there.
fn hardmax(request: &Request<'_>, lanes: Lanes) -> Candidates {
    let mut candidate = Candidate::new("places", vec![Want::In(Layout::Linear)], vec![Layout::Linear]);
    if u32::try_from(lanes.elements()).is_err() {
        return Err("it has more elements than a shader can count".to_owned());
    }
    if lanes.elements() > 0 {
        let sized = |dispatch: Dispatch| dispatch.param("length", lanes.length).param("inner", lanes.inner);
        let (places, units) = (lanes.count().div_ceil(4), lanes.elements().div_ceil(4));
        let best = Kernel::of("reduce/arg.wgsl").define("WORKGROUP", WORKGROUP).paste("BETTER", "v > best");
        let best = Dispatch::of(best)
            .bind(Binding::Input(0), request.storage(0)?)
            .bind(Binding::Scratch(0), Storage::I32)
            .param("units", places)
            .param("lanes", lanes.count());
        let ones = Dispatch::of(Kernel::of("norm/hardmax.wgsl").define("WORKGROUP", WORKGROUP))
            .bind(Binding::Scratch(0), Storage::I32)
            .bind(Binding::Output(0), request.output_storage(0)?)
            .param("units", units)
            .param("elements", lanes.elements());
        candidate.scratch.push((places as u64, Storage::I32));
        candidate = candidate
            .dispatch(sized(best).linear(places as u64, WORKGROUP, request.device))
            .dispatch(sized(ones).linear(units as u64, WORKGROUP, request.device));
    }
    let elements = lanes.elements() as f64;
    Ok(vec![candidate.cost(elements * 6.0, elements * 8.0)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::{Tensor, shape::elements};
    use crate::testing::{Input, Tolerance, check, try_check};

    fn softmax(name: &str, opset: i64, axis: i64) -> Arc<dyn Operator> {
        make(&Definition { opset, ..Definition::new(name) }.attribute("axis", axis)).unwrap()
    }

    fn random(shape: &[usize], scale: f32) -> Tensor {
        let n = elements(shape).unwrap();
        let x = (0..n).map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 - 1.0);
        Tensor::new(shape, x.map(|x| x * scale).collect()).unwrap()
    }

    fn run(operator: &dyn Operator, x: &Tensor) -> Tensor {
        let x = Value::from(x.clone());

        operator.evaluate(&mut Context::default(), Inputs(&[Some(&x)])).unwrap().remove(0).into_tensor().unwrap()
    }

    #[test]
    fn values_of_the_standard() {
        let x = Tensor::new([2, 4], vec![0.0f32, 1.0, 2.0, 3.0, 10_000.0, 10_001.0, 10_002.0, 10_003.0]).unwrap();
        let y = run(&*softmax("Softmax", 13, -1), &x);
        for row in y.as_slice::<f32>().unwrap().chunks(4) {
            for (y, e) in row.iter().zip([0.032_058_604, 0.087_144_32, 0.236_882_82, 0.643_914_3]) {
                assert!((y - e).abs() < 1e-6);
            }
        }
        let y = run(&*softmax("Hardmax", 13, 1), &Tensor::new([1, 4], vec![1.0f32, 3.0, 3.0, 2.0]).unwrap());
        assert_eq!(y.as_slice::<f32>().unwrap(), [0.0, 1.0, 0.0, 0.0]);
        let x = random(&[2, 3, 4], 1.0);
        let flat = run(&*softmax("Softmax", 11, 1), &x);
        assert_eq!(flat, run(&*softmax("Softmax", 13, 1), &x.reshaped([2, 12]).unwrap()).reshaped([2, 3, 4]).unwrap());
        assert!(softmax("Softmax", 13, 3).infer(&[Some(&Fact::constant(x))]).is_err());
    }

    #[test]
    fn long_lanes_and_large_magnitudes_agree() {
        // Logarithms of sums of 4,100 terms; f16 holds magnitudes of 1,000 to a half.
        for (shape, axis) in [
            ([1, 4100, 1], 1),
            ([1, 1, 4100], 2),
            ([3, 2, 257], 2),
            ([2, 300, 8], 1),
            ([1, 4101, 3], 1),
            ([1, 1, 4101], 2),
            ([1, 1, 10], 2),
        ] {
            for scale in [1.0, 1000.0] {
                for name in ["Softmax", "LogSoftmax"] {
                    check(&*softmax(name, 13, axis), &[Input::Run(random(&shape, scale))], Tolerance::relative(4e-6));
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn softmax_agrees(
            shape in prop::collection::vec(prop::sample::select(vec![0usize, 1, 2, 3, 4, 5, 8, 13]), 0..5),
            axis in -4i64..4,
            name in prop::sample::select(vec!["Softmax", "LogSoftmax", "Hardmax"]),
            old in any::<bool>(),
        ) {
            let axis = if shape.is_empty() { 0 } else { axis % shape.len() as i64 };
            let operator = softmax(name, if old { 11 } else { 13 }, axis);
            try_check(&*operator, &[Input::Run(random(&shape, 20.0))], Tolerance::relative(2e-6)).map_err(TestCaseError::fail)?;
        }
    }
}
