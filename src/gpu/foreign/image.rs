//! A texture of wgpu's on memory that another driver allocated.

#![allow(
    unsafe_code,
    reason = "Vulkan's calls are unsafe, and wgpu has none of its own for imports but through its hal"
)]

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::{BorrowedFd, OwnedFd};

use ash::{ext, khr, vk};
use wgpu::hal::{self, api::Vulkan};

use super::ImportError;
use super::importer::Importer;
use crate::gpu::GpuDevice;

/// The modifier of pixels that lie line after line.
pub(super) const LINEAR: u64 = 0;

/// A texture, and what Vulkan calls it.
#[derive(Debug)]
pub(super) struct Image {
    texture: wgpu::Texture,
    raw: vk::Image,
}

impl Image {
    pub(super) fn texture(&self) -> &wgpu::Texture {
        &self.texture
    }

    pub(super) fn raw(&self) -> vk::Image {
        self.raw
    }
}

/// What a plane is, and where it lies in its buffer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Layout {
    /// Which of the frame's planes it is.
    pub(super) plane: usize,
    pub(super) format: wgpu::TextureFormat,
    pub(super) size: [u32; 2],
    /// Bytes before it, and from line to line.
    pub(super) offset: u64,
    pub(super) stride: u64,
}

impl Layout {
    /// Whether the lines are long enough, and end inside a buffer of so many bytes.
    pub(super) fn check(&self, bytes: u64) -> Result<(), ImportError> {
        let [width, height] = self.size.map(u64::from);
        let line = width * u64::from(self.format.block_copy_size(None).unwrap_or(0));
        if self.stride < line {
            return Err(self.wrong(format!("a line takes {line} bytes, the stride is {}", self.stride)));
        }
        let lines = self.stride.checked_mul(height - 1);
        let end = lines.and_then(|lines| lines.checked_add(line)?.checked_add(self.offset));
        if end.is_none_or(|end| end > bytes) {
            let (stride, offset) = (self.stride, self.offset);
            return Err(self.wrong(format!(
                "{height} lines of {stride} bytes behind the first {offset} end outside of the buffer's {bytes} bytes"
            )));
        }
        Ok(())
    }

    pub(super) fn wrong(&self, message: String) -> ImportError {
        ImportError::Layout { plane: self.plane, message }
    }
}

/// Whose memory it is.
pub(super) enum Memory {
    /// A dma-buf of so many bytes.
    DmaBuf { buffer: OwnedFd, bytes: u64, modifier: u64 },
    /// An `AHardwareBuffer`, which outlives the call.
    #[cfg(target_os = "android")]
    HardwareBuffer(*mut vk::AHardwareBuffer),
}

pub(super) fn refused(what: &'static str, error: impl ToString) -> ImportError {
    ImportError::Refused { what, message: error.to_string() }
}

/// The bytes of a buffer, which is asked as a file is.
pub(super) fn length(buffer: BorrowedFd<'_>) -> std::io::Result<u64> {
    let mut file = File::from(buffer.try_clone_to_owned()?);
    file.seek(SeekFrom::End(0))
}

/// Makes a texture on another's memory.
///
/// # Safety
/// The memory holds what the layout says.
pub(super) unsafe fn import(device: &GpuDevice, layout: Layout, memory: Memory) -> Result<Image, ImportError> {
    // SAFETY: the handles are used while wgpu's own is borrowed, and destroyed by wgpu alone.
    let Some(hal) = (unsafe { device.wgpu().as_hal::<Vulkan>() }) else {
        return Err(ImportError::Backend(device.info().backend));
    };
    let has = |name| hal.enabled_device_extensions().contains(&name);
    let importer =
        Importer { hal: &hal, vulkan: hal.raw_device(), instance: hal.shared_instance().raw_instance(), layout };
    let (raw, allocation) = match memory {
        Memory::DmaBuf { buffer, bytes, modifier } => {
            if !has(khr::external_memory_fd::NAME) || !has(ext::external_memory_dma_buf::NAME) {
                return Err(ImportError::Extension("VK_EXT_external_memory_dma_buf"));
            }
            let explicit = has(ext::image_drm_format_modifier::NAME);
            if !explicit && modifier != LINEAR {
                return Err(ImportError::Extension("VK_EXT_image_drm_format_modifier"));
            }
            importer.dma_buf(buffer, bytes, explicit.then_some(modifier))?
        }
        #[cfg(target_os = "android")]
        Memory::HardwareBuffer(buffer) => importer.hardware_buffer(buffer)?,
    };
    let size = wgpu::Extent3d { width: layout.size[0], height: layout.size[1], depth_or_array_layers: 1 };
    let described = hal::TextureDescriptor {
        label: Some("an imported frame"),
        size,
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: layout.format,
        usage: wgpu::TextureUses::RESOURCE,
        memory_flags: hal::MemoryFlags::empty(),
        view_formats: Vec::new(),
    };
    // SAFETY: image and memory were made for this description, and are wgpu's from here on.
    let texture =
        unsafe { hal.texture_from_raw(raw, &described, None, hal::vulkan::TextureMemory::Dedicated(allocation)) };
    let described = wgpu::TextureDescriptor {
        label: described.label,
        size,
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: layout.format,
        usage: wgpu::TextureUsages::TEXTURE_BINDING,
        view_formats: &[],
    };
    drop(hal);
    device.count();
    // SAFETY: the texture is of this device and this description. It is in the state that is named once it was acquired, which
    // `ForeignPicture` asks of its users; it is used in no other.
    let texture =
        unsafe { device.wgpu().create_texture_from_hal::<Vulkan>(texture, &described, wgpu::TextureUses::RESOURCE) };
    Ok(Image { texture, raw })
}
