//! The attributes of a node, as a file or a builder gives them.

use std::collections::BTreeMap;

use super::{Body, Unsupported, ValueType};
use crate::tensor::Tensor;

/// One attribute's value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// A number.
    Float(f32),
    /// A text.
    String(String),
    /// A tensor.
    Tensor(Tensor),
    /// A graph.
    Graph(Body),
    /// A type.
    Type(ValueType),
    /// Integers.
    Ints(Vec<i64>),
    /// Numbers.
    Floats(Vec<f32>),
    /// Texts.
    Strings(Vec<String>),
}

macro_rules! conversions {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl From<$from> for Attribute {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}
conversions! {
    i64 => Int, f32 => Float, &str => String, String => String, Tensor => Tensor, Body => Graph, ValueType => Type, Vec<i64> => Ints, Vec<f32> => Floats,
    Vec<String> => Strings,
}
impl<const N: usize> From<[i64; N]> for Attribute {
    fn from(value: [i64; N]) -> Self {
        Self::Ints(value.to_vec())
    }
}

/// What an operator is made from: its name, the version of the standard, its attributes, and how many inputs and
/// outputs its node has.
#[derive(Debug, Clone, Default)]
pub struct Definition {
    /// The operator's name: `Conv`.
    pub op_type: String,
    /// Its domain; empty for the standard's own.
    pub domain: String,
    /// The version of the domain's operator set.
    pub opset: i64,
    /// The attributes.
    pub attributes: BTreeMap<String, Attribute>,
    /// Places for inputs, left out ones counted.
    pub inputs: usize,
    /// Places for outputs, left out ones counted.
    pub outputs: usize,
}

/// Why an operator could not be made from its definition. The caller adds the node and the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// A required attribute is missing.
    #[error("attribute '{0}' is missing")]
    Missing(&'static str),
    /// An attribute has another type than the standard gives it.
    #[error("attribute '{0}' should be {1}")]
    Type(&'static str, &'static str),
    /// An attribute's value is not allowed.
    #[error("attribute '{0}' {1}")]
    Value(&'static str, String),
    /// Its node has too many or too few inputs or outputs.
    #[error("{0}")]
    Arity(String),
    /// The standard allows this form of the operator, this implementation does not (yet).
    #[error("{0}")]
    Unsupported(String),
    /// The standard allows it, but it is refused for this reason.
    #[error("{1}")]
    Refused(Unsupported, String),
}

impl DefinitionError {
    /// Why the operator is refused, where the standard allows it.
    pub const fn unsupported(&self) -> Option<Unsupported> {
        match self {
            Self::Unsupported(_) => Some(Unsupported::Form),
            Self::Refused(reason, _) => Some(*reason),
            _ => None,
        }
    }
}

macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident -> $type:ty, $variant:ident, $what:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// If the attribute is there with another type.
        pub fn $name(&self, name: &'static str) -> Result<Option<$type>, DefinitionError> {
            match self.attributes.get(name) {
                None => Ok(None),
                Some(Attribute::$variant(value)) => Ok(Some(value.clone())),
                Some(_) => Err(DefinitionError::Type(name, $what)),
            }
        }
    )*};
}

impl Definition {
    /// A definition to be filled in, of the newest operator set.
    pub fn new(op_type: impl Into<String>) -> Self {
        Self { op_type: op_type.into(), opset: 24, outputs: 1, ..Self::default() }
    }

    /// Sets an attribute.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<Attribute>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    getters! {
        /// An integer attribute.
        int -> i64, Int, "an integer";
        /// A number.
        float -> f32, Float, "a number";
        /// A text.
        string -> String, String, "a text";
        /// A tensor.
        tensor -> Tensor, Tensor, "a tensor";
        /// A graph.
        body -> Body, Graph, "a graph";
        /// A type.
        value_type -> ValueType, Type, "a type";
        /// A list of integers.
        ints -> Vec<i64>, Ints, "a list of integers";
        /// A list of numbers.
        floats -> Vec<f32>, Floats, "a list of numbers";
        /// A list of texts.
        strings -> Vec<String>, Strings, "a list of texts";
    }

    /// An integer attribute that is a truth value.
    ///
    /// # Errors
    /// If the attribute is no integer.
    pub fn flag(&self, name: &'static str, default: bool) -> Result<bool, DefinitionError> {
        Ok(self.int(name)?.map_or(default, |v| v != 0))
    }
}
