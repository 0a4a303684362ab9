//! Tensors of texts: they exist on the host only, and have no bytes.

use std::sync::Arc;

use super::host::check_length;
use super::storage::Storage;
use super::{ElementType, Tensor, TensorError};

impl Tensor {
    /// A tensor of these texts, row-major.
    ///
    /// ```
    /// use rimlight::Tensor;
    /// let t = Tensor::from_strings([2], vec!["left".to_owned(), "right".to_owned()])?;
    /// assert_eq!(t.strings()?[1], "right");
    /// # Ok::<(), rimlight::TensorError>(())
    /// ```
    ///
    /// # Errors
    /// [`TensorError::Length`] if the shape does not have as many elements as `texts`.
    pub fn from_strings(shape: impl Into<Vec<usize>>, texts: Vec<String>) -> Result<Self, TensorError> {
        let shape = shape.into();
        check_length(ElementType::String, &shape, size_of_val(texts.as_slice()))?;
        Ok(Self { element_type: ElementType::String, shape, storage: Storage::Strings(Arc::new(texts)) })
    }

    /// The texts.
    ///
    /// # Errors
    /// [`TensorError::Type`] if the elements are of another type.
    pub fn strings(&self) -> Result<&[String], TensorError> {
        match &self.storage {
            Storage::Strings(strings) => Ok(strings),
            _ => Err(TensorError::Type { wanted: ElementType::String, found: self.element_type() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_held_shared_and_compared() {
        let texts = |v: [&str; 2]| Tensor::from_strings([2], v.map(str::to_owned).to_vec()).unwrap();
        let a = texts(["a", "b"]);
        assert_eq!((a.len(), a.bytes(), a.is_empty()), (2, &[][..], false));
        assert_eq!(a.reshaped([1, 2]).unwrap().strings().unwrap(), ["a", "b"]);
        assert_eq!(a.view().to_tensor(), a);
        assert_ne!(a, texts(["a", "c"]));
        let mut b = Tensor::zeros(ElementType::String, [2]).unwrap();
        b.copy_from(&a.view());
        assert_eq!(b, a);
        assert!(a.reshaped([3]).is_err() && a.as_slice::<u8>().is_err() && a.integers().is_none());
        assert!(Tensor::from_strings([3], vec![String::new()]).is_err());
        assert!(Tensor::from_bytes(ElementType::String, [0], bytes::Bytes::new()).is_err());
    }
}
