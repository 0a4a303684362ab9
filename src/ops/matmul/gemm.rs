//! Gemm (ONNX opset 1 on): `Y = alpha · A' × B' + beta · C`, where A' and B' may be transposed and C is repeated to fit.
//!
//! Opset 1 and 6 need C and have an attribute `broadcast` to allow its repetition, which is allowed here in any case.

use std::sync::Arc;

use super::{Epilogue, Product, candidates, check_inner, check_types, operand, reference};
use crate::graph::{
    Activation, Context, Definition, DefinitionError, Dim, Division, EvaluateError, Fact, Inputs, Operator, Request,
    ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::tensor::Tensor;
use crate::tensor::shape::elements;

/// The place of the residual among the inputs.
pub(crate) const RESIDUAL: usize = 3;

/// A product of two matrices, scaled, with another added.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Gemm {
    /// The factor of the product.
    pub alpha: f32,
    /// The factor of C.
    pub beta: f32,
    /// A is given transposed.
    pub transpose_a: bool,
    /// B is given transposed.
    pub transpose_b: bool,
    /// Applied to the sum.
    pub activation: Activation,
    /// Whether a fourth input, of the result's shape, is added before the activation. A residual asks for a constant B,
    /// and for a C that is constant and one row, if there is one.
    pub residual: bool,
    /// The result's dimensions before its last, where a rewrite made this of a MatMul or took a Reshape in. A may then
    /// have any number of dimensions: all before its last are its rows.
    pub rows: Option<Vec<usize>>,
}

impl Default for Gemm {
    /// The product alone.
    fn default() -> Self {
        Self {
            alpha: 1.0,
            beta: 1.0,
            transpose_a: false,
            transpose_b: false,
            activation: Activation::Identity,
            residual: false,
            rows: None,
        }
    }
}

pub(in crate::ops) fn gemm(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(Gemm {
        alpha: definition.float("alpha")?.unwrap_or(1.0),
        beta: definition.float("beta")?.unwrap_or(1.0),
        transpose_a: definition.flag("transA", false)?,
        transpose_b: definition.flag("transB", false)?,
        ..Gemm::default()
    }))
}

impl Gemm {
    pub(crate) const fn epilogue(&self) -> Epilogue {
        Epilogue { alpha: self.alpha, beta: self.beta, activation: self.activation }
    }

    /// The facts of a result of these rows.
    fn infer_rows(&self, rows: &[usize], inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (a, b) = (operand(inputs, 0)?, operand(inputs, 1)?);
        let element_type = check_types(inputs.iter().copied().flatten())?;
        let product = a.concrete().zip(b.concrete()).and_then(|(a, b)| self.product(&a, &b));
        let product = product.filter(|product| Some(product.m) == elements(rows));
        let product = product.ok_or_else(|| ShapeError::new(format!("{a} and {b} cannot be multiplied")))?;
        let y = Fact::new(element_type, [rows, &[product.n]].concat());
        let residual = inputs.get(RESIDUAL).copied().flatten();
        if self.residual && residual.is_none_or(|residual| residual.shape != y.shape) {
            return Err(ShapeError::new(format!("the residual is not of the shape of {y}")));
        }
        Ok(vec![y])
    }

    /// The product of operands of these shapes, or `None` where they do not fit.
    pub(crate) fn product(&self, a: &[usize], b: &[usize]) -> Option<Product> {
        let a = match (&self.rows, a) {
            (Some(_), [rows @ .., k]) => [rows.iter().try_fold(1usize, |m, &n| m.checked_mul(n))?, *k],
            (None, &[a0, a1]) => [a0, a1],
            _ => return None,
        };
        let ([a0, a1], &[b0, b1]) = (a, b) else { return None };
        let (m, k) = if self.transpose_a { (a1, a0) } else { (a0, a1) };
        let (b_k, n) = if self.transpose_b { (b1, b0) } else { (b0, b1) };
        (k == b_k).then(|| Product::of_matrices(m, k, n, self.transpose_a, self.transpose_b))
    }
}

impl Operator for Gemm {
    fn name(&self) -> &str {
        "Gemm"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (a, b, c) = (operand(inputs, 0)?, operand(inputs, 1)?, inputs.get(2).copied().flatten());
        if let Some(rows) = &self.rows {
            return self.infer_rows(rows, inputs);
        }
        let element_type = check_types([a, b].into_iter().chain(c))?;
        let ([a0, a1], [b0, b1]) = (&a.shape[..], &b.shape[..]) else {
            return Err(ShapeError::new(format!("A and B should be matrices, but are {a} and {b}")));
        };
        let (m, k) = if self.transpose_a { (a1, a0) } else { (a0, a1) };
        let (b_k, n) = if self.transpose_b { (b1, b0) } else { (b0, b1) };
        check_inner(k, b_k)?;
        if let Some(c) = c {
            // C repeats to [m, n], never the other way round.
            let fits = |from: &Dim, to: &Dim| match (from.known(), to.known()) {
                (Some(from), Some(to)) => from == 1 || from == to,
                _ => true,
            };
            if c.rank() > 2 || !c.shape.iter().rev().zip([n, m]).all(|(from, to)| fits(from, to)) {
                return Err(ShapeError::new(format!("C is {c}, which does not broadcast to [{m}, {n}]")));
            }
        }
        Ok(vec![Fact::new(element_type, [m.clone(), n.clone()])])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (a, b, c) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.optional(2));
        let fact = |t: &Tensor| Fact::new(t.element_type(), t.shape().to_vec());
        let facts = [Some(fact(a)), Some(fact(b)), c.map(fact), inputs.optional(RESIDUAL).map(fact)];
        self.infer(&facts.each_ref().map(Option::as_ref))?;
        let product = self.product(a.shape(), b.shape()).ok_or_else(|| ShapeError::new("the shapes do not fit"))?;
        let shape = self.rows.as_ref().map_or_else(|| vec![product.m], Clone::clone);
        let shape = [&shape[..], &[product.n]].concat();
        if !self.residual {
            return Ok(vec![reference::evaluate(&product, a, b, c, &self.epilogue(), &shape)?.into()]);
        }
        let sum = Epilogue { activation: Activation::Identity, ..self.epilogue() };
        let y = reference::evaluate(&product, a, b, c, &sum, &shape)?;
        let residual = inputs.tensor(RESIDUAL)?.to_f64();
        #[expect(clippy::cast_possible_truncation, reason = "an activation takes an f32")]
        let finish = |(y, r): (f64, f64)| f64::from(self.activation.apply((y + r) as f32));
        let y = Tensor::from_f64(y.element_type(), shape, y.to_f64().into_iter().zip(residual).map(finish).collect())?;
        Ok(vec![y.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let product = self.product(&request.shape(0)?, &request.shape(1)?).ok_or("the shapes cannot be multiplied")?;
        candidates::candidates(request, &product, &self.epilogue())
    }

    fn gives_probabilities(&self) -> bool {
        self.activation == Activation::Sigmoid
    }

    fn with_activation(&self, activation: Activation) -> Option<Arc<dyn Operator>> {
        (self.activation == Activation::Identity)
            .then(|| Arc::new(Self { activation, ..self.clone() }) as Arc<dyn Operator>)
    }

    fn divisions(&self, inputs: &[Option<&Fact>]) -> Vec<Division> {
        let shape = |index: usize| inputs.get(index).copied().flatten().and_then(Fact::concrete);
        let (Some(a), Some(b), Ok(y)) = (shape(0), shape(1), self.infer(inputs)) else { return vec![] };
        let Some(product) = self.product(&a, &b) else { return vec![] };
        let (c, last) = (shape(2).unwrap_or_default(), y[0].rank() - 1);
        // What C repeats all parts read.
        let mut along = vec![];
        along.extend((c.last() == Some(&product.n)).then(|| (2, c.len() - 1)));
        along.extend(self.residual.then_some((RESIDUAL, last)));
        let mut divisions = vec![Division { constant: (1, usize::from(!self.transpose_b)), output: last, along }];
        if self.rows.is_none() && !self.residual {
            let along = if c.len() == 2 && c[0] == product.m { vec![(2, 0)] } else { vec![] };
            divisions.push(Division { constant: (0, self.transpose_a.into()), output: 0, along });
        }
        divisions
    }

    fn work(&self, inputs: &[Option<&Fact>], _: &[Fact]) -> f64 {
        let shape = |i: usize| inputs.get(i).copied().flatten().and_then(Fact::concrete);
        shape(0).zip(shape(1)).and_then(|(a, b)| self.product(&a, &b)).map_or(0.0, |product| product.work())
    }
}
