//! A picture turned upright, mirrored, and cut to the part that matters: which of its pixels is where.

use std::borrow::Cow;

use super::{ImageError, Preprocessing};

/// By how much a picture is turned, clockwise: a camera's sensor rarely lies as its screen is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Turn {
    /// As it is.
    #[default]
    None,
    /// A quarter.
    Quarter,
    /// Upside down.
    Half,
    /// Three quarters.
    ThreeQuarters,
}

/// The pixels of a picture that a model is to see: that at `(x, y)` of the view is `start + x · across + y · down` of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    /// Width and height.
    pub size: [u32; 2],
    pub start: [i32; 2],
    pub across: [i32; 2],
    pub down: [i32; 2],
}

impl View {
    /// What the settings say of a picture of `width` and `height` pixels, which have 16 bits.
    pub(super) fn new(how: &Preprocessing, [width, height]: [u32; 2]) -> Result<Self, ImageError> {
        let last = [width.saturating_sub(1), height.saturating_sub(1)].map(u32::cast_signed);
        let (size, start, across, down) = match how.turn {
            Turn::None => ([width, height], [0, 0], [1, 0], [0, 1]),
            Turn::Quarter => ([height, width], [0, last[1]], [0, -1], [1, 0]),
            Turn::Half => ([width, height], last, [-1, 0], [0, -1]),
            Turn::ThreeQuarters => ([height, width], [last[0], 0], [0, 1], [-1, 0]),
        };
        let mut view = Self { size, start, across, down };
        if how.mirror {
            view.start = view.at(size[0].saturating_sub(1), 0);
            view.across = across.map(|step| -step);
        }
        if let Some([left, top, width, height]) = how.region {
            let inside =
                |start: u32, len: u32, side: u32| len > 0 && start.checked_add(len).is_some_and(|end| end <= side);
            if !inside(left, width, size[0]) || !inside(top, height, size[1]) {
                return Err(ImageError::Region { region: [left, top, width, height], picture: size });
            }
            view.start = view.at(left, top);
            view.size = [width, height];
        }
        Ok(view)
    }

    /// Where in the picture a pixel of the view lies.
    fn at(&self, x: u32, y: u32) -> [i32; 2] {
        let [x, y] = [x, y].map(u32::cast_signed);
        [0, 1].map(|i| self.start[i] + x * self.across[i] + y * self.down[i])
    }

    /// The view's pixels, of those of a picture that is `width` pixels wide.
    pub(super) fn of<'a, T: Copy>(&self, rgb: &'a [T], [width, height]: [u32; 2]) -> Cow<'a, [T]> {
        if (self.size, self.across, self.down) == ([width, height], [1, 0], [0, 1]) {
            return Cow::Borrowed(rgb);
        }
        let pixels = rgb.as_chunks::<3>().0;
        let places = (0..self.size[1]).flat_map(|y| (0..self.size[0]).map(move |x| self.at(x, y)));
        let picked = places.filter_map(|[u, v]| pixels.get(v as usize * width as usize + u as usize));
        Cow::Owned(picked.flatten().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first channel of the view of a picture of 3 × 2 pixels, 0 to 5, row by row.
    fn seen(how: &Preprocessing) -> ([u32; 2], Vec<u8>) {
        let rgb: Vec<u8> = (0..6).flat_map(|v| [v; 3]).collect();
        let view = View::new(how, [3, 2]).unwrap();
        (view.size, view.of(&rgb, [3, 2]).iter().copied().step_by(3).collect())
    }

    #[test]
    fn turned_mirrored_then_cut() {
        let mut how = Preprocessing::default();
        assert_eq!(seen(&how), ([3, 2], vec![0, 1, 2, 3, 4, 5]));
        for (turn, turned, mirrored) in [
            (Turn::Quarter, [3, 0, 4, 1, 5, 2], [0, 3, 1, 4, 2, 5]),
            (Turn::ThreeQuarters, [2, 5, 1, 4, 0, 3], [5, 2, 4, 1, 3, 0]),
        ] {
            (how.turn, how.mirror) = (turn, false);
            assert_eq!(seen(&how), ([2, 3], turned.to_vec()));
            how.mirror = true;
            assert_eq!(seen(&how), ([2, 3], mirrored.to_vec()));
        }
        (how.turn, how.mirror) = (Turn::Half, false);
        assert_eq!(seen(&how), ([3, 2], vec![5, 4, 3, 2, 1, 0]));
        how.region = Some([1, 0, 2, 1]);
        assert_eq!(seen(&how), ([2, 1], vec![4, 3]));
        for region in [[0, 0, 0, 1], [2, 0, 2, 1], [0, 1, 1, 2], [u32::MAX, 0, 2, 1]] {
            how.region = Some(region);
            assert!(matches!(View::new(&how, [3, 2]), Err(ImageError::Region { .. })), "{region:?}");
        }
    }
}
