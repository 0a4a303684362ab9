//! Unique (ONNX opset 11): the different elements, or slices along an axis, in order of size or as they come first; where each
//! comes first; which of them each one is; how often each comes. How many there are shows in the run: it runs on the host.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::tensor::shape::axis;
use crate::tensor::{ElementType, Tensor, Wide};

/// What is different, each once.
#[derive(Debug, Clone, PartialEq)]
pub struct Unique {
    axis: Option<i64>,
    sorted: bool,
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(Unique { axis: d.int("axis")?, sorted: d.flag("sorted", true)? }))
}

/// The place of each element in the order of all; equal ones have the same, NaN comes last.
fn order(x: &Tensor) -> Result<Vec<usize>, EvaluateError> {
    fn ranks<T>(values: &[T], compare: impl Fn(&T, &T) -> Ordering) -> Vec<usize> {
        let mut sorted: Vec<usize> = (0..values.len()).collect();
        sorted.sort_by(|&a, &b| compare(&values[a], &values[b]));
        let mut ranks = vec![0; values.len()];
        for pair in sorted.windows(2) {
            let step = usize::from(compare(&values[pair[0]], &values[pair[1]]) != Ordering::Equal);
            ranks[pair[1]] = ranks[pair[0]] + step;
        }
        ranks
    }
    match x.element_type() {
        ElementType::String => Ok(ranks(x.strings()?, Ord::cmp)),
        t if t.is_any_float() => {
            Ok(ranks(&f64::all(x)?, |a, b| a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))))
        }
        _ => Ok(ranks(&i128::all(x)?, Ord::cmp)),
    }
}

impl Unique {
    fn place(&self, rank: usize) -> Result<Option<usize>, ShapeError> {
        let place =
            |at| axis(at, rank).ok_or_else(|| ShapeError::new(format!("axis {at} is out of range for rank {rank}")));
        self.axis.map(place).transpose()
    }
}

impl Operator for Unique {
    fn name(&self) -> &str {
        "Unique"
    }

    fn takes_strings(&self) -> bool {
        true
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let shape = match self.place(x.rank())? {
            Some(at) => {
                let mut shape = x.shape.clone();
                shape[at] = Dim::Unknown;
                shape
            }
            None => vec![Dim::Unknown],
        };
        let places = Fact::new(ElementType::I64, [Dim::Unknown]);
        let inverse = match self.place(x.rank())? {
            Some(at) => Fact::new(ElementType::I64, [x.shape[at].clone()]),
            None => match x.concrete().and_then(|shape| crate::tensor::shape::elements(&shape)) {
                Some(n) => Fact::new(ElementType::I64, [n]),
                None => places.clone(),
            },
        };
        Ok(vec![x.with_shape(shape), places.clone(), inverse, places])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let at = self.place(x.rank())?;
        // Slices: so many, each of `outer` runs of `inner` elements.
        let (count, inner) = match at {
            Some(at) => (x.shape()[at], x.shape()[at + 1..].iter().product::<usize>()),
            None => (x.len(), 1),
        };
        let outer = x.len().checked_div(count * inner).unwrap_or(0);
        let ranks = order(x)?;
        let slice = |i: usize| (0..outer).flat_map(move |o| (0..inner).map(move |k| (o * count + i) * inner + k));
        let compare = |a: usize, b: usize| slice(a).map(|e| ranks[e]).cmp(slice(b).map(|e| ranks[e]));
        let mut sorted: Vec<usize> = (0..count).collect();
        // Stable: of equal slices the first stays the first.
        sorted.sort_by(|&a, &b| compare(a, b));
        let mut groups: Vec<Vec<usize>> = vec![];
        for i in sorted {
            match groups.last_mut() {
                Some(group) if compare(group[0], i) == Ordering::Equal => group.push(i),
                _ => groups.push(vec![i]),
            }
        }
        if !self.sorted {
            groups.sort_by_key(|group| group[0]);
        }
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let mut inverse = vec![0i64; count];
        for (g, group) in groups.iter().enumerate() {
            group.iter().for_each(|&i| inverse[i] = number(g));
        }
        let mut shape = x.shape().to_vec();
        match at {
            Some(at) => shape[at] = groups.len(),
            None => shape = vec![groups.len()],
        }
        let elements = (0..outer)
            .flat_map(|o| groups.iter().flat_map(move |g| (0..inner).map(move |k| (o * count + g[0]) * inner + k)));
        let y = match x.strings() {
            Ok(texts) => Tensor::from_strings(shape, elements.map(|e| texts[e].clone()).collect())?,
            Err(_) => {
                let size = x.element_type().size();
                let bytes: Vec<u8> = elements.flat_map(|e| &x.bytes()[e * size..(e + 1) * size]).copied().collect();
                Tensor::from_bytes(x.element_type(), shape, bytes.into())?
            }
        };
        Ok(vec![
            y.into(),
            Tensor::vector(groups.iter().map(|g| number(g[0])).collect()).into(),
            Tensor::vector(inverse).into(),
            Tensor::vector(groups.iter().map(|g| number(g.len())).collect()).into(),
        ])
    }

    fn candidates(&self, _: &crate::graph::Request<'_>) -> Candidates {
        Err("how much it finds is not known before it runs".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(axis: Option<i64>, sorted: bool, x: Tensor) -> Result<Vec<Tensor>, EvaluateError> {
        let results = Unique { axis, sorted }.evaluate(&mut Context::default(), Inputs(&[Some(&x.into())]))?;
        Ok(results.into_iter().map(|v| v.into_tensor().unwrap()).collect())
    }

    fn list(v: &[i64]) -> Tensor {
        Tensor::vector(v.to_vec())
    }

    #[test]
    fn elements_once_sorted_or_as_they_come() {
        let x = || Tensor::vector(vec![2f32, 1.0, f32::NAN, 1.0, 3.0, f32::NAN]);
        let y = run(None, true, x()).unwrap();
        assert_eq!(y[0].to_f64()[..3], [1.0, 2.0, 3.0]);
        assert_eq!(y[1..], [list(&[1, 0, 4, 2]), list(&[1, 0, 3, 0, 2, 3]), list(&[2, 1, 1, 2])]);
        let y = run(None, false, x()).unwrap();
        assert_eq!(y[1..], [list(&[0, 1, 2, 4]), list(&[0, 1, 2, 1, 3, 2]), list(&[1, 2, 2, 1])]);
        let texts = Tensor::from_strings([3], ["b", "a", "b"].map(str::to_owned).to_vec()).unwrap();
        let y = run(None, true, texts).unwrap();
        assert_eq!(y[0].strings().unwrap(), ["a", "b"]);
        assert_eq!(y[3], list(&[1, 2]));
    }

    #[test]
    fn slices_once() {
        let x = Tensor::new([2, 3, 2], vec![5i64, 1, 5, 0, 5, 1, 7, 7, 7, 7, 7, 7]).unwrap();
        let y = run(Some(1), true, x.clone()).unwrap();
        assert_eq!(y[0], Tensor::new([2, 2, 2], vec![5i64, 0, 5, 1, 7, 7, 7, 7]).unwrap());
        assert_eq!(y[1..], [list(&[1, 0]), list(&[1, 0, 1]), list(&[1, 2])]);
        assert!(run(Some(3), true, x).is_err());
        let large = run(None, true, list(&[i64::MAX, i64::MAX - 1, i64::MAX])).unwrap();
        assert_eq!(large[0], list(&[i64::MAX - 1, i64::MAX]));
        let empty = run(Some(0), true, Tensor::zeros(ElementType::F32, [0, 3]).unwrap()).unwrap();
        assert_eq!((empty[0].shape(), empty[3].len()), (&[0, 3][..], 0));
        // Without elements all slices are alike.
        let thin = run(Some(0), true, Tensor::zeros(ElementType::F32, [2, 0]).unwrap()).unwrap();
        assert_eq!((thin[0].shape(), &thin[3]), (&[1, 0][..], &list(&[2])));
    }
}
