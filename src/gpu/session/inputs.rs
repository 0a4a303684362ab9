//! The inputs of a session: checked, and brought to the memory from which the device takes them.

use std::sync::Arc;

use super::frame::Crossing;
use super::{GpuSession, Source};
use crate::error::RunError;
use crate::gpu::engine::Engine;
use crate::gpu::program::Transfer;
use crate::gpu::{GpuTensor, PictureInput, elements};
use crate::graph::{Value, ValueId};
use crate::tensor::{ElementType, Tensor, TensorView};

impl GpuSession {
    /// Gives an input from the host's memory. It stays given for all runs, until it is given again or a run with it is
    /// [submitted](GpuSession::submit).
    ///
    /// # Errors
    /// If the value is no input, its type or shape are others, or an integer does not fit the storage.
    pub fn set(&mut self, input: ValueId, view: &TensorView<'_>) -> Result<(), RunError> {
        let (element_type, shape) = (view.element_type(), view.shape());
        self.check_input(input, element_type, shape)?;
        if let Some(constant) = self.engine.schedule().graph.constant(input) {
            // Texts have no bytes.
            let texts = element_type != ElementType::String || *constant == view.to_tensor();
            return match texts && constant.bytes() == view.bytes() {
                true => Ok(()),
                false => Err(self.other_parameter(input)),
            };
        }
        if let Some(state) = self.held_input(input) {
            state.write(view)?;
            self.sources.insert(input, Source::Device(state));
            return Ok(());
        }
        self.reclaim()?;
        let inner = self.engine.inner();
        for (segment, crossing) in inner.program.segments.iter().zip(&self.frame.crossings) {
            for transfer in segment.uploads.iter().filter(|t| t.value == input) {
                write(inner, crossing, transfer, element_type, view.bytes())?;
            }
        }
        if self.engine.inner().wanted[input.0] {
            let held = &mut self.frame.values[input.0];
            if !matches!(held, Some(Value::Tensor(tensor)) if tensor.shape() == shape) {
                *held = Some(Tensor::zeros(element_type, shape)?.into());
            }
            if let Some(Value::Tensor(tensor)) = held {
                tensor.copy_from(view);
            }
        }
        self.sources.insert(input, Source::Host);
        Ok(())
    }

    /// [`GpuSession::set`] with any value: what is no tensor stays on the host.
    ///
    /// # Errors
    /// As [`GpuSession::set`]; if the input is of another kind.
    pub fn set_value(&mut self, input: ValueId, value: &Value) -> Result<(), RunError> {
        if let Value::Tensor(tensor) = value {
            return self.set_tensor(input, tensor);
        }
        let graph = &self.engine.schedule().graph;
        let info = graph.inputs.contains(&input).then(|| graph.value(input));
        let info = info.ok_or_else(|| RunError::State("there is no such input".to_owned()))?;
        let found = value.value_type();
        if info.declared.as_ref() != Some(&found) {
            let wanted = info.declared.as_ref().map_or_else(|| "a tensor".to_owned(), ToString::to_string);
            return Err(RunError::InputKind { name: info.name.clone(), wanted, found: found.to_string() });
        }
        self.reclaim()?;
        self.frame.values[input.0] = Some(value.clone());
        self.sources.insert(input, Source::Host);
        Ok(())
    }

    /// [`GpuSession::set`] with a tensor, of which no view need be made.
    ///
    /// # Errors
    /// As [`GpuSession::set`].
    pub fn set_tensor(&mut self, input: ValueId, tensor: &Tensor) -> Result<(), RunError> {
        self.set(input, &tensor.view())
    }

    /// Gives an input that lies on the device already. It is copied from there in every run, until it is given again.
    ///
    /// # Errors
    /// If the value is no input, its type, storage or shape are others, it is another device's, a host node reads it, or
    /// its buffer lacks the usage `COPY_SRC`.
    pub fn set_device(&mut self, input: ValueId, tensor: &GpuTensor) -> Result<(), RunError> {
        self.takes(input, tensor)?;
        self.sources.insert(input, Source::Device(tensor.clone()));
        Ok(())
    }

    /// Gives an input that every run makes of a picture on the device first, as the picture is then.
    ///
    /// # Errors
    /// As [`GpuSession::set_device`] of its tensor.
    pub fn set_picture(&mut self, input: ValueId, picture: &Arc<PictureInput>) -> Result<(), RunError> {
        self.takes(input, picture.tensor())?;
        self.sources.insert(input, Source::Picture(Arc::clone(picture)));
        Ok(())
    }

    /// Whether [`GpuSession::set_device`] takes a tensor.
    ///
    /// # Errors
    /// As [`GpuSession::set_device`].
    pub(crate) fn takes(&self, input: ValueId, tensor: &GpuTensor) -> Result<(), RunError> {
        self.check_input(input, tensor.element_type(), tensor.shape())?;
        if self.engine.schedule().graph.constant(input).is_some() {
            return Err(self.other_parameter(input));
        }
        let name = || &self.engine.schedule().graph.value(input).name;
        if !tensor.device().is_same(self.engine.device()) {
            return Err(RunError::State(format!("input '{}' lies on another device", name())));
        }
        if self.engine.inner().wanted[input.0] {
            return Err(RunError::State(format!("input '{}' is read by the host: give it from there", name())));
        }
        if !tensor.buffer().usage().contains(wgpu::BufferUsages::COPY_SRC) {
            return Err(RunError::State(format!("the buffer of input '{}' lacks the usage COPY_SRC", name())));
        }
        let inner = self.engine.inner();
        let uploads = inner.program.segments.iter().flat_map(|s| &s.uploads).filter(|t| t.value == input);
        for storage in uploads.map(|t| inner.storage(t.slot)) {
            if storage != tensor.storage() {
                return Err(RunError::State(format!(
                    "input '{}' is stored as {storage:?} in this plan, but was given as {:?}",
                    name(),
                    tensor.storage()
                )));
            }
        }
        Ok(())
    }

    /// Whether an input may lie on the device: no node on the host reads it, and the plan does not take it for a constant.
    pub fn can_take(&self, input: ValueId) -> bool {
        let inner = self.engine.inner();
        inner.schedule.graph.constant(input).is_none() && inner.wanted.get(input.0) == Some(&false)
    }

    fn other_parameter(&self, input: ValueId) -> RunError {
        let name = &self.engine.schedule().graph.value(input).name;
        RunError::State(format!("the plan was made for one content of input '{name}', and this is another"))
    }

    fn check_input(&self, input: ValueId, element_type: ElementType, shape: &[usize]) -> Result<(), RunError> {
        let graph = &self.engine.schedule().graph;
        let fact = graph.inputs.contains(&input).then(|| graph.fact(input)).flatten();
        let fact = fact.ok_or_else(|| RunError::State("there is no such input".to_owned()))?;
        let name = &graph.value(input).name;
        if fact.element_type != element_type {
            return Err(RunError::InputType { name: name.clone(), wanted: fact.element_type, found: element_type });
        }
        let fits = fact.shape.len() == shape.len()
            && fact.shape.iter().zip(shape).all(|(wanted, found)| wanted.size() == Some(*found));
        match fits {
            true => Ok(()),
            false => Err(RunError::InputShape { name: name.clone(), wanted: fact.to_string(), found: shape.to_vec() }),
        }
    }

    /// Writes what the host computed to a segment's upload buffer.
    pub(in crate::gpu) fn stage(&self, index: usize) -> Result<(), RunError> {
        let inner = self.engine.inner();
        for transfer in &inner.program.segments[index].uploads {
            // Inputs were written when they were given.
            if !self.sources.contains_key(&transfer.value)
                && let Some(Value::Tensor(tensor)) = &self.frame.values[transfer.value.0]
            {
                write(inner, &self.frame.crossings[index], transfer, tensor.element_type(), tensor.bytes())?;
            }
        }
        Ok(())
    }

    pub(in crate::gpu) fn comes_from_device(&self, input: ValueId) -> bool {
        matches!(self.sources.get(&input), Some(Source::Device(_) | Source::Picture(_)))
    }
}

/// Stored elements into a segment's upload buffer.
fn write(
    inner: &Engine,
    crossing: &Crossing,
    transfer: &Transfer,
    element_type: ElementType,
    bytes: &[u8],
) -> Result<(), RunError> {
    let Some(staging) = crossing.upload.as_ref().filter(|_| transfer.size > 0) else { return Ok(()) };
    let name = &inner.schedule.graph.value(transfer.value).name;
    let storage = inner.storage(transfer.slot);
    let elements = (bytes.len() / element_type.size()) as u64;
    if elements.div_ceil(4).saturating_mul(storage.unit_bytes()) != transfer.size {
        return Err(RunError::State(format!("'{name}' has {elements} elements, for which there is no room")));
    }
    let mut view = staging.write(transfer.staging..transfer.staging + transfer.size)?;
    elements::store(bytes, element_type, storage, |offset, piece| {
        view.slice(offset..offset + piece.len()).copy_from_slice(piece);
    })
    .map_err(|error| RunError::State(format!("'{name}' cannot be brought to the GPU: {error}")))
}
