//! Attention that a file spells out becomes one node: `softmax(scale · Q × Kᵀ + mask) × V`, the way from the projections to
//! the heads and back included.
//!
//! Exporters write it as two products with a Softmax between, the scale before, behind or on both sides of the first, and
//! Reshape, Transpose, Split, Slice or Gather around them. A mask that is constant and hides exactly what comes after
//! a query's own place is `causal`. Where a mask hides every key of a query the result is 0; the nodes gave NaN.

use std::sync::Arc;

use super::edit::Edit;
use super::strides::{View, factor, view};
use crate::graph::{Graph, Node, ValueId};
use crate::ops::attention::fused::{Fused, Rows, takes_mask};
use crate::ops::matmul::MatMul;
use crate::ops::norm::softmax::Softmax;
use crate::ops::reshape::Reshape;
use crate::ops::select::Where;
use crate::ops::transpose::Transpose;
use crate::tensor::ElementType;

/// A summand at or below this hides a key: no score outweighs it.
const HIDDEN: f32 = -1e30;

pub(super) fn apply(graph: &mut Graph) {
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let Some(found) = edit.node(index).and_then(|node| find(&edit, node)) else { continue };
        edit.replace(found.last, Arc::new(found.fused), found.inputs);
    }
    if edit.finish() {
        // What it took the place of must not count as a reader for the rewrites to come.
        graph.drop_dead();
    }
}

struct Found {
    fused: Fused,
    inputs: Vec<Option<ValueId>>,
    /// The node whose place it takes.
    last: usize,
}

/// The two inputs of a plain product of matrices.
fn product(node: &Node) -> Option<(ValueId, ValueId)> {
    let plain = node.operator.downcast::<MatMul>()? == &MatMul::default();
    match node.inputs[..] {
        [Some(a), Some(b)] if plain => Some((a, b)),
        _ => None,
    }
}

/// The attention whose second product a node is.
fn find(edit: &Edit<'_>, node: &Node) -> Option<Found> {
    let graph = edit.graph();
    let (weights, v) = product(node)?;
    let scores = softmax(edit, weights)?;
    let scores_shape = graph.fact(scores)?.concrete()?;
    let (products, mask) = masked(edit, scores);
    let (mut products, mut scale) = (products, 1.0);
    let (q, k) = loop {
        let (_, node) = edit.producer_for(products, 1)?;
        match factor(graph, node) {
            Some((x, factor)) => (products, scale) = (x, scale * f64::from(factor)),
            None => break product(node)?,
        }
    };
    let element_type = graph.fact(q)?.element_type;
    if !matches!(element_type, ElementType::F32 | ElementType::F16) {
        return None;
    }
    let [q, k, v] = [view(edit, q, true)?, view(edit, k, true)?, view(edit, v, false)?];
    // Without batches, or without heads, there is one.
    let four = |view: &View| {
        let missing = 4usize.checked_sub(view.dims.len())?;
        <[(usize, usize); 4]>::try_from([&[(1, 0); 4][..missing], &view.dims[..]].concat()).ok()
    };
    let ([qb, qh, queries, qd], [kb, kh, kd, keys], [vb, vh, rows, size]) = (four(&q)?, four(&k)?, four(&v)?);
    let sizes = [qb.0, qh.0, queries.0, keys.0, qd.0, size.0];
    let together = [kb.0, vb.0] == [qb.0; 2] && [kh.0, vh.0] == [qh.0; 2] && kd.0 == qd.0 && rows.0 == keys.0;
    // A row of one element is a neighbour to nothing.
    let neighbours = [qd, kd, size].iter().all(|dim| dim.1 == 1);
    if !together || !neighbours || scores_shape.iter().product::<usize>() != sizes[..4].iter().product::<usize>() {
        return None;
    }
    let place = |view: &View, dims: [(usize, usize); 3]| Rows {
        base: view.base,
        steps: dims.map(|(n, step)| if n == 1 { 0 } else { step }),
    };
    let operands = [place(&q, [qb, qh, queries]), place(&k, [kb, kh, keys]), place(&v, [vb, vh, rows])];
    let before = mask.and_then(|mask| causal(graph, mask, [queries.0, keys.0]));
    let mask = mask.filter(|_| before.is_none());
    let scores = [qb.0, qh.0, queries.0, keys.0];
    if mask.is_some_and(|mask| graph.fact(mask).is_none_or(|fact| !takes_mask(fact, element_type, scores))) {
        return None;
    }
    let (causal, before) = (before.is_some(), before.unwrap_or(0));
    let (last, side_by_side) = end(edit, node, [qb.0, qh.0, queries.0, size.0])?;
    let shape = graph.fact(edit.node(last)?.outputs.first().copied().flatten()?)?.concrete()?;
    let packed = q.root == k.root && q.root == v.root;
    #[expect(clippy::cast_possible_truncation, reason = "a parameter is an f32")]
    let scale = (scale * q.factor * k.factor) as f32;
    let fused = Fused { scale, causal, before, sizes, packed, operands, side_by_side, shape };
    let mut inputs = if packed { vec![Some(q.root), None, None] } else { [q.root, k.root, v.root].map(Some).to_vec() };
    match mask {
        Some(mask) => inputs.push(Some(mask)),
        None => inputs.truncate(if packed { 1 } else { 3 }),
    }
    fused.suits().then_some(Found { fused, inputs, last })
}

/// What the weights are the softmax of, rows for rows: as it is, or with 0 in the place of NaN.
fn softmax(edit: &Edit<'_>, weights: ValueId) -> Option<ValueId> {
    let graph = edit.graph();
    let (_, mut node) = edit.producer_for(weights, 1)?;
    if node.operator.downcast::<Where>().is_some() {
        let [Some(condition), Some(zero), Some(x)] = node.inputs[..] else { return None };
        let (_, nan) = edit.producer_for(condition, 1)?;
        if nan.operator.name() != "IsNaN" || nan.inputs != [Some(x)] || graph.fact(zero)?.floats()?[..] != [0.0] {
            return None;
        }
        node = edit.producer_for(x, 2)?.1;
    }
    let x = node.inputs.first().copied().flatten()?;
    let shape = graph.fact(x)?.concrete()?;
    let ([_, length, inner], log) = node.operator.downcast::<Softmax>()?.lanes(&shape)?;
    (!log && inner == 1 && Some(&length) == shape.last()).then_some(x)
}

/// Scores without what is added to them, and that.
fn masked(edit: &Edit<'_>, scores: ValueId) -> (ValueId, Option<ValueId>) {
    let Some((_, node)) = edit.producer_for(scores, 1) else { return (scores, None) };
    let [Some(a), Some(b)] = node.inputs[..] else { return (scores, None) };
    if node.operator.name() != "Add" {
        return (scores, None);
    }
    // The scores are what comes of a product, by factors.
    let mut at = a;
    while let Some((_, node)) = edit.producer_for(at, 1) {
        match factor(edit.graph(), node) {
            Some((x, _)) => at = x,
            None if product(node).is_some() => return (a, Some(b)),
            None => break,
        }
    }
    (b, Some(a))
}

/// The keys before the first query's own place, where a constant mask hides exactly those after each query's: all that are
/// more than the queries, or none.
fn causal(graph: &Graph, mask: ValueId, [queries, keys]: [usize; 2]) -> Option<usize> {
    let fact = graph.fact(mask)?;
    let (shape, values) = (fact.concrete()?, fact.floats()?);
    let matrix = shape.len() >= 2 && shape[shape.len() - 2..] == [queries, keys] && values.len() == queries * keys;
    let right = |before: usize, (i, &value): (usize, &f32)| {
        if i % keys > i / keys + before { value <= HIDDEN } else { value == 0.0 }
    };
    let fits = |&before: &usize| values.iter().enumerate().all(|at| right(before, at));
    [0, keys.saturating_sub(queries)].into_iter().filter(|_| matrix).find(fits)
}

/// The last node of the way from heads to rows that hold all heads side by side, and whether it goes so far; without such
/// a way the product itself.
fn end(edit: &Edit<'_>, node: &Node, [batch, heads, queries, size]: [usize; 4]) -> Option<(usize, bool)> {
    let graph = edit.graph();
    let output = |node: &Node| node.outputs.first().copied().flatten();
    let is_reshape = |node: &Node| node.operator.downcast::<Reshape>().is_some();
    let mut value = output(node)?;
    let mut view = View::of(graph, value)?;
    let mut end = (edit.producer(value)?.0, false);
    let mut given = value;
    while let Some((index, next)) = edit.reader(value) {
        let moves = is_reshape(next) || next.operator.downcast::<Transpose>().is_some();
        let moved = if moves { view.through(graph, next, 0) } else { None };
        let (Some(moved), Some(result)) = (moved, output(next)) else { break };
        (value, view) = (result, moved);
        // The result in this order of dimensions is what lies in memory.
        let lies = |sizes: [usize; 4], strides: [usize; 4]| {
            view.reshaped(&sizes).is_some_and(|view| {
                view.dims.iter().zip(strides).all(|(&(n, stride), expected)| n == 1 || stride == expected)
            })
        };
        let (head, all) = (queries * size, heads * queries * size);
        if lies([batch, heads, queries, size], [all, head, size, 1]) {
            (end, given) = ((index, false), value);
        } else if lies([batch, queries, heads, size], [all, size, head, 1]) {
            (end, given) = ((index, true), value);
        }
    }
    // Other shapes of the same memory, though strides over the product could not say them.
    while let Some((index, next)) = edit.reader(given).filter(|(_, next)| is_reshape(next)) {
        (end.0, given) = (index, output(next)?);
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use crate::graph::{Definition, ValueId};
    use crate::optimize::testing::*;

    /// A value `[batch, length, heads · 4]` as heads.
    fn heads(graph: &mut TestGraph, x: ValueId, perm: [i64; 4]) -> ValueId {
        let shape = graph.integers("heads", &[2, -1, 3, 4]);
        let divided = graph.node("Reshape", &[x, shape]);
        graph.define(&Definition::new("Transpose").attribute("perm", perm.to_vec()), &[divided])
    }

    /// The way back from heads.
    fn rows(graph: &mut TestGraph, y: ValueId) -> ValueId {
        let back = graph.define(&Definition::new("Transpose").attribute("perm", vec![0i64, 2, 1, 3]), &[y]);
        let shape = graph.integers("rows", &[2, -1, 12]);
        graph.node("Reshape", &[back, shape])
    }

    #[test]
    fn attention_of_three_values_however_it_is_scaled_and_masked() {
        for form in 0..12 {
            let mut graph = TestGraph::new();
            let [x, z, w] = ["q", "k", "v"].map(|name| graph.input(name, &[2, if name == "q" { 5 } else { 6 }, 12]));
            let mut q = heads(&mut graph, x, [0, 2, 1, 3]);
            let mut k = heads(&mut graph, z, [0, 2, 3, 1]);
            let v = heads(&mut graph, w, [0, 2, 1, 3]);
            let (half, two) = (graph.constant("half", &[], &[0.5]), graph.constant("two", &[1], &[2.0]));
            match form % 4 {
                1 => q = graph.node("Mul", &[half, q]),
                2 => {
                    let root = graph.constant("root", &[], &[0.5f32.sqrt()]);
                    (q, k) = (graph.node("Mul", &[q, root]), graph.node("Mul", &[k, root]));
                }
                _ => {}
            }
            let mut scores = graph.node("MatMul", &[q, k]);
            match form % 4 {
                0 => scores = graph.node("Div", &[scores, two]),
                3 => scores = graph.node("Mul", &[scores, half]),
                _ => {}
            }
            let mut inputs = "q, k, v".to_owned();
            let mut given = String::new();
            match form / 4 {
                1 => {
                    let mask = graph.input("mask", &[2, 1, 1, 6]);
                    scores = graph.node("Add", &[scores, mask]);
                    inputs.push_str(", mask");
                    given = "input mask: f32[2, 1, 1, 6]\n".to_owned();
                }
                2 => {
                    // Of the six keys one comes before the queries' own, or none does.
                    let before = form % 2;
                    let hidden: Vec<f32> =
                        (0..30).map(|i| if i % 6 > i / 6 + before { f32::NEG_INFINITY } else { 0.0 }).collect();
                    let mask = graph.constant("causal", &[1, 1, 5, 6], &hidden);
                    scores = graph.node("Add", &[mask, scores]);
                }
                _ => {}
            }
            let weights = graph.node("Softmax", &[scores]);
            let mixed = graph.node("MatMul", &[weights, v]);
            let y = rows(&mut graph, mixed);
            graph.output("y", y);
            graph.check(
                &["fuse_attention"],
                &format!(
                    "input q: f32[2, 5, 12]\ninput k: f32[2, 6, 12]\ninput v: f32[2, 6, 12]\n{given}\
                     y: f32[2, 5, 12] = Attention({inputs})\n\
                     output y: f32[2, 5, 12]\n",
                ),
            );
        }
    }

    #[test]
    fn attention_of_one_value_however_it_is_divided() {
        for form in 0..3 {
            let mut graph = TestGraph::new();
            let x = graph.input("x", &[1, 5, 36]);
            let shape = graph.integers("parts", &[1, 5, 3, 3, 4]);
            let parts = graph.node("Reshape", &[x, shape]);
            let turn = |perm: &[i64]| Definition::new("Transpose").attribute("perm", perm.to_vec());
            let parts = graph.define(&turn(&[2, 0, 3, 1, 4]), &[parts]);
            let part = |graph: &mut TestGraph, i: i64| match form {
                0 => {
                    let index = graph.integers("index", &[i]);
                    let one = graph.node("Gather", &[parts, index]);
                    let axes = graph.integers("axes", &[0]);
                    graph.node("Squeeze", &[one, axes])
                }
                1 => {
                    let [start, end, axes] = [i, i + 1, 0].map(|n| graph.integers("bound", &[n]));
                    let one = graph.node("Slice", &[parts, start, end, axes]);
                    graph.node("Squeeze", &[one, axes])
                }
                _ => {
                    let index = graph.scalar("index", i);
                    graph.node("Gather", &[parts, index])
                }
            };
            let [q, k, v] = [0, 1, 2].map(|i| part(&mut graph, i));
            let k = graph.define(&turn(&[0, 1, 3, 2]), &[k]);
            let scores = graph.node("MatMul", &[q, k]);
            let weights = graph.node("Softmax", &[scores]);
            let mixed = graph.node("MatMul", &[weights, v]);
            let y = graph.define(&turn(&[0, 2, 1, 3]), &[mixed]);
            graph.output("y", y);
            graph.check(
                &["fuse_attention"],
                "input x: f32[1, 5, 36]\n\
                 y: f32[1, 5, 3, 4] = Attention(x)\n\
                 output y: f32[1, 5, 3, 4]\n",
            );
        }
    }

    #[test]
    fn what_is_no_attention_stays() {
        for form in 0..4 {
            let mut graph = TestGraph::new();
            let [q, k, v] = ["q", "k", "v"].map(|name| graph.input(name, &[2, 4, 4]));
            let turn = Definition::new("Transpose").attribute("perm", vec![0i64, 2, 1]);
            let k = graph.define(&turn, &[k]);
            let mut scores = graph.node("MatMul", &[q, k]);
            if form == 0 {
                // A factor for each key is none for all.
                let factors = graph.random("factors", &[4]);
                scores = graph.node("Mul", &[scores, factors]);
            }
            let axis = if form == 1 { 1i64 } else { -1 };
            let mut weights = graph.define(&Definition::new("Softmax").attribute("axis", axis), &[scores]);
            if form == 2 {
                graph.output("weights", weights);
            }
            if form == 3 {
                let factors = graph.random("factors", &[4]);
                weights = graph.node("Mul", &[weights, factors]);
            }
            let y = graph.node("MatMul", &[weights, v]);
            graph.output("y", y);
            let text = graph.rewritten(&[]).to_string();
            graph.check(&["fuse_attention"], &text);
        }
    }
}
