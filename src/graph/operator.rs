//! What an operator is: its shape rule, its reference, and the ways to run it on a GPU.

use std::fmt;
use std::sync::Arc;

use super::{Bodies, Body, Fact, NodeError, Request, Sequence, ShapeError, Value};
use crate::interrupt::{Interrupt, Interrupted};
use crate::kernel::Candidates;
use crate::limits::{LimitError, Limits, within};
use crate::tensor::{ElementType, Tensor, TensorError};

/// Why an operator could not compute its outputs. The caller adds the node and the operator.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The inputs' types or shapes do not fit.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A tensor could not be made or read.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The standard allows it, this implementation does not (yet).
    #[error("{0}")]
    Unsupported(String),
    /// A node of a body (of If, Loop, Scan) could not be computed.
    #[error("in its body: {0}")]
    Body(Box<NodeError>),
    /// A body could not be run by the session's backend.
    #[error("its body: {0}")]
    Run(String),
    /// It would take more than the limits allow: its outputs are too large, or its bodies work too long, perhaps without end.
    #[error(transparent)]
    Limit(Box<LimitError>),
    /// Somebody ended the run.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl EvaluateError {
    /// The bodies took more work than they are allowed.
    pub(crate) fn endless(limits: &Limits) -> Self {
        let more =
            within("the work of loops' bodies", limits.body_work.saturating_add(1), limits.body_work, "body_work");
        more.map_or_else(Self::from, |()| Self::Run("it takes more work than can be counted".to_owned()))
    }
}

impl From<LimitError> for EvaluateError {
    fn from(error: LimitError) -> Self {
        Self::Limit(Box::new(error))
    }
}

impl From<NodeError> for EvaluateError {
    fn from(error: NodeError) -> Self {
        Self::Body(Box::new(error))
    }
}

/// What an evaluation may use beside its inputs.
#[derive(Debug, Clone)]
pub struct Context {
    /// The seed of random operators that have none: those in the bodies of If, Loop and Scan.
    pub seed: u64,
    /// How often such an operator was evaluated: each time draws other numbers.
    pub draws: u64,
    /// Work that the bodies of If, Loop and Scan may still do, so that no loop runs without end: each node that is
    /// evaluated in one takes 1, and 1 more for every 4 KiB that it gives. [`Limits::body_work`] at first. Sessions allow it
    /// to each node of their graph.
    pub body_work: u64,
    /// What the values that are computed are to keep to.
    pub limits: Limits,
    /// Whoever runs bodies better than the references do.
    pub bodies: Option<Arc<dyn Bodies>>,
    /// What may end the evaluation.
    pub interrupt: Interrupt,
}

impl Default for Context {
    fn default() -> Self {
        let limits = Limits::default();
        Self { seed: 0, draws: 0, body_work: limits.body_work, limits, bodies: None, interrupt: Interrupt::default() }
    }
}

impl Context {
    /// A context for what is computed before a run, which should take next to no time.
    pub fn brief() -> Self {
        Self { body_work: 1 << 12, ..Self::default() }
    }
}

/// The inputs of an evaluation.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a>(pub &'a [Option<&'a Value>]);

impl<'a> Inputs<'a> {
    /// The tensor at this place.
    ///
    /// # Errors
    /// If it is missing.
    pub fn tensor(&self, index: usize) -> Result<&'a Tensor, EvaluateError> {
        match self.value(index) {
            Some(Value::Tensor(tensor)) => Ok(tensor),
            Some(other) => {
                Err(ShapeError::new(format!("input {index} should be a tensor, not {}", other.value_type())).into())
            }
            None => Err(ShapeError::new(format!("input {index} is missing")).into()),
        }
    }

    /// Whether one is a tensor of texts.
    pub fn any_strings(&self) -> bool {
        (0..self.len()).any(|i| self.optional(i).is_some_and(|t| t.element_type() == ElementType::String))
    }

    /// The tensor at this place, if one is given.
    pub fn optional(&self, index: usize) -> Option<&'a Tensor> {
        self.value(index).and_then(Value::as_tensor)
    }

    /// The value at this place, whatever it is, if one is given.
    pub fn value(&self, index: usize) -> Option<&'a Value> {
        self.0.get(index).copied().flatten()
    }

    /// The sequence at this place.
    ///
    /// # Errors
    /// If it is missing, or no sequence.
    pub fn sequence(&self, index: usize) -> Result<&'a Sequence, EvaluateError> {
        let value = self.value(index).ok_or_else(|| ShapeError::new(format!("input {index} is missing")))?;
        let sequence = value.as_sequence();
        sequence.ok_or_else(|| {
            ShapeError::new(format!("input {index} should be a sequence, not {}", value.value_type())).into()
        })
    }

    /// The integers of a parameter at this place (axes, sizes, a shape), if it is given.
    ///
    /// # Errors
    /// If its elements are no integers.
    pub fn integers(&self, index: usize) -> Result<Option<Vec<i64>>, EvaluateError> {
        let Some(tensor) = self.optional(index) else { return Ok(None) };
        match tensor.integers() {
            Some(integers) => Ok(Some(integers)),
            None => {
                Err(ShapeError::new(format!("input {index} should be integers, not {}", tensor.element_type())).into())
            }
        }
    }

    /// [`Inputs::integers`] of a parameter that is a list or a single number: a shape, axes, starts.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn list(&self, index: usize) -> Result<Option<Vec<i64>>, EvaluateError> {
        match self.optional(index) {
            Some(tensor) if tensor.rank() > 1 => {
                Err(ShapeError::new(format!("input {index} should be a list, not of rank {}", tensor.rank())).into())
            }
            _ => self.integers(index),
        }
    }

    /// The number of places, given or left out.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What an operator wants to know of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Its elements, when it runs.
    Elements,
    /// Its elements, if possible before it runs: they decide the output's shape, or are parameters of the kernel (axes,
    /// sizes, bounds).
    Parameter,
    /// Its type and shape alone.
    Fact,
}

/// An operator of the ONNX standard, or one that a rewrite made of several.
///
/// Everything about one stands in one file: parameters, shape rule, reference, candidates, tests.
pub trait Operator: fmt::Debug + Send + Sync + std::any::Any {
    /// The operator's name in the standard: `Conv`.
    fn name(&self) -> &str;

    /// The facts of the outputs. Dimensions may be symbolic or unknown; ranks are known.
    ///
    /// # Errors
    /// If the inputs cannot be right.
    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError>;

    /// The facts of the outputs as far as there are any: an output of which not even the rank is known, or that is no
    /// tensor, has none. `complete` says that everything is known of the inputs; else `None` also stands for an input that
    /// is given but of which nothing is known.
    ///
    /// For operators whose results may be such; what the others give is [`Operator::infer`]'s, or nothing.
    ///
    /// # Errors
    /// If the inputs cannot be right.
    fn infer_partly(&self, inputs: &[Option<&Fact>], complete: bool) -> Result<Vec<Option<Fact>>, ShapeError> {
        if complete { Ok(self.infer(inputs)?.into_iter().map(Some).collect()) } else { Ok(vec![]) }
    }

    /// The outputs: the reference, clear rather than fast, its sums in `f32` or wider.
    ///
    /// # Errors
    /// If the inputs do not fit; never a panic.
    fn evaluate(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError>;

    /// What it wants to know of the input at this place. Where a parameter is an input of the graph, or computed of such
    /// ones, plans are made for its content.
    fn reads(&self, input: usize) -> Reads {
        let _ = input;
        Reads::Elements
    }

    /// The ways to run it on a GPU, or why there is none.
    ///
    /// # Errors
    /// The reason, as a sentence's end: "… runs on the host, because `reason`".
    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let _ = request;
        Err("it has no kernel".to_owned())
    }

    /// The nodes that can take its place, for an operator that is made of others: their inputs are those of its own that are
    /// given, in order, and their outputs its own. A rewrite puts them there before a plan is made.
    ///
    /// # Errors
    /// As [`Operator::infer`].
    fn expansion(&self, inputs: &[Option<&Fact>]) -> Result<Option<super::Graph>, ShapeError> {
        let _ = inputs;
        Ok(None)
    }

    /// The element-wise function, if each output element depends on the input element at the same place alone and
    /// there is one such input: rewrites put it at the end of the operator before.
    fn activation(&self) -> Option<super::Activation> {
        None
    }

    /// The same operator with an activation applied to its output, if it can take one.
    fn with_activation(&self, activation: super::Activation) -> Option<Arc<dyn Operator>> {
        let _ = activation;
        None
    }

    /// The ways to divide it where a constant that it reads is too large for a device.
    fn divisions(&self, inputs: &[Option<&Fact>]) -> Vec<super::Division> {
        let _ = inputs;
        vec![]
    }

    /// Floating-point operations of one run (a multiplication and an addition count as two), for reports and costs.
    fn work(&self, inputs: &[Option<&Fact>], outputs: &[Fact]) -> f64 {
        let _ = inputs;
        outputs.iter().filter_map(Fact::concrete).map(|s| s.iter().map(|&d| d as f64).product::<f64>()).sum()
    }

    /// By how much its sums magnify the relative rounding errors of what it reads first, because their terms cancel: the
    /// root of the mean square of its sums beside that of what is left of them without their mean. 1 where nothing
    /// cancels, 0 where nobody knows.
    fn cancellation(&self) -> f32 {
        0.0
    }

    /// Whether its results are probabilities of logits: what logits err by, their probabilities err by relative to
    /// themselves, however small they are.
    fn gives_probabilities(&self) -> bool {
        self.activation() == Some(super::Activation::Sigmoid)
    }

    /// Whether it takes tensors of texts; of an operator that does not, none reaches `evaluate`.
    fn takes_strings(&self) -> bool {
        false
    }

    /// Whether its reference takes 16-bit brain floats as such, because their few bits matter to it; others are given 32-bit
    /// floats in their place.
    fn takes_brain_floats(&self) -> bool {
        false
    }

    /// Whether its outputs are elements of its inputs as they are, or zeros, and nothing about their values matters: then
    /// texts are moved through it as 64-bit integers.
    fn moves_elements(&self) -> bool {
        false
    }

    /// The graphs that it runs.
    fn bodies(&self) -> Vec<&Body> {
        vec![]
    }

    /// Whether it gives the same for the same inputs each time.
    fn is_deterministic(&self) -> bool {
        self.bodies().iter().all(|body| body.is_deterministic())
    }

    /// The same operator with a seed, if it is random and its node has none: what it draws follows from the session's seed
    /// and from a number of its own, its place in the graph.
    fn with_seed(&self, seed: u64, stream: u64) -> Option<Arc<dyn Operator>> {
        let _ = (seed, stream);
        None
    }

    /// Whether the operator only hands its first input on (Identity, Dropout in inference).
    fn is_identity(&self) -> bool {
        false
    }
}

impl dyn Operator {
    /// The operator as the type that it is, for rewrites.
    pub fn downcast<T: Operator>(&self) -> Option<&T> {
        (self as &dyn std::any::Any).downcast_ref()
    }
}
