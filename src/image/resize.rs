//! Bilinear resizing as Pillow does it, bit for bit, so that a picture gets the class that it gets in Python.
//!
//! Each output pixel is a weighted mean of the input pixels under a triangle whose half width is the factor of reduction
//! (at least one pixel), so that reduction averages instead of skipping. The picture is resized across, rounded to 8 bits,
//! then down, and rounded again; weights are fixed-point numbers of 22 bits.

use std::ops::Range;

use super::Picture;

/// Bits of a weight's fraction: what 32 bits leave beside an 8-bit pixel and a sum's headroom.
const FRACTION: u32 = 22;

/// The input pixels under one output pixel, and their weights.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// The taps of the output pixels of `wanted`, where `from` pixels become `to`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positions are clamped to the picture")]
fn taps(from: usize, to: usize, wanted: Range<usize>) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let support = scale.max(1.0);
    wanted
        .map(|i| {
            let centre = (i as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let last = ((centre + support + 0.5) as usize).min(from);
            let weights: Vec<f64> =
                (first..last).map(|x| (1.0 - ((x as f64 - centre + 0.5) * (1.0 / support)).abs()).max(0.0)).collect();
            let sum: f64 = weights.iter().sum();
            let fixed = |w: f64| (w / sum * f64::from(1u32 << FRACTION) + 0.5) as i32;
            Taps { first, weights: weights.into_iter().map(fixed).collect() }
        })
        .collect()
}

fn weighted(pixels: impl Iterator<Item = u8>, taps: &Taps) -> u8 {
    let half = 1i32 << (FRACTION - 1);
    let sum = pixels.zip(&taps.weights).fold(half, |sum, (pixel, weight)| sum + i32::from(pixel) * weight);
    (sum >> FRACTION).clamp(0, 255) as u8
}

/// The part of the picture resized to `size` that begins at `origin` (left, top) and has `part` pixels: only this part is
/// computed, so that a long picture whose middle is cropped costs no more than the middle.
pub(super) fn bilinear(picture: &Picture, size: [u32; 2], origin: [u32; 2], part: [u32; 2]) -> Vec<u8> {
    let [width, height] = [picture.width as usize, picture.height as usize];
    let range = |axis: usize| origin[axis] as usize..(origin[axis] + part[axis]) as usize;
    let across = taps(width, size[0] as usize, range(0));
    let down = taps(height, size[1] as usize, range(1));
    let rows = match (down.first(), down.last()) {
        (Some(top), Some(bottom)) => top.first..bottom.first + bottom.weights.len(),
        _ => return vec![],
    };
    let mut middle = Vec::with_capacity(rows.len() * across.len() * 3);
    for row in picture.rgb.chunks_exact(width * 3).take(rows.end).skip(rows.start) {
        for taps in &across {
            let under = &row[taps.first * 3..(taps.first + taps.weights.len()) * 3];
            middle.extend((0..3).map(|channel| weighted(under.iter().skip(channel).step_by(3).copied(), taps)));
        }
    }
    let pitch = across.len() * 3;
    let mut out = Vec::with_capacity(down.len() * pitch);
    for taps in &down {
        let under = &middle[(taps.first - rows.start) * pitch..];
        out.extend((0..pitch).map(|x| weighted(under.iter().skip(x).step_by(pitch).copied(), taps)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32) -> Picture {
        let byte = |i: u64| (i * i * 7 + i * 13 + i / 5 * 31) as u8;
        let rgb = (0..u64::from(width * height * 3)).map(byte).collect();
        Picture::from_rgb(width, height, rgb).unwrap()
    }

    fn checksum(bytes: &[u8]) -> u32 {
        bytes.iter().fold(0, |sum, &b| sum.wrapping_mul(31).wrapping_add(b.into()))
    }

    /// Checksums of what Pillow 13.0.0 gives: `Image.frombytes("RGB", (w, h), data).resize((W, H), Image.BILINEAR)`.
    #[test]
    fn agrees_with_pillow_bit_for_bit() {
        for (from, to, expected) in PILLOW {
            let resized = picture(from[0], from[1]).resized(to[0], to[1]).unwrap();
            assert_eq!(checksum(resized.rgb()), expected, "{from:?} to {to:?}");
        }
    }

    const PILLOW: [([u32; 2], [u32; 2], u32); 8] = [
        ([7, 5], [7, 5], 0x87fb_29e6),
        ([7, 5], [3, 2], 0x0850_d787),
        ([7, 5], [20, 11], 0x5a4b_b7fd),
        ([300, 168], [457, 256], 0x98b0_32e7),
        ([61, 47], [29, 80], 0x5ef6_8cab),
        ([640, 427], [384, 256], 0xba8f_ef00),
        ([1, 1], [4, 4], 0xf61b_6600),
        ([513, 3], [8, 8], 0x2cb5_f01d),
    ];

    #[test]
    fn a_part_is_the_part_of_the_whole() {
        let picture = picture(61, 47);
        let whole = picture.resized(29, 80).unwrap();
        let part = bilinear(&picture, [29, 80], [5, 11], [17, 40]);
        for (y, row) in part.chunks_exact(17 * 3).enumerate() {
            let start = ((y + 11) * 29 + 5) * 3;
            assert_eq!(row, &whole.rgb()[start..start + 17 * 3]);
        }
    }
}
