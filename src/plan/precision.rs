//! What each value is stored as where 32-bit floats are stored as 16-bit ones.
//!
//! A half has 11 bits: each one stored errs by up to 2⁻¹¹ of itself. So what costs little stays in 32 bits, and so does
//! what a network is known to magnify the errors of:
//!
//! - **Inputs and outputs of the graph**: they cross to the application, or to another session, as they are.
//! - **Small values**, an [eighth](SMALL) of the largest or less: they are not what takes memory and bandwidth, and there
//!   are many of them in the later layers.
//! - **What sums cancel in**: if a convolution's sums are large beside what is left of them once their mean is taken
//!   away, the errors of what it reads grow by as much ([`Operator::cancellation`](crate::graph::Operator::cancellation),
//!   known from the statistics of the batch norm that was folded into it). From [`CANCELLATION`] on, what it reads
//!   and its weights stay in 32 bits, however large.
//! - **What is enlarged**: what one element errs by, all its copies err by, so that in the sums that read them less of it
//!   cancels; and it is smaller than they are.
//! - **What logits are made of**: a probability errs, relative to itself, by as much as its logit errs at all, and logits are
//!   many times larger than one. The last [`HEAD`] layers before probabilities that the graph gives read 32 bits; not those
//!   before a mean over many, in which errors cancel.
//! - **Weights that weigh little**: constants that, in 32 bits, take at most half the bytes of what their node reads and
//!   writes beside them, so that no node moves more than a fifth more for them.
//! - **What 16 bits were found not to hold**, and the weights of the layers that give it.
//!
//! What is handed on under another shape is stored alike on both sides, or it could not be one memory; and parts of a
//! concatenation are stored as the whole is, or they could not be written in place.
//!
//! Biases of convolutions are in 32 bits in any case, and so is all arithmetic.

use std::collections::BTreeSet;

use crate::graph::{Fact, Graph, Node, ValueId};
use crate::kernel::Storage;
use crate::ops::concat::Concat;
use crate::ops::reshape::Reshape;
use crate::ops::resize::Resize;
use crate::tensor::ElementType;

/// A value stays in 32 bits if this many of it are no larger than the largest value.
const SMALL: usize = 8;

/// The growth of errors, by cancellation, from which on they are avoided. Networks that take 16 bits well have 1 to 1.5
/// in most layers; a detector of text whose first layers have 2 to 6 was wrong by a quarter of its range at some pixels.
const CANCELLATION: f32 = 1.5;

/// How many layers before a probability read values in 32 bits: a detector of text whose last layer multiplies by fifty was
/// wrong by 1.5·10⁻² at some pixels with none, 1.0·10⁻² with one, 7·10⁻³ with two.
const HEAD: usize = 2;

/// What values and constants are stored as.
#[derive(Debug)]
pub struct Precision {
    half: bool,
    /// For each value, whether it stays in 32 bits.
    single: Vec<bool>,
    /// For each value, whether 16 bits were found not to hold it.
    beyond: Vec<bool>,
}

impl Precision {
    /// Decides for a graph whose dimensions are all numbers; values of these names stay in 32 bits. Without `half`, 32-bit floats
    /// are what they are.
    pub fn of(graph: &Graph, half: bool, single: &BTreeSet<String>) -> Self {
        let count = graph.values.len();
        let mut precision = Self { half, single: vec![!half; count], beyond: vec![false; count] };
        if half {
            for (beyond, value) in precision.beyond.iter_mut().zip(&graph.values) {
                *beyond = single.contains(&value.name);
            }
            precision.decide(graph);
        }
        precision
    }

    fn decide(&mut self, graph: &Graph) {
        let float = |id: ValueId| {
            graph.constant(id).is_none() && graph.fact(id).is_some_and(|f| f.element_type == ElementType::F32)
        };
        let elements: Vec<usize> = (0..graph.values.len())
            .map(|i| if float(ValueId(i)) { elements(graph.fact(ValueId(i))) } else { 0 })
            .collect();
        let largest = elements.iter().copied().max().unwrap_or(0);
        // What must stay in 32 bits, and what may as well.
        let mut must = self.beyond.clone();
        for id in graph.inputs.iter().chain(&graph.outputs) {
            must[id.0] = true;
        }
        for node in graph.nodes.iter().filter(|node| node.operator.cancellation() >= CANCELLATION) {
            if let Some(Some(x)) = node.inputs.first() {
                must[x.0] = true;
            }
        }
        for node in graph.nodes.iter().filter(|node| node.operator.downcast::<Resize>().is_some()) {
            if let Some(Some(x)) = node.inputs.first() {
                must[x.0] |= float(*x);
            }
        }
        for (must, magnified) in must.iter_mut().zip(magnified(graph)) {
            *must |= magnified;
        }
        let small = |n: usize| n.saturating_mul(SMALL) <= largest;
        let mut may: Vec<bool> = elements.iter().map(|&n| small(n)).collect();
        // Backwards, so that what goes to an output by several steps is stored as the output is.
        for node in graph.nodes.iter().rev() {
            let Some(Some(y)) = node.outputs.first().copied() else { continue };
            let parts = if is_view(node) { 1 } else { usize::MAX };
            if parts == 1 || node.operator.downcast::<Concat>().is_some() {
                for x in node.inputs.iter().take(parts).flatten() {
                    must[x.0] |= must[y.0];
                    may[x.0] = may[y.0];
                }
            }
        }
        for (single, (must, may)) in self.single.iter_mut().zip(must.iter().zip(&may)) {
            *single = *must || *may;
        }
        // And forwards, from what must stay to its views.
        for node in graph.nodes.iter().filter(|node| is_view(node)) {
            if let (Some(Some(x)), Some(Some(y))) = (node.inputs.first(), node.outputs.first()) {
                self.single[y.0] |= self.single[x.0];
            }
        }
    }

    /// What a value is stored as, or `None` where a GPU kernel cannot hold it.
    pub fn value(&self, id: ValueId, fact: &Fact) -> Option<Storage> {
        Storage::of(fact.element_type, !self.single.get(id.0).copied().unwrap_or(!self.half))
    }

    /// What a constant is stored as for a node that reads it.
    pub fn constant(&self, graph: &Graph, node: &Node, fact: &Fact) -> Option<Storage> {
        let half = self.half
            && fact.element_type == ElementType::F32
            && node.operator.cancellation() < CANCELLATION
            && !node.outputs.iter().flatten().any(|id| self.beyond[id.0])
            && elements(Some(fact)).saturating_mul(8) > self.traffic(graph, node);
        Storage::of(fact.element_type, half)
    }

    /// The bytes that a node reads and writes, constants apart.
    fn traffic(&self, graph: &Graph, node: &Node) -> usize {
        let ids = node.inputs.iter().chain(&node.outputs).flatten().filter(|id| graph.constant(**id).is_none());
        let bytes = ids.filter_map(|&id| {
            let fact = graph.fact(id)?;
            let unit = usize::try_from(self.value(id, fact)?.unit_bytes()).ok()?;
            Some(elements(Some(fact)).div_ceil(4).saturating_mul(unit))
        });
        bytes.fold(0, usize::saturating_add)
    }
}

/// The values that the last [`HEAD`] layers with weights read on the way to logits whose probabilities the graph gives.
fn magnified(graph: &Graph) -> Vec<bool> {
    let weighs = |node: &Node| {
        let weights = |id: &ValueId| graph.constant(*id).is_some_and(|tensor| tensor.shape().len() > 1);
        node.inputs.iter().flatten().any(weights)
    };
    // What the graph gives, and what is moved there as it is.
    let mut given = vec![false; graph.values.len()];
    // Layers that are between a value and such probabilities.
    let mut to_logits = vec![usize::MAX; graph.values.len()];
    for id in &graph.outputs {
        given[id.0] = true;
    }
    for node in graph.nodes.iter().rev() {
        let outputs = || node.outputs.iter().flatten();
        let gives = outputs().any(|id| given[id.0]);
        let logits = gives && node.operator.gives_probabilities();
        let layers = if logits { 0 } else { outputs().map(|id| to_logits[id.0]).min().unwrap_or(usize::MAX) };
        let layers = layers.saturating_add(usize::from(weighs(node)));
        let size = |id: &ValueId| elements(graph.fact(*id));
        let result = outputs().map(size).max().unwrap_or(0);
        for id in node.inputs.iter().flatten() {
            // The errors of many that become one, as in a pool, cancel.
            let averaged = !weighs(node) && result.saturating_mul(SMALL) <= size(id);
            let layers = if averaged { usize::MAX } else { layers };
            given[id.0] |= gives && (is_view(node) || node.operator.moves_elements());
            to_logits[id.0] = to_logits[id.0].min(layers);
        }
    }
    to_logits.into_iter().map(|layers| layers <= HEAD).collect()
}

/// Whether the first output is the first input under another shape.
fn is_view(node: &Node) -> bool {
    node.operator.is_identity() || node.operator.downcast::<Reshape>().is_some()
}

/// The elements of a value, 0 where its shape is not known.
fn elements(fact: Option<&Fact>) -> usize {
    fact.and_then(Fact::concrete).and_then(|shape| crate::tensor::shape::elements(&shape)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::graph::{Definition, Operator};
    use crate::kernel::DeviceFacts;
    use crate::ops::conv::Conv;
    use crate::plan::{PlanOptions, Schedule, plan};
    use crate::tensor::Tensor;

    fn planned(graph: Graph) -> Schedule {
        plan(graph, &DeviceFacts::lavapipe(), &PlanOptions { half: true, ..PlanOptions::default() }).unwrap()
    }

    /// What a value is stored as, in whatever layouts.
    fn storages(schedule: &Schedule, name: &str) -> Vec<Storage> {
        let named = schedule.slots.iter().filter(|s| schedule.graph.value(s.value).name == name);
        let mut storages: Vec<Storage> = named.map(|s| s.storage).collect();
        storages.dedup();
        storages
    }

    fn conv(cancellation: f32) -> Arc<dyn Operator> {
        Arc::new(Conv { cancellation, ..Conv::default() })
    }

    #[test]
    fn small_values_and_those_of_the_application_stay_in_32_bits() {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [1, 8, 4, 4]);
        let a = graph.node(&Definition::new("Relu"), &[x]).unwrap();
        let b = graph.node(&Definition::new("Neg"), &[a]).unwrap();
        let means = graph.node(&Definition::new("GlobalAveragePool"), &[b]).unwrap();
        let gate = graph.node(&Definition::new("Sigmoid"), &[means]).unwrap();
        let y = graph.node(&Definition::new("Mul"), &[b, gate]).unwrap();
        graph.output("y", y);
        let schedule = planned(graph.build().unwrap());
        let expected = [
            ("x", Storage::F32),
            ("Relu_0", Storage::F16),
            ("Neg_1", Storage::F16),
            ("GlobalAveragePool_2", Storage::F32),
            ("Sigmoid_3", Storage::F32),
            ("y", Storage::F32),
        ];
        for (name, storage) in expected {
            assert_eq!(storages(&schedule, name), [storage], "{name}\n{schedule}");
        }
        assert!(schedule.to_string().contains("linear/f32:"), "{schedule}");
    }

    #[test]
    fn what_sums_cancel_in_stays_in_32_bits_with_the_weights() {
        for (cancellation, storage) in [(0.0, Storage::F16), (1.2, Storage::F16), (4.0, Storage::F32)] {
            let mut graph = Graph::builder();
            let x = graph.input("x", ElementType::F32, [1, 64, 2, 2]);
            let w = graph.constant("w", Tensor::new([64, 64, 1, 1], vec![0.5f32; 4096]).unwrap());
            let a = graph.node(&Definition::new("Relu"), &[x]).unwrap();
            let b = graph.operator(conv(cancellation), &[Some(a), Some(w)], 1)[0];
            let y = graph.node(&Definition::new("Relu"), &[b]).unwrap();
            graph.output("y", y);
            let schedule = planned(graph.build().unwrap());
            assert_eq!(storages(&schedule, "Relu_0"), [storage], "{schedule}");
            // The weights are 64 times what they multiply: too many to be kept for nothing.
            assert_eq!(schedule.constants[0].storage, storage);
        }
    }

    #[test]
    fn what_logits_are_made_of_stays_in_32_bits() {
        for (function, expected) in [("Sigmoid", Storage::F32), ("Relu", Storage::F16)] {
            let mut graph = Graph::builder();
            let x = graph.input("x", ElementType::F32, [1, 8, 4, 4]);
            let w = graph.constant("w", Tensor::new([8, 8, 1, 1], vec![0.5f32; 64]).unwrap());
            let mut value = graph.node(&Definition::new("Relu"), &[x]).unwrap();
            for _ in 0..3 {
                value = graph.node(&Definition::new("Conv"), &[value, w]).unwrap();
                value = graph.node(&Definition::new("Neg"), &[value]).unwrap();
            }
            let y = graph.node(&Definition::new(function), &[value]).unwrap();
            let y = graph.node(&Definition::new("Flatten"), &[y]).unwrap();
            graph.output("y", y);
            let schedule = planned(graph.build().unwrap());
            let stored = ["Relu_0", "Neg_2", "Neg_4"].map(|name| storages(&schedule, name));
            assert_eq!(stored, [[Storage::F16], [expected], [expected]], "{schedule}");
        }
    }

    #[test]
    fn what_is_averaged_before_logits_is_in_16_bits() {
        for pooled in [false, true] {
            let mut graph = Graph::builder();
            let x = graph.input("x", ElementType::F32, [1, 8, 4, 4]);
            let mut value = graph.node(&Definition::new("Relu"), &[x]).unwrap();
            if pooled {
                value = graph.node(&Definition::new("GlobalAveragePool"), &[value]).unwrap();
            }
            let y = graph.node(&Definition::new("Sigmoid"), &[value]).unwrap();
            graph.output("y", y);
            let expected = if pooled { Storage::F16 } else { Storage::F32 };
            assert_eq!(storages(&planned(graph.build().unwrap()), "Relu_0"), [expected]);
        }
    }

    #[test]
    fn weights_that_weigh_little_stay_in_32_bits() {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [1, 4, 32, 32]);
        let w = graph.constant("w", Tensor::new([4, 4, 1, 1], vec![0.5f32; 16]).unwrap());
        let y = graph.operator(conv(0.0), &[Some(x), Some(w)], 1)[0];
        graph.output("y", y);
        assert_eq!(planned(graph.build().unwrap()).constants[0].storage, Storage::F32);
    }

    #[test]
    fn views_and_parts_are_stored_as_the_whole_is() {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [1, 16, 8]);
        let large = graph.node(&Definition::new("Relu"), &[x]).unwrap();
        let few = graph.node(&Definition::new("ReduceMax").attribute("axes", vec![1i64]), &[x]).unwrap();
        let all = graph.node(&Definition::new("Concat").attribute("axis", 1i64), &[large, few]).unwrap();
        let flat = graph.node(&Definition::new("Flatten"), &[all]).unwrap();
        let negative = graph.node(&Definition::new("Neg"), &[flat]).unwrap();
        let y = graph.node(&Definition::new("Flatten"), &[negative]).unwrap();
        graph.output("y", y);
        let schedule = planned(graph.build().unwrap());
        for (name, storage) in [
            ("Relu_0", Storage::F16),
            // Small, but a part.
            ("ReduceMax_1", Storage::F16),
            ("Concat_2", Storage::F16),
            ("Flatten_3", Storage::F16),
            // An output under another shape.
            ("Neg_4", Storage::F32),
            ("y", Storage::F32),
        ] {
            assert_eq!(storages(&schedule, name), [storage], "{name}\n{schedule}");
        }
        assert_eq!(schedule.summary.conversions, 0, "{schedule}");
    }

    #[test]
    fn without_halves_nothing_is_decided() {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [1, 64]);
        let y = graph.node(&Definition::new("Relu"), &[x]).unwrap();
        graph.output("y", y);
        let graph = graph.build().unwrap();
        let precision = Precision::of(&graph, false, &BTreeSet::new());
        assert!(precision.single.iter().all(|&single| single));
    }
}
