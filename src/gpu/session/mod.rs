//! One use of an engine: its inputs, its runs, its outputs.

mod encode;
mod frame;
mod inputs;
mod memory;
mod pending;
mod results;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
#[cfg(not(target_arch = "wasm32"))]
use std::time::Duration;

use super::bind::Memory;
use super::engine::Engine;
use super::program::Phase;
use super::values::ValueBuffers;
use super::wait::{Signal, Staging, Wait};
use super::{GpuEngine, GpuTensor, PictureInput};
use crate::error::RunError;
use crate::graph::{Host, ValueId};
use crate::interrupt::Interrupt;
use crate::kernel::Storage;
use crate::plan::SlotId;
use crate::tensor::ElementType;
use frame::Frame;
use memory::Needs;
pub use pending::GpuPending;
use pending::Spare;

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
    /// From a picture there, of which each run makes a tensor first.
    Picture(Arc<PictureInput>),
}

/// One use of an engine. A run allocates nothing.
pub struct GpuSession {
    engine: GpuEngine,
    pub(super) needs: Needs,
    /// There unless the memory was let go of.
    pub(super) memory: Option<Memory>,
    /// The run to come, or the last one.
    pub(super) frame: Frame,
    /// Frames of earlier runs, which others may take.
    spare: Spare,
    /// By value: where inputs come from. Constants that the schedule uploads are on the device from the start.
    sources: HashMap<ValueId, Source>,
    /// Outputs that stay on the device, and where.
    pub(super) kept: HashMap<ValueId, GpuTensor>,
    /// What nodes on the host may use.
    pub(crate) host: Host,
    /// What may end the run to come.
    pub(crate) interrupt: Interrupt,
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) timeout: Option<Duration>,
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
        let mut session = Self::with_states(engine, &[]).await?;
        session.bind(&mut ValueBuffers::default()).await?;
        Ok(session)
    }

    /// [`GpuSession::new_async`] without memory for values, and whose states lie in these tensors, in the order of
    /// [`Schedule::held`](crate::plan::Schedule), where they are given.
    pub(crate) async fn with_states(engine: &GpuEngine, states: &[GpuTensor]) -> Result<Self, RunError> {
        let inner = engine.inner();
        let device = &inner.device;
        let graph = &inner.schedule.graph;
        let held = inner.schedule.held.iter().zip(states).map(|(held, state)| (held.buffer, state.buffer().clone()));
        let needs = Needs::new(inner, held.collect()).await?;
        let frame = Frame::new(inner).await?;
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
        let mut session = Self {
            engine: engine.clone(),
            needs,
            memory: None,
            frame,
            spare: Spare::default(),
            sources,
            kept: HashMap::new(),
            host: Host::default(),
            interrupt: Interrupt::default(),
            #[cfg(not(target_arch = "wasm32"))]
            timeout: None,
        };
        let outputs = inner.schedule.held.iter().filter_map(|held| graph.outputs.get(held.state.output).copied());
        let kept = outputs.filter_map(|output| Some((output, session.held_output(output)?))).collect();
        session.kept = kept;
        Ok(session)
    }

    /// The engine.
    pub fn engine(&self) -> &GpuEngine {
        &self.engine
    }

    /// How long a blocking call waits for the device before it ends with
    /// [`DeviceError::Timeout`](crate::DeviceError::Timeout): 30 s unless set, and 10 s more for each pipeline that was made
    /// since the device last answered, since a driver may finish those in the first run.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = Some(timeout);
    }

    /// Brings a tensor to the host, waiting as long as for a run.
    ///
    /// # Errors
    /// If the device fails or takes too long.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(&self, tensor: &GpuTensor) -> Result<crate::tensor::Tensor, RunError> {
        tensor.read_within(&self.bound())
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn bound(&self) -> Wait {
        Wait::blocking(self.engine.inner().patience(self.timeout), self.interrupt.clone())
    }

    /// How a run waits whose caller must not block.
    pub(super) fn giving_back(&self) -> Wait {
        #[cfg(not(target_arch = "wasm32"))]
        return Wait::giving_back(self.engine.inner().patience(self.timeout), self.interrupt.clone());
        #[cfg(target_arch = "wasm32")]
        Wait::giving_back(self.interrupt.clone())
    }

    /// Whether the application has set a bound for waits of its own, whose end means nothing but that.
    pub(crate) const fn is_timed(&self) -> bool {
        #[cfg(not(target_arch = "wasm32"))]
        return self.timeout.is_some();
        #[cfg(target_arch = "wasm32")]
        false
    }

    /// Takes the upload buffers back from an earlier run, so that inputs can be written.
    fn reclaim(&mut self) -> Result<(), RunError> {
        #[cfg(not(target_arch = "wasm32"))]
        return super::wait::now(self.frame.reclaim(self.engine.inner(), &self.bound()));
        #[cfg(target_arch = "wasm32")]
        return match !self.frame.is_under_way() && self.frame.is_settled() {
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
        let wait = self.bound();
        super::wait::now(self.drive(&wait))
    }

    /// [`GpuSession::run`], for callers that must not block. The future needs no runtime; where it is dropped, the work
    /// goes on, and the next run waits for it.
    ///
    /// # Errors
    /// As [`GpuSession::run`].
    pub async fn run_async(&mut self) -> Result<(), RunError> {
        let wait = self.giving_back();
        self.drive(&wait).await
    }

    async fn drive(&mut self, wait: &Wait) -> Result<(), RunError> {
        self.start(wait).await?;
        if !self.frame.is_read_back() {
            // Nobody waits for an answer: a device that was lost says so when it is asked, and not when it is given work.
            let device = self.engine.device();
            device.poll(wgpu::PollType::Poll)?;
            device.check()?;
        }
        self.collect(wait).await?;
        self.frame.complete = true;
        Ok(())
    }

    /// Submits all segments, running the host nodes between them.
    async fn start(&mut self, wait: &Wait) -> Result<(), RunError> {
        self.prepare(wait).await?;
        let engine = self.engine.clone();
        for phase in &engine.inner().program.phases {
            wait.interrupt.check()?;
            match *phase {
                Phase::Host(node) => {
                    self.collect(wait).await?;
                    self.host(node)?;
                }
                Phase::Device(segment) => self.launch(segment, wait).await?,
            }
        }
        Ok(())
    }

    /// What precedes every run: the one before is over, and all inputs are there.
    pub(super) async fn prepare(&mut self, wait: &Wait) -> Result<(), RunError> {
        self.engine.device().check()?;
        self.check_bound()?;
        self.frame.reclaim(self.engine.inner(), wait).await?;
        self.frame.begin(self.kept.keys().copied());
        let graph = &self.engine.schedule().graph;
        match graph.inputs.iter().find(|&input| matches!(self.sources.get(input), Some(Source::Missing))) {
            None => Ok(()),
            Some(missing) => Err(RunError::MissingInput(graph.value(*missing).name.clone())),
        }
    }

    pub(super) async fn launch(&mut self, index: usize, wait: &Wait) -> Result<(), RunError> {
        self.stage(index)?;
        if wait.interrupt.is_possible() && self.engine.inner().program.segments[index].short_ends.len() > 1 {
            return self.launch_in_parts(index, wait).await;
        }
        let device = self.engine.device();
        let submission = device
            .guarded("a run", || {
                let inner = self.engine.inner();
                let mut from = 0;
                // Each part is computed while the next is encoded.
                let parts = inner.program.segments[index].ends.iter().map(|&end| {
                    let mut encoder = device.encoder();
                    self.encode_part(index, from..end, &mut encoder);
                    from = end;
                    encoder
                });
                self.frame.send(inner, index, parts)
            })
            .await?;
        self.frame.launched(index, submission);
        Ok(())
    }

    /// [`GpuSession::launch`] of a run that may be interrupted: the device has two short submissions at most before it, the one
    /// that it computes and the next.
    async fn launch_in_parts(&mut self, index: usize, wait: &Wait) -> Result<(), RunError> {
        let engine = self.engine.clone();
        let (device, ends) = (engine.device(), &engine.inner().program.segments[index].short_ends);
        let mut before: Option<(Arc<Signal>, wgpu::SubmissionIndex)> = None;
        let mut from = 0;
        for (part, &end) in ends.iter().enumerate() {
            let is_last = part + 1 == ends.len();
            let submission = device
                .guarded("a run", || {
                    let mut encoder = device.encoder();
                    self.encode_part(index, from..end, &mut encoder);
                    if part == 0 {
                        self.unmap_upload(index);
                    }
                    match is_last {
                        true => self.frame.send(engine.inner(), index, [encoder]),
                        false => device.submit([encoder.finish()]),
                    }
                })
                .await?;
            from = end;
            if is_last {
                self.frame.launched(index, submission);
                return Ok(());
            }
            let marked = (device.mark(), submission);
            if let Some((signal, submission)) = before.replace(marked) {
                let waited = device.signalled(&signal, &submission, wait).await;
                let waited = waited.and_then(|()| Ok(wait.interrupt.check()?));
                if let (Err(error), Some((_, last))) = (waited, &before) {
                    self.frame.given_up(index, last.clone());
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Gives a segment's upload buffer to the device before it is submitted bit by bit.
    pub(super) fn unmap_upload(&self, index: usize) {
        self.frame.crossings[index].upload.iter().for_each(Staging::unmap);
    }
}

impl Engine {
    pub fn storage(&self, slot: SlotId) -> Storage {
        self.schedule.slots[slot.0].storage
    }

    /// Whether a value is a state that stays where it is.
    pub fn stays(&self, slot: SlotId) -> bool {
        let buffer = self.schedule.slots[slot.0].region.buffer;
        self.schedule.held.iter().any(|held| held.buffer == buffer)
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
