//! How a value lies in a GPU buffer: the order of its elements, and the type that they are stored as.

use std::fmt;

use crate::tensor::ElementType;

/// The order in which a value's elements lie in a buffer.
///
/// Buffers are addressed in *units* of four elements; one invocation owns whole units. Elements of a unit that lie
/// outside the tensor (padding) hold anything at all, NaN included: no kernel may let them reach a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layout {
    /// ONNX's own order, dense; only the end of the whole is padded to a unit.
    Linear,
    /// ONNX's order with the innermost dimension padded to whole units, so that no unit crosses a row.
    /// Where that dimension is a multiple of four this is [`Layout::Linear`] and must be written so (see [`Layout::canonical`]).
    Rows,
    /// `[N, C, spatial…]` as `[N, ⌈C/4⌉, spatial…, 4]`: a unit holds four neighbouring channels of one position.
    Channels4,
}

impl Layout {
    /// The layout's one name: `Rows` of a shape whose rows are whole units is `Linear`.
    pub fn canonical(self, shape: &[usize]) -> Self {
        match (self, shape.last()) {
            (Self::Rows, None) => Self::Linear,
            (Self::Rows, Some(last)) if last % 4 == 0 => Self::Linear,
            // Without a channel dimension there is nothing to group.
            (Self::Channels4, _) if shape.len() < 2 => Self::Linear,
            (layout, _) => layout,
        }
    }

    /// The dimensions as they lie in the buffer, outermost first: `Rows` pads the last, `Channels4` moves the channels
    /// to the end in groups of four. A value in any layout is a dense tensor of this shape (padded to a unit at the end).
    pub fn physical_shape(self, shape: &[usize]) -> Vec<usize> {
        match self.canonical(shape) {
            Self::Linear => shape.to_vec(),
            Self::Rows => {
                let mut physical = shape.to_vec();
                if let Some(last) = physical.last_mut() {
                    *last = last.next_multiple_of(4);
                }
                physical
            }
            Self::Channels4 => {
                let mut physical = vec![shape[0], shape[1].div_ceil(4)];
                physical.extend_from_slice(&shape[2..]);
                physical.push(4);
                physical
            }
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linear => "linear",
            Self::Rows => "rows",
            Self::Channels4 => "channels/4",
        })
    }
}

/// The type that a value's elements are stored as on the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Storage {
    /// `vec4<f32>`, 16 bytes a unit.
    F32,
    /// `vec2<u32>` of four packed halves, 8 bytes a unit; read and written through `unpack2x16float`, so that it
    /// needs no shader feature. Arithmetic is in f32.
    F16,
    /// `vec4<i32>`, 16 bytes a unit. Also 64-bit integers whose interval is proven to fit.
    I32,
    /// Four signed bytes in a `u32`.
    I8,
    /// Four unsigned bytes in a `u32`; truth values too.
    U8,
}

impl Storage {
    /// Bytes of one unit of four elements.
    pub const fn unit_bytes(self) -> u64 {
        match self {
            Self::F32 | Self::I32 => 16,
            Self::F16 => 8,
            Self::I8 | Self::U8 => 4,
        }
    }

    /// The storage of an element type, or `None` where a GPU kernel cannot hold it (64-bit types).
    ///
    /// `half` stores 32-bit floats as halves.
    pub const fn of(element_type: ElementType, half: bool) -> Option<Self> {
        match element_type {
            ElementType::F32 if !half => Some(Self::F32),
            ElementType::F32 | ElementType::F16 => Some(Self::F16),
            ElementType::I32 => Some(Self::I32),
            ElementType::I8 => Some(Self::I8),
            ElementType::U8 | ElementType::Bool => Some(Self::U8),
            ElementType::F64 | ElementType::I64 => None,
        }
    }

    /// Whether a shader reads it as `f32` (otherwise as `i32`).
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16)
    }
}

/// The units that a value takes in a layout, or `None` on overflow.
pub fn units(shape: &[usize], layout: Layout) -> Option<u64> {
    let elements = crate::tensor::shape::elements(&layout.physical_shape(shape))?;
    u64::try_from(elements).ok().map(|n| n.div_ceil(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_pad_what_they_say() {
        assert_eq!(Layout::Rows.physical_shape(&[2, 7, 13]), [2, 7, 16]);
        assert_eq!(Layout::Rows.canonical(&[2, 7, 16]), Layout::Linear);
        assert_eq!(Layout::Channels4.physical_shape(&[1, 10, 5, 6]), [1, 3, 5, 6, 4]);
        assert_eq!(units(&[3, 3], Layout::Linear), Some(3));
        assert_eq!(units(&[3, 3], Layout::Rows), Some(3));
        assert_eq!(units(&[1, 3], Layout::Channels4), Some(1));
        assert_eq!(units(&[0, 3], Layout::Linear), Some(0));
    }
}
