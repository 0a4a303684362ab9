//! Graphs for planting faults in, made in code.

use crate::graph::{Definition, Graph, ValueId};
use crate::model::Model;
use crate::tensor::{ElementType, Tensor};

/// Values between -1 and 1 without a pattern that a fault could hide behind.
pub(super) fn ramp(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    Tensor::new(shape.to_vec(), (0..n).map(|i| ((i * 37 + 11) % 101) as f32 / 50.5 - 1.0).collect()).unwrap()
}

pub(super) struct Net {
    pub(super) graph: crate::GraphBuilder,
    inputs: Vec<(&'static str, Tensor)>,
    constants: usize,
}

impl Net {
    pub(super) fn new() -> Self {
        Self { graph: Graph::builder(), inputs: vec![], constants: 0 }
    }

    pub(super) fn input(&mut self, name: &'static str, shape: &[usize]) -> ValueId {
        self.inputs.push((name, ramp(shape)));
        self.graph.input(name, ElementType::F32, shape.to_vec())
    }

    pub(super) fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.constants += 1;
        self.graph.constant(&format!("c{}", self.constants), tensor)
    }

    pub(super) fn weights(&mut self, shape: &[usize]) -> ValueId {
        self.constant(ramp(shape))
    }

    pub(super) fn node(&mut self, definition: Definition, inputs: &[ValueId]) -> ValueId {
        self.graph.node(&definition, inputs).unwrap()
    }

    /// A pool that gives the places of its maxima too.
    pub(super) fn pool_with_places(&mut self, x: ValueId) {
        let definition = Definition { outputs: 2, ..op("MaxPool").attribute("kernel_shape", [2, 2]) };
        for value in self.graph.operator(crate::ops::operator(&definition).unwrap(), &[Some(x)], 2) {
            self.output(value);
        }
    }

    pub(super) fn output(&mut self, value: ValueId) {
        let name = format!("out{}", self.constants);
        self.constants += 1;
        self.graph.output(&name, value);
    }

    pub(super) fn finish(self) -> (Model, Vec<(&'static str, Tensor)>) {
        (Model::from_graph(self.graph.build().unwrap()), self.inputs)
    }
}

pub(super) fn op(name: &str) -> Definition {
    Definition::new(name)
}
