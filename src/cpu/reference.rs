//! A graph evaluated node by node with the operators' references: what every other way to run it is checked against.

use crate::graph::{Context, Graph, NodeError, Value, ValueId};
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
    let inputs = inputs.iter().map(|tensor| Some(tensor.clone().into()));
    graph.evaluate(&mut Context::default(), inputs, |_, id, value| Ok(keep(id, value)))
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
