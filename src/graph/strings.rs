//! Tensors of texts through operators that only move elements: as their places, which are 64-bit integers.

use super::{Context, EvaluateError, Fact, Inputs, Operator, ShapeError, Unsupported, Value};
use crate::tensor::{ElementType, Tensor};

fn refused() -> ShapeError {
    ShapeError::unsupported(Unsupported::ElementType, "it takes no tensors of texts")
}

/// Whether an operator can take these inputs as far as texts are concerned.
///
/// # Errors
/// If one is a tensor of texts and the operator has no use for such.
pub fn check(operator: &dyn Operator, inputs: &[Option<&Fact>]) -> Result<(), ShapeError> {
    let strings = inputs.iter().flatten().any(|fact| fact.element_type == ElementType::String);
    if strings && !operator.takes_strings() && !operator.moves_elements() { Err(refused()) } else { Ok(()) }
}

/// [`Operator::evaluate`], with texts for those operators only that can take them.
///
/// # Errors
/// As the operator's own, and for texts where it has no use for such.
pub fn evaluate(
    operator: &dyn Operator,
    context: &mut Context,
    inputs: Inputs<'_>,
) -> Result<Vec<Value>, EvaluateError> {
    if !inputs.any_strings() || operator.takes_strings() {
        return operator.evaluate(context, inputs);
    }
    if !operator.moves_elements() {
        return Err(refused().into());
    }
    // Place 0 is that of the text which stands where an operator puts zeros.
    let mut texts = vec![String::new()];
    let mut places = vec![];
    for i in 0..inputs.len() {
        places.push(match inputs.optional(i) {
            Some(tensor) if tensor.element_type() == ElementType::String => {
                let start = texts.len();
                texts.extend_from_slice(tensor.strings()?);
                let at: Vec<i64> = (start..texts.len()).filter_map(|i| i64::try_from(i).ok()).collect();
                Some(Value::from(Tensor::new(tensor.shape(), at)?))
            }
            _ => inputs.0[i].cloned(),
        });
    }
    let strings: Vec<bool> = (0..inputs.len())
        .map(|i| inputs.optional(i).is_some_and(|tensor| tensor.element_type() == ElementType::String))
        .collect();
    let references: Vec<Option<&Value>> = places.iter().map(Option::as_ref).collect();
    // The operator's own rule says which of its outputs are of the texts' type.
    let facts: Vec<Option<Fact>> = (0..inputs.len())
        .map(|i| {
            let tensor = inputs.optional(i)?;
            Some(match strings[i] {
                true => Fact::new(ElementType::String, tensor.shape().to_vec()),
                false => Fact::constant(tensor.clone()),
            })
        })
        .collect();
    let outputs = operator.infer(&facts.iter().map(Option::as_ref).collect::<Vec<_>>())?;
    let results = operator.evaluate(context, Inputs(&references))?;
    let back = |(i, value): (usize, Value)| match value {
        Value::Tensor(tensor) if outputs.get(i).is_some_and(|fact| fact.element_type == ElementType::String) => {
            let text =
                |&place: &i64| usize::try_from(place).ok().and_then(|i| texts.get(i)).cloned().unwrap_or_default();
            let moved = tensor.as_slice::<i64>()?.iter().map(text).collect();
            Ok(Value::from(Tensor::from_strings(tensor.shape(), moved)?))
        }
        other => Ok(other),
    };
    results.into_iter().enumerate().map(back).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Definition;
    use crate::tensor::Truth;

    fn texts(shape: &[usize], v: &[&str]) -> Value {
        Tensor::from_strings(shape, v.iter().map(|v| (*v).to_owned()).collect()).unwrap().into()
    }

    #[test]
    fn texts_move_and_nothing_else() {
        let run = |definition: &Definition, inputs: &[Value]| {
            let operator = crate::ops::operator(definition).unwrap();
            let inputs: Vec<Option<&Value>> = inputs.iter().map(Some).collect();
            evaluate(&*operator, &mut Context::default(), Inputs(&inputs))
        };
        let x = texts(&[2, 2], &["a", "b", "c", "d"]);
        let turned = run(&Definition::new("Transpose"), std::slice::from_ref(&x)).unwrap();
        assert_eq!(turned, [texts(&[2, 2], &["a", "c", "b", "d"])]);
        let condition = Value::from(Tensor::vector(vec![Truth(1), Truth(0)]));
        let chosen = run(&Definition::new("Where"), &[condition, x.clone(), texts(&[], &["none"])]).unwrap();
        assert_eq!(chosen, [texts(&[2, 2], &["a", "none", "c", "none"])]);
        assert!(run(&Definition::new("Neg"), &[x]).unwrap_err().to_string().contains("no tensors of texts"));
    }
}
