//! Weights that are whole numbers of 8 or 4 bits with scales: they stay so in memory. For one row they are unpacked in
//! registers, for several panel by panel into a piece of memory that a cache holds.
//!
//! They lie in panels as [`product`](super::product) takes B, a byte for a number; of four bits a byte has two rows of k, the
//! first in its lower half. With each panel go the scales of its blocks of k, and their zeros.

use pulp::{Simd, WithSimd};

use super::product::{Output, Tile, finish};
use crate::ops::matmul::Product;
use crate::tensor::{Quantized, Tensor};

/// Floats of unpacked panels: as many as a second-level cache holds beside the rows that they are multiplied with.
const UNPACKED: usize = 48 << 10;

/// B of a product.
#[derive(Debug)]
pub(super) struct Numbers {
    tile: Tile,
    form: Form,
    k: usize,
    n: usize,
    /// Rows of k that share scales.
    block: usize,
    bytes: Vec<u8>,
    scales: Vec<f32>,
    /// For each scale, if there are any.
    zeros: Vec<u8>,
}

/// What a byte holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A number with a sign.
    Signed,
    /// A number without, which has a zero.
    Unsigned,
    /// Two of them.
    Halves,
}

/// A panel: its bytes, and the scales and zeros of its blocks.
#[derive(Clone, Copy)]
struct Panel<'a> {
    bytes: &'a [u8],
    scales: &'a [f32],
    zeros: &'a [u8],
}

impl Numbers {
    /// Whether a constant B can be held so.
    pub fn suits(b: &Tensor, product: &Product) -> bool {
        let &Product { k, n, transpose_b, .. } = product;
        let wanted = if transpose_b { [n, k] } else { [k, n] };
        b.quantized().is_some_and(|numbers| {
            let along = numbers.block()[usize::from(transpose_b)];
            numbers.shape() == wanted && product.batch.is_empty() && (along >= k || along.is_multiple_of(2))
        })
    }

    /// Packs them.
    pub fn pack(source: &Quantized, product: &Product, tile: Tile) -> Self {
        let &Product { k, n, transpose_b, .. } = product;
        let block = source.block()[usize::from(transpose_b)].min(k);
        let form = match (source.bits(), source.is_symmetric()) {
            (4, _) => Form::Halves,
            (_, true) => Form::Signed,
            _ => Form::Unsigned,
        };
        let blocks = k.div_ceil(block);
        let columns = tile.packed_b(1, n);
        let mut this = Self {
            tile,
            form,
            k,
            n,
            block,
            bytes: vec![0; columns * form.rows(k)],
            scales: vec![0.0; columns * blocks],
            zeros: if form == Form::Signed { vec![] } else { vec![0; columns * blocks] },
        };
        let (numbers, table) = (source.numbers(), source.table());
        let [down, across] = source.block();
        let blocks_across = source.shape()[1].div_ceil(across);
        for first in (0..n).step_by(tile.columns()) {
            let width = tile.width((n - first).min(tile.columns()));
            for j in 0..width.min(n - first) {
                let at = |kk: usize| if transpose_b { (first + j, kk) } else { (kk, first + j) };
                for kk in 0..k {
                    let (row, column) = at(kk);
                    let number = numbers[row * source.shape()[1] + column];
                    let place = |row: usize| first * form.rows(k) + row * width + j;
                    match form {
                        Form::Signed => this.bytes[place(kk)] = number ^ 0x80,
                        Form::Unsigned => this.bytes[place(kk)] = number,
                        Form::Halves => this.bytes[place(kk / 2)] |= number << (kk % 2 * 4),
                    }
                }
                for index in 0..blocks {
                    let (row, column) = at(index * block);
                    let from = row / down * blocks_across + column / across;
                    let place = first * blocks + index * width + j;
                    this.scales[place] = table.scales[from];
                    if let Some(zero) = this.zeros.get_mut(place) {
                        *zero = table.zeros[from];
                    }
                }
            }
        }
        this
    }

    /// Columns that are unpacked at a time.
    pub fn group(&self) -> usize {
        (UNPACKED / (self.k * self.tile.columns()).max(1)).max(1) * self.tile.columns()
    }

    /// The panel of these columns.
    fn panel(&self, first: usize, width: usize) -> Panel<'_> {
        let (rows, blocks) = (self.form.rows(self.k), self.k.div_ceil(self.block));
        Panel {
            bytes: &self.bytes[first * rows..][..width * rows],
            scales: &self.scales[first * blocks..][..width * blocks],
            zeros: self.zeros.get(first * blocks..first * blocks + width * blocks).unwrap_or(&[]),
        }
    }

    /// Columns of the panel that begins here, and how many it has room for.
    fn width(&self, first: usize) -> (usize, usize) {
        let columns = (self.n - first).min(self.tile.columns());
        (columns, self.tile.width(columns))
    }
}

impl Form {
    /// Bytes of a column.
    const fn rows(self, k: usize) -> usize {
        match self {
            Self::Halves => k.div_ceil(2),
            _ => k,
        }
    }
}

/// What is done with the numbers of a panel.
trait Use<const WIDTH: usize> {
    /// Takes the numbers of a row of k, which have these scales.
    fn row(&mut self, kk: usize, numbers: [f32; WIDTH], scales: &[f32; WIDTH]);

    /// Ends a block of rows that had these scales.
    fn end(&mut self, _scales: &[f32; WIDTH]) {}
}

/// Goes through the rows of a panel, block by block.
#[inline(always)]
fn walk<const WIDTH: usize>(numbers: &Numbers, panel: Panel<'_>, to: &mut impl Use<WIDTH>) {
    let (bytes, _) = panel.bytes.as_chunks::<WIDTH>();
    let (scales, _) = panel.scales.as_chunks::<WIDTH>();
    let (zeros, _) = panel.zeros.as_chunks::<WIDTH>();
    for (index, scales) in scales.iter().enumerate() {
        let rows = index * numbers.block..((index + 1) * numbers.block).min(numbers.k);
        match numbers.form {
            Form::Signed => {
                for (kk, row) in rows.clone().zip(&bytes[rows.clone()]) {
                    let mut numbers = [0.0; WIDTH];
                    for (to, byte) in numbers.iter_mut().zip(row) {
                        *to = f32::from(byte.cast_signed());
                    }
                    to.row(kk, numbers, scales);
                }
            }
            Form::Unsigned => {
                let zeros = &zeros[index];
                for (kk, row) in rows.clone().zip(&bytes[rows.clone()]) {
                    let mut numbers = [0.0; WIDTH];
                    for ((to, byte), zero) in numbers.iter_mut().zip(row).zip(zeros) {
                        *to = f32::from(i16::from(*byte) - i16::from(*zero));
                    }
                    to.row(kk, numbers, scales);
                }
            }
            Form::Halves => {
                let zeros = &zeros[index];
                for (kk, row) in rows.clone().step_by(2).zip(&bytes[rows.start / 2..]) {
                    let (mut numbers, mut next) = ([0.0; WIDTH], [0.0; WIDTH]);
                    for (((to, next), byte), zero) in numbers.iter_mut().zip(&mut next).zip(row).zip(zeros) {
                        *to = f32::from((byte & 15).cast_signed() - zero.cast_signed());
                        *next = f32::from((byte >> 4).cast_signed() - zero.cast_signed());
                    }
                    to.row(kk, numbers, scales);
                    if kk + 1 < rows.end {
                        to.row(kk + 1, next, scales);
                    }
                }
            }
        }
        to.end(scales);
    }
}

/// Panels unpacked to where a product takes them.
pub(super) struct Unpack<'a> {
    pub numbers: &'a Numbers,
    /// The first column, which begins a panel, and how many there are.
    pub first: usize,
    pub columns: usize,
    pub panels: &'a mut [f32],
}

struct Floats<'a>(&'a mut [f32]);

impl<const WIDTH: usize> Use<WIDTH> for Floats<'_> {
    #[inline(always)]
    fn row(&mut self, kk: usize, numbers: [f32; WIDTH], scales: &[f32; WIDTH]) {
        for ((to, number), scale) in self.0[kk * WIDTH..][..WIDTH].iter_mut().zip(numbers).zip(scales) {
            *to = number * scale;
        }
    }
}

impl WithSimd for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { numbers, first, columns, panels } = self;
        let mut done = 0;
        while done < columns {
            let (held, width) = numbers.width(first + done);
            let panel = numbers.panel(first + done, width);
            let to = &mut Floats(&mut panels[done * numbers.k..][..width * numbers.k]);
            match width {
                4 => walk::<4>(numbers, panel, to),
                8 => walk::<8>(numbers, panel, to),
                16 => walk::<16>(numbers, panel, to),
                32 => walk::<32>(numbers, panel, to),
                64 => walk::<64>(numbers, panel, to),
                2 => walk::<2>(numbers, panel, to),
                _ => walk::<1>(numbers, panel, to),
            }
            done += held;
        }
    }
}

/// The product of one row, for a part of the columns.
pub(super) struct Row<'a, 'b> {
    pub numbers: &'a Numbers,
    pub a: &'a [f32],
    /// The first column, which begins a panel.
    pub first: usize,
    pub output: Output<'a, 'b>,
}

struct Sums<'a, const WIDTH: usize> {
    a: &'a [f32],
    own: [f32; WIDTH],
    sums: [f32; WIDTH],
}

impl<const WIDTH: usize> Use<WIDTH> for Sums<'_, WIDTH> {
    #[inline(always)]
    fn row(&mut self, kk: usize, numbers: [f32; WIDTH], _: &[f32; WIDTH]) {
        let x = self.a[kk];
        for (sum, number) in self.own.iter_mut().zip(numbers) {
            *sum += x * number;
        }
    }

    #[inline(always)]
    fn end(&mut self, scales: &[f32; WIDTH]) {
        for ((sum, own), scale) in self.sums.iter_mut().zip(&mut self.own).zip(scales) {
            *sum += *own * scale;
            *own = 0.0;
        }
    }
}

impl Row<'_, '_> {
    #[inline(always)]
    fn panel<S: Simd, const WIDTH: usize, const VECTORS: usize>(&mut self, simd: S, done: usize, columns: usize) {
        let panel = self.numbers.panel(self.first + done, WIDTH);
        let mut sums = Sums { a: self.a, own: [0.0; WIDTH], sums: [0.0; WIDTH] };
        walk(self.numbers, panel, &mut sums);
        if let [vectors, ..] = S::as_simd_f32s(&sums.sums).0.as_chunks::<VECTORS>().0 {
            finish(simd, &[*vectors], 0, done, columns, &mut self.output);
        }
    }
}

impl WithSimd for Row<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let n = self.output.rows.first().map_or(0, |row| row.len());
        let mut done = 0;
        while done < n {
            let (columns, width) = self.numbers.width(self.first + done);
            match (S::F32_LANES, width == S::F32_LANES) {
                (16, true) => self.panel::<S, 16, 1>(simd, done, columns),
                (16, false) => self.panel::<S, 64, 4>(simd, done, columns),
                (8, true) => self.panel::<S, 8, 1>(simd, done, columns),
                (8, false) => self.panel::<S, 32, 4>(simd, done, columns),
                (4, true) => self.panel::<S, 4, 1>(simd, done, columns),
                (4, false) => self.panel::<S, 16, 4>(simd, done, columns),
                (_, true) => self.panel::<S, 1, 1>(simd, done, columns),
                (_, false) => self.panel::<S, 4, 4>(simd, done, columns),
            }
            done += columns;
        }
    }
}
