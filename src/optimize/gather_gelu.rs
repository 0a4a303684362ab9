//! Gelu that a file writes out becomes one node: `x / 2 · (1 + erf(x / √2))`, and its approximation
//! `x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`.
//!
//! Files write the product and the argument in any order, cubes as powers or products, factors before or behind: so a
//! product is taken for its factors, and an argument for the coefficients of a polynomial in x.

use super::edit::Edit;
use super::operands::{near, operands, scalar};
use crate::graph::{Definition, Graph, Node, ValueId};

/// The coefficients of 1, x, x² and x³.
type Polynomial = [f32; 4];

const ERF: Polynomial = [0.0, std::f32::consts::FRAC_1_SQRT_2, 0.0, 0.0];

/// √(2/π) and 0.044715 times that.
const TANH: Polynomial = [0.0, 0.797_884_6, 0.0, 0.035_677_408];

/// Nodes that an argument may be made of.
const MOST: usize = 8;

pub(super) fn apply(graph: &mut Graph) -> bool {
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let Some(node) = edit.node(index) else { continue };
        let Some((definition, x, inner)) = gelu(&edit, node) else { continue };
        let Ok(operator) = crate::ops::operator(&definition) else { continue };
        if !edit.graph().fact(x).is_some_and(|fact| fact.element_type.is_float()) {
            continue;
        }
        edit.replace(index, operator, vec![Some(x)]);
        for inner in inner {
            edit.remove(inner);
        }
    }
    edit.finish()
}

/// The operator that ends in this node, its x, and the nodes before that compute it.
fn gelu(edit: &Edit<'_>, node: &Node) -> Option<(Definition, ValueId, Vec<usize>)> {
    let (a, b) = operands(node, "Mul")?;
    let mut factors = vec![a, b];
    let mut inner = vec![];
    // x, a half and the gate are two products; more are something else.
    for i in 0..2 {
        if factors.len() == 2
            && let Some((product, node)) = edit.producer_for(factors[i], 1)
            && let Some((c, d)) = operands(node, "Mul")
        {
            factors[i] = c;
            factors.push(d);
            inner.push(product);
        }
    }
    let [a, b, c] = factors[..] else { return None };
    let graph = edit.graph();
    [(a, b, c), (a, c, b), (b, a, c), (b, c, a), (c, a, b), (c, b, a)].into_iter().find_map(|(x, half, gate)| {
        scalar(graph, x, half).filter(|half| *half == 0.5)?;
        let (definition, nodes) = one_and_function(edit, gate, x)?;
        Some((definition, x, [&nodes[..], &inner].concat()))
    })
}

/// `1 + erf` or `1 + tanh` of what makes it Gelu's gate of x, and the nodes that compute it, which nobody else reads.
fn one_and_function(edit: &Edit<'_>, gate: ValueId, x: ValueId) -> Option<(Definition, Vec<usize>)> {
    let (add, node) = edit.producer_for(gate, 1)?;
    let (a, b) = operands(node, "Add")?;
    let plus_one = |value, one| (scalar(edit.graph(), value, one) == Some(1.0)).then_some(value);
    let (function, node) = edit.producer_for(plus_one(a, b).or_else(|| plus_one(b, a))?, 1)?;
    let (expected, definition) = match node.operator.name() {
        "Erf" => (ERF, Definition::new("Gelu")),
        "Tanh" => (TANH, Definition::new("Gelu").attribute("approximate", "tanh")),
        _ => return None,
    };
    let mut nodes = vec![add, function];
    let found = polynomial(edit, node.inputs.first().copied().flatten()?, x, &mut nodes)?;
    let same = found.iter().zip(expected).all(|(&found, expected)| near(found, expected));
    same.then_some((definition, nodes))
}

/// The coefficients by which a value is a polynomial in x; the nodes that compute it, which nobody else reads, are noted.
fn polynomial(edit: &Edit<'_>, value: ValueId, x: ValueId, nodes: &mut Vec<usize>) -> Option<Polynomial> {
    if value == x {
        return Some([0.0, 1.0, 0.0, 0.0]);
    }
    if let Some(constant) = scalar(edit.graph(), x, value) {
        return Some([constant, 0.0, 0.0, 0.0]);
    }
    let (index, node) = edit.producer_for(value, 1)?;
    if nodes.len() >= MOST {
        return None;
    }
    nodes.push(index);
    let &[Some(a), Some(b)] = &node.inputs[..] else { return None };
    let mut of = |value| polynomial(edit, value, x, nodes);
    match node.operator.name() {
        "Add" => {
            let (a, b) = (of(a)?, of(b)?);
            Some(std::array::from_fn(|i| a[i] + b[i]))
        }
        "Mul" => product(of(a)?, of(b)?),
        "Div" => {
            let divisor = scalar(edit.graph(), x, b).filter(|divisor| *divisor != 0.0)?;
            Some(of(a)?.map(|coefficient| coefficient / divisor))
        }
        "Pow" => {
            let base = of(a)?;
            match scalar(edit.graph(), x, b)? {
                2.0 => product(base, base),
                3.0 => product(product(base, base)?, base),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The product of two polynomials, if it has no more than four coefficients.
fn product(a: Polynomial, b: Polynomial) -> Option<Polynomial> {
    let mut product = [0.0; 4];
    for (i, a) in a.into_iter().enumerate().filter(|(_, a)| *a != 0.0) {
        for (j, b) in b.into_iter().enumerate().filter(|(_, b)| *b != 0.0) {
            *product.get_mut(i + j)? += a * b;
        }
    }
    Some(product)
}

#[cfg(test)]
mod tests {
    use crate::graph::{Activation, ValueId};
    use crate::optimize::testing::*;

    const APPLIED: [&str; 2] = ["gather_gelu", "drop_dead"];

    const EXPECTED: &str = "input x: f32[2, 3]\ny: f32[2, 3] = Gelu(x)\noutput y: f32[2, 3]\n";

    /// `x / 2 · gate`, in one of four orders.
    fn product(graph: &mut TestGraph, x: ValueId, gate: ValueId, form: usize) {
        let half = graph.constant("half", &[], &[0.5]);
        let y = match form {
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
    }

    #[test]
    fn gelu_however_it_is_written() {
        for form in 0..8 {
            let mut graph = TestGraph::new();
            let x = graph.input("x", &[2, 3]);
            let one = graph.constant("one", &[1], &[1.0]);
            let root = graph.constant("root", &[], &[2f32.sqrt()]);
            let inverse = graph.constant("inverse", &[], &[0.5f32.sqrt()]);
            let scaled = if form % 2 == 0 { graph.node("Div", &[x, root]) } else { graph.node("Mul", &[inverse, x]) };
            let erf = graph.node("Erf", &[scaled]);
            let gate = graph.node("Add", &if form % 2 == 0 { [erf, one] } else { [one, erf] });
            product(&mut graph, x, gate, form / 2);
            graph.check(&APPLIED, EXPECTED);
            assert_eq!(graph.rewritten(&APPLIED).nodes[0].operator.activation(), Some(Activation::Gelu));
        }
    }

    #[test]
    fn its_approximation_however_it_is_written() {
        for form in 0..12 {
            let mut graph = TestGraph::new();
            let x = graph.input("x", &[2, 3]);
            let one = graph.constant("one", &[], &[1.0]);
            let cubic = graph.constant("cubic", &[], &[0.044_715]);
            let root = graph.constant("root", &[], &[(2.0 / std::f32::consts::PI).sqrt()]);
            let inner = match form / 4 {
                // As PyTorch's exporters have it,
                0 => {
                    let three = graph.constant("three", &[], &[3.0]);
                    let cube = graph.node("Pow", &[x, three]);
                    let term = graph.node("Mul", &[cube, cubic]);
                    graph.node("Add", &[x, term])
                }
                // as JAX has it,
                1 => {
                    let term = graph.node("Mul", &[cubic, x]);
                    let term = graph.node("Mul", &[x, term]);
                    let term = graph.node("Mul", &[x, term]);
                    graph.node("Add", &[x, term])
                }
                // and with x outside.
                _ => {
                    let square = graph.node("Mul", &[x, x]);
                    let term = graph.node("Mul", &[square, cubic]);
                    let sum = graph.node("Add", &[term, one]);
                    graph.node("Mul", &[x, sum])
                }
            };
            let scaled = graph.node("Mul", &[root, inner]);
            let tanh = graph.node("Tanh", &[scaled]);
            let gate = graph.node("Add", &[one, tanh]);
            product(&mut graph, x, gate, form % 4);
            graph.check(&APPLIED, EXPECTED);
            assert_eq!(graph.rewritten(&APPLIED).nodes[0].operator.activation(), Some(Activation::GeluTanh));
        }
    }

    #[test]
    fn other_products_stay() {
        for change in 0..4 {
            let mut graph = TestGraph::new();
            let x = graph.input("x", &[2, 3]);
            let z = graph.input("z", &[2, 3]);
            let one = graph.constant("one", &[], &[if change == 0 { 2.0 } else { 1.0 }]);
            let root = graph.constant("root", &[], &[if change == 1 { 1.5 } else { 2f32.sqrt() }]);
            let scaled = graph.node("Div", &[if change == 2 { z } else { x }, root]);
            let erf = graph.node("Erf", &[scaled]);
            let gate = graph.node("Add", &[erf, one]);
            product(&mut graph, x, gate, 0);
            graph.output("z", z);
            if change == 3 {
                graph.output("gate", gate);
            }
            let text = graph.rewritten(&[]).to_string();
            graph.check(&APPLIED, &text);
        }
    }
}
