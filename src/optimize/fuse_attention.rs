//! Attention that a file spells out becomes one node: `softmax(scale · Q × Kᵀ + mask) × V`, the way from the projections to
//! the heads and back included.
//!
//! Exporters write it as two products with a Softmax between, the scale before, behind or on both sides of the first, and
//! Reshape, Transpose, Split, Slice or Gather around them. A mask that is constant and hides exactly what comes after
//! a query's own place is `causal`. Where a mask hides every key of a query the result is 0; the nodes gave NaN.

use std::sync::Arc;

use super::edit::Edit;
use super::strides::{Dim, View, factor, view};
use crate::graph::{Fact, Graph, Node, ValueId};
use crate::ops::attention::fused::{Fused, Rows, takes_mask};
use crate::ops::attention::{Attention, MASK, PAST_VALUE, VALID};
use crate::ops::matmul::MatMul;
use crate::ops::norm::softmax::Softmax;
use crate::ops::reshape::Reshape;
use crate::ops::select::Where;
use crate::ops::transpose::Transpose;
use crate::tensor::{ElementType, Truth};

/// A summand at or below this hides a key: no score outweighs it.
const HIDDEN: f32 = -1e30;

pub(super) fn apply(graph: &mut Graph) -> bool {
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let Some(found) = edit.node(index).and_then(|node| find(&edit, node)) else { continue };
        edit.replace(found.last, Arc::new(found.fused), found.inputs);
    }
    let changed = edit.finish();
    if changed {
        // What it took the place of must not count as a reader for the rewrites to come.
        graph.drop_dead();
    }
    changed
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

/// What attention computes of.
struct Operands {
    /// Queries, keys and values as `[batch, heads, rows, elements]`.
    views: [View; 3],
    scale: f64,
    causal: bool,
    /// Keys before the first query's own place.
    before: usize,
    mask: Option<ValueId>,
    /// How many keys of each batch are valid, where that is not all.
    valid: Option<ValueId>,
    /// Whether rows of the result hold all heads side by side.
    side_by_side: bool,
}

/// The attention whose second product a node is, or whose operator.
fn find(edit: &Edit<'_>, node: &Node) -> Option<Found> {
    let graph = edit.graph();
    let found = written_out(edit, node).or_else(|| operator(edit, node))?;
    let Operands { views: [q, k, v], scale, causal: behind, before: own, mask, valid, side_by_side } = found;
    let element_type = graph.fact(q.root)?.element_type;
    if !matches!(element_type, ElementType::F32 | ElementType::F16) {
        return None;
    }
    let (([qb, qh, queries, qd], 1), ([kb, kh, keys, kd], group), ([vb, vh, rows, size], also)) =
        (heads(&q)?, heads(&k)?, heads(&v)?)
    else {
        return None;
    };
    let sizes = [qb.0, qh.0, queries.0, keys.0, qd.0, size.0];
    let shared = qh.0.checked_div(kh.0).filter(|group| group * kh.0 == qh.0)?;
    let together = [kb.0, vb.0] == [qb.0; 2] && kh.0 == vh.0 && kd.0 == qd.0 && rows.0 == keys.0;
    // What the views repeat, and what the operator does.
    let grouped = group == also && (group == 1 || group == shared);
    // A row of one element is a neighbour to nothing.
    let neighbours = [qd, kd, size].iter().all(|dim| dim.0 == 1 || dim.1 == 1);
    if !together || !grouped || !neighbours {
        return None;
    }
    let place = |view: &View, dims: [(usize, usize); 3]| Rows {
        base: view.base,
        steps: dims.map(|(n, step)| if n == 1 { 0 } else { step }),
    };
    let operands = [place(&q, [qb, qh, queries]), place(&k, [kb, kh, keys]), place(&v, [vb, vh, rows])];
    let mask = mask.filter(|mask| added(graph, *mask).is_none_or(|numbers| numbers.iter().any(|n| *n != 0.0)));
    let before = mask.filter(|_| !behind && valid.is_none()).and_then(|mask| causal(graph, mask, [queries.0, keys.0]));
    let mask = mask.filter(|_| before.is_none());
    let scores = [qb.0, qh.0, queries.0, keys.0];
    if mask.is_some_and(|mask| graph.fact(mask).is_none_or(|fact| !takes_mask(fact, element_type, scores))) {
        return None;
    }
    let (causal, before) = (behind || before.is_some(), before.unwrap_or(own));
    let (last, side_by_side) = end(edit, node, [qb.0, qh.0, queries.0, size.0], side_by_side)?;
    let shape = graph.fact(edit.node(last)?.outputs.first().copied().flatten()?)?.concrete()?;
    let packed = q.root == k.root && q.root == v.root;
    #[expect(clippy::cast_possible_truncation, reason = "a parameter is an f32")]
    let scale = (scale * q.factor * k.factor) as f32;
    let fused = Fused { scale, causal, before, sizes, group: shared, packed, operands, side_by_side, shape };
    let mut inputs = if packed { vec![Some(q.root), None, None] } else { [q.root, k.root, v.root].map(Some).to_vec() };
    match mask {
        Some(mask) => inputs.push(Some(mask)),
        None => inputs.truncate(if packed { 1 } else { 3 }),
    }
    if valid.is_some() {
        inputs.resize(VALID, None);
        inputs.push(valid);
    }
    fused.suits().then_some(Found { fused, inputs, last })
}

/// The sizes and strides of batches, heads, rows and elements, and how often each head is repeated. Without batches, or
/// without heads, there is one; both may be one dimension.
fn heads(view: &View) -> Option<([(usize, usize); 4], usize)> {
    let (one, all) = ((1, 0), view.dims.len());
    let [rows, elements] = [2, 1].map(|i| all.checked_sub(i).and_then(|at| view.dims[at].single()));
    let (batch, heads, group) = match &view.dims[..all.checked_sub(2)?] {
        [] => (one, one, 1),
        [both] => match both.0[..] {
            [batch, heads, (n, 0)] => (batch, heads, n),
            [heads, (n, 0)] => (one, heads, n),
            [batch, heads] => (batch, heads, 1),
            _ => (one, both.single()?, 1),
        },
        [batch, heads] => match heads.0[..] {
            [heads, (n, 0)] => (batch.single()?, heads, n),
            _ => (batch.single()?, heads.single()?, 1),
        },
        _ => return None,
    };
    Some(([batch, heads, rows?, elements?], group))
}

/// Attention that is spelled out, by its second product.
fn written_out(edit: &Edit<'_>, node: &Node) -> Option<Operands> {
    let graph = edit.graph();
    let (weights, v) = product(node)?;
    let scores = softmax(edit, weights)?;
    let count: usize = graph.fact(scores)?.concrete()?.iter().product();
    let (products, mask) = masked(edit, scores);
    let (mut products, mut scale) = (products, 1.0);
    let (q, k) = loop {
        let (_, node) = edit.producer_for(products, 1)?;
        match factor(graph, node) {
            Some((x, factor)) => (products, scale) = (x, scale * f64::from(factor)),
            None => break product(node)?,
        }
    };
    let [q, mut k, v] = [view(edit, q, true)?, view(edit, k, true)?, view(edit, v, false)?];
    let rank = k.dims.len();
    k.dims.swap(rank.checked_sub(2)?, rank - 1);
    // Products may repeat batches and heads.
    let rows = |view: &View| view.dims.split_last().map(|(_, rows)| rows.iter().map(Dim::size).product::<usize>());
    let keys = k.dims.get(rank - 2)?.size();
    let views = [q, k, v];
    let once = rows(&views[0])?.checked_mul(keys) == Some(count);
    once.then_some(Operands { views, scale, causal: false, before: 0, mask, valid: None, side_by_side: false })
}

/// Attention of an operator that does no more than kernels that read operands where they lie.
fn operator(edit: &Edit<'_>, node: &Node) -> Option<Operands> {
    let graph = edit.graph();
    let attention = node.operator.downcast::<Attention>()?;
    let (&[Some(q), Some(k), Some(v)], _) = node.inputs.split_first_chunk::<3>()? else { return None };
    let input = |i: usize| node.inputs.get(i).copied().flatten();
    let plain = attention.outputs == 1 && attention.softcap == 0.0;
    if !plain || (MASK + 1..=PAST_VALUE).any(|i| input(i).is_some()) {
        return None;
    }
    let (own, shared) = attention.heads.unzip();
    let operand = |value: ValueId, heads: Option<usize>| {
        let view = view(edit, value, false)?;
        let sizes: Vec<usize> = view.dims.iter().map(Dim::size).collect();
        let &[batch, rows, all] = &sizes[..] else { return (sizes.len() == 4).then_some(view) };
        let heads = heads.filter(|heads| *heads > 0 && all.is_multiple_of(*heads))?;
        let mut view = view.reshaped(&[batch, rows, heads, all / heads])?;
        view.dims.swap(1, 2);
        Some(view)
    };
    let views = [operand(q, own)?, operand(k, shared)?, operand(v, shared)?];
    let scale = attention.scale(views[0].dims[3].size());
    // Keys that a shorter mask does not cover are hidden: that is more than kernels do.
    let mask = input(MASK);
    let [queries, keys] = [0, 1].map(|i| views[i].dims[2].size());
    let covers = |mask| graph.fact(mask).and_then(|fact| fact.shape.last()?.size()).is_some_and(|n| n == keys);
    if mask.is_some_and(|mask| !covers(mask)) || graph.fact(q)?.element_type != graph.fact(k)?.element_type {
        return None;
    }
    let side_by_side = graph.fact(q)?.rank() == 3;
    let (mut before, mut valid) = (0, input(VALID));
    let all = |&n: &i64| usize::try_from(n) == Ok(keys);
    if let Some(first) = keys.checked_sub(queries)
        && valid
            .is_some_and(|valid| graph.fact(valid).and_then(Fact::integers).is_some_and(|ends| ends.iter().all(all)))
    {
        (before, valid) = (if attention.causal { first } else { 0 }, None);
    }
    Some(Operands { views, scale, causal: attention.causal, before, mask, valid, side_by_side })
}

/// What a constant mask adds, 0 and minus infinity for truth values.
fn added(graph: &Graph, mask: ValueId) -> Option<Vec<f32>> {
    let fact = graph.fact(mask)?;
    fact.floats().or_else(|| {
        let truth = fact.constant.as_ref()?.as_slice::<Truth>().ok()?;
        Some(truth.iter().map(|&kept| if bool::from(kept) { 0.0 } else { f32::NEG_INFINITY }).collect())
    })
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
    let (shape, values) = (graph.fact(mask)?.concrete()?, added(graph, mask)?);
    let matrix = shape.len() >= 2 && shape[shape.len() - 2..] == [queries, keys] && values.len() == queries * keys;
    let right = |before: usize, (i, &value): (usize, &f32)| {
        if i % keys > i / keys + before { value <= HIDDEN } else { value == 0.0 }
    };
    let fits = |&before: &usize| values.iter().enumerate().all(|at| right(before, at));
    [0, keys.saturating_sub(queries)].into_iter().filter(|_| matrix).find(fits)
}

/// The last node of the way from heads to rows that hold all heads side by side, and whether it goes so far; without such
/// a way the product itself.
fn end(edit: &Edit<'_>, node: &Node, sizes: [usize; 4], side_by_side: bool) -> Option<(usize, bool)> {
    let graph = edit.graph();
    let output = |node: &Node| node.outputs.first().copied().flatten();
    let is_reshape = |node: &Node| node.operator.downcast::<Reshape>().is_some();
    let [batch, heads, queries, size] = sizes;
    let mut value = output(node)?;
    let mut view = View::of(graph, value)?;
    let mut end = (edit.producer(value)?.0, side_by_side);
    let mut given = value;
    while let Some((index, next)) = edit.reader(value).filter(|_| !side_by_side) {
        let moves = is_reshape(next) || next.operator.downcast::<Transpose>().is_some();
        let moved = if moves { view.through(graph, next, 0) } else { None };
        let (Some(moved), Some(result)) = (moved, output(next)) else { break };
        (value, view) = (result, moved);
        // The result in this order of dimensions is what lies in memory.
        let lies = |sizes: [usize; 4], strides: [usize; 4]| {
            let at = |(dim, expected): (&Dim, usize)| dim.single().is_some_and(|(n, step)| n == 1 || step == expected);
            view.reshaped(&sizes).is_some_and(|view| view.dims.iter().zip(strides).all(at))
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
mod tests;
