//! Operators that are made of others are replaced by those.

use crate::graph::{Graph, Names, Node, ValueId};

/// Composites may hold composites, though not deeply.
const DEPTH: usize = 8;

pub(super) fn apply(graph: &mut Graph) -> bool {
    for _ in 0..DEPTH {
        if !once(graph) {
            break;
        }
    }
    // What could not be expanded is refused then.
    true
}

/// Graphs become no larger than this: loops in loops could ask for any number of nodes.
const MOST: usize = 1 << 16;

/// Whether a node was replaced.
fn once(graph: &mut Graph) -> bool {
    let mut names = Names::of(graph);
    let mut nodes = vec![];
    let mut changed = false;
    for node in std::mem::take(&mut graph.nodes) {
        let facts = graph.input_facts(&node);
        // What cannot be expanded stays, and is refused, with a message of its own, when facts are inferred again.
        let expansion = facts.and_then(|facts| node.operator.expansion(&facts).ok().flatten());
        match expansion {
            Some(expansion) if nodes.len() + expansion.nodes.len() <= MOST => {
                insert(graph, &node, &expansion, &mut names, &mut nodes);
                changed = true;
            }
            _ => nodes.push(node),
        }
    }
    graph.nodes = nodes;
    changed
}

/// Adds the nodes of an expansion, between the inputs and outputs of the node that they replace.
fn insert(graph: &mut Graph, node: &Node, expansion: &Graph, names: &mut Names, nodes: &mut Vec<Node>) {
    let mut renamed: Vec<Option<ValueId>> = vec![None; expansion.values.len()];
    for (own, outer) in expansion.inputs.iter().zip(node.inputs.iter().flatten()) {
        renamed[own.0] = Some(*outer);
    }
    for (own, outer) in expansion.outputs.iter().zip(&node.outputs) {
        renamed[own.0] = *outer;
    }
    for (i, value) in expansion.values.iter().enumerate() {
        if renamed[i].is_none() {
            let name = names.fresh(&format!("{}/{}", node.name, value.name));
            renamed[i] = Some(graph.add_value(name, value.fact.clone()));
        }
    }
    let rename = |ids: &[Option<ValueId>]| ids.iter().map(|id| id.and_then(|id| renamed[id.0])).collect();
    nodes.extend(expansion.nodes.iter().map(|inner| Node {
        name: format!("{}/{}", node.name, inner.name),
        operator: inner.operator.clone(),
        inputs: rename(&inner.inputs),
        outputs: rename(&inner.outputs),
    }));
}
