//! Candidates by measurement instead of by estimate.
//!
//! A [`Kind`] is what nodes have in common that want the same kernel: operator, shapes, storages, class of device. [`search`]
//! has plans measured in which each kind runs by its first candidate, its second, and so on; what was found is a [`Tuning`],
//! which later plans follow. Who measures is not said here: a session on a device, or a test with times of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cache::hash;
use crate::graph::{Node, NodeId, Request};
use crate::kernel::Candidate;

/// The fastest candidate of each kind of node that was measured. The default has none: estimates decide.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tuning {
    fastest: BTreeMap<u128, u128>,
}

/// The version of the text that a tuning is written as.
const HEAD: &str = "rimlight tuning 1";

impl Tuning {
    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.fastest.is_empty()
    }

    /// How many kinds were measured.
    pub fn len(&self) -> usize {
        self.fastest.len()
    }

    /// Adds what another knows, which comes before what this one knew.
    pub fn merge(&mut self, newer: &Self) {
        self.fastest.extend(&newer.fastest);
    }

    /// Has nodes of a kind run by a candidate.
    pub fn set(&mut self, kind: u128, candidate: u128) {
        self.fastest.insert(kind, candidate);
    }

    pub(super) fn get(&self, kind: u128) -> Option<u128> {
        self.fastest.get(&kind).copied()
    }

    /// As text: a line for each kind.
    pub fn to_text(&self) -> String {
        let lines = self.fastest.iter().map(|(kind, candidate)| format!("{kind:032x} {candidate:032x}\n"));
        std::iter::once(format!("{HEAD}\n")).chain(lines).collect()
    }

    /// From text; `None` if it is none.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != HEAD {
            return None;
        }
        let number = |text| u128::from_str_radix(text, 16).ok();
        let fastest = lines.map(|line| {
            let (kind, candidate) = line.split_once(' ')?;
            Some((number(kind)?, number(candidate)?))
        });
        Some(Self { fastest: fastest.collect::<Option<_>>()? })
    }
}

/// Nodes that want the same kernel, and the candidates that they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// What they have in common, as one number.
    pub key: u128,
    /// The nodes.
    pub nodes: Vec<NodeId>,
    /// The candidates: each as one number, and its name.
    pub candidates: Vec<(u128, &'static str)>,
    /// The one that estimates, or an earlier measurement, choose.
    pub chosen: usize,
}

/// What was found about a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// The kind.
    pub kind: Kind,
    /// The time of all its nodes by each candidate; `None` where there is none, since it was not run.
    pub times: Vec<Option<Duration>>,
    /// The candidate that is taken from now on.
    pub taken: usize,
}

impl Found {
    /// The time of all its nodes before, and from now on.
    pub fn times(&self) -> (Duration, Duration) {
        let time = |i: usize| self.times.get(i).copied().flatten().unwrap_or_default();
        (time(self.kind.chosen), time(self.taken))
    }
}

/// A step of a measured run: the node that it belongs to (none for a conversion of layout, which the next node wants), and
/// its time.
pub type Timed = (Option<NodeId>, Duration);

/// A candidate is taken in place of the chosen one if it takes less than this part of its time: what is between may be chance.
const GAIN: f64 = 0.95;

/// Has every candidate measured, all kinds in one plan at a time, then those that were faster one by one, and gives what
/// was found and the tuning that follows. `measure` makes a plan by a tuning, and tells the times of the steps of a run.
///
/// # Errors
/// With the first error of a measurement of the default plan; candidates that cannot be measured are passed over.
pub fn search<E>(
    kinds: &[Kind],
    mut measure: impl FnMut(&Tuning) -> Result<Vec<Timed>, E>,
) -> Result<(Vec<Found>, Tuning), E> {
    let mut found: Vec<Found> = kinds
        .iter()
        .map(|kind| Found { kind: kind.clone(), times: vec![None; kind.candidates.len()], taken: kind.chosen })
        .collect();
    let mut total = Duration::ZERO;
    let rounds = kinds.iter().map(|kind| kind.candidates.len()).max().unwrap_or(0);
    for round in 0..rounds.max(1) {
        // Beginning with what is chosen: the first round is the default plan.
        let place = |kind: &Kind| match round {
            round if round >= kind.candidates.len() => kind.chosen,
            round => (kind.chosen + round) % kind.candidates.len(),
        };
        let mut tuning = Tuning::default();
        for kind in kinds {
            tuning.set(kind.key, kind.candidates[place(kind)].0);
        }
        let steps = match measure(&tuning) {
            Ok(steps) => steps,
            Err(error) if round == 0 => return Err(error),
            Err(_) => continue,
        };
        if round == 0 {
            total = sum(&steps);
        }
        let mut times: BTreeMap<NodeId, Duration> = BTreeMap::new();
        let mut converted = Duration::ZERO;
        for (node, time) in steps {
            converted += time;
            if let Some(node) = node {
                *times.entry(node).or_default() += std::mem::take(&mut converted);
            }
        }
        for found in found.iter_mut().filter(|found| round < found.kind.candidates.len()) {
            let nodes = found.kind.nodes.iter().filter_map(|node| times.get(node));
            found.times[place(&found.kind)] = Some(nodes.sum());
        }
    }
    let taken = |found: &[Found]| {
        let mut tuning = Tuning::default();
        found.iter().for_each(|found| tuning.set(found.kind.key, found.kind.candidates[found.taken].0));
        tuning
    };
    // Kinds whose fastest candidate is another, and the time that it promises to save: most first.
    let mut promised: Vec<(Duration, usize, usize)> = vec![];
    for (i, found) in found.iter().enumerate() {
        let before = found.times().0;
        let measured = found.times.iter().enumerate().filter_map(|(c, time)| Some(((*time)?, c)));
        if let Some((least, candidate)) = measured.min()
            && least.as_secs_f64() < before.as_secs_f64() * GAIN
        {
            promised.push((before - least, i, candidate));
        }
    }
    promised.sort_by_key(|(gain, ..)| std::cmp::Reverse(*gain));
    for (gain, i, candidate) in promised {
        // What it costs others, which must convert now, only the whole tells.
        found[i].taken = candidate;
        match measure(&taken(&found)) {
            Ok(steps) if sum(&steps) + gain / 2 < total => total = sum(&steps),
            _ => found[i].taken = found[i].kind.chosen,
        }
    }
    let tuning = taken(&found);
    Ok((found, tuning))
}

fn sum(steps: &[Timed]) -> Duration {
    steps.iter().map(|(_, time)| *time).sum()
}

/// What a node has in common with others that want the same kernel.
pub(super) fn kind(node: &Node, request: &Request<'_>) -> u128 {
    let mut text = format!("{:?}|{:?}|", request.device.class, node.operator);
    for input in request.inputs {
        match input {
            None => text.push_str("none|"),
            Some(operand) => {
                let fact = operand.fact;
                let constant = if fact.constant.is_some() { "constant" } else { "" };
                let fact = (fact.element_type, &fact.shape, operand.storage, constant);
                text.push_str(&format!("{fact:?}|"));
            }
        }
    }
    for (output, storage) in request.outputs.iter().zip(request.output_storages) {
        text.push_str(&format!("{:?}|{:?}|{storage:?}|", output.element_type, output.shape));
    }
    hash(text.as_bytes())
}

/// A candidate, told from others of the same node.
pub(super) fn fingerprint(candidate: &Candidate) -> u128 {
    let mut text = format!("{}|{:?}|{:?}|", candidate.name, candidate.inputs, candidate.outputs);
    for dispatch in &candidate.dispatches {
        text.push_str(&format!("{:?}|", dispatch.kernel));
    }
    hash(text.as_bytes())
}

/// Notes a node among its kind.
pub(super) fn note<'a>(
    kinds: &mut Vec<Kind>,
    key: u128,
    node: NodeId,
    candidates: impl Iterator<Item = &'a Candidate>,
    chosen: usize,
) {
    match kinds.iter_mut().find(|kind| kind.key == key) {
        Some(kind) => kind.nodes.push(node),
        None => {
            let candidates = candidates.map(|candidate| (fingerprint(candidate), candidate.name)).collect();
            kinds.push(Kind { key, nodes: vec![node], candidates, chosen });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(key: u128, nodes: &[usize], candidates: &[(u128, &'static str)], chosen: usize) -> Kind {
        Kind { key, nodes: nodes.iter().map(|&n| NodeId(n)).collect(), candidates: candidates.to_vec(), chosen }
    }

    #[test]
    fn the_fastest_is_taken_conversions_counted_in() {
        let kinds = [
            kind(1, &[0, 2], &[(10, "slow"), (11, "fast"), (12, "fast, but converts")], 0),
            kind(2, &[1], &[(20, "chosen"), (21, "hardly faster")], 0),
            kind(3, &[3], &[(30, "only")], 0),
            kind(4, &[4], &[(40, "chosen"), (41, "faster, but the next must convert")], 0),
            kind(5, &[5], &[(50, "next"), (51, "slow")], 0),
        ];
        let ms = Duration::from_millis;
        let mut plans = 0;
        let measured = search(&kinds, |tuning: &Tuning| -> Result<_, ()> {
            plans += 1;
            let mut steps = vec![];
            for (kind, node) in [(1, 0), (2, 1), (1, 2), (3, 3), (4, 4), (5, 5)] {
                let (conversion, time) = match tuning.get(kind).unwrap() {
                    10 => (0, 50),
                    11 => (0, 40),
                    12 => (30, 20),
                    40 => (0, 10),
                    41 => (0, 2),
                    50 if tuning.get(4) == Some(41) => (20, 3),
                    50 => (0, 3),
                    51 => (0, 30),
                    20 => (0, 100),
                    21 => (0, 97),
                    _ => (0, 7),
                };
                if conversion > 0 {
                    steps.push((None, ms(conversion)));
                }
                steps.push((Some(NodeId(node)), ms(time)));
            }
            Ok(steps)
        });
        let (found, tuning) = measured.unwrap();
        // Three candidates at most, and two kinds whose fastest is another than the chosen one.
        assert_eq!(plans, 5);
        assert_eq!(found.iter().map(|f| f.taken).collect::<Vec<_>>(), [1, 0, 0, 0, 0]);
        assert_eq!(found[0].times, [Some(ms(100)), Some(ms(80)), Some(ms(100))]);
        assert_eq!(found[0].times(), (ms(100), ms(80)));
        assert_eq!((tuning.get(1), tuning.get(2), tuning.get(3)), (Some(11), Some(20), Some(30)));
    }

    #[test]
    fn what_cannot_be_measured_is_passed_over_but_for_the_default() {
        let kinds = [kind(1, &[0], &[(10, "chosen"), (11, "does not compile")], 0)];
        let measured = search(&kinds, |tuning: &Tuning| match tuning.get(1) {
            Some(10) => Ok(vec![(Some(NodeId(0)), Duration::from_millis(1))]),
            _ => Err("refused"),
        });
        assert_eq!(measured.unwrap().0[0].taken, 0);
        assert_eq!(search(&kinds, |_: &Tuning| Err::<Vec<Timed>, _>("lost")), Err("lost"));
    }

    #[test]
    fn text_is_read_as_it_was_written_and_damage_is_none() {
        let mut tuning = Tuning::default();
        tuning.set(7, u128::MAX);
        tuning.set(1 << 100, 0);
        let text = tuning.to_text();
        assert_eq!(Tuning::from_text(&text), Some(tuning));
        for bad in ["", "rimlight tuning 2\n", "rimlight tuning 1\nxyz 1\n", "rimlight tuning 1\n12\n", "\u{0}"] {
            assert_eq!(Tuning::from_text(bad), None, "{bad:?}");
        }
    }
}
