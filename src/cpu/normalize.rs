//! LayerNormalization, RMSNormalization, InstanceNormalization and GroupNormalization: rows brought to mean 0 and variance
//! 1, then a scale and a shift.

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::simd::{dispatch, each_vector, load};
use super::tasks;
use crate::graph::{EvaluateError, Fact};
use crate::ops::norm::group::Group;
use crate::ops::norm::layer::Layer;
use crate::tensor::Tensor;

/// Elements of one task: fewer are not worth a thread.
const STEP: usize = 16 << 10;

/// To which elements scale and shift apply.
#[derive(Debug, Clone, Copy)]
enum Affine {
    /// To those at the same place in each row.
    Elements,
    /// To so many neighbours each, again and again.
    Spans(usize),
}

#[derive(Debug, Clone, Copy)]
struct Normalize {
    length: usize,
    epsilon: f32,
    /// Whether the mean is taken out.
    centred: bool,
    affine: Affine,
}

/// The kernel of a LayerNormalization or RMSNormalization.
pub(super) fn layer(layer: &Layer, inputs: &[Option<&Fact>]) -> Option<Box<dyn Kernel>> {
    let shape = |i: usize| inputs.get(i).copied().flatten()?.concrete();
    let x = shape(0)?;
    let (from, centred) = layer.simple(x.len())?;
    // Scale and shift must have the shape of a row.
    for own in inputs.iter().take(3).skip(1).flatten() {
        let own = own.concrete()?;
        let own = [vec![1; x.len().checked_sub(own.len())?], own].concat();
        if own[..from].iter().any(|&d| d != 1) || own[from..] != x[from..] {
            return None;
        }
    }
    let length = x[from..].iter().product();
    Some(Box::new(Normalize { length, epsilon: layer.epsilon, centred, affine: Affine::Elements }))
}

/// The kernel of an InstanceNormalization or GroupNormalization.
pub(super) fn group(group: &Group, inputs: &[Option<&Fact>]) -> Option<Box<dyn Kernel>> {
    let [length, span] = group.spans(&inputs.first().copied().flatten()?.concrete()?)?;
    let affine = Affine::Spans(span);
    Some(Box::new(Normalize { length, epsilon: group.epsilon, centred: true, affine }))
}

impl Kernel for Normalize {
    fn in_place(&self) -> &[usize] {
        &[0]
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let y = job.y.as_mut_slice::<f32>()?;
        let slice = |i: usize| job.inputs.optional(i).map(Tensor::as_slice::<f32>).transpose();
        let (x, scale, shift) = (slice(0)?, slice(1)?, slice(2)?);
        let step = (STEP / self.length).max(1) * self.length;
        tasks::each(job.threads, y.chunks_mut(step).enumerate().collect(), |(i, y)| {
            if let Some(x) = x {
                y.copy_from_slice(&x[i * step..][..y.len()]);
            }
            dispatch(Rows { normalize: *self, first: i * step, y, scale, shift });
        });
        Ok(())
    }
}

/// Whole rows, from an element on.
struct Rows<'a> {
    normalize: Normalize,
    first: usize,
    y: &'a mut [f32],
    scale: Option<&'a [f32]>,
    shift: Option<&'a [f32]>,
}

/// The sum of the elements, or of the squares of their distances from a centre, in parts, so that the error of a long row
/// stays near that of a short one.
#[inline(always)]
fn sum<S: Simd, const SQUARES: bool>(simd: S, x: &[f32], centre: S::f32s) -> f32 {
    let mut sum = 0.0;
    for part in x.chunks(64 * S::F32_LANES) {
        let (vectors, rest) = S::as_simd_f32s(part);
        // Side by side, so that none waits for the one before.
        let (groups, single) = vectors.as_chunks::<4>();
        let mut sums = [simd.splat_f32s(0.0); 4];
        for group in groups {
            for j in 0..4 {
                sums[j] = term::<S, SQUARES>(simd, sums[j], group[j], centre);
            }
        }
        for v in single {
            sums[0] = term::<S, SQUARES>(simd, sums[0], *v, centre);
        }
        if !rest.is_empty() {
            let mut last = [term::<S, SQUARES>(simd, simd.splat_f32s(0.0), load(simd, rest), centre)];
            bytemuck::cast_slice_mut::<S::f32s, f32>(&mut last)[rest.len()..].fill(0.0);
            sums[1] = simd.add_f32s(sums[1], last[0]);
        }
        let sums = [simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3])];
        sum += simd.reduce_sum_f32s(simd.add_f32s(sums[0], sums[1]));
    }
    sum
}

/// A sum with one more term.
#[inline(always)]
fn term<S: Simd, const SQUARES: bool>(simd: S, sum: S::f32s, v: S::f32s, centre: S::f32s) -> S::f32s {
    if SQUARES {
        let v = simd.sub_f32s(v, centre);
        simd.mul_add_e_f32s(v, v, sum)
    } else {
        simd.add_f32s(sum, v)
    }
}

/// Joins the elements of a row, which begins at element `at`, with those of a scale or a shift.
#[inline(always)]
fn apply<S: Simd>(
    simd: S,
    affine: Affine,
    at: usize,
    values: &[f32],
    y: &mut [f32],
    join: impl Fn(S::f32s, S::f32s) -> S::f32s,
) {
    match affine {
        Affine::Elements => {
            let length = y.len();
            each_vector(simd, y, |v, i| join(v, load(simd, &values[i..(i + S::F32_LANES).min(length)])));
        }
        Affine::Spans(span) => {
            for (k, y) in y.chunks_mut(span).enumerate() {
                let value = simd.splat_f32s(values[(at / span + k) % values.len()]);
                each_vector(simd, y, |v, _| join(v, value));
            }
        }
    }
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { normalize: Normalize { length, epsilon, centred, affine }, first, y, scale, shift } = self;
        for (i, y) in y.chunks_exact_mut(length).enumerate() {
            let count = length as f32;
            let zero = simd.splat_f32s(0.0);
            let centre = if centred { sum::<S, false>(simd, y, zero) / count } else { 0.0 };
            let centre = simd.splat_f32s(centre);
            let factor = simd.splat_f32s(1.0 / (sum::<S, true>(simd, y, centre) / count + epsilon).sqrt());
            if let (Affine::Elements, Some(scale)) = (affine, scale) {
                each_vector(simd, y, |v, i| {
                    let own = i..(i + S::F32_LANES).min(length);
                    let shift = shift.map_or(zero, |shift| load(simd, &shift[own.clone()]));
                    let v = simd.mul_f32s(simd.sub_f32s(v, centre), factor);
                    simd.mul_add_e_f32s(v, load(simd, &scale[own]), shift)
                });
                continue;
            }
            each_vector(simd, y, |v, _| simd.mul_f32s(simd.sub_f32s(v, centre), factor));
            let at = first + i * length;
            if let Some(scale) = scale {
                apply(simd, affine, at, scale, y, |v, s| simd.mul_f32s(v, s));
            }
            if let Some(shift) = shift {
                apply(simd, affine, at, shift, y, |v, s| simd.add_f32s(v, s));
            }
        }
    }
}
