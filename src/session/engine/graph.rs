//! The graph that a plan is made of.

use super::super::Precision;
use super::super::binding::concrete;
#[cfg(test)]
use super::super::faults;
use super::super::request::Request;
use super::Engine;
use crate::error::PlanError;
use crate::graph::Graph;
#[cfg(not(test))]
use crate::optimize::optimize;
use crate::optimize::outermost::{self, Grown};
use crate::plan::divide;

impl Engine {
    /// The graph that the CPU runs: its dimensions numbers, rewritten.
    pub(in crate::session) fn rewritten(&self, request: &Request) -> Result<(Graph, Vec<Grown>), PlanError> {
        let inner = &*self.0;
        let mut graph = concrete(self.whole_model()?.graph(), request, inner.options.seed)?;
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
        Ok((graph, turned))
    }

    /// The graph that is planned: rewritten, what is too large for the device in parts.
    pub(in crate::session) fn optimized(&self, request: &Request) -> Result<(Graph, Vec<Grown>), PlanError> {
        let (graph, turned) = self.rewritten(request)?;
        let Some(facts) = self.0.device.facts() else { return Ok((graph, turned)) };
        #[cfg(test)]
        let before = graph.clone();
        let graph = divide(graph, facts, self.precision() == Some(Precision::F16))?;
        #[cfg(test)]
        let graph = faults::planted("divide", &before, graph, self.0.options.fault);
        Ok((graph, turned))
    }
}
