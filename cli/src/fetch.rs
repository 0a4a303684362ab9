//! Fetching a known model into the cache: whole and checked, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::failure::{Failure, Outcome};
use crate::known::{Known, hexadecimal};

/// Redirections that are followed: GitHub needs two.
const REDIRECTIONS: u32 = 5;
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// What became of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pulled {
    /// The file was there already, with the right content.
    There(PathBuf),
    /// It was fetched.
    Fetched(PathBuf),
}

/// Brings a model into `cache`, unless it lies there or in `local` already. `progress` is told the bytes that have come.
///
/// The file appears under its name only when it is whole and its SHA-256 is right; two pulls at once do not disturb each
/// other.
///
/// # Errors
/// If the model cannot be had or what came is not it; nothing is left behind then.
pub fn pull(known: &Known, local: Option<&Path>, cache: &Path, progress: &dyn Fn(u64)) -> Outcome<Pulled> {
    for folder in local.into_iter().chain([cache]) {
        let path = folder.join(&known.file);
        match check(known, &path) {
            Ok(true) => return Ok(Pulled::There(path)),
            Ok(false) if folder != cache => {
                return Err(Failure::input(format!(
                    "'{}' is not the model '{}': its SHA-256 is another one",
                    path.display(),
                    known.name
                )));
            }
            // A damaged file of the cache is replaced, a missing one fetched.
            _ => {}
        }
    }
    let Some(url) = &known.url else {
        let why = known.derived.as_deref().unwrap_or("the manifest names no address");
        return Err(Failure::no(format!(
            "'{}' cannot be pulled, since it was made from its source ({why}); name the folder that it lies in with RIMLIGHT_MODELS",
            known.name
        )));
    };
    fs::create_dir_all(cache).map_err(|e| Failure::file(cache, e))?;
    let failed = |message: String| Failure::input(format!("cannot pull '{}' from {url}: {message}", known.name));
    let mut body = get(url).map_err(failed)?;
    let mut part = Part::create(cache, &known.file)?;
    let writing = |e: io::Error| match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Failure::file(
            &cache.join(&known.file),
            format!("there is no room: the model needs {} bytes ({e})", known.size),
        ),
        _ => Failure::file(&part.path, e),
    };
    let digest = copy(&mut body, &mut part.file, known.size, progress).map_err(|e| match e {
        CopyError::Read(message) => failed(message),
        CopyError::Write(e) => writing(e),
    })?;
    if digest != known.sha256 {
        return Err(failed(format!("its SHA-256 is {digest}, not {}", known.sha256)));
    }
    // What a name stands for must survive a power cut as well.
    part.file.sync_all().map_err(writing)?;
    let path = cache.join(&known.file);
    part.keep_as(&path)?;
    Ok(Pulled::Fetched(path))
}

/// Whether the file is the model; an error where it cannot be read.
fn check(known: &Known, path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() != known.size {
        return Ok(false);
    }
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hexadecimal(&hash.finalize()) == known.sha256),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn get(url: &str) -> Result<impl Read, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .max_redirects(REDIRECTIONS)
        .timeout_connect(Some(SILENCE))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        // The bytes are hashed as they are: nothing may unpack them on the way.
        .accept_encoding("identity")
        .user_agent(concat!("rimlight/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let response = agent.get(url).call().map_err(|e| match e {
        ureq::Error::StatusCode(404) => "the server does not have it (404)".to_owned(),
        ureq::Error::StatusCode(code) => format!("the server answers with status {code}"),
        e => e.to_string(),
    })?;
    Ok(response.into_body().into_with_config().limit(u64::MAX).reader())
}

enum CopyError {
    Read(String),
    Write(io::Error),
}

/// Copies exactly `size` bytes and gives their SHA-256.
fn copy(from: &mut impl Read, to: &mut impl Write, size: u64, progress: &dyn Fn(u64)) -> Result<String, CopyError> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut done = 0u64;
    loop {
        let n = match from.read(&mut buffer) {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(CopyError::Read(format!("after {done} of {size} bytes: {e}"))),
        };
        if n == 0 {
            break;
        }
        done += n as u64;
        // A server may send without end.
        if done > size {
            return Err(CopyError::Read(format!("it is longer than the {size} bytes that it should have")));
        }
        hash.update(&buffer[..n]);
        to.write_all(&buffer[..n]).map_err(CopyError::Write)?;
        progress(done);
    }
    if done < size {
        return Err(CopyError::Read(format!("it ended after {done} of {size} bytes")));
    }
    Ok(hexadecimal(&hash.finalize()))
}

/// A file on its way: removed, unless it is kept.
struct Part {
    file: File,
    path: PathBuf,
}

impl Part {
    /// A new file with a name of its own.
    fn create(folder: &Path, name: &str) -> Outcome<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".{name}.{}.{count}.part", std::process::id()));
        // One that a killed process of the same number left behind is overwritten.
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
        file.map(|file| Self { file, path: path.clone() }).map_err(|e| Failure::file(&path, e))
    }

    /// Renames it at one stroke.
    fn keep_as(self, path: &Path) -> Outcome {
        fs::rename(&self.path, path).map_err(|e| Failure::file(path, e))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Gone already where it was kept.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer onto a disk with this much room.
    struct Disk(usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let n = bytes.len().min(self.0);
            self.0 -= n;
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_told_from_a_bad_connection() {
        let body = vec![7u8; 100_000];
        let outcome = copy(&mut body.as_slice(), &mut Disk(50_000), 100_000, &|_| ());
        assert!(matches!(outcome, Err(CopyError::Write(e)) if e.kind() == io::ErrorKind::StorageFull));
        assert!(copy(&mut body.as_slice(), &mut Disk(100_000), 100_000, &|_| ()).is_ok());
    }

    #[test]
    fn a_body_that_does_not_end_is_cut_off() {
        let outcome = copy(&mut io::repeat(0), &mut io::sink(), 100_000, &|_| ());
        assert!(matches!(outcome, Err(CopyError::Read(message)) if message.contains("longer")));
    }
}
