//! A constant is added before its summand is moved, where a convolution can add it: through Transpose, Reshape and the one
//! computed part of a Concat, whose other parts are constants (an embedding of positions added to pieces of a picture).

use super::edit::Edit;
use crate::graph::{Graph, ValueId};
use crate::ops::concat::Concat;
use crate::ops::conv::Conv;
use crate::ops::reshape::Reshape;
use crate::ops::transpose::Transpose;
use crate::tensor::Tensor;
use crate::tensor::shape::strides;

pub(super) fn apply(graph: &mut Graph) -> bool {
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let mut at = index;
        while let Some(found) = find(&edit, at) {
            at = advance(&mut edit, at, found);
        }
    }
    edit.finish()
}

/// A move whose result an addition reads, and the constants that take the place of the addition's.
struct Found {
    /// The node that moves.
    mover: usize,
    /// What it moves, by its place among its inputs.
    part: usize,
    moved: ValueId,
    constant: Tensor,
    /// The other parts of a concatenation, by their places, each with what was added to it.
    others: Vec<(usize, Tensor)>,
}

/// Adds first and moves then: both nodes change places. Gives the place of the addition.
fn advance(edit: &mut Edit<'_>, add: usize, found: Found) -> usize {
    let Some((mover, adder)) = edit.node(found.mover).cloned().zip(edit.node(add).cloned()) else { return add };
    let name = edit.graph().value(found.moved).name.clone();
    let sum = edit.value(&format!("{name}/sum"));
    let constant = edit.constant(&format!("{name}/addend"), found.constant);
    let mut inputs = mover.inputs.clone();
    inputs[found.part] = Some(sum);
    for (part, tensor) in found.others {
        inputs[part] = Some(edit.constant(&format!("{name}/part"), tensor));
    }
    edit.replace(add, mover.operator, inputs);
    edit.replace(found.mover, adder.operator, vec![Some(found.moved), Some(constant)]);
    if let Some(Some(old)) = mover.outputs.first() {
        edit.redirect(found.mover, *old, sum);
    }
    if let Some(fact) = edit.graph().fact(found.moved).cloned() {
        edit.set_fact(sum, fact.without_content());
    }
    found.mover
}

fn find(edit: &Edit<'_>, add: usize) -> Option<Found> {
    let graph = edit.graph();
    let node = edit.node(add).filter(|node| node.operator.name() == "Add")?;
    let [Some(a), Some(b)] = node.inputs[..] else { return None };
    let (x, constant) = match (graph.constant(a), graph.constant(b)) {
        (None, Some(constant)) => (a, constant),
        (Some(constant), None) => (b, constant),
        _ => return None,
    };
    let values = constant.as_slice::<f32>().ok()?;
    if graph.fact(x)?.concrete()? != constant.shape() || !from_convolution(edit, x) {
        return None;
    }
    let (mover, node) = edit.producer_for(x, 1)?;
    let found = |part, moved, constant, others| Some(Found { mover, part, moved, constant, others });
    if let Some(concat) = node.operator.downcast::<Concat>() {
        let part = computed_part(graph, &node.inputs)?;
        let axis = concat.axis(constant.rank()).ok()?;
        let inner: usize = constant.shape()[axis + 1..].iter().product();
        let total = constant.shape()[axis] * inner;
        let (mut begin, mut own, mut others) = (0, None, vec![]);
        for (i, input) in node.inputs.iter().enumerate() {
            let shape = graph.fact((*input)?)?.concrete()?;
            let length = shape.get(axis)? * inner;
            let mut cut: Vec<f32> =
                values.chunks_exact(total).flat_map(|row| row[begin..begin + length].to_vec()).collect();
            begin += length;
            if let Some(given) = graph.constant((*input)?) {
                let given = given.as_slice::<f32>().ok().filter(|given| given.len() == cut.len())?;
                cut.iter_mut().zip(given).for_each(|(sum, given)| *sum += given);
                others.push((i, Tensor::new(shape, cut).ok()?));
            } else {
                own = Some(Tensor::new(shape, cut).ok()?);
            }
        }
        return found(part, node.inputs[part]?, own?, others);
    }
    let moved = node.inputs.first().copied().flatten()?;
    let shape = graph.fact(moved)?.concrete()?;
    if node.operator.downcast::<Reshape>().is_some() {
        return found(0, moved, constant.reshaped(shape).ok()?, vec![]);
    }
    let order = node.operator.downcast::<Transpose>()?.order(shape.len()).ok()?;
    // The element of the result at `i` is that of the source at the place that the order gives.
    let (own, result) = (strides(&shape), strides(constant.shape()));
    let mut back = vec![0f32; values.len()];
    for (i, value) in values.iter().enumerate() {
        let at: usize =
            order.iter().zip(&result).zip(constant.shape()).map(|((&d, step), n)| i / step % n * own[d]).sum();
        back[at] = *value;
    }
    found(0, moved, Tensor::new(shape, back).ok()?, vec![])
}

/// The one part of a concatenation that is no constant.
fn computed_part(graph: &Graph, inputs: &[Option<ValueId>]) -> Option<usize> {
    let computed = |input: &Option<ValueId>| input.is_none_or(|id| graph.constant(id).is_none());
    let part = inputs.iter().position(computed)?;
    inputs[part + 1..].iter().all(|input| !computed(input)).then_some(part)
}

/// Whether a value is a convolution's, moved, which nobody else reads.
fn from_convolution(edit: &Edit<'_>, value: ValueId) -> bool {
    let (mut value, mut moved) = (value, false);
    while let Some((_, node)) = edit.producer_for(value, 1) {
        let operator = &node.operator;
        if let Some(conv) = operator.downcast::<Conv>() {
            return moved && conv.with_residual().is_some();
        }
        let part = if operator.downcast::<Concat>().is_some() {
            computed_part(edit.graph(), &node.inputs)
        } else {
            let moves = operator.downcast::<Reshape>().is_some() || operator.downcast::<Transpose>().is_some();
            moves.then_some(0)
        };
        let Some(next) = part.and_then(|part| node.inputs.get(part).copied().flatten()) else { return false };
        (value, moved) = (next, true);
    }
    false
}

#[cfg(test)]
mod tests {
    use crate::graph::Definition;
    use crate::optimize::testing::*;

    #[test]
    fn positions_are_added_by_the_convolution_that_makes_pieces() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[1, 2, 6, 6]);
        let (w, class, positions) = (
            graph.random("w", &[4, 2, 3, 3]),
            graph.random("class", &[1, 1, 4]),
            graph.random("positions", &[1, 5, 4]),
        );
        let conv = graph.define(&Definition::new("Conv").attribute("strides", vec![3i64, 3]), &[x, w]);
        let shape = graph.integers("shape", &[1, 4, 4]);
        let rows = graph.node("Reshape", &[conv, shape]);
        let pieces = graph.define(&Definition::new("Transpose").attribute("perm", vec![0i64, 2, 1]), &[rows]);
        let all = graph.define(&Definition::new("Concat").attribute("axis", 1i64), &[class, pieces]);
        let y = graph.node("Add", &[all, positions]);
        graph.output("y", y);
        let rewrites = ["advance_addition", "fuse_residual_add", "drop_dead"];
        let text = graph.rewritten(&rewrites).to_string();
        let rewritten = graph.check(&rewrites, &text);
        let names: Vec<&str> = rewritten.nodes.iter().map(|node| node.operator.name()).collect();
        assert_eq!(names, ["Conv", "Reshape", "Transpose", "Concat"], "{text}");
    }

    #[test]
    fn what_no_convolution_can_add_stays() {
        let mut graph = TestGraph::new();
        let (x, z) = (graph.input("x", &[1, 4, 4]), graph.input("z", &[1, 2, 3, 3]));
        let (c, w, positions) =
            (graph.random("c", &[1, 4, 4]), graph.random("w", &[4, 2, 3, 3]), graph.random("p", &[4, 1, 1, 1]));
        let turn = |perm: &[i64]| Definition::new("Transpose").attribute("perm", perm.to_vec());
        let turned = graph.define(&turn(&[0, 2, 1]), &[x]);
        let y = graph.node("Add", &[turned, c]);
        graph.output("y", y);
        let conv = graph.node("Conv", &[z, w]);
        let shared = graph.define(&turn(&[1, 0, 2, 3]), &[conv]);
        let sum = graph.node("Add", &[shared, positions]);
        graph.output("shared", shared);
        graph.output("sum", sum);
        let text = graph.rewritten(&[]).to_string();
        graph.check(&["advance_addition"], &text);
    }
}
