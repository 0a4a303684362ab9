//! CenterCropPad (ONNX opset 18): a tensor cut or filled up with zeros around its centre.
//!
//! What is odd is cut or added at the end.

use std::sync::Arc;

use super::remap::Remap;
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::{Candidate, Candidates, Layout, Want};
use crate::tensor::{Tensor, shape};

/// A tensor brought to a size around its centre.
#[derive(Debug, Clone, PartialEq)]
pub struct CenterCropPad {
    /// The axes that input 1 gives sizes for; all where they are not given.
    axes: Option<Vec<i64>>,
}

/// Makes a CenterCropPad.
pub(super) fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(CenterCropPad { axes: definition.ints("axes")? }))
}

impl CenterCropPad {
    /// The axes, counted from the front.
    fn axes(&self, rank: usize) -> Result<Vec<usize>, ShapeError> {
        let Some(axes) = &self.axes else { return Ok((0..rank).collect()) };
        let found: Option<Vec<usize>> = axes.iter().map(|&axis| shape::axis(axis, rank)).collect();
        let found = found.ok_or_else(|| ShapeError::new(format!("axes {axes:?} are out of range for rank {rank}")))?;
        if (1..found.len()).any(|i| found[..i].contains(&found[i])) {
            return Err(ShapeError::new(format!("an axis is named twice in {axes:?}")));
        }
        Ok(found)
    }

    /// The result's shape.
    fn shape(&self, x: &[Dim], sizes: &[Dim]) -> Result<Vec<Dim>, ShapeError> {
        let axes = self.axes(x.len())?;
        if axes.len() != sizes.len() {
            return Err(ShapeError::new(format!("there are {} sizes for {} axes", sizes.len(), axes.len())));
        }
        let mut y = x.to_vec();
        for (&axis, size) in axes.iter().zip(sizes) {
            if size.known().is_some_and(|n| n < 0) {
                return Err(ShapeError::new(format!("a size is {size}")));
            }
            y[axis] = size.clone();
        }
        Ok(y)
    }
}

/// Where the elements of the result come from.
fn remap(x: &[usize], y: &[usize]) -> Remap {
    let table = |(&from, &to): (&usize, &usize)| {
        // The first element that is kept, and how many stand before it.
        let (cut, added) = (from.saturating_sub(to) / 2, to.saturating_sub(from) / 2);
        let place = |i: usize| match i.checked_sub(added).filter(|&i| i < from.min(to)) {
            Some(i) => i64::try_from(i + cut).unwrap_or(-1),
            None => -1,
        };
        (from != to).then(|| (0..to).map(place).collect())
    };
    Remap { source: x.to_vec(), tables: x.iter().zip(y).map(table).collect() }
}

impl Operator for CenterCropPad {
    fn name(&self) -> &str {
        "CenterCropPad"
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn reads(&self, input: usize) -> Reads {
        if input == 1 { Reads::Parameter } else { Reads::Elements }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, sizes) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?);
        let known = sizes.known.clone().or_else(|| Some(sizes.integers()?.into_iter().map(Dim::Known).collect()));
        let sizes = match known {
            Some(known) => known,
            None => vec![Dim::Unknown; sizes.count()?.unwrap_or(self.axes(x.rank())?.len())],
        };
        Ok(vec![x.with_shape(self.shape(&x.shape, &sizes)?)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let sizes = inputs.list(1)?.ok_or_else(|| ShapeError::new("the sizes are missing"))?;
        let dims: Vec<Dim> = x.shape().iter().map(|&n| Dim::from(n)).collect();
        let y = self.shape(&dims, &sizes.into_iter().map(Dim::Known).collect::<Vec<_>>())?;
        let y: Option<Vec<usize>> = y.iter().map(Dim::size).collect();
        let y = y.ok_or_else(|| ShapeError::new("a size is too large"))?;
        if Tensor::bounded(x.element_type(), &y)? == 0 {
            return Ok(vec![Tensor::zeros(x.element_type(), y)?.into()]);
        }
        let zero = vec![0; x.element_type().size()];
        Ok(vec![remap(x.shape(), &y).gather(x, y, &zero)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let storages = (request.any_storage(0)?, request.any_output_storage(0)?);
        if request.input(1)?.fact.integers().is_none() {
            return Err("its sizes are computed at run time".to_owned());
        }
        let (x, y) = (request.shape(0)?, request.output_shape(0)?);
        if x == y {
            return Ok(vec![Candidate::view(0, request.inputs.len())]);
        }
        let mut candidate =
            Candidate::new("remap", vec![Want::In(Layout::Linear), Want::Nothing], vec![Layout::Linear]);
        if !y.contains(&0) {
            if y.iter().any(|&n| n > 1 << 22) {
                return Err("its tables would be too large".to_owned());
            }
            if let Some(dispatch) = remap(&x, &y).dispatch(storages, [0; 2], request.device)? {
                candidate = candidate.cost(0.0, super::strided::cost(&dispatch, storages.1)).dispatch(dispatch);
            }
        }
        Ok(vec![candidate])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Input, Tolerance, try_check};

    #[test]
    fn what_is_odd_goes_to_the_end() {
        let run = |d: &Definition, shape: &[usize], sizes: &[i64]| {
            let x = Tensor::new(shape.to_vec(), (1..=shape.iter().product::<usize>() as i64).collect()).unwrap();
            let inputs = [Value::from(x), Tensor::vector(sizes.to_vec()).into()];
            let y = make(d).unwrap().evaluate(&mut Context::default(), Inputs(&inputs.each_ref().map(Some)))?;
            Ok::<_, EvaluateError>(y[0].as_tensor().unwrap().as_slice::<i64>().unwrap().to_vec())
        };
        let d = Definition::new("CenterCropPad");
        assert_eq!(run(&d, &[5], &[2]).unwrap(), [2, 3]);
        assert_eq!(run(&d, &[2], &[5]).unwrap(), [0, 1, 2, 0, 0]);
        assert_eq!(run(&d, &[1, 4], &[3, 2]).unwrap(), [0, 0, 2, 3, 0, 0]);
        let last = d.clone().attribute("axes", [-1]);
        assert_eq!(run(&last, &[2, 3], &[1]).unwrap(), [2, 5]);
        assert!(run(&d, &[2, 3], &[1]).is_err());
        assert!(run(&d, &[3], &[-1]).is_err());
        assert!(run(&d, &[3], &[i64::MAX]).is_err());
        assert!(run(&d.attribute("axes", [0, -2]), &[2, 3], &[1, 1]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_kernel_agrees_with_the_reference(dims in prop::collection::vec((1usize..8, 0i64..9), 1..=5)) {
            let shape: Vec<_> = dims.iter().map(|d| d.0).collect();
            let x = (0..shape.iter().product::<usize>()).map(|i| i as f32 + 1.0).collect();
            let sizes = Input::Constant(Tensor::vector(dims.iter().map(|d| d.1).collect()));
            let x = Input::Run(Tensor::new(shape, x).unwrap());
            try_check(&*make(&Definition::new("CenterCropPad")).unwrap(), &[x, sizes], Tolerance::EXACT)
                .map_err(TestCaseError::fail)?;
        }
    }
}
