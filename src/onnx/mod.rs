//! ONNX files into graphs.
//!
//! Read are IR version 3 and later and operator sets up to 24; newer sets are tried, with a warning in the log, since most
//! operators stay as they are, and so are sets before 6, where an operator has a form that is known. Nothing in a file is trusted: what decoding would allocate is counted first ([`Limits`]),
//! every length is checked, and other files are read in the model's folder only.

mod attributes;
mod convert;
mod external;
#[cfg(not(target_arch = "wasm32"))]
mod file;
#[cfg(not(target_arch = "wasm32"))]
mod folder;
mod functions;
#[doc(hidden)]
pub mod messages;
mod nodes;
mod ports;
mod reader;
mod scan;
mod tensors;
mod unknown;
mod value;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use prost::Message;

pub use crate::limits::Limits;
pub use external::{External, ExternalError, NoExternal};
#[cfg(not(target_arch = "wasm32"))]
pub use file::{ModelFile, WriteError};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use file::{Part, names_read};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use folder::{Folder, map};

use scan::Kind;

use crate::error::LoadError;
use crate::graph::{Graph, Metadata, Value, ValueType};
use crate::limits::within;
use crate::tensor::Tensor;

/// The newest version that the operators were written for.
const NEWEST_OPSET: i64 = 24;

/// Reads a model: its graph, all facts inferred, and what the file says about itself. Constants share the memory of
/// `bytes` where they lie aligned in it.
///
/// # Errors
/// If the bytes are no model, pass a limit, need an operator that there is none of, or contradict themselves.
pub fn read(bytes: Bytes, external: &dyn External, limits: &Limits) -> Result<(Graph, Metadata), LoadError> {
    read_from(bytes, Memory::Shared, external, limits)
}

/// Whose memory constants lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// The file's, where they are aligned in it: it stays anyway.
    Shared,
    /// Their own, so that the file's can go. (Most constants are not aligned and would be copied in any case.)
    Own,
}

pub(crate) fn read_from(
    bytes: Bytes,
    memory: Memory,
    external: &dyn External,
    limits: &Limits,
) -> Result<(Graph, Metadata), LoadError> {
    scan::scan(&bytes, Kind::Model, limits)?;
    let model = messages::ModelProto::decode(bytes).map_err(|e| LoadError::Format(e.to_string()))?;
    convert::model(model, tensors::Tensors { memory, external, limits, bytes: 0 })
}

/// Checks a model file's size before it is read.
///
/// # Errors
/// [`LoadError::Limit`].
pub(crate) fn check_file_size(bytes: u64, limits: &Limits) -> Result<(), LoadError> {
    Ok(within("the file's size in bytes", bytes, limits.file_bytes, "file_bytes")?)
}

/// Reads a file that holds one tensor (a `TensorProto`, such as the inputs and outputs of the standard's backend tests):
/// its name and itself.
///
/// # Errors
/// If the bytes are no tensor or pass a limit.
pub fn read_tensor(bytes: Bytes, limits: &Limits) -> Result<(String, Tensor), LoadError> {
    value::tensor(bytes, limits)
}

/// Reads a file that holds one value of this type: a `TensorProto`, a `SequenceProto` or an `OptionalProto`, such as the
/// inputs and outputs of the standard's backend tests. Its name and itself.
///
/// # Errors
/// If the bytes are no such value or pass a limit.
pub fn read_value(bytes: Bytes, value_type: &ValueType, limits: &Limits) -> Result<(String, Value), LoadError> {
    value::value(bytes, value_type, limits)
}
