//! Winograd's F(4×4, 3×3): a 3×3 convolution that moves by one pixel, with 36 products for 4×4 pixels where the direct way
//! takes 144.
//!
//! The 6×6 pixels d that a tile of 4×4 pixels of y sees become Bᵀ d B, the weights w of a pair of channels G w Gᵀ. At each of
//! the 36 points they are multiplied as matrices, outputs × inputs by inputs × tiles, and the products m become Aᵀ m A. The
//! points are 0, ±√½, ±√2 and ∞, which lose little to rounding. A vector holds the same of neighbouring tiles.

mod pixels;
mod points;

use pixels::Pixels;
use points::{Points, Reader};

use super::kernel::{Job, Kernel};
use super::product::Tile;
use super::simd::{Lines, dispatch};
use super::tasks;
use crate::graph::{Activation, EvaluateError};
use crate::ops::conv::{Conv, POINTS, RESIDUAL, TILE, weights_at_points};
use crate::ops::window::Axis;

/// Blocks of rows and panels of columns that are multiplied at all points before any is brought back: their products stay
/// in a second-level cache.
const BLOCKS: usize = 4;
const PANELS: usize = 2;
/// Elements between the points of a panel, so that those of one tile do not all lie in the same set of a cache.
const GAP: usize = 16;

#[derive(Debug)]
pub(super) struct Winograd {
    samples: usize,
    inputs: usize,
    outputs: usize,
    height: Axis,
    width: Axis,
    /// Tiles in a row, and in all.
    across: usize,
    tiles: usize,
    tile: Tile,
    /// The weights at the points, `[block][point][input][row]`.
    weights: Lines,
    activation: Activation,
    residual: bool,
}

impl Winograd {
    /// `None` where the direct way is as fast. `axes` are those of the plane.
    pub fn new(conv: &Conv, axes: &[Axis], x: &[usize], w: &[usize], weights: &[f32]) -> Option<Self> {
        let &[height, width] = axes else { return None };
        let fits = |axis: &Axis| axis.kernel == 3 && axis.stride == 1 && axis.dilation == 1;
        let (inputs, outputs, samples) = (w[1], w[0], x[0]);
        if conv.groups() != 1 || !fits(&height) || !fits(&width) {
            return None;
        }
        let pixels = height.output.checked_mul(width.output).filter(|&n| n < 1 << 30)?;
        let across = width.output.div_ceil(TILE);
        let tiles = across * height.output.div_ceil(TILE);
        let tile = Tile::of(outputs);
        if tile.rows == 1 {
            return None;
        }
        // In multiplications: the products, what becomes of each tile of a channel, and the weights, each byte of which
        // takes as long as two.
        let (columns, pairs) = (tiles.next_multiple_of(tile.lanes) as f64, (inputs * outputs) as f64);
        let samples_f = samples as f64;
        let own = samples_f * (36.0 * pairs * columns + columns * (250.0 * inputs as f64 + 500.0 * outputs as f64))
            + 8.0 * 36.0 * pairs;
        let direct = 9.0 * pairs * (samples_f * pixels as f64 + 8.0);
        if own * 1.25 > direct {
            return None;
        }
        let size = POINTS * inputs * tile.rows;
        let mut packed = Lines::new(outputs.div_ceil(tile.rows) * size);
        for (o, weights) in weights.chunks_exact(inputs * 9).enumerate() {
            let block = &mut packed.as_mut_slice()[o / tile.rows * size..][..size];
            for (i, weights) in weights.as_chunks::<9>().0.iter().enumerate() {
                for (point, value) in weights_at_points(weights).into_iter().enumerate() {
                    block[(point * inputs + i) * tile.rows + o % tile.rows] = value;
                }
            }
        }
        let (activation, residual) = (conv.activation, conv.residual);
        let weights = packed;
        Some(Self { samples, inputs, outputs, height, width, across, tiles, tile, weights, activation, residual })
    }

    /// Elements of a point of a panel, and of a panel.
    const fn point(&self) -> usize {
        self.inputs * self.tile.columns() + GAP
    }

    const fn panel(&self) -> usize {
        POINTS * self.point()
    }
}

impl Kernel for Winograd {
    fn products(&self) -> usize {
        self.inputs * 9 / 4
    }

    fn holds(&self) -> &[usize] {
        &[1]
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let x = job.inputs.tensor(0)?.as_slice::<f32>()?;
        let residual = if self.residual { Some(job.inputs.tensor(RESIDUAL)?.as_slice::<f32>()?) } else { None };
        let bias = job.inputs.optional(2).map(|bias| bias.as_slice::<f32>()).transpose()?;
        let Job { y, threads, scratch, .. } = job;
        let y = y.as_mut_slice::<f32>()?;
        let plane = self.height.output * self.width.output;
        let (panels, blocks) = (self.tiles.div_ceil(self.tile.columns()), self.outputs.div_ceil(self.tile.rows));
        let share = |n: usize| n.div_ceil(threads.count());
        let (of_x, of_y) = (x.len() / self.samples, y.len() / self.samples);
        for (n, (x, y)) in x.chunks_exact(of_x).zip(y.chunks_exact_mut(of_y)).enumerate() {
            let residual = residual.map(|residual| &residual[n * of_y..][..of_y]);
            scratch.with(panels * self.panel(), |v| {
                let step = share(panels);
                tasks::each(threads, v.chunks_mut(step * self.panel()).enumerate().collect(), |(i, v)| {
                    let reader = Reader::new(self, i * step, step.min(panels - i * step));
                    scratch.with(reader.scratch(), |memory| dispatch(Points { reader, x, v, memory }));
                });
                let step = share(blocks);
                let channels = step * self.tile.rows;
                let work = y.chunks_mut(channels * plane).enumerate().collect();
                tasks::each(threads, work, |(i, y)| {
                    let size = BLOCKS * PANELS * POINTS * self.tile.rows * self.tile.columns();
                    let first = i * step;
                    let (bias, residual) = (
                        bias.map(|bias| &bias[i * channels..]),
                        residual.map(|residual| &residual[i * channels * plane..]),
                    );
                    scratch.with(size, |m| dispatch(Pixels { winograd: self, v, y, first, bias, residual, m }));
                });
            });
        }
        Ok(())
    }
}

/// A row of what is held by columns.
#[inline(always)]
const fn row<V: Copy, const N: usize>(columns: &[[V; N]; 6], r: usize) -> [V; 6] {
    [columns[0][r], columns[1][r], columns[2][r], columns[3][r], columns[4][r], columns[5][r]]
}
