//! Expand and Tile (ONNX opsets 6 to 13): a tensor repeated, by broadcasting or by numbers.

use std::sync::Arc;

use super::strided::{Strided, signed_strides};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::{Candidates, Layout};
use crate::tensor::Tensor;

/// A tensor repeated.
#[derive(Debug, Clone, PartialEq)]
pub enum Expand {
    /// To the shape that its own and input 1 broadcast to.
    Broadcast,
    /// As often along each dimension as input 1 says.
    Tile,
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(if d.op_type == "Tile" { Expand::Tile } else { Expand::Broadcast }))
}

/// A dimension that is written down: no number below 0.
fn not_negative(numbers: &[i64]) -> Result<Vec<usize>, ShapeError> {
    let wrong = || ShapeError::new(format!("{numbers:?} has a number that is too large or below 0"));
    numbers.iter().map(|&n| usize::try_from(n).map_err(|_| wrong())).collect()
}

impl Expand {
    /// How the result is read from an input whose shape is known, in order.
    pub(crate) fn read(&self, inputs: &[Option<&Fact>]) -> Option<Strided> {
        let shape = Fact::at(inputs, 0).ok()?.concrete()?;
        let numbers = Fact::optional(inputs, 1)?.integers()?;
        Some(self.strided(&shape, &shape, &numbers).ok()?.1)
    }

    /// The result's shape, and how a source of `physical` dimensions (`shape`, its last one padded perhaps) is read for it.
    fn strided(
        &self,
        shape: &[usize],
        physical: &[usize],
        numbers: &[i64],
    ) -> Result<(Vec<usize>, Strided), ShapeError> {
        let numbers = not_negative(numbers)?;
        let own = signed_strides(physical);
        match self {
            Self::Broadcast => {
                let result = crate::tensor::shape::broadcast(shape, &numbers)
                    .ok_or_else(|| ShapeError::new(format!("{shape:?} and {numbers:?} do not broadcast")))?;
                let missing = result.len() - shape.len();
                let mut strided = Strided { dims: result.clone(), strides: vec![0; result.len()], base: 0 };
                for (i, (&n, &stride)) in shape.iter().zip(&own).enumerate() {
                    if n != 1 || result[missing + i] == 1 {
                        strided.strides[missing + i] = stride;
                        // Equal to the result's, but for padding.
                        strided.dims[missing + i] = physical[i];
                    }
                }
                Ok((result, strided))
            }
            Self::Tile => {
                if numbers.len() != shape.len() {
                    return Err(ShapeError::new(format!("{} repeats for {} dimensions", numbers.len(), shape.len())));
                }
                let result = shape.iter().zip(&numbers).map(|(n, r)| n.checked_mul(*r)).collect::<Option<Vec<_>>>();
                let mut strided = Strided { dims: vec![], strides: vec![], base: 0 };
                for ((&n, &stride), &repeats) in physical.iter().zip(&own).zip(&numbers) {
                    strided.dims.extend([repeats, n]);
                    strided.strides.extend([0, stride]);
                }
                Ok((result.ok_or_else(|| ShapeError::new("its result is too large"))?, strided))
            }
        }
    }
}

impl Operator for Expand {
    fn name(&self) -> &str {
        if *self == Self::Tile { "Tile" } else { "Expand" }
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn reads(&self, input: usize) -> Reads {
        match input {
            1 => Reads::Parameter,
            _ => Reads::Elements,
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, by) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?);
        let count = by.count()?;
        let numbers: Option<Vec<Dim>> =
            by.known.clone().or_else(|| Some(by.integers()?.into_iter().map(Dim::Known).collect()));
        let Some(numbers) = numbers else {
            let rank = match self {
                Self::Tile => Some(x.rank()),
                Self::Broadcast => count.map(|n| n.max(x.rank())),
            };
            return Ok(rank.map(|rank| x.with_shape(vec![Dim::Unknown; rank])).into_iter().collect());
        };
        if numbers.iter().any(|n| n.known().is_some_and(|n| n < 0)) {
            return Err(ShapeError::new("a dimension or a number of repeats is below 0"));
        }
        let shape = match self {
            Self::Tile if numbers.len() != x.rank() => {
                return Err(ShapeError::new(format!("{} repeats for {} dimensions", numbers.len(), x.rank())));
            }
            Self::Tile => x.shape.iter().zip(&numbers).map(|(n, r)| n.mul(r)).collect(),
            Self::Broadcast => {
                let rank = numbers.len().max(x.rank());
                let one = Dim::Known(1);
                let at = |dims: &[Dim], i: usize| {
                    (i + dims.len()).checked_sub(rank).map_or(one.clone(), |i| dims[i].clone())
                };
                let dims = (0..rank).map(|i| at(&x.shape, i).broadcast(&at(&numbers, i)));
                dims.collect::<Option<_>>()
                    .ok_or_else(|| ShapeError::new(format!("{x} does not broadcast to its shape")))?
            }
        };
        Ok(vec![x.with_shape(shape)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let numbers = inputs.list(1)?.ok_or_else(|| ShapeError::new("input 1 is missing"))?;
        let (shape, strided) = self.strided(x.shape(), x.shape(), &numbers)?;
        if Tensor::bounded(x.element_type(), &shape)? == 0 {
            return Ok(vec![Tensor::zeros(x.element_type(), shape)?.into()]);
        }
        Ok(vec![strided.gather(x, &shape)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        request.any_storage(0)?;
        let shape = request.shape(0)?;
        let result = request.output_shape(0)?;
        let numbers = request.input(1)?.fact.integers();
        let numbers = match (self, numbers) {
            (_, Some(numbers)) => numbers,
            // The result's shape says it all.
            (Self::Broadcast, None) => result.iter().map(|&n| i64::try_from(n).unwrap_or(i64::MAX)).collect(),
            (Self::Tile, None) => return Err("its repeats are computed at run time".to_owned()),
        };
        let mut candidates = vec![];
        for layout in [Layout::Linear, Layout::Rows] {
            // Rows stay rows where they are not repeated.
            let kept = shape.last().is_some() && shape.last() == result.last();
            if layout == Layout::Rows && (!kept || layout.canonical(&shape) == Layout::Linear) {
                continue;
            }
            let physical = layout.physical_shape(&shape);
            let (_, strided) = self.strided(&shape, &physical, &numbers).map_err(|e| e.to_string())?;
            candidates.extend(strided.candidates(request, layout, layout)?);
        }
        Ok(candidates)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::ElementType;
    use crate::testing::{Input, Tolerance, try_check};

    fn run(operator: &Expand, x: Tensor, numbers: &[i64]) -> Result<Vec<Value>, EvaluateError> {
        let values = [Value::from(x), Value::from(Tensor::vector(numbers.to_vec()))];
        operator.evaluate(&mut Context::default(), Inputs(&values.each_ref().map(Some)))
    }

    #[test]
    fn tensors_are_repeated() {
        let x = Tensor::new([2, 1], vec![1i64, 2]).unwrap();
        let y = run(&Expand::Broadcast, x.clone(), &[1, 1, 3]).unwrap();
        assert_eq!(y, [Tensor::new([1, 2, 3], vec![1i64, 1, 1, 2, 2, 2]).unwrap().into()]);
        // A dimension of 1 in the shape asked for keeps the tensor's own.
        assert_eq!(run(&Expand::Broadcast, x.clone(), &[1]).unwrap(), [x.clone().into()]);
        let y = run(&Expand::Tile, x.clone(), &[2, 2]).unwrap();
        assert_eq!(y, [Tensor::new([4, 2], vec![1i64, 1, 2, 2, 1, 1, 2, 2]).unwrap().into()]);
        for wrong in [vec![3, 1], vec![-1, 1], vec![i64::MAX, 2, 1]] {
            assert!(run(&Expand::Broadcast, x.clone(), &wrong).is_err(), "{wrong:?}");
        }
        for wrong in [vec![1], vec![-1, 1], vec![i64::MAX, i64::MAX], vec![1 << 30, 1 << 30]] {
            assert!(run(&Expand::Tile, x.clone(), &wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn symbols_are_kept() {
        let x = Fact::new(ElementType::F32, [Dim::Known(1), Dim::symbol("n")]);
        let by = Fact::dims(vec![Dim::symbol("b"), Dim::Known(1)]);
        assert_eq!(Expand::Broadcast.infer(&[Some(&x), Some(&by)]).unwrap()[0].to_string(), "f32[b, n]");
        let by = Fact::dims(vec![Dim::Known(2), Dim::Known(3)]);
        assert_eq!(Expand::Tile.infer(&[Some(&x), Some(&by)]).unwrap()[0].to_string(), "f32[2, n·3]");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn gpu_and_reference_agree(
            dims in prop::collection::vec((prop::sample::select(vec![0usize, 1, 2, 3, 4, 5, 8]), 0i64..4), 1..5),
            tile in any::<bool>(),
        ) {
            let shape: Vec<usize> = dims.iter().map(|d| d.0).collect();
            let x: Vec<f32> = (0..shape.iter().product()).map(|i| i as f32).collect();
            let numbers: Vec<i64> = dims.iter().map(|&(n, k)| if tile || n == 1 { k } else { 1 }).collect();
            let inputs = [Input::Run(Tensor::new(shape, x).unwrap()), Input::Constant(Tensor::vector(numbers))];
            let operator = if tile { Expand::Tile } else { Expand::Broadcast };
            try_check(&operator, &inputs, Tolerance::EXACT).map_err(TestCaseError::fail)?;
        }
    }
}
