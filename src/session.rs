//! The face: a model, a device and options brought together.

mod binding;
mod device;
mod engine;
#[cfg(test)]
mod faults;
mod options;
mod run;
mod validate;

pub use device::{Backend, Device, DeviceOptions};
pub use engine::{Engine, Plan};
pub use options::{Options, Precision};
pub use run::{InputId, OutputId, Session};
pub use validate::{Comparison, Tolerance, Validation, validate};
