//! CumSum and CumProd (ONNX opsets 11, 14 and 26): the sums, or products, of all elements up to each, along an axis.

use std::sync::Arc;

use super::broadcast::is_wide;
use super::gather_elements::countable;
use super::strided::WORKGROUP;
use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::tensor::shape::axis;
use crate::tensor::wide::written;
use crate::tensor::{Tensor, Wide};

/// Running sums or products along an axis (input 1).
#[derive(Debug, Clone, PartialEq)]
pub struct Cumulative {
    /// Products, not sums.
    product: bool,
    /// Without the element itself.
    exclusive: bool,
    /// From the back.
    reverse: bool,
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(Cumulative {
        product: d.op_type == "CumProd",
        exclusive: d.flag("exclusive", false)?,
        reverse: d.flag("reverse", false)?,
    }))
}

impl Cumulative {
    /// The running results. Those of floats are kept in `f64`; integers keep their low bits.
    fn running<V: Wide>(&self, x: &Tensor, at: usize, start: V, join: fn(V, V) -> V) -> Result<Tensor, EvaluateError> {
        let (n, inner) = (x.shape()[at], x.shape()[at + 1..].iter().product::<usize>());
        if x.is_empty() {
            return Ok(x.clone());
        }
        let (from, mut y) = (x.numbers()?, written(x.element_type(), x.shape())?);
        let mut lines = vec![V::default(); n * inner];
        for line in (0..x.len()).step_by(n * inner) {
            V::read(&*from, line, 1, &mut lines);
            for lane in 0..inner {
                let mut sum = start;
                for i in 0..n {
                    let e = &mut lines[(if self.reverse { n - 1 - i } else { i }) * inner + lane];
                    let before = sum;
                    sum = join(sum, *e);
                    *e = if self.exclusive { before } else { sum };
                }
            }
            V::write(&lines, &mut *y);
        }
        Ok(y.tensor(x.shape())?)
    }
}

impl Operator for Cumulative {
    fn name(&self) -> &str {
        if self.product { "CumProd" } else { "CumSum" }
    }

    fn reads(&self, input: usize) -> Reads {
        match input {
            1 => Reads::Parameter,
            _ => Reads::Elements,
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        if !x.element_type.is_float() && !x.element_type.is_integer() {
            return Err(ShapeError::new(format!("there are no sums of {}", x.element_type)));
        }
        if let Some(&at) = Fact::at(inputs, 1)?.integers().as_deref().and_then(<[i64]>::first)
            && axis(at, x.rank()).is_none()
        {
            return Err(ShapeError::new(format!("axis {at} is out of range for {x}")));
        }
        Ok(vec![x.without_content()])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let at = inputs.list(1)?.and_then(|v| v.first().copied());
        let at = at.and_then(|at| axis(at, x.rank())).ok_or_else(|| ShapeError::new("its axis is out of range"))?;
        let y = match (x.element_type().is_any_float(), self.product) {
            (true, false) => self.running(x, at, 0.0, |a, b| a + b),
            (true, true) => self.running(x, at, 1.0, |a, b| a * b),
            (false, false) => self.running(x, at, 0, i128::wrapping_add),
            (false, true) => self.running(x, at, 1, i128::wrapping_mul),
        }?;
        Ok(vec![y.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let pairs = is_wide(request.input(0)?.fact.element_type);
        let (from, to) = match pairs {
            true => (request.any_storage(0)?, request.any_output_storage(0)?),
            false => (request.storage(0)?, request.output_storage(0)?),
        };
        let shape = request.shape(0)?;
        let at = request.input(1)?.fact.integers().ok_or("its axis is computed at run time")?;
        let at = at.first().and_then(|&at| axis(at, shape.len())).ok_or("its axis is out of range")?;
        let rows = at + 1 == shape.len();
        let layout = Layout::Rows.canonical(&shape);
        let candidate = Candidate::new("lanes", vec![Want::In(layout), Want::Nothing], vec![layout]);
        let physical = layout.physical_shape(&shape);
        if countable(&physical)? == 0 {
            return Ok(vec![candidate]);
        }
        // Rows are whole units, and so are the elements beside one.
        let inner = if rows { 1 } else { countable(&physical[at + 1..])? / 4 };
        let lanes = countable(&physical[..at])? * inner;
        let kernel = Kernel::of("reduce/running.wgsl")
            .define("WORKGROUP", WORKGROUP)
            .define("ROWS", rows)
            .define("PRODUCT", self.product)
            .define("EXCLUSIVE", self.exclusive)
            .define("REVERSE", self.reverse);
        let dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(0), from)
            .bind(Binding::Output(0), to)
            .param("lanes", lanes)
            .param("length", shape[at])
            .param("inner", inner)
            .linear(lanes as u64, WORKGROUP, request.device);
        let elements = countable(&physical)? as f64;
        let bytes = elements / 4.0 * (from.unit_bytes() + to.unit_bytes()) as f64;
        Ok(vec![candidate.cost(elements, bytes).dispatch(dispatch).in_place(0)])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::ElementType;
    use crate::testing::{Input, Tolerance, try_check};

    #[test]
    fn sums_run_both_ways() {
        let run = |exclusive, reverse, at: i64| {
            let x = Value::from(Tensor::new([2, 3], vec![1i32, 2, 3, 4, 5, 6]).unwrap());
            let at = Value::from(Tensor::scalar(at));
            let operator = Cumulative { product: false, exclusive, reverse };
            operator.evaluate(&mut Context::default(), Inputs(&[Some(&x), Some(&at)]))
        };
        let expected = |v: [i32; 6]| [Value::from(Tensor::new([2, 3], v.to_vec()).unwrap())];
        assert_eq!(run(false, false, 1).unwrap(), expected([1, 3, 6, 4, 9, 15]));
        assert_eq!(run(true, false, -1).unwrap(), expected([0, 1, 3, 0, 4, 9]));
        assert_eq!(run(false, true, 0).unwrap(), expected([5, 7, 9, 4, 5, 6]));
        assert_eq!(run(true, true, 1).unwrap(), expected([5, 3, 0, 11, 6, 0]));
        assert!(run(false, false, 2).is_err());
    }

    #[test]
    fn products_run_too() {
        let x = Value::from(Tensor::vector(vec![2f32, 3.0, 4.0]));
        let at = Value::from(Tensor::scalar(0i64));
        let run = |exclusive, reverse| {
            let operator = Cumulative { product: true, exclusive, reverse };
            operator.evaluate(&mut Context::default(), Inputs(&[Some(&x), Some(&at)])).unwrap()
        };
        assert_eq!(run(false, false), [Tensor::vector(vec![2f32, 6.0, 24.0]).into()]);
        assert_eq!(run(true, true), [Tensor::vector(vec![12f32, 4.0, 1.0]).into()]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Small whole numbers, so that sums are exact in any order; products of up to 7 of them fit an f32 too.
        #[test]
        fn gpu_and_reference_agree(
            shape in prop::collection::vec(prop::sample::select(vec![0usize, 1, 2, 3, 4, 5, 7]), 1..5),
            at in any::<prop::sample::Index>(), exclusive in any::<bool>(), reverse in any::<bool>(),
            product in any::<bool>(), seed in any::<u32>(),
            element_type in prop::sample::select(vec![ElementType::F32, ElementType::I32, ElementType::I8]),
        ) {
            let at = at.index(shape.len()) as i64;
            let number = |i: u32| f64::from((i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 12) % 5) - 2.0;
            let numbers = (0..shape.iter().product::<usize>() as u32).map(number).collect();
            let x = Input::Run(Tensor::from_f64(element_type, shape, numbers).unwrap());
            let operator = Cumulative { product, exclusive, reverse };
            try_check(&operator, &[x, Input::Constant(Tensor::scalar(at))], Tolerance::EXACT).map_err(TestCaseError::fail)?;
        }
    }
}
