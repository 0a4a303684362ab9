//! Products of a matrix of integers by one that is known.

use super::super::kernel::{Job, Kernel};
use super::super::{Scratch, Threads, tasks};
use super::pairs::{COLUMNS, Pairs, ROWS, Work, dispatch, line, tile};
use super::{Byte, Finish, Finished, Results, integers, pair};
use crate::graph::{EvaluateError, Fact};
use crate::ops::quantize::{Channels, IntegerProduct};
use crate::tensor::ElementType;

#[derive(Debug)]
struct Matrix {
    m: usize,
    k: usize,
    n: usize,
    /// For each panel of columns the pairs of B, one for each column.
    b: Vec<i32>,
    channels: Channels,
}

/// The kernel, where B and the scales are known.
pub(super) fn kernel(product: &IntegerProduct, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    let (p, b, channels) = product.known(inputs, output)?;
    let numbers = integers(b)?;
    let at = |k: usize, column: usize| {
        if k >= p.k || column >= p.n {
            return 0;
        }
        let place = if p.transpose_b { column * p.k + k } else { k * p.n + column };
        numbers[place] - channels.w_zeros[column]
    };
    let mut packed = vec![];
    for first in (0..p.n).step_by(COLUMNS) {
        for k in (0..p.k).step_by(2) {
            packed.extend((first..first + COLUMNS).map(|column| pair(at(k, column), at(k + 1, column))));
        }
    }
    Some(Box::new(Matrix { m: p.m, k: p.k, n: p.n, b: packed, channels }))
}

impl Matrix {
    fn run_on<T: Byte, U: Finished>(&self, a: &[T], y: &mut [U], threads: &Threads, scratch: &Scratch) {
        let pairs = self.k.div_ceil(2);
        // All of a block's rows lie beside each other; a single row is one by itself.
        let rows = if self.m == 1 { 1 } else { ROWS };
        let blocks = self.m.div_ceil(rows);
        let zero = self.channels.x_zero;
        scratch.with(blocks * rows * pairs, |packed| {
            let packed: &mut [i32] = bytemuck::cast_slice_mut(packed);
            for (i, block) in packed.chunks_exact_mut(rows * pairs).enumerate() {
                for r in 0..rows {
                    let row = &a[(i * rows + r).min(self.m - 1) * self.k..][..self.k];
                    for (p, values) in row.chunks(2).enumerate() {
                        let second = values.get(1).map_or(0, |v| v.wide() - zero);
                        block[p * rows + r] = pair(values[0].wide() - zero, second);
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
                dispatch(Task { matrix: self, a, rows, column, y: &mut part });
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
        let a = inputs.tensor(0)?;
        match (a.element_type(), Results::of(y)?) {
            (ElementType::U8, Results::Bytes(y)) => self.run_on(a.as_slice::<u8>()?, y, threads, scratch),
            (ElementType::U8, Results::Floats(y)) => self.run_on(a.as_slice::<u8>()?, y, threads, scratch),
            (_, Results::Bytes(y)) => self.run_on(a.as_slice::<i8>()?, y, threads, scratch),
            (_, Results::Floats(y)) => self.run_on(a.as_slice::<i8>()?, y, threads, scratch),
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
    y: &'a mut [&'b mut [U]],
}

impl<U: Finished> Work for Task<'_, '_, U> {
    #[inline(always)]
    fn run<P: Pairs>(self, pairs: P) {
        let Self { matrix, a, rows, column, y } = self;
        let length = matrix.k.div_ceil(2);
        let finish = Finish::of(&matrix.channels);
        let width = y.first().map_or(0, |row| row.len());
        let b = &matrix.b[column * length..];
        let mut sums = [[0; COLUMNS]; ROWS];
        for (panel, first) in b.chunks_exact(length * COLUMNS).zip((0..width).step_by(COLUMNS)) {
            let count = (width - first).min(COLUMNS);
            let own = column + first..column + first + count;
            let (biases, factors) = (&matrix.channels.biases[own.clone()], &matrix.channels.factors[own.clone()]);
            let rests = matrix.channels.rests.as_ref().map(|rests| &rests[own]);
            for (block, y) in a.chunks_exact(length * rows).zip(y.chunks_mut(rows)) {
                match rows {
                    1 => line(pairs, block, panel, &mut sums[0]),
                    _ => tile(pairs, block, panel, &mut sums),
                }
                for (y, sums) in y.iter_mut().zip(&sums) {
                    let y = &mut y[first..first + count];
                    for (i, (y, sum)) in y.iter_mut().zip(sums).enumerate() {
                        let product = sum.wrapping_add(biases[i]) as f32 * factors[i];
                        *y = U::of(product + rests.map_or(0.0, |rests| rests[i]), finish);
                    }
                }
            }
        }
    }
}
