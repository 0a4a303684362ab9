//! The CPU backend: the reference that every output is checked against, and the fallback where there is no GPU.
//!
//! The fallback runs the same graph as the reference, with kernels of its own for what takes the time.

mod arithmetic;
mod attention;
mod chain;
mod conv;
mod conv_transpose;
mod dense;
mod depthwise;
mod dynamic;
mod executor;
mod functions;
mod gather;
mod integers;
mod kernel;
mod memory;
mod moves;
mod normalize;
mod numbers;
mod panels;
mod pool;
mod product;
mod quantize;
mod recurrent;
mod reduce;
pub mod reference;
mod residual;
mod resize;
mod simd;
mod softmax;
mod sparse;
mod split;
mod stencil;
mod tasks;
#[cfg(test)]
mod tests;
mod threads;
mod windows;
mod winograd;

pub use executor::{CpuPlan, CpuSession, NodeTime};
use simd::Scratch;
pub use threads::Threads;
