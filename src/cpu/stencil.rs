//! Depthwise convolutions and pools: each output is made of a window of one plane.
//!
//! Some rows of a plane at a time are copied into phases (`windows.rs`), so few that they stay in the first-level cache, and
//! vectors of outputs are made of them one after the other. The last one of a row may reach beyond it: what is too much is
//! written over by the next row.

use pulp::{Simd, WithSimd};

use super::depthwise::Same;
use super::kernel::{Job, Kernel};
use super::pool::Halves;
use super::simd::{activate_vectors, dispatch, load, select, store};
use super::tasks;
use super::windows::Windows;
use crate::graph::{Activation, EvaluateError, Fact};
use crate::ops::conv::{Conv, RESIDUAL};
use crate::ops::pool::{Kind, Pool};
use crate::ops::window::Axis;

/// Vectors that are summed side by side, so that none waits for the one before. A row with fewer is short.
const WIDE: usize = 4;

/// Elements of the phases that are made at a time: half of a first-level cache.
const NEAR: usize = 4 << 10;

/// What becomes of a window.
#[derive(Debug)]
enum Rule {
    /// Sums with weights, `[channel][tap]`, the taps in the order of the runs, and a bias for each.
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
    runs: Vec<Run>,
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
    let weights = w.constant.as_ref()?.as_slice::<f32>().ok()?;
    let w = w.concrete()?;
    if w[1] != 1 || conv.groups() != x[1] || conv.groups() == 1 || w.contains(&0) || x.contains(&0) {
        return None;
    }
    let bias = match fact(2) {
        Some(bias) => Some(bias.constant.as_ref()?.as_slice::<f32>().ok()?.to_vec()),
        None => None,
    };
    let axes = conv.window.axes(&x[2..], &w[2..]).ok()?;
    if let Some(kernel) = Same::new(conv, &axes, &w, weights, bias.as_deref()) {
        return Some(Box::new(kernel));
    }
    let windows = Windows::new(&axes)?.in_bands(NEAR);
    let (order, runs) = runs(&windows.taps);
    let weights = weights.chunks_exact(order.len()).flat_map(|weights| order.iter().map(|&tap| weights[tap])).collect();
    Some(Box::new(Stencil {
        windows,
        runs,
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
    let axes = window.axes(&x[2..], &window.kernel).ok()?;
    if let Some(kernel) = <[Axis; 2]>::try_from(&axes[..]).ok().and_then(|axes| Halves::new(pool.kind, axes)) {
        return Some(Box::new(kernel));
    }
    let windows = Windows::new(&axes)?.in_bands(NEAR);
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
    let (_, runs) = runs(&windows.taps);
    let channels = output.concrete()?[1];
    Some(Box::new(Stencil { windows, runs, channels, multiplier: 1, rule, residual: false }))
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
        let residual = if self.residual { Some(job.inputs.tensor(RESIDUAL)?.as_slice::<f32>()?) } else { None };
        let y = job.y.as_mut_slice::<f32>()?;
        let (h, w) = (&self.windows.height, &self.windows.width);
        let (x_plane, y_plane) = (h.input * w.input, h.output * w.output);
        let planes = y.len() / y_plane;
        let step = tasks::planes(job.threads, planes, y.len() * self.windows.taps.len());
        // The last vectors may reach beyond the last phase and the last row.
        let beyond = (WIDE + 1) * super::simd::lanes();
        let (phases, sums) = (self.windows.copied() + beyond, self.windows.band * self.windows.pitch + beyond);
        let work: Vec<_> = y.chunks_mut(step * y_plane).enumerate().collect();
        tasks::each(job.threads, work, |(i, y)| {
            let first = i * step;
            let residual = residual.map(|residual| &residual[first * y_plane..][..y.len()]);
            job.scratch.with(phases.next_multiple_of(16) + sums, |memory| {
                let (phases, sums) = memory.split_at_mut(phases.next_multiple_of(16));
                dispatch(Task { stencil: self, x, x_plane, y, y_plane, first, residual, phases, sums });
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
    residual: Option<&'a [f32]>,
    phases: &'a mut [f32],
    sums: &'a mut [f32],
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { stencil, x, x_plane, y, y_plane, first, residual, phases, sums } = self;
        let Stencil { windows, channels, multiplier, rule, .. } = stencil;
        let (height, width) = (windows.height.output, windows.width.output);
        let fill = if matches!(rule, Rule::Max) { f32::MIN } else { 0.0 };
        let mut copied = None;
        for begin in (0..y.len()).step_by(y_plane) {
            let plane = first + begin / y_plane;
            let channel = plane % channels;
            let source = plane / channels * (channels / multiplier) + channel / multiplier;
            for row in (0..height).step_by(windows.band) {
                let rows = windows.band.min(height - row);
                if copied != Some((source, row)) {
                    windows.copy(simd, &x[source * x_plane..], [row, rows], fill, phases);
                    if let Rule::Norm { squares } = rule {
                        magnitudes(simd, phases, *squares);
                    }
                    copied = Some((source, row));
                }
                let at = begin + row * width;
                let residual = residual.map(|residual| &residual[at..]);
                stencil.rows(simd, Source { channel, row, phases, residual }, rows, sums, &mut y[at..]);
            }
        }
    }
}

impl Stencil {
    /// Some rows of a plane, at the beginning of `y`; what comes after them may be written over.
    #[inline(always)]
    fn rows<S: Simd>(&self, simd: S, source: Source<'_>, rows: usize, sums: &mut [f32], y: &mut [f32]) {
        let (pitch, width) = (self.windows.pitch, self.windows.width.output);
        if width >= WIDE * S::F32_LANES {
            for row in 0..rows {
                let (phases, mut column) = (&source.phases[row * pitch..], 0);
                while column < width {
                    let (from, to) = (&phases[column..], row * width + column);
                    let vectors = (width - column).div_ceil(S::F32_LANES);
                    column += S::F32_LANES
                        * match vectors {
                            WIDE.. => self.vectors::<S, WIDE>(simd, source, from, to, y),
                            2.. => self.vectors::<S, 2>(simd, source, from, to, y),
                            _ => self.vectors::<S, 1>(simd, source, from, to, y),
                        };
                }
            }
            return;
        }
        // Short rows with what lies between them, to be cut afterwards.
        let placed = source.residual.is_some() || matches!(self.rule, Rule::Average(_));
        let (groups, _) = S::as_mut_simd_f32s(sums).0.as_chunks_mut::<WIDE>();
        let length = (rows - 1) * pitch + width;
        for (i, group) in groups.iter_mut().enumerate().take(length.div_ceil(WIDE * S::F32_LANES)) {
            *group = self.sums(simd, &source.phases[i * WIDE * S::F32_LANES..], source.channel);
            if !placed {
                self.finish(simd, source, 0, group);
            }
        }
        for row in 0..rows {
            for column in (0..width).step_by(S::F32_LANES) {
                let to = row * width + column;
                let mut sum = [load(simd, &sums[row * pitch + column..][..S::F32_LANES])];
                if placed {
                    self.finish(simd, source, to, &mut sum);
                }
                keep(simd, sum, &mut y[to..]);
            }
        }
    }

    /// `N` vectors of outputs beside each other, whose windows begin with `from`; the number of them.
    #[inline(always)]
    fn vectors<S: Simd, const N: usize>(
        &self,
        simd: S,
        source: Source<'_>,
        from: &[f32],
        to: usize,
        y: &mut [f32],
    ) -> usize {
        let mut sums = self.sums::<S, N>(simd, from, source.channel);
        self.finish(simd, source, to, &mut sums);
        keep(simd, sums, &mut y[to..]);
        N
    }

    /// What becomes of `N` vectors of windows beside each other, which begin with `from`.
    #[inline(always)]
    fn sums<S: Simd, const N: usize>(&self, simd: S, from: &[f32], channel: usize) -> [S::f32s; N] {
        match &self.rule {
            Rule::Weighted { weights, bias, .. } => {
                let taps = self.windows.taps.len();
                let bias = bias.as_ref().map_or(0.0, |bias| bias[channel]);
                weighted::<S, N>(simd, from, &self.runs, &weights[channel * taps..][..taps], bias)
            }
            Rule::Max => largest::<S, N>(simd, from, &self.runs),
            Rule::Average(_) | Rule::Norm { .. } => added::<S, N>(simd, from, &self.runs),
        }
    }

    /// Completes sums, the first of which is that of output `to` of these rows.
    #[inline(always)]
    fn finish<S: Simd, const N: usize>(&self, simd: S, source: Source<'_>, to: usize, sums: &mut [S::f32s; N]) {
        // Numbers of the same places.
        let beside = |values: &[f32]| -> [S::f32s; N] {
            std::array::from_fn(|j| load(simd, values.get(to + j * S::F32_LANES..).unwrap_or(&[])))
        };
        match &self.rule {
            Rule::Weighted { activation, .. } => {
                if let Some(residual) = source.residual {
                    let residual = beside(residual);
                    for j in 0..N {
                        sums[j] = simd.add_f32s(sums[j], residual[j]);
                    }
                }
                activate_vectors(simd, sums, *activation);
            }
            Rule::Average(factors) => {
                let factors = beside(&factors[source.row * self.windows.width.output..]);
                for j in 0..N {
                    sums[j] = simd.mul_f32s(sums[j], factors[j]);
                }
            }
            Rule::Norm { squares: true } => sums.iter_mut().for_each(|sum| *sum = simd.sqrt_f32s(*sum)),
            Rule::Max | Rule::Norm { squares: false } => {}
        }
    }
}

/// Stores vectors, as far as there is room.
#[inline(always)]
fn keep<S: Simd, const N: usize>(simd: S, sums: [S::f32s; N], y: &mut [f32]) {
    match S::as_mut_simd_f32s(y).0.as_chunks_mut::<N>().0 {
        [whole, ..] => *whole = sums,
        [] => y.chunks_mut(S::F32_LANES).zip(sums).for_each(|(y, sum)| store(simd, y, sum)),
    }
}

/// What some rows of the output are made of.
#[derive(Clone, Copy)]
struct Source<'a> {
    /// The output's channel, and the first row.
    channel: usize,
    row: usize,
    phases: &'a [f32],
    /// What is added, from the first row on.
    residual: Option<&'a [f32]>,
}

/// Elements of the kernel that lie beside each other in the phases: where they begin, and how many there are.
type Run = (usize, usize);

/// The elements of the kernel in the order in which they lie in the phases, and the runs of them.
fn runs(taps: &[usize]) -> (Vec<usize>, Vec<Run>) {
    let mut order: Vec<_> = (0..taps.len()).collect();
    order.sort_by_key(|&tap| taps[tap]);
    let mut runs: Vec<Run> = vec![];
    for &tap in &order {
        match runs.last_mut() {
            Some((from, length)) if *from + *length == taps[tap] && *length < LONGEST => *length += 1,
            _ => runs.push((taps[tap], 1)),
        }
    }
    (order, runs)
}

/// The magnitude or the square of each element.
#[inline(always)]
fn magnitudes<S: Simd>(_: S, values: &mut [f32], squares: bool) {
    for v in values {
        *v = if squares { *v * *v } else { v.abs() };
    }
}

/// The larger of each pair; a NaN stays.
#[inline(always)]
pub(super) fn larger<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
    select(simd, simd.equal_f32s(a, a), simd.max_f32s(a, b), a)
}

/// Runs are no longer.
const LONGEST: usize = 5;

macro_rules! walk_taps {
    ($name:ident, $doc:literal, [$($extra:ident: $type:ty),*], $start:expr, |$simd:ident, $sum:ident, $x:ident, $tap:ident| $step:expr) => {
        #[doc = $doc]
        #[inline(always)]
        fn $name<S: Simd, const N: usize>($simd: S, from: &[f32], runs: &[Run], $($extra: $type),*) -> [S::f32s; N] {
            let mut sums = [$simd.splat_f32s($start); N];
            let mut tap = 0;
            for &(begin, length) in runs {
                // What all elements of a run see is looked up once.
                macro_rules! run {
                    ($length:literal) => {{
                        let from = &from[begin..][..N * S::F32_LANES + $length - 1];
                        for i in 0..$length {
                            let $tap = tap + i;
                            for j in 0..N {
                                let $x = load($simd, &from[i + j * S::F32_LANES..][..S::F32_LANES]);
                                let $sum = sums[j];
                                sums[j] = $step;
                            }
                        }
                    }};
                }
                match length {
                    5 => run!(5),
                    4 => run!(4),
                    3 => run!(3),
                    2 => run!(2),
                    _ => run!(1),
                }
                tap += length;
            }
            sums
        }
    };
}

walk_taps!(weighted, "The weighted sum of each window.", [weights: &[f32], bias: f32], bias, |simd, sum, x, tap| {
    simd.mul_add_e_f32s(x, simd.splat_f32s(weights[tap]), sum)
});
walk_taps!(added, "The sum of each window.", [], 0.0, |simd, sum, x, _tap| simd.add_f32s(sum, x));
walk_taps!(largest, "The largest of each window; a NaN stays.", [], f32::MIN, |simd, sum, x, _tap| {
    larger(simd, sum, x)
});
