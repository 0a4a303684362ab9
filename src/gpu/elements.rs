//! Elements between the host's types and the storage that kernels read, at the borders of a run.

use half::f16;

use crate::kernel::Storage;
use crate::tensor::ElementType;

/// Why elements could not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A 64-bit integer is stored in 32 bits, and this one does not fit.
    #[error("it holds {0}, which does not fit the 32 bits that it is stored in")]
    DoesNotFit(i64),
    /// No kernel reads the type in this storage.
    #[error("{0} cannot be stored as {1:?}")]
    Unsupported(ElementType, Storage),
}

/// Elements that are converted at once, on the stack.
const CHUNK: usize = 256;

/// Bytes of one stored element.
pub const fn cell(storage: Storage) -> usize {
    match storage {
        Storage::F32 | Storage::I32 | Storage::U32 => 4,
        Storage::F16 | Storage::BF16 | Storage::I16 | Storage::U16 => 2,
        Storage::I8 | Storage::U8 => 1,
        Storage::I64 | Storage::Index => 8,
    }
}

/// Brings elements into their storage: `sink` takes the stored bytes piece by piece, each with its offset. The last piece
/// is padded with zeros to a multiple of four bytes.
///
/// # Errors
/// If the types do not go together, or an integer does not fit.
pub fn store(
    bytes: &[u8],
    element_type: ElementType,
    storage: Storage,
    mut sink: impl FnMut(usize, &[u8]),
) -> Result<(), StoreError> {
    use ElementType::{Bool, F16, F32, F64, I64};
    match (element_type, storage) {
        _ if element_type != Bool && Storage::of(element_type, false) == Some(storage) => {
            let whole = bytes.len() / 4 * 4;
            if whole > 0 {
                sink(0, &bytes[..whole]);
            }
            if whole < bytes.len() {
                let mut rest = [0; 4];
                rest[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
                sink(whole, &rest);
            }
            Ok(())
        }
        (F32, Storage::F16) => pieces(bytes, sink, |v| Ok(f16::from_f32(f32::from_le_bytes(v)).to_le_bytes())),
        (F64, Storage::F32) => pieces(bytes, sink, |v| Ok((f64::from_le_bytes(v) as f32).to_le_bytes())),
        (F64, Storage::F16) => pieces(bytes, sink, |v| Ok(f16::from_f64(f64::from_le_bytes(v)).to_le_bytes())),
        (F16, Storage::F32) => pieces(bytes, sink, |v| Ok(f16::from_le_bytes(v).to_f32().to_le_bytes())),
        (I64, Storage::I32) => pieces(bytes, sink, |v| {
            let v = i64::from_le_bytes(v);
            i32::try_from(v).map(i32::to_le_bytes).map_err(|_| StoreError::DoesNotFit(v))
        }),
        (Bool, Storage::U8) => pieces(bytes, sink, |[v]: [u8; 1]| Ok([u8::from(v != 0)])),
        _ => Err(StoreError::Unsupported(element_type, storage)),
    }
}

fn pieces<const FROM: usize, const TO: usize>(
    bytes: &[u8],
    mut sink: impl FnMut(usize, &[u8]),
    convert: impl Fn([u8; FROM]) -> Result<[u8; TO], StoreError>,
) -> Result<(), StoreError> {
    let mut offset = 0;
    for piece in bytes.as_chunks::<FROM>().0.chunks(CHUNK) {
        // A multiple of four elements: whole words whatever a cell's size.
        let mut cells = [[0; TO]; CHUNK];
        for (cell, &value) in cells.iter_mut().zip(piece) {
            *cell = convert(value)?;
        }
        let length = (piece.len() * TO).next_multiple_of(4);
        sink(offset, &cells.as_flattened()[..length]);
        offset += length;
    }
    Ok(())
}

/// Brings stored elements back: as many as `out` holds. `stored` must have them all.
///
/// # Errors
/// If the types do not go together.
pub fn load(stored: &[u8], storage: Storage, element_type: ElementType, out: &mut [u8]) -> Result<(), StoreError> {
    use ElementType::{F16, F32, F64, I64};
    match (element_type, storage) {
        _ if Storage::of(element_type, false) == Some(storage) => out.copy_from_slice(&stored[..out.len()]),
        (F32, Storage::F16) => each(stored, out, |v| f16::from_le_bytes(v).to_f32().to_le_bytes()),
        (F64, Storage::F16) => each(stored, out, |v| f16::from_le_bytes(v).to_f64().to_le_bytes()),
        (F64, Storage::F32) => each(stored, out, |v| f64::from(f32::from_le_bytes(v)).to_le_bytes()),
        (F16, Storage::F32) => each(stored, out, |v| f16::from_f32(f32::from_le_bytes(v)).to_le_bytes()),
        (I64, Storage::I32) => each(stored, out, |v| i64::from(i32::from_le_bytes(v)).to_le_bytes()),
        _ => return Err(StoreError::Unsupported(element_type, storage)),
    }
    Ok(())
}

fn each<const FROM: usize, const TO: usize>(stored: &[u8], out: &mut [u8], convert: impl Fn([u8; FROM]) -> [u8; TO]) {
    for (out, &value) in out.as_chunks_mut::<TO>().0.iter_mut().zip(stored.as_chunks::<FROM>().0) {
        *out = convert(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(bytes: &[u8], element_type: ElementType, storage: Storage) -> Result<Vec<u8>, StoreError> {
        let mut out = vec![];
        store(bytes, element_type, storage, |offset, piece| {
            assert_eq!((offset, piece.len() % 4), (out.len(), 0));
            out.extend_from_slice(piece);
        })?;
        Ok(out)
    }

    #[test]
    fn what_is_stored_comes_back() {
        // One more than a piece, so that pieces meet and the last is not whole.
        let values: Vec<f32> = (0..CHUNK + 3).map(|i| i as f32 - 7.5).collect();
        for storage in [Storage::F32, Storage::F16] {
            let held = stored(bytemuck::cast_slice(&values), ElementType::F32, storage).unwrap();
            assert_eq!(held.len(), (values.len() * cell(storage)).next_multiple_of(4));
            let mut back = vec![0f32; values.len()];
            load(&held, storage, ElementType::F32, bytemuck::cast_slice_mut(&mut back)).unwrap();
            // All of them are exact in f16.
            assert_eq!(back, values, "{storage:?}");
        }
        let integers = [i64::from(i32::MIN), -1, 0, i64::from(i32::MAX)];
        for (integers, storage) in [(integers, Storage::I32), ([i64::MIN, -1, 1 << 53 | 1, i64::MAX], Storage::I64)] {
            let held = stored(bytemuck::cast_slice(&integers), ElementType::I64, storage).unwrap();
            let mut back = [0i64; 4];
            load(&held, storage, ElementType::I64, bytemuck::cast_slice_mut(&mut back)).unwrap();
            assert_eq!(back, integers);
        }
    }

    #[test]
    fn integers_that_do_not_fit_are_refused() {
        let value = 1i64 << 31;
        let refused = stored(bytemuck::bytes_of(&value), ElementType::I64, Storage::I32);
        assert_eq!(refused, Err(StoreError::DoesNotFit(value)));
    }

    #[test]
    fn bytes_are_padded_to_words_and_truth_is_one() {
        assert_eq!(stored(&[1, 2, 3, 4, 5], ElementType::U8, Storage::U8).unwrap(), [1, 2, 3, 4, 5, 0, 0, 0]);
        assert_eq!(stored(&[0, 255, 7], ElementType::Bool, Storage::U8).unwrap(), [0, 1, 1, 0]);
        assert!(stored(&[0; 8], ElementType::F64, Storage::I32).is_err());
    }
}
