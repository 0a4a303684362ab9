//! The layer graph: values, the nodes that compute them, and what is known of them before they run.

mod activation;
mod attributes;
mod bodies;
mod body;
mod dim;
mod division;
mod dot;
pub(crate) mod erf;
mod evaluate;
mod fact;
mod infer;
mod limited;
mod metadata;
mod names;
mod operator;
mod parameters;
mod request;
mod stand_in;
mod text;
mod unsupported;
mod value;

use std::sync::Arc;

use crate::limits::LimitError;

pub use activation::Activation;
pub use attributes::{Attribute, Definition, DefinitionError};
pub(crate) use bodies::Host;
pub use bodies::{Bodies, Repeated, RunningBody};
pub use body::Body;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use body::cost;
pub use dim::{Bindings, Dim, Expression};
pub use division::Division;
pub use fact::{Fact, ShapeError};
pub use metadata::Metadata;
pub(crate) use names::Names;
pub use operator::{Context, EvaluateError, Inputs, Operator, Reads};
pub use request::{Operand, Request};
pub use unsupported::Unsupported;
pub use value::{Optional, Sequence, Value, ValueType};

/// A value of a graph, by its index in [`Graph::values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub usize);

/// A node of a graph, by its index in [`Graph::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub usize);

/// A value: an input, a constant, or what a node computes.
#[derive(Debug, Clone)]
pub struct ValueInfo {
    /// Its name, unique in the graph.
    pub name: String,
    /// What is known of it; `None` where not even its type or rank is.
    pub fact: Option<Fact>,
    /// Its type, where the file or the caller gives it and it is no tensor, or a tensor of which not even the rank is given.
    pub declared: Option<ValueType>,
}

/// A node: an operator applied to values.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name: the file's, or that of its first output.
    pub name: String,
    /// What it does.
    pub operator: Arc<dyn Operator>,
    /// Its inputs; `None` where an optional one is left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Its outputs; `None` where one is not asked for.
    pub outputs: Vec<Option<ValueId>>,
}

/// A neural network: every value is computed by one node at most, and nodes stand in an order in which they can run.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// Its name.
    pub name: String,
    /// Its values, constants included.
    pub values: Vec<ValueInfo>,
    /// Its nodes, producers before consumers.
    pub nodes: Vec<Node>,
    /// What is given to a run.
    pub inputs: Vec<ValueId>,
    /// What a run gives.
    pub outputs: Vec<ValueId>,
    /// The version of the standard's operator set that the file names.
    pub opset: i64,
}

/// Bytes of a constant that is too small to be worth dropping.
const SMALL: usize = 4096;

/// Something is wrong with a node.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("node '{node}' ({operator}): {message}")]
pub struct NodeError {
    /// The node's name.
    pub node: String,
    /// Its operator's name.
    pub operator: String,
    /// What is wrong.
    pub message: String,
    /// Why it is refused, where the standard allows it.
    pub unsupported: Option<Unsupported>,
    /// The limit that it passes, if that is what is wrong.
    pub limit: Option<Box<LimitError>>,
}

impl NodeError {
    /// An error of this node.
    pub fn new(node: &Node, message: impl ToString) -> Self {
        Self {
            node: node.name.clone(),
            operator: node.operator.name().to_owned(),
            message: message.to_string(),
            unsupported: None,
            limit: None,
        }
    }

    /// An error of this node in its evaluation.
    pub fn evaluation(node: &Node, error: EvaluateError) -> Self {
        let limit = match &error {
            EvaluateError::Limit(limit) => Some(limit.clone()),
            EvaluateError::Body(error) => error.limit.clone(),
            _ => None,
        };
        Self { limit, ..Self::new(node, error) }
    }

    /// An error of this node under the shapes and types of its inputs, with the reason if it is a refusal.
    pub fn shape(node: &Node, error: &ShapeError) -> Self {
        Self { unsupported: error.unsupported, ..Self::new(node, error) }
    }
}

impl Graph {
    /// A value.
    pub fn value(&self, id: ValueId) -> &ValueInfo {
        &self.values[id.0]
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// What is known of a value.
    pub fn fact(&self, id: ValueId) -> Option<&Fact> {
        self.values[id.0].fact.as_ref()
    }

    /// A value's content, if it is a constant.
    pub fn constant(&self, id: ValueId) -> Option<&crate::tensor::Tensor> {
        self.fact(id)?.constant.as_ref()
    }

    /// The graph without what its large constants hold, but for those to be kept: what is left says what is what.
    #[must_use]
    pub fn without_contents(mut self, kept: impl Fn(ValueId) -> bool) -> Self {
        for (i, value) in self.values.iter_mut().enumerate() {
            if let Some(fact) = &mut value.fact
                && fact.constant.as_ref().is_some_and(|tensor| tensor.byte_length() > SMALL)
                && !kept(ValueId(i))
            {
                fact.constant = None;
            }
        }
        self
    }

    /// The value of this name.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.values.iter().position(|v| v.name == name).map(ValueId)
    }

    /// Adds a value. The caller sees to it that its name is new.
    pub fn add_value(&mut self, name: impl Into<String>, fact: Option<Fact>) -> ValueId {
        self.values.push(ValueInfo { name: name.into(), fact, declared: None });
        ValueId(self.values.len() - 1)
    }

    /// Node ids in the order in which they run.
    pub fn node_ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId)
    }

    /// For each value, the node that computes it.
    pub fn producers(&self) -> Vec<Option<NodeId>> {
        let mut producers = vec![None; self.values.len()];
        for id in self.node_ids() {
            for output in self.node(id).outputs.iter().flatten() {
                producers[output.0] = Some(id);
            }
        }
        producers
    }

    /// For each value, the nodes that read it (a node that reads it twice stands there twice).
    pub fn consumers(&self) -> Vec<Vec<NodeId>> {
        let mut consumers = vec![vec![]; self.values.len()];
        for id in self.node_ids() {
            for input in self.node(id).inputs.iter().flatten() {
                consumers[input.0].push(id);
            }
        }
        consumers
    }

    /// The facts of a node's inputs, as its operator takes them; `None` if one that is given is unknown.
    pub fn input_facts(&self, node: &Node) -> Option<Vec<Option<&Fact>>> {
        node.inputs.iter().map(|input| input.map_or(Some(None), |id| self.fact(id).map(Some))).collect()
    }

    /// Replaces every use of `old` (graph outputs excepted) by `new`.
    pub fn replace_uses(&mut self, old: ValueId, new: ValueId) {
        for node in &mut self.nodes {
            for input in node.inputs.iter_mut().flatten() {
                if *input == old {
                    *input = new;
                }
            }
        }
    }

    /// Puts the nodes into an order in which they can run, keeping the given one where it is legal.
    ///
    /// # Errors
    /// With a node that is part of a cycle.
    pub fn sort(&mut self) -> Result<(), NodeError> {
        let producers = self.producers();
        let consumers = self.consumers();
        let mut missing: Vec<usize> = self
            .nodes
            .iter()
            .map(|node| node.inputs.iter().flatten().filter(|v| producers[v.0].is_some()).count())
            .collect();
        // The lowest index first keeps a legal order as it is.
        let mut ready: std::collections::BTreeSet<usize> = (0..missing.len()).filter(|&i| missing[i] == 0).collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(i) = ready.pop_first() {
            order.push(i);
            for output in self.nodes[i].outputs.iter().flatten() {
                for consumer in &consumers[output.0] {
                    missing[consumer.0] -= 1;
                    if missing[consumer.0] == 0 {
                        ready.insert(consumer.0);
                    }
                }
            }
        }
        if order.len() < self.nodes.len() {
            let stuck = (0..missing.len()).find(|&i| missing[i] > 0).unwrap_or_default();
            return Err(NodeError::new(&self.nodes[stuck], "it needs its own output: the graph has a cycle"));
        }
        let mut nodes: Vec<Option<Node>> = std::mem::take(&mut self.nodes).into_iter().map(Some).collect();
        self.nodes = order.into_iter().filter_map(|i| nodes[i].take()).collect();
        Ok(())
    }

    /// Drops nodes of which no output is used, and values that nothing mentions. Ids of values change.
    pub fn drop_dead(&mut self) {
        let mut used = vec![false; self.values.len()];
        for output in &self.outputs {
            used[output.0] = true;
        }
        let mut kept = vec![];
        for node in std::mem::take(&mut self.nodes).into_iter().rev() {
            if node.outputs.iter().flatten().any(|v| used[v.0]) {
                for input in node.inputs.iter().flatten() {
                    used[input.0] = true;
                }
                kept.push(node);
            }
        }
        kept.reverse();
        for node in &mut kept {
            for output in &mut node.outputs {
                if output.is_some_and(|v| !used[v.0]) {
                    *output = None;
                }
            }
        }
        for input in &self.inputs {
            used[input.0] = true;
        }
        let mut renamed = vec![None; self.values.len()];
        let mut values = vec![];
        for (i, value) in std::mem::take(&mut self.values).into_iter().enumerate() {
            if used[i] {
                renamed[i] = Some(ValueId(values.len()));
                values.push(value);
            }
        }
        self.values = values;
        let rename = |id: &mut ValueId| {
            if let Some(new) = renamed[id.0] {
                *id = new;
            }
        };
        for node in &mut kept {
            node.inputs.iter_mut().chain(&mut node.outputs).flatten().for_each(rename);
        }
        self.inputs.iter_mut().chain(&mut self.outputs).for_each(rename);
        self.nodes = kept;
    }
}
