//! Models made in the tests, compressed and compared.

mod blocks;
mod pruning;
mod quantizing;
mod removal;
mod zeros;

use prost::Message;

use super::*;
use crate::cpu::reference;
use crate::onnx::ModelFile;
use crate::onnx::messages::*;
use crate::tensor::Tensor;

/// Numbers from -1 to 1 that follow from a seed; `tests/reference/prune_masks.py` makes the same.
pub fn weights(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    Tensor::new(shape.to_vec(), (0..shape.iter().product()).map(|_| next()).collect()).unwrap()
}

/// A model under construction.
#[derive(Default)]
pub struct Net {
    graph: GraphProto,
    constants: Vec<(String, Tensor)>,
    opset: i64,
}

impl Net {
    pub fn new(opset: i64) -> Self {
        Self { opset, ..Self::default() }
    }

    fn port(name: &str, shape: &[i64]) -> ValueInfoProto {
        // A dimension below 0 is open.
        let dim = |&d: &i64| match d {
            d if d < 0 => DimensionProto { dim_value: None, dim_param: Some("N".to_owned()) },
            d => DimensionProto { dim_value: Some(d), dim_param: None },
        };
        let shape = TensorShapeProto { dim: shape.iter().map(dim).collect() };
        let tensor = TensorTypeProto { elem_type: Some(1), shape: Some(shape) };
        ValueInfoProto {
            name: Some(name.to_owned()),
            r#type: Some(TypeProto { tensor_type: Some(tensor), ..TypeProto::default() }),
        }
    }

    pub fn input(mut self, name: &str, shape: &[i64]) -> Self {
        self.graph.input.push(Self::port(name, shape));
        self
    }

    pub fn output(mut self, name: &str) -> Self {
        self.graph.output.push(ValueInfoProto { name: Some(name.to_owned()), r#type: None });
        self
    }

    pub fn constant(mut self, name: &str, tensor: Tensor) -> Self {
        self.constants.push((name.to_owned(), tensor));
        self
    }

    pub fn node(self, operator: &str, inputs: &[&str], output: &str) -> Self {
        self.with(operator, inputs, output, |node| node)
    }

    pub fn with(
        mut self,
        operator: &str,
        inputs: &[&str],
        output: &str,
        change: impl FnOnce(NodeProto) -> NodeProto,
    ) -> Self {
        let node = NodeProto::new(operator, output.to_owned(), inputs, &[output]);
        self.graph.node.push(change(node));
        self
    }

    /// A convolution that keeps the size, with weights and bias of its own.
    pub fn conv(self, x: &str, y: &str, shape: [usize; 4], groups: i64) -> Self {
        let (w, b) = (format!("{y}.w"), format!("{y}.b"));
        let seed = (y.bytes().map(u64::from).sum::<u64>() + 7) * 31;
        let pad = (shape[2] / 2) as i64;
        self.constant(&w, weights(&shape, seed)).constant(&b, weights(&shape[..1], seed + 1)).with(
            "Conv",
            &[x, &w, &b],
            y,
            |node| node.with_int("group", groups).with_ints("pads", &[pad; 4]),
        )
    }

    pub fn file(self) -> ModelFile {
        let model = ModelProto {
            ir_version: Some(8),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(self.opset) }],
            graph: Some(Box::new(self.graph)),
            ..ModelProto::default()
        };
        let mut file = ModelFile::from_bytes(model.encode_to_vec()).unwrap();
        for (name, tensor) in &self.constants {
            file.set_constant(name, tensor).unwrap();
        }
        file
    }
}

/// What a model answers by the operators' references.
pub fn answer(file: &ModelFile, inputs: &[Tensor]) -> Vec<Vec<f64>> {
    let model = file.model().unwrap();
    let outputs = reference::evaluate(model.graph(), inputs, |_, value| value).unwrap();
    outputs.iter().map(|value| value.as_tensor().unwrap().to_f64()).collect()
}

/// The largest difference, relative to the largest magnitude.
pub fn difference(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    assert_eq!(a.iter().map(Vec::len).collect::<Vec<_>>(), b.iter().map(Vec::len).collect::<Vec<_>>());
    let largest = a.iter().flatten().fold(0f64, |m, v| m.max(v.abs()));
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.fold(0f64, |m, (a, b)| m.max((a - b).abs())) / largest
}
