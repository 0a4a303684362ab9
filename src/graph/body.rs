//! A graph in an attribute of a node: a branch of If, the body of Loop, Scan or SequenceMap.

use std::sync::Arc;

use super::{Context, EvaluateError, Fact, Graph, NodeError, ShapeError, Value, ValueId, ValueType};
use crate::tensor::ElementType;

/// Bytes of results that count as the work of one more node.
const BYTES_A_NODE: usize = 1 << 12;

/// A graph that an operator runs.
///
/// What it reads of the graph around it ("captured" values) are inputs of it like the others, behind those that the
/// standard names, and stand among the inputs of its node, behind those that the standard names: all bodies of a node take
/// the same ones in the same order.
#[derive(Debug, Clone)]
pub struct Body {
    graph: Arc<Graph>,
    captured: usize,
    depth: usize,
    nodes: usize,
}

/// The same graph, not only an equal one.
impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.graph, &other.graph) && self.captured == other.captured
    }
}

impl Body {
    /// A body out of a graph whose last inputs, this many, are captured values.
    pub fn new(graph: Graph, captured: usize) -> Self {
        let inner = || graph.nodes.iter().flat_map(|node| node.operator.bodies());
        let depth = 1 + inner().map(|body| body.depth).max().unwrap_or_default();
        let nodes = graph.nodes.len() + inner().map(|body| body.nodes).sum::<usize>();
        Self { captured: captured.min(graph.inputs.len()), graph: Arc::new(graph), depth, nodes }
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// How many values it reads of the graph around it: its last inputs.
    pub fn captured(&self) -> usize {
        self.captured
    }

    /// Its inputs that the standard names.
    pub fn formal(&self) -> &[ValueId] {
        &self.graph.inputs[..self.graph.inputs.len() - self.captured]
    }

    /// The element type that the file says of an output, if that is a tensor.
    pub fn declared(&self, output: usize) -> Option<ElementType> {
        let value = self.graph.value(*self.graph.outputs.get(output)?);
        match (&value.declared, &value.fact) {
            (Some(ValueType::Tensor(element_type)), _) => Some(*element_type),
            (None, Some(fact)) => Some(fact.element_type),
            _ => None,
        }
    }

    /// How many bodies lie in each other: 1 if there is none in it.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// How many nodes there are in it, those of bodies in it included.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Whether it gives the same for the same inputs each time: no random operator is in it.
    pub fn is_deterministic(&self) -> bool {
        self.graph.nodes.iter().all(|node| node.operator.is_deterministic())
    }

    /// Its graph with these facts of its inputs, the captured ones included, and everything inferred. What the file says of
    /// its inputs is not relied on.
    ///
    /// # Errors
    /// With the first node that cannot be right.
    pub fn inferred(&self, inputs: impl IntoIterator<Item = Option<Fact>>) -> Result<Graph, ShapeError> {
        let mut graph = (*self.graph).clone();
        let mut inputs = inputs.into_iter();
        for i in 0..graph.inputs.len() {
            let id = graph.inputs[i];
            graph.values[id.0].fact = inputs.next().flatten();
        }
        graph.infer().map_err(|e| ShapeError { unsupported: e.unsupported, message: e.to_string() })?;
        Ok(graph)
    }

    /// The facts of its outputs, [`Body::inferred`] from those of its inputs.
    ///
    /// # Errors
    /// With the first node that cannot be right.
    pub fn infer(&self, inputs: impl IntoIterator<Item = Option<Fact>>) -> Result<Vec<Option<Fact>>, ShapeError> {
        let graph = self.inferred(inputs)?;
        Ok(graph.outputs.iter().map(|&id| graph.fact(id).cloned()).collect())
    }

    /// Its outputs for these inputs, the captured ones included.
    ///
    /// # Errors
    /// With the first node that cannot be computed, or when the work that the context allows is done.
    pub fn evaluate(
        &self,
        context: &mut Context,
        inputs: impl IntoIterator<Item = Option<Value>>,
    ) -> Result<Vec<Value>, EvaluateError> {
        let inputs: Vec<_> = inputs.into_iter().collect();
        if let Some(mut running) = context.bodies.as_ref().and_then(|bodies| bodies.begin(self, &inputs, &[])) {
            running.run(context)?;
            return (0..self.graph.outputs.len()).map(|i| running.output(i)).collect();
        }
        self.by_references(context, inputs)
    }

    /// [`Body::evaluate`] by the references of its operators.
    pub(super) fn by_references(
        &self,
        context: &mut Context,
        inputs: impl IntoIterator<Item = Option<Value>>,
    ) -> Result<Vec<Value>, EvaluateError> {
        // Also a body without nodes costs something.
        spend(context, None)?;
        Ok(self.graph.evaluate(context, inputs, |context, id, value| {
            spend(context, &value).map_err(|error| NodeError {
                node: self.graph.value(id).name.clone(),
                operator: "body".to_owned(),
                message: error.to_string(),
                unsupported: None,
                limit: if let EvaluateError::Limit(limit) = error { Some(limit) } else { None },
            })?;
            Ok(value)
        })?)
    }
}

/// What evaluating a node of a body takes of [`Context::body_work`] that gives so many bytes in so many tensors.
pub(crate) const fn cost(bytes: usize, tensors: usize) -> u64 {
    // A tensor takes some memory also where it is empty.
    1 + (bytes.saturating_add(256 * tensors) / BYTES_A_NODE) as u64
}

fn spend<'a>(context: &mut Context, value: impl Into<Option<&'a Value>>) -> Result<(), EvaluateError> {
    let cost = value.into().map_or(1, |value| cost(value.bytes(), value.tensors()));
    let left = context.body_work.checked_sub(cost);
    context.body_work = left.ok_or_else(|| EvaluateError::endless(&context.limits))?;
    Ok(context.interrupt.check()?)
}
