//! What comes back from the device, and what the host makes of it.

use super::GpuSession;
use crate::error::RunError;
use crate::gpu::elements;
use crate::gpu::engine::Engine;
use crate::gpu::wait::{Mapping, Wait};
use crate::graph::{Context, Inputs, NodeError, NodeId, Value, ValueId};
use crate::tensor::Tensor;

impl GpuSession {
    /// Waits for the segments that were submitted, and reads back what the host wants of them.
    pub(in crate::gpu) async fn collect(&mut self, wait: Wait) -> Result<(), RunError> {
        let engine = self.engine.clone();
        let inner = engine.inner();
        while let (Some(&index), Some(submission)) = (self.launched.first(), &self.submission) {
            if let Some(staging) = &self.crossings[index].download
                && staging.signal.get() != Mapping::Unmapped
            {
                inner.device.settle(staging, submission, wait).await?;
                let read = self.read_back(inner, index);
                if let Some(staging) = &self.crossings[index].download {
                    staging.unmap();
                }
                read?;
            }
            self.launched.remove(0);
        }
        Ok(())
    }

    fn read_back(&mut self, inner: &Engine, index: usize) -> Result<(), RunError> {
        let Some(staging) = &self.crossings[index].download else { return Ok(()) };
        for transfer in &inner.program.segments[index].downloads {
            if transfer.size == 0 || self.kept.contains_key(&transfer.value) || !self.wanted[transfer.value.0] {
                continue;
            }
            let Some(Value::Tensor(tensor)) = &mut self.values[transfer.value.0] else { continue };
            let view = staging.read(transfer.staging..transfer.staging + transfer.size)?;
            let (storage, element_type) = (inner.storage(transfer.slot), tensor.element_type());
            elements::load(&view, storage, element_type, tensor.overwrite())
                .map_err(|e| RunError::State(e.to_string()))?;
        }
        Ok(())
    }

    /// Runs a node on the host.
    pub(in crate::gpu) fn host(&mut self, id: NodeId) -> Result<(), RunError> {
        let schedule = self.engine.schedule();
        let node = schedule.graph.node(id);
        let inputs: Vec<Option<&Value>> =
            node.inputs.iter().map(|input| input.and_then(|value| self.values[value.0].as_ref())).collect();
        let outputs = node
            .operator
            .evaluate(&mut Context::default(), Inputs(&inputs))
            .map_err(|error| NodeError::new(node, error))?;
        for (value, output) in node.outputs.iter().zip(outputs) {
            if let Some(value) = value {
                self.values[value.0] = Some(output);
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
        let name = || self.engine.schedule().graph.values.get(output.0).map_or("", |v| v.name.as_str()).to_owned();
        if !self.launched.is_empty() {
            return Err(RunError::State("the run is not finished: wait for it first".to_owned()));
        }
        if self.kept.contains_key(&output) {
            return Err(RunError::State(format!("output '{}' stays on the device", name())));
        }
        match self.values.get(output.0) {
            Some(Some(value)) if self.wanted[output.0] => Ok(value),
            _ => Err(RunError::State(format!("'{}' is no output, or was not computed yet", name()))),
        }
    }
}
