//! Operators that there are none of, all found before anything else is looked at.

use std::collections::{BTreeMap, HashSet};

use super::messages::{FunctionProto, GraphProto};
use crate::error::LoadError;
use crate::graph::Unsupported;

/// An error that names every operator of the graph and its subgraphs that does not exist, and how often it occurs.
pub fn check(graph: &GraphProto, functions: &[FunctionProto], opset: i64) -> Result<(), LoadError> {
    let mut counts = BTreeMap::new();
    gather(graph, &mut counts);
    if counts.is_empty() {
        return Ok(());
    }
    let functions: HashSet<_> = functions
        .iter()
        .map(|f| (f.domain.as_deref().unwrap_or_default(), f.name.as_deref().unwrap_or_default()))
        .collect();
    let name = |domain: &str, op_type: &str, count: usize| {
        let full = if domain.is_empty() { op_type.to_owned() } else { format!("{domain}.{op_type}") };
        let what = if functions.contains(&(domain, op_type)) { ", a function of the model's own" } else { "" };
        let times = if count == 1 { String::new() } else { format!(" ({count} times)") };
        format!("{full}{what}{times}")
    };
    let reason = counts.keys().next().map_or(Unsupported::Operator, |(domain, _)| Unsupported::of_domain(domain));
    let operators = counts.into_iter().map(|((domain, op_type), count)| name(domain, op_type, count)).collect();
    Err(LoadError::UnknownOperators { reason, opset, operators })
}

fn gather<'a>(graph: &'a GraphProto, counts: &mut BTreeMap<(&'a str, &'a str), usize>) {
    for node in &graph.node {
        let domain = node.domain.as_deref().unwrap_or_default();
        let op_type = node.op_type.as_deref().unwrap_or_default();
        // Constants are read here, not by an operator.
        let constant = matches!(domain, "" | "ai.onnx") && op_type == "Constant";
        if !constant && !crate::ops::exists(domain, op_type) {
            *counts.entry((domain, op_type)).or_default() += 1;
        }
        for attribute in &node.attribute {
            for graph in attribute.g.as_deref().into_iter().chain(&attribute.graphs) {
                gather(graph, counts);
            }
        }
    }
}
