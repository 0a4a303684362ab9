//! What a graph, and a node whose outputs' sizes only a run can tell, would take: checked before it is taken.

use super::{Fact, Graph, Inputs, Node, Operator, Value, ValueId};
use crate::limits::{LimitError, Limits, within};
use crate::tensor::ElementType;

/// Elements of an input up to which its content is looked at: shapes, sizes, counts.
const LOOKED_AT: usize = 1 << 12;

fn elements(fact: &Fact) -> Option<u64> {
    // What is empty stays so, however large its other sides.
    let shape = fact.concrete()?;
    let product = shape.iter().try_fold(1u64, |all, &n| all.checked_mul(n as u64));
    Some(if shape.contains(&0) { 0 } else { product.unwrap_or(u64::MAX) })
}

fn bytes(fact: &Fact) -> Option<u64> {
    let size = if fact.element_type == ElementType::String { 24 } else { fact.element_type.size() };
    Some(elements(fact)?.saturating_mul(size as u64))
}

fn check(what: impl Fn() -> String, fact: &Fact, limits: &Limits) -> Result<(), LimitError> {
    let number = elements(fact).unwrap_or(0);
    if number > limits.elements {
        return within(format!("the number of elements of {}", what()), number, limits.elements, "elements");
    }
    let size = bytes(fact).unwrap_or(0);
    if size > limits.memory_bytes {
        return within(format!("the size in bytes of {}", what()), size, limits.memory_bytes, "memory_bytes");
    }
    Ok(())
}

impl Graph {
    /// Whether a run keeps to the limits, as far as shapes are known.
    ///
    /// # Errors
    /// With the first that it does not keep to.
    pub(crate) fn within(&self, limits: &Limits) -> Result<(), LimitError> {
        let mut last = vec![0; self.values.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            node.inputs.iter().flatten().for_each(|id| last[id.0] = i);
        }
        for &id in &self.outputs {
            last[id.0] = self.nodes.len();
        }
        let size = |id: &ValueId| self.fact(*id).filter(|f| f.constant.is_none()).and_then(bytes).unwrap_or(0);
        let mut held = self.inputs.iter().fold(0u64, |held, id| held.saturating_add(size(id)));
        for value in &self.values {
            let Some(fact) = &value.fact else { continue };
            check(|| format!("'{}'", value.name), fact, limits)?;
            if fact.constant.is_some() {
                held = held.saturating_add(bytes(fact).unwrap_or(0));
            }
        }
        let (mut most, mut work) = (held, 0f64);
        for (i, node) in self.nodes.iter().enumerate() {
            held = node.outputs.iter().flatten().fold(held, |held, id| held.saturating_add(size(id)));
            most = most.max(held);
            let mut done: Vec<&ValueId> = node.inputs.iter().flatten().filter(|id| last[id.0] == i).collect();
            done.dedup();
            held = done.into_iter().fold(held, |held, id| held.saturating_sub(size(id)));
            work += self.work_of(node).unwrap_or(0.0);
        }
        within("the memory of a run in bytes", most, limits.memory_bytes, "memory_bytes")?;
        within("the work of a run in operations", work as u64, limits.work, "work")
    }

    /// The operations of a node, as far as its shapes are known.
    pub(crate) fn work_of(&self, node: &Node) -> Option<f64> {
        let inputs = self.input_facts(node)?;
        let outputs: Vec<Fact> =
            node.outputs.iter().map(|id| id.and_then(|id| self.fact(id)).cloned()).collect::<Option<_>>()?;
        Some(node.operator.work(&inputs, &outputs)).filter(|work| work.is_finite())
    }

    /// Whether what a node gives keeps to the limits, where that was not known when the run was planned.
    ///
    /// # Errors
    /// With the first that it does not keep to.
    pub(crate) fn node_within(&self, node: &Node, inputs: Inputs<'_>, limits: &Limits) -> Result<(), LimitError> {
        let known = |id: &ValueId| self.fact(*id).is_some_and(|fact| fact.shape.iter().all(|dim| dim.size().is_some()));
        if node.outputs.iter().flatten().all(known) {
            return Ok(());
        }
        let what = |k: usize| match node.outputs.get(k) {
            Some(Some(id)) => format!("'{}' (node '{}', {})", self.value(*id).name, node.name, node.operator.name()),
            _ => format!("an output of node '{}' ({})", node.name, node.operator.name()),
        };
        outputs_within(&*node.operator, inputs, limits, what)
    }
}

fn outputs_within(
    operator: &dyn Operator,
    Inputs(inputs): Inputs<'_>,
    limits: &Limits,
    what: impl Fn(usize) -> String,
) -> Result<(), LimitError> {
    let fact = |value: &Value| {
        let tensor = value.as_tensor()?;
        Some(match tensor.len() <= LOOKED_AT {
            true => Fact::constant(tensor.clone()),
            false => Fact::new(tensor.element_type(), tensor.shape().to_vec()),
        })
    };
    // What sequences become is made of what there is already.
    if inputs.iter().flatten().any(|value| value.as_tensor().is_none()) {
        return Ok(());
    }
    let facts: Vec<Option<Fact>> = inputs.iter().map(|value| value.and_then(fact)).collect();
    let facts: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
    // What cannot be right, its evaluation says.
    let outputs = operator.infer_partly(&facts, true).unwrap_or_default();
    outputs
        .iter()
        .enumerate()
        .try_for_each(|(k, fact)| fact.as_ref().map_or(Ok(()), |fact| check(|| what(k), fact, limits)))
}
