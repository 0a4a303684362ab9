//! Picture files into pixels.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits};

use super::{Picture, jpeg};

/// The longest side that is decoded; JPEG has the same bound.
const MAX_SIDE: usize = 65_535;
/// The most pixels that are decoded: beyond every camera, far below what a forged header can claim.
const MAX_PIXELS: usize = 1 << 27;
/// The most memory that a decoder may take, in bytes.
const MAX_MEMORY: u64 = 1 << 30;

/// Checks a size before anything of it is allocated.
pub(super) fn check_size(width: usize, height: usize) -> Result<(), String> {
    let sides = (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height);
    if sides && width * height <= MAX_PIXELS {
        return Ok(());
    }
    Err(format!(
        "a picture of {width} × {height} pixels is not decoded: it may have {MAX_PIXELS}, {MAX_SIDE} to a side"
    ))
}

/// The pixels of a JPEG 2000 file, or of what such a file wraps.
#[cfg(feature = "image-formats")]
fn jpeg2000(bytes: &[u8]) -> Result<Picture, String> {
    use hayro_jpeg2000::{ColorSpace, DecodeSettings, Image};

    let settings = DecodeSettings { strict: true, ..DecodeSettings::default() };
    let image = Image::new(bytes, &settings).map_err(|e| e.to_string())?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    check_size(width, height)?;
    // Its decoder holds each sample in 32 bits, several times over.
    if width * height > MAX_PIXELS / 8 {
        return Err(format!("{width} × {height} pixels are more than {}", MAX_PIXELS / 8));
    }
    let channels = match image.color_space() {
        ColorSpace::Gray => 1,
        ColorSpace::RGB => 3,
        _ => return Err("its colours are neither grey nor red, green and blue".to_owned()),
    };
    let given = channels + usize::from(image.has_alpha());
    let pixels = image.decode().map_err(|e| e.to_string())?;
    if pixels.len() != width * height * given {
        return Err("it has not as many samples as its size says".to_owned());
    }
    let bytes = pixels.chunks_exact(given).flat_map(|pixel| &pixel[..channels]).copied().collect();
    Ok(Picture { width, height, channels, bytes })
}

/// The pixels of a picture file.
pub(super) fn decode(bytes: &[u8]) -> Result<Picture, String> {
    #[cfg(feature = "image-formats")]
    if bytes.starts_with(b"\x00\x00\x00\x0cjP  ") || bytes.starts_with(b"\xff\x4f\xff\x51") {
        return jpeg2000(bytes).map_err(|e| format!("the JPEG 2000 picture is not decoded: {e}"));
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    match reader.format() {
        None => return Err("its first bytes are of no format that is decoded".to_owned()),
        Some(ImageFormat::Jpeg) => return jpeg::decode(bytes).map_err(|e| format!("the JPEG is not decoded: {e}")),
        _ => {}
    }
    let mut decoder = reader.into_decoder().map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    check_size(width, height)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_MEMORY);
    decoder.set_limits(limits).map_err(|e| e.to_string())?;
    let image = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    Ok(match image.color().has_color() {
        false => Picture { width, height, channels: 1, bytes: image.into_luma8().into_raw() },
        true => Picture { width, height, channels: 3, bytes: image.into_rgb8().into_raw() },
    })
}
