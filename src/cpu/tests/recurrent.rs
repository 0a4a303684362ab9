//! Recurrent layers.

use super::*;

/// States of magnitude at most 1, each of which the next steps read.
const STATES: Tolerance = Tolerance { absolute: 2e-5, relative: 1e-5 };

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn lstms_agree(
        steps in 1usize..8, batch in prop_oneof![2 => Just(1usize), 1 => 2usize..9], input in 1usize..12,
        hidden in prop_oneof![3 => 1usize..20, 1 => Just(64usize)], direction in 0usize..3, batch_first: bool, bias: bool, states: bool,
    ) {
        let directions = 1 + direction / 2;
        let mut definition = Definition::new("LSTM")
            .attribute("direction", ["forward", "reverse", "bidirectional"][direction])
            .attribute("hidden_size", hidden as i64)
            .attribute("layout", i64::from(batch_first));
        (definition.opset, definition.outputs) = (14, 3);
        let x = if batch_first { [batch, steps, input] } else { [steps, batch, input] };
        let mut inputs = vec![
            Input::Run(tensor(&x, 1)),
            Input::Constant(tensor(&[directions, 4 * hidden, input], 2)),
            Input::Constant(tensor(&[directions, 4 * hidden, hidden], 3)),
        ];
        if bias || states {
            inputs.push(if bias { Input::Constant(tensor(&[directions, 8 * hidden], 4)) } else { Input::Missing });
        }
        if states {
            let shape = if batch_first { [batch, directions, hidden] } else { [directions, batch, hidden] };
            inputs.extend([Input::Missing, Input::Run(tensor(&shape, 5)), Input::Run(tensor(&shape, 6))]);
        }
        check_outputs(operator(&definition).unwrap(), &inputs, 3, STATES)?;
    }
}
