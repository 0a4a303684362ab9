//! A schedule made ready on a device: what its sessions share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::GpuDevice;
use super::constants::Packed;
use super::pipeline::Pipeline;
use super::program::{Phase, Program};
use super::slices;
#[cfg(not(target_arch = "wasm32"))]
use super::threads;
use crate::error::DeviceError;
use crate::kernel::assemble::Access;
use crate::plan::{Bound, Repertoire, Schedule, ScheduledDispatch, Step};
use crate::tensor::Tensor;

/// A schedule with its pipelines compiled and its constants on the device. Cloning it gives another handle; sessions are
/// made from it.
#[derive(Clone)]
pub struct GpuEngine {
    inner: Arc<Engine>,
}

/// What all sessions of a schedule share.
pub(super) struct Engine {
    pub device: GpuDevice,
    pub schedule: Arc<Schedule>,
    pub program: Program,
    /// In the order of [`Schedule::kernels`].
    pub pipelines: Vec<Arc<Pipeline>>,
    /// In the order of [`Schedule::constants`].
    pub constants: Vec<Arc<Packed>>,
    /// By value: whether a host node reads it, or the application may.
    pub wanted: Vec<bool>,
    /// How long a wait for the device takes at most, unless a session is told.
    #[cfg_attr(
        target_arch = "wasm32",
        expect(dead_code, reason = "a browser has no thread that could look at the time")
    )]
    pub patience: Option<Duration>,
}

/// How a schedule is made ready.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loading {
    /// Kernels of plans to come, which are compiled as well.
    pub ahead: Option<Arc<Repertoire>>,
    /// Whether the schedule keeps the weights in the host's memory.
    pub keep_weights: bool,
    /// How long a submission takes about at most; as suits the device where not given.
    pub submission: Option<Duration>,
    /// How long a wait for the device takes at most.
    pub patience: Option<Duration>,
}

/// How long a submission of a run that may be interrupted takes about at most: half of a frame of a screen.
const SHORT: Duration = Duration::from_millis(8);

impl GpuEngine {
    /// Compiles the kernels and uploads the constants that the device does not have yet.
    ///
    /// # Errors
    /// If a kernel does not compile, memory runs out, or the device is lost.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(device: &GpuDevice, schedule: Arc<Schedule>) -> Result<Self, DeviceError> {
        pollster::block_on(Self::new_async(device, schedule))
    }

    /// [`GpuEngine::new`], for callers that must not block.
    ///
    /// # Errors
    /// As [`GpuEngine::new`].
    pub async fn new_async(device: &GpuDevice, schedule: Arc<Schedule>) -> Result<Self, DeviceError> {
        Self::load(device, schedule, Loading { keep_weights: true, ..Loading::default() }).await
    }

    /// [`GpuEngine::new_async`] in another way.
    pub(crate) async fn load(
        device: &GpuDevice,
        schedule: Arc<Schedule>,
        loading: Loading,
    ) -> Result<Self, DeviceError> {
        let Loading { ahead, keep_weights, submission, patience } = loading;
        device.check()?;
        let mut kernels = schedule.kernels.clone();
        let ahead = ahead.iter().flat_map(|all| all.kernels()).filter(|kernel| !schedule.kernels.contains(kernel));
        kernels.extend(ahead.cloned());
        let (compile, upload) = (device.compile(&kernels, &schedule.shaders), device.constants(&schedule.constants));
        // On native these futures are ready at once.
        #[cfg(not(target_arch = "wasm32"))]
        let (constants, pipelines) = threads::both(|| pollster::block_on(upload), || pollster::block_on(compile));
        #[cfg(target_arch = "wasm32")]
        let (pipelines, constants) = (compile.await, upload.await);
        let (pipelines, constants) = (pipelines?, constants?);
        device.save_pipelines();
        for step in &schedule.steps {
            if let Step::Dispatch(dispatch) = step {
                check(dispatch, &schedule, &pipelines).map_err(|message| DeviceError::Refused {
                    what: format!("the dispatch '{}'", dispatch.label),
                    message,
                })?;
            }
        }
        let writes = |step: usize, binding: usize| match &schedule.steps[step] {
            Step::Dispatch(dispatch) => pipelines[dispatch.kernel].buffers[binding].access != Access::Read,
            _ => false,
        };
        device.check_kernels(&schedule, &pipelines).await?;
        let mut program = Program::new(&schedule, writes);
        for segment in &mut program.segments {
            let class = device.facts().class;
            segment.ends = slices::cut(segment, &schedule, class, submission);
            segment.short_ends =
                slices::cut(segment, &schedule, class, Some(submission.map_or(SHORT, |most| most.min(SHORT))));
        }
        let mut wanted = vec![false; schedule.graph.values.len()];
        let host_nodes = program.phases.iter().filter_map(|phase| match phase {
            Phase::Host(node) => Some(schedule.graph.node(*node)),
            Phase::Device(_) => None,
        });
        for value in host_nodes.flat_map(|node| node.inputs.iter().flatten()).chain(&schedule.graph.outputs) {
            wanted[value.0] = true;
        }
        let schedule = if keep_weights { schedule } else { released(&schedule, &program, &wanted) };
        let device = device.clone();
        Ok(Self { inner: Arc::new(Engine { device, schedule, program, pipelines, constants, wanted, patience }) })
    }

    /// The device.
    pub fn device(&self) -> &GpuDevice {
        &self.inner.device
    }

    /// The schedule.
    pub fn schedule(&self) -> &Arc<Schedule> {
        &self.inner.schedule
    }

    /// Submissions of one run: one, unless host nodes stand between or it would take too long.
    pub fn submissions(&self) -> usize {
        self.inner.program.segments.iter().map(|segment| segment.ends.len()).sum()
    }

    pub(super) fn inner(&self) -> &Arc<Engine> {
        &self.inner
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Engine {
    /// How long to wait for an answer of the device.
    pub fn patience(&self, asked: Option<Duration>) -> Duration {
        self.device.patience(asked.or(self.patience))
    }
}

/// The schedule without the constants that are on the device now, but for those that sessions upload or the host reads.
fn released(schedule: &Schedule, program: &Program, wanted: &[bool]) -> Arc<Schedule> {
    let mut kept = wanted.to_vec();
    let uploads = program.segments.iter().flat_map(|segment| &segment.uploads).map(|transfer| transfer.value);
    for value in uploads.chain(schedule.graph.inputs.iter().copied()) {
        kept[value.0] = true;
    }
    let mut schedule = schedule.clone();
    schedule.graph = schedule.graph.without_contents(|value| kept[value.0]);
    // What is left is read in runs, and there from the start.
    let left = schedule.graph.values.iter().filter_map(|value| value.fact.as_ref()?.constant.as_ref());
    left.for_each(|tensor| _ = tensor.bytes());
    for constant in &mut schedule.constants {
        constant.source = Tensor::vector(Vec::<f32>::new());
    }
    Arc::new(schedule)
}

/// Whether a dispatch fits its kernel: a fault of the planner or of an operator otherwise.
fn check(dispatch: &ScheduledDispatch, schedule: &Schedule, pipelines: &[Arc<Pipeline>]) -> Result<(), String> {
    let kernel = pipelines.get(dispatch.kernel).ok_or("its kernel is not there")?;
    if dispatch.bindings.len() != kernel.buffers.len() {
        return Err(format!("binds {} buffers, its kernel has {}", dispatch.bindings.len(), kernel.buffers.len()));
    }
    let bases = kernel.buffers.iter().filter(|b| b.binding.is_some()).count();
    if dispatch.params.len() + bases != kernel.words {
        return Err(format!("gives {} parameters, its kernel takes {}", dispatch.params.len(), kernel.words - bases));
    }
    for bound in &dispatch.bindings {
        let there = match bound {
            Bound::Slot(slot) => schedule.slots.get(slot.0).is_some_and(|s| s.region.buffer < schedule.buffers.len()),
            Bound::Scratch(region) => region.buffer < schedule.buffers.len(),
            Bound::Constant(constant) => *constant < schedule.constants.len(),
        };
        if !there {
            return Err(format!("binds {bound:?}, which is not there"));
        }
    }
    Ok(())
}

impl fmt::Debug for GpuEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.inner;
        write!(f, "GpuEngine({} steps on {:?})", inner.schedule.steps.len(), inner.device)
    }
}
