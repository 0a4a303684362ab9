//! Operators that there are none of, all found before anything else is looked at.

use std::collections::{BTreeMap, HashSet};

use super::functions::Functions;
use super::messages::{GraphProto, NodeProto};
use crate::error::LoadError;
use crate::graph::Unsupported;

/// An error that names every operator of the graph, its subgraphs and the functions that it calls which does not exist, and
/// how often it occurs.
pub fn check(graph: &GraphProto, functions: &Functions, opset: i64) -> Result<(), LoadError> {
    let mut counts = BTreeMap::new();
    let mut called = HashSet::new();
    // Functions that are to be looked through, each once.
    let mut open = vec![&graph.node];
    while let Some(nodes) = open.pop() {
        let mut calls = vec![];
        gather(nodes, functions, &mut counts, &mut calls);
        open.extend(calls.into_iter().filter(|place| called.insert(*place)).map(|place| &functions.at(place).node));
    }
    if counts.is_empty() {
        return Ok(());
    }
    let name = |domain: &str, op_type: &str, count: usize| {
        let full = if domain.is_empty() { op_type.to_owned() } else { format!("{domain}.{op_type}") };
        let times = if count == 1 { String::new() } else { format!(" ({count} times)") };
        format!("{full}{times}")
    };
    let reason = counts.keys().next().map_or(Unsupported::Operator, |(domain, _)| Unsupported::of_domain(domain));
    let operators = counts.into_iter().map(|((domain, op_type), count)| name(domain, op_type, count)).collect();
    Err(LoadError::UnknownOperators { reason, opset, operators })
}

fn gather<'a>(
    nodes: &'a [NodeProto],
    functions: &Functions,
    counts: &mut BTreeMap<(&'a str, &'a str), usize>,
    calls: &mut Vec<usize>,
) {
    for node in nodes {
        let domain = node.domain.as_deref().unwrap_or_default();
        let op_type = node.op_type.as_deref().unwrap_or_default();
        // Constants are read here, not by an operator.
        let constant = matches!(domain, "" | "ai.onnx") && op_type == "Constant";
        match functions.called_by(node) {
            Some(place) => calls.push(place),
            None if !constant && !crate::ops::exists(domain, op_type) => {
                *counts.entry((domain, op_type)).or_default() += 1;
            }
            None => {}
        }
        for attribute in &node.attribute {
            for graph in attribute.g.as_deref().into_iter().chain(&attribute.graphs) {
                gather(&graph.node, functions, counts, calls);
            }
        }
    }
}
