//! What a value is of another one that only moves of elements lie between: the same numbers, read by strides.

use super::edit::Edit;
use crate::graph::{Graph, Node, ValueId};
use crate::ops::gather::Gather;
use crate::ops::reshape::Reshape;
use crate::ops::slice::Slice;
use crate::ops::split::Split;
use crate::ops::transpose::Transpose;
use crate::tensor::shape::strides;

/// A value whose element at index `c` is `factor` times the one of `root` at `base + Σ c_i · stride_i`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    pub root: ValueId,
    pub factor: f64,
    pub base: usize,
    /// Sizes and strides, outermost first. The stride of a dimension of one element means nothing.
    pub dims: Vec<(usize, usize)>,
}

impl View {
    /// A value as a view of itself.
    pub fn of(graph: &Graph, root: ValueId) -> Option<Self> {
        let shape = graph.fact(root)?.concrete()?;
        let dims = shape.iter().copied().zip(strides(&shape)).collect();
        Some(Self { root, factor: 1.0, base: 0, dims })
    }

    /// The same elements in another shape, where strides can say it.
    pub fn reshaped(&self, shape: &[usize]) -> Option<Self> {
        // Neighbouring dimensions that are one run, the innermost last.
        let mut runs: Vec<(usize, usize)> = vec![];
        for &(size, stride) in self.dims.iter().filter(|(size, _)| *size != 1) {
            match runs.last_mut() {
                Some((n, step)) if size.checked_mul(stride) == Some(*step) => (*n, *step) = (*n * size, stride),
                _ => runs.push((size, stride)),
            }
        }
        let mut dims = vec![(1, 0); shape.len()];
        let mut rest = (1, 0);
        for (dim, &size) in dims.iter_mut().zip(shape).rev().filter(|(_, size)| **size != 1) {
            if rest.0 == 1 {
                rest = runs.pop()?;
            }
            if size == 0 || rest.0 % size != 0 {
                return None;
            }
            *dim = (size, rest.1);
            rest = (rest.0 / size, rest.1 * size);
        }
        (rest.0 == 1 && runs.is_empty()).then_some(Self { dims, ..self.clone() })
    }

    /// What a node makes of this view of its first input, where that is a view again. `output` is the place of the result.
    pub fn through(&self, graph: &Graph, node: &Node, output: usize) -> Option<Self> {
        let shape = || graph.fact((*node.outputs.get(output)?)?)?.concrete();
        let facts = graph.input_facts(node)?;
        let operator = &*node.operator;
        if operator.downcast::<Reshape>().is_some() {
            return self.reshaped(&shape()?);
        }
        let mut view = self.clone();
        if let Some(transpose) = operator.downcast::<Transpose>() {
            let order = transpose.order(self.dims.len()).ok()?;
            view.dims = order.iter().map(|&i| self.dims[i]).collect();
        } else if let Some(slice) = operator.downcast::<Slice>() {
            // The strides of a dense input tell where each dimension begins, and its steps.
            let read = slice.read(&facts)?;
            let own = strides(&facts.first()?.as_ref()?.concrete()?);
            let mut rest = usize::try_from(read.base).ok()?;
            for (i, dim) in view.dims.iter_mut().enumerate() {
                let (begin, step) = (rest / own[i].max(1), usize::try_from(read.strides[i]).ok()? / own[i].max(1));
                rest %= own[i].max(1);
                view.base += begin * dim.1;
                *dim = (read.dims[i], dim.1 * step);
            }
        } else if let Some(split) = operator.downcast::<Split>() {
            let at = split.axis(self.dims.len()).ok()?;
            let size = |id: &Option<ValueId>| Some(graph.fact((*id)?)?.concrete()?[at]);
            let before: Option<usize> = node.outputs[..output].iter().map(size).sum();
            view.base += before? * view.dims[at].1;
            view.dims[at].0 = size(&node.outputs[output])?;
        } else if let Some(gather) = operator.downcast::<Gather>() {
            let index = facts.get(1)?.as_ref()?;
            let (at, place) = (gather.axis(self.dims.len()).ok()?, index.integers()?);
            let &[place] = &place[..] else { return None };
            let place = usize::try_from(if place < 0 { place + self.dims[at].0 as i64 } else { place }).ok()?;
            let (_, stride) = view.dims.remove(at);
            view.base += place * stride;
            (0..index.rank()).for_each(|_| view.dims.insert(at, (1, 0)));
        } else if matches!(operator.name(), "Mul" | "Div") {
            view.factor *= f64::from(factor(graph, node)?.1);
            view = view.reshaped(&shape()?)?;
        } else {
            return None;
        }
        Some(view)
    }
}

/// What a Mul or Div multiplies by one number, and the number.
pub(super) fn factor(graph: &Graph, node: &Node) -> Option<(ValueId, f32)> {
    let [Some(a), Some(b)] = node.inputs[..] else { return None };
    let number = |x: ValueId, constant: ValueId| {
        let (fact, of) = (graph.fact(constant)?, graph.fact(x)?);
        let one = fact.constant.as_ref()?.len() == 1 && fact.rank() <= of.rank() && of.constant.is_none();
        fact.floats().filter(|_| one)?.first().copied()
    };
    match node.operator.name() {
        "Mul" => number(a, b).map(|n| (a, n)).or_else(|| number(b, a).map(|n| (b, n))),
        "Div" => number(a, b).map(|n| (a, 1.0 / n)),
        _ => None,
    }
}

/// A value as a view of the farthest one that it can be seen as a view of. With `scaled`, factors may lie between.
pub(super) fn view(edit: &Edit<'_>, value: ValueId, scaled: bool) -> Option<View> {
    let graph = edit.graph();
    // The nodes between, the last first.
    let mut path = vec![];
    let mut at = value;
    while let Some((_, node)) = edit.producer(at) {
        let from = match node.operator.name() {
            "Mul" | "Div" if scaled => factor(graph, node).map(|(x, _)| x),
            "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" | "Transpose" | "Slice" | "Split" | "Gather" => {
                node.inputs.first().copied().flatten()
            }
            _ => None,
        };
        let Some(from) = from else { break };
        path.push((node, at));
        at = from;
    }
    let mut view = View::of(graph, at)?;
    for (node, result) in path.into_iter().rev() {
        let output = node.outputs.iter().position(|id| *id == Some(result))?;
        // What strides cannot say is where another view begins.
        view = match view.through(graph, node, output) {
            Some(view) => view,
            None => View::of(graph, result)?,
        };
    }
    Some(view)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dense(shape: &[usize]) -> View {
        View { root: ValueId(0), factor: 1.0, base: 0, dims: shape.iter().copied().zip(strides(shape)).collect() }
    }

    #[test]
    fn dimensions_are_divided_and_joined() {
        let view = dense(&[2, 5, 12]).reshaped(&[2, 5, 3, 4]).unwrap();
        assert_eq!(view.dims, [(2, 60), (5, 12), (3, 4), (4, 1)]);
        let heads = View { dims: [0, 2, 1, 3].map(|i| view.dims[i]).to_vec(), ..view };
        assert_eq!(
            heads.reshaped(&[2, 3, 1, 5, 2, 2]).unwrap().dims,
            [(2, 60), (3, 4), (1, 0), (5, 12), (2, 2), (2, 1)]
        );
        // Rows of another order cannot be one.
        assert_eq!(heads.reshaped(&[2, 15, 4]), None);
        assert_eq!(heads.reshaped(&[2, 3, 20]), None);
        assert_eq!(dense(&[1, 6]).reshaped(&[2, 3]).unwrap().dims, [(2, 3), (3, 1)]);
    }
}
