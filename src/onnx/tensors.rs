//! Constants out of a file: every form in which the format stores a tensor's elements.

use std::fmt::Display;

use bytes::Bytes;
use half::{bf16, f16};

use super::messages::TensorProto;
use super::{External, Limits, Memory};
use crate::error::LoadError;
use crate::graph::Unsupported;
use crate::limits::within;
use crate::tensor::{Element, ElementType, Tensor, Truth, shape};

/// Ranks above this are refused, for tensors and for inputs: no model has them, and hostile files would.
pub const MAX_RANK: usize = 64;

/// The element type that the format numbers so.
///
/// # Errors
/// The type's name, where it is one that Rimlight does not have.
pub fn element_type(number: i32) -> Result<ElementType, String> {
    ElementType::from_data_type(number.into()).ok_or_else(|| match number {
        0 => "undefined".to_owned(),
        14 => "complex64".to_owned(),
        15 => "complex128".to_owned(),
        other => format!("with the unknown number {other}"),
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
        within(format!("the number of elements of tensor '{name}'"), elements, self.limits.elements, "elements")?;
        let length = elements.saturating_mul(element_type.size() as u64);
        let total = self.bytes.saturating_add(length);
        within("the size of all constants in bytes", total, self.limits.initializer_bytes, "initializer_bytes")?;
        self.bytes = total;

        if proto.data_location == Some(1) && element_type != ElementType::String {
            return self.external(name, &proto, element_type, dims, stored_bytes(element_type, elements));
        }
        if element_type == ElementType::String {
            // Texts can only stand in a field of their own.
            let texts = proto.string_data.iter().map(|text| String::from_utf8(text.to_vec()));
            let texts = texts.collect::<Result<_, _>>().map_err(|_| fail("a text of it is not UTF-8".to_owned()))?;
            return Tensor::from_strings(dims, texts).map_err(|e| fail(e.to_string()));
        }
        match (proto.raw_data.take(), has_typed_data(&proto)) {
            (Some(raw), true) if !raw.is_empty() => {
                Err(fail("its data is stored twice, as bytes and as numbers".to_owned()))
            }
            (Some(bytes), false) => raw(element_type, dims, bytes, self.memory).map_err(fail),
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
        raw(element_type, dims, bytes, Memory::Shared).map_err(fail)
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

/// The bytes that elements take in a file.
fn stored_bytes(element_type: ElementType, elements: u64) -> u64 {
    elements.saturating_mul(element_type.bits() as u64).div_ceil(8)
}

/// The tensor of a file's bytes: as they are, or one byte for each of two elements.
fn raw(element_type: ElementType, dims: Vec<usize>, bytes: Bytes, memory: Memory) -> Result<Tensor, String> {
    let tensor = match (element_type.bits(), memory) {
        (4, _) => {
            let elements = shape::elements(&dims).unwrap_or(usize::MAX);
            if elements.div_ceil(2) != bytes.len() {
                return Err(format!("its shape {dims:?} of {element_type} does not take {} bytes", bytes.len()));
            }
            let nibbles = bytes.iter().flat_map(|byte| [byte & 0xf, byte >> 4]).take(elements);
            // The types themselves read the low half of a byte, but equal elements must be equal bytes.
            let whole =
                |v: u8| if element_type == ElementType::I4 { ((v << 4).cast_signed() >> 4).cast_unsigned() } else { v };
            Tensor::from_bytes(element_type, dims, nibbles.map(whole).collect::<Vec<u8>>().into())
        }
        (_, Memory::Shared) => Tensor::from_bytes(element_type, dims, bytes),
        (_, Memory::Own) => Tensor::copy_of_bytes(element_type, dims, &bytes),
    };
    tensor.map_err(|e| e.to_string())
}

/// The tensor out of the field of numbers that the format prescribes for its type.
fn typed(proto: TensorProto, element_type: ElementType, dims: Vec<usize>) -> Result<Tensor, String> {
    match element_type {
        ElementType::F32 => vector(dims, proto.float_data),
        ElementType::F64 => vector(dims, proto.double_data),
        ElementType::I64 => vector(dims, proto.int64_data),
        ElementType::I32 => vector(dims, proto.int32_data),
        ElementType::I16 => vector(dims, narrow::<i16>(&proto.int32_data)?),
        ElementType::I8 => vector(dims, narrow::<i8>(&proto.int32_data)?),
        ElementType::U64 => vector(dims, proto.uint64_data),
        ElementType::U32 => {
            vector(dims, proto.uint64_data.iter().map(|&v| narrowed(v)).collect::<Result<Vec<u32>, _>>()?)
        }
        ElementType::U16 => vector(dims, narrow::<u16>(&proto.int32_data)?),
        ElementType::U8 => vector(dims, narrow::<u8>(&proto.int32_data)?),
        ElementType::Bool => vector(dims, proto.int32_data.iter().map(|&v| Truth::from(v != 0)).collect()),
        // The bits of a half stand in the low half of each number.
        ElementType::F16 => vector(dims, narrow::<u16>(&proto.int32_data)?.into_iter().map(f16::from_bits).collect()),
        ElementType::BF16 => vector(dims, narrow::<u16>(&proto.int32_data)?.into_iter().map(bf16::from_bits).collect()),
        // One byte in each number.
        ElementType::F8E4M3FN
        | ElementType::F8E4M3FNUZ
        | ElementType::F8E5M2
        | ElementType::F8E5M2FNUZ
        | ElementType::F8E8M0
        | ElementType::F4E2M1
        | ElementType::I4
        | ElementType::U4 => raw(element_type, dims, narrow::<u8>(&proto.int32_data)?.into(), Memory::Shared),
        ElementType::String => Err("texts are no numbers".to_owned()),
    }
}

fn vector<T: Element>(dims: Vec<usize>, data: Vec<T>) -> Result<Tensor, String> {
    Tensor::new(dims, data).map_err(|e| e.to_string())
}

fn narrow<T: TryFrom<i32>>(data: &[i32]) -> Result<Vec<T>, String> {
    data.iter().map(|&v| narrowed(v)).collect()
}

fn narrowed<T: TryFrom<U>, U: Copy + Display>(v: U) -> Result<T, String> {
    T::try_from(v).map_err(|_| format!("the element {v} does not fit its type"))
}
