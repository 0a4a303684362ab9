//! The graph that a plan is made of.

use std::sync::Arc;

use super::super::Precision;
use super::super::binding::concrete;
#[cfg(test)]
use super::super::faults;
use super::super::request::Request;
use super::super::weights::Source;
use super::Engine;
use crate::error::PlanError;
use crate::graph::Graph;
#[cfg(not(test))]
use crate::optimize::optimize;
use crate::optimize::outermost::{self, Grown};
use crate::plan::divide;

/// A graph as it is planned or run.
pub(in crate::session) struct Rewritten {
    pub graph: Graph,
    /// The states that it takes and gives with the axis outermost along which they grow.
    pub turned: Vec<Grown>,
    /// Where its large constants are read, unless it holds them.
    pub source: Option<Arc<Source>>,
}

impl Engine {
    /// The graph that the CPU runs: its dimensions numbers, rewritten.
    pub(in crate::session) fn rewritten(&self, request: &Request) -> Result<Rewritten, PlanError> {
        let inner = &*self.0;
        // One of many plans reads only those weights that no plan has packed before.
        let (graph, source) = match inner.open || !inner.parameters.is_empty() {
            true => inner.weights.graph(&inner.model).map(|(graph, source)| (graph, Some(source)))?,
            false => (self.whole_model()?.graph().clone(), None),
        };
        let mut graph = concrete(graph, request, inner.options.seed)?;
        graph.within(&inner.options.limits)?;
        let mut turned = vec![];
        // What is a parameter goes by the host's memory.
        let grown: Vec<Grown> =
            request.grown.iter().filter(|grown| !inner.parameters.contains(&grown.input)).copied().collect();
        if !grown.is_empty() && inner.device.is_gpu() {
            turned = outermost::apply(&mut graph, &grown, &inner.rewrites)?;
        }
        #[cfg(not(test))]
        let graph = optimize(graph, &inner.rewrites)?;
        #[cfg(test)]
        let graph = faults::optimize(graph, &inner.rewrites, inner.options.fault)?;
        Ok(Rewritten { graph, turned, source })
    }

    /// The graph that is planned: rewritten, what is too large for the device in parts.
    pub(in crate::session) fn optimized(&self, request: &Request) -> Result<Rewritten, PlanError> {
        let rewritten = self.rewritten(request)?;
        let Some(facts) = self.0.device.facts() else { return Ok(rewritten) };
        let Rewritten { graph, turned, source } = rewritten;
        #[cfg(test)]
        let before = graph.clone();
        let graph = divide(graph, facts, self.precision() == Some(Precision::F16), &self.singles())?;
        #[cfg(test)]
        let graph = faults::planted("divide", &before, graph, self.0.options.fault);
        Ok(Rewritten { graph, turned, source })
    }
}
