//! Rimlight runs neural networks at the edge, on the GPU that is already there.

pub mod cache;
pub mod cpu;
pub mod error;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod graph;
#[cfg(feature = "image")]
pub mod image;
pub mod kernel;
mod model;
mod nearest;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod ops;
pub mod optimize;
pub mod plan;
pub mod session;
pub mod tensor;

pub use error::{DeviceError, Error, ErrorKind, LoadError, PlanError, RunError};
pub use graph::{Dim, Graph};
pub use model::{Model, Port};
#[cfg(feature = "onnx")]
pub use onnx::Limits;
pub use plan::Placement;
#[cfg(not(target_arch = "wasm32"))]
pub use session::validate;
pub use session::{
    Backend, Comparison, Device, DeviceOptions, Engine, InputId, Options, OutputId, Plan, Precision, Profile, Session,
    StepTime, Tolerance, Validation, validate_async,
};
pub use tensor::{Element, ElementType, Tensor, TensorError, TensorView};

#[cfg(test)]
mod testing;

/// The program in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
