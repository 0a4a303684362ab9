//! Which values decide how a graph is planned: shapes, axes, sizes and bounds that operators read as parameters, and what
//! these are computed from.

use super::{Fact, Graph, Reads, ValueId};

/// Elements of a value that parameters may be computed from.
const SHORT: usize = 64;

impl Graph {
    /// For each value, whether its content is worth knowing before the graph runs: an operator reads it as a parameter,
    /// or it is one of few numbers from which such a parameter is computed. Nothing that depends on more than constants,
    /// shapes and short inputs is among them.
    pub fn parameters(&self) -> Vec<bool> {
        let known = self.computable();
        let mut wanted = vec![false; self.values.len()];
        for node in self.nodes.iter().rev() {
            let leads = node.outputs.iter().flatten().any(|v| wanted[v.0]);
            for (i, &input) in node.inputs.iter().enumerate() {
                let Some(input) = input else { continue };
                let asked = match node.operator.reads(i) {
                    Reads::Parameter => known[input.0] || self.inputs.contains(&input),
                    Reads::Elements => leads,
                    Reads::Fact => false,
                };
                wanted[input.0] |= asked && self.constant(input).is_none() && !follows_from_shapes(self.fact(input));
            }
        }
        wanted
    }

    /// The inputs whose content plans are made for: see [`Graph::parameters`].
    pub fn parameter_inputs(&self) -> Vec<ValueId> {
        let wanted = self.parameters();
        self.inputs.iter().copied().filter(|id| wanted[id.0]).collect()
    }

    /// For each value, whether it can be computed of constants, shapes and short inputs, by way of short values.
    fn computable(&self) -> Vec<bool> {
        let mut known = vec![false; self.values.len()];
        for (i, value) in self.values.iter().enumerate() {
            known[i] =
                value.fact.as_ref().is_some_and(|f| f.constant.is_some()) || follows_from_shapes(value.fact.as_ref());
        }
        for &input in &self.inputs {
            known[input.0] |= is_short(self.fact(input));
        }
        for node in &self.nodes {
            let computable = node.operator.is_deterministic() && {
                let mut inputs = node.inputs.iter().enumerate();
                inputs.all(|(i, id)| id.is_none_or(|id| known[id.0] || node.operator.reads(i) == Reads::Fact))
            };
            for output in node.outputs.iter().flatten() {
                known[output.0] |= computable && is_short(self.fact(*output));
            }
        }
        known
    }
}

/// Whether a value is a list of few elements, or may be one.
fn is_short(fact: Option<&Fact>) -> bool {
    fact.is_none_or(|fact| match fact.shape.as_slice() {
        [] => true,
        [length] => length.size().is_none_or(|n| n <= SHORT),
        _ => false,
    })
}

/// Whether inference alone follows a value's content.
fn follows_from_shapes(fact: Option<&Fact>) -> bool {
    let known = fact.and_then(|fact| fact.known.as_ref());
    known.is_some_and(|known| !known.contains(&super::Dim::Unknown))
}
