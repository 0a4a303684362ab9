//! The reference's loop over broadcast tensors.

use super::Walk;
use crate::graph::EvaluateError;
use crate::tensor::shape::{broadcast_strides, walk};
use crate::tensor::wide::{Numbers, PART, room};
use crate::tensor::{Element, Tensor, Wide};

/// `f(a, b)` for each element of `to`, to which both shapes must broadcast.
pub fn combine<A: Element, B: Element, Y: Element>(
    (a, a_shape): (&[A], &[usize]),
    (b, b_shape): (&[B], &[usize]),
    to: &[usize],
    f: impl Fn(A, B) -> Y,
) -> Result<Tensor, EvaluateError> {
    let mut y = room(to)?;
    let joined = Walk::joined(to, &[broadcast_strides(a_shape, to), broadcast_strides(b_shape, to)]);
    rows(to, &joined, |length, [a_step, b_step], [i, j]| match (a_step, b_step) {
        (1, 1) => y.extend(a[i..i + length].iter().zip(&b[j..j + length]).map(|(&a, &b)| f(a, b))),
        (1, 0) => y.extend(a[i..i + length].iter().map(|&a| f(a, b[j]))),
        (0, 1) => y.extend(b[j..j + length].iter().map(|&b| f(a[i], b))),
        _ => y.extend((0..length).map(|k| f(a[i + k * a_step], b[j + k * b_step]))),
    });
    Ok(Tensor::new(to, y)?)
}

/// `f(a, b, c)` for each element of `to`, to which the shapes must broadcast.
pub fn combine3<A: Element, B: Element, C: Element, Y: Element>(
    (a, a_shape): (&[A], &[usize]),
    (b, b_shape): (&[B], &[usize]),
    (c, c_shape): (&[C], &[usize]),
    to: &[usize],
    f: impl Fn(A, B, C) -> Y,
) -> Result<Tensor, EvaluateError> {
    let mut y = room(to)?;
    let joined = Walk::joined(to, &[a_shape, b_shape, c_shape].map(|s| broadcast_strides(s, to)));
    rows(to, &joined, |length, [da, db, dc], [i, j, l]| {
        y.extend((0..length).map(|k| f(a[i + k * da], b[j + k * db], c[l + k * dc])));
    });
    Ok(Tensor::new(to, y)?)
}

/// Hands the numbers of two tensors, as they belong to the elements of `to`, to a function: so many at a time, in order.
pub fn numbers<A: Wide, B: Wide>(
    (a, a_shape): (&dyn Numbers, &[usize]),
    (b, b_shape): (&dyn Numbers, &[usize]),
    to: &[usize],
    take: &mut dyn FnMut(&[A], &[B]),
) {
    let (mut of_a, mut of_b) = ([A::default(); PART], [B::default(); PART]);
    let mut filled = 0;
    let joined = Walk::joined(to, &[broadcast_strides(a_shape, to), broadcast_strides(b_shape, to)]);
    rows(to, &joined, |length, [a_step, b_step], [i, j]| {
        let mut done = 0;
        while done < length {
            let part = filled..(filled + length - done).min(PART);
            A::read(a, i + done * a_step, a_step, &mut of_a[part.clone()]);
            B::read(b, j + done * b_step, b_step, &mut of_b[part.clone()]);
            done += part.len();
            filled = part.end;
            if filled == PART {
                take(&of_a, &of_b);
                filled = 0;
            }
        }
    });
    take(&of_a[..filled], &of_b[..filled]);
}

/// Visits the innermost joined dim again and again: its length, the operands' steps along it, and where they begin.
fn rows<const K: usize>(to: &[usize], joined: &Walk, mut visit: impl FnMut(usize, [usize; K], [usize; K])) {
    if to.contains(&0) {
        return;
    }
    let outer: Vec<usize> = joined.dims[1..].iter().rev().copied().collect();
    let strides: [Vec<usize>; K] =
        std::array::from_fn(|k| joined.strides[k][1..].iter().rev().copied().collect::<Vec<_>>());
    let steps = std::array::from_fn(|k| joined.strides[k][0]);
    walk(&outer, std::array::from_fn(|k| strides[k].as_slice()), |at| visit(joined.dims[0], steps, at));
}
