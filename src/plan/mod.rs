//! From a graph to a schedule: where each node runs, how each value lies in memory, what is dispatched in which order.
//!
//! A [`Schedule`] is plain data: it can be printed, compared in a snapshot test, and checked without a GPU. It is made in
//! four steps: `choose` picks a candidate for each node and puts conversions of layout between them, `share` finds
//! values that can be one memory, `memory` places what is left in buffers, `emit` writes the dispatches down.

mod choose;
mod draft;
mod emit;
mod memory;
mod precision;
mod schedule;
mod share;
mod text;

pub use schedule::{
    Bound, HostStep, NodePlace, Place, Region, Schedule, ScheduledDispatch, Slot, SlotId, Step, Summary,
};
pub use text::bytes as readable_bytes;

use crate::error::PlanError;
use crate::graph::Graph;
use crate::kernel::{DeviceFacts, Shaders};

/// Where nodes may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Placement {
    /// On the GPU where there is a kernel, else on the host.
    #[default]
    Auto,
    /// On the GPU; a node without a kernel is an error that names all such nodes.
    GpuOnly,
    /// On the host, every node: for measuring and for tests of the crossings.
    HostOnly,
}

/// What a plan depends on beside the graph and the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanOptions {
    /// Where nodes may run.
    pub placement: Placement,
    /// 32-bit floats are stored as 16-bit ones on the device, but for those that the rules of `precision` keep.
    pub half: bool,
    /// Results may be written over what they were computed from.
    pub in_place: bool,
    /// Parts of a concatenation may be written where they belong.
    pub in_place_concat: bool,
    /// What the kernels are made of.
    pub shaders: Shaders,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            placement: Placement::Auto,
            half: false,
            in_place: true,
            in_place_concat: true,
            shaders: Shaders::default(),
        }
    }
}

/// Plans a graph whose dimensions are all numbers.
///
/// # Errors
/// [`PlanError::TooLarge`] if a tensor cannot be bound; [`PlanError::HostNodes`] if a node would run on the host and
/// [`Placement::GpuOnly`] was asked for; [`PlanError::Node`] if a node cannot be right under these shapes;
/// [`PlanError::Shader`] if a kernel is made of a shader of the caller's own that is not right.
pub fn plan(graph: Graph, device: &DeviceFacts, options: &PlanOptions) -> Result<Schedule, PlanError> {
    let (draft, places) = choose::choose(&graph, device, options)?;
    if options.placement == Placement::GpuOnly {
        let host: Vec<String> = places
            .iter()
            .filter_map(|place| match &place.place {
                Place::Host(reason) => {
                    let node = graph.node(place.node);
                    Some(format!("'{}' ({}): {reason}", node.name, node.operator.name()))
                }
                _ => None,
            })
            .collect();
        if !host.is_empty() {
            return Err(PlanError::HostNodes(host));
        }
    }
    let sharing = share::share(&draft, options.in_place, options.in_place_concat);
    emit::emit(graph, &draft, &sharing, places, device, &options.shaders, options.half)
}
