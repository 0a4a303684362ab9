//! Grids against values by hand, and their kernels against the references.

use proptest::prelude::*;

use super::*;
use crate::tensor::{ElementType, Tensor};
use crate::testing::{Input, Tolerance, try_check};

fn run(operator: &dyn Operator, inputs: &[Tensor]) -> Vec<f64> {
    let values: Vec<Value> = inputs.iter().cloned().map(Value::from).collect();
    let values: Vec<_> = values.iter().map(Some).collect();
    let y = operator.evaluate(&mut Context::default(), Inputs(&values)).unwrap();
    let y = y[0].as_tensor().unwrap();
    y.to_f64()
}

/// Numbers between −`scale` and `scale` without a pattern.
fn noise(shape: &[usize], scale: f32, seed: usize) -> Tensor {
    let value = |i: usize| (((i + 1) * 7919 * (seed + 1)) % 1009) as f32 / 504.5 - 1.0;
    Tensor::new(shape.to_vec(), (0..shape.iter().product()).map(|i| scale * value(i)).collect()).unwrap()
}

#[test]
fn places_between_elements_and_outside() {
    let x = Tensor::new([1, 1, 1, 4], vec![1f32, 2.0, 3.0, 4.0]).unwrap();
    // With aligned corners these are the places −0.5, 0, 0.4, 3, 3.5 and 4.5.
    let at = [-0.5f32, 0.0, 0.4, 3.0, 3.5, 4.5].map(|v| v / 1.5 - 1.0);
    let grid = Tensor::new([1, 1, 6, 2], at.iter().flat_map(|&v| [v, 0.0]).collect()).unwrap();
    let values = |mode: &str, padding: &str| {
        let d = Definition::new("GridSample").attribute("mode", mode).attribute("padding_mode", padding);
        let y = run(&*sample(&d.attribute("align_corners", 1)).unwrap(), &[x.clone(), grid.clone()]);
        y.iter().map(|v| (v * 1000.0).round() / 1000.0).collect::<Vec<_>>()
    };
    assert_eq!(values("linear", "zeros"), [0.5, 1.0, 1.4, 4.0, 2.0, 0.0]);
    assert_eq!(values("linear", "border"), [1.0, 1.0, 1.4, 4.0, 4.0, 4.0]);
    assert_eq!(values("linear", "reflection"), [1.5, 1.0, 1.4, 4.0, 3.5, 2.5]);
    assert_eq!(values("nearest", "border"), [1.0, 1.0, 1.0, 4.0, 4.0, 4.0]);
    assert_eq!(values("cubic", "zeros")[3], 4.0);
}

#[test]
fn older_names_and_what_is_refused() {
    let old = |mode: &str| sample(&Definition { opset: 16, ..Definition::new("GridSample") }.attribute("mode", mode));
    assert!(old("bilinear").is_ok() && old("bicubic").is_ok() && old("linear").is_err());
    assert!(sample(&Definition::new("GridSample").attribute("mode", "bilinear")).is_err());
    let refused = |operator: &dyn Operator, x: &[usize], grid: &[usize]| {
        let facts = [x, grid].map(|s| Fact::new(ElementType::F32, s.to_vec()));
        operator.infer(&facts.each_ref().map(Some)).is_err()
    };
    let new = sample(&Definition::new("GridSample")).unwrap();
    assert!(!refused(&*new, &[1, 2, 3, 3, 3], &[1, 2, 2, 2, 3]));
    assert!(refused(&*old("bilinear").unwrap(), &[1, 2, 3, 3, 3], &[1, 2, 2, 2, 3]));
    assert!(refused(&*new, &[1, 2, 3, 3], &[1, 2, 2, 3]));
    assert!(refused(&*new, &[1, 2, 0, 3], &[1, 2, 2, 2]));
    assert!(refused(&*new, &[2, 2, 3, 3], &[1, 2, 2, 2]));
}

#[test]
fn matrices_turn_and_shift_places() {
    let theta = Tensor::new([1, 2, 3], vec![0f32, 1.0, 0.5, -1.0, 0.0, 0.0]).unwrap();
    let size = Tensor::vector(vec![1i64, 1, 2, 2]);
    let aligned = affine::make(&Definition::new("AffineGrid").attribute("align_corners", 1)).unwrap();
    assert_eq!(run(&*aligned, &[theta.clone(), size.clone()]), [-0.5, 1.0, -0.5, -1.0, 1.5, 1.0, 1.5, -1.0]);
    let plain = affine::make(&Definition::new("AffineGrid")).unwrap();
    assert_eq!(run(&*plain, &[theta.clone(), size]), [0.0, 0.5, 0.0, -0.5, 1.0, 0.5, 1.0, -0.5]);
    for size in [vec![1i64, 1, -2, 2], vec![2, 1, 2, 2], vec![1, 1, 2, 2, 2], vec![1, 1]] {
        let facts = [Fact::constant(theta.clone()), Fact::constant(Tensor::vector(size))];
        assert!(plain.infer(&facts.each_ref().map(Some)).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    // A coordinate is off by a few 2⁻²⁴ of up to 8, and neighbours differ by up to 2 (3 in slopes of cubics); up to 64 terms.
    #[test]
    fn the_kernel_reads_what_the_reference_reads(
        (n, c) in (0usize..=2, 1usize..=3),
        axes in prop::collection::vec((prop::sample::select(vec![1usize, 2, 3, 5, 7]), 1usize..=5), 1..=3),
        mode in prop::sample::select(vec!["nearest", "linear", "cubic"]),
        padding in prop::sample::select(vec!["zeros", "border", "reflection"]),
        align in 0i64..2,
        seed in 0usize..100,
    ) {
        let definition = Definition::new("GridSample").attribute("mode", mode).attribute("padding_mode", padding);
        let operator = sample(&definition.attribute("align_corners", align)).unwrap();
        let x: Vec<_> = [n, c].into_iter().chain(axes.iter().map(|a| a.0)).collect();
        let grid: Vec<_> = [n].into_iter().chain(axes.iter().map(|a| a.1)).chain([axes.len()]).collect();
        let (x, grid) = (noise(&x, 1.0, seed), noise(&grid, 1.7, seed + 3));
        // In halves, a grid's own rounding is in both; the tolerance of the places is that of 32 bits.
        try_check(&*operator, &[Input::Run(x), Input::Run(grid)], Tolerance { absolute: 3e-5, relative: 1e-5 })
            .map_err(TestCaseError::fail)?;
    }

    // Sums of four products of numbers up to 1.
    #[test]
    fn the_kernel_places_what_the_reference_places(
        n in 0usize..=3, spatial in prop::collection::vec(0usize..=7, 2..=3), align in 0i64..2,
    ) {
        let operator = affine::make(&Definition::new("AffineGrid").attribute("align_corners", align)).unwrap();
        let size: Vec<i64> = [n, 3].iter().chain(&spatial).map(|&d| d as i64).collect();
        let theta = noise(&[n, spatial.len(), spatial.len() + 1], 1.0, 5);
        try_check(&*operator, &[Input::Run(theta), Input::Constant(Tensor::vector(size))], Tolerance::relative(1e-6))
            .map_err(TestCaseError::fail)?;
    }
}

#[test]
fn bytes_are_read_too() {
    let x = Tensor::new([1, 1, 3, 3], vec![1u8, 2, 3, 4, 5, 6, 7, 8, 255]).unwrap();
    let grid = noise(&[1, 3, 5, 2], 1.3, 1);
    let operator = sample(&Definition::new("GridSample").attribute("mode", "nearest")).unwrap();
    try_check(&*operator, &[Input::Run(x), Input::Run(grid)], Tolerance::EXACT).unwrap();
}
