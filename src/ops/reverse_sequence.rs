//! ReverseSequence (ONNX opset 10): sequences of different lengths in a batch, each of them turned around.
//!
//! `y[t, b] = x[lengths[b] − 1 − t, b]` for t below `lengths[b]`, `x[t, b]` from there on.

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::tensor::{ElementType, Tensor, shape};

/// Sequences of a batch, turned around.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReverseSequence {
    /// Whether the batch is the first dimension and time the second, not the other way round.
    batch_first: bool,
}

/// Makes a ReverseSequence.
pub(super) fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    match (definition.int("time_axis")?.unwrap_or(0), definition.int("batch_axis")?.unwrap_or(1)) {
        (0, 1) => Ok(Arc::new(ReverseSequence { batch_first: false })),
        (1, 0) => Ok(Arc::new(ReverseSequence { batch_first: true })),
        (time, batch) => Err(DefinitionError::Value(
            "time_axis",
            format!("is {time} and batch_axis {batch}; one must be 0, the other 1"),
        )),
    }
}

impl ReverseSequence {
    /// The sizes along time and along the batch.
    fn sizes<T: Clone>(self, x: &[T]) -> (T, T) {
        if self.batch_first { (x[1].clone(), x[0].clone()) } else { (x[0].clone(), x[1].clone()) }
    }
}

impl Operator for ReverseSequence {
    fn name(&self) -> &str {
        "ReverseSequence"
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, lengths) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?);
        let integers = matches!(lengths.element_type, ElementType::I64 | ElementType::I32);
        if x.rank() < 2 || lengths.rank() != 1 || !integers {
            return Err(ShapeError::new(format!("lengths {lengths} do not go with sequences {x}")));
        }
        let (time, batch) = self.sizes(&x.shape);
        if lengths.shape[0].known().zip(batch.known()).is_some_and(|(a, b)| a != b) {
            return Err(ShapeError::new(format!("lengths {lengths} do not go with sequences {x}")));
        }
        let out = |n: &i64| *n < 0 || time.known().is_some_and(|t| *n > t);
        if let Some(n) = lengths.integers().and_then(|all| all.into_iter().find(out)) {
            return Err(ShapeError::new(format!("a length is {n}, but there are {time} steps")));
        }
        Ok(vec![x.without_content()])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (x, lengths) = (inputs.tensor(0)?, inputs.integers(1)?.unwrap_or_default());
        if x.rank() < 2 || self.sizes(x.shape()).1 != lengths.len() {
            return Err(ShapeError::new("its lengths do not go with its sequences").into());
        }
        let (time, _) = self.sizes(x.shape());
        let step = x.shape()[2..].iter().product::<usize>() * x.element_type().size();
        let mut out = Vec::with_capacity(x.bytes().len());
        for (a, b) in (0..x.shape()[0]).flat_map(|a| (0..x.shape()[1]).map(move |b| (a, b))) {
            let (t, n) = if self.batch_first { (b, a) } else { (a, b) };
            let length = usize::try_from(lengths[n]).ok().filter(|&n| n <= time);
            let length = length
                .ok_or_else(|| ShapeError::new(format!("a length is {}, but there are {time} steps", lengths[n])))?;
            let from = if t < length { length - 1 - t } else { t };
            let row = if self.batch_first { a * time + from } else { from * x.shape()[1] + b };
            out.extend_from_slice(&x.bytes()[row * step..(row + 1) * step]);
        }
        Ok(vec![Tensor::from_bytes(x.element_type(), x.shape(), out.into())?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let x = request.shape(0)?;
        let elements = shape::elements(&x).filter(|&n| n < 1 << 30).ok_or("it is too large for 32-bit indices")?;
        let candidate = Candidate::new("gather", vec![Want::In(Layout::Linear); 2], vec![Layout::Linear]);
        if elements == 0 {
            return Ok(vec![candidate]);
        }
        let units = elements.div_ceil(4);
        let (time, batch) = self.sizes(&x);
        let kernel = Kernel::of("shape/reverse.wgsl").define("WORKGROUP", WORKGROUP);
        let dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(0), request.any_storage(0)?)
            .bind(Binding::Input(1), request.index_storage(1)?)
            .bind(Binding::Output(0), request.any_output_storage(0)?)
            .param("units", units)
            .param("elements", elements)
            .param("time", time)
            .param("batch", batch)
            .param("inner", elements / (time * batch))
            .param("batch_first", u32::from(self.batch_first))
            .linear(units as u64, WORKGROUP, request.device);
        Ok(vec![candidate.dispatch(dispatch).cost(0.0, elements as f64 * 20.0)])
    }
}

const WORKGROUP: u32 = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Input, Tolerance, try_check};

    fn run(d: &Definition, x: Tensor, lengths: &[i64]) -> Result<Vec<i64>, String> {
        let operator = make(d).map_err(|e| e.to_string())?;
        let inputs = [Value::from(x), Tensor::vector(lengths.to_vec()).into()];
        let y = operator.evaluate(&mut Context::default(), Inputs(&inputs.each_ref().map(Some)));
        Ok(y.map_err(|e| e.to_string())?[0].as_tensor().unwrap().as_slice::<i64>().unwrap().to_vec())
    }

    #[test]
    fn the_first_steps_turn_and_the_others_stay() {
        let x = Tensor::new([3, 2], vec![1i64, 2, 3, 4, 5, 6]).unwrap();
        let d = Definition::new("ReverseSequence");
        assert_eq!(run(&d, x.clone(), &[3, 2]).unwrap(), [5, 4, 3, 2, 1, 6]);
        assert_eq!(run(&d, x.clone(), &[0, 1]).unwrap(), [1, 2, 3, 4, 5, 6]);
        let turned = d.clone().attribute("time_axis", 1).attribute("batch_axis", 0);
        assert_eq!(run(&turned, x.clone(), &[2, 1, 2]).unwrap(), [2, 1, 3, 4, 6, 5]);
        assert!(run(&d, x.clone(), &[4, 1]).is_err());
        assert!(run(&d, x.clone(), &[-1, 1]).is_err());
        assert!(run(&d, x.clone(), &[1]).is_err());
        assert!(run(&d.attribute("time_axis", 1), x, &[1, 1]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_kernel_agrees_with_the_reference(
            (time, batch) in (1usize..6, 0usize..4), inner in prop::collection::vec(0usize..6, 0..3),
            batch_first in any::<bool>(), seed in any::<u16>(),
        ) {
            let x = if batch_first { [batch, time] } else { [time, batch] };
            let x = [x.to_vec(), inner].concat();
            let n: usize = x.iter().product();
            let x = Tensor::new(x, (0..n).map(|i| i as f32).collect()).unwrap();
            let lengths = (0..batch).map(|b| ((usize::from(seed) >> (3 * b)) % (time + 1)) as i64).collect();
            let operator = ReverseSequence { batch_first };
            try_check(&operator, &[Input::Run(x), Input::Run(Tensor::vector(lengths))], Tolerance::EXACT)
                .map_err(TestCaseError::fail)?;
        }
    }
}
