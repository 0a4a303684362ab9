//! A chain of element-wise operators: their kernels one after the other, in one memory.

use super::functions;
use super::kernel::{Job, Kernel};
use crate::graph::{EvaluateError, Fact, Inputs, Value};
use crate::ops::chain::{Chain, Source};
use crate::tensor::Tensor;

/// The kernels of a chain.
#[derive(Debug)]
struct Chained {
    links: Vec<Link>,
    in_place: Vec<usize>,
}

/// The kernel of one operator.
#[derive(Debug)]
struct Link {
    kernel: Box<dyn Kernel>,
    inputs: Vec<Option<Source>>,
    /// Whether it writes over what it is given.
    in_place: bool,
}

/// The kernel of a chain, if each operator has one.
pub(super) fn kernel(chain: &Chain, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    let mut links = vec![];
    for link in &chain.links {
        let so_far = |source: &Option<Source>| *source == Some(Source::SoFar);
        let facts: Vec<_> = link
            .inputs
            .iter()
            .map(|source| match (*source)? {
                Source::SoFar => Some(output),
                Source::Input(i) => Fact::optional(inputs, i),
            })
            .collect();
        let (kernel, inputs) = match link.inputs.iter().filter(|source| so_far(source)).count() {
            1 => (super::kernel::kernel(&*link.operator, &facts, &[Some(output)])?, link.inputs.clone()),
            // The only operator that a chain lets read one value twice is a product.
            _ => (functions::square(), vec![Some(Source::SoFar)]),
        };
        let in_place = kernel.in_place().contains(&inputs.iter().position(so_far)?);
        links.push(Link { kernel, inputs, in_place });
    }
    let in_place = links.first()?.in_place && Fact::optional(inputs, 0)?.shape == output.shape;
    Some(Box::new(Chained { links, in_place: if in_place { vec![0] } else { vec![] } }))
}

impl Kernel for Chained {
    fn in_place(&self) -> &[usize] {
        &self.in_place
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        // What the chain begins with lies in y already, or is read by the first operator.
        let mut first = job.inputs.value(0);
        for link in &self.links {
            let moved = match (first, link.in_place) {
                (None, false) => Some(Value::from(job.y.clone())),
                _ => None,
            };
            let values: Vec<Option<&Value>> = link
                .inputs
                .iter()
                .map(|source| match (*source)? {
                    Source::SoFar => first.or(moved.as_ref()),
                    Source::Input(i) => job.inputs.value(i),
                })
                .collect();
            let (threads, scratch) = (job.threads, job.scratch);
            let more: &mut [Option<Tensor>] = &mut [];
            link.kernel.run(Job { inputs: Inputs(&values), y: &mut *job.y, more, threads, scratch })?;
            first = None;
        }
        Ok(())
    }
}
