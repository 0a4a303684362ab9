//! Whole channels: which of them hang together, which matter least, and a model without them.
//!
//! A channel of a value is a number. The numbers of channels that can only go together are united: those of two operands of
//! an addition, of a convolution's input and output where each channel has its own filter, of a value and what an activation
//! makes of it. What a node does that is not known holds its channels in place.

mod choose;
mod coupling;
mod follow;
mod removal;
mod rules;

pub use choose::choose;
pub use coupling::Coupling;
pub use removal::Removal;
