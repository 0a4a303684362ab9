//! Small models that use much of the format, to be damaged.

use prost::Message;
use rimlight::onnx::messages::*;

use crate::onnx::{floats, graph_in, inner, int, integers, ints, node, port};

/// Much of what a network for pictures uses: convolution, pooling, shapes that are computed.
pub fn picture() -> Vec<u8> {
    let nodes = vec![
        node("Conv", &["x", "w", "b"], "a", vec![ints("pads", &[1, 1, 1, 1]), ints("strides", &[1, 1])]),
        node("BatchNormalization", &["a", "b", "b", "b", "v"], "n", vec![]),
        node("Relu", &["n"], "r", vec![]),
        node("MaxPool", &["r"], "p", vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]),
        node("Pad", &["p", "pads"], "q", vec![]),
        node("Slice", &["q", "zero", "three", "axis"], "s", vec![]),
        node("Concat", &["s", "s"], "c", vec![]),
        node("Transpose", &["c"], "t", vec![ints("perm", &[0, 2, 3, 1])]),
        node("Resize", &["t", "", "scales"], "u", vec![]),
        node("Shape", &["u"], "shape", vec![]),
        node("Gather", &["shape", "zero"], "first", vec![]),
        node("Concat", &["first", "rest"], "flat", vec![]),
        node("Reshape", &["u", "flat"], "f", vec![]),
        node("ReduceMean", &["f", "axis"], "m", vec![]),
        node("Softmax", &["f"], "e", vec![]),
        node("Mul", &["e", "m"], "y", vec![]),
    ];
    let mut nodes = nodes;
    for concat in [6, 11] {
        let axis = AttributeProto { name: Some("axis".to_owned()), r#type: Some(2), ..AttributeProto::default() };
        nodes[concat].attribute.push(AttributeProto { i: Some(if concat == 6 { 1 } else { 0 }), ..axis });
    }
    let mut variance = floats("v", &[4]);
    variance.raw_data = Some([1f32, 2.0, 0.5, 1.0].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into());
    let mut scales = floats("scales", &[4]);
    scales.raw_data = Some([1f32, 2.0, 2.0, 1.0].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into());
    let graph = GraphProto {
        node: nodes,
        name: Some("g".to_owned()),
        initializer: vec![
            floats("w", &[4, 1, 3, 3]),
            floats("b", &[4]),
            variance,
            scales,
            integers("pads", &[0, 0, 1, 1, 0, 0, 1, 1]),
            integers("zero", &[0]),
            integers("three", &[3]),
            integers("axis", &[1]),
            integers("rest", &[-1]),
        ],
        input: vec![port("x", &[-1, 1, 6, 6])],
        output: vec![port("y", &[-1, -1])],
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(18) }],
        graph: Some(Box::new(graph)),
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

/// A call of a function, If, Loop and Scan with captured values, a sequence.
pub fn nested() -> Vec<u8> {
    let whole = |name: &str, from: &str| node("ReduceMax", &[from], name, vec![int("keepdims", 0)]);
    let then = inner(&[], &["t"], vec![node("Relu", &["d"], "t", vec![])]);
    let other = inner(&[], &["o"], vec![node("Neg", &["d"], "o", vec![])]);
    let again = vec![
        node("Add", &["v", "i"], "next", vec![]),
        whole("most", "next"),
        node("Less", &["most", "hundred"], "goes", vec![]),
        node("Identity", &["next"], "copy", vec![]),
    ];
    let again = inner(&["time", "going", "v"], &["goes", "next", "copy"], again);
    let each = vec![node("Mul", &["e", "hundred"], "scaled", vec![])];
    let mut repeat = node("Loop", &["trips", "", "i"], "l", vec![graph_in("body", again)]);
    repeat.output.push("all".to_owned());
    let choices = vec![graph_in("then_branch", then), graph_in("else_branch", other)];
    let over = vec![graph_in("body", inner(&["e"], &["scaled"], each)), int("num_scan_inputs", 1)];
    let call = NodeProto { domain: Some("own".to_owned()), ..node("Twice", &["x"], "d", vec![]) };
    let nodes = vec![
        call,
        whole("m", "d"),
        node("Greater", &["m", "hundred"], "large", vec![]),
        node("If", &["large"], "i", choices),
        repeat,
        node("Scan", &["l"], "s", over),
        node("SequenceConstruct", &["s", "l", "i"], "list", vec![]),
        node("SequenceAt", &["list", "one"], "first", vec![]),
        node("ConcatFromSequence", &["list"], "joined", vec![int("axis", 0)]),
        whole("sum", "all"),
        node("Add", &["joined", "sum"], "y", vec![]),
    ];
    let scalar = |tensor: TensorProto| TensorProto { dims: vec![], ..tensor };
    let graph = GraphProto {
        node: nodes,
        name: Some("g".to_owned()),
        initializer: vec![
            scalar(floats("hundred", &[1])),
            scalar(integers("trips", &[3])),
            scalar(integers("one", &[1])),
        ],
        input: vec![port("x", &[-1, 2])],
        output: ["y", "first"].map(|name| port(name, &[-1, -1])).to_vec(),
        ..GraphProto::default()
    };
    let set = |domain: Option<&str>, version| OperatorSetIdProto {
        domain: domain.map(str::to_owned),
        version: Some(version),
    };
    let function = FunctionProto {
        name: Some("Twice".to_owned()),
        domain: Some("own".to_owned()),
        input: vec!["a".to_owned()],
        output: vec!["b".to_owned()],
        node: vec![node("Abs", &["a"], "c", vec![]), node("Add", &["a", "c"], "b", vec![])],
        opset_import: vec![set(None, 18)],
        ..FunctionProto::default()
    };
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: vec![set(None, 18), set(Some("own"), 1)],
        graph: Some(Box::new(graph)),
        functions: vec![function],
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

/// Constants of every element type and in every form, with and without names that are looked for.
pub fn constants() -> Vec<u8> {
    let named = |name: String, data_type: i32, dims: &[i64]| TensorProto {
        name: Some(name),
        data_type: Some(data_type),
        dims: dims.to_vec(),
        ..TensorProto::default()
    };
    let mut initializer = vec![];
    for data_type in (1..=13).chain(16..=24) {
        let tensor = named(format!("typed{data_type}"), data_type, &[2]);
        initializer.push(match data_type {
            1 => TensorProto { float_data: vec![1.0, -0.5], ..tensor },
            7 => TensorProto { int64_data: vec![1, -2], ..tensor },
            8 => TensorProto { string_data: vec!["a".into(), "ä".into()], ..tensor },
            11 => TensorProto { double_data: vec![1.0, -0.5], ..tensor },
            12 | 13 => TensorProto { uint64_data: vec![1, 2], ..tensor },
            21..=23 => TensorProto { int32_data: vec![0x21], ..tensor },
            _ => TensorProto { int32_data: vec![0, 1], ..tensor },
        });
        if data_type != 8 {
            let bytes = match data_type {
                1 | 6 | 12 => 8,
                7 | 11 | 13 => 16,
                4 | 5 | 10 | 16 => 4,
                21..=23 => 1,
                _ => 2,
            };
            let raw_data = Some(vec![0u8; bytes].into());
            initializer.push(TensorProto { raw_data, ..named(format!("raw{data_type}"), data_type, &[2]) });
        }
    }
    let attribute = |name: &str, kind| AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(kind),
        ..AttributeProto::default()
    };
    let constant = |attribute, output| node("Constant", &[], output, vec![attribute]);
    let nodes = vec![
        constant(AttributeProto { f: Some(0.5), ..attribute("value_float", 1) }, "c1"),
        constant(AttributeProto { floats: vec![0.5, 1.0], ..attribute("value_floats", 6) }, "c2"),
        constant(AttributeProto { s: Some("a".into()), ..attribute("value_string", 3) }, "c3"),
        constant(AttributeProto { strings: vec!["b".into()], ..attribute("value_strings", 8) }, "c4"),
        constant(ints("value_ints", &[1, 2]), "c5"),
        constant(AttributeProto { t: Some(Box::new(floats("", &[2]))), ..attribute("value", 4) }, "c6"),
        node("Cast", &["typed16"], "cast", vec![int("to", 1)]),
        node("Mul", &["cast", "c6"], "y", vec![]),
        node("QuantizeLinear", &["x", "c1", "zero"], "q", vec![]),
        node("DequantizeLinear", &["q", "c1", "zero"], "d", vec![]),
        node("Shape", &["x"], "shape", vec![]),
        node("ConstantOfShape", &["shape"], "zeros", vec![]),
        node("Equal", &["typed8", "typed8"], "same", vec![]),
    ];
    initializer.push(TensorProto { int32_data: vec![3], ..named("zero".to_owned(), 2, &[]) });
    let sequence =
        TypeProto { sequence_type: Some(vec![0x0a, 0x04, 0x0a, 0x02, 0x08, 0x01].into()), ..TypeProto::default() };
    let graph = GraphProto {
        node: nodes,
        initializer,
        input: vec![port("x", &[-1, 3]), ValueInfoProto { name: Some("list".to_owned()), r#type: Some(sequence) }],
        output: ["y", "d", "zeros", "same"]
            .map(|name| ValueInfoProto { name: Some(name.to_owned()), r#type: None })
            .to_vec(),
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: Some(10),
        producer_name: Some("rimlight-fuzz".to_owned()),
        doc_string: Some("every kind of constant".to_owned()),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(21) }],
        metadata_props: vec![StringStringEntryProto { key: Some("k".to_owned()), value: Some("v".to_owned()) }],
        graph: Some(Box::new(graph)),
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

/// All of them, and what the name of each one's file is.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    vec![("picture.onnx", picture()), ("nested.onnx", nested()), ("constants.onnx", constants())]
}
