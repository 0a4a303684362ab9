//! The CPU backend: the reference that every output is checked against, and the fallback where there is no GPU.

mod executor;
pub mod reference;
mod threads;

pub use executor::{CpuPlan, CpuSession};
pub use threads::Threads;
