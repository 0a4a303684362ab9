//! The cheapest way to run one node.

use super::{Chooser, overhead};
use crate::error::PlanError;
use crate::graph::{Fact, Node, NodeId, Operand, Reads, Request, ValueId};
use crate::kernel::{Binding, Candidate, Kernel, Layout, Storage, Want, units};
use crate::plan::{Aim, tuning};

/// How a candidate's outputs lie, and how many dispatches it has, conversions of its inputs counted in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lie {
    outputs: Vec<Layout>,
    dispatches: usize,
}

impl Lie {
    fn of(candidate: &Candidate, conversions: usize) -> Self {
        Self { outputs: candidate.outputs.clone(), dispatches: candidate.dispatches.len() + conversions }
    }

    /// Whether a candidate that lies so can stand for this one.
    fn holds(&self, other: &Self) -> bool {
        self.outputs == other.outputs && other.dispatches <= self.dispatches
    }
}

impl Chooser<'_> {
    /// The cheapest way to run a node on the device, or why there is none.
    pub(super) fn candidate(
        &mut self,
        id: NodeId,
        facts: &[Option<&Fact>],
        outputs: &[Fact],
    ) -> Result<Result<Candidate, String>, PlanError> {
        let graph = self.graph;
        let node = graph.node(id);
        let operands: Vec<Option<Operand<'_>>> = node
            .inputs
            .iter()
            .zip(facts)
            .map(|(id, fact)| {
                id.zip(*fact).map(|(id, fact)| Operand {
                    fact,
                    layout: self.layout(id),
                    storage: self.operand_storage(node, id, fact),
                })
            })
            .collect();
        let output = |i: usize| node.outputs.get(i).copied().flatten();
        let storages: Vec<_> = outputs.iter().enumerate().map(|(i, fact)| self.storage(output(i), fact)).collect();
        let read = facts.iter().enumerate().filter(|(i, _)| node.operator.reads(*i) != Reads::Fact);
        if read.filter_map(|(_, fact)| *fact).chain(outputs).any(|fact| fact.concrete().is_none()) {
            return Ok(Err("its shapes are known at run time only".to_owned()));
        }
        for (i, fact) in outputs.iter().enumerate() {
            if output(i).is_some() && storages[i].is_none() {
                return Ok(Err(format!("WGSL has no {}", fact.element_type)));
            }
        }
        let request =
            Request { inputs: &operands, outputs, output_storages: &storages, device: self.device, open: self.open };
        let candidates = match node.operator.candidates(&request) {
            Ok(candidates) => candidates,
            Err(reason) => return Ok(Err(reason)),
        };
        let buffers = usize::try_from(self.device.max_storage_buffers).unwrap_or(usize::MAX);
        let mut refused = None;
        let mut too_large = None;
        let mut fitting: Vec<((u64, f64), Candidate)> = vec![];
        // The kernels that bring each one's inputs where it wants them.
        let mut brought: Vec<Vec<Kernel>> = vec![];
        for candidate in candidates {
            if let Some(shaders) = self.options.distrust.objects_to(&candidate) {
                refused = refused.or(Some(format!("{shaders} answers wrong on this device")));
                continue;
            }
            if let Some(d) = candidate.dispatches.iter().find(|d| d.bindings.len() > buffers) {
                refused = Some(format!("its kernel binds {} buffers, the device {buffers}", d.bindings.len()));
                continue;
            }
            if let Some(bytes) = candidate.scratch_bytes().max().filter(|&bytes| bytes > self.limit()) {
                refused = Some(format!("its kernel needs {bytes} bytes beside, the device binds {}", self.limit()));
                continue;
            }
            if let Err(error) = self.check_tensors(node, &candidate, outputs) {
                too_large = too_large.or(Some(error));
                continue;
            }
            let dispatches = candidate.dispatches.len() as f64 * overhead(self.device);
            // A view's input must be stored as its output is.
            let as_stored = storages.first().copied().flatten();
            let wanted = node.inputs.iter().zip(&candidate.inputs).enumerate();
            let wanted = wanted.filter_map(|(i, (id, want))| match want {
                Want::In(layout) => Some(((*id)?, *layout, as_stored.filter(|_| candidate.view_of == Some(i)))),
                Want::Nothing => None,
            });
            let mut conversions = 0.0;
            let mut converting = vec![];
            for (id, layout, storage) in wanted {
                let cost = self.conversion_cost(id, layout, storage);
                if cost > 0.0 {
                    conversions += cost;
                    converting.extend(self.conversion(id, layout));
                }
            }
            let bytes = if self.aim == Aim::Memory { self.bytes_beside(node, &candidate) } else { 0 };
            fitting.push(((bytes, candidate.cost + dispatches + conversions), candidate));
            brought.push(converting);
        }
        let lies: Vec<Lie> =
            fitting.iter().zip(&brought).map(|((_, candidate), more)| Lie::of(candidate, more.len())).collect();
        let avoided = |i: usize| {
            let mut kernels = fitting[i].1.dispatches.iter().map(|d| &d.kernel).chain(&brought[i]);
            kernels.any(|kernel| self.avoided.contains(kernel) || self.repertoire.is_some_and(|all| !all.has(kernel)))
        };
        let otherwise = |i: usize| self.like.get(&id).is_some_and(|like| !like.holds(&lies[i]));
        let rank = |i: usize| (avoided(i), otherwise(i), fitting[i].0);
        let least = |best: usize, i: usize| if rank(i) < rank(best) { i } else { best };
        let cheapest = (0..fitting.len()).reduce(least);
        let mut only = None;
        let Some(mut chosen) = cheapest else {
            let reason = || Err(refused.unwrap_or_else(|| "it has no kernel for these shapes".to_owned()));
            return too_large.map_or_else(|| Ok(reason()), Err);
        };
        if self.aim == Aim::Speed && (self.kinds.is_some() || !self.options.tuning.is_empty()) {
            let key = tuning::kind(node, &request);
            if let Some(fastest) = self.options.tuning.get(key) {
                only = fitting.iter().position(|(_, c)| tuning::fingerprint(c) == fastest);
                chosen = only.unwrap_or(chosen);
            }
            if let Some(kinds) = &mut self.kinds {
                tuning::note(kinds, key, id, fitting.iter().map(|(_, candidate)| candidate), chosen);
            }
        }
        if let Some(economy) = &mut self.economy {
            let open = fitting.iter().zip(brought).zip(&lies).enumerate();
            let open = open.filter(|(i, _)| only.is_none_or(|only| only == *i));
            economy.note(open.map(|(_, ((((_, cost), candidate), conversions), lie))| {
                (*cost, lies[chosen].holds(lie), candidate, conversions)
            }));
        }
        if let Some(taken) = &mut self.taken {
            taken.push((id, lies[chosen].clone()));
        }
        let ((_, cost), candidate) = fitting.swap_remove(chosen);
        self.time += cost;
        Ok(Ok(candidate))
    }

    /// Whether all that a candidate binds can be bound at once.
    fn check_tensors(&self, node: &Node, candidate: &Candidate, outputs: &[Fact]) -> Result<(), PlanError> {
        let check = |name: &str, fact: &Fact, layout: Layout, storage: Option<Storage>| match storage {
            Some(storage) => {
                let shape = fact.concrete().unwrap_or_default();
                let units = units(&shape, layout.canonical(&shape)).unwrap_or(u64::MAX);
                self.check_size(name, units.saturating_mul(storage.unit_bytes()))
            }
            None => Ok(()),
        };
        for (id, want) in node.inputs.iter().zip(&candidate.inputs) {
            if let (Some(id), Want::In(layout)) = (id, want)
                && let Some(fact) = self.graph.fact(*id)
            {
                check(&self.graph.value(*id).name, fact, *layout, self.operand_storage(node, *id, fact))?;
            }
        }
        for (i, (fact, layout)) in outputs.iter().zip(&candidate.outputs).enumerate() {
            let id = node.outputs.get(i).copied().flatten();
            let name = id.map_or(&node.name, |id| &self.graph.value(id).name);
            check(name, fact, *layout, self.storage(id, fact))?;
        }
        for binding in candidate.dispatches.iter().flat_map(|d| &d.bindings) {
            if let Binding::Constant(constant) = binding {
                // Packed out of an input, or made up by the operator.
                let is_source = |id: &&ValueId| self.graph.constant(**id).is_some_and(|t| t.shares(&constant.source));
                let source = node.inputs.iter().flatten().find(is_source);
                let name = source.map_or(&node.name, |&id| &self.graph.value(id).name);
                self.check_size(name, constant.units.saturating_mul(constant.storage.unit_bytes()))?;
            }
        }
        Ok(())
    }

    /// Bytes that a candidate takes beside the values: scratch, and the constants as it packs them.
    fn bytes_beside(&self, node: &Node, candidate: &Candidate) -> u64 {
        let packed = candidate.dispatches.iter().flat_map(|d| &d.bindings).map(|binding| match binding {
            Binding::Constant(constant) => constant.units.saturating_mul(constant.storage.unit_bytes()),
            _ => 0,
        });
        let laid_out = node.inputs.iter().zip(&candidate.inputs).map(|(id, want)| {
            let constant = id.and_then(|id| self.graph.constant(id));
            let (Some(tensor), Want::In(layout)) = (constant, want) else { return 0 };
            let fact = id.and_then(|id| self.graph.fact(id));
            let storage = fact.and_then(|fact| self.precision.constant(self.graph, node, fact));
            let storage = storage.map_or(16, Storage::unit_bytes);
            units(tensor.shape(), *layout).unwrap_or(u64::MAX).saturating_mul(storage)
        });
        candidate.scratch_bytes().chain(packed).chain(laid_out).fold(0, u64::saturating_add)
    }
}
