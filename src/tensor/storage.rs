//! The bytes of a tensor: shared, aligned, and taken back for reuse when nobody else holds them.

use std::sync::Arc;

use bytes::Bytes;

use super::deferred::Deferred;

/// Sixteen aligned bytes: the unit that tensor memory is allocated in, so that every element type can be read in place.
#[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(16))]
pub struct Block([u8; 16]);

impl Block {
    /// Bytes in a block.
    pub const SIZE: usize = 16;
}

/// The bytes of a tensor, cheap to clone.
#[derive(Debug, Clone)]
pub enum Storage {
    /// Memory of our own, `1` its length in bytes.
    Owned(Arc<Vec<Block>>, usize),
    /// A part of somebody else's memory (a model file), already aligned for its element type.
    Shared(Bytes),
    /// Bytes that are made when they are read.
    Deferred(Arc<Deferred>),
    /// Texts, which are no bytes of a tensor's own.
    Strings(Arc<Vec<String>>),
}

impl Storage {
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Owned(blocks, length) => &bytemuck::cast_slice(blocks.as_slice())[..*length],
            Self::Shared(bytes) => bytes,
            Self::Deferred(deferred) => deferred.storage().as_bytes(),
            Self::Strings(_) => &[],
        }
    }

    /// The number of bytes, which need not be there yet.
    pub fn length(&self) -> usize {
        match self {
            Self::Deferred(deferred) => deferred.length(),
            other => other.as_bytes().len(),
        }
    }

    /// What tells the bytes from others as long as they are held.
    pub fn address(&self) -> usize {
        match self {
            Self::Deferred(deferred) => deferred.address(),
            other => other.as_bytes().as_ptr().addr(),
        }
    }

    /// Whether these are the same bytes, as far as that is known without reading them.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Deferred(a), Self::Deferred(b)) => a.is(b),
            (Self::Deferred(_), _) | (_, Self::Deferred(_)) => false,
            (Self::Strings(a), Self::Strings(b)) => Arc::ptr_eq(a, b),
            _ => std::ptr::eq(self.as_bytes(), other.as_bytes()),
        }
    }

    /// The same bytes, made by now.
    pub fn plain(self) -> Self {
        match self {
            Self::Deferred(deferred) => deferred.storage().clone(),
            other => other,
        }
    }

    /// So many zeros.
    pub fn zeros(length: usize) -> Self {
        Self::Owned(Arc::new(vec![Block::default(); length.div_ceil(Block::SIZE)]), length)
    }

    /// Copies bytes into memory of our own.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut blocks = vec![Block::default(); bytes.len().div_ceil(Block::SIZE)];
        bytemuck::cast_slice_mut(blocks.as_mut_slice())[..bytes.len()].copy_from_slice(bytes);
        Self::Owned(Arc::new(blocks), bytes.len())
    }

    /// Takes the bytes as they are where their address suits `alignment`, and copies them otherwise.
    pub fn aligned(bytes: Bytes, alignment: usize) -> Self {
        if bytes.as_ptr().align_offset(alignment) == 0 { Self::Shared(bytes) } else { Self::copy_of(&bytes) }
    }

    /// The memory itself, if it is our own and nobody else holds it.
    pub fn into_blocks(self) -> Option<Vec<Block>> {
        match self {
            Self::Owned(blocks, _) => Arc::try_unwrap(blocks).ok(),
            Self::Shared(_) | Self::Deferred(_) | Self::Strings(_) => None,
        }
    }
}
