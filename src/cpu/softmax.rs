//! Softmax and LogSoftmax along lanes: element `i` of lane `(o, k)` lies at `(o · length + i) · inner + k`.

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::simd::{dispatch, each_vector, exp, load, select, store};
use super::tasks;
use crate::graph::{EvaluateError, Fact};
use crate::ops::norm::softmax::Softmax;
use crate::tensor::Tensor;

/// Elements of one task: fewer are not worth a thread.
const STEP: usize = 16 << 10;

#[derive(Debug, Clone, Copy)]
struct Along {
    length: usize,
    inner: usize,
    log: bool,
}

/// The kernel of a Softmax or LogSoftmax.
pub(super) fn kernel(softmax: &Softmax, inputs: &[Option<&Fact>]) -> Option<Box<dyn Kernel>> {
    let ([_, length, inner], log) = softmax.lanes(&inputs.first().copied().flatten()?.concrete()?)?;
    Some(Box::new(Along { length, inner, log }))
}

impl Kernel for Along {
    fn in_place(&self) -> &[usize] {
        &[0]
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let y = job.y.as_mut_slice::<f32>()?;
        let x = job.inputs.optional(0).map(Tensor::as_slice::<f32>).transpose()?;
        let block = self.length * self.inner;
        let step = (STEP / block).max(1) * block;
        tasks::each(job.threads, y.chunks_mut(step).enumerate().collect(), |(i, y)| {
            dispatch(Blocks { along: *self, x: x.map(|x| &x[i * step..][..y.len()]), y });
        });
        Ok(())
    }
}

struct Blocks<'a> {
    along: Along,
    /// What is not in `y` already.
    x: Option<&'a [f32]>,
    y: &'a mut [f32],
}

impl WithSimd for Blocks<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Along { length, inner, log } = self.along;
        for (i, block) in self.y.chunks_exact_mut(length * inner).enumerate() {
            if let Some(x) = self.x {
                block.copy_from_slice(&x[i * length * inner..][..length * inner]);
            }
            if inner == 1 {
                row(simd, block, log);
            } else {
                for first in (0..inner).step_by(S::F32_LANES) {
                    let width = (inner - first).min(S::F32_LANES);
                    columns(simd, &mut block[first..], inner, width, log);
                }
            }
        }
    }
}

/// eˣ for x ≤ 0; what is too small for it is 0.
#[inline(always)]
fn falling_exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    select(simd, simd.less_than_f32s(x, simd.splat_f32s(-87.0)), simd.splat_f32s(0.0), exp(simd, x))
}

/// The larger of each pair; of a NaN and a number the first.
#[inline(always)]
fn larger<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
    select(simd, simd.less_than_f32s(a, b), b, a)
}

/// A lane of neighbours.
#[inline(always)]
pub(super) fn row<S: Simd>(simd: S, y: &mut [f32], log: bool) {
    let (vectors, rest) = S::as_simd_f32s(y);
    let lowest = simd.splat_f32s(f32::NEG_INFINITY);
    // Side by side, so that none waits for the one before.
    let (groups, single) = vectors.as_chunks::<4>();
    let mut most = [lowest; 4];
    for group in groups {
        for j in 0..4 {
            most[j] = larger(simd, most[j], group[j]);
        }
    }
    let mut all = larger(simd, larger(simd, most[0], most[1]), larger(simd, most[2], most[3]));
    for v in single {
        all = larger(simd, all, *v);
    }
    let most = [all];
    let most: &[f32] = bytemuck::cast_slice(&most);
    let most = simd.splat_f32s(most.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max));
    // In parts, so that the error of a long lane stays near that of a short one.
    let mut sum = 0.0;
    for part in y.chunks_mut(64 * S::F32_LANES) {
        let (vectors, rest) = S::as_mut_simd_f32s(part);
        let mut sums = simd.splat_f32s(0.0);
        for v in vectors {
            let e = falling_exp(simd, simd.sub_f32s(*v, most));
            sums = simd.add_f32s(sums, e);
            if !log {
                *v = e;
            }
        }
        if !rest.is_empty() {
            let mut last = [falling_exp(simd, simd.sub_f32s(load(simd, rest), most))];
            if !log {
                store(simd, rest, last[0]);
            }
            bytemuck::cast_slice_mut::<S::f32s, f32>(&mut last)[rest.len()..].fill(0.0);
            sums = simd.add_f32s(sums, last[0]);
        }
        sum += simd.reduce_sum_f32s(sums);
    }
    if log {
        // The largest is taken out first: of the sum of both little would be left where it is large.
        let shift = simd.splat_f32s(sum.ln());
        each_vector(simd, y, |v, _| simd.sub_f32s(simd.sub_f32s(v, most), shift));
    } else {
        let factor = simd.splat_f32s(1.0 / sum);
        let (vectors, rest) = S::as_mut_simd_f32s(y);
        for v in vectors {
            *v = simd.mul_f32s(*v, factor);
        }
        rest.iter_mut().for_each(|v| *v *= 1.0 / sum);
    }
}

/// A vector of lanes side by side; elements of a lane are `inner` apart.
#[inline(always)]
fn columns<S: Simd>(simd: S, y: &mut [f32], inner: usize, width: usize, log: bool) {
    let mut most = simd.splat_f32s(f32::NEG_INFINITY);
    for y in y.chunks(inner) {
        let v = load(simd, &y[..width]);
        most = select(simd, simd.less_than_f32s(most, v), v, most);
    }
    let mut sum = simd.splat_f32s(0.0);
    for y in y.chunks_mut(inner) {
        let e = falling_exp(simd, simd.sub_f32s(load(simd, &y[..width]), most));
        sum = simd.add_f32s(sum, e);
        if !log {
            store(simd, &mut y[..width], e);
        }
    }
    let mut shift = [sum];
    if log {
        bytemuck::cast_slice_mut::<S::f32s, f32>(&mut shift).iter_mut().for_each(|v| *v = v.ln());
    }
    let (shift, factor) = (shift[0], simd.div_f32s(simd.splat_f32s(1.0), sum));
    for y in y.chunks_mut(inner) {
        let v = load(simd, &y[..width]);
        let y = &mut y[..width];
        store(simd, y, if log { simd.sub_f32s(simd.sub_f32s(v, most), shift) } else { simd.mul_f32s(v, factor) });
    }
}
