//! What is stored in 16 bits, so that a plan needs few pipelines: a kernel for values of another storage is another.

use std::collections::{HashMap, HashSet};

use super::{Choice, Chooser};
use crate::error::PlanError;
use crate::graph::{Graph, NodeId};
use crate::kernel::{Binding, DeviceClass, DeviceFacts, Kernel, Storage};
use crate::plan::apart::MANY;
use crate::plan::draft::{Draft, Source, Stage};
use crate::plan::precision::Halves;
use crate::plan::{Aim, PlanOptions};

/// What is stored in 16 bits, and all that was chosen with it.
pub(super) fn choice(
    graph: &Graph,
    device: &DeviceFacts,
    options: &PlanOptions,
    aim: Aim,
) -> Result<(Halves, Choice), PlanError> {
    let with = |halves: Halves| {
        let choice = Chooser::thrifty(graph, device, options, (aim, &halves))?;
        Ok::<_, PlanError>((halves, choice))
    };
    if !options.half {
        return with(Halves::None);
    }
    let first = with(Halves::Large)?;
    // On GPUs the bytes that are moved weigh more than the pipelines.
    if aim != Aim::Speed || first.1.pipelines <= MANY || device.class != DeviceClass::Software {
        return Ok(first);
    }
    // Weights alone; and of these, as long as that is a pipeline less, not those of the kernel that has fewest.
    let mut weights = with(Halves::Weights(HashSet::new()))?;
    // Where there are too many without any, it does not help.
    if weights.1.pipelines > MANY && with(Halves::None)?.1.pipelines > MANY {
        return Ok(first);
    }
    while weights.1.pipelines > MANY {
        let Halves::Weights(but) = &weights.0 else { break };
        let mut fewer = None;
        for nodes in in_half(&weights.1.draft) {
            let other = with(Halves::Weights(but.iter().copied().chain(nodes).collect()))?;
            if other.1.pipelines < weights.1.pipelines {
                fewer = Some(other);
                break;
            }
        }
        match fewer {
            Some(fewer) => weights = fewer,
            None => return Ok(first),
        }
    }
    Ok(weights)
}

/// For each kernel for constants in 16 bits, its nodes: first of those that are there for constants in 32 bits, too, those with
/// the fewest first.
fn in_half(draft: &Draft) -> Vec<Vec<NodeId>> {
    // By what the kernels have in common, the bytes and nodes by what their constants are stored as.
    type Ways = HashMap<Vec<Storage>, (u64, Vec<NodeId>)>;
    let mut kernels: HashMap<(Kernel, Vec<Option<Storage>>), Ways> = HashMap::new();
    for stage in &draft.stages {
        let Stage::Run(run) = stage else { continue };
        for dispatch in &run.dispatches {
            let mut kernel = dispatch.kernel.clone();
            let storages = std::mem::take(&mut kernel.storages);
            let constant = |binding: &Binding| match binding {
                Binding::Constant(constant) => Some(constant.units.saturating_mul(constant.storage.unit_bytes())),
                Binding::Input(i) => match run.inputs.get(*i) {
                    Some(Some(Source::Constant(constant))) => Some(constant.units),
                    _ => None,
                },
                _ => None,
            };
            let bytes: Vec<Option<u64>> = dispatch.bindings.iter().map(constant).collect();
            let pairs = || storages.iter().zip(&bytes);
            let values = pairs().map(|(storage, bytes)| bytes.is_none().then_some(*storage)).collect();
            let constants: Vec<Storage> = pairs().filter(|(_, bytes)| bytes.is_some()).map(|(s, _)| *s).collect();
            let entry = kernels.entry((kernel, values)).or_default().entry(constants).or_default();
            entry.0 = bytes.iter().flatten().fold(entry.0, |sum, bytes| sum.saturating_add(*bytes));
            entry.1.extend(run.node);
        }
    }
    let mut halves: Vec<_> = kernels
        .into_values()
        .filter_map(|ways| {
            let alone = ways.len() == 1;
            let in_half =
                ways.into_iter().filter(|(constants, _)| constants.contains(&Storage::F16)).map(|(_, way)| way);
            let (bytes, nodes) = in_half.reduce(|a, b| (a.0.saturating_add(b.0), [a.1, b.1].concat()))?;
            Some((alone, bytes, nodes))
        })
        .collect();
    halves.sort_unstable();
    halves.into_iter().map(|(_, _, nodes)| nodes).collect()
}
