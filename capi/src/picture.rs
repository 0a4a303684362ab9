//! Pictures in memory, as cameras and decoders give them.

use rimlight::image::Picture;

use crate::failure::Failure;
use crate::status::Status;

/// How the pixels of a picture in memory lie, 8 bits a channel. What is behind an A or an X is not looked at.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PixelFormat {
    /// Red, green, blue.
    Rgb = 0,
    /// Blue, green, red.
    Bgr = 1,
    /// Red, green, blue, and a byte of something else.
    Rgba = 2,
    /// Blue, green, red, and a byte of something else.
    Bgra = 3,
    /// One byte: grey.
    Grey = 4,
}

impl PixelFormat {
    fn of(number: i32) -> Option<Self> {
        [Self::Rgb, Self::Bgr, Self::Rgba, Self::Bgra, Self::Grey].into_iter().find(|&format| format as i32 == number)
    }

    /// Bytes of a pixel, and where in them red, green and blue are.
    const fn places(self) -> (usize, [usize; 3]) {
        match self {
            Self::Rgb => (3, [0, 1, 2]),
            Self::Bgr => (3, [2, 1, 0]),
            Self::Rgba => (4, [0, 1, 2]),
            Self::Bgra => (4, [2, 1, 0]),
            Self::Grey => (1, [0, 0, 0]),
        }
    }
}

/// The format of a number that C gave, and how many bytes such a picture has from its first pixel to its last.
pub(crate) fn layout(format: i32, [width, height]: [u32; 2], stride: usize) -> Result<(PixelFormat, usize), Failure> {
    let Some(format) = PixelFormat::of(format) else {
        let message = format!("{format} is no RimlightPixelFormat; there are 0 (RGB) to 4 (grey)");
        return Err(Failure::new(Status::InvalidArgument, message));
    };
    let wrong = |message: String| Failure::new(Status::WrongSize, message);
    if width == 0 || height == 0 {
        return Err(wrong(format!("a picture of {width} x {height} has no pixels")));
    }
    // What is larger is refused before anybody reads so far.
    if width > MOST || height > MOST {
        return Err(wrong(format!("a picture of {width} x {height} is larger than {MOST} to a side")));
    }
    let row = width as usize * format.places().0;
    if stride < row {
        return Err(wrong(format!("rows of {width} pixels take {row} bytes, but the stride is {stride}")));
    }
    let length = stride.checked_mul(height as usize - 1).and_then(|above| above.checked_add(row));
    length.map(|length| (format, length)).ok_or_else(|| wrong(format!("a stride of {stride} is more than memory has")))
}

/// The longest side, that of the library's pictures.
const MOST: u32 = 65_535;

/// The picture whose rows these bytes are.
pub(crate) fn rgb(
    format: PixelFormat,
    bytes: &[u8],
    [width, height]: [u32; 2],
    stride: usize,
) -> Result<Picture, Failure> {
    let (pixel, places) = format.places();
    let mut rgb = Vec::with_capacity((width as usize * height as usize).saturating_mul(3));
    for row in bytes.chunks(stride) {
        // The last row may end with its last pixel.
        let row = row.get(..width as usize * pixel).unwrap_or(row);
        for pixel in row.chunks_exact(pixel) {
            rgb.extend(places.map(|place| pixel.get(place).copied().unwrap_or_default()));
        }
    }
    Ok(Picture::from_rgb(width, height, rgb)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_end_where_the_stride_says() {
        // Two rows of two pixels, one byte more to the first.
        let bgr = [3, 2, 1, 6, 5, 4, 99, 9, 8, 7, 12, 11, 10];
        let (format, length) = layout(1, [2, 2], 7).unwrap();
        assert_eq!(length, bgr.len());
        assert_eq!(rgb(format, &bgr, [2, 2], 7).unwrap().rgb(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        let (format, length) = layout(4, [3, 1], 50).unwrap();
        assert_eq!(length, 3);
        assert_eq!(rgb(format, &[1, 2, 3], [3, 1], 50).unwrap().rgb(), [1, 1, 1, 2, 2, 2, 3, 3, 3]);
        let (format, length) = layout(3, [1, 2], 4).unwrap();
        assert_eq!(length, 8);
        assert_eq!(rgb(format, &[3, 2, 1, 0, 6, 5, 4, 0], [1, 2], 4).unwrap().rgb(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for (size, stride) in [([0, 1], 3), ([1, 0], 3), ([2, 1], 5), ([2, 3], usize::MAX), ([65_536, 1], 1 << 20)] {
            assert_eq!(layout(0, size, stride).unwrap_err().status(), Status::WrongSize, "{size:?}");
        }
        assert_eq!(layout(5, [1, 1], 4).unwrap_err().status(), Status::InvalidArgument);
    }
}
