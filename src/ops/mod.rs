//! The operators: one file per family, with its parameters, shape rule, reference, GPU candidates and tests.
//!
//! Adding one touches its file, its shader, and a line of `REGISTRY` in `registry.rs`.

pub(crate) mod attention;
pub mod batch_normalization;
pub mod binary;
mod broadcast;
pub mod cast;
mod center_crop_pad;
pub(crate) mod chain;
mod col2im;
mod composite;
pub(crate) mod concat;
mod constant;
mod contraction;
pub(crate) mod control;
pub(crate) mod conv;
pub(crate) mod conv_transpose;
pub mod convert;
mod cumulative_sum;
mod deform_conv;
pub(crate) mod depth_to_space;
mod determinant;
mod einsum;
pub(crate) mod expand;
pub(crate) mod gather;
mod gather_elements;
pub(crate) mod gather_part;
mod generate;
mod grid;
mod identity;
mod image_decoder;
mod loss;
mod mask;
pub(crate) mod matmul;
mod max_unpool;
mod microsoft;
mod ml;
#[cfg(test)]
mod moves;
mod non_max_suppression;
mod non_zero;
pub mod norm;
mod optimizer;
pub(crate) mod pad;
#[cfg(test)]
mod pairs;
pub(crate) mod pool;
pub(crate) mod quantize;
mod random;
mod range;
pub(crate) mod recurrent;
pub mod reduce;
mod registry;
mod remap;
pub(crate) mod reshape;
pub(crate) mod resize;
mod reverse_sequence;
mod roi;
mod rotary_embedding;
pub(crate) mod rotate_half;
mod scatter;
pub mod select;
mod sequence;
mod shape;
mod signal;
pub(crate) mod slice;
pub(crate) mod split;
pub(crate) mod strided;
pub(crate) mod tensor_scatter;
mod text;
mod top_k;
pub(crate) mod transpose;
pub mod unary;
mod unique;
pub(crate) mod window;

pub use registry::{check_arity, exists, names, operator};
