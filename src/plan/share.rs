//! Which forms are the same memory: views, results written over what they were computed from, and parts of a
//! concatenation that are written where they belong.

use std::collections::HashSet;

use super::draft::{Draft, FormId, Run, Source, Stage, Target};
use super::states::Forms;
use crate::kernel::{Binding, Dispatch, Kernel};

/// The memory of forms: groups of forms that are one memory, some of them lying inside another group's.
#[derive(Debug)]
pub struct Sharing {
    /// For each form, the form that stands for its group.
    group: Vec<FormId>,
    /// For each group, the group in whose memory it lies, and where, in bytes.
    inside: Vec<Option<(FormId, u64)>>,
    /// For each stage, the input over which output 0 is written.
    pub overwrites: Vec<Option<usize>>,
    /// For each stage, the inputs that need no dispatch of a concatenation, because they lie in place.
    pub in_place_parts: Vec<Vec<usize>>,
    /// For each form, the first stage that writes it and the last that needs it.
    live: Vec<(usize, usize)>,
}

/// Finds what can share memory. `in_place` and `concat` switch the two kinds of sharing that overwrite; the stages `apart`
/// write over nothing. Of `states`, the input may lie in the output.
pub fn share(
    draft: &Draft,
    [in_place, concat]: [bool; 2],
    apart: &HashSet<usize>,
    states: &[Option<Forms>],
) -> Sharing {
    let mut sharing = Sharing {
        group: (0..draft.forms.len()).collect(),
        inside: vec![None; draft.forms.len()],
        overwrites: vec![None; draft.stages.len()],
        in_place_parts: vec![vec![]; draft.stages.len()],
        live: lives(draft),
    };
    for (at, stage) in draft.stages.iter().enumerate() {
        let Stage::Run(run) = stage else { continue };
        if let Some(view_of) = run.view_of {
            if let (Some(input), Some(&Target::Form(output))) = (run.input_form(view_of), run.outputs.first()) {
                sharing.join(output, input);
            }
        } else if run.concat.is_some() && concat {
            sharing.place_parts(draft, at, run, states);
        } else if in_place && !apart.contains(&at) {
            sharing.overwrite(draft, at, run);
        }
    }
    sharing
}

/// The first stage that writes each form, and the last that reads it.
fn lives(draft: &Draft) -> Vec<(usize, usize)> {
    let mut live = vec![(usize::MAX, 0); draft.forms.len()];
    for (at, stage) in draft.stages.iter().enumerate() {
        for form in stage.reads().into_iter().chain(stage.writes()) {
            live[form].0 = live[form].0.min(at);
            live[form].1 = live[form].1.max(at);
        }
    }
    live
}

impl Sharing {
    /// What a stage dispatches, and by which kernels: those that write in place are others.
    pub fn dispatched<'a>(&'a self, at: usize, run: &'a Run) -> impl Iterator<Item = (&'a Dispatch, Kernel)> + use<'a> {
        let overwritten = self.overwrites[at];
        let dispatches = match run.instead.iter().find(|(input, _)| Some(*input) == overwritten) {
            Some((_, dispatch)) => std::slice::from_ref(dispatch),
            None => &run.dispatches,
        };
        // A part of a concatenation that lies where it belongs needs no copy.
        let placed = &self.in_place_parts[at];
        let is_placed = |dispatch: &&Dispatch| {
            dispatch.bindings.iter().any(|b| matches!(b, Binding::Input(i) if placed.contains(i)))
        };
        dispatches.iter().filter(move |dispatch| !is_placed(dispatch)).map(move |dispatch| {
            let mut kernel = dispatch.kernel.clone();
            if let Some(input) = overwritten {
                let read = dispatch.bindings.iter().position(|b| *b == Binding::Input(input));
                let written = dispatch.bindings.iter().position(|b| *b == Binding::Output(0));
                kernel.in_place = read.zip(written);
            }
            (dispatch, kernel)
        })
    }

    /// How many dispatches a draft comes to, and of how many kernels.
    pub fn counted(&self, draft: &Draft) -> (usize, usize) {
        let runs = draft.stages.iter().enumerate().filter_map(|(at, stage)| match stage {
            Stage::Run(run) => Some((at, run)),
            _ => None,
        });
        let kernels: Vec<Kernel> =
            runs.flat_map(|(at, run)| self.dispatched(at, run).map(|(_, kernel)| kernel)).collect();
        (kernels.len(), kernels.into_iter().collect::<HashSet<_>>().len())
    }

    /// The group whose own memory a form lies in, and where in it, in bytes.
    pub fn root(&self, form: FormId) -> (FormId, u64) {
        let mut root = self.group[form];
        let mut offset = 0;
        while let Some((outer, at)) = self.inside[root] {
            offset += at;
            root = self.group[outer];
        }
        (root, offset)
    }

    /// From the first write to the last read of anything in a form's memory.
    pub fn live(&self, root: FormId) -> (usize, usize) {
        (0..self.group.len())
            .filter(|&f| self.root(f).0 == root)
            .map(|f| self.live[f])
            .fold((usize::MAX, 0), |a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// From the first write to the last read of one form.
    pub fn form_live(&self, form: FormId) -> (usize, usize) {
        self.live[form]
    }

    fn join(&mut self, form: FormId, with: FormId) {
        let (from, to) = (self.group[form], self.group[with]);
        for group in &mut self.group {
            if *group == from {
                *group = to;
            }
        }
    }

    /// Writes a run's output over an input that nobody needs afterwards.
    fn overwrite(&mut self, draft: &Draft, at: usize, run: &Run) {
        let Some(&Target::Form(output)) = run.outputs.first() else { return };
        for &index in &run.may_overwrite {
            let Some(input) = run.input_form(index) else { continue };
            let (old, new) = (&draft.forms[input], &draft.forms[output]);
            let root = self.root(input).0;
            let others = run.reads().filter(|&f| self.root(f).0 == root).count();
            let fits = old.storage == new.storage && old.units == new.units;
            // Nothing in that memory is needed later: not the input, nor what it is a view or a part of.
            if fits && others == 1 && self.live(root).1 == at {
                self.overwrites[at] = Some(index);
                self.join(output, input);
                return;
            }
        }
    }

    /// Lets the parts of a concatenation lie where they belong in its output.
    fn place_parts(&mut self, draft: &Draft, at: usize, run: &Run, states: &[Option<Forms>]) {
        let (Some(axis), Some(&Target::Form(output))) = (run.concat, run.outputs.first()) else { return };
        let mut offset = 0u64;
        for index in 0..run.inputs.len() {
            let Some(part) = run.input_form(index) else {
                // A constant is copied; what comes behind it may still lie where it belongs.
                let Some(Some(Source::Constant(constant))) = run.inputs.get(index) else { return };
                let physical = draft.forms[output].layout.physical_shape(constant.source.shape());
                let contiguous = physical.iter().take(axis).all(|&d| d == 1);
                if !contiguous || physical.iter().product::<usize>() as u64 != 4 * constant.units {
                    return;
                }
                offset += constant.units * draft.forms[output].storage.unit_bytes();
                continue;
            };
            let form = &draft.forms[part];
            let physical = form.layout.physical_shape(&form.shape);
            let contiguous = physical.iter().take(axis).all(|&d| d == 1);
            let elements: usize = physical.iter().product();
            let last = index + 1 == run.inputs.len();
            // A part that does not end on a whole unit shares one with the next.
            if !contiguous || (!last && !elements.is_multiple_of(4)) || form.layout != draft.forms[output].layout {
                return;
            }
            let bytes = form.units * draft.forms[output].storage.unit_bytes();
            let group = self.group[part];
            // Or what was written over it.
            let stays = states.iter().flatten().any(|&(from, to)| to == output && self.group[from] == group);
            let uploaded = draft.stages.iter().any(|s| matches!(s, Stage::Upload(f) if self.group[*f] == group));
            if form.units > 0
                && self.inside[group].is_none()
                && self.root(output).0 != group
                && (stays || !uploaded)
                && form.storage == draft.forms[output].storage
            {
                self.inside[group] = Some((output, offset));
                self.in_place_parts[at].push(index);
                if self.reads_what_it_writes(draft) {
                    self.inside[group] = None;
                    self.in_place_parts[at].pop();
                }
            }
            offset += bytes;
        }
    }

    /// Whether some run reads and writes one memory otherwise than by overwriting an input: wgpu refuses that, even on
    /// disjoint ranges.
    fn reads_what_it_writes(&self, draft: &Draft) -> bool {
        draft.stages.iter().enumerate().any(|(at, stage)| {
            let Stage::Run(run) = stage else { return false };
            if run.view_of.is_some() {
                return false;
            }
            run.writes().any(|written| {
                let root = self.root(written).0;
                (0..run.inputs.len()).any(|index| {
                    run.input_form(index).is_some_and(|read| {
                        self.root(read).0 == root
                            && self.overwrites[at] != Some(index)
                            // A part that lies in its place has no dispatch that would read it.
                            && !self.in_place_parts[at].contains(&index)
                    })
                })
            })
        })
    }
}
