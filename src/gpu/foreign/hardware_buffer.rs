//! A frame in an `AHardwareBuffer`: of Android's cameras, decoders and renderers.

use std::ffi::c_void;
use std::ptr::NonNull;

use super::image::{self, Layout, Memory};
use super::{ForeignPicture, ImportError};
use crate::gpu::{GpuDevice, GpuPicture};

impl GpuDevice {
    /// Reads a frame of `AHARDWAREBUFFER_FORMAT_R8G8B8A8_UNORM` (or `X8`, the fourth byte counts for nothing), with the usage
    /// `AHARDWAREBUFFER_USAGE_GPU_SAMPLED_IMAGE`, where it lies. `size` is the width and height that it was allocated with.
    ///
    /// # Safety
    /// - `buffer` is an `AHardwareBuffer` of this size that lives during the call; Vulkan takes a reference of its own.
    /// - Nobody writes it between [`ForeignPicture::acquire`] and the end of what was submitted before
    ///   [`ForeignPicture::release`].
    ///
    /// # Errors
    /// [`ImportError`] if the device cannot import, or the buffer has another format: those of cameras are mostly the driver's
    /// own ([`ImportError::ExternalFormat`]), which an `ImageReader` for `RGBA_8888` avoids.
    #[allow(unsafe_code, reason = "the GPU reads memory as what the caller says it is")]
    pub unsafe fn import_hardware_buffer(
        &self,
        buffer: NonNull<c_void>,
        size: [u32; 2],
    ) -> Result<ForeignPicture, ImportError> {
        let limit = self.wgpu().limits().max_texture_dimension_2d;
        if size.iter().any(|&side| side == 0 || side > limit) {
            return Err(ImportError::Size { size, limit });
        }
        let layout = Layout { plane: 0, format: wgpu::TextureFormat::Rgba8Unorm, size, offset: 0, stride: 0 };
        // SAFETY: the caller's promise.
        let image = unsafe { image::import(self, layout, Memory::HardwareBuffer(buffer.as_ptr())) }?;
        let picture = GpuPicture::new(image.texture())?;
        Ok(ForeignPicture::new(self, picture, vec![image]))
    }
}
