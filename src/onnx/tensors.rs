//! Constants out of a file: every form in which the format stores a tensor's elements.

use half::f16;

use super::messages::TensorProto;
use super::scan::exceeds;
use super::{External, Limits, Memory};
use crate::error::LoadError;
use crate::graph::Unsupported;
use crate::tensor::{Element, ElementType, Tensor, Truth, shape};

/// Ranks above this are refused, for tensors and for inputs: no model has them, and hostile files would.
pub const MAX_RANK: usize = 64;

/// The element type that the format numbers so.
///
/// # Errors
/// The type's name, where it is one that Rimlight does not have.
pub fn element_type(number: i32) -> Result<ElementType, String> {
    const OTHERS: [(i32, &str); 17] = [
        (0, "undefined"),
        (4, "uint16"),
        (5, "int16"),
        (8, "string"),
        (12, "uint32"),
        (13, "uint64"),
        (14, "complex64"),
        (15, "complex128"),
        (16, "bfloat16"),
        (17, "float8e4m3fn"),
        (18, "float8e4m3fnuz"),
        (19, "float8e5m2"),
        (20, "float8e5m2fnuz"),
        (21, "uint4"),
        (22, "int4"),
        (23, "float4e2m1"),
        (24, "float8e8m0"),
    ];
    Ok(match number {
        1 => ElementType::F32,
        2 => ElementType::U8,
        3 => ElementType::I8,
        6 => ElementType::I32,
        7 => ElementType::I64,
        9 => ElementType::Bool,
        10 => ElementType::F16,
        11 => ElementType::F64,
        _ => {
            let name = OTHERS.iter().find(|(n, _)| *n == number).map(|(_, name)| *name);
            return Err(name.map_or_else(|| format!("with the unknown number {number}"), str::to_owned));
        }
    })
}

/// Reads tensors, and counts their bytes against a limit on the whole.
pub struct Tensors<'a> {
    /// Whose memory raw data lies in.
    pub memory: Memory,
    pub external: &'a dyn External,
    pub limits: &'a Limits,
    /// Bytes of the tensors read so far.
    pub bytes: u64,
}

impl Tensors<'_> {
    /// The tensor, `name` being what errors call it.
    pub fn read(&mut self, name: &str, mut proto: TensorProto) -> Result<Tensor, LoadError> {
        let fail = |message: String| LoadError::Tensor { name: name.to_owned(), message };
        let number = proto.data_type.unwrap_or_default();
        let element_type = element_type(number).map_err(|t| LoadError::Unsupported {
            reason: Unsupported::ElementType,
            message: format!("tensor '{name}': the element type {t} is not supported"),
        })?;
        if proto.segment.is_some() {
            return Err(fail("it is stored in segments, which is not supported".to_owned()));
        }
        if proto.dims.len() > MAX_RANK {
            return Err(fail(format!("it has {} dimensions; at most {MAX_RANK} are supported", proto.dims.len())));
        }
        let dims: Option<Vec<usize>> = proto.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
        let dims = dims.ok_or_else(|| fail(format!("the shape {:?} is not valid", proto.dims)))?;
        let elements = shape::elements(&dims).map_or(u64::MAX, |n| n as u64);
        exceeds(&format!("the number of elements of tensor '{name}'"), elements, self.limits.elements, "elements")?;
        let length = elements.saturating_mul(element_type.size() as u64);
        let total = self.bytes.saturating_add(length);
        exceeds("the size of all constants in bytes", total, self.limits.initializer_bytes, "initializer_bytes")?;
        self.bytes = total;

        if proto.data_location == Some(1) {
            return self.external(name, &proto, element_type, dims, length);
        }
        match (proto.raw_data.take(), has_typed_data(&proto)) {
            (Some(raw), true) if !raw.is_empty() => {
                Err(fail("its data is stored twice, as bytes and as numbers".to_owned()))
            }
            (Some(raw), false) => match self.memory {
                Memory::Shared => Tensor::from_bytes(element_type, dims, raw),
                Memory::Own => Tensor::copy_of_bytes(element_type, dims, &raw),
            }
            .map_err(|e| fail(e.to_string())),
            _ => typed(proto, element_type, dims).map_err(fail),
        }
    }

    fn external(
        &self,
        name: &str,
        proto: &TensorProto,
        element_type: ElementType,
        dims: Vec<usize>,
        needed: u64,
    ) -> Result<Tensor, LoadError> {
        let fail = |message: String| LoadError::Tensor { name: name.to_owned(), message };
        if proto.raw_data.as_ref().is_some_and(|raw| !raw.is_empty()) || has_typed_data(proto) {
            return Err(fail("its data is stored twice, in this file and in another".to_owned()));
        }
        let entry = |key: &str| {
            let entry = proto.external_data.iter().find(|e| e.key.as_deref() == Some(key));
            entry.map(|e| e.value.clone().unwrap_or_default())
        };
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => {
                text.trim().parse::<u64>().map(Some).map_err(|_| fail(format!("its {key} '{text}' is no size")))
            }
        };
        let location =
            entry("location").ok_or_else(|| fail("the file that its data lies in is not named".to_owned()))?;
        let offset = number("offset")?.unwrap_or_default();
        let available = self.external.length(&location).map_err(|e| e.of_tensor(name))?;
        let rest = available.checked_sub(offset);
        let length = number("length")?.or(rest).unwrap_or_default();
        if rest.is_none_or(|rest| length > rest) {
            return Err(fail(format!(
                "its data is said to be {length} bytes from {offset} on in '{location}', which has {available}"
            )));
        }
        if length != needed {
            return Err(fail(format!(
                "its shape {dims:?} of {element_type} takes {needed} bytes, but '{location}' holds {length} for it"
            )));
        }
        // No overflow: the sum is at most what the file has.
        let bytes = self.external.bytes(&location, offset..offset + length).map_err(|e| e.of_tensor(name))?;
        Tensor::from_bytes(element_type, dims, bytes).map_err(|e| fail(e.to_string()))
    }
}

fn has_typed_data(proto: &TensorProto) -> bool {
    !(proto.float_data.is_empty()
        && proto.int32_data.is_empty()
        && proto.int64_data.is_empty()
        && proto.double_data.is_empty()
        && proto.uint64_data.is_empty()
        && proto.string_data.is_empty())
}

/// The tensor out of the field of numbers that the format prescribes for its type.
fn typed(proto: TensorProto, element_type: ElementType, dims: Vec<usize>) -> Result<Tensor, String> {
    match element_type {
        ElementType::F32 => vector(dims, proto.float_data),
        ElementType::F64 => vector(dims, proto.double_data),
        ElementType::I64 => vector(dims, proto.int64_data),
        ElementType::I32 => vector(dims, proto.int32_data),
        ElementType::I8 => vector(dims, narrow::<i8>(&proto.int32_data)?),
        ElementType::U8 => vector(dims, narrow::<u8>(&proto.int32_data)?),
        ElementType::Bool => vector(dims, proto.int32_data.iter().map(|&v| Truth::from(v != 0)).collect()),
        // The bits of a half stand in the low half of each number.
        ElementType::F16 => vector(dims, narrow::<u16>(&proto.int32_data)?.into_iter().map(f16::from_bits).collect()),
    }
}

fn vector<T: Element>(dims: Vec<usize>, data: Vec<T>) -> Result<Tensor, String> {
    Tensor::new(dims, data).map_err(|e| e.to_string())
}

fn narrow<T: TryFrom<i32>>(data: &[i32]) -> Result<Vec<T>, String> {
    let narrowed = data.iter().map(|&v| T::try_from(v).map_err(|_| format!("the element {v} does not fit its type")));
    narrowed.collect()
}
