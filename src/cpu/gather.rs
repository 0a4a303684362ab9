//! Gather by indices that come with each run: slices copied.

use super::kernel::{Job, Kernel};
use crate::graph::{EvaluateError, Fact, ShapeError};
use crate::ops::gather::{Gather, from_front};
use crate::tensor::ElementType;

/// Slices of `inner` elements, taken out of `size` of them in each block.
#[derive(Debug)]
struct Taken {
    size: usize,
    inner: usize,
}

/// The kernel of a Gather.
pub(super) fn kernel(gather: &Gather, inputs: &[Option<&Fact>]) -> Option<Box<dyn Kernel>> {
    let fact = |i: usize| inputs.get(i).copied().flatten();
    let shape = fact(0)?.concrete()?;
    let at = gather.axis(shape.len()).ok()?;
    if !matches!(fact(1)?.element_type, ElementType::I32 | ElementType::I64) {
        return None;
    }
    Some(Box::new(Taken { size: shape[at], inner: shape[at + 1..].iter().product() }))
}

impl Kernel for Taken {
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let x = job.inputs.tensor(0)?.as_slice::<f32>()?;
        let indices = job.inputs.integers(1)?.ok_or_else(|| ShapeError::new("its indices are missing"))?;
        let indices = from_front(&indices, self.size)?;
        let y = job.y.as_mut_slice::<f32>()?;
        let block = indices.len() * self.inner;
        for (y, x) in y.chunks_exact_mut(block).zip(x.chunks_exact(self.size * self.inner)) {
            for (y, &i) in y.chunks_exact_mut(self.inner).zip(&indices) {
                // Counted from the front, none is negative.
                y.copy_from_slice(&x[usize::try_from(i).unwrap_or(0) * self.inner..][..self.inner]);
            }
        }
        Ok(())
    }
}
