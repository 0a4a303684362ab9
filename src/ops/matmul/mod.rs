//! Products of matrices: MatMul (ONNX opset 1 on) and Gemm (`gemm.rs`).
//!
//! `Y = A × B` over the last two axes; the axes before them broadcast. A vector on the left counts as a row, one on the
//! right as a column, and the axis that this adds is dropped from the result.

mod candidates;
mod gemm;
mod pack;
mod product;
mod reference;
mod split;
#[cfg(test)]
mod tests;
mod tiles;
mod weights;

use std::sync::Arc;

pub(super) use gemm::gemm;
pub(crate) use gemm::{Gemm, RESIDUAL};
pub(super) use pack::{bind_biased, in_panels};
pub(crate) use product::{BatchAxis, Product};
pub(super) use split::parts;
pub(super) use tiles::{Tiles, families, idle, vector};

use crate::graph::{
    Activation, Context, Definition, DefinitionError, Dim, Division, EvaluateError, Fact, Inputs, Operator, Request,
    ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::tensor::ElementType;

/// What happens to a product before it is stored: `activation(alpha · A × B + beta · C)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Epilogue {
    /// The factor of the product.
    pub alpha: f32,
    /// The factor of C.
    pub beta: f32,
    /// The function applied last.
    pub activation: Activation,
}

impl Epilogue {
    /// Nothing happens.
    pub const PLAIN: Self = Self { alpha: 1.0, beta: 1.0, activation: Activation::Identity };

    /// Whether the product and C are only added.
    fn is_plain(&self) -> bool {
        *self == Self::PLAIN
    }
}

/// Products of the matrices in the last two axes.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct MatMul {
    /// Applied to the products.
    pub activation: Activation,
}

#[expect(clippy::unnecessary_wraps, reason = "all constructors have this form")]
pub(super) fn matmul(_: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(MatMul::default()))
}

/// Refuses element types that the standard does not multiply, and operands of two types.
fn check_types<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Result<ElementType, ShapeError> {
    let mut found = None;
    for fact in facts {
        let t = fact.element_type;
        let float = matches!(t, ElementType::F32 | ElementType::F16 | ElementType::F64 | ElementType::BF16);
        if !(float || matches!(t, ElementType::I32 | ElementType::I64 | ElementType::U32 | ElementType::U64)) {
            return Err(ShapeError::new(format!("matrices of {t} cannot be multiplied")));
        }
        match found {
            Some(first) if first != t => {
                return Err(ShapeError::new(format!("the operands are of two types, {first} and {t}")));
            }
            _ => found = Some(t),
        }
    }
    found.ok_or_else(|| ShapeError::new("there are no operands"))
}

/// The fact of a required input.
fn operand<'a>(inputs: &[Option<&'a Fact>], index: usize) -> Result<&'a Fact, ShapeError> {
    inputs.get(index).copied().flatten().ok_or_else(|| ShapeError::new(format!("input {index} is missing")))
}

/// Refuses a number of columns of A and of rows of B that are known to differ.
fn check_inner(a: &Dim, b: &Dim) -> Result<(), ShapeError> {
    match (a.known(), b.known()) {
        (Some(x), Some(y)) if x != y => {
            Err(ShapeError::new(format!("A has {x} columns, but B has {y} rows: they cannot be multiplied")))
        }
        _ => Ok(()),
    }
}

impl MatMul {
    pub(crate) fn epilogue(&self) -> Epilogue {
        Epilogue { alpha: 1.0, beta: 1.0, activation: self.activation }
    }
}

/// The batch axes of a shape (all but the last two), and the last two, a vector completed as a row or a column.
fn split(shape: &[Dim], left: bool) -> Result<(&[Dim], Option<&Dim>, &Dim), ShapeError> {
    match shape {
        [] => Err(ShapeError::new("a scalar cannot be multiplied as a matrix")),
        [k] => Ok((&[], None, k)),
        [batch @ .., m, k] if left => Ok((batch, Some(m), k)),
        [batch @ .., k, n] => Ok((batch, Some(n), k)),
    }
}

impl Operator for MatMul {
    fn name(&self) -> &str {
        "MatMul"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (a, b) = (operand(inputs, 0)?, operand(inputs, 1)?);
        // The kernels would take it for a Gemm's C.
        if inputs.iter().skip(2).any(Option::is_some) {
            return Err(ShapeError::new("it multiplies two matrices, not more"));
        }
        let element_type = check_types([a, b])?;
        let (a_batch, m, a_k) = split(&a.shape, true)?;
        let (b_batch, n, b_k) = split(&b.shape, false)?;
        check_inner(a_k, b_k)?;
        let rank = a_batch.len().max(b_batch.len());
        let one = Dim::Known(1);
        let dim =
            |batch: &'_ [Dim], i: usize| (i + batch.len()).checked_sub(rank).map_or(one.clone(), |i| batch[i].clone());
        let mut shape = (0..rank)
            .map(|i| {
                let (x, y) = (dim(a_batch, i), dim(b_batch, i));
                x.broadcast(&y).ok_or_else(|| ShapeError::new(format!("batches of {x} and {y} do not broadcast")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        shape.extend(m.cloned());
        shape.extend(n.cloned());
        Ok(vec![Fact::new(element_type, shape)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (a, b) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let facts = [a, b].map(|t| Fact::new(t.element_type(), t.shape().to_vec()));
        let outputs = self.infer(&[Some(&facts[0]), Some(&facts[1])])?;
        let (Some(product), Some(shape)) = (Product::of_shapes(a.shape(), b.shape()), outputs[0].concrete()) else {
            return Err(ShapeError::new("the shapes cannot be multiplied").into());
        };
        Ok(vec![reference::evaluate(&product, a, b, None, &self.epilogue(), &shape)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let product =
            Product::of_shapes(&request.shape(0)?, &request.shape(1)?).ok_or("the shapes cannot be multiplied")?;
        candidates::candidates(request, &product, &self.epilogue())
    }

    fn gives_probabilities(&self) -> bool {
        self.activation == Activation::Sigmoid
    }

    fn with_activation(&self, activation: Activation) -> Option<Arc<dyn Operator>> {
        (self.activation == Activation::Identity).then(|| Arc::new(Self { activation }) as Arc<dyn Operator>)
    }

    fn divisions(&self, inputs: &[Option<&Fact>]) -> Vec<Division> {
        let rank = |index: usize| operand(inputs, index).map(Fact::rank);
        let (Ok(a), Ok(b), Ok(y)) = (rank(0), rank(1), self.infer(inputs)) else { return vec![] };
        let y = y[0].rank();
        let mut divisions = vec![];
        if b > 1 {
            divisions.push(Division { constant: (1, b - 1), output: y - 1, along: vec![] });
        }
        if a > 1 {
            divisions.push(Division { constant: (0, a - 2), output: y - b.min(2), along: vec![] });
        }
        divisions
    }

    fn work(&self, inputs: &[Option<&Fact>], _: &[Fact]) -> f64 {
        let shape = |i: usize| inputs.get(i).copied().flatten().and_then(Fact::concrete);
        shape(0).zip(shape(1)).and_then(|(a, b)| Product::of_shapes(&a, &b)).map_or(0.0, |product| product.work())
    }
}
