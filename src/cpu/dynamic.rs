//! DynamicQuantizeLinear: one look for the range, one for the integers.

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::simd::dispatch;
use super::{Threads, tasks};
use crate::graph::{EvaluateError, Operator};
use crate::ops::quantize::DynamicQuantize;

/// Elements of one task: fewer are not worth a thread.
const STEP: usize = 16 << 10;

/// Elements that are looked at side by side: several vectors.
const WIDE: usize = 32;

/// 1.5 · 2²³: the low bits of floats of this size are whole numbers, so that a sum with it is rounded to one, ties to even.
const WHOLE: f32 = 12_582_912.0;

#[derive(Debug)]
struct Dynamic;

/// The kernel of a DynamicQuantizeLinear.
pub(super) fn kernel(operator: &dyn Operator) -> Option<Box<dyn Kernel>> {
    operator.downcast::<DynamicQuantize>().map(|_| Box::new(Dynamic) as Box<dyn Kernel>)
}

impl Kernel for Dynamic {
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let Job { inputs, y, more, threads, .. } = job;
        let x = inputs.tensor(0)?.as_slice::<f32>()?;
        let [low, high] = range(threads, x);
        let scale = DynamicQuantize::scale(low, high);
        let zero = DynamicQuantize::zero(low, scale);
        let y = y.as_mut_slice::<u8>()?;
        tasks::each(threads, y.chunks_mut(STEP).zip(x.chunks(STEP)).collect(), |(y, x)| {
            dispatch(Part { x, y, scale, zero });
        });
        if let Some(Some(own)) = more.first_mut() {
            own.as_mut_slice::<f32>()?.fill(scale);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is bounded")]
        if let Some(Some(own)) = more.get_mut(1) {
            own.as_mut_slice::<u8>()?.fill(zero as u8);
        }
        Ok(())
    }
}

/// The least and the largest number and 0.
fn range(threads: &Threads, x: &[f32]) -> [f32; 2] {
    let mut ranges = vec![[0.0; 2]; x.len().div_ceil(STEP)];
    tasks::each(threads, ranges.iter_mut().zip(x.chunks(STEP)).collect(), |(range, x)| *range = dispatch(Extent(x)));
    ranges.into_iter().fold([0.0; 2], |[low, high], [least, most]| [low.min(least), high.max(most)])
}

/// A part whose range is looked for.
struct Extent<'a>(&'a [f32]);

impl WithSimd for Extent<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [f32; 2] {
        let (mut low, mut high) = ([0f32; WIDE], [0f32; WIDE]);
        let (whole, rest) = self.0.as_chunks::<WIDE>();
        let mut last = [0.0; WIDE];
        last[..rest.len()].copy_from_slice(rest);
        for x in whole.iter().chain([&last]) {
            // Comparisons that are false for a NaN, which is no part of the range.
            low.iter_mut().zip(x).for_each(|(low, &v)| *low = if v < *low { v } else { *low });
            high.iter_mut().zip(x).for_each(|(high, &v)| *high = if v > *high { v } else { *high });
        }
        [low.into_iter().fold(0.0, f32::min), high.into_iter().fold(0.0, f32::max)]
    }
}

/// A part of the elements.
struct Part<'a> {
    x: &'a [f32],
    y: &'a mut [u8],
    scale: f32,
    zero: f32,
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the low byte is what is wanted")]
    fn with_simd<S: Simd>(self, _: S) {
        // Bounded before it is rounded: the bounds are whole numbers. What compares with nothing becomes the lower one, and so
        // 0, as a cast makes it.
        let (low, high, zero) = (-self.zero, 255.0 - self.zero, self.zero as u8);
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            let v = x / self.scale;
            let v = if v > low { v } else { low };
            let v = if v < high { v } else { high };
            *y = ((v + WHOLE).to_bits() as u8).wrapping_add(zero);
        }
    }
}
