//! One set of kernels for a model whose sizes change from run to run.
//!
//! A pipeline takes longer to make than a hundred runs. So where dimensions are open, the graph is chosen for at several sizes
//! together, before the first run: the fewest kernels are looked for by which none of them takes much longer than by the
//! kernels that would be best for it alone. Plans for all sizes are then made of these.

use std::collections::{BTreeSet, HashSet};

use super::Chooser;
use super::candidate::Lie;
use super::economy::Economy;
use crate::graph::{Graph, NodeId};
use crate::kernel::{DeviceFacts, Kernel};
use crate::plan::draft::{Draft, Stage};
use crate::plan::{Aim, PlanOptions, State, apart, states};

/// The part of its own best time by which a plan for one of the sizes may take longer, by the candidates' estimates.
const SLOWER: f64 = 1.0 / 10.0;

/// The kernels that plans of one model for all sizes are made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repertoire {
    /// As they are dispatched, those that write in place among them.
    dispatched: BTreeSet<Kernel>,
    /// As candidates have them.
    chosen: HashSet<Kernel>,
}

impl Repertoire {
    /// Every kernel, as it is dispatched.
    pub fn kernels(&self) -> impl Iterator<Item = &Kernel> {
        self.dispatched.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.dispatched.is_empty()
    }

    /// Whether there is a kernel as a candidate has it.
    pub(super) fn has(&self, kernel: &Kernel) -> bool {
        self.chosen.contains(kernel)
    }

    /// Whether there is a kernel as it is dispatched.
    pub(in crate::plan) fn dispatches(&self, kernel: &Kernel) -> bool {
        self.dispatched.contains(kernel)
    }

    /// Takes in the kernels of a plan.
    fn add(&mut self, (graph, states): &(Graph, Vec<State>), draft: &Draft, options: &PlanOptions) {
        let forms = states::forms(graph, draft, states);
        let sharing = apart::share_by(draft, options, &forms, Some(&*self).filter(|all| !all.is_empty()));
        let runs = |at| match &draft.stages[at] {
            Stage::Run(run) => Some(run),
            _ => None,
        };
        for (at, run) in (0..draft.stages.len()).filter_map(|at| Some((at, runs(at)?))) {
            self.chosen.extend(run.dispatches.iter().map(|dispatch| dispatch.kernel.clone()));
            self.dispatched.extend(sharing.dispatched(at, run).map(|(_, kernel)| kernel));
        }
    }
}

/// A graph at one size, as it is best chosen for alone.
struct Size<'a> {
    graph: &'a (Graph, Vec<State>),
    time: f64,
    taken: Vec<(NodeId, Lie)>,
}

/// The kernels for plans of one model at all sizes, chosen for these graphs of it together, the largest first, each with the
/// states that grow in place. Sizes that cannot be planned are passed over.
pub fn repertoire(graphs: &[(Graph, Vec<State>)], device: &DeviceFacts, options: &PlanOptions) -> Repertoire {
    let mut economy = Economy::default();
    let mut sizes = vec![];
    for graph in graphs {
        let mut alone = Chooser::new(&graph.0, device, options, Aim::Speed);
        (alone.open, alone.economy, alone.taken) = (true, Some(economy), Some(vec![]));
        let done = alone.all();
        economy = alone.economy.take().unwrap_or_default();
        if done.is_err() {
            economy.drop_graph();
            continue;
        }
        economy.end_graph(1.0 / alone.time.max(1.0), 1.0 + SLOWER);
        sizes.push(Size { graph, time: alone.time, taken: alone.taken.take().unwrap_or_default() });
    }
    let mut best: Option<((bool, usize, f64), Repertoire)> = None;
    for alike in [false, true] {
        let Some(wanted) = economy.wanted(alike) else { continue };
        let chosen = Repertoire { chosen: wanted, ..Repertoire::default() };
        let Some((slowest, found)) = settle(&sizes, &chosen, alike, device, options) else { continue };
        let rank = (slowest > 1.0 + 2.0 * SLOWER, found.dispatched.len(), slowest);
        if best.as_ref().is_none_or(|(least, _)| rank < *least) {
            best = Some((rank, found));
        }
    }
    let Some((_, found)) = best else { return Repertoire::default() };
    // Plans to come are chosen without knowing how nodes lay here.
    let Some((_, again)) = settle(&sizes, &found, false, device, options) else { return found };
    let mut all = found;
    all.chosen.extend(again.chosen);
    all.dispatched.extend(again.dispatched);
    all
}

/// The kernels of these by which the sizes come out, in plans one after the other, and how much longer than alone the slowest
/// takes; `None` where one cannot be planned.
fn settle(
    sizes: &[Size<'_>],
    wanted: &Repertoire,
    alike: bool,
    device: &DeviceFacts,
    options: &PlanOptions,
) -> Option<(f64, Repertoire)> {
    let mut found = Repertoire::default();
    let mut slowest = 1.0f64;
    for size in sizes {
        let mut chooser = Chooser::new(&size.graph.0, device, options, Aim::Speed);
        (chooser.open, chooser.repertoire) = (true, Some(wanted));
        if alike {
            chooser.like.extend(size.taken.iter().cloned());
        }
        chooser.all().ok()?;
        slowest = slowest.max(chooser.time / size.time.max(1.0));
        found.add(size.graph, &chooser.finish().draft, options);
    }
    Some((slowest, found))
}
