//! Values that stand in for others where an operator does not take those as they are: for texts their places, for
//! 16-bit brain floats 32-bit ones.

use super::{Context, EvaluateError, Fact, Inputs, Operator, ShapeError, Unsupported, Value};
use crate::tensor::{ElementType, Tensor, TensorError};

fn refused() -> ShapeError {
    ShapeError::unsupported(Unsupported::ElementType, "it takes no tensors of texts")
}

impl dyn Operator {
    /// Whether the operator can take inputs of these types as far as texts are concerned.
    ///
    /// # Errors
    /// If one is a tensor of texts and the operator has no use for such.
    pub fn check_types(&self, inputs: &[Option<&Fact>]) -> Result<(), ShapeError> {
        let strings = inputs.iter().flatten().any(|fact| fact.element_type == ElementType::String);
        if strings && !self.takes_strings() && !self.moves_elements() { Err(refused()) } else { Ok(()) }
    }

    /// [`Operator::evaluate`] for inputs of every type: operators that only move elements move the places of texts, and
    /// those that compute do so with 32-bit floats for `bf16`, their results rounded.
    ///
    /// # Errors
    /// As the operator's own, and for texts where it has no use for such.
    pub fn compute(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let any = |wanted| (0..inputs.len()).any(|i| inputs.optional(i).is_some_and(|t| t.element_type() == wanted));
        if any(ElementType::String) && !self.takes_strings() {
            return if self.moves_elements() { self.compute_by_places(context, inputs) } else { Err(refused().into()) };
        }
        if any(ElementType::BF16) && !self.moves_elements() && !self.takes_brain_floats() {
            let wide = |tensor: &Tensor| Tensor::from_f64(ElementType::F32, tensor.shape(), tensor.to_f64());
            let narrow = |tensor: &Tensor| Tensor::from_f64(ElementType::BF16, tensor.shape(), tensor.to_f64());
            return self.compute_as(context, inputs, (ElementType::BF16, ElementType::F32), wide, narrow);
        }
        self.evaluate(context, inputs)
    }

    fn compute_by_places(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        // Place 0 is that of the text which stands where an operator puts zeros.
        let texts = std::cell::RefCell::new(vec![String::new()]);
        let place = |tensor: &Tensor| {
            let mut texts = texts.borrow_mut();
            let start = texts.len();
            texts.extend_from_slice(tensor.strings()?);
            let places = (start..texts.len()).filter_map(|i| i64::try_from(i).ok());
            Tensor::new(tensor.shape(), places.collect::<Vec<_>>())
        };
        let text = |tensor: &Tensor| {
            let texts = texts.borrow();
            let at = |&i: &i64| usize::try_from(i).ok().and_then(|i| texts.get(i)).cloned().unwrap_or_default();
            Tensor::from_strings(tensor.shape(), tensor.as_slice::<i64>()?.iter().map(at).collect())
        };
        self.compute_as(context, inputs, (ElementType::String, ElementType::I64), place, text)
    }

    /// Evaluates with inputs of one type replaced by those of another, and what the shape rule says to be of that type
    /// brought back.
    fn compute_as(
        &self,
        context: &mut Context,
        inputs: Inputs<'_>,
        (from, to): (ElementType, ElementType),
        there: impl Fn(&Tensor) -> Result<Tensor, TensorError>,
        back: impl Fn(&Tensor) -> Result<Tensor, TensorError>,
    ) -> Result<Vec<Value>, EvaluateError> {
        let mut replaced = vec![];
        let mut facts = vec![];
        for (i, input) in inputs.0.iter().enumerate() {
            let (value, fact) = match inputs.optional(i) {
                Some(tensor) if tensor.element_type() == from => {
                    (Some(Value::from(there(tensor)?)), Some(Fact::new(from, tensor.shape().to_vec())))
                }
                tensor => (input.cloned(), tensor.cloned().map(Fact::constant)),
            };
            replaced.push(value);
            facts.push(fact);
        }
        let outputs = self.infer(&facts.iter().map(Option::as_ref).collect::<Vec<_>>())?;
        let results = self.evaluate(context, Inputs(&replaced.iter().map(Option::as_ref).collect::<Vec<_>>()))?;
        let restored = |(i, value): (usize, Value)| match value {
            Value::Tensor(tensor)
                if tensor.element_type() == to && outputs.get(i).is_some_and(|f| f.element_type == from) =>
            {
                Ok(Value::from(back(&tensor)?))
            }
            other => Ok(other),
        };
        results.into_iter().enumerate().map(restored).collect()
    }
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
            operator.compute(&mut Context::default(), Inputs(&inputs))
        };
        let x = texts(&[2, 2], &["a", "b", "c", "d"]);
        let turned = run(&Definition::new("Transpose"), std::slice::from_ref(&x)).unwrap();
        assert_eq!(turned, [texts(&[2, 2], &["a", "c", "b", "d"])]);
        let condition = Value::from(Tensor::vector(vec![Truth(1), Truth(0)]));
        let chosen = run(&Definition::new("Where"), &[condition, x.clone(), texts(&[], &["none"])]).unwrap();
        assert_eq!(chosen, [texts(&[2, 2], &["a", "none", "c", "none"])]);
        assert!(run(&Definition::new("Neg"), &[x]).unwrap_err().to_string().contains("no tensors of texts"));
    }

    #[test]
    fn brain_floats_are_computed_with_as_wide_ones_and_rounded() {
        let x = |v: [f32; 2]| Value::from(Tensor::vector(v.map(half::bf16::from_f32).to_vec()));
        let add = crate::ops::operator(&Definition { inputs: 2, ..Definition::new("Add") }).unwrap();
        let y = add.compute(&mut Context::default(), Inputs(&[Some(&x([1.0, 2.0])), Some(&x([0.001, 0.5]))])).unwrap();
        assert_eq!(y, [x([1.0, 2.5])]);
        let convolution = crate::ops::operator(&Definition { inputs: 2, ..Definition::new("MatMul") }).unwrap();
        let y = convolution.compute(&mut Context::default(), Inputs(&[Some(&x([1.0, 2.0])), Some(&x([3.0, 0.5]))]));
        assert_eq!(y.unwrap(), [Value::from(Tensor::scalar(half::bf16::from_f32(4.0)))]);
    }
}
