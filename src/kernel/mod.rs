//! Compute kernels as plain data: which shader, how it is specialised, what it binds, how much of it is dispatched.
//!
//! Nothing here knows of wgpu. An operator describes the ways to run it as [`Candidate`]s; the planner chooses among
//! them; the GPU backend turns the chosen [`Dispatch`]es into pipelines and bind groups.

mod accessors;
pub mod assemble;
mod candidate;
pub mod check;
mod device;
mod dispatch;
mod layout;
pub mod shaders;

pub use candidate::{Candidate, Candidates, Want};
pub use device::{DeviceClass, DeviceFacts, Dialect};
pub use dispatch::{Binding, Constant, Dispatch, Kernel, Packing, Word};
pub use layout::{Layout, Storage, pack, units, unpack};
pub use shaders::{ShaderError, Shaders};
