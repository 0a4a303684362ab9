//! Facts through the graph: shape inference, with small constants computed on the way.

use super::{Bindings, Context, Fact, Graph, Inputs, Node, NodeError, Value};
use crate::tensor::ElementType;

/// Integers and truth values up to this many elements are computed during inference: shapes, axes, indices.
const FOLD_LIMIT: usize = 1 << 12;

impl Graph {
    /// Infers the facts of every value that a node computes, from those of the inputs and constants.
    ///
    /// Small values that depend on constants alone become constants. What cannot be inferred is left unknown.
    ///
    /// # Errors
    /// With the first node whose inputs cannot be right.
    pub fn infer(&mut self) -> Result<(), NodeError> {
        let parameters = self.parameters();
        for i in 0..self.nodes.len() {
            let node = &self.nodes[i];
            let facts = match self.input_facts(node) {
                Some(inputs) => {
                    node.operator.check_types(&inputs).map_err(|e| NodeError::shape(node, &e))?;
                    let leads = node.outputs.iter().flatten().any(|id| parameters[id.0]);
                    let facts = node.operator.infer_partly(&inputs, true).map_err(|e| NodeError::shape(node, &e))?;
                    match facts.iter().cloned().collect() {
                        Some(known) => fold_small(node, &inputs, known, leads).into_iter().map(Some).collect(),
                        None => facts,
                    }
                }
                None => {
                    let inputs: Vec<_> = node.inputs.iter().map(|id| id.and_then(|id| self.fact(id))).collect();
                    node.operator.infer_partly(&inputs, false).map_err(|e| NodeError::shape(node, &e))?
                }
            };
            let outputs = node.outputs.clone();
            for (k, output) in outputs.into_iter().enumerate() {
                if let Some(output) = output {
                    self.values[output.0].fact = facts.get(k).cloned().flatten();
                }
            }
        }
        Ok(())
    }

    /// The graph with symbols of its inputs replaced by numbers and everything inferred again.
    ///
    /// # Errors
    /// With the first node whose inputs cannot be right under these numbers.
    pub fn bind(&self, bindings: &Bindings) -> Result<Self, NodeError> {
        let mut graph = self.clone();
        for &input in &self.inputs {
            let fact = &mut graph.values[input.0].fact;
            *fact = fact.as_ref().map(|f| f.bind(bindings));
        }
        graph.infer()?;
        Ok(graph)
    }
}

/// The facts with contents where all inputs are constants and the outputs are small, and not floating point unless they
/// lead to a parameter (other floating-point constants are folded by a rewrite, which can be switched off).
fn fold_small(node: &Node, inputs: &[Option<&Fact>], facts: Vec<Fact>, leads: bool) -> Vec<Fact> {
    let small =
        |f: &Fact| f.concrete().and_then(|s| crate::tensor::shape::elements(&s)).is_some_and(|n| n <= FOLD_LIMIT);
    let exact = |f: &Fact| f.element_type.is_integer() || f.element_type == ElementType::Bool;
    let wanted = facts.iter().any(|f| f.constant.is_none())
        && facts.iter().all(|f| small(f) && (leads || exact(f)))
        && node.operator.is_deterministic()
        && inputs.iter().flatten().all(|f| f.constant.is_some() && small(f));
    if !wanted {
        return facts;
    }
    let values: Vec<Option<Value>> =
        inputs.iter().map(|f| f.and_then(|f| f.constant.clone()).map(Value::Tensor)).collect();
    let references: Vec<Option<&Value>> = values.iter().map(Option::as_ref).collect();
    // Whatever is wrong shows again, with a better message, when the node runs.
    let values = node.operator.compute(&mut Context::brief(), Inputs(&references)).unwrap_or_default();
    let constants: Option<Vec<Fact>> = values.into_iter().map(|v| v.into_tensor().map(Fact::constant)).collect();
    constants.filter(|constants| constants.len() >= facts.len()).unwrap_or(facts)
}
