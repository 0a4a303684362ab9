//! GatherElements and GatherND (ONNX opsets 11 to 13): single elements, or slices, by their indices. On the host.

use std::sync::Arc;

use super::gather::from_front;
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, ShapeError, Value,
};
use crate::tensor::Tensor;
use crate::tensor::shape::{axis, strides};

/// Elements by their indices.
#[derive(Debug, Clone, PartialEq)]
pub enum GatherElements {
    /// `y[i, j, k] = x[index[i, j, k], j, k]`, and alike along another axis.
    Along(i64),
    /// The last dimension of the indices holds the first indices of x, after so many that both share.
    Nd(usize),
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    if d.op_type == "GatherElements" {
        return Ok(Arc::new(GatherElements::Along(d.int("axis")?.unwrap_or(0))));
    }
    let shared = d.int("batch_dims")?.unwrap_or(0);
    let shared = usize::try_from(shared).map_err(|_| DefinitionError::Value("batch_dims", format!("is {shared}")))?;
    Ok(Arc::new(GatherElements::Nd(shared)))
}

/// How many of x's dimensions one index of GatherND takes, and the result's shape.
fn shape_nd<T: Clone>(shared: usize, x: &[T], index: &[T], taken: usize) -> Result<Vec<T>, ShapeError> {
    let fits = shared < index.len() && shared + taken <= x.len();
    let [head @ .., _] = index else { return Err(ShapeError::new("its indices have no dimension")) };
    if !fits {
        return Err(ShapeError::new(format!(
            "indices of {taken} after {shared} shared dimensions do not fit its input"
        )));
    }
    Ok([head, &x[shared + taken..]].concat())
}

impl Operator for GatherElements {
    fn name(&self) -> &str {
        if matches!(self, Self::Along(_)) { "GatherElements" } else { "GatherND" }
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, index) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?);
        match self {
            Self::Along(at) => {
                if x.rank() != index.rank() || axis(*at, x.rank()).is_none() {
                    return Err(ShapeError::new(format!("indices {index} do not go with {x} along axis {at}")));
                }
                Ok(vec![x.with_shape(index.shape.clone())])
            }
            Self::Nd(shared) => match index.shape.last().map(Dim::size) {
                Some(Some(taken)) => Ok(vec![x.with_shape(shape_nd(*shared, &x.shape, &index.shape, taken)?)]),
                // Not even the rank can be known.
                _ => Ok(vec![]),
            },
        }
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (x, index) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let indices = inputs.integers(1)?.unwrap_or_default();
        let own = strides(x.shape());
        let size = x.element_type().size();
        match self {
            Self::Along(at) => {
                let at = axis(*at, x.rank()).filter(|_| x.rank() == index.rank());
                let at = at.ok_or_else(|| ShapeError::new("its indices do not go with its input"))?;
                if (0..x.rank()).any(|i| i != at && index.shape()[i] > x.shape()[i]) {
                    return Err(ShapeError::new(format!("indices {index:?} reach beyond {x:?}")).into());
                }
                let indices = from_front(&indices, x.shape()[at])?;
                let mut outer = own.clone();
                outer[at] = 0;
                let mut out = Vec::with_capacity(indices.len() * size);
                let mut next = indices.into_iter();
                crate::tensor::shape::walk(index.shape(), [&outer], |[from]| {
                    let place = next.next().and_then(|i| usize::try_from(i).ok()).unwrap_or(0);
                    let e = (from + place * own[at]) * size;
                    out.extend_from_slice(x.bytes().get(e..e + size).unwrap_or_default());
                });
                Ok(vec![Tensor::from_bytes(x.element_type(), index.shape().to_vec(), out.into())?.into()])
            }
            Self::Nd(shared) => {
                let taken = index.shape().last().copied().unwrap_or(0);
                let shape = shape_nd(*shared, x.shape(), index.shape(), taken)?;
                if x.shape()[..*shared] != index.shape()[..*shared] {
                    return Err(ShapeError::new(format!("{x:?} and {index:?} share no {shared} dimensions")).into());
                }
                if Tensor::bounded(x.element_type(), &shape)? == 0 {
                    return Ok(vec![Tensor::zeros(x.element_type(), shape)?.into()]);
                }
                let slice: usize = x.shape()[shared + taken..].iter().product();
                let each: usize = index.shape()[*shared..index.rank() - 1].iter().product();
                let count: usize = index.shape()[..index.rank() - 1].iter().product();
                let batch: usize = x.shape()[*shared..].iter().product();
                let mut out = Vec::with_capacity(count * slice * size);
                for i in 0..count {
                    let mut e = i / each.max(1) * batch;
                    for k in 0..taken {
                        let place = from_front(&indices[i * taken + k..=i * taken + k], x.shape()[shared + k])?;
                        e += usize::try_from(place[0]).unwrap_or(0) * own[shared + k];
                    }
                    out.extend_from_slice(&x.bytes()[e * size..(e + slice) * size]);
                }
                Ok(vec![Tensor::from_bytes(x.element_type(), shape, out.into())?.into()])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(operator: &GatherElements, x: Tensor, index: Tensor) -> Result<Value, EvaluateError> {
        let values = [Value::from(x), Value::from(index)];
        let facts =
            values.each_ref().map(|v| v.as_tensor().unwrap()).map(|t| Fact::new(t.element_type(), t.shape().to_vec()));
        operator.infer(&facts.each_ref().map(Some))?;
        Ok(operator.evaluate(&mut Context::default(), Inputs(&values.each_ref().map(Some)))?.remove(0))
    }

    fn tensor(shape: &[usize], values: &[i64]) -> Tensor {
        Tensor::new(shape.to_vec(), values.to_vec()).unwrap()
    }

    #[test]
    fn the_examples_of_the_standard() {
        let x = tensor(&[2, 2], &[1, 2, 3, 4]);
        let y = run(&GatherElements::Along(1), x.clone(), tensor(&[2, 2], &[0, 0, 1, -2])).unwrap();
        assert_eq!(y, tensor(&[2, 2], &[1, 1, 4, 3]).into());
        let y = run(&GatherElements::Nd(0), x.clone(), tensor(&[2, 2], &[0, 0, 1, 1])).unwrap();
        assert_eq!(y, tensor(&[2], &[1, 4]).into());
        let y = run(&GatherElements::Nd(0), x.clone(), tensor(&[2, 1], &[1, 0])).unwrap();
        assert_eq!(y, tensor(&[2, 2], &[3, 4, 1, 2]).into());
        let x = tensor(&[2, 2, 2], &[0, 1, 2, 3, 4, 5, 6, 7]);
        let y = run(&GatherElements::Nd(1), x, tensor(&[2, 1], &[1, 0])).unwrap();
        assert_eq!(y, tensor(&[2, 2], &[2, 3, 4, 5]).into());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let x = tensor(&[2, 2], &[1, 2, 3, 4]);
        assert!(run(&GatherElements::Along(0), x.clone(), tensor(&[1, 1], &[2])).is_err());
        assert!(run(&GatherElements::Along(0), x.clone(), tensor(&[1, 3], &[0, 0, 0])).is_err());
        assert!(run(&GatherElements::Along(2), x.clone(), tensor(&[1, 1], &[0])).is_err());
        assert!(run(&GatherElements::Nd(0), x.clone(), tensor(&[1, 3], &[0, 0, 0])).is_err());
        assert!(run(&GatherElements::Nd(1), x.clone(), tensor(&[1], &[0])).is_err());
        assert!(run(&GatherElements::Nd(usize::MAX), x, tensor(&[1], &[0])).is_err());
    }
}
