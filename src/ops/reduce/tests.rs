use proptest::prelude::*;

use super::*;
use crate::tensor::Truth;
use crate::tensor::shape::elements;
use crate::testing::{Input, Tolerance, check, try_check};

fn reduce(name: &str, axes: Option<Vec<i64>>, keep: bool) -> Arc<dyn Operator> {
    let definition = Definition::new(name).attribute("keepdims", i64::from(keep));
    make(&match axes {
        Some(axes) => definition.attribute("axes", axes),
        None => definition,
    })
    .unwrap()
}

fn run(operator: &dyn Operator, inputs: &[Tensor]) -> Tensor {
    let values: Vec<Value> = inputs.iter().cloned().map(Value::from).collect();
    let values: Vec<_> = values.iter().map(Some).collect();

    operator.evaluate(&mut Context::default(), Inputs(&values)).unwrap().remove(0).into_tensor().unwrap()
}

fn numbers(shape: &[usize], seed: u32) -> Tensor {
    let n = elements(shape).unwrap();
    // Between 0.5 and 1.5, so that products neither vanish nor explode and sums do not cancel.
    let x =
        (0..n).map(|i| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 16_777_216.0 + 0.5);
    Tensor::new(shape, x.collect()).unwrap()
}

#[test]
fn values_of_the_standard() {
    let x = Tensor::new([3, 2, 2], (1..=12).map(|i| i as f32).collect()).unwrap();
    let of = |name: &str, axes: Vec<i64>| {
        let y = run(&*reduce(name, Some(axes), false), std::slice::from_ref(&x));
        (y.shape().to_vec(), y.as_slice::<f32>().unwrap().to_vec())
    };
    assert_eq!(of("ReduceSum", vec![1]), (vec![3, 2], vec![4.0, 6.0, 12.0, 14.0, 20.0, 22.0]));
    assert_eq!(of("ReduceMean", vec![0, 2]), (vec![2], vec![5.5, 7.5]));
    assert_eq!(of("ReduceMax", vec![-1]).1, [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
    assert_eq!(of("ReduceMin", vec![0]).1, [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(of("ReduceProd", vec![1, 2]).1, [24.0, 1680.0, 11880.0]);
    assert_eq!(of("ReduceSumSquare", vec![2]).1[..2], [5.0, 25.0]);
    assert_eq!(of("ReduceL1", vec![2]).1[..2], [3.0, 7.0]);
    assert_eq!(of("ReduceL2", vec![2]).1[1], 5.0);
    assert!((of("ReduceLogSum", vec![2]).1[0] - 3f32.ln()).abs() < 1e-6);
    assert!((of("ReduceLogSumExp", vec![2]).1[0] - 2.313_261_7).abs() < 1e-6);
    // Without axes: all.
    assert_eq!(run(&*reduce("ReduceSum", None, true), std::slice::from_ref(&x)).shape(), [1, 1, 1]);
    let axes = Tensor::vector(vec![1i64]);
    assert_eq!(run(&*reduce("ReduceSum", None, true), &[x.clone(), axes]).shape(), [3, 1, 2]);
    let idle = make(&Definition::new("ReduceSum").attribute("noop_with_empty_axes", 1)).unwrap();
    assert_eq!(run(&*idle, std::slice::from_ref(&x)), x);
    check(&*idle, &[Input::Run(x)], Tolerance::EXACT);
}

#[test]
fn nothing_reduces_to_what_the_standard_says() {
    let x = Tensor::zeros(ElementType::F32, [2, 0, 4]).unwrap();
    for (name, value) in [
        ("ReduceSum", 0.0),
        ("ReduceProd", 1.0),
        ("ReduceMax", f32::NEG_INFINITY),
        ("ReduceMin", f32::INFINITY),
        ("ReduceLogSum", f32::NEG_INFINITY),
        ("ReduceLogSumExp", f32::NEG_INFINITY),
        ("ReduceL2", 0.0),
    ] {
        let operator = reduce(name, Some(vec![1]), true);
        assert_eq!(run(&*operator, std::slice::from_ref(&x)).as_slice::<f32>().unwrap(), [value; 8], "{name}");
        if !name.contains("Log") {
            check(&*operator, &[Input::Run(x.clone())], Tolerance::EXACT);
        }
    }
    let x = Tensor::zeros(ElementType::I32, [0]).unwrap();
    assert_eq!(run(&*reduce("ReduceMax", None, false), &[x]).as_slice::<i32>().unwrap(), [i32::MIN]);
}

#[test]
fn integers_and_truth_values() {
    let x = Tensor::new([2, 3, 4], (0..24).map(|i| i * 7 % 11 - 5).collect::<Vec<i32>>()).unwrap();
    for name in ["ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceMean", "ReduceL1", "ReduceSumSquare"] {
        for axes in [vec![0], vec![1], vec![2], vec![0, 2]] {
            check(&*reduce(name, Some(axes), false), &[Input::Run(x.clone())], Tolerance::EXACT);
        }
    }
    let x = Tensor::new([2, 5], (0..10).map(|i| Truth::from(i == 7)).collect()).unwrap();
    check(&*reduce("ReduceMax", Some(vec![1]), true), &[Input::Run(x.clone())], Tolerance::EXACT);
    check(&*reduce("ReduceMin", Some(vec![1]), true), &[Input::Run(x)], Tolerance::EXACT);
    let x = Tensor::vector(vec![3i8, -128, 127]);
    check(&*reduce("ReduceMin", None, true), &[Input::Run(x)], Tolerance::EXACT);
}

#[test]
fn sizes_are_followed() {
    let dims = Fact::dims(vec![Dim::symbol("h"), Dim::Known(3)]);
    let y = reduce("ReduceProd", None, false).infer(&[Some(&dims)]).unwrap().remove(0);
    assert_eq!(y.known.unwrap()[0].to_string(), "h·3");
    let x = Fact::new(ElementType::F32, [Dim::symbol("n"), Dim::Known(2), Dim::Known(3)]);
    let axes = Fact::new(ElementType::I64, [2usize]);
    let y = reduce("ReduceSum", None, false).infer(&[Some(&x), Some(&axes)]).unwrap().remove(0);
    assert_eq!(y.shape, [Dim::Unknown]);
    for wrong in [vec![3], vec![1, -2]] {
        assert!(reduce("ReduceSum", Some(wrong), false).infer(&[Some(&x)]).is_err());
    }
}

#[test]
fn long_sums_keep_their_digits() {
    for shape in [vec![1, 20_000], vec![1, 19_999], vec![2, 3000, 4], vec![1, 3, 50, 50]] {
        for (name, axes) in
            [("ReduceSum", vec![1]), ("ReduceMean", vec![-1]), ("ReduceLogSumExp", vec![1]), ("ReduceMean", vec![2, 3])]
        {
            if axes.len() == 1 || shape.len() == 4 {
                // Sums of 64 roundings, a few hundred of them: 1e-5 is far below what one long sum would lose.
                check(&*reduce(name, Some(axes), true), &[Input::Run(numbers(&shape, 3))], Tolerance::relative(1e-5));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn members_agree_on_random_shapes(
        shape in prop::collection::vec(prop::sample::select(vec![0usize, 1, 2, 3, 4, 5, 8, 13]), 0..5),
        member in prop::sample::select((0..members::MEMBERS.len()).collect::<Vec<_>>()),
        mask in any::<u8>(),
        keep in any::<bool>(),
        given in any::<bool>(),
        seed in any::<u32>(),
    ) {
        // Logarithms and means of nothing are infinite or undefined, and WGSL promises neither.
        prop_assume!(!shape.contains(&0) || ["ReduceSum", "ReduceProd", "ReduceL2"].contains(&members::MEMBERS[member].name));
        let axes: Vec<i64> = (0..shape.len()).filter(|i| mask >> i & 1 == 1).map(|i| i as i64).collect();
        let x = Input::Run(numbers(&shape, seed));
        let name = members::MEMBERS[member].name;
        let (operator, inputs) = if given {
            (reduce(name, None, keep), vec![x, Input::Constant(Tensor::vector(axes))])
        } else {
            (reduce(name, Some(axes), keep), vec![x])
        };
        // A few hundred products of numbers near one.
        try_check(&*operator, &inputs, Tolerance::relative(2e-5)).map_err(TestCaseError::fail)?;
    }
}
