//! Recurrent layers.

use super::*;

/// States of magnitude at most 1, each of which the next steps read.
const STATES: Tolerance = Tolerance { absolute: 2e-5, relative: 1e-5 };

/// Functions of a gate with their parameters, alpha and beta. All are continuous: where one jumps, rounding decides.
const FUNCTIONS: [(&str, Option<f32>, Option<f32>); 11] = [
    ("Relu", None, None),
    ("Tanh", None, None),
    ("Sigmoid", None, None),
    ("Softsign", None, None),
    ("Softplus", None, None),
    ("Affine", Some(0.5), Some(0.25)),
    ("LeakyRelu", Some(0.1), None),
    ("ThresholdedRelu", Some(0.0), None),
    ("ScaledTanh", Some(0.75), Some(0.5)),
    ("HardSigmoid", Some(0.25), Some(0.5)),
    ("Elu", Some(0.5), None),
];

fn layer(
    kind: &'static str,
    direction: usize,
    [steps, batch, input, hidden]: [usize; 4],
    batch_first: bool,
    bias: bool,
    states: bool,
) -> (Definition, Vec<Input>) {
    let gates = match kind {
        "RNN" => 1,
        "GRU" => 3,
        _ => 4,
    };
    let directions = 1 + direction / 2;
    let mut definition = Definition::new(kind)
        .attribute("direction", ["forward", "reverse", "bidirectional"][direction])
        .attribute("hidden_size", hidden as i64)
        .attribute("layout", i64::from(batch_first));
    (definition.opset, definition.outputs) = (14, if kind == "LSTM" { 3 } else { 2 });
    let x = if batch_first { [batch, steps, input] } else { [steps, batch, input] };
    let state = if batch_first { [batch, directions, hidden] } else { [directions, batch, hidden] };
    let state = |seed| if states { Input::Run(tensor(&state, seed)) } else { Input::Missing };
    // As large as in layers that are trained: a state that is amplified at each step amplifies rounding with it.
    let recurrent = tensor(&[directions, gates * hidden, hidden], 3);
    let scaled = recurrent.as_slice::<f32>().unwrap().iter().map(|w| w / (hidden as f32).sqrt());
    let recurrent = Tensor::new(recurrent.shape().to_vec(), scaled.collect()).unwrap();
    let mut inputs = vec![
        Input::Run(tensor(&x, 1)),
        Input::Constant(tensor(&[directions, gates * hidden, input], 2)),
        Input::Constant(recurrent),
        if bias { Input::Constant(tensor(&[directions, 2 * gates * hidden], 4)) } else { Input::Missing },
        Input::Missing,
        state(5),
    ];
    if kind == "LSTM" {
        inputs.push(state(6));
    }
    (definition, inputs)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn layers_agree(
        kind in prop::sample::select(vec!["RNN", "GRU", "LSTM"]), steps in 1usize..8,
        batch in prop_oneof![2 => Just(1usize), 1 => 2usize..9], input in 1usize..12,
        hidden in prop_oneof![3 => 1usize..20, 1 => Just(64usize)], direction in 0usize..3, batch_first: bool, bias: bool, states: bool,
        linear: bool, read in 0usize..8,
    ) {
        let (definition, inputs) = layer(kind, direction, [steps, batch, input, hidden], batch_first, bias, states);
        let definition = if kind == "GRU" { definition.attribute("linear_before_reset", i64::from(linear)) } else { definition };
        // At least one output is read.
        let outputs: Vec<_> = (0..definition.outputs).map(|i| read >> i & 1 == 1 || read == 0 || (i == 1 && read == 4)).collect();
        check_read(operator(&definition).unwrap(), &inputs, &outputs, STATES)?;
    }

    #[test]
    fn layers_with_all_that_the_standard_allows_agree(
        kind in prop::sample::select(vec!["RNN", "GRU", "LSTM"]), steps in 1usize..6, batch in 1usize..6, input in 1usize..6,
        hidden in 1usize..20, direction in 0usize..3, batch_first: bool, bias: bool, states: bool, linear: bool, forget: bool,
        lengths in prop::option::of(prop::collection::vec(0usize..6, 6)), fixed: bool, clip in prop::option::of(0.1f32..2.0),
        peepholes: bool, functions in prop::option::of(prop::collection::vec(0usize..FUNCTIONS.len(), 6)),
    ) {
        let steps = if functions.is_some() { steps.min(3) } else { steps };
        let (mut definition, mut inputs) = layer(kind, direction, [steps, batch, input, hidden], batch_first, bias, states);
        let directions = 1 + direction / 2;
        // Functions without a bound would let states grow beyond what the tolerance is for.
        let clip = if functions.is_some() { Some(clip.unwrap_or(1.0).min(1.0)) } else { clip };
        if let Some(clip) = clip {
            definition = definition.attribute("clip", clip);
        }
        match kind {
            "GRU" => definition = definition.attribute("linear_before_reset", i64::from(linear)),
            "LSTM" => {
                definition = definition.attribute("input_forget", i64::from(forget));
                if peepholes {
                    inputs.push(Input::Constant(tensor(&[directions, 3 * hidden], 7)));
                }
            }
            _ => {}
        }
        if let Some(functions) = functions {
            let each = match kind { "RNN" => 1, "GRU" => 2, _ => 3 };
            let functions: Vec<_> = functions[..each * directions].iter().map(|&i| FUNCTIONS[i]).collect();
            definition = definition
                .attribute("activations", functions.iter().map(|f| f.0.to_owned()).collect::<Vec<_>>())
                .attribute("activation_alpha", functions.iter().filter_map(|f| f.1).collect::<Vec<_>>())
                .attribute("activation_beta", functions.iter().filter_map(|f| f.2).collect::<Vec<_>>());
        }
        if let Some(lengths) = lengths {
            let lengths = lengths[..batch].iter().map(|&n| n.min(steps) as i32);
            // What comes with a run passes through a Neg.
            inputs[4] = if fixed {
                Input::Constant(Tensor::vector(lengths.collect::<Vec<_>>()))
            } else {
                Input::Run(Tensor::vector(lengths.map(|n| -n).collect::<Vec<_>>()))
            };
        }
        check_outputs(operator(&definition).unwrap(), &inputs, definition.outputs, STATES)?;
    }
}

#[test]
fn sequences_that_are_too_long_are_an_error() {
    let (definition, mut inputs) = layer("GRU", 0, [3, 2, 2, 2], false, true, false);
    inputs[4] = Input::Missing;
    let mut graph = Graph::builder();
    let ids: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(i, input)| match input {
            Input::Run(t) => Some(graph.input(&format!("x{i}"), t.element_type(), t.shape().to_vec())),
            Input::Constant(t) => Some(graph.constant(&format!("c{i}"), t.clone())),
            Input::Missing => (i == 4).then(|| graph.input("lengths", ElementType::I32, [2])),
        })
        .collect();
    let y = graph.operator(operator(&definition).unwrap(), &ids, 2)[0];
    graph.output("y", y);
    let mut session = Arc::new(CpuPlan::new(Arc::new(graph.build().unwrap()), &Threads::new(Some(1)))).session();
    for (lengths, right) in [(vec![3, 0], true), (vec![4, 1], false), (vec![-1, 1], false)] {
        let given = [Some(tensor(&[3, 2, 2], 1)), Some(Tensor::vector(lengths))];
        assert_eq!(session.run(&given).is_ok(), right);
    }
}
