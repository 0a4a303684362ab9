//! Depthwise convolutions and pools: each output is made of a window of one plane.
//!
//! A plane is copied once into phases (`windows.rs`), and is then one long loop over vectors. Rows of the output come out
//! with the phases' pitch and are cut.

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::simd::{activate_slice, dispatch, select};
use super::tasks;
use super::windows::Windows;
use crate::graph::{Activation, EvaluateError, Fact};
use crate::ops::conv::Conv;
use crate::ops::pool::{Kind, Pool};
use crate::ops::window::Axis;

/// Vectors that are summed side by side, so that none waits for the one before.
const BESIDE: usize = 4;

/// What becomes of a window.
#[derive(Debug)]
enum Rule {
    /// Sums with weights, `[channel][tap]`, and a bias for each.
    Weighted { weights: Vec<f32>, bias: Option<Vec<f32>>, activation: Activation },
    /// The largest.
    Max,
    /// Sums times a factor for each position.
    Average(Vec<f32>),
    /// The sum of the magnitudes, or the root of the sum of the squares.
    Norm { squares: bool },
}

#[derive(Debug)]
struct Stencil {
    windows: Windows,
    /// Output channels, and how many of them read the same input channel.
    channels: usize,
    multiplier: usize,
    rule: Rule,
    residual: bool,
}

/// The kernel of a convolution in which each output channel reads one input channel.
pub(super) fn depthwise(conv: &Conv, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    let fact = |i: usize| inputs.get(i).copied().flatten();
    let (x, w) = (fact(0)?.concrete()?, fact(1)?);
    let weights = w.constant.as_ref()?.as_slice::<f32>().ok()?.to_vec();
    let w = w.concrete()?;
    if w[1] != 1 || conv.groups() != x[1] || conv.groups() == 1 || w.contains(&0) || x.contains(&0) {
        return None;
    }
    let bias = match fact(2) {
        Some(bias) => Some(bias.constant.as_ref()?.as_slice::<f32>().ok()?.to_vec()),
        None => None,
    };
    let windows = Windows::new(&conv.window.axes(&x[2..], &w[2..]).ok()?)?;
    Some(Box::new(Stencil {
        windows,
        channels: output.concrete()?[1],
        multiplier: w[0] / x[1],
        rule: Rule::Weighted { weights, bias, activation: conv.activation },
        residual: conv.residual,
    }))
}

/// The kernel of a pool.
pub(super) fn pool(pool: &Pool, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    let x = inputs.first().copied().flatten()?.concrete()?;
    if pool.indices || x.contains(&0) {
        return None;
    }
    let Some(window) = &pool.window else {
        return super::reduce::global(pool.kind, x[2..].iter().product());
    };
    let windows = Windows::new(&window.axes(&x[2..], &window.kernel).ok()?)?;
    let (h, w) = (&windows.height, &windows.width);
    let rule = match pool.kind {
        Kind::Max => Rule::Max,
        Kind::Average { include_pad } => {
            let count = |axis: &Axis, o: usize| {
                let padded = axis.before + axis.input + axis.after;
                let counted = padded.saturating_sub(o * axis.stride).div_ceil(axis.dilation).min(axis.kernel);
                if include_pad { counted } else { axis.taps(o).len() }
            };
            let factor = |y: usize, x: usize| 1.0 / (count(h, y) * count(w, x)).max(1) as f32;
            Rule::Average((0..h.output).flat_map(|y| (0..w.output).map(move |x| factor(y, x))).collect())
        }
        Kind::Lp(p @ 1..=2) => Rule::Norm { squares: p == 2 },
        Kind::Lp(_) => return None,
    };
    Some(Box::new(Stencil { windows, channels: output.concrete()?[1], multiplier: 1, rule, residual: false }))
}

impl Kernel for Stencil {
    fn products(&self) -> usize {
        4 * self.windows.taps.len()
    }

    fn holds(&self) -> &[usize] {
        if matches!(self.rule, Rule::Weighted { .. }) { &[1, 2] } else { &[] }
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let x = job.inputs.tensor(0)?.as_slice::<f32>()?;
        let residual = if self.residual { Some(job.inputs.tensor(3)?.as_slice::<f32>()?) } else { None };
        let y = job.y.as_mut_slice::<f32>()?;
        let (h, w) = (&self.windows.height, &self.windows.width);
        let (x_plane, y_plane) = (h.input * w.input, h.output * w.output);
        let planes = y.len() / y_plane;
        let alone = job.threads.count() == 1 || y.len() * self.windows.taps.len() < tasks::SMALL;
        let step = if alone { planes } else { planes.div_ceil(job.threads.count() * 4) };
        let vector = super::simd::lanes();
        let copied = self.windows.copied() + BESIDE * vector;
        let rows = (h.output - 1) * self.windows.pitch + w.output;
        let computed = rows.next_multiple_of(BESIDE * vector);
        let work: Vec<_> = y.chunks_mut(step * y_plane).enumerate().collect();
        tasks::each(job.threads, work, |(i, y)| {
            job.scratch.with(copied + computed, |scratch| {
                let (phases, sums) = scratch.split_at_mut(copied);
                let first = i * step;
                dispatch(Task { stencil: self, x, x_plane, y: &mut *y, y_plane, first, phases, sums });
                if let (Some(residual), Rule::Weighted { activation, .. }) = (residual, &self.rule) {
                    for (y, r) in y.iter_mut().zip(&residual[first * y_plane..]) {
                        *y = activation.apply(*y + r);
                    }
                }
            });
        });
        Ok(())
    }
}

/// Some planes of the output.
struct Task<'a> {
    stencil: &'a Stencil,
    x: &'a [f32],
    x_plane: usize,
    y: &'a mut [f32],
    y_plane: usize,
    first: usize,
    phases: &'a mut [f32],
    sums: &'a mut [f32],
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Stencil { windows, channels, multiplier, rule, residual } = self.stencil;
        let (pitch, width) = (windows.pitch, windows.width.output);
        let taps = &windows.taps;
        let fill = if matches!(rule, Rule::Max) { f32::MIN } else { 0.0 };
        let mut copied = None;
        for (i, y) in self.y.chunks_exact_mut(self.y_plane).enumerate() {
            let plane = self.first + i;
            let channel = plane % channels;
            let source = plane / channels * (channels / multiplier) + channel / multiplier;
            if copied != Some(source) {
                windows.copy(&self.x[source * self.x_plane..][..self.x_plane], fill, self.phases);
                if let Rule::Norm { squares } = rule {
                    magnitudes(simd, self.phases, *squares);
                }
                copied = Some(source);
            }
            match rule {
                Rule::Weighted { weights, bias, activation } => {
                    let weights = &weights[channel * taps.len()..][..taps.len()];
                    let bias = bias.as_ref().map_or(0.0, |bias| bias[channel]);
                    weighted(simd, self.phases, taps, weights, bias, self.sums);
                    if !residual {
                        activate_slice(simd, self.sums, *activation);
                    }
                }
                Rule::Max => largest(simd, self.phases, taps, self.sums),
                Rule::Average(_) => added(simd, self.phases, taps, self.sums),
                Rule::Norm { squares } => {
                    added(simd, self.phases, taps, self.sums);
                    if *squares {
                        self.sums.iter_mut().for_each(|sum| *sum = sum.sqrt());
                    }
                }
            }
            for (y, sums) in y.chunks_exact_mut(width).zip(self.sums.chunks(pitch)) {
                y.copy_from_slice(&sums[..width]);
            }
            if let Rule::Average(factors) = rule {
                for (y, factor) in y.iter_mut().zip(factors) {
                    *y *= factor;
                }
            }
        }
    }
}

/// The magnitude or the square of each element.
#[inline(always)]
fn magnitudes<S: Simd>(_: S, values: &mut [f32], squares: bool) {
    for v in values {
        *v = if squares { *v * *v } else { v.abs() };
    }
}

macro_rules! walk_taps {
    ($name:ident, $doc:literal, [$($extra:ident: $type:ty),*], $start:expr, |$simd:ident, $sum:ident, $x:ident, $t:ident| $step:expr) => {
        #[doc = $doc]
        #[inline(always)]
        fn $name<S: Simd>($simd: S, phases: &[f32], taps: &[usize], $($extra: $type,)* out: &mut [f32]) {
            let step = BESIDE * S::F32_LANES;
            let (out, _) = S::as_mut_simd_f32s(out).0.as_chunks_mut::<BESIDE>();
            for (i, out) in out.iter_mut().enumerate() {
                let mut sums = [$simd.splat_f32s($start); BESIDE];
                for ($t, tap) in taps.iter().enumerate() {
                    let from = &phases[tap + i * step..][..step];
                    let (xs, _) = S::as_simd_f32s(from).0.as_chunks::<BESIDE>();
                    let Some(xs) = xs.first() else { return };
                    for j in 0..BESIDE {
                        let ($sum, $x) = (sums[j], xs[j]);
                        sums[j] = $step;
                    }
                }
                *out = sums;
            }
        }
    };
}

walk_taps!(weighted, "The weighted sum of each window.", [weights: &[f32], bias: f32], bias, |simd, sum, x, t| {
    simd.mul_add_e_f32s(x, simd.splat_f32s(weights[t]), sum)
});
walk_taps!(added, "The sum of each window.", [], 0.0, |simd, sum, x, _t| simd.add_f32s(sum, x));
walk_taps!(largest, "The largest of each window; a NaN stays.", [], f32::MIN, |simd, sum, x, _t| {
    select(simd, simd.equal_f32s(sum, sum), simd.max_f32s(sum, x), sum)
});
