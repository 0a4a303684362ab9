//! Constants (weights, tables): packed, uploaded once, and shared by all that bind the same ones.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, Weak};

use super::device::lock;
use super::{GpuDevice, elements, threads};
use crate::error::DeviceError;
use crate::kernel::Constant;

/// A packed constant on the device.
#[derive(Debug)]
pub(super) struct Packed {
    pub buffer: wgpu::Buffer,
    /// Where it begins, a multiple of the device's alignment.
    pub offset: u64,
    pub size: u64,
}

/// The constants of a device, by what they are. They go away with the last engine that binds them.
#[derive(Debug, Default)]
pub(super) struct Constants {
    packed: Mutex<HashMap<u128, Weak<Packed>>>,
}

/// Bytes of one arena at most, unless a single constant is larger.
const ARENA: u64 = 128 << 20;

/// Bytes that are packed before they are handed to the driver: what packing takes beside the constants themselves.
pub(super) const BATCH: u64 = 32 << 20;

/// The content, the packing and the storage as one number: equal constants are one.
fn key(constant: &Constant) -> u128 {
    let mut hasher = twox_hash::xxhash3_128::Hasher::new();
    let source = &constant.source;
    // Lengths go in front, so that no two different lists run into the same bytes.
    let header = format!(
        "{}|{:?}|{:?}|{}|{}|{:?}|",
        constant.packing.name,
        constant.parameters,
        constant.storage,
        constant.units,
        source.element_type(),
        source.shape()
    );
    hasher.write(header.as_bytes());
    // Known where the constant was met before, so that it need not be there.
    hasher.write(&source.content_hash().to_le_bytes());
    hasher.finish_128()
}

/// The packed constant's bytes.
pub(super) fn pack(constant: &Constant) -> Result<Vec<u8>, DeviceError> {
    let fail = |message: String| DeviceError::Refused {
        what: format!("a constant packed for '{}'", constant.packing.name),
        message,
    };
    let packed = (constant.packing.pack)(&constant.source, &constant.parameters);
    if constant.source.is_lost() {
        return Err(fail("its bytes cannot be read again".to_owned()));
    }
    if packed.len() as u64 != constant.units.saturating_mul(4) {
        return Err(fail(format!("{} elements were packed, {} units promised", packed.len(), constant.units)));
    }
    let mut bytes = Vec::with_capacity(packed.len() * elements::cell(constant.storage));
    elements::store(packed.bytes(), packed.element_type(), constant.storage, |_, piece| bytes.extend_from_slice(piece))
        .map_err(|e| fail(e.to_string()))?;
    Ok(bytes)
}

fn size(constant: &Constant) -> u64 {
    constant.units.saturating_mul(constant.storage.unit_bytes()).max(16)
}

impl GpuDevice {
    /// The constants on the device, in their order; those that are not there yet are packed and uploaded.
    ///
    /// # Errors
    /// If one is larger than the device's buffers, memory runs out, or an integer does not fit its storage.
    pub(super) async fn constants(&self, constants: &[Constant]) -> Result<Vec<Arc<Packed>>, DeviceError> {
        let keys = threads::map(constants.len(), |i| key(&constants[i]));
        let mut found: Vec<Option<Arc<Packed>>> = {
            let mut known = lock(&self.shared().constants.packed);
            known.retain(|_, packed| packed.strong_count() > 0);
            keys.iter().map(|key| known.get(key).and_then(Weak::upgrade)).collect()
        };
        // Each missing one once, though it may stand in the list twice.
        let mut first = HashMap::new();
        let missing: Vec<usize> =
            (0..keys.len()).filter(|&i| found[i].is_none() && *first.entry(keys[i]).or_insert(i) == i).collect();
        let largest = ARENA.min(self.info().max_buffer_size);
        for arena in arenas(&missing, constants, self.facts().offset_alignment, largest) {
            for (i, packed) in self.fill(&arena, &keys, constants).await? {
                lock(&self.shared().constants.packed).insert(keys[i], Arc::downgrade(&packed));
                found[i] = Some(packed);
            }
        }
        // Those that stand in the list twice.
        let shared = keys.iter().zip(&found).map(|(key, own)| own.clone().or_else(|| found[first[key]].clone()));
        Ok(shared.flatten().collect())
    }

    /// Makes one buffer and fills it.
    async fn fill(
        &self,
        arena: &Arena,
        keys: &[u128],
        constants: &[Constant],
    ) -> Result<Vec<(usize, Arc<Packed>)>, DeviceError> {
        if arena.size > self.info().max_buffer_size {
            return Err(DeviceError::Refused {
                what: format!("a constant of {} bytes", arena.size),
                message: format!("its buffers hold at most {}", self.info().max_buffer_size),
            });
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let buffer = self
            .guarded("memory for the model's constants", || self.create_buffer("constants", arena.size, usage, false))
            .await?;
        if !self.take_packed(arena, keys, constants, &buffer).await? {
            self.pack_into(&buffer, arena, keys, constants).await?;
        }
        let members = arena.members.iter().map(|(i, range)| {
            let (offset, size) = (range.start, range.end - range.start);
            (*i, Arc::new(Packed { buffer: buffer.clone(), offset, size }))
        });
        Ok(members.collect())
    }

    /// Packs an arena's constants, uploads them, and keeps them in the device's folder if it has one.
    async fn pack_into(
        &self,
        buffer: &wgpu::Buffer,
        arena: &Arena,
        keys: &[u128],
        constants: &[Constant],
    ) -> Result<(), DeviceError> {
        let mut kept = self.keep_packed(arena, keys);
        let mut start = 0;
        while start < arena.members.len() {
            let mut bytes = 0;
            let batch: Vec<_> = arena.members[start..]
                .iter()
                .take_while(|(_, range)| {
                    bytes += range.end - range.start;
                    bytes <= BATCH || range.start == arena.members[start].1.start
                })
                .collect();
            start += batch.len();
            let contents = threads::map(batch.len(), |i| pack(&constants[batch[i].0]));
            let contents = contents.into_iter().collect::<Result<Vec<_>, _>>()?;
            self.guarded("memory for uploading constants", || {
                for ((_, range), bytes) in batch.iter().zip(&contents) {
                    self.write(buffer, range.start, bytes);
                }
                self.submit([]);
            })
            .await?;
            // What the driver copied from can be freed as soon as it is done.
            self.poll(wgpu::PollType::Poll)?;
            for ((_, range), bytes) in batch.iter().zip(&contents) {
                kept.add(range, bytes);
            }
        }
        kept.finish();
        Ok(())
    }
}

/// A buffer to be made: the constants in it, by their index, and where they lie.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arena {
    pub size: u64,
    pub members: Vec<(usize, Range<u64>)>,
}

/// Spreads constants over few buffers of at most `largest` bytes, unless one constant is larger, in their order.
fn arenas(indices: &[usize], constants: &[Constant], alignment: u64, largest: u64) -> Vec<Arena> {
    let mut arenas: Vec<Arena> = vec![];
    for &i in indices {
        let bytes = size(&constants[i]);
        if arenas.last().is_none_or(|last| last.size.next_multiple_of(alignment).saturating_add(bytes) > largest) {
            arenas.push(Arena { size: 0, members: vec![] });
        }
        if let Some(arena) = arenas.last_mut() {
            let offset = arena.size.next_multiple_of(alignment);
            arena.size = offset.saturating_add(bytes);
            arena.members.push((i, offset..arena.size));
        }
    }
    arenas
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::kernel::{Packing, Storage};
    use crate::tensor::Tensor;

    fn constant(values: Vec<f32>) -> Constant {
        let packing = Packing { name: "as it is", pack: |tensor, _| tensor.clone() };
        let units = values.len() as u64 / 4;
        Constant { source: Tensor::vector(values), packing, parameters: vec![], storage: Storage::F16, units }
    }

    #[test]
    fn equal_constants_are_one_and_go_with_their_last_user() {
        let device = GpuDevice::noop();
        let load = |constants: &[Constant]| pollster::block_on(device.constants(constants)).unwrap();
        let (a, b) = (constant(vec![1.0; 8]), constant(vec![2.0; 8]));
        let first = load(&[a.clone(), b.clone(), a.clone()]);
        assert!(Arc::ptr_eq(&first[0], &first[2]));
        assert_eq!((first[0].offset, first[0].size), (0, 16));
        assert_eq!(first[1].offset % device.facts().offset_alignment, 0);
        let made = device.creations();
        let second = load(std::slice::from_ref(&b));
        assert!(Arc::ptr_eq(&first[1], &second[0]));
        assert_eq!(device.creations(), made);
        drop((first, second));
        load(&[b]);
        assert_eq!(device.creations(), made + 1);
    }

    #[test]
    fn packed_constants_are_kept_and_damage_is_packed_over() {
        let Some(device) = GpuDevice::for_this_test() else { return };
        let path = std::env::temp_dir().join(format!("rimlight-weights-{}", std::process::id()));
        let folder = crate::cache::Folder::new(&path);
        pollster::block_on(device.keep_in(folder)).unwrap();
        let large = constant((0..200_000).map(|i| (i % 97) as f32).collect());
        let constants = [constant(vec![3.0; 12]), large];
        let expected: Vec<Vec<u8>> = constants.iter().map(|c| pack(c).unwrap()).collect();
        let check = |what: &str| {
            let packed = pollster::block_on(device.constants(&constants)).unwrap();
            for (packed, expected) in packed.iter().zip(&expected) {
                let found = read(&device, packed);
                assert!(found.starts_with(expected), "{what}");
            }
        };
        check("packed");
        let file = || {
            let files = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
            files.filter(|file| file.to_string_lossy().contains("weights-")).collect::<Vec<_>>()
        };
        let [file] = &file()[..] else { panic!("one file") };
        let good = std::fs::read(file).unwrap();
        check("read");
        let mut other = good.clone();
        let at = good.len() - 100;
        other[at] ^= 1;
        // The hash of a file that another packing wrote is right.
        let key = |bytes: &[u8]| u64::from_le_bytes(bytes[8..16].try_into().unwrap()) as usize;
        let mut foreign = good.clone();
        foreign[40 + key(&good)] ^= 1;
        let sum = crate::cache::hash(&foreign[40..]).to_le_bytes();
        foreign[24..40].copy_from_slice(&sum);
        for (what, bad) in [
            ("a bit flipped", other),
            ("cut short", good[..at].to_vec()),
            ("empty", vec![]),
            ("of another packing", foreign),
            ("longer", [&good[..], &[0; 16]].concat()),
        ] {
            std::fs::write(file, bad).unwrap();
            check(what);
            assert_eq!(std::fs::read(file).unwrap(), good, "{what}: written anew");
        }
        std::fs::remove_dir_all(&path).unwrap();
    }

    /// What lies on the device.
    fn read(device: &GpuDevice, packed: &Packed) -> Vec<u8> {
        use crate::gpu::wait::{Staging, Wait};
        let size = packed.size.next_multiple_of(16);
        let staging = Staging::download(device, size);
        let mut encoder = device.encoder();
        encoder.copy_buffer_to_buffer(&packed.buffer, packed.offset, &staging.buffer, 0, packed.size);
        let submission = device.queue().submit([encoder.finish()]);
        staging.map();
        let wait = Wait::blocking(std::time::Duration::from_secs(60), crate::interrupt::Interrupt::default());
        crate::gpu::wait::now(device.settle(&staging, &submission, &wait)).unwrap();
        staging.read(0..packed.size).unwrap().to_vec()
    }

    #[test]
    fn a_wrong_packing_is_an_error() {
        let device = GpuDevice::noop();
        let wrong = Constant { units: 3, ..constant(vec![1.0; 8]) };
        assert!(matches!(pollster::block_on(device.constants(&[wrong])), Err(DeviceError::Refused { .. })));
    }

    #[test]
    fn arenas_hold_what_fits() {
        let large = |units| Constant { units, ..constant(vec![]) };
        // In f16 a unit is 8 bytes.
        let constants = [large(ARENA / 16), large(ARENA / 16 - 64), large(1), large(ARENA)];
        let sizes: Vec<_> = arenas(&[0, 1, 2, 3], &constants, 256, ARENA).iter().map(|a| a.members.len()).collect();
        assert_eq!(sizes, [3, 1]);
    }
}
