//! Coefficients into samples, samples into pixels, as the Independent JPEG Group's decoder rounds them.

use super::{Component, Decoder};

/// The one-dimensional inverse transform, scaled by 2¹³ more than its input.
pub(super) fn transform(v: [i32; 8]) -> [i32; 8] {
    let times = |a: i32, b: i32| a.wrapping_mul(b);
    let add = |a: i32, b: i32| a.wrapping_add(b);
    let sub = |a: i32, b: i32| a.wrapping_sub(b);
    let z = times(add(v[2], v[6]), 4433);
    let (low, high) = (sub(z, times(v[6], 15_137)), add(z, times(v[2], 6270)));
    let (sum, difference) = (add(v[0], v[4]).wrapping_shl(13), sub(v[0], v[4]).wrapping_shl(13));
    let even = [add(sum, high), add(difference, low), sub(difference, low), sub(sum, high)];
    let z5 = times(add(add(v[7], v[3]), add(v[5], v[1])), 9633);
    let z1 = times(add(v[7], v[1]), -7373);
    let z2 = times(add(v[5], v[3]), -20_995);
    let z3 = add(times(add(v[7], v[3]), -16_069), z5);
    let z4 = add(times(add(v[5], v[1]), -3196), z5);
    let odd = [
        add(times(v[1], 12_299), add(z1, z4)),
        add(times(v[3], 25_172), add(z2, z3)),
        add(times(v[5], 16_819), add(z2, z4)),
        add(times(v[7], 2446), add(z1, z3)),
    ];
    let mut out = [0; 8];
    for i in 0..4 {
        (out[i], out[7 - i]) = (add(even[i], odd[i]), sub(even[i], odd[i]));
    }
    out
}

/// The samples of a block from its coefficients.
pub(super) fn inverse(block: &[i32; 64]) -> [u8; 64] {
    let descale = |v: i32, bits: u32| v.wrapping_add(1 << (bits - 1)) >> bits;
    let mut work = [0i32; 64];
    for x in 0..8 {
        let column = transform(std::array::from_fn(|y| block[y * 8 + x]));
        (0..8).for_each(|y| work[y * 8 + x] = descale(column[y], 11));
    }
    let mut out = [0u8; 64];
    for y in 0..8 {
        let row = transform(std::array::from_fn(|x| work[y * 8 + x]));
        for (x, &v) in row.iter().enumerate() {
            out[y * 8 + x] = u8::try_from((descale(v, 18).saturating_add(128)).clamp(0, 255)).unwrap_or(0);
        }
    }
    out
}

impl Decoder {
    /// The samples of a component for each pixel.
    pub(super) fn spread(&self, own: &Component) -> Vec<u8> {
        let (across, down) = self.most();
        let (x, y) = (across / own.across, down / own.down);
        let (width, height) = ((self.width * own.across).div_ceil(across), (self.height * own.down).div_ceil(down));
        let pitch = own.columns * 8;
        let row = |i: usize| &own.samples[i.min(height - 1) * pitch..][..width];
        // Narrow ones are not smoothed.
        let smooth = width > 2;
        let mut out = Vec::with_capacity(self.width * self.height);
        for i in 0..self.height {
            let line: Vec<u8> = match (x, y) {
                (1, 1) => row(i).to_vec(),
                (2, 1) if smooth => double(row(i).iter().map(|&v| v.into()), 1, [1, 2]),
                (2, 2) if smooth => {
                    let far = if i % 2 == 0 { row((i / 2).saturating_sub(1)) } else { row(i / 2 + 1) };
                    let near = row(i / 2).iter().zip(far).map(|(&a, &b)| 3 * i32::from(a) + i32::from(b));
                    double(near, 4, [8, 7])
                }
                (1, 2) => {
                    let (far, bias) =
                        if i % 2 == 0 { (row((i / 2).saturating_sub(1)), 1) } else { (row(i / 2 + 1), 2) };
                    let near = row(i / 2).iter().zip(far);
                    near.map(|(&a, &b)| ((3 * u32::from(a) + u32::from(b) + bias) >> 2) as u8).collect()
                }
                _ => row(i / y).iter().flat_map(|&v| std::iter::repeat_n(v, x)).collect(),
            };
            out.extend_from_slice(&line[..self.width]);
        }
        out
    }
}

/// A line of twice as many samples, each three parts of its own and one of its neighbour, all of which are `scale` times as
/// large as they should be; halves go up and down in turn, by the two `bias`es.
pub(super) fn double(line: impl Iterator<Item = i32>, scale: i32, bias: [i32; 2]) -> Vec<u8> {
    let line: Vec<i32> = line.collect();
    let shift = if scale == 4 { 4 } else { 2 };
    let last = line.len() - 1;
    let mut out = Vec::with_capacity(2 * line.len());
    for (i, &own) in line.iter().enumerate() {
        let at = |j: usize, bias: i32| ((3 * own + line[j] + bias) >> shift).clamp(0, 255) as u8;
        out.push(at(i.saturating_sub(1), bias[0]));
        out.push(at((i + 1).min(last), bias[1]));
    }
    out
}

/// Red, green and blue of a brightness and two colour differences, in 16 bits behind the point.
pub(super) fn colour(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((91_881 * cr + 32_768) >> 16);
    let green = y + ((-22_554 * cb - 46_802 * cr + 32_768) >> 16);
    let blue = y + ((116_130 * cb + 32_768) >> 16);
    [red, green, blue].map(|v| u8::try_from(v.clamp(0, 255)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_block_is_its_mean_and_halves_alternate() {
        let mut block = [0; 64];
        block[0] = 8 * 27;
        assert_eq!(inverse(&block), [128 + 27; 64]);
        assert_eq!(double([0, 2].into_iter(), 1, [1, 2]), [0, 1, 1, 2]);
        assert_eq!(double([4, 6].into_iter().map(|v| 4 * v), 4, [8, 7]), [4, 4, 6, 6]);
        assert_eq!(colour(255, 128, 128), [255; 3]);
        assert_eq!(colour(76, 85, 255), [254, 0, 0]);
    }
}
