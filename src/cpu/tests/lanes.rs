//! Softmax and normalizations.

use super::*;

/// Softmax gives numbers up to 1, LogSoftmax numbers up to a few tens.
const SOFTMAX: Tolerance = Tolerance { absolute: 1e-6, relative: 2e-5 };

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn softmax_agrees(
        dims in prop::collection::vec(prop_oneof![4 => 1usize..9, 1 => 30usize..200], 1..4), axis in 0usize..3, log: bool,
        scale in prop::sample::select(vec![1.0f32, 60.0]),
    ) {
        let name = if log { "LogSoftmax" } else { "Softmax" };
        let axis = (axis % dims.len()) as i64;
        let x = tensor(&dims, 1);
        let x = Tensor::new(dims, x.as_slice::<f32>().unwrap().iter().map(|v| v * scale).collect()).unwrap();
        check(operator(&Definition::new(name).attribute("axis", axis)).unwrap(), &[Input::Run(x)], SOFTMAX)?;
    }

    #[test]
    fn normalizations_agree(
        dims in prop::collection::vec(prop_oneof![4 => 2usize..9, 1 => 30usize..200], 2..5), axis in 0usize..4, shift: bool, constant: bool,
        which in 0usize..4, groups in 1usize..3,
    ) {
        let mut dims = dims;
        let at = axis % dims.len();
        let definition = match which {
            0 => Definition::new("LayerNormalization").attribute("axis", at as i64),
            1 => Definition { opset: 24, ..Definition::new("RMSNormalization") }.attribute("axis", at as i64),
            2 => Definition::new("InstanceNormalization"),
            _ => Definition { opset: 21, ..Definition::new("GroupNormalization") }.attribute("num_groups", groups as i64),
        };
        dims[1] *= groups;
        let parameter = if which < 2 { dims[at..].to_vec() } else { vec![dims[1]] };
        let mut inputs = vec![Input::Run(tensor(&dims, 1)), kept(constant, tensor(&parameter, 2))];
        if which > 1 || (shift && which == 0) {
            inputs.push(kept(constant, tensor(&parameter, 3)));
        }
        // What is divided by a small deviation keeps the error of what it was.
        check(operator(&definition.attribute("epsilon", 1e-2f32)).unwrap(), &inputs, SUMS)?;
    }
}
