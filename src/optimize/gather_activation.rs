//! Activations that a file writes out become one node:
//! `x · sigmoid(x)` a Swish, `relu6(x + 3) / 6` a HardSigmoid, `x · hardsigmoid(x)` or `x · relu6(x + 3) / 6` a HardSwish,
//! and `x / 2 · (1 + erf(x / √2))` a Gelu.

use std::sync::Arc;

use super::edit::Edit;
use super::fuse_activation::activation;
use crate::graph::{Activation, Definition, Graph, Node, Operator, ValueId};

/// 1/6 as files round it.
const SIXTH: f32 = 1.0 / 6.0;

pub(super) fn apply(graph: &mut Graph) {
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
    edit.finish();
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
    let gated = gated.or_else(|| gelu(edit, node));
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

/// `x · (1 + erf(x / √2)) · 0.5`, in any order.
fn gelu(edit: &Edit<'_>, node: &Node) -> Option<Found> {
    let (a, b) = operands(node, "Mul")?;
    [(a, b), (b, a)].into_iter().find_map(|(a, b)| {
        let found = |x, inner| Found::new(&Definition::new("Gelu"), x, inner);
        let graph = edit.graph();
        // (x · gate) · 0.5
        if scalar(graph, a, b) == Some(0.5) {
            let (product, node) = edit.producer_for(a, 1)?;
            let (c, d) = operands(node, "Mul")?;
            let of = |x, gate| one_and_erf(edit, gate).filter(|(of, _)| *of == x);
            let (x, inner) = of(c, d).or_else(|| of(d, c))?;
            return found(x, [inner, vec![product]].concat());
        }
        // (x · 0.5) · gate, or x · (gate · 0.5)
        let (half, node) = edit.producer_for(a, 1)?;
        let (c, d) = operands(node, "Mul")?;
        let halved = [(c, d), (d, c)].into_iter().find(|&(x, half)| scalar(graph, x, half) == Some(0.5))?.0;
        let (x, inner) = match one_and_erf(edit, b) {
            Some((x, inner)) => (x == halved).then_some((x, inner)),
            None => one_and_erf(edit, halved).filter(|(x, _)| *x == b),
        }?;
        found(x, [inner, vec![half]].concat())
    })
}

/// The x of `1 + erf(x / √2)`, and the three nodes that compute it, which nobody else reads.
fn one_and_erf(edit: &Edit<'_>, value: ValueId) -> Option<(ValueId, Vec<usize>)> {
    let graph = edit.graph();
    let (add, node) = edit.producer_for(value, 1)?;
    let (a, b) = operands(node, "Add")?;
    let plus_one = |x, one| (scalar(graph, x, one) == Some(1.0)).then_some(x);
    let (erf, node) = edit.producer_for(plus_one(a, b).or_else(|| plus_one(b, a))?, 1)?;
    let z = node.inputs.first().copied().flatten().filter(|_| node.operator.name() == "Erf")?;
    let (scale, node) = edit.producer_for(z, 1)?;
    let times = |x, factor, expected| scalar(graph, x, factor).filter(|v| near(*v, expected)).map(|_| x);
    let x = match operands(node, "Div") {
        Some((a, b)) => times(a, b, std::f32::consts::SQRT_2)?,
        None => {
            let (a, b) = operands(node, "Mul")?;
            let half = std::f32::consts::FRAC_1_SQRT_2;
            times(a, b, half).or_else(|| times(b, a, half))?
        }
    };
    Some((x, vec![add, erf, scale]))
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

/// The two inputs of a node of this operator.
fn operands(node: &Node, operator: &str) -> Option<(ValueId, ValueId)> {
    match node.inputs[..] {
        [Some(a), Some(b)] if node.operator.name() == operator => Some((a, b)),
        _ => None,
    }
}

/// The one number of a constant that does not enlarge `x` when it is combined with it.
fn scalar(graph: &Graph, x: ValueId, constant: ValueId) -> Option<f32> {
    let fact = graph.fact(constant)?;
    match fact.floats()?[..] {
        [value] if fact.rank() <= graph.fact(x)?.rank() => Some(value),
        _ => None,
    }
}

fn near(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-5 * b
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
    fn gelu_however_it_is_written() {
        for form in 0..8 {
            let mut graph = TestGraph::new();
            let x = graph.input("x", &[2, 3]);
            let (half, one) = (graph.constant("half", &[], &[0.5]), graph.constant("one", &[1], &[1.0]));
            let root = graph.constant("root", &[], &[2f32.sqrt()]);
            let inverse = graph.constant("inverse", &[], &[0.5f32.sqrt()]);
            let scaled = if form % 2 == 0 { graph.node("Div", &[x, root]) } else { graph.node("Mul", &[inverse, x]) };
            let erf = graph.node("Erf", &[scaled]);
            let gate = graph.node("Add", &if form % 2 == 0 { [erf, one] } else { [one, erf] });
            let y = match form / 2 {
                0 => {
                    let product = graph.node("Mul", &[x, gate]);
                    graph.node("Mul", &[product, half])
                }
                1 => {
                    let halved = graph.node("Mul", &[half, x]);
                    graph.node("Mul", &[halved, gate])
                }
                2 => {
                    let halved = graph.node("Mul", &[gate, half]);
                    graph.node("Mul", &[x, halved])
                }
                _ => {
                    let product = graph.node("Mul", &[gate, x]);
                    graph.node("Mul", &[half, product])
                }
            };
            graph.output("y", y);
            graph.check(&APPLIED, &expected("Gelu"));
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
