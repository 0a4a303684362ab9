//! Parts of ONNX files, for tests that write files of their own.

use rimlight::onnx::messages::*;

/// A node of a standard operator with one output.
pub fn node(operator: &str, inputs: &[&str], output: &str, attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        op_type: Some(operator.to_owned()),
        attribute: attributes,
        ..NodeProto::default()
    }
}

/// An attribute of integers.
pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(7), ints: values.to_vec(), ..AttributeProto::default() }
}

/// A constant of 32-bit floats between -1 and 1.
pub fn floats(name: &str, dims: &[i64]) -> TensorProto {
    let n = usize::try_from(dims.iter().product::<i64>()).unwrap();
    let data = (0..n).flat_map(|i| ((i * 7 % 11) as f32 / 5.0 - 1.0).to_le_bytes()).collect::<Vec<u8>>();
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(1),
        dims: dims.to_vec(),
        raw_data: Some(data.into()),
        ..TensorProto::default()
    }
}

/// A constant list of 64-bit integers.
pub fn integers(name: &str, values: &[i64]) -> TensorProto {
    let dims = vec![values.len() as i64];
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(7),
        dims,
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

/// An input or output of 32-bit floats; -1 stands for the symbol `N`.
pub fn port(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = dims.iter().map(|&d| match d {
        -1 => DimensionProto { dim_param: Some("N".to_owned()), dim_value: None },
        d => DimensionProto { dim_value: Some(d), dim_param: None },
    });
    let shape = Some(TensorShapeProto { dim: dim.collect() });
    let tensor_type = Some(TensorTypeProto { elem_type: Some(1), shape });
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(TypeProto { tensor_type, ..TypeProto::default() }) }
}

/// An attribute that holds a graph.
pub fn graph_in(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(5),
        g: Some(Box::new(graph)),
        ..AttributeProto::default()
    }
}

/// An attribute that is an integer.
pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(2), i: Some(value), ..AttributeProto::default() }
}

/// A graph for an attribute.
pub fn inner(inputs: &[&str], outputs: &[&str], nodes: Vec<NodeProto>) -> GraphProto {
    let named = |names: &[&str]| {
        let port = |name: &&str| ValueInfoProto { name: Some((*name).to_owned()), ..ValueInfoProto::default() };
        names.iter().map(port).collect::<Vec<_>>()
    };
    GraphProto { node: nodes, input: named(inputs), output: named(outputs), ..GraphProto::default() }
}
