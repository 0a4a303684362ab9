//! How a picture was fitted to a network's input, and the way back.

use super::{Rectangle, VisionError};

/// How a picture lies in a network's input: resized to `inner` pixels, which begin at `offset`.
///
/// ```
/// use rimlight::vision::{Fitted, Rectangle};
/// let fitted = Fitted::letterbox([400, 200], [100, 100], false)?;
/// assert_eq!((fitted.inner, fitted.offset), ([100, 50], [0, 0]));
/// assert_eq!(fitted.back(Rectangle::new(25.0, 0.0, 50.0, 50.0)), Rectangle::new(100.0, 0.0, 200.0, 200.0));
/// # Ok::<(), rimlight::vision::VisionError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fitted {
    /// The picture's width and height.
    pub picture: [u32; 2],
    /// The width and height that it was resized to.
    pub inner: [u32; 2],
    /// Where in the input it begins, from the left and from the top.
    pub offset: [u32; 2],
}

impl Fitted {
    /// The whole picture as large as it fits, sides rounded down: at the top left, or in the middle. So
    /// `Preprocessing` does it for `letterbox` and `letterbox_centred` (`Preprocessing::mapping`).
    ///
    /// # Errors
    /// If either has no pixels.
    pub fn letterbox(picture: [u32; 2], input: [u32; 2], centred: bool) -> Result<Self, VisionError> {
        let whole = Self::stretched(picture, input)?;
        let (inner, offset) = letterbox(picture, input, centred);
        Ok(Self { inner, offset, ..whole })
    }

    /// The picture resized to the whole input, whatever becomes of the proportions.
    ///
    /// # Errors
    /// If either has no pixels.
    pub fn stretched(picture: [u32; 2], input: [u32; 2]) -> Result<Self, VisionError> {
        match [picture, input].into_iter().find(|size| size.contains(&0)) {
            Some([width, height]) => Err(VisionError::Empty { width, height }),
            None => Ok(Self { picture, inner: input, offset: [0, 0] }),
        }
    }

    /// A point of the input as a point of the picture, which it may lie outside of.
    pub fn point_back(&self, point: [f32; 2]) -> [f32; 2] {
        let axis = |axis: usize| {
            let factor = f64::from(self.picture[axis]) / f64::from(self.inner[axis].max(1));
            ((f64::from(point[axis]) - f64::from(self.offset[axis])) * factor) as f32
        };
        [axis(0), axis(1)]
    }

    /// A rectangle of the input as one of the picture: what of it lies in the picture.
    ///
    /// Each axis goes back by its own factor. Where sides were rounded down these differ a little, and the common factor that some
    /// other programs take is off by a pixel or two at the far sides.
    #[must_use]
    pub fn back(&self, rectangle: Rectangle) -> Rectangle {
        let [left, top] = self.point_back([rectangle.left, rectangle.top]);
        let [right, bottom] = self.point_back([rectangle.right, rectangle.bottom]);
        Rectangle::new(left, top, right, bottom).within(self.picture)
    }
}

/// The size of a picture in a letterbox, and where in it it begins; every side has a pixel.
pub(crate) fn letterbox(picture: [u32; 2], [width, height]: [u32; 2], centred: bool) -> ([u32; 2], [u32; 2]) {
    let [w, h] = picture.map(u64::from);
    // The factor that both sides allow, as a fraction: the smaller of width / w and height / h.
    let (over, under) = match u64::from(width) * h <= u64::from(height) * w {
        true => (u64::from(width), w),
        false => (u64::from(height), h),
    };
    // Widened to 128 bits: sides have up to 32.
    let side = |side: u64| (u128::from(side) * u128::from(over) / u128::from(under.max(1))).max(1);
    let inner = [w, h].map(|full| u32::try_from(side(full)).unwrap_or(u32::MAX));
    let inner = [inner[0].min(width), inner[1].min(height)];
    let offset = if centred { [(width - inner[0]) / 2, (height - inner[1]) / 2] } else { [0, 0] };
    (inner, offset)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The picture's corners come from the corners of what it was resized to, which touches two sides of the input.
        #[test]
        fn corners_come_back(
            picture in [1u32..5000, 1u32..5000],
            input in [1u32..700, 1u32..700],
            centred in any::<bool>(),
        ) {
            let fitted = Fitted::letterbox(picture, input, centred).unwrap();
            prop_assert!(fitted.inner[0] == input[0] || fitted.inner[1] == input[1]);
            let [left, top] = fitted.offset.map(|at| at as f32);
            let [width, height] = fitted.inner.map(|side| side as f32);
            let back = fitted.back(Rectangle::new(left, top, left + width, top + height));
            prop_assert_eq!(back, Rectangle::new(0.0, 0.0, picture[0] as f32, picture[1] as f32));
            for ((inner, offset), side) in fitted.inner.into_iter().zip(fitted.offset).zip(input) {
                let end = offset + inner;
                prop_assert!(end <= side);
                prop_assert!(!centred || (side - end).abs_diff(offset) <= 1);
            }
        }
    }

    #[test]
    fn nothing_cannot_be_fitted() {
        assert!(matches!(Fitted::letterbox([0, 5], [4, 4], true), Err(VisionError::Empty { width: 0, height: 5 })));
        assert!(Fitted::stretched([5, 5], [4, 0]).is_err());
        let most = Fitted::letterbox([u32::MAX, 1], [u32::MAX, u32::MAX], false).unwrap();
        assert_eq!(most.inner, [u32::MAX, 1]);
    }
}
