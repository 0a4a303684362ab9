//! What a plan is made of.

use crate::graph::{Graph, NodeId, ValueId};
use crate::kernel::{Constant, Kernel, Layout, Shaders, Storage};

/// A value in one physical form on the device, by its index in [`Schedule::slots`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(pub usize);

/// Bytes in one of the schedule's buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Region {
    /// Index into [`Schedule::buffers`].
    pub buffer: usize,
    /// Where it begins, in bytes; a multiple of the storage's unit.
    pub offset: u64,
    /// How many bytes it covers.
    pub size: u64,
}

/// A value as it lies on the device. One value can lie there in several layouts.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// The graph's value.
    pub value: ValueId,
    /// Its shape, in numbers.
    pub shape: Vec<usize>,
    /// The order of its elements.
    pub layout: Layout,
    /// The type that they are stored as.
    pub storage: Storage,
    /// Where it lies. Slots whose lives do not meet share bytes; views and parts of concatenations lie in each other.
    pub region: Region,
    /// The steps (indices into [`Schedule::steps`]) that write it first and read it last.
    pub live: (usize, usize),
}

/// What a buffer of a dispatch is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// A value.
    Slot(SlotId),
    /// Memory of this step alone.
    Scratch(Region),
    /// A packed constant, by its index in [`Schedule::constants`].
    Constant(usize),
}

/// One dispatch.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduledDispatch {
    /// The node that it belongs to; `None` for a conversion of layout that the planner put in.
    pub node: Option<NodeId>,
    /// What to call it in profiles: the node's name, or what is converted.
    pub label: String,
    /// The pipeline, by its index in [`Schedule::kernels`].
    pub kernel: usize,
    /// What its buffers are, in the order of the shader's declarations (also those read in place, which are not bound).
    pub bindings: Vec<Bound>,
    /// The shader's own parameters, as words; the bases of the buffers are put before them when it is bound.
    pub params: Vec<u32>,
    /// Workgroups along x, y and z.
    pub workgroups: [u32; 3],
    /// Its part of its node's [estimated time](crate::kernel::Candidate::cost).
    pub cost: f64,
}

/// A node that runs on the host. Its inputs that lie on the device were downloaded by steps before it.
#[derive(Debug, Clone, PartialEq)]
pub struct HostStep {
    /// The node.
    pub node: NodeId,
}

/// One step of a run, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Runs a kernel.
    Dispatch(ScheduledDispatch),
    /// Brings a value from the host to the device (a graph input, or what a host node computed).
    /// The slot's layout is linear; elements are converted to its storage on the way.
    Upload(SlotId),
    /// Brings a value from the device to the host (a graph output, or what a host node reads). The slot's layout is linear.
    Download(SlotId),
    /// Runs a node on the host.
    Host(HostStep),
}

/// An output that is the next run's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The input's place in the graph.
    pub input: usize,
    /// The output's.
    pub output: usize,
    /// Elements up to which it grows.
    pub elements: usize,
}

/// A [`State`] whose input and output lie in one buffer, with nothing else in it: what a run finds there is what the last one
/// left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The state.
    pub state: State,
    /// The buffer, by its index in [`Schedule::buffers`]; the input and the output begin with it.
    pub buffer: usize,
}

/// Where a node runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On the GPU, by the candidate of this name.
    Gpu(&'static str),
    /// Nowhere: its output is its input under another shape, lies already where it should, or was computed with the plan.
    View,
    /// On the host, because of this.
    Host(String),
}

/// A node and where it runs, for reports.
#[derive(Debug, Clone, PartialEq)]
pub struct NodePlace {
    /// The node.
    pub node: NodeId,
    /// Where it runs.
    pub place: Place,
    /// Its work in floating-point operations.
    pub work: f64,
}

/// The numbers of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Summary {
    /// Bytes of all buffers that activations live in.
    pub activation_bytes: u64,
    /// The largest sum of live bytes at any step: no assignment can do with less.
    pub lower_bound_bytes: u64,
    /// Bytes of packed constants.
    pub constant_bytes: u64,
    /// Dispatches of one run.
    pub dispatches: usize,
    /// Pipelines.
    pub pipelines: usize,
    /// Dispatches that only convert layouts.
    pub conversions: usize,
    /// Nodes on the host.
    pub host_nodes: usize,
    /// Floating-point operations of one run.
    pub work: f64,
}

impl Summary {
    /// Bytes that the first session takes on the device: values and packed constants. Further ones share the constants.
    pub const fn device_bytes(&self) -> u64 {
        self.activation_bytes.saturating_add(self.constant_bytes)
    }
}

/// A plan: what one run of a graph does on a device.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The graph that it runs: optimized, all dimensions numbers.
    pub graph: Graph,
    /// Whether 32-bit floats are stored as 16-bit ones, but for those whose slots say otherwise.
    pub half: bool,
    /// The pipelines, each once.
    pub kernels: Vec<Kernel>,
    /// What they are made of.
    pub shaders: Shaders,
    /// The constants to pack and upload, each once.
    pub constants: Vec<Constant>,
    /// The sizes of the buffers that values live in, in bytes.
    pub buffers: Vec<u64>,
    /// The states that stay where they are, each in a buffer of its own.
    pub held: Vec<Held>,
    /// The values on the device.
    pub slots: Vec<Slot>,
    /// What a run does, in order.
    pub steps: Vec<Step>,
    /// Where each node runs.
    pub places: Vec<NodePlace>,
    /// The numbers.
    pub summary: Summary,
}
