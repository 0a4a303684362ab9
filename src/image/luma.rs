//! Luma apart from colour: what networks that enlarge pictures work on.

use super::resize::Sample as _;
use super::{ImageError, Picture, check_size};
use crate::tensor::{TensorError, TensorView};

impl Picture {
    /// The picture at the size of another luma, which it then has: what a network made of its own luma
    /// ([`Channels::Grey`](super::Channels::Grey)), `[1, 1, height, width]` of 0 to 1. The eye is less strict about colours, Cb and Cr
    /// of full-range BT.601: they are resized (bicubic).
    ///
    /// ```
    /// use rimlight::{TensorView, image::Picture};
    /// let red = Picture::from_rgb(1, 1, vec![200, 40, 40])?;
    /// let darker = red.with_luma(&TensorView::new([1, 1, 2, 2], &[0.2f32; 4])?)?;
    /// assert_eq!((darker.width(), &darker.rgb()[..3]), (2, &[163, 3, 3][..]));
    /// # Ok::<(), rimlight::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the luma is of another shape or type, or too large.
    pub fn with_luma(&self, luma: &TensorView<'_>) -> Result<Self, ImageError> {
        let size = |side: usize| u32::try_from(side).map_err(|_| too_large(luma));
        let (width, height) = match *luma.shape() {
            [1, 1, height, width] => (size(width)?, size(height)?),
            _ => {
                let found = luma.shape();
                return Err(ImageError::Preprocessing(format!("luma is [1, 1, height, width], not {found:?}")));
            }
        };
        check_size(width, height)?;
        let luma = luma.as_slice::<f32>()?;
        let split: Vec<u8> = self.rgb.as_chunks::<3>().0.iter().flat_map(|&pixel| luma_and_colour(pixel)).collect();
        let colour = Self::from_rgb(self.width, self.height, split)?.resized_bicubic(width, height)?;
        let pixels = colour.rgb.as_chunks::<3>().0.iter().zip(luma);
        let rgb = pixels.flat_map(|(&[_, blue, red], luma)| {
            let (blue, red) = (f32::from(blue) - 128.0, f32::from(red) - 128.0);
            let parts = [1.402 * red, -0.344_136 * blue - 0.714_136 * red, 1.772 * blue];
            // A cast of what is below 0, above 255 or no number gives 0, 255 and 0.
            parts.map(|part| (luma * 255.0 + part).round() as u8)
        });
        Self::from_rgb(width, height, rgb.collect())
    }
}

/// Y, Cb and Cr of BT.601, full range, rounded to 8 bits.
fn luma_and_colour(pixel: [u8; 3]) -> [u8; 3] {
    let [red, green, blue] = pixel.map(f32::from);
    let colour = |red_part: f32, green_part: f32, blue_part: f32| {
        (128.0 + red_part * red + green_part * green + blue_part * blue).round() as u8
    };
    let blue_difference = colour(-0.168_736, -0.331_264, 0.5);
    [u8::luma(pixel) as u8, blue_difference, colour(0.5, -0.418_688, -0.081_312)]
}

fn too_large(luma: &TensorView<'_>) -> ImageError {
    TensorError::TooLarge { element_type: luma.element_type(), shape: luma.shape().to_vec() }.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// With its own luma, in full precision, a picture is itself but for the rounding of colours.
        #[test]
        fn its_own_luma_changes_nothing(rgb in proptest::collection::vec(any::<u8>(), 5 * 3 * 3)) {
            let picture = Picture::from_rgb(5, 3, rgb).unwrap();
            let luma: Vec<f32> = picture.rgb().as_chunks::<3>().0.iter()
                .map(|&[r, g, b]| (0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b)) / 255.0)
                .collect();
            let same = picture.with_luma(&TensorView::new([1, 1, 3, 5], &luma).unwrap()).unwrap();
            for (a, b) in same.rgb().iter().zip(picture.rgb()) {
                prop_assert!(a.abs_diff(*b) <= 1, "{a} for {b}");
            }
        }
    }

    #[test]
    fn what_is_no_luma_is_refused() {
        let picture = Picture::from_rgb(2, 2, vec![9; 12]).unwrap();
        let values = [0.5f32; 6];
        for shape in [vec![6], vec![1, 3, 1, 2], vec![2, 1, 1, 3]] {
            assert!(picture.with_luma(&TensorView::new(shape, &values).unwrap()).is_err());
        }
        assert!(picture.with_luma(&TensorView::new::<f32>([1, 1, 0, 4], &[]).unwrap()).is_err());
        assert!(picture.with_luma(&TensorView::new([1, 1, 1, 1], &[3u8]).unwrap()).is_err());
        let odd = [f32::NAN, f32::INFINITY, -9.0];
        let odd = picture.with_luma(&TensorView::new([1, 1, 1, 3], &odd).unwrap()).unwrap();
        assert_eq!(odd.rgb(), [0, 0, 0, 255, 255, 255, 0, 0, 0]);
    }
}
