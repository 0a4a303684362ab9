//! Split: a tensor in parts along one dimension (ONNX opsets 1 to 18).

use std::sync::Arc;

use super::slice::{Range, layouts, part};
use super::strided::{Strided, cost};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::{Candidate, Candidates, Layout, Want};
use crate::tensor::shape::axis;

/// A tensor in parts along one dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    axis: i64,
    /// The parts' sizes, before opset 13; an input since.
    sizes: Option<Vec<i64>>,
    parts: usize,
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    if let Some(parts) = d.int("num_outputs")?
        && usize::try_from(parts) != Ok(d.outputs)
    {
        return Err(DefinitionError::Value("num_outputs", format!("is {parts}, but there are {} outputs", d.outputs)));
    }
    Ok(Arc::new(Split { axis: d.int("axis")?.unwrap_or(0), sizes: d.ints("split")?, parts: d.outputs.max(1) }))
}

impl Split {
    /// The axis, counted from the front.
    ///
    /// # Errors
    /// If there is no such axis.
    pub(crate) fn axis(&self, rank: usize) -> Result<usize, ShapeError> {
        axis(self.axis, rank).ok_or_else(|| ShapeError::new(format!("axis {} is out of range", self.axis)))
    }

    /// The parts' sizes: as given, or equal but for the last, which takes what is left.
    fn sizes(&self, size: &Dim, given: Option<Vec<i64>>) -> Result<Vec<Dim>, ShapeError> {
        if let Some(sizes) = self.sizes.clone().or(given) {
            let sum = sizes.iter().try_fold(0i64, |a, &b| if b < 0 { None } else { a.checked_add(b) });
            if sizes.len() != self.parts || sum.is_none() || size.known().is_some_and(|size| Some(size) != sum) {
                return Err(ShapeError::new(format!("parts {sizes:?} do not make {} of {size}", self.parts)));
            }
            return Ok(sizes.into_iter().map(Dim::Known).collect());
        }
        let parts = i64::try_from(self.parts).map_err(|_| ShapeError::new("it has too many parts"))?;
        let each = size.ceil_div(&Dim::Known(parts));
        let last = match size.floor_div(&Dim::Known(parts)) {
            exact if exact == each => exact,
            _ => size.sub(&each.mul(&Dim::Known(parts - 1))),
        };
        if last.known().is_some_and(|n| n < 0) {
            return Err(ShapeError::new(format!("{size} cannot be split into {parts} parts")));
        }
        let mut sizes = vec![each; self.parts - 1];
        sizes.push(last);
        Ok(sizes)
    }

    /// The ranges of each part.
    fn ranges(&self, shape: &[usize], given: Option<Vec<i64>>) -> Result<Vec<Vec<Range>>, ShapeError> {
        let at = self.axis(shape.len())?;
        let whole: Vec<Range> = shape.iter().map(|&count| Range { begin: 0, count, step: 1 }).collect();
        let mut begin = 0i64;
        let mut all = vec![];
        for size in self.sizes(&Dim::from(shape[at]), given)? {
            let count = size.size().ok_or_else(|| ShapeError::new("a part's size is not known"))?;
            let mut ranges = whole.clone();
            ranges[at] = Range { begin, count, step: 1 };
            all.push(ranges);
            // Checked: the sizes add up to the dimension.
            begin += size.known().unwrap_or(0);
        }
        Ok(all)
    }
}

impl Operator for Split {
    fn name(&self) -> &str {
        "Split"
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn reads(&self, input: usize) -> Reads {
        match input {
            1 => Reads::Parameter,
            _ => Reads::Elements,
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let at = self.axis(x.rank())?;
        let given = Fact::optional(inputs, 1);
        let sizes = match given.map(Fact::integers) {
            Some(None) if self.sizes.is_none() => vec![Dim::Unknown; self.parts],
            given => self.sizes(&x.shape[at], given.flatten())?,
        };
        let mut begin = Some(0usize);
        let mut facts = vec![];
        for size in sizes {
            let mut shape = x.shape.clone();
            shape[at].clone_from(&size);
            let mut fact = x.with_shape(shape);
            let end = begin.zip(size.size()).and_then(|(begin, size)| begin.checked_add(size));
            if let (Some(known), 1, Some(begin), Some(end)) = (&x.known, x.rank(), begin, end)
                && let Some(part) = known.get(begin..end)
            {
                fact.known = Some(part.to_vec());
            }
            begin = end;
            facts.push(fact);
        }
        Ok(facts)
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let ranges = self.ranges(x.shape(), inputs.list(1)?)?;
        let parts = ranges.iter().filter_map(|ranges| part(x.shape(), ranges, (Layout::Linear, Layout::Linear)));
        parts.map(|strided| Ok(strided.gather(x, &strided.dims)?.into())).collect()
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let shape = request.shape(0)?;
        let given = match request.optional(1).map(|sizes| sizes.fact.integers()) {
            Some(None) if self.sizes.is_none() => return Err("its parts' sizes are computed at run time".to_owned()),
            given => given.flatten(),
        };
        let ranges = self.ranges(&shape, given).map_err(|e| e.to_string())?;
        let storage = request.any_storage(0)?;
        let mut wants = vec![Want::Nothing; request.inputs.len()];
        let mut candidates = vec![];
        for (from, to) in layouts(&shape) {
            let parts: Option<Vec<Strided>> = ranges.iter().map(|ranges| part(&shape, ranges, (from, to))).collect();
            let Some(parts) = parts else { continue };
            wants[0] = Want::In(from);
            let outputs = (0..parts.len()).map(|i| Ok(to.canonical(&request.output_shape(i)?)));
            let outputs: Result<Vec<Layout>, String> = outputs.collect();
            let mut candidate = Candidate::new("split", wants.clone(), outputs?);
            let mut bytes = 0.0;
            for (i, strided) in parts.iter().enumerate() {
                let to = request.any_output_storage(i)?;
                if let Some(dispatch) = strided.dispatch((0, storage), (i, to), request.device)? {
                    bytes += cost(&dispatch, to);
                    candidate = candidate.dispatch(dispatch);
                }
            }
            candidates.push(candidate.cost(0.0, bytes));
        }
        Ok(candidates)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::{ElementType, Tensor};
    use crate::testing::{Input, Tolerance, check, try_check};

    fn split(axis: i64, parts: usize) -> Split {
        Split { axis, sizes: None, parts }
    }

    #[test]
    fn parts_are_equal_but_for_the_last() {
        let sizes = |size: Dim, parts: usize| {
            split(0, parts).sizes(&size, None).map(|s| s.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(sizes(Dim::Known(7), 3).unwrap(), "3 3 1");
        assert_eq!(sizes(Dim::Known(6), 3).unwrap(), "2 2 2");
        assert_eq!(sizes(Dim::symbol("n").mul(&Dim::Known(2)), 2).unwrap(), "n n");
        assert!(sizes(Dim::Known(5), 4).is_err());
        let given = |sizes: Vec<i64>| split(0, 2).sizes(&Dim::Known(5), Some(sizes)).is_ok();
        assert!(given(vec![5, 0]));
        assert!(!given(vec![2, 2]) && !given(vec![5]) && !given(vec![6, -1]) && !given(vec![i64::MAX, i64::MAX]));
    }

    #[test]
    fn known_shapes_are_split() {
        let x = Fact::dims(vec![Dim::symbol("n"), Dim::Known(3)]);
        let facts = split(0, 2).infer(&[Some(&x)]).unwrap();
        assert_eq!(facts[0].known, Some(vec![Dim::symbol("n")]));
        assert_eq!(facts[1].element_type, ElementType::I64);
    }

    #[test]
    fn sizes_may_be_given() {
        let x = Input::Run(Tensor::new([2, 7], (0..14).collect::<Vec<i32>>()).unwrap());
        let sizes = Input::Constant(Tensor::vector(vec![4i64, 0, 3]));
        check(&split(-1, 3), &[x, sizes], Tolerance::EXACT);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn gpu_and_reference_agree(
            shape in prop::collection::vec(prop::sample::select(vec![0usize, 1, 2, 3, 4, 6, 8, 12]), 1..5),
            at in any::<prop::sample::Index>(), parts in 1usize..4,
        ) {
            let at = at.index(shape.len());
            prop_assume!(split(at as i64, parts).sizes(&shape[at].into(), None).is_ok());
            let x: Vec<f32> = (0..shape.iter().product()).map(|i| i as f32).collect();
            let x = Input::Run(Tensor::new(shape, x).unwrap());
            // Integers up to 2,048 are exact in f16, and larger ones are rounded on both sides.
            try_check(&split(at as i64, parts), &[x], Tolerance::EXACT).map_err(TestCaseError::fail)?;
        }
    }
}
