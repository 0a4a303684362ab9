use proptest::prelude::*;

use super::*;
use crate::tensor::{ElementType, Tensor};
use crate::testing::{Input, Tolerance, check, try_check};

/// Kernels sum in f32, the reference in f64: at most 8 taps of weights below 2 and values up to 1 along two axes.
const TOLERANCE: Tolerance = Tolerance::relative(1e-5);

fn resize(attributes: &[(&str, &str)]) -> Arc<dyn Operator> {
    let mut definition = Definition { inputs: 4, ..Definition::new("Resize") };
    for (name, value) in attributes {
        definition = definition.attribute(*name, *value);
    }
    from_definition(&definition).unwrap()
}

fn scales(values: &[f32]) -> [Input; 2] {
    [Input::Missing, Input::Constant(Tensor::vector(values.to_vec()))]
}

fn run(operator: &dyn Operator, inputs: &[Input]) -> Tensor {
    let values: Vec<Option<Value>> = inputs
        .iter()
        .map(|i| match i {
            Input::Run(t) | Input::Constant(t) => Some(t.clone().into()),
            Input::Missing => None,
        })
        .collect();
    let values: Vec<Option<&Value>> = values.iter().map(Option::as_ref).collect();

    operator.evaluate(&mut Context::default(), Inputs(&values)).unwrap().remove(0).into_tensor().unwrap()
}

fn picture(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    Tensor::new(shape.to_vec(), (0..n).map(|i| ((i * 37 + 11) % 101) as f32 / 101.0 - 0.4).collect()).unwrap()
}

#[test]
fn the_examples_of_the_standard() {
    let x = Tensor::new([1, 1, 2, 2], vec![1f32, 2., 3., 4.]).unwrap();
    let [roi, twice] = scales(&[1.0, 1.0, 2.0, 3.0]);
    let y = run(&*resize(&[("mode", "nearest")]), &[Input::Run(x), roi, twice]);
    assert_eq!(y.shape(), [1, 1, 4, 6]);
    assert_eq!(
        y.as_slice::<f32>().unwrap(),
        [[1., 1., 1., 2., 2., 2.], [1., 1., 1., 2., 2., 2.], [3., 3., 3., 4., 4., 4.], [3., 3., 3., 4., 4., 4.]]
            .concat()
    );
    let x = Tensor::new([1, 1, 2, 4], (1..9).map(|i| i as f32).collect()).unwrap();
    let [roi, down] = scales(&[1.0, 1.0, 0.6, 0.6]);
    let y = run(&*resize(&[("mode", "linear")]), &[Input::Run(x.clone()), roi.clone(), down.clone()]);
    let expected = [2.666_666_5f32, 4.333_333];
    assert!(y.as_slice::<f32>().unwrap().iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{y:?}");
    let corners = resize(&[("mode", "linear"), ("coordinate_transformation_mode", "align_corners")]);
    let y = run(&*corners, &[Input::Run(x), roi, down]);
    let expected = [1.0f32, 3.142_857];
    assert!(y.as_slice::<f32>().unwrap().iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{y:?}");
}

#[test]
fn sizes_may_keep_the_proportions() {
    let x = picture(&[1, 1, 2, 4]);
    let shape = |policy: &str| {
        let mut d = Definition { inputs: 4, ..Definition::new("Resize") };
        d = d.attribute("keep_aspect_ratio_policy", policy).attribute("axes", [2, 3]);
        let sizes = Input::Constant(Tensor::vector(vec![7i64, 8]));
        let inputs = [Input::Run(x.clone()), Input::Missing, Input::Missing, sizes];
        run(&*from_definition(&d).unwrap(), &inputs).shape().to_vec()
    };
    assert_eq!(shape("stretch"), [1, 1, 7, 8]);
    assert_eq!(shape("not_larger"), [1, 1, 4, 8]);
    assert_eq!(shape("not_smaller"), [1, 1, 7, 14]);
}

#[test]
fn symbols_are_scaled() {
    let x = Fact::new(ElementType::F32, [Dim::Known(1), Dim::Known(3), Dim::symbol("h"), Dim::symbol("w")]);
    let up = Fact::constant(Tensor::vector(vec![1f32, 1., 2., 0.5]));
    let y = resize(&[]).infer(&[Some(&x), None, Some(&up)]).unwrap();
    assert_eq!(y[0].to_string(), "f32[1, 3, h·2, ⌊w / 2⌋]");
    let sizes = Fact::dims(vec![Dim::Known(1), Dim::Known(3), Dim::symbol("a"), Dim::symbol("b")]);
    let y = resize(&[]).infer(&[Some(&x), None, None, Some(&sizes)]).unwrap();
    assert_eq!(y[0].to_string(), "f32[1, 3, a, b]");
}

#[test]
fn wrong_parameters_are_refused() {
    let infer = |values: &[f32]| {
        let x = Fact::new(ElementType::F32, [1usize, 1, 4, 4]);
        resize(&[]).infer(&[Some(&x), None, Some(&Fact::constant(Tensor::vector(values.to_vec())))])
    };
    assert!(infer(&[1., 1., 2., 2.]).is_ok());
    for wrong in
        [vec![1., 2.], vec![1., 1., 0., 1.], vec![1., 1., -1., 1.], vec![1., 1., f32::NAN, 1.], vec![1., 1., 1e30, 1.]]
    {
        assert!(infer(&wrong).is_err(), "{wrong:?}");
    }
    assert!(from_definition(&Definition::new("Resize").attribute("mode", "lanczos")).is_err());
}

#[test]
fn old_operators_floor() {
    let x = Tensor::new([1, 1, 1, 2], vec![1f32, 2.]).unwrap();
    let d = Definition { opset: 9, inputs: 2, ..Definition::new("Upsample") };
    let operator = from_definition(&d).unwrap();
    let scales = Input::Constant(Tensor::vector(vec![1f32, 1., 2., 2.]));
    let inputs = [Input::Run(x), scales];
    assert_eq!(run(&*operator, &inputs).as_slice::<f32>().unwrap(), [1., 1., 2., 2., 1., 1., 2., 2.]);
    check(&*operator, &inputs, Tolerance::EXACT);
}

#[test]
fn volumes_and_channels_last_are_resized_in_passes() {
    let linear = resize(&[("mode", "linear")]);
    let [roi, scale] = scales(&[1.0, 1.0, 2.0, 1.5, 0.7]);
    check(&*linear, &[Input::Run(picture(&[1, 5, 3, 4, 6])), roi, scale], TOLERANCE);
    let [roi, scale] = scales(&[1.0, 2.0, 1.5, 1.0]);
    check(&*linear, &[Input::Run(picture(&[1, 3, 4, 3])), roi.clone(), scale.clone()], TOLERANCE);
    check(&*linear, &[Input::Run(picture(&[2, 3, 5, 8])), roi, scale], TOLERANCE);
    let [roi, scale] = scales(&[2.0, 1.0, 2.0]);
    check(&*linear, &[Input::Run(picture(&[3, 2, 5])), roi, scale], TOLERANCE);
}

#[test]
fn other_types_are_moved() {
    let x = Tensor::new([1, 3, 2, 4], (0..24).collect::<Vec<u8>>()).unwrap();
    for factors in [[1.0, 1.0, 2.0, 3.0], [1.0, 1.0, 1.5, 0.5]] {
        let [roi, scale] = scales(&factors);
        check(&*resize(&[("mode", "nearest")]), &[Input::Run(x.clone()), roi, scale], Tolerance::EXACT);
    }
}

#[test]
fn what_is_added_is_added_to_the_result() {
    for (shape, factors) in [
        (vec![1usize, 5, 3, 7], vec![1.0f32, 1.0, 2.0, 2.0]),
        (vec![2, 4, 4, 8], vec![1.0, 1.0, 3.0, 4.0]),
        (vec![2, 3, 2, 5], vec![1.0, 1.0, 1.0, 3.0]),
        (vec![3, 6], vec![2.0, 1.0]),
    ] {
        let nearest =
            [("mode", "nearest"), ("coordinate_transformation_mode", "asymmetric"), ("nearest_mode", "floor")];
        let [_, scale] = scales(&factors);
        let result: Vec<usize> = shape.iter().zip(&factors).map(|(&n, &f)| n * f as usize).collect();
        let facts = [Fact::new(ElementType::F32, shape.clone()), Fact::constant(Tensor::vector(factors.clone()))];
        let operator = resize(&nearest);
        let larger = operator.downcast::<Resize>().unwrap();
        let sum = larger.with_residual(&[Some(&facts[0]), None, Some(&facts[1])]).unwrap();
        let inputs = [Input::Run(picture(&shape)), Input::Missing, scale, Input::Missing, Input::Run(picture(&result))];
        check(&sum, &inputs, Tolerance::EXACT);
        check(&*operator, &inputs[..3], Tolerance::EXACT);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn gpu_and_reference_agree(
        (channels, height, width) in (1usize..6, 1usize..9, 1usize..9),
        factors in prop::sample::select(vec![(2.0f32, 2.0f32), (4.0, 4.0), (1.0, 3.0), (1.7, 0.6), (0.5, 0.5), (3.0, 1.0), (1.3, 2.0)]),
        mode in prop::sample::select(vec!["nearest", "linear", "cubic"]),
        nearest in prop::sample::select(vec!["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]),
        coordinates in prop::sample::select(vec![
            "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize",
        ]),
        (exclude, antialias) in (any::<bool>(), any::<bool>()),
    ) {
        let mut definition = Definition { inputs: 3, ..Definition::new("Resize") };
        for (name, value) in [("mode", mode), ("nearest_mode", nearest), ("coordinate_transformation_mode", coordinates)] {
            definition = definition.attribute(name, value);
        }
        definition = definition
            .attribute("exclude_outside", i64::from(exclude))
            .attribute("antialias", i64::from(antialias))
            .attribute("extrapolation_value", 0.25f32);
        let operator = from_definition(&definition).unwrap();
        let x = Input::Run(picture(&[2, channels, height, width]));
        let region = Input::Constant(Tensor::vector(vec![0f32, 0., 0.1, -0.2, 1., 1., 0.8, 1.1]));
        let scale = Input::Constant(Tensor::vector(vec![1f32, 1., factors.0, factors.1]));
        let tolerance = if mode == "nearest" { Tolerance::EXACT } else { TOLERANCE };
        try_check(&*operator, &[x, region, scale], tolerance).map_err(TestCaseError::fail)?;
    }
}
