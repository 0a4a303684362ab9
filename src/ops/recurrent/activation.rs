//! The functions that a cell's gates go through, as its attributes name them.

use super::Kind;
use crate::graph::{Definition, DefinitionError};

/// A function of a gate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    Relu,
    Tanh,
    Sigmoid,
    Softsign,
    Softplus,
    Affine(f64, f64),
    LeakyRelu(f64),
    ThresholdedRelu(f64),
    ScaledTanh(f64, f64),
    HardSigmoid(f64, f64),
    Elu(f64),
}

impl Function {
    /// Its number in the kernel, and its parameters.
    #[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
    pub const fn numbers(self) -> (u32, f32, f32) {
        match self {
            Self::Relu => (0, 0.0, 0.0),
            Self::Tanh => (1, 0.0, 0.0),
            Self::Sigmoid => (2, 0.0, 0.0),
            Self::Softsign => (3, 0.0, 0.0),
            Self::Softplus => (4, 0.0, 0.0),
            Self::Affine(alpha, beta) => (5, alpha as f32, beta as f32),
            Self::LeakyRelu(alpha) => (6, alpha as f32, 0.0),
            Self::ThresholdedRelu(alpha) => (7, alpha as f32, 0.0),
            Self::ScaledTanh(alpha, beta) => (8, alpha as f32, beta as f32),
            Self::HardSigmoid(alpha, beta) => (9, alpha as f32, beta as f32),
            Self::Elu(alpha) => (10, alpha as f32, 0.0),
        }
    }

    pub fn apply(self, x: f64) -> f64 {
        match self {
            Self::Relu => x.max(0.0),
            Self::Tanh => x.tanh(),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Self::Affine(alpha, beta) => alpha * x + beta,
            Self::LeakyRelu(alpha) => {
                if x < 0.0 {
                    alpha * x
                } else {
                    x
                }
            }
            Self::ThresholdedRelu(alpha) => {
                if x >= alpha {
                    x
                } else {
                    0.0
                }
            }
            Self::ScaledTanh(alpha, beta) => alpha * (beta * x).tanh(),
            Self::HardSigmoid(alpha, beta) => (alpha * x + beta).clamp(0.0, 1.0),
            Self::Elu(alpha) => {
                if x < 0.0 {
                    alpha * x.exp_m1()
                } else {
                    x
                }
            }
        }
    }
}

/// The functions of one direction: `f`, `g` and `h` of the standard's formulas; a cell that has fewer repeats its last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Activations(pub [Function; 3]);

/// The functions that the attributes `activations`, `activation_alpha` and `activation_beta` name, for each direction.
pub(super) fn of(d: &Definition, kind: Kind, directions: usize) -> Result<Vec<Activations>, DefinitionError> {
    let default: &[&str] = match kind {
        Kind::Rnn => &["Tanh"],
        Kind::Gru => &["Sigmoid", "Tanh"],
        Kind::Lstm => &["Sigmoid", "Tanh", "Tanh"],
    };
    let names = d
        .strings("activations")?
        .unwrap_or_else(|| (0..directions).flat_map(|_| default.iter().map(|name| (*name).to_owned())).collect());
    if names.len() != default.len() * directions {
        let expected = default.len() * directions;
        return Err(DefinitionError::Value("activations", format!("has {} names, {expected} are needed", names.len())));
    }
    // One number for each function that takes one, in order.
    let mut alphas = d.floats("activation_alpha")?.unwrap_or_default().into_iter().map(f64::from);
    let mut betas = d.floats("activation_beta")?.unwrap_or_default().into_iter().map(f64::from);
    let functions = names
        .iter()
        .map(|name| {
            let mut alpha = |default: f64| alphas.next().unwrap_or(default);
            let mut beta = |default: f64| betas.next().unwrap_or(default);
            // Names are compared without case, as ONNX Runtime does: files hold "sigmoid" too.
            Ok(match name.to_lowercase().as_str() {
                "relu" => Function::Relu,
                "tanh" => Function::Tanh,
                "sigmoid" => Function::Sigmoid,
                "softsign" => Function::Softsign,
                "softplus" => Function::Softplus,
                "affine" => Function::Affine(alpha(1.0), beta(0.0)),
                "leakyrelu" => Function::LeakyRelu(alpha(0.01)),
                "thresholdedrelu" => Function::ThresholdedRelu(alpha(1.0)),
                "scaledtanh" => Function::ScaledTanh(alpha(1.0), beta(1.0)),
                "hardsigmoid" => Function::HardSigmoid(alpha(0.2), beta(0.5)),
                "elu" => Function::Elu(alpha(1.0)),
                _ => {
                    return Err(DefinitionError::Value("activations", format!("names '{name}', which is no function")));
                }
            })
        })
        .collect::<Result<Vec<Function>, _>>()?;
    let set = |part: &[Function]| {
        let at = |i: usize| part[i.min(part.len() - 1)];
        Activations([at(0), at(1), at(2)])
    };
    Ok(functions.chunks(default.len()).map(set).collect())
}
