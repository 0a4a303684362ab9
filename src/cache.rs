//! Files that make the next start faster: compiled pipelines, packed weights, tuning.
//!
//! Nothing is written unless the application names a folder. A file holds a version, its key in full, a hash of its
//! content and the content; one that is truncated, damaged, of another version or another key is passed over, and
//! replaced by the next write. Files are written beside their place and renamed, so that several processes may use one
//! folder: a reader sees the old file or the new one.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use twox_hash::xxhash3_128::Hasher;

/// The first bytes of every file; the last of them counts the versions of the format.
const MAGIC: [u8; 8] = *b"rimlite\x01";

/// Magic, length of the key, length of the content, hash of both.
const HEADER: usize = 8 + 8 + 8 + 16;

/// What the names of drafts have in them.
const DRAFT: &str = ".tmp-";

/// How long ago a draft was last written that nobody finishes any more: packed weights of the largest models take seconds.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A folder for such files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
}

/// The hash that contents are checked with and keys are shortened to (XXH3, 128 bits).
pub fn hash(bytes: &[u8]) -> u128 {
    Hasher::oneshot(bytes)
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
        let mut entry = self.open(kind, key)?;
        let mut content = vec![0; usize::try_from(entry.length()).ok()?];
        let read = entry.read(&mut content);
        (read.is_ok() && entry.is_whole()).then_some(content)
    }

    /// Writes a content under a key, in place of what was there.
    ///
    /// # Errors
    /// If the folder cannot be made or written.
    pub fn write(&self, kind: &str, key: &str, content: &[u8]) -> io::Result<()> {
        let mut draft = self.create(kind, key)?;
        draft.write(content)?;
        draft.finish()
    }

    /// The file of this key, to be read bit by bit; `None` where there is none, or another.
    pub fn open(&self, kind: &str, key: &str) -> Option<Entry> {
        let path = self.file(kind, key);
        let file = File::open(&path).ok()?;
        let entry = Entry::new(file, path, key);
        if let Err(path) = &entry {
            log::warn!("'{}' is damaged or of another version, and is passed over", path.display());
        }
        entry.ok()
    }

    /// A file of this key, to be written bit by bit. It takes the place of what was there once it is finished.
    ///
    /// # Errors
    /// If the folder cannot be made or written.
    pub fn create(&self, kind: &str, key: &str) -> io::Result<Draft> {
        std::fs::create_dir_all(&self.path)?;
        self.sweep();
        let path = self.file(kind, key);
        // A name that no other writer has: neither another process nor another thread of this one.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let unique = format!(
            "{}{}-{}",
            DRAFT.trim_start_matches('.'),
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let beside = path.with_extension(unique);
        let file = File::create(&beside)?;
        let mut draft = Draft { file, path, beside, key: key.len() as u64, length: 0, hasher: Hasher::new() };
        draft.file.write_all(&[0; HEADER])?;
        draft.write(key.as_bytes())?;
        draft.length = 0;
        Ok(draft)
    }
}

impl Folder {
    /// Removes drafts that nobody writes any more, of processes that were killed.
    fn sweep(&self) {
        for file in std::fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let is_draft = file.file_name().to_string_lossy().contains(DRAFT);
            let age = file.metadata().ok().and_then(|data| data.modified().ok()?.elapsed().ok());
            if is_draft && age.is_some_and(|age| age > ABANDONED) {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
}

/// A file that is read bit by bit. What was read is good only if the whole is: see [`Entry::is_whole`].
pub struct Entry {
    file: File,
    path: PathBuf,
    length: u64,
    sum: u128,
    hasher: Hasher,
}

impl Entry {
    fn new(mut file: File, path: PathBuf, key: &str) -> Result<Self, PathBuf> {
        let mut head = vec![0; HEADER + key.len()];
        if file.read_exact(&mut head).is_err() {
            return Err(path);
        }
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| head[at + i]));
        let sum = u128::from_le_bytes(std::array::from_fn(|i| head[HEADER - 16 + i]));
        let length = word(16);
        let whole = (head.len() as u64).checked_add(length);
        let fits = head.starts_with(&MAGIC)
            && word(8) == key.len() as u64
            && head[HEADER..] == *key.as_bytes()
            && whole.is_some_and(|whole| file.metadata().is_ok_and(|data| data.len() == whole));
        if !fits {
            return Err(path);
        }
        let mut hasher = Hasher::new();
        hasher.write(key.as_bytes());
        Ok(Self { file, path, length, sum, hasher })
    }

    /// Bytes of the content, or what is left of it to be read.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// The next bytes.
    ///
    /// # Errors
    /// If there are not so many.
    pub fn read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact(bytes)?;
        self.length = self.length.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.hasher.write(bytes);
        Ok(())
    }

    /// Whether all was read, and is what was written.
    pub fn is_whole(self) -> bool {
        let whole = self.length == 0 && self.hasher.finish_128() == self.sum;
        if !whole {
            log::warn!("'{}' is damaged, and is passed over", self.path.display());
        }
        whole
    }
}

/// A file that is written bit by bit. Dropped before it is finished, it leaves nothing.
pub struct Draft {
    file: File,
    path: PathBuf,
    beside: PathBuf,
    /// Bytes of the key, and of the content so far.
    key: u64,
    length: u64,
    hasher: Hasher,
}

impl Draft {
    /// Writes the next bytes.
    ///
    /// # Errors
    /// If the disk is full, or gone.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.write(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// As [`Draft::write`].
    pub fn finish(mut self) -> io::Result<()> {
        let mut head = [0; HEADER];
        head[..8].copy_from_slice(&MAGIC);
        head[8..16].copy_from_slice(&self.key.to_le_bytes());
        head[16..24].copy_from_slice(&self.length.to_le_bytes());
        head[24..].copy_from_slice(&self.hasher.finish_128().to_le_bytes());
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&head)?;
        std::fs::rename(&self.beside, &self.path)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({}, {} left)", self.path.display(), self.length)
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Draft({}, {} so far)", self.path.display(), self.length)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Finished, it is no longer there.
        let _ = std::fs::remove_file(&self.beside);
    }
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
    fn abandoned_drafts_are_removed() {
        let (_dir, folder) = folder("drafts");
        let mut draft = folder.create("kind", "key").unwrap();
        draft.write(b"half of it").unwrap();
        let path = only_file(&folder);
        // As after a kill, but for its age.
        std::mem::forget(draft);
        folder.write("other", "key", b"content").unwrap();
        assert!(path.exists());
        let old = std::time::SystemTime::now() - 2 * ABANDONED;
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        folder.write("other", "key", b"content").unwrap();
        assert!(!path.exists());
        assert_eq!(folder.read("other", "key").as_deref(), Some(&b"content"[..]));
    }

    /// A file in the folder's place, and a disk that is full.
    #[test]
    fn what_cannot_be_written_is_an_error_and_leaves_nothing() {
        let (dir, _) = folder("full");
        std::fs::create_dir_all(&dir.0).unwrap();
        std::fs::write(dir.0.join("file"), b"").unwrap();
        assert!(Folder::new(dir.0.join("file")).write("kind", "key", b"content").is_err());
        #[cfg(target_os = "linux")]
        {
            let full = Folder::new(dir.0.join("full"));
            let mut draft = full.create("kind", "key").unwrap();
            draft.file = File::options().write(true).open("/dev/full").unwrap();
            assert_eq!(draft.write(b"content").unwrap_err().kind(), io::ErrorKind::StorageFull);
            drop(draft);
            assert_eq!(std::fs::read_dir(full.path()).unwrap().count(), 0);
            assert_eq!(full.read("kind", "key"), None);
        }
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
    fn what_is_written_and_read_bit_by_bit_is_the_same() {
        let (_dir, folder) = folder("bits");
        let mut draft = folder.create("kind", "key").unwrap();
        assert!(draft.write(b"con").is_ok() && draft.write(b"tent").is_ok());
        assert_eq!(folder.read("kind", "key"), None, "it is not finished");
        draft.finish().unwrap();
        assert_eq!(folder.read("kind", "key").as_deref(), Some(&b"content"[..]));
        let mut entry = folder.open("kind", "key").unwrap();
        let mut bytes = [0; 4];
        entry.read(&mut bytes).unwrap();
        assert_eq!((&bytes, entry.length()), (b"cont", 3));
        assert!(!entry.is_whole(), "not all was read");
        drop(folder.create("kind", "another").unwrap());
        only_file(&folder);
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
