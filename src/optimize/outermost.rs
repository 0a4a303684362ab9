//! What grows from run to run, such as the keys and values of attention, is taken and given with the axis along which it grows
//! outermost: what a run adds then comes behind what is there, in the same memory.
//!
//! An output that is the concatenation of an input and something new becomes one along the outermost axis; whoever reads it
//! does so through a Transpose, which attention reads by strides. The input and the output have other shapes from then on.
//! A cache into which a TensorScatter writes stays as it is.

use std::sync::Arc;

use super::{Rewrites, expand};
use crate::graph::{Fact, Graph, Names, Node, NodeError, Operator, ValueId};
use crate::ops::attention::{Attention, PAST_KEY, PAST_VALUE, VALID};
use crate::ops::concat::Concat;
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
    if graph.nodes[at].operator.downcast::<TensorScatter>().is_some()
        && graph.nodes[at].inputs.first() == Some(&Some(past))
    {
        // A cache of which a run writes some rows does not grow, and may lie in any order.
        let length = *graph.fact(present)?.concrete()?.first()?;
        return Some(Grown { axis: 0, length, ..*grown });
    }
    let concat = graph.nodes[at].operator.downcast::<Concat>()?;
    let &[Some(first), Some(new)] = graph.nodes[at].inputs.as_slice() else { return None };
    let (before, after) = (graph.fact(past)?.clone(), graph.fact(present)?.clone());
    let shape = after.concrete()?;
    let rank = shape.len();
    let fits = concat.axis(rank).ok()? == grown.axis && first == past && new != past && before.constant.is_none();
    let alone = graph.outputs.iter().filter(|&&id| id == present).count() == 1 && !graph.outputs.contains(&past);
    // What is added begins at a whole unit.
    let row: usize = shape.iter().enumerate().filter(|(i, _)| *i != grown.axis).map(|(_, n)| n).product();
    if !fits || !alone || row == 0 || !row.is_multiple_of(4) || grown.axis >= rank {
        return None;
    }
    if grown.axis == 0 {
        return Some(*grown);
    }
    let (there, back) = (grown.order(rank), grown.back(rank));
    let turned =
        |fact: &Fact| Fact::new(fact.element_type, there.iter().map(|&i| fact.shape[i].clone()).collect::<Vec<_>>());
    let names = [past, present, new].map(|id| graph.value(id).name.clone());
    let added = fresh(graph, &format!("{}/outermost", names[2]));
    for (value, name, fact) in [(past, &names[0], before), (present, &names[1], after)] {
        let as_it_was = fresh(graph, &format!("{name}/in order"));
        if reread(graph, value, as_it_was, at) {
            node(graph, order(&back), vec![Some(value)], as_it_was);
        }
        graph.values[value.0].fact = Some(turned(&fact));
    }
    node(graph, order(&there), vec![Some(new)], added);
    graph.nodes[at].operator = Arc::new(Concat { axis: 0 });
    graph.nodes[at].inputs = vec![Some(past), Some(added)];
    Some(*grown)
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
    let four = |id: ValueId| graph.fact(id)?.concrete().filter(|shape| shape.len() == 4);
    let (q, past) = (four(input(0)?)?, four(input(PAST_KEY)?)?);
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
    for (past, present) in pairs {
        let joined = vec![input(past), input(present)];
        node(graph, Arc::new(Concat { axis: 2 }), joined, output(present)?);
        inputs[present] = output(present);
    }
    inputs.truncate(PAST_KEY);
    if attention.causal {
        // The place of a query is counted from the end of the valid keys.
        let end = i64::try_from(past[2].checked_add(q[2])?).ok()?;
        let valid = fresh(graph, &format!("{}/end", own.name));
        graph.values[valid.0].fact = Some(Fact::constant(Tensor::vector(vec![end; q[0]])));
        inputs.resize(VALID, None);
        inputs.push(Some(valid));
    }
    let y = output(0);
    graph.nodes[at] =
        Node { operator: Arc::new(Attention { outputs: 1, ..attention }), inputs, outputs: vec![y], ..own };
    Some(())
}
