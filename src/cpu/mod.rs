//! The CPU backend: the reference that every output is checked against, and the fallback where there is no GPU.

mod threads;

pub use threads::Threads;
