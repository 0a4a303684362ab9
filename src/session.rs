//! The face: a model, a device and options brought together.

mod binding;
#[cfg(not(target_arch = "wasm32"))]
mod bodies;
mod carry;
#[cfg(feature = "gpu")]
mod check;
mod device;
mod engine;
mod event;
#[cfg(test)]
mod faults;
mod inputs;
mod interrupt;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod limits;
mod memory;
#[cfg(feature = "gpu")]
mod on_device;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod opsets;
mod options;
mod pending;
mod plan;
mod precision;
mod profile;
mod recover;
mod request;
mod run;
mod sizes;
mod tolerance;
#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
mod tune;
mod validate;
mod weights;

#[cfg(feature = "gpu")]
pub use check::SelfCheck;
pub use device::{Backend, Device, DeviceOptions};
pub use engine::Engine;
pub use event::Event;
pub use memory::SessionMemory;
pub use options::Options;
pub use pending::{Outputs, Pending};
pub use plan::Plan;
pub use precision::Precision;
pub use profile::{Profile, StepTime};
pub use recover::Recovery;
pub use run::{InputId, OutputId, Session};
pub use tolerance::{Comparison, Tolerance};
#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
pub use tune::{Tuned, TunedKind};
#[cfg(not(target_arch = "wasm32"))]
pub use validate::validate;
pub use validate::{Validation, validate_async};
