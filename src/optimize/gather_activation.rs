//! Activations that a file writes out become one node:
//! `x · sigmoid(x)` a Swish, `relu6(x + 3) / 6` a HardSigmoid, `x · hardsigmoid(x)` or `x · relu6(x + 3) / 6` a HardSwish.

use std::sync::Arc;

use super::edit::Edit;
use super::fuse_activation::activation;
use super::operands::{near, operands, scalar};
use crate::graph::{Activation, Definition, Graph, Node, Operator, ValueId};

/// 1/6 as files round it.
const SIXTH: f32 = 1.0 / 6.0;

pub(super) fn apply(graph: &mut Graph) -> bool {
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let Some(node) = edit.node(index) else { continue };
        let Some(found) = find(&edit, node) else { continue };
        if !edit.graph().fact(found.x).is_some_and(|fact| fact.element_type.is_float()) {
            continue;
        }
        edit.replace(index, found.operator, vec![Some(found.x)]);
        for inner in found.inner {
            edit.remove(inner);
        }
    }
    edit.finish()
}

/// An activation that was written out.
struct Found {
    operator: Arc<dyn Operator>,
    x: ValueId,
    /// The nodes that compute it beside the last.
    inner: Vec<usize>,
}

impl Found {
    fn new(definition: &Definition, x: ValueId, inner: Vec<usize>) -> Option<Self> {
        let operator = crate::ops::operator(definition).ok()?;
        Some(Self { operator, x, inner })
    }
}

fn find(edit: &Edit<'_>, node: &Node) -> Option<Found> {
    let gated = operands(node, "Mul").and_then(|(a, b)| gate(edit, a, b).or_else(|| gate(edit, b, a)));
    if gated.is_some() {
        return gated;
    }
    let scaled = sixth(edit, node)?;
    if let Some((x, inner)) = relu6_of_plus_3(edit, scaled) {
        let definition = Definition::new("HardSigmoid").attribute("alpha", SIXTH).attribute("beta", 0.5f32);
        return Found::new(&definition, x, inner);
    }
    let (product, node) = edit.producer_for(scaled, 1)?;
    let (a, b) = operands(node, "Mul")?;
    let half = |x, gate| {
        let (of, mut inner) = relu6_of_plus_3(edit, gate).filter(|(of, _)| *of == x)?;
        inner.push(product);
        Found::new(&Definition::new("HardSwish"), of, inner)
    };
    half(a, b).or_else(|| half(b, a))
}

/// `x · gate`, where the gate is a function of x that only this product reads.
fn gate(edit: &Edit<'_>, x: ValueId, gate: ValueId) -> Option<Found> {
    let (index, node) = edit.producer_for(gate, 1)?;
    if node.inputs.first() != Some(&Some(x)) {
        return None;
    }
    let definition = match activation(edit.graph(), node)? {
        Activation::Sigmoid => Definition::new("Swish"),
        Activation::HardSigmoid(a, b) if near(a, SIXTH) && near(b, 0.5) => Definition::new("HardSwish"),
        _ => return None,
    };
    Found::new(&definition, x, vec![index])
}

/// What a node divides by six.
fn sixth(edit: &Edit<'_>, node: &Node) -> Option<ValueId> {
    let graph = edit.graph();
    if let Some((a, b)) = operands(node, "Div") {
        return near(scalar(graph, a, b)?, 6.0).then_some(a);
    }
    let (a, b) = operands(node, "Mul")?;
    let times = |x, factor| scalar(graph, x, factor).filter(|v| near(*v, SIXTH)).map(|_| x);
    times(a, b).or_else(|| times(b, a))
}

/// The x of `min(max(x + 3, 0), 6)`, and the two nodes that compute it, which nobody else reads.
fn relu6_of_plus_3(edit: &Edit<'_>, value: ValueId) -> Option<(ValueId, Vec<usize>)> {
    let (clip, node) = edit.producer_for(value, 1)?;
    if activation(edit.graph(), node)? != Activation::Clip(0.0, 6.0) {
        return None;
    }
    let (add, node) = edit.producer_for(node.inputs.first().copied().flatten()?, 1)?;
    let (a, b) = operands(node, "Add")?;
    let plus = |x, three| scalar(edit.graph(), x, three).filter(|v| *v == 3.0).map(|_| x);
    Some((plus(a, b).or_else(|| plus(b, a))?, vec![clip, add]))
}

#[cfg(test)]
mod tests {
    use crate::optimize::testing::*;

    fn expected(operator: &str) -> String {
        format!("input x: f32[2, 3]\ny: f32[2, 3] = {operator}(x)\noutput y: f32[2, 3]\n")
    }

    const APPLIED: [&str; 2] = ["gather_activation", "drop_dead"];

    #[test]
    fn swish_in_both_orders() {
        for swapped in [false, true] {
            let mut graph = TestGraph::new();
            let x = graph.input("x", &[2, 3]);
            let gate = graph.node("Sigmoid", &[x]);
            let y = graph.node("Mul", &if swapped { [gate, x] } else { [x, gate] });
            graph.output("y", y);
            graph.check(&APPLIED, &expected("Swish"));
        }
    }

    #[test]
    fn hard_swish_however_it_is_written() {
        for form in 0..5 {
            let mut graph = TestGraph::new();
            let x = graph.input("x", &[2, 3]);
            let (three, zero, six) =
                (graph.constant("3", &[], &[3.0]), graph.constant("0", &[], &[0.0]), graph.constant("6", &[], &[6.0]));
            let sixth = graph.constant("1/6", &[1], &[0.166_666_67]);
            let sum = graph.node("Add", &[x, three]);
            let clipped = graph.node("Clip", &[sum, zero, six]);
            let y = match form {
                0 => {
                    let product = graph.node("Mul", &[x, clipped]);
                    graph.node("Div", &[product, six])
                }
                1 => {
                    let product = graph.node("Mul", &[clipped, x]);
                    graph.node("Mul", &[sixth, product])
                }
                2 => {
                    let gate = graph.node("Div", &[clipped, six]);
                    graph.node("Mul", &[gate, x])
                }
                3 => {
                    let gate = graph.node("Mul", &[clipped, sixth]);
                    graph.node("Mul", &[x, gate])
                }
                _ => graph.node("Div", &[clipped, six]),
            };
            graph.output("y", y);
            graph.check(&APPLIED, &expected(if form == 4 { "HardSigmoid" } else { "HardSwish" }));
        }
    }

    #[test]
    fn a_gate_of_another_value_stays() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[2, 3]);
        let z = graph.input("z", &[2, 3]);
        let gate = graph.node("Sigmoid", &[z]);
        let y = graph.node("Mul", &[x, gate]);
        let own = graph.node("Sigmoid", &[x]);
        let shared = graph.node("Mul", &[x, own]);
        graph.output("y", y);
        graph.output("shared", shared);
        graph.output("own", own);
        let text = graph.rewritten(&[]).to_string();
        graph.check(&APPLIED, &text);
    }
}
