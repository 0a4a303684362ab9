//! A graph evaluated node by node with the operators' references.

use super::{Context, EvaluateError, Graph, Inputs, Node, NodeError, Value, ValueId};

impl Graph {
    /// Runs the graph as it stands with the references of its operators. `inputs` are in the order of [`Graph::inputs`], the
    /// result is in that of [`Graph::outputs`]. `keep` sees every value that a node computes, in order, and gives what is
    /// read in its place: itself, as a rule. Values are dropped after their last use.
    ///
    /// # Errors
    /// With the first node that cannot be computed, also where that is because an input was not given.
    pub fn evaluate(
        &self,
        context: &mut Context,
        inputs: impl IntoIterator<Item = Option<Value>>,
        mut keep: impl FnMut(&mut Context, ValueId, Value) -> Result<Value, NodeError>,
    ) -> Result<Vec<Value>, NodeError> {
        let mut values: Vec<Option<Value>> =
            self.values.iter().map(|v| v.fact.as_ref()?.constant.clone().map(Value::Tensor)).collect();
        for (&id, value) in self.inputs.iter().zip(inputs) {
            values[id.0] = value;
        }
        let mut uses = vec![0usize; values.len()];
        let read = self.nodes.iter().flat_map(|node| node.inputs.iter().flatten());
        for id in read.chain(&self.outputs) {
            uses[id.0] += 1;
        }
        for node in &self.nodes {
            let results = self.compute(context, node, &values)?;
            for input in node.inputs.iter().flatten() {
                uses[input.0] -= 1;
                if uses[input.0] == 0 {
                    values[input.0] = None;
                }
            }
            for (output, value) in node.outputs.iter().zip(results) {
                if let Some(id) = *output {
                    let value = keep(context, id, value)?;
                    values[id.0] = Some(value).filter(|_| uses[id.0] > 0);
                }
            }
        }
        let output = |&id: &ValueId| {
            values[id.0].clone().ok_or_else(|| NodeError {
                node: self.value(id).name.clone(),
                operator: "output".to_owned(),
                message: "nothing computes it, and it was not given".to_owned(),
                unsupported: None,
                limit: None,
            })
        };
        self.outputs.iter().map(output).collect()
    }

    /// Computes one node by its reference; `values` holds the constants too.
    fn compute(&self, context: &mut Context, node: &Node, values: &[Option<Value>]) -> Result<Vec<Value>, NodeError> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for input in &node.inputs {
            inputs.push(match input {
                None => None,
                Some(id) => Some(values[id.0].as_ref().ok_or_else(|| {
                    NodeError::new(node, format!("its input '{}' was not given", self.value(*id).name))
                })?),
            });
        }
        let inputs = Inputs(&inputs);
        let results = self
            .node_within(node, inputs, &context.limits)
            .map_err(EvaluateError::from)
            .and_then(|()| node.operator.compute(context, inputs))
            .map_err(|e| NodeError::evaluation(node, e))?;
        // Only trailing outputs can be missing, and those only where nobody asks for them.
        if node.outputs.iter().skip(results.len()).any(Option::is_some) {
            return Err(NodeError::new(node, format!("it gave {} outputs of {}", results.len(), node.outputs.len())));
        }
        Ok(results)
    }
}
