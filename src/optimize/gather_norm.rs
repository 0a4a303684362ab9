//! Normalizations of the last axes that a file writes out become one node: `x / √(mean of x² + ε)` an RMSNormalization, and of
//! `x = z - mean of z` a LayerNormalization of z, with what scales and shifts the result.

use super::edit::Edit;
use super::operands::{operands, scalar};
use crate::graph::{Definition, Graph, Node, ValueId};
use crate::ops::reduce::Reduce;
use crate::tensor::shape::elements;
use crate::tensor::{ElementType, Tensor};

/// Elements of a lane for which a scale of ones is made.
const LONGEST: usize = 1 << 16;

pub(super) fn apply(graph: &mut Graph) -> bool {
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let Some(found) = edit.node(index).and_then(|node| find(&edit, index, node)) else { continue };
        replace(&mut edit, found);
    }
    edit.finish()
}

/// A normalization that was written out.
struct Found {
    x: ValueId,
    /// The first of the axes that are normalized.
    axis: usize,
    epsilon: f32,
    /// Whether the mean is taken out.
    centred: bool,
    scale: Option<ValueId>,
    shift: Option<ValueId>,
    /// The nodes that compute it, the last behind all others.
    nodes: Vec<usize>,
}

fn replace(edit: &mut Edit<'_>, mut found: Found) {
    let Some(last) = found.nodes.pop() else { return };
    let name = if found.centred { "LayerNormalization" } else { "RMSNormalization" };
    let Ok(axis) = i64::try_from(found.axis) else { return };
    let definition = Definition::new(name).attribute("axis", axis).attribute("epsilon", found.epsilon);
    let Ok(operator) = crate::ops::operator(&definition) else { return };
    let Some(scale) = found.scale.or_else(|| ones(edit, &found)) else { return };
    let mut inputs = vec![Some(found.x), Some(scale)];
    inputs.extend(found.shift.map(Some));
    edit.replace(last, operator, inputs);
    for node in found.nodes {
        edit.remove(node);
    }
}

/// A scale that changes nothing.
fn ones(edit: &mut Edit<'_>, found: &Found) -> Option<ValueId> {
    let shape = edit.graph().fact(found.x)?.concrete()?;
    let lane = &shape[found.axis..];
    let count = elements(lane).filter(|count| *count <= LONGEST)?;
    Some(edit.constant("ones", Tensor::new(lane, vec![1f32; count]).ok()?))
}

/// The normalization whose quotient a node is.
fn find(edit: &Edit<'_>, index: usize, node: &Node) -> Option<Found> {
    let (mut x, sum, mut nodes) = quotient(edit, node)?;
    let graph = edit.graph();
    if graph.fact(x)?.element_type != ElementType::F32 {
        return None;
    }
    let (add, node) = edit.producer_for(sum, 1)?;
    let (a, b) = operands(node, "Add")?;
    let plus = |mean, epsilon| scalar(graph, mean, epsilon).filter(|e| *e >= 0.0).map(|e| (mean, e));
    let (mean, epsilon) = plus(a, b).or_else(|| plus(b, a))?;
    let (square, axis, reduce) = mean_of(edit, mean)?;
    let (power, node) = edit.producer_for(square, 1)?;
    let by_product = operands(node, "Mul") == Some((x, x));
    let by_power = operands(node, "Pow").is_some_and(|(a, two)| a == x && scalar(graph, x, two) == Some(2.0));
    if !by_product && !by_power {
        return None;
    }
    nodes.extend([power, reduce, add]);
    let mut centred = false;
    // Who reads the difference: the square, and the quotient.
    if let Some((sub, node)) = edit.producer_for(x, if by_product { 3 } else { 2 })
        && let Some((z, mean)) = operands(node, "Sub")
        && let Some((of, first, reduce)) = mean_of(edit, mean)
        && of == z
        && first == axis
    {
        (x, centred) = (z, true);
        nodes.extend([reduce, sub]);
    }
    nodes.push(index);
    let mut found = Found { x, axis, epsilon, centred, scale: None, shift: None, nodes };
    found.scale = then(edit, &mut found, "Mul");
    found.shift = if centred { then(edit, &mut found, "Add") } else { None };
    Some(found)
}

/// What is multiplied with or added to the result so far, lane by lane the same.
fn then(edit: &Edit<'_>, found: &mut Found, operator: &str) -> Option<ValueId> {
    let graph = edit.graph();
    let value = edit.node(*found.nodes.last()?)?.outputs.first().copied().flatten()?;
    let (index, node) = edit.reader(value)?;
    let (a, b) = operands(node, operator)?;
    let other = if a == value { b } else { a };
    let (fact, shape) = (graph.fact(other)?, graph.fact(found.x)?.concrete()?);
    let own = fact.concrete()?;
    let lane = &shape[found.axis..];
    // Rows of a value that is computed may be as many as there are lanes: that is no scale.
    let fits = own.len() <= shape.len() && own.iter().rev().zip(lane.iter().rev()).all(|(a, b)| a == b || *a == 1);
    let outer = own.len().saturating_sub(lane.len());
    if !fits || own[..outer].iter().any(|n| *n != 1) || fact.element_type != ElementType::F32 {
        return None;
    }
    found.nodes.push(index);
    Some(other)
}

/// `x` and `v` of a node that computes `x / √v`, and the nodes before it.
fn quotient(edit: &Edit<'_>, node: &Node) -> Option<(ValueId, ValueId, Vec<usize>)> {
    let root = |value: ValueId| {
        let (index, node) = edit.producer_for(value, 1)?;
        let of = node.inputs.first().copied().flatten()?;
        (node.operator.name() == "Sqrt").then_some((of, index))
    };
    if let Some((x, divisor)) = operands(node, "Div") {
        let (v, index) = root(divisor)?;
        return Some((x, v, vec![index]));
    }
    let (a, b) = operands(node, "Mul")?;
    let inverse = |x: ValueId, factor: ValueId| {
        let (index, node) = edit.producer_for(factor, 1)?;
        if node.operator.name() == "Reciprocal" {
            let (v, sqrt) = root(node.inputs.first().copied().flatten()?)?;
            return Some((x, v, vec![sqrt, index]));
        }
        if let Some((one, divisor)) = operands(node, "Div") {
            let (v, sqrt) = root(divisor).filter(|_| scalar(edit.graph(), divisor, one) == Some(1.0))?;
            return Some((x, v, vec![sqrt, index]));
        }
        let (v, power) = operands(node, "Pow")?;
        (scalar(edit.graph(), v, power) == Some(-0.5)).then(|| (x, v, vec![index]))
    };
    inverse(a, b).or_else(|| inverse(b, a))
}

/// What a value is the mean of along its last axes, which it keeps, the first of these, and the node.
fn mean_of(edit: &Edit<'_>, value: ValueId) -> Option<(ValueId, usize, usize)> {
    let (index, node) = edit.producer_for(value, 1)?;
    let facts = edit.graph().input_facts(node)?;
    let reduce = node.operator.downcast::<Reduce>().filter(|_| node.operator.name() == "ReduceMean")?;
    let of = node.inputs.first().copied().flatten()?;
    let reduced = reduce.dimensions(&facts)?;
    let axis = reduced.iter().position(|reduced| *reduced)?;
    let last = reduced[axis..].iter().all(|reduced| *reduced);
    let kept = edit.graph().fact(value)?.rank() == reduced.len();
    (last && kept).then_some((of, axis, index))
}

#[cfg(test)]
mod tests {
    use crate::graph::{Definition, ValueId};
    use crate::optimize::testing::*;

    const APPLIED: [&str; 2] = ["gather_norm", "drop_dead"];

    fn mean(graph: &mut TestGraph, x: ValueId) -> ValueId {
        graph.define(&Definition::new("ReduceMean").attribute("axes", vec![-1i64]), &[x])
    }

    /// `x / √(mean of x² + ε)` in one of the ways in which files write it.
    fn normalized(graph: &mut TestGraph, form: usize, x: ValueId) -> ValueId {
        let [two, epsilon, one, power] = [2.0, 1e-3, 1.0, -0.5].map(|n| graph.constant("number", &[], &[n]));
        let square = if form.is_multiple_of(2) { graph.node("Pow", &[x, two]) } else { graph.node("Mul", &[x, x]) };
        let mean = mean(graph, square);
        let sum = graph.node("Add", &if form < 2 { [mean, epsilon] } else { [epsilon, mean] });
        if form == 3 {
            let inverse = graph.node("Pow", &[sum, power]);
            return graph.node("Mul", &[inverse, x]);
        }
        let root = graph.node("Sqrt", &[sum]);
        match form {
            0 => graph.node("Div", &[x, root]),
            1 | 4 => {
                let inverse = graph.node("Reciprocal", &[root]);
                graph.node("Mul", &if form == 1 { [x, inverse] } else { [inverse, x] })
            }
            _ => {
                let inverse = graph.node("Div", &[one, root]);
                graph.node("Mul", &[x, inverse])
            }
        }
    }

    #[test]
    fn roots_of_mean_squares_however_they_are_written() {
        for form in 0..5 {
            let mut graph = TestGraph::new();
            let x = graph.input("x", &[2, 3, 8]);
            let scale = graph.input("scale", &[8]);
            let y = normalized(&mut graph, form, x);
            let y = graph.node("Mul", &if form == 2 { [y, scale] } else { [scale, y] });
            graph.output("y", y);
            graph.check(
                &APPLIED,
                "input x: f32[2, 3, 8]\ninput scale: f32[8]\ny: f32[2, 3, 8] = RMSNormalization(x, scale)\noutput y: f32[2, 3, 8]\n",
            );
        }
    }

    #[test]
    fn deviations_from_the_mean_with_and_without_shift() {
        for form in 0..10 {
            let mut graph = TestGraph::new();
            let z = graph.input("z", &[2, 3, 8]);
            let [scale, shift] = ["scale", "shift"].map(|name| graph.input(name, &[8]));
            let centre = mean(&mut graph, z);
            let x = graph.node("Sub", &[z, centre]);
            let mut y = normalized(&mut graph, form % 5, x);
            y = graph.node("Mul", &[y, scale]);
            if form < 5 {
                y = graph.node("Add", &[shift, y]);
            }
            graph.output("y", y);
            let inputs = if form < 5 { "z, scale, shift" } else { "z, scale" };
            graph.check(
                &APPLIED,
                &format!(
                    "input z: f32[2, 3, 8]\ninput scale: f32[8]\ninput shift: f32[8]\ny: f32[2, 3, 8] = LayerNormalization({inputs})\noutput y: f32[2, 3, 8]\n"
                ),
            );
        }
    }

    #[test]
    fn what_is_no_scale_stays_behind() {
        for shape in [&[3, 8][..], &[2, 1, 1], &[2, 3, 8]] {
            let mut graph = TestGraph::new();
            let x = graph.input("x", &[2, 3, 8]);
            let other = graph.input("other", shape);
            let y = normalized(&mut graph, 0, x);
            let y = graph.node("Mul", &[y, other]);
            graph.output("y", y);
            let text = graph.check(&APPLIED, &graph.rewritten(&APPLIED).to_string()).to_string();
            assert!(text.contains("RMSNormalization(x, [1.0,") && text.contains("Mul("), "{text}");
        }
    }

    #[test]
    fn other_means_stay() {
        for form in 0..3 {
            let mut graph = TestGraph::new();
            let [x, z] = ["x", "z"].map(|name| graph.input(name, &[4, 4, 4]));
            let epsilon = graph.constant("epsilon", &[], &[1e-3]);
            let square = graph.node("Mul", &[x, x]);
            let axes = vec![if form == 1 { 1i64 } else { -1 }];
            let keep = i64::from(form != 2);
            let definition = Definition::new("ReduceMean").attribute("axes", axes).attribute("keepdims", keep);
            let mean = graph.define(&definition, &[square]);
            let sum = graph.node("Add", &[mean, epsilon]);
            let root = graph.node("Sqrt", &[sum]);
            let y = graph.node("Div", &[if form == 0 { z } else { x }, root]);
            graph.output("y", y);
            let text = graph.rewritten(&[]).to_string();
            graph.check(&APPLIED, &text);
        }
    }
}
