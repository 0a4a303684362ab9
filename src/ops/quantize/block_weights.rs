//! The weights of a MatMulNBits as a matrix of floats, where they are constants: products by kernels for matrices take
//! them, and unpack them where they multiply.

use super::blocks::BlockProduct;
use crate::graph::{Context, EvaluateError, Fact, Inputs, Operator, ShapeError, Value};
use crate::tensor::{ElementType, Quantized, Tensor};

/// `W[n, k] = (q[n, k] - zero[n, k / block]) · scale[n, k / block]`, of the packed weights, the scales and perhaps zeros.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BlockWeights {
    /// The product that they are weights of.
    pub product: BlockProduct,
}

impl BlockWeights {
    /// The matrix as the numbers that it is made of.
    pub fn numbers(&self, inputs: &[Option<&Tensor>]) -> Option<Tensor> {
        let given = |i: usize| inputs.get(i).copied().flatten();
        let (q, scales) = (given(0)?, given(1)?);
        let BlockProduct { k, n, bits, block } = self.product;
        let zeros = given(2).map(|zeros| (zeros, self.product.zero_bytes()));
        let pitch = self.product.blocks() * (block * bits / 8);
        Some(Quantized::of_bytes([n, k], bits, [1, block], (q, pitch), scales, zeros)?.tensor(scales.element_type()))
    }
}

impl Operator for BlockWeights {
    fn name(&self) -> &str {
        "BlockWeights"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let scales = Fact::at(inputs, 1)?;
        Ok(vec![Fact::new(scales.element_type, vec![self.product.n, self.product.k])])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let given: Vec<_> = (0..inputs.len()).map(|i| inputs.optional(i)).collect();
        let tensor = self.numbers(&given).ok_or_else(|| ShapeError::new("the scales do not fit the weights"))?;
        Ok(vec![tensor.into()])
    }
}

impl BlockProduct {
    /// Whether a product with these inputs is one with such a matrix: packed numbers of 4 or 8 bits, and zeros that are
    /// packed as well, all of them constants.
    pub(super) fn has_matrix(&self, inputs: &[Option<&Fact>]) -> bool {
        let constant =
            |i: usize| inputs.get(i).copied().flatten().map(|fact| (fact.constant.is_some(), fact.element_type));
        let floats = matches!(constant(0), Some((_, ElementType::F32 | ElementType::F16)));
        let zeros = matches!(constant(3), None | Some((true, ElementType::U8)));
        floats && zeros && self.bits != 2 && [1, 2].into_iter().all(|i| constant(i).is_some_and(|(known, _)| known))
    }
}
