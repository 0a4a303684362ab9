//! Multinomial (ONNX opsets 7 and 22): classes drawn by the logarithms of their probabilities, which need not be scaled.

use std::sync::Arc;

use super::philox::{Key, key, unit_interval, words};
use super::{next_key, own_key};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::ops::gather_elements::countable;
use crate::ops::strided::WORKGROUP;
use crate::tensor::{ElementType, Tensor};

/// So many classes for each row of input 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Multinomial {
    samples: usize,
    element_type: ElementType,
    key: Option<Key>,
}

pub(in crate::ops) fn multinomial(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let samples = d.int("sample_size")?.unwrap_or(1);
    let samples =
        usize::try_from(samples).map_err(|_| DefinitionError::Value("sample_size", format!("is {samples}")))?;
    let element_type = match d.int("dtype")?.unwrap_or(6) {
        6 => ElementType::I32,
        7 => ElementType::I64,
        other => return Err(DefinitionError::Value("dtype", format!("is {other}, neither int32 nor int64"))),
    };
    Ok(Arc::new(Multinomial { samples, element_type, key: own_key(d)? }))
}

/// What is no number has no probability; beyond the bounds nothing changes.
fn logarithm(v: f64) -> f64 {
    if v.is_nan() { -1e30 } else { v.clamp(-1e30, 1e30) }
}

impl Operator for Multinomial {
    fn name(&self) -> &str {
        "Multinomial"
    }

    fn is_deterministic(&self) -> bool {
        false
    }

    fn with_seed(&self, seed: u64, stream: u64) -> Option<Arc<dyn Operator>> {
        self.key.is_none().then(|| Arc::new(Self { key: Some(key(seed, stream)), ..self.clone() }) as Arc<dyn Operator>)
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let ([batches, classes], true) = (x.shape.as_slice(), x.element_type.is_float()) else {
            return Err(ShapeError::new(format!("it takes rows of logarithms, not {x}")));
        };
        if classes.size() == Some(0) {
            return Err(ShapeError::new("there are no classes"));
        }
        Ok(vec![Fact::new(self.element_type, [batches.clone(), Dim::from(self.samples)])])
    }

    fn evaluate(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let &[batches, classes] = x.shape() else { return Err(ShapeError::new("it takes rows of logarithms").into()) };
        if classes == 0 {
            return Err(ShapeError::new("there are no classes").into());
        }
        let shape = [batches, self.samples];
        let mut drawn = Vec::with_capacity(Tensor::bounded(self.element_type, &shape)?);
        let mut words = words(self.key.unwrap_or_else(|| next_key(context))).map(unit_interval);
        for row in x.to_f64().chunks(classes) {
            let largest = row.iter().copied().map(logarithm).fold(-1e30, f64::max);
            let weights: Vec<f64> = row.iter().map(|&v| (logarithm(v) - largest).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for _ in 0..self.samples {
                let wanted = words.next().unwrap_or_default() * sum;
                let mut part = 0.0;
                let reached = weights.iter().position(|w| {
                    part += w;
                    part > wanted
                });
                drawn.push(reached.unwrap_or(classes - 1) as f64);
            }
        }
        Ok(vec![Tensor::from_f64(self.element_type, shape, drawn)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let (from, to) = (request.storage(0)?, request.index_output_storage(0)?);
        let elements = countable(&request.output_shape(0)?)?;
        let shape = request.shape(0)?;
        let classes = *shape.last().ok_or("it takes rows of logarithms")?;
        countable(&shape)?;
        let candidate = Candidate::new("draw", vec![Want::In(Layout::Linear)], vec![Layout::Linear]);
        if elements == 0 {
            return Ok(vec![candidate]);
        }
        let [key0, key1] = self.key.ok_or("its seed is not known before the run")?;
        let units = elements.div_ceil(4);
        let dispatch = Dispatch::of(Kernel::of("random/multinomial.wgsl").define("WORKGROUP", WORKGROUP))
            .bind(Binding::Input(0), from)
            .bind(Binding::Output(0), to)
            .param("units", units)
            .param("elements", elements)
            .param("classes", classes)
            .param("samples", self.samples)
            .param("key0", key0)
            .param("key1", key1)
            .linear(units as u64, WORKGROUP, request.device);
        let steps = elements as f64 * classes as f64;
        Ok(vec![candidate.cost(steps * 30.0, steps * 8.0).dispatch(dispatch)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Input, Tolerance, check};

    fn draw(samples: i64, x: Tensor) -> Result<Vec<f64>, EvaluateError> {
        let operator = multinomial(&Definition::new("Multinomial").attribute("sample_size", samples)).unwrap();
        let operator = operator.with_seed(1, 2).unwrap();
        let y = operator.evaluate(&mut Context::default(), Inputs(&[Some(&x.into())]))?.remove(0);
        Ok(y.into_tensor().unwrap().to_f64())
    }

    #[test]
    fn classes_come_as_often_as_they_should() {
        let logarithms: Vec<f32> = [0.1f32, 0.0, 0.6, 0.3].iter().map(|p| p.ln()).collect();
        let drawn = draw(10_000, Tensor::new([1, 4], logarithms).unwrap()).unwrap();
        // The deviation of a count is at most 50; four times that is next to never reached.
        for (class, expected) in [1000.0, 0.0, 6000.0, 3000.0f64].into_iter().enumerate() {
            let count = drawn.iter().filter(|v| **v == class as f64).count() as f64;
            assert!((count - expected).abs() < 200.0 && (expected > 0.0 || count == 0.0), "{class}: {count}");
        }
        assert_eq!(draw(3, Tensor::new([1, 2], vec![f32::NAN, 0.0]).unwrap()).unwrap(), [1.0; 3]);
        assert!(draw(3, Tensor::new([1, 0], Vec::<f32>::new()).unwrap()).is_err());
        assert!(multinomial(&Definition::new("Multinomial").attribute("sample_size", -1i64)).is_err());
    }

    /// Where a random number falls on a boundary, by 2⁻²⁰ or so, the classes might differ: of these few none does.
    #[test]
    fn the_kernel_draws_the_same() {
        for (batches, classes, samples) in [(0usize, 3usize, 2i64), (1, 1, 5), (3, 4, 7), (2, 13, 1), (1, 5, 0)] {
            let d = Definition::new("Multinomial").attribute("sample_size", samples);
            let operator = multinomial(&d).unwrap().with_seed(5, 6).unwrap();
            let n = batches * classes;
            let x = Tensor::new([batches, classes], (0..n).map(|i| ((i * 7) % 11) as f32 / 4.0).collect()).unwrap();
            check(&*operator, &[Input::Run(x)], Tolerance::EXACT);
        }
    }
}
