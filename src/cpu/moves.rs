//! Elements moved as they are: Transpose, Slice, Expand, Tile, DepthToSpace and Concat.

use super::kernel::{Job, Kernel};
use super::{Threads, tasks};
use crate::graph::{EvaluateError, Fact, Inputs, Operator};
use crate::ops::concat::Concat;
use crate::ops::depth_to_space::DepthToSpace;
use crate::ops::expand::Expand;
use crate::ops::slice::Slice;
use crate::ops::strided::Strided;
use crate::ops::transpose::Transpose;
use crate::tensor::{Element, ElementType, Tensor};

/// Elements of one task: fewer are not worth a thread.
const STEP: usize = 32 << 10;

/// The kernel of an operator that only moves elements, which are floats of 32 bits or integers of 8.
pub(super) fn kernel(operator: &dyn Operator, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    if let Some(concat) = operator.downcast::<Concat>() {
        let shape = output.concrete()?;
        let axis = concat.axis(shape.len()).ok()?;
        return Some(Box::new(Joined { axis, rows: shape[..axis].iter().product() }));
    }
    let strided = if let Some(transpose) = operator.downcast::<Transpose>() {
        transpose.read(inputs)
    } else if let Some(slice) = operator.downcast::<Slice>() {
        slice.read(inputs)
    } else if let Some(expand) = operator.downcast::<Expand>() {
        expand.read(inputs)
    } else {
        operator.downcast::<DepthToSpace>()?.read(inputs)
    };
    let source = inputs.first().copied().flatten()?.concrete()?;
    Moved::new(strided?, source.iter().product(), output.concrete()?.iter().product())
        .map(|kernel| Box::new(kernel) as _)
}

/// The element of the result at index `c` is that of the source at `base + Σ c_i · stride_i`.
#[derive(Debug)]
struct Moved {
    /// Sizes and strides, the innermost last.
    dims: Vec<(usize, i64)>,
    base: i64,
}

impl Moved {
    /// `None` where an element would lie outside of the source.
    fn new(strided: Strided, source: usize, result: usize) -> Option<Self> {
        let Strided { dims, strides, base } = strided.merged();
        let dims: Vec<_> = dims.into_iter().zip(strides).collect();
        let reach = |pick: fn(i64) -> i64| {
            dims.iter().try_fold(base, |at, &(size, stride)| {
                at.checked_add(pick(i64::try_from(size).ok()?.checked_sub(1)?.checked_mul(stride)?))
            })
        };
        let (low, high) = (reach(|n| n.min(0))?, reach(|n| n.max(0))?);
        let whole = dims.iter().map(|dim| dim.0).product::<usize>() == result;
        (whole && low >= 0 && usize::try_from(high).is_ok_and(|high| high < source)).then_some(Self { dims, base })
    }
}

impl Kernel for Moved {
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let (x, y, threads) = (job.inputs.tensor(0)?, job.y, job.threads);
        match y.element_type() {
            ElementType::I8 => self.run_on::<i8>(x, y, threads),
            ElementType::U8 => self.run_on::<u8>(x, y, threads),
            _ => self.run_on::<f32>(x, y, threads),
        }
    }
}

impl Moved {
    fn run_on<T: Element>(&self, x: &Tensor, y: &mut Tensor, threads: &Threads) -> Result<(), EvaluateError> {
        let (x, y) = (x.as_slice::<T>()?, y.as_mut_slice::<T>()?);
        // The outermost dimension is shared out.
        let [(size, stride), inner @ ..] = &self.dims[..] else { return Ok(()) };
        let row: usize = inner.iter().map(|dim| dim.0).product();
        let tasks = (y.len() / STEP).clamp(1, threads.count() * 2);
        let step = size.div_ceil(tasks);
        tasks::each(threads, y.chunks_mut(step * row).enumerate().collect(), |(i, y)| {
            let mut dims = self.dims.clone();
            dims[0].0 = y.len() / row;
            copy(&dims, self.base + (i * step) as i64 * stride, x, y);
        });
        Ok(())
    }
}

/// Elements of a line of memory, and as many lines as stay in the cache together.
const BLOCK: usize = 16;
const LINES: usize = 64;

/// Copies what the dimensions say to `y`, which is dense.
fn copy<T: Element>(dims: &[(usize, i64)], base: i64, x: &[T], y: &mut [T]) {
    // Nothing is negative that was seen to lie in the source.
    let at = |offset: i64| usize::try_from(base + offset).unwrap_or(0);
    match *dims {
        [] => y.copy_from_slice(&x[at(0)..][..1]),
        [(size, 1)] => y.copy_from_slice(&x[at(0)..][..size]),
        [(_, 0)] => y.fill(x[at(0)]),
        [(_, stride)] if stride > 0 => {
            let step = usize::try_from(stride).unwrap_or(1);
            y.iter_mut().zip(x[at(0)..].iter().step_by(step)).for_each(|(y, x)| *y = *x);
        }
        [(_, stride)] => y.iter_mut().enumerate().for_each(|(i, y)| *y = x[at(i as i64 * stride)]),
        [(rows, 1), (columns, stride)] if stride > 1 => {
            // Rows of the result are columns of the source: block by block, so that its lines are used whole.
            let step = usize::try_from(stride).unwrap_or(1);
            let x = &x[at(0)..];
            for first in (0..columns).step_by(LINES) {
                let end = (first + LINES).min(columns);
                for row in (0..rows).step_by(BLOCK) {
                    for i in row..(row + BLOCK).min(rows) {
                        let y = &mut y[i * columns..][first..end];
                        let x = x[first * step + i..].iter().step_by(step);
                        y.iter_mut().zip(x).for_each(|(y, x)| *y = *x);
                    }
                }
            }
        }
        [(_, stride), ref inner @ ..] => {
            let row: usize = inner.iter().map(|dim| dim.0).product();
            for (i, y) in y.chunks_exact_mut(row).enumerate() {
                copy(inner, base + i as i64 * stride, x, y);
            }
        }
    }
}

/// Tensors one after another along an axis.
#[derive(Debug)]
struct Joined {
    axis: usize,
    /// The product of the axes before it.
    rows: usize,
}

impl Kernel for Joined {
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        match job.y.element_type() {
            ElementType::I8 => self.run_on::<i8>(&job.inputs, job.y),
            ElementType::U8 => self.run_on::<u8>(&job.inputs, job.y),
            _ => self.run_on::<f32>(&job.inputs, job.y),
        }
    }
}

impl Joined {
    fn run_on<T: Element>(&self, inputs: &Inputs<'_>, y: &mut Tensor) -> Result<(), EvaluateError> {
        let mut parts = Vec::with_capacity(inputs.len());
        for i in 0..inputs.len() {
            let part = inputs.tensor(i)?;
            parts.push((part.as_slice::<T>()?, part.shape()[self.axis..].iter().product::<usize>()));
        }
        let y = y.as_mut_slice::<T>()?;
        let row = y.len() / self.rows;
        for (i, mut y) in y.chunks_exact_mut(row).enumerate() {
            for (part, length) in &parts {
                let (to, rest) = y.split_at_mut(*length);
                to.copy_from_slice(&part[i * length..][..*length]);
                y = rest;
            }
        }
        Ok(())
    }
}
