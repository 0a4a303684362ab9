//! Scatter, ScatterElements and ScatterND (ONNX opsets 9 to 18): a copy of the input with updates at the places that indices
//! name.
//!
//! Where several updates meet one element they are taken in their order, on the GPU too: its kernels look, for each element
//! of the result, through the updates that could meet it. So results do not depend on timing.

use std::sync::Arc;

use super::gather::from_front;
use super::gather_elements::{LONGEST_TUPLE, countable, tuple_params};
use super::strided::{Strided, WORKGROUP, kernel_rank, signed_strides};
use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Storage, Want};
use crate::tensor::shape::{axis, elements, strides, walk};
use crate::tensor::wide::written;
use crate::tensor::{ElementType, Tensor, Wide};

/// Comparisons that a kernel may make: beyond these the host is sooner done.
const COMPARISONS: f64 = 4e9;

/// How an update meets what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reduction {
    None,
    Add,
    Mul,
    Min,
    Max,
}

/// Updates of single elements, or of slices.
#[derive(Debug, Clone, PartialEq)]
pub struct Scatter {
    /// `y[index[i, j], j] = updates[i, j]`, and alike along another axis; `None` for ScatterND, where the last dimension of
    /// the indices holds the first indices of a slice.
    axis: Option<i64>,
    reduction: Reduction,
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let reduction = match d.string("reduction")?.as_deref() {
        None | Some("none") => Reduction::None,
        Some("add") => Reduction::Add,
        Some("mul") => Reduction::Mul,
        Some("min") => Reduction::Min,
        Some("max") => Reduction::Max,
        Some(other) => return Err(DefinitionError::Value("reduction", format!("is '{other}', which is none"))),
    };
    let axis = if d.op_type == "ScatterND" { None } else { Some(d.int("axis")?.unwrap_or(0)) };
    Ok(Arc::new(Scatter { axis, reduction }))
}

impl Reduction {
    /// The numbers joined; NaN stays where there is one.
    fn floats(self, old: f64, update: f64) -> f64 {
        match self {
            Self::None => update,
            Self::Add => old + update,
            Self::Mul => old * update,
            Self::Min if update < old || update.is_nan() => update,
            Self::Max if update > old || update.is_nan() => update,
            // NaN stays: nothing is smaller or larger.
            Self::Min | Self::Max => old,
        }
    }

    /// The integers joined, the low bits of sums and products kept. Among truth values a sum is "or", a product "and".
    fn integers(self, old: i128, update: i128) -> i128 {
        match self {
            Self::None => update,
            Self::Add => old.wrapping_add(update),
            Self::Mul => old.wrapping_mul(update),
            Self::Min => old.min(update),
            Self::Max => old.max(update),
        }
    }

    /// The same reduction of truth values as numbers: a sum is "or", a product "and", as in ONNX Runtime.
    const fn of_truths(self) -> Self {
        match self {
            Self::None => Self::None,
            Self::Add | Self::Max => Self::Max,
            Self::Mul | Self::Min => Self::Min,
        }
    }
}

impl Scatter {
    /// For each update the first element of its place, and how many elements an update has.
    fn places(&self, x: &[usize], index: &Tensor, indices: &[i64]) -> Result<(Vec<usize>, usize), EvaluateError> {
        let own = strides(x);
        let Some(at) = self.axis else {
            let (taken, count) = (index.shape().last().copied().unwrap_or(0), index.shape());
            let count = elements(&count[..count.len().saturating_sub(1)]).unwrap_or(0);
            let slice = elements(x.get(taken..).unwrap_or_default()).unwrap_or(0);
            let mut places = Vec::with_capacity(count);
            for index in 0..count {
                let mut place = 0;
                for (k, &at) in indices.iter().skip(index * taken).take(taken).enumerate() {
                    place += usize::try_from(from_front(&[at], x[k])?[0]).unwrap_or(0) * own[k];
                }
                places.push(place);
            }
            return Ok((places, slice));
        };
        let at = axis(at, x.len()).ok_or_else(|| ShapeError::new("its axis is out of range"))?;
        let indices = from_front(indices, x[at])?;
        let mut beside = own.clone();
        beside[at] = 0;
        let mut places = Vec::with_capacity(indices.len());
        walk(index.shape(), [&beside], |[from]| {
            let index = indices.get(places.len()).and_then(|&i| usize::try_from(i).ok()).unwrap_or(0);
            places.push(from + index * own[at]);
        });
        Ok((places, 1))
    }

    /// Whether the three shapes belong together.
    fn check(&self, x: &[usize], index: &[usize], updates: &[usize]) -> Result<(), ShapeError> {
        let fits = match self.axis {
            Some(at) => {
                let at = axis(at, x.len());
                at.is_some()
                    && index == updates
                    && index.len() == x.len()
                    && index.iter().zip(x).enumerate().all(|(i, (n, limit))| Some(i) == at || n <= limit)
            }
            None => match index {
                [head @ .., taken] => *taken <= x.len() && [head, &x[*taken..]].concat() == updates,
                [] => false,
            },
        };
        let wrong = || format!("indices {index:?} and updates {updates:?} do not go with an input {x:?}");
        fits.then_some(()).ok_or_else(|| ShapeError::new(wrong()))
    }

    /// The input with the updates, `n` elements at each place.
    fn scatter(&self, x: &Tensor, updates: &Tensor, places: &[usize], n: usize) -> Result<Tensor, EvaluateError> {
        let reduction = self.reduction;
        match x.element_type() {
            ElementType::String => Err(EvaluateError::Unsupported("texts are not scattered".to_owned())),
            t if t != updates.element_type() => Err(ShapeError::new("its updates are of another type").into()),
            _ if reduction == Reduction::None => Self::replaced(x, updates, places, n),
            t if t.is_any_float() => Self::joined(x, updates, places, n, |a, b| reduction.floats(a, b)),
            _ => Self::joined(x, updates, places, n, |a, b| reduction.integers(a, b)),
        }
    }

    /// The input with other elements in some places, whatever their bits mean.
    fn replaced(x: &Tensor, updates: &Tensor, places: &[usize], n: usize) -> Result<Tensor, EvaluateError> {
        let (mut y, run) = (x.bytes().to_vec(), n * x.element_type().size());
        for (place, update) in places.iter().zip(updates.bytes().chunks_exact(run.max(1))) {
            let start = place * x.element_type().size();
            if let Some(old) = y.get_mut(start..start + run) {
                old.copy_from_slice(update);
            }
        }
        Ok(Tensor::from_bytes(x.element_type(), x.shape(), y.into())?)
    }

    /// The input with other elements joined to those in some places.
    fn joined<V: Wide>(
        x: &Tensor,
        updates: &Tensor,
        places: &[usize],
        n: usize,
        join: impl Fn(V, V) -> V,
    ) -> Result<Tensor, EvaluateError> {
        let (mut y, updates) = (V::all(x)?, V::all(updates)?);
        // For each update the element that it meets.
        let pairs = places.iter().enumerate().flat_map(|(j, place)| (0..n).map(move |i| (place + i, j * n + i)));
        for (to, from) in pairs {
            if let (Some(old), Some(&update)) = (y.get_mut(to), updates.get(from)) {
                *old = join(*old, update);
            }
        }
        let mut result = written(x.element_type(), x.shape())?;
        V::write(&y, &mut *result);
        Ok(result.tensor(x.shape())?)
    }

    /// What the shader calls the reduction.
    fn define(&self, element_type: ElementType) -> i64 {
        let reduction = if element_type == ElementType::Bool { self.reduction.of_truths() } else { self.reduction };
        match reduction {
            Reduction::None => 0,
            Reduction::Add => 1,
            Reduction::Mul => 2,
            Reduction::Min => 3,
            Reduction::Max => 4,
        }
    }

    /// The dispatch for updates along an axis, but for its bindings, and the comparisons that it makes.
    fn along(at: usize, x: &[usize], index: &[usize]) -> Result<(Dispatch, f64), String> {
        let count = countable(x)?;
        let rank = kernel_rank(x.len())?;
        let (own, theirs) = (strides(x), strides(index));
        let kernel = Kernel::of("index/scatter_elements.wgsl").define("WORKGROUP", WORKGROUP);
        let mut dispatch = Dispatch::of(kernel.define("RANK", rank as i64))
            .param("units", count.div_ceil(4))
            .param("elements", count)
            .param("length", x[at])
            .param("inner", own[at])
            .param("count", index[at])
            .param("step", theirs[at]);
        for (i, (size, limit, stride)) in DIMENSIONS[..rank].iter().enumerate() {
            let (n, most, step) = match x.len().checked_sub(i + 1) {
                None => (1, 1, 0),
                Some(d) if d == at => (x[d], x[d], 0),
                Some(d) => (x[d], index[d], theirs[d]),
            };
            dispatch = dispatch.param(size, n).param(limit, most).param(stride, step);
        }
        Ok((dispatch, count as f64 * index[at] as f64))
    }
}

/// The names of the parameters of each dimension, innermost first.
const DIMENSIONS: [(&str, &str, &str); 8] = [
    ("size0", "limit0", "stride0"),
    ("size1", "limit1", "stride1"),
    ("size2", "limit2", "stride2"),
    ("size3", "limit3", "stride3"),
    ("size4", "limit4", "stride4"),
    ("size5", "limit5", "stride5"),
    ("size6", "limit6", "stride6"),
    ("size7", "limit7", "stride7"),
];

impl Operator for Scatter {
    fn name(&self) -> &str {
        if self.axis.is_some() { "ScatterElements" } else { "ScatterND" }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, index, updates) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?, Fact::at(inputs, 2)?);
        if updates.element_type != x.element_type {
            return Err(ShapeError::new(format!("updates of {} in {x}", updates.element_type)));
        }
        if let (Some(x), Some(index), Some(updates)) = (x.concrete(), index.concrete(), updates.concrete()) {
            self.check(&x, &index, &updates)?;
        }
        Ok(vec![x.without_content()])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (x, index, updates) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.tensor(2)?);
        self.check(x.shape(), index.shape(), updates.shape())?;
        let indices = inputs.integers(1)?.unwrap_or_default();
        // An empty input has no places; nor has an index without elements.
        if updates.is_empty() || x.is_empty() {
            return Ok(vec![x.clone().into()]);
        }
        let (places, n) = self.places(x.shape(), index, &indices)?;
        Ok(vec![self.scatter(x, updates, &places, n)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let (from, indices, new) = (request.any_storage(0)?, request.index_storage(1)?, request.any_storage(2)?);
        let to = request.any_output_storage(0)?;
        let element_type = request.input(0)?.fact.element_type;
        let computes = Storage::computes(element_type) || element_type.is_integer() && element_type.size() > 1;
        if self.define(element_type) != 0 && !computes {
            return Err(format!("its kernel does not reduce {element_type}"));
        }
        let (x, index, updates) = (request.shape(0)?, request.shape(1)?, request.shape(2)?);
        let count = countable(&x)?;
        let mut candidate = Candidate::new("scatter", vec![Want::In(Layout::Linear); 3], vec![Layout::Linear]);
        if count == 0 {
            return Ok(vec![candidate]);
        }
        if countable(&updates)? == 0 {
            // Nothing is updated.
            let whole = Strided { dims: x.clone(), strides: signed_strides(&x), base: 0 };
            return whole.candidates(request, Layout::Linear, Layout::Linear);
        }
        let units = count.div_ceil(4);
        let reduction = self.define(element_type);
        let (mut dispatch, comparisons) = match self.axis {
            Some(at) => {
                countable(&index)?;
                let (dispatch, comparisons) =
                    Self::along(axis(at, x.len()).ok_or("its axis is out of range")?, &x, &index)?;
                (dispatch.bind(Binding::Input(0), from).bind(Binding::Input(1), indices), comparisons)
            }
            None => {
                let (taken, tuples) = index.split_last().ok_or("its indices have no dimension")?;
                let tuples = countable(tuples)?;
                if !(1..=LONGEST_TUPLE).contains(taken) {
                    return Err(format!("its kernel takes 1 to {LONGEST_TUPLE} indices of one element, not {taken}"));
                }
                let slice = countable(&x[*taken..])?;
                let steps: Vec<usize> = strides(&x)[..*taken].iter().map(|s| s / slice).collect();
                let places = Kernel::of("index/places.wgsl").define("WORKGROUP", WORKGROUP);
                let places = Dispatch::of(places.define("TAKEN", *taken as i64))
                    .param("units", tuples.div_ceil(4))
                    .param("tuples", tuples);
                candidate.scratch.push((tuples.div_ceil(4) as u64, Storage::I32));
                candidate = candidate.dispatch(
                    tuple_params(places, &x[..*taken], &steps)
                        .bind(Binding::Input(1), indices)
                        .bind(Binding::Scratch(0), Storage::I32)
                        .linear(tuples.div_ceil(4) as u64, WORKGROUP, request.device),
                );
                let whole = slice % 4 == 0;
                let kernel = Kernel::of("index/scatter_nd.wgsl").define("WORKGROUP", WORKGROUP).define("WHOLE", whole);
                let dispatch = Dispatch::of(kernel)
                    .param("units", units)
                    .param("elements", count)
                    .param("slice", if whole { slice / 4 } else { slice })
                    .param("places", tuples.div_ceil(4))
                    .bind(Binding::Input(0), from)
                    .bind(Binding::Scratch(0), Storage::I32);
                (dispatch, tuples as f64 * if whole { units } else { count } as f64)
            }
        };
        if comparisons > COMPARISONS {
            return Err("its kernel would look through too many updates for each element".to_owned());
        }
        dispatch.kernel = dispatch.kernel.define("REDUCTION", reduction).define("FLOAT", from.is_float());
        if element_type == ElementType::U64 {
            dispatch.kernel = dispatch.kernel.define("UNSIGNED", 1);
        }
        let dispatch = dispatch.bind(Binding::Input(2), new).bind(Binding::Output(0), to).linear(
            units as u64,
            WORKGROUP,
            request.device,
        );
        let bytes = 2.0 * units as f64 * to.unit_bytes() as f64;
        Ok(vec![candidate.cost(comparisons, bytes).dispatch(dispatch).in_place(0)])
    }
}

#[cfg(test)]
mod tests;
