//! What happens to a session that its application should know of, although the run goes on.

use std::fmt;
use std::sync::Arc;

use super::{Backend, Comparison};

/// Something that happened while a session worked. See [`Options::on_event`](super::Options::on_event).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The device failed, and the session goes on on another one, or on the CPU: what it is run on from now on is slower, or
    /// is another GPU's. See [`Recovery`](super::Recovery).
    Moved {
        /// The device that failed.
        from: String,
        /// The device that the session runs on now.
        to: String,
        /// Whether that is a GPU or the CPU.
        backend: Backend,
        /// What the device that failed said.
        reason: String,
        /// Whether something was lost with it that must be given again: states that lay there, inputs and outputs on it. The
        /// run ends with the error then, and the next one begins with the states' first values.
        states_lost: bool,
    },
    /// A run, or a layer of it, is not what the CPU makes of it: the GPU, its driver or Rimlight computes wrong. See
    /// [`Session::self_check`](super::Session::self_check).
    Mismatch {
        /// The device.
        device: String,
        /// The layer's node, if it was a layer that was compared.
        node: String,
        /// Its operator.
        operator: String,
        /// The value, and how it differs.
        comparison: Comparison,
    },
    /// An output has infinities, or what is no number. See [`Session::check_numbers`](super::Session::check_numbers).
    NotFinite {
        /// The first value that has some: an input of the model, or what a layer gives; the output itself where the run cannot be
        /// made again to find it, since states lie on the device.
        value: String,
        /// The layer's node, if it is not an input.
        node: String,
        /// Its operator.
        operator: String,
        /// Elements that are no number.
        nan: usize,
        /// Elements that are infinite.
        infinite: usize,
    },
    /// What a layer gives is more than 16 bits hold, so that it stays in 32 from now on. The first run in
    /// [`Precision::F16`](super::Precision) is looked at for that, step by step.
    KeptInSingle {
        /// The value.
        value: String,
        /// The layer's node.
        node: String,
        /// Its operator.
        operator: String,
        /// Elements that were no number.
        nan: usize,
        /// Elements that were infinite.
        infinite: usize,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moved { from, to, reason, states_lost, .. } => {
                write!(f, "{from} failed ({reason}); the model runs on {to} now")?;
                if *states_lost { f.write_str(", without the states and inputs that lay on the other") } else { Ok(()) }
            }
            Self::Mismatch { device, node, operator, comparison } => {
                let Comparison { name, index, got, expected, .. } = comparison;
                write!(f, "{device} gives {got} for element {index} of '{name}'")?;
                if !node.is_empty() {
                    write!(f, " (node '{node}', {operator})")?;
                }
                write!(f, ", the CPU {expected}")
            }
            Self::NotFinite { value, node, operator, nan, infinite } => {
                write!(f, "'{value}'")?;
                if !node.is_empty() {
                    write!(f, " (node '{node}', {operator})")?;
                }
                write!(f, " has {infinite} infinite elements and {nan} that are no number, and is the first that has")
            }
            Self::KeptInSingle { value, node, operator, .. } => {
                write!(f, "'{value}' (node '{node}', {operator}) is more than 16 bits hold, and stays in 32")
            }
        }
    }
}

type Listening = dyn Fn(&Event) + Send + Sync;

/// Who is told of events.
#[derive(Clone, Default)]
pub(crate) struct Listener(Option<Arc<Listening>>);

impl Listener {
    pub fn new(listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// Tells of an event, in the log too.
    pub fn tell(&self, event: &Event) {
        log::warn!("{event}");
        if let Some(listener) = &self.0 {
            listener(event);
        }
    }
}

impl PartialEq for Listener {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for Listener {}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Listener" } else { "nobody" })
    }
}
