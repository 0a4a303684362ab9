//! MaxPool, AveragePool, LpPool (ONNX opsets 1 to 22), and their global forms.
//!
//! Each output is the largest, the mean, or the p-norm of the inputs in its window; padding takes no part, but is
//! counted by a mean with `count_include_pad`. A window wholly in the padding gives the lowest number, or 0.

use std::sync::Arc;

use super::conv::given;
use super::window::Window;
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::tensor::ElementType;

mod kernels;
mod reference;
#[cfg(test)]
mod tests;

/// What becomes of the inputs in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The largest.
    Max,
    /// The mean; whether padding counts as zeros.
    Average { include_pad: bool },
    /// (Σ |x|ᵖ)^(1/p)
    Lp(u32),
}

/// A pool over windows, or over all positions of a channel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pool {
    /// What becomes of a window.
    pub kind: Kind,
    /// The windows; `None` for one that covers all spatial axes.
    pub window: Option<Window>,
    /// Whether the place of each maximum is a second output: its index in x.
    pub indices: bool,
    /// Whether those indices count the last axis as the outermost of the spatial ones (`storage_order` 1).
    pub column_major: bool,
}

/// Makes a MaxPool, AveragePool or LpPool.
pub(super) fn pool(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let window = Window::from_definition(definition)?;
    if window.kernel.is_empty() {
        return Err(DefinitionError::Missing("kernel_shape"));
    }
    if window.pads.iter().enumerate().any(|(i, &pad)| pad >= window.kernel[i % window.kernel.len()]) {
        return Err(DefinitionError::Value("pads", "must be smaller than the kernel".to_owned()));
    }
    let column_major = definition.flag("storage_order", false)?;
    Ok(Arc::new(Pool {
        kind: kind(definition)?,
        window: Some(window),
        indices: definition.op_type == "MaxPool" && definition.outputs > 1,
        column_major,
    }))
}

/// Makes a GlobalMaxPool, GlobalAveragePool or GlobalLpPool.
pub(super) fn global(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(Pool { kind: kind(definition)?, window: None, indices: false, column_major: false }))
}

fn kind(definition: &Definition) -> Result<Kind, DefinitionError> {
    match definition.op_type.trim_start_matches("Global") {
        "MaxPool" => Ok(Kind::Max),
        "AveragePool" => Ok(Kind::Average { include_pad: definition.flag("count_include_pad", false)? }),
        _ => {
            let p = definition.int("p")?.unwrap_or(2);
            let small = u32::try_from(p).ok().filter(|p| (1..=64).contains(p));
            Ok(Kind::Lp(small.ok_or_else(|| DefinitionError::Value("p", format!("is {p}; it must be 1 to 64")))?))
        }
    }
}

impl Operator for Pool {
    fn name(&self) -> &str {
        match (self.kind, &self.window) {
            (Kind::Max, Some(_)) => "MaxPool",
            (Kind::Max, None) => "GlobalMaxPool",
            (Kind::Average { .. }, Some(_)) => "AveragePool",
            (Kind::Average { .. }, None) => "GlobalAveragePool",
            (Kind::Lp(_), Some(_)) => "LpPool",
            (Kind::Lp(_), None) => "GlobalLpPool",
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = given(inputs, 0)?;
        if x.rank() < 3 && !(x.rank() == 2 && self.window.is_none()) {
            return Err(ShapeError::new(format!("x is {x}; it needs [N, C, spatial…]")));
        }
        let small = matches!(x.element_type, ElementType::I8 | ElementType::U8) && self.kind == Kind::Max;
        if !x.element_type.is_float() && !small {
            return Err(ShapeError::new(format!("there is no such pool of {}", x.element_type)));
        }
        let mut shape = x.shape[..2].to_vec();
        match &self.window {
            None => shape.resize(x.rank(), Dim::Known(1)),
            Some(window) => {
                window.check_rank(x.rank() - 2)?;
                for (i, &kernel) in window.kernel.iter().enumerate() {
                    shape.push(window.output(i, &x.shape[i + 2], &Dim::from(kernel))?);
                }
            }
        }
        let y = x.with_shape(shape);
        let indices = self.indices.then(|| y.with_type(ElementType::I64));
        Ok([y].into_iter().chain(indices).collect())
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        reference::evaluate(self, inputs.tensor(0)?)
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        kernels::candidates(self, request)
    }

    fn work(&self, inputs: &[Option<&Fact>], outputs: &[Fact]) -> f64 {
        let product = |f: &Fact| f.concrete().map_or(0.0, |s| s.iter().map(|&d| d as f64).product());
        match &self.window {
            None => inputs.first().copied().flatten().map_or(0.0, product),
            Some(window) => {
                window.kernel.iter().map(|&k| k as f64).product::<f64>() * outputs.first().map_or(0.0, product)
            }
        }
    }
}
