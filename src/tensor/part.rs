//! A part of a tensor along one axis, which shares the tensor's memory where it is one piece of it.

use std::sync::Arc;

use bytes::Bytes;

use super::Tensor;
use super::storage::{Block, Storage};

/// Owner of blocks that several tensors share.
struct Blocks(Arc<Vec<Block>>);

impl AsRef<[u8]> for Blocks {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl Tensor {
    /// The elements `begin` to `begin + length` along an axis, or `None` if there are no such, or they are texts. What lies
    /// in one piece is not copied.
    pub(crate) fn part(&self, axis: usize, begin: usize, length: usize) -> Option<Self> {
        let &size = self.shape.get(axis)?;
        let inner = self.shape[axis + 1..].iter().product::<usize>() * self.element_type.size();
        let outer: usize = self.shape[..axis].iter().product();
        if begin.checked_add(length)? > size || matches!(self.storage, Storage::Strings(_)) {
            return None;
        }
        let mut shape = self.shape.clone();
        shape[axis] = length;
        let piece = |row: usize| (row * size + begin) * inner..(row * size + begin + length) * inner;
        if outer == 1 {
            let bytes = match &self.storage.clone().plain() {
                Storage::Shared(bytes) => bytes.clone(),
                Storage::Owned(blocks, _) => Bytes::from_owner(Blocks(Arc::clone(blocks))),
                Storage::Deferred(_) | Storage::Strings(_) => return None,
            };
            return Self::from_bytes(self.element_type, shape, bytes.slice(piece(0))).ok();
        }
        let mut bytes = Vec::with_capacity(outer * length * inner);
        for row in 0..outer {
            bytes.extend_from_slice(&self.bytes()[piece(row)]);
        }
        Self::from_bytes(self.element_type, shape, bytes.into()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_what_it_is_of_and_shares_what_lies_in_one_piece() {
        let whole = Tensor::new([3, 4], (0..12i32).collect()).unwrap();
        let rows = whole.part(0, 1, 2).unwrap();
        assert_eq!(rows, Tensor::new([2, 4], (4..12i32).collect()).unwrap());
        assert_eq!(rows.bytes().as_ptr(), whole.bytes()[16..].as_ptr());
        let columns = whole.part(1, 3, 1).unwrap();
        assert_eq!(columns, Tensor::new([3, 1], vec![3i32, 7, 11]).unwrap());
        let owned = Tensor::copy_of_bytes(whole.element_type(), vec![3, 4], whole.bytes()).unwrap();
        let last = owned.part(0, 2, 1).unwrap();
        assert_eq!(last, Tensor::new([1, 4], (8..12i32).collect()).unwrap());
        assert_eq!(last.bytes().as_ptr(), owned.bytes()[32..].as_ptr());
        assert!(whole.part(0, 2, 2).is_none() && whole.part(2, 0, 1).is_none());
        assert!(whole.part(1, usize::MAX, 1).is_none());
        assert_eq!(whole.part(1, 4, 0).unwrap().shape(), [3, 0]);
    }
}
