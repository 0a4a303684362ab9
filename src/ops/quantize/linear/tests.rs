use proptest::prelude::*;

use super::*;
use crate::testing::{Input, Tolerance, check};

fn run(d: &Definition, inputs: &[Tensor]) -> Result<Tensor, String> {
    let values: Vec<_> = inputs.iter().cloned().map(Value::Tensor).collect();
    let values: Vec<_> = values.iter().map(Some).collect();
    let operator = make(d).map_err(|e| e.to_string())?;
    let mut outputs = operator.evaluate(&mut Context::default(), Inputs(&values)).map_err(|e| e.to_string())?;
    Ok(outputs.remove(0).into_tensor().unwrap())
}

#[test]
fn ties_go_to_even_and_what_is_too_large_is_bounded() {
    let x = Tensor::vector(vec![0f32, 1.0, 3.0, -1.0, 1000.0, -1000.0, f32::INFINITY]);
    let y = run(&Definition::new("QuantizeLinear"), &[x, Tensor::scalar(2f32), Tensor::scalar(128u8)]).unwrap();
    assert_eq!(y.as_slice::<u8>().unwrap(), [128, 128, 130, 128, 255, 0, 255]);
}

#[test]
fn scales_stand_along_an_axis_or_for_blocks() {
    let x = Tensor::new([2, 3], vec![1i8, 2, 3, 4, 5, 6]).unwrap();
    let scales = Tensor::vector(vec![1f32, 10.0]);
    let d = Definition::new("DequantizeLinear");
    let y = run(&d.clone().attribute("axis", 0i64), &[x.clone(), scales.clone()]).unwrap();
    assert_eq!(y.as_slice::<f32>().unwrap(), [1.0, 2.0, 3.0, 40.0, 50.0, 60.0]);
    assert!(run(&d, &[x.clone(), scales]).unwrap_err().contains("do not fit"));
    let scales = Tensor::new([2, 2], vec![1f32, 10.0, 100.0, 1000.0]).unwrap();
    let zeros = Tensor::new([2, 2], vec![0i8, 1, 0, 2]).unwrap();
    let y = run(&d.attribute("block_size", 2i64), &[x, scales, zeros]).unwrap();
    assert_eq!(y.as_slice::<f32>().unwrap(), [1.0, 2.0, 20.0, 400.0, 500.0, 4000.0]);
}

/// Bytes have a way of their own; wider numbers do not.
#[test]
fn bytes_stand_for_what_wider_numbers_do() {
    for (shape, axis) in
        [(&[2usize, 3, 4][..], 0i64), (&[2, 3, 4], 1), (&[2, 3, 4], -1), (&[7], 0), (&[3, 1, 2], 1), (&[2, 0, 3], 2)]
    {
        let n = elements(shape).unwrap();
        let along = shape[crate::tensor::shape::axis(axis, shape.len()).unwrap()];
        for scales in [vec![along], vec![]] {
            let scale = parameters(&scales, 0.3, None, true);
            let Input::Constant(scale) = &scale[0] else { unreachable!() };
            let d = Definition::new("DequantizeLinear").attribute("axis", axis);
            let back = |to: ElementType| {
                let of = |count: usize, step: usize| (0..count).map(|i| (i * step % 101) as f64).collect();
                let x = Tensor::from_f64(to, shape, of(n, 37)).unwrap();
                let zero = Tensor::from_f64(to, scales.as_slice(), of(scale.len(), 13)).unwrap();
                [run(&d, &[x.clone(), scale.clone()]).unwrap(), run(&d, &[x, scale.clone(), zero]).unwrap()]
            };
            let expected = back(ElementType::I16);
            assert_eq!(back(ElementType::I8), expected, "{shape:?} {axis}");
            assert_eq!(back(ElementType::U8), expected, "{shape:?} {axis}");
        }
    }
}

#[test]
fn quotients_have_the_precision_of_the_scale() {
    // 2049 is no f16: 2048 is nearest, and 2048 / 4096 a tie.
    let x = || Tensor::vector(vec![2049f32]);
    let half = Tensor::scalar(half::f16::from_f32(4096.0));
    let d = Definition::new("QuantizeLinear");
    let got = |d: &Definition, scale: Tensor| run(d, &[x(), scale]).unwrap().to_f64();
    assert_eq!(got(&d, half.clone()), [0.0]);
    assert_eq!(got(&d, Tensor::scalar(4096f32)), [1.0]);
    assert_eq!(got(&d.clone().attribute("precision", 1i64), half), [1.0]);
    assert_eq!(got(&d.attribute("precision", 10i64), Tensor::scalar(4096f32)), [0.0]);
}

/// Scales at run time and zero points, or none, of `n` slices.
fn parameters(shape: &[usize], scale: f32, zero: Option<(i8, bool)>, constant: bool) -> Vec<Input> {
    let n = elements(shape).unwrap();
    let given = |t: Tensor| if constant { Input::Constant(t) } else { Input::Run(t) };
    let scales = Tensor::new(shape, (0..n).map(|i| scale * (1.0 + i as f32 / 8.0)).collect::<Vec<_>>()).unwrap();
    let mut inputs = vec![given(scales)];
    if let Some((zero, signed)) = zero {
        let values: Vec<i8> = (0..n).map(|i| zero.wrapping_add(i as i8)).collect();
        inputs.push(given(match signed {
            true => Tensor::new(shape, values).unwrap(),
            false => Tensor::new(shape, values.into_iter().map(i8::cast_unsigned).collect()).unwrap(),
        }));
    }
    inputs
}

/// Half of them are ties, as near as f32 comes to one.
fn numbers(shape: &[usize], scale: f32) -> Tensor {
    let n = elements(shape).unwrap();
    Tensor::new(shape, (0..n).map(|i| (i as f32 * 3.5 - 40.0) * scale).collect::<Vec<_>>()).unwrap()
}

fn agrees(
    shape: &[usize],
    scales: &[usize],
    (axis, block): (i64, i64),
    scale: f32,
    zero: Option<(i8, bool)>,
    constant: bool,
) {
    let attributes = |name| Definition::new(name).attribute("axis", axis).attribute("block_size", block);
    let mut inputs = vec![Input::Run(numbers(shape, scale))];
    inputs.extend(parameters(scales, scale, zero, constant));
    check(&*make(&attributes("QuantizeLinear")).unwrap(), &inputs, Tolerance::EXACT);
    let n = elements(shape).unwrap();
    let to = match zero {
        Some((_, false)) => ElementType::U8,
        _ => ElementType::I8,
    };
    inputs[0] = Input::Run(Tensor::from_f64(to, shape, (0..n).map(|i| (i % 100) as f64).collect()).unwrap());
    let back = make(&attributes("DequantizeLinear")).unwrap();
    check(&*back, &inputs, Tolerance { absolute: 1e-6, relative: 1e-6 });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn kernels_agree_to_the_last_integer(
        shape in prop::sample::select(vec![vec![0usize], vec![1], vec![7], vec![2, 3, 5, 1], vec![1, 5, 4, 8]]),
        scale in prop::sample::select(vec![0.5f32, 0.1, 0.003, 1.7]), zero in prop::option::of(any::<(i8, bool)>()),
        axis in -4i64..4, block in 0i64..4, constant: bool, slices: bool,
    ) {
        let at = crate::tensor::shape::axis(axis, shape.len());
        let scales = match (at, block) {
            (Some(at), 1..) => {
                let mut blocks = shape.clone();
                blocks[at] = shape[at].div_ceil(block as usize);
                blocks
            }
            (Some(at), _) if slices => vec![shape[at]],
            _ => vec![],
        };
        let block = if at.is_none() { 0 } else { block };
        agrees(&shape, &scales, (axis, block), scale, zero, constant);
    }
}
