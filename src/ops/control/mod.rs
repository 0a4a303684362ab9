//! Control flow: If, Loop and Scan. The host decides what runs, and how often; a session runs their graphs by its backend
//! where that is worth it ([`Bodies`](crate::graph::Bodies)), else the references of their operators do. Where it is known
//! before the run what they do, rewrites put the nodes of their graphs in their place.

pub(crate) mod branch;
pub(crate) mod repeat;
mod scan;
mod unroll;

#[cfg(test)]
mod tests;

pub(super) use branch::from_definition as branch;
pub(super) use repeat::from_definition as repeat;
pub(super) use scan::from_definition as scan;

use crate::graph::{Dim, EvaluateError, Fact, ShapeError, Value};
use crate::tensor::{Tensor, Truth};

/// What holds of a value that is one or the other; `None` where that is not even a rank.
fn merge(a: Option<&Fact>, b: Option<&Fact>) -> Option<Fact> {
    let (a, b) = a.zip(b)?;
    if a.element_type != b.element_type || a.rank() != b.rank() {
        return None;
    }
    let dims = a.shape.iter().zip(&b.shape).map(|(a, b)| if a == b { a.clone() } else { Dim::Unknown });
    Some(Fact::new(a.element_type, dims.collect::<Vec<_>>()))
}

/// The facts, if all are known: an operator that may give values of unknown rank says what it can by `infer_partly`.
fn known_whole(facts: Vec<Option<Fact>>) -> Result<Vec<Fact>, ShapeError> {
    let facts = facts.into_iter().collect::<Option<_>>();
    facts.ok_or_else(|| ShapeError::new("what it gives is known at run time only"))
}

/// A truth value in a tensor of one element.
fn truth(tensor: &Tensor) -> Result<bool, EvaluateError> {
    match tensor.as_slice::<Truth>()? {
        [one] => Ok((*one).into()),
        others => Err(ShapeError::new(format!("the condition has {} elements, not one", others.len())).into()),
    }
}

/// Adds an element to those that are put together at the end, as long as they would be no larger than a tensor may be.
fn collect(all: &mut Vec<Tensor>, value: Value) -> Result<(), EvaluateError> {
    let tensor = value.into_tensor().ok_or_else(|| ShapeError::new("what is collected is no tensor"))?;
    let shape: Vec<usize> = std::iter::once(all.len() + 1).chain(tensor.shape().iter().copied()).collect();
    Tensor::bounded(tensor.element_type(), &shape)?;
    all.push(tensor);
    Ok(())
}

/// [`truth`] of a constant.
fn known_truth(fact: Option<&Fact>) -> Option<bool> {
    truth(fact?.constant.as_ref()?).ok()
}
