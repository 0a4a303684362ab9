//! Gather (ONNX opsets 1 to 13): `y[o…, j…, i…] = x[o…, index[j…], i…]`, negative indices from the back.
//!
//! Indices that are constant become a table; others are read by the kernel, which clamps what the reference refuses.

use std::sync::Arc;

use super::remap::Remap;
use super::strided::{WORKGROUP, cost};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::tensor::shape::{axis, elements};
use crate::tensor::{ElementType, Tensor};

/// Parts of a tensor, by their indices along an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Gather {
    axis: i64,
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(Gather { axis: d.int("axis")?.unwrap_or(0) }))
}

/// Indices counted from the front.
///
/// # Errors
/// With the first that is out of range.
pub(crate) fn from_front(indices: &[i64], size: usize) -> Result<Vec<i64>, ShapeError> {
    let place = |&i: &i64| axis(i, size).map(|i| i as i64);
    let wrong = |i: &i64| ShapeError::new(format!("index {i} is out of range for {size} elements"));
    indices.iter().map(|i| place(i).ok_or_else(|| wrong(i))).collect()
}

impl Gather {
    /// The axis, counted from the front.
    ///
    /// # Errors
    /// If there is no such axis.
    pub(crate) fn axis(&self, rank: usize) -> Result<usize, ShapeError> {
        axis(self.axis, rank)
            .ok_or_else(|| ShapeError::new(format!("axis {} is out of range for {rank} dimensions", self.axis)))
    }

    /// The result's shape.
    fn shape<T: Clone>(&self, x: &[T], indices: &[T]) -> Result<Vec<T>, ShapeError> {
        let at = self.axis(x.len())?;
        Ok([&x[..at], indices, &x[at + 1..]].concat())
    }

    /// The tables over a source of `shape` as it lies in `layout`.
    fn remap(&self, shape: &[usize], indices: &[i64], layout: Layout) -> Result<Remap, ShapeError> {
        let at = self.axis(shape.len())?;
        let mut tables = vec![None; shape.len()];
        tables[at] = Some(from_front(indices, shape[at])?);
        Ok(Remap { source: layout.physical_shape(shape), tables })
    }

    /// By indices that the kernel reads.
    fn at_run_time(&self, request: &Request<'_>) -> Candidates {
        let (shape, result) = (request.shape(0)?, request.output_shape(0)?);
        let at = self.axis(shape.len()).map_err(|e| e.to_string())?;
        let countable =
            |shape: &[usize]| elements(shape).filter(|&n| i32::try_from(n).is_ok()).ok_or("it is too large");
        let (source, total) = (countable(&shape)?, countable(&result)?);
        let count = countable(&request.shape(1)?)?;
        let candidate = Candidate::new("gather", vec![Want::In(Layout::Linear); 2], vec![Layout::Linear]);
        if total == 0 {
            return Ok(vec![candidate]);
        }
        if source == 0 {
            return Err("its input is empty, its output is not".to_owned());
        }
        let inner = countable(&shape[at + 1..])?;
        let whole = inner % 4 == 0;
        let unit = if whole { 4 } else { 1 };
        let units = total.div_ceil(4);
        let kernel = Kernel::of("shape/gather.wgsl").define("WORKGROUP", WORKGROUP).define("UNITS", whole);
        let to = request.any_output_storage(0)?;
        let dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(0), request.any_storage(0)?)
            .bind(Binding::Input(1), request.index_storage(1)?)
            .bind(Binding::Output(0), to)
            .param("units", units)
            .param("elements", total / unit)
            .param("size", shape[at])
            .param("count", count)
            .param("inner", inner / unit)
            .linear(units as u64, WORKGROUP, request.device);
        let factor = if whole { 2.0 } else { 5.0 };
        Ok(vec![candidate.cost(0.0, units as f64 * to.unit_bytes() as f64 * factor).dispatch(dispatch)])
    }
}

impl Operator for Gather {
    fn name(&self) -> &str {
        "Gather"
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, indices) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?);
        let at = self.axis(x.rank())?;
        let fact = x.with_shape(self.shape(&x.shape, &indices.shape)?);
        let Some(wanted) = indices.integers() else { return Ok(vec![fact]) };
        let wanted = match x.shape[at].size() {
            Some(size) => from_front(&wanted, size)?,
            None => return Ok(vec![fact]),
        };
        // A dimension taken out of a shape.
        let taken: Option<Vec<Dim>> = match (&x.known, x.rank(), indices.rank()) {
            (Some(known), 1, 0 | 1) => wanted.iter().map(|&i| known.get(usize::try_from(i).ok()?).cloned()).collect(),
            _ => None,
        };
        Ok(vec![match (taken, indices.rank(), x.element_type) {
            (Some(taken), 1, ElementType::I64) => Fact::dims(taken),
            (Some(taken), 0, ElementType::I64) if taken.len() == 1 && taken[0].known().is_some() => {
                Fact::constant(Tensor::scalar(taken[0].known().unwrap_or_default()))
            }
            (Some(taken), ..) if taken.len() <= 64 => Fact { known: Some(taken), ..fact },
            _ => fact,
        }])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let indices = inputs.integers(1)?.ok_or_else(|| ShapeError::new("its indices are missing"))?;
        let shape = self.shape(x.shape(), inputs.tensor(1)?.shape())?;
        if Tensor::bounded(x.element_type(), &shape)? == 0 {
            return Ok(vec![Tensor::zeros(x.element_type(), shape)?.into()]);
        }
        let remap = self.remap(x.shape(), &indices, Layout::Linear)?;
        Ok(vec![remap.gather(x, shape, &vec![0; x.element_type().size()])?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let storages = (request.any_storage(0)?, request.any_output_storage(0)?);
        let Some(indices) = request.input(1)?.fact.integers() else { return self.at_run_time(request) };
        let (shape, result) = (request.shape(0)?, request.output_shape(0)?);
        let mut candidates = vec![];
        for layout in [Layout::Linear, Layout::Rows] {
            // Rows stay rows where they are not what is gathered.
            let kept = self.axis(shape.len()).is_ok_and(|at| at + 1 < shape.len());
            if layout == Layout::Rows && (!kept || layout.canonical(&shape) == Layout::Linear) {
                continue;
            }
            let mut candidate = Candidate::new("remap", vec![Want::In(layout), Want::Nothing], vec![layout]);
            if elements(&result) != Some(0) {
                let remap = self.remap(&shape, &indices, layout).map_err(|e| e.to_string())?;
                if let Some(dispatch) = remap.dispatch(storages, [0; 2], request.device)? {
                    candidate = candidate.cost(0.0, cost(&dispatch, storages.1)).dispatch(dispatch);
                }
            }
            candidates.push(candidate);
        }
        Ok(candidates)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Input, Tolerance, check, try_check};

    #[test]
    fn a_dimension_is_taken_out_of_a_shape() {
        let x = Fact::dims(vec![Dim::symbol("n"), Dim::Known(3)]);
        let take =
            |index: Tensor| Gather { axis: 0 }.infer(&[Some(&x), Some(&Fact::constant(index))]).unwrap().remove(0);
        assert_eq!(take(Tensor::scalar(0i64)).known, Some(vec![Dim::symbol("n")]));
        assert_eq!(take(Tensor::scalar(-1i64)).constant, Some(Tensor::scalar(3i64)));
        assert_eq!(take(Tensor::vector(vec![1i64])).constant, Some(Tensor::vector(vec![3i64])));
        let out = Fact::constant(Tensor::scalar(2i64));
        assert!(Gather { axis: 0 }.infer(&[Some(&x), Some(&out)]).is_err());
    }

    #[test]
    fn an_index_that_is_out_of_range_is_refused() {
        let x = Value::from(Tensor::new([2, 2], vec![1f32, 2., 3., 4.]).unwrap());
        let run = |axis, index: i64| {
            let index = Value::from(Tensor::scalar(index));
            Gather { axis }.evaluate(&mut Context::default(), Inputs(&[Some(&x), Some(&index)]))
        };
        assert_eq!(run(1, -1).unwrap(), [Tensor::vector(vec![2f32, 4.]).into()]);
        assert!(run(0, 2).is_err() && run(0, -3).is_err() && run(2, 0).is_err() && run(0, i64::MIN).is_err());
    }

    #[test]
    fn a_table_of_words_is_read_by_units() {
        let x = Input::Constant(Tensor::new([7, 8], (0..56).map(|i| i as f32).collect()).unwrap());
        let words = Tensor::new([2, 3], vec![6i32, 0, -1, 3, 3, -7]).unwrap();
        check(&Gather { axis: 0 }, &[x.clone(), Input::Run(words.clone())], Tolerance::EXACT);
        check(&Gather { axis: 0 }, &[x, Input::Constant(words)], Tolerance::EXACT);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn gpu_and_reference_agree(
            shape in prop::collection::vec(prop::sample::select(vec![1usize, 2, 3, 4, 5, 8]), 1..5),
            at in any::<prop::sample::Index>(),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
            negative in any::<bool>(), constant in any::<bool>(),
        ) {
            let at = at.index(shape.len());
            let size = shape[at];
            let pick = |i: &prop::sample::Index| i.index(size) as i32 - if negative { size as i32 } else { 0 };
            let indices = Tensor::vector(picks.iter().map(pick).collect());
            let x: Vec<f32> = (0..shape.iter().product()).map(|i| i as f32).collect();
            let x = Input::Run(Tensor::new(shape, x).unwrap());
            let indices = if constant { Input::Constant(indices) } else { Input::Run(indices) };
            try_check(&Gather { axis: at as i64 }, &[x, indices], Tolerance::EXACT).map_err(TestCaseError::fail)?;
        }
    }
}
