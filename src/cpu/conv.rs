//! Convolutions as matrix products: weights times the inputs that each output position sees.
//!
//! The inputs of a few hundred kilobytes' worth of positions at a time are brought into panels (`product.rs`), and all
//! output channels are computed from them while they are in the cache. The whole matrix of inputs never exists.

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::panels::{Copies, Panels, Seen};
use super::product::{Addend, Output, Tile, multiply};
use super::simd::{Lines, dispatch};
use super::tasks;
use super::winograd::Winograd;
use super::{Scratch, Threads};
use crate::graph::{Activation, EvaluateError, Fact};
use crate::ops::conv::{Conv, RESIDUAL};

/// Elements that the panels of one task may take: about what a second-level cache holds beside the weights.
const PANELS: usize = 48 << 10;

/// So many output channels of a task pay for bringing its inputs into panels.
const CHANNELS: usize = 48;

/// Elements of a group's weights that are too many for a second-level cache.
const WEIGHTS: usize = 256 << 10;

#[derive(Debug)]
struct Convolution {
    samples: usize,
    groups: usize,
    /// Input and output channels of a group.
    inputs: usize,
    outputs: usize,
    /// Input and output positions of a channel.
    x_plane: usize,
    y_plane: usize,
    taps: usize,
    seen: Seen,
    tile: Tile,
    /// The weights of each group, packed; `None` where they come with each run.
    weights: Option<Lines>,
    activation: Activation,
    residual: bool,
}

/// The kernel of a convolution.
pub(super) fn kernel(conv: &Conv, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    let fact = |i: usize| inputs.get(i).copied().flatten();
    let (x, w) = (fact(0)?.concrete()?, fact(1)?);
    let weights = w.constant.as_ref().map(|w| w.as_slice::<f32>()).transpose().ok()?;
    let w = w.concrete()?;
    let axes = conv.window.axes(&x[2..], &w[2..]).ok()?;
    let seen = Seen::new(&axes)?;
    let (y, groups) = (output.concrete()?, conv.groups());
    let (inputs, outputs) = (w[1], w[0] / groups);
    if x.contains(&0) || w.contains(&0) || inputs * groups != x[1] || y[1] != w[0] {
        return None;
    }
    if let Some(kernel) = weights.and_then(|weights| Winograd::new(conv, &axes, &x, &w, weights)) {
        return Some(Box::new(kernel));
    }
    let taps: usize = w[2..].iter().product();
    let mut kernel = Convolution {
        samples: x[0],
        groups,
        inputs,
        outputs,
        x_plane: x[2..].iter().product(),
        y_plane: y[2..].iter().product(),
        taps,
        seen,
        tile: Tile::of(outputs),
        weights: None,
        activation: conv.activation,
        residual: conv.residual,
    };
    kernel.weights = weights.map(|weights| {
        let mut packed = Lines::new(groups * kernel.packed());
        kernel.pack(weights, packed.as_mut_slice());
        packed
    });
    Some(Box::new(kernel))
}

impl Convolution {
    const fn k(&self) -> usize {
        self.inputs * self.taps
    }

    /// Elements of the packed weights of a group.
    const fn packed(&self) -> usize {
        self.tile.packed_a(self.outputs, self.k())
    }

    /// Packs the weights of all groups.
    fn pack(&self, weights: &[f32], packed: &mut [f32]) {
        let (outputs, k) = (self.outputs, self.k());
        for (weights, packed) in weights.chunks_exact(outputs * k).zip(packed.chunks_exact_mut(self.packed())) {
            self.tile.pack_rows_of_a(outputs, k, packed, |i| &weights[i * k..]);
        }
    }

    /// The positions and the output channels that one task takes: whole panels, as many as the cache holds, and all
    /// channels; fewer where threads would stand idle.
    fn share(&self, threads: usize) -> [usize; 2] {
        let panel = self.tile.columns();
        let panels = self.y_plane.div_ceil(panel);
        // Weights that no cache holds come from memory for each task: a few panels then share them, wherever those lie.
        let least = if self.packed() > WEIGHTS { 4 } else { 1 };
        let most = (PANELS / self.k() / panel).clamp(least.min(panels), panels);
        let work = self.outputs * self.k() * self.y_plane;
        let threads = if work > tasks::SMALL { threads.div_ceil(self.samples * self.groups) } else { 1 };
        if threads == 1 {
            return [most * panel, self.outputs];
        }
        // A few panels are not shared out evenly, channels are: threads bring the same inputs into panels then.
        let channels = self.outputs.div_ceil(threads).next_multiple_of(self.tile.rows);
        if panels < 8 * threads && channels >= CHANNELS {
            return [most * panel, channels];
        }
        // When the last task ends, by the numbers of panels of one.
        let end = |each: &usize| {
            let (tasks, rest) = (panels.div_ceil(*each), panels % each);
            let alone = tasks % threads == 1 && rest > 0;
            tasks.div_ceil(threads) * each - if alone { each - rest } else { 0 }
        };
        let most = most.min(panels.div_ceil(threads));
        let each = (panels.div_ceil(4 * threads).min(most)..=most).rev().min_by_key(end);
        [each.unwrap_or(1) * panel, self.outputs]
    }
}

/// One run's tensors beside x and y.
#[derive(Clone, Copy)]
struct Given<'a> {
    /// The packed weights of all groups.
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    residual: Option<&'a [f32]>,
}

impl Kernel for Convolution {
    fn products(&self) -> usize {
        self.k()
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
        scratch.with(self.groups * self.packed(), |packed| {
            self.pack(weights, packed);
            self.run_with(packed, job)
        })
    }
}

impl Convolution {
    fn run_with(&self, weights: &[f32], job: Job<'_>) -> Result<(), EvaluateError> {
        let x = job.inputs.tensor(0)?.as_slice::<f32>()?;
        let residual = if self.residual { Some(job.inputs.tensor(RESIDUAL)?.as_slice::<f32>()?) } else { None };
        let bias = job.inputs.optional(2).map(|bias| bias.as_slice::<f32>()).transpose()?;
        let given = Given { weights, bias, residual };
        let Job { y, threads, scratch, .. } = job;
        let y = y.as_mut_slice::<f32>()?;
        match &self.seen {
            Seen::Own | Seen::Patches(_) => self.multiply(x, self.x_plane, given, y, threads, scratch),
            Seen::Windows(windows) => {
                let size = windows.copied();
                let planes = x.len() / self.x_plane;
                // The last vectors may read beyond the last phase.
                scratch.with(planes * size + self.tile.columns(), |phases| {
                    let step = if planes * size < tasks::SMALL / 8 { planes } else { planes.div_ceil(threads.count()) };
                    let work = phases[..planes * size].chunks_mut(step * size).enumerate().collect();
                    tasks::each(threads, work, |(i, copies)| {
                        let x = &x[i * step * self.x_plane..];
                        dispatch(Copies { windows, x, x_plane: self.x_plane, copies });
                    });
                    self.multiply(phases, size, given, y, threads, scratch);
                });
            }
        }
        Ok(())
    }

    /// Multiplies the weights with planes of inputs (or their phases).
    fn multiply(
        &self,
        planes: &[f32],
        plane: usize,
        given: Given<'_>,
        y: &mut [f32],
        threads: &Threads,
        scratch: &Scratch,
    ) {
        let (positions, k) = (self.y_plane, self.k());
        let [step, channels] = self.share(threads.count());
        let panels = self.tile.packed_b(k, step.min(positions));
        // For each image and group a grid of channels and positions; a task is a rectangle of it.
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
            let addend = given.residual.map(|values| Addend {
                values,
                offset: (group * self.outputs + channel) * positions + first,
                row: positions,
                column: 1,
                factor: 1.0,
            });
            let from = group % self.groups * self.outputs + channel;
            let bias = given.bias.map(|bias| &bias[from..from + rows.len()]);
            let output =
                Output { rows: &mut rows, scale: 1.0, bias, addend, residual: None, activation: self.activation };
            let planes = &planes[group * self.inputs * plane..];
            scratch.with(panels, |panels| {
                let weights = &given.weights[group % self.groups * self.packed()..][..self.packed()][channel * k..];
                dispatch(Task { conv: self, weights, planes, plane, first, panels, output });
            });
        });
    }
}

/// A range of positions of all channels of a group of an image.
struct Task<'a, 'b> {
    conv: &'a Convolution,
    weights: &'a [f32],
    planes: &'a [f32],
    plane: usize,
    first: usize,
    panels: &'a mut [f32],
    output: Output<'a, 'b>,
}

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Convolution { seen, tile, .. } = self.conv;
        let (tile, k) = (*tile, self.conv.k());
        let count = self.output.rows.first().map_or(0, |row| row.len());
        let Self { planes, plane, first, .. } = self;
        Panels { seen, tile, planes, plane, k, first, count, panels: &mut *self.panels }.fill(simd);
        multiply(simd, tile, k, self.weights, self.panels, &mut self.output);
    }
}
