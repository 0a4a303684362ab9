//! Transpose (ONNX opset 1): the dimensions in another order.

use std::sync::Arc;

use super::strided::{Strided, signed_strides};
use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Candidates, Layout};
use crate::tensor::shape::axis;

/// The dimensions in another order: the result's dimension `i` is the input's dimension `perm[i]`; reversed without one.
#[derive(Debug, Clone, PartialEq)]
pub struct Transpose {
    pub perm: Option<Vec<i64>>,
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(Transpose { perm: d.ints("perm")? }))
}

impl Transpose {
    /// The order for an input of this rank.
    ///
    /// # Errors
    /// If it is none.
    pub fn order(&self, rank: usize) -> Result<Vec<usize>, ShapeError> {
        let Some(perm) = &self.perm else { return Ok((0..rank).rev().collect()) };
        let order: Option<Vec<usize>> = perm.iter().map(|&p| axis(p, rank)).collect();
        order
            .filter(|order| order.len() == rank && (0..rank).all(|i| order.contains(&i)))
            .ok_or_else(|| ShapeError::new(format!("perm {perm:?} is no order of {rank} dimensions")))
    }

    /// How the result is read from an input whose shape is known, in order.
    pub(crate) fn read(&self, inputs: &[Option<&Fact>]) -> Option<Strided> {
        self.strided(&Fact::at(inputs, 0).ok()?.concrete()?).ok()
    }

    /// The result over a source of these dimensions.
    fn strided(&self, shape: &[usize]) -> Result<Strided, ShapeError> {
        let order = self.order(shape.len())?;
        let own = signed_strides(shape);
        Ok(Strided {
            dims: order.iter().map(|&i| shape[i]).collect(),
            strides: order.iter().map(|&i| own[i]).collect(),
            base: 0,
        })
    }
}

impl Operator for Transpose {
    fn name(&self) -> &str {
        "Transpose"
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let order = self.order(x.rank())?;
        let mut fact = x.with_shape(order.iter().map(|&i| x.shape[i].clone()).collect());
        if x.rank() <= 1 {
            fact = x.clone();
        }
        Ok(vec![fact])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let strided = self.strided(x.shape())?;
        Ok(vec![strided.gather(x, &strided.dims)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let (shape, result) = (request.shape(0)?, request.output_shape(0)?);
        let order = self.order(shape.len()).map_err(|e| e.to_string())?;
        let mut candidates = vec![];
        if let Some((strided, from, to)) = channels(&shape, &order) {
            candidates.extend(strided.candidates(request, from.canonical(&shape), to.canonical(&result))?);
        }
        for layout in [Layout::Linear, Layout::Rows] {
            // Rows stay rows where the innermost dimension stays.
            let kept = order.last() == order.len().checked_sub(1).as_ref();
            if layout == Layout::Rows && layout.canonical(&shape) == Layout::Linear {
                continue;
            }
            let mut strided = self.strided(&layout.physical_shape(&shape)).map_err(|e| e.to_string())?;
            let mut to = layout;
            if layout == Layout::Rows && !kept {
                // Their padding is stepped over.
                strided.dims.clone_from(&result);
                to = Layout::Linear;
            }
            candidates.extend(strided.candidates(request, layout, to)?);
        }
        Ok(candidates)
    }
}

/// Channels to the end and back, between rows and channels in groups of four: units are moved as they are.
fn channels(shape: &[usize], order: &[usize]) -> Option<(Strided, Layout, Layout)> {
    let rank = shape.len();
    if rank < 3 || order[0] != 0 {
        return None;
    }
    let last = rank - 1;
    let to_end = order[last] == 1 && (1..last).all(|i| order[i] == i + 1);
    let from_end = order[1] == last && (2..rank).all(|i| order[i] == i - 1);
    let from = if to_end { Layout::Channels4 } else { Layout::Rows };
    let physical = from.physical_shape(shape);
    let own = signed_strides(&physical);
    let mut strided = Strided { dims: vec![shape[0]], strides: vec![own[0]], base: 0 };
    if to_end {
        // From [N, C/4, positions, 4]: the positions, then the channels.
        strided.dims.extend(&physical[2..=rank]);
        strided.strides.extend(&own[2..=rank]);
        strided.dims.insert(rank - 1, physical[1]);
        strided.strides.insert(rank - 1, own[1]);
        Some((strided, from, Layout::Rows))
    } else if from_end {
        // From [N, positions, C]: the groups of channels, the positions, the channels of a group.
        strided.dims.push(physical[last] / 4);
        strided.strides.push(4);
        strided.dims.extend(&physical[1..last]);
        strided.strides.extend(&own[1..last]);
        strided.dims.push(4);
        strided.strides.push(1);
        Some((strided, from, Layout::Channels4))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::Tensor;
    use crate::testing::{Input, Tolerance, check, try_check};

    #[test]
    fn a_matrix_is_transposed() {
        let x = Value::from(Tensor::new([2, 3], vec![1i64, 2, 3, 4, 5, 6]).unwrap());
        let y = Transpose { perm: None }.evaluate(&mut Context::default(), Inputs(&[Some(&x)])).unwrap();
        assert_eq!(y, [Tensor::new([3, 2], vec![1i64, 4, 2, 5, 3, 6]).unwrap().into()]);
        let x = Fact::new(crate::ElementType::F32, [2usize, 3]);
        for perm in [vec![0], vec![0, 0], vec![0, 2], vec![0, 1, 2], vec![i64::MIN, 0]] {
            assert!(Transpose { perm: Some(perm) }.infer(&[Some(&x)]).is_err());
        }
    }

    #[test]
    fn every_element_type_is_moved() {
        let transpose = Transpose { perm: Some(vec![1, 0, 2]) };
        let shape = vec![3, 4, 5];
        for x in [
            Tensor::new(shape.clone(), (0..60).collect::<Vec<i32>>()).unwrap(),
            Tensor::new(shape.clone(), (0..60).map(|i| i as i8 - 30).collect::<Vec<i8>>()).unwrap(),
            Tensor::new(shape.clone(), (0..60).map(|i| i as u8 + 190).collect::<Vec<u8>>()).unwrap(),
            Tensor::new(shape.clone(), (0..60).map(|i| half::f16::from_f32(i as f32)).collect::<Vec<_>>()).unwrap(),
        ] {
            check(&transpose, &[Input::Run(x)], Tolerance::EXACT);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn gpu_and_reference_agree(
            (shape, perm) in prop::collection::vec(prop::sample::select(vec![0usize, 1, 2, 3, 4, 5, 8, 12]), 0..5)
                .prop_flat_map(|shape| {
                    let order: Vec<i64> = (0..shape.len() as i64).collect();
                    (Just(shape), Just(order).prop_shuffle())
                }),
        ) {
            let x: Vec<f32> = (0..shape.iter().product()).map(|i| i as f32).collect();
            let x = Tensor::new(shape, x).unwrap();
            try_check(&Transpose { perm: Some(perm) }, &[Input::Run(x)], Tolerance::EXACT).map_err(TestCaseError::fail)?;
        }
    }
}
