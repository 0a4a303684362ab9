//! Fewer pipelines by writing apart: a kernel that writes over what it reads is another than the same kernel that does not.

use std::collections::{BTreeMap, HashSet};

use super::PlanOptions;
use super::choose::Repertoire;
use super::draft::{Draft, Run, Stage};
use super::memory::{Need, lower_bound};
use super::share::{self, Sharing};
use super::states::Forms;
use crate::kernel::Kernel;

/// Pipelines that no plan should need more of.
pub const MANY: usize = 14;

/// The part of a plan's memory that may be spent for a pipeline less.
const WORTH: u64 = 50;

/// How often it is looked at what is written over what at most.
const ROUNDS: usize = 8;

/// What can share memory; where there are more pipelines than a plan should need, nodes that could write over what they read
/// but are few or small write apart, by the kernel of others that do.
pub fn share(draft: &Draft, options: &PlanOptions, states: &[Option<Forms>]) -> Sharing {
    share_by(draft, options, states, options.repertoire.as_deref())
}

/// [`share`] by these kernels, where they are known: what could write over what it reads by no kernel of these writes apart, if
/// it can.
pub fn share_by(
    draft: &Draft,
    options: &PlanOptions,
    states: &[Option<Forms>],
    repertoire: Option<&Repertoire>,
) -> Sharing {
    let shared =
        |apart: &HashSet<usize>| share::share(draft, [options.in_place, options.in_place_concat], apart, states);
    let mut apart = HashSet::new();
    let mut best = shared(&apart);
    if let Some(repertoire) = repertoire {
        // What one writes apart another may write over.
        for _ in 0..ROUNDS {
            let before = apart.len();
            for (at, run) in runs(draft).filter(|(at, _)| best.overwrites[*at].is_some()) {
                let there = best.dispatched(at, run).all(|(_, kernel)| repertoire.dispatches(&kernel));
                if !there && run.dispatches.iter().all(|dispatch| repertoire.dispatches(&dispatch.kernel)) {
                    apart.insert(at);
                }
            }
            if apart.len() == before {
                break;
            }
            best = shared(&apart);
        }
        return best;
    }
    let most = bytes(draft, &best) / WORTH;
    if best.counted(draft).1 <= MANY {
        return best;
    }
    for stages in doubled(draft, &best) {
        let mut more = apart.clone();
        more.extend(stages);
        let sharing = shared(&more);
        let fewer = sharing.counted(draft).1 < best.counted(draft).1;
        if fewer && bytes(draft, &sharing) <= bytes(draft, &best).saturating_add(most) {
            (best, apart) = (sharing, more);
            if best.counted(draft).1 <= MANY {
                break;
            }
        }
    }
    best
}

/// For each kernel that there is in more than one form as to what it writes over, the stages that write over something; those of
/// the least bytes first.
fn doubled(draft: &Draft, sharing: &Sharing) -> Vec<Vec<usize>> {
    type Forms = (HashSet<Option<(usize, usize)>>, Vec<usize>, u64);
    let mut kernels: BTreeMap<Kernel, Forms> = BTreeMap::new();
    for (at, run) in runs(draft) {
        for (_, mut kernel) in sharing.dispatched(at, run) {
            let in_place = kernel.in_place.take();
            let (forms, stages, bytes) = kernels.entry(kernel).or_default();
            forms.insert(in_place);
            if in_place.is_some() {
                stages.push(at);
                *bytes += run.writes().map(|form| draft.forms[form].bytes()).sum::<u64>();
            }
        }
    }
    let mut doubled: Vec<Forms> = kernels.into_values().filter(|(forms, _, _)| forms.len() > 1).collect();
    doubled.sort_by_key(|(_, _, bytes)| *bytes);
    doubled.into_iter().map(|(_, stages, _)| stages).collect()
}

/// The largest sum of live bytes.
fn bytes(draft: &Draft, sharing: &Sharing) -> u64 {
    let mut seen = HashSet::new();
    let roots = (0..draft.forms.len()).map(|form| sharing.root(form).0).filter(|root| seen.insert(*root));
    let needs: Vec<Need> = roots
        .map(|root| Need { size: draft.forms[root].bytes(), live: sharing.live(root) })
        .filter(|need| need.live.0 != usize::MAX)
        .collect();
    lower_bound(&needs)
}

fn runs(draft: &Draft) -> impl Iterator<Item = (usize, &Run)> {
    draft.stages.iter().enumerate().filter_map(|(at, stage)| match stage {
        Stage::Run(run) => Some((at, run.as_ref())),
        _ => None,
    })
}
