//! Transposed convolutions: weights times inputs, and the products added up where their windows lie.
//!
//! A task computes some output channels. For some thousand products at a time, each (channel, element of the kernel) is a
//! row of a matrix product over the input channels, and the row is then added to the channel at the element's distance.

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::panels::own;
use super::product::{Output, Tile, multiply};
use super::simd::{Lines, activate_slice, dispatch};
use super::tasks;
use crate::graph::{Activation, EvaluateError, Fact};
use crate::ops::conv_transpose::ConvTranspose;
use crate::ops::window::{Axis, three};

/// Rows of a task's product, about.
const ROWS: usize = 96;

/// Products that a task keeps at a time: about what a second-level cache holds beside the weights and inputs.
const PRODUCTS: usize = 32 << 10;

/// Elements that the inputs of those may take.
const PANELS: usize = 48 << 10;

#[derive(Debug)]
struct Transposed {
    groups: usize,
    /// Input and output channels of a group.
    inputs: usize,
    outputs: usize,
    /// Output channels of a task.
    block: usize,
    axes: [Axis; 3],
    tile: Tile,
    /// The weights of each group's blocks, packed; `None` where they come with each run.
    weights: Option<Lines>,
    activation: Activation,
}

/// The kernel of a ConvTranspose.
pub(super) fn kernel(conv: &ConvTranspose, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    let fact = |i: usize| inputs.get(i).copied().flatten();
    let (x, w) = (fact(0)?.concrete()?, fact(1)?);
    let weights = w.constant.as_ref().map(|w| w.as_slice::<f32>()).transpose().ok()?;
    let (w, y, groups) = (w.concrete()?, output.concrete()?, conv.groups.max(1));
    if x.contains(&0) || w.contains(&0) || w[0] != x[1] || x[1] % groups != 0 || y[1] != w[1] * groups {
        return None;
    }
    let axes = three(&conv.axes(&x[2..], &w[2..]).ok()?)?;
    let taps = axes.iter().try_fold(1usize, |n, axis| n.checked_mul(axis.kernel)).filter(|&n| n <= 1 << 12)?;
    let block = (ROWS / taps).clamp(1, w[1]);
    let mut kernel = Transposed {
        groups,
        inputs: x[1] / groups,
        outputs: w[1],
        block,
        axes,
        tile: Tile::of(block * taps),
        weights: None,
        activation: conv.activation,
    };
    kernel.weights = weights.map(|weights| {
        let mut packed = Lines::new(kernel.packed());
        kernel.pack(weights, packed.as_mut_slice());
        packed
    });
    Some(Box::new(kernel))
}

impl Transposed {
    fn taps(&self) -> usize {
        self.axes.iter().map(|axis| axis.kernel).product()
    }

    fn x_plane(&self) -> usize {
        self.axes.iter().map(|axis| axis.input).product()
    }

    fn y_plane(&self) -> usize {
        self.axes.iter().map(|axis| axis.output).product()
    }

    /// Elements of a block's packed weights, and of all.
    fn packed_block(&self) -> usize {
        self.tile.packed_a(self.block * self.taps(), self.inputs)
    }

    fn packed(&self) -> usize {
        self.groups * self.outputs.div_ceil(self.block) * self.packed_block()
    }

    /// Packs the weights `[group, input, output, tap]`.
    fn pack(&self, weights: &[f32], packed: &mut [f32]) {
        let taps = self.taps();
        let mut blocks = packed.chunks_exact_mut(self.packed_block());
        for weights in weights.chunks_exact(self.inputs * self.outputs * taps) {
            for first in (0..self.outputs).step_by(self.block) {
                let rows = self.block.min(self.outputs - first) * taps;
                let at = |i: usize, k: usize| weights[(k * self.outputs + first) * taps + i];
                let Some(block) = blocks.next() else { return };
                self.tile.pack_a(rows, self.inputs, block, at);
            }
        }
    }

    /// Rows of the input that tasks of their own can take: all, where the windows of different rows overlap.
    fn rows(&self, tasks: usize, threads: usize) -> usize {
        let [depth, height, _] = &self.axes;
        let apart = height.stride > (height.kernel - 1) * height.dilation && height.before == 0;
        if *depth == Axis::ONE && apart && tasks < threads * 2 {
            height.input.div_ceil((threads * 2).div_ceil(tasks))
        } else {
            height.input
        }
    }

    fn run_with(&self, weights: &[f32], job: Job<'_>) -> Result<(), EvaluateError> {
        let x = job.inputs.tensor(0)?.as_slice::<f32>()?;
        let bias = job.inputs.optional(2).map(|bias| bias.as_slice::<f32>()).transpose()?;
        let y = job.y.as_mut_slice::<f32>()?;
        let [_, height, width] = &self.axes;
        let (x_plane, y_plane, taps) = (self.x_plane(), self.y_plane(), self.taps());
        let blocks = self.outputs.div_ceil(self.block);
        let planes = y.len() / y_plane;
        let tasks = planes / self.outputs * blocks;
        let rows = self.rows(tasks, job.threads.count());
        let parts = height.input.div_ceil(rows);
        let mut work = Vec::with_capacity(tasks * parts);
        for (group, y) in y.chunks_exact_mut(self.outputs * y_plane).enumerate() {
            for (block, y) in y.chunks_mut(self.block * y_plane).enumerate() {
                let first_channel = group % self.groups * self.outputs + block * self.block;
                let index = group % self.groups * blocks + block;
                let task = |first: usize| Task {
                    kernel: self,
                    x: &x[group * self.inputs * x_plane..][..self.inputs * x_plane],
                    weights: &weights[index * self.packed_block()..][..self.packed_block()],
                    bias: bias.map(|bias| &bias[first_channel..]),
                    // Where there are several parts, the depth is 1.
                    positions: if parts == 1 {
                        0..x_plane
                    } else {
                        first * width.input..(first + rows).min(height.input) * width.input
                    },
                    first_row: first * height.stride,
                    y: vec![],
                };
                let mut column: Vec<_> = (0..parts).map(|i| task(i * rows)).collect();
                for channel in y.chunks_exact_mut(y_plane) {
                    let mut rest = channel;
                    for (i, task) in column.iter_mut().enumerate() {
                        let length = if i + 1 == parts { rest.len() } else { rows * height.stride * width.output };
                        let (part, after) = rest.split_at_mut(length.min(rest.len()));
                        task.y.push(part);
                        rest = after;
                    }
                }
                work.extend(column);
            }
        }
        let panel = self.tile.columns();
        let columns = (PRODUCTS / (self.block * taps)).min(PANELS / self.inputs).max(panel) / panel * panel;
        tasks::each(job.threads, work, |task| {
            let columns = columns.min(task.positions.len().next_multiple_of(panel));
            let panels = columns * self.inputs;
            job.scratch.with(panels + columns * self.block * taps, |scratch| {
                let (panels, products) = scratch.split_at_mut(panels);
                dispatch(Run { task, columns, panels, products });
            });
        });
        Ok(())
    }
}

impl Kernel for Transposed {
    fn products(&self) -> usize {
        self.inputs * self.taps()
    }

    fn holds(&self) -> &[usize] {
        if self.weights.is_some() { &[1] } else { &[] }
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        if let Some(weights) = &self.weights {
            return self.run_with(weights.as_slice(), job);
        }
        let weights = job.inputs.tensor(1)?.as_slice::<f32>()?;
        let scratch = job.scratch;
        scratch.with(self.packed(), |packed| {
            self.pack(weights, packed);
            self.run_with(packed, job)
        })
    }
}

/// Some rows of some channels of an image.
struct Task<'a> {
    kernel: &'a Transposed,
    /// The planes of the group's inputs.
    x: &'a [f32],
    weights: &'a [f32],
    /// The channels' biases, and others behind them.
    bias: Option<&'a [f32]>,
    /// The input's positions that are spread.
    positions: std::ops::Range<usize>,
    /// The output's row at which the channels' parts begin, and the parts.
    first_row: usize,
    y: Vec<&'a mut [f32]>,
}

struct Run<'a, 'b> {
    task: Task<'a>,
    /// Positions at a time.
    columns: usize,
    panels: &'b mut [f32],
    products: &'b mut [f32],
}

impl WithSimd for Run<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { mut task, columns, panels, products } = self;
        let Transposed { inputs, tile, .. } = *task.kernel;
        let (plane, taps) = (task.kernel.x_plane(), task.kernel.taps());
        for (i, y) in task.y.iter_mut().enumerate() {
            y.fill(task.bias.map_or(0.0, |bias| bias[i]));
        }
        for first in task.positions.clone().step_by(columns) {
            let n = columns.min(task.positions.end - first);
            let mut done = 0;
            while done < n {
                let count = (n - done).min(tile.columns());
                let width = tile.width(count);
                let panel = &mut panels[done * inputs..][..width * inputs];
                own(simd, task.x, plane, first + done, width, panel);
                done += count;
            }
            let products = &mut products[..task.y.len() * taps * n];
            let mut rows: Vec<_> = products.chunks_exact_mut(n).collect();
            let activation = Activation::Identity;
            let mut output =
                Output { rows: &mut rows, scale: 1.0, bias: None, addend: None, residual: None, activation };
            multiply(simd, tile, inputs, task.weights, panels, &mut output);
            for (y, products) in task.y.iter_mut().zip(products.chunks_exact(taps * n)) {
                spread(&task.kernel.axes, first, products, task.first_row, y);
            }
        }
        for y in task.y {
            activate_slice(simd, y, task.kernel.activation);
        }
    }
}

/// Adds the products of a channel, `[tap][position]`, of the positions from `first` on.
#[inline(always)]
fn spread([d, h, w]: &[Axis; 3], first: usize, products: &[f32], first_row: usize, y: &mut [f32]) {
    let taps = d.kernel * h.kernel * w.kernel;
    let n = products.len() / taps;
    // The output's place along an axis, if it has one.
    let place = |axis: &Axis, i: usize, k: usize| {
        (i * axis.stride + k * axis.dilation).checked_sub(axis.before).filter(|&o| o < axis.output)
    };
    let mut done = 0;
    while done < n {
        let at = first + done;
        let (x, iy, iz) = (at % w.input, at / w.input % h.input, at / (w.input * h.input));
        let length = (w.input - x).min(n - done);
        for (tap, products) in products.chunks_exact(n).enumerate() {
            let (kx, ky, kz) = (tap % w.kernel, tap / w.kernel % h.kernel, tap / (w.kernel * h.kernel));
            let (Some(oz), Some(oy)) = (place(d, iz, kz), place(h, iy, ky)) else { continue };
            // The positions whose place lies inside: from … to.
            let reach = kx * w.dilation;
            let from = w.before.saturating_sub(reach).div_ceil(w.stride).max(x);
            let to = (w.output + w.before).saturating_sub(reach).div_ceil(w.stride).min(x + length);
            if from >= to {
                continue;
            }
            let products = &products[done + from - x..done + to - x];
            let row = &mut y[(oz * h.output + oy - first_row) * w.output..][..w.output];
            let row = &mut row[from * w.stride + reach - w.before..];
            match w.stride {
                1 => row.iter_mut().zip(products).for_each(|(y, p)| *y += p),
                2 => {
                    let (pairs, rest) = row.as_chunks_mut::<2>();
                    for (y, p) in pairs.iter_mut().zip(products) {
                        y[0] += p;
                    }
                    if let ([y, ..], Some(p)) = (rest, products.get(pairs.len())) {
                        *y += p;
                    }
                }
                stride => row.iter_mut().step_by(stride).zip(products).for_each(|(y, p)| *y += p),
            }
        }
        done += length;
    }
}
