//! Vulkan's images on memory that another driver allocated.

#![allow(
    unsafe_code,
    reason = "Vulkan's calls are unsafe, and wgpu has none of its own for imports but through its hal"
)]

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use ash::{khr, vk};
use wgpu::hal;

use super::ImportError;
use super::image::{LINEAR, Layout, refused};

/// Makes images and gives them memory.
pub(super) struct Importer<'a> {
    pub(super) hal: &'a hal::vulkan::Device,
    pub(super) vulkan: &'a ash::Device,
    pub(super) instance: &'a ash::Instance,
    pub(super) layout: Layout,
}

impl Importer<'_> {
    pub(super) fn dma_buf(
        &self,
        buffer: OwnedFd,
        bytes: u64,
        modifier: Option<u64>,
    ) -> Result<(vk::Image, vk::DeviceMemory), ImportError> {
        let handle = vk::ExternalMemoryHandleTypeFlags::DMA_BUF_EXT;
        let dedicated = self.dedicated(handle, modifier)?;
        let mut external = vk::ExternalMemoryImageCreateInfo::default().handle_types(handle);
        let planes =
            [vk::SubresourceLayout { offset: self.layout.offset, row_pitch: self.layout.stride, ..Default::default() }];
        let mut explicit = vk::ImageDrmFormatModifierExplicitCreateInfoEXT::default()
            .drm_format_modifier(modifier.unwrap_or(LINEAR))
            .plane_layouts(&planes);
        let mut described = self.described(tiling(modifier)).push_next(&mut external);
        if modifier.is_some() {
            described = described.push_next(&mut explicit);
        }
        // SAFETY: the driver said that it imports such images, and all that the description points to lives on.
        let raw = unsafe { self.vulkan.create_image(&described, None) }.map_err(|e| refused("an image", e))?;
        let image = Unfinished { vulkan: self.vulkan, raw };
        // An explicit layout tells the offset itself.
        let offset = if modifier.is_some() { 0 } else { self.layout.offset };
        // SAFETY: the image was just made.
        let needs = unsafe { self.vulkan.get_image_memory_requirements(raw) };
        if modifier.is_none() {
            self.lies_as_described(raw, &needs, offset, bytes, dedicated)?;
        }
        let loader = khr::external_memory_fd::Device::new(self.instance, self.vulkan);
        let mut of_buffer = vk::MemoryFdPropertiesKHR::default();
        // SAFETY: the buffer is open.
        unsafe { loader.get_memory_fd_properties(handle, buffer.as_raw_fd(), &mut of_buffer) }
            .map_err(|e| refused("a look at the buffer", e))?;
        let types = needs.memory_type_bits & of_buffer.memory_type_bits;
        let mut for_image = vk::MemoryDedicatedAllocateInfo::default().image(raw);
        let mut import = vk::ImportMemoryFdInfoKHR::default().handle_type(handle).fd(buffer.as_raw_fd());
        let mut allocation = vk::MemoryAllocateInfo::default()
            .allocation_size(if dedicated { needs.size } else { bytes })
            .memory_type_index(first(types)?)
            .push_next(&mut import);
        if dedicated {
            allocation = allocation.push_next(&mut for_image);
        }
        // SAFETY: the memory type is one of both, and the buffer is open.
        let memory =
            unsafe { self.vulkan.allocate_memory(&allocation, None) }.map_err(|e| refused("the buffer's memory", e))?;
        // Vulkan has the buffer from here on, and closes it.
        let _ = buffer.into_raw_fd();
        image.bound(memory, offset)
    }

    #[cfg(target_os = "android")]
    pub(super) fn hardware_buffer(
        &self,
        buffer: *mut vk::AHardwareBuffer,
    ) -> Result<(vk::Image, vk::DeviceMemory), ImportError> {
        use ash::android::external_memory_android_hardware_buffer as android;
        if !self.hal.enabled_device_extensions().contains(&android::NAME) {
            return Err(ImportError::Extension("VK_ANDROID_external_memory_android_hardware_buffer"));
        }
        let loader = android::Device::new(self.instance, self.vulkan);
        let mut format = vk::AndroidHardwareBufferFormatPropertiesANDROID::default();
        let mut of_buffer = vk::AndroidHardwareBufferPropertiesANDROID::default().push_next(&mut format);
        // SAFETY: the buffer is alive, by the caller's promise.
        unsafe { loader.get_android_hardware_buffer_properties(buffer, &mut of_buffer) }
            .map_err(|e| refused("a look at the buffer", e))?;
        let (bytes, types) = (of_buffer.allocation_size, of_buffer.memory_type_bits);
        if format.format == vk::Format::UNDEFINED {
            return Err(ImportError::ExternalFormat(format.external_format));
        }
        if Some(format.format) != vulkan_format(self.layout.format) {
            let message = format!("it holds {:?}, not {:?}", format.format, self.layout.format);
            return Err(self.layout.wrong(message));
        }
        let handle = vk::ExternalMemoryHandleTypeFlags::ANDROID_HARDWARE_BUFFER_ANDROID;
        let mut external = vk::ExternalMemoryImageCreateInfo::default().handle_types(handle);
        let described = self.described(vk::ImageTiling::OPTIMAL).push_next(&mut external);
        // SAFETY: the format is the buffer's, and all that the description points to lives on.
        let raw = unsafe { self.vulkan.create_image(&described, None) }.map_err(|e| refused("an image", e))?;
        let image = Unfinished { vulkan: self.vulkan, raw };
        let mut for_image = vk::MemoryDedicatedAllocateInfo::default().image(raw);
        let mut import = vk::ImportAndroidHardwareBufferInfoANDROID::default().buffer(buffer);
        let allocation = vk::MemoryAllocateInfo::default()
            .allocation_size(bytes)
            .memory_type_index(first(types)?)
            .push_next(&mut import)
            .push_next(&mut for_image);
        // SAFETY: size and type are those that the driver gave for this buffer. Vulkan holds a reference of its own on it.
        let memory =
            unsafe { self.vulkan.allocate_memory(&allocation, None) }.map_err(|e| refused("the buffer's memory", e))?;
        image.bound(memory, 0)
    }

    fn described<'a>(&self, tiling: vk::ImageTiling) -> vk::ImageCreateInfo<'a> {
        let [width, height] = self.layout.size;
        vk::ImageCreateInfo::default()
            .image_type(vk::ImageType::TYPE_2D)
            .format(vulkan_format(self.layout.format).unwrap_or(vk::Format::UNDEFINED))
            .extent(vk::Extent3D { width, height, depth: 1 })
            .mip_levels(1)
            .array_layers(1)
            .samples(vk::SampleCountFlags::TYPE_1)
            .tiling(tiling)
            .usage(vk::ImageUsageFlags::SAMPLED)
            .sharing_mode(vk::SharingMode::EXCLUSIVE)
            .initial_layout(vk::ImageLayout::UNDEFINED)
    }

    /// Whether such an image wants memory of its own, if the driver imports it at all.
    fn dedicated(&self, handle: vk::ExternalMemoryHandleTypeFlags, modifier: Option<u64>) -> Result<bool, ImportError> {
        let mut external = vk::PhysicalDeviceExternalImageFormatInfo::default().handle_type(handle);
        let mut layout = vk::PhysicalDeviceImageDrmFormatModifierInfoEXT::default()
            .drm_format_modifier(modifier.unwrap_or(LINEAR))
            .sharing_mode(vk::SharingMode::EXCLUSIVE);
        let mut asked = vk::PhysicalDeviceImageFormatInfo2::default()
            .format(vulkan_format(self.layout.format).unwrap_or(vk::Format::UNDEFINED))
            .ty(vk::ImageType::TYPE_2D)
            .tiling(tiling(modifier))
            .usage(vk::ImageUsageFlags::SAMPLED)
            .push_next(&mut external);
        if modifier.is_some() {
            asked = asked.push_next(&mut layout);
        }
        let mut memory = vk::ExternalImageFormatProperties::default();
        let mut image = vk::ImageFormatProperties2::default().push_next(&mut memory);
        let physical = self.hal.raw_physical_device();
        // SAFETY: a question. Devices with these extensions have Vulkan 1.1, in which it can be asked.
        let answer =
            unsafe { self.instance.get_physical_device_image_format_properties2(physical, &asked, &mut image) };
        let largest = image.image_format_properties.max_extent;
        let features = memory.external_memory_properties.external_memory_features;
        let none = || ImportError::Modifier {
            format: format!("{:?}", self.layout.format),
            modifier: modifier.unwrap_or(LINEAR),
        };
        answer.map_err(|_| none())?;
        if !features.contains(vk::ExternalMemoryFeatureFlags::IMPORTABLE)
            || self.layout.size[0] > largest.width
            || self.layout.size[1] > largest.height
        {
            return Err(none());
        }
        Ok(features.contains(vk::ExternalMemoryFeatureFlags::DEDICATED_ONLY))
    }

    /// Whether the driver's own layout of a linear image is the frame's, where it takes no other.
    fn lies_as_described(
        &self,
        raw: vk::Image,
        needs: &vk::MemoryRequirements,
        offset: u64,
        bytes: u64,
        dedicated: bool,
    ) -> Result<(), ImportError> {
        let wrong = |message: String| Err(self.layout.wrong(message));
        let part = vk::ImageSubresource::default().aspect_mask(vk::ImageAspectFlags::COLOR);
        // SAFETY: the image is linear.
        let own = unsafe { self.vulkan.get_image_subresource_layout(raw, part) };
        if own.row_pitch != self.layout.stride && self.layout.size[1] > 1 {
            return wrong(format!(
                "its lines are {} bytes apart, and the driver reads lines of {} alone, since it lacks \
                 VK_EXT_image_drm_format_modifier",
                self.layout.stride, own.row_pitch
            ));
        }
        if own.offset != 0 || !offset.is_multiple_of(needs.alignment.max(1)) || (dedicated && offset > 0) {
            return wrong(format!(
                "the driver cannot read it from byte {offset} on: {} is its alignment",
                needs.alignment
            ));
        }
        if offset.checked_add(needs.size).is_none_or(|end| end > bytes) {
            return wrong(format!("the driver wants {} bytes from byte {offset} on, of {bytes}", needs.size));
        }
        Ok(())
    }
}

/// An image that is destroyed unless it gets its memory.
struct Unfinished<'a> {
    vulkan: &'a ash::Device,
    raw: vk::Image,
}

impl Unfinished<'_> {
    fn bound(self, memory: vk::DeviceMemory, offset: u64) -> Result<(vk::Image, vk::DeviceMemory), ImportError> {
        // SAFETY: both were just made for each other.
        if let Err(error) = unsafe { self.vulkan.bind_image_memory(self.raw, memory, offset) } {
            // SAFETY: nothing uses it.
            unsafe { self.vulkan.free_memory(memory, None) };
            return Err(refused("the image on the buffer's memory", error));
        }
        let raw = self.raw;
        std::mem::forget(self);
        Ok((raw, memory))
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // SAFETY: nothing uses it.
        unsafe { self.vulkan.destroy_image(self.raw, None) };
    }
}

const fn tiling(modifier: Option<u64>) -> vk::ImageTiling {
    if modifier.is_some() { vk::ImageTiling::DRM_FORMAT_MODIFIER_EXT } else { vk::ImageTiling::LINEAR }
}

/// The first memory type of a set.
fn first(types: u32) -> Result<u32, ImportError> {
    if types == 0 {
        return Err(refused("the buffer's memory", "no kind of memory is the image's and the buffer's"));
    }
    Ok(types.trailing_zeros())
}

/// The formats of planes.
const fn vulkan_format(format: wgpu::TextureFormat) -> Option<vk::Format> {
    use wgpu::TextureFormat::{Bgra8Unorm, R8Unorm, R16Uint, Rg8Unorm, Rg16Uint, Rgba8Unorm, Rgba16Float};
    match format {
        R8Unorm => Some(vk::Format::R8_UNORM),
        Rg8Unorm => Some(vk::Format::R8G8_UNORM),
        R16Uint => Some(vk::Format::R16_UINT),
        Rg16Uint => Some(vk::Format::R16G16_UINT),
        Rgba8Unorm => Some(vk::Format::R8G8B8A8_UNORM),
        Bgra8Unorm => Some(vk::Format::B8G8R8A8_UNORM),
        Rgba16Float => Some(vk::Format::R16G16B16A16_SFLOAT),
        _ => None,
    }
}
