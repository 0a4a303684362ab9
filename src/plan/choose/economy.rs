//! Fewer pipelines: kernels that a plan can do without at hardly any cost, since others of its kernels do the same.
//!
//! A pipeline costs a start tens of milliseconds on some drivers, and memory for as long as the model is there. Candidates of
//! one node are often variants of one shader whose costs hardly differ; taken node by node the cheapest ones are many.

use std::collections::{HashMap, HashSet};

use crate::kernel::{Candidate, Kernel};

/// The part of a run's estimated time that one pipeline less may cost.
const WORTH: f64 = 1.0 / 400.0;

/// The same where a plan has more than [`MANY`], each of which a first start waits for.
const WORTH_OF_MANY: f64 = 1.0 / 50.0;

/// Pipelines that no plan should need more of.
const MANY: usize = 14;

/// The part of a run's time that one pipeline less may cost a plan that has so many.
const fn worth(pipelines: usize) -> f64 {
    if pipelines > MANY { WORTH_OF_MANY } else { WORTH }
}

/// What a plan takes.
#[derive(Debug, Clone, Copy)]
pub struct Bill {
    pub dispatches: usize,
    pub kernels: usize,
    /// By the candidates' estimates.
    pub time: f64,
}

impl Bill {
    /// Whether it has fewer kernels, no more dispatches, and takes hardly longer than another.
    pub fn is_better_than(&self, other: &Self) -> bool {
        let fewer = other.kernels.saturating_sub(self.kernels);
        let worth = other.time * worth(other.kernels) * fewer as f64;
        fewer > 0 && self.dispatches <= other.dispatches && self.time - other.time <= worth
    }
}

/// What each node could run by.
#[derive(Debug, Default)]
pub struct Economy {
    /// For each node, its candidates' costs and kernels.
    nodes: Vec<Vec<(f64, Vec<usize>)>>,
    kernels: HashMap<Kernel, usize>,
}

impl Economy {
    /// Notes a node's candidates and what they cost.
    pub fn note<'a>(&mut self, candidates: impl Iterator<Item = (f64, &'a Candidate)>) {
        let options = candidates.map(|(cost, candidate)| {
            let mut kernels: Vec<usize> = vec![];
            for dispatch in &candidate.dispatches {
                let next = self.kernels.len();
                kernels.push(*self.kernels.entry(dispatch.kernel.clone()).or_insert(next));
            }
            (cost, kernels)
        });
        self.nodes.push(options.collect());
    }

    /// The kernels that are better avoided.
    pub fn avoided(self) -> HashSet<Kernel> {
        let Some((least, all)) = self.used(None) else { return HashSet::new() };
        let (mut now, mut used) = (least, all.clone());
        loop {
            let worth = least * worth(used.len());
            // What a plan costs more for each pipeline that it has less: kernels of one candidate go together.
            let without = |&kernel: &usize| {
                let fewer = used.iter().copied().filter(|k| *k != kernel).collect();
                let (time, left) = self.used(Some(&fewer))?;
                Some(((time - now) / (used.len() - left.len()) as f64, kernel, time, left))
            };
            let found = used.iter().filter_map(without).min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            match found {
                Some((each, _, time, left)) if each <= worth => (now, used) = (time, left),
                _ => break,
            }
        }
        let avoided =
            |(kernel, number): (Kernel, usize)| (all.contains(&number) && !used.contains(&number)).then_some(kernel);
        self.kernels.into_iter().filter_map(avoided).collect()
    }

    /// What a run costs by no other kernels than these, and which of them it needs; `None` where a node has nothing left.
    fn used(&self, allowed: Option<&HashSet<usize>>) -> Option<(f64, HashSet<usize>)> {
        let mut used = HashSet::new();
        let mut time = 0.0;
        for node in &self.nodes {
            let (cost, kernels) = cheapest(node, allowed)?;
            time += cost;
            used.extend(kernels);
        }
        Some((time, used))
    }
}

/// The cheapest of a node's candidates, of those that need no other kernels than these; any where there are none.
fn cheapest<'a>(node: &'a [(f64, Vec<usize>)], allowed: Option<&HashSet<usize>>) -> Option<&'a (f64, Vec<usize>)> {
    let fits = |option: &&(f64, Vec<usize>)| {
        allowed.is_none_or(|allowed| option.1.iter().all(|kernel| allowed.contains(kernel)))
    };
    node.iter().filter(fits).min_by(|a, b| a.0.total_cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Dispatch;

    /// A candidate of kernels by their numbers.
    fn candidate(kernels: &[i64]) -> Candidate {
        let dispatch = |&n: &i64| Dispatch::of(Kernel::of("shader").define("N", n));
        Candidate { dispatches: kernels.iter().map(dispatch).collect(), ..Candidate::new("", vec![], vec![]) }
    }

    fn avoided(nodes: &[&[(f64, &[i64])]]) -> Vec<i64> {
        let mut economy = Economy::default();
        for node in nodes {
            let candidates: Vec<_> = node.iter().map(|(cost, kernels)| (*cost, candidate(kernels))).collect();
            economy.note(candidates.iter().map(|(cost, candidate)| (*cost, candidate)));
        }
        let mut found: Vec<i64> = economy.avoided().iter().map(|kernel| kernel.defines[0].1).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn a_kernel_is_avoided_where_another_of_the_plan_costs_little_more() {
        // One node is the whole of the plan: nothing else is there.
        assert_eq!(avoided(&[&[(1.0, &[1]), (1.0, &[2])]]), []);
        assert_eq!(avoided(&[&[(900.0, &[1])], &[(100.0, &[2]), (101.0, &[1])]]), [2]);
        // Too dear.
        assert_eq!(avoided(&[&[(900.0, &[1])], &[(100.0, &[2]), (150.0, &[1])]]), []);
        // The other would be a new one.
        assert_eq!(avoided(&[&[(900.0, &[1])], &[(100.0, &[2]), (100.0, &[3])]]), []);
        // Each of the two could stand for the other; the one that is missed least goes.
        assert_eq!(avoided(&[&[(500.0, &[1]), (501.0, &[2])], &[(500.0, &[2]), (502.0, &[1])]]), [1]);
        // Several nodes need it.
        let node: &[(f64, &[i64])] = &[(100.0, &[2, 3]), (101.0, &[1])];
        assert_eq!(avoided(&[&[(500.0, &[1])], node]), [2, 3]);
        assert_eq!(avoided(&[&[(500.0, &[1])], node, node, node, node, node, node]), [] as [i64; 0]);
    }
}
