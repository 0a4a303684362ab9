//! Moved convolutions against values by hand and plain convolutions, and their kernels against the reference.

use proptest::prelude::*;

use super::*;
use crate::ops::operator;
use crate::tensor::ElementType;
use crate::testing::{Input, Tolerance, try_check};

fn run(operator: &dyn Operator, inputs: &[Tensor]) -> Vec<f64> {
    let values: Vec<Value> = inputs.iter().cloned().map(Value::from).collect();
    let values: Vec<_> = values.iter().map(Some).collect();
    let y = operator.evaluate(&mut Context::default(), Inputs(&values)).unwrap();
    y[0].as_tensor().unwrap().to_f64()
}

/// Numbers between −`scale` and `scale` without a pattern.
fn noise(shape: &[usize], scale: f32, seed: usize) -> Tensor {
    let value = |i: usize| ((i + 1) * 7919 * (seed + 1) % 1009) as f32 / 504.5 - 1.0;
    Tensor::new(shape.to_vec(), (0..shape.iter().product()).map(|i| scale * value(i)).collect()).unwrap()
}

#[test]
fn half_an_element_to_the_right_and_outside() {
    let x = Tensor::new([1, 1, 2, 2], vec![1f32, 2.0, 3.0, 5.0]).unwrap();
    let w = Tensor::new([1, 1, 1, 1], vec![2f32]).unwrap();
    // Rows stay, columns move by a half; then rows by one.
    let moves = |dy: f32, dx: f32| Tensor::new([1, 2, 2, 2], [[dy; 4], [dx; 4]].concat()).unwrap();
    let operator = make(&Definition::new("DeformConv")).unwrap();
    assert_eq!(run(&*operator, &[x.clone(), w.clone(), moves(0.0, 0.5)]), [3.0, 2.0, 8.0, 5.0]);
    assert_eq!(run(&*operator, &[x.clone(), w.clone(), moves(1.0, 0.0)]), [6.0, 10.0, 0.0, 0.0]);
    let bias = Tensor::vector(vec![1f32]);
    let mask = Tensor::new([1, 1, 2, 2], vec![0f32, 1.0, 0.5, 2.0]).unwrap();
    assert_eq!(run(&*operator, &[x, w, moves(0.0, 0.0), bias, mask]), [1.0, 5.0, 4.0, 21.0]);
}

#[test]
fn without_moves_it_is_a_convolution() {
    let attributes = |name: &str| {
        let d = Definition::new(name).attribute("pads", [1, 0, 2, 1]).attribute("strides", [2, 1]);
        d.attribute("dilations", [1, 2]).attribute("group", 2)
    };
    let (x, w) = (noise(&[2, 4, 6, 7], 1.0, 1), noise(&[6, 2, 3, 2], 1.0, 2));
    let expected = run(&*operator(&attributes("Conv")).unwrap(), &[x.clone(), w.clone()]);
    let moves = Tensor::zeros(ElementType::F32, [2, 2 * 12, 4, 6]).unwrap();
    let moved = run(&*make(&attributes("DeformConv").attribute("offset_group", 2)).unwrap(), &[x, w, moves]);
    assert_eq!(expected.len(), moved.len());
    assert!(expected.iter().zip(&moved).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |d: Definition, shapes: [&[usize]; 3]| {
        let facts = shapes.map(|s| Fact::new(ElementType::F32, s.to_vec()));
        make(&d).is_err() || make(&d).unwrap().infer(&facts.each_ref().map(Some)).is_err()
    };
    let d = || Definition::new("DeformConv");
    assert!(!refused(d(), [&[1, 2, 3, 3], &[1, 2, 2, 2], &[1, 8, 2, 2]]));
    assert!(refused(d(), [&[1, 2, 3, 3], &[1, 2, 2, 2], &[1, 4, 2, 2]]));
    assert!(refused(d(), [&[1, 2, 3, 3], &[1, 2, 2, 2], &[1, 8, 3, 2]]));
    assert!(refused(d().attribute("offset_group", 3), [&[1, 2, 3, 3], &[1, 2, 2, 2], &[1, 24, 2, 2]]));
    assert!(refused(d().attribute("offset_group", 0), [&[1, 2, 3, 3], &[1, 2, 2, 2], &[1, 8, 2, 2]]));
    assert!(refused(d().attribute("group", 2), [&[1, 2, 3, 3], &[1, 1, 2, 2], &[1, 8, 2, 2]]));
}

/// Of one axis: its size, the kernel's, stride, dilation and padding.
fn axis() -> impl Strategy<Value = (usize, usize, usize, usize, usize)> {
    (1usize..=7, 1usize..=3, 1usize..=2, 1usize..=2, 0usize..=1)
        .prop_map(|(n, k, s, d, p)| (n.max((k - 1) * d + 1), k, s, d, p))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    // Sums of products up to 1; places up to 10 are off by 2⁻²⁰, between neighbours that differ by up to 2.
    #[test]
    fn the_kernels_agree_with_the_reference(
        (n, groups, inputs, outputs, offset_groups) in (0usize..=2, 1usize..=2, 1usize..=2, 1usize..=3, 1usize..=2),
        axes in prop::collection::vec(axis(), 1..=3),
        (bias, mask) in (any::<bool>(), any::<bool>()),
    ) {
        let channels = groups * inputs * offset_groups;
        let list = |f: fn(&(usize, usize, usize, usize, usize)) -> usize| axes.iter().map(|a| f(a) as i64).collect::<Vec<_>>();
        let d = Definition::new("DeformConv")
            .attribute("strides", list(|a| a.2)).attribute("dilations", list(|a| a.3))
            .attribute("pads", [list(|a| a.4), list(|a| a.4)].concat())
            .attribute("group", groups as i64).attribute("offset_group", offset_groups as i64);
        let out: Vec<_> = axes.iter().map(|&(n, k, s, d, p)| (n + 2 * p - (k - 1) * d - 1) / s + 1).collect();
        let taps: usize = axes.iter().map(|a| a.1).product();
        let shape = |first: [usize; 2], rest: &[usize]| [first.to_vec(), rest.to_vec()].concat();
        let x = shape([n, channels], &axes.iter().map(|a| a.0).collect::<Vec<_>>());
        let w = shape([groups * outputs, channels / groups], &axes.iter().map(|a| a.1).collect::<Vec<_>>());
        let mut all = vec![
            Input::Run(noise(&x, 1.0, 1)),
            Input::Constant(noise(&w, 1.0, 2)),
            Input::Run(noise(&shape([n, offset_groups * taps * axes.len()], &out), 2.5, 3)),
            if bias { Input::Constant(noise(&[groups * outputs], 1.0, 4)) } else { Input::Missing },
        ];
        if mask {
            all.push(Input::Run(noise(&shape([n, offset_groups * taps], &out), 1.0, 5)));
        }
        let terms = (channels / groups * taps) as f32;
        try_check(&*make(&d).unwrap(), &all, Tolerance { absolute: 4e-6 * (terms + 1.0), relative: 1e-5 })
            .map_err(TestCaseError::fail)?;
    }
}
