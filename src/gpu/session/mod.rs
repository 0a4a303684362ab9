//! One use of an engine: its inputs, its runs, its outputs.

mod encode;
mod inputs;
mod results;

use std::collections::HashMap;
use std::fmt;
#[cfg(not(target_arch = "wasm32"))]
use std::time::Duration;

use super::bind::Memory;
use super::engine::Engine;
use super::program::Phase;
#[cfg(target_arch = "wasm32")]
use super::wait::Mapping;
use super::wait::{Staging, Wait};
use super::{GpuEngine, GpuTensor};
use crate::error::RunError;
use crate::graph::{Value, ValueId};
use crate::kernel::Storage;
use crate::plan::SlotId;
use crate::tensor::{ElementType, Tensor};

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
        // An input that the plan takes for a constant is given already.
        let open = graph.inputs.iter().filter(|&&input| graph.constant(input).is_none());
        sources.extend(open.map(|&input| (input, Source::Missing)));
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
        match graph.inputs.iter().find(|&input| matches!(self.sources.get(input), Some(Source::Missing))) {
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
