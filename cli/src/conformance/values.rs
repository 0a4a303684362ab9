//! Tests of models that take or give sequences and optional values.

use std::path::Path;

use rimlight::graph::{Value, ValueType};
use rimlight::onnx::{self, Limits};
use rimlight::{ElementType, Model, Port, Session};

use super::compare::{Bounds, compare};
use super::{End, case, name};

/// Whether a model takes or gives anything but tensors.
pub fn any(model: &Model) -> bool {
    let other = |port: Port<'_>| port.declared.is_some_and(|declared| !matches!(declared, ValueType::Tensor(_)));
    model.inputs().any(other) || model.outputs().any(other)
}

/// Runs one set of inputs and compares what comes out.
pub fn run_set(model: &Model, session: &mut Session, set: &Path, bounds: Bounds) -> Result<(), End> {
    let inputs = values(set, "input", model.inputs()).map_err(End::Failed)?;
    let expected = values(set, "output", model.outputs()).map_err(End::Failed)?;
    case::all_outputs(set, expected.len(), model)?;
    let result = (|| {
        for (port, value) in model.inputs().zip(inputs) {
            session.set_value(session.input(port.name)?, value)?;
        }
        session.run()
    })();
    result.map_err(|error| case::refused(&error.into()))?;
    for (port, expected) in model.outputs().zip(&expected) {
        let got =
            session.output(port.name).and_then(|id| session.get_value(id)).map_err(|e| End::Failed(e.to_string()))?;
        let fail = |difference: String| End::Failed(format!("output '{}': {difference}", port.name));
        compare_values(got, expected, bounds).map_err(fail)?;
    }
    Ok(())
}

fn compare_values(got: &Value, expected: &Value, bounds: Bounds) -> Result<(), String> {
    match (got, expected) {
        (Value::Tensor(got), Value::Tensor(expected)) => compare(got, expected, bounds),
        (Value::Sequence(got), Value::Sequence(expected)) => {
            let (got, expected) = (got.tensors(), expected.tensors());
            if got.len() != expected.len() {
                return Err(format!("{} elements instead of {}", got.len(), expected.len()));
            }
            for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
                compare(got, expected, bounds).map_err(|difference| format!("tensor {i}: {difference}"))?;
            }
            Ok(())
        }
        (Value::Optional(got), Value::Optional(expected)) => match (&got.value, &expected.value) {
            (Some(got), Some(expected)) => compare_values(got, expected, bounds),
            (None, None) => Ok(()),
            (got, _) => Err(format!("it is {}", if got.is_some() { "there, but should not be" } else { "missing" })),
        },
        (got, expected) => Err(format!("{} instead of {}", got.value_type(), expected.value_type())),
    }
}

/// The values `KIND_0.pb`, `KIND_1.pb`, … of these ports.
fn values<'a>(set: &Path, kind: &str, ports: impl Iterator<Item = Port<'a>>) -> Result<Vec<Value>, String> {
    let mut found = vec![];
    for port in ports {
        let path = set.join(format!("{kind}_{}.pb", found.len()));
        if !path.is_file() {
            break;
        }
        let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let tensor = ValueType::Tensor(ElementType::F32);
        match onnx::read_value(bytes.into(), port.declared.unwrap_or(&tensor), &Limits::default()) {
            Ok((_, value)) => found.push(value),
            Err(error) => return Err(format!("{}: {error}", name(&path))),
        }
    }
    Ok(found)
}
