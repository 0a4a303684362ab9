//! Chains of element-wise operators.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Input, check, kept, tensor};
use crate::graph::Definition;
use crate::ops::chain::{Chain, Link, Source};
use crate::ops::operator;
use crate::testing::Tolerance;

fn link(name: &str, inputs: &[Source]) -> Link {
    let definition = Definition { inputs: inputs.len(), ..Definition::new(name) };
    Link { operator: operator(&definition).unwrap(), inputs: inputs.iter().map(|&source| Some(source)).collect() }
}

proptest! {
    #[test]
    fn chains_agree(
        dims in prop::collection::vec((1usize..6, any::<bool>(), any::<bool>()), 1..5), constant: bool,
        order in prop::collection::vec(0usize..6, 1..6),
    ) {
        use Source::{Input as Of, SoFar};
        let side = |pick: fn(&(usize, bool, bool)) -> bool| -> Vec<usize> {
            dims.iter().map(|d| if pick(d) { 1 } else { d.0 }).collect()
        };
        // Some of them cannot be written over what they are given.
        let links = order.iter().map(|&kind| match kind {
            0 => link("Sub", &[Of(1), SoFar]),
            1 => link("Mul", &[SoFar, SoFar]),
            2 => link("Min", &[SoFar, Of(2)]),
            3 => link("Neg", &[SoFar]),
            4 => link("HardSigmoid", &[SoFar]),
            _ => link("Mul", &[SoFar, Of(1)]),
        });
        let inputs = [
            Input::Run(tensor(&side(|_| false), 1)), kept(constant, tensor(&side(|d| d.1), 7)),
            Input::Run(tensor(&side(|d| d.2), 5)),
        ];
        // A few roundings, of differences too.
        let tolerance = Tolerance { relative: 4e-6, absolute: 4e-6 };
        check(Arc::new(Chain { links: links.collect() }), &inputs, tolerance)?;
    }
}
