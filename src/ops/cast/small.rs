//! Casts from and to types of eight bits and less, against the reference.

use super::cast;
use crate::graph::{Context, Definition, Inputs, Value};
use crate::tensor::{ElementType, Tensor};
use crate::testing::{Input, Tolerance, check};

const SMALL: [ElementType; 8] = [
    ElementType::F8E4M3FN,
    ElementType::F8E4M3FNUZ,
    ElementType::F8E5M2,
    ElementType::F8E5M2FNUZ,
    ElementType::F8E8M0,
    ElementType::F4E2M1,
    ElementType::I4,
    ElementType::U4,
];
const WIDE: [ElementType; 3] = [ElementType::F32, ElementType::F16, ElementType::BF16];

fn check_pair(x: &Tensor, to: ElementType, definition: &Definition) {
    let definition = definition.clone().attribute("to", i64::from(to.data_type()));
    check(&*cast(&definition).unwrap(), &[Input::Run(x.clone())], Tolerance::EXACT);
}

/// Every number of every format, what lies in the middle of two, and what is beyond all.
fn numbers() -> Vec<f32> {
    let mut numbers = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, 1e-30, 65_504.0, 500.0, -464.0];
    for small in SMALL {
        let codes: Vec<u8> = if small.bits() == 4 { (0..16).collect() } else { (0..=255).collect() };
        let codes = Tensor::from_bytes(small, [codes.len()], codes.into()).unwrap();
        let all: Vec<f32> = codes.to_f64().into_iter().map(|v| v as f32).filter(|v| v.abs() < 1e30).collect();
        numbers.extend(all.windows(2).flat_map(|pair| [pair[0], (pair[0] + pair[1]) / 2.0, pair[0] * 1.001]));
    }
    // What WGSL may take for zero.
    numbers.retain(|v| *v == 0.0 || v.abs() >= f32::MIN_POSITIVE || v.is_nan());
    numbers
}

#[test]
fn floats_become_small_numbers_as_in_the_reference() {
    for from in WIDE {
        let x = Tensor::from_f64(from, [numbers().len()], numbers().into_iter().map(f64::from).collect()).unwrap();
        for to in SMALL.into_iter().filter(|to| from != ElementType::BF16 || to.is_small_float()) {
            for saturate in [0i64, 1] {
                check_pair(&x, to, &Definition::new("Cast").attribute("saturate", saturate));
            }
        }
        for round_mode in ["down", "nearest"] {
            check_pair(&x, ElementType::F8E8M0, &Definition::new("Cast").attribute("round_mode", round_mode));
        }
    }
}

#[test]
fn small_numbers_become_others_as_in_the_reference() {
    for from in SMALL {
        let codes: Vec<u8> = if from.bits() == 4 { (0..16).collect() } else { (0..=255).collect() };
        let x = Tensor::from_bytes(from, [codes.len()], codes.into()).unwrap();
        // Equal elements are equal bytes.
        let x = match from {
            ElementType::I4 => Tensor::from_f64(from, x.shape(), x.to_f64()).unwrap(),
            _ => x,
        };
        // Two powers of two are below the smallest normal number.
        let x = match from {
            ElementType::F8E8M0 => Tensor::from_bytes(from, [254], (2..=255).collect::<Vec<u8>>().into()).unwrap(),
            _ => x,
        };
        for to in WIDE.into_iter().chain(SMALL) {
            let value = Value::from(x.clone());
            let made = cast(&Definition::new("Cast").attribute("to", i64::from(to.data_type()))).unwrap();
            assert!(made.compute(&mut Context::default(), Inputs(&[Some(&value)])).is_ok());
            let integers = |t| matches!(t, ElementType::I4 | ElementType::U4);
            if integers(from) == integers(to) || (integers(from) && to == ElementType::F32) {
                check_pair(&x, to, &Definition::new("Cast"));
            }
        }
    }
}
