//! Convolutions as matrix products: weights times the inputs that each output position sees.
//!
//! The inputs of a few hundred kilobytes' worth of positions at a time are brought into panels (`product.rs`), and all
//! output channels are computed from them while they are in the cache. The whole matrix of inputs never exists.

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::product::{Addend, Output, Tile, multiply};
use super::simd::{Lines, dispatch};
use super::tasks;
use crate::graph::{Activation, EvaluateError, Fact};
use crate::ops::conv::Conv;
use crate::ops::window::{Axis, three};

/// Elements that the panels of one task may take: about what a second-level cache holds beside the weights.
const PANELS: usize = 48 << 10;

#[derive(Debug)]
struct Convolution {
    samples: usize,
    groups: usize,
    /// Input and output channels of a group.
    inputs: usize,
    outputs: usize,
    axes: [Axis; 3],
    tile: Tile,
    /// The weights of each group, packed.
    weights: Vec<Lines>,
    bias: Option<Vec<f32>>,
    activation: Activation,
    residual: bool,
}

/// The kernel of a convolution with constant weights.
pub(super) fn kernel(conv: &Conv, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    let fact = |i: usize| inputs.get(i).copied().flatten();
    let (x, w) = (fact(0)?.concrete()?, fact(1)?);
    let weights = w.constant.as_ref()?.as_slice::<f32>().ok()?;
    let bias = match fact(2) {
        Some(bias) => Some(bias.constant.as_ref()?.as_slice::<f32>().ok()?.to_vec()),
        None => None,
    };
    let w = w.concrete()?;
    let axes = three(&conv.window.axes(&x[2..], &w[2..]).ok()?)?;
    let (y, groups) = (output.concrete()?, conv.groups());
    let (inputs, outputs) = (w[1], w[0] / groups);
    if x.contains(&0) || w.contains(&0) || inputs * groups != x[1] || y[1] != w[0] {
        return None;
    }
    let taps: usize = w[2..].iter().product();
    let tile = Tile::of(outputs);
    let pack = |group: usize| {
        let weights = &weights[group * outputs * inputs * taps..];
        tile.packed(outputs, inputs * taps, |i, k| weights[i * inputs * taps + k])
    };
    Some(Box::new(Convolution {
        samples: x[0],
        groups,
        inputs,
        outputs,
        axes,
        tile,
        weights: (0..groups).map(pack).collect(),
        bias,
        activation: conv.activation,
        residual: conv.residual,
    }))
}

impl Convolution {
    fn k(&self) -> usize {
        self.inputs * self.axes.iter().map(|axis| axis.kernel).product::<usize>()
    }

    fn positions(&self) -> usize {
        self.axes.iter().map(|axis| axis.output).product()
    }

    /// Positions that one task takes: whole panels, as many as the cache holds, fewer where threads would stand idle.
    fn step(&self, threads: usize) -> usize {
        let panel = self.tile.columns();
        let cached = (PANELS / self.k()).max(panel) / panel;
        let panels = self.positions().div_ceil(panel);
        let tasks = if threads > 1 { threads.div_ceil(self.samples * self.groups) * 2 } else { 1 };
        cached.min(panels.div_ceil(tasks)).max(1) * panel
    }
}

impl Kernel for Convolution {
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let x = job.inputs.tensor(0)?.as_slice::<f32>()?;
        let residual = if self.residual { Some(job.inputs.tensor(3)?.as_slice::<f32>()?) } else { None };
        let y = job.y.as_mut_slice::<f32>()?;
        let (positions, k) = (self.positions(), self.k());
        let step = self.step(job.threads.count());
        let x_group = self.inputs * self.axes.iter().map(|axis| axis.input).product::<usize>();
        let panels = self.tile.packed_b(k, step.min(positions));
        // For each image and group a grid of channels and ranges of positions; a task is a column of it.
        let mut work = vec![];
        for (group, y) in y.chunks_exact_mut(self.outputs * positions).enumerate() {
            let mut columns: Vec<_> = (0..positions.div_ceil(step)).map(|_| Vec::with_capacity(self.outputs)).collect();
            for channel in y.chunks_exact_mut(positions) {
                for (column, part) in columns.iter_mut().zip(channel.chunks_mut(step)) {
                    column.push(part);
                }
            }
            work.extend(columns.into_iter().enumerate().map(|(i, rows)| (group, i * step, rows)));
        }
        tasks::each(job.threads, work, |(group, first, mut rows)| {
            let addend = residual.map(|values| Addend {
                values,
                offset: group * self.outputs * positions + first,
                row: positions,
                column: 1,
                factor: 1.0,
            });
            let channels = group % self.groups * self.outputs;
            let bias = self.bias.as_deref().map(|bias| &bias[channels..channels + self.outputs]);
            let output = Output { rows: &mut rows, scale: 1.0, bias, addend, activation: self.activation };
            let x = &x[group * x_group..][..x_group];
            job.scratch.with(panels, |panels| {
                dispatch(Task {
                    conv: self,
                    weights: self.weights[group % self.groups].as_slice(),
                    x,
                    first,
                    panels,
                    output,
                });
            });
        });
        Ok(())
    }
}

/// A range of positions of all channels of a group of an image.
struct Task<'a, 'b> {
    conv: &'a Convolution,
    weights: &'a [f32],
    x: &'a [f32],
    first: usize,
    panels: &'a mut [f32],
    output: Output<'a, 'b>,
}

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (tile, k) = (self.conv.tile, self.conv.k());
        let n = self.output.rows.first().map_or(0, |row| row.len());
        let pointwise = self.conv.axes.iter().all(Axis::is_pointwise);
        let mut done = 0;
        while done < n {
            let columns = (n - done).min(tile.columns());
            let panel = &mut self.panels[done * k..][..tile.width(columns) * k];
            if pointwise {
                gather_rows(self.x, self.conv.positions(), self.first + done, columns, tile.width(columns), panel);
            } else {
                gather_windows(self.x, self.conv, self.first + done, columns, tile.width(columns), panel);
            }
            done += columns;
        }
        multiply(simd, tile, k, self.weights, self.panels, &mut self.output);
    }
}

/// A panel of positions that see only themselves.
#[inline(always)]
fn gather_rows(x: &[f32], positions: usize, first: usize, columns: usize, width: usize, panel: &mut [f32]) {
    for (row, out) in x.chunks_exact(positions).zip(panel.chunks_exact_mut(width)) {
        let row = &row[first..first + columns];
        if columns == width {
            out.copy_from_slice(row);
        } else {
            out[..columns].copy_from_slice(row);
            out[columns..].fill(0.0);
        }
    }
}

/// A stretch of a panel: positions beside each other in one row of the output.
#[derive(Clone, Copy, Default)]
struct Stretch {
    /// Where in the panel it begins and ends.
    begin: usize,
    end: usize,
    /// Output coordinates of the first position.
    at: [usize; 3],
}

/// A panel of positions that see windows.
#[inline(always)]
fn gather_windows(x: &[f32], conv: &Convolution, first: usize, columns: usize, width: usize, panel: &mut [f32]) {
    let [depth, height, line] = &conv.axes;
    // No panel is wider than 64, so no more stretches are needed.
    let mut stretches = [Stretch::default(); 64];
    let mut count = 0;
    let mut begin = 0;
    while begin < columns && count < stretches.len() {
        let position = first + begin;
        let at =
            [position / line.output / height.output, position / line.output % height.output, position % line.output];
        let end = (begin + line.output - at[2]).min(columns);
        stretches[count] = Stretch { begin, end, at };
        count += 1;
        begin = end;
    }
    let stretches = &stretches[..count];
    let mut rows = panel.chunks_exact_mut(width);
    for plane in x.chunks_exact(depth.input * height.input * line.input) {
        for kd in 0..depth.kernel {
            for kh in 0..height.kernel {
                for kw in 0..line.kernel {
                    let Some(out) = rows.next() else { return };
                    out[columns..].fill(0.0);
                    for stretch in stretches {
                        let out = &mut out[stretch.begin..stretch.end];
                        let d = (stretch.at[0] * depth.stride + kd * depth.dilation).wrapping_sub(depth.before);
                        let h = (stretch.at[1] * height.stride + kh * height.dilation).wrapping_sub(height.before);
                        if d >= depth.input || h >= height.input {
                            out.fill(0.0);
                            continue;
                        }
                        let row = &plane[(d * height.input + h) * line.input..][..line.input];
                        // The positions whose element lies inside the row: from … to.
                        let reach = stretch.at[2] * line.stride + kw * line.dilation;
                        let missing = line.before.saturating_sub(reach);
                        let from = missing.div_ceil(line.stride).min(out.len());
                        let to = (line.input + line.before)
                            .saturating_sub(reach)
                            .div_ceil(line.stride)
                            .clamp(from, out.len());
                        out[..from].fill(0.0);
                        out[to..].fill(0.0);
                        if from == to {
                            continue;
                        }
                        let start = reach + from * line.stride - line.before;
                        if line.stride == 1 {
                            out[from..to].copy_from_slice(&row[start..start + to - from]);
                        } else {
                            for (out, x) in out[from..to].iter_mut().zip(row[start..].iter().step_by(line.stride)) {
                                *out = *x;
                            }
                        }
                    }
                }
            }
        }
    }
}
