//! ConvTranspose against the standard's examples, and its kernel against the reference.

use proptest::prelude::*;

use super::*;
use crate::testing::{Input, Tolerance, try_check};

fn evaluate(operator: &ConvTranspose, x: &Tensor, w: &Tensor) -> Tensor {
    let values = [Value::Tensor(x.clone()), Value::Tensor(w.clone())];
    let references: Vec<_> = values.iter().map(Some).collect();

    operator.evaluate(&mut Context::default(), Inputs(&references)).unwrap().remove(0).into_tensor().unwrap()
}

#[test]
fn the_standards_examples() {
    let x = Tensor::new([1, 1, 3, 3], (0..9u8).map(f32::from).collect()).unwrap();
    let w = Tensor::new([1, 2, 3, 3], vec![1f32; 18]).unwrap();
    let y = evaluate(&ConvTranspose::default(), &x, &w);
    assert_eq!(y.shape(), [1, 2, 5, 5]);
    assert_eq!(y.as_slice::<f32>().unwrap()[..10], [0., 1., 3., 3., 2., 3., 8., 15., 12., 7.]);
    let strided = Window { strides: vec![3, 2], ..Window::default() };
    let operator = ConvTranspose { window: strided.clone(), output_shape: vec![10, 8], ..ConvTranspose::default() };
    let y = evaluate(&operator, &x, &w);
    assert_eq!(y.shape(), [1, 2, 10, 8]);
    assert_eq!(y.as_slice::<f32>().unwrap()[..8], [0., 0., 1., 1., 3., 2., 2., 0.]);
    let pads = Window { pads: vec![1, 2, 1, 2], ..strided };
    let y = evaluate(&ConvTranspose { window: pads, ..ConvTranspose::default() }, &x, &w);
    assert_eq!(y.shape(), [1, 2, 7, 3]);
    assert_eq!(y.as_slice::<f32>().unwrap()[..9], [1., 1., 3., 1., 1., 3., 7., 4., 9.]);
}

#[test]
fn same_pads_multiply_the_size_by_the_stride() {
    let window = Window { auto_pad: AutoPad::SameUpper, strides: vec![2, 2], ..Window::default() };
    let operator = ConvTranspose { window, ..ConvTranspose::default() };
    let x = Fact::new(ElementType::F32, [Dim::Known(1), Dim::Known(1), Dim::symbol("h"), Dim::Known(3)]);
    let w = Fact::new(ElementType::F32, [1usize, 2, 3, 3]);
    assert_eq!(operator.infer(&[Some(&x), Some(&w)]).unwrap()[0].to_string(), "f32[1, 2, h·2, 6]");
    let x = Tensor::new([1, 1, 3, 3], (0..9u8).map(f32::from).collect()).unwrap();
    let w = Tensor::new([1, 2, 3, 3], vec![1f32; 18]).unwrap();
    assert_eq!(evaluate(&operator, &x, &w).as_slice::<f32>().unwrap()[..6], [0., 0., 1., 1., 3., 2.]);
}

#[test]
fn wrong_shapes_are_refused() {
    let x = Fact::new(ElementType::F32, [1usize, 4, 3, 3]);
    let w = |shape: [usize; 4]| Fact::new(ElementType::F32, shape);
    let refused = |operator: &ConvTranspose, w: Fact| operator.infer(&[Some(&x), Some(&w)]).is_err();
    assert!(refused(&ConvTranspose::default(), w([3, 2, 3, 3])));
    assert!(refused(&ConvTranspose { groups: 3, ..ConvTranspose::default() }, w([4, 2, 3, 3])));
    let window = Window { pads: vec![9; 4], ..Window::default() };
    assert!(refused(&ConvTranspose { window, ..ConvTranspose::default() }, w([4, 2, 3, 3])));
    assert!(refused(&ConvTranspose { output_padding: vec![1], ..ConvTranspose::default() }, w([4, 2, 3, 3])));
}

fn noise(shape: &[usize], seed: usize) -> Tensor {
    let value = |i: usize| ((i * 7919 + seed) % 1009) as f32 / 504.5 - 1.0;
    Tensor::new(shape.to_vec(), (0..shape.iter().product()).map(value).collect()).unwrap()
}

#[test]
fn windows_side_by_side_agree_with_the_reference() {
    // Channels in groups of four and not, blocks of four elements and not, positions that fill a unit and not.
    for (x, outputs, rows, columns) in [
        ([1, 6, 5, 7], 8, 2, 2),
        ([2, 5, 3, 4], 3, 2, 2),
        ([1, 9, 4, 5], 1, 2, 2),
        ([2, 4, 3, 3], 4, 3, 2),
        ([1, 7, 2, 9], 5, 1, 3),
        ([1, 24, 9, 16], 24, 4, 4),
    ] {
        for bias in [false, true] {
            let window = Window { strides: vec![rows, columns], ..Window::default() };
            let activation = if bias { Activation::LeakyRelu(0.1) } else { Activation::Identity };
            let operator = ConvTranspose { window, activation, ..ConvTranspose::default() };
            let weights = Input::Constant(noise(&[x[1], outputs, rows, columns], 2));
            let bias = if bias { Input::Constant(noise(&[outputs], 3)) } else { Input::Missing };
            let tolerance = Tolerance { absolute: 1e-6 * (x[1] + 1) as f32, relative: 2e-6 };
            try_check(&operator, &[Input::Run(noise(&x, 1)), weights, bias], tolerance).unwrap();
        }
    }
}

fn axis() -> impl Strategy<Value = (usize, usize, usize, usize, (usize, usize), usize)> {
    let sizes = (1usize..=7, 1usize..=4, 1usize..=3, 1usize..=2);
    (sizes, (0usize..=1, 0usize..=1), 0usize..=2).prop_map(|((n, k, s, d), pads, extra)| {
        let full = (n - 1) * s + (k - 1) * d + 1 + extra;
        (n, k, s, d, if pads.0 + pads.1 > full { (0, 0) } else { pads }, extra)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    // Sums of products up to 1: 1e-6 per term is several times what rounding makes of random signs.
    #[test]
    fn the_kernel_agrees_with_the_reference(
        (n, groups, inputs, outputs) in (1usize..=2, 1usize..=3, 1usize..=5, 1usize..=5),
        axes in proptest::collection::vec(axis(), 1..=3),
        (bias, constant, same) in (any::<bool>(), any::<bool>(), 0..4u8),
    ) {
        let window = Window {
            auto_pad: if same == 0 { AutoPad::SameLower } else { AutoPad::NotSet },
            strides: axes.iter().map(|a| a.2).collect(),
            dilations: axes.iter().map(|a| a.3).collect(),
            pads: axes.iter().map(|a| a.4.0).chain(axes.iter().map(|a| a.4.1)).collect(),
            ..Window::default()
        };
        let output_padding = axes.iter().map(|a| a.5).collect();
        let activation = if bias { Activation::LeakyRelu(0.1) } else { Activation::Identity };
        let operator = ConvTranspose { window, output_padding, output_shape: vec![], groups, activation };
        let x: Vec<_> = [n, groups * inputs].into_iter().chain(axes.iter().map(|a| a.0)).collect();
        let w: Vec<_> = [groups * inputs, outputs].into_iter().chain(axes.iter().map(|a| a.1)).collect();
        let wrap = |t| if constant { Input::Constant(t) } else { Input::Run(t) };
        let bias = if bias { wrap(noise(&[groups * outputs], 3)) } else { Input::Missing };
        let terms = inputs * axes.iter().map(|a| a.1).product::<usize>();
        let tolerance = Tolerance { absolute: 1e-6 * (terms + 1) as f32, relative: 2e-6 };
        try_check(&operator, &[Input::Run(noise(&x, 1)), wrap(noise(&w, 2)), bias], tolerance)
            .map_err(TestCaseError::fail)?;
    }
}
