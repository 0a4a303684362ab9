//! Nodes that hand their input on are removed: their readers read the input.
//!
//! Where such a node computes an output of the graph, the node before it computes that output instead. It stays where
//! there is none before it (an input that is an output), or where that one computes an output of another name.

use super::edit::Edit;
use crate::graph::{Graph, ValueId};

pub(super) fn apply(graph: &mut Graph) {
    let mut renamed: Vec<Option<ValueId>> = vec![None; graph.values.len()];
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let Some(node) = edit.node(index).filter(|node| node.operator.is_identity()) else { continue };
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
    edit.finish();
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
