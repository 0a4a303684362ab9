//! What becomes of sums of products of integers: the parameters of `quantize/finish.wgsl`, and the same by reference.

use super::linear::range;
use super::table::Table;
use crate::kernel::Dispatch;
use crate::tensor::{ElementType, Tensor};

/// Where the numbers of `quantize/finish` begin in the table.
pub(super) struct Scales {
    pub alpha: f32,
    pub a_scale: usize,
    pub b_scale: usize,
    pub bias: usize,
}

/// Sets the parameters of `quantize/finish` for results of this type, integers between these bounds if there are any.
pub(super) fn finish(
    dispatch: Dispatch,
    table: &mut Table<'_>,
    scales: Scales,
    (y_scale, y_zero): (Option<usize>, Option<usize>),
    (output, bounds): (ElementType, Option<[i32; 2]>),
) -> Dispatch {
    let dispatch = dispatch
        .param("alpha", scales.alpha)
        .param("a_scale", scales.a_scale)
        .param("b_scale", scales.b_scale)
        .param("bias", scales.bias);
    let Some((low, high)) = within(output, bounds).filter(|_| output != ElementType::I32) else { return dispatch };
    dispatch
        .param("y_scale", table.add(y_scale, 1, 1f32.to_bits()))
        .param("y_zero", table.add(y_zero, 1, 0))
        .param("low", low)
        .param("high", high)
}

/// The integers that a result may be: those of its type, and none beyond an activation's bounds.
pub(super) fn within(output: ElementType, bounds: Option<[i32; 2]>) -> Option<(f32, f32)> {
    let (low, high) = range(output)?;
    Some(bounds.map_or((low, high), |[least, most]| ((least as f32).clamp(low, high), (most as f32).clamp(low, high))))
}

/// A sum as a quantized number.
pub(super) fn requantized(sum: i32, factor: f32, rest: f32, zero: f64) -> f64 {
    f64::from((sum as f32 * factor + rest).round_ties_even()) + zero
}

/// The biases of sums of integers: those that belong to the sums, and those that are floats and are added to the results.
pub(super) fn biases(tensor: Option<&Tensor>) -> (Vec<i32>, Vec<f32>) {
    match tensor {
        Some(floats) if floats.element_type().is_float() => (vec![0], scales(tensor)),
        _ => (zeros(tensor), vec![0.0]),
    }
}

/// The integers of an input, or a zero.
pub(super) fn zeros(tensor: Option<&Tensor>) -> Vec<i32> {
    tensor
        .and_then(Tensor::integers)
        .map_or_else(|| vec![0], |all| all.into_iter().map(|v| i32::try_from(v).unwrap_or_default()).collect())
}

/// The floats of an input, or a one.
#[expect(clippy::cast_possible_truncation, reason = "scales are f32 or less")]
pub(super) fn scales(tensor: Option<&Tensor>) -> Vec<f32> {
    tensor.map_or_else(|| vec![1.0], |t| t.to_f64().into_iter().map(|v| v as f32).collect())
}
