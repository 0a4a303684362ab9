//! Products of one row with a matrix that is mostly zeros.
//!
//! Such a product takes as long as its matrix takes to come out of memory. Of each column only what is not zero is held, with
//! its place: six bytes for a number instead of four, and less in all from a third of zeros on. Computing with them one by one
//! takes longer than vectors of all, so that it is worth it from [`ZEROS`] on, of matrices that no cache holds ([`LARGE`]).

use std::sync::Arc;

use super::kernel::{Job, Kernel};
use super::tasks;
use crate::graph::EvaluateError;
use crate::ops::matmul::{Epilogue, Product, RESIDUAL};
use crate::tensor::Tensor;

/// The part of zeros from which on this takes less time (measured; see `docs/compression.md`).
const ZEROS: f64 = 0.75;
/// Elements of a matrix that lies in memory, not in a cache.
const LARGE: usize = 1 << 18;
/// Sums of a column that do not wait for each other.
const SUMS: usize = 8;

/// What is not zero of a matrix, column by column.
#[derive(Debug)]
struct Columns {
    values: Vec<f32>,
    /// Which element of the row each is multiplied with.
    places: Vec<u16>,
    /// Where each column begins, and where the last one ends.
    starts: Vec<usize>,
}

impl Columns {
    /// `None` where there are too few zeros.
    fn of(product: &Product, b: &Tensor) -> Option<Self> {
        let &Product { k, n, transpose_b, .. } = product;
        let b = b.as_slice::<f32>().ok().filter(|b| b.len() == k * n)?;
        let zeros = b.iter().filter(|&&v| v == 0.0).count();
        if (zeros as f64) < ZEROS * b.len() as f64 {
            return None;
        }
        let count = b.len() - zeros;
        let mut columns = Self {
            values: Vec::with_capacity(count),
            places: Vec::with_capacity(count),
            starts: Vec::with_capacity(n + 1),
        };
        for j in 0..n {
            columns.starts.push(columns.values.len());
            for i in 0..k {
                let value = if transpose_b { b[j * k + i] } else { b[i * n + j] };
                if value != 0.0 {
                    columns.values.push(value);
                    columns.places.push(u16::try_from(i).ok()?);
                }
            }
        }
        columns.starts.push(columns.values.len());
        Some(columns)
    }

    /// The product with a column.
    fn sum(&self, column: usize, a: &[f32]) -> f32 {
        let range = self.starts[column]..self.starts[column + 1];
        let (values, last) = self.values[range.clone()].as_chunks::<SUMS>();
        let (places, end) = self.places[range].as_chunks::<SUMS>();
        let mut sums = [0f32; SUMS];
        for (values, places) in values.iter().zip(places) {
            for (sum, (value, &place)) in sums.iter_mut().zip(values.iter().zip(places)) {
                *sum += value * a[usize::from(place)];
            }
        }
        for (sum, (value, &place)) in sums.iter_mut().zip(last.iter().zip(end)) {
            *sum += value * a[usize::from(place)];
        }
        sums.iter().sum()
    }

    /// Whether a column has something at a place.
    fn has(&self, column: usize, place: usize) -> bool {
        let places = &self.places[self.starts[column]..self.starts[column + 1]];
        places.binary_search_by_key(&place, |&place| place.into()).is_ok()
    }
}

#[derive(Debug)]
struct Sparse {
    columns: Arc<Option<Columns>>,
    /// C's steps from row to row and from column to column.
    c: Option<[usize; 2]>,
    epilogue: Epilogue,
}

/// The kernel, where the matrix is a constant of enough zeros.
pub(super) fn kernel(
    product: &Product,
    b: &Tensor,
    c: Option<[usize; 2]>,
    epilogue: Epilogue,
) -> Option<Box<dyn Kernel>> {
    let &Product { m, k, n, transpose_b, .. } = product;
    if m != 1 || product.results()? != n || k.checked_mul(n)? < LARGE || k > 1 << 16 {
        return None;
    }
    let parameters = [k, n, usize::from(transpose_b)];
    let columns = b.packed_as("sparse", &parameters, |b| Columns::of(product, b));
    columns.is_some().then(|| Box::new(Sparse { columns, c, epilogue }) as Box<dyn Kernel>)
}

impl Kernel for Sparse {
    fn products(&self) -> usize {
        self.columns.as_ref().as_ref().map_or(1, |columns| columns.values.len() / (columns.starts.len() - 1).max(1))
    }

    fn holds(&self) -> &[usize] {
        &[1]
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let Some(columns) = self.columns.as_ref() else { return Ok(()) };
        let a = job.inputs.tensor(0)?.as_slice::<f32>()?;
        let c = job.inputs.optional(2).map(|c| c.as_slice::<f32>()).transpose()?.zip(self.c);
        let residual = job.inputs.optional(RESIDUAL).map(|r| r.as_slice::<f32>()).transpose()?;
        let y = job.y.as_mut_slice::<f32>()?;
        // A zero times what is not finite is not a number.
        let wild: Vec<usize> = (0..a.len()).filter(|&i| !a[i].is_finite()).collect();
        let Epilogue { alpha, beta, activation } = self.epilogue;
        let step = tasks::planes(job.threads, y.len(), columns.values.len());
        let work = y.chunks_mut(step).enumerate().collect();
        tasks::each(job.threads, work, |(part, y): (usize, &mut [f32])| {
            for (column, y) in (part * step..).zip(y) {
                let mut sum = columns.sum(column, a);
                if wild.iter().any(|&place| !columns.has(column, place)) {
                    sum = f32::NAN;
                }
                sum *= alpha;
                if let Some((c, [_, step])) = c {
                    sum += beta * c[column * step];
                }
                if let Some(residual) = residual {
                    sum += residual[column];
                }
                *y = activation.apply(sum);
            }
        });
        Ok(())
    }
}
