//! Gather from one part of a tensor that is too large for a device: the planner makes a chain of these, a node for each
//! part, of a Gather. What lies in other parts is as the node before has left it.

use crate::graph::{Context, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::tensor::Tensor;
use crate::tensor::shape::elements;

use super::gather::from_front;
use super::strided::WORKGROUP;

/// The place of what the parts before have given, among the inputs: the part, the indices, the previous result.
const PREVIOUS: usize = 2;

/// Rows of one part of a tensor, by their indices in the whole.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GatherPart {
    /// The axis, counted from the front.
    pub axis: usize,
    /// The length of the whole along it.
    pub size: usize,
    /// Where the part begins.
    pub first: usize,
}

impl GatherPart {
    /// The result's shape, where the operands fit.
    fn shape<T: Clone>(&self, x: &[T], indices: &[T]) -> Result<Vec<T>, ShapeError> {
        let (Some(before), Some(after)) = (x.get(..self.axis), x.get(self.axis + 1..)) else {
            return Err(ShapeError::new(format!("axis {} is out of range for {} dimensions", self.axis, x.len())));
        };
        Ok([before, indices, after].concat())
    }

    /// Elements outside the axis and within it.
    fn around(&self, shape: &[usize]) -> Option<(usize, usize)> {
        elements(shape.get(..self.axis)?).zip(elements(shape.get(self.axis + 1..)?))
    }
}

impl Operator for GatherPart {
    fn name(&self) -> &str {
        "GatherPart"
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, indices) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?);
        let y = x.with_shape(self.shape(&x.shape, &indices.shape)?);
        let rows = x.shape[self.axis].size().unwrap_or(0);
        if self.first.checked_add(rows).is_none_or(|end| end > self.size) {
            return Err(ShapeError::new(format!("{x} is no part of {} rows", self.size)));
        }
        match Fact::optional(inputs, PREVIOUS) {
            Some(previous) if previous.shape != y.shape || previous.element_type != y.element_type => {
                Err(ShapeError::new(format!("the parts before gave {previous}, this one gives {y}")))
            }
            _ => Ok(vec![y]),
        }
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let indices = inputs.integers(1)?.ok_or_else(|| ShapeError::new("its indices are missing"))?;
        let shape = self.shape(x.shape(), inputs.tensor(1)?.shape())?;
        Tensor::bounded(x.element_type(), &shape)?;
        let rows = x.shape()[self.axis];
        let (_, inner) = self.around(x.shape()).ok_or_else(|| ShapeError::new("it is too large"))?;
        let inner = inner * x.element_type().size();
        let mut y = match inputs.optional(PREVIOUS) {
            Some(previous) => previous.bytes().to_vec(),
            None => Tensor::zeros(x.element_type(), shape.clone())?.bytes().to_vec(),
        };
        let wanted = from_front(&indices, self.size)?;
        if inner > 0 && !wanted.is_empty() {
            for (place, y) in y.chunks_exact_mut(inner).enumerate() {
                let (outer, row) = (place / wanted.len(), wanted[place % wanted.len()]);
                let row = usize::try_from(row).unwrap_or(0).checked_sub(self.first).filter(|&row| row < rows);
                if let Some(row) = row {
                    y.copy_from_slice(&x.bytes()[(outer * rows + row) * inner..][..inner]);
                }
            }
        }
        Ok(vec![Tensor::from_bytes(x.element_type(), shape, y.into())?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let (shape, result) = (request.shape(0)?, request.output_shape(0)?);
        let countable =
            |shape: &[usize]| elements(shape).filter(|&n| i32::try_from(n).is_ok()).ok_or("it is too large");
        let (source, total, count) = (countable(&shape)?, countable(&result)?, countable(&request.shape(1)?)?);
        let size = i32::try_from(self.size).map_err(|_| "it is too large")?;
        let wants = vec![Want::In(Layout::Linear); request.inputs.len()];
        let mut candidate = Candidate::new("gather_part", wants, vec![Layout::Linear]);
        if total == 0 {
            return Ok(vec![candidate]);
        }
        if source == 0 {
            return Err("its input is empty, its output is not".to_owned());
        }
        let (_, inner) = self.around(&shape).ok_or("it is too large")?;
        let previous = request.optional(PREVIOUS).is_some();
        let whole = inner % 4 == 0;
        let unit = if whole { 4 } else { 1 };
        let units = total.div_ceil(4);
        let kernel = Kernel::of("shape/gather_part.wgsl")
            .define("WORKGROUP", WORKGROUP)
            .define("UNITS", whole)
            .define("PREVIOUS", previous);
        let to = request.any_output_storage(0)?;
        let mut dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(0), request.any_storage(0)?)
            .bind(Binding::Input(1), request.index_storage(1)?);
        if previous {
            dispatch = dispatch.bind(Binding::Input(PREVIOUS), request.any_storage(PREVIOUS)?);
            candidate = candidate.in_place(PREVIOUS);
        }
        let dispatch = dispatch
            .bind(Binding::Output(0), to)
            .param("units", units)
            .param("elements", total / unit)
            .param("size", size)
            .param("first", self.first)
            .param("rows", shape[self.axis])
            .param("count", count)
            .param("inner", inner / unit)
            .linear(units as u64, WORKGROUP, request.device);
        let factor = if whole { 3.0 } else { 6.0 };
        Ok(vec![candidate.cost(0.0, units as f64 * to.unit_bytes() as f64 * factor).dispatch(dispatch)])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::Definition;
    use crate::testing::{Input, Tolerance, try_check};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Rows of three elements share units, rows of four are units.
        #[test]
        fn parts_give_what_the_whole_gives(
            (outer, size, inner) in (1usize..3, 2usize..9, prop::sample::select(vec![1usize, 3, 4, 8])),
            cut in any::<prop::sample::Index>(),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 1..6), negative in any::<bool>(),
        ) {
            let cut = 1 + cut.index(size - 1);
            let whole = Tensor::new([outer, size, inner], (0..outer * size * inner).map(|i| i as f32).collect()).unwrap();
            let pick = |i: &prop::sample::Index| i.index(size) as i64 - if negative { size as i64 } else { 0 };
            let indices = Tensor::vector(picks.iter().map(pick).collect());
            let run = |operator: &dyn Operator, inputs: &[&Tensor]| {
                let values: Vec<Value> = inputs.iter().map(|&t| t.clone().into()).collect();
                let values: Vec<_> = values.iter().map(Some).collect();
                let result = operator.evaluate(&mut Context::default(), Inputs(&values)).unwrap().remove(0);
                result.into_tensor().unwrap()
            };
            let parts = [whole.part(1, 0, cut).unwrap(), whole.part(1, cut, size - cut).unwrap()];
            let [first, second] = [0, cut].map(|first| GatherPart { axis: 1, size, first });
            let before = run(&first, &[&parts[0], &indices]);
            let gather = crate::ops::operator(&Definition::new("Gather").attribute("axis", 1i64)).unwrap();
            prop_assert_eq!(run(&second, &[&parts[1], &indices, &before]), run(&*gather, &[&whole, &indices]));
            let input = |t: &Tensor| Input::Run(t.clone());
            let [a, b] = parts.each_ref().map(|part| Input::Constant(part.clone()));
            try_check(&first, &[a, input(&indices)], Tolerance::EXACT).map_err(TestCaseError::fail)?;
            try_check(&second, &[b, input(&indices), input(&before)], Tolerance::EXACT).map_err(TestCaseError::fail)?;
        }
    }

    #[test]
    fn an_index_beyond_all_parts_is_refused() {
        let part = Value::from(Tensor::new([2, 1], vec![1f32, 2.]).unwrap());
        let run = |index: i64| {
            let index = Value::from(Tensor::vector(vec![index]));
            GatherPart { axis: 0, size: 5, first: 3 }
                .evaluate(&mut Context::default(), Inputs(&[Some(&part), Some(&index)]))
        };
        assert_eq!(run(-1).unwrap(), [Tensor::new([1, 1], vec![2f32]).unwrap().into()]);
        assert_eq!(run(1).unwrap(), [Tensor::new([1, 1], vec![0f32]).unwrap().into()]);
        assert!(run(5).is_err() && run(-6).is_err());
    }
}
