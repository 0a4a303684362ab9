//! AffineGrid (ONNX opset 20): the places that GridSample reads, from matrices.
//!
//! `y[n, p] = theta[n] · (p, 1)`, p going from −1 to 1 over the axes of a picture; its coordinates and those of y stand
//! innermost axis first.

use std::sync::Arc;

use super::WORKGROUP;
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::tensor::{Tensor, shape};

/// A grid of places under affine maps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AffineGrid {
    /// Whether −1 and 1 are the centres of the outermost elements, not their outer borders.
    align_corners: bool,
}

/// Makes an AffineGrid.
pub(in crate::ops) fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(AffineGrid { align_corners: definition.flag("align_corners", false)? }))
}

impl AffineGrid {
    /// The first coordinate along an axis of this length, and the step to the next.
    fn line(self, length: usize) -> (f64, f64) {
        let n = length as f64;
        match (self.align_corners, length) {
            // A single element stands at the beginning.
            (true, 0..=1) => (-1.0, 0.0),
            (true, _) => (-1.0, 2.0 / (n - 1.0)),
            (false, _) => (1.0 / n - 1.0, 2.0 / n),
        }
    }
}

/// The result's shape, from the picture's: `[N, spatial…, axes]`.
fn result(theta: &[Dim], size: &[Dim]) -> Result<Vec<Dim>, ShapeError> {
    let axes = size.len().saturating_sub(2);
    let fits =
        |i: usize, n: usize| theta.get(i).is_some_and(|d| d.known().is_none_or(|d| Dim::from(n) == Dim::Known(d)));
    let images =
        theta.first().zip(size.first()).is_some_and(|(a, b)| a.known().zip(b.known()).is_none_or(|(a, b)| a == b));
    if !(2..=3).contains(&axes) || theta.len() != 3 || !fits(1, axes) || !fits(2, axes + 1) || !images {
        return Err(ShapeError::new("its matrices do not go with a picture of that size"));
    }
    if size.iter().any(|d| d.known().is_some_and(|n| n < 0)) {
        return Err(ShapeError::new("a size is negative"));
    }
    let mut dims = vec![size[0].clone()];
    dims.extend_from_slice(&size[2..]);
    dims.push(Dim::from(axes));
    Ok(dims)
}

impl Operator for AffineGrid {
    fn name(&self) -> &str {
        "AffineGrid"
    }

    fn reads(&self, input: usize) -> Reads {
        if input == 1 { Reads::Parameter } else { Reads::Elements }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (theta, size) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?);
        if !theta.element_type.is_float() {
            return Err(ShapeError::new(format!("matrices are floating-point numbers, not {}", theta.element_type)));
        }
        let known =
            size.known.clone().or_else(|| size.integers().map(|size| size.into_iter().map(Dim::Known).collect()));
        // Without the sizes, their number still tells the rank; a matrix tells it too.
        let size = match (known, size.count()?, theta.shape.get(1).and_then(Dim::size)) {
            (Some(known), ..) => known,
            (None, Some(count), _) => vec![Dim::Unknown; count],
            (None, None, Some(axes)) => vec![Dim::Unknown; axes.saturating_add(2).min(8)],
            (None, None, None) => return Ok(vec![]),
        };
        Ok(vec![theta.with_shape(result(&theta.shape, &size)?)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let theta = inputs.tensor(0)?;
        let size = inputs.list(1)?.ok_or_else(|| ShapeError::new("the size is missing"))?;
        let dims: Vec<Dim> = theta.shape().iter().map(|&n| Dim::from(n)).collect();
        let size: Vec<Dim> = size.into_iter().map(Dim::Known).collect();
        let shape: Option<Vec<usize>> = result(&dims, &size)?.iter().map(Dim::size).collect();
        let shape = shape.ok_or_else(|| ShapeError::new("a size is too large"))?;
        let count = Tensor::bounded(theta.element_type(), &shape)?;
        let axes = shape.len() - 2;
        let spatial = &shape[1..=axes];
        let rows = theta.to_f64();
        let lines: Vec<_> = spatial.iter().map(|&n| self.line(n)).collect();
        let mut y = Vec::with_capacity(count);
        for matrix in rows.chunks(axes * (axes + 1)) {
            for p in 0..spatial.iter().product::<usize>() {
                let mut rest = p;
                // Innermost axis first.
                let place = spatial.iter().zip(&lines).rev().map(|(&n, (first, step))| {
                    let i = rest % n;
                    rest /= n;
                    first + step * i as f64
                });
                let place: Vec<f64> = place.chain([1.0]).collect();
                y.extend(matrix.chunks(axes + 1).map(|row| row.iter().zip(&place).map(|(a, b)| a * b).sum::<f64>()));
            }
        }
        Ok(vec![Tensor::from_f64(theta.element_type(), shape, y)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        if request.input(1)?.fact.integers().is_none() {
            return Err("its size is computed at run time".to_owned());
        }
        let shape = request.output_shape(0)?;
        let elements = shape::elements(&shape).filter(|&n| n < 1 << 30).ok_or("it is too large for 32-bit indices")?;
        let candidate = Candidate::new("affine", vec![Want::In(Layout::Linear), Want::Nothing], vec![Layout::Linear]);
        if elements == 0 {
            return Ok(vec![candidate]);
        }
        let axes = shape.len() - 2;
        let units = elements.div_ceil(4);
        let mut dispatch = Dispatch::of(Kernel::of("grid/affine.wgsl").define("WORKGROUP", WORKGROUP))
            .bind(Binding::Input(0), request.storage(0)?)
            .bind(Binding::Output(0), request.output_storage(0)?)
            .param("units", units)
            .param("elements", elements)
            .param("axes", axes);
        for (i, [size, first, step]) in NAMES.into_iter().enumerate() {
            let length = shape[1..=axes].iter().rev().nth(i).copied().unwrap_or(1);
            let (from, by) = self.line(length);
            #[expect(clippy::cast_possible_truncation, reason = "kernels take f32")]
            let (from, by) = (from as f32, by as f32);
            dispatch = dispatch.param(size, length).param(first, from).param(step, by);
        }
        let dispatch = dispatch.linear(units as u64, WORKGROUP, request.device);
        Ok(vec![candidate.dispatch(dispatch).cost(elements as f64 * 20.0, elements as f64 * 4.0)])
    }
}

/// The names of the parameters of each axis, innermost first: its length, the first coordinate, the step.
const NAMES: [[&str; 3]; 3] =
    [["size0", "first0", "step0"], ["size1", "first1", "step1"], ["size2", "first2", "step2"]];
