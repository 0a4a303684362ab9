//! The fields of an encoded message, so that those that nobody changes are written back byte for byte.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};

use crate::error::LoadError;
use crate::onnx::messages::{NodeProto, TensorProto, ValueInfoProto};
use crate::onnx::scan::{take, varint};

/// A field as it lies in a file.
#[derive(Debug, Clone)]
pub struct Field {
    pub number: u64,
    /// Its key, length and content.
    pub whole: Bytes,
    /// Its content alone; empty where it is a number.
    pub content: Bytes,
}

/// The fields of a message, in its order.
pub fn fields(message: &Bytes) -> Result<Vec<Field>, LoadError> {
    let mut rest: &[u8] = message;
    let mut fields = vec![];
    while !rest.is_empty() {
        let start = message.len() - rest.len();
        let key = varint(&mut rest)?;
        let length = match key & 7 {
            0 => {
                varint(&mut rest)?;
                0
            }
            1 => 8,
            2 => varint(&mut rest)?,
            5 => 4,
            other => return Err(LoadError::Format(format!("it has a field of the unknown wire type {other}"))),
        };
        let content = message.slice_ref(take(&mut rest, length)?);
        fields.push(Field { number: key >> 3, whole: message.slice(start..message.len() - rest.len()), content });
    }
    Ok(fields)
}

/// Bytes that a field of this content takes.
pub const fn field_length(number: u64, content: usize) -> usize {
    encoded_len_varint(number << 3) + encoded_len_varint(content as u64) + content
}

/// Begins a field of bytes; its content follows.
pub fn begin(out: &mut BytesMut, number: u64, content: usize) {
    encode_varint(number << 3 | 2, out);
    encode_varint(content as u64, out);
}

/// A message that can be changed, and knows which of its fields it would otherwise lose.
pub trait Editable: Message + Default {
    /// The numbers of the fields that the type declares.
    const DECLARED: &'static [u64];
}

impl Editable for NodeProto {
    const DECLARED: &'static [u64] = &[1, 2, 3, 4, 5, 7, 8];
}

impl Editable for TensorProto {
    const DECLARED: &'static [u64] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14];
}

impl Editable for ValueInfoProto {
    const DECLARED: &'static [u64] = &[1, 2];
}

/// A message of a file: as it lies there until it is changed.
#[derive(Debug, Clone)]
pub struct Part<M> {
    message: M,
    raw: Bytes,
    changed: bool,
}

impl<M: Editable> Part<M> {
    pub fn read(raw: Bytes) -> Result<Self, LoadError> {
        let message = M::decode(raw.clone()).map_err(|e| LoadError::Format(e.to_string()))?;
        Ok(Self { message, raw, changed: false })
    }

    /// One that no file has yet.
    pub const fn new(message: M) -> Self {
        Self { message, raw: Bytes::new(), changed: true }
    }

    pub const fn get(&self) -> &M {
        &self.message
    }

    /// To be changed. Fields that are not declared stay.
    pub const fn edit(&mut self) -> &mut M {
        self.changed = true;
        &mut self.message
    }

    /// Fields of the file's form that the type does not declare.
    fn undeclared(&self) -> Vec<Field> {
        // The bytes were walked when they were read.
        let fields = fields(&self.raw).unwrap_or_default();
        fields.into_iter().filter(|field| !M::DECLARED.contains(&field.number)).collect()
    }

    pub fn length(&self) -> usize {
        match self.changed {
            false => self.raw.len(),
            true => self.message.encoded_len() + self.undeclared().iter().map(|f| f.whole.len()).sum::<usize>(),
        }
    }

    pub fn write(&self, out: &mut BytesMut) {
        if !self.changed {
            out.put_slice(&self.raw);
            return;
        }
        self.message.encode_raw(out);
        for field in self.undeclared() {
            out.put_slice(&field.whole);
        }
    }
}
