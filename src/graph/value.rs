//! What a graph computes with: tensors, and on the host sequences of them and values that may be missing.

use std::fmt;

use crate::tensor::{ElementType, Tensor};

/// A value of a running graph.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A tensor.
    Tensor(Tensor),
    /// Tensors in an order.
    Sequence(Sequence),
    /// A value that may be missing.
    Optional(Optional),
}

/// Tensors of one element type, in an order; their shapes may differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    element_type: ElementType,
    tensors: Vec<Tensor>,
}

/// A tensor or a sequence that may be missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Optional {
    /// What it is if it is there.
    pub of: ValueType,
    /// What is there.
    pub value: Option<Box<Value>>,
}

/// The type of a value, without shapes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ValueType {
    /// A tensor of these elements.
    Tensor(ElementType),
    /// A sequence of tensors of these elements.
    Sequence(ElementType),
    /// Such a value, which may be missing.
    Optional(Box<Self>),
}

impl Sequence {
    /// A sequence of these tensors; `None` if one is of another type.
    pub fn new(element_type: ElementType, tensors: Vec<Tensor>) -> Option<Self> {
        tensors.iter().all(|tensor| tensor.element_type() == element_type).then_some(Self { element_type, tensors })
    }

    /// The type of the tensors' elements, known also where there are none.
    pub fn element_type(&self) -> ElementType {
        self.element_type
    }

    /// The tensors.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensors.
    pub fn into_tensors(self) -> Vec<Tensor> {
        self.tensors
    }
}

impl Value {
    /// What it is.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Tensor(tensor) => ValueType::Tensor(tensor.element_type()),
            Self::Sequence(sequence) => ValueType::Sequence(sequence.element_type),
            Self::Optional(optional) => ValueType::Optional(Box::new(optional.of.clone())),
        }
    }

    /// The tensor, if it is one.
    pub fn as_tensor(&self) -> Option<&Tensor> {
        match self {
            Self::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The tensor, if it is one.
    pub fn into_tensor(self) -> Option<Tensor> {
        match self {
            Self::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The sequence, if it is one.
    pub fn as_sequence(&self) -> Option<&Sequence> {
        match self {
            Self::Sequence(sequence) => Some(sequence),
            _ => None,
        }
    }

    /// How many tensors are in it.
    pub fn tensors(&self) -> usize {
        match self {
            Self::Tensor(_) => 1,
            Self::Sequence(sequence) => sequence.tensors.len(),
            Self::Optional(optional) => optional.value.as_ref().map_or(0, |value| value.tensors()),
        }
    }

    /// Bytes of all tensors in it.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Tensor(tensor) => tensor.byte_length(),
            Self::Sequence(sequence) => sequence.tensors.iter().map(|tensor| tensor.bytes().len()).sum(),
            Self::Optional(optional) => optional.value.as_ref().map_or(0, |value| value.bytes()),
        }
    }
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

impl From<Sequence> for Value {
    fn from(sequence: Sequence) -> Self {
        Self::Sequence(sequence)
    }
}

impl From<Optional> for Value {
    fn from(optional: Optional) -> Self {
        Self::Optional(optional)
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(element_type) => write!(f, "{element_type}"),
            Self::Sequence(element_type) => write!(f, "sequence of {element_type}"),
            Self::Optional(of) => write!(f, "optional {of}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_holds_one_type_and_says_it_when_empty() {
        let tensors = vec![Tensor::vector(vec![1f32]), Tensor::scalar(2f32)];
        let sequence = Sequence::new(ElementType::F32, tensors.clone()).unwrap();
        assert_eq!((sequence.element_type(), sequence.tensors()), (ElementType::F32, &tensors[..]));
        assert_eq!(Value::from(sequence).bytes(), 8);
        assert!(Sequence::new(ElementType::I64, tensors).is_none());
        let empty = Value::from(Sequence::new(ElementType::I64, vec![]).unwrap());
        assert_eq!(empty.value_type().to_string(), "sequence of i64");
        let missing = Optional { of: empty.value_type(), value: None };
        assert_eq!(Value::from(missing).value_type().to_string(), "optional sequence of i64");
    }
}
