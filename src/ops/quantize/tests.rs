//! Operators of com.microsoft against what ONNX Runtime gives, case by case.

use crate::graph::{Attribute, Context, Definition, Fact, Inputs, Operator, Value};
use crate::kernel::Storage;
use crate::tensor::{ElementType, Tensor};
use crate::testing::{Input, Tolerance, check};

/// One case a line.
const CASES: &str = include_str!("cases.txt");

/// `u8[2,3] 1 2 3 4 5 6`; a dash is none.
fn tensor(text: &str) -> Option<Tensor> {
    let mut words = text.split_whitespace();
    let form = words.next().filter(|&form| form != "-")?;
    let (name, shape) = form.split_once('[').unwrap_or((form, "]"));
    let shape = shape.trim_end_matches(']').split(',').filter(|n| !n.is_empty()).map(|n| n.parse().unwrap());
    let element_type = ElementType::ALL.into_iter().find(|t| t.name() == name).unwrap();
    Some(
        Tensor::from_f64(element_type, shape.collect::<Vec<_>>(), words.map(|w| w.parse().unwrap()).collect()).unwrap(),
    )
}

/// `Name number=2 other=0.5 list=[1,2]`
fn definition(text: &str, inputs: usize) -> Definition {
    let mut words = text.split_whitespace();
    let mut definition = Definition::new(words.next().unwrap());
    (definition.domain, definition.opset, definition.inputs) = ("com.microsoft".to_owned(), 1, inputs);
    for (name, value) in words.map(|word| word.split_once('=').unwrap()) {
        let list = value.strip_prefix('[').map(|list| list.trim_end_matches(']').split(','));
        let value: Attribute = match (list, value.parse::<i64>()) {
            (Some(list), _) => list.map(|n| n.parse().unwrap()).collect::<Vec<i64>>().into(),
            (None, Ok(number)) => number.into(),
            (None, Err(_)) => value.parse::<f32>().unwrap().into(),
        };
        definition = definition.attribute(name, value);
    }
    definition
}

#[test]
fn other_runtimes_agree() {
    for case in CASES.lines().filter(|line| !line.starts_with('#')) {
        let [operator, inputs, expected] = case.split('|').collect::<Vec<_>>()[..] else { panic!("{case}") };
        let inputs: Vec<_> = inputs.split(';').map(tensor).collect();
        let definition = definition(operator, inputs.len());
        let operator = crate::ops::check_arity(&definition).and_then(|()| crate::ops::operator(&definition)).unwrap();
        let values: Vec<_> = inputs.iter().cloned().map(|t| t.map(Value::Tensor)).collect();
        let values: Vec<_> = values.iter().map(Option::as_ref).collect();
        let y = operator.evaluate(&mut Context::default(), Inputs(&values)).unwrap_or_else(|e| panic!("{case}: {e}"));
        let y = y.into_iter().next().and_then(Value::into_tensor).unwrap();
        // Sums of some twenty floats, perhaps in another order.
        let close = Tolerance { absolute: 1e-5, relative: 2e-6 };
        close.compare(&y, &tensor(expected).unwrap(), None).unwrap_or_else(|e| panic!("{case}: {e}"));
        let inputs = inputs.iter().map(|t| t.clone().map_or(Input::Missing, Input::Run)).collect();
        agrees_on_the_gpu(&*operator, inputs, close);
    }
}

/// Whether kernels agree, those of the operator's parts where it is made of others.
fn agrees_on_the_gpu(operator: &dyn Operator, inputs: Vec<Input>, tolerance: Tolerance) {
    let tensor = |input: &Input| match input {
        Input::Run(t) | Input::Constant(t) => Some(t.clone()),
        Input::Missing => None,
    };
    let tensors: Vec<_> = inputs.iter().map(tensor).collect();
    let facts: Vec<_> =
        tensors.iter().map(|t| t.as_ref().map(|t| Fact::new(t.element_type(), t.shape().to_vec()))).collect();
    let facts: Vec<_> = facts.iter().map(Option::as_ref).collect();
    let Some(parts) = operator.expansion(&facts).unwrap() else {
        let outputs = operator.infer(&facts).unwrap();
        let types = facts.iter().flatten().map(|f| f.element_type).chain(outputs.iter().map(|f| f.element_type));
        if types.into_iter().all(|t| Storage::of(t, false).is_some()) {
            check(operator, &inputs, tolerance);
            let constant = |(i, input): (usize, Input)| match input {
                Input::Run(t) if i > 0 => Input::Constant(t),
                other => other,
            };
            check(operator, &inputs.into_iter().enumerate().map(constant).collect::<Vec<_>>(), tolerance);
        }
        return;
    };
    let own: Vec<_> = tensors.iter().cloned().map(|t| t.map(Value::Tensor)).collect();
    let own: Vec<_> = own.iter().map(Option::as_ref).collect();
    let evaluated = operator.evaluate(&mut Context::default(), Inputs(&own)).unwrap();
    let mut values: Vec<Option<Tensor>> =
        parts.values.iter().map(|v| v.fact.as_ref().and_then(|f| f.constant.clone())).collect();
    for (id, t) in parts.inputs.iter().zip(tensors.into_iter().flatten()) {
        values[id.0] = Some(t);
    }
    for node in &parts.nodes {
        let given: Vec<_> = node.inputs.iter().map(|id| id.and_then(|id| values[id.0].clone())).collect();
        let own: Vec<_> = given.iter().cloned().map(|t| t.map(Value::Tensor)).collect();
        let own: Vec<_> = own.iter().map(Option::as_ref).collect();
        let outputs = node.operator.evaluate(&mut Context::default(), Inputs(&own)).unwrap();
        for (id, value) in node.outputs.iter().zip(outputs) {
            values[id.unwrap().0] = value.into_tensor();
        }
        let constant = |id: &Option<crate::graph::ValueId>| id.is_some_and(|id| parts.constant(id).is_some());
        let inputs = node.inputs.iter().zip(given).map(|(id, t)| match t {
            Some(t) if constant(id) => Input::Constant(t),
            other => other.map_or(Input::Missing, Input::Run),
        });
        let inputs = inputs.collect();
        agrees_on_the_gpu(&*node.operator, inputs, tolerance);
    }
    for (id, expected) in parts.outputs.iter().zip(evaluated) {
        let got = values[id.0].as_ref().unwrap();
        tolerance.compare(got, &expected.into_tensor().unwrap(), None).unwrap_or_else(|e| panic!("{operator:?}: {e}"));
    }
}

#[test]
fn small_types_agree_in_every_form() {
    use ElementType::{F4E2M1, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F16, F32, I4, I16, U4, U16};
    let numbers = |t: ElementType, shape: &[usize], numbers: &mut dyn FnMut(usize) -> f64| {
        Tensor::from_f64(t, shape, (0..shape.iter().product()).map(numbers).collect()).unwrap()
    };
    for t in [F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F4E2M1, I4, U4, I16, U16] {
        for (scales, axis, block) in [(vec![], 1, 0), (vec![3], 1, 0), (vec![3, 3], -1, 2)] {
            for float in if t == F8E4M3FN { vec![F32, F16] } else { vec![F32] } {
                let given = |name| {
                    let d = Definition::new(name).attribute("axis", axis).attribute("block_size", block);
                    let d = d.attribute("saturate", i64::from(t != F8E5M2));
                    crate::ops::operator(&d.attribute(
                        "output_dtype",
                        match name {
                            "QuantizeLinear" => i64::from(t.data_type()),
                            _ => 1,
                        },
                    ))
                    .unwrap()
                };
                let x_shape = if block == 2 { [3, 5] } else { [5, 3] };
                let scale = numbers(float, &scales, &mut |i| 0.5 * (i + 1) as f64);
                let zero = numbers(t, &scales, &mut |i| if matches!(t, I4 | U4 | I16 | U16) { i as f64 } else { 0.0 });
                let x =
                    numbers(float, &x_shape, &mut |i| [0.3, -1.25, 7.5, -300.0, 60_000.0][i % 5] * (i / 5 + 1) as f64);
                let close = Tolerance { absolute: 1e-6, relative: 1e-6 };
                for zero in [Input::Missing, Input::Run(zero)] {
                    let inputs = vec![Input::Run(x.clone()), Input::Run(scale.clone()), zero.clone()];
                    agrees_on_the_gpu(&*given("QuantizeLinear"), inputs, close);
                    let q = numbers(t, &x_shape, &mut |i| [0.0, 1.0, 3.0, 6.0, 2.0][i % 5]);
                    let inputs = vec![Input::Run(q), Input::Run(scale.clone()), zero];
                    agrees_on_the_gpu(&*given("DequantizeLinear"), inputs, close);
                }
            }
        }
    }
}
