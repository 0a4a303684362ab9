//! Tests of the integers that kernels compute with as pairs of words, because WGSL has none so wide.

use proptest::prelude::*;

use super::operator;
use crate::graph::Definition;
use crate::tensor::shape::elements;
use crate::tensor::{ElementType, Tensor};
use crate::testing::{Input, Tolerance, try_check};

const TYPES: [ElementType; 3] = [ElementType::I64, ElementType::U64, ElementType::U32];

/// Where words, signs and the digits of floats end, and numbers between.
fn telling(seed: u64, i: usize) -> i128 {
    const EDGES: [i128; 18] = [
        0,
        1,
        -1,
        2,
        -7,
        63,
        64,
        i32::MAX as i128,
        i32::MIN as i128,
        1 << 31,
        u32::MAX as i128,
        1 << 32,
        (1 << 53) + 1,
        -(1 << 53) - 1,
        i64::MAX as i128,
        i64::MIN as i128,
        u64::MAX as i128,
        10,
    ];
    let random = (seed ^ i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let random = (random ^ (random >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    match random % 3 {
        0 => EDGES[(random >> 8) as usize % EDGES.len()],
        1 => i128::from(random.cast_signed()) >> (random >> 3 & 63),
        _ => i128::from(random.cast_signed()),
    }
}

fn tensor(element_type: ElementType, shape: &[usize], seed: u64) -> Tensor {
    let values: Vec<i128> = (0..elements(shape).unwrap()).map(|i| telling(seed, i)).collect();
    Tensor::from_integers(element_type, shape, &values).unwrap()
}

fn agree(definition: &Definition, inputs: &[Input]) -> Result<(), TestCaseError> {
    let operator = operator(&Definition { inputs: inputs.len(), ..definition.clone() }).unwrap();
    try_check(&*operator, inputs, Tolerance::EXACT).map_err(TestCaseError::fail)?;
    Ok(())
}

fn axes(values: &[i64]) -> Input {
    Input::Constant(Tensor::vector(values.to_vec()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2))]

    #[test]
    fn functions_of_two_integers_agree(
        rows in prop::sample::select(vec![1usize, 3]), columns in prop::sample::select(vec![1usize, 5, 8, 31]),
        seed in any::<u64>(), kind in prop::sample::select(TYPES.to_vec()),
    ) {
        let run = |shape: &[usize], n: u64| Input::Run(tensor(kind, shape, seed.wrapping_add(n)));
        let (a, b) = (run(&[rows, columns], 0), run(&[rows, columns], 1));
        for name in [
            "Add", "Sub", "Mul", "Div", "Mod", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Max", "Min",
            "BitwiseAnd", "BitwiseOr", "BitwiseXor",
        ] {
            agree(&Definition::new(name), &[a.clone(), b.clone()])?;
        }
        agree(&Definition::new("Mod").attribute("fmod", 1), &[a.clone(), run(&[columns], 2)])?;
        for name in ["Sum", "Max", "Min"] {
            agree(&Definition::new(name), &[a.clone(), run(&[columns], 2), b.clone()])?;
        }
        if kind.is_signed_integer() {
            agree(&Definition::new("PRelu"), &[a, run(&[columns], 2)])?;
        } else {
            let distances: Vec<i128> = (0..columns as i128).map(|i| i * 7 % 70).collect();
            let distances = Tensor::from_integers(kind, &[columns], &distances).unwrap();
            for direction in ["LEFT", "RIGHT"] {
                let shift = Definition::new("BitShift").attribute("direction", direction);
                agree(&shift, &[b.clone(), Input::Run(distances.clone())])?;
            }
        }
    }

    #[test]
    fn functions_of_one_integer_agree(
        shape in prop::collection::vec(prop::sample::select(vec![1usize, 2, 3, 5]), 1..4),
        seed in any::<u64>(), kind in prop::sample::select(TYPES.to_vec()),
    ) {
        let x = Input::Run(tensor(kind, &shape, seed));
        for name in ["Abs", "Sign", "BitwiseNot"] {
            agree(&Definition::new(name), std::slice::from_ref(&x))?;
        }
        if kind.is_signed_integer() {
            for name in ["Neg", "Relu"] {
                agree(&Definition::new(name), std::slice::from_ref(&x))?;
            }
        }
        let bound = |n: u64| Input::Constant(tensor(kind, &[], seed ^ n));
        agree(&Definition::new("Clip"), &[x.clone(), bound(5), bound(6)])?;
        for at in 0..shape.len() as i64 {
            for name in ["ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceSumSquare"] {
                agree(&Definition { opset: 18, ..Definition::new(name) }, &[x.clone(), axes(&[at])])?;
            }
            for name in ["ArgMax", "ArgMin"] {
                agree(&Definition::new(name).attribute("axis", at), std::slice::from_ref(&x))?;
            }
            agree(&Definition::new("CumSum").attribute("reverse", at % 2), &[x.clone(), axes(&[at])])?;
            for largest in [0, 1] {
                let best = Definition::new("TopK").attribute("axis", at).attribute("largest", largest);
                agree(&best, &[x.clone(), axes(&[1])])?;
            }
        }
        agree(&Definition { opset: 18, ..Definition::new("ReduceSum") }, std::slice::from_ref(&x))?;
    }

    #[test]
    fn integers_to_whole_powers_agree(
        seed in any::<u64>(),
        kind in prop::sample::select(vec![
            ElementType::I64, ElementType::U64, ElementType::U32, ElementType::I32, ElementType::I16, ElementType::U8,
        ]),
    ) {
        let x = Input::Run(tensor(kind, &[3, 7], seed));
        let signed = kind.is_signed_integer();
        let by: Vec<i128> = (0..7).map(|i| if signed { i - 2 } else { i * 3 }).collect();
        let by = Tensor::from_integers(kind, &[7], &by).unwrap();
        agree(&Definition::new("Pow"), &[x.clone(), Input::Run(by)])?;
        agree(&Definition::new("Pow"), &[x.clone(), Input::Constant(Tensor::vector(vec![0f32, 1.0, 2.0, 3.0, 5.0, 20.0, 64.0]))])?;
        let bound = |n: u64| Input::Constant(tensor(kind, &[], seed ^ n));
        agree(&Definition::new("Clip"), &[x, bound(5), bound(6)])?;
    }

    #[test]
    fn every_type_becomes_every_other(seed in any::<u64>(), from in prop::sample::select(ElementType::ALL.to_vec())) {
        prop_assume!(from != ElementType::String);
        let x = Input::Run(tensor(from, &[2, 23], seed));
        for to in ElementType::ALL.into_iter().filter(|&to| to != ElementType::String) {
            agree(&Definition::new("Cast").attribute("to", i64::from(to.data_type())), std::slice::from_ref(&x))?;
        }
    }
}
