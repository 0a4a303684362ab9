//! Data that a model keeps in files beside it.

use std::ops::Range;

use bytes::Bytes;

use crate::error::LoadError;

/// Why external data could not be had.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExternalError {
    /// The file cannot be opened or read.
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file must not be read: the sentence about the tensor that says why, such as `'../x' lies outside …`.
    Refused(String),
}

impl ExternalError {
    /// The error of loading the tensor of this name.
    pub(super) fn of_tensor(self, name: &str) -> LoadError {
        match self {
            Self::Io { path, source } => LoadError::Io { path, source },
            Self::Refused(message) => LoadError::Tensor { name: name.to_owned(), message },
        }
    }
}

/// Gives the content of the files that a model names as the places of its constants. Locations come from the model file
/// and are not to be trusted.
pub trait External {
    /// The length of a file in bytes.
    ///
    /// # Errors
    /// If the file cannot be had.
    fn length(&self, location: &str) -> Result<u64, ExternalError>;

    /// A part of a file; it lies inside the length that was given.
    ///
    /// # Errors
    /// If the file cannot be had.
    fn bytes(&self, location: &str, range: Range<u64>) -> Result<Bytes, ExternalError>;
}

/// No files: a model that was given as bytes.
#[derive(Debug, Clone, Copy)]
pub struct NoExternal;

impl External for NoExternal {
    fn length(&self, location: &str) -> Result<u64, ExternalError> {
        Err(ExternalError::Refused(format!(
            "its data lies in the file '{location}', but the model was given as bytes; open it by its path"
        )))
    }

    fn bytes(&self, location: &str, _: Range<u64>) -> Result<Bytes, ExternalError> {
        self.length(location).map(|_| Bytes::new())
    }
}
