//! A convolution's inputs in panels, as the product takes them: for each input channel and element of the kernel the inputs
//! that neighbouring positions of the output see.

use pulp::{Simd, WithSimd};

use super::product::Tile;
use super::simd::{load, select};
use super::windows::Windows;
use crate::ops::window::Axis;

/// No panel is wider.
const WIDEST: usize = 64;

/// So many neighbours in a row of the kernel are worth being taken from where they lie.
const RUN: usize = 4;

/// Which inputs the positions of the output see.
#[derive(Debug)]
pub(super) enum Seen {
    /// Each the one in its place.
    Own,
    /// Windows, out of copies of the planes.
    Windows(Windows),
    /// Windows beside each other without padding, along both axes.
    Patches([Axis; 2]),
}

impl Seen {
    /// What the positions see along these axes; `None` where there is no fast way.
    pub fn new(axes: &[Axis]) -> Option<Self> {
        if axes.iter().all(Axis::is_pointwise) {
            return Some(Self::Own);
        }
        if let &[height, width] = axes {
            let inside = |axis: &Axis| {
                axis.before == 0 && axis.output > 0 && {
                    axis.position(axis.output - 1, axis.kernel.saturating_sub(1)) < axis.input
                }
            };
            let apart = width.dilation == 1 && width.stride >= width.kernel && width.kernel >= RUN;
            if apart && inside(&height) && inside(&width) {
                return Some(Self::Patches([height, width]));
            }
        }
        Windows::new(axes).map(Self::Windows)
    }
}

/// Some panels of a group of planes of an image (or of their copies).
pub(super) struct Panels<'a> {
    pub seen: &'a Seen,
    pub tile: Tile,
    pub planes: &'a [f32],
    /// Elements of a plane.
    pub plane: usize,
    /// Rows of a panel.
    pub k: usize,
    /// The first position, and how many there are.
    pub first: usize,
    pub count: usize,
    pub panels: &'a mut [f32],
}

impl Panels<'_> {
    /// Fills them. Columns behind the last hold anything.
    #[inline(always)]
    pub fn fill<S: Simd>(self, simd: S) {
        let Self { seen, tile, planes, plane, k, first, count, panels } = self;
        let mut pieces = Pieces { pieces: [Piece { base: 0, from: simd.splat_f32s(0.0) }; WIDEST], ends: [0; 4] };
        let mut done = 0;
        while done < count {
            let columns = (count - done).min(tile.columns());
            let width = tile.width(columns);
            let panel = &mut panels[done * k..][..width * k];
            match seen {
                Seen::Own => own(simd, planes, plane, first + done, width, panel),
                Seen::Windows(windows) => {
                    pieces.find(simd, windows, first + done, columns);
                    let vectors = S::as_mut_simd_f32s(panel).0;
                    match width / S::F32_LANES {
                        1 => pieces.copy::<1>(simd, planes, plane, &windows.taps, vectors),
                        2 => pieces.copy::<2>(simd, planes, plane, &windows.taps, vectors),
                        _ => pieces.copy::<4>(simd, planes, plane, &windows.taps, vectors),
                    }
                }
                Seen::Patches(axes) => patches(tile, planes, plane, axes, [first + done, columns], panel),
            }
            done += columns;
        }
    }
}

/// A panel of positions that see themselves.
#[inline(always)]
pub(super) fn own<S: Simd>(simd: S, planes: &[f32], plane: usize, first: usize, width: usize, panel: &mut [f32]) {
    let vectors = S::as_mut_simd_f32s(panel).0;
    match width / S::F32_LANES {
        1 => rows::<S, 1>(simd, planes, plane, first, vectors),
        2 => rows::<S, 2>(simd, planes, plane, first, vectors),
        _ => rows::<S, 4>(simd, planes, plane, first, vectors),
    }
}

#[inline(always)]
fn rows<S: Simd, const V: usize>(simd: S, planes: &[f32], plane: usize, first: usize, panel: &mut [S::f32s]) {
    for (i, row) in panel.as_chunks_mut::<V>().0.iter_mut().enumerate() {
        let from = &planes[i * plane + first..];
        match S::as_simd_f32s(from).0.as_chunks::<V>().0 {
            [whole, ..] => *row = *whole,
            // The last plane's end.
            [] => {
                for (j, v) in row.iter_mut().enumerate() {
                    *v = load(simd, from.get(j * S::F32_LANES..).unwrap_or(&[]));
                }
            }
        }
    }
}

/// A stretch of positions of one row of the output that lie in one vector of a panel.
#[derive(Clone, Copy)]
struct Piece<S: Simd> {
    /// Where the vector's first element would lie in a plane, if the stretch went on before its beginning.
    base: usize,
    /// 0 for the elements before the stretch, 1 from it on.
    from: S::f32s,
}

/// What the vectors of a panel's rows are made of.
struct Pieces<S: Simd> {
    pieces: [Piece<S>; WIDEST],
    /// Where the pieces of each vector end.
    ends: [usize; 4],
}

impl<S: Simd> Pieces<S> {
    /// Finds the pieces of a panel.
    #[inline(always)]
    fn find(&mut self, simd: S, windows: &Windows, first: usize, columns: usize) {
        let (row, pitch) = (windows.width.output, windows.pitch);
        let (mut y, mut x) = (first / row, first % row);
        let (mut begin, mut count) = (0, 0);
        while begin < columns {
            let end = (begin + row - x).min(columns);
            while begin < end && count < WIDEST {
                let vector = begin / S::F32_LANES;
                let lane = begin % S::F32_LANES;
                let mut from = [simd.splat_f32s(0.0)];
                bytemuck::cast_slice_mut::<S::f32s, f32>(&mut from)[lane..].fill(1.0);
                // A row of copies is at least as long as one of the output: `x + y · pitch` is no less than `begin`.
                self.pieces[count] = Piece { base: y * pitch + x - lane, from: from[0] };
                count += 1;
                self.ends[vector..].fill(count);
                let next = ((vector + 1) * S::F32_LANES).min(end);
                (x, begin) = (x + next - begin, next);
            }
            (y, x) = (y + 1, 0);
        }
    }

    /// A panel of `V` vectors in a row.
    #[inline(always)]
    fn copy<const V: usize>(&self, simd: S, planes: &[f32], plane: usize, taps: &[usize], panel: &mut [S::f32s]) {
        let (rows, _) = panel.as_chunks_mut::<V>();
        for (rows, planes) in rows.chunks_exact_mut(taps.len()).zip((0..).step_by(plane).map(|at| &planes[at..])) {
            for (row, tap) in rows.iter_mut().zip(taps) {
                let mut begin = 0;
                for (v, &end) in row.iter_mut().zip(&self.ends) {
                    let at = |piece: &Piece<S>| load(simd, &planes[tap + piece.base..][..S::F32_LANES]);
                    if let [piece, others @ ..] = &self.pieces[begin..end] {
                        let mut sum = at(piece);
                        for piece in others {
                            let mask = simd.less_than_f32s(simd.splat_f32s(0.0), piece.from);
                            sum = select(simd, mask, at(piece), sum);
                        }
                        *v = sum;
                    }
                    begin = end;
                }
            }
        }
    }
}

/// A panel of windows that lie beside each other.
fn patches(
    tile: Tile,
    planes: &[f32],
    plane: usize,
    [height, width]: &[Axis; 2],
    [first, columns]: [usize; 2],
    panel: &mut [f32],
) {
    let mut corners = [0; WIDEST];
    for (i, corner) in corners.iter_mut().enumerate().take(columns) {
        let (y, x) = ((first + i) / width.output, (first + i) % width.output);
        *corner = y * height.stride * width.input + x * width.stride;
    }
    let run = tile.width(columns) * width.kernel;
    for (i, out) in panel.chunks_exact_mut(run).enumerate() {
        let at = i / height.kernel * plane + i % height.kernel * height.dilation * width.input;
        tile.pack_columns_of(width.kernel, columns, out, |j| &planes[at + corners[j]..]);
    }
}

/// Copies planes such that windows can be read from them.
pub(super) struct Copies<'a> {
    pub windows: &'a Windows,
    pub x: &'a [f32],
    pub x_plane: usize,
    pub copies: &'a mut [f32],
}

impl WithSimd for Copies<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { windows, x, x_plane, copies } = self;
        for (i, copy) in copies.chunks_exact_mut(windows.copied()).enumerate() {
            windows.copy(simd, &x[i * x_plane..], [0, windows.band], 0.0, copy);
        }
    }
}
