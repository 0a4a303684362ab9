//! What another tensor is added to when it is done: a convolution behind its activation, a tensor made larger.

use super::kernel::{Job, Kernel};
use super::tasks;
use crate::graph::{EvaluateError, Fact, Operator};

/// Elements of one task: fewer are not worth a thread.
const STEP: usize = 32 << 10;

/// The kernel of the operator without it, and its place among the inputs.
#[derive(Debug)]
struct Before(Box<dyn Kernel>, usize);

/// The kernel of an operator to whose result the input at `residual` is added last.
pub(super) fn kernel(
    before: &dyn Operator,
    residual: usize,
    inputs: &[Option<&Fact>],
    output: &Fact,
) -> Option<Box<dyn Kernel>> {
    Some(Box::new(Before(super::kernel::kernel(before, inputs, &[Some(output)])?, residual)))
}

impl Kernel for Before {
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let Job { inputs, y, more, threads, scratch } = job;
        self.0.run(Job { inputs, y: &mut *y, more, threads, scratch })?;
        let (y, residual) = (y.as_mut_slice::<f32>()?, inputs.tensor(self.1)?.as_slice::<f32>()?);
        let parts = y.chunks_mut(STEP).zip(residual.chunks(STEP)).collect();
        tasks::each(threads, parts, |(y, residual)| y.iter_mut().zip(residual).for_each(|(y, r)| *y += r));
        Ok(())
    }
}
