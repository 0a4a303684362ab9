use proptest::prelude::*;

use super::*;
use crate::kernel::{Layout, Storage};
use crate::tensor::{Truth, shape::elements};
use crate::testing::{Adapter, Input, Tolerance, check, try_check};

fn operator(name: &str) -> Arc<dyn Operator> {
    make(&definition(name)).unwrap()
}

fn definition(name: &str) -> Definition {
    let d = Definition::new(name);
    if name == "BitShift" { d.attribute("direction", "LEFT") } else { d }
}

fn run(operator: &dyn Operator, inputs: &[Tensor]) -> Tensor {
    let values: Vec<Value> = inputs.iter().cloned().map(Value::from).collect();
    let values: Vec<_> = values.iter().map(Some).collect();

    operator.evaluate(&mut Context::default(), Inputs(&values)).unwrap().remove(0).into_tensor().unwrap()
}

/// Elements of a type that tell functions apart: small numbers of both signs, zeros, ties.
fn elements_of(element_type: ElementType, shape: Vec<usize>, seed: u32) -> Tensor {
    let n = elements(&shape).unwrap();
    let number = |i: usize| {
        ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503)) >> 16) as i32 % 23 - 11
    };
    match element_type {
        ElementType::F32 => Tensor::new(shape, (0..n).map(|i| number(i) as f32 * 0.25).collect()),
        ElementType::F16 => Tensor::new(shape, (0..n).map(|i| half::f16::from_f32(number(i) as f32)).collect()),
        ElementType::I32 => Tensor::new(shape, (0..n).map(number).collect()),
        ElementType::I8 => Tensor::new(shape, (0..n).map(|i| (number(i) * 11) as i8).collect()),
        ElementType::U8 => Tensor::new(shape, (0..n).map(|i| (number(i) + 11) as u8).collect()),
        ElementType::Bool => Tensor::new(shape, (0..n).map(|i| Truth::from(number(i) > 0)).collect()),
        other => panic!("no test of {other}"),
    }
    .unwrap()
}

/// Two shapes that broadcast: the second lacks dimensions of the first or has 1 there, and the reverse.
fn shapes() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    let dim = (prop::sample::select(vec![0usize, 1, 2, 3, 4, 5, 7, 8, 12]), 0..4u8);
    (prop::collection::vec(dim, 0..5), 0..4usize, any::<bool>()).prop_map(|(dims, missing, swap)| {
        let a: Vec<_> = dims.iter().map(|(d, keep)| if *keep == 3 { 1 } else { *d }).collect();
        let b: Vec<_> = dims.iter().skip(missing).map(|(d, keep)| if *keep == 2 { 1 } else { *d }).collect();
        if swap { (b, a) } else { (a, b) }
    })
}

#[test]
fn values_of_the_standard() {
    let f = |name: &str, a: Vec<f32>, b: Vec<f32>| run(&*operator(name), &[Tensor::vector(a), Tensor::vector(b)]);
    let i = |name: &str, a: Vec<i32>, b: Vec<i32>| {
        run(&*operator(name), &[Tensor::vector(a), Tensor::vector(b)]).as_slice::<i32>().unwrap().to_vec()
    };
    assert_eq!(i("Div", vec![-7, 7, -8, 5, i32::MIN], vec![2, -2, 3, 0, -1]), [-3, -3, -2, 0, i32::MIN]);
    assert_eq!(i("Mod", vec![-4, 7, 5, 4, -7, 8], vec![2, -3, 8, -2, 3, 5]), [0, -2, 5, 0, 2, 3]);
    let fmod = make(&Definition::new("Mod").attribute("fmod", 1)).unwrap();
    let y = run(&*fmod, &[Tensor::vector(vec![-4.3f32, 7.2, 5.0]), Tensor::vector(vec![2.1f32, -3.4, 8.0])]);
    for (y, e) in y.as_slice::<f32>().unwrap().iter().zip([-0.1f32, 0.4, 5.0]) {
        assert!((y - e).abs() < 1e-5);
    }
    assert_eq!(f("PRelu", vec![-2.0, 3.0], vec![0.5, 0.5]).as_slice::<f32>().unwrap(), [-1.0, 3.0]);
    assert_eq!(f("Pow", vec![2.0, 3.0, 4.0], vec![3.0, 2.0, 0.5]).as_slice::<f32>().unwrap(), [8.0, 9.0, 2.0]);
    let y = run(&*operator("Pow"), &[Tensor::vector(vec![-2i64, 3, 0, 2]), Tensor::vector(vec![3i64, 40, 0, -1])]);
    assert_eq!(y.as_slice::<i64>().unwrap(), [-8, 3i64.wrapping_pow(40), 1, 0]);
    let y = run(&*operator("BitShift"), &[Tensor::vector(vec![16u8, 4, 1]), Tensor::vector(vec![1u8, 2, 9])]);
    assert_eq!(y.as_slice::<u8>().unwrap(), [32, 16, 0]);
    let y = f("Less", vec![1.0, 2.0, f32::NAN], vec![2.0, 2.0, 1.0]);
    assert_eq!(y.as_slice::<Truth>().unwrap(), [true, false, false].map(Truth::from));
}

#[test]
fn old_operator_sets_align_by_axis() {
    let old = Definition { opset: 6, ..Definition::new("Add") }.attribute("broadcast", 1).attribute("axis", 1);
    let add = make(&old).unwrap();
    let a = elements_of(ElementType::F32, vec![2, 3, 4, 5], 1);
    let b = elements_of(ElementType::F32, vec![3, 4], 2);
    let expected = run(&*operator("Add"), &[a.clone(), b.reshaped([3, 4, 1]).unwrap()]);
    assert_eq!(run(&*add, &[a.clone(), b.clone()]), expected);
    check(&*add, &[Input::Run(a.clone()), Input::Run(b.clone())], Tolerance::EXACT);
    check(&*add, &[Input::Run(a.clone()), Input::Constant(b.clone())], Tolerance::EXACT);
    let slope = elements_of(ElementType::F32, vec![3], 2);
    let prelu = make(&Definition { opset: 6, ..Definition::new("PRelu") }).unwrap();
    check(&*prelu, &[Input::Run(a.clone()), Input::Constant(slope)], Tolerance::EXACT);
    let far = make(&Definition { opset: 6, ..Definition::new("Add") }.attribute("broadcast", 1).attribute("axis", 3))
        .unwrap();
    assert!(far.infer(&[Some(&Fact::constant(a)), Some(&Fact::constant(b))]).is_err());
}

#[test]
fn shapes_are_followed_through_arithmetic() {
    let h = Fact::dims(vec![Dim::symbol("h"), Dim::symbol("w")]);
    let two = Fact::constant(Tensor::vector(vec![2i64]));
    let y = operator("Mul").infer(&[Some(&h), Some(&two)]).unwrap().remove(0);
    let y = operator("Div").infer(&[Some(&y), Some(&two)]).unwrap().remove(0);
    assert_eq!(y.known, h.known);
    let y = operator("Sub").infer(&[Some(&h), Some(&h)]).unwrap().remove(0);
    assert_eq!(y.constant, Some(Tensor::vector(vec![0i64, 0])));
    let more = variadic::make(&Definition::new("Max")).unwrap().infer(&[Some(&h), Some(&two)]).unwrap().remove(0);
    assert_eq!(more.known.unwrap()[0].to_string(), "max(h, 2)");
}

#[test]
fn constants_per_channel_keep_every_layout() {
    for shape in [vec![1, 6, 5, 7], vec![2, 8, 3, 3], vec![2, 5, 4, 4]] {
        let c = shape[1];
        let x = elements_of(ElementType::F32, shape.clone(), 1);
        let full = elements_of(ElementType::F32, shape.clone(), 7);
        for other in [
            vec![c, 1, 1],
            vec![1, c, 1, 1],
            vec![],
            vec![1],
            vec![shape[3]],
            vec![shape[0], c, 1, 1],
            vec![shape[2], 1],
        ] {
            let b = elements_of(ElementType::F32, other.clone(), 2);
            for b in [Input::Run(b.clone()), Input::Constant(b)] {
                // Itself by each of the candidates, some of them in place, in f32 and f16.
                let runs = check(&*operator("Mul"), &[Input::Run(x.clone()), b.clone()], Tolerance::EXACT);
                assert!(runs == 0 || runs >= 6, "{other:?}: {runs}");
                check(&*operator("Sub"), &[b, Input::Run(x.clone())], Tolerance::EXACT);
            }
        }
        check(&*operator("Add"), &[Input::Run(x), Input::Run(full)], Tolerance::EXACT);
    }
}

#[test]
fn powers() {
    let mut a = vec![0.0f32, 0.5, 1.0, 1.5, 2.0, 3.7, 10.0, 0.01, 1e-6, 500.0, -1.0, -2.5];
    let pow = operator("Pow");
    // f16 cannot hold the results near the ends: its tolerance is relative.
    let close = Tolerance { absolute: 1e-30, relative: 1e-5 };
    for b in [2.0f32, 3.0, 0.5, -1.0, 1.0, 0.0, -0.5, 4.0, 7.0, 2.2, -3.0, 13.0] {
        check(&*pow, &[Input::Run(Tensor::vector(a.clone())), Input::Constant(Tensor::scalar(b))], close);
    }
    a.extend([f32::NAN]);
    let shape = [a.len(), 1];
    let b = Tensor::new([1, 8], vec![0.0f32, 1.0, 2.0, -2.0, 0.3, -1.7, 5.0, 64.0]).unwrap();
    check(&*pow, &[Input::Run(Tensor::new(shape, a.clone()).unwrap()), Input::Run(b)], close);
    let b = Tensor::new([1, 5], vec![0i64, 1, 2, 3, -2]).unwrap();
    check(&*pow, &[Input::Run(Tensor::new(shape, a).unwrap()), Input::Constant(b)], close);
}

#[test]
fn remainders_of_large_integers_do_not_overflow() {
    let numbers = [i32::MIN, i32::MIN + 1, -1_500_000_000, -7, -1, 0, 1, 7, 1_500_000_000, i32::MAX];
    let a = Tensor::new([numbers.len(), 1], numbers.to_vec()).unwrap();
    let b = Tensor::vector(numbers.to_vec());
    for f in [operator("Mod"), make(&Definition::new("Mod").attribute("fmod", 1)).unwrap()] {
        check(&*f, &[Input::Run(a.clone()), Input::Run(b.clone())], Tolerance::EXACT);
    }
}

#[test]
fn sixteen_bits_round_to_infinity_and_spare_the_neighbour() {
    let Some(adapter) = Adapter::shared() else { return };
    // 65,518 rounds down to the largest number, 65,520 up; each with a neighbour to spoil.
    let a = [34.0f32, 1.5, 273.0, 1.5, -32768.0, 1.5, f32::INFINITY, 1.5, f32::NAN, 1.5, 1.5, f32::NEG_INFINITY, 6e-8];
    let b = [1927.0f32, 1.25, 240.0, 1.25, 2.0, 1.25, 1.0, 1.25, 1.0, 1.25, 1.25, 1.0, 1.0];
    let products = a.iter().zip(b).map(|(a, b)| half::f16::from_f32(half::f16::from_f32(*a).to_f32() * b).to_f32());
    let expected = Tensor::vector(products.collect::<Vec<f32>>());
    let fact = Fact::new(ElementType::F32, [a.len()]);
    let operand = crate::graph::Operand { fact: &fact, layout: Layout::Linear, storage: Some(Storage::F16) };
    let request = Request {
        inputs: &[Some(operand), Some(operand)],
        outputs: std::slice::from_ref(&fact),
        output_storages: &[Some(Storage::F16)],
        device: &adapter.facts,
        open: false,
    };
    let inputs = [a, b].map(|v| Input::Run(Tensor::vector(v.to_vec())));
    for candidate in &operator("Mul").candidates(&request).unwrap() {
        let expected = expected.clone();
        let storages = (&[Some(Storage::F16); 2][..], &[Some(Storage::F16)][..]);
        let got = adapter.run(candidate, &inputs, std::slice::from_ref(&expected), storages, None);
        Tolerance::EXACT.compare(&got.unwrap()[0], &expected, None).unwrap();
    }
}

#[test]
fn variadic_functions() {
    for name in ["Max", "Min", "Sum", "Mean"] {
        let f = variadic::make(&Definition::new(name)).unwrap();
        let shapes = [vec![2, 5, 3, 4], vec![5, 1, 1], vec![2, 5, 3, 4], vec![4], vec![]];
        for n in 1..=shapes.len() {
            let inputs: Vec<_> = shapes[..n]
                .iter()
                .zip(1..)
                .map(|(s, i)| Input::Run(elements_of(ElementType::F32, s.clone(), i)))
                .collect();
            check(&*f, &inputs, Tolerance::relative(1e-6));
        }
        if name != "Mean" {
            let inputs: Vec<_> = (1..4).map(|i| Input::Run(elements_of(ElementType::I32, vec![3, 5], i))).collect();
            check(&*f, &inputs, Tolerance::EXACT);
        }
    }
    let mean = variadic::make(&Definition::new("Mean")).unwrap();
    let y = run(&*mean, &[Tensor::vector(vec![1.0f32, 2.0]), Tensor::scalar(4.0f32), Tensor::scalar(1.0f32)]);
    assert_eq!(y.as_slice::<f32>().unwrap(), [2.0, (2.0 + 4.0 + 1.0) / 3.0]);
    let nan = Tensor::vector(vec![f32::NAN, 1.0, f32::NAN]);
    let one = Tensor::vector(vec![1.0, f32::NAN, f32::NAN]);
    check(&*variadic::make(&Definition::new("Max")).unwrap(), &[Input::Run(nan), Input::Run(one)], Tolerance::EXACT);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let add = operator("Add");
    let [a, b] = [vec![2, 3], vec![4]].map(|s| Fact::new(ElementType::F32, s));
    assert!(add.infer(&[Some(&a), Some(&b)]).unwrap_err().to_string().contains("[2, 3] and [4]"));
    let i = Fact::new(ElementType::I64, [3usize]);
    assert!(add.infer(&[Some(&a), Some(&i)]).is_err());
    let [a, b] = [vec![0.0f32; 2], vec![0.0; 3]].map(|v| Value::from(Tensor::vector(v)));
    assert!(add.evaluate(&mut Context::default(), Inputs(&[Some(&a), Some(&b)])).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn members_agree_on_random_shapes(
        (a, b) in shapes(),
        member in prop::sample::select((0..members::MEMBERS.len()).collect::<Vec<_>>()),
        element_type in prop::sample::select(vec![ElementType::F32, ElementType::I32, ElementType::U8, ElementType::I8, ElementType::Bool, ElementType::F16]),
        constant in any::<bool>(),
        seed in any::<u32>(),
    ) {
        let member = &members::MEMBERS[member];
        prop_assume!(member.takes.allows(element_type, element_type));
        prop_assume!(member.name != "Pow" || element_type.is_float());
        // Elements are quarters; where f16 rounds the remainder's quotient across a whole number, no tolerance helps.
        prop_assume!(member.name != "Mod" || element_type != ElementType::F16);
        let (a, b) = (elements_of(element_type, a, seed), elements_of(element_type, b, !seed));
        let b = if constant { Input::Constant(b) } else { Input::Run(b) };
        try_check(&*operator(member.name), &[Input::Run(a), b], Tolerance::relative(member.tolerance)).map_err(TestCaseError::fail)?;
    }
}
