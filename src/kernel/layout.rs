//! How a value lies in a GPU buffer: the order of its elements, and the type that they are stored as.

use std::fmt;

use crate::tensor::{ElementType, Tensor, TensorError};

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
    /// `vec2<u32>` of four packed upper halves of `f32`, 8 bytes a unit. Arithmetic is in f32.
    BF16,
    /// `vec4<i32>`, 16 bytes a unit.
    I32,
    /// `vec4<u32>`, 16 bytes a unit; the elements that a kernel reads are `u32`.
    U32,
    /// Four signed integers of 16 bits in a `vec2<u32>`.
    I16,
    /// Four unsigned integers of 16 bits in a `vec2<u32>`.
    U16,
    /// Four signed bytes in a `u32`.
    I8,
    /// Four unsigned bytes in a `u32`; truth values too, and the bits of small floats.
    U8,
    /// Elements of 64 bits, 32 bytes a unit: an element is a `vec2<u32>`, the lower word first, a unit an array of four.
    /// Nothing is lost, but WGSL has no arithmetic on them: kernels move them, or call what `common/wide` has.
    I64,
    /// How a kernel may read or write [`Storage::I64`] instead: as `i32`, which is what an index needs. Numbers beyond
    /// are read as the least or the largest `i32`, so that an index that is out of range stays out of range; what is
    /// written has its sign extended. No value is stored so: only kernels name it.
    Index,
}

impl Storage {
    /// Bytes of one unit of four elements.
    pub const fn unit_bytes(self) -> u64 {
        match self {
            Self::F32 | Self::I32 | Self::U32 => 16,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 8,
            Self::I8 | Self::U8 => 4,
            Self::I64 | Self::Index => 32,
        }
    }

    /// The storage of an element type, or `None` where a GPU kernel cannot hold it.
    ///
    /// `half` stores 32-bit floats as halves.
    pub const fn of(element_type: ElementType, half: bool) -> Option<Self> {
        match element_type {
            ElementType::F32 if !half => Some(Self::F32),
            ElementType::F32 | ElementType::F16 => Some(Self::F16),
            ElementType::I32 => Some(Self::I32),
            ElementType::I8 => Some(Self::I8),
            ElementType::U8 | ElementType::Bool => Some(Self::U8),
            ElementType::I16 => Some(Self::I16),
            ElementType::U16 => Some(Self::U16),
            ElementType::U32 => Some(Self::U32),
            ElementType::BF16 => Some(Self::BF16),
            ElementType::F64 | ElementType::I64 | ElementType::U64 => Some(Self::I64),
            ElementType::I4 => Some(Self::I8),
            ElementType::U4
            | ElementType::F4E2M1
            | ElementType::F8E4M3FN
            | ElementType::F8E4M3FNUZ
            | ElementType::F8E5M2
            | ElementType::F8E5M2FNUZ
            | ElementType::F8E8M0 => Some(Self::U8),
            ElementType::String => None,
        }
    }

    /// Whether what a kernel reads of elements of this type are the numbers themselves, as `f32` or `i32`: not where it
    /// reads bits, or 64 of them, or `u32`.
    pub const fn computes(element_type: ElementType) -> bool {
        matches!(
            element_type,
            ElementType::F32
                | ElementType::F16
                | ElementType::BF16
                | ElementType::I32
                | ElementType::I16
                | ElementType::U16
                | ElementType::I8
                | ElementType::U8
                | ElementType::Bool
        )
    }

    /// Whether a shader reads it as `f32`.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }
}

/// The units that a value takes in a layout, or `None` on overflow.
pub fn units(shape: &[usize], layout: Layout) -> Option<u64> {
    let elements = crate::tensor::shape::elements(&layout.physical_shape(shape))?;
    u64::try_from(elements).ok().map(|n| n.div_ceil(4))
}

/// The strides, in elements of the physical buffer, with which a value's logical dimensions are walked. `Channels4` has
/// none for its channels (they split into group and place in the unit): ask for one channel at a time.
fn physical_offset(shape: &[usize], layout: Layout, index: &[usize]) -> usize {
    let physical = layout.physical_shape(shape);
    let strides = crate::tensor::shape::strides(&physical);
    match layout {
        Layout::Channels4 => {
            let mut offset = index[0] * strides[0] + (index[1] / 4) * strides[1] + index[1] % 4;
            for (i, s) in index[2..].iter().zip(&strides[2..]) {
                offset += i * s;
            }
            offset
        }
        _ => index.iter().zip(&strides).map(|(i, s)| i * s).sum(),
    }
}

/// Visits the rows (along the innermost dimension) of a value: the logical offset of the row's first element, its
/// physical offset, and the physical distance between neighbours.
fn rows(shape: &[usize], layout: Layout, mut visit: impl FnMut(usize, usize, usize)) {
    let layout = layout.canonical(shape);
    let Some((&length, outer)) = shape.split_last() else {
        visit(0, 0, 1);
        return;
    };
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0; shape.len()];
    // With no spatial dimension the channels themselves are innermost, and are taken one by one.
    let (length, step) = match layout {
        Layout::Channels4 if shape.len() == 2 => (1, 1),
        Layout::Channels4 => (length, 4),
        _ => (length, 1),
    };
    let own = crate::tensor::shape::strides(shape);
    let count = if length == 1 { shape.iter().product() } else { outer.iter().product::<usize>() };
    for _ in 0..count {
        let logical = index.iter().zip(&own).map(|(i, s)| i * s).sum();
        visit(logical, physical_offset(shape, layout, &index), step);
        let first = if length == 1 { shape.len() } else { shape.len() - 1 };
        for i in (0..first).rev() {
            index[i] += 1;
            if index[i] < shape[i] {
                break;
            }
            index[i] = 0;
        }
    }
}

fn copy_rows<const SIZE: usize>(
    shape: &[usize],
    layout: Layout,
    logical: &mut [[u8; SIZE]],
    physical: &mut [[u8; SIZE]],
    packing: bool,
) {
    let length = match layout.canonical(shape) {
        Layout::Channels4 if shape.len() == 2 => 1,
        _ => shape.last().copied().unwrap_or(1),
    };
    rows(shape, layout, |from, to, step| {
        for i in 0..length {
            if packing {
                physical[to + i * step] = logical[from + i];
            } else {
                logical[from + i] = physical[to + i * step];
            }
        }
    });
}

/// The elements of a tensor as they lie in a buffer of this layout: a flat tensor of whole units, zeros in the padding.
pub fn pack(tensor: &Tensor, layout: Layout) -> Result<Tensor, TensorError> {
    move_elements(tensor, tensor.shape(), layout, true)
}

/// The tensor of this shape that lies in a buffer of this layout.
pub fn unpack(physical: &Tensor, shape: &[usize], layout: Layout) -> Result<Tensor, TensorError> {
    move_elements(physical, shape, layout, false)
}

fn move_elements(tensor: &Tensor, shape: &[usize], layout: Layout, packing: bool) -> Result<Tensor, TensorError> {
    let element_type = tensor.element_type();
    let size = element_type.size();
    let too_large = || TensorError::TooLarge { shape: shape.to_vec(), element_type };
    let length = units(shape, layout)
        .and_then(|n| usize::try_from(n).ok())
        .and_then(|n| n.checked_mul(4))
        .ok_or_else(too_large)?;
    let logical_length = crate::tensor::shape::elements(shape).ok_or_else(too_large)?;
    let given = if packing { logical_length } else { length };
    if tensor.len() != given {
        return Err(TensorError::Length {
            shape: shape.to_vec(),
            element_type,
            needed: given * size,
            given: tensor.bytes().len(),
        });
    }
    let mut logical = if packing { tensor.bytes().to_vec() } else { vec![0u8; logical_length * size] };
    let mut physical = if packing { vec![0u8; length * size] } else { tensor.bytes().to_vec() };
    match size {
        1 => copy_rows::<1>(shape, layout, as_cells(&mut logical), as_cells(&mut physical), packing),
        2 => copy_rows::<2>(shape, layout, as_cells(&mut logical), as_cells(&mut physical), packing),
        4 => copy_rows::<4>(shape, layout, as_cells(&mut logical), as_cells(&mut physical), packing),
        _ => copy_rows::<8>(shape, layout, as_cells(&mut logical), as_cells(&mut physical), packing),
    }
    if packing {
        Tensor::from_bytes(element_type, [length], physical.into())
    } else {
        Tensor::from_bytes(element_type, shape.to_vec(), logical.into())
    }
}

fn as_cells<const SIZE: usize>(bytes: &mut [u8]) -> &mut [[u8; SIZE]] {
    bytes.as_chunks_mut().0
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

    #[test]
    fn packing_and_unpacking_are_inverse() {
        for shape in
            [vec![], vec![3], vec![2, 5], vec![1, 6, 3], vec![2, 5, 3, 7], vec![1, 0, 3, 4], vec![1, 3, 2, 2, 3]]
        {
            let n = crate::tensor::shape::elements(&shape).unwrap();
            let tensor = Tensor::new(shape.clone(), (0..n).map(|i| i as f32 + 1.0).collect()).unwrap();
            for layout in [Layout::Linear, Layout::Rows, Layout::Channels4] {
                let packed = pack(&tensor, layout).unwrap();
                assert_eq!(packed.len() as u64, units(&shape, layout).unwrap() * 4, "{shape:?} {layout}");
                assert_eq!(unpack(&packed, &shape, layout).unwrap(), tensor, "{shape:?} {layout}");
            }
        }
    }

    #[test]
    fn channels_are_grouped_by_four() {
        let tensor = Tensor::new([1, 5, 1, 2], (0..10).map(|i| i as f32).collect()).unwrap();
        let packed = pack(&tensor, Layout::Channels4).unwrap();
        assert_eq!(packed.as_slice::<f32>().unwrap(), [0., 2., 4., 6., 1., 3., 5., 7., 8., 0., 0., 0., 9., 0., 0., 0.]);
    }
}
