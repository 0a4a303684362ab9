//! Reading a tensor through a table of indices for each dimension: what Pad, Gather and nearest Resize have in common.

use super::strided::{WORKGROUP, signed_strides, word};
use crate::graph::{EvaluateError, ShapeError};
use crate::kernel::{Binding, Constant, DeviceFacts, Dispatch, Kernel, Packing, Storage};
use crate::tensor::shape::elements;
use crate::tensor::{Element, ElementType, Tensor};

/// No table may be longer: it is a constant on the device.
const LONGEST: usize = 1 << 22;

/// Where the elements of a result come from: along each dimension, the source's index for each of the result's.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Remap {
    /// The source's dimensions, as they lie in its buffer.
    pub source: Vec<usize>,
    /// A table for each: the source's index for each index of the result, or a negative number for what is filled.
    /// `None` where the dimension is kept as it is.
    pub tables: Vec<Option<Vec<i64>>>,
}

/// One dimension of a kernel: its size, its stride in the source, and the source's offsets where it has a table.
struct Dimension {
    size: usize,
    stride: i64,
    table: Option<Vec<i32>>,
}

/// Pads a table to whole units.
fn whole_units<T: Element>(values: &Tensor, _: &[usize]) -> Tensor {
    let mut values = values.as_slice::<T>().unwrap_or_default().to_vec();
    values.resize(values.len().next_multiple_of(4), T::zeroed());
    Tensor::vector(values)
}

/// A table of numbers as a kernel binds it, stored so.
pub(super) fn table<T: Element>(values: Vec<T>, storage: Storage) -> Binding {
    Binding::Constant(Box::new(Constant {
        units: values.len().div_ceil(4) as u64,
        source: Tensor::vector(values),
        packing: Packing { name: "table", pack: whole_units::<T> },
        parameters: vec![],
        storage,
    }))
}

/// The bits of an element of this type as a shader takes it: of an `f32` or an `i32`, or both words of 64 bits.
pub(super) fn element_bits(tensor: &Tensor) -> Option<[u32; 2]> {
    if let Some(bytes) = tensor.bytes().first_chunk::<8>().filter(|_| tensor.element_type().size() == 8) {
        return Some(bytemuck::cast(*bytes));
    }
    let low = match tensor.element_type() {
        ElementType::F32 => tensor.as_slice::<f32>().ok()?.first().map(|v| v.to_bits()),
        ElementType::F16 => tensor.as_slice::<half::f16>().ok()?.first().map(|v| v.to_f32().to_bits()),
        ElementType::Bool => tensor.bytes().first().map(|&v| u32::from(v != 0)),
        ElementType::BF16 => tensor.as_slice::<half::bf16>().ok()?.first().map(|v| v.to_f32().to_bits()),
        ElementType::U32 => tensor.as_slice::<u32>().ok()?.first().copied(),
        t if t.is_integer() => i32::try_from(*tensor.integers()?.first()?).ok().map(i32::cast_unsigned),
        // The bits of a small float.
        _ => tensor.bytes().first().map(|&v| u32::from(v)),
    };
    Some([low?, 0])
}

impl Remap {
    /// The result's dimensions.
    pub(super) fn dims(&self) -> Vec<usize> {
        let sizes = self.source.iter().zip(&self.tables);
        sizes.map(|(&size, table)| table.as_ref().map_or(size, Vec::len)).collect()
    }

    /// The dimensions outermost first, kept neighbours as one, counted in units where that is possible.
    fn dimensions(&self) -> Result<(Vec<Dimension>, bool), String> {
        let strides = signed_strides(&self.source);
        let mut dims: Vec<Dimension> = vec![];
        for ((&size, table), &stride) in self.source.iter().zip(&self.tables).zip(&strides) {
            match table {
                None if size == 1 => {}
                None => match dims.last_mut() {
                    Some(outer) if outer.table.is_none() && Some(outer.stride) == stride.checked_mul(size as i64) => {
                        outer.size *= size;
                        outer.stride = stride;
                    }
                    _ => dims.push(Dimension { size, stride, table: None }),
                },
                Some(table) => {
                    if table.len() > LONGEST {
                        return Err("its tables would be too large".to_owned());
                    }
                    let offset = |&i: &i64| if i < 0 { Ok(-1) } else { word(i.saturating_mul(stride)) };
                    let table: Vec<i32> = table.iter().map(offset).collect::<Result<_, _>>()?;
                    dims.push(Dimension { size: table.len(), stride, table: Some(table) });
                }
            }
        }
        let in_units = dims.split_last().is_some_and(|(last, outer)| {
            last.table.is_none() && last.stride == 1 && last.size % 4 == 0 && outer.iter().all(|d| d.stride % 4 == 0)
        });
        if in_units {
            let last = dims.len() - 1;
            for (i, dim) in dims.iter_mut().enumerate() {
                if i == last {
                    dim.size /= 4;
                } else {
                    dim.stride /= 4;
                    dim.table.iter_mut().flatten().filter(|at| **at >= 0).for_each(|at| *at /= 4);
                }
            }
        }
        Ok((dims, in_units))
    }

    /// The dispatch that reads input 0 and writes output 0, or `None` where there is nothing to write. `fill` is the
    /// element, as [`element_bits`] gives it, that stands where a table has a negative number.
    pub(super) fn dispatch(
        &self,
        (from, to): (Storage, Storage),
        [fill, fill_high]: [u32; 2],
        device: &DeviceFacts,
    ) -> Result<Option<Dispatch>, String> {
        let countable =
            |shape: &[usize]| elements(shape).filter(|&n| i32::try_from(n).is_ok()).ok_or("it is too large");
        let count = countable(&self.dims())?;
        if count == 0 {
            return Ok(None);
        }
        if countable(&self.source)? == 0 {
            return Err("its input is empty, its output is not".to_owned());
        }
        let (dims, in_units) = self.dimensions()?;
        let rank = match dims.len() {
            0..=4 => 4,
            5..=8 => 8,
            n => return Err(format!("its kernel takes 8 dimensions, not {n}")),
        };
        let form = match dims.last() {
            _ if in_units => 2,
            Some(last) if last.size % 4 == 0 => 1,
            _ => 0,
        };
        let units = count.div_ceil(4);
        let kernel = Kernel::of("shape/remap.wgsl")
            .define("WORKGROUP", WORKGROUP)
            .define("FORM", form)
            .define("RANK", rank as i64);
        let mut values = vec![];
        let mut dispatch = Dispatch::of(kernel).param("units", units).param("elements", count).param("fill", fill);
        if from == Storage::I64 {
            dispatch = dispatch.param("fill_high", fill_high);
        }
        let mut inner = dims.iter().rev();
        for (size, first, stride) in &NAMES[..rank] {
            dispatch = match inner.next() {
                None => dispatch.param(size, 1u32).param(first, -1i32).param(stride, 0i32),
                Some(Dimension { size: n, stride: s, table: None }) => {
                    dispatch.param(size, *n).param(first, -1i32).param(stride, word(*s)?)
                }
                Some(Dimension { size: n, table: Some(table), .. }) => {
                    let at = word(values.len() as i64)?;
                    values.extend_from_slice(table);
                    dispatch.param(size, *n).param(first, at).param(stride, 0i32)
                }
            };
        }
        if values.is_empty() {
            values.push(0);
        }
        let dispatch = dispatch.bind(Binding::Input(0), from).bind(table(values, Storage::I32), Storage::I32);
        Ok(Some(dispatch.bind(Binding::Output(0), to).linear(units as u64, WORKGROUP, device)))
    }

    /// The result's elements, in a tensor of `shape`. `fill` is one element's bytes.
    pub(super) fn gather(&self, source: &Tensor, shape: Vec<usize>, fill: &[u8]) -> Result<Tensor, EvaluateError> {
        let element_type = source.element_type();
        let size = element_type.size();
        let count = Tensor::bounded(element_type, &shape)?;
        let fits = elements(&self.dims()) == Some(count)
            && elements(&self.source) == Some(source.len())
            && fill.len() == size
            && self.tables.len() == self.source.len();
        if !fits {
            return Err(ShapeError::new("the result's shape does not fit").into());
        }
        let mut out = Vec::with_capacity(count * size);
        if count > 0 {
            let strides = signed_strides(&self.source);
            self.rows(0, &strides, Some(0), &mut |at: Option<i64>, run: usize| {
                match at.and_then(|at| usize::try_from(at).ok()) {
                    Some(at) => match source.bytes().get(at * size..(at + run) * size) {
                        Some(bytes) => out.extend_from_slice(bytes),
                        None => return false,
                    },
                    None => (0..run).for_each(|_| out.extend_from_slice(fill)),
                }
                true
            })
            .ok_or_else(|| ShapeError::new("an index is out of range"))?;
        }
        Ok(Tensor::from_bytes(element_type, shape, out.into())?)
    }

    /// Visits the result's elements in order, in runs of neighbours in the source: where a run begins there (`None` for
    /// what is filled) and how long it is. Ends with `None` once a visit is refused.
    fn rows(
        &self,
        dim: usize,
        strides: &[i64],
        at: Option<i64>,
        visit: &mut impl FnMut(Option<i64>, usize) -> bool,
    ) -> Option<()> {
        // What follows is whole: one run.
        if self.tables[dim..].iter().all(Option::is_none) {
            return visit(at, self.source[dim..].iter().product()).then_some(());
        }
        let count = self.tables[dim].as_ref().map_or(self.source[dim], Vec::len);
        for i in 0..count {
            let from = match &self.tables[dim] {
                None => i as i64,
                Some(table) => table[i],
            };
            let bound = i64::try_from(self.source[dim]).ok()?;
            if from >= bound {
                return None;
            }
            let at = at.filter(|_| from >= 0).map(|at| at + from * strides[dim]);
            self.rows(dim + 1, strides, at, visit)?;
        }
        Some(())
    }
}

/// The names of the parameters of each dimension, innermost first.
const NAMES: [(&str, &str, &str); 8] = [
    ("size0", "first0", "stride0"),
    ("size1", "first1", "stride1"),
    ("size2", "first2", "stride2"),
    ("size3", "first3", "stride3"),
    ("size4", "first4", "stride4"),
    ("size5", "first5", "stride5"),
    ("size6", "first6", "stride6"),
    ("size7", "first7", "stride7"),
];
