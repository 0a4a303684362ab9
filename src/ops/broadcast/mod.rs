//! Multidirectional broadcasting: the shape rule, the reference's loop and the kernel's plan, for every operator that
//! combines tensors element by element.

mod evaluate;
mod expression;
mod plan;
pub(super) mod program;

pub(super) use evaluate::{combine, combine3, numbers};
pub(super) use expression::{Expression, is_wide};
pub(super) use plan::{Operand, arithmetic, candidates};

use crate::graph::{Dim, ShapeError};

/// The shape that these shapes broadcast to.
pub(super) fn shape(shapes: &[&[Dim]]) -> Result<Vec<Dim>, ShapeError> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    (0..rank)
        .map(|i| {
            shapes.iter().try_fold(Dim::Known(1), |dim, shape| {
                let Some(own) = (i + shape.len()).checked_sub(rank).map(|i| &shape[i]) else { return Ok(dim) };
                dim.broadcast(own).ok_or_else(|| {
                    let texts: Vec<_> = shapes
                        .iter()
                        .map(|s| format!("[{}]", s.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")))
                        .collect();
                    ShapeError::new(format!("the shapes {} do not broadcast", texts.join(" and ")))
                })
            })
        })
        .collect()
}

/// The concrete form of [`shape`].
pub(super) fn sizes(shapes: &[&[usize]]) -> Result<Vec<usize>, ShapeError> {
    shapes.iter().try_fold(vec![], |all, shape| {
        crate::tensor::shape::broadcast(&all, shape)
            .ok_or_else(|| ShapeError::new(format!("the shapes {shapes:?} do not broadcast")))
    })
}

/// Dense dims with the strides of several tensors over them, dims of 1 dropped and neighbours joined that all tensors
/// walk as if they were one. Innermost first; at least one dim.
#[derive(Debug, Clone, PartialEq)]
struct Walk {
    dims: Vec<usize>,
    strides: Vec<Vec<usize>>,
}

impl Walk {
    /// From dims and strides with the outermost first.
    fn joined(dims: &[usize], strides: &[Vec<usize>]) -> Self {
        let mut walk = Self { dims: vec![], strides: vec![vec![]; strides.len()] };
        for i in (0..dims.len()).rev().filter(|&i| dims[i] != 1) {
            let inner = walk.dims.last().copied();
            let joins = inner.is_some_and(|d| {
                walk.strides.iter().zip(strides).all(|(w, s)| w.last().is_some_and(|w| w.checked_mul(d) == Some(s[i])))
            });
            if joins {
                if let Some(last) = walk.dims.last_mut() {
                    *last = last.saturating_mul(dims[i]);
                }
            } else {
                walk.dims.push(dims[i]);
                walk.strides.iter_mut().zip(strides).for_each(|(w, s)| w.push(s[i]));
            }
        }
        if walk.dims.is_empty() {
            walk.dims.push(1);
            walk.strides.iter_mut().for_each(|w| w.push(0));
        }
        walk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_broadcast() {
        let n = Dim::symbol("n");
        let one = Dim::Known(1);
        let wide = [n.clone(), Dim::Known(3)];
        assert_eq!(shape(&[&wide, &[one]]).unwrap(), wide);
        assert_eq!(shape(&[std::slice::from_ref(&n), &[Dim::Known(4)]]).unwrap(), [Dim::Known(4)]);
        assert_eq!(shape(&[&[n], &[Dim::symbol("m")]]).unwrap(), [Dim::Unknown]);
        assert!(shape(&[&[Dim::Known(2)], &[Dim::Known(3)]]).is_err());
        assert_eq!(shape(&[]).unwrap(), []);
    }

    #[test]
    fn dims_are_joined_where_all_walk_alike() {
        // [2, 3, 4, 5] with a channel's constant: 4 and 5 join, 2 and 3 only for the dense one.
        let walk = Walk::joined(&[2, 3, 4, 5], &[vec![60, 20, 5, 1], vec![0, 1, 0, 0]]);
        assert_eq!(walk, Walk { dims: vec![20, 3, 2], strides: vec![vec![1, 20, 60], vec![0, 1, 0]] });
        let walk = Walk::joined(&[1, 3, 1, 4], &[vec![12, 4, 4, 1], vec![0, 4, 0, 1]]);
        assert_eq!(walk, Walk { dims: vec![12], strides: vec![vec![1], vec![1]] });
        assert_eq!(Walk::joined(&[], &[vec![]]), Walk { dims: vec![1], strides: vec![vec![0]] });
    }
}
