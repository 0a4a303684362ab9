//! Nodes that hand their input on are removed: their readers read the input. So are conversions to the type that a value has
//! already, and repetitions and new shapes that leave it as it is.
//!
//! Where such a node computes an output of the graph, the node before it computes that output instead. It stays where
//! there is none before it (an input that is an output), or where that one computes an output of another name.

use super::edit::Edit;
use crate::graph::{Graph, Node, ValueId};

pub(super) fn apply(graph: &mut Graph) -> bool {
    let mut renamed: Vec<Option<ValueId>> = vec![None; graph.values.len()];
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let hands_on = |node: &&Node| node.operator.is_identity() || leaves_as_it_is(edit.graph(), node);
        let Some(node) = edit.node(index).filter(hands_on) else { continue };
        let (Some(Some(x)), [Some(y), rest @ ..]) = (node.inputs.first().copied(), &node.outputs[..]) else { continue };
        let y = *y;
        if rest.iter().any(Option::is_some) {
            continue;
        }
        let x = last(&renamed, x);
        if !edit.is_output(y) {
            renamed[y.0] = Some(x);
        } else if let Some((producer, _)) = edit.producer(x).filter(|_| !edit.is_output(x)) {
            edit.redirect(producer, x, y);
            renamed[x.0] = Some(y);
        } else {
            continue;
        }
        edit.remove(index);
    }
    // In one walk, each name followed to its end.
    let ends: Vec<_> = (0..renamed.len()).map(|i| renamed[i].map(|to| last(&renamed, to))).collect();
    edit.rename(&ends);
    edit.finish()
}

/// Whether a node gives what it is given because of what that is.
fn leaves_as_it_is(graph: &Graph, node: &Node) -> bool {
    let fact = |ids: &[Option<ValueId>]| ids.first().copied().flatten().and_then(|id| graph.fact(id));
    let (Some(x), Some(y)) = (fact(&node.inputs), fact(&node.outputs)) else { return false };
    let same_shape = || x.concrete().is_some() && x.concrete() == y.concrete();
    match node.operator.name() {
        "Cast" | "CastLike" => x.element_type == y.element_type,
        "Expand" | "Tile" | "Reshape" | "Flatten" => same_shape(),
        _ => false,
    }
}

/// The value that stands for this one after all renamings. There is no cycle: an output is never renamed, and what is
/// renamed to something else than an output is renamed to a value before it.
fn last(renamed: &[Option<ValueId>], mut id: ValueId) -> ValueId {
    while let Some(next) = renamed[id.0] {
        id = next;
    }
    id
}

#[cfg(test)]
mod tests {
    use crate::graph::Definition;
    use crate::optimize::testing::*;

    #[test]
    fn readers_read_what_was_handed_on() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[2, 3]);
        let a = graph.node("Neg", &[x]);
        let b = graph.node("Identity", &[a]);
        let c = graph.node("Dropout", &[b]);
        let y = graph.node("Relu", &[c]);
        graph.output("y", y);
        graph.check(
            &["remove_identity"],
            "input x: f32[2, 3]\n\
             Neg_0: f32[2, 3] = Neg(x)\n\
             y: f32[2, 3] = Relu(Neg_0)\n\
             output y: f32[2, 3]\n",
        );
    }

    #[test]
    fn what_leaves_a_value_as_it_is() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[2, 3]);
        let (shape, once) = (graph.integers("shape", &[2, 3]), graph.integers("once", &[1, 1]));
        let a = graph.node("Neg", &[x]);
        let b = graph.define(&Definition::new("Cast").attribute("to", 1i64), &[a]);
        let c = graph.node("Expand", &[b, shape]);
        let d = graph.node("Reshape", &[c, shape]);
        let e = graph.node("Tile", &[d, once]);
        let longer = graph.integers("longer", &[2, 2, 3]);
        let y = graph.node("Expand", &[e, longer]);
        graph.output("y", y);
        graph.check(
            &["remove_identity", "drop_dead"],
            "input x: f32[2, 3]\nNeg_0: f32[2, 3] = Neg(x)\ny: f32[2, 2, 3] = Expand(Neg_0, [2, 2, 3])\noutput y: f32[2, 2, 3]\n",
        );
    }

    #[test]
    fn outputs_keep_their_names() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[2]);
        let a = graph.node("Neg", &[x]);
        let b = graph.node("Identity", &[a]);
        let c = graph.node("Relu", &[a]);
        let d = graph.node("Identity", &[b]);
        let e = graph.node("Identity", &[d]);
        let f = graph.node("Identity", &[x]);
        for (name, value) in [("b", b), ("c", c), ("e", e), ("f", f)] {
            graph.output(name, value);
        }
        graph.check(
            &["remove_identity"],
            "input x: f32[2]\n\
             b: f32[2] = Neg(x)\n\
             c: f32[2] = Relu(b)\n\
             e: f32[2] = Identity(b)\n\
             f: f32[2] = Identity(x)\n\
             output b: f32[2]\n\
             output c: f32[2]\n\
             output e: f32[2]\n\
             output f: f32[2]\n",
        );
    }
}
