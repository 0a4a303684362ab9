//! The promise kept: a device's run compared, value by value, with the references.

mod rounded;

use std::collections::HashMap;

use rounded::Rounded;

use super::binding::concrete;
use super::request::Request;
use super::tolerance::{Comparison, Tolerance};
use super::{Device, Options};
use crate::cpu::reference;
use crate::error::{Error, RunError};
use crate::graph::{Fact, Graph, NodeError, Value};
use crate::model::Model;
use crate::tensor::{ElementType, Tensor};

/// What a validation found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Validation {
    /// Every value that both sides keep, in the order in which the model computes them.
    pub values: Vec<Comparison>,
}

impl Validation {
    /// Whether every value is within the tolerance, and there is one at all.
    pub fn passed(&self) -> bool {
        !self.values.is_empty() && self.values.iter().all(|v| v.passed)
    }

    /// The first value that is not within the tolerance: what is wrong happened between the one before it and it.
    pub fn first_failure(&self) -> Option<&Comparison> {
        self.values.iter().find(|v| !v.passed)
    }

    /// Values that stray further than the tolerance, by rounding errors that the network amplified.
    pub fn amplified(&self) -> impl Iterator<Item = &Comparison> {
        self.values.iter().filter(|v| v.amplified)
    }

    /// The value that differs most.
    pub fn worst(&self) -> Option<&Comparison> {
        self.values.iter().max_by(|a, b| a.worst.total_cmp(&b.worst))
    }

    /// How many elements were compared.
    pub fn elements(&self) -> usize {
        self.values.iter().map(|v| v.elements).sum()
    }
}

/// Runs a model on a device and compares every value that is still there after the rewrites with the graph as it was read,
/// evaluated by the operators' references. Where a value strays only a little further than the tolerance, every step is
/// also compared by itself, from the device's own values before it: see [`Tolerance::amplified`].
///
/// # Errors
/// If an input is missing or does not fit, or the model cannot be planned or run.
#[cfg(not(target_arch = "wasm32"))]
pub fn validate(
    model: &Model,
    device: &Device,
    options: &Options,
    inputs: &[(&str, &Tensor)],
    tolerance: Tolerance,
) -> Result<Validation, Error> {
    pollster::block_on(validate_async(model, device, options, inputs, tolerance))
}

/// [`validate`], for callers that must not block.
///
/// # Errors
/// As [`validate`].
pub async fn validate_async(
    model: &Model,
    device: &Device,
    options: &Options,
    inputs: &[(&str, &Tensor)],
    tolerance: Tolerance,
) -> Result<Validation, Error> {
    let mut session = model.session_async(device, options).await?;
    let mut shapes = vec![];
    let mut given = vec![];
    for port in model.inputs() {
        let (_, tensor) = inputs
            .iter()
            .find(|(name, _)| *name == port.name)
            .ok_or_else(|| RunError::MissingInput(port.name.to_owned()))?;
        session.set(session.input(port.name)?, tensor.view())?;
        shapes.push(tensor.shape().to_vec());
        given.push((*tensor).clone());
    }
    for (name, _) in inputs {
        session.input(name)?;
    }
    let mut got: HashMap<String, Tensor> = HashMap::new();
    let mut observe = |name: &str, tensor: Tensor| {
        got.insert(name.to_owned(), tensor);
    };
    session.run_observed_async(&mut observe).await?;

    let graph = concrete(model.graph().clone(), &Request::new(shapes, &[], |_| None), options.seed)?;
    let tolerance = match tolerance.amplified > 0.0 && rounds_to_steps(&graph) {
        true => Tolerance { amplified: f32::INFINITY, ..tolerance },
        false => tolerance,
    };
    let mut validation = to_the_end(&graph, &given, &got, tolerance).map_err(RunError::from)?;
    if validation.values.iter().any(|v| !v.passed && v.worst <= tolerance.amplified) {
        excuse(&mut validation, &graph, &given, &got, tolerance).map_err(RunError::from)?;
    }
    Ok(validation)
}

/// Whether floats become integers of few bits somewhere: the last bit of a float decides there on a whole step, so that no
/// bound tells how far what follows may stray.
fn rounds_to_steps(graph: &Graph) -> bool {
    use ElementType::{I4, I8, I16, U4, U8, U16};
    let fact = |id: &Option<_>| id.and_then(|id| graph.fact(id));
    graph.nodes.iter().any(|node| {
        let few = |f: &Fact| matches!(f.element_type, I4 | I8 | I16 | U4 | U8 | U16);
        node.inputs.iter().filter_map(fact).any(|f| f.element_type.is_float() && f.constant.is_none())
            && node.outputs.iter().filter_map(fact).any(few)
    })
}

/// Compares with the references' own run of the whole graph.
fn to_the_end(
    graph: &Graph,
    given: &[Tensor],
    got: &HashMap<String, Tensor>,
    tolerance: Tolerance,
) -> Result<Validation, NodeError> {
    let mut validation = Validation::default();
    let mut compare = |name: &str, expected: &Tensor| {
        if let Some(got) = got.get(name) {
            validation.values.push(tolerance.compare(name, got, expected));
        }
    };
    // Inputs lie on the device too, perhaps in another layout.
    for (&id, expected) in graph.inputs.iter().zip(given) {
        compare(&graph.value(id).name, expected);
    }
    reference::evaluate(graph, given, |id, value| {
        if let Value::Tensor(expected) = &value {
            compare(&graph.value(id).name, expected);
        }
        value
    })?;
    Ok(validation)
}

/// Lets pass what is outside the tolerance only because the network amplifies rounding errors: the references compute
/// each step again from what the device had before it, and as long as all steps agree so, a value may stray by
/// [`Tolerance::amplified`].
fn excuse(
    validation: &mut Validation,
    graph: &Graph,
    given: &[Tensor],
    got: &HashMap<String, Tensor>,
    tolerance: Tolerance,
) -> Result<(), NodeError> {
    let mut steps = HashMap::new();
    let mut rounded = Rounded::of(graph);
    reference::evaluate(graph, given, |id, value| {
        let name = &graph.value(id).name;
        let next = match (got.get(name), &value) {
            (Some(got), Value::Tensor(expected)) => {
                let agrees = tolerance.compare(name, got, expected).passed || rounded.agrees(id, got, expected);
                steps.insert(name.as_str(), agrees);
                Value::Tensor(got.clone())
            }
            _ => value,
        };
        rounded.keep(id, &next);
        next
    })?;
    for value in &mut validation.values {
        if !steps.get(value.name.as_str()).copied().unwrap_or(value.passed) {
            break;
        }
        if !value.passed && value.worst <= tolerance.amplified {
            (value.passed, value.amplified) = (true, true);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ElementType;
    use crate::graph::Definition;

    /// y = x - 1 and z = 1000 y: near x = 1 a rounding error of x is a large part of y.
    fn amplifier() -> Graph {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [2]);
        let one = graph.constant("one", Tensor::vector(vec![1f32]));
        let large = graph.constant("large", Tensor::vector(vec![1000f32]));
        let a = graph.node(&Definition::new("Identity"), &[x]).unwrap();
        let y = graph.node(&Definition::new("Sub"), &[a, one]).unwrap();
        let z = graph.node(&Definition::new("Mul"), &[y, large]).unwrap();
        graph.output("a", a);
        graph.output("y", y);
        graph.output("z", z);
        graph.build().unwrap()
    }

    fn validated(a: f32, y: f32, z: f32) -> Validation {
        let (graph, tolerance) = (amplifier(), Tolerance { rtol: 1e-5, atol: 0.0, floor: 0.0, amplified: 1e-2 });
        let given = [Tensor::vector(vec![1.001f32, 0.999])];
        let pair = |v: f32, sign: f32| Tensor::vector(vec![v, sign]);
        let got = [("a", pair(a, 0.999)), ("y", pair(y, 0.999 - 1.0)), ("z", pair(z, (0.999 - 1.0) * 1000.0))];
        let got = got.map(|(name, tensor)| (name.to_owned(), tensor)).into();
        let mut validation = to_the_end(&graph, &given, &got, tolerance).unwrap();
        excuse(&mut validation, &graph, &given, &got, tolerance).unwrap();
        validation
    }

    #[test]
    fn amplified_rounding_errors_are_told_from_wrong_steps() {
        let a = 1.001f32 + 5.0 * f32::EPSILON;
        let sound = validated(a, a - 1.0, (a - 1.0) * 1000.0);
        assert!(sound.passed(), "{sound:?}");
        let amplified: Vec<bool> = sound.values.iter().map(|v| v.amplified).collect();
        assert_eq!(amplified, [false, true, true]);
        // The same error made by the subtraction itself is a fault, and so is all that follows from it.
        let wrong = validated(1.001, a - 1.0, (a - 1.0) * 1000.0);
        assert_eq!(wrong.first_failure().map(|v| v.name.as_str()), Some("y"));
        assert!(!wrong.values[2].passed, "{wrong:?}");
        // Too far is too far, however each step agrees.
        let far = validated(a, a - 1.0, (a - 1.0) * 1020.0);
        assert_eq!(far.first_failure().map(|v| v.name.as_str()), Some("z"));
    }
}
