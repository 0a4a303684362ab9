//! QuantizeLinear and DequantizeLinear between f32 and 8-bit integers, with one scale for the tensor.

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::simd::dispatch;
use super::{Threads, tasks};
use crate::graph::{EvaluateError, Fact, Operator};
use crate::ops::quantize::Quantize;
use crate::tensor::shape::elements;
use crate::tensor::{Element, ElementType, Tensor};

/// Elements of one task: fewer are not worth a thread.
const STEP: usize = 16 << 10;

/// 1.5 · 2²³: floats of this size are whole numbers, so that a sum with it is rounded to one, ties to even.
const WHOLE: f32 = 12_582_912.0;

/// From floats to integers, or back.
#[derive(Debug)]
struct Linear;

/// The kernel of a QuantizeLinear or DequantizeLinear.
pub(super) fn kernel(operator: &dyn Operator, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    use ElementType::{F32, I8, U8};
    let plain = operator.downcast::<Quantize>()?.is_plain();
    let given = |i: usize| inputs.get(i).copied().flatten();
    let one = |fact: &Fact| fact.concrete().and_then(|shape| elements(&shape)) == Some(1);
    let (x, scale) = (given(0)?, given(1)?);
    let types = matches!((x.element_type, output.element_type), (F32, U8 | I8) | (U8 | I8, F32));
    let whole = one(scale) && scale.element_type == F32 && given(2).is_none_or(one);
    (plain && types && whole && x.concrete() == output.concrete()).then(|| Box::new(Linear) as Box<dyn Kernel>)
}

impl Kernel for Linear {
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let Job { inputs, y, threads, .. } = job;
        let x = inputs.tensor(0)?;
        let scale = inputs.tensor(1)?.as_slice::<f32>()?.first().copied().unwrap_or(1.0);
        #[expect(clippy::cast_possible_truncation, reason = "an integer of eight bits")]
        let zero = inputs.optional(2).and_then(|t| t.to_f64().first().copied()).unwrap_or(0.0) as f32;
        let forth = |v: f32, low: f32, high: f32| {
            let n = ((v / scale).clamp(-65_536.0, 65_536.0) + WHOLE) - WHOLE;
            (n + zero).clamp(low, high)
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they are bounded; NaN becomes 0")]
        match (x.element_type(), y.element_type()) {
            (ElementType::F32, ElementType::U8) => each(threads, x, y, |v: f32| forth(v, 0.0, 255.0) as u8),
            (ElementType::F32, _) => each(threads, x, y, |v: f32| forth(v, -128.0, 127.0) as i8),
            (ElementType::U8, _) => each(threads, x, y, |v: u8| (f32::from(v) - zero) * scale),
            _ => each(threads, x, y, |v: i8| (f32::from(v) - zero) * scale),
        }
    }
}

/// Writes a function of each element.
fn each<T: Element, U: Element>(
    threads: &Threads,
    x: &Tensor,
    y: &mut Tensor,
    f: impl Fn(T) -> U + Sync + Send,
) -> Result<(), EvaluateError> {
    let (x, y) = (x.as_slice::<T>()?, y.as_mut_slice::<U>()?);
    let f = &f;
    tasks::each(threads, y.chunks_mut(STEP).zip(x.chunks(STEP)).collect(), |(y, x)| dispatch(Part { x, y, f }));
    Ok(())
}

/// A part of the elements, compiled for the vectors that there are.
struct Part<'a, T, U, F> {
    x: &'a [T],
    y: &'a mut [U],
    f: &'a F,
}

impl<T: Element, U: Element, F: Fn(T) -> U> WithSimd for Part<'_, T, U, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.y.iter_mut().zip(self.x).for_each(|(y, &x)| *y = (self.f)(x));
    }
}
