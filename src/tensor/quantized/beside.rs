//! Matrices of numbers with scales beside each other, each of them transposed or not: all have as many rows. Numbers have as many
//! bits as those of most bits, and blocks are as high as the least.

use std::sync::Arc;

use twox_hash::xxhash3_128::Hasher;

use super::{Quantized, Table};

/// Matrices, and whether each lies transposed.
#[derive(Debug)]
pub(super) struct Beside {
    parts: Vec<(Arc<Quantized>, bool)>,
    rows: usize,
    columns: usize,
    /// Rows that share scales: each column has scales of its own.
    down: usize,
    bits: usize,
}

/// Rows, columns, and rows of a block of a matrix as it is or transposed.
fn turned((part, transposed): &(Arc<Quantized>, bool)) -> [usize; 3] {
    let ([rows, columns], [down, across]) = (part.shape, part.block);
    if *transposed { [columns, rows, across.min(columns)] } else { [rows, columns, down.min(rows)] }
}

impl Beside {
    /// `None` where their rows are not as many, or blocks of one end within those of another.
    pub fn new(parts: &[(Arc<Quantized>, bool)]) -> Option<Self> {
        let [rows, ..] = turned(parts.first()?);
        let down = parts.iter().map(|part| turned(part)[2]).min()?;
        let bits = parts.iter().map(|part| part.0.bits).max()?;
        let mut columns = 0usize;
        for part in parts {
            let [own_rows, own_columns, own_down] = turned(part);
            if own_rows != rows || (own_down < rows && !own_down.is_multiple_of(down)) {
                return None;
            }
            columns = columns.checked_add(own_columns)?;
        }
        Some(Self { parts: parts.to_vec(), rows, columns, down, bits })
    }

    pub const fn bits(&self) -> usize {
        self.bits
    }

    pub const fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    pub const fn block(&self) -> [usize; 2] {
        [self.down, 1]
    }

    pub fn is_symmetric(&self) -> bool {
        self.parts.iter().all(|(part, _)| part.symmetric && part.bits == self.bits)
    }

    pub fn is_lost(&self) -> bool {
        self.parts.iter().any(|(part, _)| part.is_lost())
    }

    pub fn hash(&self, hasher: &mut Hasher) {
        for (part, transposed) in &self.parts {
            hasher.write(&part.hash().to_le_bytes());
            hasher.write(&[u8::from(*transposed)]);
        }
    }

    pub fn numbers(&self) -> Vec<u8> {
        let read: Vec<_> = self.parts.iter().map(|(part, _)| part.numbers()).collect();
        let mut all = Vec::with_capacity(self.rows * self.columns);
        for row in 0..self.rows {
            for ((part, transposed), numbers) in self.parts.iter().zip(&read) {
                let [lines, length] = part.shape;
                match transposed {
                    true => all.extend((0..lines).map(|line| numbers[line * length + row])),
                    false => all.extend_from_slice(&numbers[row * length..][..length]),
                }
            }
        }
        all
    }

    pub fn table(&self) -> Table {
        let tables: Vec<_> = self.parts.iter().map(|(part, _)| part.table()).collect();
        let mut all = Table { scales: vec![], zeros: vec![] };
        for block in 0..self.rows.div_ceil(self.down) {
            for (part, table) in self.parts.iter().zip(&tables) {
                let (across, [_, columns, own_down]) = (part.0.blocks()[1], turned(part));
                let block = block * self.down / own_down;
                for column in 0..columns {
                    let place = match part.1 {
                        true => column / part.0.block[0] * across + block,
                        false => block * across + column / part.0.block[1],
                    };
                    all.scales.push(table.scales[place]);
                    all.zeros.push(table.zeros[place]);
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::{Tensor, U4};

    proptest! {
        #[test]
        fn matrices_beside_each_other_are_their_floats_beside_each_other(
            rows in 1usize..9, widths in prop::collection::vec(1usize..6, 1..4), block in 1usize..9,
            flips in prop::collection::vec(any::<bool>(), 3), finer in prop::collection::vec(1usize..3, 3),
            four in prop::collection::vec(any::<bool>(), 3), zeros: bool, seed in 0usize..99,
        ) {
            let mut parts = vec![];
            for (i, &width) in widths.iter().enumerate() {
                let shape = if flips[i] { [width, rows] } else { [rows, width] };
                let block = block * finer[i];
                let block = if flips[i] { [1, block] } else { [block, 1] };
                let count = shape[0].div_ceil(block[0]) * shape[1].div_ceil(block[1]);
                let any = |n: usize, by: usize| (0..n).map(|j| ((j + seed + i) * by % 251) as u8).collect::<Vec<_>>();
                let scales = Tensor::vector(any(count, 31).into_iter().map(f32::from).collect());
                let nibbles = |bytes: Vec<u8>| bytes.into_iter().map(U4::wrapping).collect();
                let (numbers, zero) = match four[i] {
                    true => (Tensor::new(shape, nibbles(any(rows * width, 67))), Tensor::vector::<U4>(nibbles(any(count, 13)))),
                    false => (Tensor::new(shape, any(rows * width, 67)), Tensor::vector(any(count, 13))),
                };
                let zero = zeros.then_some(&zero);
                parts.push((Arc::new(Quantized::of_elements(&numbers.unwrap(), &scales, zero, block).unwrap()), flips[i]));
            }
            let whole = Quantized::beside(&parts).unwrap();
            let (found, total) = (whole.floats(), widths.iter().sum::<usize>());
            let mut begin = 0;
            for ((part, flip), width) in parts.iter().zip(&widths) {
                let floats = part.floats();
                for (r, c) in (0..rows).flat_map(|r| (0..*width).map(move |c| (r, c))) {
                    let own = floats[if *flip { c * rows + r } else { r * width + c }];
                    prop_assert_eq!(found[r * total + begin + c], own);
                }
                begin += width;
            }
        }
    }
}
