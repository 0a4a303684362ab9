//! Operators along lanes: softmax and the normalizations whose statistics are taken from the input itself.

mod lanes;
pub mod softmax;

pub(super) use lanes::{Groups, Lanes, WORKGROUP};
