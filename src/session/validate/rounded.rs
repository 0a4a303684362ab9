//! Integers that a device rounded to the other side of a tie.

use std::collections::{HashMap, HashSet};

use crate::graph::{Graph, Node, Value, ValueId};
use crate::ops::quantize::Quantize;
use crate::ops::resize::Resize;
use crate::tensor::Tensor;

/// How near to a tie a number may be rounded to either side: integers may be computed without the floats that the standard has
/// between them.
const TIE: f64 = 1e-3;

/// How near to a tie three roundings of floats leave a number below 256 that is one. What a Resize gives is often one, since its
/// weights are simple fractions, and falls to either side by those roundings alone.
const SAME: f64 = 256.0 * 3.0 / (1 << 24) as f64;

/// What is rounded to integers, as the references have it.
pub(super) struct Rounded<'a> {
    graph: &'a Graph,
    /// For each value that a QuantizeLinear gives, how.
    of: HashMap<ValueId, Steps>,
    /// What will be rounded.
    floats: HashMap<ValueId, Option<Tensor>>,
}

/// A QuantizeLinear of one scale and zero point.
struct Steps {
    x: ValueId,
    scale: f64,
    zero: f64,
    /// How near to a tie what it rounds may lie any number of times.
    same: f64,
}

impl<'a> Rounded<'a> {
    pub fn of(graph: &'a Graph) -> Self {
        let mut rounded = Self { graph, of: HashMap::new(), floats: HashMap::new() };
        let resized = |x: &&Node| x.operator.downcast::<Resize>().is_some();
        let resized: HashSet<_> = graph.nodes.iter().filter(resized).flat_map(|x| x.outputs.iter().flatten()).collect();
        for node in &graph.nodes {
            let forth = node.operator.downcast::<Quantize>().is_some_and(|linear| !linear.is_back());
            let [Some(x), Some(scale), ..] = node.inputs[..] else { continue };
            let one = |id| graph.constant(id).filter(|one| one.len() == 1).map(|one| one.to_f64()[0]);
            let zero = node.inputs.get(2).copied().flatten().map_or(Some(0.0), one);
            if let (true, [Some(y)], Some(scale), Some(zero)) = (forth, &node.outputs[..], one(scale), zero) {
                let same = if resized.contains(&x) { SAME } else { 0.0 };
                rounded.of.insert(*y, Steps { x, scale, zero, same });
                rounded.floats.insert(x, None);
            }
        }
        rounded
    }

    /// Keeps a value that will be rounded.
    pub fn keep(&mut self, id: ValueId, value: &Value) {
        if let Some(floats) = self.floats.get_mut(&id) {
            *floats = value.as_tensor().cloned();
        }
    }

    /// Whether integers differ by one alone, where what was rounded is as good as a tie, and there seldom unless it was resized.
    pub fn agrees(&self, id: ValueId, got: &Tensor, expected: &Tensor) -> bool {
        let Some(&Steps { x, scale, zero, same }) = self.of.get(&id) else { return false };
        let kept = self.floats.get(&x).and_then(Option::as_ref);
        let Some(x) = kept.or_else(|| self.graph.constant(x)).filter(|x| x.len() == got.len()) else { return false };
        let mut ties = 0;
        for ((got, expected), x) in got.to_f64().into_iter().zip(expected.to_f64()).zip(x.to_f64()) {
            if got != expected {
                let quotient = x / scale;
                let off = (quotient - quotient.floor() - 0.5).abs();
                // Not the integer behind the one that is expected.
                let beside = (got - zero - quotient).abs() < 0.5 + TIE;
                if off >= TIE || (got - expected).abs() > 1.0 || !beside {
                    return false;
                }
                ties += usize::from(off >= same);
            }
        }
        ties <= 1 + expected.len() / 10_000
    }
}

#[cfg(test)]
mod tests {
    use super::super::{excuse, to_the_end};
    use super::*;
    use crate::ElementType;
    use crate::graph::Definition;
    use crate::session::Precision;
    use crate::session::tolerance::Tolerance;

    /// Whether the last value of a graph may be these numbers.
    fn passes(graph: &Graph, given: &[Tensor], name: &str, numbers: Vec<u8>) -> bool {
        let tolerance = Tolerance { amplified: f32::INFINITY, ..Tolerance::of(Precision::F32) };
        let shape = graph.fact(graph.outputs[0]).unwrap().concrete().unwrap();
        let got = [(name.to_owned(), Tensor::new(shape, numbers).unwrap())].into();
        let mut validation = to_the_end(graph, given, &got, tolerance).unwrap();
        excuse(&mut validation, graph, given, &got, tolerance).unwrap();
        validation.passed()
    }

    #[test]
    fn integers_may_differ_by_one_at_ties_alone() {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [3]);
        let scale = graph.constant("scale", Tensor::scalar(0.5f32));
        let zero = graph.constant("zero", Tensor::scalar(0u8));
        let a = graph.node(&Definition::new("Abs"), &[x]).unwrap();
        let q = graph.node(&Definition::new("QuantizeLinear"), &[a, scale, zero]).unwrap();
        graph.output("q", q);
        let graph = graph.build().unwrap();
        // 2.4998 and 7 steps, and a tie.
        let given = [Tensor::vector(vec![-1.2499f32, 3.5, 1.25])];
        let passes = |numbers: [u8; 3]| passes(&graph, &given, "q", numbers.to_vec());
        assert!(passes([2, 7, 2]) && passes([3, 7, 2]) && passes([2, 7, 3]));
        assert!(!passes([2, 8, 2]) && !passes([4, 7, 2]) && !passes([3, 7, 3]));
    }

    #[test]
    fn what_is_resized_may_be_a_tie_anywhere() {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [1, 1, 2, 2]);
        let [none, sizes] = [
            graph.constant("none", Tensor::vector(Vec::<f32>::new())),
            graph.constant("sizes", Tensor::vector(vec![1i64, 1, 4, 4])),
        ];
        let scale = graph.constant("scale", Tensor::scalar(0.5f32));
        let zero = graph.constant("zero", Tensor::scalar(0u8));
        let y = graph.node(&Definition::new("Resize").attribute("mode", "linear"), &[x, none, none, sizes]).unwrap();
        let q = graph.node(&Definition::new("QuantizeLinear"), &[y, scale, zero]).unwrap();
        graph.output("q", q);
        let graph = graph.build().unwrap();
        // Two steps and four, and between them two and a half, and three and a half.
        let given = [Tensor::new([1, 1, 2, 2], vec![1f32, 2.0, 1.0, 2.0]).unwrap()];
        let passes = |row: [u8; 4]| passes(&graph, &given, "q", row.repeat(4));
        assert!(passes([2, 2, 4, 4]) && passes([2, 3, 3, 4]));
        assert!(!passes([3, 2, 4, 4]) && !passes([2, 1, 4, 4]));
    }
}
