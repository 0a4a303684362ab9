//! What is added to a product of matrices is added where it is computed: a bias, which makes a Gemm of a MatMul, and
//! a residual of the result's shape. A Reshape that keeps the last dimension joins too, so that what comes behind it can.

use std::sync::Arc;

use super::edit::Edit;
use crate::graph::{Activation, Graph, Node, ValueId};
use crate::ops::matmul::{Gemm, MatMul, RESIDUAL};
use crate::ops::reshape::Reshape;
use crate::tensor::{ElementType, Tensor};

pub(super) fn apply(graph: &mut Graph) -> bool {
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let Some(node) = edit.node(index) else { continue };
        let found = if node.operator.downcast::<Reshape>().is_some() {
            reshaped(&edit, node)
        } else if let ("Add", [Some(a), Some(b)]) = (node.operator.name(), &node.inputs[..]) {
            // Of two products the later one: the other's result is there by then, as it was for the addition.
            let both = [summed(&edit, *a, *b), summed(&edit, *b, *a)];
            both.into_iter().flatten().max_by_key(|found| found.first)
        } else {
            None
        };
        let Some(Found { first, gemm, mut inputs, row }) = found else { continue };
        if let Some((name, row)) = row {
            inputs[2] = Some(edit.constant(&name, row));
        }
        edit.fuse(first, index, Arc::new(gemm), inputs);
    }
    edit.finish()
}

struct Found {
    /// The product's node.
    first: usize,
    gemm: Gemm,
    inputs: Vec<Option<ValueId>>,
    /// A bias in another shape than it has.
    row: Option<(String, Tensor)>,
}

/// The product that only one node reads, as a Gemm with rows of its own, and its columns.
fn product(edit: &Edit<'_>, value: ValueId) -> Option<(Found, usize)> {
    let graph = edit.graph();
    let (first, node) = edit.producer_for(value, 1)?;
    let y = graph.fact(value)?;
    let shape = y.concrete()?;
    let (&n, rows) = shape.split_last()?;
    let weights = graph.constant(node.inputs.get(1).copied().flatten()?)?;
    let gemm = if let Some(matmul) = node.operator.downcast::<MatMul>() {
        let plain = matmul == &MatMul::default() && weights.rank() == 2 && !rows.is_empty();
        let alone = Gemm { rows: Some(rows.to_vec()), ..Gemm::default() };
        plain.then_some(alone)?
    } else {
        let gemm = node.operator.downcast::<Gemm>()?;
        Gemm { rows: Some(rows.to_vec()), ..gemm.clone() }
    };
    let suits = matches!(y.element_type, ElementType::F32 | ElementType::F16) && !shape.contains(&0);
    suits.then(|| (Found { first, gemm, inputs: node.inputs.clone(), row: None }, n))
}

/// A Reshape of a product's rows.
fn reshaped(edit: &Edit<'_>, node: &Node) -> Option<Found> {
    let graph = edit.graph();
    let (mut found, n) = product(edit, node.inputs.first().copied().flatten()?)?;
    let shape = graph.fact(node.outputs.first().copied().flatten()?)?.concrete()?;
    let (last, rows) = shape.split_last()?;
    found.gemm.rows = Some(rows.to_vec());
    (*last == n && !rows.is_empty()).then_some(found)
}

/// The sum of a product and another value.
fn summed(edit: &Edit<'_>, value: ValueId, other: ValueId) -> Option<Found> {
    let graph = edit.graph();
    let (mut found, n) = product(edit, value)?;
    let (y, addend) = (graph.fact(value)?, graph.fact(other)?);
    if found.gemm.activation != Activation::Identity || found.gemm.residual || addend.element_type != y.element_type {
        return None;
    }
    let c = found.inputs.get(2).copied().flatten();
    let is_row = |tensor: &Tensor| tensor.len() == n && tensor.shape().last() == Some(&n);
    match (&addend.constant, c) {
        (Some(row), None) if is_row(row) && addend.rank() <= y.rank() => {
            found.inputs.resize(2, None);
            found.inputs.push(Some(other));
            found.gemm.beta = 1.0;
            if row.rank() != 1 {
                found.row = Some((format!("{}/row", graph.value(other).name), row.reshaped([n]).ok()?));
            }
        }
        _ => {
            let suits = addend.shape == y.shape && value != other;
            let row = match c {
                None => true,
                Some(c) => graph.constant(c).is_some_and(is_row),
            };
            if !suits || !row || found.gemm.transpose_a {
                return None;
            }
            found.inputs.resize(RESIDUAL, None);
            found.inputs.push(Some(other));
            found.gemm.residual = true;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use crate::graph::Definition;
    use crate::optimize::testing::*;

    #[test]
    fn a_bias_a_residual_and_an_activation_join_the_product() {
        for form in 0..4 {
            let mut graph = TestGraph::new();
            let (x, r) = (graph.input("x", &[2, 3, 4]), graph.input("r", &[2, 3, 12]));
            let w = graph.random("w", &[4, 12]);
            let bias = graph.random("b", if form % 2 == 0 { &[12] } else { &[1, 1, 12] });
            let product = graph.node("MatMul", &[x, w]);
            let product = graph.node("Add", &if form < 2 { [product, bias] } else { [bias, product] });
            let sum = graph.node("Add", &if form < 2 { [r, product] } else { [product, r] });
            let y = graph.node("Gelu", &[sum]);
            graph.output("y", y);
            let row = if form % 2 == 0 { "b" } else { "b/row" };
            graph.check(
                &["fuse_product", "fuse_activation", "drop_dead"],
                &format!(
                    "input x: f32[2, 3, 4]\ninput r: f32[2, 3, 12]\n\
                     y: f32[2, 3, 12] = Gemm(x, w: f32[4, 12], {row}: f32[12], r)\n\
                     output y: f32[2, 3, 12]\n"
                ),
            );
        }
    }

    #[test]
    fn a_gemm_takes_what_comes_behind_a_reshape() {
        let mut graph = TestGraph::new();
        let (x, r) = (graph.input("x", &[6, 4]), graph.input("r", &[2, 3, 12]));
        let (w, b) = (graph.random("w", &[12, 4]), graph.random("b", &[12]));
        let gemm = Definition::new("Gemm").attribute("transB", 1i64).attribute("alpha", 0.5f32).attribute("beta", 2f32);
        let product = graph.define(&gemm, &[x, w, b]);
        let shape = graph.integers("shape", &[2, 3, 12]);
        let rows = graph.node("Reshape", &[product, shape]);
        let y = graph.node("Add", &[rows, r]);
        graph.output("y", y);
        graph.check(
            &["fuse_product"],
            "input x: f32[6, 4]\ninput r: f32[2, 3, 12]\n\
             y: f32[2, 3, 12] = Gemm(x, w: f32[12, 4], b: f32[12], r)\n\
             output y: f32[2, 3, 12]\n",
        );
    }

    #[test]
    fn what_is_needed_elsewhere_or_does_not_fit_stays() {
        let mut graph = TestGraph::new();
        let (x, z, row) = (graph.input("x", &[2, 3, 4]), graph.input("z", &[4, 12]), graph.input("row", &[12]));
        let (w, b, column) = (graph.random("w", &[4, 12]), graph.random("b", &[12]), graph.random("column", &[3, 1]));
        let shared = graph.node("MatMul", &[x, w]);
        let y = graph.node("Add", &[shared, b]);
        // A B that is computed, and addends that are neither a row nor of the result's shape.
        let computed = graph.node("MatMul", &[x, z]);
        let computed = graph.node("Add", &[computed, b]);
        let columns = graph.node("MatMul", &[x, w]);
        let columns = graph.node("Add", &[columns, column]);
        let rows = graph.node("MatMul", &[x, w]);
        let rows = graph.node("Add", &[rows, row]);
        for (name, value) in
            [("shared", shared), ("y", y), ("computed", computed), ("columns", columns), ("rows", rows)]
        {
            graph.output(name, value);
        }
        let text = graph.rewritten(&[]).to_string();
        graph.check(&["fuse_product"], &text);
    }
}
