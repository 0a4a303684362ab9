//! Tensors in the host's memory.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::shape::elements;
use super::storage::{Block, Storage};
use super::{Element, ElementType, I4, TensorView, U4};

/// Why a tensor could not be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The data's length is not that of the shape.
    #[error("a tensor of shape {shape:?} and type {element_type} needs {needed} bytes, but {given} were given")]
    Length {
        /// The shape asked for.
        shape: Vec<usize>,
        /// The element type asked for.
        element_type: ElementType,
        /// Bytes that this takes.
        needed: usize,
        /// Bytes that were given.
        given: usize,
    },
    /// The shape has more elements than an address can count.
    #[error("a tensor of shape {shape:?} and type {element_type} is too large")]
    TooLarge {
        /// The shape asked for.
        shape: Vec<usize>,
        /// The element type asked for.
        element_type: ElementType,
    },
    /// The elements are of another type than the one asked for.
    #[error("the tensor's elements are {found}, not {wanted}")]
    Type {
        /// The type asked for.
        wanted: ElementType,
        /// The type that the tensor has.
        found: ElementType,
    },
    /// The elements lie at an address at which this type's cannot be read in place.
    #[error("the elements do not lie at an address that {0} can be read at; copy them first (`to_tensor`)")]
    Alignment(ElementType),
}

/// A dense tensor in the host's memory, row-major. Cloning it shares the data.
///
/// ```
/// use rimlight::Tensor;
/// let t = Tensor::new([2, 3], vec![1f32, 2., 3., 4., 5., 6.])?;
/// assert_eq!(t.shape(), [2, 3]);
/// assert_eq!(t.as_slice::<f32>()?[4], 5.);
/// # Ok::<(), rimlight::TensorError>(())
/// ```
#[derive(Clone)]
pub struct Tensor {
    pub(super) element_type: ElementType,
    pub(super) shape: Vec<usize>,
    pub(super) storage: Storage,
}

fn byte_length(element_type: ElementType, shape: &[usize]) -> Result<usize, TensorError> {
    elements(shape)
        .and_then(|n| n.checked_mul(element_type.size()))
        // Rust allows no object larger than isize::MAX.
        .filter(|&n| isize::try_from(n).is_ok())
        .ok_or_else(|| TensorError::TooLarge { shape: shape.to_vec(), element_type })
}

pub(super) fn check_length(element_type: ElementType, shape: &[usize], given: usize) -> Result<(), TensorError> {
    let needed = byte_length(element_type, shape)?;
    if needed == given {
        Ok(())
    } else {
        Err(TensorError::Length { shape: shape.to_vec(), element_type, needed, given })
    }
}

/// [`check_length`] of a type that is made of bytes, which texts are not.
pub(super) fn check_bytes(element_type: ElementType, shape: &[usize], given: usize) -> Result<(), TensorError> {
    match element_type {
        ElementType::String => Err(TensorError::Type { wanted: ElementType::U8, found: element_type }),
        _ => check_length(element_type, shape, given),
    }
}

/// Owner of a typed vector, so that its bytes can be shared without a copy.
struct Elements<T>(Vec<T>);

impl<T: Element> AsRef<[u8]> for Elements<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl Tensor {
    /// A tensor of these elements, row-major.
    ///
    /// # Errors
    /// [`TensorError::Length`] if the shape does not have as many elements as `data`.
    pub fn new<T: Element>(shape: impl Into<Vec<usize>>, data: Vec<T>) -> Result<Self, TensorError> {
        let shape = shape.into();
        check_length(T::TYPE, &shape, std::mem::size_of_val(data.as_slice()))?;
        Ok(Self { element_type: T::TYPE, shape, storage: Storage::Shared(Bytes::from_owner(Elements(data))) })
    }

    /// A tensor of rank 0.
    pub fn scalar<T: Element>(value: T) -> Self {
        Self { element_type: T::TYPE, shape: vec![], storage: Storage::copy_of(bytemuck::bytes_of(&value)) }
    }

    /// A tensor of rank 1.
    pub fn vector<T: Element>(data: Vec<T>) -> Self {
        Self {
            element_type: T::TYPE,
            shape: vec![data.len()],
            storage: Storage::Shared(Bytes::from_owner(Elements(data))),
        }
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// [`TensorError::TooLarge`] if its size overflows.
    pub fn zeros(element_type: ElementType, shape: impl Into<Vec<usize>>) -> Result<Self, TensorError> {
        Self::in_memory(element_type, shape.into(), vec![])
    }

    /// A tensor in memory that was used before: what the memory holds is kept, what it lacks is zeros.
    pub(crate) fn in_memory(
        element_type: ElementType,
        shape: Vec<usize>,
        mut memory: Vec<Block>,
    ) -> Result<Self, TensorError> {
        let length = byte_length(element_type, &shape)?;
        if element_type == ElementType::String {
            return Self::from_strings(shape.clone(), vec![String::new(); length / element_type.size()]);
        }
        // Memory that is longer than needed stays so: it will be used again.
        if memory.len() < length.div_ceil(Block::SIZE) {
            memory.resize(length.div_ceil(Block::SIZE), Block::default());
        }
        Ok(Self { element_type, shape, storage: Storage::Owned(Arc::new(memory), length) })
    }

    /// A tensor of these bytes (little-endian elements, row-major), without a copy where their address allows it.
    ///
    /// # Errors
    /// [`TensorError::Length`] if there are more or fewer bytes than the shape takes; [`TensorError::Type`] for texts.
    pub fn from_bytes(
        element_type: ElementType,
        shape: impl Into<Vec<usize>>,
        bytes: Bytes,
    ) -> Result<Self, TensorError> {
        let shape = shape.into();
        check_bytes(element_type, &shape, bytes.len())?;
        Ok(Self { element_type, shape, storage: Storage::aligned(bytes, element_type.size()) })
    }

    /// The number of elements of a tensor that is to be made from a shape which a model or an input computed, if that
    /// is below 2³¹: a few bytes of input must not ask for all of the memory.
    ///
    /// # Errors
    /// [`TensorError::TooLarge`] otherwise.
    pub fn bounded(element_type: ElementType, shape: &[usize]) -> Result<usize, TensorError> {
        byte_length(element_type, shape)
            .map(|bytes| bytes / element_type.size())
            .ok()
            .filter(|&n| n < 1 << 31)
            .ok_or_else(|| TensorError::TooLarge { shape: shape.to_vec(), element_type })
    }

    /// A tensor with a copy of these bytes.
    ///
    /// # Errors
    /// As [`Tensor::from_bytes`].
    pub(crate) fn copy_of_bytes(
        element_type: ElementType,
        shape: Vec<usize>,
        bytes: &[u8],
    ) -> Result<Self, TensorError> {
        check_bytes(element_type, &shape, bytes.len())?;
        Ok(Self { element_type, shape, storage: Storage::copy_of(bytes) })
    }

    /// The type of the elements.
    pub fn element_type(&self) -> ElementType {
        self.element_type
    }

    /// The shape, outermost dimension first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match &self.storage {
            Storage::Strings(strings) => strings.len(),
            _ => self.byte_length() / self.element_type.size(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements' bytes, row-major, little-endian; of texts none.
    pub fn bytes(&self) -> &[u8] {
        self.storage.as_bytes()
    }

    /// The number of [bytes](Self::bytes).
    pub(crate) fn byte_length(&self) -> usize {
        self.storage.length()
    }

    /// What tells the elements from those of other tensors, as long as both are held.
    pub(crate) fn address(&self) -> usize {
        self.storage.address()
    }

    /// Whether two tensors share their elements.
    pub(crate) fn shares(&self, other: &Self) -> bool {
        self.storage.is(&other.storage)
    }

    /// The elements.
    ///
    /// # Errors
    /// [`TensorError::Type`] if they are of another type.
    pub fn as_slice<T: Element>(&self) -> Result<&[T], TensorError> {
        if self.element_type != T::TYPE {
            return Err(TensorError::Type { wanted: T::TYPE, found: self.element_type });
        }
        Ok(bytemuck::cast_slice(self.bytes()))
    }

    /// The elements, to be written: in place where nobody else holds them, in a copy otherwise.
    ///
    /// # Errors
    /// [`TensorError::Type`] if they are of another type.
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T], TensorError> {
        if self.element_type != T::TYPE {
            return Err(TensorError::Type { wanted: T::TYPE, found: self.element_type });
        }
        if let Storage::Deferred(_) | Storage::Shared(_) = &self.storage {
            self.storage = Storage::copy_of(self.bytes());
        }
        match &mut self.storage {
            Storage::Owned(blocks, length) => {
                Ok(&mut bytemuck::cast_slice_mut(Arc::make_mut(blocks).as_mut_slice())[..*length / size_of::<T>()])
            }
            // Made owned just above; texts are no `T`.
            Storage::Shared(_) | Storage::Deferred(_) | Storage::Strings(_) => Ok(&mut []),
        }
    }

    /// Takes the elements of a view that has the same type and shape; of another one nothing.
    pub(crate) fn copy_from(&mut self, view: &TensorView<'_>) {
        if self.element_type == view.element_type && self.shape == view.shape {
            match &mut self.storage {
                Storage::Strings(strings) => Arc::make_mut(strings).clone_from_slice(view.strings),
                _ => self.overwrite().copy_from_slice(view.bytes),
            }
        }
    }

    /// The bytes, all of which the caller is about to write: in place where nobody else holds them, in new memory
    /// otherwise.
    pub(crate) fn overwrite(&mut self) -> &mut [u8] {
        let length = self.byte_length();
        let alone = match &mut self.storage {
            Storage::Owned(blocks, _) => Arc::get_mut(blocks).is_some(),
            Storage::Shared(_) | Storage::Deferred(_) => false,
            Storage::Strings(_) => return &mut [],
        };
        if !alone {
            self.storage = Storage::Owned(Arc::new(vec![Block::default(); length.div_ceil(Block::SIZE)]), length);
        }
        match &mut self.storage {
            Storage::Owned(blocks, _) => match Arc::get_mut(blocks) {
                Some(blocks) => &mut bytemuck::cast_slice_mut(blocks.as_mut_slice())[..length],
                None => &mut [],
            },
            Storage::Shared(_) | Storage::Deferred(_) | Storage::Strings(_) => &mut [],
        }
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// [`TensorError::Length`] if that shape has another number of elements.
    pub fn reshaped(&self, shape: impl Into<Vec<usize>>) -> Result<Self, TensorError> {
        let shape = shape.into();
        check_length(self.element_type, &shape, self.len() * self.element_type.size())?;
        Ok(Self { element_type: self.element_type, shape, storage: self.storage.clone() })
    }

    /// The same bits as elements of another type that has as many.
    ///
    /// # Errors
    /// [`TensorError::Length`] if it has more or fewer.
    pub(crate) fn of_bits(self, element_type: ElementType) -> Result<Self, TensorError> {
        check_bytes(element_type, &self.shape, self.byte_length())?;
        Ok(Self { element_type, ..self })
    }

    /// The elements as 64-bit integers (of axes, sizes, indices), or `None` if they are no integers, or beyond those.
    pub fn integers(&self) -> Option<Vec<i64>> {
        fn widen<T: Element + Into<i64>>(tensor: &Tensor) -> Option<Vec<i64>> {
            tensor.as_slice::<T>().ok().map(|v| v.iter().map(|&n| n.into()).collect())
        }
        match self.element_type {
            ElementType::I64 => widen::<i64>(self),
            ElementType::I32 => widen::<i32>(self),
            ElementType::I16 => widen::<i16>(self),
            ElementType::I8 => widen::<i8>(self),
            ElementType::U32 => widen::<u32>(self),
            ElementType::U16 => widen::<u16>(self),
            ElementType::U8 => widen::<u8>(self),
            ElementType::U64 => self.as_slice::<u64>().ok()?.iter().map(|&v| i64::try_from(v).ok()).collect(),
            ElementType::I4 => self.as_slice::<I4>().ok().map(|v| v.iter().map(|n| n.get().into()).collect()),
            ElementType::U4 => self.as_slice::<U4>().ok().map(|v| v.iter().map(|n| n.get().into()).collect()),
            _ => None,
        }
    }

    /// This tensor as a view.
    pub fn view(&self) -> TensorView<'_> {
        TensorView {
            element_type: self.element_type,
            shape: self.shape.clone(),
            bytes: self.bytes(),
            strings: self.strings().unwrap_or_default(),
        }
    }

    /// The memory, if nobody else holds it, to be used again.
    pub(crate) fn into_memory(self) -> Option<Vec<Block>> {
        self.storage.into_blocks()
    }
}

impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        (self.element_type, self.shape()) == (other.element_type, other.shape())
            && (self.shares(other) || self.has_elements_of(other))
    }
}

impl Tensor {
    fn has_elements_of(&self, other: &Self) -> bool {
        self.bytes() == other.bytes() && self.strings().unwrap_or_default() == other.strings().unwrap_or_default()
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {:?}", self.element_type, self.shape)?;
        // A tensor of a few elements is a parameter somebody wants to read; a large one would bury the message.
        match self.element_type {
            ElementType::I64 if self.len() <= 8 => {
                write!(f, " {:?})", self.as_slice::<i64>().unwrap_or_default())
            }
            ElementType::F32 if self.len() <= 8 => {
                write!(f, " {:?})", self.as_slice::<f32>().unwrap_or_default())
            }
            _ => write!(f, ")"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_that_does_not_fit_the_data_is_refused() {
        assert!(matches!(Tensor::new([2, 2], vec![1f32; 3]), Err(TensorError::Length { needed: 16, given: 12, .. })));
        assert!(matches!(Tensor::zeros(ElementType::F32, [usize::MAX, 2]), Err(TensorError::TooLarge { .. })));
    }

    #[test]
    fn writing_a_shared_tensor_leaves_the_other_as_it_was() {
        let a = Tensor::new([2], vec![1f32, 2.]).unwrap();
        let mut b = a.clone();
        b.as_mut_slice::<f32>().unwrap()[0] = 9.;
        assert_eq!(a.as_slice::<f32>().unwrap(), [1., 2.]);
        assert_eq!(b.as_slice::<f32>().unwrap(), [9., 2.]);
    }

    #[test]
    fn unaligned_bytes_are_copied_into_place() {
        let mut bytes = vec![0u8; 9];
        bytes[1..5].copy_from_slice(&1.5f32.to_le_bytes());
        bytes[5..9].copy_from_slice(&2.5f32.to_le_bytes());
        let t = Tensor::from_bytes(ElementType::F32, [2], Bytes::from(bytes).slice(1..)).unwrap();
        assert_eq!(t.as_slice::<f32>().unwrap(), [1.5, 2.5]);
    }
}
