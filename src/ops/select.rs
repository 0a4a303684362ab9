//! Where: `y = condition ? x : z`, broadcast.

use std::sync::Arc;

use super::broadcast::{self, Expression, Operand, combine3};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Candidates, Storage};
use crate::tensor::{Element, ElementType, Tensor, Truth};

/// Where.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Where;

/// Makes a Where.
pub(super) fn make(_: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(Where))
}

impl Operator for Where {
    fn name(&self) -> &str {
        "Where"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (condition, x, z) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?, Fact::at(inputs, 2)?);
        if condition.element_type != ElementType::Bool {
            return Err(ShapeError::new(format!("its condition is {}, not bool", condition.element_type)));
        }
        if x.element_type != z.element_type {
            return Err(ShapeError::new(format!("it chooses between {} and {}", x.element_type, z.element_type)));
        }
        let mut y = Fact::new(x.element_type, broadcast::shape(&[&condition.shape, &x.shape, &z.shape])?);
        // A shape being chosen from two shapes.
        if let (Some(c), Some(x), Some(z), 0..=1) = (&condition.constant, &x.known, &z.known, y.rank())
            && let Ok(c) = c.as_slice::<Truth>()
        {
            let length = y.concrete().map_or(0, |s| s.iter().product());
            let at = |dims: &[Dim], i: usize| dims.get(if dims.len() == 1 { 0 } else { i }).cloned();
            let choose = |i: usize| {
                let c = c.get(if c.len() == 1 { 0 } else { i })?;
                at(if bool::from(*c) { x } else { z }, i)
            };
            y.known = if length <= 64 { (0..length).map(choose).collect() } else { None };
        }
        Ok(vec![y])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (condition, x, z) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.tensor(2)?);
        // Elements are moved as they are, whatever their bits mean.
        let y = match x.element_type() {
            ElementType::String => return Err(ShapeError::new("texts are moved by their places").into()),
            t if t != z.element_type() => return Err(ShapeError::new("it chooses between two types").into()),
            t if t.size() == 1 => choose::<u8>(condition, x, z),
            t if t.size() == 2 => choose::<u16>(condition, x, z),
            t if t.size() == 4 => choose::<u32>(condition, x, z),
            _ => choose::<u64>(condition, x, z),
        };
        Ok(vec![y?.of_bits(x.element_type())?.into()])
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let operands = [0, 1, 2].map(|i| Operand::any(request, i));
        let [condition, x, z] = operands;
        let expression = match request.any_output_storage(0)? {
            Storage::I64 => Expression::of_elements("select(c, b, a != 0)", ElementType::I64),
            _ => "select(c, b, a != vec4<i32>(0))".into(),
        };
        broadcast::candidates(request, &[condition?, x?, z?], expression)
    }
}

fn choose<T: Element>(condition: &Tensor, x: &Tensor, z: &Tensor) -> Result<Tensor, EvaluateError> {
    let to = broadcast::sizes(&[condition.shape(), x.shape(), z.shape()])?;
    let condition = (condition.as_slice::<Truth>()?, condition.shape());
    let (x, z) = ((bytemuck::cast_slice::<_, T>(x.bytes()), x.shape()), (bytemuck::cast_slice(z.bytes()), z.shape()));
    combine3(condition, x, z, &to, |c, x, z| if c.into() { x } else { z })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::shape::elements;
    use crate::testing::{Input, Tolerance, check, try_check};

    fn truths(shape: Vec<usize>) -> Tensor {
        let n = elements(&shape).unwrap();
        Tensor::new(shape, (0..n).map(|i| Truth::from(i % 3 == 1)).collect()).unwrap()
    }

    fn numbers(shape: Vec<usize>, from: f32) -> Tensor {
        let n = elements(&shape).unwrap();
        Tensor::new(shape, (0..n).map(|i| from + (i % 500) as f32).collect()).unwrap()
    }

    #[test]
    fn elements_are_chosen() {
        let inputs = [
            Value::from(truths(vec![3, 1])),
            Value::from(Tensor::vector(vec![1i64, 2])),
            Value::from(Tensor::scalar(9i64)),
        ];
        let inputs: Vec<_> = inputs.iter().map(Some).collect();
        let y = Where.evaluate(&mut Context::default(), Inputs(&inputs)).unwrap().remove(0).into_tensor().unwrap();
        assert_eq!(y, Tensor::new([3, 2], vec![9i64, 9, 1, 2, 9, 9]).unwrap());
    }

    #[test]
    fn shapes_are_chosen() {
        let condition = Fact::constant(Tensor::vector(vec![Truth(1), Truth(0)]));
        let x = Fact::dims(vec![Dim::symbol("n"), Dim::Known(2)]);
        let z = Fact::constant(Tensor::vector(vec![7i64]));
        let y = Where.infer(&[Some(&condition), Some(&x), Some(&z)]).unwrap().remove(0);
        assert_eq!(y.known, Some(vec![Dim::symbol("n"), Dim::Known(7)]));
        assert!(Where.infer(&[Some(&x), Some(&x), Some(&z)]).is_err());
    }

    #[test]
    fn integers_and_truth_values_are_chosen_on_the_device() {
        let c = Input::Run(truths(vec![2, 5]));
        let x = Input::Run(Tensor::new([1, 5], vec![i32::MIN, -1, 0, 1, i32::MAX]).unwrap());
        check(&Where, &[c.clone(), x, Input::Constant(Tensor::scalar(3i32))], Tolerance::EXACT);
        check(&Where, &[c.clone(), c, Input::Run(truths(vec![1]))], Tolerance::EXACT);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn where_agrees(
            dims in prop::collection::vec((prop::sample::select(vec![0usize, 1, 3, 4, 5, 8]), 0..8u8), 0..5),
            missing in [0..4usize, 0..4, 0..4],
        ) {
            let shape = |k: usize| -> Vec<usize> {
                dims.iter().skip(missing[k]).map(|(d, keep)| if keep >> k & 1 == 1 { 1 } else { *d }).collect()
            };
            let inputs = [truths(shape(0)), numbers(shape(1), 1.0), numbers(shape(2), -600.0)].map(Input::Run);
            try_check(&Where, &inputs, Tolerance::EXACT).map_err(TestCaseError::fail)?;
        }
    }
}
