//! Element types, shapes and host tensors. The lowest floor of the house: it knows nothing of the others.

mod element;
mod host;
mod numbers;
pub mod shape;
mod storage;

pub use element::{Element, ElementType, Truth};
pub use host::{Tensor, TensorError, TensorView};
pub(crate) use storage::Block;
