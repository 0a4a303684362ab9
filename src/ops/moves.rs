//! Tests of the operators that only move elements, on elements of every size.

use proptest::prelude::*;

use super::operator;
use crate::graph::{Definition, Operator};
use crate::tensor::shape::elements;
use crate::tensor::{ElementType, Tensor, Truth};
use crate::testing::{Input, Tolerance, try_check};

const TYPES: [ElementType; 10] = [
    ElementType::I64,
    ElementType::F64,
    ElementType::U64,
    ElementType::I32,
    ElementType::U32,
    ElementType::BF16,
    ElementType::I16,
    ElementType::U16,
    ElementType::U8,
    ElementType::F8E5M2,
];

/// Numbers of which each part counts: the words of 64 bits differ, and no float between holds them.
fn tensor(element_type: ElementType, shape: &[usize]) -> Tensor {
    let n = elements(shape).unwrap();
    let wide = |i: usize| (i as i64 + 1).wrapping_mul(0x1234_5678_9abc_def1) ^ (1 << 53);
    match element_type {
        ElementType::I64 => Tensor::new(shape, (0..n).map(wide).collect()),
        ElementType::F64 => Tensor::new(shape, (0..n).map(|i| 1.0 / (i as f64 + 3.0)).collect()),
        ElementType::U64 => Tensor::new(shape, (0..n).map(|i| wide(i).cast_unsigned()).collect()),
        ElementType::BF16 => Tensor::new(shape, (0..n).map(|i| half::bf16::from_f64(1.0 / (i as f64 - 2.5))).collect()),
        ElementType::U32 => Tensor::new(shape, (0..n).map(|i| i as u32 ^ u32::MAX).collect()),
        ElementType::I16 => Tensor::new(shape, (0..n).map(|i| i as i16 ^ i16::MIN).collect()),
        ElementType::U16 => Tensor::new(shape, (0..n).map(|i| i as u16 ^ 0x8000).collect()),
        ElementType::F8E5M2 => {
            Tensor::from_bytes(element_type, shape, (0..n).map(|i| i as u8).collect::<Vec<_>>().into())
        }
        ElementType::U8 => Tensor::new(shape, (0..n).map(|i| i as u8 ^ 0x80).collect()),
        _ => Tensor::new(shape, (0..n).map(|i| i as i32 ^ i32::MIN).collect()),
    }
    .unwrap()
}

fn list(values: Vec<i64>) -> Input {
    Input::Constant(Tensor::vector(values))
}

fn made(definition: &Definition) -> std::sync::Arc<dyn Operator> {
    operator(definition).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn elements_of_every_size_are_moved_as_they_are(
        dims in prop::collection::vec((prop::sample::select(vec![1usize, 2, 3, 4, 5, 7, 8]), 0i64..3), 1..4),
        at in any::<prop::sample::Index>(),
        element_type in prop::sample::select(TYPES.to_vec()),
    ) {
        let shape: Vec<usize> = dims.iter().map(|d| d.0).collect();
        let (rank, at) = (shape.len() as i64, at.index(shape.len()) as i64);
        let size = shape[at as usize] as i64;
        let x = tensor(element_type, &shape);
        let run = Input::Run(x.clone());
        let index = Tensor::vector(vec![size - 1, 0, -1]);
        let scalar = Input::Constant(tensor(element_type, &[]));
        let condition = (0..elements(&shape).unwrap()).map(|i| Truth::from(i % 3 == 1)).collect();
        let condition = Input::Run(Tensor::new(shape.clone(), condition).unwrap());
        let pads: Vec<i64> = dims.iter().map(|d| d.1).chain(dims.iter().map(|d| 2 - d.1)).collect();
        let cases: Vec<(Definition, Vec<Input>)> = vec![
            (Definition::new("Transpose"), vec![run.clone()]),
            (Definition::new("Gather").attribute("axis", at), vec![run.clone(), Input::Run(index.clone())]),
            (Definition::new("Gather").attribute("axis", at), vec![run.clone(), Input::Constant(index)]),
            (Definition::new("Slice"), vec![run.clone(), list(vec![size]), list(vec![i64::MIN]), list(vec![at]), list(vec![-1])]),
            (Definition::new("Concat").attribute("axis", at), vec![run.clone(), another(&x), run.clone()]),
            (Definition::new("Tile"), vec![run.clone(), list(vec![2; rank as usize])]),
            (Definition::new("Expand"), vec![run.clone(), list([vec![2], shape.iter().map(|&d| d as i64).collect()].concat())]),
            (Definition::new("Pad"), vec![run.clone(), list(pads), scalar.clone()]),
            (Definition::new("Where"), vec![condition, run.clone(), scalar]),
            (Definition { inputs: 2, ..Definition::new("Reshape") }, vec![run.clone(), list(vec![-1])]),
            (Definition::new("Identity"), vec![run.clone()]),
        ];
        for (definition, inputs) in cases.into_iter().chain(indexed(&x, at)) {
            try_check(&*made(&definition), &inputs, Tolerance::EXACT).map_err(TestCaseError::fail)?;
        }
    }
}

/// What reads or writes at places that are computed: 64-bit indices, of which some count from the back.
fn indexed(x: &Tensor, at: i64) -> Vec<(Definition, Vec<Input>)> {
    let (shape, run) = (x.shape().to_vec(), Input::Run(x.clone()));
    let n = elements(&shape).unwrap();
    let size = shape[at as usize] as i64;
    let places = (0..n as i64).map(|i| (i * 7 + 3) % (2 * size) - size).collect();
    let places = Input::Run(Tensor::new(shape.clone(), places).unwrap());
    let tuples = Input::Run(Tensor::new([3, 1], vec![shape[0] as i64 - 1, 0, -1]).unwrap());
    let mut slices = shape.clone();
    slices[0] = 3;
    let slices = Input::Run(tensor(x.element_type(), &slices));
    // Beyond 32 bits, an index is out of range as well.
    let far = Input::Run(Tensor::vector(vec![1i64, -1, 1 << 32, i64::MIN, 2]));
    let depth = Input::Constant(Tensor::scalar(3i64));
    let pair = Input::Run(tensor(x.element_type(), &[2]));
    let mut cases = vec![
        (Definition::new("GatherElements").attribute("axis", at), vec![run.clone(), places.clone()]),
        (Definition::new("ScatterElements").attribute("axis", at), vec![run.clone(), places.clone(), another(x)]),
        (Definition::new("GatherND"), vec![run.clone(), tuples.clone()]),
        (Definition::new("ScatterND"), vec![run.clone(), tuples, slices]),
        (Definition::new("OneHot"), vec![far, depth, pair]),
    ];
    if x.element_type().is_integer() {
        for reduction in ["add", "mul", "min", "max"] {
            let definition = Definition { opset: 18, ..Definition::new("ScatterElements") };
            let definition = definition.attribute("axis", at).attribute("reduction", reduction);
            cases.push((definition, vec![run.clone(), places.clone(), another(x)]));
        }
    }
    if shape.len() > 1 {
        cases.push((Definition::new("Trilu"), vec![run.clone()]));
    }
    if shape.len() == 2 {
        cases.push((Definition::new("EyeLike").attribute("k", 1), vec![run]));
    }
    cases
}

/// Another tensor of the same type and shape, known when the plan is made.
fn another(x: &Tensor) -> Input {
    Input::Constant(tensor(x.element_type(), x.shape()))
}
