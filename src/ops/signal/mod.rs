//! Signals: Fourier transforms, windows, mel weights.

mod dft;
mod fourier;
mod kernel;
mod mel;
mod stft;
mod windows;

use crate::graph::{EvaluateError, Fact, Inputs, Request, ShapeError};

pub(super) use dft::dft;
pub(super) use mel::mel_weight_matrix;
pub(super) use stft::stft;
pub(super) use windows::window;

/// The first number of a parameter, if it is given and known.
fn known(inputs: &[Option<&Fact>], index: usize) -> Option<i64> {
    Fact::optional(inputs, index)?.integers()?.first().copied()
}

/// The first number of a parameter, if it is given.
fn given(inputs: Inputs<'_>, index: usize) -> Result<Option<i64>, EvaluateError> {
    Ok(inputs.list(index)?.and_then(|v| v.first().copied()))
}

/// The first number of a parameter, if it is given: for candidates.
fn asked(request: &Request<'_>, index: usize, what: &str) -> Result<Option<i64>, String> {
    let Some(operand) = request.optional(index) else { return Ok(None) };
    let numbers = operand.fact.integers().ok_or_else(|| format!("its {what} is computed at run time"))?;
    numbers.first().copied().map(Some).ok_or_else(|| format!("its {what} is empty"))
}

/// A length that is above 0.
fn positive(n: i64, what: &str) -> Result<usize, ShapeError> {
    usize::try_from(n).ok().filter(|&n| n > 0).ok_or_else(|| ShapeError::new(format!("its {what} is {n}")))
}
