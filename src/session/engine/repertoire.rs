//! The kernels that an engine's plans for all sizes are made of.

use std::sync::{Arc, PoisonError};

use super::super::request::Request;
use super::super::sizes::representatives;
use super::graph::Rewritten;
use super::{Engine, KEPT_PLANS, states};
use crate::graph::Graph;
use crate::kernel::DeviceFacts;
use crate::optimize::outermost::Grown;
use crate::plan::{PlanOptions, Repertoire, repertoire};

impl Engine {
    /// The kernels for all sizes that may come, if others may for which kernels differ: those of the first request are settled on.
    pub(super) fn repertoire(
        &self,
        request: &Request,
        graph: &Graph,
        facts: &DeviceFacts,
        options: &PlanOptions,
    ) -> Option<Arc<Repertoire>> {
        if !self.0.open {
            return None;
        }
        if let Some(made) = self.settled_on(&request.grown) {
            return Some(made).filter(|made| !made.is_empty());
        }
        let asked = |request: &Request| self.optimized(request).ok();
        let all = representatives(self.0.model.graph(), &self.0.options, request);
        if all.len() == 1 {
            return None;
        }
        let graphs = all.iter().filter_map(|ways| match ways.contains(request) {
            true => Some((graph.clone(), options.states.clone())),
            false => ways.iter().find_map(asked).map(|Rewritten { graph, turned, .. }| {
                let states = states(&graph, &turned);
                (graph, states)
            }),
        });
        let made = Arc::new(repertoire(&graphs.collect::<Vec<_>>(), facts, options));
        let mut kept = self.0.repertoires.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_PLANS {
            kept.remove(0);
        }
        kept.push((request.grown.clone(), Arc::clone(&made)));
        Some(made).filter(|made| !made.is_empty())
    }

    /// The kernels that were settled on where these states grow in place.
    pub(super) fn settled_on(&self, grown: &[Grown]) -> Option<Arc<Repertoire>> {
        let kept = self.0.repertoires.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(states, _)| states == grown).map(|(_, made)| Arc::clone(made))
    }
}
