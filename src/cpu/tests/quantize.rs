//! Quantized numbers.

use super::*;

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
}
