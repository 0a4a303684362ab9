//! The face: a model, a device and options brought together.

mod device;
mod options;

pub use device::{Backend, Device, DeviceOptions};
pub use options::{Options, Precision};
