//! The program between choosing and emitting: what runs in which order on which physical forms of values.

use crate::graph::{NodeId, ValueId};
use crate::kernel::{Constant, Dispatch, Layout, Storage};

/// A value in one physical form, by its index in [`Draft::forms`].
pub type FormId = usize;

/// A value in one physical form.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    pub value: ValueId,
    pub shape: Vec<usize>,
    pub layout: Layout,
    pub storage: Storage,
    /// Units that it takes.
    pub units: u64,
}

impl Form {
    /// Bytes that it takes; an empty value takes a unit, since nothing can be bound without length.
    pub fn bytes(&self) -> u64 {
        self.units.max(1) * self.storage.unit_bytes()
    }
}

/// What a dispatch reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Form(FormId),
    Constant(Box<Constant>),
}

/// Where a node's output goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    Form(FormId),
    /// Nobody asked for it, but the kernel writes it: as many units of this storage.
    Unused(u64, Storage),
}

/// A node (or a conversion of layout) that runs on the device.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub node: Option<NodeId>,
    pub label: String,
    pub inputs: Vec<Option<Source>>,
    pub outputs: Vec<Target>,
    pub scratch: Vec<(u64, Storage)>,
    pub dispatches: Vec<Dispatch>,
    /// The estimated time of all of them.
    pub cost: f64,
    /// Inputs over which output 0 may be written.
    pub may_overwrite: Vec<usize>,
    /// What is dispatched instead where output 0 is written over an input, if that is another.
    pub instead: Vec<(usize, Dispatch)>,
    /// Output 0 is this input under another shape.
    pub view_of: Option<usize>,
    /// Output 0 is the concatenation of the inputs along this axis, one dispatch an input.
    pub concat: Option<usize>,
}

impl Run {
    /// The form that an input is, if it is one.
    pub fn input_form(&self, index: usize) -> Option<FormId> {
        match self.inputs.get(index)? {
            Some(Source::Form(form)) => Some(*form),
            _ => None,
        }
    }

    /// Every form that it reads.
    pub fn reads(&self) -> impl Iterator<Item = FormId> + '_ {
        (0..self.inputs.len()).filter_map(|i| self.input_form(i))
    }

    /// Every form that it writes.
    pub fn writes(&self) -> impl Iterator<Item = FormId> + '_ {
        self.outputs.iter().filter_map(|target| match target {
            Target::Form(form) => Some(*form),
            Target::Unused(..) => None,
        })
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    Upload(FormId),
    Download(FormId),
    Host(NodeId),
    Run(Box<Run>),
}

impl Stage {
    /// Every form that the step reads.
    pub fn reads(&self) -> Vec<FormId> {
        match self {
            Self::Download(form) => vec![*form],
            Self::Run(run) => run.reads().collect(),
            Self::Upload(_) | Self::Host(_) => vec![],
        }
    }

    /// Every form that the step writes.
    pub fn writes(&self) -> Vec<FormId> {
        match self {
            Self::Upload(form) => vec![*form],
            Self::Run(run) => run.writes().collect(),
            Self::Download(_) | Self::Host(_) => vec![],
        }
    }
}

/// A program.
#[derive(Debug, Default)]
pub struct Draft {
    pub forms: Vec<Form>,
    pub stages: Vec<Stage>,
}
