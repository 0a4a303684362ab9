//! A Reshape that only joins neighbouring dimensions goes behind the Transpose that moves what it joined. So a Transpose reads
//! what a convolution wrote as it lies there, and the Reshape of its dense result moves nothing.

use std::sync::Arc;

use super::edit::Edit;
use crate::graph::{Definition, Fact, Graph, Operator, ValueId};
use crate::ops::reshape::Reshape;
use crate::ops::transpose::Transpose;

/// Dimensions that strided moves take at most.
const RANK: usize = 5;

pub(super) fn apply(graph: &mut Graph) -> bool {
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let Some(found) = find(&edit, index) else { continue };
        let Some((reshape, transpose)) = edit.node(found.reshape).zip(edit.node(index)) else { continue };
        let (Some(Some(joined)), Some(Some(y))) =
            (reshape.outputs.first().copied(), transpose.outputs.first().copied())
        else {
            continue;
        };
        let name = format!("{}/transposed", edit.graph().value(y).name);
        let moved = edit.value(&name);
        edit.set_fact(moved, found.fact);
        edit.replace(index, found.join, vec![Some(moved)]);
        edit.replace(found.reshape, found.order, vec![Some(found.x)]);
        edit.redirect(found.reshape, joined, moved);
    }
    edit.finish()
}

/// A Reshape before a Transpose, and what the two become.
struct Found {
    reshape: usize,
    x: ValueId,
    order: Arc<dyn Operator>,
    fact: Fact,
    join: Arc<dyn Operator>,
}

fn find(edit: &Edit<'_>, index: usize) -> Option<Found> {
    let graph = edit.graph();
    let node = edit.node(index)?;
    let transpose = node.operator.downcast::<Transpose>()?;
    let (reshape, before) = edit.producer_for(node.inputs.first().copied().flatten()?, 1)?;
    before.operator.downcast::<Reshape>()?;
    let x = before.inputs.first().copied().flatten()?;
    let (from, to) = (graph.fact(x)?.concrete()?, graph.fact(node.inputs[0]?)?.concrete()?);
    if from.len() > RANK || from.len() <= to.len() || from.contains(&0) {
        return None;
    }
    let runs = joined(&from, &to)?;
    let order: Vec<usize> = transpose.order(to.len()).ok()?.into_iter().flat_map(|i| runs[i].clone()).collect();
    let shape: Vec<usize> = order.iter().map(|&i| from[i]).collect();
    let result = graph.fact(node.outputs.first().copied().flatten()?)?.concrete()?;
    let numbers = |list: &[usize]| list.iter().map(|&n| i64::try_from(n).ok()).collect::<Option<Vec<_>>>();
    let operator = |definition: Definition| crate::ops::operator(&definition).ok();
    Some(Found {
        reshape,
        x,
        order: operator(Definition::new("Transpose").attribute("perm", numbers(&order)?))?,
        fact: Fact::new(graph.fact(x)?.element_type, shape),
        join: operator(Definition::new("Reshape").attribute("shape", numbers(&result)?))?,
    })
}

/// For each dimension of `to`, the neighbouring ones of `from` that were joined to it, if that is all that was done.
fn joined(from: &[usize], to: &[usize]) -> Option<Vec<std::ops::Range<usize>>> {
    let mut next = 0;
    let mut runs = vec![];
    for (i, &dim) in to.iter().enumerate() {
        let begin = next;
        let mut product = *from.get(next)?;
        next += 1;
        while product < dim {
            product = product.checked_mul(*from.get(next)?)?;
            next += 1;
        }
        // What is left over at the end can only be ones.
        if i + 1 == to.len() {
            while let Some(1) = from.get(next) {
                next += 1;
            }
        }
        if product != dim {
            return None;
        }
        runs.push(begin..next);
    }
    (next == from.len()).then_some(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimize::testing::*;

    #[test]
    fn neighbours_that_were_joined_are_known() {
        let ranges = |list: &[(usize, usize)]| Some(list.iter().map(|&(a, b)| a..b).collect::<Vec<_>>());
        for (from, to, expected) in [
            (&[1, 192, 14, 14][..], &[1, 192, 196][..], ranges(&[(0, 1), (1, 2), (2, 4)])),
            (&[2, 3, 4, 1], &[6, 4], ranges(&[(0, 2), (2, 4)])),
            (&[2, 3, 4], &[2, 2, 6], None),
            (&[2, 3], &[3, 2], None),
            (&[4, 3], &[2, 6], None),
        ] {
            assert_eq!(joined(from, to), expected, "{from:?} {to:?}");
        }
    }

    #[test]
    fn pieces_of_a_picture_are_transposed_before_they_are_joined() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[2, 3, 4, 5]);
        let shape = graph.integers("shape", &[2, 3, 20]);
        let rows = graph.node("Reshape", &[x, shape]);
        let y = graph.define(&Definition::new("Transpose").attribute("perm", vec![0i64, 2, 1]), &[rows]);
        graph.output("y", y);
        graph.check(
            &["reshape_last", "drop_dead"],
            "input x: f32[2, 3, 4, 5]\n\
             y/transposed: f32[2, 4, 5, 3] = Transpose(x)\n\
             y: f32[2, 20, 3] = Reshape(y/transposed)\n\
             output y: f32[2, 20, 3]\n",
        );
    }

    #[test]
    fn what_is_split_or_read_elsewhere_stays() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[2, 6, 4]);
        let (split, join) = (graph.integers("split", &[2, 2, 3, 4]), graph.integers("join", &[12, 4]));
        let a = graph.node("Reshape", &[x, split]);
        let a = graph.node("Transpose", &[a]);
        let b = graph.node("Reshape", &[x, join]);
        let c = graph.node("Transpose", &[b]);
        for (name, value) in [("a", a), ("b", b), ("c", c)] {
            graph.output(name, value);
        }
        let text = graph.rewritten(&[]).to_string();
        graph.check(&["reshape_last"], &text);
    }
}
