//! Reading a tensor by strides: what Transpose, Slice, Split, Expand, Tile and DepthToSpace have in common.
//!
//! The element of the result at index `c` is that of the source at `base + Σ c_i · stride_i`.

use crate::graph::{EvaluateError, ShapeError};
use crate::kernel::{Binding, Candidate, DeviceFacts, Dispatch, Kernel, Layout, Storage, Want};
use crate::tensor::Tensor;
use crate::tensor::shape::{elements, strides};

/// Invocations of a workgroup.
pub(super) const WORKGROUP: u32 = 64;

/// A result's dimensions, and where in the source their elements lie. Every index within `dims` must be an element of
/// the source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Strided {
    /// The result's dimensions, outermost first.
    pub dims: Vec<usize>,
    /// The distance in the source between neighbours along each, in elements.
    pub strides: Vec<i64>,
    /// The source's element for index 0.
    pub base: i64,
}

/// The strides of a dense tensor, signed.
pub(super) fn signed_strides(shape: &[usize]) -> Vec<i64> {
    // Wrong only where a tensor is empty, of which no element is read.
    strides(shape).into_iter().map(|s| i64::try_from(s).unwrap_or(i64::MAX)).collect()
}

impl Strided {
    /// The same elements with as few dimensions as possible, at least one.
    pub(crate) fn merged(&self) -> Self {
        let mut merged = Self { dims: vec![], strides: vec![], base: self.base };
        for (&size, &stride) in self.dims.iter().zip(&self.strides) {
            if size == 1 {
                continue;
            }
            match (merged.dims.last_mut(), merged.strides.last_mut()) {
                (Some(outer), Some(step))
                    if i64::try_from(size).ok().and_then(|n| n.checked_mul(stride)) == Some(*step) =>
                {
                    *outer *= size;
                    *step = stride;
                }
                _ => {
                    merged.dims.push(size);
                    merged.strides.push(stride);
                }
            }
        }
        if merged.dims.is_empty() {
            merged.dims.push(1);
            merged.strides.push(1);
        }
        merged
    }

    /// Whether the result is the whole source of so many elements, in order.
    pub(super) fn is_whole(&self, source: &[usize]) -> bool {
        let count = elements(source);
        if count.is_none_or(|n| n == 0) || count != elements(&self.dims) {
            return false;
        }
        let merged = self.merged();
        merged.base == 0 && merged.strides == [1]
    }

    /// The dispatch that reads one input and writes one output, or `None` where there is nothing to write.
    ///
    /// The output must be dense over `dims` (padding included where its layout has some).
    pub(super) fn dispatch(
        &self,
        input: (usize, Storage),
        output: (usize, Storage),
        device: &DeviceFacts,
    ) -> Result<Option<Dispatch>, String> {
        self.dispatched(input, output, device, false)
    }

    /// [`Strided::dispatch`]; if `any`, by the kernel that takes elements from anywhere.
    fn dispatched(
        &self,
        (input, from): (usize, Storage),
        (output, to): (usize, Storage),
        device: &DeviceFacts,
        any: bool,
    ) -> Result<Option<Dispatch>, String> {
        let count = elements(&self.dims).filter(|&n| u32::try_from(n).is_ok()).ok_or("it is too large")?;
        if count == 0 {
            return Ok(None);
        }
        let dispatch = |kernel: Kernel| {
            Dispatch::of(kernel.define("WORKGROUP", WORKGROUP))
                .bind(Binding::Input(input), from)
                .bind(Binding::Output(output), to)
        };
        let merged = self.merged();
        if let Some(blocks) = merged.blocks()?.filter(|_| !any) {
            return Ok(Some(blocks.dispatch(kernel_rank(merged.dims.len())?, dispatch, device)));
        }
        let (form, merged) = match merged.in_units() {
            _ if any => (0, merged),
            Some(units) => (2, units.merged()),
            None if merged.dims.last().is_some_and(|n| n % 4 == 0) => (1, merged),
            None => (0, merged),
        };
        let rank = kernel_rank(merged.dims.len())?;
        let units = count.div_ceil(4);
        let kernel = Kernel::of("shape/strided.wgsl").define("FORM", form).define("RANK", rank as i64);
        let mut dispatch = dispatch(kernel).param("units", units).param("base", word(merged.base)?);
        let mut inner = merged.dims.iter().zip(&merged.strides).rev();
        for (size, stride) in NAMES[..rank].iter().map(|names| (names.0, names.1)) {
            let (&n, &step) = inner.next().unwrap_or((&1, &0));
            dispatch = dispatch.param(size, n).param(stride, word(step)?);
        }
        Ok(Some(dispatch.linear(units as u64, WORKGROUP, device)))
    }

    /// The same copy counted in units, where every unit of the result is one of the source.
    fn in_units(&self) -> Option<Self> {
        let (inner, outer) = self.strides.split_last()?;
        let mut units = self.clone();
        let last = units.dims.last_mut()?;
        let whole = *inner == 1 && *last % 4 == 0 && self.base % 4 == 0 && outer.iter().all(|s| s % 4 == 0);
        *last /= 4;
        units.strides.iter_mut().rev().skip(1).for_each(|s| *s /= 4);
        units.base /= 4;
        whole.then_some(units)
    }

    /// The copy in blocks of four by four, where the source's innermost dimension is another than the result's.
    fn blocks(&self) -> Result<Option<Blocks>, String> {
        let last = self.dims.len() - 1;
        let Some(inner) = self.strides.iter().position(|&s| s == 1).filter(|&i| i != last) else { return Ok(None) };
        let apart = |i: usize| i == inner || self.strides[i] % 4 == 0;
        if self.base % 4 != 0
            || !self.dims[inner].is_multiple_of(4)
            || !self.dims[last].is_multiple_of(4)
            || !(0..=last).all(apart)
        {
            return Ok(None);
        }
        let own = strides(&self.dims);
        let mut blocks = Blocks {
            base: word(self.base / 4)?,
            from_row: word(self.strides[last] / 4)?,
            to_row: own[inner] / 4,
            dims: vec![],
        };
        for i in (0..=last).rev() {
            let (size, from, to) = match i {
                _ if i == last => (self.dims[i] / 4, self.strides[i], 1),
                _ if i == inner => (self.dims[i] / 4, 1, own[i]),
                _ => (self.dims[i], self.strides[i] / 4, own[i] / 4),
            };
            blocks.dims.push((size, word(from)?, to));
        }
        Ok((blocks.dims.len() <= 8).then_some(blocks))
    }

    /// The result's elements.
    pub(super) fn gather(&self, source: &Tensor, shape: &[usize]) -> Result<Tensor, EvaluateError> {
        let element_type = source.element_type();
        let count = Tensor::bounded(element_type, shape)?;
        if elements(&self.dims) != Some(count) {
            return Err(ShapeError::new("the result's shape does not fit").into());
        }
        let mut out = Vec::with_capacity(count * element_type.size());
        if count > 0 {
            let merged = self.merged();
            let bytes = source.bytes();
            let whole = match element_type.size() {
                1 => merged.copy::<1>(bytes, &mut out),
                2 => merged.copy::<2>(bytes, &mut out),
                4 => merged.copy::<4>(bytes, &mut out),
                _ => merged.copy::<8>(bytes, &mut out),
            };
            if whole.is_none() {
                return Err(ShapeError::new("an index is out of range").into());
            }
        }
        Ok(Tensor::from_bytes(element_type, shape.to_vec(), out.into())?)
    }

    /// Appends the elements, of so many bytes each; `None` if one is not in the source.
    fn copy<const SIZE: usize>(&self, source: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let (cells, _) = source.as_chunks::<SIZE>();
        let (&length, outer) = self.dims.split_last()?;
        let (&step, outer_strides) = self.strides.split_last()?;
        let mut index = vec![0usize; outer.len()];
        let mut at = self.base;
        loop {
            if step == 1 {
                let start = usize::try_from(at).ok()?;
                out.extend_from_slice(cells.get(start..start.checked_add(length)?)?.as_flattened());
            } else {
                let mut from = at;
                for _ in 0..length {
                    out.extend_from_slice(cells.get(usize::try_from(from).ok()?)?);
                    from = from.wrapping_add(step);
                }
            }
            let mut i = outer.len();
            loop {
                if i == 0 {
                    return Some(());
                }
                i -= 1;
                index[i] += 1;
                if index[i] < outer[i] {
                    at = at.wrapping_add(outer_strides[i]);
                    break;
                }
                at = at.wrapping_sub(outer_strides[i].wrapping_mul(i64::try_from(outer[i] - 1).ok()?));
                index[i] = 0;
            }
        }
    }

    /// Candidates of one dispatch, from input 0 in one layout to output 0 in another, or a view where nothing moves.
    pub(super) fn candidates(
        &self,
        request: &crate::graph::Request<'_>,
        from: Layout,
        to: Layout,
    ) -> Result<Vec<Candidate>, String> {
        let mut wants = vec![Want::Nothing; request.inputs.len()];
        wants[0] = Want::In(from);
        let physical = from.physical_shape(&request.shape(0)?);
        let storages = (request.any_storage(0)?, request.any_output_storage(0)?);
        if self.is_whole(&physical) && storages.0 == storages.1 {
            return Ok(vec![Candidate { view_of: Some(0), ..Candidate::new("view", wants, vec![to]) }]);
        }
        let mut candidates: Vec<Candidate> = vec![];
        for (name, any) in [("strided", false), ("strided by elements", true)] {
            let dispatch = self.dispatched((0, storages.0), (0, storages.1), request.device, any)?;
            if candidates.first().is_some_and(|first| first.dispatches.first() == dispatch.as_ref()) {
                break;
            }
            let cost = dispatch.as_ref().map_or(0.0, |d| cost(d, storages.1));
            let mut candidate = Candidate::new(name, wants.clone(), vec![to]).cost(0.0, cost);
            candidate.dispatches.extend(dispatch);
            candidates.push(candidate);
        }
        Ok(candidates)
    }
}

/// Bytes that a strided copy moves, those that are fetched one by one counted four times.
pub(super) fn cost(dispatch: &Dispatch, storage: Storage) -> f64 {
    let groups: f64 = dispatch.workgroups.iter().map(|&n| f64::from(n)).product();
    let unit = storage.unit_bytes() as f64 * groups * f64::from(WORKGROUP);
    match dispatch.kernel.defines.iter().find(|(name, _)| *name == "FORM") {
        // A block is four units.
        None => unit * 8.0,
        Some((_, 2)) => unit * 2.0,
        Some((_, 1)) => unit * 5.0,
        Some(_) => unit * 6.0,
    }
}

/// The number of dimensions that the kernel is compiled for: few pipelines serve all.
pub(super) fn kernel_rank(rank: usize) -> Result<usize, String> {
    match rank {
        0..=4 => Ok(4),
        5..=6 => Ok(6),
        7..=8 => Ok(8),
        _ => Err(format!("its kernel takes 8 dimensions, not {rank}")),
    }
}

/// A parameter of a shader.
pub(super) fn word(value: i64) -> Result<i32, String> {
    i32::try_from(value).map_err(|_| "it is too large".to_owned())
}

/// The names of the parameters of each dimension, innermost first.
pub(super) const NAMES: [(&str, &str, &str, &str); 8] = [
    ("size0", "stride0", "from0", "to0"),
    ("size1", "stride1", "from1", "to1"),
    ("size2", "stride2", "from2", "to2"),
    ("size3", "stride3", "from3", "to3"),
    ("size4", "stride4", "from4", "to4"),
    ("size5", "stride5", "from5", "to5"),
    ("size6", "stride6", "from6", "to6"),
    ("size7", "stride7", "from7", "to7"),
];

/// A copy in blocks: for each dimension, innermost first, its blocks and their distances in source and result.
struct Blocks {
    base: i32,
    from_row: i32,
    to_row: usize,
    dims: Vec<(usize, i32, usize)>,
}

impl Blocks {
    fn dispatch(&self, rank: usize, bind: impl FnOnce(Kernel) -> Dispatch, device: &DeviceFacts) -> Dispatch {
        let blocks: usize = self.dims.iter().map(|d| d.0).product();
        let mut dispatch = bind(Kernel::of("shape/transpose.wgsl").define("RANK", rank as i64))
            .param("blocks", blocks)
            .param("base", self.base)
            .param("from_row", self.from_row)
            .param("to_row", self.to_row);
        for (i, names) in NAMES[..rank].iter().enumerate() {
            let &(size, from, to) = self.dims.get(i).unwrap_or(&(1, 0, 0));
            dispatch = dispatch.param(names.0, size).param(names.2, from).param(names.3, to);
        }
        dispatch.linear(blocks as u64, WORKGROUP, device)
    }
}
