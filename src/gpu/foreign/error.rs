//! Why memory of another device cannot be read here.

use super::super::PictureError;

/// A frame cannot be imported or taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The device is not reached by Vulkan.
    #[error("the device is reached by {0}; frames are imported through Vulkan alone: copy the frame into a texture")]
    Backend(&'static str),
    /// The device was opened without an extension that the import needs.
    #[error(
        "the device was opened without {0}: set `DeviceOptions::imports`, or enable it on the application's own device, \
         where the driver has it; else copy the frame into a texture"
    )]
    Extension(&'static str),
    /// The number of a format that is not read.
    #[error("frames of the format {0:?} are not read; those of AB24, XB24, AR24, XR24, AB4H, R8, NV12 and P010 are")]
    FourCc(String),
    /// The frame has too few planes, or too many.
    #[error("the frame has {planes} planes; {format} has {wanted}")]
    Planes {
        /// The format.
        format: &'static str,
        /// Those that it has.
        planes: usize,
        /// Those that it should have.
        wanted: usize,
    },
    /// The frame has no pixels, or more than the device's textures may have.
    #[error("the frame has {} × {} pixels; 1 to {limit} to a side can be read", size[0], size[1])]
    Size {
        /// Width and height.
        size: [u32; 2],
        /// What the device takes.
        limit: u32,
    },
    /// A plane is not inside its buffer, or its lines overlap.
    #[error("plane {plane} does not fit: {message}")]
    Layout {
        /// Which one.
        plane: usize,
        /// What is wrong with it.
        message: String,
    },
    /// The driver does not read frames of this format that lie so in memory.
    #[error(
        "the driver imports no frames of {format} with the modifier {modifier:#018x}: have them made in another layout, linear (0) for instance"
    )]
    Modifier {
        /// The texture's format.
        format: String,
        /// How the frame lies in memory.
        modifier: u64,
    },
    /// The frame has a format that only the driver knows.
    #[error(
        "the buffer has the driver's own format {0:#x}, which Vulkan reads through a sampler of its own: have the camera write RGBA"
    )]
    ExternalFormat(u64),
    /// A call of Vulkan's failed.
    #[error("the driver refused {what}: {message}")]
    Refused {
        /// What it was asked for.
        what: &'static str,
        /// What it says.
        message: String,
    },
    /// The device was lost.
    #[error("the frame cannot change hands: {0}")]
    Lost(String),
    /// The planes make no picture.
    #[error(transparent)]
    Picture(#[from] PictureError),
}
