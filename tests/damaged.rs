//! Small models that use much of the format, one of them graphs in graphs, functions and sequences, damaged in every way: an
//! error or a model, and what runs does no harm.

use prost::Message;
use rimlight::graph::Dim;
use rimlight::onnx::messages::*;
use rimlight::{Device, Model, Options, Tensor};

/// Damaged files that are tried; `RIMLIGHT_FUZZ` gives another number.
const FILES: u32 = 6_000;
/// Elements of all values together, and operations, of what is run.
const WORK: f64 = 1e6;

fn node(operator: &str, inputs: &[&str], output: &str, attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        op_type: Some(operator.to_owned()),
        attribute: attributes,
        ..NodeProto::default()
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(7), ints: values.to_vec(), ..AttributeProto::default() }
}

fn floats(name: &str, dims: &[i64]) -> TensorProto {
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

fn integers(name: &str, values: &[i64]) -> TensorProto {
    let dims = vec![values.len() as i64];
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(7),
        dims,
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn port(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = dims.iter().map(|&d| match d {
        -1 => DimensionProto { dim_param: Some("N".to_owned()), dim_value: None },
        d => DimensionProto { dim_value: Some(d), dim_param: None },
    });
    let shape = Some(TensorShapeProto { dim: dim.collect() });
    let tensor_type = Some(TensorTypeProto { elem_type: Some(1), shape });
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(TypeProto { tensor_type, ..TypeProto::default() }) }
}

fn model() -> Vec<u8> {
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

fn graph_in(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(5),
        g: Some(Box::new(graph)),
        ..AttributeProto::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(2), i: Some(value), ..AttributeProto::default() }
}

fn inner(inputs: &[&str], outputs: &[&str], nodes: Vec<NodeProto>) -> GraphProto {
    let named = |names: &[&str]| {
        let port = |name: &&str| ValueInfoProto { name: Some((*name).to_owned()), ..ValueInfoProto::default() };
        names.iter().map(port).collect::<Vec<_>>()
    };
    GraphProto { node: nodes, input: named(inputs), output: named(outputs), ..GraphProto::default() }
}

/// A call of a function, If, Loop and Scan with captured values, a sequence.
fn nested() -> Vec<u8> {
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

/// Whether loops among the nodes go round few times, as far as that is known before they run.
fn is_brief(graph: &rimlight::Graph) -> bool {
    graph.nodes.iter().all(|node| {
        let trips = || graph.constant((*node.inputs.first()?)?)?.integers()?.first().copied();
        (node.operator.name() != "Loop" || trips().is_some_and(|n| n <= 100))
            && node.operator.bodies().iter().all(|body| is_brief(body.graph()))
    })
}

/// Runs a model on the CPU, where that is little work. Whether it ran.
fn run(model: &Model, device: &Device) -> bool {
    let mut options = Options::new();
    let mut given = vec![];
    for port in model.inputs() {
        let Some(fact) = port.fact else { return false };
        let shape: Vec<usize> = fact.shape.iter().map(|dim| dim.size().unwrap_or(1)).collect();
        if shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).is_none_or(|n| n > 10_000) {
            return false;
        }
        options = options.shape(port.name, shape.clone());
        given.push((port.name.to_owned(), Tensor::zeros(fact.element_type, shape).unwrap()));
    }
    let Ok(plan) = model.plan(device, &options) else { return false };
    let open = model.graph().nodes.iter().any(|node| !node.operator.bodies().is_empty());
    let mut work = if is_brief(plan.graph()) { 0.0 } else { f64::INFINITY };
    for node in &plan.graph().nodes {
        let Some(inputs) = plan.graph().input_facts(node) else { if open { continue } else { return false } };
        let outputs: Vec<_> = node.outputs.iter().flatten().filter_map(|&id| plan.graph().fact(id).cloned()).collect();
        // No operator of the model with bodies makes its size of a number, but that of a loop, which is known to be small.
        let size = |dim: &Dim| dim.size().or(open.then_some(4));
        let sizes = outputs.iter().map(|fact| fact.shape.iter().map(size).collect::<Option<Vec<_>>>());
        let Some(sizes) = sizes.collect::<Option<Vec<_>>>() else { return false };
        work += sizes.iter().map(|s| s.iter().map(|&d| d as f64).product::<f64>()).sum::<f64>();
        // How much work bodies are is not known; these are brief.
        let known = node.operator.bodies().is_empty();
        work += if known { node.operator.work(&inputs, &outputs) } else { 0.0 };
    }
    let ran = |mut session: rimlight::Session| {
        session.run_with(given.iter().map(|(name, tensor)| (name.as_str(), tensor.view()))).is_ok()
    };
    work <= WORK && model.session_with(device, &options).is_ok_and(ran)
}

/// Changes some bytes.
fn damage(file: &mut Vec<u8>, below: &mut impl FnMut(usize) -> usize) {
    let at = below(file.len());
    match below(8) {
        0..=2 => file[at] ^= 1 << below(8),
        3 => file[at] = [0, 1, 2, 0x7f, 0x80, 0xff][below(6)],
        4 => file[at] = file[at].wrapping_add(1),
        5 => drop(file.remove(at)),
        6 => file.insert(at, below(256) as u8),
        _ => {
            let (from, to) = (below(file.len() - 16), below(file.len() - 16));
            file.copy_within(from..from + 1 + below(16), to);
        }
    }
}

/// Changes what the file says, in a form that can be read.
fn twist(graph: &mut GraphProto, below: &mut impl FnMut(usize) -> usize) {
    // Into a graph of one of its nodes.
    if below(3) == 0 {
        let inner = graph.node.iter_mut().flat_map(|node| &mut node.attribute).filter_map(|a| a.g.as_deref_mut());
        let mut inner: Vec<&mut GraphProto> = inner.filter(|graph| !graph.node.is_empty()).collect();
        if !inner.is_empty() {
            let at = below(inner.len());
            return twist(inner[at], below);
        }
    }
    const EDGES: [i64; 12] = [0, -1, 1, 2, 3, 5, 1 << 20, (1 << 31) - 1, 1 << 32, 1 << 62, i64::MAX, i64::MIN];
    let number = EDGES[below(EDGES.len())];
    let (node, other) = (below(graph.node.len()), below(graph.node.len()));
    let constant = below(graph.initializer.len().max(1));
    // Graphs in graphs have no constants here, and inputs without shapes.
    match below(if graph.initializer.is_empty() { 5 } else { 8 }) {
        0 => graph.node[node].op_type = graph.node[other].op_type.clone(),
        1 => {
            if let Some(attribute) = graph.node[node].attribute.first_mut() {
                let at = below(attribute.ints.len().max(1));
                match attribute.ints.get_mut(at) {
                    Some(int) => *int = number,
                    None => attribute.i = Some(number),
                }
            }
        }
        2 => graph.node[node].attribute = graph.node[other].attribute.clone(),
        3 => {
            let input = graph.node[other].input.first().cloned().unwrap_or_default();
            let at = below(graph.node[node].input.len().max(1));
            if let Some(place) = graph.node[node].input.get_mut(at) {
                *place = input;
            }
        }
        4 => drop(graph.node[node].input.pop()),
        5 => {
            let at = below(graph.initializer[constant].int64_data.len().max(1));
            if let Some(int) = graph.initializer[constant].int64_data.get_mut(at) {
                *int = number;
            }
        }
        6 => drop(graph.initializer[constant].dims.pop()),
        _ => {
            let shape = graph.input[0].r#type.as_mut().and_then(|t| t.tensor_type.as_mut()?.shape.as_mut()).unwrap();
            let at = below(shape.dim.len());
            shape.dim[at] = DimensionProto { dim_value: Some(number), dim_param: None };
        }
    }
}

#[test]
fn a_damaged_file_does_no_harm() {
    damaged(&model(), FILES, 12);
}

#[test]
fn a_damaged_file_with_graphs_in_it_does_no_harm() {
    // The references of bodies are slow in the dev profile.
    damaged(&nested(), FILES / 10, 40);
}

/// Nothing is allocated for the channels of a tensor without elements.
#[test]
fn channels_without_elements_cost_nothing() {
    let mut file = ModelProto::decode(nested().as_slice()).unwrap();
    let graph = file.graph.as_mut().unwrap();
    graph.input = vec![port("x", &[0, i64::from(i32::MAX)])];
    let model = Model::from_bytes(file.encode_to_vec()).unwrap();
    let _ = model.plan(&Device::cpu(), &Options::new());
}

/// Damages a model in many ways; of the files one in so many runs all the same.
fn damaged(whole: &[u8], files: u32, one_in: u32) {
    let whole = whole.to_vec();
    let device = Device::cpu();
    assert!(run(&Model::from_bytes(whole.clone()).unwrap(), &device));
    let mut state = 0x2026_1122u64;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let (mut models, mut runs) = (0u32, 0u32);
    let files = std::env::var("RIMLIGHT_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(files);
    for _ in 0..files {
        let mut file = whole.clone();
        if below(2) == 0 {
            for _ in 0..=below(3) {
                damage(&mut file, &mut below);
            }
        } else {
            let mut twisted = ModelProto::decode(whole.as_slice()).unwrap();
            for _ in 0..=below(3) {
                twist(twisted.graph.as_mut().unwrap(), &mut below);
            }
            file = twisted.encode_to_vec();
        }
        if let Ok(model) = Model::from_bytes(file) {
            models += 1;
            runs += u32::from(run(&model, &device));
        }
    }
    assert!(models > files / 6 && runs > files / one_in, "{models} of {files} files load, {runs} run");
}
