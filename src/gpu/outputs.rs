//! Outputs that stay on the device, and runs that the application submits itself.

use super::program::{Op, Phase, Transfer};
use super::{GpuSession, GpuTensor};
use crate::error::RunError;
use crate::graph::ValueId;
use crate::tensor::Tensor;

impl GpuSession {
    /// Leaves an output on the device in all runs to come, instead of reading it back: [`GpuSession::device_output`] has
    /// it then.
    ///
    /// # Errors
    /// If the output is computed on the host or a host node reads it, or memory runs out.
    pub async fn keep(&mut self, output: ValueId) -> Result<(), RunError> {
        if self.kept.contains_key(&output) {
            return Ok(());
        }
        let tensor = self.room_for(output).await?;
        self.kept.insert(output, tensor);
        Ok(())
    }

    /// Whether [`GpuSession::keep`] can be asked for this output: the device computes it, and no host node reads it.
    pub fn can_keep(&self, output: ValueId) -> bool {
        self.constant_output(output).is_some() || self.download(output).is_ok()
    }

    /// Whether an output stays on the device.
    pub fn keeps(&self, output: ValueId) -> bool {
        self.kept.contains_key(&output)
    }

    /// An output that is the same in every run.
    fn constant_output(&self, output: ValueId) -> Option<&Tensor> {
        let graph = &self.engine().schedule().graph;
        graph.constant(output).filter(|_| graph.outputs.contains(&output))
    }

    /// Reads an output back again that [`GpuSession::keep`] left on the device, unless it is a state that stays where it is.
    pub fn release(&mut self, output: ValueId) {
        if self.held_output(output).is_none() {
            self.kept.remove(&output);
        }
    }

    /// An output that stays on the device. The next run writes over it: [`GpuSession::detach`] takes it out of its way.
    ///
    /// # Errors
    /// If the output does not stay on the device.
    pub fn device_output(&self, output: ValueId) -> Result<GpuTensor, RunError> {
        self.kept.get(&output).cloned().ok_or_else(|| {
            RunError::State(format!("output '{}' does not stay on the device: ask for it first", self.name(output)))
        })
    }

    /// An output of the last run, as a tensor on the device that no later run touches. Where it was read back it is
    /// brought there again: [`GpuSession::keep`] spares both ways.
    ///
    /// # Errors
    /// If there was no run yet, or memory runs out.
    pub async fn detach(&mut self, output: ValueId) -> Result<GpuTensor, RunError> {
        if let Some(held) = self.kept.get(&output).filter(|kept| self.holds(kept)) {
            let copy = held.read_async().await?;
            return GpuTensor::upload(self.engine().device(), &copy.view()).await;
        }
        if self.kept.contains_key(&output) {
            let fresh = self.room_for(output).await?;
            return self
                .kept
                .insert(output, fresh)
                .ok_or_else(|| RunError::State("there is no such output".to_owned()));
        }
        GpuTensor::upload(self.engine().device(), &self.get(output)?.view()).await
    }

    async fn room_for(&self, output: ValueId) -> Result<GpuTensor, RunError> {
        if let Some(constant) = self.constant_output(output) {
            return GpuTensor::upload(self.engine().device(), &constant.view()).await;
        }
        let transfer = self.download(output)?;
        let inner = self.engine().inner();
        let (storage, shape) = (inner.storage(transfer.slot), inner.shape(transfer.slot));
        Ok(GpuTensor::new(&inner.device, inner.element_type(output), storage, shape).await?)
    }

    /// The state that an output is, if it stays where it is.
    pub(super) fn held_output(&self, output: ValueId) -> Option<GpuTensor> {
        let schedule = self.engine().schedule();
        let held = schedule.held.iter().find(|held| schedule.graph.outputs.get(held.state.output) == Some(&output))?;
        self.held(output, held.buffer)
    }

    /// The state that an input is, if it stays where it is.
    pub(super) fn held_input(&self, input: ValueId) -> Option<GpuTensor> {
        let schedule = self.engine().schedule();
        let held = schedule.held.iter().find(|held| schedule.graph.inputs.get(held.state.input) == Some(&input))?;
        self.held(input, held.buffer)
    }

    fn held(&self, value: ValueId, buffer: usize) -> Option<GpuTensor> {
        let inner = self.engine().inner();
        let mut slots = inner.schedule.slots.iter().filter(|slot| slot.value == value);
        // Of nothing so far, nothing lies there.
        let slot = slots.clone().find(|slot| slot.region.buffer == buffer).or_else(|| slots.next())?;
        let buffer = self.needs.held.iter().find(|(index, _)| *index == buffer)?.1.clone();
        let element_type = inner.element_type(value);
        Some(GpuTensor::in_buffer(&inner.device, buffer, element_type, slot.storage, slot.shape.clone()))
    }

    /// Whether a tensor is a state that stays where it is, so that every run changes it.
    fn holds(&self, tensor: &GpuTensor) -> bool {
        self.needs.held.iter().any(|(_, buffer)| buffer == tensor.buffer())
    }

    /// The transfer by which an output would be read back.
    fn download(&self, output: ValueId) -> Result<Transfer, RunError> {
        let inner = self.engine().inner();
        let graph = &inner.schedule.graph;
        let by_host = inner.program.phases.iter().any(|phase| match phase {
            Phase::Host(node) => graph.node(*node).inputs.contains(&Some(output)),
            Phase::Device(_) => false,
        });
        let mut downloads = inner.program.segments.iter().flat_map(|s| &s.downloads);
        match downloads.find(|t| t.value == output) {
            Some(transfer) if graph.outputs.contains(&output) && !by_host => Ok(transfer.clone()),
            _ => Err(RunError::State(format!("output '{}' is computed or read by the host", self.name(output)))),
        }
    }

    /// Encodes one run into an encoder of the application's own, which it submits when it likes: inputs are taken from
    /// the device, outputs stay there.
    ///
    /// # Errors
    /// If there are host nodes, an input does not lie on the device, or an output does not stay there.
    pub fn encode(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), RunError> {
        self.engine().device().check()?;
        self.check_bound()?;
        let inner = self.engine().inner();
        if !inner.program.is_one_submission() {
            return Err(RunError::State(
                "the plan has nodes on the host, so that it is no single submission: `run` it".to_owned(),
            ));
        }
        let graph = &inner.schedule.graph;
        let missing = |input: &&ValueId| graph.constant(**input).is_none() && !self.comes_from_device(**input);
        if let Some(input) = graph.inputs.iter().find(missing) {
            let name = self.name(*input);
            return Err(RunError::State(format!("input '{name}' must lie on the device to be encoded")));
        }
        let mut downloads = inner.program.segments.iter().flat_map(|s| &s.downloads);
        if let Some(transfer) = downloads.find(|t| !self.kept.contains_key(&t.value)) {
            let name = self.name(transfer.value);
            return Err(RunError::State(format!("output '{name}' must stay on the device to be encoded")));
        }
        for index in 0..inner.program.segments.len() {
            self.encode_segment(index, encoder);
        }
        Ok(())
    }

    pub(super) fn name(&self, value: ValueId) -> &str {
        self.engine().schedule().graph.values.get(value.0).map_or("", |v| v.name.as_str())
    }

    /// Whether a segment's command is a dispatch.
    pub(super) const fn is_dispatch(op: Op) -> bool {
        matches!(op, Op::Dispatch(_))
    }
}
