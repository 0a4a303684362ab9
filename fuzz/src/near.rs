//! What a network computes, and how far another way to compute it may stray.
//!
//! Two ways to compute a network differ by roundings: folded weights are rounded once more, sums are taken in another order,
//! a GPU's `exp` is not the host's. How much a rounding early on matters in the end depends on the network, so it is tried:
//! the references compute the network some times over with operands that are moved by a relative error at random, that of
//! every node anew, and what the results stray by is the measure of what any way may stray by. Where that is nothing (small
//! integers in floats), nothing may differ.

use rimlight::graph::{Context, EvaluateError, Inputs, Value};
use rimlight::ops::operator;
use rimlight::{ElementType, Tensor};

use crate::net::{Net, Origin};

/// How often a network is computed with errors.
const TRIALS: usize = 3;
/// How much further than in these trials another way may stray: three draws of a normal error are all below an eighth of its
/// width once in a thousand times, and below an eighth of a sixteenth, which is what the ratio of the errors leaves, in none.
const FACTOR: f32 = 8.0;

/// So little that it may as well be nothing, where something is rounded.
const NOTHING: f32 = 1e-30;

/// What is expected of the outputs.
pub struct Expected {
    /// The outputs by the references.
    pub outputs: Vec<Value>,
    /// For each element of an output of floats, how far it may stray; infinite where nothing can be said.
    slack: Vec<Vec<f32>>,
}

/// Random signs and sizes from places.
fn error(trial: usize, node: usize, input: usize, element: usize) -> f32 {
    let mut h = (trial as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for part in [node, input, element] {
        h = (h ^ part as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        h ^= h >> 29;
    }
    // From -1 to -1/2 or from 1/2 to 1: never near nothing.
    let size = 0.5 + (h >> 41) as f32 / (1u64 << 24) as f32;
    if h & 1 == 0 { size } else { -size }
}

/// Computes the network, each operand of a node that rounds moved by `relative` at most.
fn evaluate(net: &Net, relative: f32, trial: usize) -> Result<Vec<Value>, EvaluateError> {
    let mut values: Vec<Option<Value>> = net
        .values
        .iter()
        .map(|made| match &made.origin {
            Origin::Input { tensor, .. } | Origin::Constant { tensor, .. } => Some(Value::Tensor(tensor.clone())),
            Origin::Node => None,
        })
        .collect();
    for (number, step) in net.nodes.iter().enumerate() {
        let operator = operator(&step.definition).map_err(|e| EvaluateError::Unsupported(e.to_string()))?;
        let rounds = step.outputs.iter().any(|&o| net.values[o].grid.is_none());
        let mut moved: Vec<Option<Value>> = vec![];
        for (place, input) in step.inputs.iter().enumerate() {
            let parameter = |i: usize| matches!(net.values[i].origin, Origin::Constant { data: false, .. });
            moved.push(input.and_then(|i| {
                let value = values[i].clone()?;
                Some(match value {
                    Value::Tensor(mut tensor)
                        if rounds && relative > 0.0 && !parameter(i) && tensor.element_type() == ElementType::F32 =>
                    {
                        if let Ok(floats) = tensor.as_mut_slice::<f32>() {
                            for (at, v) in floats.iter_mut().enumerate() {
                                *v *= 1.0 + relative * error(trial, number, place, at);
                            }
                        }
                        Value::Tensor(tensor)
                    }
                    other => other,
                })
            }));
        }
        let inputs: Vec<Option<&Value>> = moved.iter().map(Option::as_ref).collect();
        let results = operator.compute(&mut Context::default(), Inputs(&inputs))?;
        for (&output, value) in step.outputs.iter().zip(results) {
            values[output] = Some(value);
        }
    }
    net.outputs
        .iter()
        .map(|&i| values[i].clone().ok_or_else(|| EvaluateError::Run("an output was not computed".to_owned())))
        .collect()
}

/// Computes a network and how far others may stray whose roundings are `relative` at most, a sixteenth of it as a rule.
///
/// # Errors
/// If a node cannot be computed.
pub fn expected(net: &Net, relative: f32) -> Result<Expected, EvaluateError> {
    let outputs = evaluate(net, 0.0, 0)?;
    let mut slack: Vec<Vec<f32>> = outputs
        .iter()
        .zip(&net.outputs)
        .map(|(value, &i)| match floats(value) {
            Some(floats) if net.values[i].grid.is_none() => {
                // A function that cancels inside itself (Gelu of what is far below zero) rounds numbers of the others' size.
                let largest = floats.iter().filter(|v| v.is_finite()).fold(0f32, |m, v| m.max(v.abs()));
                floats.iter().map(|v| relative * v.abs().max(largest / 16.0)).collect()
            }
            Some(floats) => vec![0.0; floats.len()],
            None => vec![],
        })
        .collect();
    for trial in 0..TRIALS {
        for ((slack, value), moved) in slack.iter_mut().zip(&outputs).zip(evaluate(net, relative, trial)?) {
            let (Some(plain), Some(moved)) = (floats(value), floats(&moved).map(<[f32]>::to_vec)) else { continue };
            for ((slack, &v), &m) in slack.iter_mut().zip(plain).zip(&moved) {
                let strayed = FACTOR * (v - m).abs();
                // Not a number, or without end: whatever else comes out there.
                *slack = if strayed.is_finite() { slack.max(strayed) } else { f32::INFINITY };
            }
        }
    }
    Ok(Expected { outputs, slack })
}

fn floats(value: &Value) -> Option<&[f32]> {
    value.as_tensor()?.as_slice::<f32>().ok()
}

impl Expected {
    /// Whether an output is what it should be; if it is not, what is wrong.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(&self, output: usize, got: &Tensor) -> Result<(), String> {
        let Some(expected) = self.outputs[output].as_tensor() else { return Ok(()) };
        if (got.shape(), got.element_type()) != (expected.shape(), expected.element_type()) {
            return Err(format!("{got:?} instead of {expected:?}"));
        }
        let (Ok(plain), Ok(floats)) = (expected.as_slice::<f32>(), got.as_slice::<f32>()) else {
            return if got == expected { Ok(()) } else { Err(format!("{got:?} instead of {expected:?}")) };
        };
        for (at, ((&v, &g), &slack)) in plain.iter().zip(floats).zip(&self.slack[output]).enumerate() {
            // What is too large for sums of it to be right is not looked at; nor are zeros' signs, nor what functions that
            // bound their arguments (Sigmoid of minus infinity) give in the place of nothing.
            let near = v == g
                || (v - g).abs() <= slack.max(NOTHING)
                || slack == f32::INFINITY
                || v.is_nan() && g.is_nan()
                || v.abs() > 1e30;
            if !near {
                return Err(format!("element {at} is {g} instead of {v}, which may stray by {slack}"));
            }
        }
        Ok(())
    }
}
