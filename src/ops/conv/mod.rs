//! Conv (ONNX opsets 1, 11, 22).
//!
//! `y[n, o, p] = activation(Σ_{i, k} w[o, i, k] · x[n, g·I + i, p·stride − pad + k·dilation] + bias[o] + residual[n, o, p])`,
//! with `g` the group of channel `o` and `I` the input channels of a group; the residual may also be added after the activation.

use std::sync::Arc;

use super::window::Window;
use crate::graph::{
    Activation, Context, Definition, DefinitionError, Dim, Division, EvaluateError, Fact, Inputs, Operator, Request,
    ShapeError, Value,
};
use crate::kernel::Candidates;

mod depthwise;
mod direct;
pub(in crate::ops) mod pack;
mod problem;
mod reference;
mod register;
mod split;
mod subgroup;
#[cfg(test)]
mod tests;
mod vector;
mod winograd;
mod workgroup;

pub(super) use direct::axis_params;
pub(super) use pack::{FLAT, constant};
pub(super) use problem::{activated, with_others_activations};
pub(crate) use winograd::{POINTS, TILE, weights_at_points};

/// The place of a fused residual among the inputs.
pub(crate) const RESIDUAL: usize = 3;

/// A convolution, with what rewrites fuse into it.
///
/// Inputs: x `[N, C, spatial…]`, weights `[O, C / groups, kernel…]`, bias `[O]` (optional) and, with [`Conv::residual`],
/// a tensor of the output's shape at index [`RESIDUAL`].
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Conv {
    /// Kernel size, strides, dilations and pads.
    pub window: Window,
    /// Groups of channels that do not see each other; 0 counts as 1.
    pub groups: usize,
    /// Applied to each result.
    pub activation: Activation,
    /// Whether input 3 is added, before the activation or after it.
    pub residual: bool,
    /// Whether the residual is added after the activation.
    pub residual_last: bool,
    /// See [`Operator::cancellation`]; set where a batch norm is folded in.
    pub cancellation: f32,
}

/// Makes a Conv from its definition.
pub(super) fn conv(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(Conv { window: Window::from_definition(definition)?, groups: groups(definition)?, ..Conv::default() }))
}

/// The attribute `group`, 1 by default.
pub(super) fn groups(definition: &Definition) -> Result<usize, DefinitionError> {
    let groups = definition.int("group")?.unwrap_or(1);
    usize::try_from(groups)
        .ok()
        .filter(|&g| (1..=1 << 24).contains(&g))
        .ok_or_else(|| DefinitionError::Value("group", format!("is {groups}")))
}

impl Conv {
    /// The number of groups, at least one.
    pub fn groups(&self) -> usize {
        self.groups.max(1)
    }

    /// The same convolution with one more input, at index 3, added to its result before the activation.
    /// `None` if it has one, or if its activation is already applied.
    pub fn with_residual(&self) -> Option<Self> {
        (!self.residual && self.activation == Activation::Identity).then(|| Self { residual: true, ..self.clone() })
    }

    /// The same convolution with one more input, at index 3, added to its result after the activation.
    /// `None` if it has one, or no activation.
    pub fn with_residual_last(&self) -> Option<Self> {
        let takes = !self.residual && self.activation != Activation::Identity;
        takes.then(|| Self { residual: true, residual_last: true, ..self.clone() })
    }

    /// The kernel's size, from the weights, or from the attribute where their shape is not known.
    fn kernel(&self, weights: &Fact) -> Result<Vec<Dim>, ShapeError> {
        let dim = |(i, dim): (usize, &Dim)| match (dim.known(), self.window.kernel.get(i)) {
            (Some(n), Some(&k)) if Dim::from(k) != Dim::Known(n) => {
                Err(ShapeError::new(format!("kernel_shape is {:?}, but the weights are {weights}", self.window.kernel)))
            }
            (Some(0), _) => Err(ShapeError::new("the kernel is empty")),
            (None, Some(&k)) => Ok(Dim::from(k)),
            _ => Ok(dim.clone()),
        };
        weights.shape[2..].iter().enumerate().map(dim).collect()
    }
}

/// The input at this place of an `infer`.
pub(super) fn given<'a>(inputs: &[Option<&'a Fact>], index: usize) -> Result<&'a Fact, ShapeError> {
    inputs.get(index).copied().flatten().ok_or_else(|| ShapeError::new(format!("input {index} is missing")))
}

impl Operator for Conv {
    fn name(&self) -> &str {
        "Conv"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, w) = (given(inputs, 0)?, given(inputs, 1)?);
        if x.rank() < 3 || w.rank() != x.rank() {
            return Err(ShapeError::new(format!("x is {x} and the weights {w}; both need [N, C, spatial…]")));
        }
        if !x.element_type.is_float() || w.element_type != x.element_type {
            return Err(ShapeError::new(format!(
                "x is {x} and the weights {w}; both must be of one floating-point type"
            )));
        }
        self.window.check_rank(x.rank() - 2)?;
        let groups = self.groups();
        if let (Some(c), Some(i)) = (x.shape[1].size(), w.shape[1].size())
            && i.checked_mul(groups) != Some(c)
        {
            return Err(ShapeError::new(format!("{groups} groups of {i} channels are not the {c} channels of x")));
        }
        if w.shape[0].size().is_some_and(|o| o % groups != 0) {
            return Err(ShapeError::new(format!("{} output channels do not fall into {groups} groups", w.shape[0])));
        }
        if let Some(bias) = inputs.get(2).copied().flatten()
            && (bias.rank() != 1
                || bias.element_type != x.element_type
                || bias.shape[0].known().zip(w.shape[0].known()).is_some_and(|(b, o)| b != o))
        {
            return Err(ShapeError::new(format!("the bias is {bias}, but there are {} output channels", w.shape[0])));
        }
        let kernel = self.kernel(w)?;
        let mut shape = vec![x.shape[0].clone(), w.shape[0].clone()];
        for (i, kernel) in kernel.iter().enumerate() {
            shape.push(self.window.output(i, &x.shape[i + 2], kernel)?);
        }
        if self.residual {
            let residual = given(inputs, RESIDUAL)?;
            let fits = |(a, b): (&Dim, &Dim)| a.known().zip(b.known()).is_none_or(|(a, b)| a == b);
            if residual.rank() != shape.len() || !residual.shape.iter().zip(&shape).all(fits) {
                return Err(ShapeError::new(format!("the residual is {residual}, not of the output's shape")));
            }
        }
        Ok(vec![x.with_shape(shape)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        reference::evaluate(self, inputs)
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let problem = problem::Problem::of(self, request)?;
        if problem.is_empty() {
            return Ok(vec![problem.candidate("empty", crate::kernel::Layout::Linear)]);
        }
        let mut candidates = vec![];
        candidates.extend(vector::candidate(&problem));
        candidates.extend(subgroup::candidates(&problem));
        candidates.extend(depthwise::candidates(&problem));
        candidates.extend(register::candidates(&problem));
        candidates.extend(workgroup::candidates(&problem));
        candidates.extend(winograd::candidates(&problem));
        candidates.extend(direct::candidate(&problem));
        if candidates.is_empty() {
            return Err("no kernel fits this device's limits".to_owned());
        }
        Ok(with_others_activations(candidates, self.activation))
    }

    fn cancellation(&self) -> f32 {
        self.cancellation
    }

    fn gives_probabilities(&self) -> bool {
        self.activation == Activation::Sigmoid
    }

    fn with_activation(&self, activation: Activation) -> Option<Arc<dyn Operator>> {
        let takes = self.activation == Activation::Identity && !activation.is_long();
        takes.then(|| Arc::new(Self { activation, ..self.clone() }) as _)
    }

    fn divisions(&self, inputs: &[Option<&Fact>]) -> Vec<Division> {
        if self.groups() > 1 {
            return vec![];
        }
        let bias = inputs.get(2).copied().flatten().map(|_| (2, 0));
        let along = bias.into_iter().chain(self.residual.then_some((RESIDUAL, 1))).collect();
        vec![Division { constant: (1, 0), output: 1, along }]
    }

    fn work(&self, inputs: &[Option<&Fact>], outputs: &[Fact]) -> f64 {
        // One multiplication and one addition for each weight at each output position.
        let product = |dims: &[usize]| dims.iter().map(|&d| d as f64).product::<f64>();
        let weights = inputs.get(1).copied().flatten().and_then(Fact::concrete);
        let outputs = outputs.first().and_then(Fact::concrete);
        match (weights, outputs) {
            (Some(w), Some(y)) if w.len() > 1 => 2.0 * product(&w[1..]) * product(&y),
            _ => 0.0,
        }
    }
}
