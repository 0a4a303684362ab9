//! The CPU backend: the reference that every output is checked against, and the fallback where there is no GPU.

pub mod reference;
mod threads;

pub use threads::Threads;
