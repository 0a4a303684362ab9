//! How numbers of few bits lie in a tensor.

use crate::tensor::{ElementType, Tensor};

/// How numbers lie in a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As elements.
    Elements,
    /// In bytes, the first of a byte in its lowest bits; so many bytes for a row.
    Packed(usize),
}

impl Form {
    /// `rows` rows of `columns` numbers, if the tensor has them.
    pub fn read(self, tensor: &Tensor, bits: usize, [rows, columns]: [usize; 2]) -> Vec<u8> {
        let bytes = tensor.bytes();
        match self {
            Self::Elements => match tensor.element_type() {
                // The sign bit turned: the least number becomes 0.
                ElementType::I8 => bytes.iter().map(|b| b ^ 0x80).collect(),
                ElementType::I4 => bytes.iter().map(|b| (b ^ 8) & 15).collect(),
                ElementType::U4 => bytes.iter().map(|b| b & 15).collect(),
                _ => bytes.to_vec(),
            },
            Self::Packed(pitch) => {
                let mut numbers = Vec::with_capacity(rows * columns);
                let (per, mask) = (8 / bits, u8::MAX >> (8 - bits));
                for row in bytes.chunks_exact(pitch.max(1)).take(rows) {
                    let apart = row.iter().flat_map(|byte| (0..per).map(move |i| (byte >> (i * bits)) & mask));
                    numbers.extend(apart.take(columns));
                }
                numbers
            }
        }
    }

    /// Bytes or elements that so many rows and columns take.
    pub const fn length(self, [rows, columns]: [usize; 2]) -> Option<usize> {
        match self {
            Self::Elements => rows.checked_mul(columns),
            Self::Packed(pitch) => rows.checked_mul(pitch),
        }
    }
}

/// Bits of the numbers of a type; `None` of a type that has none such.
pub(super) fn bits_of(element_type: ElementType) -> Option<usize> {
    match element_type {
        ElementType::I8 | ElementType::U8 => Some(8),
        ElementType::I4 | ElementType::U4 => Some(4),
        _ => None,
    }
}
