//! The matrix product that convolutions and dense layers are made of.
//!
//! A is packed in blocks of as many rows as a tile has, `[block][k][rows]`, B in panels of as many columns,
//! `[panel][k][columns]` (the last panel may be half as wide). A tile of the result stays in registers while it walks
//! along all of k; scale, bias, addend and activation are applied before it is stored.

use pulp::Simd;

use super::simd::{activate_vectors, bounded, load, store};
use crate::graph::Activation;

/// The shape of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tile {
    /// Rows.
    pub rows: usize,
    /// Elements of a vector.
    pub lanes: usize,
    /// Vectors in a row.
    pub vectors: usize,
}

impl Tile {
    /// The tile for results of this many rows on this processor: as many accumulators as there are registers for.
    pub fn of(rows: usize) -> Self {
        let lanes = super::simd::lanes();
        match (rows, lanes) {
            (1, _) => Self { rows: 1, lanes, vectors: 4 },
            (_, 16) => Self { rows: 12, lanes, vectors: 2 },
            _ => Self { rows: 6, lanes, vectors: 2 },
        }
    }

    /// Columns of a whole panel.
    pub const fn columns(self) -> usize {
        self.lanes * self.vectors
    }

    /// Columns that a panel has room for when it holds `columns` of them.
    pub const fn width(self, columns: usize) -> usize {
        if columns <= self.lanes { self.lanes } else { self.columns() }
    }

    /// Elements of `n` columns of B in panels.
    pub const fn packed_b(self, k: usize, n: usize) -> usize {
        let rest = n % self.columns();
        (n - rest + if rest == 0 { 0 } else { self.width(rest) }) * k
    }

    /// Elements of `m` rows of A in blocks.
    pub const fn packed_a(self, m: usize, k: usize) -> usize {
        m.next_multiple_of(self.rows) * k
    }

    /// Packs A, whose element (i, kk) is `at(i, kk)`.
    pub fn pack_a(self, m: usize, k: usize, out: &mut [f32], at: impl Fn(usize, usize) -> f32) {
        for (b, block) in out[..self.packed_a(m, k)].chunks_exact_mut((self.rows * k).max(1)).enumerate() {
            for (kk, column) in block.chunks_exact_mut(self.rows).enumerate() {
                for (i, out) in column.iter_mut().enumerate() {
                    let row = b * self.rows + i;
                    *out = if row < m { at(row, kk) } else { 0.0 };
                }
            }
        }
    }

    /// Packs A, whose row `i` is `at(i)`.
    pub fn pack_rows_of_a<'a>(self, m: usize, k: usize, out: &mut [f32], at: impl Fn(usize) -> &'a [f32]) {
        for (b, block) in out[..self.packed_a(m, k)].chunks_exact_mut((self.rows * k).max(1)).enumerate() {
            // Rows that are missing may be anything: nobody keeps what becomes of them.
            let row = |i: usize| &at((b * self.rows + i).min(m - 1))[..k];
            match self.rows {
                6 => side_by_side::<6>(std::array::from_fn(row), block),
                12 => side_by_side::<12>(std::array::from_fn(row), block),
                _ => block.copy_from_slice(row(0)),
            }
        }
    }

    /// Packs B, whose column `j` is `at(j)`.
    pub fn pack_columns_of<'a>(self, k: usize, n: usize, out: &mut [f32], at: impl Fn(usize) -> &'a [f32]) {
        let mut rest = &mut out[..self.packed_b(k, n)];
        let mut first = 0;
        while first < n {
            let width = self.width((n - first).min(self.columns()));
            let (panel, after) = rest.split_at_mut(width * k);
            // As with rows of A.
            let column = |j: usize| &at((first + j).min(n - 1))[..k];
            match width {
                8 => side_by_side::<8>(std::array::from_fn(column), panel),
                16 => side_by_side::<16>(std::array::from_fn(column), panel),
                32 => side_by_side::<32>(std::array::from_fn(column), panel),
                _ => {
                    for (kk, row) in panel.chunks_exact_mut(width).enumerate() {
                        row.iter_mut().enumerate().for_each(|(j, to)| *to = column(j)[kk]);
                    }
                }
            }
            rest = after;
            first += width;
        }
    }

    /// Packs B as it lies in memory, row after row.
    pub fn pack_rows(self, k: usize, n: usize, out: &mut [f32], b: &[f32]) {
        self.pack_rows_of(k, n, out, |kk| &b[kk * n..][..n]);
    }

    /// Packs B, whose row `kk` is `at(kk)`.
    pub fn pack_rows_of<'a>(self, k: usize, n: usize, out: &mut [f32], at: impl Fn(usize) -> &'a [f32]) {
        self.each_row_of_b(k, n, out, |kk, first, row| row.copy_from_slice(&at(kk)[first..][..row.len()]));
    }

    /// Calls `fill` for every row of a panel with its index, its first column and what of it there is; zeros follow it.
    fn each_row_of_b(self, k: usize, n: usize, out: &mut [f32], fill: impl Fn(usize, usize, &mut [f32])) {
        let mut rest = &mut out[..self.packed_b(k, n)];
        let mut first = 0;
        while first < n {
            let columns = (n - first).min(self.columns());
            let width = self.width(columns);
            let (panel, after) = rest.split_at_mut(width * k);
            for (kk, row) in panel.chunks_exact_mut(width).enumerate() {
                fill(kk, first, &mut row[..columns]);
                row[columns..].fill(0.0);
            }
            rest = after;
            first += columns;
        }
    }
}

/// The first elements of some rows, then their second ones, and so on.
fn side_by_side<const ROWS: usize>(rows: [&[f32]; ROWS], out: &mut [f32]) {
    let (columns, _) = out.as_chunks_mut::<ROWS>();
    let rows = rows.map(|row| &row[..columns.len()]);
    for (kk, column) in columns.iter_mut().enumerate() {
        for i in 0..ROWS {
            column[i] = rows[i][kk];
        }
    }
}

/// A matrix that is added to a result: element (i, j) is `values[offset + i * row + j * column]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addend<'a> {
    pub values: &'a [f32],
    pub offset: usize,
    pub row: usize,
    pub column: usize,
    pub factor: f32,
}

/// Where a result goes, and what happens to it before.
pub(super) struct Output<'a, 'b> {
    /// The result's rows, or a part of each.
    pub rows: &'a mut [&'b mut [f32]],
    /// Multiplies the sums.
    pub scale: f32,
    /// One number for each row.
    pub bias: Option<&'a [f32]>,
    /// Added after scale and bias.
    pub addend: Option<Addend<'a>>,
    /// Added after that.
    pub residual: Option<Addend<'a>>,
    /// Applied last.
    pub activation: Activation,
}

/// Multiplies packed operands. The number of columns is that of the output's rows.
#[inline(always)]
pub(super) fn multiply<S: Simd>(simd: S, tile: Tile, k: usize, a: &[f32], b: &[f32], output: &mut Output<'_, '_>) {
    // Tiles are written out by the compiler; which of them there are is known for each width of vectors.
    match (tile.rows, S::F32_LANES) {
        (1, _) => blocks::<S, 1, 4>(simd, tile, k, a, b, output),
        (_, 16) => blocks::<S, 12, 2>(simd, tile, k, a, b, output),
        _ => blocks::<S, 6, 2>(simd, tile, k, a, b, output),
    }
}

/// Elements of B that stay in the first-level cache while all rows of A go by.
const NEAR: usize = 5 << 10;

/// Elements of A beyond which it is not read again for every few panels: no second-level cache holds it.
const FAR: usize = 192 << 10;

#[inline(always)]
fn blocks<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    tile: Tile,
    k: usize,
    a: &[f32],
    b: &[f32],
    output: &mut Output<'_, '_>,
) {
    let m = output.rows.len();
    let n = output.rows.first().map_or(0, |row| row.len());
    let panels = n.div_ceil(tile.columns());
    let group = if m * k > FAR { panels } else { (NEAR / (k * tile.columns()).max(1)).max(1) };
    for first in (0..panels).step_by(group.max(1)) {
        for block in 0..m.div_ceil(ROWS) {
            let a = &a[block * ROWS * k..][..ROWS * k];
            for panel in first..(first + group).min(panels) {
                let first = panel * tile.columns();
                let columns = (n - first).min(tile.columns());
                let b = &b[first * k..][..tile.width(columns) * k];
                if columns <= S::F32_LANES {
                    let sums = sums::<S, ROWS, 1>(simd, a, b);
                    finish(simd, &sums, block * ROWS, first, columns, output);
                } else {
                    let sums = sums::<S, ROWS, VECTORS>(simd, a, b);
                    finish(simd, &sums, block * ROWS, first, columns, output);
                }
            }
        }
    }
}

/// The sums of a tile.
#[inline(always)]
pub(super) fn sums<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    a: &[f32],
    b: &[f32],
) -> [[S::f32s; VECTORS]; ROWS] {
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
    let (a, _) = a.as_chunks::<ROWS>();
    let (b, _) = S::as_simd_f32s(b).0.as_chunks::<VECTORS>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..ROWS {
            let x = simd.splat_f32s(a[i]);
            for j in 0..VECTORS {
                sums[i][j] = simd.mul_add_e_f32s(x, b[j], sums[i][j]);
            }
        }
    }
    sums
}

/// Completes the sums of a tile and stores what of it lies inside the result.
#[inline(always)]
pub(super) fn finish<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    sums: &[[S::f32s; VECTORS]; ROWS],
    first_row: usize,
    first: usize,
    columns: usize,
    output: &mut Output<'_, '_>,
) {
    // Bounds cost two instructions; other functions take all of the tile, so that no vector waits for the one before.
    let (bounds, function) = match output.activation {
        Activation::Identity => (None, None),
        Activation::Relu => (Some((0.0, f32::INFINITY)), None),
        Activation::Clip(low, high) => (Some((low, high)), None),
        other => (None, Some(other)),
    };
    let scale = simd.splat_f32s(output.scale);
    let mut done = [[scale; VECTORS]; ROWS];
    for ((i, sums), done) in sums.iter().enumerate().zip(&mut done) {
        let row = first_row + i;
        let Some(out) = output.rows.get_mut(row) else { break };
        let bias = simd.splat_f32s(output.bias.map_or(0.0, |bias| bias[row]));
        let mut v = *sums;
        for v in &mut v {
            *v = simd.mul_add_e_f32s(*v, scale, bias);
        }
        for addend in [&output.addend, &output.residual].into_iter().flatten() {
            let from = addend.offset + row * addend.row + first * addend.column;
            let factor = simd.splat_f32s(addend.factor);
            let c = if addend.column == 0 {
                [simd.splat_f32s(addend.values[from]); VECTORS]
            } else {
                loads(simd, &addend.values[from..from + columns])
            };
            for j in 0..VECTORS {
                v[j] = simd.mul_add_e_f32s(c[j], factor, v[j]);
            }
        }
        if function.is_some() {
            *done = v;
            continue;
        }
        if let Some((low, high)) = bounds {
            for v in &mut v {
                *v = bounded(simd, low, high, *v);
            }
        }
        stores(simd, &mut out[first..first + columns], v);
    }
    if let Some(function) = function {
        activate_vectors(simd, done.as_flattened_mut(), function);
        for (out, v) in output.rows.iter_mut().skip(first_row).zip(done) {
            stores(simd, &mut out[first..first + columns], v);
        }
    }
}

/// A row of a tile, zeros where there are fewer numbers.
#[inline(always)]
fn loads<S: Simd, const VECTORS: usize>(simd: S, from: &[f32]) -> [S::f32s; VECTORS] {
    if let [whole, ..] = S::as_simd_f32s(from).0.as_chunks::<VECTORS>().0 {
        return *whole;
    }
    let mut v = [simd.splat_f32s(0.0); VECTORS];
    for (v, from) in v.iter_mut().zip(from.chunks(S::F32_LANES)) {
        *v = load(simd, from);
    }
    v
}

/// Stores as much of a row of a tile as there is room for.
#[inline(always)]
fn stores<S: Simd, const VECTORS: usize>(simd: S, to: &mut [f32], v: [S::f32s; VECTORS]) {
    if let [whole, ..] = S::as_mut_simd_f32s(to).0.as_chunks_mut::<VECTORS>().0 {
        *whole = v;
        return;
    }
    for (to, v) in to.chunks_mut(S::F32_LANES).zip(v) {
        store(simd, to, v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_stays_where_there_are_no_vectors() {
        let tile = Tile { rows: 6, lanes: 1, vectors: 2 };
        let mut a = vec![0.0; tile.packed_a(1, 1)];
        tile.pack_a(1, 1, &mut a, |_, _| 1.0);
        let mut b = vec![0.0; tile.packed_b(1, 3)];
        tile.pack_rows(1, 3, &mut b, &[f32::NAN, f32::INFINITY, -1.0]);
        let activations = [
            Activation::Identity,
            Activation::Relu,
            Activation::Clip(-0.5, 6.0),
            Activation::HardSwish,
            Activation::Sigmoid,
            Activation::Tanh,
        ];
        for activation in activations {
            let mut y = [0.0; 3];
            let rows = &mut [&mut y[..]];
            let mut output = Output { rows, scale: 1.0, bias: None, addend: None, residual: None, activation };
            multiply(pulp::Scalar::new(), tile, 1, &a, &b, &mut output);
            assert!(y[0].is_nan(), "{activation:?}(NaN) = {}", y[0]);
            assert_eq!(y[1], activation.apply(f32::INFINITY), "{activation:?}");
            assert!((y[2] - activation.apply(-1.0)).abs() < 1e-6, "{activation:?}(-1) = {}", y[2]);
        }
    }
}
