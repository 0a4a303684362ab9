//! Bringing a picture to an input's width and height.

use super::{Picture, resize};

/// How a picture is brought to the input's width and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fit {
    /// Resized to it, whatever becomes of the proportions.
    Stretch,
    /// Resized so that the shorter side has this many pixels, then cut out of the middle. `None` takes 8/7 of the input's
    /// shorter side, which is 256 for 224, and the input's own where it has under 64 pixels.
    Crop(Option<u32>),
    /// Resized so that the whole picture fits, the rest filled with this grey.
    Letterbox {
        /// The value of the filling, 0 to 255.
        fill: u8,
        /// Whether the picture lies in the middle; otherwise at the top left.
        centred: bool,
    },
    /// A drawn or scanned digit as the MNIST data set has them: bright on dark, 20 pixels high or wide in 28, its centre of
    /// mass in the middle.
    Digit,
}

impl Fit {
    /// The picture at this size: red, green, blue, row by row.
    pub(super) fn apply(self, picture: &Picture, width: u32, height: u32) -> Vec<u8> {
        let [w, h] = [u64::from(picture.width), u64::from(picture.height)];
        match self {
            Self::Stretch | Self::Digit => resize::bilinear(picture, [width, height], [0, 0], [width, height]),
            Self::Crop(short) => {
                let least = width.min(height);
                let default = if least < 64 { least } else { (least * 8).div_ceil(7) };
                // Never so small that the middle would have to be larger than the picture.
                let short = u64::from(short.unwrap_or(default).max(1));
                let from = w.min(h);
                // Rounded, halves up.
                let side = |side: u64| (2 * short * side + from) / (2 * from);
                let size = [side(w), side(h)];
                let fits = |have: u64, want: u32| have >= u64::from(want);
                let size = if fits(size[0], width) && fits(size[1], height) {
                    size
                } else {
                    // The picture is narrower than the input's proportions: the input's own size is the least that covers.
                    let cover =
                        |side: u64| (side * u64::from(width)).div_ceil(w).max((side * u64::from(height)).div_ceil(h));
                    [cover(w), cover(h)]
                };
                let part = |axis: usize, want: u32| {
                    // Sides are at most 65,535 before and times as many after: within 32 bits.
                    let total = u32::try_from(size[axis]).unwrap_or(u32::MAX);
                    (total, (total.saturating_sub(want)) / 2)
                };
                let (across, left) = part(0, width);
                let (down, top) = part(1, height);
                resize::bilinear(picture, [across, down], [left, top], [width, height])
            }
            Self::Letterbox { fill, centred } => {
                // The scale that both sides allow, as a fraction: the smaller of width/w and height/h; sides are cut off, not rounded.
                let (over, under) = if u64::from(width) * h <= u64::from(height) * w {
                    (u64::from(width), w)
                } else {
                    (u64::from(height), h)
                };
                let side = |side: u64| u32::try_from((side * over / under).max(1)).unwrap_or(u32::MAX);
                let size = [side(w), side(h)];
                let inner = resize::bilinear(picture, size, [0, 0], size);
                let [left, top] = if centred { [(width - size[0]) / 2, (height - size[1]) / 2] } else { [0, 0] };
                let mut out = vec![fill; width as usize * height as usize * 3];
                let pitch = size[0] as usize * 3;
                for (y, row) in inner.chunks_exact(pitch).enumerate() {
                    let start = ((y + top as usize) * width as usize + left as usize) * 3;
                    out[start..start + pitch].copy_from_slice(row);
                }
                out
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::Fact;
    use crate::image::{Picture, Preprocessing};
    use crate::tensor::ElementType;

    #[test]
    fn every_proportion_fills_every_input() {
        for (w, h) in [(1, 1), (1, 500), (500, 1), (37, 41), (300, 168), (65_535, 1), (2, 65_535)] {
            for (width, height) in [(1, 1), (7, 5), (5, 90), (64, 48)] {
                for fit in ["stretch", "crop", "letterbox", "letterbox-top-left"] {
                    let mut how = Preprocessing::default();
                    how.set("fit", fit).unwrap();
                    let input = Fact::new(ElementType::F32, [1, 3, height, width]);
                    let tensor =
                        how.tensor(&Picture::from_rgb(w, h, vec![77; (w * h * 3) as usize]).unwrap(), &input).unwrap();
                    assert_eq!(tensor.shape(), [1, 3, height, width], "{fit} of {w}x{h}");
                }
            }
        }
    }

    #[test]
    fn a_letterbox_keeps_proportions_and_fills_the_rest() {
        let mut how = Preprocessing { scale: 1.0, mean: [0.0; 3], std: [1.0; 3], ..Preprocessing::default() };
        let input = Fact::new(ElementType::F32, [1usize, 3, 8, 8]);
        let picture = Picture::from_rgb(4, 2, vec![9; 24]).unwrap();
        how.set("fit", "letterbox").unwrap();
        how.set("fill", "50").unwrap();
        let rows = |how: &Preprocessing| -> Vec<f32> {
            how.tensor(&picture, &input).unwrap().as_slice::<f32>().unwrap().chunks(8).take(8).map(|r| r[3]).collect()
        };
        assert_eq!(rows(&how), [50., 50., 9., 9., 9., 9., 50., 50.]);
        how.set("fit", "letterbox-top-left").unwrap();
        assert_eq!(rows(&how), [9., 9., 9., 9., 114., 114., 114., 114.]);
    }
}
