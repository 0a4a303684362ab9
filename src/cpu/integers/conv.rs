//! Convolutions of integers as products of the weights and panels of what the positions of the output see.

use super::super::kernel::{Job, Kernel};
use super::super::{Scratch, Threads, tasks};
use super::pairs::{COLUMNS, Pairs, ROWS, Work, dispatch, tile};
use super::panels::{self, Seen};
use super::prepared::{Preparation, Prepared};
use super::weights::{Signed, Weights};
use super::{Channel, Finish, Finished, Results, Source, put};
use crate::graph::{EvaluateError, Fact};
use crate::ops::quantize::IntegerConv;
use crate::ops::window::{Axis, three};

/// Pairs of the panels that one task holds.
const PANELS: usize = 24 << 10;

/// Panels that one task holds at least, if there are so many.
const LEAST: usize = 4;

#[derive(Debug)]
struct Convolution {
    samples: usize,
    groups: usize,
    /// Channels of a group.
    inputs: usize,
    outputs: usize,
    axes: [Axis; 3],
    seen: Seen,
    weights: Weights<ROWS>,
    preparation: Preparation,
}

/// The kernel, where weights are known.
pub(super) fn kernel(conv: &IntegerConv, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    let fact = inputs.first().copied().flatten()?;
    let x = fact.concrete()?;
    let (weights, zeros, ends) = conv.known(inputs, output)?;
    let w = weights.shape();
    let (groups, taps) = (conv.conv().groups(), w[2..].iter().product::<usize>());
    let axes = three(&conv.conv().window.axes(&x[2..], &w[2..]).ok()?)?;
    let (outputs, k) = (w[0] / groups, w[1] * taps);
    let numbers = Signed::of(weights)?;
    let zeros: Vec<i32> = zeros.into_iter().map(|zero| numbers.zero(zero)).collect();
    let sum =
        |row: usize| (0..k).fold(0i32, |sum, i| sum.wrapping_add(i32::from(numbers.at(row * k + i)) - zeros[row]));
    let preparation = Preparation::new(ends, fact.element_type, (0..w[0]).map(sum).collect());
    let weights = Weights::new(groups, outputs, k, &zeros, |row, i| numbers.at(row * k + i));
    let seen = Seen::new(axes, w[1]);
    let (samples, inputs) = (x[0], w[1]);
    Some(Box::new(Convolution { samples, groups, inputs, outputs, axes, seen, weights, preparation }))
}

impl Convolution {
    fn k(&self) -> usize {
        self.inputs * self.axes.iter().map(|axis| axis.kernel).product::<usize>()
    }

    fn pairs(&self) -> usize {
        self.k().div_ceil(2)
    }

    /// Inputs and outputs of a plane.
    fn planes(&self) -> [usize; 2] {
        let size = |of: fn(&Axis) -> usize| self.axes.iter().map(of).product();
        [size(|axis| axis.input), size(|axis| axis.output)]
    }

    /// The positions and the output channels of a task.
    fn share(&self, threads: usize) -> [usize; 2] {
        let [_, positions] = self.planes();
        let panels = positions.div_ceil(COLUMNS);
        // Weights are widened for each task: a few panels share them, wherever those lie.
        let most = (PANELS / (self.pairs() * COLUMNS)).max(LEAST).min(panels);
        let most = panels.div_ceil(panels.div_ceil(most));
        let work = self.outputs * self.k() * positions;
        let threads = if work > tasks::SMALL { threads.div_ceil(self.samples * self.groups) } else { 1 };
        if threads == 1 {
            return [most * COLUMNS, self.outputs];
        }
        if panels < 8 * threads && self.outputs >= 2 * ROWS * threads {
            return [most * COLUMNS, self.outputs.div_ceil(threads).next_multiple_of(ROWS)];
        }
        [most.min(panels.div_ceil(2 * threads)) * COLUMNS, self.outputs]
    }

    fn run_on<U: Finished>(&self, x: &[u8], y: &mut [U], with: &Prepared, (threads, scratch): (&Threads, &Scratch)) {
        let Seen::Windows(windows, _) = &self.seen else { return self.multiply(x, y, with, (threads, scratch)) };
        let [plane, _] = self.planes();
        let (planes, size) = (x.len() / plane, windows.copied());
        // The last rows may be read beyond the last copy.
        let length = planes * size + COLUMNS;
        scratch.with(length.div_ceil(4), |copies| {
            let copies: &mut [u8] = bytemuck::cast_slice_mut(copies);
            let step = if planes * size < tasks::SMALL { planes } else { planes.div_ceil(threads.count()) };
            let work = copies[..planes * size].chunks_mut(step * size).enumerate().collect();
            tasks::each(threads, work, |(i, copies)| {
                dispatch(Copies { conv: self, source: with.source, x: &x[i * step * plane..], plane, size, copies });
            });
            self.multiply(copies, y, with, (threads, scratch));
        });
    }

    /// Multiplies the weights with planes of inputs, or their copies.
    fn multiply<U: Finished>(&self, x: &[u8], y: &mut [U], with: &Prepared, (threads, scratch): (&Threads, &Scratch)) {
        let [plane, positions] = self.planes();
        let plane = if let Seen::Windows(windows, _) = &self.seen { windows.copied() } else { plane };
        let [step, channels] = self.share(threads.count());
        let mut work = vec![];
        for (group, y) in y.chunks_exact_mut(self.outputs * positions).enumerate() {
            for (i, y) in y.chunks_mut(channels * positions).enumerate() {
                let mut parts: Vec<_> = (0..positions.div_ceil(step)).map(|_| Vec::with_capacity(channels)).collect();
                for channel in y.chunks_exact_mut(positions) {
                    for (rows, part) in parts.iter_mut().zip(channel.chunks_mut(step)) {
                        rows.push(part);
                    }
                }
                work.extend(parts.into_iter().enumerate().map(|(j, rows)| (group, i * channels, j * step, rows)));
            }
        }
        tasks::each(threads, work, |(group, channel, first, mut rows)| {
            let count = rows.first().map_or(0, |row| row.len());
            let length = count.div_ceil(COLUMNS) * COLUMNS * self.pairs();
            // Copies are followed by what the last rows may read.
            let x = &x[group * self.inputs * plane..];
            let x = if matches!(self.seen, Seen::Windows(..)) { x } else { &x[..self.inputs * plane] };
            let group = group % self.groups;
            scratch.with(length + ROWS * self.pairs(), |memory| {
                let (weights, panels) = bytemuck::cast_slice_mut(memory).split_at_mut(ROWS * self.pairs());
                let channel = [group, channel];
                dispatch(Task { conv: self, with, x, plane, weights, channel, first, count, panels, rows: &mut rows });
            });
        });
    }
}

impl Kernel for Convolution {
    fn products(&self) -> usize {
        self.k()
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

/// Some planes to be copied with their padding.
struct Copies<'a> {
    conv: &'a Convolution,
    source: Source,
    x: &'a [u8],
    plane: usize,
    size: usize,
    copies: &'a mut [u8],
}

impl Work for Copies<'_> {
    #[inline(always)]
    fn run<P: Pairs>(self, _: P) {
        let Source { flip, zero } = self.source;
        if let Seen::Windows(windows, _) = &self.conv.seen {
            for (x, copy) in self.x.chunks_exact(self.plane).zip(self.copies.chunks_exact_mut(self.size)) {
                windows.copy_bytes(x, flip, zero, copy);
            }
        }
    }
}

/// A range of positions of some channels of a group of an image.
struct Task<'a, 'b, U> {
    conv: &'a Convolution,
    with: &'a Prepared,
    /// The planes of the group, or their copies.
    x: &'a [u8],
    plane: usize,
    /// Memory for a block of weights.
    weights: &'a mut [i32],
    /// The group, and the first of the channels in it.
    channel: [usize; 2],
    first: usize,
    count: usize,
    panels: &'a mut [i32],
    rows: &'a mut [&'b mut [U]],
}

impl<U: Finished> Work for Task<'_, '_, U> {
    #[inline(always)]
    fn run<P: Pairs>(self, pairs: P) {
        let Self {
            conv,
            with: Prepared { source, channels },
            x,
            plane,
            weights,
            channel: [group, channel],
            first,
            count,
            panels,
            rows,
        } = self;
        let length = (conv.pairs() * COLUMNS).max(1);
        for (i, panel) in panels.chunks_exact_mut(length).enumerate() {
            let at = [first + i * COLUMNS, (count - i * COLUMNS).min(COLUMNS)];
            match &conv.seen {
                Seen::Own => panels::own(pairs, x, plane, at[0], *source, panel),
                Seen::Windows(windows, places) => panels::windows(pairs, x, windows, places, at, panel),
                Seen::Any(axes) => panels::any(pairs, x, *axes, at, *source, panel),
            }
        }
        let finish = Finish::of(channels);
        let block = group * conv.outputs.div_ceil(ROWS) + channel / ROWS;
        for (i, rows) in rows.chunks_mut(ROWS).enumerate() {
            conv.weights.widen(pairs, block + i, weights);
            let first = group * conv.outputs + channel + i * ROWS;
            for (j, panel) in panels.chunks_exact(length).enumerate() {
                let sums = tile(pairs, weights, panel);
                for (r, (row, sums)) in rows.iter_mut().zip(sums).enumerate() {
                    let results = U::all(pairs, sums, Channel::of(channels, first + r), finish);
                    put(&mut row[j * COLUMNS..], &results);
                }
            }
        }
    }
}
