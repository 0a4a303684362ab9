//! What is wrong with a texture, or with what was asked of it.

use crate::image::ImageError;

/// A texture cannot be a model's input, or show an output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    /// A format that is not read, or not written.
    #[error("the texture is {format:?}; it can be {wanted}")]
    Format {
        /// The texture's format.
        format: wgpu::TextureFormat,
        /// Those that would do.
        wanted: &'static str,
    },
    /// The texture was made without a usage that it needs.
    #[error("the texture lacks the usage {0:?}")]
    Usage(wgpu::TextureUsages),
    /// The texture is no plain picture.
    #[error("the texture has {dimension:?} and {samples} samples; a picture has two dimensions and one sample")]
    Kind {
        /// Its dimensions.
        dimension: wgpu::TextureDimension,
        /// Its samples.
        samples: u32,
    },
    /// The texture has no pixels, or too many.
    #[error("the texture has {} × {} pixels; a picture has 1 to 65535 to a side", .0[0], .0[1])]
    Size([u32; 2]),
    /// Luma and the differences of colour do not belong together.
    #[error(
        "luma has {} × {} pixels and the differences of colour {} × {}, not half of it, rounded up",
        luma[0], luma[1], chroma[0], chroma[1]
    )]
    Planes {
        /// Luma's width and height.
        luma: [u32; 2],
        /// That of the differences.
        chroma: [u32; 2],
    },
    /// Another picture was to take the place of one of another size or kind.
    #[error("the picture has {} × {} pixels or another kind of format than the one before: make a new input", .0[0], .0[1])]
    Other([u32; 2]),
    /// The picture as a digit: its bounds and its contrast are found on the host.
    #[error("a texture is not read as a digit (`Resize::Digit`), which is done on the host: resize it otherwise")]
    Digit,
    /// The memory between the two passes is more than a shader can reach.
    #[error("the picture resized across takes {bytes} bytes, the device binds {limit}: cut a region out of it")]
    TooLarge {
        /// What it takes.
        bytes: u64,
        /// What the device binds at once.
        limit: u64,
    },
    /// The tensor is not of the texture's size or of no picture's shape.
    #[error("a tensor of shape {tensor:?} is not shown by a texture of {} × {} pixels", texture[0], texture[1])]
    Shape {
        /// The tensor's shape.
        tensor: Vec<usize>,
        /// The texture's width and height.
        texture: [u32; 2],
    },
    /// The preprocessing cannot be, or does not fit the picture or the input.
    #[error(transparent)]
    Preprocessing(#[from] ImageError),
}
