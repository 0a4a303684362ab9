//! Convolutions and products of 8-bit integers, whose weights and scales are known.
//!
//! Both factors are made numbers of 16 bits without zero points, whose products are added in pairs to sums of 32 bits: what the
//! zero points are does not matter, and nothing is rounded before the sum is whole.

mod between;
mod conv;
mod depthwise;
mod pairs;
mod product;

use crate::graph::{EvaluateError, Fact, Operator};
use crate::ops::quantize::{Between, Channels, IntegerConv, IntegerProduct};
use crate::tensor::{Element, ElementType, Tensor};

use super::kernel::Kernel;

/// 1.5 · 2²³: the low bits of floats of this size are whole numbers, so that a sum with it is rounded to one, ties to even.
const WHOLE: f32 = 12_582_912.0;

/// The kernel of an operator on integers.
pub(super) fn kernel(operator: &dyn Operator, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    if let Some(conv) = operator.downcast::<IntegerConv>() {
        return depthwise::kernel(conv, inputs, output).or_else(|| conv::kernel(conv, inputs, output));
    }
    if let Some(operator) = operator.downcast::<Between>() {
        return between::kernel(operator, inputs, output);
    }
    product::kernel(operator.downcast::<IntegerProduct>()?, inputs, output)
}

/// What becomes of sums, the same for all channels.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Finish {
    /// Bounds without the zero point.
    low: f32,
    high: f32,
    /// The low byte of the zero point.
    zero: u8,
}

impl Finish {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a zero point is an integer of 8 bits")]
    fn of(channels: &Channels) -> Self {
        let [zero, low, high] = channels.quantized.unwrap_or_default();
        Self { low: low - zero, high: high - zero, zero: zero as i32 as u8 }
    }
}

/// What sums become: bytes, with a sign or without, or floats.
trait Finished: Copy + Send {
    fn of(product: f32, finish: Finish) -> Self;
}

impl Finished for u8 {
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the low byte is what is wanted")]
    fn of(product: f32, finish: Finish) -> Self {
        let whole = product.max(finish.low).min(finish.high) + WHOLE;
        (whole.to_bits() as Self).wrapping_add(finish.zero)
    }
}

impl Finished for f32 {
    #[inline(always)]
    fn of(product: f32, _: Finish) -> Self {
        product
    }
}

/// The elements of a result, as they are written.
enum Results<'a> {
    Bytes(&'a mut [u8]),
    Floats(&'a mut [f32]),
}

impl<'a> Results<'a> {
    fn of(y: &'a mut Tensor) -> Result<Self, EvaluateError> {
        Ok(match y.element_type() {
            ElementType::U8 => Self::Bytes(y.as_mut_slice::<u8>()?),
            ElementType::I8 => Self::Bytes(bytemuck::cast_slice_mut(y.as_mut_slice::<i8>()?)),
            _ => Self::Floats(y.as_mut_slice::<f32>()?),
        })
    }
}

/// An 8-bit integer.
trait Byte: Element + Copy + Sync {
    fn wide(self) -> i32;
}

impl Byte for u8 {
    #[inline(always)]
    fn wide(self) -> i32 {
        self.into()
    }
}

impl Byte for i8 {
    #[inline(always)]
    fn wide(self) -> i32 {
        self.into()
    }
}

/// Two numbers of 16 bits as one of 32.
#[inline(always)]
const fn pair(first: i32, second: i32) -> i32 {
    (first & 0xffff) | (second << 16)
}

/// The integers of the weights.
fn integers(weights: &Tensor) -> Option<Vec<i32>> {
    weights.integers()?.into_iter().map(|v| i32::try_from(v).ok()).collect()
}
