//! Operators on texts. They run on the host: a GPU has no texts.

pub(super) mod concat;
pub(super) mod normalizer;
pub(super) mod regex;
pub(super) mod split;
pub(super) mod tf_idf;

use crate::graph::{Fact, ShapeError};
use crate::tensor::ElementType;

/// The fact of an input that is to be texts.
fn texts<'a>(inputs: &[Option<&'a Fact>], index: usize) -> Result<&'a Fact, ShapeError> {
    let fact = Fact::at(inputs, index)?;
    match fact.element_type {
        ElementType::String => Ok(fact),
        other => Err(ShapeError::new(format!("input {index} should be texts, not {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::graph::{Context, Definition, DefinitionError, Fact, Inputs, Operator, Value};
    use crate::tensor::Tensor;

    /// Makes an operator, infers and evaluates.
    pub fn run(
        make: fn(&Definition) -> Result<Arc<dyn Operator>, DefinitionError>,
        definition: &Definition,
        inputs: &[Tensor],
    ) -> Result<Vec<Tensor>, String> {
        let operator = make(definition).map_err(|e| e.to_string())?;
        let facts: Vec<Fact> = inputs.iter().map(|t| Fact::new(t.element_type(), t.shape().to_vec())).collect();
        operator.infer(&facts.iter().map(Some).collect::<Vec<_>>()).map_err(|e| e.to_string())?;
        let values: Vec<Value> = inputs.iter().cloned().map(Value::from).collect();
        let values: Vec<Option<&Value>> = values.iter().map(Some).collect();
        let results = operator.evaluate(&mut Context::default(), Inputs(&values)).map_err(|e| e.to_string())?;
        Ok((0..results.len()).filter_map(|i| Inputs(&[results.get(i)]).optional(0).cloned()).collect())
    }

    pub fn strings(shape: &[usize], texts: &[&str]) -> Tensor {
        Tensor::from_strings(shape, texts.iter().map(|t| (*t).to_owned()).collect()).unwrap()
    }
}
