//! What a node combines, as rewrites ask for it.

use crate::graph::{Graph, Node, ValueId};

/// The two inputs of a node of this operator.
pub(super) fn operands(node: &Node, operator: &str) -> Option<(ValueId, ValueId)> {
    match node.inputs[..] {
        [Some(a), Some(b)] if node.operator.name() == operator => Some((a, b)),
        _ => None,
    }
}

/// The one number of a constant that does not enlarge `x` when it is combined with it.
pub(super) fn scalar(graph: &Graph, x: ValueId, constant: ValueId) -> Option<f32> {
    let fact = graph.fact(constant)?;
    fact.number().filter(|_| graph.fact(x).is_some_and(|x| fact.rank() <= x.rank()))
}

/// Whether a number is what another was rounded to.
pub(super) fn near(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-5 * b
}
