//! GridSample (ONNX opsets 16, 20 and 22): a picture read at the places that a grid says. AffineGrid stands in [`affine`].
//!
//! `y[n, c, p] = Σ w_k · x[n, c, k]` over the neighbours k of the place `grid[n, p]`, whose coordinates, innermost axis
//! first, go from −1 to 1 over the picture.

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::tensor::shape;

pub mod affine;
mod reference;
#[cfg(test)]
mod tests;

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;

/// What is made of the neighbours of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The nearest; halves go to the even one.
    Nearest = 0,
    /// Linear between two along each axis.
    Linear = 1,
    /// Cubic between four along each axis, with −0.75.
    Cubic = 2,
}

/// What stands outside of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Padding {
    Zeros = 0,
    /// Its border.
    Border = 1,
    /// Its reflection.
    Reflection = 2,
}

/// A picture read at places.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GridSample {
    mode: Mode,
    padding: Padding,
    /// Whether −1 and 1 are the centres of the outermost elements, not their outer borders.
    align_corners: bool,
    /// Whether only pictures of two spatial axes are taken (before opset 20).
    flat: bool,
}

/// Makes a GridSample.
pub(super) fn sample(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let text =
        |name, default: &str| Ok::<_, DefinitionError>(definition.string(name)?.unwrap_or_else(|| default.to_owned()));
    let old = definition.opset < 20;
    let mode = match (text("mode", if old { "bilinear" } else { "linear" })?.as_str(), old) {
        ("nearest", _) => Mode::Nearest,
        ("bilinear", true) | ("linear", false) => Mode::Linear,
        ("bicubic", true) | ("cubic", false) => Mode::Cubic,
        (other, _) => return Err(DefinitionError::Value("mode", format!("is '{other}'"))),
    };
    let padding = match text("padding_mode", "zeros")?.as_str() {
        "zeros" => Padding::Zeros,
        "border" => Padding::Border,
        "reflection" => Padding::Reflection,
        other => return Err(DefinitionError::Value("padding_mode", format!("is '{other}'"))),
    };
    Ok(Arc::new(GridSample { mode, padding, align_corners: definition.flag("align_corners", false)?, flat: old }))
}

impl Operator for GridSample {
    fn name(&self) -> &str {
        "GridSample"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, grid) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?);
        let axes = x.rank().saturating_sub(2);
        if axes == 0 || axes > 8 || grid.rank() != x.rank() || (self.flat && axes != 2) {
            return Err(ShapeError::new(format!("a grid {grid} does not go with {x}")));
        }
        let differ = |a: &Dim, b: &Dim| a.known().zip(b.known()).is_some_and(|(a, b)| a != b);
        if differ(&grid.shape[axes + 1], &Dim::from(axes)) || differ(&grid.shape[0], &x.shape[0]) {
            return Err(ShapeError::new(format!("a grid {grid} does not go with {x}")));
        }
        if x.shape[2..].iter().any(|d| d.known() == Some(0)) {
            return Err(ShapeError::new(format!("there is nothing to read in {x}")));
        }
        if !grid.element_type.is_float() {
            return Err(ShapeError::new(format!("places are floating-point numbers, not {}", grid.element_type)));
        }
        if self.mode != Mode::Nearest && !x.element_type.is_float() {
            return Err(ShapeError::new(format!("it interpolates floating-point numbers, not {}", x.element_type)));
        }
        let mut y = x.shape[..2].to_vec();
        y.extend_from_slice(&grid.shape[1..=axes]);
        Ok(vec![x.with_shape(y)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (x, grid) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let facts = [x, grid].map(|t| Fact::new(t.element_type(), t.shape().to_vec()));
        let y = self.infer(&[Some(&facts[0]), Some(&facts[1])])?;
        let y = y.first().and_then(Fact::concrete).ok_or_else(|| ShapeError::new("its shapes do not fit"))?;
        Ok(vec![reference::evaluate(self, x, grid, y)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let (x, y) = (request.shape(0)?, request.output_shape(0)?);
        let wants = vec![Want::In(Layout::Linear); 2];
        let candidate = Candidate::new("sample", wants, vec![Layout::Linear]);
        let small = |s: &[usize]| shape::elements(s).is_some_and(|n| n < 1 << 30);
        if !small(&x) || !small(&y) || !small(&request.shape(1)?) {
            return Err("its tensors are too large for 32-bit indices".to_owned());
        }
        if y.contains(&0) {
            return Ok(vec![candidate]);
        }
        let axes = x.len() - 2;
        if axes > 3 {
            return Err("its kernel takes up to three spatial axes".to_owned());
        }
        let elements: usize = y.iter().product();
        let units = elements.div_ceil(4);
        let size = |i: usize| (i + axes).checked_sub(3).map_or(1, |i| x[i + 2]);
        let kernel =
            Kernel::of("grid/sample.wgsl").define("WORKGROUP", WORKGROUP).define("TAPS", [1, 2, 4][self.mode as usize]);
        // The nearest is moved as it is.
        let (read, written) = match self.mode {
            Mode::Nearest => (request.any_storage(0)?, request.any_output_storage(0)?),
            _ => (request.storage(0)?, request.output_storage(0)?),
        };
        let dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(0), read)
            .bind(Binding::Input(1), request.storage(1)?)
            .bind(Binding::Output(0), written)
            .param("units", units)
            .param("elements", elements)
            .param("channels", x[1])
            .param("positions", y[2..].iter().product::<usize>())
            .param("axes", axes)
            .param("input_z", size(0))
            .param("input_y", size(1))
            .param("input_x", size(2))
            .param("align", u32::from(self.align_corners))
            .param("padding", self.padding as u32)
            .linear(units as u64, WORKGROUP, request.device);
        let taps = [1.0, 2.0, 4.0f64][self.mode as usize].powi(axes as i32);
        Ok(vec![candidate.dispatch(dispatch).cost(elements as f64 * (taps * 12.0 + 60.0), elements as f64 * 16.0)])
    }

    fn work(&self, inputs: &[Option<&Fact>], outputs: &[Fact]) -> f64 {
        let axes = inputs.first().copied().flatten().map_or(2, Fact::rank).saturating_sub(2);
        let taps = [1.0, 2.0, 4.0f64][self.mode as usize].powi(axes.min(16) as i32);
        let elements: f64 = outputs.iter().filter_map(Fact::concrete).flatten().map(|d| d as f64).product();
        elements * (2.0 * taps + 10.0)
    }
}
