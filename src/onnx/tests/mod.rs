//! Reading files: what is legal, what is not, what is meant to do harm.

mod hostile;
mod nested;
mod storage;
mod structure;

use bytes::Bytes;
use prost::Message;

use super::messages::*;
use super::{Limits, NoExternal, read};
use crate::error::LoadError;
use crate::graph::Graph;

/// A model of operator set 13.
pub fn model(graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(13) }],
        graph: Some(Box::new(graph)),
        ..ModelProto::default()
    }
}

pub fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: Some(op_type.to_owned()),
        input: inputs.iter().map(|&s| s.to_owned()).collect(),
        output: outputs.iter().map(|&s| s.to_owned()).collect(),
        ..NodeProto::default()
    }
}

/// An input of f32: numbers are sizes, names symbols, an empty name a dimension without either.
pub fn value(name: &str, dims: &[&str]) -> ValueInfoProto {
    let dim = |dim: &&str| match dim.parse() {
        Ok(size) => DimensionProto { dim_value: Some(size), dim_param: None },
        Err(_) => DimensionProto { dim_value: None, dim_param: Some((*dim).to_owned()).filter(|d| !d.is_empty()) },
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = TensorTypeProto { elem_type: Some(1), shape: Some(shape) };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { tensor_type: Some(tensor), ..TypeProto::default() }),
    }
}

pub fn tensor(name: &str, data_type: i32, dims: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(data_type),
        dims: dims.to_vec(),
        ..TensorProto::default()
    }
}

/// `y = Relu(x)`, to be changed.
pub fn relu() -> GraphProto {
    GraphProto {
        node: vec![node("Relu", &["x"], &["y"])],
        input: vec![value("x", &["2", "3"])],
        output: vec![value("y", &["2", "3"])],
        ..GraphProto::default()
    }
}

pub fn bytes(model: &ModelProto) -> Bytes {
    model.encode_to_vec().into()
}

pub fn load(graph: GraphProto) -> Result<Graph, LoadError> {
    read(bytes(&model(graph)), &NoExternal, &Limits::default()).map(|(graph, _)| graph)
}

/// The message of the error that loading gives.
pub fn refusal(graph: GraphProto) -> String {
    load(graph).expect_err("this must not load").to_string()
}
