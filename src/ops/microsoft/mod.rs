//! The fused operators of the domain `com.microsoft` that exporters and ONNX Runtime's own optimizer write into files, each
//! as the operators of the standard that it is made of.

pub(super) mod activation;
pub(super) mod attention;
pub(super) mod group_query;
pub(super) mod normalization;
pub(super) mod product;
#[cfg(test)]
mod tests;

use super::composite::{Composite, Recipe};
use crate::graph::{Definition, DefinitionError, ShapeError, ValueId};

/// A required input.
fn needed(inputs: &[Option<ValueId>], index: usize) -> Result<ValueId, ShapeError> {
    optional(inputs, index).ok_or_else(|| ShapeError::new(format!("input {index} is missing")))
}

/// An input that may be left out.
fn optional(inputs: &[Option<ValueId>], index: usize) -> Option<ValueId> {
    inputs.get(index).copied().flatten()
}

/// What is wrong with an attribute, as the shape rule says it.
fn wrong(error: &DefinitionError) -> ShapeError {
    ShapeError { unsupported: error.unsupported(), ..ShapeError::new(error.to_string()) }
}

/// The number of heads that an attribute gives.
fn heads(d: &Definition, name: &'static str) -> Result<i64, ShapeError> {
    let n = d.int(name).map_err(|e| wrong(&e))?.unwrap_or(0);
    if (1..=1 << 20).contains(&n) { Ok(n) } else { Err(ShapeError::new(format!("attribute '{name}' is {n}"))) }
}
