//! The operators: one file per family, with its parameters, shape rule, reference, GPU candidates and tests.
//!
//! Adding one touches its file, its shader, and a line of [`REGISTRY`].

use std::sync::Arc;

use crate::graph::{Definition, DefinitionError, Operator};

pub(crate) mod conv;
pub mod convert;
mod elementwise;
pub(crate) mod window;

/// Makes an operator from its definition.
type Constructor = fn(&Definition) -> Result<Arc<dyn Operator>, DefinitionError>;

/// Every operator that files can name: domain, name, the first operator set that has it, and how it is made.
const REGISTRY: &[(&str, &str, i64, Constructor)] = &[("", "Conv", 1, conv::conv), ("", "Relu", 1, elementwise::unary)];

/// Whether there is an operator of this name.
pub fn exists(domain: &str, op_type: &str) -> bool {
    let domain = if domain == "ai.onnx" { "" } else { domain };
    REGISTRY.iter().any(|(d, name, ..)| *d == domain && *name == op_type)
}

/// Every operator's domain and name.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    REGISTRY.iter().map(|(domain, name, ..)| (*domain, *name))
}

/// Makes an operator.
///
/// # Errors
/// If there is none of this name in this operator set, or its attributes are wrong.
pub fn operator(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let domain = if definition.domain == "ai.onnx" { "" } else { &definition.domain };
    let entry = REGISTRY.iter().find(|(d, name, ..)| *d == domain && *name == definition.op_type);
    match entry {
        None => Err(DefinitionError::Unsupported("Rimlight has no such operator".to_owned())),
        Some((_, _, since, _)) if definition.opset < *since => Err(DefinitionError::Unsupported(format!(
            "the operator came with operator set {since}, but the model uses {}",
            definition.opset
        ))),
        Some((_, _, _, make)) => make(definition),
    }
}
