//! Running schedules on GPUs, through wgpu.
//!
//! [`Adapters`] lists what the machine has and chooses; a [`GpuDevice`] is one of them, opened, or the application's own.
//! Everything that wgpu makes (buffers, pipelines, bind groups) is made in `create.rs` and counted, so that a test can
//! show that a steady run makes nothing. Outside this folder nothing names a wgpu type, except where the application
//! hands over its own device, buffers or textures.

mod adapter;
mod bind;
mod constants;
mod create;
mod device;
mod diagnose;
mod elements;
mod engine;
#[cfg(test)]
mod faults;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod foreign;
mod observe;
mod outputs;
mod packed_cache;
mod picture;
mod pipeline;
mod pipeline_cache;
mod profile;
mod program;
mod quirks;
mod self_test;
mod session;
mod slices;
mod tensor;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
mod threads;
mod tuning;
mod values;
mod wait;
#[cfg(not(target_arch = "wasm32"))]
mod warm;

pub use adapter::{AdapterInfo, AdapterKind, AdapterRequest, Adapters, Choice, Considered};
#[cfg(all(test, not(target_arch = "wasm32")))]
pub(crate) use adapter::{has_halves, matrix_side, wanted_features};
#[cfg(all(test, not(target_arch = "wasm32")))]
pub(crate) use create::experimental_features;
pub use device::GpuDevice;
pub use engine::GpuEngine;
pub(crate) use engine::Loading;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use foreign::{DmaBuf, DmaBufFormat, DmaBufPlane, ForeignPicture, ImportError};
pub use picture::{GpuPicture, PictureError, PictureInput, PictureOutput, YuvMatrix, YuvRange};
pub use profile::{Profile, Timing};
pub use quirks::Applied;
pub use self_test::{SelfCheck, SelfTest, SelfTestReport, Verdict};
pub use session::{GpuPending, GpuSession};
pub use tensor::GpuTensor;
pub(crate) use values::ValueBuffers;

/// The crate of the application's own devices, buffers and textures.
pub use wgpu;
