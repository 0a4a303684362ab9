//! Dispatches run by themselves, without planner and session.

use std::sync::Arc;

use super::super::GpuDevice;
use super::super::elements;
use super::super::pipeline::Pipeline;
use super::super::wait::{Staging, Wait};
use crate::error::{DeviceError, RunError};
use crate::interrupt::Interrupt;
use crate::kernel::{Binding, Constant, Dispatch};

/// What a buffer holds before, and how much of it a kernel is given.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    pub bytes: Vec<u8>,
    pub bound: usize,
}

impl Memory {
    /// All of it is given.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bound: bytes.len(), bytes }
    }

    /// So many bytes that nobody has written.
    pub fn unwritten(bytes: u64) -> Self {
        Self::new(vec![0xff; usize::try_from(bytes).unwrap_or(0)])
    }
}

/// What dispatches bind.
#[derive(Debug, Default)]
pub(super) struct Bench {
    pub inputs: Vec<Option<Memory>>,
    /// None where it lies over an input.
    pub outputs: Vec<Option<Memory>>,
    pub scratch: Vec<Memory>,
    /// The input that output 0 is written over.
    pub over: Option<usize>,
}

fn fault(message: impl Into<String>) -> DeviceError {
    DeviceError::Refused { what: "a dispatch of the self-test".to_owned(), message: message.into() }
}

impl GpuDevice {
    /// Runs dispatches, each by its pipeline, and gives what the outputs hold then.
    ///
    /// # Errors
    /// What the device says.
    pub(super) async fn work(
        &self,
        dispatches: &[Dispatch],
        pipelines: &[Arc<Pipeline>],
        bench: &Bench,
    ) -> Result<Vec<Vec<u8>>, DeviceError> {
        let constants: Vec<Vec<Option<Memory>>> = dispatches
            .iter()
            .map(|dispatch| dispatch.bindings.iter().map(packed).collect::<Result<_, _>>())
            .collect::<Result<_, _>>()?;
        let outputs: Vec<&Memory> = (0..bench.outputs.len()).filter_map(|i| memory_of_output(bench, i)).collect();
        if outputs.len() != bench.outputs.len() || dispatches.len() != pipelines.len() {
            return Err(fault("an output has no memory"));
        }
        let size = |memory: &Memory| (memory.bytes.len().max(16) as u64).next_multiple_of(16);
        let made = self.guarded("the self-test", || {
            let lay = |memory: &Memory| {
                let usage = wgpu::BufferUsages::STORAGE
                    | wgpu::BufferUsages::UNIFORM
                    | wgpu::BufferUsages::COPY_SRC
                    | wgpu::BufferUsages::COPY_DST;
                let buffer = self.create_buffer("self-test", size(memory), usage, false);
                let mut bytes = memory.bytes.clone();
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                if !bytes.is_empty() {
                    self.write(&buffer, 0, &bytes);
                }
                (buffer, memory.bound)
            };
            let inputs: Vec<_> = bench.inputs.iter().map(|memory| memory.as_ref().map(lay)).collect();
            let given: Vec<_> = bench.outputs.iter().map(|memory| memory.as_ref().map(lay)).collect();
            let scratch: Vec<_> = bench.scratch.iter().map(lay).collect();
            let output = |i: usize| match (given.get(i), bench.over) {
                (Some(Some(own)), _) => Some(own),
                (Some(None), Some(over)) if i == 0 => inputs.get(over).and_then(Option::as_ref),
                _ => None,
            };
            let mut encoder = self.encoder();
            for ((dispatch, pipeline), constants) in dispatches.iter().zip(pipelines).zip(&constants) {
                let own = dispatch.params.iter().map(|(_, word)| word.bits());
                let bases =
                    pipeline.words.checked_sub(dispatch.params.len()).ok_or_else(|| fault("too many parameters"))?;
                let mut words: Vec<u32> = std::iter::repeat_n(0, bases).chain(own).collect();
                words.resize(words.len().next_multiple_of(4).max(4), 0);
                let params = lay(&Memory::new(bytemuck::cast_slice(&words).to_vec())).0;
                let constants: Vec<_> = constants.iter().map(|constant| constant.as_ref().map(lay)).collect();
                let mut entries = vec![];
                if pipeline.words > 0 {
                    entries.push(wgpu::BindGroupEntry { binding: 0, resource: params.as_entire_binding() });
                }
                for (i, buffer) in pipeline.buffers.iter().enumerate() {
                    let Some(binding) = buffer.binding else { continue };
                    let bound = match dispatch.bindings.get(i) {
                        Some(Binding::Input(k)) => inputs.get(*k).and_then(Option::as_ref),
                        Some(Binding::Output(k)) => output(*k),
                        Some(Binding::Scratch(k)) => scratch.get(*k),
                        Some(Binding::Constant(_)) => constants.get(i).and_then(Option::as_ref),
                        None => None,
                    };
                    let (buffer, bound) = bound.ok_or_else(|| fault("a buffer is missing"))?;
                    let size = wgpu::BufferSize::new((*bound as u64).max(16).next_multiple_of(16));
                    let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: 0, size });
                    entries.push(wgpu::BindGroupEntry { binding, resource });
                }
                let group = self.create_bind_group(&pipeline.layout, &entries);
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                pass.set_pipeline(&pipeline.pipeline);
                pass.set_bind_group(0, &group, &[]);
                let [x, y, z] = dispatch.workgroups;
                pass.dispatch_workgroups(x, y, z);
            }
            let staging = Staging::download(self, outputs.iter().map(|memory| size(memory)).sum());
            let mut at = 0;
            for (i, memory) in outputs.iter().enumerate() {
                let (buffer, _) = output(i).ok_or_else(|| fault("an output has no memory"))?;
                encoder.copy_buffer_to_buffer(buffer, 0, &staging.buffer, at, size(memory));
                at += size(memory);
            }
            let submission = self.submit([encoder.finish()]);
            staging.map();
            Ok::<_, DeviceError>((staging, submission))
        });
        let (staging, submission) = made.await??;
        // It takes a few milliseconds where it takes long: not worth a thread to wait for it.
        #[cfg(not(target_arch = "wasm32"))]
        let wait = Wait::blocking(self.patience(None), Interrupt::default());
        #[cfg(target_arch = "wasm32")]
        let wait = Wait::giving_back(Interrupt::default());
        self.settle(&staging, &submission, &wait).await.map_err(|error| match error {
            RunError::Device(error) => error,
            other => fault(other.to_string()),
        })?;
        let mut at = 0;
        outputs
            .iter()
            .map(|memory| {
                let start = at;
                at += size(memory);
                Ok(staging.read(start..at)?[..memory.bytes.len()].to_vec())
            })
            .collect()
    }
}

fn memory_of_output(bench: &Bench, i: usize) -> Option<&Memory> {
    match bench.outputs.get(i)? {
        Some(memory) => Some(memory),
        None => bench.inputs.get(bench.over.filter(|_| i == 0)?)?.as_ref(),
    }
}

/// A constant as it is bound.
fn packed(binding: &Binding) -> Result<Option<Memory>, DeviceError> {
    let Binding::Constant(constant) = binding else { return Ok(None) };
    let Constant { source, packing, parameters, storage, .. } = &**constant;
    let packed = (packing.pack)(source, parameters);
    let mut bytes = vec![];
    elements::store(packed.bytes(), packed.element_type(), *storage, |_, piece| bytes.extend_from_slice(piece))
        .map_err(|error| fault(error.to_string()))?;
    Ok(Some(Memory::new(bytes)))
}
