//! Why a model that the standard allows is refused.

use std::fmt;

/// Why a model that the standard allows is refused when it is loaded or planned: the whole list of reasons.
///
/// An error that says so has it from the place that refused ([`Error::unsupported`](crate::Error::unsupported)); whatever
/// has none is wrong by the standard, or failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Unsupported {
    /// An operator of which there is none here.
    Operator,
    /// Gradients and optimizers: `ai.onnx.training` and `ai.onnx.preview.training`.
    Training,
    /// Trees, vector machines and other classical models: `ai.onnx.ml`.
    MachineLearning,
    /// The operator is there, but not as it was in so old an operator set, or the operator set is older than it.
    OperatorSet,
    /// A value that is neither a tensor nor a sequence nor an optional: sparse tensors, maps.
    ValueKind,
    /// An element type that is not there, or that this operator does not take here.
    ElementType,
    /// A picture's file format.
    ImageFormat,
    /// The operator is there, but not with such attributes, inputs or outputs.
    Form,
}

impl Unsupported {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Operator,
        Self::Training,
        Self::MachineLearning,
        Self::OperatorSet,
        Self::ValueKind,
        Self::ElementType,
        Self::ImageFormat,
        Self::Form,
    ];

    /// The reason in a few words, the same in every message, report and file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operator => "no such operator",
            Self::Training => "training operator",
            Self::MachineLearning => "classical machine learning",
            Self::OperatorSet => "old operator set",
            Self::ValueKind => "kind of value",
            Self::ElementType => "element type",
            Self::ImageFormat => "image format",
            Self::Form => "form of the operator",
        }
    }

    /// Why there is no operator of this domain.
    pub(crate) fn of_domain(domain: &str) -> Self {
        match domain {
            "ai.onnx.training" | "ai.onnx.preview.training" => Self::Training,
            "ai.onnx.ml" => Self::MachineLearning,
            _ => Self::Operator,
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
