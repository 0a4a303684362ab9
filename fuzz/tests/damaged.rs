//! Small models that use much of the format, one of them graphs in graphs, functions and sequences, damaged in every way: an
//! error or a model, and what runs does no harm.

use prost::Message;
use rimlight::graph::Dim;
use rimlight::onnx::messages::*;
use rimlight::{Device, Model, Options, Tensor};
use rimlight_fuzz::onnx::port;
use rimlight_fuzz::samples;

/// Damaged files that are tried; `RIMLIGHT_FUZZ` gives another number.
const FILES: u32 = 6_000;
/// Elements of all values together, and operations, of what is run.
const WORK: f64 = 1e6;

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
    damaged(&samples::picture(), FILES, 12);
}

#[test]
fn a_damaged_file_with_graphs_in_it_does_no_harm() {
    // The references of bodies are slow in the dev profile.
    damaged(&samples::nested(), FILES / 10, 40);
}

/// Nothing is allocated for the channels of a tensor without elements.
#[test]
fn channels_without_elements_cost_nothing() {
    let mut file = ModelProto::decode(samples::nested().as_slice()).unwrap();
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
