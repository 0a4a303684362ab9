//! Depthwise convolutions of integers.
//!
//! Each plane is copied with its padding, two rows as one: a pair of 16 bits holds an element of a row and the one below it,
//! so that one instruction multiplies both by the weights of two rows of the kernel. Where outputs move by several columns,
//! these lie apart, as in `windows.rs`.

use super::super::kernel::{Job, Kernel};
use super::super::{Scratch, Threads, tasks};
use super::pairs::{COLUMNS, Pairs, Work, dispatch};
use super::prepared::{Preparation, Prepared};
use super::weights::{Signed, pair};
use super::{Channel, Finish, Finished, Results, Source, bytes_of, put};
use crate::graph::{EvaluateError, Fact};
use crate::ops::quantize::IntegerConv;
use crate::ops::window::Axis;

/// Outputs of a vector.
const LANES: usize = 8;

/// Vectors of outputs that are computed side by side; so many elements behind a copy may be read.
const WIDE: usize = 4;

/// Where a pair of weights finds what it is multiplied with.
#[derive(Debug)]
struct Place {
    /// From the pair of rows where the first output's window begins.
    at: usize,
    /// The elements of the kernel that are multiplied with the upper and with the lower row.
    taps: [Option<usize>; 2],
}

#[derive(Debug)]
struct Depthwise {
    height: Axis,
    width: Axis,
    /// Pairs of rows that a plane is copied to, and elements of one of those, for each phase of the columns.
    rows: usize,
    pitch: usize,
    /// The pairs of weights, for windows that begin in the upper row of a pair and for those in the lower one.
    places: [Vec<Place>; 2],
    /// For each channel and each element of the kernel.
    weights: Vec<i8>,
    zeros: Vec<i32>,
    preparation: Preparation,
}

/// The kernel, where each channel sees its own along two axes.
pub(super) fn kernel(conv: &IntegerConv, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    let fact = inputs.first().copied().flatten()?;
    let x = fact.concrete()?;
    let (weights, zeros, ends) = conv.known(inputs, output)?;
    let &[outputs, 1, kernel_y, kernel_x] = weights.shape() else { return None };
    let axes = conv.conv().window.axes(&x[2..], &[kernel_y, kernel_x]).ok()?;
    let &[height, width] = &axes[..] else { return None };
    let reach = |axis: &Axis| {
        let window = axis.kernel.checked_sub(1)?.checked_mul(axis.dilation)?.checked_add(1)?;
        axis.output.checked_sub(1)?.checked_mul(axis.stride)?.checked_add(window)
    };
    let (rows, pitch) = (reach(&height)?.div_ceil(2), reach(&width)?.div_ceil(width.stride));
    let near = |padded: usize, axis: &Axis| padded <= 4 * (axis.input + axis.output) + 64;
    let fits = near(rows * 2, &height) && near(pitch * width.stride, &width) && kernel_y * kernel_x <= 1024;
    if conv.conv().groups() != outputs || x.get(1) != Some(&outputs) || !fits {
        return None;
    }
    let mut places: [Vec<Place>; 2] = Default::default();
    for (start, places) in places.iter_mut().enumerate() {
        for tap in 0..kernel_y * kernel_x {
            let row = start + tap / kernel_x * height.dilation;
            let column = tap % kernel_x * width.dilation;
            let at = (row / 2 * width.stride + column % width.stride) * pitch + column / width.stride;
            let known = places.iter().position(|place| place.at == at);
            let index = known.unwrap_or_else(|| {
                places.push(Place { at, taps: [None; 2] });
                places.len() - 1
            });
            places[index].taps[row % 2] = Some(tap);
        }
    }
    let (numbers, taps) = (Signed::of(weights)?, kernel_y * kernel_x);
    let zeros: Vec<i32> = zeros.into_iter().map(|zero| numbers.zero(zero)).collect();
    let weights: Vec<i8> = (0..outputs * taps).map(|i| numbers.at(i)).collect();
    let lines = weights.chunks_exact(taps).zip(&zeros);
    let sums = lines.map(|(line, zero)| line.iter().map(|&w| i32::from(w) - zero).sum());
    let preparation = Preparation::new(ends, fact.element_type, sums.collect());
    Some(Box::new(Depthwise { height, width, rows, pitch, places, weights, zeros, preparation }))
}

impl Kernel for Depthwise {
    fn products(&self) -> usize {
        2 * self.height.kernel * self.width.kernel
    }

    fn holds(&self) -> &[usize] {
        self.preparation.held()
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let Job { inputs, y, threads, scratch, .. } = job;
        let (x, with, means) = (inputs.tensor(0)?.bytes(), self.preparation.of_run(&inputs)?, (threads, scratch));
        match Results::of(y)? {
            Results::Bytes(y) => self.run_on(x, y, &with, means),
            Results::Floats(y) => self.run_on(x, y, &with, means),
            Results::Sums(y) => self.run_on(x, y, &with, means),
        }
        Ok(())
    }
}

impl Depthwise {
    fn run_on<U: Finished>(&self, x: &[u8], y: &mut [U], with: &Prepared, (threads, scratch): (&Threads, &Scratch)) {
        let plane = self.height.output * self.width.output;
        let step = tasks::planes(threads, y.len() / plane, y.len() * self.height.kernel * self.width.kernel);
        let work: Vec<_> = y.chunks_mut(step * plane).enumerate().collect();
        let length = self.rows * self.width.stride * self.pitch + LANES * WIDE;
        scratch.with(self.width.input.div_ceil(4), |outside| {
            let outside: &mut [u8] = bytemuck::cast_slice_mut(outside);
            outside.fill(with.source.zero ^ with.source.flip);
            let outside = &outside[..self.width.input];
            tasks::each(threads, work, |(i, y)| {
                scratch.with(length, |copy| {
                    let copy = bytemuck::cast_slice_mut(copy);
                    dispatch(Planes { of: self, with, outside, x, y, first: i * step, copy });
                });
            });
        });
    }

    /// Copies a plane. Each stretch is written in whole vectors: what lies behind it is written after it.
    #[inline(always)]
    fn copy<P: Pairs>(&self, pairs: P, (x, outside): (&[u8], &[u8]), source: Source, copy: &mut [i32]) {
        let (h, w, Source { flip, zero }) = (&self.height, &self.width, source);
        let beside = pair(zero.into(), zero.into());
        let row = |row: usize| {
            let inside = row.checked_sub(h.before).filter(|&row| row < h.input);
            inside.map_or(outside, |row| &x[row * w.input..])
        };
        for i in 0..self.rows {
            let (upper, lower) = (row(2 * i), row(2 * i + 1));
            for phase in 0..w.stride {
                let copy = &mut copy[(i * w.stride + phase) * self.pitch..];
                // The columns that lie inside.
                let from = w.before.saturating_sub(phase).div_ceil(w.stride).min(self.pitch);
                let to = (w.input + w.before).saturating_sub(phase).div_ceil(w.stride).clamp(from, self.pitch);
                copy[..from].fill(beside);
                let begin = (from * w.stride + phase).saturating_sub(w.before);
                for at in (from..to).step_by(COLUMNS) {
                    let place = begin + (at - from) * w.stride;
                    let (upper, lower, out) = (&upper[place..], &lower[place..], &mut copy[at..][..COLUMNS]);
                    let [low, high] = match w.stride {
                        1 => pairs.join(&bytes_of(upper, flip), &bytes_of(lower, flip)),
                        2 => pairs.join_even(&bytes_of(upper, flip), &bytes_of(lower, flip)),
                        stride => pairs.join(&picked(upper, stride, flip), &picked(lower, stride, flip)),
                    };
                    pairs.store(low, out);
                    pairs.store(high, &mut out[P::LANES..]);
                }
                copy[to..self.pitch].fill(beside);
            }
        }
    }
}

/// Every `stride`-th byte, as far as there are any.
#[inline(always)]
fn picked(row: &[u8], stride: usize, flip: u8) -> [u8; COLUMNS] {
    let mut picked = [0; COLUMNS];
    picked.iter_mut().zip(row.iter().step_by(stride)).for_each(|(to, v)| *to = v ^ flip);
    picked
}

/// Some planes of the output.
struct Planes<'a, U> {
    of: &'a Depthwise,
    with: &'a Prepared,
    /// A row that lies above or below the plane.
    outside: &'a [u8],
    x: &'a [u8],
    y: &'a mut [U],
    first: usize,
    copy: &'a mut [i32],
}

impl<U: Finished> Work for Planes<'_, U> {
    #[inline(always)]
    fn run<P: Pairs>(self, pairs: P) {
        let Self { of, with: Prepared { source, channels }, outside, x, y, first, copy } = self;
        let (h, w) = (of.height, of.width);
        copy.fill(0);
        let (taps, finish) = (h.kernel * w.kernel, Finish::of(channels));
        let (size, plane) = (h.input * w.input, h.output * w.output);
        let mut weights = of.places.each_ref().map(|places| vec![0; places.len()]);
        for begin in (0..y.len()).step_by(plane) {
            let index = first + begin / plane;
            of.copy(pairs, (&x[index * size..][..size], outside), *source, copy);
            let index = index % of.zeros.len();
            let channel = Channel::of(channels, index);
            let own = &of.weights[index * taps..][..taps];
            for (weights, places) in weights.iter_mut().zip(&of.places) {
                for (weight, place) in weights.iter_mut().zip(places) {
                    let [upper, lower] =
                        place.taps.map(|tap| tap.map_or(0, |tap| i32::from(own[tap]) - of.zeros[index]));
                    *weight = pair(upper, lower);
                }
            }
            for oy in 0..h.output {
                let start = oy * h.stride;
                let row = Row {
                    copy: &copy[start / 2 * w.stride * of.pitch..],
                    places: &of.places[start % 2],
                    weights: &weights[start % 2],
                    channel,
                    finish,
                };
                let mut ox = 0;
                while ox < w.output {
                    // What is written beyond a row is written over by the next.
                    let y = &mut y[begin + oy * w.output + ox..];
                    ox += match w.output - ox {
                        ..=8 => row.vectors::<P, U, 1>(pairs, ox, y),
                        9..=16 => row.vectors::<P, U, 2>(pairs, ox, y),
                        _ => row.vectors::<P, U, WIDE>(pairs, ox, y),
                    };
                }
            }
        }
    }
}

/// A row of the output.
struct Row<'a> {
    /// From the pair of rows on where its windows begin.
    copy: &'a [i32],
    places: &'a [Place],
    weights: &'a [i32],
    channel: Channel,
    finish: Finish,
}

impl Row<'_> {
    /// `N` vectors of outputs; how many outputs these are.
    #[inline(always)]
    fn vectors<P: Pairs, U: Finished, const N: usize>(&self, pairs: P, ox: usize, y: &mut [U]) -> usize {
        let mut sums = [pairs.splat(0); N];
        for (place, &weight) in self.places.iter().zip(self.weights) {
            let x = &self.copy[place.at + ox..][..N * LANES];
            let weight = pairs.splat(weight);
            for (sum, x) in sums.iter_mut().zip(x.as_chunks::<LANES>().0) {
                *sum = pairs.add_products(*sum, pairs.load(x), weight);
            }
        }
        for (i, sums) in sums.chunks(2).enumerate() {
            let results = U::all(pairs, [sums[0], sums[sums.len() - 1]], self.channel, self.finish);
            if let Some(y) = y.get_mut(i * COLUMNS..) {
                put(y, &results);
            }
        }
        N * LANES
    }
}
