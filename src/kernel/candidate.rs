//! A way to run a node on a GPU.

use super::{Dispatch, Layout, Storage};

/// What a candidate needs of one of its node's inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// The value in this layout, on the device.
    In(Layout),
    /// Nothing at run time: it was read when the plan was made (a shape, an axis) or is packed as a constant.
    Nothing,
}

/// One way to run a node on a GPU, as plain data. The planner chooses by cost, conversions of layout included.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// What distinguishes it, for reports: `subgroup`, `register`, `view`.
    pub name: &'static str,
    /// What it needs of each of the node's inputs.
    pub inputs: Vec<Want>,
    /// The layout in which it leaves each of the node's outputs.
    pub outputs: Vec<Layout>,
    /// The first output is the first-named input under another shape: nothing is dispatched, both are one memory.
    pub view_of: Option<usize>,
    /// Inputs in whose memory output 0 may be written where nobody needs them afterwards. The dispatch that writes the
    /// output must read of that input only the units that it writes (the kernel's `in_place` is set by the planner).
    pub in_place: Vec<usize>,
    /// What is dispatched instead where output 0 is written over an input, if that is another.
    pub instead: Vec<(usize, Dispatch)>,
    /// Units and storage of memory that it needs while it runs.
    pub scratch: Vec<(u64, Storage)>,
    /// What it dispatches, in order.
    pub dispatches: Vec<Dispatch>,
    /// An estimate of its time, in nanoseconds of a device that does 10 GFLOP/s and moves 10 GB/s; only ratios matter.
    pub cost: f64,
}

impl Candidate {
    /// A candidate without dispatches: fill them in.
    pub fn new(name: &'static str, inputs: Vec<Want>, outputs: Vec<Layout>) -> Self {
        Self {
            name,
            inputs,
            outputs,
            view_of: None,
            in_place: vec![],
            instead: vec![],
            scratch: vec![],
            dispatches: vec![],
            cost: 0.0,
        }
    }

    /// The node's output is its input under another shape, both dense.
    pub fn view(input: usize, inputs: usize) -> Self {
        let mut wants = vec![Want::Nothing; inputs];
        wants[input] = Want::In(Layout::Linear);
        Self { view_of: Some(input), ..Self::new("view", wants, vec![Layout::Linear]) }
    }

    /// Adds a dispatch.
    #[must_use]
    pub fn dispatch(mut self, dispatch: Dispatch) -> Self {
        self.dispatches.push(dispatch);
        self
    }

    /// Allows the output to be written over this input.
    #[must_use]
    pub fn in_place(mut self, input: usize) -> Self {
        self.in_place.push(input);
        self
    }

    /// The dispatches, where output 0 is perhaps written over an input.
    pub fn dispatched(&self, over: Option<usize>) -> &[Dispatch] {
        match self.instead.iter().find(|(input, _)| Some(*input) == over) {
            Some((_, dispatch)) => std::slice::from_ref(dispatch),
            None => &self.dispatches,
        }
    }

    /// The bytes of each piece of scratch memory.
    pub fn scratch_bytes(&self) -> impl Iterator<Item = u64> + '_ {
        self.scratch.iter().map(|(units, storage)| units.saturating_mul(storage.unit_bytes()))
    }

    /// Sets the cost from the arithmetic (floating-point operations) and the bytes moved.
    #[must_use]
    pub fn cost(mut self, operations: f64, bytes: f64) -> Self {
        self.cost = operations / 10.0 + bytes / 10.0;
        self
    }
}

/// The ways to run a node on a GPU, or why there is none.
pub type Candidates = Result<Vec<Candidate>, String>;
