//! Bringing a picture to an input's width and height.

use super::resize::{self, Sample};
use crate::vision;

/// How a picture is brought to the input's width and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resize {
    /// Resized so that the shorter side has [`Preprocessing::short_side`](super::Preprocessing::short_side) pixels, then the
    /// middle cut out.
    ShortSide,
    /// Resized to it, whatever becomes of the proportions.
    Stretch,
    /// Resized so that the whole picture fits, at the top left, the rest filled.
    Letterbox,
    /// The same, in the middle.
    LetterboxCentred,
    /// For inputs of any size: each side resized to the nearest multiple of [`Preprocessing::multiple`](super::Preprocessing::multiple).
    Multiple,
    /// For inputs of any size: not resized.
    Keep,
    /// A drawn or scanned digit as the MNIST data set has them: bright on dark, 20 pixels high or wide in 28, its centre of
    /// mass in the middle. Its values are 0 to 1, not 0 to 255.
    Digit,
}

/// Where a picture, resized, comes to lie in an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The width and height that it is resized to.
    pub size: [u32; 2],
    /// The left and top of the part of it that is wanted.
    pub origin: [u32; 2],
    /// That part's width and height.
    pub part: [u32; 2],
    /// The left and top of the part in the input; the rest is filled.
    pub at: [u32; 2],
}

/// The picture resized to this width and height, whatever becomes of the proportions.
pub(super) fn stretch(to: [u32; 2]) -> Placement {
    Placement { size: to, origin: [0, 0], part: to, at: [0, 0] }
}

/// The picture resized so that its shorter side has `short` pixels, and the middle of that. Where the middle would not be
/// covered, the picture is resized so that it just is. `None` takes 8/7 of the shorter side of the result (256 for 224), or
/// all of it where that is under 64 pixels.
pub(super) fn crop(from: [u32; 2], [width, height]: [u32; 2], short: Option<u32>) -> Placement {
    let [w, h] = from.map(u64::from);
    let least = width.min(height);
    let default = if least < 64 { least } else { (least * 8).div_ceil(7) };
    let short = u64::from(short.unwrap_or(default).max(1));
    let from = w.min(h);
    // Rounded, halves up.
    let side = |side: u64| (2 * short * side + from) / (2 * from);
    let mut size = [side(w), side(h)];
    if size[0] < u64::from(width) || size[1] < u64::from(height) {
        size = [w, h].map(|side| {
            let cover = |to: u32, from: u64| (side * u64::from(to)).div_ceil(from);
            cover(width, w).max(cover(height, h))
        });
    }
    // Sides have at most 16 bits before, and become at most 16 bits times as long.
    let size = size.map(|side| u32::try_from(side).unwrap_or(u32::MAX));
    let origin = [(size[0] - width) / 2, (size[1] - height) / 2];
    Placement { size, origin, part: [width, height], at: [0, 0] }
}

/// The whole picture as large as it fits, sides rounded down, and the rest filled.
pub(super) fn letterbox(from: [u32; 2], to: [u32; 2], centred: bool) -> Placement {
    let (size, at) = vision::letterbox(from, to, centred);
    Placement { at, ..stretch(size) }
}

/// The input's pixels: what the picture becomes where the placement says, and `fill` around it.
pub(super) fn placed<T: Sample>(rgb: &[T], from: [u32; 2], how: &Placement, to: [u32; 2], fill: T) -> Vec<T> {
    let inner = resize::bilinear(rgb, from, how.size, how.origin, how.part);
    if how.part == to {
        return inner;
    }
    let [left, top] = how.at.map(|side| side as usize);
    let mut out = vec![fill; to[0] as usize * to[1] as usize * 3];
    let pitch = how.part[0] as usize * 3;
    for (y, row) in inner.chunks_exact(pitch).enumerate() {
        let start = ((y + top) * to[0] as usize + left) * 3;
        out[start..start + pitch].copy_from_slice(row);
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::graph::{Dim, Fact};
    use crate::image::{Picture, Preprocessing};
    use crate::tensor::ElementType;

    #[test]
    fn every_proportion_fills_every_input() {
        for (w, h) in [(1, 1), (1, 500), (500, 1), (37, 41), (300, 168), (65_535, 1), (2, 65_535)] {
            for (width, height) in [(1, 1), (7, 5), (5, 90), (64, 48)] {
                for resize in ["stretch", "short_side", "letterbox", "letterbox_centred"] {
                    let mut how = Preprocessing::default();
                    how.set("resize", resize).unwrap();
                    let input = Fact::new(ElementType::F32, [1, 3, height, width]);
                    let tensor =
                        how.tensor(&Picture::from_rgb(w, h, vec![77; (w * h * 3) as usize]).unwrap(), &input).unwrap();
                    assert_eq!(tensor.shape(), [1, 3, height, width], "{resize} of {w}x{h}");
                }
            }
        }
    }

    #[test]
    fn a_letterbox_keeps_proportions_and_fills_the_rest() {
        let mut how = Preprocessing { scale: 1.0, mean: [0.0; 3], std: [1.0; 3], ..Preprocessing::default() };
        let input = Fact::new(ElementType::F32, [1usize, 3, 8, 8]);
        let picture = Picture::from_rgb(4, 2, vec![9; 24]).unwrap();
        how.set("resize", "letterbox_centred").unwrap();
        how.set("fill", "50").unwrap();
        let rows = |how: &Preprocessing| -> Vec<f32> {
            how.tensor(&picture, &input).unwrap().as_slice::<f32>().unwrap().chunks(8).take(8).map(|r| r[3]).collect()
        };
        assert_eq!(rows(&how), [50., 50., 9., 9., 9., 9., 50., 50.]);
        how.set("resize", "letterbox").unwrap();
        assert_eq!(rows(&how), [9., 9., 9., 9., 50., 50., 50., 50.]);
    }

    #[test]
    fn open_sizes_follow_the_picture() {
        let open = Fact::new(ElementType::F32, [Dim::Known(1), Dim::Known(3), Dim::symbol("h"), Dim::symbol("w")]);
        let picture = Picture::from_rgb(47, 5, vec![9; 47 * 5 * 3]).unwrap();
        let mut how = Preprocessing::default();
        how.set("resize", "none").unwrap();
        assert_eq!(how.tensor(&picture, &open).unwrap().shape(), [1, 3, 5, 47]);
        how.set("resize", "multiple").unwrap();
        assert_eq!(how.tensor(&picture, &open).unwrap().shape(), [1, 3, 32, 32]);
        how.set("multiple", "10").unwrap();
        assert_eq!(how.tensor(&picture, &open).unwrap().shape(), [1, 3, 10, 50]);
        let fixed = Fact::new(ElementType::F32, [1usize, 3, 8, 8]);
        assert!(how.tensor(&picture, &fixed).unwrap_err().to_string().contains("fixed"));
    }
}
