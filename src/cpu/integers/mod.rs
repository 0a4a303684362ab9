//! Convolutions, products, pools and other sizes of 8-bit integers.
//!
//! Both factors are made numbers of 16 bits, whose products are added in pairs to sums of 32 bits: nothing is rounded before
//! the sum is whole. Convolutions take their inputs as bytes without a sign, from which the zero point is not subtracted: it
//! is taken from the biases beforehand, or where a run begins if it comes with it. Products subtract it where they widen the
//! inputs. Weights are kept in 8 bits and widened where they are used.

mod between;
mod conv;
mod depthwise;
mod pairs;
mod panels;
mod pool;
mod prepared;
mod product;
mod resize;
mod weights;

use crate::graph::{EvaluateError, Fact, Operator};
use crate::ops::pool::Pool;
use crate::ops::quantize::{Between, Channels, IntegerConv, IntegerProduct};
use crate::ops::resize::Resize;
use crate::tensor::{ElementType, Tensor};

use super::kernel::Kernel;
use pairs::{COLUMNS, Pairs, numbers};

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
    if let Some(operator) = operator.downcast::<Pool>() {
        return pool::kernel(operator, inputs);
    }
    if let Some(operator) =
        operator.downcast::<Resize>().filter(|_| matches!(output.element_type, ElementType::I8 | ElementType::U8))
    {
        return resize::nearest(operator, inputs);
    }
    product::kernel(operator.downcast::<IntegerProduct>()?, inputs, output)
}

/// How inputs are read: as bytes without a sign.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Source {
    /// The bits that make numbers without a sign of those with one.
    flip: u8,
    /// The zero point of such numbers.
    zero: u8,
}

impl Source {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a zero point is an integer of 8 bits")]
    fn of(x: ElementType, zero: i32) -> Self {
        let flip = if x == ElementType::I8 { 0x80 } else { 0 };
        Self { flip, zero: zero as u8 ^ flip }
    }

    /// What the zero point adds to sums with weights of this sum, as a bias that takes it away.
    fn corrected(self, bias: i32, weights: i32) -> i32 {
        bias.wrapping_sub(weights.wrapping_mul(self.zero.into()))
    }
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

    /// A quantized byte.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the low byte is what is wanted")]
    fn byte(self, product: f32) -> u8 {
        let whole = product.max(self.low).min(self.high) + WHOLE;
        (whole.to_bits() as u8).wrapping_add(self.zero)
    }
}

/// What becomes of the sums of one channel.
#[derive(Debug, Clone, Copy)]
struct Channel {
    bias: i32,
    factor: f32,
    rest: f32,
}

impl Channel {
    #[inline(always)]
    fn of(channels: &Channels, channel: usize) -> Self {
        Self {
            bias: channels.biases[channel],
            factor: channels.factors[channel],
            rest: channels.rests.as_ref().map_or(0.0, |rests| rests[channel]),
        }
    }

    /// What becomes of a sum, as a float.
    #[inline(always)]
    fn float(self, sum: i32) -> f32 {
        sum.wrapping_add(self.bias) as f32 * self.factor + self.rest
    }
}

/// What sums become: bytes, with a sign or without, floats, or what they are.
trait Finished: Copy + Default + Send {
    fn of(sum: i32, channel: Channel, finish: Finish) -> Self;

    /// What becomes of sums of one channel.
    fn all<P: Pairs>(pairs: P, sums: [P::Vector; 2], channel: Channel, finish: Finish) -> [Self; COLUMNS];
}

impl Finished for u8 {
    #[inline(always)]
    fn of(sum: i32, channel: Channel, finish: Finish) -> Self {
        finish.byte(channel.float(sum))
    }

    #[inline(always)]
    fn all<P: Pairs>(pairs: P, sums: [P::Vector; 2], channel: Channel, finish: Finish) -> [Self; COLUMNS] {
        pairs.bytes(sums, channel, finish)
    }
}

impl Finished for f32 {
    #[inline(always)]
    fn of(sum: i32, channel: Channel, _: Finish) -> Self {
        channel.float(sum)
    }

    #[inline(always)]
    fn all<P: Pairs>(pairs: P, sums: [P::Vector; 2], channel: Channel, _: Finish) -> [Self; COLUMNS] {
        pairs.floats(sums, channel)
    }
}

impl Finished for i32 {
    #[inline(always)]
    fn of(sum: i32, channel: Channel, _: Finish) -> Self {
        sum.wrapping_add(channel.bias)
    }

    #[inline(always)]
    fn all<P: Pairs>(pairs: P, sums: [P::Vector; 2], channel: Channel, finish: Finish) -> [Self; COLUMNS] {
        numbers(pairs, sums).map(|sum| Self::of(sum, channel, finish))
    }
}

/// Writes as much of what has been computed as there is room for.
#[inline(always)]
fn put<U: Copy, const N: usize>(to: &mut [U], results: &[U; N]) {
    match to.first_chunk_mut::<N>() {
        Some(whole) => *whole = *results,
        None => to.iter_mut().zip(results).for_each(|(to, result)| *to = *result),
    }
}

/// As many bytes as there are, some bits of each flipped.
#[inline(always)]
fn bytes_of<const N: usize>(from: &[u8], flip: u8) -> [u8; N] {
    let mut bytes = [0; N];
    match from.first_chunk::<N>() {
        Some(whole) => bytes = *whole,
        None => bytes[..from.len()].copy_from_slice(from),
    }
    bytes.iter_mut().for_each(|v| *v ^= flip);
    bytes
}

/// The elements of a result, as they are written.
enum Results<'a> {
    Bytes(&'a mut [u8]),
    Floats(&'a mut [f32]),
    Sums(&'a mut [i32]),
}

impl<'a> Results<'a> {
    fn of(y: &'a mut Tensor) -> Result<Self, EvaluateError> {
        Ok(match y.element_type() {
            ElementType::U8 | ElementType::I8 => Self::Bytes(bytes(y)?),
            ElementType::I32 => Self::Sums(y.as_mut_slice::<i32>()?),
            _ => Self::Floats(y.as_mut_slice::<f32>()?),
        })
    }
}

/// The bytes of a tensor that is written.
fn bytes(y: &mut Tensor) -> Result<&mut [u8], EvaluateError> {
    Ok(match y.element_type() {
        ElementType::U8 => y.as_mut_slice::<u8>()?,
        _ => bytemuck::cast_slice_mut(y.as_mut_slice::<i8>()?),
    })
}
