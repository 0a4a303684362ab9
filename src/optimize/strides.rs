//! What a value is of another one that only moves of elements lie between: the same numbers, read by strides.

use super::edit::Edit;
use crate::graph::{Graph, Node, ValueId};
use crate::ops::expand::Expand;
use crate::ops::gather::Gather;
use crate::ops::reshape::Reshape;
use crate::ops::slice::Slice;
use crate::ops::split::Split;
use crate::ops::transpose::Transpose;
use crate::tensor::shape::strides;

/// A dimension: the sizes and strides of the runs that it was joined of, outermost first. One element needs none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Dim(pub Vec<(usize, usize)>);

impl Dim {
    fn of(size: usize, stride: usize) -> Self {
        Self(if size == 1 { vec![] } else { vec![(size, stride)] })
    }

    pub fn size(&self) -> usize {
        self.0.iter().map(|run| run.0).product()
    }

    /// Its size and stride, where it has one. The stride of one element means nothing.
    pub fn single(&self) -> Option<(usize, usize)> {
        match self.0[..] {
            [] => Some((1, 0)),
            [run] => Some(run),
            _ => None,
        }
    }

    /// Adds a run behind the others.
    fn push(&mut self, (size, stride): (usize, usize)) {
        match self.0.last_mut() {
            Some((n, step)) if size.checked_mul(stride) == Some(*step) => (*n, *step) = (*n * size, stride),
            _ => self.0.push((size, stride)),
        }
    }
}

/// A value whose element at index `c` is `factor` times the one of `root` at `base + Σ c_i · stride_i`, where an index of a
/// dimension of several runs is divided among them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    pub root: ValueId,
    pub factor: f64,
    pub base: usize,
    /// Outermost first.
    pub dims: Vec<Dim>,
}

impl View {
    /// A value as a view of itself.
    pub fn of(graph: &Graph, root: ValueId) -> Option<Self> {
        let shape = graph.fact(root)?.concrete()?;
        let dims = shape.iter().zip(strides(&shape)).map(|(&size, stride)| Dim::of(size, stride)).collect();
        Some(Self { root, factor: 1.0, base: 0, dims })
    }

    /// The same elements in another shape, where runs can say it.
    pub fn reshaped(&self, shape: &[usize]) -> Option<Self> {
        let mut all = Dim::default();
        self.dims.iter().flat_map(|dim| &dim.0).for_each(|&run| all.push(run));
        let mut runs = all.0;
        let mut dims = vec![Dim::default(); shape.len()];
        for (dim, &size) in dims.iter_mut().zip(shape).rev() {
            let mut missing = size;
            let mut own = vec![];
            while missing != 1 {
                let (n, stride) = runs.pop()?;
                if n == 0 || missing == 0 {
                    return None;
                }
                if missing % n == 0 {
                    own.push((n, stride));
                    missing /= n;
                } else if n % missing == 0 {
                    own.push((missing, stride));
                    runs.push((n / missing, stride * missing));
                    missing = 1;
                } else {
                    return None;
                }
            }
            own.into_iter().rev().for_each(|run| dim.push(run));
        }
        runs.is_empty().then_some(Self { dims, ..self.clone() })
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
            view.dims = order.iter().map(|&i| self.dims[i].clone()).collect();
        } else if let Some(slice) = operator.downcast::<Slice>() {
            // The strides of a dense input tell where each dimension begins, and its steps.
            let read = slice.read(&facts)?;
            let own = strides(&facts.first()?.as_ref()?.concrete()?);
            let mut rest = usize::try_from(read.base).ok()?;
            for (i, dim) in view.dims.iter_mut().enumerate() {
                let (begin, step) = (rest / own[i].max(1), usize::try_from(read.strides[i]).ok()? / own[i].max(1));
                rest %= own[i].max(1);
                if begin > 0 || step != 1 || read.dims[i] != dim.size() {
                    let (_, stride) = dim.single()?;
                    view.base += begin * stride;
                    *dim = Dim::of(read.dims[i], stride * step);
                }
            }
        } else if let Some(split) = operator.downcast::<Split>() {
            let at = split.axis(self.dims.len()).ok()?;
            let size = |id: &Option<ValueId>| Some(graph.fact((*id)?)?.concrete()?[at]);
            let before: Option<usize> = node.outputs[..output].iter().map(size).sum();
            let (_, stride) = view.dims[at].single()?;
            view.base += before? * stride;
            view.dims[at] = Dim::of(size(&node.outputs[output])?, stride);
        } else if let Some(gather) = operator.downcast::<Gather>() {
            let index = facts.get(1)?.as_ref()?;
            let (at, place) = (gather.axis(self.dims.len()).ok()?, index.integers()?);
            let &[place] = &place[..] else { return None };
            let (size, stride) = view.dims.remove(at).single()?;
            let place = if place < 0 { place.checked_add(i64::try_from(size).ok()?)? } else { place };
            view.base += usize::try_from(place).ok()? * stride;
            (0..index.rank()).for_each(|_| view.dims.insert(at, Dim::default()));
        } else if operator.downcast::<Expand>() == Some(&Expand::Broadcast) {
            let shape = shape()?;
            (view.dims.len()..shape.len()).for_each(|_| view.dims.insert(0, Dim::default()));
            for (dim, size) in view.dims.iter_mut().zip(shape).filter(|(dim, size)| dim.size() != *size) {
                *dim = Dim::of(size, 0);
            }
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
        fact.number().filter(|_| fact.rank() <= of.rank() && of.constant.is_none())
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
            "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" | "Transpose" | "Slice" | "Split" | "Gather" | "Expand" => {
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
        let dims = shape.iter().zip(strides(shape)).map(|(&size, stride)| Dim::of(size, stride)).collect();
        View { root: ValueId(0), factor: 1.0, base: 0, dims }
    }

    /// The runs of a view in another shape.
    fn runs(view: &View, shape: &[usize]) -> Option<Vec<Vec<(usize, usize)>>> {
        view.reshaped(shape).map(|view| view.dims.into_iter().map(|dim| dim.0).collect())
    }

    #[test]
    fn dimensions_are_divided_and_joined() {
        let view = dense(&[2, 5, 12]).reshaped(&[2, 5, 3, 4]).unwrap();
        let single: Vec<_> = view.dims.iter().map(|dim| dim.single().unwrap()).collect();
        assert_eq!(single, [(2, 60), (5, 12), (3, 4), (4, 1)]);
        let heads = View { dims: [0, 2, 1, 3].map(|i| view.dims[i].clone()).to_vec(), ..view };
        let all = [vec![(2, 60)], vec![(3, 4)], vec![], vec![(5, 12)], vec![(2, 2)], vec![(2, 1)]];
        assert_eq!(runs(&heads, &[2, 3, 1, 5, 2, 2]).unwrap(), all);
        // Rows of another order are several runs, which are divided again.
        let joined = heads.reshaped(&[2, 15, 4]).unwrap();
        assert_eq!(joined.dims[1].0, [(3, 4), (5, 12)]);
        assert_eq!((joined.dims[1].size(), joined.dims[1].single()), (15, None));
        assert_eq!(joined.reshaped(&[2, 3, 5, 4]), Some(heads.clone()));
        assert_eq!(runs(&heads, &[6, 20]).unwrap(), [vec![(2, 60), (3, 4)], vec![(5, 12), (4, 1)]]);
        // Not within a run.
        assert_eq!(heads.reshaped(&[2, 5, 3, 4]), None);
        assert_eq!(runs(&dense(&[1, 6]), &[2, 3]).unwrap(), [vec![(2, 3)], vec![(3, 1)]]);
        assert_eq!(dense(&[0, 6]).reshaped(&[6, 0]), None);
        assert_eq!(dense(&[6]).reshaped(&[4]), None);
    }
}
