//! A frame in memory that Linux' drivers share: a camera's, a decoder's, a compositor's.

use std::os::fd::BorrowedFd;

use super::image::{self, Layout, Memory};
use super::{ForeignPicture, ImportError};
use crate::gpu::{GpuDevice, GpuPicture, YuvMatrix, YuvRange};

/// A frame in one or two dma-bufs, as its maker describes it.
#[derive(Debug, Clone)]
pub struct DmaBuf<'a> {
    /// What a pixel is.
    pub format: DmaBufFormat,
    /// Width and height in pixels.
    pub size: [u32; 2],
    /// How the pixels lie in memory, by DRM's numbers: 0 for line after line.
    pub modifier: u64,
    /// One plane; luma and the differences of colour of NV12 and P010.
    pub planes: Vec<DmaBufPlane<'a>>,
}

/// A plane of a frame: a part of a buffer. Both of a frame may lie in the same one.
#[derive(Debug, Clone, Copy)]
pub struct DmaBufPlane<'a> {
    /// The buffer; it is duplicated, and stays the caller's.
    pub buffer: BorrowedFd<'a>,
    /// Bytes before the plane.
    pub offset: u64,
    /// Bytes from one line to the next.
    pub stride: u64,
}

/// What a frame's pixels are: the formats of DRM that are read, by what the bytes in memory are.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum DmaBufFormat {
    /// Red, green, blue and a fourth byte: AB24, XB24.
    Rgba8,
    /// Blue, green, red and a fourth byte: AR24, XR24.
    Bgra8,
    /// Four floats of 16 bits, red first: AB4H.
    Rgba16Float,
    /// One byte of grey: R8.
    Grey,
    /// Luma in bytes, and pairs of differences for two by two pixels.
    Nv12(YuvMatrix, YuvRange),
    /// Luma in the upper ten of 16 bits, and such pairs.
    P010(YuvMatrix, YuvRange),
}

impl DmaBufFormat {
    /// The format of a number of DRM's (`DRM_FORMAT_…`, V4L2's are mostly the same); `yuv` is what no number tells.
    ///
    /// # Errors
    /// [`ImportError::FourCc`] if the format is not read.
    pub fn from_fourcc(fourcc: u32, yuv: (YuvMatrix, YuvRange)) -> Result<Self, ImportError> {
        match &fourcc.to_le_bytes() {
            b"AB24" | b"XB24" => Ok(Self::Rgba8),
            b"AR24" | b"XR24" => Ok(Self::Bgra8),
            b"AB4H" => Ok(Self::Rgba16Float),
            b"R8  " => Ok(Self::Grey),
            b"NV12" => Ok(Self::Nv12(yuv.0, yuv.1)),
            b"P010" => Ok(Self::P010(yuv.0, yuv.1)),
            bytes => Err(ImportError::FourCc(bytes.escape_ascii().to_string())),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Rgba8 => "RGBA",
            Self::Bgra8 => "BGRA",
            Self::Rgba16Float => "RGBA of floats",
            Self::Grey => "grey",
            Self::Nv12(..) => "NV12",
            Self::P010(..) => "P010",
        }
    }

    /// The textures that its planes are.
    const fn textures(self) -> &'static [wgpu::TextureFormat] {
        use wgpu::TextureFormat::{Bgra8Unorm, R8Unorm, R16Uint, Rg8Unorm, Rg16Uint, Rgba8Unorm, Rgba16Float};
        match self {
            Self::Rgba8 => &[Rgba8Unorm],
            Self::Bgra8 => &[Bgra8Unorm],
            Self::Rgba16Float => &[Rgba16Float],
            Self::Grey => &[R8Unorm],
            Self::Nv12(..) => &[R8Unorm, Rg8Unorm],
            Self::P010(..) => &[R16Uint, Rg16Uint],
        }
    }
}

impl GpuDevice {
    /// Reads a frame where another driver put it. Once for each buffer: a ring of four buffers is four pictures.
    ///
    /// # Safety
    /// - The buffers are dma-bufs, and hold what `frame` says: a modifier or a format that is not theirs has the GPU read
    ///   memory as what it is not.
    /// - Nobody writes them between [`ForeignPicture::acquire`] and the end of what was submitted before
    ///   [`ForeignPicture::release`].
    ///
    /// # Errors
    /// [`ImportError`] if the device cannot import, the frame's description contradicts itself or exceeds its buffers, or the
    /// driver does not read such frames.
    #[allow(unsafe_code, reason = "the GPU reads memory as what the caller says it is")]
    pub unsafe fn import_dma_buf(&self, frame: &DmaBuf<'_>) -> Result<ForeignPicture, ImportError> {
        let layouts = frame.layouts(self.wgpu().limits().max_texture_dimension_2d)?;
        let mut images = Vec::with_capacity(layouts.len());
        for (plane, (layout, bytes)) in frame.planes.iter().zip(layouts) {
            let buffer =
                plane.buffer.try_clone_to_owned().map_err(|e| image::refused("another handle of the buffer", e))?;
            let memory = Memory::DmaBuf { buffer, bytes, modifier: frame.modifier };
            // SAFETY: the caller's promise.
            images.push(unsafe { image::import(self, layout, memory) }?);
        }
        let picture = match (frame.format, images.as_slice()) {
            (DmaBufFormat::Nv12(matrix, range) | DmaBufFormat::P010(matrix, range), [luma, chroma]) => {
                GpuPicture::yuv(luma.texture(), chroma.texture(), matrix, range)?
            }
            (_, [pixels, ..]) => GpuPicture::new(pixels.texture())?,
            (format, []) => return Err(ImportError::Planes { format: format.name(), planes: 0, wanted: 1 }),
        };
        Ok(ForeignPicture::new(self, picture, images))
    }
}

impl DmaBuf<'_> {
    /// Where the planes lie, if they lie in their buffers, and the buffers' bytes.
    fn layouts(&self, limit: u32) -> Result<Vec<(Layout, u64)>, ImportError> {
        let textures = self.format.textures();
        if self.planes.len() != textures.len() {
            let (planes, wanted) = (self.planes.len(), textures.len());
            return Err(ImportError::Planes { format: self.format.name(), planes, wanted });
        }
        if self.size.iter().any(|&side| side == 0 || side > limit) {
            return Err(ImportError::Size { size: self.size, limit });
        }
        let place = |(plane, (described, &format)): (usize, (&DmaBufPlane<'_>, &wgpu::TextureFormat))| {
            // The differences stand for two by two pixels.
            let size = if plane == 0 { self.size } else { self.size.map(|side| side.div_ceil(2)) };
            let layout = Layout { plane, format, size, offset: described.offset, stride: described.stride };
            let bytes = image::length(described.buffer).map_err(|e| image::refused("the length of the buffer", e))?;
            // Of another layout than line after line only the driver knows where it ends.
            if self.modifier == image::LINEAR {
                layout.check(bytes)?;
            }
            Ok((layout, bytes))
        };
        self.planes.iter().zip(textures).enumerate().map(place).collect()
    }
}
