//! What can be wrong when a model is compressed.

use crate::error::{DeviceError, LoadError, PlanError, RunError};
use crate::nearest::suggestion;
use crate::onnx::WriteError;

/// A model could not be compressed. The file that it was to become is not touched then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// An amount that is no part of a whole.
    #[error("an amount is a part of the whole, from 0 to {}1, not {amount}", if *below { "less than " } else { "" })]
    Amount {
        /// The amount.
        amount: f64,
        /// Whether all of it is too much.
        below: bool,
    },
    /// There is no such layer.
    #[error(
        "the model has no layer '{name}' with weights{}; it has {}",
        suggestion(name, known.iter().map(String::as_str)),
        listed(known)
    )]
    UnknownLayer {
        /// The name asked for.
        name: String,
        /// The layers that there are.
        known: Vec<String>,
    },
    /// The model has nothing that could be compressed so.
    #[error("{0}")]
    Nothing(String),
    /// The model is quantized already.
    #[error("the model is quantized already: node '{node}' ({operator}); give the model that it was made from")]
    Quantized {
        /// The first node that says so.
        node: String,
        /// Its operator.
        operator: String,
    },
    /// The samples for calibration, or for an evaluation, cannot be used.
    #[error("{0}")]
    Samples(String),
    /// The options contradict each other, or the model.
    #[error("{0}")]
    Options(String),
    /// The model's operator set is too old, and a node of it is none that can be brought to a newer one.
    #[error(
        "the model is of operator set {opset}, and this needs {needed}; node '{node}' ({operator}) cannot be brought to it: \
         export the model anew, with opset_version={needed} or later"
    )]
    Opset {
        /// The model's.
        opset: i64,
        /// The one that is needed.
        needed: i64,
        /// The first node that is in the way.
        node: String,
        /// Its operator.
        operator: String,
    },
    /// What was asked of a caller's function between two steps failed.
    #[error("{0}")]
    Step(String),
    /// The model cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The model cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A run of the model failed.
    #[error(transparent)]
    Run(crate::Error),
}

macro_rules! of_runs {
    ($($error:ty),*) => {$(
        impl From<$error> for CompressError {
            fn from(error: $error) -> Self {
                crate::Error::from(error).into()
            }
        }
    )*};
}
of_runs!(PlanError, RunError, DeviceError, crate::TensorError);

impl From<crate::Error> for CompressError {
    fn from(error: crate::Error) -> Self {
        match error {
            crate::Error::Load(error) => Self::Load(error),
            crate::Error::Write(error) => Self::Write(error),
            error => Self::Run(error),
        }
    }
}

/// Names, not too many of them.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut text = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
