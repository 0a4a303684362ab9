//! What is wrong with a network's outputs.

use crate::tensor::TensorError;

/// Outputs that are not those of the network they are said to be of, or sizes that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VisionError {
    /// An output of another shape.
    #[error("{what} has the shape {wanted}, but {found:?} was given; is it another network's?")]
    Shape {
        /// Which output of which network.
        what: &'static str,
        /// The shape that it has.
        wanted: String,
        /// The shape that was given.
        found: Vec<usize>,
    },
    /// A picture or an input without pixels.
    #[error("a picture of {width} × {height} pixels cannot be fitted")]
    Empty {
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
    },
    /// An output whose elements are no 32-bit floats.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
