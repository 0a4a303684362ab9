//! GatherElements and GatherND (ONNX opsets 11 to 13): single elements, or slices, by their indices.

use std::sync::Arc;

use super::gather::from_front;
use super::strided::{NAMES, Strided, WORKGROUP, kernel_rank, signed_strides};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::tensor::Tensor;
use crate::tensor::shape::{axis, elements, strides};

/// Elements by their indices.
#[derive(Debug, Clone, PartialEq)]
pub enum GatherElements {
    /// `y[i, j, k] = x[index[i, j, k], j, k]`, and alike along another axis.
    Along(i64),
    /// The last dimension of the indices holds the first indices of x, after so many that both share.
    Nd(usize),
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    if d.op_type == "GatherElements" {
        return Ok(Arc::new(GatherElements::Along(d.int("axis")?.unwrap_or(0))));
    }
    let shared = d.int("batch_dims")?.unwrap_or(0);
    let shared = usize::try_from(shared).map_err(|_| DefinitionError::Value("batch_dims", format!("is {shared}")))?;
    Ok(Arc::new(GatherElements::Nd(shared)))
}

/// How many of x's dimensions one index of GatherND takes, and the result's shape.
fn shape_nd<T: Clone>(shared: usize, x: &[T], index: &[T], taken: usize) -> Result<Vec<T>, ShapeError> {
    let fits = shared < index.len() && shared + taken <= x.len();
    let [head @ .., _] = index else { return Err(ShapeError::new("its indices have no dimension")) };
    if !fits {
        return Err(ShapeError::new(format!(
            "indices of {taken} after {shared} shared dimensions do not fit its input"
        )));
    }
    Ok([head, &x[shared + taken..]].concat())
}

/// The number of elements of a shape, if a kernel can count them in an `i32`.
pub(super) fn countable(shape: &[usize]) -> Result<usize, String> {
    elements(shape).filter(|&n| i32::try_from(n).is_ok()).ok_or_else(|| "it is too large".to_owned())
}

/// Adds the lengths and strides of the dimensions that the indices of a tuple count.
pub(super) fn tuple_params(mut dispatch: Dispatch, lengths: &[usize], steps: &[usize]) -> Dispatch {
    for ((length, step), (&n, &s)) in TUPLE.iter().zip(lengths.iter().zip(steps)) {
        dispatch = dispatch.param(length, n).param(step, s);
    }
    dispatch
}

/// The longest tuple of indices that kernels take.
pub(super) const LONGEST_TUPLE: usize = TUPLE.len();

const TUPLE: [(&str, &str); 8] = [
    ("length0", "step0"),
    ("length1", "step1"),
    ("length2", "step2"),
    ("length3", "step3"),
    ("length4", "step4"),
    ("length5", "step5"),
    ("length6", "step6"),
    ("length7", "step7"),
];

impl GatherElements {
    fn along(at: usize, x: &[usize], index: &[usize]) -> Result<Dispatch, String> {
        let own = signed_strides(x);
        let mut beside = own.clone();
        beside[at] = 0;
        let merged = Strided { dims: index.to_vec(), strides: beside, base: 0 }.merged();
        let rank = kernel_rank(merged.dims.len())?;
        let count = countable(index)?;
        let kernel = Kernel::of("index/gather_elements.wgsl").define("WORKGROUP", WORKGROUP);
        let mut dispatch = Dispatch::of(kernel.define("RANK", rank as i64))
            .param("units", count.div_ceil(4))
            .param("elements", count)
            .param("length", x[at])
            .param("step", strides(x)[at]);
        let mut inner = merged.dims.iter().zip(&merged.strides).rev();
        for names in &NAMES[..rank] {
            let (&n, &step) = inner.next().unwrap_or((&1, &0));
            dispatch = dispatch.param(names.0, n).param(names.1, usize::try_from(step).unwrap_or(0));
        }
        Ok(dispatch)
    }

    fn nd(shared: usize, x: &[usize], index: &[usize]) -> Result<Dispatch, String> {
        let taken = index.last().copied().unwrap_or(0);
        if !(1..=LONGEST_TUPLE).contains(&taken) {
            return Err(format!("its kernel takes 1 to {LONGEST_TUPLE} indices of one element, not {taken}"));
        }
        let (batch, slice) = (countable(&x[shared..])?, countable(&x[shared + taken..])?);
        let tuples = countable(&index[..index.len() - 1])?;
        let count = countable(&[tuples, slice])?;
        let whole = slice % 4 == 0;
        let unit = if whole { 4 } else { 1 };
        let kernel = Kernel::of("index/gather_nd.wgsl").define("WORKGROUP", WORKGROUP).define("TAKEN", taken as i64);
        let dispatch = Dispatch::of(kernel.define("WHOLE", whole))
            .param("units", count.div_ceil(4))
            .param("elements", count / unit)
            .param("slice", slice / unit)
            .param("each", index[shared..index.len() - 1].iter().product::<usize>())
            .param("batch", batch / unit);
        let steps: Vec<usize> = strides(x)[shared..shared + taken].iter().map(|s| s / unit).collect();
        Ok(tuple_params(dispatch, &x[shared..shared + taken], &steps))
    }
}

impl Operator for GatherElements {
    fn name(&self) -> &str {
        if matches!(self, Self::Along(_)) { "GatherElements" } else { "GatherND" }
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, index) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?);
        match self {
            Self::Along(at) => {
                if x.rank() != index.rank() || axis(*at, x.rank()).is_none() {
                    return Err(ShapeError::new(format!("indices {index} do not go with {x} along axis {at}")));
                }
                Ok(vec![x.with_shape(index.shape.clone())])
            }
            Self::Nd(shared) => match index.shape.last().map(Dim::size) {
                Some(Some(taken)) => Ok(vec![x.with_shape(shape_nd(*shared, &x.shape, &index.shape, taken)?)]),
                // Not even the rank can be known.
                _ => Ok(vec![]),
            },
        }
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (x, index) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let indices = inputs.integers(1)?.unwrap_or_default();
        let own = strides(x.shape());
        let size = x.element_type().size();
        match self {
            Self::Along(at) => {
                let at = axis(*at, x.rank()).filter(|_| x.rank() == index.rank());
                let at = at.ok_or_else(|| ShapeError::new("its indices do not go with its input"))?;
                if (0..x.rank()).any(|i| i != at && index.shape()[i] > x.shape()[i]) {
                    return Err(ShapeError::new(format!("indices {index:?} reach beyond {x:?}")).into());
                }
                let indices = from_front(&indices, x.shape()[at])?;
                let mut outer = own.clone();
                outer[at] = 0;
                let mut out = Vec::with_capacity(indices.len() * size);
                let mut next = indices.into_iter();
                crate::tensor::shape::walk(index.shape(), [&outer], |[from]| {
                    let place = next.next().and_then(|i| usize::try_from(i).ok()).unwrap_or(0);
                    let e = (from + place * own[at]) * size;
                    out.extend_from_slice(x.bytes().get(e..e + size).unwrap_or_default());
                });
                Ok(vec![Tensor::from_bytes(x.element_type(), index.shape().to_vec(), out.into())?.into()])
            }
            Self::Nd(shared) => {
                let taken = index.shape().last().copied().unwrap_or(0);
                let shape = shape_nd(*shared, x.shape(), index.shape(), taken)?;
                if x.shape()[..*shared] != index.shape()[..*shared] {
                    return Err(ShapeError::new(format!("{x:?} and {index:?} share no {shared} dimensions")).into());
                }
                if Tensor::bounded(x.element_type(), &shape)? == 0 {
                    return Ok(vec![Tensor::zeros(x.element_type(), shape)?.into()]);
                }
                let slice: usize = x.shape()[shared + taken..].iter().product();
                let each: usize = index.shape()[*shared..index.rank() - 1].iter().product();
                let count: usize = index.shape()[..index.rank() - 1].iter().product();
                let batch: usize = x.shape()[*shared..].iter().product();
                let mut out = Vec::with_capacity(count * slice * size);
                for i in 0..count {
                    let mut e = i / each.max(1) * batch;
                    for k in 0..taken {
                        let place = from_front(&indices[i * taken + k..=i * taken + k], x.shape()[shared + k])?;
                        e += usize::try_from(place[0]).unwrap_or(0) * own[shared + k];
                    }
                    out.extend_from_slice(&x.bytes()[e * size..(e + slice) * size]);
                }
                Ok(vec![Tensor::from_bytes(x.element_type(), shape, out.into())?.into()])
            }
        }
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let (from, indices, to) = (request.any_storage(0)?, request.index_storage(1)?, request.any_output_storage(0)?);
        let (x, index, result) = (request.shape(0)?, request.shape(1)?, request.output_shape(0)?);
        let candidate = Candidate::new("gather", vec![Want::In(Layout::Linear); 2], vec![Layout::Linear]);
        let count = countable(&result)?;
        if count == 0 {
            return Ok(vec![candidate]);
        }
        if countable(&x)? == 0 {
            return Err("its input is empty, its output is not".to_owned());
        }
        countable(&index)?;
        let dispatch = match self {
            Self::Along(at) => Self::along(axis(*at, x.len()).ok_or("its axis is out of range")?, &x, &index)?,
            Self::Nd(shared) => Self::nd(*shared, &x, &index)?,
        };
        let dispatch = dispatch
            .bind(Binding::Input(0), from)
            .bind(Binding::Input(1), indices)
            .bind(Binding::Output(0), to)
            .linear(count.div_ceil(4) as u64, WORKGROUP, request.device);
        let bytes = count as f64 / 4.0 * to.unit_bytes() as f64;
        Ok(vec![candidate.cost(0.0, bytes * 5.0).dispatch(dispatch)])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::ElementType;
    use crate::testing::{Input, Tolerance, try_check};

    fn run(operator: &GatherElements, x: Tensor, index: Tensor) -> Result<Value, EvaluateError> {
        let values = [Value::from(x), Value::from(index)];
        let facts =
            values.each_ref().map(|v| v.as_tensor().unwrap()).map(|t| Fact::new(t.element_type(), t.shape().to_vec()));
        operator.infer(&facts.each_ref().map(Some))?;
        Ok(operator.evaluate(&mut Context::default(), Inputs(&values.each_ref().map(Some)))?.remove(0))
    }

    fn tensor(shape: &[usize], values: &[i64]) -> Tensor {
        Tensor::new(shape.to_vec(), values.to_vec()).unwrap()
    }

    #[test]
    fn the_examples_of_the_standard() {
        let x = tensor(&[2, 2], &[1, 2, 3, 4]);
        let y = run(&GatherElements::Along(1), x.clone(), tensor(&[2, 2], &[0, 0, 1, -2])).unwrap();
        assert_eq!(y, tensor(&[2, 2], &[1, 1, 4, 3]).into());
        let y = run(&GatherElements::Nd(0), x.clone(), tensor(&[2, 2], &[0, 0, 1, 1])).unwrap();
        assert_eq!(y, tensor(&[2], &[1, 4]).into());
        let y = run(&GatherElements::Nd(0), x.clone(), tensor(&[2, 1], &[1, 0])).unwrap();
        assert_eq!(y, tensor(&[2, 2], &[3, 4, 1, 2]).into());
        let x = tensor(&[2, 2, 2], &[0, 1, 2, 3, 4, 5, 6, 7]);
        let y = run(&GatherElements::Nd(1), x, tensor(&[2, 1], &[1, 0])).unwrap();
        assert_eq!(y, tensor(&[2, 2], &[2, 3, 4, 5]).into());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let x = tensor(&[2, 2], &[1, 2, 3, 4]);
        assert!(run(&GatherElements::Along(0), x.clone(), tensor(&[1, 1], &[2])).is_err());
        assert!(run(&GatherElements::Along(0), x.clone(), tensor(&[1, 3], &[0, 0, 0])).is_err());
        assert!(run(&GatherElements::Along(2), x.clone(), tensor(&[1, 1], &[0])).is_err());
        assert!(run(&GatherElements::Nd(0), x.clone(), tensor(&[1, 3], &[0, 0, 0])).is_err());
        assert!(run(&GatherElements::Nd(1), x.clone(), tensor(&[1], &[0])).is_err());
        assert!(run(&GatherElements::Nd(usize::MAX), x, tensor(&[1], &[0])).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn kernels_along_an_axis_agree(
            shape in prop::collection::vec(prop::sample::select(vec![1usize, 2, 3, 4, 5, 7]), 1..6),
            at in any::<prop::sample::Index>(), length in 0usize..6, shrink in any::<bool>(),
            seed in any::<u32>(), halves in any::<bool>(),
        ) {
            let at = at.index(shape.len());
            let size = shape[at];
            // The indices may leave out what comes last along the other axes.
            let mut index: Vec<usize> = shape.iter().map(|&n| if shrink { n.div_ceil(2) } else { n }).collect();
            index[at] = length;
            let indices = numbers(&index, seed, size);
            let element_type = if halves { ElementType::F16 } else { ElementType::F32 };
            let x = Tensor::from_f64(element_type, shape.clone(), (0..shape.iter().product()).map(|i: usize| i as f64).collect());
            let inputs = [Input::Run(x.unwrap()), Input::Run(indices)];
            try_check(&GatherElements::Along(at as i64), &inputs, Tolerance::EXACT).map_err(TestCaseError::fail)?;
        }

        #[test]
        fn kernels_of_tuples_agree(
            shape in prop::collection::vec(prop::sample::select(vec![1usize, 2, 3, 4, 8]), 1..6),
            tuples in prop::collection::vec(prop::sample::select(vec![0usize, 1, 2, 3, 5]), 0..3),
            shared in 0usize..3, taken in 1usize..4, seed in any::<u32>(),
        ) {
            let shared = shared.min(shape.len() - 1);
            let taken = taken.min(shape.len() - shared);
            let mut index = shape[..shared].to_vec();
            index.extend_from_slice(&tuples);
            index.push(taken);
            let n: usize = index.iter().product();
            let place = |i: usize| {
                let size = shape[shared + i % taken] as i32;
                ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as i32 % (2 * size) - size
            };
            let indices = Tensor::new(index, (0..n).map(place).collect()).unwrap();
            let x = Tensor::new(shape.clone(), (0..shape.iter().product()).map(|i: usize| i as i32).collect()).unwrap();
            let inputs = [Input::Run(x), Input::Run(indices)];
            try_check(&GatherElements::Nd(shared), &inputs, Tolerance::EXACT).map_err(TestCaseError::fail)?;
        }
    }

    /// Indices of `size` elements, some counted from the back.
    fn numbers(shape: &[usize], seed: u32, size: usize) -> Tensor {
        let size = size as i32;
        let place = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as i32 % (2 * size) - size;
        Tensor::new(shape.to_vec(), (0..shape.iter().product::<usize>() as u32).map(place).collect()).unwrap()
    }
}
