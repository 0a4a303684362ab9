//! An addition whose one operand is a convolution that nobody else reads becomes part of the convolution, where the other
//! operand has exactly the shape of its result. An activation after it may join too; or it stands between them already.
//! Where neither operand is one, a tensor that is made larger by whole numbers takes the addition likewise.

use std::sync::Arc;

use super::edit::Edit;
use crate::graph::{Dim, Fact, Graph, Node, Operator, ValueId};
use crate::ops::binary::Binary;
use crate::ops::conv::{self, Conv};
use crate::ops::resize::{self, Resize};

/// An operator that adds one more input to its result, and the place of that among its inputs.
type Fused = (Arc<dyn Operator>, usize);

pub(super) fn apply(graph: &mut Graph) -> bool {
    let convolutions = fuse(graph, |_, node| convolution(node, Conv::with_residual));
    let resizes = fuse(graph, |graph, node| {
        let facts: Vec<_> = node.inputs.iter().map(|input| graph.fact((*input)?)).collect();
        let resize = node.operator.downcast::<Resize>()?.with_residual(&facts)?;
        Some((Arc::new(resize), resize::RESIDUAL))
    });
    convolutions || resizes
}

/// The same behind an activation that a convolution computes.
pub(super) fn apply_last(graph: &mut Graph) -> bool {
    fuse(graph, |_, node| convolution(node, Conv::with_residual_last))
}

fn convolution(node: &Node, with_residual: fn(&Conv) -> Option<Conv>) -> Option<Fused> {
    let conv = with_residual(node.operator.downcast::<Conv>()?)?;
    Some((Arc::new(conv), conv::RESIDUAL))
}

fn fuse(graph: &mut Graph, with_residual: fn(&Graph, &Node) -> Option<Fused>) -> bool {
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let Some(node) = edit.node(index).filter(|node| is_sum(node)) else { continue };
        let [Some(a), Some(b)] = node.inputs[..] else { continue };
        if !edit.graph().fact(a).zip(edit.graph().fact(b)).is_some_and(|(a, b)| same(a, b)) {
            continue;
        }
        let candidate = |term: ValueId, residual: ValueId| {
            let (first, producer) = edit.producer_for(term, 1)?;
            let (operator, place) = with_residual(edit.graph(), producer)?;
            let mut inputs = producer.inputs.clone();
            inputs.resize(place, None);
            inputs.push(Some(residual));
            Some((first, operator, inputs))
        };
        // Of two the later one: the other's result is there by then, as it was for the addition.
        let found = [candidate(a, b), candidate(b, a)].into_iter().flatten().max_by_key(|(first, ..)| *first);
        if let Some((first, operator, inputs)) = found {
            edit.fuse(first, index, operator, inputs);
        }
    }
    edit.finish()
}

/// Whether a node adds two values.
fn is_sum(node: &Node) -> bool {
    node.operator.downcast::<Binary>().is_some_and(|binary| binary.name() == "Add")
}

/// Whether two values are of one type and, whatever symbols stand for, of one shape.
fn same(a: &Fact, b: &Fact) -> bool {
    a.element_type == b.element_type && a.shape == b.shape && !a.shape.contains(&Dim::Unknown)
}

#[cfg(test)]
mod tests {
    use crate::graph::Definition;
    use crate::optimize::testing::*;

    #[test]
    fn a_residual_and_the_activation_after_it_join_the_convolution() {
        for swapped in [false, true] {
            let mut graph = TestGraph::new();
            let x = graph.input("x", &[1, 4, 5, 5]);
            let w = graph.random("w", &[4, 4, 3, 3]);
            let same = Definition::new("Conv").attribute("auto_pad", "SAME_UPPER");
            let conv = graph.define(&same, &[x, w]);
            let sum = graph.node("Add", &if swapped { [x, conv] } else { [conv, x] });
            let y = graph.node("Relu", &[sum]);
            graph.output("y", y);
            graph.check(
                &["fuse_residual_add", "fuse_activation"],
                "input x: f32[1, 4, 5, 5]\n\
                 y: f32[1, 4, 5, 5] = Conv(x, w: f32[4, 4, 3, 3], _, x)\n\
                 output y: f32[1, 4, 5, 5]\n",
            );
        }
    }

    #[test]
    fn a_residual_behind_an_activation_joins_too() {
        for swapped in [false, true] {
            let mut graph = TestGraph::new();
            let x = graph.input("x", &[1, 4, 5, 5]);
            let w = graph.random("w", &[4, 4, 1, 1]);
            let conv = graph.node("Conv", &[x, w]);
            let active = graph.node("Tanh", &[conv]);
            let y = graph.node("Add", &if swapped { [x, active] } else { [active, x] });
            graph.output("y", y);
            graph.check(
                &["fuse_residual_add", "fuse_activation", "fuse_residual_add_last"],
                "input x: f32[1, 4, 5, 5]\n\
                 y: f32[1, 4, 5, 5] = Conv(x, w: f32[4, 4, 1, 1], _, x)\n\
                 output y: f32[1, 4, 5, 5]\n",
            );
        }
    }

    #[test]
    fn what_is_made_larger_takes_the_sum_where_no_convolution_does() {
        let larger = |graph: &mut TestGraph, x, factors: &[f32]| {
            let scales = graph.constant("scales", &[4], factors);
            graph.define(&Definition { opset: 9, ..Definition::new("Upsample") }, &[x, scales])
        };
        let mut graph = TestGraph::new();
        let (x, z) = (graph.input("x", &[1, 4, 3, 5]), graph.input("z", &[1, 4, 6, 10]));
        let w = graph.random("w", &[4, 4, 1, 1]);
        let (up, uneven) = (larger(&mut graph, x, &[1.0, 1.0, 2.0, 2.0]), larger(&mut graph, x, &[1.0, 1.0, 2.5, 2.0]));
        let sum = graph.node("Add", &[z, up]);
        let (also, conv) = (larger(&mut graph, x, &[1.0, 1.0, 2.0, 2.0]), graph.node("Conv", &[z, w]));
        let both = graph.node("Add", &[also, conv]);
        for (name, value) in [("sum", sum), ("both", both), ("uneven", uneven)] {
            graph.output(name, value);
        }
        graph.check(
            &["fuse_residual_add"],
            "input x: f32[1, 4, 3, 5]\n\
             input z: f32[1, 4, 6, 10]\n\
             uneven: f32[1, 4, 7, 10] = Upsample(x, [1.0, 1.0, 2.5, 2.0])\n\
             sum: f32[1, 4, 6, 10] = Upsample(x, [1.0, 1.0, 2.0, 2.0], _, _, z)\n\
             Upsample_3: f32[1, 4, 6, 10] = Upsample(x, [1.0, 1.0, 2.0, 2.0])\n\
             both: f32[1, 4, 6, 10] = Conv(z, w: f32[4, 4, 1, 1], _, Upsample_3)\n\
             output sum: f32[1, 4, 6, 10]\n\
             output both: f32[1, 4, 6, 10]\n\
             output uneven: f32[1, 4, 7, 10]\n",
        );
    }

    #[test]
    fn of_two_convolutions_the_later_takes_the_sum() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[1, 2, 3, 3]);
        let (v, w) = (graph.random("v", &[9, 2, 1, 1]), graph.random("w", &[9, 2, 1, 1]));
        let b = graph.random("b", &[9]);
        let first = graph.node("Conv", &[x, v]);
        let second = graph.node("Conv", &[x, w, b]);
        let y = graph.node("Add", &[first, second]);
        graph.output("y", y);
        graph.check(
            &["fuse_residual_add"],
            "input x: f32[1, 2, 3, 3]\n\
             Conv_0: f32[1, 9, 3, 3] = Conv(x, v: f32[9, 2, 1, 1])\n\
             y: f32[1, 9, 3, 3] = Conv(x, w: f32[9, 2, 1, 1], b: f32[9], Conv_0)\n\
             output y: f32[1, 9, 3, 3]\n",
        );
    }

    #[test]
    fn other_shapes_and_shared_results_stay() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[1, 4, 5, 5]);
        let row = graph.input("row", &[1, 1, 5]);
        let w = graph.random("w", &[4, 4, 1, 1]);
        let a = graph.node("Conv", &[x, w]);
        let repeated = graph.node("Add", &[a, row]);
        let b = graph.node("Conv", &[x, w]);
        let shared = graph.node("Add", &[b, x]);
        let doubled = graph.node("Conv", &[x, w]);
        let double = graph.node("Add", &[doubled, doubled]);
        for (name, value) in [("repeated", repeated), ("b", b), ("shared", shared), ("double", double)] {
            graph.output(name, value);
        }
        let text = graph.rewritten(&[]).to_string();
        graph.check(&["fuse_residual_add"], &text);
    }
}
