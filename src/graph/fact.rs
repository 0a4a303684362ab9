//! What is known of a value before the graph runs.

use std::fmt;

use super::{Bindings, Dim, Unsupported};
use crate::tensor::{ElementType, Tensor};

/// What is known of a value: its type, its shape, and its content where that is a constant or a shape being computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// The type of its elements.
    pub element_type: ElementType,
    /// Its dimensions, outermost first.
    pub shape: Vec<Dim>,
    /// Its content, if it is a constant.
    pub constant: Option<Tensor>,
    /// Its elements in row-major order, if it is a small integer tensor that is computed from shapes.
    pub known: Option<Vec<Dim>>,
}

/// Why an operator cannot take its inputs. The caller adds the node and the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ShapeError {
    /// What is wrong.
    pub message: String,
    /// Why they are refused, where the standard allows them.
    pub unsupported: Option<Unsupported>,
}

impl ShapeError {
    /// An error with this message: the inputs cannot be right.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), unsupported: None }
    }

    /// The standard allows the inputs, this implementation does not (yet).
    pub fn unsupported(reason: Unsupported, message: impl Into<String>) -> Self {
        Self { message: message.into(), unsupported: Some(reason) }
    }
}

/// Integers up to this many are followed as a shape being computed.
const KNOWN_LIMIT: usize = 64;

impl Fact {
    /// A value of this type and shape.
    pub fn new(element_type: ElementType, shape: impl IntoIterator<Item = impl Into<Dim>>) -> Self {
        Self { element_type, shape: shape.into_iter().map(Into::into).collect(), constant: None, known: None }
    }

    /// A constant.
    pub fn constant(tensor: Tensor) -> Self {
        let known = match tensor.element_type() {
            ElementType::I64 if tensor.len() <= KNOWN_LIMIT && tensor.rank() <= 1 => {
                tensor.as_slice::<i64>().ok().map(|v| v.iter().map(|&n| Dim::Known(n)).collect())
            }
            ElementType::I32 if tensor.len() <= KNOWN_LIMIT && tensor.rank() <= 1 => {
                tensor.as_slice::<i32>().ok().map(|v| v.iter().map(|&n| Dim::Known(n.into())).collect())
            }
            _ => None,
        };
        Self { constant: Some(tensor.clone()), known, ..Self::new(tensor.element_type(), tensor.shape().to_vec()) }
    }

    /// The fact of an operator's input.
    ///
    /// # Errors
    /// If the input is missing.
    pub fn at<'a>(inputs: &[Option<&'a Self>], index: usize) -> Result<&'a Self, ShapeError> {
        Self::optional(inputs, index).ok_or_else(|| ShapeError::new(format!("input {index} is missing")))
    }

    /// The fact of an operator's input, if it is given.
    pub fn optional<'a>(inputs: &[Option<&'a Self>], index: usize) -> Option<&'a Self> {
        inputs.get(index).copied().flatten()
    }

    /// A vector of 64-bit integers whose elements are known as dimensions.
    pub fn dims(dims: Vec<Dim>) -> Self {
        let numbers: Option<Vec<i64>> = dims.iter().map(Dim::known).collect();
        if let Some(numbers) = numbers {
            return Self::constant(Tensor::vector(numbers));
        }
        let shape = [dims.len()];
        let known = (dims.len() <= KNOWN_LIMIT).then_some(dims);
        Self { known, ..Self::new(ElementType::I64, shape) }
    }

    /// The same value with another type, its content forgotten.
    #[must_use]
    pub fn with_type(&self, element_type: ElementType) -> Self {
        Self { element_type, shape: self.shape.clone(), constant: None, known: None }
    }

    /// The same value with another shape, its content forgotten.
    #[must_use]
    pub fn with_shape(&self, shape: Vec<Dim>) -> Self {
        Self { element_type: self.element_type, shape, constant: None, known: None }
    }

    /// The type and shape, without content.
    #[must_use]
    pub fn without_content(&self) -> Self {
        self.with_type(self.element_type)
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The shape in numbers, or `None` where a dimension is not known.
    pub fn concrete(&self) -> Option<Vec<usize>> {
        self.shape.iter().map(Dim::size).collect()
    }

    /// The shape in numbers: for candidates, which are only asked once every dimension is known.
    ///
    /// # Errors
    /// With the dimension that is not.
    pub fn dims_known(&self) -> Result<Vec<usize>, String> {
        self.concrete().ok_or_else(|| format!("its shape {self} is not known before it runs"))
    }

    /// The integers of a shape-like input (axes, sizes), if all are numbers.
    pub fn integers(&self) -> Option<Vec<i64>> {
        match (&self.known, &self.constant) {
            (Some(known), _) => known.iter().map(Dim::known).collect(),
            (None, Some(tensor)) => tensor.integers(),
            _ => None,
        }
    }

    /// How many integers a parameter holds that is a list or a single number (a shape, axes), if that is known.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn count(&self) -> Result<Option<usize>, ShapeError> {
        match self.shape.as_slice() {
            [] => Ok(Some(1)),
            // What nobody would write, nobody need follow.
            [count] => Ok(count.size().filter(|n| *n <= KNOWN_LIMIT)),
            _ => Err(ShapeError::new(format!("a list was expected, not {self}"))),
        }
    }

    /// The floats of a constant input (scales, a slope), if it is one.
    pub fn floats(&self) -> Option<Vec<f32>> {
        let tensor = self.constant.as_ref()?;
        match tensor.element_type() {
            ElementType::F32 => tensor.as_slice::<f32>().ok().map(<[f32]>::to_vec),
            #[expect(clippy::cast_possible_truncation, reason = "a parameter of a kernel is an f32")]
            other if other.is_float() => Some(tensor.to_f64().into_iter().map(|n| n as f32).collect()),
            _ => None,
        }
    }

    /// The number that a constant of one element is (a factor, a bound), if it is a float. Larger ones are not read.
    pub fn number(&self) -> Option<f32> {
        self.constant.as_ref().filter(|tensor| tensor.len() == 1)?;
        self.floats()?.first().copied()
    }

    /// The fact with the symbols that `bindings` names replaced.
    #[must_use]
    pub fn bind(&self, bindings: &Bindings) -> Self {
        Self {
            element_type: self.element_type,
            shape: self.shape.iter().map(|d| d.bind(bindings)).collect(),
            constant: self.constant.clone(),
            known: self.known.as_ref().map(|known| known.iter().map(|d| d.bind(bindings)).collect()),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<_> = self.shape.iter().map(ToString::to_string).collect();
        write!(f, "{}[{}]", self.element_type, dims.join(", "))
    }
}
