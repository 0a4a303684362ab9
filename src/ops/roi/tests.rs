//! Regions against values by hand, and their kernels against the reference.

use proptest::prelude::*;

use super::*;
use crate::tensor::Tensor;
use crate::testing::{Input, Tolerance, try_check};

fn run(operator: &dyn Operator, inputs: &[Tensor]) -> Result<Vec<f64>, EvaluateError> {
    let values: Vec<Value> = inputs.iter().cloned().map(Value::from).collect();
    let values: Vec<_> = values.iter().map(Some).collect();
    let y = operator.evaluate(&mut Context::default(), Inputs(&values))?;
    Ok(y[0].as_tensor().unwrap().to_f64())
}

fn counting(h: usize, w: usize) -> Tensor {
    Tensor::new([1, 1, h, w], (0..h * w).map(|v| v as f32).collect()).unwrap()
}

fn roi(corners: [f32; 4]) -> Tensor {
    Tensor::new([1, 4], corners.to_vec()).unwrap()
}

fn plain(opset: i64) -> Definition {
    let d = Definition::new("RoiAlign").attribute("output_height", 2).attribute("output_width", 2);
    Definition { opset, ..d.attribute("sampling_ratio", 1) }
}

#[test]
fn points_lie_in_the_middle_of_their_bins() {
    let inputs = [counting(4, 4), roi([0.0, 0.0, 2.0, 2.0]), Tensor::vector(vec![0i64])];
    // Moved by half an element from opset 16 on: rows and columns 0 and 1, not 0.5 and 1.5.
    assert_eq!(run(&*align(&plain(22)).unwrap(), &inputs).unwrap(), [0.0, 1.0, 4.0, 5.0]);
    assert_eq!(run(&*align(&plain(10)).unwrap(), &inputs).unwrap(), [2.5, 3.5, 6.5, 7.5]);
    let largest = align(&plain(10).attribute("mode", "max")).unwrap();
    // The largest of the four weighted neighbours: a quarter of the last of them.
    assert_eq!(run(&*largest, &inputs).unwrap(), [1.25, 1.5, 2.25, 2.5]);
    let other = [inputs[0].clone(), inputs[1].clone(), Tensor::vector(vec![1i64])];
    assert!(run(&*largest, &other).is_err());
}

#[test]
fn a_region_without_end_ends() {
    let d = Definition::new("RoiAlign").attribute("output_height", 1);
    let inputs = [counting(4, 4), roi([-1e30, -1e9, 1e30, 1e9]), Tensor::vector(vec![0i64])];
    assert!(run(&*align(&d).unwrap(), &inputs).unwrap()[0].abs() < 1e-9);
    let nan = [counting(4, 4), roi([f32::NAN; 4]), Tensor::vector(vec![0i64])];
    assert_eq!(run(&*align(&d).unwrap(), &nan).unwrap(), [0.0]);
}

#[test]
fn whole_bins_overlap_where_they_do_not_divide() {
    let d = Definition::new("MaxRoiPool").attribute("pooled_shape", [2, 2]);
    let region = Tensor::new([1, 5], vec![0f32, 0.0, 0.0, 2.0, 2.0]).unwrap();
    // Three elements in two bins: 0 to 1 and 1 to 2.
    assert_eq!(run(&*pool(&d).unwrap(), &[counting(4, 4), region]).unwrap(), [5.0, 6.0, 9.0, 10.0]);
    let outside = Tensor::new([1, 5], vec![0f32, 9.0, 9.0, 12.0, 12.0]).unwrap();
    assert_eq!(run(&*pool(&d).unwrap(), &[counting(4, 4), outside]).unwrap(), [0.0; 4]);
    assert!(pool(&Definition::new("MaxRoiPool").attribute("pooled_shape", [2, 0])).is_err());
    assert!(pool(&Definition::new("MaxRoiPool").attribute("pooled_shape", [2])).is_err());
    assert!(align(&Definition::new("RoiAlign").attribute("output_width", i64::MAX)).is_err());
    assert!(align(&Definition::new("RoiAlign").attribute("sampling_ratio", 1000)).is_err());
}

/// Numbers from 0 to 1 without a pattern.
fn noise(n: usize, seed: usize) -> impl Iterator<Item = f32> {
    (0..n).map(move |i| ((i + 1) * (seed + 1) * 7919 % 1009) as f32 / 1009.0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    // Coordinates up to 20 are off by a few 2⁻²⁰, neighbours differ by up to 1. In halves regions are rounded before.
    #[test]
    fn the_kernels_agree_with_the_reference(
        (n, c) in (1usize..=2, 0usize..=3),
        (h, w) in (1usize..=9, 1usize..=9),
        (rois, height, width) in (0usize..=4, 1i64..=4, 1i64..=3),
        (whole, max, half, points) in (any::<bool>(), any::<bool>(), any::<bool>(), 0i64..=3),
        seed in 0usize..200,
    ) {
        let x = Tensor::new([n, c, h, w], noise(n * c * h * w, seed).collect()).unwrap();
        let corners = |i: usize| noise(4, seed + 7 * i + 1).map(|v| v * 12.0 - 2.0).collect::<Vec<_>>();
        let image = |i: usize| (i * 5 + seed) % n;
        let (operator, inputs) = if whole {
            let d = Definition::new("MaxRoiPool").attribute("pooled_shape", [height, width]);
            let regions = (0..rois).flat_map(|i| [vec![image(i) as f32], corners(i)].concat()).collect();
            (pool(&d.attribute("spatial_scale", 0.5f32)).unwrap(), vec![
                Input::Run(x), Input::Run(Tensor::new([rois, 5], regions).unwrap()),
            ])
        } else {
            let d = Definition::new("RoiAlign").attribute("output_height", height).attribute("output_width", width);
            let d = d.attribute("mode", if max { "max" } else { "avg" }).attribute("sampling_ratio", points);
            let d = d.attribute("coordinate_transformation_mode", if half { "half_pixel" } else { "output_half_pixel" });
            let regions = (0..rois).flat_map(corners).collect();
            let images = Tensor::vector((0..rois).map(|i| image(i) as i64).collect());
            (align(&d.attribute("spatial_scale", 0.75f32)).unwrap(), vec![
                Input::Run(x), Input::Run(Tensor::new([rois, 4], regions).unwrap()), Input::Run(images),
            ])
        };
        try_check(&*operator, &inputs, Tolerance { absolute: 2e-5, relative: 1e-5 }).map_err(TestCaseError::fail)?;
    }
}
