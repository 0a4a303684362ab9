//! Gemm and MatMul.

use std::sync::Arc;

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::numbers::{Numbers, Row, Unpack};
use super::product::{Addend, Output, Tile, multiply};
use super::simd::{Lines, dispatch};
use super::{Threads, sparse, tasks};
use crate::graph::{EvaluateError, Fact};
use crate::ops::matmul::{Epilogue, Gemm, MatMul, Product, RESIDUAL};
use crate::tensor::{ElementType, Tensor};

#[derive(Debug)]
struct Dense {
    product: Product,
    tile: Tile,
    b: Held,
    /// C's steps from row to row and from column to column.
    c: Option<[usize; 2]>,
    epilogue: Epilogue,
}

/// What is held of B.
#[derive(Debug)]
enum Held {
    /// It comes with each run.
    Nothing,
    /// Matrices one after the other, packed.
    Floats(Arc<Lines>),
    /// A matrix of numbers with scales.
    Numbers(Arc<Numbers>),
}

/// B while a product is computed.
#[derive(Clone, Copy)]
enum Factor<'a> {
    Floats(&'a [f32]),
    Numbers(&'a Numbers),
}

/// The kernel of a Gemm.
pub(super) fn gemm(gemm: &Gemm, inputs: &[Option<&Fact>]) -> Option<Box<dyn Kernel>> {
    let fact = |i: usize| inputs.get(i).copied().flatten();
    let product = gemm.product(&fact(0)?.concrete()?, &fact(1)?.concrete()?)?;
    let c = match fact(2) {
        Some(c) => {
            let strides = crate::tensor::shape::broadcast_strides(&c.concrete()?, &[product.m, product.n]);
            Some([strides[0], strides[1]])
        }
        None => None,
    };
    kernel(product, fact(1)?, c, gemm.epilogue())
}

/// The kernel of a MatMul.
pub(super) fn matmul(matmul: &MatMul, inputs: &[Option<&Fact>]) -> Option<Box<dyn Kernel>> {
    let fact = |i: usize| inputs.get(i).copied().flatten();
    let product = Product::of_shapes(&fact(0)?.concrete()?, &fact(1)?.concrete()?)?;
    kernel(product, fact(1)?, None, matmul.epilogue())
}

fn kernel(product: Product, b: &Fact, c: Option<[usize; 2]>, epilogue: Epilogue) -> Option<Box<dyn Kernel>> {
    if product.k == 0 || product.results()? == 0 {
        return None;
    }
    // Numbers of few bits are not made floats to be counted.
    let floats = |b: &&Tensor| b.element_type() == ElementType::F32 && b.quantized().is_none();
    if let Some(b) = b.constant.as_ref().filter(floats)
        && let Some(kernel) = sparse::kernel(&product, b, c, epilogue)
    {
        return Some(kernel);
    }
    let tile = Tile::of(product.m);
    let &Product { k, n, transpose_b, .. } = &product;
    let parameters = [tile.rows, tile.lanes, tile.vectors, k, n, usize::from(transpose_b)];
    let held = match &b.constant {
        Some(b) if b.element_type() != ElementType::F32 => return None,
        Some(b) => match b.quantized().filter(|_| Numbers::suits(b, &product)) {
            Some(of) => Held::Numbers(b.packed_as("numbers", &parameters, |_| Numbers::pack(of, &product, tile))),
            None => Held::Floats(
                b.packed_as("dense", &parameters, |b| packed(&product, tile, b.as_slice().unwrap_or_default())),
            ),
        },
        None => Held::Nothing,
    };
    Some(Box::new(Dense { product, tile, b: held, c, epilogue }))
}

/// Matrices one after the other, packed.
fn packed(product: &Product, tile: Tile, b: &[f32]) -> Lines {
    let size = tile.packed_b(product.k, product.n);
    let matrix = product.k * product.n;
    let mut lines = Lines::new(b.len() / matrix * size);
    for (b, out) in b.chunks_exact(matrix).zip(lines.as_mut_slice().chunks_mut(size)) {
        pack_b(product, tile, b, out);
    }
    lines
}

fn pack_b(product: &Product, tile: Tile, b: &[f32], out: &mut [f32]) {
    let &Product { k, n, .. } = product;
    if product.transpose_b {
        tile.pack_columns_of(k, n, out, |j| &b[j * k..]);
    } else {
        tile.pack_rows(k, n, out, b);
    }
}

/// A range of rows and columns of a result.
struct Part<'a> {
    first_row: usize,
    first_column: usize,
    rows: Vec<&'a mut [f32]>,
}

impl Dense {
    /// Divides a result among threads: by rows where there are enough, else by panels of columns.
    fn parts<'a>(&self, y: &'a mut [f32], threads: usize) -> Vec<Part<'a>> {
        let &Product { m, n, .. } = &self.product;
        let small = self.product.work() < 1e5;
        // Columns that one thread unpacks serve all rows.
        let rows = match self.b {
            Held::Numbers(_) => n < 2 * threads * self.tile.columns(),
            _ => true,
        };
        if threads == 1 || small || (rows && m >= threads * self.tile.rows) {
            let tasks = if threads == 1 || small { 1 } else { threads };
            let step = m.div_ceil(tasks).next_multiple_of(self.tile.rows);
            let part = |(i, rows): (usize, &'a mut [f32])| Part {
                first_row: i * step,
                first_column: 0,
                rows: rows.chunks_exact_mut(n).collect(),
            };
            return y.chunks_mut(step * n).enumerate().map(part).collect();
        }
        let step = n.div_ceil(threads).next_multiple_of(self.tile.columns());
        let mut parts: Vec<_> = (0..n.div_ceil(step))
            .map(|i| Part { first_row: 0, first_column: i * step, rows: Vec::with_capacity(m) })
            .collect();
        for row in y.chunks_exact_mut(n) {
            for (part, columns) in parts.iter_mut().zip(row.chunks_mut(step)) {
                part.rows.push(columns);
            }
        }
        parts
    }

    fn part(
        &self,
        mut part: Part<'_>,
        a: &[f32],
        b: Factor<'_>,
        [c, residual]: [Option<&[f32]>; 2],
        [packed, panels]: [&mut [f32]; 2],
    ) {
        let &Product { m, k, n, transpose_a, .. } = &self.product;
        let (rows, first) = (part.rows.len(), part.first_row);
        let a = if self.tile.rows == 1 {
            a
        } else {
            if transpose_a {
                self.tile.pack_a(rows, k, packed, |i, kk| a[kk * m + first + i]);
            } else {
                self.tile.pack_rows_of_a(rows, k, packed, |i| &a[(first + i) * k..]);
            }
            &*packed
        };
        let addend = |begin: usize| {
            c.zip(self.c).map(|(values, [row, column])| Addend {
                values,
                offset: first * row + begin * column,
                row,
                column,
                factor: self.epilogue.beta,
            })
        };
        let residual = |begin: usize| {
            residual.map(|values| Addend { values, offset: first * n + begin, row: n, column: 1, factor: 1.0 })
        };
        let Part { first_column, ref mut rows, .. } = part;
        let output = Output {
            rows,
            scale: self.epilogue.alpha,
            bias: None,
            addend: addend(first_column),
            residual: residual(first_column),
            activation: self.epilogue.activation,
        };
        let numbers = match b {
            Factor::Floats(b) => {
                return dispatch(Multiply { tile: self.tile, k, a, b: &b[first_column * k..], output });
            }
            Factor::Numbers(numbers) if self.tile.rows == 1 => {
                return dispatch(Row { numbers, a, first: first_column, output });
            }
            Factor::Numbers(numbers) => numbers,
        };
        let (group, columns) = (numbers.group(), output.rows.first().map_or(0, |row| row.len()));
        for begin in (0..columns).step_by(group) {
            let end = (begin + group).min(columns);
            let first = first_column + begin;
            dispatch(Unpack { numbers, first, columns: end - begin, panels });
            let mut rows: Vec<&mut [f32]> = output.rows.iter_mut().map(|row| &mut row[begin..end]).collect();
            let output = Output {
                rows: &mut rows,
                scale: output.scale,
                bias: None,
                addend: addend(first),
                residual: residual(first),
                activation: output.activation,
            };
            dispatch(Multiply { tile: self.tile, k, a, b: panels, output });
        }
    }
}

impl Kernel for Dense {
    fn products(&self) -> usize {
        self.product.k
    }

    fn holds(&self) -> &[usize] {
        if matches!(self.b, Held::Nothing) { &[] } else { &[1] }
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let &Product { m, k, n, .. } = &self.product;
        let a = job.inputs.tensor(0)?.as_slice::<f32>()?;
        let b = if let Held::Nothing = self.b { job.inputs.tensor(1)?.as_slice::<f32>()? } else { &[] };
        let c = job.inputs.optional(2).map(|c| c.as_slice::<f32>()).transpose()?;
        let residual = job.inputs.optional(RESIDUAL).map(|r| r.as_slice::<f32>()).transpose()?;
        let y = job.y.as_mut_slice::<f32>()?;
        let size = self.tile.packed_b(k, n);
        let (scratch, pairs) = (job.scratch, self.product.pairs());
        let one = |y: &mut [f32], a: &[f32], b: Factor<'_>, threads: &Threads| {
            let parts = self.parts(y, threads.count());
            let rows = parts.iter().map(|part| part.rows.len()).max().unwrap_or(0);
            let unpacked = match b {
                Factor::Numbers(numbers) if self.tile.rows > 1 => self.tile.packed_b(k, numbers.group().min(n)),
                _ => 0,
            };
            tasks::each(threads, parts, |part| {
                scratch.with(self.tile.packed_a(rows, k) + unpacked, |memory| {
                    let (panels, packed) = memory.split_at_mut(unpacked);
                    self.part(part, a, b, [c, residual], [packed, panels]);
                });
            });
        };
        let matrix = |y: &mut [f32], [a_matrix, b_matrix]: [usize; 2], threads: &Threads| {
            let a = &a[a_matrix * m * k..][..m * k];
            match &self.b {
                Held::Floats(packed) => {
                    one(y, a, Factor::Floats(&packed.as_slice()[b_matrix * size..][..size]), threads);
                }
                Held::Numbers(numbers) => one(y, a, Factor::Numbers(numbers), threads),
                Held::Nothing => scratch.with(size, |packed| {
                    pack_b(&self.product, self.tile, &b[b_matrix * k * n..][..k * n], packed);
                    one(y, a, Factor::Floats(packed), threads);
                }),
            }
        };
        // Many products are shared out whole, few are divided.
        let work = y.chunks_exact_mut(m * n).zip(pairs);
        if work.len() >= 2 * job.threads.count() {
            let alone = Threads::new(Some(1));
            tasks::each(job.threads, work.collect(), |(y, pair)| matrix(y, pair, &alone));
        } else {
            work.for_each(|(y, pair)| matrix(y, pair, job.threads));
        }
        Ok(())
    }
}

struct Multiply<'a, 'b> {
    tile: Tile,
    k: usize,
    a: &'a [f32],
    b: &'a [f32],
    output: Output<'a, 'b>,
}

impl WithSimd for Multiply<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        multiply(simd, self.tile, self.k, self.a, self.b, &mut self.output);
    }
}
