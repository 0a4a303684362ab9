//! An activation whose input only it reads is computed where that input is computed: `Conv, Relu` becomes one node.

use super::edit::Edit;
use crate::graph::{Activation, Graph, Node};
use crate::ops::unary::clip::Clip;
use crate::tensor::ElementType;

pub(super) fn apply(graph: &mut Graph) {
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
        let Some((first, producer)) = edit.producer_for(x, 1) else { continue };
        if producer.outputs.iter().flatten().count() != 1 || producer.outputs.first() != Some(&Some(x)) {
            continue;
        }
        if let Some(operator) = producer.operator.with_activation(activation) {
            let inputs = producer.inputs.clone();
            edit.fuse(first, index, operator, inputs);
        }
    }
    edit.finish();
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
