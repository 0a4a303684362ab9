//! What a user can ask for.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::Listener;
use super::{Event, Precision, Recovery};
use crate::graph::Bindings;
use crate::kernel::Shaders;
use crate::limits::Limits;
use crate::plan::Placement;

/// How a model is planned and run.
///
/// ```
/// use rimlight::{Options, Placement};
/// let options = Options::new().dim("batch", 1).placement(Placement::GpuOnly).without("fuse_activation");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    pub(crate) dims: Bindings,
    pub(crate) shapes: BTreeMap<String, Vec<usize>>,
    pub(crate) placement: Placement,
    pub(crate) precision: Precision,
    pub(crate) without: Vec<String>,
    pub(crate) shaders: Shaders,
    pub(crate) seed: u64,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) keep_weights: bool,
    pub(crate) submission: Option<Duration>,
    pub(crate) patience: Option<Duration>,
    pub(crate) limits: Limits,
    pub(crate) recovery: Recovery,
    pub(crate) listener: Listener,
    /// The first inputs, this many: what they hold changes from run to run, so that no plan is made for it.
    pub(crate) varying: usize,
    /// A fault to plant, for the tests which show that it is found.
    #[cfg(test)]
    pub(crate) fault: Option<super::faults::Fault>,
}

impl Options {
    /// The defaults: 32-bit floats, nodes on the GPU where there are kernels, every rewrite.
    pub fn new() -> Self {
        Self::default()
    }

    /// Binds a symbolic dimension (`batch`, `N`) to a number.
    #[must_use]
    pub fn dim(mut self, symbol: impl Into<String>, value: usize) -> Self {
        // What an i64 cannot count no tensor can have.
        self.dims.insert(symbol.into(), i64::try_from(value).unwrap_or(i64::MAX));
        self
    }

    /// Gives an input a shape, whatever its symbols are called.
    #[must_use]
    pub fn shape(mut self, input: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        self.shapes.insert(input.into(), shape.into());
        self
    }

    /// Where nodes may run.
    #[must_use]
    pub const fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// How values are stored. In [`Precision::F16`] the first run is made step by step, and what 16 bits do not hold of what it
    /// computes stays in 32 ([`Event::KeptInSingle`]).
    #[must_use]
    pub const fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Switches a rewrite off by its name (see `rimlight inspect --help`, or [`crate::optimize`]).
    #[must_use]
    pub fn without(mut self, rewrite: impl Into<String>) -> Self {
        self.without.push(rewrite.into());
        self
    }

    /// What the numbers of random operators (RandomNormal, Bernoulli, Dropout in training) follow from where their nodes
    /// have no seed of their own; 0 if it is not given. Every run draws the same numbers, on every device, since a key is part
    /// of the plan: who wants others gives another seed. Random operators in the bodies of If, Loop and Scan that run on the
    /// host draw by a key that does not follow from it.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Bytes of GPU memory that values and weights may take. A plan keeps to it, with slower kernels where the fastest ones
    /// take more, or is refused with the number ([`PlanError::Memory`](crate::PlanError::Memory)). It is for each set of
    /// input shapes, whose plans share the weights. The CPU backend keeps no such limit, and refuses it.
    #[must_use]
    pub const fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Keeps the weights as the file has them too, once they are on a GPU or packed for the CPU. Else an engine lets go of them, and reads the
    /// file again (or calls the callback) should it have to plan for other input shapes. Who holds the [`Model`](crate::Model),
    /// or gave it as bytes, keeps them in any case.
    #[must_use]
    pub const fn keep_weights(mut self, keep: bool) -> Self {
        self.keep_weights = keep;
        self
    }

    /// How long one submission to a GPU should take at most: a longer run is submitted in several, by estimates, so that
    /// the user interface is drawn in between and no watchdog is called. If it is not given, 8 ms on phones and in
    /// browsers, 100 ms on other GPUs; never split is a run that is encoded into the application's own commands, and
    /// any run with [`Duration::MAX`].
    #[must_use]
    pub const fn submission(mut self, most: Duration) -> Self {
        self.submission = Some(most);
        self
    }

    /// How long a device may take to answer before it is given up ([`DeviceError::Timeout`](crate::DeviceError::Timeout), or what
    /// [`Recovery`] makes of it). If it is not given, 30 s, and 10 s more for each pipeline that was made since the device last
    /// answered, since a driver may finish those in the first run. A run that should end sooner is given a
    /// [time limit](crate::Session::set_time_limit). In a browser, which has no thread that could look at the time, a wait has no
    /// bound: drop the future.
    #[must_use]
    pub const fn patience(mut self, most: Duration) -> Self {
        self.patience = Some(most);
        self
    }

    /// What the model may take in its runs. Those that would take more are refused when they are planned
    /// ([`PlanError::Limit`](crate::PlanError::Limit)), or, where only the run can tell, before the node that would take it
    /// ([`RunError::Limit`](crate::RunError::Limit)).
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What becomes of sessions whose device fails.
    #[must_use]
    pub const fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// Tells the application of what happens to its sessions while runs go on: that they moved to another device, say. It is
    /// called on the thread that runs the session, before the run goes on.
    ///
    /// ```
    /// use rimlight::{Device, Event, Model, Options};
    /// let options = Options::new().on_event(|event| match event {
    ///     Event::Moved { to, .. } => eprintln!("slower from now on: {to}"),
    ///     other => eprintln!("{other}"),
    /// });
    /// let session = Model::open("models/digits.onnx")?.session_with(&Device::auto(), &options)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn on_event(mut self, listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(listener);
        self
    }

    /// Makes the GPU's kernels of these shaders: for who writes kernels, and tries them on a device.
    #[must_use]
    pub fn shaders(mut self, shaders: Shaders) -> Self {
        self.shaders = shaders;
        self
    }
}
