//! LRN, local response normalization (ONNX opsets 1 and 13).
//!
//! `y[n, c] = x[n, c] / (bias + alpha / size · Σ x[n, i]²)^beta`, i from ⌊(size − 1) / 2⌋ channels before c to
//! ⌈(size − 1) / 2⌉ after it, as far as there are any.

use std::sync::Arc;

use super::{Lanes, WORKGROUP, lanes::map_lanes};
use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};

/// A normalization of each element by those of the neighbouring channels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Response {
    size: usize,
    alpha: f32,
    beta: f32,
    bias: f32,
}

/// Makes an LRN.
pub(in crate::ops) fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let size = definition.int("size")?.ok_or(DefinitionError::Missing("size"))?;
    let refused = || DefinitionError::Value("size", format!("is {size}, not a number of channels"));
    Ok(Arc::new(Response {
        size: usize::try_from(size).ok().filter(|n| (1..1 << 24).contains(n)).ok_or_else(refused)?,
        alpha: definition.float("alpha")?.unwrap_or(1e-4),
        beta: definition.float("beta")?.unwrap_or(0.75),
        bias: definition.float("bias")?.unwrap_or(1.0),
    }))
}

impl Response {
    /// The channels before and after its own that count.
    const fn reach(&self) -> (usize, usize) {
        ((self.size - 1) / 2, self.size / 2)
    }
}

impl Operator for Response {
    fn name(&self) -> &str {
        "LRN"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        if !x.element_type.is_float() || x.rank() < 2 {
            return Err(ShapeError::new(format!("it takes floating-point numbers in channels, not {x}")));
        }
        Ok(vec![x.without_content()])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        self.infer(&[Some(&Fact::new(x.element_type(), x.shape().to_vec()))])?;
        let (before, after) = self.reach();
        let [alpha, beta, bias] = [self.alpha, self.beta, self.bias].map(f64::from);
        let mut squares = vec![];
        let y = map_lanes(x, Lanes::of(x.shape(), 1, 2)?, |_, lane| {
            squares.clear();
            squares.extend(lane.iter().map(|v| v * v));
            for (c, v) in lane.iter_mut().enumerate() {
                let end = c.saturating_add(after).saturating_add(1).min(squares.len());
                let sum: f64 = squares[c.saturating_sub(before)..end].iter().sum();
                *v /= (bias + alpha / self.size as f64 * sum).powf(beta);
            }
        })?;
        Ok(vec![y.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let lanes = Lanes::of(&request.shape(0)?, 1, 2).map_err(|e| e.to_string())?;
        if u32::try_from(lanes.elements()).is_err() {
            return Err("it has more elements than a shader can count".to_owned());
        }
        let mut candidate = Candidate::new("channels", vec![Want::In(Layout::Linear)], vec![Layout::Linear]);
        if lanes.elements() > 0 {
            let (before, after) = self.reach();
            let units = lanes.elements().div_ceil(4);
            let dispatch = Dispatch::of(Kernel::of("norm/response.wgsl").define("WORKGROUP", WORKGROUP))
                .bind(Binding::Input(0), request.storage(0)?)
                .bind(Binding::Output(0), request.output_storage(0)?)
                .param("units", units)
                .param("elements", lanes.elements())
                .param("channels", lanes.length)
                .param("inner", lanes.inner)
                .param("before", before.min(lanes.length))
                .param("after", after.min(lanes.length))
                .param("alpha", self.alpha / self.size as f32)
                .param("beta", self.beta)
                .param("bias", self.bias)
                .linear(units as u64, WORKGROUP, request.device);
            candidate = candidate.dispatch(dispatch);
        }
        let elements = lanes.elements() as f64;
        Ok(vec![candidate.cost(elements * (2.0 * self.size.min(lanes.length) as f64 + 60.0), elements * 8.0)])
    }

    fn work(&self, _: &[Option<&Fact>], outputs: &[Fact]) -> f64 {
        let elements: f64 = outputs.iter().filter_map(Fact::concrete).flatten().map(|d| d as f64).product();
        elements * (2.0 * self.size as f64 + 20.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{random, run};
    use super::*;
    use crate::tensor::Tensor;
    use crate::testing::{Input, Tolerance, try_check};

    #[test]
    fn values_by_hand() {
        let x = Tensor::new([1, 4, 1], vec![1f32, 2.0, 3.0, 4.0]).unwrap();
        let lrn = |size: i64| {
            let definition = Definition::new("LRN").attribute("size", size).attribute("beta", 1.0f32);
            make(&definition.attribute("alpha", size as f32).attribute("bias", 0.0f32))
        };
        // Windows of three: 1 + 4, 1 + 4 + 9, 4 + 9 + 16, 9 + 16; of two: the channel and the one after it.
        let y = run(&*lrn(3).unwrap(), std::slice::from_ref(&x));
        assert_eq!(y[0].as_slice::<f32>().unwrap(), [1.0 / 5.0, 2.0 / 14.0, 3.0 / 29.0, 4.0 / 25.0]);
        let y = run(&*lrn(2).unwrap(), std::slice::from_ref(&x));
        assert_eq!(y[0].as_slice::<f32>().unwrap(), [1.0 / 5.0, 2.0 / 13.0, 3.0 / 25.0, 4.0 / 16.0]);
        assert!(lrn(0).is_err() && lrn(i64::MAX).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        // A power by exponential and logarithm: their roundings of a few 2⁻²⁴ grow with beta · ln, below 10 here.
        #[test]
        fn agrees(
            (images, channels) in (0usize..3, 1usize..12),
            positions in prop::collection::vec(prop::sample::select(vec![1usize, 2, 3, 5, 7, 16]), 0..3),
            size in 1i64..9,
            beta in prop::sample::select(vec![0.0f32, 0.5, 0.75, 1.0, 2.0]),
        ) {
            let definition = Definition::new("LRN").attribute("size", size).attribute("beta", beta);
            let operator = make(&definition.attribute("alpha", 0.5f32).attribute("bias", 2.0f32)).unwrap();
            let x = random(&[vec![images, channels], positions].concat(), 3.0, 0.3);
            try_check(&*operator, &[Input::Run(x)], Tolerance::relative(3e-6)).map_err(TestCaseError::fail)?;
        }
    }
}
