//! Weights that lie in a file without their zeros become what they are: a bit says of each whether it is stored, the running
//! sum of the bits where (`compress --zeros packed` writes them so, in operators of the standard's).
//!
//! A chain of nodes that ends in a Gather by a CumSum, all of it made of constants, is computed at once, so that nothing of
//! what is on the way is kept, and before other rewrites look for constants. Bounded: what a chain computes may take 64
//! times what it is made of (a bit becomes an index of 32), all results together 64 times all constants.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::edit::Edit;
use crate::graph::{Context, Fact, Graph, Inputs, Node, Value, ValueId};
use crate::tensor::shape::elements;
use crate::tensor::{Recipe, Tensor, derived};

/// How often what it is made of a result may take.
const TIMES: usize = 64;
/// The most nodes of a chain.
const NODES: usize = 16;
/// What may stand behind the running sum.
const BEHIND: [&str; 4] = ["Mul", "Gather", "Slice", "Reshape"];

pub(super) fn apply(graph: &mut Graph) -> bool {
    let constants = graph.values.iter().filter_map(|v| v.fact.as_ref()?.constant.as_ref());
    let given = constants.fold(0usize, |sum, tensor| sum.saturating_add(tensor.byte_length()));
    let mut budget = given.saturating_mul(TIMES);
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        if edit.node(index).is_none_or(|node| node.operator.name() != "CumSum") {
            continue;
        }
        let Some(last) = last(&edit, index) else { continue };
        let Some(chain) = Chain::to(&edit, last, &mut budget) else { continue };
        let Some(tensor) = chain.computed(edit.graph()) else { continue };
        edit.set_fact(chain.result, Fact::constant(tensor));
        let inputs = edit.node(last).map(|node| node.inputs.clone()).unwrap_or_default();
        edit.remove(last);
        inputs.into_iter().flatten().for_each(|input| edit.sweep(input));
    }
    edit.finish()
}

/// The last node of what stands behind a running sum, if a Gather is among it.
fn last(edit: &Edit<'_>, mut index: usize) -> Option<usize> {
    let mut gathers = false;
    while let Some((next, node)) = edit.node(index)?.outputs.first().copied()?.and_then(|y| edit.reader(y))
        && BEHIND.contains(&node.operator.name())
    {
        gathers |= node.operator.name() == "Gather";
        index = next;
    }
    gathers.then_some(index)
}

/// A node, and all that it is computed of.
struct Chain {
    /// In an order in which they can run.
    nodes: Vec<usize>,
    constants: Vec<ValueId>,
    result: ValueId,
}

impl Chain {
    /// All that a node is computed of, if that is constants alone, and not too much.
    fn to(edit: &Edit<'_>, last: usize, budget: &mut usize) -> Option<Self> {
        let result = edit.node(last)?.outputs.first().copied()??;
        let (mut nodes, mut constants, mut met) = (vec![last], vec![], HashSet::new());
        let (mut place, mut given, mut largest) = (0, 0usize, 0usize);
        while let Some(node) = nodes.get(place).and_then(|&index| edit.node(index)) {
            place += 1;
            if !node.operator.is_deterministic() || node.outputs.len() != 1 {
                return None;
            }
            largest = largest.max(bytes(edit.graph(), node.outputs.first().copied()??)?);
            for input in node.inputs.iter().flatten().copied().filter(|&input| met.insert(input)) {
                if edit.graph().constant(input).is_some() {
                    given = given.checked_add(bytes(edit.graph(), input)?)?;
                    constants.push(input);
                } else {
                    nodes.push(edit.producer(input)?.0);
                }
            }
            if nodes.len() > NODES {
                return None;
            }
        }
        // Nodes of a graph stand in an order in which they can run.
        nodes.sort_unstable();
        let takes = bytes(edit.graph(), result)?;
        if largest > given.checked_mul(TIMES)? || takes > *budget {
            return None;
        }
        *budget -= takes;
        Some(Self { nodes, constants, result })
    }

    /// What the chain computes.
    fn computed(&self, graph: &Graph) -> Option<Tensor> {
        let nodes: Vec<Node> = self.nodes.iter().filter_map(|&index| graph.nodes.get(index)).cloned().collect();
        let by = Arc::as_ptr(&nodes.last()?.operator).addr();
        let recipe = Recipe { name: "unpack_zeros", by, parameters: vec![] };
        let tensors: Vec<Option<&Tensor>> = self.constants.iter().map(|&id| graph.constant(id)).collect();
        let (ids, result) = (self.constants.clone(), self.result);
        let compute = move |constants: &[Option<&Tensor>]| {
            let given =
                ids.iter().zip(constants).filter_map(|(&id, tensor)| Some((id, Value::Tensor((*tensor)?.clone()))));
            let mut values: HashMap<ValueId, Value> = given.collect();
            for node in &nodes {
                let inputs: Vec<Option<&Value>> = node.inputs.iter().map(|id| values.get(id.as_ref()?)).collect();
                let computed =
                    node.operator.compute(&mut Context::brief(), Inputs(&inputs)).ok()?.into_iter().next()?;
                values.insert(node.outputs.first().copied()??, computed);
            }
            Some(vec![values.remove(&result)?.into_tensor()?])
        };
        derived(recipe, &tensors, compute)?.into_iter().next()
    }
}

/// The bytes that a value takes.
fn bytes(graph: &Graph, value: ValueId) -> Option<usize> {
    let fact = graph.fact(value)?;
    elements(&fact.concrete()?)?.checked_mul(fact.element_type.size())
}

#[cfg(test)]
mod tests {
    use crate::graph::Definition;
    use crate::optimize::testing::*;
    use crate::tensor::Tensor;

    /// `x · w`, the weights of which lie as a bit for each and those that are not 0.
    fn packed(graph: &mut TestGraph, mask: &[u8], values: &[f32], shape: &[i64]) -> crate::graph::ValueId {
        let table: Vec<u8> = (0..2048).map(|i| ((i / 8) >> (i % 8) & 1) as u8).collect();
        let mask = graph.tensor("mask", Tensor::vector(mask.to_vec()));
        let table = graph.tensor("table", Tensor::new([256, 8], table).unwrap());
        let places = graph.define(&Definition::new("Cast").attribute("to", 6i64), &[mask]);
        let bits = graph.node("Gather", &[table, places]);
        let bits = graph.define(&Definition::new("Cast").attribute("to", 6i64), &[bits]);
        let all = graph.integers("all", &[-1]);
        let bits = graph.node("Reshape", &[bits, all]);
        let axis = graph.tensor("axis", Tensor::scalar(0i32));
        let sums = graph.node("CumSum", &[bits, axis]);
        let index = graph.node("Mul", &[sums, bits]);
        let values = graph.constant("values", &[values.len()], values);
        let flat = graph.node("Gather", &[values, index]);
        let shape = graph.integers("shape", shape);
        graph.node("Reshape", &[flat, shape])
    }

    #[test]
    fn packed_weights_are_constants() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[1, 4]);
        let w = packed(&mut graph, &[0b1010_0001, 0b0000_0010], &[0.0, 1.0, -2.0, 3.0, -4.0], &[4, 4]);
        let y = graph.node("MatMul", &[x, w]);
        graph.output("y", y);
        let rewritten = graph.check(
            &["unpack_zeros"],
            "input x: f32[1, 4]\n\
             y: f32[1, 4] = MatMul(x, Reshape_7: f32[4, 4])\n\
             output y: f32[1, 4]\n",
        );
        let w = rewritten.constant(rewritten.find("Reshape_7").unwrap()).unwrap().to_f64();
        let expected = [1.0, 0.0, 0.0, 0.0, 0.0, -2.0, 0.0, 3.0, 0.0, -4.0];
        assert_eq!((&w[..10], w[10..].iter().all(|&w| w == 0.0)), (&expected[..], true));
    }

    #[test]
    fn what_a_run_gives_is_left_to_the_run() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[6]);
        let axis = graph.tensor("axis", Tensor::scalar(0i32));
        let sums = graph.node("CumSum", &[x, axis]);
        let table = graph.constant("table", &[2], &[1.0, 2.0]);
        let places = graph.define(&Definition::new("Cast").attribute("to", 6i64), &[sums]);
        let y = graph.node("Gather", &[table, places]);
        graph.output("y", y);
        assert_eq!(graph.rewritten(&["unpack_zeros"]).nodes.len(), 3);
    }
}
