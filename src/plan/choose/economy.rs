//! Fewer pipelines: kernels that a plan can do without at hardly any cost, since others of its kernels do the same.
//!
//! A pipeline costs a start tens of milliseconds on some drivers, and memory for as long as the model is there. Candidates of
//! one node are often variants of one shader whose costs hardly differ; taken node by node the cheapest ones are many.

use std::collections::{HashMap, HashSet};

use crate::kernel::{Candidate, Kernel};
use crate::plan::apart::MANY;

/// The part of a run's estimated time that one pipeline less may cost.
const WORTH: f64 = 1.0 / 400.0;

/// The same where a plan has more than [`MANY`], each of which a first start waits for.
const WORTH_OF_MANY: f64 = 1.0 / 50.0;

/// The part of a run's time that it may cost a plan to have fewer pipelines.
fn worth((from, to): (usize, usize)) -> f64 {
    let many = from.saturating_sub(to.max(MANY));
    let others = from.saturating_sub(to).saturating_sub(many);
    WORTH_OF_MANY * many as f64 + WORTH * others as f64
}

/// The same where a plan has many, and cannot have fewer but by many at once.
fn most((from, to): (usize, usize)) -> f64 {
    let each = if from > MANY { WORTH_OF_MANY } else { WORTH };
    each * from.saturating_sub(to) as f64
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
        let worth = other.time * most((other.kernels, self.kernels));
        self.kernels < other.kernels && self.dispatches <= other.dispatches && self.time - other.time <= worth
    }

    /// Whether it is the one to take of two that are both better than a third: not with too many kernels, else with fewer
    /// dispatches, else in less time.
    pub fn comes_before(&self, other: &Self) -> bool {
        let count = |bill: &Self| (bill.kernels.max(MANY), bill.dispatches);
        count(self).cmp(&count(other)).then(self.time.total_cmp(&other.time)).is_lt()
    }
}

/// What each node could run by.
#[derive(Debug, Default)]
pub struct Economy {
    /// For each node, its graph and its candidates, the cheapest first. Nodes of a graph that have the same ones in the same
    /// order are one.
    nodes: Vec<(usize, Vec<Way>)>,
    /// By their graph, their candidates' kernels, and whether these lie as the one that was taken, the nodes' places.
    places: HashMap<Key, usize>,
    kernels: HashMap<Kernel, usize>,
    /// For each graph, by what its costs are multiplied, and the most that they may come to then.
    graphs: Vec<(f64, f64)>,
}

type Key = (usize, Vec<(Vec<usize>, bool)>);

/// A candidate.
#[derive(Debug)]
struct Way {
    cost: f64,
    /// Whether it lies as the one that was taken.
    alike: bool,
    kernels: Vec<usize>,
}

impl Economy {
    /// Notes a node's candidates, what they cost, whether they lie as the one that was taken, and what brings their inputs
    /// where they want them.
    pub fn note<'a>(&mut self, candidates: impl Iterator<Item = (f64, bool, &'a Candidate, Vec<Kernel>)>) {
        let ways = candidates.map(|(cost, alike, candidate, conversions)| {
            let mut kernels: Vec<usize> = vec![];
            for kernel in candidate.dispatches.iter().map(|dispatch| dispatch.kernel.clone()).chain(conversions) {
                let next = self.kernels.len();
                kernels.push(*self.kernels.entry(kernel).or_insert(next));
            }
            Way { cost, alike, kernels }
        });
        let mut ways: Vec<Way> = ways.collect();
        ways.sort_by(|a, b| a.cost.total_cmp(&b.cost));
        let graph = self.graphs.len();
        let key = (graph, ways.iter().map(|way| (way.kernels.clone(), way.alike)).collect());
        let next = self.nodes.len();
        match *self.places.entry(key).or_insert(next) {
            place if place == next => self.nodes.push((graph, ways)),
            place => self.nodes[place].1.iter_mut().zip(ways).for_each(|(all, way)| all.cost += way.cost),
        }
    }

    /// Ends a graph of several: what is noted from here on is the next one's. Its costs are multiplied by `factor`, and may
    /// not come to more than `most` then.
    pub fn end_graph(&mut self, factor: f64, most: f64) {
        self.graphs.push((factor, most));
    }

    /// Forgets what was noted since the last graph ended.
    pub fn drop_graph(&mut self) {
        let ended = self.graphs.len();
        self.nodes.retain(|(graph, _)| *graph < ended);
        self.places.retain(|(graph, _), _| *graph < ended);
    }

    /// The kernels that are better avoided by a plan that has so many, if each node is to lie as it did (`alike`), or as
    /// it likes: all but those that it is to have.
    pub fn avoided(&self, pipelines: usize, alike: bool) -> HashSet<Kernel> {
        let Some((first, now)) = self.selected(pipelines, alike) else { return HashSet::new() };
        if now.kernels == first.kernels {
            return HashSet::new();
        }
        self.kernels.iter().filter(|(_, number)| !now.has(**number)).map(|(kernel, _)| kernel.clone()).collect()
    }

    /// The kernels that serve all graphs: as [`Self::avoided`], but for those that are to be had.
    pub fn wanted(&self, alike: bool) -> Option<HashSet<Kernel>> {
        let (_, now) = self.selected(0, alike)?;
        Some(self.kernels.iter().filter(|(_, number)| now.has(**number)).map(|(kernel, _)| kernel.clone()).collect())
    }

    /// The kernels by which all is cheapest, and those that are better had of a plan that has so many.
    fn selected(&self, pipelines: usize, alike: bool) -> Option<(Selection, Selection)> {
        let first = self.cheapest(None, alike)?;
        // What is not of the nodes: what is written in place, or handed out.
        let others = pipelines.saturating_sub(first.count());
        let counts = |from: &Selection, to: &Selection| (from.count() + others, to.count() + others);
        let worth = |from: &Selection, to: &Selection| first.time * worth(counts(from, to));
        let most = |from: &Selection, to: &Selection| first.time * most(counts(from, to));
        let mut now = first.clone();
        loop {
            let fewer = self.without(&now, &now.kernels, alike, &worth);
            let better = fewer.filter(|fewer| fewer.time - now.time <= worth(&now, fewer)).or_else(|| {
                let found = self.with_another(&now, alike, &worth).filter(|_| now.count() + others > MANY);
                found.filter(|other| other.time - now.time <= worth(&now, other))
            });
            let better = better.or_else(|| {
                let fewer = self.without(&now, &now.kernels, alike, &most);
                fewer.filter(|fewer| fewer.time - now.time <= most(&now, fewer))
            });
            match better {
                Some(better) => now = better,
                None => break,
            }
        }
        Some((first, now))
    }

    /// The selection without one of these kernels whose loss costs least for what it is worth: those of one candidate go
    /// together.
    fn without(&self, now: &Selection, these: &[bool], alike: bool, worth: &Worth<'_>) -> Option<Selection> {
        let price = |fewer: &Selection| (fewer.time - now.time) / worth(now, fewer);
        let mut allowed = now.kernels.clone();
        let mut best: Option<Selection> = None;
        for kernel in (0..these.len()).filter(|&kernel| these[kernel] && now.has(kernel)) {
            allowed[kernel] = false;
            let fewer = self.cheapest(Some(&allowed), alike);
            allowed[kernel] = true;
            if let Some(fewer) = fewer
                && best.as_ref().is_none_or(|best| price(&fewer) < price(best))
            {
                best = Some(fewer);
            }
        }
        best
    }

    /// The selection with a kernel more, which stands for as many others as are worth it.
    fn with_another(&self, now: &Selection, alike: bool, worth: &Worth<'_>) -> Option<Selection> {
        let saves = |with: &Selection| worth(now, with) - (with.time - now.time);
        let mut best: Option<Selection> = None;
        for other in (0..self.kernels.len()).filter(|&kernel| !now.has(kernel)) {
            // The kernels of which it could stand for some use.
            let mut these = vec![false; self.kernels.len()];
            let nodes = self.nodes.iter().map(|(_, ways)| ways);
            for node in nodes.filter(|node| node.iter().any(|way| way.kernels.contains(&other))) {
                if let Some(way) = cheapest(node, Some(&now.kernels), alike) {
                    way.kernels.iter().for_each(|&kernel| these[kernel] = true);
                }
            }
            if these.iter().filter(|these| **these).count() < 2 {
                continue;
            }
            let mut with = now.clone();
            with.kernels[other] = true;
            while let Some(fewer) = self.without(&with, &these, alike, worth) {
                if fewer.count() >= with.count() || fewer.time - with.time > worth(&with, &fewer) {
                    break;
                }
                with = fewer;
            }
            if let Some(with) = self.cheapest(Some(&with.kernels), alike)
                && with.count() < now.count()
                && best.as_ref().is_none_or(|best| saves(&with) > saves(best))
            {
                best = Some(with);
            }
        }
        best
    }

    /// What a run costs by no other kernels than these, and which of them it needs; `None` where a node has nothing left, or
    /// a graph costs too much.
    fn cheapest(&self, allowed: Option<&[bool]>, alike: bool) -> Option<Selection> {
        let mut selection = Selection { time: 0.0, kernels: vec![false; self.kernels.len()] };
        let mut spent = (0, 0.0);
        for (graph, node) in &self.nodes {
            let way = cheapest(node, allowed, alike)?;
            let (factor, most) = self.graphs.get(*graph).copied().unwrap_or((1.0, f64::INFINITY));
            spent = (*graph, way.cost * factor + if spent.0 == *graph { spent.1 } else { 0.0 });
            if allowed.is_some() && spent.1 > most {
                return None;
            }
            selection.time += way.cost * factor;
            way.kernels.iter().for_each(|&kernel| selection.kernels[kernel] = true);
        }
        Some(selection)
    }
}

/// What it may cost to have the second selection instead of the first.
type Worth<'a> = dyn Fn(&Selection, &Selection) -> f64 + 'a;

/// Kernels, by their numbers, and what a run costs by them.
#[derive(Debug, Clone, Default)]
struct Selection {
    time: f64,
    kernels: Vec<bool>,
}

impl Selection {
    fn has(&self, kernel: usize) -> bool {
        self.kernels.get(kernel).is_some_and(|has| *has)
    }

    fn count(&self) -> usize {
        self.kernels.iter().filter(|has| **has).count()
    }
}

/// The cheapest of a node's candidates, of those that need no other kernels than these; any where there are none.
fn cheapest<'a>(node: &'a [Way], allowed: Option<&[bool]>, alike: bool) -> Option<&'a Way> {
    let fits = |way: &&Way| {
        (way.alike || !alike) && allowed.is_none_or(|allowed| way.kernels.iter().all(|&kernel| allowed[kernel]))
    };
    node.iter().find(fits)
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
            economy.note(candidates.iter().map(|(cost, candidate)| (*cost, true, candidate, vec![])));
        }
        let mut found: Vec<i64> = economy.avoided(0, false).iter().map(|kernel| kernel.defines[0].1).collect();
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
