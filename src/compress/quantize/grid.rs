//! Numbers on a grid of few steps.

use crate::tensor::Tensor;

/// Weights as signed bytes, with a scale for each slice along an axis.
#[derive(Debug, Clone)]
pub struct Bytes {
    pub data: Vec<i8>,
    pub scales: Vec<f32>,
}

/// The place along an axis that an element lies at.
fn slices(shape: &[usize], axis: usize) -> (usize, usize) {
    let inner: usize = shape.iter().skip(axis + 1).product();
    (inner.max(1), shape.get(axis).copied().unwrap_or(1).max(1))
}

/// The nearest numbers on symmetric grids of so many bits, one for each slice along an axis: the largest number, 127 of eight
/// bits, stands for the slice's largest magnitude. A scale is no smaller than the slice's `least`, where there is one.
pub fn signed_bytes(weights: &[f32], shape: &[usize], axis: usize, bits: u32, least: &[f32]) -> Bytes {
    let end = (1u32 << (bits.clamp(2, 8) - 1)) as f32 - 1.0;
    let (inner, count) = slices(shape, axis);
    let slice = |i: usize| i / inner % count;
    let mut scales = vec![0f32; count];
    for (i, weight) in weights.iter().enumerate() {
        if let Some(scale) = scales.get_mut(slice(i)) {
            *scale = scale.max(weight.abs());
        }
    }
    for (i, scale) in scales.iter_mut().enumerate() {
        let least = least.get(i).copied().unwrap_or_default();
        *scale = (*scale / end).max(least);
        // Where all is 0 any scale does. A scale must not be so small that it is 0 for a device.
        if *scale <= f32::MIN_POSITIVE {
            *scale = 1.0;
        }
    }
    let byte = |(i, weight): (usize, &f32)| {
        let scale = scales.get(slice(i)).copied().unwrap_or(1.0);
        // Saturating: the value is a whole number by now.
        (weight / scale).round_ties_even().clamp(-end, end) as i8
    };
    Bytes { data: weights.iter().enumerate().map(byte).collect(), scales }
}

impl Bytes {
    /// The numbers that the bytes stand for.
    pub fn floats(&self, shape: &[usize], axis: usize) -> Vec<f32> {
        let (inner, count) = slices(shape, axis);
        let float = |(i, &byte): (usize, &i8)| {
            f32::from(byte) * self.scales.get(i / inner % count).copied().unwrap_or_default()
        };
        self.data.iter().enumerate().map(float).collect()
    }
}

/// Numbers of four bits in blocks: the number `q` stands for `(q − zero) · scale`.
#[derive(Debug, Clone)]
pub struct Nibbles {
    block: usize,
    /// Two to a byte, the first in the lower half; whole blocks.
    pub packed: Vec<u8>,
    /// One for each block.
    pub scales: Vec<f32>,
    /// One for each block.
    pub zeros: Vec<u8>,
}

impl Nibbles {
    /// None yet.
    pub const fn new(block: usize) -> Self {
        Self { block, packed: vec![], scales: vec![], zeros: vec![] }
    }

    /// Adds a block, or the beginning of one that stays unfinished: what is beyond it stands for 0.
    pub fn push(&mut self, grid: Grid, steps: &[u8]) {
        let step = |i: usize| steps.get(i).copied().unwrap_or(grid.zero);
        self.scales.push(grid.scale);
        self.zeros.push(grid.zero);
        self.packed.extend((0..self.block / 2).map(|pair| step(2 * pair) | step(2 * pair + 1) << 4));
    }

    /// The zeros as they are packed for so many blocks to a row: whole bytes for each row.
    pub fn packed_zeros(&self, blocks: usize) -> Vec<u8> {
        let pair = |pair: &[u8]| pair.iter().enumerate().fold(0, |byte, (i, zero)| byte | zero << (4 * i));
        self.zeros.chunks(blocks.max(1)).flat_map(|row| row.chunks(2).map(pair)).collect()
    }

    /// The numbers that rows of this length stand for.
    #[cfg(test)]
    pub fn floats(&self, length: usize) -> Vec<f32> {
        let (blocks, mut floats) = (length.div_ceil(self.block), vec![]);
        for (i, steps) in self.packed.chunks(self.block / 2).enumerate() {
            let grid = Grid { scale: self.scales[i], zero: self.zeros[i] };
            let own = self.block.min(length - i % blocks * self.block);
            floats.extend(steps.iter().flat_map(|byte| [byte & 15, byte >> 4]).take(own).map(|step| grid.value(step)));
        }
        floats
    }
}

/// What the sixteen steps of a block stand for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    pub scale: f32,
    pub zero: u8,
}

impl Grid {
    /// The step nearest to a number.
    pub fn step(self, value: f32) -> u8 {
        // Saturating: the value is a whole number by now.
        ((value / self.scale).round_ties_even() + f32::from(self.zero)).clamp(0.0, 15.0) as u8
    }

    /// The number that a step stands for.
    pub fn value(self, step: u8) -> f32 {
        (f32::from(step) - f32::from(self.zero)) * self.scale
    }

    /// Of several, that with which the squares of a block's errors add up to least.
    fn best(block: &[f32], grids: impl Iterator<Item = Self>) -> Self {
        let error = |grid: Self| block.iter().map(|&v| f64::from(v - grid.value(grid.step(v))).powi(2)).sum::<f64>();
        let errors = grids.map(|grid| (error(grid), grid));
        errors.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(Self { scale: 1.0, zero: 8 }, |(_, grid)| grid)
    }

    /// A grid with 8 for its zero. The steps go from -8 to 7 then, so the sign of the scale is that for which the largest
    /// magnitude is -8.
    pub fn symmetric(block: &[f32]) -> Self {
        let largest = block.iter().fold(0f32, |m, &v| if v.abs() > m.abs() { v } else { m });
        if largest.abs() < SMALLEST || !largest.is_finite() {
            return Self { scale: 1.0, zero: 8 };
        }
        let scales = (0..=12).map(|i| largest / -(8.0 + i as f32 * 0.125)).chain([largest / 7.0]);
        Self::best(block, scales.map(|scale| Self { scale, zero: 8 }))
    }

    /// A grid from the least to the largest, 0 among its numbers, or a little narrower.
    pub fn asymmetric(block: &[f32]) -> Self {
        let [least, largest] = block.iter().fold([0f32; 2], |[a, b], &v| [a.min(v), b.max(v)]);
        let width = largest - least;
        if width < SMALLEST || !width.is_finite() {
            return Self { scale: 1.0, zero: 8 };
        }
        let grid = |i: u8| {
            let scale = width * (1.0 - f32::from(i) * 0.025) / 15.0;
            let zero = (-least / width * 15.0).round_ties_even().clamp(0.0, 15.0) as u8;
            Self { scale, zero }
        };
        Self::best(block, (0..14).map(grid))
    }
}

/// Ranges below this are none: a scale must not be so small that it is 0 for a device.
const SMALLEST: f32 = f32::MIN_POSITIVE * 64.0;

/// Rows of numbers in blocks of four bits with 8 for their zeros.
pub fn nibbles(rows: &[f32], length: usize, block: usize) -> Nibbles {
    let mut nibbles = Nibbles::new(block);
    for row in rows.chunks(length.max(1)) {
        for part in row.chunks(block) {
            let grid = Grid::symmetric(part);
            let steps: Vec<u8> = part.iter().map(|&v| grid.step(v)).collect();
            nibbles.push(grid, &steps);
        }
    }
    nibbles
}

/// A matrix as rows of what is summed up: `[n, k]`, whichever of the two comes first in it.
pub fn rows(tensor: &Tensor, outputs: usize, factor: f32) -> Vec<f32> {
    let values: Vec<f32> = tensor.to_f64().into_iter().map(|v| v as f32 * factor).collect();
    let &[a, b] = tensor.shape() else { return values };
    match outputs {
        0 => values,
        _ => (0..b).flat_map(|n| (0..a).map(move |k| k * b + n)).filter_map(|i| values.get(i).copied()).collect(),
    }
}
