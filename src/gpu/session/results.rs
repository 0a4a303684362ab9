//! What comes back from the device, and what the host makes of it.

use super::GpuSession;
use crate::error::RunError;
use crate::gpu::wait::Wait;
use crate::graph::{Inputs, NodeError, NodeId, Value, ValueId};
use crate::tensor::Tensor;

impl GpuSession {
    /// Waits for the segments that were submitted, and reads back what the host wants of them.
    pub(in crate::gpu) async fn collect(&mut self, wait: &Wait) -> Result<(), RunError> {
        self.frame.collect(self.engine.inner(), wait).await
    }

    /// Runs a node on the host.
    pub(in crate::gpu) fn host(&mut self, id: NodeId) -> Result<(), RunError> {
        let schedule = self.engine.schedule().clone();
        let node = schedule.graph.node(id);
        let inputs: Vec<Option<&Value>> =
            node.inputs.iter().map(|input| input.and_then(|value| self.frame.values[value.0].as_ref())).collect();
        schedule.graph.node_within(node, Inputs(&inputs), &self.host.limits)?;
        let outputs = self.host.evaluate(|context| node.operator.compute(context, Inputs(&inputs)));
        if outputs.is_err() {
            // A body may have failed with the device, which says more.
            self.engine.device().check()?;
            self.host.interrupt.check()?;
        }
        let outputs = outputs.map_err(|error| NodeError::evaluation(node, error))?;
        for (value, output) in node.outputs.iter().zip(outputs) {
            if let Some(value) = value {
                self.frame.values[value.0] = Some(output);
            }
        }
        Ok(())
    }

    /// An output of the last run that is a tensor, if it was read back.
    ///
    /// # Errors
    /// If there was no run yet, the output stays on the device, or it is no tensor.
    pub fn get(&self, output: ValueId) -> Result<&Tensor, RunError> {
        let value = self.value(output)?;
        value.as_tensor().ok_or_else(|| RunError::State(format!("the output is no tensor but {}", value.value_type())))
    }

    /// An output of the last run, if it was read back or computed on the host.
    ///
    /// # Errors
    /// If there was no run yet, or the output stays on the device.
    pub fn value(&self, output: ValueId) -> Result<&Value, RunError> {
        self.frame.value(self.engine.inner(), output)
    }
}
