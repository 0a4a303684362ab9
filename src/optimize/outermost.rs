//! What grows from run to run, such as the keys and values of attention, is taken and given with the axis along which it grows
//! outermost: what a run adds then comes behind what is there, in the same memory.
//!
//! An output that is the concatenation of an input and something new becomes one along the outermost axis; whoever reads it
//! does so through a Transpose, which attention reads by strides. The input and the output have other shapes from then on.
//! A cache into which a TensorScatter writes stays as it is; one that is padded before grows, and is divided into what was
//! there and what is new, which both take what is theirs of the rows that are written.

use std::sync::Arc;

use super::{Rewrites, expand};
use crate::graph::{Fact, Graph, Names, Node, NodeError, Operator, ValueId};
use crate::ops::attention::{Attention, PAST_KEY, PAST_VALUE, VALID};
use crate::ops::concat::Concat;
use crate::ops::pad::{Mode, Pad};
use crate::ops::reshape::Reshape;
use crate::ops::tensor_scatter::TensorScatter;
use crate::ops::transpose::Transpose;
use crate::tensor::Tensor;
use crate::tensor::shape::elements;

/// An input that an output is handed on to, which grows along an axis up to a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grown {
    /// The places of both in the graph.
    pub input: usize,
    pub output: usize,
    pub axis: usize,
    pub length: usize,
}

impl Grown {
    /// The order of dimensions in which the axis is outermost.
    pub fn order(&self, rank: usize) -> Vec<usize> {
        let others = (0..rank).filter(|&i| i != self.axis);
        std::iter::once(self.axis).chain(others).collect()
    }

    /// Elements of the full length, in a graph in which the axis is outermost.
    pub fn elements(&self, graph: &Graph) -> Option<usize> {
        let shape = graph.fact(*graph.outputs.get(self.output)?)?.concrete()?;
        elements(shape.get(1..)?)?.checked_mul(self.length)
    }

    /// The way back.
    pub fn back(&self, rank: usize) -> Vec<usize> {
        let order = self.order(rank);
        (0..rank).filter_map(|i| order.iter().position(|&o| o == i)).collect()
    }
}

/// Turns what can be turned, and says what that was.
pub(crate) fn apply(graph: &mut Graph, grown: &[Grown], rewrites: &Rewrites) -> Result<Vec<Grown>, NodeError> {
    if rewrites.applies("expand") {
        expand::apply(graph);
        graph.infer()?;
    }
    take_apart(graph, grown)?;
    let once = |g: &&Grown| grown.iter().filter(|other| other.output == g.output).count() == 1;
    let turned: Vec<Grown> = grown.iter().filter(once).filter_map(|g| turn(graph, g)).collect();
    if !turned.is_empty() {
        graph.sort()?;
        // Padding of a cache that is concatenated instead.
        graph.drop_dead();
        graph.infer()?;
    }
    Ok(turned)
}

fn order(perm: &[usize]) -> Arc<dyn Operator> {
    Arc::new(Transpose { perm: Some(perm.iter().map(|&i| i as i64).collect()) })
}

fn fresh(graph: &mut Graph, name: &str) -> ValueId {
    let name = Names::of(graph).fresh(name);
    graph.add_value(name, None)
}

fn node(graph: &mut Graph, operator: Arc<dyn Operator>, inputs: Vec<Option<ValueId>>, output: ValueId) {
    let name = graph.value(output).name.clone();
    graph.nodes.push(Node { name, operator, inputs, outputs: vec![Some(output)] });
}

/// Lets all nodes but one read another value.
fn reread(graph: &mut Graph, old: ValueId, new: ValueId, but: usize) -> bool {
    let others = graph.nodes.iter_mut().enumerate().filter(|(i, _)| *i != but);
    let mut found = false;
    for input in others.flat_map(|(_, node)| node.inputs.iter_mut()).filter(|input| **input == Some(old)) {
        *input = Some(new);
        found = true;
    }
    found
}

fn turn(graph: &mut Graph, grown: &Grown) -> Option<Grown> {
    let (past, present) = (*graph.inputs.get(grown.input)?, *graph.outputs.get(grown.output)?);
    let at = graph.nodes.iter().position(|node| node.outputs.contains(&Some(present)))?;
    if graph.nodes[at].operator.downcast::<TensorScatter>().is_some() {
        if graph.nodes[at].inputs.first() == Some(&Some(past)) {
            // A cache of which a run writes some rows does not grow, and may lie in any order.
            let length = *graph.fact(present)?.concrete()?.first()?;
            return Some(Grown { axis: 0, length, ..*grown });
        }
        return lengthen(graph, grown, at);
    }
    let concat = graph.nodes[at].operator.downcast::<Concat>()?;
    let &[Some(first), Some(new)] = graph.nodes[at].inputs.as_slice() else { return None };
    let rank = graph.fact(present)?.rank();
    let fits = concat.axis(rank).ok()? == grown.axis && first == past && new != past;
    if !fits || !whole_rows(graph, grown) {
        return None;
    }
    if grown.axis == 0 {
        return Some(*grown);
    }
    turn_ends(graph, grown, at);
    let added = fresh(graph, &format!("{}/outermost", graph.value(new).name));
    node(graph, order(&grown.order(rank)), vec![Some(new)], added);
    graph.nodes[at].operator = Arc::new(Concat { axis: 0 });
    graph.nodes[at].inputs = vec![Some(past), Some(added)];
    Some(*grown)
}

/// Whether the state is one that only this input and this output hold, and what is added begins at a whole unit.
fn whole_rows(graph: &Graph, grown: &Grown) -> bool {
    let (Some(&past), Some(&present)) = (graph.inputs.get(grown.input), graph.outputs.get(grown.output)) else {
        return false;
    };
    let Some(shape) = graph.fact(present).and_then(Fact::concrete) else { return false };
    let alone = graph.outputs.iter().filter(|&&id| id == present).count() == 1 && !graph.outputs.contains(&past);
    let given = graph.fact(past).is_some_and(|fact| fact.constant.is_none() && fact.rank() == shape.len());
    let row: usize = shape.iter().enumerate().filter(|(i, _)| *i != grown.axis).map(|(_, n)| n).product();
    alone && given && row > 0 && row.is_multiple_of(4) && grown.axis < shape.len()
}

/// Turns the input and the output of a state, which the node at a place computes, and lets others read them turned back.
fn turn_ends(graph: &mut Graph, grown: &Grown, at: usize) {
    for value in [graph.inputs[grown.input], graph.outputs[grown.output]] {
        let Some(fact) = graph.fact(value).map(Fact::without_content) else { continue };
        let rank = fact.rank();
        let as_it_was = fresh(graph, &format!("{}/in order", graph.value(value).name));
        if reread(graph, value, as_it_was, at) {
            node(graph, order(&grown.back(rank)), vec![Some(value)], as_it_was);
        }
        let shape: Vec<_> = grown.order(rank).into_iter().map(|i| fact.shape[i].clone()).collect();
        graph.values[value.0].fact = Some(Fact::new(fact.element_type, shape));
    }
}

/// A cache that is padded, and then takes some rows by the node at a place, becomes the concatenation of what it was and what
/// is new, along the outermost axis: each with the rows that are its own.
fn lengthen(graph: &mut Graph, grown: &Grown, at: usize) -> Option<Grown> {
    let (past, present) = (*graph.inputs.get(grown.input)?, *graph.outputs.get(grown.output)?);
    let &[Some(buffer), Some(rows), starts] = graph.nodes[at].inputs.as_slice() else { return None };
    let shape = graph.fact(present)?.concrete()?;
    let (before, rank) = (graph.fact(past)?.concrete()?, shape.len());
    let had = *before.get(grown.axis)?;
    let added = shape.get(grown.axis)?.checked_sub(had)?;
    let scatter = graph.nodes[at].operator.downcast::<TensorScatter>()?;
    let parts = [0, had].map(|begin| scatter.outermost(rank, grown.axis, begin));
    let [Some(old), Some(new)] = parts else { return None };
    if !whole_rows(graph, grown) || grown.axis == 0 || added == 0 || buffer == past {
        return None;
    }
    // What is new has zeros where nothing is written, or where there was nothing, what stands there.
    let there = grown.order(rank);
    let name = graph.value(present).name.clone();
    let filler = if had == 0 {
        let turned = fresh(graph, &format!("{name}/begun"));
        node(graph, order(&there), vec![Some(buffer)], turned);
        turned
    } else {
        pads_end(graph, buffer, past, grown.axis, added)?;
        let mut dims: Vec<usize> = there.iter().map(|&i| shape[i]).collect();
        dims[0] = added;
        let zeros = Tensor::zeros(graph.fact(past)?.element_type, dims).ok()?;
        let value = fresh(graph, &format!("{name}/zeros"));
        graph.values[value.0].fact = Some(Fact::constant(zeros));
        value
    };
    let turned = fresh(graph, &format!("{}/outermost", graph.value(rows).name));
    node(graph, order(&there), vec![Some(rows)], turned);
    let [kept, more] = ["kept", "added"].map(|part| fresh(graph, &format!("{name}/{part}")));
    turn_ends(graph, grown, at);
    // Behind what turns them: these read what is turned.
    for (operator, from, to) in [(old, past, kept), (new, filler, more)] {
        node(graph, Arc::new(operator), vec![Some(from), Some(turned), starts], to);
    }
    graph.nodes[at].operator = Arc::new(Concat { axis: 0 });
    graph.nodes[at].inputs = vec![Some(kept), Some(more)];
    Some(*grown)
}

/// Whether a value is another with so many zeros behind it along an axis.
fn pads_end(graph: &Graph, value: ValueId, past: ValueId, axis: usize, added: usize) -> Option<()> {
    let pad = graph.nodes.iter().find(|node| node.outputs.contains(&Some(value)))?;
    let operator = pad.operator.downcast::<Pad>().filter(|pad| pad.mode == Mode::Constant)?;
    let facts = graph.input_facts(pad)?;
    let amounts = operator.amounts(&facts).ok()??;
    let wanted = |(i, amount): (usize, &(i64, i64))| {
        amount.0 == 0 && usize::try_from(amount.1) == Ok(if i == axis { added } else { 0 })
    };
    let zeros = operator.fill(&facts) == Some(0.0) && pad.inputs.first() == Some(&Some(past));
    (zeros && amounts.iter().enumerate().all(wanted)).then_some(())
}

/// Attention whose keys and values so far are such inputs: these are joined with the new ones before it.
fn take_apart(graph: &mut Graph, grown: &[Grown]) -> Result<(), NodeError> {
    let mut changed = false;
    for at in 0..graph.nodes.len() {
        changed |= divide(graph, grown, at).is_some();
    }
    if changed {
        graph.sort()?;
        graph.infer()?;
    }
    Ok(())
}

fn divide(graph: &mut Graph, grown: &[Grown], at: usize) -> Option<()> {
    let own = graph.nodes[at].clone();
    let attention = own.operator.downcast::<Attention>()?.clone();
    let input = |i: usize| own.inputs.get(i).copied().flatten();
    let output = |i: usize| own.outputs.get(i).copied().flatten();
    let shape = |id: ValueId| graph.fact(id)?.concrete();
    let (q, past) = (shape(input(0)?)?, shape(input(PAST_KEY)?).filter(|shape| shape.len() == 4)?);
    let queries = *match q.as_slice() {
        [_, _, queries, _] | [_, queries, _] => queries,
        _ => return None,
    };
    let end = i64::try_from(past[2].checked_add(queries)?).ok()?;
    // Where heads lie side by side, what q, k and v are with heads of their own, and the shape of the result.
    let side_by_side = match q.len() {
        3 => {
            let (own, shared) = attention.heads?;
            let split = |(i, heads): (usize, usize)| {
                let &[batch, rows, width] = shape(input(i)?)?.as_slice() else { return None };
                Some([batch, rows, heads, width.checked_div(heads)?].map(|n| i64::try_from(n).unwrap_or(i64::MAX)))
            };
            let all: Option<Vec<_>> = [own, shared, shared].into_iter().enumerate().map(split).collect();
            let y: Option<Vec<_>> = shape(output(0)?)?.into_iter().map(|n| i64::try_from(n).ok()).collect();
            Some((all?, y?))
        }
        _ => None,
    };
    let pairs = [(PAST_KEY, 1), (PAST_VALUE, 2)];
    let carried = |(past, present): (usize, usize)| {
        let (past, present) = (input(past)?, output(present)?);
        let is = |g: &&Grown| {
            g.axis == 2 && graph.inputs.get(g.input) == Some(&past) && graph.outputs.get(g.output) == Some(&present)
        };
        grown.iter().find(is)
    };
    if attention.outputs > 3 || input(VALID).is_some() || pairs.iter().any(|&pair| carried(pair).is_none()) {
        return None;
    }
    let mut inputs = own.inputs.clone();
    if let Some((shapes, _)) = &side_by_side {
        for (input, &shape) in inputs.iter_mut().zip(shapes) {
            *input = input.map(|value| apart(graph, value, shape));
        }
    }
    for (past, present) in pairs {
        let joined = vec![input(past), inputs[present]];
        node(graph, Arc::new(Concat { axis: 2 }), joined, output(present)?);
        inputs[present] = output(present);
    }
    inputs.truncate(PAST_KEY);
    if attention.causal {
        // The place of a query is counted from the end of the valid keys.
        let valid = fresh(graph, &format!("{}/end", own.name));
        graph.values[valid.0].fact = Some(Fact::constant(Tensor::vector(vec![end; q[0]])));
        inputs.resize(VALID, None);
        inputs.push(Some(valid));
    }
    let mut y = output(0);
    if let (Some(all), Some((_, shape))) = (y, side_by_side) {
        let [heads, rows] = ["heads", "rows"].map(|form| fresh(graph, &format!("{}/{form}", own.name)));
        node(graph, order(&[0, 2, 1, 3]), vec![Some(heads)], rows);
        reshaped(graph, rows, &shape, all);
        y = Some(heads);
    }
    let attention = Attention { outputs: 1, heads: None, ..attention };
    graph.nodes[at] = Node { operator: Arc::new(attention), inputs, outputs: vec![y], ..own };
    Some(())
}

/// Rows that hold all heads side by side, `[batch, rows, heads, size]`, as heads of rows.
fn apart(graph: &mut Graph, value: ValueId, shape: [i64; 4]) -> ValueId {
    let name = graph.value(value).name.clone();
    let [split, turned] = ["split", "heads"].map(|form| fresh(graph, &format!("{name}/{form}")));
    reshaped(graph, value, &shape, split);
    node(graph, order(&[0, 2, 1, 3]), vec![Some(split)], turned);
    turned
}

/// A Reshape to a shape.
fn reshaped(graph: &mut Graph, value: ValueId, shape: &[i64], output: ValueId) {
    // None of its sizes is taken over from the input.
    let reshape = Reshape::To { shape: Some(shape.to_vec()), allow_zero: true };
    node(graph, Arc::new(reshape), vec![Some(value)], output);
}
