//! Tensors in memory that somebody else owns.

use std::sync::Arc;

use super::host::{Tensor, TensorError, check_length};
use super::storage::Storage;
use super::{Element, ElementType};

/// A tensor that somebody else owns: a shape and a slice of elements, row-major.
#[derive(Debug, Clone)]
pub struct TensorView<'a> {
    pub(super) element_type: ElementType,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: &'a [u8],
    pub(super) strings: &'a [String],
}

impl<'a> TensorView<'a> {
    /// A view of these elements, row-major.
    ///
    /// # Errors
    /// [`TensorError::Length`] if the shape does not have as many elements as `data`.
    pub fn new<T: Element>(shape: impl Into<Vec<usize>>, data: &'a [T]) -> Result<Self, TensorError> {
        let shape = shape.into();
        check_length(T::TYPE, &shape, size_of_val(data))?;
        Ok(Self { element_type: T::TYPE, shape, bytes: bytemuck::cast_slice(data), strings: &[] })
    }

    /// The type of the elements.
    pub fn element_type(&self) -> ElementType {
        self.element_type
    }

    /// The shape, outermost dimension first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements' bytes; of texts none.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The elements.
    ///
    /// # Errors
    /// [`TensorError::Type`] if they are of another type.
    pub fn as_slice<T: Element>(&self) -> Result<&'a [T], TensorError> {
        if self.element_type != T::TYPE {
            return Err(TensorError::Type { wanted: T::TYPE, found: self.element_type });
        }
        Ok(bytemuck::cast_slice(self.bytes))
    }

    /// A tensor with a copy of the elements.
    pub fn to_tensor(&self) -> Tensor {
        if self.element_type == ElementType::String {
            let storage = Storage::Strings(Arc::new(self.strings.to_vec()));
            return Tensor { element_type: self.element_type, shape: self.shape.clone(), storage };
        }
        Tensor { element_type: self.element_type, shape: self.shape.clone(), storage: Storage::copy_of(self.bytes) }
    }
}
