//! Convolutions of integers as products of the weights and panels of what the positions of the output see.

use super::super::kernel::{Job, Kernel};
use super::super::{Scratch, Threads, tasks};
use super::pairs::{COLUMNS, Pairs, ROWS, Work, dispatch, tile};
use super::{Byte, Finish, Finished, Results, integers, pair};
use crate::graph::{EvaluateError, Fact};
use crate::ops::quantize::{Channels, IntegerConv};
use crate::ops::window::{Axis, three};
use crate::tensor::ElementType;

/// Pairs of the panels that one task holds.
const PANELS: usize = 24 << 10;

#[derive(Debug)]
struct Convolution {
    samples: usize,
    groups: usize,
    /// Channels of a group.
    inputs: usize,
    outputs: usize,
    axes: [Axis; 3],
    /// For each group and each block of rows the weights in pairs, a pair for each row.
    weights: Vec<i32>,
    channels: Channels,
}

/// The kernel, where weights and scales are known.
pub(super) fn kernel(conv: &IntegerConv, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    let x = inputs.first().copied().flatten()?.concrete()?;
    let (weights, channels) = conv.known(inputs, output)?;
    let w = weights.shape();
    let (groups, taps) = (conv.conv().groups(), w[2..].iter().product::<usize>());
    let axes = three(&conv.conv().window.axes(&x[2..], &w[2..]).ok()?)?;
    let (outputs, k) = (w[0] / groups, w[1] * taps);
    let numbers = integers(weights)?;
    let at = |row: usize, k_at: usize| {
        let there = k_at < k;
        if there { numbers[row * k + k_at] - channels.w_zeros[row] } else { 0 }
    };
    let mut packed = vec![];
    for group in 0..groups {
        for first in (0..outputs).step_by(ROWS) {
            for k_at in (0..k).step_by(2) {
                packed.extend((first..first + ROWS).map(|row| {
                    // Rows that are missing may be anything: nobody keeps what becomes of them.
                    let row = group * outputs + row.min(outputs - 1);
                    pair(at(row, k_at), at(row, k_at + 1))
                }));
            }
        }
    }
    Some(Box::new(Convolution { samples: x[0], groups, inputs: w[1], outputs, axes, weights: packed, channels }))
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
        let most = (PANELS / (self.pairs() * COLUMNS)).clamp(1, panels);
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

    fn run_on<T: Byte, U: Finished>(&self, x: &[T], y: &mut [U], threads: &Threads, scratch: &Scratch) {
        let [plane, positions] = self.planes();
        let [step, channels] = self.share(threads.count());
        let blocks = self.outputs.div_ceil(ROWS) * ROWS * self.pairs();
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
            let x = &x[group * self.inputs * plane..][..self.inputs * plane];
            let group = group % self.groups;
            let weights = &self.weights[group * blocks..][..blocks][channel * self.pairs()..];
            scratch.with(length, |panels| {
                let panels: &mut [i32] = bytemuck::cast_slice_mut(panels);
                let channel = group * self.outputs + channel;
                dispatch(Task { conv: self, x, weights, channel, first, count, panels, rows: &mut rows });
            });
        });
    }
}

impl Kernel for Convolution {
    fn products(&self) -> usize {
        self.k()
    }

    fn holds(&self) -> &[usize] {
        &[1, 2, 3, 4, 5, 6, 7, 8]
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let Job { inputs, y, threads, scratch, .. } = job;
        let x = inputs.tensor(0)?;
        match (x.element_type(), Results::of(y)?) {
            (ElementType::U8, Results::Bytes(y)) => self.run_on(x.as_slice::<u8>()?, y, threads, scratch),
            (ElementType::U8, Results::Floats(y)) => self.run_on(x.as_slice::<u8>()?, y, threads, scratch),
            (_, Results::Bytes(y)) => self.run_on(x.as_slice::<i8>()?, y, threads, scratch),
            (_, Results::Floats(y)) => self.run_on(x.as_slice::<i8>()?, y, threads, scratch),
        }
        Ok(())
    }
}

/// A range of positions of some channels of a group of an image.
struct Task<'a, 'b, T, U> {
    conv: &'a Convolution,
    x: &'a [T],
    weights: &'a [i32],
    /// The first of the channels.
    channel: usize,
    first: usize,
    count: usize,
    panels: &'a mut [i32],
    rows: &'a mut [&'b mut [U]],
}

impl<T: Byte, U: Finished> Work for Task<'_, '_, T, U> {
    #[inline(always)]
    fn run<P: Pairs>(self, pairs: P) {
        let Self { conv, x, weights, channel, first, count, panels, rows } = self;
        let (length, size) = (conv.pairs() * COLUMNS, conv.pairs() * ROWS);
        let pointwise = conv.axes.iter().all(Axis::is_pointwise);
        let plane = conv.planes()[0];
        for (i, panel) in panels.chunks_exact_mut(length.max(1)).enumerate() {
            let (first, count) = (first + i * COLUMNS, (count - i * COLUMNS).min(COLUMNS));
            match pointwise {
                true => own(x, plane, [first, count], conv.channels.x_zero, panel),
                false => windows(x, conv, [first, count], panel),
            }
        }
        let finish = Finish::of(&conv.channels);
        let mut sums = [[0; COLUMNS]; ROWS];
        for (i, (weights, rows)) in weights.chunks_exact(size.max(1)).zip(rows.chunks_mut(ROWS)).enumerate() {
            for (j, panel) in panels.chunks_exact(length.max(1)).enumerate() {
                tile(pairs, weights, panel, &mut sums);
                for (r, (row, sums)) in rows.iter_mut().zip(&sums).enumerate() {
                    let channel = channel + i * ROWS + r;
                    let (bias, factor) = (conv.channels.biases[channel], conv.channels.factors[channel]);
                    let rest = conv.channels.rests.as_ref().map_or(0.0, |rests| rests[channel]);
                    let end = row.len().min((j + 1) * COLUMNS);
                    for (y, sum) in row[j * COLUMNS..end].iter_mut().zip(sums) {
                        *y = U::of(sum.wrapping_add(bias) as f32 * factor + rest, finish);
                    }
                }
            }
        }
    }
}

/// A panel of positions that see themselves.
#[inline(always)]
fn own<T: Byte>(x: &[T], plane: usize, [first, count]: [usize; 2], zero: i32, panel: &mut [i32]) {
    let mut planes = x.chunks_exact(plane).map(|plane| &plane[first..][..count]);
    for row in panel.as_chunks_mut::<COLUMNS>().0 {
        let Some(one) = planes.next() else { return };
        match planes.next() {
            Some(other) => {
                for (to, (one, other)) in row.iter_mut().zip(one.iter().zip(other)) {
                    *to = pair(one.wide() - zero, other.wide() - zero);
                }
            }
            None => row.iter_mut().zip(one).for_each(|(to, one)| *to = pair(one.wide() - zero, 0)),
        }
    }
}

/// A panel of positions that see windows.
#[inline(always)]
fn windows<T: Byte>(x: &[T], conv: &Convolution, [first, count]: [usize; 2], panel: &mut [i32]) {
    let [d, h, w] = conv.axes;
    let plane = d.input * h.input * w.input;
    let zero = conv.channels.x_zero;
    panel.fill(0);
    let taps = (0..d.kernel).flat_map(|z| (0..h.kernel).map(move |y| (z, y)));
    let taps = taps.flat_map(|(z, y)| (0..w.kernel).map(move |x| [z, y, x]));
    let elements = x.chunks_exact(plane).flat_map(|plane| taps.clone().map(move |tap| (plane, tap)));
    for (k, (plane, [z, y, v])) in elements.enumerate() {
        let row = &mut panel[k / 2 * COLUMNS..][..COLUMNS];
        let (deep, high, wide) = (d.outputs(z), h.outputs(y), w.outputs(v));
        let mut done = 0;
        while done < count {
            // A stretch of positions in one row of the output.
            let (line, from) = ((first + done) / w.output, (first + done) % w.output);
            let length = (count - done).min(w.output - from);
            let (oz, oy) = (line / h.output, line % h.output);
            if deep.contains(&oz) && high.contains(&oy) {
                let start = (d.position(oz, z) * h.input + h.position(oy, y)) * w.input;
                let (begin, end) = (from.max(wide.start), (from + length).min(wide.end));
                if begin < end {
                    let seen = plane[start + w.position(begin, v)..].iter().step_by(w.stride);
                    for (to, seen) in row[done + begin - from..done + end - from].iter_mut().zip(seen) {
                        let seen = seen.wide() - zero;
                        *to |= if k % 2 == 0 { seen & 0xffff } else { seen << 16 };
                    }
                }
            }
            done += length;
        }
    }
}
