//! A convolution to whose activated result another tensor is added.

use super::kernel::{Job, Kernel};
use super::tasks;
use crate::graph::{EvaluateError, Fact};
use crate::ops::conv::{Conv, RESIDUAL};

/// Elements of one task: fewer are not worth a thread.
const STEP: usize = 32 << 10;

/// The kernel of the convolution without it.
#[derive(Debug)]
struct Before(Box<dyn Kernel>);

/// The kernel of a convolution whose residual is added last.
pub(super) fn kernel(conv: &Conv, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    let before = Conv { residual: false, residual_last: false, ..conv.clone() };
    Some(Box::new(Before(super::kernel::kernel(&before, inputs, &[Some(output)])?)))
}

impl Kernel for Before {
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let Job { inputs, y, more, threads, scratch } = job;
        self.0.run(Job { inputs, y: &mut *y, more, threads, scratch })?;
        let (y, residual) = (y.as_mut_slice::<f32>()?, inputs.tensor(RESIDUAL)?.as_slice::<f32>()?);
        let parts = y.chunks_mut(STEP).zip(residual.chunks(STEP)).collect();
        tasks::each(threads, parts, |(y, residual)| y.iter_mut().zip(residual).for_each(|(y, r)| *y += r));
        Ok(())
    }
}
