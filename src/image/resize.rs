//! Resizing as Pillow does it, so that a picture gets the class that it gets in Python.
//!
//! Each output pixel is a weighted mean of the input pixels under a triangle (bilinear) or a curve of third degree (bicubic), whose
//! half width is one or two pixels times the factor of reduction (at least 1), so that reduction averages instead of skipping. The
//! picture is resized across, then down. Bytes are rounded to 8 bits each time, by weights that are fixed-point numbers of 22 bits:
//! bit for bit what Pillow's 8-bit modes give. Floats are not rounded, as in its mode F.

use std::ops::Range;

/// Bits of a weight's fraction: what 32 bits leave beside an 8-bit pixel and a sum's headroom.
pub(crate) const FRACTION: u32 = 22;

/// The curve that weights follow.
#[derive(Clone, Copy)]
pub(super) enum Filter {
    /// A triangle.
    Bilinear,
    /// Keys' curve of third degree with a = -1/2, which overshoots a little beside edges.
    Bicubic,
}

impl Filter {
    /// Where the curve ends.
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Self::Bicubic => 0.0,
        }
    }
}

/// The input pixels under one output pixel, and their weights.
pub(crate) struct Taps<W> {
    pub first: usize,
    pub weights: Vec<W>,
}

/// What a pixel's channels are: bytes, or floats of 0 to 255.
pub(crate) trait Sample: Copy + Into<f32> {
    type Weight;
    /// A weight as it is multiplied with.
    fn weight(weight: f64) -> Self::Weight;
    fn mean(pixels: impl Iterator<Item = Self>, weights: &[Self::Weight]) -> Self;
    /// ITU-R BT.601's luma of red, green and blue.
    fn luma(rgb: [Self; 3]) -> f32;
}

impl Sample for u8 {
    type Weight = i32;

    fn weight(weight: f64) -> i32 {
        fixed(weight)
    }

    fn mean(pixels: impl Iterator<Item = Self>, weights: &[i32]) -> Self {
        let half = 1i32 << (FRACTION - 1);
        let sum = pixels.zip(weights).fold(half, |sum, (pixel, weight)| sum + i32::from(pixel) * weight);
        (sum >> FRACTION).clamp(0, 255) as u8
    }

    fn luma([r, g, b]: [Self; 3]) -> f32 {
        let sum = u32::from(r) * 299 + u32::from(g) * 587 + u32::from(b) * 114;
        ((sum + 500) / 1000) as f32
    }
}

impl Sample for f32 {
    type Weight = f64;

    fn weight(weight: f64) -> f64 {
        weight
    }

    #[expect(clippy::cast_possible_truncation, reason = "sums are in 64 bits, as Pillow's, and rounded here")]
    fn mean(pixels: impl Iterator<Item = Self>, weights: &[f64]) -> Self {
        pixels.zip(weights).map(|(pixel, weight)| f64::from(pixel) * weight).sum::<f64>() as Self
    }

    fn luma([r, g, b]: [Self; 3]) -> f32 {
        0.299 * r + 0.587 * g + 0.114 * b
    }
}

/// A weight as a fixed-point number, halves away from 0.
#[expect(clippy::cast_possible_truncation, reason = "weights are -1 to 2")]
pub(crate) fn fixed(weight: f64) -> i32 {
    (weight * f64::from(1u32 << FRACTION) + 0.5f64.copysign(weight)) as i32
}

/// The taps of the output pixels of `wanted`, where `from` pixels become `to`, bilinear.
#[cfg_attr(not(feature = "gpu"), allow(dead_code, reason = "for textures"))]
pub(crate) fn taps(from: usize, to: usize, wanted: Range<usize>) -> impl Iterator<Item = Taps<f64>> {
    taps_by(Filter::Bilinear, from, to, wanted)
}

/// The taps of the output pixels of `wanted`, where `from` pixels become `to`. The weights of each add up to 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positions are clamped to the picture")]
fn taps_by(filter: Filter, from: usize, to: usize, wanted: Range<usize>) -> impl Iterator<Item = Taps<f64>> {
    let scale = from as f64 / to as f64;
    let widened = scale.max(1.0);
    let support = filter.support() * widened;
    wanted.map(move |i| {
        let centre = (i as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let last = ((centre + support + 0.5) as usize).min(from);
        let weights: Vec<f64> =
            (first..last).map(|x| filter.weight((x as f64 - centre + 0.5) * (1.0 / widened))).collect();
        let sum: f64 = weights.iter().sum();
        Taps { first, weights: weights.into_iter().map(|w| w / sum).collect() }
    })
}

/// [`resized`], bilinear.
pub(super) fn bilinear<T: Sample>(
    rgb: &[T],
    from: [u32; 2],
    size: [u32; 2],
    origin: [u32; 2],
    part: [u32; 2],
) -> Vec<T> {
    resized(Filter::Bilinear, rgb, from, size, origin, part)
}

/// The part of a picture of `from` pixels (width, height), resized to `size`, that begins at `origin` (left, top) and has
/// `part` pixels: only this part is computed, so that a long picture whose middle is cropped costs no more than the middle.
pub(super) fn resized<T: Sample>(
    filter: Filter,
    rgb: &[T],
    from: [u32; 2],
    size: [u32; 2],
    origin: [u32; 2],
    part: [u32; 2],
) -> Vec<T> {
    let taps = |axis: usize| -> Vec<Taps<T::Weight>> {
        let wanted = origin[axis] as usize..origin[axis] as usize + part[axis] as usize;
        let taps = taps_by(filter, from[axis] as usize, size[axis] as usize, wanted);
        taps.map(|t| Taps { first: t.first, weights: t.weights.into_iter().map(T::weight).collect() }).collect()
    };
    let (across, down) = (taps(0), taps(1));
    let rows = match (down.first(), down.last()) {
        (Some(top), Some(bottom)) => top.first..bottom.first + bottom.weights.len(),
        _ => return vec![],
    };
    let mut middle = Vec::with_capacity(rows.len() * across.len() * 3);
    for row in rgb.chunks_exact(from[0] as usize * 3).take(rows.end).skip(rows.start) {
        for taps in &across {
            let under = &row[taps.first * 3..(taps.first + taps.weights.len()) * 3];
            middle.extend((0..3).map(|channel| T::mean(under.iter().skip(channel).step_by(3).copied(), &taps.weights)));
        }
    }
    let pitch = across.len() * 3;
    let mut out = Vec::with_capacity(down.len() * pitch);
    for taps in &down {
        let under = &middle[(taps.first - rows.start) * pitch..];
        out.extend((0..pitch).map(|x| T::mean(under.iter().skip(x).step_by(pitch).copied(), &taps.weights)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::Picture;
    use super::*;

    fn picture(width: u32, height: u32) -> Picture {
        let byte = |i: u64| (i * i * 7 + i * 13 + i / 5 * 31) as u8;
        let rgb = (0..u64::from(width * height * 3)).map(byte).collect();
        Picture::from_rgb(width, height, rgb).unwrap()
    }

    fn checksum(bytes: &[u8]) -> u32 {
        bytes.iter().fold(0, |sum, &b| sum.wrapping_mul(31).wrapping_add(b.into()))
    }

    /// Checksums of what Pillow 13.0.0 gives: `Image.frombytes("RGB", (w, h), data).resize((W, H), Image.BILINEAR)`, and the same
    /// with `Image.BICUBIC`.
    #[test]
    fn agrees_with_pillow_bit_for_bit() {
        for (from, to, bilinear, bicubic) in PILLOW {
            let picture = picture(from[0], from[1]);
            assert_eq!(checksum(picture.resized(to[0], to[1]).unwrap().rgb()), bilinear, "{from:?} to {to:?}");
            assert_eq!(checksum(picture.resized_bicubic(to[0], to[1]).unwrap().rgb()), bicubic, "{from:?} to {to:?}");
        }
    }

    const PILLOW: [([u32; 2], [u32; 2], u32, u32); 8] = [
        ([7, 5], [7, 5], 0x87fb_29e6, 0x87fb_29e6),
        ([7, 5], [3, 2], 0x0850_d787, 0x8ba2_ae75),
        ([7, 5], [20, 11], 0x5a4b_b7fd, 0xab1b_c4a2),
        ([300, 168], [457, 256], 0x98b0_32e7, 0x0234_f5ec),
        ([61, 47], [29, 80], 0x5ef6_8cab, 0x26cb_d5a2),
        ([640, 427], [384, 256], 0xba8f_ef00, 0x0496_3c00),
        ([1, 1], [4, 4], 0xf61b_6600, 0xf61b_6600),
        ([513, 3], [8, 8], 0x2cb5_f01d, 0xd4ad_6bef),
    ];

    /// The first, the last and the middle one of what Pillow 13.0.0 gives: `Image.fromarray(green, "F").resize((W, H), Image.BILINEAR)`.
    #[test]
    fn floats_agree_with_pillows_mode_f() {
        for (from, to, expected) in [
            ([7, 5], [3, 2], [155.756_5, 161.620_13, 112.601_6]),
            ([7, 5], [20, 11], [20.0, 190.0, 204.275]),
            ([300, 168], [10, 7], [126.968_48, 127.118_065, 126.823_83]),
            ([513, 3], [2, 2], [127.923_164, 125.318_695, 125.318_695]),
            ([61, 47], [29, 80], [113.776_79, 110.651_79, 123.526]),
        ] {
            let rgb: Vec<f32> = picture(from[0], from[1]).rgb().iter().map(|&v| v.into()).collect();
            let resized = bilinear(&rgb, from, to, [0, 0], to);
            let [w, h] = to.map(|side| side as usize);
            for (place, expected) in [0, w * h - 1, h / 2 * w + w / 2].into_iter().zip(expected) {
                let got = resized[place * 3 + 1];
                assert!((got - expected).abs() < 2e-5, "{from:?} to {to:?}: {got} for {expected}");
            }
        }
    }

    #[test]
    fn a_part_is_the_part_of_the_whole() {
        let picture = picture(61, 47);
        let whole = picture.resized(29, 80).unwrap();
        let part = bilinear(picture.rgb(), [61, 47], [29, 80], [5, 11], [17, 40]);
        for (y, row) in part.chunks_exact(17 * 3).enumerate() {
            let start = ((y + 11) * 29 + 5) * 3;
            assert_eq!(row, &whole.rgb()[start..start + 17 * 3]);
        }
    }
}
