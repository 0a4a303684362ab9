//! Quantized numbers.

use super::*;
use crate::ops::matmul::Gemm;
use crate::ops::quantize::{IntegerConv, IntegerProduct};
use crate::ops::window::Window;

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn quantized_numbers_agree_to_the_last_integer(
        n in prop_oneof![4 => 1usize..9, 1 => 16_000usize..40_000], scale in prop::sample::select(vec![0.5f32, 0.1, 0.003]),
        zero in -128i8..=127, signed: bool, zeroed: bool,
    ) {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [n]);
        let scales = graph.constant("scale", Tensor::scalar(scale));
        let zero = if signed { Tensor::scalar(zero) } else { Tensor::scalar(zero.cast_unsigned()) };
        let mut inputs = vec![x, scales];
        inputs.extend(zeroed.then(|| graph.constant("zero", zero.clone())));
        let q = graph.node(&Definition::new("QuantizeLinear"), &inputs).unwrap();
        inputs[0] = q;
        let y = graph.node(&Definition::new("DequantizeLinear"), &inputs).unwrap();
        graph.output("q", q);
        graph.output("y", y);
        let graph = Arc::new(graph.build().unwrap());
        // Half of them are ties, as near as f32 comes to one.
        let mut numbers: Vec<f32> = (0..n).map(|i| (i as f32 * 3.5 - 400.0) * scale).collect();
        numbers[n / 2] = [f32::NAN, f32::INFINITY, -1e30][n % 3];
        let given = vec![Tensor::vector(numbers)];
        let expected = reference::evaluate(&graph, &given, |_, value| value).unwrap();
        let plan = Arc::new(CpuPlan::new(graph, &Threads::new(Some(3))));
        prop_assert!(plan.has_kernel().all(|has| has));
        let mut session = plan.session();
        session.run(&[Some(given[0].clone())]).unwrap();
        for (i, expected) in expected.into_iter().enumerate() {
            let compared = Tolerance::EXACT.compare(session.output(i).unwrap(), &expected.into_tensor().unwrap(), None);
            compared.map_err(TestCaseError::fail)?;
        }
    }

    #[test]
    fn products_of_weights_in_few_bits_agree(
        m in prop::sample::select(vec![1usize, 1, 3, 13, 40]), k in prop_oneof![4 => 1usize..150, 1 => 900usize..1600], n in 1usize..90,
        along in prop::sample::select(vec![2usize, 16, 32, 1 << 20]), bits in 0usize..4, turned: bool, zeros: bool, biased: bool,
    ) {
        let t = [ElementType::I8, ElementType::U8, ElementType::I4, ElementType::U4][bits];
        let gemm = Gemm { transpose_b: turned, activation: Activation::Tanh, alpha: 0.01, ..Gemm::default() };
        let b = crate::testing::weights(t, [k, n], turned, along, zeros);
        let mut inputs = vec![Input::Run(tensor(&[m, k], 1)), Input::Constant(b)];
        inputs.extend(biased.then(|| Input::Constant(tensor(&[n], 2))));
        check(Arc::new(gemm), &inputs, Tolerance { absolute: 4e-5, relative: 1e-5 })?;
    }

    #[test]
    fn products_of_integers_agree_to_the_last_one(
        matrix: bool, groups in prop::sample::select(vec![1usize, 1, 2, 5]), inputs in 1usize..9, outputs in 1usize..15,
        height in 3usize..9, width in prop::sample::select(vec![3usize, 7, 16, 21, 40]), kernel in prop::sample::select(vec![1usize, 1, 3]),
        stride in 1usize..3, pad in 0usize..2, signed in any::<[bool; 3]>(), bias in 0u8..3, floats: bool, seed in 0usize..1000,
    ) {
        let (inputs, outputs) = if groups == 5 { (1, 1) } else { (inputs, outputs) };
        let all = outputs * groups;
        let (x, w) = match matrix {
            true => (vec![height * stride, inputs * 7], vec![inputs * 7, all]),
            false => (vec![2, inputs * groups, height, width], vec![all, inputs, kernel, kernel]),
        };
        let bytes = |shape: &[usize], signed: bool, seed: usize| {
            let n = shape.iter().product::<usize>();
            let numbers = (0..n).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 7 & 255) as u8);
            match signed {
                true => Tensor::new(shape, numbers.map(u8::cast_signed).collect()).unwrap(),
                false => Tensor::new(shape, numbers.collect()).unwrap(),
            }
        };
        let mut graph = Graph::builder();
        let given = bytes(&x, signed[0], seed);
        let mut constant = |name: &str, tensor: Tensor| Some(graph.constant(name, tensor));
        let mut ids = vec![
            constant("x_scale", Tensor::scalar(0.25f32)),
            constant("x_zero", bytes(&[], signed[0], seed + 1)),
            constant("w", bytes(&w, signed[1], seed + 2)),
            constant("w_scale", Tensor::vector((0..all).map(|i| 0.011 + i as f32 / 999.0).collect())),
            constant("w_zero", bytes(&[all], signed[1], seed + 3)),
        ];
        let scale = (inputs as f32).sqrt() * kernel as f32;
        let mut result = vec![
            constant("y_scale", Tensor::scalar(scale)).filter(|_| !floats),
            constant("y_zero", bytes(&[], signed[2], seed + 4)).filter(|_| !floats),
        ];
        result.insert(if matrix { 0 } else { 2 }, match bias {
            0 => None,
            1 => constant("bias", Tensor::vector((0..all as i32).map(|i| i * 777 - 900).collect())),
            _ => constant("bias", Tensor::vector((0..all).map(|i| i as f32 * 0.37 - 1.1).collect())),
        });
        ids.extend(result);
        ids.insert(0, Some(graph.input("x", given.element_type(), x)));
        let op: Arc<dyn Operator> = match matrix {
            true => Arc::new(IntegerProduct::folded(Some((false, false)), 1.0, None)),
            false => {
                let window = Window { strides: vec![stride; 2], pads: vec![pad; 4], ..Window::default() };
                let conv = Conv { window, groups, ..Conv::default() };
                Arc::new(IntegerConv::folded(conv, floats, Some([-100, 200])))
            }
        };
        let y = graph.operator(op, &ids, 1)[0];
        graph.output("y", y);
        let graph = Arc::new(graph.build().unwrap());
        let expected = reference::evaluate(&graph, std::slice::from_ref(&given), |_, value| value).unwrap().remove(0);
        let expected = expected.into_tensor().unwrap();
        for threads in [1, 3] {
            let plan = Arc::new(CpuPlan::new(graph.clone(), &Threads::new(Some(threads))));
            prop_assert!(plan.has_kernel().all(|has| has));
            let mut session = plan.session();
            session.run(&[Some(given.clone())]).unwrap();
            let compared = Tolerance::EXACT.compare(session.output(0).unwrap(), &expected, None);
            compared.map_err(TestCaseError::fail)?;
        }
    }

    #[test]
    fn largest_integers_agree(
        n in 1usize..3, c in 1usize..5, axes in prop::collection::vec(axis(), 1..3), signed: bool, ceil: bool, seed in 0usize..1000,
    ) {
        let definition = window(Definition::new("MaxPool"), &axes).attribute("ceil_mode", i64::from(ceil));
        let shape = shape(n, c, &axes, 5);
        let bytes = (0..shape.iter().product()).map(|i: usize| ((i + seed).wrapping_mul(2_654_435_761) >> 7 & 255) as u8);
        let x = match signed {
            true => Tensor::new(shape, bytes.map(u8::cast_signed).collect()).unwrap(),
            false => Tensor::new(shape, bytes.collect()).unwrap(),
        };
        let mut graph = Graph::builder();
        let id = graph.input("x", x.element_type(), x.shape().to_vec());
        let y = graph.operator(operator(&definition).unwrap(), &[Some(id)], 1)[0];
        graph.output("y", y);
        let graph = Arc::new(graph.build().unwrap());
        let expected = reference::evaluate(&graph, std::slice::from_ref(&x), |_, value| value).unwrap().remove(0);
        let expected = expected.into_tensor().unwrap();
        for threads in [1, 3] {
            let plan = Arc::new(CpuPlan::new(graph.clone(), &Threads::new(Some(threads))));
            prop_assert!(plan.has_kernel().all(|has| has));
            let mut session = plan.session();
            session.run(&[Some(x.clone())]).unwrap();
            let compared = Tolerance::EXACT.compare(session.output(0).unwrap(), &expected, None);
            compared.map_err(TestCaseError::fail)?;
        }
    }
}
