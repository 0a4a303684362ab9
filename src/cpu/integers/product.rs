//! Products of a matrix of integers by one that is known.

use super::super::kernel::{Job, Kernel};
use super::super::{Scratch, Threads, tasks};
use super::pairs::{COLUMNS, Pairs, ROWS, Work, dispatch, line, numbers, tile};
use super::weights::{Signed, Weights};
use super::{Channel, Finish, Finished, Results, Source};
use crate::graph::{EvaluateError, Fact};
use crate::ops::quantize::{Channels, IntegerProduct};

#[derive(Debug)]
struct Matrix {
    m: usize,
    k: usize,
    n: usize,
    /// B by columns.
    b: Weights<COLUMNS>,
    source: Source,
    /// The zero point of A is taken from the biases.
    channels: Channels,
}

/// The kernel, where B and the scales are known.
pub(super) fn kernel(product: &IntegerProduct, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    let (p, b, mut channels) = product.known(inputs, output)?;
    let (source, numbers) = (Source::of(inputs.first().copied().flatten()?, &channels), Signed::of(b)?);
    let (k, n) = (p.k, p.n);
    let at = |column: usize, i: usize| numbers.at(if p.transpose_b { column * k + i } else { i * n + column });
    let zeros: Vec<i32> = channels.w_zeros.iter().map(|&zero| numbers.zero(zero)).collect();
    for (column, bias) in channels.biases.iter_mut().enumerate() {
        let sum = (0..k).fold(0i32, |sum, i| sum.wrapping_add(i32::from(at(column, i)) - zeros[column]));
        *bias = source.corrected(*bias, sum);
    }
    let b = Weights::new(1, n, k, &zeros, at);
    Some(Box::new(Matrix { m: p.m, k, n, b, source, channels }))
}

impl Matrix {
    fn run_on<U: Finished>(&self, a: &[u8], y: &mut [U], threads: &Threads, scratch: &Scratch) {
        let pairs = self.k.div_ceil(2);
        // All of a block's rows lie beside each other; a single row is one by itself.
        let rows = if self.m == 1 { 1 } else { ROWS };
        let blocks = self.m.div_ceil(rows);
        let flip = self.source.flip;
        scratch.with(blocks * rows * pairs, |packed| {
            let packed: &mut [i32] = bytemuck::cast_slice_mut(packed);
            for (i, block) in packed.chunks_exact_mut((rows * pairs).max(1)).enumerate() {
                for r in 0..rows {
                    let row = &a[(i * rows + r).min(self.m - 1) * self.k..][..self.k];
                    let (whole, rest) = row.as_chunks::<2>();
                    let join = |[one, other]: [u8; 2]| i32::from(one ^ flip) | i32::from(other ^ flip) << 16;
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

impl Kernel for Matrix {
    fn products(&self) -> usize {
        self.k
    }

    fn holds(&self) -> &[usize] {
        &[1, 2, 3, 4, 5, 6, 7, 8]
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let Job { inputs, y, threads, scratch, .. } = job;
        let a = inputs.tensor(0)?.bytes();
        match Results::of(y)? {
            Results::Bytes(y) => self.run_on(a, y, threads, scratch),
            Results::Floats(y) => self.run_on(a, y, threads, scratch),
        }
        Ok(())
    }
}

/// Some rows and columns of the result.
struct Task<'a, 'b, U> {
    matrix: &'a Matrix,
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
        let finish = Finish::of(&matrix.channels);
        let width = y.first().map_or(0, |row| row.len());
        for first in (0..width).step_by(COLUMNS) {
            let count = (width - first).min(COLUMNS);
            matrix.b.widen(pairs, (column + first) / COLUMNS, panel);
            // Columns that are missing are finished as the last one, and not written.
            let of = |i: usize| Channel::of(&matrix.channels, (column + first + i).min(matrix.n - 1));
            let columns: [Channel; COLUMNS] = std::array::from_fn(of);
            let write = |y: &mut [U], sums: [P::Vector; 2]| {
                let sums = numbers(pairs, sums);
                let mut results = [U::default(); COLUMNS];
                for (result, (sum, &Channel { bias, factor, rest })) in
                    results.iter_mut().zip(sums.iter().zip(&columns))
                {
                    *result = U::of(sum.wrapping_add(bias) as f32 * factor + rest, finish);
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
