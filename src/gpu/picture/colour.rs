//! From luma and two differences of colour to red, green and blue.

/// By which weights a video's luma was made. What has 720 lines or more is mostly BT.709, what has fewer BT.601.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum YuvMatrix {
    /// ITU-R BT.601: 0.299, 0.587, 0.114.
    Bt601,
    /// ITU-R BT.709: 0.2126, 0.7152, 0.0722.
    Bt709,
}

/// Which numbers stand for black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum YuvRange {
    /// All: 0 to 255 of 8 bits.
    Full,
    /// 16 to 235 of 8 bits, for the differences 16 to 240: most video.
    Limited,
}

/// The rows of the matrix that makes red, green and blue, 0 to 1, of what a texture gives of luma and the differences
/// (`code / 255`, or `64 · code / 65535` of ten bits) and of 1.
#[expect(clippy::cast_possible_truncation, reason = "numbers of 0 to 2")]
pub(super) fn to_rgb(matrix: YuvMatrix, range: YuvRange, ten_bits: bool) -> [[f32; 4]; 3] {
    let (r, b): (f64, f64) = match matrix {
        YuvMatrix::Bt601 => (0.299, 0.114),
        YuvMatrix::Bt709 => (0.2126, 0.0722),
    };
    let g = 1.0 - r - b;
    // In steps of the code: the texture's 1, black, the way to white, the middle of the differences, their width.
    let (one, step) = if ten_bits { (65_535.0 / 64.0, 4.0) } else { (255.0, 1.0) };
    let (black, white, middle, wide) = match range {
        YuvRange::Full => (0.0, 256.0 * step - 1.0, 128.0 * step, 256.0 * step - 1.0),
        YuvRange::Limited => (16.0 * step, 219.0 * step, 128.0 * step, 224.0 * step),
    };
    // y + Σ weight · difference, where y = (luma · one - black) / white.
    let row = |blue: f64, red: f64| {
        let offset = -black / white - (blue + red) * middle / wide;
        [one / white, blue * one / wide, red * one / wide, offset].map(|v| v as f32)
    };
    let (of_blue, of_red) = (2.0 * (1.0 - b), 2.0 * (1.0 - r));
    [row(0.0, of_red), row(-of_blue * b / g, -of_red * r / g), row(of_blue, 0.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rgb(matrix: YuvMatrix, range: YuvRange, ten_bits: bool, code: [f32; 3]) -> [f32; 3] {
        let one = if ten_bits { 65_535.0 / 64.0 } else { 255.0 };
        let [y, u, v] = code.map(|c| c / one);
        to_rgb(matrix, range, ten_bits).map(|row| row[0] * y + row[1] * u + row[2] * v + row[3])
    }

    /// The codes that the standards give for white, black and the primaries.
    #[test]
    fn primaries_come_out_of_their_codes() {
        use YuvMatrix::{Bt601, Bt709};
        use YuvRange::{Full, Limited};
        for (matrix, range, ten_bits, code, expected) in [
            (Bt601, Limited, false, [235.0, 128.0, 128.0], [1.0, 1.0, 1.0]),
            (Bt601, Limited, false, [16.0, 128.0, 128.0], [0.0, 0.0, 0.0]),
            (Bt601, Limited, false, [81.48, 90.2, 240.0], [1.0, 0.0, 0.0]),
            (Bt601, Full, false, [76.245, 84.97, 255.5], [1.0, 0.0, 0.0]),
            (Bt709, Limited, false, [62.56, 102.34, 240.0], [1.0, 0.0, 0.0]),
            (Bt709, Limited, false, [31.81, 240.0, 117.73], [0.0, 0.0, 1.0]),
            (Bt709, Limited, true, [940.0, 512.0, 512.0], [1.0, 1.0, 1.0]),
            (Bt709, Full, true, [1023.0, 512.0, 512.0], [1.0, 1.0, 1.0]),
        ] {
            let got = rgb(matrix, range, ten_bits, code);
            let near = got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 3e-3);
            assert!(near, "{matrix:?} {range:?} {code:?}: {got:?}");
        }
    }
}
