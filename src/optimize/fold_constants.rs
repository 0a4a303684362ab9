//! Nodes whose inputs are all constants are computed once, by their references, and become constants.
//!
//! Bounded, so that a small file cannot ask for large constants or much work: a result is kept if it takes at most 1 MiB or
//! four times what its inputs take (weights that are converted from 8 bits to 32), all results together may take as much more,
//! and what would take the references more than some seconds is left to the run. Weights that are small integers with scales
//! are not computed at all before somebody reads them as floats: products take them as they are.

use std::sync::Arc;

use super::edit::Edit;
use crate::graph::{Context, Fact, Graph, Inputs, Node, Operator, Value};
use crate::ops::quantize::{BlockWeights, Quantize};
use crate::tensor::shape::elements;
use crate::tensor::{Recipe, Tensor, derived};

/// Bytes that a result may take whatever its inputs take.
const SMALL: usize = 1 << 20;
/// Bytes that all results together may take, beside four times the constants that there are.
const SMALL_TOGETHER: usize = 64 << 20;
/// Operations, and bytes read, that may be spent altogether.
const WORK: f64 = 2e9;

/// What may still be spent.
struct Budget {
    bytes: usize,
    work: f64,
}

pub(super) fn apply(graph: &mut Graph) -> bool {
    let constants = graph.values.iter().filter_map(|v| v.fact.as_ref()?.constant.as_ref());
    let given = constants.fold(0usize, |sum, tensor| sum.saturating_add(tensor.byte_length()));
    let mut budget = Budget { bytes: given.saturating_mul(4).saturating_add(SMALL_TOGETHER), work: WORK };
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let Some(node) = edit.node(index) else { continue };
        let outputs: Vec<_> = node.outputs.iter().flatten().copied().collect();
        if outputs.is_empty() {
            continue;
        }
        // Inference has computed shapes already.
        if !outputs.iter().all(|id| edit.graph().constant(*id).is_some()) {
            let Some(facts) = fold(edit.graph(), node, &mut budget) else { continue };
            let places: Vec<_> = node.outputs.clone();
            for (id, fact) in places.iter().zip(facts).filter_map(|(id, fact)| Some(((*id)?, fact))) {
                edit.set_fact(id, fact);
            }
        }
        edit.remove(index);
    }
    edit.finish()
}

/// What the node computes, if it can be computed now.
fn fold(graph: &Graph, node: &Node, budget: &mut Budget) -> Option<Vec<Fact>> {
    // Without inputs there is nothing to fold: a random tensor is another one each time.
    if !node.operator.is_deterministic() || node.inputs.iter().flatten().next().is_none() {
        return None;
    }
    let inputs = graph.input_facts(node)?;
    let constants: Vec<Option<&Tensor>> = inputs
        .iter()
        .map(|fact| fact.map_or(Some(None), |fact| fact.constant.as_ref().map(Some)))
        .collect::<Option<_>>()?;
    let facts = node.operator.infer(&inputs).ok()?;
    let operator = Arc::clone(&node.operator);
    let recipe = Recipe { name: "fold_constants", by: Arc::as_ptr(&operator).addr(), parameters: vec![] };
    if numbers(&*operator, &constants).is_some() {
        let weights = derived(recipe, &constants, move |constants| Some(vec![numbers(&*operator, constants)?]))?;
        return Some(weights.into_iter().map(Fact::constant).collect());
    }
    let size = |fact: &Fact| elements(&fact.concrete()?)?.checked_mul(fact.element_type.size());
    let given = inputs.iter().flatten().try_fold(0usize, |sum, fact| sum.checked_add(size(fact)?))?;
    let result = facts.iter().try_fold(0usize, |sum, fact| sum.checked_add(size(fact)?))?;
    let work = node.operator.work(&inputs, &facts) + given as f64;
    let allowed = SMALL.max(given.saturating_mul(4)).min(budget.bytes);
    if facts.len() < node.outputs.len() || result > allowed || work > budget.work {
        return None;
    }
    budget.bytes -= result;
    budget.work -= work;
    let results = derived(recipe, &constants, move |constants| computed(&*operator, constants))?;
    (results.len() >= node.outputs.len()).then(|| results.into_iter().map(Fact::constant).collect())
}

/// A matrix that an operator makes of constants as numbers with scales, of which nothing is computed here.
fn numbers(operator: &dyn Operator, constants: &[Option<&Tensor>]) -> Option<Tensor> {
    let linear = operator.downcast::<Quantize>().and_then(|linear| linear.numbers(constants));
    linear.or_else(|| operator.downcast::<BlockWeights>()?.numbers(constants))
}

/// What an operator makes of constants. Whatever is wrong shows, with a better message, when the node runs.
fn computed(operator: &dyn Operator, constants: &[Option<&Tensor>]) -> Option<Vec<Tensor>> {
    let values: Vec<Option<Value>> = constants.iter().map(|tensor| tensor.cloned().map(Value::Tensor)).collect();
    let values: Vec<_> = values.iter().map(Option::as_ref).collect();
    let results = operator.compute(&mut Context::brief(), Inputs(&values)).ok()?;
    results.into_iter().map(Value::into_tensor).collect()
}

#[cfg(test)]
mod tests {
    use crate::graph::Definition;
    use crate::optimize::testing::*;
    use crate::tensor::Tensor;

    #[test]
    fn what_depends_on_constants_alone_is_computed() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[1, 2]);
        let w = graph.constant("w", &[2, 2], &[1.0, -2.0, 3.0, -4.0]);
        let negated = graph.node("Neg", &[w]);
        let scaled = graph.node("Relu", &[negated]);
        let y = graph.node("MatMul", &[x, scaled]);
        graph.output("y", y);
        let folded = graph.check(
            &["fold_constants", "drop_dead"],
            "input x: f32[1, 2]\n\
             y: f32[1, 2] = MatMul(x, Relu_1: f32[2, 2])\n\
             output y: f32[1, 2]\n",
        );
        let id = folded.find("Relu_1").unwrap();
        assert_eq!(folded.constant(id), Some(&Tensor::new([2, 2], vec![0f32, 2.0, 0.0, 4.0]).unwrap()));
    }

    #[test]
    fn many_results_are_bounded_together() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[1]);
        let shape = graph.integers("shape", &[1 << 18]);
        let mut sum = x;
        for _ in 0..80 {
            let large = graph.define(&Definition::new("ConstantOfShape"), &[shape]);
            sum = graph.node("Add", &[sum, large]);
        }
        graph.output("y", sum);
        let rewritten = graph.rewritten(&["fold_constants"]);
        // One mebibyte each: 64 of them are folded.
        assert_eq!(rewritten.nodes.len(), 80 + 16);
    }

    #[test]
    fn large_results_stay_and_small_outputs_are_constants() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[1]);
        let shape = graph.integers("shape", &[1 << 12, 1 << 12]);
        let large = graph.define(&Definition::new("ConstantOfShape"), &[shape]);
        let w = graph.constant("w", &[1], &[1.0]);
        let negated = graph.node("Neg", &[w]);
        let _ = x;
        graph.output("large", large);
        graph.output("negated", negated);
        graph.check(
            &["fold_constants"],
            "input x: f32[1]\n\
             large: f32[4096, 4096] = ConstantOfShape([4096, 4096])\n\
             output large: f32[4096, 4096]\n\
             output negated: f32[1]\n",
        );

        let mut graph = TestGraph::new();
        let x = graph.input("x", &[1]);
        let shape = graph.integers("shape", &[1 << 10, 1 << 10]);
        let large = graph.define(&Definition::new("ConstantOfShape"), &[shape]);
        let negated = graph.node("Neg", &[large]);
        let y = graph.node("Shape", &[negated]);
        let _ = x;
        graph.output("y", y);
        let text = graph.rewritten(&["fold_constants"]).to_string();
        assert!(text.contains("= ConstantOfShape("), "{text}");
    }
}
