//! Scatter, ScatterElements and ScatterND (ONNX opsets 9 to 18): a copy of the input with updates at the places that indices
//! name. On the host.

use std::sync::Arc;

use super::gather::from_front;
use crate::graph::{Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, ShapeError, Value};
use crate::tensor::shape::{axis, elements, strides, walk};
use crate::tensor::{Number, Tensor, with_number};

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

/// What an update makes of an element. A sum of truth values is "or", a product "and".
fn reduced<T: Number>(old: T, update: T, reduction: Reduction) -> T {
    let float = T::TYPE.is_float();
    let join = |floats: fn(f64, f64) -> f64, integers: fn(i128, i128) -> i128| match float {
        // Two floats of 32 bits or fewer lose nothing in 64 that is not lost in rounding anyway.
        true => T::from_float(floats(old.to_float(), update.to_float())),
        false => T::from_integer(integers(old.to_integer(), update.to_integer())),
    };
    let smaller = match float {
        true => update.to_float() < old.to_float(),
        false => update.to_integer() < old.to_integer(),
    };
    let larger = match float {
        true => update.to_float() > old.to_float(),
        false => update.to_integer() > old.to_integer(),
    };
    match reduction {
        Reduction::Add => join(|a, b| a + b, i128::wrapping_add),
        Reduction::Mul => join(|a, b| a * b, i128::wrapping_mul),
        Reduction::Min if !smaller => old,
        Reduction::Max if !larger => old,
        Reduction::None | Reduction::Min | Reduction::Max => update,
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

    fn scatter<T: Number>(
        &self,
        x: &Tensor,
        updates: &Tensor,
        places: &[usize],
        n: usize,
    ) -> Result<Tensor, EvaluateError> {
        let (mut y, updates) = (x.as_slice::<T>()?.to_vec(), updates.as_slice::<T>()?);
        for (place, updates) in places.iter().zip(updates.chunks(n.max(1))) {
            for (old, &update) in y.iter_mut().skip(*place).take(n).zip(updates) {
                *old = reduced(*old, update, self.reduction);
            }
        }
        Ok(Tensor::new(x.shape(), y)?)
    }
}

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
        let y = with_number!(
            x.element_type(),
            T => self.scatter::<T>(x, updates, &places, n),
            else Err(EvaluateError::Unsupported("texts are not scattered".to_owned()))
        )?;
        Ok(vec![y.into()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(d: &Definition, x: Tensor, index: Tensor, updates: Tensor) -> Result<Tensor, String> {
        let inputs = [x, index, updates].map(Value::Tensor);
        let operator = from_definition(d).map_err(|e| e.to_string())?;
        let result = operator.evaluate(&mut Context::default(), Inputs(&inputs.each_ref().map(Some)));
        let y = result.map_err(|e| e.to_string())?.remove(0).into_tensor().unwrap();
        Ok(y)
    }

    #[test]
    fn elements_go_where_the_indices_say() {
        let x = Tensor::new([1, 5], vec![1f32, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let d = Definition::new("ScatterElements").attribute("axis", 1i64);
        let at = |v: Vec<i64>| Tensor::new([1, v.len()], v).unwrap();
        let updates = Tensor::new([1, 2], vec![1.5f32, 2.5]).unwrap();
        let y = run(&d, x.clone(), at(vec![1, -2]), updates.clone()).unwrap();
        assert_eq!(y.as_slice::<f32>().unwrap(), [1.0, 1.5, 3.0, 2.5, 5.0]);
        let y = run(&d.clone().attribute("reduction", "add"), x.clone(), at(vec![1, 1]), updates.clone()).unwrap();
        assert_eq!(y.as_slice::<f32>().unwrap(), [1.0, 6.0, 3.0, 4.0, 5.0]);
        assert!(run(&d, x.clone(), at(vec![1, 5]), updates.clone()).is_err());
        assert!(run(&d, x, at(vec![1]), updates).unwrap_err().contains("do not go with"));
    }

    #[test]
    fn slices_go_where_the_indices_say() {
        let x = Tensor::new([3, 2], vec![1i32, 2, 3, 4, 5, 6]).unwrap();
        let updates = Tensor::new([2, 2], vec![10i32, 20, 30, 1]).unwrap();
        let at = || Tensor::new([2, 1], vec![2i64, 0]).unwrap();
        let y = run(&Definition::new("ScatterND"), x.clone(), at(), updates.clone()).unwrap();
        assert_eq!(y.as_slice::<i32>().unwrap(), [30, 1, 3, 4, 10, 20]);
        let y = run(&Definition::new("ScatterND").attribute("reduction", "max"), x.clone(), at(), updates).unwrap();
        assert_eq!(y.as_slice::<i32>().unwrap(), [30, 2, 3, 4, 10, 20]);
        // Single elements, and a whole tensor.
        let y = run(
            &Definition::new("ScatterND"),
            x.clone(),
            Tensor::new([1, 2], vec![1i64, -1]).unwrap(),
            Tensor::vector(vec![9i32]),
        );
        assert_eq!(y.unwrap().as_slice::<i32>().unwrap(), [1, 2, 3, 9, 5, 6]);
        let empty = Tensor::new([0, 2], Vec::<i64>::new()).unwrap();
        assert_eq!(run(&Definition::new("ScatterND"), x.clone(), empty, Tensor::vector(Vec::<i32>::new())).unwrap(), x);
    }
}
