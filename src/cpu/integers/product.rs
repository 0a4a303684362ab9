//! Products of matrices of integers. B is packed beforehand if it is known, else in each run.

use std::borrow::Cow;

use super::super::kernel::{Job, Kernel};
use super::super::{Scratch, Threads, tasks};
use super::pairs::{COLUMNS, Pairs, ROWS, Work, dispatch, line, numbers, tile};
use super::weights::{Signed, Weights, pair};
use super::{Channel, Finish, Finished, Results, Source};
use crate::graph::{EvaluateError, Fact, ShapeError};
use crate::ops::matmul::Product;
use crate::ops::quantize::{Channels, Ends, IntegerProduct};
use crate::tensor::{ElementType, Tensor};

/// The matrices of B by columns.
type Packed = Vec<Weights<COLUMNS>>;

#[derive(Debug)]
struct Matrices {
    product: Product,
    a: ElementType,
    b: Option<Packed>,
    ends: Ends,
    held: Vec<usize>,
}

/// The kernel, where scales, biases and zero points of B are one for all, or one for each column.
pub(super) fn kernel(product: &IntegerProduct, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    let a = inputs.first().copied().flatten()?.element_type;
    let (product, ends) = product.ends(inputs, output)?;
    let b = ends.known_weights(inputs).and_then(|(b, zeros)| packed(&product, b, &zeros));
    let held = if b.is_some() { ends.held() } else { vec![] };
    Some(Box::new(Matrices { product, a, b, ends, held }))
}

/// The matrices of B, whose columns have these zero points, or all of them this one.
fn packed(p: &Product, b: &Tensor, zeros: &[i32]) -> Option<Packed> {
    let (numbers, size) = (Signed::of(b)?, p.k * p.n);
    let zeros: Vec<i32> = zeros.iter().cycle().take(p.n).map(|&zero| numbers.zero(zero)).collect();
    let matrix = |first: usize| {
        let place = |column: usize, i: usize| if p.transpose_b { column * p.k + i } else { i * p.n + column };
        Weights::new(1, p.n, p.k, &zeros, |column, i| numbers.at(first + place(column, i)))
    };
    (zeros.len() == p.n).then(|| (0..b.len()).step_by(size.max(1)).map(matrix).collect())
}

impl Kernel for Matrices {
    fn products(&self) -> usize {
        self.product.k
    }

    fn holds(&self) -> &[usize] {
        &self.held
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let Job { inputs, y, threads, scratch, .. } = job;
        let (p, a, zeros) = (&self.product, inputs.tensor(0)?.bytes(), self.ends.x_zeros(&inputs));
        let b = match &self.b {
            Some(b) => Cow::Borrowed(&b[..]),
            None => {
                let (b, zeros) = self.ends.weights(&inputs)?;
                let wrong =
                    || ShapeError::new("B is no matrix of 8-bit integers with a zero point, or one for each column");
                Cow::Owned(packed(p, b, &zeros).ok_or_else(wrong)?)
            }
        };
        let (channels, means) = (self.ends.in_run(&inputs)?, (threads, scratch));
        let part = |[a_matrix, b_matrix]: [usize; 2]| Matrix {
            m: p.m,
            k: p.k,
            n: p.n,
            a: &a[a_matrix * p.m * p.k..][..p.m * p.k],
            a_type: self.a,
            zeros: &zeros,
            first: a_matrix * p.m,
            b: &b[b_matrix],
            channels: &channels,
        };
        let (parts, size) = (p.pairs().into_iter().map(part), p.m * p.n);
        match Results::of(y)? {
            Results::Bytes(y) => parts.zip(y.chunks_exact_mut(size)).for_each(|(part, y)| part.run_on(y, means)),
            Results::Floats(y) => parts.zip(y.chunks_exact_mut(size)).for_each(|(part, y)| part.run_on(y, means)),
            Results::Sums(y) => parts.zip(y.chunks_exact_mut(size)).for_each(|(part, y)| part.run_on(y, means)),
        }
        Ok(())
    }
}

/// One matrix by another.
struct Matrix<'a> {
    m: usize,
    k: usize,
    n: usize,
    a: &'a [u8],
    a_type: ElementType,
    /// The zero points of A: one for all rows, or one for each, from the first again after the last.
    zeros: &'a [i32],
    /// The first row among those of all matrices of A.
    first: usize,
    b: &'a Weights<COLUMNS>,
    channels: &'a Channels,
}

impl Matrix<'_> {
    fn run_on<U: Finished>(&self, y: &mut [U], (threads, scratch): (&Threads, &Scratch)) {
        let pairs = self.k.div_ceil(2);
        // All of a block's rows lie beside each other; a single row is one by itself.
        let rows = if self.m == 1 { 1 } else { ROWS };
        let blocks = self.m.div_ceil(rows);
        scratch.with(blocks * rows * pairs, |packed| {
            let packed: &mut [i32] = bytemuck::cast_slice_mut(packed);
            for (i, block) in packed.chunks_exact_mut((rows * pairs).max(1)).enumerate() {
                for r in 0..rows {
                    let row = (i * rows + r).min(self.m - 1);
                    let zero = self.zeros[(self.first + row) % self.zeros.len()];
                    let Source { flip, zero } = Source::of(self.a_type, zero);
                    let wide = |byte: u8| i32::from(byte ^ flip) - i32::from(zero);
                    let join = |[one, other]: [u8; 2]| pair(wide(one), wide(other));
                    let (whole, rest) = self.a[row * self.k..][..self.k].as_chunks::<2>();
                    block[r..].iter_mut().step_by(rows).zip(whole).for_each(|(to, &two)| *to = join(two));
                    if let &[last] = rest {
                        // The weight beside it is nothing.
                        block[whole.len() * rows + r] = join([last, 0]);
                    }
                }
            }
            let share = |parts: usize, least: usize| parts.div_ceil(threads.count() * 2).max(least);
            // Few rows are shared out by columns, many by themselves.
            let (high, wide) = match blocks < 2 * threads.count() {
                true => (self.m, share(self.n.div_ceil(COLUMNS), 4) * COLUMNS),
                false => (share(blocks, 1) * rows, self.n),
            };
            let mut work = vec![];
            for (i, y) in y.chunks_mut(high * self.n).enumerate() {
                let mut parts: Vec<_> = (0..self.n.div_ceil(wide)).map(|_| Vec::with_capacity(high)).collect();
                for row in y.chunks_exact_mut(self.n) {
                    for (part, piece) in parts.iter_mut().zip(row.chunks_mut(wide)) {
                        part.push(piece);
                    }
                }
                work.extend(parts.into_iter().enumerate().map(|(j, part)| (i * high, j * wide, part)));
            }
            let packed = &*packed;
            tasks::each(threads, work, |(row, column, mut part)| {
                let a = &packed[row * pairs..];
                scratch.with(COLUMNS * pairs, |panel| {
                    let panel = bytemuck::cast_slice_mut(panel);
                    dispatch(Task { matrix: self, a, rows, column, panel, y: &mut part });
                });
            });
        });
    }
}

/// Some rows and columns of the result.
struct Task<'a, 'b, U> {
    matrix: &'a Matrix<'a>,
    /// Blocks of this many rows, from the first of the task's on.
    a: &'a [i32],
    rows: usize,
    /// The first column.
    column: usize,
    /// Memory for a block of columns.
    panel: &'a mut [i32],
    y: &'a mut [&'b mut [U]],
}

impl<U: Finished> Work for Task<'_, '_, U> {
    #[inline(always)]
    fn run<P: Pairs>(self, pairs: P) {
        let Self { matrix, a, rows, column, panel, y } = self;
        let length = matrix.k.div_ceil(2);
        let finish = Finish::of(matrix.channels);
        let width = y.first().map_or(0, |row| row.len());
        for first in (0..width).step_by(COLUMNS) {
            let count = (width - first).min(COLUMNS);
            matrix.b.widen(pairs, (column + first) / COLUMNS, panel);
            // Columns that are missing are finished as the last one, and not written.
            let of = |i: usize| Channel::of(matrix.channels, (column + first + i).min(matrix.n - 1));
            let columns: [Channel; COLUMNS] = std::array::from_fn(of);
            let write = |y: &mut [U], sums: [P::Vector; 2]| {
                let sums = numbers(pairs, sums);
                let mut results = [U::default(); COLUMNS];
                for (result, (&sum, &channel)) in results.iter_mut().zip(sums.iter().zip(&columns)) {
                    *result = U::of(sum, channel, finish);
                }
                y[first..first + count].copy_from_slice(&results[..count]);
            };
            if rows == 1 {
                if let Some(y) = y.first_mut() {
                    write(y, line(pairs, a, panel));
                }
                continue;
            }
            for (block, y) in a.chunks_exact((length * rows).max(1)).zip(y.chunks_mut(rows)) {
                for (y, sums) in y.iter_mut().zip(tile(pairs, block, panel)) {
                    write(y, sums);
                }
            }
        }
    }
}
