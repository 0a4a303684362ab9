//! Quantized numbers: small integers that stand for `(q - zero_point) · scale`.
//!
//! | file | operators |
//! |---|---|
//! | [`linear`] | QuantizeLinear, DequantizeLinear |
//! | [`dynamic`] | DynamicQuantizeLinear |
//! | [`convolution`] | ConvInteger, QLinearConv |
//! | [`product`] | MatMulInteger, QLinearMatMul, QGemm, MatMulIntegerToFloat |
//! | [`blocks`] | MatMulNBits |
//! | [`block_weights`] | none: the weights of a MatMulNBits as a matrix |
//! | [`gather`] | GatherBlockQuantized |
//! | [`around`] | DynamicQuantizeMatMul, and QLinear… of operators on floats |
//! | [`between`] | none: sums, products, means and functions of quantized numbers, as a rewrite makes them |
//! | [`packed`] | none: kernels of convolutions and products over words of four integers |
//! | [`channels`], [`table`], [`finish`] | none: how kernels get scales, zero points and biases, and what they make of sums |

mod around;
mod between;
mod block_weights;
mod blocks;
mod channels;
mod convolution;
mod dynamic;
mod finish;
mod gather;
mod linear;
mod packed;
mod product;
mod table;
#[cfg(test)]
mod tests;

pub(super) use around::{dynamic_product, make as around};
pub(crate) use between::{Between, Kind, Numbers, is_of_planes};
pub(crate) use block_weights::BlockWeights;
pub(super) use blocks::make as blocks;
pub(crate) use channels::{Channels, Ends};
pub(crate) use convolution::IntegerConv;
pub(super) use convolution::make as convolution;
pub(crate) use dynamic::DynamicQuantize;
pub(super) use dynamic::make as dynamic;
pub(super) use gather::make as gather;
pub(crate) use linear::Quantize;
pub(super) use linear::make as linear;
pub(crate) use product::IntegerProduct;
pub(super) use product::make as product;
