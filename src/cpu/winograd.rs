//! Winograd's F(4×4, 3×3): a 3×3 convolution that moves by one pixel, with 36 products for 4×4 pixels where the direct way
//! takes 144.
//!
//! The 6×6 pixels d that a tile of 4×4 pixels of y sees become Bᵀ d B, the weights w of a pair of channels G w Gᵀ. At each of
//! the 36 points they are multiplied as matrices, outputs × inputs by inputs × tiles, and the products m become Aᵀ m A. The
//! points are 0, ±√½, ±√2 and ∞, which lose little to rounding. A vector holds the same of neighbouring tiles.

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::product::{Tile, sums};
use super::simd::{Lines, activate, dispatch, load, store};
use super::tasks;
use crate::graph::{Activation, EvaluateError};
use crate::ops::conv::{Conv, POINTS, TILE, weights_at_points};
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
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let x = job.inputs.tensor(0)?.as_slice::<f32>()?;
        let residual = if self.residual { Some(job.inputs.tensor(3)?.as_slice::<f32>()?) } else { None };
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

/// Reads the pixels that some panels' tiles see.
#[derive(Debug, Clone, Copy)]
struct Reader<'a> {
    winograd: &'a Winograd,
    /// The first tile, and the row of tiles that it lies in.
    first: usize,
    top: usize,
    /// Rows of tiles, and one more for what the last ones see below them.
    rows: usize,
}

impl<'a> Reader<'a> {
    fn new(winograd: &'a Winograd, panel: usize, panels: usize) -> Self {
        let columns = winograd.tile.columns();
        let (first, end) = (panel * columns, ((panel + panels) * columns).min(winograd.tiles));
        let top = first / winograd.across;
        Self { winograd, first, top, rows: (end - 1) / winograd.across - top + 2 }
    }

    /// Elements of a row of pixels: four for each tile, and the two that the last one sees beside it.
    const fn row(&self) -> usize {
        (TILE * self.winograd.across + 2).next_multiple_of(16)
    }

    /// Elements of a part: pixels that have the same place in a tile.
    const fn part(&self) -> usize {
        self.rows * self.winograd.across
    }

    /// Elements of a row and of all parts, of which vectors may read a little more.
    const fn scratch(&self) -> usize {
        self.row() + 4 * 6 * self.part() + self.winograd.across + self.winograd.tile.columns()
    }

    /// Splits a plane into parts, `[row of a tile][column of what a tile sees][tile]`.
    #[inline(always)]
    fn split(&self, x: &[f32], row: &mut [f32], parts: &mut [f32]) {
        let Winograd { height, width, across, .. } = self.winograd;
        let (from, to) = (width.before.min(row.len()), (width.before + width.input).min(row.len()));
        row.fill(0.0);
        for i in 0..self.rows * TILE - 2 {
            let source = (self.top * TILE + i).wrapping_sub(height.before);
            let at = i % TILE * 6 * self.part() + i / TILE * across;
            if source >= height.input {
                for c in 0..6 {
                    parts[at + c * self.part()..][..*across].fill(0.0);
                }
                continue;
            }
            row[from..to].copy_from_slice(&x[source * width.input..][..to - from]);
            let (quads, _) = row.as_chunks::<TILE>();
            for c in 0..TILE {
                let part = &mut parts[at + c * self.part()..][..*across];
                part.iter_mut().zip(quads).for_each(|(to, quad)| *to = quad[c]);
            }
            for c in 0..2 {
                // The next tile's first two, too.
                let part = &mut parts[at + (TILE + c) * self.part()..][..*across];
                part.iter_mut().enumerate().for_each(|(t, to)| *to = row[(t + 1) * TILE + c]);
            }
        }
    }
}

/// Brings tiles to the points, for all channels.
struct Points<'a> {
    reader: Reader<'a>,
    x: &'a [f32],
    v: &'a mut [f32],
    memory: &'a mut [f32],
}

impl WithSimd for Points<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { reader, x, v, memory } = self;
        let Reader { winograd, first, top, .. } = reader;
        let &Winograd { inputs, height, width, across, tiles, tile, .. } = winograd;
        let (pixels, parts) = memory.split_at_mut(reader.row());
        for (channel, x) in x.chunks_exact(height.input * width.input).enumerate().take(inputs) {
            reader.split(x, pixels, parts);
            for (i, panel) in v.chunks_mut(winograd.panel()).enumerate() {
                let begin = first + i * tile.columns();
                let wide = tile.width((tiles - begin).min(tile.columns()));
                for j in (0..wide).step_by(S::F32_LANES) {
                    let at = begin + j - top * across;
                    let mut seen = [[simd.splat_f32s(0.0); 6]; 6];
                    for (c, seen) in seen.iter_mut().enumerate() {
                        let mut d = *seen;
                        for (r, d) in d.iter_mut().enumerate() {
                            let part = (r % TILE * 6 + c) * reader.part() + r / TILE * across;
                            *d = load(simd, &parts[part + at..][..S::F32_LANES]);
                        }
                        *seen = points(simd, d);
                    }
                    for r in 0..6 {
                        for (c, value) in points(simd, row(&seen, r)).into_iter().enumerate() {
                            let to = (r * 6 + c) * winograd.point() + channel * wide + j;
                            store(simd, &mut panel[to..][..S::F32_LANES], value);
                        }
                    }
                }
            }
        }
    }
}

/// A row of what is held by columns.
#[inline(always)]
const fn row<V: Copy, const N: usize>(columns: &[[V; N]; 6], r: usize) -> [V; 6] {
    [columns[0][r], columns[1][r], columns[2][r], columns[3][r], columns[4][r], columns[5][r]]
}

/// Bᵀ times a column.
#[inline(always)]
fn points<S: Simd>(simd: S, d: [S::f32s; 6]) -> [S::f32s; 6] {
    use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};
    let factor = |v: f32| simd.splat_f32s(v);
    let scaled = |a: S::f32s, v: f32, b: S::f32s| simd.mul_add_e_f32s(a, factor(v), b);
    let even = [scaled(d[2], -2.0, d[4]), scaled(d[2], -0.5, d[4])];
    let odd = [
        scaled(d[3], FRAC_1_SQRT_2, simd.mul_f32s(d[1], factor(-SQRT_2))),
        scaled(d[3], SQRT_2, simd.mul_f32s(d[1], factor(-FRAC_1_SQRT_2))),
    ];
    [
        scaled(d[2], -2.5, simd.add_f32s(d[0], d[4])),
        simd.add_f32s(even[0], odd[0]),
        simd.sub_f32s(even[0], odd[0]),
        simd.add_f32s(even[1], odd[1]),
        simd.sub_f32s(even[1], odd[1]),
        scaled(d[3], -2.5, simd.add_f32s(d[1], d[5])),
    ]
}

/// Aᵀ times a column.
#[inline(always)]
fn pixels<S: Simd>(simd: S, m: [S::f32s; 6]) -> [S::f32s; 4] {
    use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};
    let factor = |v: f32| simd.splat_f32s(v);
    let scaled = |a: S::f32s, v: f32, b: S::f32s| simd.mul_add_e_f32s(a, factor(v), b);
    let sum = [simd.add_f32s(m[1], m[2]), simd.add_f32s(m[3], m[4])];
    let difference = [simd.sub_f32s(m[1], m[2]), simd.sub_f32s(m[3], m[4])];
    [
        simd.add_f32s(m[0], simd.add_f32s(sum[0], sum[1])),
        scaled(difference[0], FRAC_1_SQRT_2, simd.mul_f32s(difference[1], factor(SQRT_2))),
        scaled(sum[0], 0.5, simd.mul_f32s(sum[1], factor(2.0))),
        scaled(difference[0], 0.5 * FRAC_1_SQRT_2, scaled(difference[1], 2.0 * SQRT_2, m[5])),
    ]
}

/// Multiplies at the points and brings the products back, for some blocks of channels.
struct Pixels<'a> {
    winograd: &'a Winograd,
    v: &'a [f32],
    y: &'a mut [f32],
    /// The first block; bias and residual begin with it.
    first: usize,
    bias: Option<&'a [f32]>,
    residual: Option<&'a [f32]>,
    m: &'a mut [f32],
}

impl WithSimd for Pixels<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // See `product::multiply`.
        if S::F32_LANES == 16 { self.all::<S, 12, 2>(simd) } else { self.all::<S, 6, 2>(simd) }
    }
}

impl Pixels<'_> {
    #[inline(always)]
    fn all<S: Simd, const ROWS: usize, const VECTORS: usize>(&mut self, simd: S) {
        let &Winograd { height, width, tiles, tile, .. } = self.winograd;
        let plane = height.output * width.output;
        let (channels, panels) = (self.y.len() / plane, tiles.div_ceil(tile.columns()));
        for panel in (0..panels).step_by(PANELS) {
            for block in (0..channels.div_ceil(ROWS)).step_by(BLOCKS) {
                let blocks = block..(block + BLOCKS).min(channels.div_ceil(ROWS));
                let panels = panel..(panel + PANELS).min(panels);
                for point in 0..POINTS {
                    for panel in panels.clone() {
                        let columns = (tiles - panel * tile.columns()).min(tile.columns());
                        for block in blocks.clone() {
                            let slot = (block % BLOCKS * PANELS + panel % PANELS) * POINTS + point;
                            if columns <= S::F32_LANES {
                                self.multiply::<S, ROWS, 1>(simd, point, panel, block, slot);
                            } else {
                                self.multiply::<S, ROWS, VECTORS>(simd, point, panel, block, slot);
                            }
                        }
                    }
                }
                for channel in blocks.start * ROWS..(blocks.end * ROWS).min(channels) {
                    for panel in panels.clone() {
                        for j in 0..VECTORS {
                            let first = panel * tile.columns() + j * S::F32_LANES;
                            if first < tiles {
                                let slot = (channel / ROWS % BLOCKS * PANELS + panel % PANELS) * POINTS;
                                let from = (slot * ROWS + channel % ROWS) * VECTORS + j;
                                self.bring_back(simd, from, ROWS * VECTORS, channel, first);
                            }
                        }
                    }
                }
            }
        }
    }

    /// The products of a block and a panel at a point.
    #[inline(always)]
    fn multiply<S: Simd, const ROWS: usize, const WIDE: usize>(
        &mut self,
        simd: S,
        point: usize,
        panel: usize,
        block: usize,
        slot: usize,
    ) {
        let Winograd { inputs, tile, weights, .. } = self.winograd;
        let a = &weights.as_slice()[((self.first + block) * POINTS + point) * inputs * ROWS..][..inputs * ROWS];
        let b = &self.v[panel * self.winograd.panel() + point * self.winograd.point()..];
        let sums = sums::<S, ROWS, WIDE>(simd, a, &b[..inputs * WIDE * S::F32_LANES]);
        let to = &mut self.m[slot * ROWS * tile.columns()..][..ROWS * tile.columns()];
        for (to, sums) in to.chunks_exact_mut(tile.columns()).zip(sums) {
            for (to, sum) in to.chunks_exact_mut(S::F32_LANES).zip(sums) {
                store(simd, to, sum);
            }
        }
    }

    /// The pixels of a vector of tiles of a channel, out of products that are `step` vectors apart.
    #[inline(always)]
    fn bring_back<S: Simd>(&mut self, simd: S, from: usize, step: usize, channel: usize, first: usize) {
        let &Winograd { height, width, across, tiles, activation, .. } = self.winograd;
        let m = S::as_simd_f32s(self.m).0;
        let mut along = [[simd.splat_f32s(0.0); 4]; 6];
        for (c, along) in along.iter_mut().enumerate() {
            let at = |r: usize| m[from + (r * 6 + c) * step];
            *along = pixels(simd, [at(0), at(1), at(2), at(3), at(4), at(5)]);
        }
        let bias = simd.splat_f32s(self.bias.map_or(0.0, |bias| bias[channel]));
        let plane = height.output * width.output;
        let count = (tiles - first).min(S::F32_LANES);
        for r in 0..TILE {
            let row = pixels(simd, row(&along, r)).map(|v| simd.add_f32s(v, bias));
            // Pixels of a row, those of one tile after those of another.
            let mut beside = [simd.splat_f32s(0.0); TILE];
            interleave::<S>(&row, &mut beside);
            if let Some(residual) = self.residual {
                let mut added = [simd.splat_f32s(0.0); TILE];
                let (quads, _) = bytemuck::cast_slice_mut::<S::f32s, f32>(&mut added).as_chunks_mut::<TILE>();
                runs(first, count, across, |lane, ty, tx, run| {
                    if ty * TILE + r < height.output {
                        let at = channel * plane + (ty * TILE + r) * width.output + tx * TILE;
                        let pixels = (run * TILE).min(width.output - tx * TILE);
                        copy(&residual[at..at + pixels], &mut quads[lane..].as_flattened_mut()[..pixels]);
                    }
                });
                for (v, added) in beside.iter_mut().zip(added) {
                    *v = simd.add_f32s(*v, added);
                }
            }
            for v in &mut beside {
                *v = activate(simd, *v, activation);
            }
            let (quads, _) = bytemuck::cast_slice::<S::f32s, f32>(&beside).as_chunks::<TILE>();
            runs(first, count, across, |lane, ty, tx, run| {
                if ty * TILE + r < height.output {
                    let at = channel * plane + (ty * TILE + r) * width.output + tx * TILE;
                    let pixels = (run * TILE).min(width.output - tx * TILE);
                    copy(&quads[lane..].as_flattened()[..pixels], &mut self.y[at..at + pixels]);
                }
            });
        }
    }
}

/// Calls `each` with the stretches of some tiles that lie in a row: the first one's number among them, its place, and how
/// many there are.
#[inline(always)]
fn runs(first: usize, count: usize, across: usize, mut each: impl FnMut(usize, usize, usize, usize)) {
    let (mut lane, mut ty, mut tx) = (0, first / across, first % across);
    while lane < count {
        let run = (count - lane).min(across - tx);
        each(lane, ty, tx, run);
        (lane, ty, tx) = (lane + run, ty + 1, 0);
    }
}

/// Copies a stretch, four elements at a time.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    let ((quads, rest), (to_quads, to_rest)) = (from.as_chunks::<TILE>(), to.as_chunks_mut::<TILE>());
    to_quads.iter_mut().zip(quads).for_each(|(to, from)| *to = *from);
    to_rest.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
}

/// The first elements of four vectors, then their second ones, and so on.
#[inline(always)]
fn interleave<S: Simd>(from: &[S::f32s; TILE], to: &mut [S::f32s; TILE]) {
    let from: &[f32] = bytemuck::cast_slice(from);
    let (a, b) = from.split_at(2 * S::F32_LANES);
    let ((a, b), (c, d)) = (a.split_at(S::F32_LANES), b.split_at(S::F32_LANES));
    let (quads, _) = bytemuck::cast_slice_mut::<S::f32s, f32>(to).as_chunks_mut::<TILE>();
    for (i, quad) in quads.iter_mut().enumerate() {
        *quad = [a[i], b[i], c[i], d[i]];
    }
}
