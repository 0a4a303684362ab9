//! What ONNX Runtime gives for small inputs. Each case of `cases.txt` begins with a line `Operator attribute=value …`, then
//! come its inputs and outputs, a line each: `in` or `out`, the element type, the shape, the numbers; `in -` and `out -`
//! stand for what is left out. Lists of floats have a decimal point, numbers without one are integers.

use crate::graph::{Attribute, Context, Definition, Fact, Inputs, Value};
use crate::ops::operator;
use crate::tensor::{ElementType, Tensor};

struct Case {
    definition: Definition,
    inputs: Vec<Option<Tensor>>,
    outputs: Vec<Option<Tensor>>,
}

fn attribute(text: &str) -> Attribute {
    let floats = || text.split(',').map(|n| n.parse().unwrap()).collect::<Vec<f32>>();
    match text {
        _ if text.starts_with(|c: char| c.is_alphabetic()) => Attribute::String(text.to_owned()),
        _ if text.contains(',') && text.contains('.') => Attribute::Floats(floats()),
        _ if text.contains(',') => Attribute::Ints(text.split(',').map(|n| n.parse().unwrap()).collect()),
        _ if text.contains(['.', 'e']) => Attribute::Float(text.parse().unwrap()),
        _ => Attribute::Int(text.parse().unwrap()),
    }
}

fn tensor(words: &[&str]) -> Option<Tensor> {
    let [name, shape, numbers @ ..] = words else { return None };
    let element_type = ElementType::ALL.into_iter().find(|t| t.name() == *name).unwrap();
    let shape: Vec<usize> = shape.trim_matches(['[', ']']).split(',').filter_map(|n| n.parse().ok()).collect();
    Some(Tensor::from_f64(element_type, shape, numbers.iter().map(|n| n.parse().unwrap()).collect()).unwrap())
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![];
    for line in include_str!("cases.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words[0], cases.last_mut()) {
            ("in", Some(case)) => case.inputs.push(tensor(&words[1..])),
            ("out", Some(case)) => case.outputs.push(tensor(&words[1..])),
            (name, _) => {
                let domain = if name == "SimplifiedLayerNormalization" { "" } else { "com.microsoft" };
                let mut definition = Definition { domain: domain.to_owned(), opset: 1, ..Definition::new(name) };
                for pair in &words[1..] {
                    let (name, value) = pair.split_once('=').unwrap();
                    definition = definition.attribute(name, attribute(value));
                }
                cases.push(Case { definition, inputs: vec![], outputs: vec![] });
            }
        }
    }
    cases
}

#[test]
fn numbers_are_those_of_onnx_runtime() {
    let cases = cases();
    assert!(cases.len() >= 30);
    for case in cases {
        let definition = Definition { inputs: case.inputs.len(), outputs: case.outputs.len(), ..case.definition };
        let what = format!("{} {:?}", definition.op_type, definition.attributes);
        let operator = operator(&definition).unwrap_or_else(|e| panic!("{what}: {e}"));
        let values: Vec<_> = case.inputs.iter().map(|t| t.clone().map(Value::Tensor)).collect();
        let values: Vec<_> = values.iter().map(Option::as_ref).collect();
        let outputs = operator.evaluate(&mut Context::default(), Inputs(&values));
        let outputs = outputs.unwrap_or_else(|e| panic!("{what}: {e}"));
        // Integers that are parameters are known when a plan is made; the rest is not.
        let facts = case.inputs.iter().map(|t| {
            let t = t.as_ref()?;
            Some(if t.element_type().is_float() {
                Fact::new(t.element_type(), t.shape().to_vec())
            } else {
                Fact::constant(t.clone())
            })
        });
        let facts: Vec<_> = facts.collect();
        let facts: Vec<_> = facts.iter().map(Option::as_ref).collect();
        let inferred = operator.infer(&facts).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(operator.expansion(&facts).unwrap_or_else(|e| panic!("{what}: {e}")).is_some(), "{what}");
        for (i, expected) in case.outputs.iter().enumerate() {
            let Some(expected) = expected else { continue };
            let got = outputs[i].as_tensor().unwrap();
            assert_eq!(
                (got.shape(), got.element_type()),
                (expected.shape(), expected.element_type()),
                "{what}: output {i}"
            );
            assert_eq!(inferred[i].concrete().as_deref(), Some(expected.shape()), "{what}: output {i}");
            for (got, expected) in got.to_f64().into_iter().zip(expected.to_f64()) {
                // ONNX Runtime computes in f32, and its numbers are written with six digits.
                assert!(
                    (got - expected).abs() <= 2e-5 + 2e-5 * expected.abs(),
                    "{what}: output {i}: {got} instead of {expected}"
                );
            }
        }
    }
}
