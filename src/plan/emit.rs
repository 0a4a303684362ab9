//! From a draft and its sharing to a schedule: memory assigned, kernels and constants listed once, dispatches bound.

use std::collections::HashMap;

use super::draft::{Draft, FormId, Run, Source, Stage, Target};
use super::memory::{self, Assignment, Need};
use super::schedule::{
    Bound, Held, HostStep, NodePlace, Region, Schedule, ScheduledDispatch, Slot, SlotId, Step, Summary,
};
use super::share::Sharing;
use super::states::Room;
use crate::error::PlanError;
use crate::graph::Graph;
use crate::kernel::assemble::{Access, Assembled, assemble_from, assembled};
use crate::kernel::check::check;
use crate::kernel::{Binding, Constant, DeviceFacts, Dialect, Kernel, Shaders};

/// Makes the schedule.
pub fn emit(
    graph: Graph,
    draft: &Draft,
    (sharing, rooms): (&Sharing, &[Room]),
    places: Vec<NodePlace>,
    device: &DeviceFacts,
    shaders: &Shaders,
    half: bool,
) -> Result<Schedule, PlanError> {
    let mut emitter = Emitter {
        draft,
        shaders,
        sharing,
        needs: vec![],
        need_of: vec![None; draft.forms.len()],
        conflicts: vec![],
        kernels: vec![],
        kernel_index: HashMap::new(),
        constants: vec![],
        constant_index: HashMap::new(),
        scratch: vec![],
        steps: vec![],
    };
    emitter.needs();
    for at in 0..draft.stages.len() {
        emitter.stage(at)?;
    }
    Ok(emitter.finish(graph, places, rooms, device, half))
}

struct Emitter<'a> {
    draft: &'a Draft,
    shaders: &'a Shaders,
    sharing: &'a Sharing,
    needs: Vec<Need>,
    /// For each form that stands for memory, its need.
    need_of: Vec<Option<usize>>,
    conflicts: Vec<(usize, usize)>,
    kernels: Vec<(Kernel, Assembled)>,
    kernel_index: HashMap<Kernel, usize>,
    constants: Vec<Constant>,
    constant_index: HashMap<(usize, usize, &'static str, Vec<usize>, crate::kernel::Storage), usize>,
    /// The needs of scratch memory, as they are numbered in [`Part::Scratch`].
    scratch: Vec<usize>,
    /// Steps, and the stage that each came from.
    steps: Vec<(usize, Draftable)>,
}

/// A step whose memory is not assigned yet.
enum Draftable {
    Done(Step),
    Dispatch { dispatch: ScheduledDispatch, parts: Vec<Part> },
}

/// What a binding is, before memory is assigned.
#[derive(Clone, Copy)]
enum Part {
    Form(FormId),
    Scratch(usize, u64),
    Constant(usize),
}

impl Emitter<'_> {
    /// The memory that forms need.
    fn needs(&mut self) {
        for form in 0..self.draft.forms.len() {
            let (root, _) = self.sharing.root(form);
            if self.need_of[root].is_none() {
                let live = self.sharing.live(root);
                if live.0 != usize::MAX {
                    self.needs.push(Need { size: self.draft.forms[root].bytes(), live });
                    self.need_of[root] = Some(self.needs.len() - 1);
                }
            }
        }
    }

    fn stage(&mut self, at: usize) -> Result<(), PlanError> {
        match &self.draft.stages[at] {
            Stage::Upload(form) => self.steps.push((at, Draftable::Done(Step::Upload(SlotId(*form))))),
            Stage::Download(form) => self.steps.push((at, Draftable::Done(Step::Download(SlotId(*form))))),
            Stage::Host(node) => self.steps.push((at, Draftable::Done(Step::Host(HostStep { node: *node })))),
            Stage::Run(run) => self.run(at, run)?,
        }
        Ok(())
    }

    fn run(&mut self, at: usize, run: &Run) -> Result<(), PlanError> {
        let scratch: Vec<Part> = run
            .scratch
            .iter()
            .map(|(units, storage)| self.scratch(at, units.saturating_mul(storage.unit_bytes())))
            .collect();
        let outputs: Vec<Part> = run
            .outputs
            .iter()
            .map(|target| match target {
                Target::Form(form) => Part::Form(*form),
                Target::Unused(units, storage) => self.scratch(at, units.saturating_mul(storage.unit_bytes())),
            })
            .collect();
        let sharing = self.sharing;
        for (dispatch, kernel) in sharing.dispatched(at, run) {
            let mut parts = vec![];
            for binding in &dispatch.bindings {
                parts.push(match binding {
                    Binding::Input(i) => match &run.inputs[*i] {
                        Some(Source::Form(form)) => Part::Form(*form),
                        Some(Source::Constant(constant)) => Part::Constant(self.constant(constant)),
                        None => return Err(fault(run, "binds an input that it did not want")),
                    },
                    Binding::Output(i) => {
                        *outputs.get(*i).ok_or_else(|| fault(run, "binds an output that there is not"))?
                    }
                    Binding::Scratch(i) => {
                        *scratch.get(*i).ok_or_else(|| fault(run, "binds scratch that there is not"))?
                    }
                    Binding::Constant(constant) => Part::Constant(self.constant(constant)),
                });
            }
            let params: Vec<&str> = dispatch.params.iter().map(|(name, _)| *name).collect();
            let kernel = self.kernel(run, kernel, &params)?;
            self.conflict(kernel, &parts);
            let dispatch = ScheduledDispatch {
                node: run.node,
                label: run.label.clone(),
                kernel,
                bindings: vec![],
                params: dispatch.params.iter().map(|(_, word)| word.bits()).collect(),
                workgroups: dispatch.workgroups,
                cost: run.cost / run.dispatches.len() as f64,
            };
            self.steps.push((at, Draftable::Dispatch { dispatch, parts }));
        }
        Ok(())
    }

    fn scratch(&mut self, at: usize, bytes: u64) -> Part {
        self.needs.push(Need { size: bytes.max(16), live: (at, at) });
        self.scratch.push(self.needs.len() - 1);
        Part::Scratch(self.scratch.len() - 1, bytes.max(16))
    }

    fn kernel(&mut self, run: &Run, kernel: Kernel, params: &[&str]) -> Result<usize, PlanError> {
        if let Some(&index) = self.kernel_index.get(&kernel) {
            return Ok(index);
        }
        let assembled = match self.shaders.are_built_in() {
            true => assembled(&kernel).map_err(|e| fault(run, &e.to_string()))?,
            false => assemble_from(self.shaders, &kernel, Dialect::COMMON).map_err(PlanError::Shader)?,
        };
        if !assembled.replaced.is_empty() {
            check(&assembled, params)?;
        }
        self.kernels.push((kernel.clone(), assembled));
        self.kernel_index.insert(kernel, self.kernels.len() - 1);
        Ok(self.kernels.len() - 1)
    }

    fn constant(&mut self, constant: &Constant) -> usize {
        // Constants of a graph are shared, so the address of their bytes tells them apart.
        let (source, packing) = (&constant.source, constant.packing.name);
        let key = (source.address(), source.byte_length(), packing, constant.parameters.clone(), constant.storage);
        if let Some(&index) = self.constant_index.get(&key)
            && self.constants[index] == *constant
        {
            return index;
        }
        self.constants.push(constant.clone());
        self.constant_index.insert(key, self.constants.len() - 1);
        self.constants.len() - 1
    }

    /// Notes that what a dispatch reads and what it writes must lie in different buffers.
    fn conflict(&mut self, kernel: usize, parts: &[Part]) {
        let assembled = &self.kernels[kernel].1;
        let need = |part: &Part| match part {
            Part::Form(form) => self.need_of[self.sharing.root(*form).0],
            Part::Scratch(i, _) => Some(self.scratch[*i]),
            Part::Constant(_) => None,
        };
        let with = |read: bool| -> Vec<usize> {
            parts
                .iter()
                .zip(&assembled.buffers)
                .filter(|(_, buffer)| buffer.binding.is_some() && (buffer.access == Access::Read) == read)
                .filter_map(|(part, _)| need(part))
                .collect()
        };
        let (reads, writes) = (with(true), with(false));
        for &read in &reads {
            for &written in &writes {
                let pair = (read.min(written), read.max(written));
                if read != written && !self.conflicts.contains(&pair) {
                    self.conflicts.push(pair);
                }
            }
        }
    }

    /// Memory for all needs: what stays where it is has a buffer of its own, the others share the first ones.
    fn assigned(&self, rooms: &[Room], device: &DeviceFacts) -> (Assignment, Vec<Held>, u64) {
        let alignment = device.offset_alignment.max(256);
        let of_room: HashMap<usize, usize> =
            rooms.iter().enumerate().filter_map(|(i, room)| Some((self.need_of[room.root]?, i))).collect();
        let shared: Vec<usize> = (0..self.needs.len()).filter(|need| !of_room.contains_key(need)).collect();
        let index: HashMap<usize, usize> = shared.iter().enumerate().map(|(i, &need)| (need, i)).collect();
        let needs: Vec<Need> = shared.iter().map(|&need| self.needs[need]).collect();
        let conflicts: Vec<_> =
            self.conflicts.iter().filter_map(|(a, b)| Some((*index.get(a)?, *index.get(b)?))).collect();
        let mut assignment = memory::assign(&needs, &conflicts, alignment, device.max_buffer_size);
        let first = assignment.buffers.len();
        let place = |need: usize| match of_room.get(&need) {
            Some(room) => (first + room, 0),
            None => assignment.places[index[&need]],
        };
        assignment.places = (0..self.needs.len()).map(place).collect();
        assignment.buffers.extend(rooms.iter().map(|room| room.bytes));
        let held = rooms.iter().enumerate().map(|(i, room)| Held { state: room.state, buffer: first + i });
        let kept: u64 = rooms.iter().map(|room| room.bytes).sum();
        (assignment, held.collect(), memory::lower_bound(&needs).saturating_add(kept))
    }

    fn finish(
        mut self,
        graph: Graph,
        places: Vec<NodePlace>,
        rooms: &[Room],
        device: &DeviceFacts,
        half: bool,
    ) -> Schedule {
        let (assignment, held, lower_bound_bytes) = self.assigned(rooms, device);
        let region = |need: usize, offset: u64, size: u64| {
            let (buffer, at) = assignment.places[need];
            Region { buffer, offset: at + offset, size }
        };
        // Stages and steps are counted differently: a view is no step, a node may be several.
        let mut first = vec![usize::MAX; self.draft.stages.len()];
        let mut last = vec![0; self.draft.stages.len()];
        for (index, (stage, _)) in self.steps.iter().enumerate() {
            first[*stage] = first[*stage].min(index);
            last[*stage] = index;
        }
        for at in (0..first.len()).rev() {
            if first[at] == usize::MAX {
                first[at] = first.get(at + 1).copied().unwrap_or(self.steps.len());
            }
        }
        for at in 1..last.len() {
            last[at] = last[at].max(last[at - 1]);
        }
        let slots = self
            .draft
            .forms
            .iter()
            .enumerate()
            .map(|(id, form)| {
                let (root, offset) = self.sharing.root(id);
                let (from, to) = self.sharing.form_live(id);
                let region = self.need_of[root]
                    .map_or(Region { buffer: 0, offset: 0, size: 0 }, |need| region(need, offset, form.bytes()));
                let live = if from == usize::MAX { (0, 0) } else { (first[from], last[to]) };
                Slot {
                    value: form.value,
                    shape: form.shape.clone(),
                    layout: form.layout,
                    storage: form.storage,
                    region,
                    live,
                }
            })
            .collect();
        let steps: Vec<Step> = std::mem::take(&mut self.steps)
            .into_iter()
            .map(|(_, step)| match step {
                Draftable::Done(step) => step,
                Draftable::Dispatch { mut dispatch, parts } => {
                    dispatch.bindings = parts
                        .iter()
                        .map(|part| match part {
                            Part::Form(form) => Bound::Slot(SlotId(*form)),
                            Part::Scratch(i, bytes) => Bound::Scratch(region(self.scratch[*i], 0, *bytes)),
                            Part::Constant(i) => Bound::Constant(*i),
                        })
                        .collect();
                    Step::Dispatch(dispatch)
                }
            })
            .collect();
        let dispatches = steps.iter().filter(|s| matches!(s, Step::Dispatch(_))).count();
        let conversions = steps.iter().filter(|s| matches!(s, Step::Dispatch(d) if d.node.is_none())).count();
        let summary = Summary {
            activation_bytes: assignment.total(),
            lower_bound_bytes,
            constant_bytes: self.constants.iter().map(|c| c.units.saturating_mul(c.storage.unit_bytes())).sum(),
            dispatches,
            pipelines: self.kernels.len(),
            conversions,
            host_nodes: steps.iter().filter(|s| matches!(s, Step::Host(_))).count(),
            work: places.iter().map(|p| p.work).sum(),
        };
        Schedule {
            graph,
            half,
            kernels: self.kernels.into_iter().map(|(kernel, _)| kernel).collect(),
            shaders: self.shaders.clone(),
            constants: self.constants,
            buffers: assignment.buffers,
            held,
            slots,
            steps,
            places,
            summary,
        }
    }
}

/// A candidate contradicts itself: a fault of Rimlight, found by its tests.
fn fault(run: &Run, message: &str) -> PlanError {
    PlanError::Options(format!(
        "the kernel for '{}' {message}; this is a fault of Rimlight, please report it",
        run.label
    ))
}
