//! A walk over an encoded model that counts what decoding it would allocate, and allocates nothing itself.
//!
//! An empty message takes two bytes in a file and hundreds in memory, so a megabyte could become hundreds of them. The walk
//! also finds most files that are no model at all, before the decoder sees them.

use super::Limits;
use crate::error::LoadError;
use crate::limits::within;

/// The decoder itself gives up at a hundred nested messages; a graph inside a graph takes three.
const DEEPEST: u64 = 25;

/// The messages that contain others, by what they are in the file.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Model,
    Function,
    /// A sequence in a file of its own.
    Sequence,
    /// An optional value in a file of its own.
    Optional,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    /// A message or a text without counted parts.
    Leaf,
}

impl Kind {
    /// What a field of such a message is, if it is counted.
    const fn field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Graph | Self::Attribute, 5) | (Self::Sequence | Self::Optional, 3) => Self::Tensor,
            (Self::Optional, 5) => Self::Sequence,
            (Self::Graph, 11 | 12) => Self::ValueInfo,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            (Self::ValueInfo, 2) | (Self::Attribute, 14) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Model, 8 | 14)
            | (Self::Function, 4 | 5 | 9)
            | (Self::Graph, 15)
            | (Self::Node, 1 | 2)
            | (Self::Attribute, 9)
            | (Self::Tensor, 6 | 13)
            | (Self::Shape, 1) => Self::Leaf,
            _ => return None,
        })
    }
}

/// Counts the parts of a file that holds a model (or a tensor, a sequence, an optional value) and checks the counts against
/// the limits.
///
/// # Errors
/// [`LoadError::Limit`], or [`LoadError::Format`] where the bytes are no such file.
pub fn scan(bytes: &[u8], kind: Kind, limits: &Limits) -> Result<(), LoadError> {
    super::check_file_size(bytes.len() as u64, limits)?;
    let mut scan = Scan { limits, nodes: 0, messages: 0 };
    scan.message(bytes, kind, 0)
}

struct Scan<'a> {
    limits: &'a Limits,
    nodes: u64,
    messages: u64,
}

impl Scan<'_> {
    fn message(&mut self, mut bytes: &[u8], kind: Kind, nesting: u64) -> Result<(), LoadError> {
        self.messages += 1;
        within("the number of parts of the file", self.messages, self.limits.messages, "messages")?;
        if kind == Kind::Node {
            self.nodes += 1;
            within("the number of nodes", self.nodes, self.limits.nodes, "nodes")?;
        }
        let nesting = nesting + u64::from(kind == Kind::Graph);
        within("the nesting of graphs", nesting.saturating_sub(1), self.limits.nesting.min(DEEPEST), "nesting")?;
        if kind == Kind::Leaf {
            return Ok(());
        }
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            let length = match key & 7 {
                0 => {
                    varint(&mut bytes)?;
                    continue;
                }
                1 => 8,
                2 => varint(&mut bytes)?,
                5 => 4,
                other => return Err(LoadError::Format(format!("it has a field of the unknown wire type {other}"))),
            };
            let content = take(&mut bytes, length)?;
            if let (2, Some(part)) = (key & 7, kind.field(key >> 3)) {
                self.message(content, part, nesting)?;
            }
        }
        Ok(())
    }
}

/// A number of Protocol Buffers, taken off the front.
pub fn varint(bytes: &mut &[u8]) -> Result<u64, LoadError> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *bytes = &bytes[i + 1..];
            return Ok(value);
        }
    }
    Err(truncated())
}

/// So many bytes, taken off the front.
pub fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], LoadError> {
    let (content, rest) =
        usize::try_from(length).ok().and_then(|length| bytes.split_at_checked(length)).ok_or_else(truncated)?;
    *bytes = rest;
    Ok(content)
}

fn truncated() -> LoadError {
    LoadError::Format("it ends in the middle of a field: it is truncated or of another format".to_owned())
}
