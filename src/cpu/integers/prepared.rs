//! What a run needs beside the weights: zero points, scales and biases, made ready beforehand where they are known.

use std::borrow::Cow;

use super::Source;
use crate::graph::{EvaluateError, Inputs};
use crate::ops::quantize::{Channels, Ends};
use crate::tensor::ElementType;

/// How inputs are read, and what becomes of sums. The zero point of the inputs is taken from the biases.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub source: Source,
    pub channels: Channels,
}

/// [`Prepared`] beforehand or in each run.
#[derive(Debug)]
pub(super) struct Preparation {
    ends: Ends,
    x: ElementType,
    /// The sum of the weights of each output, without their zero points.
    sums: Vec<i32>,
    known: Option<Prepared>,
    held: Vec<usize>,
}

impl Preparation {
    /// That of a node whose weights are packed.
    pub fn new(ends: Ends, x: ElementType, sums: Vec<i32>) -> Self {
        let known = ends.known().map(|channels| prepared(x, channels.clone(), &sums));
        let held = ends.held();
        Self { ends, x, sums, known, held }
    }

    /// What a run with these inputs needs.
    pub fn of_run(&self, inputs: &Inputs<'_>) -> Result<Cow<'_, Prepared>, EvaluateError> {
        if let Some(known) = &self.known {
            return Ok(Cow::Borrowed(known));
        }
        let channels = self.ends.in_run(inputs)?.into_owned();
        Ok(Cow::Owned(prepared(self.x, channels, &self.sums)))
    }

    /// The inputs that nobody looks at in a run.
    pub fn held(&self) -> &[usize] {
        &self.held
    }
}

fn prepared(x: ElementType, mut channels: Channels, sums: &[i32]) -> Prepared {
    let source = Source::of(x, channels.x_zero);
    for (bias, &sum) in channels.biases.iter_mut().zip(sums) {
        *bias = source.corrected(*bias, sum);
    }
    Prepared { source, channels }
}
