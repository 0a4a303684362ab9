//! The three products that project one value to queries, keys and values become one, of whose rows attention reads a part
//! for each: what is projected is read once, and the product is large enough for all of a device.

use std::sync::Arc;

use super::edit::Edit;
use crate::graph::{Activation, Graph, ValueId};
use crate::ops::attention::fused::{Fused, Rows};
use crate::ops::matmul::{Gemm, MatMul};
use crate::tensor::{ElementType, Quantized, Recipe, Tensor, derived};

pub(super) fn apply(graph: &mut Graph) -> bool {
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let Some(found) = find(&edit, index) else { continue };
        let name = &edit.graph().value(found.projections[0].value).name;
        let (y, w, c) = (format!("{name}/all"), format!("{name}/weights"), format!("{name}/bias"));
        let all = edit.value(&y);
        let mut inputs = vec![Some(found.x), Some(edit.constant(&w, found.weights))];
        inputs.extend(found.bias.map(|bias| Some(edit.constant(&c, bias))));
        let [first, others @ ..] = &found.projections;
        edit.replace(first.node, Arc::new(found.gemm), inputs);
        edit.redirect(first.node, first.value, all);
        let mut inputs = edit.node(index).map(|node| node.inputs.clone()).unwrap_or_default();
        inputs[..3].copy_from_slice(&[Some(all), None, None]);
        inputs.truncate(if inputs.len() > 3 { inputs.len() } else { 1 });
        edit.replace(index, Arc::new(found.fused), inputs);
        others.iter().for_each(|other| edit.remove(other.node));
    }
    edit.finish()
}

struct Projection {
    node: usize,
    value: ValueId,
    x: ValueId,
    weights: ValueId,
    bias: Option<ValueId>,
    transposed: bool,
    rows: Vec<usize>,
    columns: usize,
}

struct Found {
    projections: [Projection; 3],
    x: ValueId,
    weights: Tensor,
    bias: Option<Tensor>,
    gemm: Gemm,
    fused: Fused,
}

/// The product with constant weights that a value is, read by attention alone.
fn projection(edit: &Edit<'_>, value: ValueId) -> Option<Projection> {
    let graph = edit.graph();
    let (node, product) = edit.producer_for(value, 1)?;
    let transposed = if let Some(gemm) = product.operator.downcast::<Gemm>() {
        let plain = gemm.alpha == 1.0 && gemm.beta == 1.0 && !gemm.transpose_a && !gemm.residual;
        (plain && gemm.activation == Activation::Identity).then_some(gemm.transpose_b)?
    } else {
        (product.operator.downcast::<MatMul>()? == &MatMul::default()).then_some(false)?
    };
    let shape = graph.fact(value)?.concrete()?;
    let (&columns, rows) = shape.split_last()?;
    let (x, weights) = (product.inputs.first().copied().flatten()?, product.inputs.get(1).copied().flatten()?);
    let bias = product.inputs.get(2).copied().flatten();
    let w = graph.constant(weights)?;
    let is_row = |id: ValueId| graph.constant(id).is_some_and(|c| c.len() == columns && c.as_slice::<f32>().is_ok());
    let suits = w.rank() == 2 && w.element_type() == ElementType::F32 && bias.is_none_or(is_row);
    suits.then(|| Projection { node, value, x, weights, bias, transposed, rows: rows.to_vec(), columns })
}

fn find(edit: &Edit<'_>, index: usize) -> Option<Found> {
    let graph = edit.graph();
    let node = edit.node(index)?;
    let fused = node.operator.downcast::<Fused>().filter(|fused| !fused.packed)?;
    let [Some(q), Some(k), Some(v), ..] = node.inputs[..] else { return None };
    let projections = [projection(edit, q)?, projection(edit, k)?, projection(edit, v)?];
    let [first, others @ ..] = &projections;
    let x = first.x;
    if others.iter().any(|other| other.x != x || other.rows != first.rows) {
        return None;
    }
    let inner = graph.fact(x)?.concrete()?.last().copied()?;
    let total: usize = projections.iter().map(|projection| projection.columns).sum();
    let mut operands = fused.operands;
    let mut begin = 0;
    for (projection, rows) in projections.iter().zip(&mut operands) {
        *rows = moved(*rows, projection.columns, total, begin)?;
        begin += projection.columns;
    }
    let fused = Fused { packed: true, operands, ..fused.clone() };
    if !fused.suits() {
        return None;
    }
    let gemm = Gemm { rows: Some(first.rows.clone()), ..Gemm::default() };
    let transposed = projections.each_ref().map(|projection| projection.transposed);
    let recipe = |name| Recipe { name, by: 0, parameters: transposed.map(usize::from).to_vec() };
    let parts = projections.each_ref().map(|projection| graph.constant(projection.weights));
    let weights = derived(recipe("pack_projections"), &parts, move |parts| {
        let numbers = side_by_side_as_numbers(transposed, parts);
        Some(vec![numbers.or_else(|| side_by_side(inner, total, transposed, parts))?])
    })?;
    let bias = match projections.iter().any(|projection| projection.bias.is_some()) {
        true => {
            let part = |p: &Projection| match p.bias {
                Some(bias) => graph.constant(bias)?.as_slice::<f32>().ok().map(<[f32]>::to_vec),
                None => Some(vec![0.0; p.columns]),
            };
            let parts: Option<Vec<_>> = projections.iter().map(part).collect();
            Some(Tensor::vector(parts?.concat()))
        }
        false => None,
    };
    let weights = weights.into_iter().next()?;
    Some(Found { projections, x, weights, bias, gemm, fused })
}

/// The same of matrices that are numbers with scales, as such.
fn side_by_side_as_numbers(transposed: [bool; 3], parts: &[Option<&Tensor>]) -> Option<Tensor> {
    let parts =
        parts.iter().zip(transposed).map(|(part, transposed)| Some(((*part)?.quantized()?.clone(), transposed)));
    Some(Quantized::beside(&parts.collect::<Option<Vec<_>>>()?)?.tensor(ElementType::F32))
}

/// Matrices of `inner` rows, those that are not transposed, beside each other.
fn side_by_side(inner: usize, total: usize, transposed: [bool; 3], parts: &[Option<&Tensor>]) -> Option<Tensor> {
    let mut weights = vec![0f32; inner.checked_mul(total)?];
    let mut begin = 0;
    for (part, transposed) in parts.iter().zip(transposed) {
        let w = (*part)?.as_slice::<f32>().ok()?;
        let n = w.len().checked_div(inner)?;
        if n * inner != w.len() || begin + n > total {
            return None;
        }
        for (kk, row) in weights.chunks_exact_mut(total).enumerate() {
            for (j, out) in row[begin..begin + n].iter_mut().enumerate() {
                *out = w[if transposed { j * inner + kk } else { kk * n + j }];
            }
        }
        begin += n;
    }
    if begin == total { Tensor::new([inner, total], weights).ok() } else { None }
}

/// Rows within lines of `n` elements, where the lines become part of longer ones and begin at `begin` of each.
fn moved(rows: Rows, n: usize, total: usize, begin: usize) -> Option<Rows> {
    let mut steps = rows.steps;
    for step in &mut steps {
        *step = match (*step / n, *step % n) {
            (0, within) => within,
            (lines, 0) => lines.checked_mul(total)?,
            _ => return None,
        };
    }
    Some(Rows { base: (rows.base / n).checked_mul(total)? + rows.base % n + begin, steps })
}

#[cfg(test)]
mod tests {
    use crate::graph::{Definition, ValueId};
    use crate::optimize::testing::*;

    /// Attention of two heads of four over rows of eight.
    fn attention(graph: &mut TestGraph, [q, k, v]: [ValueId; 3], mask: Option<ValueId>) -> ValueId {
        let shape = graph.integers("heads", &[2, -1, 2, 4]);
        let turn = |perm: [i64; 4]| Definition::new("Transpose").attribute("perm", perm.to_vec());
        let mut heads = |x, perm| {
            let divided = graph.node("Reshape", &[x, shape]);
            graph.define(&turn(perm), &[divided])
        };
        let (q, k, v) = (heads(q, [0, 2, 1, 3]), heads(k, [0, 2, 3, 1]), heads(v, [0, 2, 1, 3]));
        let mut scores = graph.node("MatMul", &[q, k]);
        if let Some(mask) = mask {
            scores = graph.node("Add", &[scores, mask]);
        }
        let weights = graph.node("Softmax", &[scores]);
        let mixed = graph.node("MatMul", &[weights, v]);
        graph.define(&turn([0, 2, 1, 3]), &[mixed])
    }

    #[test]
    fn three_projections_of_one_value_become_one() {
        for biases in 0..3 {
            let mut graph = TestGraph::new();
            let (x, mask) = (graph.input("x", &[2, 5, 6]), graph.input("mask", &[2, 1, 1, 5]));
            let mut part = |i: usize| {
                let w = graph.random("w", &[6, 8]);
                let y = graph.node("MatMul", &[x, w]);
                let bias = graph.random("b", &[8]);
                if i < biases { graph.node("Add", &[y, bias]) } else { y }
            };
            let projections = [part(0), part(1), part(2)];
            let y = attention(&mut graph, projections, Some(mask));
            graph.output("y", y);
            let rewritten = graph.rewritten(&["fuse_attention", "fuse_product", "pack_projections"]);
            graph.check(&["fuse_attention", "fuse_product", "pack_projections", "drop_dead"], &rewritten.to_string());
            assert_eq!(rewritten.nodes.len(), 2, "{rewritten}");
            assert!(rewritten.to_string().contains("Attention(") && rewritten.to_string().contains("f32[6, 24]"));
        }
    }

    #[test]
    fn projections_of_two_values_stay() {
        let mut graph = TestGraph::new();
        let (x, z) = (graph.input("x", &[2, 5, 6]), graph.input("z", &[2, 5, 6]));
        let mut part = |x| {
            let w = graph.random("w", &[6, 8]);
            graph.node("MatMul", &[x, w])
        };
        let projections = [part(x), part(z), part(z)];
        let y = attention(&mut graph, projections, None);
        graph.output("y", y);
        assert_eq!(graph.rewritten(&["fuse_attention", "pack_projections"]).nodes.len(), 4);
    }
}
