//! ArgMax and ArgMin: where along an axis the largest or smallest element lies, as a 64-bit integer.

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::ops::norm::{Lanes, WORKGROUP};
use crate::tensor::{ElementType, Tensor, Wide, shape};

/// ArgMax or ArgMin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arg {
    largest: bool,
    axis: i64,
    keep: bool,
    /// Whether the last of equal elements is meant, not the first.
    last: bool,
}

/// Makes an ArgMax or ArgMin.
pub(in crate::ops) fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(Arg {
        largest: definition.op_type == "ArgMax",
        axis: definition.int("axis")?.unwrap_or(0),
        keep: definition.flag("keepdims", true)?,
        last: definition.flag("select_last_index", false)?,
    }))
}

impl Arg {
    fn place(&self, rank: usize) -> Result<usize, ShapeError> {
        shape::axis(self.axis, rank)
            .ok_or_else(|| ShapeError::new(format!("axis {} is out of range for rank {rank}", self.axis)))
    }

    fn kept<T: Clone>(&self, shape: &[T], axis: usize, one: T) -> Vec<T> {
        let mut kept = shape.to_vec();
        if self.keep {
            kept[axis] = one;
        } else {
            kept.remove(axis);
        }
        kept
    }

    /// Whether `b` takes the place of an `a` that came before it.
    fn better<T: PartialOrd>(&self, a: T, b: T) -> bool {
        (if self.largest { b > a } else { b < a }) || (self.last && b == a)
    }

    fn places<V: Wide>(&self, x: &Tensor, lanes: Lanes) -> Result<Vec<i64>, EvaluateError> {
        let from = x.numbers()?;
        let mut places = vec![];
        if x.is_empty() {
            return Ok(places);
        }
        let mut lane_of = vec![V::default(); lanes.length];
        for lane in 0..lanes.count() {
            let base = (lane / lanes.inner) * lanes.length * lanes.inner + lane % lanes.inner;
            V::read(&*from, base, lanes.inner, &mut lane_of);
            let mut best = (0, lane_of[0]);
            for (i, &v) in lane_of.iter().enumerate().skip(1) {
                if self.better(best.1, v) {
                    best = (i, v);
                }
            }
            places.push(i64::try_from(best.0).unwrap_or(i64::MAX));
        }
        Ok(places)
    }
}

impl Operator for Arg {
    fn name(&self) -> &str {
        if self.largest { "ArgMax" } else { "ArgMin" }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let axis = self.place(x.rank())?;
        if x.shape[axis] == Dim::Known(0) {
            return Err(ShapeError::new("there is no element along its axis"));
        }
        Ok(vec![Fact::new(ElementType::I64, self.kept(&x.shape, axis, Dim::Known(1)))])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let axis = self.place(x.rank())?;
        if x.shape()[axis] == 0 {
            return Err(ShapeError::new("there is no element along its axis").into());
        }
        let lanes = Lanes::of(x.shape(), axis, axis + 1)?;
        let places = match x.element_type().is_any_float() {
            true => self.places::<f64>(x, lanes),
            false => self.places::<i128>(x, lanes),
        };
        Ok(vec![Tensor::new(self.kept(x.shape(), axis, 1), places?)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let (read, written) = (request.any_storage(0)?, request.index_output_storage(0)?);
        let dims = request.shape(0)?;
        let axis = self.place(dims.len()).map_err(|e| e.to_string())?;
        let lanes = Lanes::of(&dims, axis, axis + 1).map_err(|e| e.to_string())?;
        if u32::try_from(lanes.elements()).is_err() {
            return Err("it has more elements than a shader can count".to_owned());
        }
        let mut candidate = Candidate::new("lanes", vec![Want::In(Layout::Linear)], vec![Layout::Linear]);
        if lanes.elements() > 0 {
            let units = lanes.count().div_ceil(4);
            let better = match (self.largest, self.last) {
                (true, false) => "v > best",
                (true, true) => "v >= best",
                (false, false) => "v < best",
                (false, true) => "v <= best",
            };
            let element_type = request.input(0)?.fact.element_type;
            let kernel = Kernel::of("reduce/arg.wgsl").define("WORKGROUP", WORKGROUP);
            let kernel = match element_type {
                ElementType::I64 | ElementType::U64 => {
                    let better = match (self.largest, self.last) {
                        (true, false) => "less64(best, v)",
                        (true, true) => "!less64(v, best)",
                        (false, false) => "less64(v, best)",
                        (false, true) => "!less64(best, v)",
                    };
                    kernel.define("UNSIGNED", element_type == ElementType::U64).paste("BETTER", better)
                }
                ElementType::U32 => kernel.paste("BETTER", better),
                _ => {
                    request.storage(0)?;
                    kernel.paste("BETTER", better)
                }
            };
            candidate = candidate.dispatch(
                Dispatch::of(kernel)
                    .bind(Binding::Input(0), read)
                    .bind(Binding::Output(0), written)
                    .param("units", units)
                    .param("lanes", lanes.count())
                    .param("length", lanes.length)
                    .param("inner", lanes.inner)
                    .linear(units as u64, WORKGROUP, request.device),
            );
        }
        let elements = lanes.elements() as f64;
        Ok(vec![candidate.cost(elements * 4.0, elements * 4.0)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Input, Tolerance, check};

    fn arg(name: &str, axis: i64, keep: i64, last: i64) -> Arg {
        let definition = Definition::new(name)
            .attribute("axis", axis)
            .attribute("keepdims", keep)
            .attribute("select_last_index", last);
        *(&*make(&definition).unwrap() as &dyn std::any::Any).downcast_ref().unwrap()
    }

    fn run(operator: &Arg, x: &Tensor) -> Tensor {
        let x = Value::from(x.clone());

        operator.evaluate(&mut Context::default(), Inputs(&[Some(&x)])).unwrap().remove(0).into_tensor().unwrap()
    }

    #[test]
    fn values_of_the_standard() {
        let x = Tensor::new([2, 2], vec![2.0f32, 2.0, 3.0, 10.0]).unwrap();
        assert_eq!(run(&arg("ArgMax", 1, 1, 0), &x), Tensor::new([2, 1], vec![0i64, 1]).unwrap());
        assert_eq!(run(&arg("ArgMax", 1, 0, 1), &x), Tensor::vector(vec![1i64, 1]));
        assert_eq!(run(&arg("ArgMin", 0, 0, 0), &x), Tensor::vector(vec![0i64, 0]));
        assert!(arg("ArgMin", 2, 0, 0).infer(&[Some(&Fact::constant(x))]).is_err());
        assert!(arg("ArgMin", 0, 0, 0).infer(&[Some(&Fact::new(ElementType::F32, [0usize]))]).is_err());
    }

    #[test]
    fn the_kernel_agrees() {
        for shape in [vec![7], vec![3, 5], vec![2, 9, 4], vec![1, 300, 1], vec![2, 3, 5]] {
            let n: usize = shape.iter().product();
            let x = Tensor::new(shape.clone(), (0..n).map(|i| ((i * 7919) % 11) as f32).collect()).unwrap();
            for axis in 0..shape.len() as i64 {
                for (name, last) in [("ArgMax", 0), ("ArgMax", 1), ("ArgMin", 0), ("ArgMin", 1)] {
                    check(&arg(name, axis, 0, last), &[Input::Run(x.clone())], Tolerance::EXACT);
                }
            }
        }
    }
}
