//! Handing images over, from whoever wrote them and back.

#![allow(unsafe_code, reason = "wgpu knows of no owners: the commands are Vulkan's own")]

use ash::{ext, vk};
use wgpu::hal::api::Vulkan;

use super::ImportError;
use super::image::Image;
use crate::gpu::GpuDevice;

/// Who may use an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Owner {
    Queue,
    Others,
}

/// Commands that hand images from one owner to the other.
pub(super) fn transfer(
    device: &GpuDevice,
    images: &[Image],
    from: Owner,
    to: Owner,
) -> Result<wgpu::CommandBuffer, ImportError> {
    // SAFETY: the handles are used while wgpu's own is borrowed.
    let Some(hal) = (unsafe { device.wgpu().as_hal::<Vulkan>() }) else {
        return Err(ImportError::Backend(device.info().backend));
    };
    let foreign = hal.enabled_device_extensions().contains(&ext::queue_family_foreign::NAME);
    let family = |owner| match owner {
        Owner::Queue => hal.queue_family_index(),
        Owner::Others if foreign => vk::QUEUE_FAMILY_FOREIGN_EXT,
        Owner::Others => vk::QUEUE_FAMILY_EXTERNAL,
    };
    // The layouts in which wgpu has a texture that is read, and in which other drivers have theirs.
    let state = |owner| match owner {
        Owner::Queue => (vk::ImageLayout::SHADER_READ_ONLY_OPTIMAL, vk::AccessFlags::SHADER_READ),
        Owner::Others => (vk::ImageLayout::GENERAL, vk::AccessFlags::empty()),
    };
    let ((old, before), (new, after)) = (state(from), state(to));
    let range =
        vk::ImageSubresourceRange::default().aspect_mask(vk::ImageAspectFlags::COLOR).level_count(1).layer_count(1);
    let barriers: Vec<_> = images
        .iter()
        .map(|image| {
            vk::ImageMemoryBarrier::default()
                .image(image.raw())
                .subresource_range(range)
                .old_layout(old)
                .new_layout(new)
                .src_access_mask(before)
                .dst_access_mask(after)
                .src_queue_family_index(family(from))
                .dst_queue_family_index(family(to))
        })
        .collect();
    let mut encoder = device.encoder();
    let all = vk::PipelineStageFlags::ALL_COMMANDS;
    // SAFETY: the encoder takes these commands alone, and the images live until they have run: see `Drop for ForeignPicture`.
    unsafe {
        encoder.as_hal_mut::<Vulkan, _, _>(|commands| {
            let Some(commands) = commands else { return Err(ImportError::Lost("nothing can be recorded".into())) };
            hal.raw_device().cmd_pipeline_barrier(
                commands.raw_handle(),
                all,
                all,
                vk::DependencyFlags::empty(),
                &[],
                &[],
                &barriers,
            );
            Ok(())
        })?;
    }
    drop(hal);
    Ok(encoder.finish())
}
