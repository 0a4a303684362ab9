//! Memory that is used again: a steady run allocates no tensor.

use crate::tensor::{Block, ElementType, Tensor, TensorError};

/// Runs without a use after which memory is let go of. All runs of a plan need the same; but what nodes without a kernel give
/// comes from elsewhere each time.
const IDLE: usize = 3;

/// Memory of tensors that are no longer needed.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Each with the runs since it was used.
    free: Vec<(Vec<Block>, usize)>,
}

impl Memory {
    /// A tensor with whatever its memory held before.
    pub fn tensor(&mut self, element_type: ElementType, shape: &[usize]) -> Result<Tensor, TensorError> {
        let bytes = crate::tensor::shape::elements(shape).and_then(|n| n.checked_mul(element_type.size()));
        let blocks = bytes.unwrap_or(usize::MAX).div_ceil(Block::SIZE);
        // The smallest that is large enough.
        let fits = self.free.iter().enumerate().filter(|(_, (memory, _))| memory.len() >= blocks);
        let memory = match fits.min_by_key(|(_, (memory, _))| memory.len()) {
            Some((i, _)) => self.free.swap_remove(i).0,
            None => vec![],
        };
        Tensor::in_memory(element_type, shape.to_vec(), memory)
    }

    /// Takes a tensor's memory back, if nobody else holds it.
    pub fn reclaim(&mut self, tensor: Tensor) {
        self.free.extend(tensor.into_memory().filter(|memory| !memory.is_empty()).map(|memory| (memory, 0)));
    }

    /// A run begins: what no run of late has used goes.
    pub fn age(&mut self) {
        self.free.retain_mut(|(_, idle)| {
            *idle += 1;
            *idle <= IDLE
        });
    }

    /// Bytes that lie ready.
    pub fn free_bytes(&self) -> usize {
        self.free.iter().map(|(memory, _)| memory.len() * Block::SIZE).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_the_smallest_that_fits() {
        let mut memory = Memory::default();
        let (large, small) =
            (memory.tensor(ElementType::F32, &[1000]).unwrap(), memory.tensor(ElementType::F32, &[10]).unwrap());
        let address = small.bytes().as_ptr();
        let shared = large.clone();
        memory.reclaim(large);
        memory.reclaim(small);
        drop(shared);
        // What somebody else held is not taken.
        assert_eq!(memory.free_bytes(), 48);
        let again = memory.tensor(ElementType::F32, &[3, 4]).unwrap();
        assert_eq!((again.bytes().as_ptr(), again.shape(), again.len()), (address, &[3, 4][..], 12));
        assert_eq!(memory.free_bytes(), 0);
        assert!(memory.tensor(ElementType::F32, &[usize::MAX, 3]).is_err());
    }

    #[test]
    fn memory_that_no_run_uses_goes() {
        let mut memory = Memory::default();
        let tensors = [100, 10].map(|n| memory.tensor(ElementType::F32, &[n]).unwrap());
        tensors.into_iter().for_each(|tensor| memory.reclaim(tensor));
        let all = memory.free_bytes();
        for _ in 0..IDLE {
            memory.age();
            let used = memory.tensor(ElementType::F32, &[10]).unwrap();
            assert_eq!(memory.free_bytes(), all - 48);
            memory.reclaim(used);
        }
        memory.age();
        assert_eq!(memory.free_bytes(), 48);
    }
}
