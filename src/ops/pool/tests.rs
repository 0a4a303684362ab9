//! Pools against the standard's examples, and every candidate against the reference.

use proptest::prelude::*;

use super::{Kind, Pool};
use crate::graph::{Context, Definition, Inputs, Operator, Value};
use crate::ops::window::{AutoPad, Window};
use crate::tensor::{ElementType, Tensor};
use crate::testing::{Input, Tolerance, try_check};

fn evaluate(pool: &dyn Operator, x: &Tensor) -> Vec<Tensor> {
    let x = Value::Tensor(x.clone());
    let y = pool.evaluate(&mut Context::default(), Inputs(&[Some(&x)])).unwrap();
    y.into_iter().map(|v| v.into_tensor().unwrap()).collect()
}

fn pool(kind: Kind, window: Window) -> Pool {
    Pool { kind, window: Some(window), indices: false, column_major: false }
}

fn counting(shape: [usize; 4]) -> Tensor {
    Tensor::new(shape, (1..=shape.iter().product::<usize>()).map(|v| v as f32).collect()).unwrap()
}

#[test]
fn the_standards_max_pools() {
    let x = counting([1, 1, 5, 5]);
    let window = Window { kernel: vec![5, 5], pads: vec![2; 4], ..Window::default() };
    let y = evaluate(&pool(Kind::Max, window), &x);
    assert_eq!(y[0].as_slice::<f32>().unwrap()[..7], [13., 14., 15., 15., 15., 18., 19.]);
    let x = counting([1, 1, 4, 4]);
    let window = Window { kernel: vec![3, 3], strides: vec![2, 2], ceil: true, ..Window::default() };
    assert_eq!(evaluate(&pool(Kind::Max, window), &x)[0].as_slice::<f32>().unwrap(), [11., 12., 15., 16.]);
    let window = Window { kernel: vec![2, 2], dilations: vec![2, 2], ..Window::default() };
    assert_eq!(evaluate(&pool(Kind::Max, window), &x)[0].as_slice::<f32>().unwrap(), [11., 12., 15., 16.]);
}

#[test]
fn indices_count_in_either_order() {
    let x = counting([1, 1, 5, 5]);
    let window = Window { kernel: vec![2, 2], strides: vec![2, 2], ..Window::default() };
    let row_major = Pool { indices: true, ..pool(Kind::Max, window) };
    let y = evaluate(&row_major, &x);
    assert_eq!(y[1].as_slice::<i64>().unwrap(), [6, 8, 16, 18]);
    let y = evaluate(&Pool { column_major: true, ..row_major }, &x);
    assert_eq!(y[1].as_slice::<i64>().unwrap(), [6, 16, 8, 18]);
}

#[test]
fn means_count_padding_only_where_asked_and_nothing_beyond_it() {
    let x = Tensor::new([1, 1, 4], vec![1f32, 2., 3., 4.]).unwrap();
    let window = Window { kernel: vec![3], strides: vec![2], pads: vec![1, 0], ceil: true, ..Window::default() };
    let mean = |include_pad| {
        evaluate(&pool(Kind::Average { include_pad }, window.clone()), &x)[0].as_slice::<f32>().unwrap().to_vec()
    };
    // Windows: pad 1 2 | 2 3 4; the ceiled third would begin at 3: 4 and two beyond.
    assert_eq!(mean(false), [1.5, 3.0]);
    assert_eq!(mean(true), [1.0, 3.0]);
    let longer = Window { kernel: vec![3], strides: vec![3], ceil: true, ..Window::default() };
    let y = evaluate(&pool(Kind::Average { include_pad: true }, longer), &x);
    assert_eq!(y[0].as_slice::<f32>().unwrap(), [2.0, 4.0]);
}

#[test]
fn integers_norms_and_global_forms() {
    let x = Tensor::new([1, 1, 3], vec![-7i8, -128, -9]).unwrap();
    let window = Window { kernel: vec![2], ..Window::default() };
    assert_eq!(evaluate(&pool(Kind::Max, window.clone()), &x)[0].as_slice::<i8>().unwrap(), [-7, -9]);
    let x = Tensor::new([1, 1, 2], vec![-3f32, 4.]).unwrap();
    assert_eq!(evaluate(&pool(Kind::Lp(2), window), &x)[0].as_slice::<f32>().unwrap(), [5.0]);
    let global = crate::ops::operator(&Definition::new("GlobalAveragePool")).unwrap();
    let y = evaluate(&*global, &counting([1, 2, 2, 2]));
    assert_eq!(y[0].shape(), [1, 2, 1, 1]);
    assert_eq!(y[0].as_slice::<f32>().unwrap(), [2.5, 6.5]);
}

#[test]
fn pads_as_large_as_the_kernel_are_refused() {
    let definition = Definition::new("MaxPool").attribute("kernel_shape", [2, 2]).attribute("pads", [0, 2, 0, 0]);
    assert!(crate::ops::operator(&definition).is_err());
    assert!(crate::ops::operator(&Definition::new("MaxPool")).is_err());
}

fn noise(shape: &[usize]) -> Tensor {
    let value = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0;
    Tensor::new(shape.to_vec(), (0..shape.iter().product()).map(value).collect()).unwrap()
}

fn axis() -> impl Strategy<Value = (usize, usize, usize, usize, (usize, usize))> {
    (1usize..=17, 1usize..=4, 1usize..=3, 1usize..=2).prop_flat_map(|(n, k, s, d)| {
        (0..k, 0..k).prop_map(move |(before, after)| {
            let n = n.max(((k - 1) * d + 1).saturating_sub(before + after));
            (n, k, s, d, (before, after))
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    // Maxima are exact. A mean of at most 64 values up to 1 is off by a few times 2⁻²⁴: sum and division.
    #[test]
    fn every_candidate_agrees_with_the_reference(
        kind in prop_oneof![Just(Kind::Max), any::<bool>().prop_map(|include_pad| Kind::Average { include_pad })],
        (n, c) in (1usize..=2, 1usize..=9),
        axes in proptest::collection::vec(axis(), 1..=3),
        (ceil, same) in (any::<bool>(), 0..4u8),
    ) {
        let window = Window {
            auto_pad: if same == 0 { AutoPad::SameUpper } else { AutoPad::NotSet },
            kernel: axes.iter().map(|a| a.1).collect(),
            strides: axes.iter().map(|a| a.2).collect(),
            dilations: axes.iter().map(|a| a.3).collect(),
            pads: axes.iter().map(|a| a.4.0).chain(axes.iter().map(|a| a.4.1)).collect(),
            ceil,
        };
        let shape: Vec<_> = [n, c].into_iter().chain(axes.iter().map(|a| a.0)).collect();
        let tolerance = if kind == Kind::Max { Tolerance::EXACT } else { Tolerance::relative(1e-6) };
        try_check(&pool(kind, window), &[Input::Run(noise(&shape))], tolerance).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn indices_agree_with_the_reference(
        (n, c) in (0usize..=2, 1usize..=3), axes in proptest::collection::vec(axis(), 1..=3),
        (column_major, ceil) in (any::<bool>(), any::<bool>()), values in prop::sample::select(vec![3usize, 1009]),
    ) {
        let window = Window {
            kernel: axes.iter().map(|a| a.1).collect(),
            strides: axes.iter().map(|a| a.2).collect(),
            dilations: axes.iter().map(|a| a.3).collect(),
            pads: axes.iter().map(|a| a.4.0).chain(axes.iter().map(|a| a.4.1)).collect(),
            ceil,
            ..Window::default()
        };
        let shape: Vec<_> = [n, c].into_iter().chain(axes.iter().map(|a| a.0)).collect();
        // Few values: the first of equals is meant.
        let value = |i: usize| ((i * 7919 + 13) % values) as f32 - 1.0;
        let x = Tensor::new(shape.clone(), (0..shape.iter().product()).map(value).collect()).unwrap();
        let pool = Pool { indices: true, column_major, ..pool(Kind::Max, window) };
        try_check(&pool, &[Input::Run(x)], Tolerance::EXACT).map_err(TestCaseError::fail)?;
    }

    // Powers by exponential and logarithm, of numbers up to 1: a few 2⁻²⁴ times ln(1009), and once more for the root.
    #[test]
    fn norms_agree_with_the_reference(
        (p, window) in (prop::sample::select(vec![1u32, 2, 3, 7, 64]), any::<bool>()),
        (n, c) in (0usize..=2, 1usize..=5),
        axes in proptest::collection::vec(axis(), 1..=3),
        scale in prop::sample::select(vec![0f32, 1.0, 100.0]),
    ) {
        let window = window.then(|| Window {
            kernel: axes.iter().map(|a| a.1).collect(),
            strides: axes.iter().map(|a| a.2).collect(),
            dilations: axes.iter().map(|a| a.3).collect(),
            pads: axes.iter().map(|a| a.4.0).chain(axes.iter().map(|a| a.4.1)).collect(),
            ..Window::default()
        });
        let shape: Vec<_> = [n, c].into_iter().chain(axes.iter().map(|a| a.0)).collect();
        let pool = Pool { kind: Kind::Lp(p), window, indices: false, column_major: false };
        let x = noise(&shape);
        let x = Tensor::new(shape, x.as_slice::<f32>().unwrap().iter().map(|v| v * scale).collect()).unwrap();
        try_check(&pool, &[Input::Run(x)], Tolerance::relative(1e-5)).map_err(TestCaseError::fail)?;
    }

    // 17 · 17 values up to 1: their sum in any order is off by less than 289 · 2⁻²⁴ of their mean's magnitude.
    #[test]
    fn global_candidates_agree_with_the_reference(
        average in any::<bool>(), n in 1usize..=2, c in 1usize..=9, spatial in proptest::collection::vec(1usize..=17, 1..=2),
    ) {
        let kind = if average { Kind::Average { include_pad: false } } else { Kind::Max };
        let pool = Pool { kind, window: None, indices: false, column_major: false };
        let shape: Vec<_> = [n, c].into_iter().chain(spatial).collect();
        try_check(&pool, &[Input::Run(noise(&shape))], Tolerance::relative(1e-5)).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn bytes_are_pooled_on_the_gpu_too() {
    let window = Window { kernel: vec![3, 3], strides: vec![2, 2], pads: vec![1; 4], ..Window::default() };
    for element_type in [ElementType::I8, ElementType::U8] {
        let bytes: Vec<u8> = (0..2 * 5 * 7 * 9).map(|i| (i * 37 % 251) as u8).collect();
        let x = Tensor::from_bytes(element_type, [2, 5, 7, 9], bytes.into()).unwrap();
        try_check(&pool(Kind::Max, window.clone()), &[Input::Run(x)], Tolerance::EXACT).unwrap();
    }
}
