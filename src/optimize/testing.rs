//! Graphs for the tests of rewrites: what a rewrite makes of one is compared as text, and what both compute as numbers.

use super::{REWRITES, Rewrites, optimize};
use crate::cpu::reference::evaluate;
use crate::graph::{Definition, Graph, ValueId};
use crate::tensor::{ElementType, Tensor};

/// A graph that is being made.
pub(super) struct TestGraph {
    builder: crate::GraphBuilder,
    inputs: Vec<Tensor>,
    seed: u32,
}

impl TestGraph {
    pub fn new() -> Self {
        Self { builder: Graph::builder(), inputs: vec![], seed: 1 }
    }

    /// Numbers between -2 and 2, always the same.
    fn numbers(&mut self, shape: &[usize]) -> Tensor {
        let mut next = || {
            self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.seed >> 8) as f32 / (1 << 22) as f32 - 2.0
        };
        Tensor::new(shape, (0..shape.iter().product()).map(|_| next()).collect()).unwrap()
    }

    pub fn input(&mut self, name: &str, shape: &[usize]) -> ValueId {
        let tensor = self.numbers(shape);
        self.inputs.push(tensor);
        self.builder.input(name, ElementType::F32, shape.to_vec())
    }

    pub fn constant(&mut self, name: &str, shape: &[usize], data: &[f32]) -> ValueId {
        self.builder.constant(name, Tensor::new(shape, data.to_vec()).unwrap())
    }

    /// A constant of random numbers.
    pub fn random(&mut self, name: &str, shape: &[usize]) -> ValueId {
        let tensor = self.numbers(shape);
        self.builder.constant(name, tensor)
    }

    pub fn integers(&mut self, name: &str, data: &[i64]) -> ValueId {
        self.builder.constant(name, Tensor::vector(data.to_vec()))
    }

    pub fn tensor(&mut self, name: &str, tensor: Tensor) -> ValueId {
        self.builder.constant(name, tensor)
    }

    pub fn scalar(&mut self, name: &str, value: i64) -> ValueId {
        self.builder.constant(name, Tensor::new([], vec![value]).unwrap())
    }

    pub fn node(&mut self, operator: &str, inputs: &[ValueId]) -> ValueId {
        self.define(&Definition::new(operator), inputs)
    }

    /// All outputs of a node.
    pub fn define_all(&mut self, definition: &Definition, inputs: &[ValueId]) -> Vec<ValueId> {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        self.builder.operator(crate::ops::operator(definition).unwrap(), &inputs, definition.outputs)
    }

    pub fn define(&mut self, definition: &Definition, inputs: &[ValueId]) -> ValueId {
        self.builder.node(definition, inputs).unwrap()
    }

    pub fn output(&mut self, name: &str, value: ValueId) {
        self.builder.output(name, value);
    }

    /// The graph with these rewrites and no others.
    pub fn rewritten(&self, rewrites: &[&str]) -> Graph {
        let others = REWRITES.iter().map(|r| r.name).filter(|name| !rewrites.contains(name));
        optimize(self.builder.clone().build().unwrap(), &Rewrites::without(others).unwrap()).unwrap()
    }

    /// Checks what these rewrites make of the graph, and that every value that both graphs have is the same.
    pub fn check(&self, rewrites: &[&str], expected: &str) -> Graph {
        let rewritten = self.rewritten(rewrites);
        assert_eq!(rewritten.to_string(), expected);
        let values = |graph: &Graph| {
            let mut values = std::collections::BTreeMap::new();
            let outputs = evaluate(graph, &self.inputs, |id, value| {
                values.insert(graph.value(id).name.clone(), value.as_tensor().unwrap().clone());
                value
            });
            for (id, value) in graph.outputs.iter().zip(outputs.unwrap()) {
                values.insert(graph.value(*id).name.clone(), value.into_tensor().unwrap());
            }
            values
        };
        let before = values(&self.rewritten(&[]));
        for (name, after) in values(&rewritten) {
            // What a rewrite has made has no counterpart.
            let Some(before) = before.get(&name) else { continue };
            assert_eq!(before.shape(), after.shape(), "{name}");
            if let (Ok(before), Ok(after)) = (before.as_slice::<f32>(), after.as_slice::<f32>()) {
                let largest = before.iter().fold(0f32, |m, v| m.max(v.abs()));
                for (b, a) in before.iter().zip(after) {
                    // Sums are rounded in another order: some units in the last place of the largest value.
                    assert!((b - a).abs() <= 4e-6 * largest, "{name}: {b} became {a}");
                }
            } else {
                assert_eq!(before, &after, "{name}");
            }
        }
        rewritten
    }
}
