//! Tensors in memory that somebody else owns.

use std::sync::Arc;

use super::host::{Tensor, TensorError, check_bytes, check_length};
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

    /// A view of these bytes (elements in the machine's order, row-major), wherever they lie.
    ///
    /// # Errors
    /// [`TensorError::Length`] if there are more or fewer bytes than the shape takes; [`TensorError::Type`] for texts.
    pub fn from_bytes(
        element_type: ElementType,
        shape: impl Into<Vec<usize>>,
        bytes: &'a [u8],
    ) -> Result<Self, TensorError> {
        let shape = shape.into();
        check_bytes(element_type, &shape, bytes.len())?;
        Ok(Self { element_type, shape, bytes, strings: &[] })
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
    /// [`TensorError::Type`] if they are of another type; [`TensorError::Alignment`] if they do not lie as that type's must.
    pub fn as_slice<T: Element>(&self) -> Result<&'a [T], TensorError> {
        if self.element_type != T::TYPE {
            return Err(TensorError::Type { wanted: T::TYPE, found: self.element_type });
        }
        bytemuck::try_cast_slice(self.bytes).map_err(|_| TensorError::Alignment(T::TYPE))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_may_lie_anywhere() {
        let numbers = [1.5f32, -2.0];
        let mut memory = [0u8; 16];
        for start in 0..8 {
            memory[start..start + 8].copy_from_slice(bytemuck::cast_slice(&numbers));
            let view = TensorView::from_bytes(ElementType::F32, [2], &memory[start..start + 8]).unwrap();
            assert_eq!(view.to_tensor().as_slice::<f32>().unwrap(), numbers);
            match view.as_slice::<f32>() {
                Ok(elements) => assert_eq!(elements, numbers),
                Err(error) => assert_eq!(error, TensorError::Alignment(ElementType::F32)),
            }
        }
    }

    #[test]
    fn bytes_that_are_not_the_shapes_are_refused() {
        let wrong = |element_type, bytes: &[u8]| TensorView::from_bytes(element_type, [3], bytes).unwrap_err();
        assert!(matches!(wrong(ElementType::U8, &[0; 4]), TensorError::Length { needed: 3, given: 4, .. }));
        assert!(matches!(wrong(ElementType::String, &[0; 72]), TensorError::Type { .. }));
    }
}
