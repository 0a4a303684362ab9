//! Rotary embeddings that a file writes out become one node: `x · cos + rotated x · sin`, where what is rotated is minus the
//! second half of x, then the first. Where x was transposed before, it is transposed behind, where attention reads it so.

use std::sync::Arc;

use super::edit::Edit;
use super::operands::operands;
use crate::graph::{Fact, Graph, Node, Operator, ValueId};
use crate::ops::concat::Concat;
use crate::ops::rotate_half::RotateHalf;
use crate::ops::slice::Slice;
use crate::ops::split::Split;
use crate::ops::transpose::Transpose;
use crate::tensor::shape::strides;

pub(super) fn apply(graph: &mut Graph) -> bool {
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let Some(found) = edit.node(index).and_then(|node| find(&edit, node)) else { continue };
        replace(&mut edit, index, &found);
    }
    let changed = edit.finish();
    if changed {
        // What it took the place of must not count as a reader for the rewrites to come.
        graph.drop_dead();
    }
    changed
}

/// A rotary embedding that was written out.
struct Found {
    x: ValueId,
    tables: [ValueId; 2],
    rotation: Arc<RotateHalf>,
    /// The node that reads the later of the tables.
    product: usize,
    /// The nodes that compute it beside this one and the last.
    inner: Vec<usize>,
    /// What was transposed to x, how it is turned, and the transposition.
    before: Option<(ValueId, Arc<RotateHalf>, Arc<dyn Operator>)>,
}

fn replace(edit: &mut Edit<'_>, index: usize, found: &Found) {
    let [cosine, sine] = found.tables.map(Some);
    let rotated = found.before.as_ref().and_then(|(z, rotation, transpose)| {
        let product = edit.node(found.product)?.outputs.first().copied().flatten()?;
        Some((*z, rotation, transpose, product, edit.graph().fact(*z).map(Fact::without_content)?))
    });
    match rotated {
        Some((z, rotation, transpose, product, fact)) => {
            let name = format!("{}/rotated", edit.graph().value(z).name);
            let rotated = edit.value(&name);
            edit.set_fact(rotated, fact);
            edit.replace(found.product, Arc::clone(rotation) as Arc<dyn Operator>, vec![Some(z), cosine, sine]);
            edit.redirect(found.product, product, rotated);
            edit.replace(index, Arc::clone(transpose), vec![Some(rotated)]);
        }
        None => {
            let rotation = Arc::clone(&found.rotation) as Arc<dyn Operator>;
            edit.replace(index, rotation, vec![Some(found.x), cosine, sine]);
            edit.remove(found.product);
        }
    }
    found.inner.iter().for_each(|inner| edit.remove(*inner));
}

/// The rotary embedding that ends in a node.
fn find(edit: &Edit<'_>, node: &Node) -> Option<Found> {
    let (a, b) = operands(node, "Add")?;
    products(edit, a, b).or_else(|| products(edit, b, a))
}

/// The rotary embedding of which these are both products.
fn products(edit: &Edit<'_>, plain: ValueId, turned: ValueId) -> Option<Found> {
    let graph = edit.graph();
    let ((first, node), (second, other)) = (edit.producer_for(plain, 1)?, edit.producer_for(turned, 1)?);
    let ((a, b), (c, d)) = (operands(node, "Mul")?, operands(other, "Mul")?);
    let ((x, mut inner), sine) = match halves_swapped(edit, c) {
        Some(found) => (found, d),
        None => (halves_swapped(edit, d)?, c),
    };
    let cosine = [(a, b), (b, a)].into_iter().find(|(of, _)| *of == x)?.1;
    let fact = graph.fact(x)?;
    let (shape, table) = (fact.concrete()?, graph.fact(cosine)?.concrete()?);
    if !fact.element_type.is_float() || graph.fact(sine)?.concrete()? != table {
        return None;
    }
    let order: Vec<usize> = (0..shape.len()).collect();
    let rotation = Arc::new(RotateHalf::of(&shape, &table, &order)?);
    inner.push(first.min(second));
    let before = transposed(edit, x, &table);
    Some(Found { x, tables: [cosine, sine], rotation, product: first.max(second), inner, before })
}

/// What was transposed to a value, how it is turned with tables of this shape, and the transposition.
fn transposed(edit: &Edit<'_>, x: ValueId, table: &[usize]) -> Option<(ValueId, Arc<RotateHalf>, Arc<dyn Operator>)> {
    let (_, node) = edit.producer(x)?;
    let z = node.inputs.first().copied().flatten()?;
    let shape = edit.graph().fact(z)?.concrete()?;
    let order = node.operator.downcast::<Transpose>()?.order(shape.len()).ok()?;
    let rotation = RotateHalf::of(&shape, table, &order)?;
    Some((z, Arc::new(rotation), Arc::clone(&node.operator)))
}

/// The x of minus its second half and then its first, along the last axis, and the nodes between.
fn halves_swapped(edit: &Edit<'_>, value: ValueId) -> Option<(ValueId, Vec<usize>)> {
    let graph = edit.graph();
    let (concat, node) = edit.producer_for(value, 1)?;
    let [Some(negative), Some(low)] = node.inputs[..] else { return None };
    let rank = graph.fact(value)?.rank();
    if node.operator.downcast::<Concat>()?.axis(rank).ok()? + 1 != rank {
        return None;
    }
    let (neg, node) = edit.producer_for(negative, 1).filter(|(_, node)| node.operator.name() == "Neg")?;
    let high = node.inputs.first().copied().flatten()?;
    let ((above, upper), (below, lower)) = (edit.producer_for(high, 1)?, edit.producer_for(low, 1)?);
    let x = upper.inputs.first().copied().flatten()?;
    if lower.inputs.first() != Some(&Some(x)) {
        return None;
    }
    let shape = graph.fact(x)?.concrete()?;
    let half = shape.last()? / 2;
    if above == below {
        let axis = upper.operator.downcast::<Split>()?.axis(rank).ok()?;
        let parts = [low, high].map(Some) == upper.outputs[..] && graph.fact(low)?.concrete()?.last() == Some(&half);
        return (parts && axis + 1 == rank && 2 * half == *shape.last()?).then(|| (x, vec![concat, neg, above]));
    }
    let mut part = shape.clone();
    *part.last_mut()? = half;
    let begins = |node: &Node, at: usize| {
        let read = node.operator.downcast::<Slice>()?.read(&graph.input_facts(node)?)?;
        let dense = read.strides.iter().map(|&step| usize::try_from(step).ok());
        let same = read.dims == part && dense.eq(strides(&shape).into_iter().map(Some));
        (same && usize::try_from(read.base) == Ok(at)).then_some(())
    };
    begins(upper, half)?;
    begins(lower, 0)?;
    Some((x, vec![concat, neg, above, below]))
}

#[cfg(test)]
mod tests {
    use crate::graph::{Definition, ValueId};
    use crate::optimize::testing::*;

    /// `x · cos + rotated x · sin`.
    fn rotary(graph: &mut TestGraph, x: ValueId, tables: [ValueId; 2], form: usize) -> ValueId {
        rotary_of(graph, x, tables, form, 8)
    }

    /// The same of rows of two halves of this size.
    fn rotary_of(graph: &mut TestGraph, x: ValueId, [cosine, sine]: [ValueId; 2], form: usize, half: i64) -> ValueId {
        let [zero, half, end, last] = [0, half, 2 * half, 3].map(|n| graph.integers("bound", &[n]));
        let (low, high) = if form.is_multiple_of(2) {
            (graph.node("Slice", &[x, zero, half, last]), graph.node("Slice", &[x, half, end, last]))
        } else {
            let split = Definition { outputs: 2, ..Definition::new("Split") }.attribute("axis", -1i64);
            let parts = graph.define_all(&split, &[x]);
            (parts[0], parts[1])
        };
        let negative = graph.node("Neg", &[high]);
        let parts = if form == 2 { [low, negative] } else { [negative, low] };
        let swapped = graph.define(&Definition::new("Concat").attribute("axis", -1i64), &parts);
        let plain = graph.node("Mul", &if form < 2 { [x, cosine] } else { [cosine, x] });
        let turned = graph.node("Mul", &if form < 2 { [swapped, sine] } else { [sine, swapped] });
        graph.node("Add", &if form == 1 { [turned, plain] } else { [plain, turned] })
    }

    const APPLIED: [&str; 2] = ["gather_rotary", "drop_dead"];

    #[test]
    fn however_it_is_written() {
        for form in [0, 1, 3, 4] {
            let mut graph = TestGraph::new();
            let x = graph.input("x", &[2, 3, 5, 16]);
            let tables = ["cos", "sin"].map(|name| graph.input(name, &[2, 1, 5, 16]));
            let y = rotary(&mut graph, x, tables, form);
            graph.output("y", y);
            graph.check(
                &APPLIED,
                "input x: f32[2, 3, 5, 16]\ninput cos: f32[2, 1, 5, 16]\ninput sin: f32[2, 1, 5, 16]\n\
                 y: f32[2, 3, 5, 16] = RotaryEmbedding(x, cos, sin)\noutput y: f32[2, 3, 5, 16]\n",
            );
        }
    }

    /// As GPT-NeoX does: the first quarter of a head of 80.
    #[test]
    fn parts_of_heads_that_are_no_whole_units() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[1, 3, 5, 80]);
        let tables = ["cos", "sin"].map(|name| graph.input(name, &[1, 1, 5, 20]));
        let [zero, quarter, end, last] = [0, 20, 80, 3].map(|n| graph.integers("part", &[n]));
        let (part, rest) =
            (graph.node("Slice", &[x, zero, quarter, last]), graph.node("Slice", &[x, quarter, end, last]));
        let turned = rotary_of(&mut graph, part, tables, 0, 10);
        let y = graph.define(&Definition::new("Concat").attribute("axis", -1i64), &[turned, rest]);
        graph.output("y", y);
        let text = graph.rewritten(&APPLIED).to_string();
        assert!(text.contains("RotaryEmbedding(") && !text.contains("Neg("), "{text}");
        graph.check(&APPLIED, &text);
    }

    #[test]
    fn before_the_way_to_heads() {
        let mut graph = TestGraph::new();
        let z = graph.input("z", &[2, 5, 3, 16]);
        let tables = ["cos", "sin"].map(|name| graph.input(name, &[5, 16]));
        let x = graph.define(&Definition::new("Transpose").attribute("perm", vec![0i64, 2, 1, 3]), &[z]);
        let y = rotary(&mut graph, x, tables, 0);
        graph.output("y", y);
        graph.check(
            &APPLIED,
            "input z: f32[2, 5, 3, 16]\ninput cos: f32[5, 16]\ninput sin: f32[5, 16]\n\
             z/rotated: f32[2, 5, 3, 16] = RotaryEmbedding(z, cos, sin)\n\
             y: f32[2, 3, 5, 16] = Transpose(z/rotated)\noutput y: f32[2, 3, 5, 16]\n",
        );
    }

    #[test]
    fn what_turns_nothing_stays() {
        for (form, table) in [(2, [1, 1, 5, 16]), (0, [1, 1, 5, 1])] {
            let mut graph = TestGraph::new();
            let x = graph.input("x", &[2, 3, 5, 16]);
            let tables = ["cos", "sin"].map(|name| graph.input(name, &table));
            let y = rotary(&mut graph, x, tables, form);
            graph.output("y", y);
            let text = graph.rewritten(&[]).to_string();
            graph.check(&APPLIED, &text);
        }
    }
}
