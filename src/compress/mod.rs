//! Making models smaller: weights pruned, channels removed, numbers stored in fewer bits.
//!
//! What goes in is a [`ModelFile`](crate::onnx::ModelFile), and it is one that comes out: standard ONNX, of which everything
//! stays that was not compressed.
//!
//! ```no_run
//! use rimlight::compress::{Pattern, Pruning, prune};
//! use rimlight::onnx::ModelFile;
//!
//! let mut file = ModelFile::open("model.onnx")?;
//! let pruned = prune(&mut file, &Pruning::new(Pattern::L1, 0.5))?;
//! println!("{} of {} weights are zero now", pruned.zeros(), pruned.weights());
//! file.save("pruned.onnx")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod channels;
mod compare;
mod error;
mod layers;
mod magnitude;
mod prune;
mod quantize;
mod samples;
mod zeros;

pub use compare::{Change, Changes, compare};
pub use error::CompressError;
pub use layers::{Layer, layers};
pub use prune::{Masks, Pattern, Pruned, PrunedLayer, Pruning, Step, prune, prune_in_steps};
pub use quantize::{Quantization, Quantized, QuantizedLayer, Range, Scheme, Stored, quantize};
pub use samples::{Sample, check_samples};
pub use zeros::{Packed, pack_zeros, unpack_zeros};

#[cfg(test)]
mod tests;
