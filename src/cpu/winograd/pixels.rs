//! Products at the points, and from them back to pixels.

use pulp::{Simd, WithSimd};

use super::{BLOCKS, PANELS, Winograd, row};
use crate::cpu::product::sums;
use crate::cpu::simd::{activate, store};
use crate::ops::conv::{POINTS, TILE};

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
pub(super) struct Pixels<'a> {
    pub winograd: &'a Winograd,
    pub v: &'a [f32],
    pub y: &'a mut [f32],
    /// The first block; bias and residual begin with it.
    pub first: usize,
    pub bias: Option<&'a [f32]>,
    pub residual: Option<&'a [f32]>,
    pub m: &'a mut [f32],
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
