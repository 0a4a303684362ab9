//! Pictures to tensors and back. Files are decoded with the feature `image`.
//!
//! ```
//! use rimlight::image::{Picture, Preprocessing};
//! use rimlight::{ElementType, graph::Fact};
//!
//! let picture = Picture::from_rgb(300, 200, vec![128; 300 * 200 * 3])?;
//! // What a classifier of photographs takes, unless it is known better: resized, cropped, normalised.
//! let input = Fact::new(ElementType::F32, [1usize, 3, 224, 224]);
//! let tensor = Preprocessing::for_input(&input)?.tensor(&picture, &input)?;
//! assert_eq!(tensor.shape(), [1, 3, 224, 224]);
//! # Ok::<(), rimlight::image::ImageError>(())
//! ```

mod classes;
mod digit;
mod fit;
mod luma;
mod preprocess;
mod resize;
mod settings;
mod view;

#[cfg(feature = "image")]
use std::io::Cursor;

/// A picture as the crate `image` has it, for [`Preprocessing::tensor_of`].
#[cfg(feature = "image")]
pub use ::image::DynamicImage;
#[cfg(feature = "image")]
use ::image::{ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::tensor::TensorError;
pub use classes::classes;
pub use fit::Resize;
pub use preprocess::{Channels, PixelLayout, Preprocessing};
pub use view::Turn;
#[cfg(feature = "gpu")]
pub(crate) use {
    preprocess::Fitted,
    resize::{fixed, taps},
};

/// The longest side that is decoded; JPEG has the same bound.
const MAX_SIDE: u32 = 65_535;
/// The most pixels that are decoded: beyond every camera, far below what a forged header can claim.
const MAX_PIXELS: u64 = 1 << 27;
/// The most memory that a decoder may take, in bytes.
#[cfg(feature = "image")]
const MAX_MEMORY: u64 = 1 << 30;

/// A picture could not be read, or not be made into a tensor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The file could not be read or written.
    #[error("cannot read '{path}': {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are no picture that can be decoded.
    #[error("{what} cannot be decoded as JPEG or PNG: {message}")]
    Decode {
        /// The file, or `the picture` where it has no name.
        what: String,
        /// What the decoder says.
        message: String,
    },
    /// The picture is larger than what is accepted.
    #[error(
        "a picture of {width} × {height} pixels is larger than what is accepted: {MAX_PIXELS} pixels, {MAX_SIDE} to a side"
    )]
    TooLarge {
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
    },
    /// The region that was asked for does not lie in the picture.
    #[error(
        "a region of {} × {} pixels from ({}, {}) on does not lie in a picture of {} × {}",
        region[2], region[3], region[0], region[1], picture[0], picture[1]
    )]
    Region {
        /// Left, top, width and height.
        region: [u32; 4],
        /// The picture's width and height, once it was turned.
        picture: [u32; 2],
    },
    /// A preprocessing that cannot be, or that does not fit the input.
    #[error("{0}")]
    Preprocessing(String),
    /// A tensor could not be made or read.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// A picture in memory: 8 bits each of red, green and blue, row by row from the top left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Picture {
    /// Reads a JPEG or PNG file. It is turned upright as its camera says; transparency is dropped, not blended.
    ///
    /// # Errors
    /// If the file cannot be read, is no picture, or is too large.
    #[cfg(all(feature = "image", not(target_arch = "wasm32")))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self, ImageError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| ImageError::Io { path: name.clone(), source })?;
        decode(&bytes, &format!("'{name}'"))
    }

    /// Decodes the bytes of a JPEG or PNG file, as [`Picture::open`] does.
    ///
    /// # Errors
    /// If they are no picture, or it is too large.
    #[cfg(feature = "image")]
    pub fn decode(bytes: &[u8]) -> Result<Self, ImageError> {
        decode(bytes, "the picture")
    }

    /// A picture of these pixels: red, green, blue, row by row.
    ///
    /// # Errors
    /// If there are not as many as `width` and `height` say, or none at all.
    pub fn from_rgb(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self, ImageError> {
        check_size(width, height)?;
        let needed = width as usize * height as usize * 3;
        if rgb.len() != needed {
            return Err(ImageError::Preprocessing(format!(
                "a picture of {width} × {height} pixels has {needed} bytes, but {} were given",
                rgb.len()
            )));
        }
        Ok(Self { width, height, rgb })
    }

    /// Its width in pixels, never 0.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Its height in pixels, never 0.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Red, green, blue, row by row.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The picture at another size, antialiased: bilinear as Pillow's, bit for bit.
    ///
    /// # Errors
    /// If the size is 0 or too large.
    pub fn resized(&self, width: u32, height: u32) -> Result<Self, ImageError> {
        check_size(width, height)?;
        self.resized_by(resize::Filter::Bilinear, [width, height])
    }

    /// The picture at another size, smoother where it is larger: bicubic as Pillow's, bit for bit.
    ///
    /// # Errors
    /// If the size is 0 or too large.
    pub fn resized_bicubic(&self, width: u32, height: u32) -> Result<Self, ImageError> {
        check_size(width, height)?;
        self.resized_by(resize::Filter::Bicubic, [width, height])
    }

    fn resized_by(&self, filter: resize::Filter, to: [u32; 2]) -> Result<Self, ImageError> {
        let rgb = resize::resized(filter, &self.rgb, [self.width, self.height], to, [0, 0], to);
        Self::from_rgb(to[0], to[1], rgb)
    }

    /// The picture as the bytes of a PNG file.
    ///
    /// # Errors
    /// If the encoder fails.
    #[cfg(feature = "image")]
    pub fn to_png(&self) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Cursor::new(vec![]);
        ::image::write_buffer_with_format(
            &mut bytes,
            &self.rgb,
            self.width,
            self.height,
            ::image::ExtendedColorType::Rgb8,
            ImageFormat::Png,
        )
        .map_err(|e| ImageError::Preprocessing(format!("cannot write a PNG: {e}")))?;
        Ok(bytes.into_inner())
    }
}

fn check_size(width: u32, height: u32) -> Result<(), ImageError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(ImageError::Preprocessing(format!("a picture of {width} × {height} has no pixels")));
    }
    if width > MAX_SIDE || height > MAX_SIDE || pixels > MAX_PIXELS {
        return Err(ImageError::TooLarge { width, height });
    }
    Ok(())
}

#[cfg(feature = "image")]
fn decode(bytes: &[u8], what: &str) -> Result<Picture, ImageError> {
    let failed = |message: String| ImageError::Decode { what: what.to_owned(), message };
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| failed(e.to_string()))?;
    if reader.format().is_none() {
        return Err(failed("its first bytes are those of neither".to_owned()));
    }
    let mut decoder = reader.into_decoder().map_err(|e| failed(e.to_string()))?;
    let (width, height) = decoder.dimensions();
    // The header is checked before anything of its size is allocated.
    check_size(width, height)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_MEMORY);
    decoder.set_limits(limits).map_err(|e| failed(e.to_string()))?;
    let orientation = decoder.orientation().unwrap_or(::image::metadata::Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|e| failed(e.to_string()))?;
    image.apply_orientation(orientation);
    let rgb = image.into_rgb8();
    Picture::from_rgb(rgb.width(), rgb.height(), rgb.into_raw())
}

#[cfg(all(test, feature = "image"))]
mod tests {
    use super::*;

    #[test]
    fn a_picture_comes_back_from_its_png() {
        let rgb: Vec<u8> = (0..7 * 5 * 3).map(|i| (i * 37 % 256) as u8).collect();
        let picture = Picture::from_rgb(7, 5, rgb).unwrap();
        assert_eq!(Picture::decode(&picture.to_png().unwrap()).unwrap(), picture);
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let png = Picture::from_rgb(9, 9, vec![7; 243]).unwrap().to_png().unwrap();
        for bytes in [&b""[..], b"hello", &png[..20], &png[..png.len() - 20]] {
            let error = Picture::decode(bytes).unwrap_err();
            assert!(matches!(error, ImageError::Decode { .. }), "{error}");
        }
    }

    #[test]
    fn a_forged_header_allocates_nothing() {
        // A PNG whose header claims 65,000 × 65,000 pixels.
        let mut png = Picture::from_rgb(1, 1, vec![0; 3]).unwrap().to_png().unwrap();
        for at in [16, 20] {
            png[at..at + 4].copy_from_slice(&65_000u32.to_be_bytes());
        }
        let crc = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(Picture::decode(&png), Err(ImageError::TooLarge { width: 65_000, height: 65_000 })));
    }

    /// The checksum of a PNG chunk.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 })
        })
    }
}
