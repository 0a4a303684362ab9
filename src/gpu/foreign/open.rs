//! Opening a device that can import frames: with Vulkan's extensions for memory of others, which wgpu does not ask for.

#![allow(unsafe_code, reason = "wgpu opens devices with more extensions through its hal alone")]

use std::ffi::CStr;

use ash::{android, ext};
use wgpu::hal::api::Vulkan;

/// What is enabled where the driver has it, beside the extensions of wgpu's own features: frames of foreign devices, and how
/// frames on Android are described. The others stand in Vulkan 1.1.
const EXTENSIONS: [&CStr; 5] = [
    ash::khr::external_memory_fd::NAME,
    ext::external_memory_dma_buf::NAME,
    ext::image_drm_format_modifier::NAME,
    ext::queue_family_foreign::NAME,
    android::external_memory_android_hardware_buffer::NAME,
];

/// Opens a device with the extensions for imports that the driver has; `None` where it is not Vulkan's 1.1 or has none, and an
/// ordinary device will do.
pub(in crate::gpu) fn open(
    adapter: &wgpu::Adapter,
    descriptor: &wgpu::DeviceDescriptor<'_>,
) -> Option<Result<(wgpu::Device, wgpu::Queue), wgpu::RequestDeviceError>> {
    // SAFETY: the handle is only asked, and opened once below.
    let hal = unsafe { adapter.as_hal::<Vulkan>() }?;
    let capabilities = hal.physical_device_capabilities();
    if capabilities.properties().api_version < ash::vk::API_VERSION_1_1 {
        return None;
    }
    let wanted: Vec<&'static CStr> =
        EXTENSIONS.into_iter().filter(|&name| usable(name) && capabilities.supports_extension(name)).collect();
    if wanted.is_empty() {
        return None;
    }
    let add = Box::new(|arguments: wgpu::hal::vulkan::CreateDeviceCallbackArgs<'_, '_, '_>| {
        for name in wanted {
            if !arguments.extensions.contains(&name) {
                arguments.extensions.push(name);
            }
        }
    });
    let (features, limits, hints) =
        (descriptor.required_features, &descriptor.required_limits, &descriptor.memory_hints);
    // SAFETY: features and limits are the adapter's own, and the callback adds nothing but extensions that the driver lists.
    let opened = unsafe { hal.open_with_callback(features, limits, hints, Some(add)) };
    drop(hal);
    // wgpu tells of its own refusals only: what the driver says here is asked again, and reported, the ordinary way.
    let opened = opened.inspect_err(|error| log::warn!("a device for imports was refused: {error}")).ok()?;
    // SAFETY: the device was just made from this very adapter by this very descriptor.
    Some(unsafe { adapter.create_device_from_hal::<Vulkan>(opened, descriptor) })
}

/// Desktop drivers list Android's extension, too, where nothing makes such buffers; it wants others that are not listed above.
fn usable(name: &CStr) -> bool {
    cfg!(target_os = "android") || name != android::external_memory_android_hardware_buffer::NAME
}
