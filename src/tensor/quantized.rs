//! Matrices of floats that are known as small whole numbers with scales: `(number - zero) · scale`.
//!
//! What multiplies by such a matrix, or keeps it packed, takes the numbers; whoever reads the floats has them made. Numbers are
//! given as they are above the least of their type: of 8 bits 0 to 255, of 4 bits 0 to 15. Where no zero is said, it is the
//! middle: 128 or 8.

mod beside;
mod form;

use std::sync::Arc;

use half::f16;
use twox_hash::xxhash3_128::Hasher;

use super::{ElementType, Origin, Tensor};
use beside::Beside;
use form::{Form, bits_of};

/// A matrix of such numbers.
#[derive(Debug)]
pub(crate) struct Quantized {
    shape: [usize; 2],
    bits: usize,
    /// Rows and columns that share a scale and a zero.
    block: [usize; 2],
    symmetric: bool,
    source: Source,
}

/// Where the numbers and their scales are.
#[derive(Debug)]
enum Source {
    /// Tensors: the numbers, the scales of the blocks, in rows of blocks, and perhaps as many zeros.
    Own { numbers: Tensor, form: Form, scales: Tensor, zeros: Option<(Tensor, Form)> },
    /// Those of several matrices.
    Beside(Beside),
}

/// The scales and zeros of a matrix's blocks, row after row of blocks.
#[derive(Debug)]
pub(crate) struct Table {
    pub scales: Vec<f32>,
    pub zeros: Vec<u8>,
}

impl Quantized {
    /// Numbers that are elements of a matrix, which share scales in blocks; zeros are of the same type, and 0 where there
    /// are none. `None` where the tensors do not fit.
    pub fn of_elements(numbers: &Tensor, scales: &Tensor, zeros: Option<&Tensor>, block: [usize; 2]) -> Option<Self> {
        let (bits, element_type) = (bits_of(numbers.element_type())?, numbers.element_type());
        let &[rows, columns] = numbers.shape() else { return None };
        let signed = matches!(element_type, ElementType::I8 | ElementType::I4);
        let zero = match zeros {
            Some(zeros) => zeros.clone(),
            // 0 is the middle of numbers with a sign.
            None if signed => return Self::of([rows, columns], bits, block, (numbers, Form::Elements), scales, None),
            None => Tensor::zeros(element_type, scales.shape()).ok()?,
        };
        if zero.element_type() != element_type {
            return None;
        }
        Self::of([rows, columns], bits, block, (numbers, Form::Elements), scales, Some((zero, Form::Elements)))
    }

    /// Numbers of so many bits that lie in bytes, whole bytes for each row, and zeros that do.
    pub fn of_bytes(
        shape: [usize; 2],
        bits: usize,
        block: [usize; 2],
        (numbers, pitch): (&Tensor, usize),
        scales: &Tensor,
        zeros: Option<(&Tensor, usize)>,
    ) -> Option<Self> {
        let bytes = |tensor: &Tensor| tensor.element_type() == ElementType::U8;
        if !matches!(bits, 4 | 8) || !bytes(numbers) || zeros.is_some_and(|(zeros, _)| !bytes(zeros)) {
            return None;
        }
        let zeros = zeros.map(|(zeros, pitch)| (zeros.clone(), Form::Packed(pitch)));
        Self::of(shape, bits, block, (numbers, Form::Packed(pitch)), scales, zeros)
    }

    fn of(
        shape: [usize; 2],
        bits: usize,
        block: [usize; 2],
        (numbers, form): (&Tensor, Form),
        scales: &Tensor,
        zeros: Option<(Tensor, Form)>,
    ) -> Option<Self> {
        if shape.contains(&0)
            || block.contains(&0)
            || !matches!(scales.element_type(), ElementType::F32 | ElementType::F16)
        {
            return None;
        }
        let blocks = [shape[0].div_ceil(block[0]), shape[1].div_ceil(block[1])];
        let holds = |form: Form, tensor: &Tensor, shape: [usize; 2]| {
            let wide = match form {
                Form::Elements => true,
                Form::Packed(pitch) => pitch.checked_mul(8 / bits).is_some_and(|most| most >= shape[1]),
            };
            wide && form.length(shape) == Some(tensor.len())
        };
        let fits = holds(form, numbers, shape)
            && scales.len() == blocks[0].checked_mul(blocks[1])?
            && zeros.as_ref().is_none_or(|(zeros, form)| holds(*form, zeros, blocks));
        // Large ones are not looked at: they may have to be read from a file.
        let middle = 1 << (bits - 1);
        let symmetric = zeros.as_ref().is_none_or(|(zeros, form)| {
            zeros.is_small() && form.read(zeros, bits, blocks).iter().all(|&zero| zero == middle)
        });
        let zeros = zeros.filter(|_| !symmetric);
        let source = Source::Own { numbers: numbers.clone(), form, scales: scales.clone(), zeros };
        fits.then_some(Self { shape, bits, block, symmetric, source })
    }

    /// Matrices beside each other, each of them transposed or not; `None` where they do not fit.
    pub fn beside(parts: &[(Arc<Self>, bool)]) -> Option<Self> {
        let parts = Beside::new(parts)?;
        let symmetric = parts.is_symmetric();
        Some(Self {
            shape: parts.shape(),
            bits: parts.bits(),
            block: parts.block(),
            symmetric,
            source: Source::Beside(parts),
        })
    }

    /// Bits of a number: 4 or 8.
    pub const fn bits(&self) -> usize {
        self.bits
    }

    /// Rows and columns.
    pub const fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Rows and columns that share a scale and a zero.
    pub const fn block(&self) -> [usize; 2] {
        self.block
    }

    /// About as many bytes as it takes packed, with scales and zeros.
    pub fn bytes(&self) -> u64 {
        let [rows, columns] = self.shape.map(|n| n as u64);
        let [down, across] = self.blocks().map(|n| n as u64);
        let numbers = rows.saturating_mul(columns) / 8 * self.bits as u64;
        numbers.saturating_add(down.saturating_mul(across).saturating_mul(5))
    }

    /// Whether numbers along an axis can be read 32 bits at a time: blocks end where these do, or not at all.
    pub fn fills_words(&self, axis: usize) -> bool {
        let (size, block) = (self.shape[axis], self.block[axis]);
        block >= size || block.is_multiple_of(32 / self.bits)
    }

    /// Whether all zeros are the middle.
    pub const fn is_symmetric(&self) -> bool {
        self.symmetric
    }

    const fn blocks(&self) -> [usize; 2] {
        [self.shape[0].div_ceil(self.block[0]), self.shape[1].div_ceil(self.block[1])]
    }

    /// The numbers, row after row.
    pub fn numbers(&self) -> Vec<u8> {
        match &self.source {
            Source::Own { numbers, form, .. } => form.read(numbers, self.bits, self.shape),
            Source::Beside(parts) => parts.numbers(),
        }
    }

    /// The scales and zeros of the blocks.
    pub fn table(&self) -> Table {
        match &self.source {
            Source::Own { scales, zeros, .. } => {
                #[expect(clippy::cast_possible_truncation, reason = "they are f32 or f16")]
                let scales: Vec<f32> = scales.to_f64().into_iter().map(|v| v as f32).collect();
                let zeros = match zeros {
                    Some((zeros, form)) => form.read(zeros, self.bits, self.blocks()),
                    None => vec![1 << (self.bits - 1); scales.len()],
                };
                Table { scales, zeros }
            }
            Source::Beside(parts) => parts.table(),
        }
    }

    /// The floats, row after row.
    pub fn floats(&self) -> Vec<f32> {
        let (numbers, Table { scales, zeros }) = (self.numbers(), self.table());
        let across = self.blocks()[1];
        let mut floats = Vec::with_capacity(numbers.len());
        for (i, row) in numbers.chunks_exact(self.shape[1]).enumerate() {
            let line = i / self.block[0] * across;
            for (j, row) in row.chunks(self.block[1]).enumerate() {
                let (scale, zero) = (scales[line + j], i16::from(zeros[line + j]));
                floats.extend(row.iter().map(|&number| f32::from(i16::from(number) - zero) * scale));
            }
        }
        floats
    }

    /// The matrix as a tensor of f32 or f16, whose elements are computed where they are read.
    pub fn tensor(self, element_type: ElementType) -> Tensor {
        let this = Arc::new(self);
        let shape = this.shape.to_vec();
        let origin = Origin::new(this.shape.iter().product::<usize>() * element_type.size());
        let own = Arc::clone(&this);
        let make = move || {
            let floats = own.floats();
            let tensor = match element_type {
                ElementType::F16 => Tensor::new(own.shape, floats.into_iter().map(f16::from_f32).collect()),
                _ => Tensor::new(own.shape, floats),
            };
            tensor.ok().filter(|_| !own.is_lost())
        };
        origin.tensor(element_type, shape, make).with_quantized(this)
    }

    /// Whether something of it could not be read again.
    pub fn is_lost(&self) -> bool {
        match &self.source {
            Source::Own { numbers, scales, zeros, .. } => {
                numbers.is_lost() || scales.is_lost() || zeros.as_ref().is_some_and(|(zeros, _)| zeros.is_lost())
            }
            Source::Beside(parts) => parts.is_lost(),
        }
    }

    /// What tells it from others.
    pub fn hash(&self) -> u128 {
        let mut hasher = Hasher::new();
        let Self { shape, bits, block, symmetric, .. } = self;
        let mut header = format!("{shape:?}|{bits}|{block:?}|{symmetric}");
        match &self.source {
            Source::Own { numbers, form, scales, zeros } => {
                header += &format!("|{form:?}|{:?}|{:?}", numbers.element_type(), scales.element_type());
                hasher.write(header.as_bytes());
                for tensor in
                    [Some(numbers), Some(scales), zeros.as_ref().map(|(zeros, _)| zeros)].into_iter().flatten()
                {
                    hasher.write(&tensor.content_hash().to_le_bytes());
                }
            }
            Source::Beside(parts) => {
                hasher.write(header.as_bytes());
                parts.hash(&mut hasher);
            }
        }
        hasher.finish_128()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{I4, U4};

    #[test]
    fn numbers_of_any_form_are_what_they_stand_for() {
        let scales = Tensor::vector(vec![0.5f32, 2.0]);
        let signed = Tensor::new([2, 3], vec![-128i8, 0, 127, -1, 1, 5]).unwrap();
        let of = |numbers: &Tensor, zeros: Option<&Tensor>, block| {
            Quantized::of_elements(numbers, &scales, zeros, block).map(|q| (q.is_symmetric(), q.floats()))
        };
        assert_eq!(of(&signed, None, [1, 3]), Some((true, vec![-64.0, 0.0, 63.5, -2.0, 2.0, 10.0])));
        assert_eq!(of(&signed, None, [2, 2]), Some((true, vec![-64.0, 0.0, 254.0, -0.5, 0.5, 10.0])));
        // As many scales as blocks, and zeros of the numbers' type.
        assert_eq!(of(&signed, None, [2, 1]), None);
        assert_eq!(of(&signed, Some(&Tensor::vector(vec![0u8, 0])), [1, 3]), None);
        let unsigned = Tensor::new([1, 2], vec![255u8, 3]).unwrap();
        assert_eq!(of(&unsigned, None, [1, 1]), Some((false, vec![127.5, 6.0])));
        let middle = Tensor::vector(vec![128u8, 128]);
        assert_eq!(of(&unsigned, Some(&middle), [1, 1]), Some((true, vec![63.5, -250.0])));
        let four = Tensor::new([2, 1], vec![I4::wrapping(-8), I4::wrapping(7)]).unwrap();
        assert_eq!(of(&four, None, [1, 1]), Some((true, vec![-4.0, 14.0])));
        let four = Tensor::new([2, 1], vec![U4::wrapping(15), U4::wrapping(1)]).unwrap();
        assert_eq!(of(&four, None, [1, 1]), Some((false, vec![7.5, 2.0])));
        let bytes = Tensor::vector(vec![0x21u8, 0x03, 0xf8, 0x07]);
        let packed = Quantized::of_bytes([2, 3], 4, [1, 3], (&bytes, 2), &scales, None).unwrap();
        assert_eq!(packed.floats(), [-3.5, -3.0, -2.5, 0.0, 14.0, -2.0]);
        assert!(Quantized::of_bytes([2, 5], 4, [1, 5], (&bytes, 2), &scales, None).is_none());
    }

    #[test]
    fn floats_are_made_where_they_are_read() {
        let numbers = Tensor::new([2, 3], vec![1i8, 2, 3, 4, 5, 6]).unwrap();
        let scales = Tensor::vector(vec![0.5f32; 3]);
        let of = || Quantized::of_elements(&numbers, &scales, None, [2, 1]).unwrap().tensor(ElementType::F32);
        let (tensor, other) = (of(), of());
        assert_eq!(tensor.content_hash(), other.content_hash());
        let state = || format!("{:?}", tensor.storage);
        assert!(state().contains("not read"), "{}", state());
        assert_eq!(tensor, Tensor::new([2, 3], vec![0.5f32, 1.0, 1.5, 2.0, 2.5, 3.0]).unwrap());
        assert!(state().contains("there"), "{}", state());
        // Under another shape the numbers are not those of its elements.
        assert!(tensor.reshaped([3, 2]).unwrap().quantized().is_none());
    }
}
