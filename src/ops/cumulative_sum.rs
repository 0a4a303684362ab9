//! CumSum (ONNX opsets 11 and 14): sums of all elements up to each, along an axis. On the host.

use std::sync::Arc;

use crate::graph::{Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, ShapeError, Value};
use crate::tensor::shape::axis;
use crate::tensor::{Element, ElementType, Tensor};

/// Running sums along an axis (input 1).
#[derive(Debug, Clone, PartialEq)]
pub struct CumulativeSum {
    /// Without the element itself.
    exclusive: bool,
    /// From the back.
    reverse: bool,
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(CumulativeSum { exclusive: d.flag("exclusive", false)?, reverse: d.flag("reverse", false)? }))
}

impl CumulativeSum {
    /// The running sums, kept in `S`, which is wider than the elements where those are floating point.
    fn sums<T: Element, S: Copy>(
        &self,
        x: &Tensor,
        at: usize,
        (zero, add, give): (S, impl Fn(S, T) -> S, impl Fn(S) -> T),
    ) -> Result<Tensor, EvaluateError> {
        let (n, inner) = (x.shape()[at], x.shape()[at + 1..].iter().product::<usize>());
        let mut out = x.as_slice::<T>()?.to_vec();
        if !out.is_empty() {
            for line in out.chunks_mut(n * inner) {
                for lane in 0..inner {
                    let mut sum = zero;
                    for i in 0..n {
                        let e = (if self.reverse { n - 1 - i } else { i }) * inner + lane;
                        let next = add(sum, line[e]);
                        line[e] = give(if self.exclusive { sum } else { next });
                        sum = next;
                    }
                }
            }
        }
        Ok(Tensor::new(x.shape().to_vec(), out)?)
    }
}

impl Operator for CumulativeSum {
    fn name(&self) -> &str {
        "CumSum"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        if let Some(&at) = Fact::at(inputs, 1)?.integers().as_deref().and_then(<[i64]>::first)
            && axis(at, x.rank()).is_none()
        {
            return Err(ShapeError::new(format!("axis {at} is out of range for {x}")));
        }
        Ok(vec![x.without_content()])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let at = inputs.list(1)?.and_then(|v| v.first().copied());
        let at = at.and_then(|at| axis(at, x.rank())).ok_or_else(|| ShapeError::new("its axis is out of range"))?;
        #[expect(clippy::cast_possible_truncation, reason = "sums are rounded to the elements' type")]
        let y = match x.element_type() {
            ElementType::F32 => self.sums::<f32, f64>(x, at, (0.0, |s, v| s + f64::from(v), |s| s as f32))?,
            ElementType::F16 => {
                self.sums::<half::f16, f64>(x, at, (0.0, |s, v| s + v.to_f64(), half::f16::from_f64))?
            }
            ElementType::F64 => self.sums::<f64, f64>(x, at, (0.0, |s, v| s + v, |s| s))?,
            ElementType::I64 => self.sums::<i64, i64>(x, at, (0, i64::wrapping_add, |s| s))?,
            ElementType::I32 => self.sums::<i32, i32>(x, at, (0, i32::wrapping_add, |s| s))?,
            other => return Err(EvaluateError::Unsupported(format!("sums of {other} are not supported"))),
        };
        Ok(vec![y.into()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_run_both_ways() {
        let run = |exclusive, reverse, at: i64| {
            let x = Value::from(Tensor::new([2, 3], vec![1i32, 2, 3, 4, 5, 6]).unwrap());
            let at = Value::from(Tensor::scalar(at));
            CumulativeSum { exclusive, reverse }.evaluate(&mut Context::default(), Inputs(&[Some(&x), Some(&at)]))
        };
        let expected = |v: [i32; 6]| [Value::from(Tensor::new([2, 3], v.to_vec()).unwrap())];
        assert_eq!(run(false, false, 1).unwrap(), expected([1, 3, 6, 4, 9, 15]));
        assert_eq!(run(true, false, -1).unwrap(), expected([0, 1, 3, 0, 4, 9]));
        assert_eq!(run(false, true, 0).unwrap(), expected([5, 7, 9, 4, 5, 6]));
        assert_eq!(run(true, true, 1).unwrap(), expected([5, 3, 0, 11, 6, 0]));
        assert!(run(false, false, 2).is_err());
    }
}
