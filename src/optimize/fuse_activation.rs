//! An activation whose input only it reads is computed where that input is computed: `Conv, Relu` becomes one node. So do
//! `Conv, Reshape, Transpose, Sigmoid`, for it is the same before elements are moved.

use std::sync::Arc;

use super::edit::Edit;
use crate::graph::{Activation, Graph, Node, Operator, ValueId};
use crate::ops::reshape::Reshape;
use crate::ops::transpose::Transpose;
use crate::ops::unary::clip::Clip;
use crate::tensor::ElementType;

pub(super) fn apply(graph: &mut Graph) -> bool {
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let Some(node) = edit.node(index) else { continue };
        let Some(activation) = activation(edit.graph(), node) else { continue };
        let Some(x) = node.inputs.first().copied().flatten() else { continue };
        // Activations have parameters of 32 bits and no meaning for integers.
        let suits = |t| matches!(t, ElementType::F32 | ElementType::F16);
        if !edit.graph().fact(x).is_some_and(|fact| suits(fact.element_type)) {
            continue;
        }
        let (movers, x) = moved(&edit, x);
        let Some((first, producer)) = edit.producer_for(x, 1) else { continue };
        if producer.outputs.iter().flatten().count() != 1 || producer.outputs.first() != Some(&Some(x)) {
            continue;
        }
        let Some(operator) = producer.operator.with_activation(activation) else { continue };
        let inputs = producer.inputs.clone();
        if movers.is_empty() {
            edit.fuse(first, index, operator, inputs);
        } else {
            advance(&mut edit, (first, operator), &movers, index);
        }
    }
    edit.finish()
}

/// The nodes that move what becomes a value, which nobody else reads, the last first; and what they move.
fn moved(edit: &Edit<'_>, mut value: ValueId) -> (Vec<usize>, ValueId) {
    let mut movers = vec![];
    while let Some((index, node)) = edit.producer_for(value, 1) {
        let moves = node.operator.downcast::<Reshape>().is_some() || node.operator.downcast::<Transpose>().is_some();
        let Some(&Some(from)) = node.inputs.first().filter(|_| moves) else { break };
        movers.push(index);
        value = from;
    }
    (movers, value)
}

/// Lets a node compute the activation `last` before its result is moved. The values on the way become others.
fn advance(edit: &mut Edit<'_>, (first, operator): (usize, Arc<dyn Operator>), movers: &[usize], last: usize) {
    let output = |edit: &Edit<'_>, index: usize| edit.node(index)?.outputs.first().copied().flatten();
    let Some(result) = output(edit, last) else { return };
    let Some(inputs) = edit.node(first).map(|node| node.inputs.clone()) else { return };
    edit.replace(first, operator, inputs);
    edit.remove(last);
    let mut at = first;
    for &mover in movers.iter().rev() {
        let Some(old) = output(edit, at) else { return };
        let name = format!("{}/activated", edit.graph().value(old).name);
        let fact = edit.graph().fact(old).cloned();
        let new = edit.value(&name);
        edit.redirect(at, old, new);
        if let Some(fact) = fact {
            edit.set_fact(new, fact);
        }
        let Some((operator, mut inputs)) = edit.node(mover).map(|n| (Arc::clone(&n.operator), n.inputs.clone())) else {
            return;
        };
        inputs[0] = Some(new);
        edit.replace(mover, operator, inputs);
        at = mover;
    }
    if let Some(old) = output(edit, at) {
        edit.redirect(at, old, result);
    }
}

/// The activation that a node is, if it is one.
pub(super) fn activation(graph: &Graph, node: &Node) -> Option<Activation> {
    node.operator.activation().or_else(|| node.operator.downcast::<Clip>()?.function(&graph.input_facts(node)?))
}

#[cfg(test)]
mod tests {
    use crate::optimize::testing::*;

    #[test]
    fn an_activation_joins_the_convolution_before_it() {
        for name in ["Relu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "LeakyRelu", "Clip", "Swish"] {
            let mut graph = TestGraph::new();
            let x = graph.input("x", &[1, 2, 4, 4]);
            let w = graph.random("w", &[3, 2, 3, 3]);
            let conv = graph.node("Conv", &[x, w]);
            let low = graph.constant("low", &[], &[-0.5]);
            let y = if name == "Clip" { graph.node(name, &[conv, low]) } else { graph.node(name, &[conv]) };
            graph.output("y", y);
            graph.check(
                &["fuse_activation"],
                "input x: f32[1, 2, 4, 4]\n\
                 y: f32[1, 3, 2, 2] = Conv(x, w: f32[3, 2, 3, 3])\n\
                 output y: f32[1, 3, 2, 2]\n",
            );
        }
    }

    #[test]
    fn an_activation_joins_the_convolution_whose_result_is_moved() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[1, 2, 4, 3]);
        let w = graph.random("w", &[6, 2, 1, 1]);
        let conv = graph.node("Conv", &[x, w]);
        let shape = graph.integers("shape", &[2, 3, 12]);
        let parts = graph.node("Reshape", &[conv, shape]);
        let turned = graph.node("Transpose", &[parts]);
        let y = graph.node("Sigmoid", &[turned]);
        graph.output("y", y);
        graph.check(
            &["fuse_activation"],
            "input x: f32[1, 2, 4, 3]\n\
             Conv_0/activated: f32[1, 6, 4, 3] = Conv(x, w: f32[6, 2, 1, 1])\n\
             Reshape_1/activated: f32[2, 3, 12] = Reshape(Conv_0/activated, [2, 3, 12])\n\
             y: f32[12, 3, 2] = Transpose(Reshape_1/activated)\n\
             output y: f32[12, 3, 2]\n",
        );
    }

    #[test]
    fn a_value_that_is_needed_elsewhere_stays() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[2, 2]);
        let w = graph.random("w", &[2, 2]);
        let a = graph.node("Gemm", &[x, w]);
        let b = graph.node("Relu", &[a]);
        let c = graph.node("Gemm", &[b, w]);
        let d = graph.node("Relu", &[c]);
        let e = graph.node("Neg", &[c]);
        // `a` is an output itself, `c` has two readers.
        for (name, value) in [("a", a), ("d", d), ("e", e)] {
            graph.output(name, value);
        }
        let text = graph.rewritten(&[]).to_string();
        graph.check(&["fuse_activation"], &text);
    }

    #[test]
    fn one_activation_joins_and_the_next_does_not() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[2, 2]);
        let w = graph.random("w", &[2, 2]);
        let a = graph.node("Gemm", &[x, w]);
        let b = graph.node("Relu", &[a]);
        let y = graph.node("Sigmoid", &[b]);
        graph.output("y", y);
        graph.check(
            &["fuse_activation"],
            "input x: f32[2, 2]\n\
             Relu_1: f32[2, 2] = Gemm(x, w: f32[2, 2])\n\
             y: f32[2, 2] = Sigmoid(Relu_1)\n\
             output y: f32[2, 2]\n",
        );
    }
}
