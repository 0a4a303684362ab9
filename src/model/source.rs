//! Where a model comes from: a path, bytes, a callback.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::{Inner, Model};
use crate::error::LoadError;
use crate::onnx::{self, Limits, Memory, NoExternal};

/// Gives a model's bytes, every time it is called.
pub type Callback = Arc<dyn Fn() -> io::Result<Bytes> + Send + Sync>;

/// Where a model came from, to read it again.
#[derive(Clone)]
pub(super) enum Source {
    Graph,
    #[cfg(not(target_arch = "wasm32"))]
    Path(std::path::PathBuf, Mapped, Limits),
    Bytes(Bytes, Limits),
    Callback(Callback, Limits),
}

/// Whether files are mapped into memory or read.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mapped {
    No,
    /// The caller of [`Model::open_mapped`] promised that nobody changes the files.
    Yes,
}

impl Source {
    /// Whether it can be read again although its bytes are not held.
    pub(super) const fn gives_anew(&self) -> bool {
        match self {
            #[cfg(not(target_arch = "wasm32"))]
            Self::Path(_, Mapped::No, _) => true,
            Self::Callback(..) => true,
            // The bytes are held by who gave them, or are not: a graph has no other place.
            _ => false,
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Graph => f.write_str("Graph"),
            #[cfg(not(target_arch = "wasm32"))]
            Self::Path(path, ..) => write!(f, "Path({})", path.display()),
            Self::Bytes(bytes, _) => write!(f, "Bytes({})", bytes.len()),
            Self::Callback(..) => f.write_str("Callback"),
        }
    }
}

impl Model {
    /// Reads a model from a file, and its external data from files in the same folder.
    ///
    /// # Errors
    /// If the file cannot be read or is no model that can be loaded.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self, LoadError> {
        Self::open_with(path, &Limits::default())
    }

    /// [`Model::open`] under other limits.
    ///
    /// # Errors
    /// As [`Model::open`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open_with(path: impl AsRef<std::path::Path>, limits: &Limits) -> Result<Self, LoadError> {
        Self::load(Source::Path(path.as_ref().to_owned(), Mapped::No, *limits))
    }

    /// Maps a model's file and those of its external data into memory instead of reading them: constants that lie aligned
    /// in them take no memory of their own.
    ///
    /// # Safety
    /// Nobody may write to these files or shorten them while the model or a tensor of it lives, in this process or any other.
    ///
    /// # Errors
    /// As [`Model::open`].
    #[cfg(not(target_arch = "wasm32"))]
    #[allow(unsafe_code, reason = "a mapped file that somebody changes is memory that changes")]
    pub unsafe fn open_mapped(path: impl AsRef<std::path::Path>) -> Result<Self, LoadError> {
        Self::load(Source::Path(path.as_ref().to_owned(), Mapped::Yes, Limits::default()))
    }

    /// [`Model::open_mapped`] under other limits.
    ///
    /// # Safety
    /// As [`Model::open_mapped`].
    ///
    /// # Errors
    /// As [`Model::open`].
    #[cfg(not(target_arch = "wasm32"))]
    #[allow(unsafe_code, reason = "as `open_mapped`")]
    pub unsafe fn open_mapped_with(path: impl AsRef<std::path::Path>, limits: &Limits) -> Result<Self, LoadError> {
        Self::load(Source::Path(path.as_ref().to_owned(), Mapped::Yes, *limits))
    }

    /// Reads a model from bytes: an asset of an application, a download, `include_bytes!`.
    ///
    /// # Errors
    /// If the bytes are no model that can be loaded, or the model keeps data in other files.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self, LoadError> {
        Self::from_bytes_with(bytes, &Limits::default())
    }

    /// [`Model::from_bytes`] under other limits.
    ///
    /// # Errors
    /// As [`Model::from_bytes`].
    pub fn from_bytes_with(bytes: impl Into<Bytes>, limits: &Limits) -> Result<Self, LoadError> {
        Self::load(Source::Bytes(bytes.into(), *limits))
    }

    /// Reads a model from what a callback gives. It may be called again later, to read the model again without its bytes
    /// having been kept.
    ///
    /// # Errors
    /// If the callback fails, or as [`Model::from_bytes`].
    pub fn from_callback(callback: Callback) -> Result<Self, LoadError> {
        Self::from_callback_with(callback, &Limits::default())
    }

    /// [`Model::from_callback`] under other limits.
    ///
    /// # Errors
    /// As [`Model::from_callback`].
    pub fn from_callback_with(callback: Callback, limits: &Limits) -> Result<Self, LoadError> {
        Self::load(Source::Callback(callback, *limits))
    }

    /// The model once more from where it came from: another handle, equal unless the source has changed. A model that was
    /// made from a graph gives itself.
    ///
    /// # Errors
    /// As when it was read first.
    pub fn reread(&self) -> Result<Self, LoadError> {
        match &self.0.source {
            Source::Graph => Ok(self.clone()),
            source => Self::load(source.clone()),
        }
    }

    fn load(source: Source) -> Result<Self, LoadError> {
        let (graph, metadata) = match &source {
            Source::Graph => Default::default(),
            #[cfg(not(target_arch = "wasm32"))]
            Source::Path(path, mapped, limits) => {
                let bytes = file(path, *mapped, limits)?;
                let memory = if *mapped == Mapped::Yes { Memory::Shared } else { Memory::Own };
                onnx::read_from(bytes, memory, &onnx::Folder::of(path, *mapped == Mapped::Yes), limits)?
            }
            Source::Bytes(bytes, limits) => onnx::read_from(bytes.clone(), Memory::Shared, &NoExternal, limits)?,
            Source::Callback(callback, limits) => {
                let bytes =
                    callback().map_err(|source| LoadError::Io { path: "the model's callback".to_owned(), source })?;
                onnx::read_from(bytes, Memory::Own, &NoExternal, limits)?
            }
        };
        Ok(Self(Arc::new(Inner { graph, metadata, source })))
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn file(path: &std::path::Path, mapped: Mapped, limits: &Limits) -> Result<Bytes, LoadError> {
    use io::Read;
    let io = |source| LoadError::Io { path: path.display().to_string(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    onnx::check_file_size(length, limits)?;
    if mapped == Mapped::Yes {
        return onnx::map(&file).map_err(io);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    // A pipe has no length beforehand: one byte above the limit shows that it has more.
    file.take(limits.file_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    onnx::check_file_size(bytes.len() as u64, limits)?;
    Ok(bytes.into())
}
