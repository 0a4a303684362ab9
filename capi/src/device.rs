//! What models run on.

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;

use crate::failure::guard;
use crate::options::{Backend, Options};
use crate::pointers::{given, owned_text};
use crate::status::Status;

/// A GPU, or the threads of the CPU. Sessions on one device share it, and the weights of their models.
#[derive(Debug, Clone)]
pub struct Device {
    pub(crate) device: rimlight::Device,
    name: CString,
    choice: CString,
}

impl Device {
    /// The device that options ask for.
    pub(crate) fn of(options: &Options) -> Result<Self, rimlight::DeviceError> {
        let device = rimlight::Device::new(&options.device)?;
        let (name, choice) = (owned_text(&device.name()), owned_text(device.choice()));
        Ok(Self { device, name, choice })
    }
}

/// Opens the device that the options ask for (backend, adapter, threads, cache folder); NULL asks for nothing. Only who wants to know it
/// beforehand, or several sessions on one, needs this: a session opens its own otherwise. Free it with rimlight_device_free.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_device_new(
    options: Option<&Options>,
    device: Option<&mut MaybeUninit<*mut Device>>,
) -> Status {
    guard(|| {
        let device = given(device, "device")?;
        let opened = Device::of(options.unwrap_or(&Options::default()))?;
        device.write(Box::into_raw(Box::new(opened)));
        Ok(())
    })
}

/// Frees a device. Sessions keep it as long as they live. NULL is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_device_free(device: Option<Box<Device>>) {
    guard(|| {
        drop(device);
        Ok(())
    });
}

/// Whether it is a GPU or the CPU: RIMLIGHT_BACKEND_GPU or RIMLIGHT_BACKEND_CPU.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_device_backend(
    device: Option<&Device>,
    backend: Option<&mut MaybeUninit<Backend>>,
) -> Status {
    guard(|| {
        let device = given(device, "device")?;
        let found = if device.device.is_gpu() { Backend::Gpu } else { Backend::Cpu };
        given(backend, "backend")?.write(found);
        Ok(())
    })
}

/// The adapter's name and interface, or the number of threads: "CPU, 2 threads". It lives as long as the device.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_device_name(
    device: Option<&Device>,
    name: Option<&mut MaybeUninit<*const c_char>>,
) -> Status {
    guard(|| {
        let device = given(device, "device")?;
        given(name, "name")?.write(device.name.as_ptr());
        Ok(())
    })
}

/// Every adapter that was looked at, and why it was or was not taken, a line each. It lives as long as the device.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_device_choice(
    device: Option<&Device>,
    choice: Option<&mut MaybeUninit<*const c_char>>,
) -> Status {
    guard(|| {
        let device = given(device, "device")?;
        given(choice, "choice")?.write(device.choice.as_ptr());
        Ok(())
    })
}
