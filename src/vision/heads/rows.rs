//! The rows of an output: a batch of one picture, so many rows, so many numbers in each.

use crate::tensor::TensorView;
use crate::vision::VisionError;

/// The shape `[1, rows, numbers]` of an output, and its elements; `least` numbers to a row.
pub fn rows<'a>(
    what: &'static str,
    output: &TensorView<'a>,
    least: usize,
) -> Result<(usize, usize, &'a [f32]), VisionError> {
    match *output.shape() {
        [1, rows, numbers] if numbers >= least => Ok((rows, numbers, output.as_slice()?)),
        _ => Err(wrong_shape(what, format!("[1, rows, {least} or more]"), output)),
    }
}

/// An output of another shape.
pub fn wrong_shape(what: &'static str, wanted: String, output: &TensorView<'_>) -> VisionError {
    VisionError::Shape { what, wanted, found: output.shape().to_vec() }
}
