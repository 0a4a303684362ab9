//! Running a graph on the CPU.

use std::sync::Arc;

use super::Threads;
use super::reference::compute;
use crate::error::RunError;
use crate::graph::{Graph, NodeError, Value, ValueId};
use crate::tensor::Tensor;

/// What sessions of a graph on the CPU share.
#[derive(Debug)]
pub struct CpuPlan {
    graph: Arc<Graph>,
    /// For each node, the values that nobody needs after it.
    drops: Vec<Vec<ValueId>>,
}

/// The memory of one run at a time.
#[derive(Debug)]
pub struct CpuSession {
    plan: Arc<CpuPlan>,
    values: Vec<Option<Value>>,
    outputs: Vec<Tensor>,
}

impl CpuPlan {
    /// Makes a graph ready to run on these threads.
    pub fn new(graph: Arc<Graph>, threads: &Threads) -> Self {
        let _ = threads;
        let drops = drops(&graph);
        Self { graph, drops }
    }

    /// A session.
    pub fn session(self: &Arc<Self>) -> CpuSession {
        let values = self.graph.values.iter().map(|_| None).collect();
        CpuSession { plan: Arc::clone(self), values, outputs: vec![] }
    }
}

impl CpuSession {
    /// Runs the graph. `inputs` are those of the graph, in its order.
    ///
    /// # Errors
    /// [`RunError::Node`] with the first node that cannot be computed.
    pub fn run(&mut self, inputs: &[Option<Tensor>]) -> Result<(), RunError> {
        self.run_observed(inputs, &mut |_, _| ())
    }

    /// Runs the graph and shows every value that is computed.
    ///
    /// # Errors
    /// As [`CpuSession::run`].
    pub fn run_observed(
        &mut self,
        inputs: &[Option<Tensor>],
        observe: &mut dyn FnMut(ValueId, Tensor),
    ) -> Result<(), RunError> {
        let plan = Arc::clone(&self.plan);
        let graph = &*plan.graph;
        for (slot, info) in self.values.iter_mut().zip(&graph.values) {
            *slot = info.fact.as_ref().and_then(|f| f.constant.clone()).map(Value::Tensor);
        }
        for (&id, tensor) in graph.inputs.iter().zip(inputs) {
            self.values[id.0] = tensor.clone().map(Value::Tensor);
        }
        for id in graph.node_ids() {
            let node = graph.node(id);
            let results = compute(graph, node, &self.values)?;
            for (k, value) in results.into_iter().enumerate() {
                if let Some(output) = node.outputs.get(k).copied().flatten() {
                    let Value::Tensor(tensor) = &value;
                    observe(output, tensor.clone());
                    self.values[output.0] = Some(value);
                }
            }
            for &dead in &plan.drops[id.0] {
                self.values[dead.0] = None;
            }
        }
        self.outputs.clear();
        for &id in &graph.outputs {
            let missing = || NodeError {
                node: graph.value(id).name.clone(),
                operator: "output".to_owned(),
                message: "nothing computes it".to_owned(),
            };
            let Value::Tensor(tensor) = self.values[id.0].clone().ok_or_else(missing)?;
            self.outputs.push(tensor);
        }
        Ok(())
    }

    /// An output of the last run.
    pub fn output(&self, index: usize) -> Option<&Tensor> {
        self.outputs.get(index)
    }
}

/// For each node, the values that nobody needs after it.
fn drops(graph: &Graph) -> Vec<Vec<ValueId>> {
    let mut last = vec![None; graph.values.len()];
    for id in graph.node_ids() {
        let node = graph.node(id);
        for value in node.inputs.iter().chain(&node.outputs).flatten() {
            last[value.0] = Some(id);
        }
    }
    for output in &graph.outputs {
        last[output.0] = None;
    }
    let mut drops = vec![vec![]; graph.nodes.len()];
    for (i, node) in last.into_iter().enumerate() {
        if let Some(node) = node {
            drops[node.0].push(ValueId(i));
        }
    }
    drops
}
