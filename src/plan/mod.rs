//! From a graph to a schedule: where each node runs, how each value lies in memory, what is dispatched in which order.
//!
//! A [`Schedule`] is plain data: it can be printed, compared in a snapshot test, and checked without a GPU. It is made in
//! four steps: `choose` picks a candidate for each node and puts conversions of layout between them, `share` finds
//! values that can be one memory, `memory` places what is left in buffers, `emit` writes the dispatches down.

mod apart;
mod choose;
mod distrust;
mod divide;
mod draft;
mod emit;
mod memory;
#[cfg(test)]
mod peak;
mod precision;
mod schedule;
mod share;
mod states;
mod text;
mod tuning;

pub use choose::{Repertoire, repertoire};
pub use distrust::Distrust;
#[cfg(feature = "gpu")]
pub(crate) use distrust::shaders_that_say;
pub use divide::divide;
pub use schedule::{
    Bound, Held, HostStep, NodePlace, Place, Region, Schedule, ScheduledDispatch, Slot, SlotId, State, Step, Summary,
};
pub use text::bytes as readable_bytes;
pub use tuning::{Found, Kind, Timed, Tuning, search};

use std::collections::BTreeSet;
use std::sync::Arc;

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
    /// Values, by their names, that stay in 32 bits whatever the rules say.
    pub single: BTreeSet<String>,
    /// Results may be written over what they were computed from.
    pub in_place: bool,
    /// Parts of a concatenation may be written where they belong.
    pub in_place_concat: bool,
    /// What the kernels are made of.
    pub shaders: Shaders,
    /// Bytes that values and packed constants may take on the device. Where the fastest kernels take more, those that take
    /// least are chosen.
    pub memory_limit: Option<u64>,
    /// The kernels that plans for all sizes of a model are made of, where its sizes are open.
    pub repertoire: Option<Arc<Repertoire>>,
    /// The candidates that were measured to be fastest, which come before what is estimated.
    pub tuning: Arc<Tuning>,
    /// The kernels that answer wrong on the device, which are passed over.
    pub distrust: Arc<Distrust>,
    /// Outputs that are the next run's inputs, which are kept where they are if they can lie in the same memory.
    pub states: Vec<State>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            placement: Placement::Auto,
            half: false,
            single: BTreeSet::new(),
            in_place: true,
            in_place_concat: true,
            shaders: Shaders::default(),
            memory_limit: None,
            repertoire: None,
            tuning: Arc::default(),
            distrust: Arc::default(),
            states: vec![],
        }
    }
}

/// Plans a graph whose dimensions are all numbers.
///
/// # Errors
/// [`PlanError::TooLarge`] if a tensor cannot be bound; [`PlanError::HostNodes`] if a node would run on the host and
/// [`Placement::GpuOnly`] was asked for; [`PlanError::Memory`] if there is a limit that it cannot keep;
/// [`PlanError::Node`] if a node cannot be right under these shapes; [`PlanError::Shader`] if a kernel is made of a shader
/// of the caller's own that is not right.
pub fn plan(graph: Graph, device: &DeviceFacts, options: &PlanOptions) -> Result<Schedule, PlanError> {
    let Some(limit) = options.memory_limit else { return plan_for(Aim::Speed, graph, device, options) };
    let fast = plan_for(Aim::Speed, graph.clone(), device, options)?;
    if fast.summary.device_bytes() <= limit {
        return Ok(fast);
    }
    let options = PlanOptions { repertoire: None, ..options.clone() };
    let small = plan_for(Aim::Memory, graph, device, &options)?;
    // The least memory is looked for node by node, so the whole may take more all the same.
    let least = if small.summary.device_bytes() < fast.summary.device_bytes() { small } else { fast };
    match least.summary.device_bytes() {
        needed if needed > limit => Err(PlanError::Memory { needed, limit, constants: least.summary.constant_bytes }),
        _ => Ok(least),
    }
}

/// The kinds of nodes that have more than one candidate on a device, for [`search`].
///
/// # Errors
/// As [`plan`].
pub fn survey(graph: &Graph, device: &DeviceFacts, options: &PlanOptions) -> Result<Vec<Kind>, PlanError> {
    let mut kinds = choose::survey(graph, device, options)?;
    kinds.retain(|kind| kind.candidates.len() > 1);
    Ok(kinds)
}

/// What is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// The least time.
    Speed,
    /// The least memory beside the values themselves: scratch, and constants as they are packed.
    Memory,
}

fn plan_for(aim: Aim, graph: Graph, device: &DeviceFacts, options: &PlanOptions) -> Result<Schedule, PlanError> {
    let (draft, places) = choose::choose(&graph, device, options, aim)?;
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
    let forms = states::forms(&graph, &draft, &options.states);
    let sharing = apart::share(&draft, options, &forms);
    let held = states::held(&graph, &draft, &sharing, &options.states);
    emit::emit(graph, &draft, (&sharing, &held), places, device, &options.shaders, options.half)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Context, Definition, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value};
    use crate::kernel::{Candidates, Storage};
    use crate::tensor::ElementType;

    /// Relu, and a quicker Relu that takes a mebibyte beside.
    #[derive(Debug)]
    struct Twofold(Arc<dyn Operator>);

    impl Operator for Twofold {
        fn name(&self) -> &str {
            "Twofold"
        }

        fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
            self.0.infer(inputs)
        }

        fn evaluate(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
            self.0.evaluate(context, inputs)
        }

        fn candidates(&self, request: &Request<'_>) -> Candidates {
            let mut candidates = self.0.candidates(request)?;
            let mut quick = candidates[0].clone();
            (quick.name, quick.cost, quick.scratch) = ("quick", quick.cost / 2.0, vec![(1 << 16, Storage::F32)]);
            candidates.push(quick);
            Ok(candidates)
        }
    }

    fn graph() -> Graph {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [1000usize]);
        let relu = crate::ops::operator(&Definition::new("Relu")).unwrap();
        let y = graph.operator(Arc::new(Twofold(relu)), &[Some(x)], 1)[0];
        graph.output("y", y);
        graph.build().unwrap()
    }

    fn planned(memory_limit: Option<u64>) -> Result<Schedule, PlanError> {
        plan(graph(), &DeviceFacts::lavapipe(), &PlanOptions { memory_limit, ..PlanOptions::default() })
    }

    #[test]
    fn a_candidate_that_is_measured_to_be_slow_is_not_chosen_again() {
        let (device, options) = (DeviceFacts::lavapipe(), PlanOptions::default());
        let kinds = survey(&graph(), &device, &options).unwrap();
        assert_eq!(kinds[0].candidates[kinds[0].chosen].1, "quick");
        // "quick" by its estimate alone.
        let place = |tuning: &Tuning| {
            let options = PlanOptions { tuning: Arc::new(tuning.clone()), ..PlanOptions::default() };
            plan(graph(), &device, &options).unwrap().places[0].place.clone()
        };
        let (found, tuning) = search(&kinds, |tuning| -> Result<_, ()> {
            let slow = place(tuning) == Place::Gpu("quick");
            Ok(vec![(Some(kinds[0].nodes[0]), std::time::Duration::from_millis(if slow { 9 } else { 1 }))])
        })
        .unwrap();
        assert_ne!(found[0].kind.candidates[found[0].taken].1, "quick");
        assert_eq!(place(&Tuning::default()), Place::Gpu("quick"));
        assert_ne!(place(&tuning), Place::Gpu("quick"));
        // What a limit of memory demands comes first.
        let options = PlanOptions { tuning: Arc::new(tuning), memory_limit: Some(1), ..PlanOptions::default() };
        assert!(matches!(plan(graph(), &device, &options), Err(PlanError::Memory { .. })));
    }

    #[test]
    fn a_memory_limit_is_kept_or_refused_with_the_number() {
        let quick = planned(None).unwrap();
        assert_eq!(quick.places[0].place, Place::Gpu("quick"));
        let taken = quick.summary.device_bytes();
        assert!(taken > 1 << 20);
        assert_eq!(planned(Some(taken)).unwrap().places, quick.places);
        let small = planned(Some(taken - 1)).unwrap();
        assert_ne!(small.places, quick.places);
        let least = small.summary.device_bytes();
        assert!(least < 1 << 14, "{least}");
        assert!(planned(Some(least)).is_ok());
        let Err(PlanError::Memory { needed, limit, constants }) = planned(Some(least - 1)) else { panic!("refused") };
        assert_eq!((needed, limit, constants), (least, least - 1, 0));
    }
}
