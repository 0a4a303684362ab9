//! Tensors cut along one axis, and put together again: of any element type, texts included.

use crate::graph::{EvaluateError, ShapeError};
use crate::tensor::{ElementType, Tensor};

/// A shape as rows before, elements along, and elements behind an axis.
fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
}

/// Gathers runs of elements, each (tensor, first element, length), in order.
fn gather<'a>(
    element_type: ElementType,
    shape: Vec<usize>,
    runs: impl Iterator<Item = (&'a Tensor, usize, usize)>,
) -> Result<Tensor, EvaluateError> {
    let count = Tensor::bounded(element_type, &shape)?;
    if element_type == ElementType::String {
        let mut texts = Vec::with_capacity(count);
        for (tensor, first, length) in runs {
            texts.extend_from_slice(tensor.strings()?.get(first..first + length).unwrap_or_default());
        }
        return Ok(Tensor::from_strings(shape, texts)?);
    }
    let size = element_type.size();
    let mut bytes = Vec::with_capacity(count * size);
    for (tensor, first, length) in runs {
        bytes.extend_from_slice(tensor.bytes().get(first * size..(first + length) * size).unwrap_or_default());
    }
    Ok(Tensor::copy_of_bytes(element_type, shape, &bytes)?)
}

/// `count` places of a tensor along an axis, from `begin` on.
///
/// # Errors
/// If there are none such.
pub fn part(tensor: &Tensor, axis: usize, begin: usize, count: usize) -> Result<Tensor, EvaluateError> {
    let size = tensor.shape().get(axis).copied().unwrap_or_default();
    if begin.checked_add(count).is_none_or(|end| end > size) {
        return Err(ShapeError::new(format!("{count} places from {begin} on are not in a dimension of {size}")).into());
    }
    let (rows, along, behind) = around(tensor.shape(), axis);
    let mut shape = tensor.shape().to_vec();
    shape[axis] = count;
    let runs = (0..rows).map(|row| (tensor, (row * along + begin) * behind, count * behind));
    gather(tensor.element_type(), shape, runs)
}

/// One place of a tensor along an axis, without that axis.
///
/// # Errors
/// If there is no such place.
pub fn place(tensor: &Tensor, axis: usize, index: usize) -> Result<Tensor, EvaluateError> {
    let part = part(tensor, axis, index, 1)?;
    let mut shape = part.shape().to_vec();
    shape.remove(axis);
    Ok(part.reshaped(shape)?)
}

/// Tensors one after another along an axis.
///
/// # Errors
/// If there are none, or their types or other dimensions differ.
pub fn concat(tensors: &[&Tensor], axis: usize) -> Result<Tensor, EvaluateError> {
    let Some(first) = tensors.first().filter(|first| axis < first.rank()) else {
        return Err(ShapeError::new("there is nothing to put together along such an axis").into());
    };
    let mut shape = first.shape().to_vec();
    shape[axis] = 0;
    for tensor in tensors {
        let mut others = tensor.shape().to_vec();
        let along = others.get_mut(axis).map_or(0, std::mem::take);
        let mut wanted = shape.clone();
        wanted[axis] = 0;
        if others != wanted || tensor.element_type() != first.element_type() {
            let (a, b) = (first.shape(), tensor.shape());
            return Err(ShapeError::new(format!("tensors of {a:?} and {b:?} cannot be put together")).into());
        }
        shape[axis] += along;
    }
    let rows: usize = first.shape()[..axis].iter().product();
    let runs = (0..rows).flat_map(|row| {
        tensors.iter().map(move |tensor| {
            let (_, along, behind) = around(tensor.shape(), axis);
            (*tensor, row * along * behind, along * behind)
        })
    });
    gather(first.element_type(), shape, runs)
}

/// Tensors of one shape side by side along a new axis.
///
/// # Errors
/// If there are none, or their types or shapes differ.
pub fn stack(tensors: &[&Tensor], axis: usize) -> Result<Tensor, EvaluateError> {
    let widened: Vec<Tensor> = tensors
        .iter()
        .map(|tensor| {
            let mut shape = tensor.shape().to_vec();
            if axis > shape.len() {
                return Err(ShapeError::new(format!("axis {axis} is out of range for {shape:?}")).into());
            }
            shape.insert(axis, 1);
            Ok(tensor.reshaped(shape)?)
        })
        .collect::<Result<_, EvaluateError>>()?;
    concat(&widened.iter().collect::<Vec<_>>(), axis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_is_put_together_again() {
        let x = Tensor::new([2, 3, 2], (0..12).collect::<Vec<i64>>()).unwrap();
        for axis in 0..3 {
            let places: Vec<Tensor> = (0..x.shape()[axis]).map(|i| place(&x, axis, i).unwrap()).collect();
            assert_eq!(stack(&places.iter().collect::<Vec<_>>(), axis).unwrap(), x, "{axis}");
        }
        assert_eq!(place(&x, 1, 2).unwrap(), Tensor::new([2, 2], vec![4i64, 5, 10, 11]).unwrap());
        assert_eq!(concat(&[&part(&x, 1, 0, 1).unwrap(), &part(&x, 1, 1, 2).unwrap()], 1).unwrap(), x);
        assert!(part(&x, 1, 2, 2).is_err() && concat(&[&x, &part(&x, 0, 0, 1).unwrap()], 1).is_err());
        assert!(stack(&[], 0).is_err());
        let texts = Tensor::from_strings([2], vec!["a".to_owned(), "b".to_owned()]).unwrap();
        assert_eq!(place(&texts, 0, 1).unwrap().strings().unwrap(), ["b"]);
    }
}
