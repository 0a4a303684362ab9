//! One use of an engine: its inputs, its runs, its outputs.

use std::collections::HashMap;
use std::fmt;
#[cfg(not(target_arch = "wasm32"))]
use std::time::Duration;

use super::bind::Memory;
use super::engine::Engine;
use super::program::{Op, Phase, Segment, Transfer};
use super::wait::{Mapping, Staging, Wait};
use super::{GpuEngine, GpuTensor, elements};
use crate::error::RunError;
use crate::graph::{Context, Inputs, NodeError, NodeId, Value, ValueId};
use crate::kernel::Storage;
use crate::plan::SlotId;
use crate::tensor::{ElementType, Tensor, TensorView};

/// Where an input's elements come from.
#[derive(Debug, Clone, Default)]
enum Source {
    /// It was not given yet.
    #[default]
    Missing,
    /// From the host: they lie in the staging buffers already.
    Host,
    /// From the device.
    Device(GpuTensor),
}

/// Memory that values cross in, for one segment.
#[derive(Debug)]
pub(super) struct Crossing {
    upload: Option<Staging>,
    pub download: Option<Staging>,
}

/// One use of an engine, with memory of its own. A run allocates nothing.
pub struct GpuSession {
    engine: GpuEngine,
    pub(super) memory: Memory,
    pub(super) crossings: Vec<Crossing>,
    /// By value: where inputs come from. Constants that the schedule uploads are on the device from the start.
    sources: HashMap<ValueId, Source>,
    /// By value: what the host has.
    values: Vec<Option<Value>>,
    /// By value: whether a host node reads it, or the application may.
    wanted: Vec<bool>,
    /// Outputs that stay on the device, and where.
    pub(super) kept: HashMap<ValueId, GpuTensor>,
    /// Segments that were submitted and not read back yet.
    launched: Vec<usize>,
    submission: Option<wgpu::SubmissionIndex>,
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) timeout: Duration,
}

impl GpuSession {
    /// Makes a session's buffers and bind groups.
    ///
    /// # Errors
    /// If memory runs out, or the device is lost.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(engine: &GpuEngine) -> Result<Self, RunError> {
        pollster::block_on(Self::new_async(engine))
    }

    /// [`GpuSession::new`], for callers that must not block.
    ///
    /// # Errors
    /// As [`GpuSession::new`].
    pub async fn new_async(engine: &GpuEngine) -> Result<Self, RunError> {
        let inner = engine.inner();
        let device = &inner.device;
        let graph = &inner.schedule.graph;
        let memory = Memory::new(inner).await?;
        let crossings = device
            .guarded("memory for reading and writing", || {
                let segments = inner.program.segments.iter();
                segments
                    .map(|segment| Crossing {
                        upload: (segment.upload_bytes > 0).then(|| Staging::upload(device, segment.upload_bytes)),
                        download: (segment.download_bytes > 0)
                            .then(|| Staging::download(device, segment.download_bytes)),
                    })
                    .collect()
            })
            .await?;
        let mut values: Vec<Option<Value>> = graph.values.iter().map(|_| None).collect();
        let mut wanted = vec![false; values.len()];
        let host_nodes = inner.program.phases.iter().filter_map(|phase| match phase {
            Phase::Host(node) => Some(graph.node(*node)),
            Phase::Device(_) => None,
        });
        let read = host_nodes.flat_map(|node| node.inputs.iter().flatten());
        for value in read.chain(&graph.outputs) {
            wanted[value.0] = true;
            values[value.0] = graph.constant(*value).cloned().map(Value::Tensor);
        }
        let mut sources = HashMap::new();
        for transfer in inner.program.segments.iter().flat_map(|s| &s.uploads) {
            if let Some(constant) = graph.constant(transfer.value) {
                let tensor = GpuTensor::stored(device, &constant.view(), inner.storage(transfer.slot)).await?;
                sources.insert(transfer.value, Source::Device(tensor));
            }
        }
        sources.extend(graph.inputs.iter().map(|&input| (input, Source::Missing)));
        // What is read back is made before the first run too.
        for transfer in inner.program.segments.iter().flat_map(|s| &s.downloads) {
            if wanted[transfer.value.0] && values[transfer.value.0].is_none() {
                let tensor = Tensor::zeros(inner.element_type(transfer.value), inner.shape(transfer.slot))?;
                values[transfer.value.0] = Some(tensor.into());
            }
        }
        Ok(Self {
            engine: engine.clone(),
            memory,
            launched: Vec::with_capacity(inner.program.segments.len()),
            crossings,
            sources,
            values,
            wanted,
            kept: HashMap::new(),
            submission: None,
            #[cfg(not(target_arch = "wasm32"))]
            timeout: Duration::from_secs(30),
        })
    }

    /// The engine.
    pub fn engine(&self) -> &GpuEngine {
        &self.engine
    }

    /// How long a blocking call waits for the device before it ends with [`DeviceError::Timeout`](crate::DeviceError::Timeout): 30 s unless set.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Gives an input from the host's memory. It stays given for all runs, until it is given again.
    ///
    /// # Errors
    /// If the value is no input, its type or shape are others, or an integer does not fit the storage.
    pub fn set(&mut self, input: ValueId, view: &TensorView<'_>) -> Result<(), RunError> {
        self.set_bytes(input, view.element_type(), view.shape(), view.bytes())
    }

    /// [`GpuSession::set`] with a tensor, of which no view need be made.
    ///
    /// # Errors
    /// As [`GpuSession::set`].
    pub fn set_tensor(&mut self, input: ValueId, tensor: &Tensor) -> Result<(), RunError> {
        self.set_bytes(input, tensor.element_type(), tensor.shape(), tensor.bytes())
    }

    fn set_bytes(
        &mut self,
        input: ValueId,
        element_type: ElementType,
        shape: &[usize],
        bytes: &[u8],
    ) -> Result<(), RunError> {
        self.check_input(input, element_type, shape)?;
        self.reclaim()?;
        let inner = self.engine.inner();
        for (segment, crossing) in inner.program.segments.iter().zip(&self.crossings) {
            for transfer in segment.uploads.iter().filter(|t| t.value == input) {
                write(inner, crossing, transfer, element_type, bytes)?;
            }
        }
        if self.wanted[input.0] {
            let held = &mut self.values[input.0];
            if !matches!(held, Some(Value::Tensor(tensor)) if tensor.shape() == shape) {
                *held = Some(Tensor::zeros(element_type, shape)?.into());
            }
            if let Some(Value::Tensor(tensor)) = held {
                tensor.overwrite().copy_from_slice(bytes);
            }
        }
        self.sources.insert(input, Source::Host);
        Ok(())
    }

    /// Gives an input that lies on the device already. It is copied from there in every run, until it is given again.
    ///
    /// # Errors
    /// If the value is no input, its type, storage or shape are others, it is another device's, a host node reads it, or
    /// its buffer lacks the usage `COPY_SRC`.
    pub fn set_device(&mut self, input: ValueId, tensor: &GpuTensor) -> Result<(), RunError> {
        self.check_input(input, tensor.element_type(), tensor.shape())?;
        let name = || &self.engine.schedule().graph.value(input).name;
        if !tensor.device().is_same(self.engine.device()) {
            return Err(RunError::State(format!("input '{}' lies on another device", name())));
        }
        if self.wanted[input.0] {
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
        self.sources.insert(input, Source::Device(tensor.clone()));
        Ok(())
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

    /// Takes the upload buffers back from an earlier run, so that inputs can be written.
    fn reclaim(&mut self) -> Result<(), RunError> {
        #[cfg(not(target_arch = "wasm32"))]
        return super::wait::now(self.settle_all(Wait::Block(self.timeout)));
        #[cfg(target_arch = "wasm32")]
        return match self.crossings.iter().flat_map(|c| &c.upload).all(|s| s.signal.get() == Mapping::Mapped) {
            true => Ok(()),
            false => Err(RunError::State("the session is still running: await it before giving inputs".to_owned())),
        };
    }

    /// Runs, and waits for the outputs.
    ///
    /// # Errors
    /// If an input is missing, a host node fails, or the device does or takes too long.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run(&mut self) -> Result<(), RunError> {
        super::wait::now(self.drive(Wait::Block(self.timeout)))
    }

    /// [`GpuSession::run`], for callers that must not block. The future needs no runtime; where it is dropped, the work
    /// goes on, and the next run waits for it.
    ///
    /// # Errors
    /// As [`GpuSession::run`].
    pub async fn run_async(&mut self) -> Result<(), RunError> {
        self.drive(Wait::Async).await
    }

    /// Hands a run to the device without waiting for its end: [`GpuSession::finish`] does. Where host nodes stand
    /// between, it waits for what these read.
    ///
    /// # Errors
    /// As [`GpuSession::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn submit(&mut self) -> Result<(), RunError> {
        super::wait::now(self.start(Wait::Block(self.timeout)))
    }

    /// [`GpuSession::submit`], for callers that must not block.
    ///
    /// # Errors
    /// As [`GpuSession::run`].
    pub async fn submit_async(&mut self) -> Result<(), RunError> {
        self.start(Wait::Async).await
    }

    /// Waits for a run that was submitted.
    ///
    /// # Errors
    /// If the device fails or takes too long.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn finish(&mut self) -> Result<(), RunError> {
        super::wait::now(self.collect(Wait::Block(self.timeout)))
    }

    /// [`GpuSession::finish`], for callers that must not block.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn finish_async(&mut self) -> Result<(), RunError> {
        self.collect(Wait::Async).await
    }

    async fn drive(&mut self, wait: Wait) -> Result<(), RunError> {
        self.start(wait).await?;
        self.collect(wait).await
    }

    /// Submits all segments, running the host nodes between them.
    async fn start(&mut self, wait: Wait) -> Result<(), RunError> {
        self.prepare(wait).await?;
        let engine = self.engine.clone();
        for phase in &engine.inner().program.phases {
            match *phase {
                Phase::Host(node) => {
                    self.collect(wait).await?;
                    self.host(node)?;
                }
                Phase::Device(segment) => self.launch(segment).await?,
            }
        }
        Ok(())
    }

    /// What precedes every run: the one before is over, and all inputs are there.
    pub(super) async fn prepare(&mut self, wait: Wait) -> Result<(), RunError> {
        self.engine.device().check()?;
        self.settle_all(wait).await?;
        let graph = &self.engine.schedule().graph;
        match graph.inputs.iter().find(|&input| matches!(self.sources.get(input), None | Some(Source::Missing))) {
            None => Ok(()),
            Some(missing) => Err(RunError::MissingInput(graph.value(*missing).name.clone())),
        }
    }

    /// Ends whatever is under way.
    async fn settle_all(&mut self, wait: Wait) -> Result<(), RunError> {
        self.collect(wait).await?;
        if let Some(submission) = &self.submission {
            for staging in self.crossings.iter().flat_map(|c| &c.upload) {
                self.engine.device().settle(staging, submission, wait).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn launch(&mut self, index: usize) -> Result<(), RunError> {
        self.stage(index)?;
        let device = self.engine.device();
        let submission = device
            .guarded("a run", || {
                let mut encoder = device.encoder();
                self.encode_segment(index, &mut encoder);
                self.send(index, encoder)
            })
            .await?;
        self.launched(index, submission);
        Ok(())
    }

    /// Notes that a segment is under way.
    pub(super) fn launched(&mut self, index: usize, submission: wgpu::SubmissionIndex) {
        self.submission = Some(submission);
        self.launched.push(index);
    }

    /// Gives a segment's upload buffer to the device before it is submitted bit by bit.
    pub(super) fn unmap_upload(&self, index: usize) {
        self.crossings[index].upload.iter().for_each(Staging::unmap);
    }

    pub(super) fn comes_from_device(&self, input: ValueId) -> bool {
        matches!(self.sources.get(&input), Some(Source::Device(_)))
    }

    /// Submits what was encoded of a segment, and asks for its staging buffers back.
    pub(super) fn send(&self, index: usize, encoder: wgpu::CommandEncoder) -> wgpu::SubmissionIndex {
        let crossing = &self.crossings[index];
        crossing.upload.iter().for_each(Staging::unmap);
        let submission = self.engine.device().queue().submit([encoder.finish()]);
        crossing.upload.iter().for_each(Staging::map);
        if self.reads_back(index) {
            crossing.download.iter().for_each(Staging::map);
        }
        submission
    }

    /// Whether the host reads anything of a segment.
    fn reads_back(&self, index: usize) -> bool {
        let downloads = &self.engine.inner().program.segments[index].downloads;
        downloads.iter().any(|t| t.size > 0 && !self.kept.contains_key(&t.value))
    }

    /// Writes what the host computed to a segment's upload buffer.
    pub(super) fn stage(&self, index: usize) -> Result<(), RunError> {
        let inner = self.engine.inner();
        for transfer in &inner.program.segments[index].uploads {
            // Inputs were written when they were given.
            if !self.sources.contains_key(&transfer.value)
                && let Some(Value::Tensor(tensor)) = &self.values[transfer.value.0]
            {
                write(inner, &self.crossings[index], transfer, tensor.element_type(), tensor.bytes())?;
            }
        }
        Ok(())
    }

    /// Encodes a segment: copies to the device, one compute pass, copies from it.
    pub(super) fn encode_segment(&self, index: usize, encoder: &mut wgpu::CommandEncoder) {
        let segment = &self.engine.inner().program.segments[index];
        let mut rest = segment.ops.as_slice();
        while let Some(&op) = rest.first() {
            let passes = rest.iter().take_while(|op| matches!(op, Op::Dispatch(_))).count();
            if passes == 0 {
                self.encode_copy(index, op, encoder);
                rest = &rest[1..];
                continue;
            }
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for op in &rest[..passes] {
                self.encode_dispatch(*op, &mut pass);
            }
            rest = &rest[passes..];
        }
    }

    pub(super) fn encode_dispatch(&self, op: Op, pass: &mut wgpu::ComputePass<'_>) {
        if let Op::Dispatch(step) = op
            && let Some(prepared) = &self.memory.dispatches[step]
        {
            let [x, y, z] = prepared.workgroups;
            pass.set_pipeline(&prepared.pipeline.pipeline);
            pass.set_bind_group(0, &prepared.group, &[]);
            pass.dispatch_workgroups(x, y, z);
        }
    }

    pub(super) fn encode_copy(&self, index: usize, op: Op, encoder: &mut wgpu::CommandEncoder) {
        let inner = self.engine.inner();
        let (segment, crossing): (&Segment, _) = (&inner.program.segments[index], &self.crossings[index]);
        match op {
            Op::Dispatch(_) => {}
            Op::Upload(i) => {
                let transfer = &segment.uploads[i];
                let region = inner.schedule.slots[transfer.slot.0].region;
                let to = &self.memory.buffers[region.buffer];
                match (self.sources.get(&transfer.value), &crossing.upload) {
                    _ if transfer.size == 0 => {}
                    (Some(Source::Device(tensor)), _) => {
                        let size = tensor.bytes().unwrap_or(0).min(transfer.size);
                        encoder.copy_buffer_to_buffer(tensor.buffer(), tensor.offset(), to, region.offset, size);
                    }
                    (_, Some(staging)) => {
                        let (from, size) = (&staging.buffer, transfer.size);
                        encoder.copy_buffer_to_buffer(from, transfer.staging, to, region.offset, size);
                    }
                    (_, None) => {}
                }
            }
            Op::Download(i) => {
                let transfer = &segment.downloads[i];
                let region = inner.schedule.slots[transfer.slot.0].region;
                let from = &self.memory.buffers[region.buffer];
                match (self.kept.get(&transfer.value), &crossing.download) {
                    _ if transfer.size == 0 => {}
                    (Some(kept), _) => {
                        let size = kept.bytes().unwrap_or(0).min(transfer.size);
                        encoder.copy_buffer_to_buffer(from, region.offset, kept.buffer(), kept.offset(), size);
                    }
                    (None, Some(staging)) => {
                        let (to, size) = (&staging.buffer, transfer.size);
                        encoder.copy_buffer_to_buffer(from, region.offset, to, transfer.staging, size);
                    }
                    (None, None) => {}
                }
            }
        }
    }

    /// Waits for the segments that were submitted, and reads back what the host wants of them.
    pub(super) async fn collect(&mut self, wait: Wait) -> Result<(), RunError> {
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
    pub(super) fn host(&mut self, id: NodeId) -> Result<(), RunError> {
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

    /// An output of the last run, if it was read back.
    ///
    /// # Errors
    /// If there was no run yet, or the output stays on the device.
    pub fn get(&self, output: ValueId) -> Result<&Tensor, RunError> {
        let name = || self.engine.schedule().graph.values.get(output.0).map_or("", |v| v.name.as_str()).to_owned();
        if !self.launched.is_empty() {
            return Err(RunError::State("the run is not finished: wait for it first".to_owned()));
        }
        if self.kept.contains_key(&output) {
            return Err(RunError::State(format!("output '{}' stays on the device", name())));
        }
        match self.values.get(output.0) {
            Some(Some(Value::Tensor(tensor))) if self.wanted[output.0] => Ok(tensor),
            _ => Err(RunError::State(format!("'{}' is no output, or was not computed yet", name()))),
        }
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

impl Engine {
    pub fn storage(&self, slot: SlotId) -> Storage {
        self.schedule.slots[slot.0].storage
    }

    pub fn shape(&self, slot: SlotId) -> Vec<usize> {
        self.schedule.slots[slot.0].shape.clone()
    }

    /// The type of a value, which is known where it lies on the device.
    pub fn element_type(&self, value: ValueId) -> ElementType {
        self.schedule.graph.fact(value).map_or(ElementType::F32, |fact| fact.element_type)
    }
}

impl fmt::Debug for GpuSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GpuSession({:?})", self.engine)
    }
}
