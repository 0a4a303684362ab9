//! Gemm and MatMul.

use std::sync::Arc;

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::product::{Addend, Output, Tile, multiply};
use super::simd::{Lines, dispatch};
use super::{Threads, tasks};
use crate::graph::{EvaluateError, Fact};
use crate::ops::matmul::{Epilogue, Gemm, MatMul, Product, RESIDUAL};
use crate::tensor::ElementType;

#[derive(Debug)]
struct Dense {
    product: Product,
    tile: Tile,
    /// B, one matrix after the other, packed; `None` where it comes with each run.
    b: Option<Arc<Lines>>,
    /// C's steps from row to row and from column to column.
    c: Option<[usize; 2]>,
    epilogue: Epilogue,
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
    let tile = Tile::of(product.m);
    let packed = match &b.constant {
        Some(b) if b.element_type() != ElementType::F32 => return None,
        Some(b) => {
            let &Product { k, n, transpose_b, .. } = &product;
            let parameters = [tile.rows, tile.lanes, tile.vectors, k, n, usize::from(transpose_b)];
            Some(b.packed_as("dense", &parameters, |b| packed(&product, tile, b.as_slice().unwrap_or_default())))
        }
        None => None,
    };
    Some(Box::new(Dense { product, tile, b: packed, c, epilogue }))
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
        if threads == 1 || small || m >= threads * self.tile.rows {
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

    fn part(&self, mut part: Part<'_>, a: &[f32], b: &[f32], [c, residual]: [Option<&[f32]>; 2], packed: &mut [f32]) {
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
        let addend = c.zip(self.c).map(|(values, [row, column])| Addend {
            values,
            offset: first * row + part.first_column * column,
            row,
            column,
            factor: self.epilogue.beta,
        });
        let residual = residual.map(|values| Addend {
            values,
            offset: first * n + part.first_column,
            row: n,
            column: 1,
            factor: 1.0,
        });
        let output = Output {
            rows: &mut part.rows,
            scale: self.epilogue.alpha,
            bias: None,
            addend,
            residual,
            activation: self.epilogue.activation,
        };
        dispatch(Multiply { tile: self.tile, k, a, b: &b[part.first_column * k..], output });
    }
}

impl Kernel for Dense {
    fn products(&self) -> usize {
        self.product.k
    }

    fn holds(&self) -> &[usize] {
        if self.b.is_some() { &[1] } else { &[] }
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let &Product { m, k, n, .. } = &self.product;
        let a = job.inputs.tensor(0)?.as_slice::<f32>()?;
        let b = if self.b.is_some() { &[] } else { job.inputs.tensor(1)?.as_slice::<f32>()? };
        let c = job.inputs.optional(2).map(|c| c.as_slice::<f32>()).transpose()?;
        let residual = job.inputs.optional(RESIDUAL).map(|r| r.as_slice::<f32>()).transpose()?;
        let y = job.y.as_mut_slice::<f32>()?;
        let size = self.tile.packed_b(k, n);
        let (scratch, pairs) = (job.scratch, self.product.pairs());
        let one = |y: &mut [f32], a: &[f32], b: &[f32], threads: &Threads| {
            let parts = self.parts(y, threads.count());
            let rows = parts.iter().map(|part| part.rows.len()).max().unwrap_or(0);
            tasks::each(threads, parts, |part| {
                scratch.with(self.tile.packed_a(rows, k), |packed| self.part(part, a, b, [c, residual], packed));
            });
        };
        let matrix = |y: &mut [f32], [a_matrix, b_matrix]: [usize; 2], threads: &Threads| {
            let a = &a[a_matrix * m * k..][..m * k];
            match &self.b {
                Some(packed) => one(y, a, &packed.as_slice()[b_matrix * size..][..size], threads),
                None => scratch.with(size, |packed| {
                    pack_b(&self.product, self.tile, &b[b_matrix * k * n..][..k * n], packed);
                    one(y, a, packed, threads);
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
