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

/// Numbers of four bits in blocks: the number `q` stands for `(q − 8) · scale`.
#[derive(Debug, Clone)]
pub struct Nibbles {
    /// Two to a byte, the first in the lower half; whole blocks.
    pub packed: Vec<u8>,
    /// One for each block.
    pub scales: Vec<f32>,
}

/// Rows of numbers in blocks of four bits. The steps go from -8 to 7, so the sign of the scale is that for which the largest
/// magnitude is -8; of some scales a little smaller the one is taken with which the squares of the errors add up to least.
pub fn nibbles(rows: &[f32], length: usize, block: usize) -> Nibbles {
    let mut nibbles = Nibbles { packed: vec![], scales: vec![] };
    for row in rows.chunks(length.max(1)) {
        for part in row.chunks(block) {
            let scale = best_scale(part);
            let step = |i: usize| (step(part.get(i).copied().unwrap_or_default(), scale) + 8) as u8;
            nibbles.scales.push(scale);
            nibbles.packed.extend((0..block / 2).map(|pair| step(2 * pair) | step(2 * pair + 1) << 4));
        }
    }
    nibbles
}

fn step(value: f32, scale: f32) -> i8 {
    (value / scale).round_ties_even().clamp(-8.0, 7.0) as i8
}

fn best_scale(block: &[f32]) -> f32 {
    let largest = block.iter().fold(0f32, |m, &v| if v.abs() > m.abs() { v } else { m });
    if largest.abs() < f32::MIN_POSITIVE * 8.0 || !largest.is_finite() {
        return 1.0;
    }
    let error = |scale: f32| {
        let each = |&v: &f32| f64::from(v - f32::from(step(v, scale)) * scale).powi(2);
        block.iter().map(each).sum::<f64>()
    };
    let candidates = (0..=12).map(|i| largest / -(8.0 + i as f32 * 0.125)).chain([largest / 7.0]);
    candidates.min_by(|a, b| error(*a).total_cmp(&error(*b))).unwrap_or(largest / -8.0)
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
