//! Split: runs of neighbours copied.

use super::kernel::{Job, Kernel};
use crate::graph::{EvaluateError, Fact};
use crate::ops::split::Split;

/// Elements of each part that lie together, in every row.
#[derive(Debug)]
struct Parts(Vec<usize>);

/// The kernel of a Split, all of whose outputs are read.
pub(super) fn kernel(split: &Split, inputs: &[Option<&Fact>], outputs: &[Option<&Fact>]) -> Option<Box<dyn Kernel>> {
    let axis = split.axis(inputs.first().copied().flatten()?.rank()).ok()?;
    let length = |output: &Option<&Fact>| Some(output.as_ref()?.concrete()?[axis..].iter().product());
    Some(Box::new(Parts(outputs.iter().map(length).collect::<Option<_>>()?)))
}

impl Kernel for Parts {
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let x = job.inputs.tensor(0)?.as_slice::<f32>()?;
        let row = self.0.iter().sum::<usize>();
        let outputs = [Some(job.y)].into_iter().chain(job.more.iter_mut().map(Option::as_mut));
        let mut from = 0;
        for (output, &length) in outputs.zip(&self.0) {
            if let Some(output) = output.filter(|_| length > 0) {
                let rows = x.chunks_exact(row);
                for (y, x) in output.as_mut_slice::<f32>()?.chunks_exact_mut(length).zip(rows) {
                    y.copy_from_slice(&x[from..from + length]);
                }
            }
            from += length;
        }
        Ok(())
    }
}
