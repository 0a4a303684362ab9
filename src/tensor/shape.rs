//! Arithmetic on concrete shapes: element counts, strides, broadcasting, axes.

/// The number of elements of a shape, or `None` where it does not fit an address.
pub fn elements(shape: &[usize]) -> Option<usize> {
    // A zero dimension makes the tensor empty however large the others are.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim))
}

/// Row-major strides, in elements.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i].saturating_mul(shape[i]);
    }
    strides
}

/// The strides with which a tensor of `shape` is read as if it had the (broadcast) shape `to`: 0 along repeated axes.
///
/// `shape` must broadcast to `to`.
pub fn broadcast_strides(shape: &[usize], to: &[usize]) -> Vec<usize> {
    let own = strides(shape);
    let missing = to.len() - shape.len();
    (0..to.len()).map(|i| if i < missing || shape[i - missing] == 1 { 0 } else { own[i - missing] }).collect()
}

/// The shape that two shapes broadcast to, or `None` where they do not (ONNX multidirectional broadcasting).
pub fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank)
        .map(|i| match (dim(a, i), dim(b, i)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

/// An axis counted from the front, from one that may be negative (counted from the back); `None` where it is out of range.
pub fn axis(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
    (0..rank).contains(&axis).then(|| usize::try_from(axis).ok()).flatten()
}

/// Every index of a shape, in row-major order, with the elements' offsets under several sets of strides at once.
///
/// `offsets[k]` is the sum of `index[i] * strides[k][i]`. The loop that all references of permuting, slicing and
/// broadcasting operators are written with.
pub fn walk<const K: usize>(shape: &[usize], strides: [&[usize]; K], mut visit: impl FnMut([usize; K])) {
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0usize; shape.len()];
    let mut offsets = [0usize; K];
    loop {
        visit(offsets);
        let mut i = shape.len();
        loop {
            if i == 0 {
                return;
            }
            i -= 1;
            index[i] += 1;
            if index[i] < shape[i] {
                for k in 0..K {
                    offsets[k] += strides[k][i];
                }
                break;
            }
            for k in 0..K {
                offsets[k] -= strides[k][i] * (shape[i] - 1);
            }
            index[i] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_broadcast_as_onnx_says() {
        assert_eq!(broadcast(&[2, 3], &[3]), Some(vec![2, 3]));
        assert_eq!(broadcast(&[2, 1], &[1, 5]), Some(vec![2, 5]));
        assert_eq!(broadcast(&[0], &[1]), Some(vec![0]));
        assert_eq!(broadcast(&[2], &[3]), None);
        assert_eq!(broadcast_strides(&[3, 1], &[2, 3, 4]), vec![0, 1, 0]);
    }

    #[test]
    fn walk_visits_every_index_in_order() {
        let mut seen = vec![];
        walk(&[2, 3], [&[3, 1], &[1, 2]], |o| seen.push(o));
        assert_eq!(seen, [[0, 0], [1, 2], [2, 4], [3, 1], [4, 3], [5, 5]]);
        walk(&[2, 0], [&[0, 0]], |_: [usize; 1]| panic!("an empty shape has no index"));
        let mut scalars = 0;
        walk(&[], [&[]], |_: [usize; 1]| scalars += 1);
        assert_eq!(scalars, 1);
    }

    #[test]
    fn an_empty_tensor_never_overflows() {
        assert_eq!(elements(&[usize::MAX, usize::MAX, 0]), Some(0));
        assert_eq!(elements(&[usize::MAX, 2]), None);
        assert_eq!(axis(-1, 3), Some(2));
        assert_eq!(axis(i64::MIN, 3), None);
    }
}
