//! Clip: `y = min(max(x, low), high)`. The bounds are attributes before operator set 11, the largest finite numbers where
//! left out, and inputs since.

use std::sync::Arc;

use super::members::{floats, numbers};
use super::typed;
use crate::graph::{
    Activation, Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Reads, Request,
    ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::ops::broadcast::program::Program;
use crate::ops::broadcast::{self, Expression, Operand};
use crate::tensor::{ElementType, Tensor, Wide};

/// Clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clip {
    /// The bounds, if they are attributes; otherwise they are inputs 1 and 2 where they are given.
    pub bounds: Option<(f32, f32)>,
}

/// Makes a Clip of either form.
pub fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let bounds = match definition.opset {
        ..11 => Some((definition.float("min")?.unwrap_or(f32::MIN), definition.float("max")?.unwrap_or(f32::MAX))),
        _ => None,
    };
    Ok(Arc::new(Clip { bounds }))
}

impl Clip {
    /// The function, where the bounds are attributes or constant inputs.
    pub fn function(&self, inputs: &[Option<&Fact>]) -> Option<Activation> {
        if let Some((low, high)) = self.bounds {
            return Some(Activation::Clip(low, high));
        }
        let bound = |index, default| match Fact::optional(inputs, index) {
            None => Some(default),
            Some(fact) => fact.number(),
        };
        Some(Activation::Clip(bound(1, f32::NEG_INFINITY)?, bound(2, f32::INFINITY)?))
    }
}

/// A bound that is given as an input, as a number.
fn bound<T: Copy>(input: Option<&Tensor>, read: impl Fn(&Tensor) -> Option<T>, default: T) -> Result<T, ShapeError> {
    input.map_or(Ok(default), |t| {
        read(t).ok_or_else(|| ShapeError::new(format!("a bound should be one number, not {t:?}")))
    })
}

fn float(t: &Tensor) -> Option<f64> {
    t.to_f64().first().copied()
}

fn integer(t: &Tensor) -> Option<i128> {
    i128::all(t).ok()?.first().copied()
}

/// An integer as a pair of words in WGSL.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "its words are what is meant")]
fn literal(v: i128) -> String {
    format!("vec2<u32>({}u, {}u)", v as u32, (v >> 32) as u32)
}

impl Operator for Clip {
    fn name(&self) -> &str {
        "Clip"
    }

    fn reads(&self, input: usize) -> Reads {
        match input {
            1 | 2 => Reads::Parameter,
            _ => Reads::Elements,
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        if x.element_type == ElementType::Bool || (self.bounds.is_some() && !x.element_type.is_float()) {
            return Err(ShapeError::new(format!("it takes numbers, not {}", x.element_type)));
        }
        for bound in [1, 2].into_iter().filter_map(|i| Fact::optional(inputs, i)) {
            if bound.element_type != x.element_type {
                return Err(ShapeError::new(format!(
                    "a bound is {}, but the input {}",
                    bound.element_type, x.element_type
                )));
            }
        }
        Ok(vec![x.without_content()])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let y = if x.element_type().is_float() {
            let (low, high) = match self.bounds {
                Some((low, high)) => (low.into(), high.into()),
                None => (
                    bound(inputs.optional(1), float, f64::NEG_INFINITY)?,
                    bound(inputs.optional(2), float, f64::INFINITY)?,
                ),
            };
            // NaN stays; where low > high, high wins.
            floats(x, |v| {
                let v = if v < low { low } else { v };
                if v > high { high } else { v }
            })?
        } else {
            let low = bound(inputs.optional(1), integer, i128::MIN)?;
            let high = bound(inputs.optional(2), integer, i128::MAX)?;
            numbers(x, |v| v, |v| v.max(low).min(high))?
        };
        Ok(vec![y.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let element_type = request.input(0)?.fact.element_type;
        if element_type.is_integer() {
            let bound = |index: usize| match request.optional(index) {
                None => Ok(None),
                Some(bound) => {
                    let bound = bound.fact.constant.as_ref().ok_or("its bounds are computed at run time")?;
                    Ok::<_, String>(Some(integer(bound).ok_or("a bound is no number")?))
                }
            };
            let mut text = "v".to_owned();
            for (index, function) in [(1, "larger64"), (2, "smaller64")] {
                if let Some(bound) = bound(index)? {
                    text = format!("{function}({text}, {})", literal(bound));
                }
            }
            return typed(request, Expression::of_integers(&text, element_type, false), 0, [0.0; 2]);
        }
        let facts: Vec<_> = request.inputs.iter().map(|i| i.map(|i| i.fact)).collect();
        let function = self.function(&facts).ok_or("its bounds are computed at run time")?;
        let (_, low, high) = function.parameters();
        broadcast::arithmetic(request, vec![Operand::input(request, 0)?], Program::default().then_bound(low, high))
    }

    fn activation(&self) -> Option<Activation> {
        self.bounds.map(|(low, high)| Activation::Clip(low, high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Input, Tolerance, check};

    fn clip(opset: i64) -> Arc<dyn Operator> {
        let definition = Definition { opset, ..Definition::new("Clip") };
        make(&if opset < 11 { definition.attribute("min", -1.0f32).attribute("max", 2.0f32) } else { definition })
            .unwrap()
    }

    fn values(operator: &dyn Operator, inputs: &[Option<Tensor>]) -> Tensor {
        let values: Vec<_> = inputs.iter().cloned().map(|t| t.map(Value::Tensor)).collect();
        let values: Vec<_> = values.iter().map(Option::as_ref).collect();

        operator.evaluate(&mut Context::default(), Inputs(&values)).unwrap().remove(0).into_tensor().unwrap()
    }

    #[test]
    fn bounds_are_attributes_or_inputs() {
        let x = Tensor::vector(vec![-3.0f32, -1.0, 0.5, 2.0, 3.0, f32::NAN, f32::INFINITY]);
        let y = values(&*clip(6), &[Some(x.clone())]);
        assert_eq!(y.as_slice::<f32>().unwrap()[..5], [-1.0, -1.0, 0.5, 2.0, 2.0]);
        let low = Tensor::scalar(-2.0f32);
        let y = values(&*clip(13), &[Some(x.clone()), Some(low.clone()), None]);
        assert_eq!(y.as_slice::<f32>().unwrap()[..5], [-2.0, -1.0, 0.5, 2.0, 3.0]);
        let y = values(&*clip(13), &[Some(Tensor::vector(vec![-5i64, 5])), None, Some(Tensor::scalar(3i64))]);
        assert_eq!(y.as_slice::<i64>().unwrap(), [-5, 3]);
        check(&*clip(6), &[Input::Run(x.clone())], Tolerance::EXACT);
        check(&*clip(11), &[Input::Run(x.clone()), Input::Missing, Input::Constant(low.clone())], Tolerance::EXACT);
        check(&*clip(11), &[Input::Run(x), Input::Constant(low)], Tolerance::EXACT);
    }

    #[test]
    fn a_bound_that_is_no_number_is_an_error() {
        let x = Value::from(Tensor::vector(vec![1.0f32]));
        let none = Value::from(Tensor::vector(Vec::<f32>::new()));
        assert!(clip(13).evaluate(&mut Context::default(), Inputs(&[Some(&x), Some(&none)])).is_err());
    }
}
