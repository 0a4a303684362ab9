//! Operators that only move elements.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn transposed_tensors_agree(
        dims in prop::collection::vec(prop_oneof![4 => 1usize..6, 1 => 60usize..80], 1..5).prop_filter("small", |d| d.iter().product::<usize>() < 1 << 18),
        order in Just(vec![0i64, 1, 2, 3]).prop_shuffle(),
    ) {
        let perm: Vec<i64> = order.into_iter().filter(|&i| (i as usize) < dims.len()).collect();
        let operator = operator(&Definition::new("Transpose").attribute("perm", perm)).unwrap();
        check(operator, &[Input::Run(tensor(&dims, 1))], Tolerance::EXACT)?;
    }

    #[test]
    fn parts_agree(dims in prop::collection::vec((2usize..9, 0i64..3, 0i64..3, prop::sample::select(vec![1i64, 2, -1, -2])), 1..4)) {
        let shape: Vec<usize> = dims.iter().map(|d| d.0).collect();
        let (mut starts, mut ends, mut steps) = (vec![], vec![], vec![]);
        for &(size, start, end, step) in &dims {
            let (low, high) = (start.min(size as i64 - 1), (size as i64 - end).max(1));
            starts.push(if step > 0 { low } else { high });
            ends.push(if step > 0 { high } else { i64::MIN });
            steps.push(step);
        }
        let axes = (0..dims.len() as i64).collect::<Vec<_>>();
        let inputs = [starts, ends, axes, steps].map(|v| Input::Constant(Tensor::vector(v)));
        let inputs = [vec![Input::Run(tensor(&shape, 1))], inputs.to_vec()].concat();
        check(operator(&Definition::new("Slice")).unwrap(), &inputs, Tolerance::EXACT)?;
    }

    #[test]
    fn repeated_tensors_agree(dims in prop::collection::vec((1usize..5, 1i64..4), 1..4), tile: bool) {
        let shape: Vec<usize> = dims.iter().map(|d| if tile || d.1 > 1 { d.0 } else { 1 }).collect();
        let numbers = dims.iter().map(|d| if tile { d.1 } else { d.0 as i64 }).collect::<Vec<_>>();
        let inputs = [Input::Run(tensor(&shape, 1)), Input::Constant(Tensor::vector(numbers))];
        check(operator(&Definition::new(if tile { "Tile" } else { "Expand" })).unwrap(), &inputs, Tolerance::EXACT)?;
    }

    #[test]
    fn blocks_agree(n in 1usize..3, c in 1usize..5, h in 1usize..6, w in 1usize..6, block in 1usize..4, back: bool, crd: bool) {
        let shape = if back { [n, c, h * block, w * block] } else { [n, c * block * block, h, w] };
        let definition = Definition::new(if back { "SpaceToDepth" } else { "DepthToSpace" })
            .attribute("blocksize", block as i64)
            .attribute("mode", if crd { "CRD" } else { "DCR" });
        check(operator(&definition).unwrap(), &[Input::Run(tensor(&shape, 1))], Tolerance::EXACT)?;
    }

    #[test]
    fn parts_of_a_dimension_agree(dims in prop::collection::vec(1usize..7, 1..4), axis in 0usize..4, sizes in prop::collection::vec(0usize..5, 2..4)) {
        let at = axis % dims.len();
        let mut dims = dims;
        dims[at] = sizes.iter().sum::<usize>() + 1;
        let mut definition = Definition { opset: 13, ..Definition::new("Split") }.attribute("axis", at as i64);
        definition.outputs = sizes.len() + 1;
        let sizes = [1].into_iter().chain(sizes).map(|n| n as i64).collect::<Vec<_>>();
        let inputs = [Input::Run(tensor(&dims, 1)), Input::Constant(Tensor::vector(sizes))];
        check_outputs(operator(&definition).unwrap(), &inputs, definition.outputs, Tolerance::EXACT)?;
    }

    #[test]
    fn gathered_parts_agree(
        dims in prop::collection::vec(1usize..6, 1..4), axis in 0usize..4, picks in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        words: bool, constant: bool,
    ) {
        let at = axis % dims.len();
        // Of either sign, and in range with the other as well.
        let reach = dims[at] as i64 - 1;
        let picks: Vec<i64> = picks.iter().map(|i| i.index(2 * dims[at] - 1) as i64 - reach).collect();
        let indices = if words { Tensor::vector(picks.iter().map(|&i| i as i32).collect()) } else { Tensor::vector(picks) };
        let operator = operator(&Definition::new("Gather").attribute("axis", at as i64)).unwrap();
        check(operator, &[Input::Run(tensor(&dims, 1)), kept(constant, indices)], Tolerance::EXACT)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn moved_bytes_agree(
        dims in prop::collection::vec(prop_oneof![4 => 1usize..6, 1 => 60usize..80], 1..4), order in Just(vec![0i64, 1, 2]).prop_shuffle(),
        others in prop::collection::vec(1usize..5, 1..3), axis in 0usize..3, signed: bool,
    ) {
        let perm: Vec<i64> = order.into_iter().filter(|&i| (i as usize) < dims.len()).collect();
        let turned = operator(&Definition::new("Transpose").attribute("perm", perm)).unwrap();
        agree(turned, vec![Input::Run(bytes(&dims, signed, 1))], 1)?;
        let at = axis % dims.len();
        let mut inputs = vec![Input::Run(bytes(&dims, signed, 2))];
        for (i, size) in others.into_iter().enumerate() {
            let mut dims = dims.clone();
            dims[at] = size;
            inputs.push(Input::Run(bytes(&dims, signed, 3 + i)));
        }
        let definition = Definition { inputs: inputs.len(), ..Definition::new("Concat").attribute("axis", at as i64) };
        agree(operator(&definition).unwrap(), inputs, 1)?;
    }
}

#[test]
fn parts_of_integers_are_what_the_reference_gives() {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::I64, [2, 6]);
    let split = Definition { outputs: 2, ..Definition::new("Split").attribute("axis", 1i64) };
    for (i, y) in graph.operator(operator(&split).unwrap(), &[Some(x)], 2).into_iter().enumerate() {
        graph.output(&format!("y{i}"), y);
    }
    let graph = Arc::new(graph.build().unwrap());
    let given = [Tensor::new([2, 6], (0..12).collect::<Vec<i64>>()).unwrap()];
    let expected = reference::evaluate(&graph, &given, |_, value| value).unwrap();
    let mut session = Arc::new(CpuPlan::new(graph, &Threads::new(Some(1)))).session();
    session.run(&given.map(Some)).unwrap();
    for (i, expected) in expected.iter().enumerate() {
        assert_eq!(session.value(i), Some(expected));
    }
}
