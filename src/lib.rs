//! Rimlight runs neural networks at the edge, on the GPU that is already there.
//!
//! It reads a trained network (ONNX), plans it onto few reused buffers, and runs it with compute shaders through wgpu on
//! Vulkan, Metal, DX12, OpenGL and WebGPU, or on the CPU. Every operator has a reference, against which any run of any
//! model can be checked, value by value.
//!
//! ```
//! use rimlight::{Device, Model, TensorView};
//!
//! let model = Model::open("models/digits.onnx")?;
//! let device = Device::auto(); // a GPU, or the CPU: `device.choice()` says why
//! let mut session = model.session(&device)?;
//!
//! let pixels = vec![0.0f32; 28 * 28];
//! let outputs = session.run_with([("image", TensorView::new([1, 1, 28, 28], &pixels)?)])?;
//! let (name, probabilities) = &outputs[0];
//! assert_eq!((name.as_str(), probabilities.shape()), ("probabilities", &[1, 10][..]));
//! # Ok::<(), rimlight::Error>(())
//! ```
//!
//! In a loop, [`Session::set`], [`Session::run`] and [`Session::get`] allocate nothing; [`Session::run_async`]
//! does not block, and [`Session::submit`] has several frames under way at once. What comes before can be had one by
//! one: [`Model::plan`] says, without touching the GPU, what runs where and why and how much memory it takes;
//! [`Plan::load`] uploads weights and makes pipelines; an [`Engine`] is shared by the sessions of several threads.
//! [`validate`] compares a device with the references. An application that owns a wgpu device lends it with
//! [`Device::from_wgpu`].
//!
//! Features, on by default: `gpu` for wgpu, `onnx` for ONNX files, `image` for reading pictures' files. Off by default:
//! `image-formats`, for TIFF, WebP and JPEG 2000 in the ImageDecoder operator.

// No file and no input may end the application.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable
    )
)]

mod builder;
pub mod cache;
#[cfg(all(feature = "onnx", not(target_arch = "wasm32")))]
pub mod compress;
pub mod cpu;
pub mod error;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod graph;
pub mod image;
mod interrupt;
pub mod kernel;
mod limits;
mod model;
mod nearest;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod ops;
pub mod optimize;
pub mod plan;
pub mod session;
pub mod tensor;
pub mod vision;

pub use builder::GraphBuilder;
pub use error::{DeviceError, Error, ErrorKind, LoadError, PlanError, RunError};
pub use graph::{Dim, Graph, Unsupported};
pub use interrupt::{Cancel, Interrupted};
pub use limits::{LimitError, Limits};
pub use model::{Model, Port};
pub use plan::Placement;
#[cfg(feature = "gpu")]
pub use session::SelfCheck;
#[cfg(not(target_arch = "wasm32"))]
pub use session::validate;
pub use session::{
    Backend, Comparison, Device, DeviceOptions, Engine, Event, InputId, Options, OutputId, Outputs, Pending, Plan,
    Precision, Profile, Recovery, Session, SessionMemory, StepTime, Tolerance, Validation, validate_async,
};
#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
pub use session::{Tuned, TunedKind};
pub use tensor::{Element, ElementType, Tensor, TensorError, TensorView};

#[cfg(test)]
mod testing;

/// The program in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
