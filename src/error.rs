//! The errors of the four steps: loading a model, planning it, running it, and reaching a device.

use crate::graph::{NodeError, Unsupported};
use crate::interrupt::Interrupted;
use crate::kernel::ShaderError;
use crate::limits::LimitError;
pub use crate::nearest::nearest;
use crate::nearest::suggestion;
use crate::tensor::{ElementType, TensorError};

/// A model could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot read '{path}': {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are not a model.
    #[error("this is not an ONNX model: {0}")]
    Format(String),
    /// The model needs operators that there are none of; all of them are named at once.
    #[error("operator set {opset} with operators that Rimlight does not have: {}", operators.join(", "))]
    UnknownOperators {
        /// Why there are none: that of the first.
        reason: Unsupported,
        /// The standard's version that the file names.
        opset: i64,
        /// The operators, each with its domain if it is not the standard's, and how often it occurs.
        operators: Vec<String>,
    },
    /// An initializer's data cannot be used.
    #[error("tensor '{name}': {message}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A node cannot be right.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The graph as a whole cannot be right.
    #[error("the graph is not valid: {0}")]
    Graph(String),
    /// The standard allows it, but it is refused for this reason.
    #[error("{message}")]
    Unsupported {
        /// The reason.
        reason: Unsupported,
        /// What there is, and where.
        message: String,
    },
    /// A limit of [`Limits`](crate::Limits) was passed.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

impl LoadError {
    /// Why the model is refused, where the standard allows it.
    pub const fn unsupported(&self) -> Option<Unsupported> {
        match self {
            Self::UnknownOperators { reason, .. } | Self::Unsupported { reason, .. } => Some(*reason),
            Self::Node(error) => error.unsupported,
            _ => None,
        }
    }
}

/// A model could not be planned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A dimension must be bound first.
    #[error(
        "input '{input}' has the dimension '{dim}', which is not bound; bind it with `Options::dim` (`--dim {dim}=N`) or give the input"
    )]
    Unbound {
        /// The input.
        input: String,
        /// The symbol.
        dim: String,
    },
    /// A node cannot be right under these shapes.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Nodes would run on the host although the GPU was required; all of them are named at once.
    #[error("{} would run on the host: {}", count(.0.len(), "node"), .0.join("; "))]
    HostNodes(Vec<String>),
    /// A tensor is larger than what the device can bind. A [`Device::auto`](crate::Device::auto) takes the CPU for the
    /// model then, and [`Plan::instead`](crate::Plan::instead) says so.
    #[error(
        "tensor '{name}' takes {bytes} bytes{}, but this device binds at most {limit} at once; give smaller inputs, \
         take another adapter (`--adapter`), or run the model on the CPU (`--backend cpu`, `Device::cpu`)",
        with(node.as_deref(), operator)
    )]
    TooLarge {
        /// The value's name.
        name: String,
        /// The node that reads or gives it, where there is one.
        node: Option<String>,
        /// That node's operator; empty where there is none.
        operator: String,
        /// Bytes that it takes.
        bytes: u64,
        /// Bytes that the device binds.
        limit: u64,
    },
    /// Even the plan that takes least is above [`Options::memory_limit`](crate::Options::memory_limit).
    #[error(
        "the model takes {needed} bytes on the device ({constants} of them weights), more than the limit of {limit}; \
         give smaller inputs, store values in 16 bits (`--precision f16`), or raise the limit (`--memory-limit`)"
    )]
    Memory {
        /// Bytes of values and packed weights.
        needed: u64,
        /// Bytes that were allowed.
        limit: u64,
        /// Bytes of the weights alone.
        constants: u64,
    },
    /// A shader that the caller put in the place of Rimlight's own cannot be used.
    #[error(transparent)]
    Shader(#[from] ShaderError),
    /// The model's weights were dropped once they were on the GPU, and could not be read again for another plan; see
    /// [`Options::keep_weights`](crate::Options::keep_weights).
    #[error("the model cannot be read again to plan it for other shapes: {0}")]
    Reread(String),
    /// The options contradict the model.
    #[error("{0}")]
    Options(String),
    /// A limit of [`Options::limits`](crate::Options::limits) was passed.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

impl PlanError {
    /// Why the model is refused, where the standard allows it.
    pub const fn unsupported(&self) -> Option<Unsupported> {
        match self {
            Self::Node(error) => error.unsupported,
            _ => None,
        }
    }
}

/// A device could not be had, or failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// There is no adapter that fits.
    #[error("there is no GPU to use: {0}")]
    NoAdapter(String),
    /// The device was lost.
    #[error("the GPU was lost: {0}; make a new `Device` and load the model again")]
    Lost(String),
    /// Memory ran out.
    #[error("the GPU is out of memory: {0}")]
    OutOfMemory(String),
    /// A kernel did not compile, or wgpu refused a call: a fault of Rimlight or of the driver.
    #[error("the GPU refused {what}: {message}")]
    Refused {
        /// What was asked for.
        what: String,
        /// What wgpu said.
        message: String,
    },
    /// It answers wrong where no kernel can do without: see [`GpuDevice::self_test`](crate::gpu::GpuDevice::self_test).
    #[error(
        "the GPU {adapter} cannot be computed on: {reason}; update its driver, take another adapter (`--adapter`) or the CPU \
         (`--backend cpu`, `Device::cpu`); `rimlight devices --check` tells more"
    )]
    Unfit {
        /// The adapter.
        adapter: String,
        /// What it answers, and what it should.
        reason: String,
    },
    /// A wait passed its bound.
    #[error("the GPU did not answer within {0:?}")]
    Timeout(std::time::Duration),
}

/// A run failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// There is no input or output of this name.
    #[error("the model has no {kind} '{name}'{}; it has {}", suggestion(name, known.iter().map(String::as_str)), known.join(", "))]
    Name {
        /// `input` or `output`.
        kind: &'static str,
        /// The name asked for.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// An input was not given.
    #[error("input '{0}' was not given")]
    MissingInput(String),
    /// An input has the wrong element type.
    #[error("input '{name}' is {wanted}, but {found} was given")]
    InputType {
        /// The input.
        name: String,
        /// The model's type.
        wanted: ElementType,
        /// The type that was given.
        found: ElementType,
    },
    /// An input is of another kind than the model takes: a sequence, an optional value, a tensor.
    #[error("input '{name}' is {wanted}, but {found} was given")]
    InputKind {
        /// The input.
        name: String,
        /// The model's type.
        wanted: String,
        /// The type that was given.
        found: String,
    },
    /// An input has a shape that the model does not take.
    #[error("input '{name}' has the shape {wanted}, but {found:?} was given")]
    InputShape {
        /// The input.
        name: String,
        /// The model's shape.
        wanted: String,
        /// The shape that was given.
        found: Vec<usize>,
    },
    /// A state has grown beyond the length that it was carried for.
    #[error("output '{name}' is {found} long along axis {axis}, but is carried up to {length}")]
    TooLong {
        /// The output.
        name: String,
        /// The axis along which it grows.
        axis: usize,
        /// The length up to which it may.
        length: usize,
        /// The length that it has.
        found: usize,
    },
    /// A node could not be computed.
    #[error(transparent)]
    Node(NodeError),
    /// A limit of [`Options::limits`](crate::Options::limits) was passed.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A tensor could not be made or read.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// No plan could be made for the inputs' shapes.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A texture cannot be an input, or show an output.
    #[cfg(feature = "gpu")]
    #[error(transparent)]
    Picture(#[from] crate::gpu::PictureError),
    /// The run was ended by [`Cancel`](crate::Cancel).
    #[error("the run was cancelled")]
    Cancelled,
    /// The run took longer than [`Session::set_time_limit`](crate::Session::set_time_limit) allows.
    #[error("the run was ended after {0:?}, which is all the time that it was given")]
    Deadline(std::time::Duration),
    /// The session was asked for something before it had run.
    #[error("{0}")]
    State(String),
}

impl From<NodeError> for RunError {
    fn from(error: NodeError) -> Self {
        match error.limit {
            Some(limit) => Self::Limit(*limit),
            None => Self::Node(error),
        }
    }
}

impl From<Interrupted> for RunError {
    fn from(reason: Interrupted) -> Self {
        match reason {
            Interrupted::Cancelled => Self::Cancelled,
            Interrupted::Deadline(given) => Self::Deadline(given),
        }
    }
}

/// Any of the errors of the four steps.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Loading a model.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Planning it.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Running it.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Reaching a device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Writing a model.
    #[cfg(all(feature = "onnx", not(target_arch = "wasm32")))]
    #[error(transparent)]
    Write(#[from] crate::onnx::WriteError),
    /// Making a picture into a tensor.
    #[error(transparent)]
    Image(#[from] crate::image::ImageError),
    /// Reading what a detector says.
    #[error(transparent)]
    Vision(#[from] crate::vision::VisionError),
}

/// What an [`Error`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The model cannot be read or planned.
    Model,
    /// The inputs or options are wrong.
    Input,
    /// The device failed or there is none.
    Device,
    /// The application ended it: it was cancelled, or its time was over.
    Interrupted,
}

impl Error {
    /// Why the model is refused, where the standard allows it. Whatever has no reason here is wrong, or failed.
    pub const fn unsupported(&self) -> Option<Unsupported> {
        match self {
            Self::Load(error) => error.unsupported(),
            Self::Plan(error) | Self::Run(RunError::Plan(error)) => error.unsupported(),
            _ => None,
        }
    }

    /// What the error is about, however it came.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Load(_) | Self::Plan(_) | Self::Run(RunError::Node(_) | RunError::Plan(_) | RunError::Limit(_)) => {
                ErrorKind::Model
            }
            Self::Device(_) | Self::Run(RunError::Device(_)) => ErrorKind::Device,
            Self::Run(RunError::Cancelled | RunError::Deadline(_)) => ErrorKind::Interrupted,
            Self::Run(_) | Self::Vision(_) => ErrorKind::Input,
            #[cfg(all(feature = "onnx", not(target_arch = "wasm32")))]
            Self::Write(_) => ErrorKind::Input,
            Self::Image(_) => ErrorKind::Input,
        }
    }
}

impl From<TensorError> for Error {
    fn from(error: TensorError) -> Self {
        Self::Run(error.into())
    }
}

#[cfg(feature = "gpu")]
impl From<crate::gpu::PictureError> for Error {
    fn from(error: crate::gpu::PictureError) -> Self {
        Self::Run(error.into())
    }
}

impl From<ShaderError> for Error {
    fn from(error: ShaderError) -> Self {
        Self::Plan(error.into())
    }
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// The node that a tensor is too large for.
fn with(node: Option<&str>, operator: &str) -> String {
    node.map(|node| format!(" (node '{node}', {operator})")).unwrap_or_default()
}
