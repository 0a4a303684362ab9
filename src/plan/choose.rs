//! Where each node runs, and in which layouts: a walk over the nodes that takes the cheapest candidate of each, the
//! conversions that it needs counted in.

mod candidate;
mod economy;
mod forms;
mod joint;

use std::collections::{HashMap, HashSet};

use super::apart::MANY;
use super::draft::{Draft, Form, FormId, Run, Source, Stage, Target};
use super::precision::Precision;
use super::schedule::{NodePlace, Place};
use super::share::share;
use super::tuning::Kind;
use super::{Aim, Placement, PlanOptions};
use crate::error::PlanError;
use crate::graph::{Fact, Graph, Node, NodeError, NodeId, ValueId};
use crate::kernel::{
    Binding, Candidate, Constant, DeviceClass, DeviceFacts, Kernel, Layout, Packing, Storage, Want, pack, units,
};
use crate::ops::concat::Concat;
use crate::ops::convert;
use crate::tensor::Tensor;
use candidate::Lie;
use economy::{Bill, Economy};
pub use joint::{Repertoire, repertoire};

/// What a dispatch costs beside its work, in the unit of [`Candidate::cost`]. lavapipe takes 15 to 20 µs for each
/// (measured), GPUs 2 to 10.
fn overhead(device: &DeviceFacts) -> f64 {
    if device.class == DeviceClass::Software { 18_000.0 } else { 6_000.0 }
}

struct Chooser<'a> {
    graph: &'a Graph,
    device: &'a DeviceFacts,
    options: &'a PlanOptions,
    aim: Aim,
    draft: Draft,
    /// For each stage, where it stands: the place of a node, and before (0), at (1) or after (2) it.
    order: Vec<(usize, u8)>,
    /// The forms in which a value lies on the device.
    on_device: HashMap<ValueId, Vec<FormId>>,
    /// The values that the host has, and the place of the node that computed them there (0: given to the run).
    on_host: HashMap<ValueId, usize>,
    places: Vec<NodePlace>,
    /// The node that is chosen for.
    at: Option<NodeId>,
    precision: Precision,
    /// The kinds of nodes that were met, where somebody asks for them.
    kinds: Option<Vec<Kind>>,
    /// What else nodes could run by, to find out which kernels the plan can do without.
    economy: Option<Economy>,
    /// Those: taken only where a node has nothing else.
    avoided: HashSet<Kernel>,
    /// Whether plans for other sizes are made of the same kernels.
    open: bool,
    /// Those, where they are known: others are taken only where a node has nothing else.
    repertoire: Option<&'a Repertoire>,
    /// What was taken for each node, where it is noted.
    taken: Option<Vec<(NodeId, Lie)>>,
    /// How nodes are to lie: others of a node's candidates are taken only where it has nothing else.
    like: HashMap<NodeId, Lie>,
    /// What the nodes cost that were chosen for.
    time: f64,
}

/// All that was chosen for a graph.
struct Choice {
    draft: Draft,
    places: Vec<NodePlace>,
    avoided: HashSet<Kernel>,
    bill: Bill,
}

/// Chooses for the whole graph.
pub fn choose(
    graph: &Graph,
    device: &DeviceFacts,
    options: &PlanOptions,
    aim: Aim,
) -> Result<(Draft, Vec<NodePlace>), PlanError> {
    let choice = Chooser::thrifty(graph, device, options, aim)?;
    Ok((choice.draft, choice.places))
}

/// The kinds of nodes that a plan meets.
pub fn survey(graph: &Graph, device: &DeviceFacts, options: &PlanOptions) -> Result<Vec<Kind>, PlanError> {
    let choice = Chooser::thrifty(graph, device, options, Aim::Speed)?;
    let mut chooser = Chooser::new(graph, device, options, Aim::Speed);
    (chooser.kinds, chooser.avoided) = (Some(vec![]), choice.avoided);
    chooser.nodes()?;
    Ok(chooser.kinds.unwrap_or_default())
}

/// Moves downloads before the host nodes that stand directly before them, so that one wait serves several.
fn join_downloads(draft: &mut Draft) {
    let mut written: HashSet<FormId> = HashSet::new();
    for i in 0..draft.stages.len() {
        if let Stage::Download(form) = draft.stages[i] {
            let mut to = i;
            while to > 0 && matches!(draft.stages[to - 1], Stage::Host(_)) {
                to -= 1;
            }
            if to < i && written.contains(&form) {
                let stage = draft.stages.remove(i);
                draft.stages.insert(to, stage);
            }
        }
        written.extend(draft.stages[i].writes());
    }
}

impl<'a> Chooser<'a> {
    fn new(graph: &'a Graph, device: &'a DeviceFacts, options: &'a PlanOptions, aim: Aim) -> Self {
        Self {
            graph,
            device,
            options,
            aim,
            draft: Draft::default(),
            order: vec![],
            on_device: HashMap::new(),
            on_host: graph.inputs.iter().map(|&v| (v, 0)).collect(),
            places: vec![],
            at: None,
            precision: Precision::of(graph, options.half, &options.single),
            kinds: None,
            economy: None,
            avoided: HashSet::new(),
            open: options.repertoire.is_some(),
            repertoire: options.repertoire.as_deref(),
            taken: None,
            like: HashMap::new(),
            time: 0.0,
        }
    }

    /// All nodes, by as few kernels as it takes: chosen node by node first, then again without those that are hardly missed.
    fn thrifty(
        graph: &'a Graph,
        device: &'a DeviceFacts,
        options: &'a PlanOptions,
        aim: Aim,
    ) -> Result<Choice, PlanError> {
        let mut first = Self::new(graph, device, options, aim);
        // What there is need not be fewer.
        if aim == Aim::Speed && first.repertoire.is_none() {
            (first.economy, first.taken) = (Some(Economy::default()), Some(vec![]));
        }
        first.all()?;
        let (economy, taken) = (first.economy.take(), first.taken.take());
        let mut best = first.finish();
        let (Some(economy), Some(taken)) = (economy, taken) else { return Ok(best) };
        let at_first = best.bill;
        for as_they_lie in [false, true] {
            let avoided = economy.avoided(at_first.kernels, as_they_lie);
            if avoided.is_empty() {
                continue;
            }
            let mut again = Self { avoided, ..Self::new(graph, device, options, aim) };
            if as_they_lie {
                again.like.extend(taken.iter().cloned());
            }
            again.all()?;
            let again = again.finish();
            let better = best.bill.kernels == at_first.kernels || again.bill.comes_before(&best.bill);
            if better && again.bill.is_better_than(&at_first) {
                best = again;
            }
            // What a node leaves its output in may cost those after it more than was seen; so where that was too much, or
            // there were many, nodes are chosen once more such that each leaves it as it did at first.
            if at_first.kernels <= MANY && best.bill.kernels < at_first.kernels {
                break;
            }
        }
        Ok(best)
    }

    fn all(&mut self) -> Result<(), PlanError> {
        self.nodes()?;
        self.outputs()
    }

    /// What was chosen, its stages in order.
    fn finish(self) -> Choice {
        let mut stages: Vec<_> = self.order.into_iter().zip(self.draft.stages).collect();
        stages.sort_by_key(|(order, _)| *order);
        let stages = stages.into_iter().map(|(_, stage)| stage).collect();
        let mut draft = Draft { forms: self.draft.forms, stages };
        join_downloads(&mut draft);
        let (in_place, concat) = (self.options.in_place, self.options.in_place_concat);
        let (dispatches, kernels) = share(&draft, [in_place, concat], &HashSet::new(), &[]).counted(&draft);
        let bill = Bill { dispatches, kernels, time: self.time };
        Choice { draft, places: self.places, avoided: self.avoided, bill }
    }

    fn nodes(&mut self) -> Result<(), PlanError> {
        self.graph.node_ids().try_for_each(|id| self.node(id))
    }

    fn node(&mut self, id: NodeId) -> Result<(), PlanError> {
        let graph = self.graph;
        let node = graph.node(id);
        self.at = Some(id);
        let known = graph.input_facts(node).zip(output_facts(graph, node)?);
        let Some((facts, outputs)) = known else {
            self.host(id)?;
            let place = Place::Host("what it reads or gives is known at run time only".to_owned());
            self.places.push(NodePlace { node: id, place, work: 0.0 });
            return Ok(());
        };
        // Computed with the plan already.
        if node.outputs.iter().flatten().all(|&id| graph.constant(id).is_some()) {
            self.places.push(NodePlace { node: id, place: Place::View, work: 0.0 });
            return Ok(());
        }
        let work = node.operator.work(&facts, &outputs);
        let chosen = match self.options.placement {
            Placement::HostOnly => Err("the plan was asked to stay on the host".to_owned()),
            Placement::Auto | Placement::GpuOnly => self.candidate(id, &facts, &outputs)?,
        };
        let place = match chosen {
            Ok(candidate) => {
                let place = if candidate.dispatches.is_empty() { Place::View } else { Place::Gpu(candidate.name) };
                self.run(id, candidate, &outputs)?;
                place
            }
            Err(reason) => {
                self.host(id)?;
                Place::Host(reason)
            }
        };
        self.places.push(NodePlace { node: id, place, work });
        Ok(())
    }

    fn run(&mut self, id: NodeId, candidate: Candidate, facts: &[Fact]) -> Result<(), PlanError> {
        let graph = self.graph;
        let node = graph.node(id);
        let at = id.0 + 1;
        let mut inputs = vec![];
        for (input, want) in node.inputs.iter().zip(&candidate.inputs) {
            inputs.push(match (input, want) {
                (Some(value), Want::In(layout)) => Some(match graph.constant(*value) {
                    Some(tensor) => {
                        let storage = graph.fact(*value).and_then(|f| self.precision.constant(graph, node, f));
                        Source::Constant(Box::new(self.constant(*value, tensor, *layout, storage)?))
                    }
                    None => {
                        // A view is stored as what it is a view of.
                        let output = node.outputs.first().copied().flatten();
                        let like = output.filter(|_| candidate.view_of == Some(inputs.len()));
                        let storage = self.own_storage(like.unwrap_or(*value))?;
                        Source::Form(self.form(*value, *layout, storage, at)?)
                    }
                }),
                _ => None,
            });
        }
        let mut outputs = vec![];
        for (i, layout) in candidate.outputs.iter().enumerate() {
            outputs.push(match node.outputs.get(i).copied().flatten() {
                Some(value) => Target::Form(self.add_form(value, *layout, self.own_storage(value)?)?),
                None => {
                    let fact = facts.get(i);
                    let shape = fact.and_then(Fact::concrete).unwrap_or_default();
                    let storage = fact.and_then(|f| self.storage(None, f));
                    Target::Unused(units(&shape, *layout).unwrap_or(1), storage.unwrap_or(Storage::F32))
                }
            });
        }
        let view_of = candidate.view_of.filter(|&i| matches!(inputs.get(i), Some(Some(Source::Form(_)))));
        let mut dispatches = candidate.dispatches;
        // A constant that was not folded has no memory to be a view of: it is copied.
        if let (Some(input), None, Some(&Target::Form(form))) = (candidate.view_of, view_of, outputs.first()) {
            let Form { units, storage, .. } = self.draft.forms[form];
            let flat = [usize::try_from(units.saturating_mul(4)).unwrap_or(usize::MAX)];
            let from = match inputs.get(input) {
                Some(Some(Source::Constant(constant))) => constant.storage,
                _ => storage,
            };
            let mut copy = convert::convert(&flat, Layout::Linear, Layout::Linear, from, storage, self.device)
                .map_err(PlanError::Options)?;
            copy.bindings[0] = Binding::Input(input);
            dispatches = if units == 0 { vec![] } else { vec![copy] };
        }
        let run = Run {
            node: Some(id),
            label: node.name.clone(),
            inputs,
            outputs,
            scratch: candidate.scratch,
            dispatches,
            cost: candidate.cost,
            may_overwrite: candidate.in_place,
            instead: candidate.instead,
            view_of,
            concat: concat_axis(node, facts).filter(|_| candidate.name == "concat"),
        };
        self.stage((at, 1), Stage::Run(Box::new(run)));
        Ok(())
    }

    fn constant(
        &self,
        value: ValueId,
        tensor: &Tensor,
        layout: Layout,
        storage: Option<Storage>,
    ) -> Result<Constant, PlanError> {
        let layout = layout.canonical(tensor.shape());
        let storage = storage.ok_or_else(|| {
            PlanError::Options(format!("a constant of {} cannot lie on the device", tensor.element_type()))
        })?;
        let units = units(tensor.shape(), layout).unwrap_or(u64::MAX);
        self.check_size(&self.graph.value(value).name, units.saturating_mul(storage.unit_bytes()))?;
        Ok(Constant {
            source: tensor.clone(),
            packing: Packing { name: "layout", pack: pack_layout },
            parameters: vec![layout as usize],
            storage,
            units,
        })
    }

    fn host(&mut self, id: NodeId) -> Result<(), PlanError> {
        let node = self.graph.node(id);
        let at = id.0 + 1;
        for &value in node.inputs.iter().flatten() {
            self.download(value, at, 0)?;
        }
        self.stage((at, 1), Stage::Host(id));
        for &value in node.outputs.iter().flatten() {
            self.on_host.insert(value, at);
        }
        Ok(())
    }

    /// Sees to it that the host has a value.
    fn download(&mut self, value: ValueId, at: usize, when: u8) -> Result<(), PlanError> {
        if self.graph.constant(value).is_some() || self.on_host.contains_key(&value) {
            return Ok(());
        }
        let form = self.form(value, Layout::Linear, self.own_storage(value)?, at)?;
        self.stage((at, when), Stage::Download(form));
        self.on_host.insert(value, at);
        Ok(())
    }

    fn outputs(&mut self) -> Result<(), PlanError> {
        let end = self.graph.nodes.len() + 1;
        for &value in &self.graph.outputs {
            self.download(value, end, 1)?;
        }
        Ok(())
    }
}

/// The facts of all outputs of a node, those that nobody asked for included, if all are known.
fn output_facts(graph: &Graph, node: &Node) -> Result<Option<Vec<Fact>>, PlanError> {
    let known: Option<Vec<Fact>> = node.outputs.iter().map(|id| id.and_then(|id| graph.fact(id)).cloned()).collect();
    if let Some(facts) = known.filter(|facts| !facts.is_empty()) {
        return Ok(Some(facts));
    }
    let Some(inputs) = graph.input_facts(node) else { return Ok(None) };
    let facts = node.operator.infer_partly(&inputs, true).map_err(|e| NodeError::new(node, e))?;
    Ok(facts.into_iter().collect())
}

/// Packs a constant into a layout, which the parameter numbers.
fn pack_layout(tensor: &Tensor, parameters: &[usize]) -> Tensor {
    let layout = [Layout::Linear, Layout::Rows, Layout::Channels4]
        .into_iter()
        .find(|l| parameters == [*l as usize])
        .unwrap_or(Layout::Linear);
    // A tensor that exists fits its own layout: the only error is an overflow of the address space.
    pack(tensor, layout).unwrap_or_else(|_| tensor.clone())
}

/// The axis of a concatenation, counted from the front.
fn concat_axis(node: &Node, outputs: &[Fact]) -> Option<usize> {
    let concat = node.operator.downcast::<Concat>()?;
    concat.axis(outputs.first()?.rank()).ok()
}
