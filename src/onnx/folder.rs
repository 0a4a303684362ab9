//! External data in the folder that the model file lies in, and nowhere else.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use super::external::{External, ExternalError};

/// The folder of a model file.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    mapped: bool,
    /// The file that was opened last: tensors of one file follow each other.
    open: RefCell<Option<Opened>>,
}

#[derive(Debug)]
struct Opened {
    location: String,
    file: File,
    length: u64,
    map: Option<Bytes>,
}

impl Folder {
    /// The folder that a model file lies in. `mapped` files are mapped into memory: nobody may change them then, which
    /// is what the caller of [`Model::open_mapped`](crate::Model::open_mapped) promises.
    pub(crate) fn of(model: &Path, mapped: bool) -> Self {
        let root = match model.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Self { root, mapped, open: RefCell::default() }
    }

    fn with<T>(&self, location: &str, read: impl FnOnce(&mut Opened) -> io::Result<T>) -> Result<T, ExternalError> {
        let mut open = self.open.borrow_mut();
        let opened = match open.take().filter(|o| o.location == location) {
            Some(opened) => opened,
            None => self.open(location)?,
        };
        let result = read(open.insert(opened));
        result.map_err(|source| ExternalError::Io { path: self.root.join(location).display().to_string(), source })
    }

    fn open(&self, location: &str) -> Result<Opened, ExternalError> {
        let relative = Path::new(location);
        let inside = relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        // A backslash parts folders on one system and belongs to a name on another: a model that is to be read on both has none.
        if !inside || location.contains('\\') || relative.file_name().is_none() {
            return Err(ExternalError::Refused(format!(
                "its data is said to lie in '{location}', which is not a path inside the model's folder"
            )));
        }
        let path = self.root.join(relative);
        let io = |source| ExternalError::Io { path: path.display().to_string(), source };
        let root = self.root.canonicalize().map_err(io)?;
        let real = path.canonicalize().map_err(io)?;
        if !real.starts_with(&root) {
            return Err(ExternalError::Refused(format!(
                "its data is said to lie in '{location}', which is a link that leads out of the model's folder"
            )));
        }
        let file = File::open(&real).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() {
            return Err(ExternalError::Refused(format!("its data is said to lie in '{location}', which is no file")));
        }
        if links(&metadata) > 1 {
            return Err(ExternalError::Refused(format!(
                "its data is said to lie in '{location}', which has other names (hard links), maybe outside the model's folder; copy the file"
            )));
        }
        let map = if self.mapped { Some(map(&file).map_err(io)?) } else { None };
        Ok(Opened { location: location.to_owned(), length: metadata.len(), file, map })
    }
}

impl External for Folder {
    fn length(&self, location: &str) -> Result<u64, ExternalError> {
        self.with(location, |opened| Ok(opened.map.as_ref().map_or(opened.length, |map| map.len() as u64)))
    }

    fn bytes(&self, location: &str, range: Range<u64>) -> Result<Bytes, ExternalError> {
        self.with(location, |opened| {
            let size = |n: u64| usize::try_from(n).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge));
            let (start, end) = (size(range.start)?, size(range.end)?);
            match &opened.map {
                // Checked by the caller, but a file can be cut between the two calls.
                Some(map) if start <= end && end <= map.len() => Ok(map.slice(start..end)),
                Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
                None => {
                    use io::{Read, Seek, SeekFrom};
                    opened.file.seek(SeekFrom::Start(range.start))?;
                    let mut bytes = vec![0; end.saturating_sub(start)];
                    opened.file.read_exact(&mut bytes)?;
                    Ok(bytes.into())
                }
            }
        })
    }
}

#[cfg(unix)]
fn links(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(metadata)
}

#[cfg(not(unix))]
fn links(_: &std::fs::Metadata) -> u64 {
    1
}

/// The file's content, mapped into memory.
#[allow(unsafe_code)]
pub(crate) fn map(file: &File) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: a mapped file that somebody cuts or writes to changes under a shared slice. This is reached through
    // `Model::open_mapped` alone, an unsafe function whose caller promises that nobody does so.
    let map = unsafe { memmap2::Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}
