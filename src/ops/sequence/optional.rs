//! Values that may be missing (ONNX opsets 15 and 18): Optional, OptionalHasElement, OptionalGetElement.

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Optional, ShapeError, Value, ValueType,
};
use crate::tensor::{ElementType, Tensor, Truth};

/// An operator on values that may be missing.
#[derive(Debug, Clone, PartialEq)]
enum OptionalOperator {
    /// Makes a value one that may be missing; without an input, one of this type that is.
    Make(Option<ValueType>),
    /// Whether it is there.
    Has,
    /// What is there.
    Get,
}

pub(in crate::ops) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(match d.op_type.as_str() {
        "Optional" => {
            let of = d.value_type("type")?;
            if d.inputs == 0 && of.is_none() {
                return Err(DefinitionError::Missing("type"));
            }
            OptionalOperator::Make(of)
        }
        "OptionalHasElement" => OptionalOperator::Has,
        _ => OptionalOperator::Get,
    }))
}

impl Operator for OptionalOperator {
    fn name(&self) -> &str {
        match self {
            Self::Make(_) => "Optional",
            Self::Has => "OptionalHasElement",
            Self::Get => "OptionalGetElement",
        }
    }

    fn takes_strings(&self) -> bool {
        true
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        match self {
            Self::Has => Ok(vec![Fact::new(ElementType::Bool, [0usize; 0])]),
            // A tensor is always there.
            Self::Get => Fact::at(inputs, 0).map(|fact| vec![fact.clone()]),
            Self::Make(_) => Err(ShapeError::new("what it gives is no tensor")),
        }
    }

    fn infer_partly(&self, inputs: &[Option<&Fact>], complete: bool) -> Result<Vec<Option<Fact>>, ShapeError> {
        match self {
            Self::Make(_) => Ok(vec![]),
            Self::Get if !complete => Ok(vec![]),
            _ => Ok(self.infer(inputs)?.into_iter().map(Some).collect()),
        }
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let given = inputs.value(0);
        Ok(vec![match self {
            Self::Make(of) => match (given, of) {
                (Some(value @ Value::Optional(_)), _) => value.clone(),
                (Some(value), of) => {
                    let found = value.value_type();
                    if of.as_ref().is_some_and(|of| *of != found) {
                        return Err(
                            ShapeError::new(format!("its input is {found}, not what its attribute says")).into()
                        );
                    }
                    Optional { of: found, value: Some(Box::new(value.clone())) }.into()
                }
                (None, Some(of)) => Optional { of: of.clone(), value: None }.into(),
                (None, None) => return Err(ShapeError::new("it has neither an input nor a type").into()),
            },
            Self::Has => {
                let there = match given {
                    Some(Value::Optional(optional)) => optional.value.is_some(),
                    other => other.is_some(),
                };
                Tensor::scalar(Truth::from(there)).into()
            }
            Self::Get => match given {
                Some(Value::Optional(Optional { value: Some(value), .. })) => (**value).clone(),
                Some(Value::Optional(_)) | None => return Err(ShapeError::new("there is no value to get").into()),
                Some(value) => value.clone(),
            },
        }])
    }

    fn work(&self, _: &[Option<&Fact>], _: &[Fact]) -> f64 {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(definition: &Definition, input: Option<&Value>) -> Result<Value, String> {
        let operator = crate::ops::operator(definition).map_err(|e| e.to_string())?;
        let results = operator.evaluate(&mut Context::default(), Inputs(&[input]));
        Ok(results.map_err(|e| e.to_string())?.remove(0))
    }

    #[test]
    fn what_is_there_comes_back() {
        let [make, has, get] = ["Optional", "OptionalHasElement", "OptionalGetElement"].map(Definition::new);
        let x = Value::from(Tensor::vector(vec![1f32]));
        let some = run(&make.clone().attribute("type", x.value_type()), Some(&x)).unwrap();
        assert_eq!(some.value_type().to_string(), "optional f32");
        assert!(run(&make.clone().attribute("type", ValueType::Tensor(ElementType::I64)), Some(&x)).is_err());
        let none = run(&make.clone().attribute("type", ValueType::Sequence(ElementType::I64)), None).unwrap();
        assert_eq!(none.value_type().to_string(), "optional sequence of i64");
        assert!(run(&make, None).is_err());
        let truth = |there: bool| Ok(Value::from(Tensor::scalar(Truth::from(there))));
        for (given, there) in [(Some(&some), true), (Some(&none), false), (Some(&x), true), (None, false)] {
            assert_eq!(run(&has, given), truth(there));
            assert_eq!(run(&get, given).ok(), there.then(|| x.clone()));
        }
    }
}
