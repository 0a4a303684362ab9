//! NonZero (ONNX opsets 9 and 13) and Compress (9 and 11): the places of what is not zero, and the slices that a condition
//! names. How many there are shows in the run, so both run on the host.

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::tensor::shape::axis;
use crate::tensor::{ElementType, Tensor};

/// The places of what is not zero, a column of indices for each.
#[derive(Debug, Clone, PartialEq)]
pub struct NonZero;

/// Slices along an axis, or elements where there is none, for which input 1 is true.
#[derive(Debug, Clone, PartialEq)]
pub struct Compress {
    axis: Option<i64>,
}

pub(super) fn non_zero(_: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(NonZero))
}

pub(super) fn compress(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(Compress { axis: d.int("axis")? }))
}

impl Operator for NonZero {
    fn name(&self) -> &str {
        "NonZero"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        // A single number is taken for a list of one.
        let rank = Fact::at(inputs, 0)?.rank().max(1);
        Ok(vec![Fact::new(ElementType::I64, [Dim::from(rank), Dim::Unknown])])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let shape = if x.rank() == 0 { vec![1] } else { x.shape().to_vec() };
        // What is not zero as a number is not zero as a float of 64 bits either, whatever is rounded.
        let places: Vec<usize> = (0..).zip(x.to_f64()).filter(|(_, v)| *v != 0.0).map(|(i, _)| i).collect();
        let strides = crate::tensor::shape::strides(&shape);
        let index = |(&size, &stride): (&usize, &usize)| {
            places.iter().map(move |place| i64::try_from(place / stride % size).unwrap_or(i64::MAX)).collect::<Vec<_>>()
        };
        let indices: Vec<i64> =
            if places.is_empty() { vec![] } else { shape.iter().zip(&strides).flat_map(index).collect() };
        Ok(vec![Tensor::new([shape.len(), places.len()], indices)?.into()])
    }

    fn candidates(&self, _: &crate::graph::Request<'_>) -> Candidates {
        Err("how much it finds is not known before it runs".to_owned())
    }
}

impl Compress {
    fn place(&self, rank: usize) -> Result<Option<usize>, ShapeError> {
        let place =
            |at| axis(at, rank).ok_or_else(|| ShapeError::new(format!("axis {at} is out of range for rank {rank}")));
        self.axis.map(place).transpose()
    }
}

impl Operator for Compress {
    fn name(&self) -> &str {
        "Compress"
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, condition) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?);
        if condition.element_type != ElementType::Bool || condition.rank() != 1 {
            return Err(ShapeError::new(format!("its condition should be a list of truth values, not {condition}")));
        }
        let kept = condition.constant.as_ref().map(|c| c.to_f64().iter().filter(|v| **v != 0.0).count());
        let kept = kept.map_or(Dim::Unknown, Dim::from);
        Ok(vec![match self.place(x.rank())? {
            Some(at) => {
                let mut shape = x.shape.clone();
                shape[at] = kept;
                x.with_shape(shape)
            }
            None => x.with_shape(vec![kept]),
        }])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (x, condition) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let at = self.place(x.rank())?;
        let (size, slice) = match at {
            Some(at) => (x.shape()[at], x.shape()[at + 1..].iter().product::<usize>()),
            None => (x.len(), 1),
        };
        let kept: Vec<usize> =
            (0..).zip(condition.to_f64()).filter(|(_, v)| *v != 0.0).map(|(i, _): (usize, f64)| i).collect();
        if let Some(out) = kept.iter().find(|&&i| i >= size) {
            return Err(ShapeError::new(format!("its condition keeps slice {out} of {size}")).into());
        }
        let bytes = slice * x.element_type().size();
        let mut out = vec![];
        if size * bytes > 0 {
            for part in x.bytes().chunks_exact(size * bytes) {
                kept.iter().for_each(|i| out.extend_from_slice(&part[i * bytes..(i + 1) * bytes]));
            }
        }
        let mut shape = x.shape().to_vec();
        match at {
            Some(at) => shape[at] = kept.len(),
            None => shape = vec![kept.len()],
        }
        Ok(vec![Tensor::from_bytes(x.element_type(), shape, out.into())?.into()])
    }

    fn candidates(&self, _: &crate::graph::Request<'_>) -> Candidates {
        Err("how much it keeps is not known before it runs".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Truth;

    fn run(operator: &dyn Operator, inputs: &[Tensor]) -> Result<Tensor, EvaluateError> {
        let values: Vec<Value> = inputs.iter().cloned().map(Value::from).collect();
        let values: Vec<Option<&Value>> = values.iter().map(Some).collect();
        let mut results = operator.evaluate(&mut Context::default(), Inputs(&values))?;
        Ok(results.remove(0).into_tensor().unwrap())
    }

    #[test]
    fn places_are_columns_in_order() {
        let x = Tensor::new([2, 3], vec![0f32, 1.0, -0.0, f32::NAN, 0.0, 2.0]).unwrap();
        assert_eq!(run(&NonZero, &[x]).unwrap(), Tensor::new([2, 3], vec![0i64, 1, 1, 1, 0, 2]).unwrap());
        assert_eq!(run(&NonZero, &[Tensor::scalar(i64::MIN)]).unwrap(), Tensor::new([1, 1], vec![0i64]).unwrap());
        let empty = Tensor::zeros(ElementType::I8, [2, 0, 3]).unwrap();
        assert_eq!(run(&NonZero, &[empty]).unwrap().shape(), [3, 0]);
    }

    #[test]
    fn conditions_keep_slices() {
        let x = Tensor::new([3, 2], vec![1i32, 2, 3, 4, 5, 6]).unwrap();
        let keep = |v: &[bool]| Tensor::vector(v.iter().map(|&b| Truth::from(b)).collect());
        let compress = |axis, condition| run(&Compress { axis }, &[x.clone(), condition]);
        assert_eq!(
            compress(Some(0), keep(&[false, true, true])).unwrap(),
            Tensor::new([2, 2], vec![3i32, 4, 5, 6]).unwrap()
        );
        assert_eq!(compress(Some(-1), keep(&[false, true])).unwrap(), Tensor::new([3, 1], vec![2i32, 4, 6]).unwrap());
        assert_eq!(compress(None, keep(&[false, true, false, false, true])).unwrap(), Tensor::vector(vec![2i32, 5]));
        assert_eq!(compress(Some(1), keep(&[])).unwrap().shape(), [3, 0]);
        assert!(compress(Some(1), keep(&[false, false, true])).is_err());
        assert!(compress(Some(2), keep(&[true])).is_err());
        let fact = Compress { axis: Some(0) }.infer(&[Some(&Fact::constant(x)), Some(&Fact::constant(keep(&[true])))]);
        assert_eq!(fact.unwrap()[0].to_string(), "i32[1, 2]");
    }
}
