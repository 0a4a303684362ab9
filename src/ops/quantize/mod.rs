//! Quantized numbers: small integers that stand for `(q - zero_point) · scale`.
//!
//! | file | operators |
//! |---|---|
//! | [`linear`] | QuantizeLinear, DequantizeLinear |

mod linear;

pub(super) use linear::make as linear;
