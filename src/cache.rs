//! Files that make the next start faster: compiled pipelines, packed weights, tuning.
//!
//! Nothing is written unless the application names a folder. A file holds a version, its key in full, a hash of its
//! content and the content; one that is truncated, damaged, of another version or another key is passed over, and
//! replaced by the next write. Files are written beside their place and renamed, so that several processes may use one
//! folder: a reader sees the old file or the new one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The first bytes of every file; the last of them counts the versions of the format.
const MAGIC: [u8; 8] = *b"rimlite\x01";

/// Magic, length of the key, length of the content, hash of both.
const HEADER: usize = 8 + 8 + 8 + 16;

/// A folder for such files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
}

/// The hash that contents are checked with and keys are shortened to (XXH3, 128 bits).
pub fn hash(bytes: &[u8]) -> u128 {
    twox_hash::xxhash3_128::Hasher::oneshot(bytes)
}

impl Folder {
    /// A folder; it is made when the first file is written.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, kind: &str, key: &str) -> PathBuf {
        self.path.join(format!("{kind}-{:032x}", hash(key.as_bytes())))
    }

    /// The content that was written under this key, if it is there and whole.
    pub fn read(&self, kind: &str, key: &str) -> Option<Vec<u8>> {
        let path = self.file(kind, key);
        let mut file = std::fs::read(&path).ok()?;
        match content(&file, key) {
            Some(start) => Some(file.split_off(start)),
            None => {
                log::warn!("'{}' is damaged or of another version, and is passed over", path.display());
                None
            }
        }
    }

    /// Writes a content under a key, in place of what was there.
    ///
    /// # Errors
    /// If the folder cannot be made or written.
    pub fn write(&self, kind: &str, key: &str, content: &[u8]) -> io::Result<()> {
        std::fs::create_dir_all(&self.path)?;
        let path = self.file(kind, key);
        // A name that no other writer has: neither another process nor another thread of this one.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let unique = format!("tmp-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let beside = path.with_extension(unique);
        let written = std::fs::write(&beside, file(key, content)).and_then(|()| std::fs::rename(&beside, &path));
        if written.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        written
    }
}

fn file(key: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + key.len() + content.len());
    bytes.extend(MAGIC);
    bytes.extend((key.len() as u64).to_le_bytes());
    bytes.extend((content.len() as u64).to_le_bytes());
    bytes.extend([0; 16]);
    bytes.extend(key.as_bytes());
    bytes.extend(content);
    let sum = hash(&bytes[HEADER..]).to_le_bytes();
    bytes[HEADER - 16..HEADER].copy_from_slice(&sum);
    bytes
}

/// Where the content begins in a file that is whole and has this key.
fn content(file: &[u8], key: &str) -> Option<usize> {
    let (header, body) = file.split_at_checked(HEADER)?;
    let number = |at: usize| Some(u64::from_le_bytes(header.get(at..at + 8)?.try_into().ok()?));
    let sum = u128::from_le_bytes(header.get(HEADER - 16..)?.try_into().ok()?);
    let whole = header.starts_with(&MAGIC)
        && number(8)? == key.len() as u64
        && number(16)?.checked_add(key.len() as u64)? == body.len() as u64
        && body.starts_with(key.as_bytes())
        && hash(body) == sum;
    whole.then_some(HEADER + key.len())
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    /// A folder of a test's own, removed when it ends.
    struct Temporary(PathBuf);

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn folder(test: &str) -> (Temporary, Folder) {
        let dir = Temporary(std::env::temp_dir().join(format!("rimlight-{test}-{}", std::process::id())));
        let folder = Folder::new(dir.0.join("made on demand"));
        (dir, folder)
    }

    fn only_file(folder: &Folder) -> PathBuf {
        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files.into_iter().next().unwrap()
    }

    #[test]
    fn what_was_written_is_read() {
        let (_dir, folder) = folder("read");
        assert_eq!(folder.read("kind", "a key"), None);
        assert!(!folder.path().exists());
        folder.write("kind", "a key", b"old").unwrap();
        folder.write("kind", "a key", b"content").unwrap();
        assert_eq!(folder.read("kind", "a key").as_deref(), Some(&b"content"[..]));
        assert_eq!(folder.read("kind", "another key"), None);
        assert_eq!(folder.read("other", "a key"), None);
        only_file(&folder);
    }

    #[test]
    fn damaged_files_are_passed_over_and_replaced() {
        let (_dir, folder) = folder("damaged");
        folder.write("kind", "key", b"content").unwrap();
        let path = only_file(&folder);
        let good = std::fs::read(&path).unwrap();
        for length in 0..good.len() {
            std::fs::write(&path, &good[..length]).unwrap();
            assert_eq!(folder.read("kind", "key"), None, "truncated to {length}");
        }
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 0x10;
            std::fs::write(&path, bad).unwrap();
            assert_eq!(folder.read("kind", "key"), None, "bit flipped in byte {i}");
        }
        let mut longer = good.clone();
        longer.push(0);
        std::fs::write(&path, longer).unwrap();
        assert_eq!(folder.read("kind", "key"), None);
        folder.write("kind", "key", b"content").unwrap();
        assert_eq!(folder.read("kind", "key").as_deref(), Some(&b"content"[..]));
    }

    #[test]
    fn writers_do_not_disturb_each_other() {
        let (_dir, folder) = folder("writers");
        let contents: Vec<Vec<u8>> = (0..4u8).map(|i| vec![i; 10_000 + usize::from(i)]).collect();
        std::thread::scope(|scope| {
            for content in &contents {
                scope.spawn(|| (0..50).for_each(|_| folder.write("kind", "key", content).unwrap()));
            }
            for _ in 0..200 {
                if let Some(read) = folder.read("kind", "key") {
                    assert!(contents.contains(&read));
                } else {
                    assert!(!folder.file("kind", "key").exists() || folder.read("kind", "key").is_some());
                }
            }
        });
        only_file(&folder);
    }
}
