use proptest::prelude::*;

use super::*;
use crate::testing::{Input, Tolerance, check};

fn bytes(shape: &[usize], signed: bool, seed: usize) -> Tensor {
    let numbers = (0..elements(shape).unwrap()).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 7 & 255) as u8);
    match signed {
        true => Tensor::new(shape, numbers.map(u8::cast_signed).collect()).unwrap(),
        false => Tensor::new(shape, numbers.collect()).unwrap(),
    }
}

fn run(name: &str, inputs: &[Tensor]) -> Result<Tensor, String> {
    let values: Vec<_> = inputs.iter().cloned().map(Value::Tensor).collect();
    let values: Vec<_> = values.iter().map(Some).collect();
    let operator = make(&Definition::new(name)).map_err(|e| e.to_string())?;
    let mut outputs = operator.evaluate(&mut Context::default(), Inputs(&values)).map_err(|e| e.to_string())?;
    Ok(outputs.remove(0).into_tensor().unwrap())
}

#[test]
fn zero_points_stand_for_rows_and_columns() {
    let a = Tensor::new([2, 2], vec![1u8, 2, 3, 4]).unwrap();
    let b = Tensor::new([2, 2], vec![1i8, -1, 2, -2]).unwrap();
    let y = run("MatMulInteger", &[a.clone(), b.clone(), Tensor::vector(vec![1u8, 3]), Tensor::vector(vec![0i8, -1])]);
    // A - a_zero = [0 1; 0 1], B - b_zero = [1 0; 2 -1].
    assert_eq!(y.unwrap().as_slice::<i32>().unwrap(), [2, -1, 2, -1]);
    let three = Tensor::vector(vec![1u8, 2, 3]);
    assert!(run("MatMulInteger", &[a, b, three]).unwrap_err().contains("neither one nor"));
}

#[test]
fn ties_of_requantized_products_go_to_even() {
    let a = Tensor::new([1, 1], vec![3u8]).unwrap();
    let b = |n: u8| Tensor::new([1, 1], vec![n]).unwrap();
    let scale = |v: f32| Tensor::scalar(v);
    let zero = || Tensor::scalar(0u8);
    let product = |n: u8| {
        let inputs = [a.clone(), scale(1.0), zero(), b(n), scale(1.0), zero(), scale(2.0), Tensor::scalar(7u8)];
        run("QLinearMatMul", &inputs).unwrap().as_slice::<u8>().unwrap()[0]
    };
    // 3 / 2 and 9 / 2 are ties.
    assert_eq!([product(1), product(3), product(255)], [9, 11, 255]);
}

/// Operands whose batches broadcast, vectors among them.
fn shapes() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    prop::sample::select(vec![
        (vec![3, 5], vec![5, 7]),
        (vec![1, 1], vec![1, 1]),
        (vec![2, 0], vec![0, 3]),
        (vec![0, 4], vec![4, 3]),
        (vec![2, 3, 4], vec![4, 5]),
        (vec![2, 3, 4], vec![2, 4, 5]),
        (vec![2, 1, 3, 4], vec![3, 4, 2]),
        (vec![4], vec![4, 3]),
        (vec![2, 4], vec![4]),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn kernels_agree_to_the_last_integer(
        (a, b) in shapes(), signed in any::<[bool; 2]>(), rows: bool, columns: bool, constant: bool, full: bool,
        seed in 0usize..1000,
    ) {
        let given = |t: Tensor| if constant { Input::Constant(t) } else { Input::Run(t) };
        let row_shape = match &a[..] {
            [.., _] if full && a.len() > 2 && rows => [&a[..a.len() - 1], &[1]].concat(),
            [.., m, _] if rows => vec![*m],
            _ => vec![],
        };
        let column_shape = match &b[..] {
            [matrices @ .., _, n] if full && columns => [matrices, &[1, *n]].concat(),
            [.., _, n] if columns => vec![*n],
            _ => vec![],
        };
        let scale = |shape: &[usize], v: f32| {
            let n = elements(shape).unwrap();
            given(Tensor::new(shape, (0..n).map(|i| v * (1.0 + i as f32 / 4.0)).collect::<Vec<_>>()).unwrap())
        };
        let (a_zero, b_zero) = (given(bytes(&row_shape, signed[0], seed + 2)), given(bytes(&column_shape, signed[1], seed + 3)));
        let (a_t, b_t) = (Input::Run(bytes(&a, signed[0], seed)), given(bytes(&b, signed[1], seed + 1)));
        let inputs = [a_t.clone(), b_t.clone(), a_zero.clone(), b_zero.clone()];
        check(&*make(&Definition::new("MatMulInteger")).unwrap(), &inputs, Tolerance::EXACT);
        let inputs = [
            a_t.clone(), scale(&row_shape, 0.25), a_zero.clone(), b_t.clone(), scale(&column_shape, 0.125), b_zero.clone(),
            scale(&[], 3.0), given(bytes(&[], false, seed + 4)),
        ];
        check(&*make(&Definition::new("QLinearMatMul")).unwrap(), &inputs, Tolerance::EXACT);
        let n = if b.len() > 1 { b[b.len() - 1] } else { 1 };
        let inputs = [
            a_t, b_t, scale(&[], 0.25), scale(&column_shape, 0.125), given(bytes(&[], signed[0], seed)), b_zero, scale(&[n], 1.5),
        ];
        // A product and a sum may be one operation.
        let close = Tolerance { absolute: 1e-3, relative: 1e-6 };
        check(&*make(&Definition::new("MatMulIntegerToFloat")).unwrap(), &inputs, close);
    }

    #[test]
    fn quantized_gemm_agrees(
        (m, k, n) in (1usize..6, 1usize..9, 1usize..6), transposed in any::<[bool; 2]>(), signed in any::<[bool; 2]>(),
        c in prop::option::of(0usize..4), quantized: bool, each: bool, seed in 0usize..1000,
    ) {
        let d = Definition::new("QGemm")
            .attribute("transA", i64::from(transposed[0]))
            .attribute("transB", i64::from(transposed[1]))
            .attribute("alpha", 0.75f32);
        let a = if transposed[0] { [k, m] } else { [m, k] };
        let b = if transposed[1] { [n, k] } else { [k, n] };
        let own = if each { vec![n] } else { vec![] };
        let scales = |shape: &[usize], v: f32| {
            let n = elements(shape).unwrap();
            Input::Run(Tensor::new(shape, (0..n).map(|i| v * (1.0 + i as f32 / 4.0)).collect::<Vec<_>>()).unwrap())
        };
        let c = c.map_or(Input::Missing, |form| {
            let shape = [vec![n], vec![m, 1], vec![m, n], vec![]][form].clone();
            let count = elements(&shape).unwrap();
            Input::Run(Tensor::new(shape, (0..count).map(|i| i as i32 * 77 - 100).collect()).unwrap())
        });
        let mut inputs = vec![
            Input::Run(bytes(&a, signed[0], seed)), scales(&[], 0.25), Input::Run(bytes(&[], signed[0], seed)),
            Input::Run(bytes(&b, signed[1], seed + 1)), scales(&own, 0.125), Input::Run(bytes(&own, signed[1], seed)), c,
        ];
        if quantized {
            inputs.extend([scales(&[], 3.0), Input::Run(bytes(&[], false, seed))]);
        }
        let tolerance = if quantized { Tolerance::EXACT } else { Tolerance { absolute: 1e-4, relative: 1e-6 } };
        check(&*make(&d).unwrap(), &inputs, tolerance);
    }
}
