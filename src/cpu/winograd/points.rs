//! From pixels to points.

use pulp::{Simd, WithSimd};

use super::{Winograd, row};
use crate::cpu::simd::{load, store};
use crate::ops::conv::TILE;

/// Reads the pixels that some panels' tiles see.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    winograd: &'a Winograd,
    /// The first tile, and the row of tiles that it lies in.
    first: usize,
    top: usize,
    /// Rows of tiles, and one more for what the last ones see below them.
    rows: usize,
}

impl<'a> Reader<'a> {
    pub fn new(winograd: &'a Winograd, panel: usize, panels: usize) -> Self {
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
    pub const fn scratch(&self) -> usize {
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
pub(super) struct Points<'a> {
    pub reader: Reader<'a>,
    pub x: &'a [f32],
    pub v: &'a mut [f32],
    pub memory: &'a mut [f32],
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
