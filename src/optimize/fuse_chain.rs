//! Element-wise arithmetic one after the other becomes one node, where nobody else reads what is between: what the kernels
//! of the nodes would read and write again and again passes through memory once.

use std::sync::Arc;

use super::edit::Edit;
use crate::graph::{Fact, Graph, Node, ValueId};
use crate::ops::chain::{Chain, Link, Source};
use crate::tensor::ElementType;

pub(super) fn apply(graph: &mut Graph) -> bool {
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let Some(node) = edit.node(index) else { continue };
        let Some(&Some(output)) = node.outputs.first() else { continue };
        // Of two chains that meet the longer one goes on.
        let grown = distinct(node)
            .filter_map(|value| {
                let (first, before) = edit.producer_for(value, reads(node, value))?;
                let begun = begin(edit.graph(), before)?;
                Some((first, append(edit.graph(), begun, node, value, output)?))
            })
            .max_by_key(|(first, grown)| (grown.0.links.len(), *first));
        if let Some((first, (chain, inputs))) = grown {
            edit.fuse(first, index, Arc::new(chain), inputs.into_iter().map(Some).collect());
        }
    }
    edit.finish()
}

/// A chain and what it reads.
type Grown = (Chain, Vec<ValueId>);

/// The values that a node reads, each once.
fn distinct(node: &Node) -> impl Iterator<Item = ValueId> + '_ {
    let inputs = || node.inputs.iter().flatten().copied();
    inputs()
        .enumerate()
        .filter(move |(i, value)| !inputs().take(*i).any(|other| other == *value))
        .map(|(_, value)| value)
}

/// How often a node reads a value.
fn reads(node: &Node, value: ValueId) -> usize {
    node.inputs.iter().filter(|input| **input == Some(value)).count()
}

/// A node as a chain: the one that it is, or one of a single operator.
fn begin(graph: &Graph, node: &Node) -> Option<Grown> {
    let output = node.outputs.first().copied().flatten()?;
    if let Some(chain) = node.operator.downcast::<Chain>() {
        return Some((chain.clone(), node.inputs.iter().copied().collect::<Option<_>>()?));
    }
    let of = |value| append(graph, (Chain { links: vec![] }, vec![value]), node, value, output);
    distinct(node).filter(|&value| graph.constant(value).is_none()).find_map(of)
}

/// A chain with one more operator, a node that reads `value`, which the chain gives; if the kernel can take it.
fn append(
    graph: &Graph,
    (mut chain, mut inputs): Grown,
    node: &Node,
    value: ValueId,
    output: ValueId,
) -> Option<Grown> {
    let (given, result) = (graph.fact(value)?, graph.fact(output)?);
    let floats = |fact: &Fact| matches!(fact.element_type, ElementType::F32 | ElementType::F16);
    // What is repeated is computed before.
    if node.outputs.len() != 1 || !floats(result) || given.shape != result.shape || result.concrete().is_none() {
        return None;
    }
    let mut source = |input: ValueId| {
        if input == value {
            return Source::SoFar;
        }
        let at = inputs.iter().skip(1).position(|&known| known == input).map(|at| at + 1);
        Source::Input(at.unwrap_or_else(|| {
            inputs.push(input);
            inputs.len() - 1
        }))
    };
    let sources = node.inputs.iter().map(|input| input.map(&mut source)).collect();
    chain.links.push(Link { operator: Arc::clone(&node.operator), inputs: sources });
    let facts: Vec<_> = inputs.iter().map(|&input| graph.fact(input)).collect();
    chain.program(&facts)?;
    Some((chain, inputs))
}

#[cfg(test)]
mod tests {
    use crate::optimize::testing::*;

    #[test]
    fn arithmetic_becomes_one_node() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[1, 3, 4, 2]);
        let two = graph.constant("two", &[], &[2.0]);
        let grid = graph.random("grid", &[4, 2]);
        let a = graph.node("Mul", &[x, two]);
        let b = graph.node("Add", &[a, grid]);
        let c = graph.node("Mul", &[b, b]);
        let y = graph.node("Sub", &[two, c]);
        graph.output("y", y);
        graph.check(
            &["fuse_chain"],
            "input x: f32[1, 3, 4, 2]\n\
             y: f32[1, 3, 4, 2] = Chain(x, 2.0, grid: f32[4, 2])\n\
             output y: f32[1, 3, 4, 2]\n",
        );
    }

    #[test]
    fn of_two_chains_the_longer_goes_on() {
        let mut graph = TestGraph::new();
        let (x, z) = (graph.input("x", &[2, 3]), graph.input("z", &[2, 3]));
        let a = graph.node("Neg", &[x]);
        let b = graph.node("Mul", &[a, a]);
        let c = graph.node("Neg", &[z]);
        let y = graph.node("Sub", &[c, b]);
        graph.output("y", y);
        graph.check(
            &["fuse_chain"],
            "input x: f32[2, 3]\n\
             input z: f32[2, 3]\n\
             Neg_2: f32[2, 3] = Neg(z)\n\
             y: f32[2, 3] = Chain(x, Neg_2)\n\
             output y: f32[2, 3]\n",
        );
    }

    #[test]
    fn what_others_read_and_what_is_repeated_stays() {
        let mut graph = TestGraph::new();
        let (x, small) = (graph.input("x", &[2, 3]), graph.input("small", &[3]));
        let shared = graph.node("Neg", &[x]);
        let a = graph.node("Mul", &[shared, x]);
        let b = graph.node("Exp", &[shared]);
        // The negation of three elements need not be one of six.
        let fewer = graph.node("Neg", &[small]);
        let repeated = graph.node("Add", &[fewer, x]);
        for (name, value) in [("a", a), ("b", b), ("repeated", repeated)] {
            graph.output(name, value);
        }
        let text = graph.rewritten(&[]).to_string();
        graph.check(&["fuse_chain"], &text);
    }
}
