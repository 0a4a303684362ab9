//! A graph evaluated node by node with the operators' references: what every other way to run it is checked against.

use crate::graph::strings;
use crate::graph::{Context, Graph, Inputs, Node, NodeError, Value, ValueId};
use crate::tensor::Tensor;

/// Runs a graph as it stands with the references of its operators. `inputs` are in the order of [`Graph::inputs`], the
/// result is in that of [`Graph::outputs`]. `keep` sees every value that a node computes, in order, and gives what is read
/// in its place: itself, as a rule. Values are dropped after their last use.
///
/// # Errors
/// With the first node that cannot be computed, also where that is because an input was not given.
pub fn evaluate(
    graph: &Graph,
    inputs: &[Tensor],
    mut keep: impl FnMut(ValueId, Value) -> Value,
) -> Result<Vec<Value>, NodeError> {
    let mut values: Vec<Option<Value>> =
        graph.values.iter().map(|v| v.fact.as_ref()?.constant.clone().map(Value::Tensor)).collect();
    for (&id, tensor) in graph.inputs.iter().zip(inputs) {
        values[id.0] = Some(tensor.clone().into());
    }
    let mut uses = vec![0usize; values.len()];
    let read = graph.nodes.iter().flat_map(|node| node.inputs.iter().flatten());
    for id in read.chain(&graph.outputs) {
        uses[id.0] += 1;
    }
    for node in &graph.nodes {
        let results = compute(graph, node, &values)?;
        for input in node.inputs.iter().flatten() {
            uses[input.0] -= 1;
            if uses[input.0] == 0 {
                values[input.0] = None;
            }
        }
        for (output, value) in node.outputs.iter().zip(results) {
            if let Some(id) = *output {
                let value = keep(id, value);
                values[id.0] = Some(value).filter(|_| uses[id.0] > 0);
            }
        }
    }
    let output = |&id: &ValueId| {
        values[id.0].clone().ok_or_else(|| NodeError {
            node: graph.value(id).name.clone(),
            operator: "output".to_owned(),
            message: "nothing computes it, and it was not given".to_owned(),
            unsupported: None,
        })
    };
    graph.outputs.iter().map(output).collect()
}

/// Computes one node by its reference; `values` holds the constants too.
pub(super) fn compute(graph: &Graph, node: &Node, values: &[Option<Value>]) -> Result<Vec<Value>, NodeError> {
    let mut inputs = vec![];
    for input in &node.inputs {
        inputs.push(match input {
            None => None,
            Some(id) => {
                Some(values[id.0].as_ref().ok_or_else(|| {
                    NodeError::new(node, format!("its input '{}' was not given", graph.value(*id).name))
                })?)
            }
        });
    }
    let results = strings::evaluate(&*node.operator, &mut Context::default(), Inputs(&inputs));
    let results = results.map_err(|e| NodeError::new(node, e))?;
    // Only trailing outputs can be missing, and those only where nobody asks for them.
    if node.outputs.iter().skip(results.len()).any(Option::is_some) {
        return Err(NodeError::new(node, format!("it gave {} outputs of {}", results.len(), node.outputs.len())));
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ElementType;
    use crate::graph::Definition;

    #[test]
    fn values_are_seen_in_order_and_outputs_come_out() {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [2]);
        let a = graph.node(&Definition::new("Neg"), &[x]).unwrap();
        let y = graph.node(&Definition::new("Relu"), &[a]).unwrap();
        graph.output("y", y);
        graph.output("a", a);
        let graph = graph.build().unwrap();
        let mut seen = vec![];
        let outputs = evaluate(&graph, &[Tensor::vector(vec![1f32, -2.0])], |id, value| {
            seen.push(graph.value(id).name.clone());
            value
        });
        assert_eq!(seen, ["a", "y"]);
        let expected = [vec![0f32, 2.0], vec![-1.0, 2.0]].map(|v| Value::Tensor(Tensor::vector(v)));
        assert_eq!(outputs.unwrap(), expected);
    }

    #[test]
    fn a_missing_input_is_named() {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [2]);
        let y = graph.node(&Definition::new("Relu"), &[x]).unwrap();
        graph.output("y", y);
        graph.output("x", x);
        let graph = graph.build().unwrap();
        let error = evaluate(&graph, &[], |_, value| value).unwrap_err();
        assert_eq!(error.to_string(), "node 'Relu_0' (Relu): its input 'x' was not given");
    }
}
