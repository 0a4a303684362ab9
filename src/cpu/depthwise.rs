//! Depthwise convolutions whose outputs are as many as their inputs, straight from the input.
//!
//! A plane is taken as one long row: the output at `p` is the sum over the kernel's rows and columns of
//! `w[ky, kx] · x[p + (ky − top) · width + kx − left]`. What a column of the kernel sees beyond the left or the right edge is
//! a neighbouring row's end: the sum of such a column is masked. Rows of the kernel that lie above or below the plane are
//! left out, for stretches of rows of the output that see the same ones. The last vector of a stretch may reach beyond it:
//! what is too much is written over by the next.

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::simd::{activate_vectors, dispatch, load, store};
use super::tasks;
use crate::graph::{Activation, EvaluateError};
use crate::ops::conv::{Conv, RESIDUAL};
use crate::ops::window::Axis;

/// So many neighbours may be read beyond either end of a plane.
const BEYOND: usize = 64;

#[derive(Debug)]
pub(super) struct Same {
    height: Axis,
    width: Axis,
    /// Output channels, and how many of them read the same input channel.
    channels: usize,
    multiplier: usize,
    /// `[channel][row][column]`
    weights: Vec<f32>,
    bias: Option<Vec<f32>>,
    activation: Activation,
    residual: bool,
    /// Rows of the output that see the same rows of the kernel: from … to of either.
    stretches: Vec<[usize; 4]>,
    /// For each column of the kernel all bits or none for each column of the output, on and on for a while.
    masks: Vec<f32>,
}

impl Same {
    /// `None` where outputs do not lie as inputs do. `axes` are those of the plane, `w` the weights' shape.
    pub fn new(conv: &Conv, axes: &[Axis], w: &[usize], weights: &[f32], bias: Option<&[f32]>) -> Option<Self> {
        let &[height, width] = axes else { return None };
        let same = |axis: &Axis| axis.stride == 1 && axis.input == axis.output && axis.before < axis.input;
        if !same(&height) || !same(&width) || width.dilation != 1 || !matches!(width.kernel, 3 | 5 | 7) {
            return None;
        }
        let mut stretches: Vec<[usize; 4]> = vec![];
        for row in 0..height.output {
            let taps = height.taps(row);
            match stretches.last_mut() {
                Some(last) if last[2..] == [taps.start, taps.end] => last[1] = row + 1,
                _ => stretches.push([row, row + 1, taps.start, taps.end]),
            }
        }
        let bits = |inside: bool| f32::from_bits(if inside { u32::MAX } else { 0 });
        let inside = |tap: usize, column: usize| width.taps(column % width.output).contains(&tap);
        let masks = (0..width.kernel).flat_map(|x| (0..width.output + BEYOND).map(move |i| bits(inside(x, i))));
        Some(Self {
            height,
            width,
            channels: w[0],
            multiplier: w[0] / conv.groups(),
            weights: weights.to_vec(),
            bias: bias.map(<[f32]>::to_vec),
            activation: conv.activation,
            residual: conv.residual,
            stretches,
            masks: masks.collect(),
        })
    }
}

impl Kernel for Same {
    fn products(&self) -> usize {
        2 * self.height.kernel * self.width.kernel
    }

    fn holds(&self) -> &[usize] {
        &[1, 2]
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let x = job.inputs.tensor(0)?.as_slice::<f32>()?;
        let residual = if self.residual { Some(job.inputs.tensor(RESIDUAL)?.as_slice::<f32>()?) } else { None };
        let y = job.y.as_mut_slice::<f32>()?;
        let plane = self.height.input * self.width.input;
        let planes = y.len() / plane;
        let step = tasks::planes(job.threads, planes, y.len() * self.height.kernel * self.width.kernel);
        let work: Vec<_> = y.chunks_mut(step * plane).enumerate().collect();
        tasks::each(job.threads, work, |(i, y)| {
            let first = i * step;
            let residual = residual.map(|residual| &residual[first * plane..][..y.len()]);
            job.scratch.with(plane + 2 * BEYOND, |copy| {
                dispatch(Planes { same: self, x, y, first, residual, copy });
            });
        });
        Ok(())
    }
}

/// Some planes of the output.
struct Planes<'a> {
    same: &'a Same,
    x: &'a [f32],
    y: &'a mut [f32],
    first: usize,
    residual: Option<&'a [f32]>,
    /// The first and the last plane are copied, so that there is something beyond their ends.
    copy: &'a mut [f32],
}

impl WithSimd for Planes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { same, x, y, first, residual, copy } = self;
        let size = same.height.input * same.width.input;
        for begin in (0..y.len()).step_by(size) {
            let plane = first + begin / size;
            let channel = plane % same.channels;
            let source = plane / same.channels * (same.channels / same.multiplier) + channel / same.multiplier;
            let at = source * size;
            let (x, at) = if at >= BEYOND && x.len() - at >= size + BEYOND {
                (x, at)
            } else {
                copy[BEYOND..][..size].copy_from_slice(&x[at..][..size]);
                (&*copy, BEYOND)
            };
            let (residual, y) = (residual.map(|residual| &residual[begin..]), &mut y[begin..]);
            // As many sums as there are registers for.
            match same.width.kernel {
                3 => same.plane::<S, 3, 4>(simd, x, at, channel, residual, y),
                5 => same.plane::<S, 5, 2>(simd, x, at, channel, residual, y),
                _ => same.plane::<S, 7, 1>(simd, x, at, channel, residual, y),
            }
        }
    }
}

impl Same {
    /// The plane of the output at the beginning of `y` from that of the input at `at`, for kernels of `K` columns and
    /// `WIDE` vectors at a time.
    #[inline(always)]
    fn plane<S: Simd, const K: usize, const WIDE: usize>(
        &self,
        simd: S,
        x: &[f32],
        at: usize,
        channel: usize,
        residual: Option<&[f32]>,
        y: &mut [f32],
    ) {
        let (width, tall) = (self.width.output, self.height.kernel);
        let (weights, _) = self.weights[channel * tall * K..][..tall * K].as_chunks::<K>();
        let bias = self.bias.as_ref().map_or(0.0, |bias| bias[channel]);
        for &[first, end, top, bottom] in &self.stretches {
            // Where the first window of the stretch begins.
            let row = if top < bottom { first + top * self.height.dilation - self.height.before } else { 0 };
            let x = &x[at + row * width - self.width.before..];
            let (mut done, mut column, length) = (0, 0, (end - first) * width);
            while done < length {
                let source = Source { x: &x[done..], weights: &weights[top..bottom], bias, column };
                let to = first * width + done;
                let (y, residual) = (&mut y[to..], residual.map(|residual| &residual[to..]));
                let vectors = (length - done).div_ceil(S::F32_LANES);
                let count = if vectors >= WIDE {
                    self.vectors::<S, K, WIDE>(simd, source, residual, y)
                } else if vectors >= 2 {
                    self.vectors::<S, K, 2>(simd, source, residual, y)
                } else {
                    self.vectors::<S, K, 1>(simd, source, residual, y)
                };
                done += count * S::F32_LANES;
                column += count * S::F32_LANES;
                while column >= width {
                    column -= width;
                }
            }
        }
    }

    /// `N` vectors of outputs; the number of them.
    #[inline(always)]
    fn vectors<S: Simd, const K: usize, const N: usize>(
        &self,
        simd: S,
        source: Source<'_, K>,
        residual: Option<&[f32]>,
        y: &mut [f32],
    ) -> usize {
        let Source { x, weights, bias, column } = source;
        // The sums of each column of the kernel.
        let mut own = [[simd.splat_f32s(0.0); N]; K];
        let mut begin = 0;
        for weights in weights {
            // What all columns see is looked up once.
            let x = &x[begin..][..N * S::F32_LANES + K - 1];
            for tap in 0..K {
                let weight = simd.splat_f32s(weights[tap]);
                for j in 0..N {
                    let x = load(simd, &x[tap + j * S::F32_LANES..][..S::F32_LANES]);
                    own[tap][j] = simd.mul_add_e_f32s(x, weight, own[tap][j]);
                }
            }
            begin += self.height.dilation * self.width.input;
        }
        let mut sums = [simd.splat_f32s(bias); N];
        for (tap, own) in own.iter().enumerate() {
            let masks = &self.masks[tap * (self.width.output + BEYOND) + column..][..N * S::F32_LANES];
            for j in 0..N {
                let mask = load(simd, &masks[j * S::F32_LANES..][..S::F32_LANES]);
                sums[j] = simd.add_f32s(sums[j], simd.and_f32s(own[j], mask));
            }
        }
        if let Some(residual) = residual {
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = simd.add_f32s(*sum, load(simd, residual.get(j * S::F32_LANES..).unwrap_or(&[])));
            }
        }
        activate_vectors(simd, &mut sums, self.activation);
        match S::as_mut_simd_f32s(y).0.as_chunks_mut::<N>().0 {
            [whole, ..] => *whole = sums,
            [] => y.chunks_mut(S::F32_LANES).zip(sums).for_each(|(y, sum)| store(simd, y, sum)),
        }
        N
    }
}

/// What some vectors of outputs are made of.
struct Source<'a, const K: usize> {
    /// The input from where the first one's window begins.
    x: &'a [f32],
    /// The kernel's rows that lie inside.
    weights: &'a [[f32; K]],
    bias: f32,
    /// The first one's column.
    column: usize,
}
