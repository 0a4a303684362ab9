//! A model file's bytes, and the file that they become.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};

use super::ModelFile;
use super::wire::{Editable, Field, Part, begin, field_length};

/// The most bytes that a message of Protocol Buffers may have.
const LARGEST: usize = i32::MAX as usize;

/// A model could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The file could not be written.
    #[error("cannot write '{path}': {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The format bounds a file's size.
    #[error(
        "the model would take {bytes} bytes, but an ONNX file holds {LARGEST} at most, and Rimlight writes no constants into \
         files beside it"
    )]
    TooLarge {
        /// Bytes that it would take.
        bytes: usize,
    },
}

/// What a message holds, in the order in which it is written.
enum Piece<'a> {
    Number(u64, i64),
    Raw(&'a Field),
    Message(u64, usize, &'a dyn Written),
}

/// A message that can be written.
trait Written {
    fn write(&self, out: &mut BytesMut);
}

impl<M: Editable> Written for Part<M> {
    fn write(&self, out: &mut BytesMut) {
        Self::write(self, out);
    }
}

struct Encoded<'a, M>(&'a M);

impl<M: Message> Written for Encoded<'_, M> {
    fn write(&self, out: &mut BytesMut) {
        self.0.encode_raw(out);
    }
}

impl Piece<'_> {
    const fn number(&self) -> u64 {
        match self {
            Self::Number(number, _) | Self::Message(number, ..) => *number,
            Self::Raw(field) => field.number,
        }
    }

    fn length(&self) -> usize {
        match self {
            Self::Number(number, value) => encoded_len_varint(number << 3) + encoded_len_varint(value.cast_unsigned()),
            Self::Raw(field) => field.whole.len(),
            Self::Message(number, content, _) => field_length(*number, *content),
        }
    }

    fn write(&self, out: &mut BytesMut) {
        match self {
            Self::Number(number, value) => {
                encode_varint(number << 3, out);
                encode_varint(value.cast_unsigned(), out);
            }
            Self::Raw(field) => out.put_slice(&field.whole),
            Self::Message(number, content, message) => {
                begin(out, *number, *content);
                message.write(out);
            }
        }
    }
}

fn parts<M: Editable>(number: u64, parts: &[Part<M>]) -> impl Iterator<Item = Piece<'_>> {
    parts.iter().map(move |part| Piece::Message(number, part.length(), part))
}

/// A message made of pieces.
struct Whole<'a>(Vec<Piece<'a>>);

impl<'a> Whole<'a> {
    /// In the order of their numbers, as every writer of the format has them.
    fn new(mut pieces: Vec<Piece<'a>>) -> Self {
        pieces.sort_by_key(Piece::number);
        Self(pieces)
    }

    fn length(&self) -> usize {
        self.0.iter().map(Piece::length).sum()
    }
}

impl Written for Whole<'_> {
    fn write(&self, out: &mut BytesMut) {
        self.0.iter().for_each(|piece| piece.write(out));
    }
}

impl ModelFile {
    /// The bytes of the file.
    ///
    /// # Errors
    /// [`WriteError::TooLarge`] above two gigabytes.
    pub fn to_bytes(&self) -> Result<Bytes, WriteError> {
        let mut graph: Vec<Piece<'_>> = self.graph_rest.iter().map(Piece::Raw).collect();
        graph.extend(parts(1, &self.nodes));
        graph.extend(parts(5, &self.constants));
        graph.extend(parts(11, &self.inputs));
        graph.extend(parts(12, &self.outputs));
        graph.extend(parts(13, &self.between));
        let graph = Whole::new(graph);
        let opsets: Vec<_> = self.opsets.iter().map(Encoded).collect();
        let mut model: Vec<Piece<'_>> = self.rest.iter().map(Piece::Raw).collect();
        model.push(Piece::Number(1, self.ir_version));
        model.push(Piece::Message(7, graph.length(), &graph));
        model.extend(opsets.iter().map(|set| Piece::Message(8, set.0.encoded_len(), set)));
        let model = Whole::new(model);
        let bytes = model.length();
        if bytes > LARGEST {
            return Err(WriteError::TooLarge { bytes });
        }
        let mut out = BytesMut::with_capacity(bytes);
        model.write(&mut out);
        Ok(out.freeze())
    }

    /// Writes the file: beside its place, and renamed once it is whole, so that nobody ever finds a part of it there.
    ///
    /// # Errors
    /// If it cannot be written, or is too large to be.
    pub fn save(&self, path: impl AsRef<std::path::Path>) -> Result<(), WriteError> {
        use std::io::Write;
        let path = path.as_ref();
        let bytes = self.to_bytes()?;
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.partial", std::process::id()));
        let beside = path.with_file_name(name);
        let written = std::fs::File::create(&beside).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&beside, path)
        });
        written.map_err(|source| {
            // What cannot be removed cannot be helped; the error that came first is the one to be told.
            let _ = std::fs::remove_file(&beside);
            WriteError::Io { path: path.display().to_string(), source }
        })
    }
}
