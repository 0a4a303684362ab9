//! Element types, shapes and host tensors. The lowest floor of the house: it knows nothing of the others.

mod deferred;
mod derived;
mod element;
mod host;
mod numbers;
mod part;
mod quantized;
pub mod shape;
mod small;
mod storage;
mod strings;
mod view;
pub(crate) mod wide;

pub(crate) use deferred::Origin;
pub(crate) use derived::{Recipe, derived};
pub use element::{Element, ElementType, Truth};
pub use host::{Tensor, TensorError};
pub use numbers::Number;
pub(crate) use quantized::Quantized;
pub use small::{F4E2M1, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0, I4, PowerRounding, U4};
pub(crate) use storage::Block;
pub use view::TensorView;
pub(crate) use wide::Wide;
