//! Packed constants, kept between processes in the folder of the pipelines.
//!
//! A file holds an arena as it lies on the device. Its key names every constant in it by content, packing and storage, and
//! where it lies; so it serves any device that wants the same. It is read piece by piece straight into the upload, rather than
//! mapped: a file that somebody cuts short meanwhile is then an error, not the end of the process. Only once its hash has
//! been found right does it count; else the constants are packed and written over it, on the device and in the folder.

use std::collections::HashMap;
use std::ops::Range;

use super::GpuDevice;
use super::constants::{Arena, BATCH, pack};
use crate::cache::{Draft, Entry};
use crate::error::DeviceError;
use crate::kernel::Constant;

/// Bytes of an arena below which packing takes less than looking for a file.
const WORTH: u64 = 256 << 10;

/// Bytes that are handed to the driver at once.
const PIECE: usize = 4 << 20;

/// A packing that is tried against the file has so many bytes at most.
const SAMPLE: u64 = 64 << 10;

impl Arena {
    /// What its file is called by. Packing may change with the program, of which the version tells, and samples in
    /// [`GpuDevice::take_packed`].
    fn key(&self, keys: &[u128]) -> String {
        let mut members = Vec::with_capacity(self.members.len() * 24);
        for (i, range) in &self.members {
            members.extend(keys[*i].to_le_bytes());
            members.extend(range.start.to_le_bytes());
        }
        format!("{}|{}|{:032x}", env!("CARGO_PKG_VERSION"), self.size, crate::cache::hash(&members))
    }

    /// The smallest constant of each packing, if it is small.
    fn samples(&self, constants: &[Constant]) -> Vec<usize> {
        let mut least: HashMap<&str, (u64, usize)> = HashMap::new();
        for (i, range) in &self.members {
            let size = range.end - range.start;
            let place = least.entry(constants[*i].packing.name).or_insert((size, *i));
            *place = (*place).min((size, *i));
        }
        least.into_values().filter(|(size, _)| *size <= SAMPLE).map(|(_, i)| i).collect()
    }
}

impl GpuDevice {
    /// Uploads an arena out of its file; `false` where there is none that is good.
    pub(super) async fn take_packed(
        &self,
        arena: &Arena,
        keys: &[u128],
        constants: &[Constant],
        buffer: &wgpu::Buffer,
    ) -> Result<bool, DeviceError> {
        let folder = self.shared().folder.get().filter(|_| arena.size >= WORTH);
        let entry = folder.and_then(|folder| folder.open("weights", &arena.key(keys)));
        let Some(entry) = entry.filter(|entry| entry.length() == arena.size) else { return Ok(false) };
        let samples = arena.samples(constants);
        let mut handed = 0;
        let write = |offset, bytes: &[u8]| {
            self.write(buffer, offset, bytes);
            handed += bytes.len() as u64;
            if handed >= BATCH {
                self.submit([]);
                handed = 0;
            }
        };
        let taken = self.guarded("memory for uploading constants", || {
            let taken = upload(entry, arena, &samples, constants, write);
            self.submit([]);
            taken
        });
        let taken = taken.await?;
        self.poll(wgpu::PollType::Poll)?;
        Ok(taken)
    }

    /// A file for an arena that is about to be packed.
    pub(super) fn keep_packed(&self, arena: &Arena, keys: &[u128]) -> Kept {
        let folder = self.shared().folder.get().filter(|_| arena.size >= WORTH);
        Kept { draft: folder.and_then(|folder| logged(folder.create("weights", &arena.key(keys)))), end: 0 }
    }
}

/// An arena's file while it is packed, as long as it can be written.
pub(super) struct Kept {
    draft: Option<Draft>,
    end: u64,
}

impl Kept {
    /// The next constant, and where it lies.
    pub fn add(&mut self, range: &Range<u64>, bytes: &[u8]) {
        let Some(draft) = &mut self.draft else { return };
        let zeros = |count: u64| vec![0; usize::try_from(count).unwrap_or(0)];
        let before = zeros(range.start - self.end);
        // Few bytes take a whole unit.
        let behind = zeros((range.end - range.start).saturating_sub(bytes.len() as u64));
        let written = [&before, bytes, &behind].into_iter().try_for_each(|bytes| draft.write(bytes));
        self.end = range.end;
        if logged(written).is_none() {
            self.draft = None;
        }
    }

    /// All are there.
    pub fn finish(self) {
        self.draft.and_then(|draft| logged(draft.finish()));
    }
}

/// What can go wrong has no other consequence than that the next start is slower.
fn logged<T>(result: std::io::Result<T>) -> Option<T> {
    result.inspect_err(|error| log::warn!("the packed weights cannot be kept: {error}")).ok()
}

/// Reads an arena and hands it on; whether it is whole, and packed as it would be now.
fn upload(
    mut entry: Entry,
    arena: &Arena,
    samples: &[usize],
    constants: &[Constant],
    mut write: impl FnMut(u64, &[u8]),
) -> bool {
    let mut piece = vec![];
    let mut at = 0;
    for (i, range) in &arena.members {
        // What alignment leaves free lies before it.
        let mut gap = vec![0; usize::try_from(range.start - at).unwrap_or(0)];
        if entry.read(&mut gap).is_err() {
            return false;
        }
        at = range.start;
        let is_sample = samples.contains(i);
        while at < range.end {
            let size = usize::try_from(range.end - at).unwrap_or(PIECE).min(PIECE);
            piece.resize(size, 0);
            if entry.read(&mut piece).is_err() {
                return false;
            }
            if is_sample && pack(&constants[*i]).is_ok_and(|now| !piece.starts_with(&now)) {
                return false;
            }
            write(at, &piece);
            at += size as u64;
        }
    }
    entry.is_whole()
}
