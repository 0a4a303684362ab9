//! TopK (ONNX opsets 1, 10, 11, 24): the largest or smallest elements along an axis, and where they stand.

use std::cmp::Ordering;
use std::sync::Arc;

use super::broadcast::is_wide;
use super::gather_elements::countable;
use super::strided::WORKGROUP;
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Storage, Want};
use crate::tensor::shape::axis;
use crate::tensor::{ElementType, Tensor, Wide};

/// Comparisons that a kernel may make: beyond these the host, which sorts, is sooner done.
const COMPARISONS: f64 = 4e9;

/// The first `k` elements along an axis by size. Equal ones keep their order; NaN is taken for the largest.
#[derive(Debug, Clone, PartialEq)]
pub struct TopK {
    axis: i64,
    largest: bool,
    /// The number, where it is an attribute (before operator set 10); else it is input 1.
    k: Option<i64>,
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let k = match d.opset {
        ..10 => Some(d.int("k")?.ok_or(DefinitionError::Missing("k"))?),
        _ => None,
    };
    // Results that need not be sorted may be.
    Ok(Arc::new(TopK { axis: d.int("axis")?.unwrap_or(-1), largest: d.flag("largest", true)?, k }))
}

impl TopK {
    /// The axis, and the number if it can be had of that many elements.
    fn fit(&self, x: &[usize], k: i64) -> Result<(usize, usize), ShapeError> {
        let at = axis(self.axis, x.len()).ok_or_else(|| ShapeError::new("its axis is out of range"))?;
        let count = usize::try_from(k).ok().filter(|&k| k <= x[at]);
        let wrong = || ShapeError::new(format!("there are no {k} elements along axis {at} of {x:?}"));
        count.map(|k| (at, k)).ok_or_else(wrong)
    }
}

/// The elements of a tensor of integers.
fn exact(x: &Tensor) -> Option<Vec<i128>> {
    if x.element_type().is_integer() { i128::all(x).ok() } else { None }
}

impl Operator for TopK {
    fn name(&self) -> &str {
        "TopK"
    }

    fn reads(&self, input: usize) -> Reads {
        match input {
            1 => Reads::Parameter,
            _ => Reads::Elements,
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let at =
            axis(self.axis, x.rank()).ok_or_else(|| ShapeError::new(format!("its axis is out of range for {x}")))?;
        if x.element_type == ElementType::Bool {
            return Err(ShapeError::new("truth values have no order"));
        }
        let k = match self.k {
            Some(k) => Some(k),
            None => Fact::at(inputs, 1)?.integers().and_then(|k| k.first().copied()),
        };
        if let (Some(k), Some(x)) = (k, x.concrete()) {
            self.fit(&x, k)?;
        }
        let mut shape = x.shape.clone();
        shape[at] = match k {
            Some(k) => Dim::from(usize::try_from(k).map_err(|_| ShapeError::new(format!("k is {k}")))?),
            None => Dim::Unknown,
        };
        let values = x.with_shape(shape);
        let places = values.with_type(ElementType::I64);
        Ok(vec![values, places])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let k = match self.k {
            Some(k) => Some(k),
            None => inputs.integers(1)?.and_then(|k| k.first().copied()),
        };
        let (at, k) = self.fit(x.shape(), k.ok_or_else(|| ShapeError::new("k is missing"))?)?;
        let (n, inner) = (x.shape()[at], x.shape()[at + 1..].iter().product::<usize>());
        let mut shape = x.shape().to_vec();
        shape[at] = k;
        let count = Tensor::bounded(ElementType::I64, &shape)?;
        // 64-bit integers are compared as such.
        let integers = exact(x);
        let numbers = if integers.is_some() { vec![] } else { x.to_f64() };
        let order = |a: usize, b: usize| match &integers {
            Some(v) => v[a].cmp(&v[b]),
            None => match (numbers[a].is_nan(), numbers[b].is_nan()) {
                (false, false) => numbers[a].partial_cmp(&numbers[b]).unwrap_or(Ordering::Equal),
                (a, b) => a.cmp(&b),
            },
        };
        let (mut from, mut places) = (vec![0usize; count], vec![0i64; count]);
        let mut line: Vec<usize> = Vec::with_capacity(n);
        let lanes = if count == 0 { 0 } else { count / k };
        for lane in 0..lanes {
            let (outer, lane) = (lane / inner, lane % inner);
            line.clear();
            line.extend(0..n);
            let element = |i: usize| (outer * n + i) * inner + lane;
            line.sort_by(|&a, &b| {
                let order = order(element(a), element(b));
                if self.largest { order.reverse() } else { order }
            });
            for (i, &place) in line.iter().take(k).enumerate() {
                let to = (outer * k + i) * inner + lane;
                from[to] = element(place);
                places[to] = i64::try_from(place).unwrap_or(i64::MAX);
            }
        }
        let size = x.element_type().size();
        let bytes: Vec<u8> = from.iter().flat_map(|&e| &x.bytes()[e * size..(e + 1) * size]).copied().collect();
        Ok(vec![
            Tensor::from_bytes(x.element_type(), shape.clone(), bytes.into())?.into(),
            Tensor::new(shape, places)?.into(),
        ])
    }

    /// The rank of each element is counted, then each result looks for its own: n² comparisons a lane, all at once.
    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let x = request.input(0)?.fact;
        let pairs = is_wide(x.element_type);
        if !pairs {
            request.storage(0)?;
        }
        let (from, values, places) =
            (request.any_storage(0)?, request.any_output_storage(0)?, request.index_output_storage(1)?);
        let (shape, result) = (request.shape(0)?, request.output_shape(0)?);
        let at = axis(self.axis, shape.len()).ok_or("its axis is out of range")?;
        let (count, elements) = (countable(&result)?, countable(&shape)?);
        let mut wants = vec![Want::Nothing; request.inputs.len()];
        wants[0] = Want::In(Layout::Linear);
        let mut candidate = Candidate::new("ranks", wants, vec![Layout::Linear; 2]);
        if count == 0 {
            return Ok(vec![candidate]);
        }
        let (length, inner) = (shape[at], countable(&shape[at + 1..])?);
        let comparisons = (elements + count) as f64 * length as f64;
        if comparisons > COMPARISONS {
            return Err("its kernel would compare too many pairs of elements".to_owned());
        }
        let kernel = Kernel::of("index/ranks.wgsl")
            .define("WORKGROUP", WORKGROUP)
            .define("LARGEST", self.largest)
            .define("FLOAT", from.is_float())
            .define("UNSIGNED", pairs && !x.element_type.is_signed_integer());
        let units = elements.div_ceil(4);
        candidate.scratch.push((units as u64, Storage::I32));
        let ranks = Dispatch::of(kernel)
            .bind(Binding::Input(0), from)
            .bind(Binding::Scratch(0), Storage::I32)
            .param("units", units)
            .param("elements", elements)
            .param("length", length)
            .param("inner", inner)
            .linear(units as u64, WORKGROUP, request.device);
        let units = count.div_ceil(4);
        let best = Dispatch::of(Kernel::of("index/top_k.wgsl").define("WORKGROUP", WORKGROUP))
            .bind(Binding::Input(0), from)
            .bind(Binding::Scratch(0), Storage::I32)
            .bind(Binding::Output(0), values)
            .bind(Binding::Output(1), places)
            .param("units", units)
            .param("elements", count)
            .param("length", length)
            .param("count", result[at])
            .param("inner", inner)
            .linear(units as u64, WORKGROUP, request.device);
        Ok(vec![candidate.cost(comparisons, comparisons * 4.0).dispatch(ranks).dispatch(best)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(d: &Definition, x: Tensor, k: i64) -> Result<(Tensor, Tensor), String> {
        let inputs = [x, Tensor::vector(vec![k])].map(Value::Tensor);
        let operator = from_definition(d).map_err(|e| e.to_string())?;
        let result = operator.evaluate(&mut Context::default(), Inputs(&inputs.each_ref().map(Some)));
        let mut result = result.map_err(|e| e.to_string())?;
        let (places, values) = (result.remove(1).into_tensor().unwrap(), result.remove(0).into_tensor().unwrap());
        Ok((values, places))
    }

    #[test]
    fn the_first_by_size_and_where_they_stand() {
        let x = Tensor::new([2, 4], vec![3f32, 1.0, 3.0, 2.0, f32::NAN, -1.0, 5.0, f32::NEG_INFINITY]).unwrap();
        let (values, places) = run(&Definition::new("TopK"), x.clone(), 2).unwrap();
        assert_eq!(places.as_slice::<i64>().unwrap(), [0, 2, 0, 2]);
        let values = values.as_slice::<f32>().unwrap();
        assert_eq!((&values[..2], values[3]), (&[3.0, 3.0][..], 5.0));
        assert!(values[2].is_nan());
        let least = Definition::new("TopK").attribute("largest", 0i64).attribute("axis", 0i64);
        let (_, places) = run(&least, x.clone(), 1).unwrap();
        assert_eq!(places.as_slice::<i64>().unwrap(), [0, 1, 0, 1]);
        assert_eq!(run(&least, x.clone(), 0).unwrap().0.shape(), [0, 4]);
        assert!(run(&least, x.clone(), 3).is_err());
        assert!(run(&least, x, -1).is_err());
        let largest = Tensor::vector(vec![u64::MAX - 1, u64::MAX]);
        assert_eq!(run(&Definition::new("TopK"), largest, 1).unwrap().1.as_slice::<i64>().unwrap(), [1]);
        let large = Tensor::vector(vec![i64::MAX - 1, i64::MAX]);
        assert_eq!(run(&Definition::new("TopK"), large, 1).unwrap().1.as_slice::<i64>().unwrap(), [1]);
    }
}
