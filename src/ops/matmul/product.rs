//! What is multiplied: sizes and strides of a batch of matrix products.

use crate::tensor::shape::{broadcast, broadcast_strides, elements};

/// One axis of a batch, with the steps between its matrices, counted in matrices; 0 where an operand is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchAxis {
    /// How many.
    pub size: usize,
    /// Matrices of A from one to the next.
    pub a: usize,
    /// Matrices of B from one to the next.
    pub b: usize,
}

/// A batch of products of an m×k matrix and a k×n matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Product {
    /// The batch, outermost axis first; axes that could be one are one.
    pub batch: Vec<BatchAxis>,
    /// Rows of A and of the result.
    pub m: usize,
    /// Columns of A, rows of B.
    pub k: usize,
    /// Columns of B and of the result.
    pub n: usize,
    /// A's matrices lie transposed, k×m.
    pub transpose_a: bool,
    /// B's matrices lie transposed, n×k.
    pub transpose_b: bool,
}

impl Product {
    /// The product that `MatMul` takes of these shapes (which `infer` has accepted), or `None` where they do not fit.
    pub fn of_shapes(a: &[usize], b: &[usize]) -> Option<Self> {
        // A vector on the left is a row, one on the right a column.
        let (a_batch, m, k) = match a {
            [] => return None,
            [k] => (&[][..], 1, *k),
            [batch @ .., m, k] => (batch, *m, *k),
        };
        let (b_batch, b_k, n) = match b {
            [] => return None,
            [k] => (&[][..], *k, 1),
            [batch @ .., k, n] => (batch, *k, *n),
        };
        if k != b_k {
            return None;
        }
        let shape = broadcast(a_batch, b_batch)?;
        let strides = (broadcast_strides(a_batch, &shape), broadcast_strides(b_batch, &shape));
        let mut product = Self { batch: vec![], m, k, n, transpose_a: false, transpose_b: false };
        for (i, &size) in shape.iter().enumerate().filter(|(_, size)| **size != 1) {
            let axis = BatchAxis { size, a: strides.0[i], b: strides.1[i] };
            match product.batch.last_mut() {
                // Going once around the inner axis is one step of the outer one, for both operands.
                Some(outer) if outer.a == axis.a * size && outer.b == axis.b * size => {
                    *outer = BatchAxis { size: outer.size * size, ..axis };
                }
                _ => product.batch.push(axis),
            }
        }
        // One B for all of a dense A: the batch is nothing but more rows.
        if let [BatchAxis { size, a: 1, b: 0 }] = product.batch[..] {
            product.m = m.checked_mul(size)?;
            product.batch.clear();
        }
        Some(product)
    }

    /// The product of two matrices.
    pub const fn of_matrices(m: usize, k: usize, n: usize, transpose_a: bool, transpose_b: bool) -> Self {
        Self { batch: vec![], m, k, n, transpose_a, transpose_b }
    }

    /// The number of products, or `None` on overflow.
    pub fn batches(&self) -> Option<usize> {
        elements(&self.batch.iter().map(|axis| axis.size).collect::<Vec<_>>())
    }

    /// Elements of the result, or `None` on overflow.
    pub fn results(&self) -> Option<usize> {
        elements(&[self.batches()?, self.m, self.n])
    }

    /// For each product, which matrices of A and of B it takes.
    pub fn pairs(&self) -> Vec<[usize; 2]> {
        let shape: Vec<_> = self.batch.iter().map(|axis| axis.size).collect();
        let a: Vec<_> = self.batch.iter().map(|axis| axis.a).collect();
        let b: Vec<_> = self.batch.iter().map(|axis| axis.b).collect();
        let mut pairs = vec![];
        crate::tensor::shape::walk(&shape, [&a, &b], |pair| pairs.push(pair));
        pairs
    }

    /// Floating-point operations.
    pub fn work(&self) -> f64 {
        2.0 * self.batch.iter().map(|axis| axis.size as f64).product::<f64>()
            * self.m as f64
            * self.k as f64
            * self.n as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_merged_where_they_can_be() {
        let p = Product::of_shapes(&[2, 3, 4, 5], &[5, 6]).unwrap();
        assert_eq!((p.batch.len(), p.m, p.k, p.n), (0, 24, 5, 6));
        let p = Product::of_shapes(&[2, 3, 4, 5], &[2, 3, 5, 6]).unwrap();
        assert_eq!(p.batch, [BatchAxis { size: 6, a: 1, b: 1 }]);
        let p = Product::of_shapes(&[2, 1, 4, 5], &[3, 5, 6]).unwrap();
        assert_eq!(p.batch, [BatchAxis { size: 2, a: 1, b: 0 }, BatchAxis { size: 3, a: 0, b: 1 }]);
        assert_eq!(p.pairs(), [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]);
        assert_eq!(Product::of_shapes(&[5], &[5]).unwrap().results(), Some(1));
        assert_eq!(Product::of_shapes(&[2, 3], &[4, 5]), None);
        assert_eq!(Product::of_shapes(&[2, 4, 5], &[3, 5, 6]), None);
        assert_eq!(Product::of_shapes(&[0, 4, 5], &[1, 5, 6]).unwrap().results(), Some(0));
    }
}
