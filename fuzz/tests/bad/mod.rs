//! Models that are made to do harm: each ends in its typed error, within a second.
//!
//! `nodes.txt` has a line for each model of one node: the operator, its inputs, its attributes, and what it ends in. Files
//! that are wrong as a whole are made in `files.rs`. An input is `x:2,3` (32-bit floats, given to a run), `w:2,3` (a constant of
//! them), `u:` (of unsigned bytes), `t:` (of texts), `i:1,-1` (a list of 64-bit integers), `i2:1,2,3,4` (the same in rows of two; an
//! odd number is one row), `s:5` (a single one), `f:0.5,1` (a list of floats), `f0:0.5` (a single one), or `-`, left out. `RIMLIGHT_SHOW=1` prints
//! what each ends in.

mod files;

use std::time::{Duration, Instant};

use prost::Message;
use rimlight::kernel::{DeviceClass, DeviceFacts};
use rimlight::onnx::messages::*;
use rimlight::optimize::{Rewrites, optimize};
use rimlight::plan::{PlanOptions, plan};
use rimlight::{Device, Error, Limits, LoadError, Model, Options, PlanError, RunError, Tensor};
use rimlight_fuzz::onnx::{floats, int, integers, ints, node, port};

/// How long any of them may take.
const TIME: Duration = Duration::from_secs(1);

/// Limits of an application that takes models from outside.
pub fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.file_bytes = 1 << 20;
    limits.nodes = 1000;
    limits.messages = 10_000;
    limits.initializer_bytes = 1 << 24;
    limits.elements = 1 << 22;
    limits.memory_bytes = 1 << 26;
    limits.work = 1 << 30;
    limits.body_work = 1 << 12;
    limits
}

/// The variant of an error, as the tables call it.
fn variant(error: &Error) -> String {
    let (stage, variant) = match error {
        Error::Load(error) => (
            "load",
            match error {
                LoadError::Io { .. } => "io",
                LoadError::Format(_) => "format",
                LoadError::UnknownOperators { .. } => "operators",
                LoadError::Tensor { .. } => "tensor",
                LoadError::Node(_) => "node",
                LoadError::Graph(_) => "graph",
                LoadError::Unsupported { .. } => "unsupported",
                LoadError::Limit(_) => "limit",
                _ => "else",
            },
        ),
        Error::Plan(error) | Error::Run(RunError::Plan(error)) => (
            "plan",
            match error {
                PlanError::Unbound { .. } => "unbound",
                PlanError::Node(_) => "node",
                PlanError::TooLarge { .. } => "large",
                PlanError::Limit(_) => "limit",
                _ => "else",
            },
        ),
        Error::Run(error) => (
            "run",
            match error {
                RunError::Node(_) => "node",
                RunError::Tensor(_) => "tensor",
                RunError::Limit(_) => "limit",
                _ => "else",
            },
        ),
        _ => ("else", "else"),
    };
    format!("{stage} {variant}")
}

/// Loads a model, plans it for GPUs and the CPU, and runs it.
fn ends(load: impl FnOnce() -> Result<Model, LoadError>) -> Result<(), Error> {
    let model = load()?;
    let options = Options::new().limits(limits());
    let device = Device::cpu();
    let mut shapes = vec![];
    for port in model.inputs() {
        let dims = port.fact.map(|fact| fact.shape.iter().map(|dim| dim.size().unwrap_or(2)).collect::<Vec<_>>());
        shapes.push((port.name.to_owned(), port.fact.map(|fact| fact.element_type), dims.unwrap_or_default()));
    }
    let options = shapes.iter().fold(options, |options, (name, _, shape)| options.shape(name.clone(), shape.clone()));
    let planned = model.plan(&device, &options)?;
    // On a GPU it ends no worse.
    if let Ok(graph) = optimize(planned.graph().clone(), &Rewrites::default()) {
        for facts in [DeviceFacts::lavapipe(), DeviceFacts::floor(DeviceClass::Mali)] {
            let _ = plan(graph.clone(), &facts, &PlanOptions::default());
        }
    }
    let mut given = vec![];
    for (name, element_type, shape) in shapes {
        let element_type = element_type.unwrap_or(rimlight::ElementType::F32);
        given.push((name, Tensor::zeros(element_type, shape).map_err(RunError::from)?));
    }
    let mut session = model.session_with(&device, &options)?;
    session.run_with(given.iter().map(|(name, tensor)| (name.as_str(), tensor.view())))?;
    Ok(())
}

/// What is wrong with how a model ends, if it is not as the table says.
pub fn wrong(name: &str, wanted: &str, load: impl FnOnce() -> Result<Model, LoadError>) -> Option<String> {
    let begun = Instant::now();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ends(load)));
    let took = begun.elapsed();
    let ended = match outcome {
        Ok(Ok(())) => "it runs".to_owned(),
        Ok(Err(error)) => format!("{}: {error}", variant(&error)),
        Err(_) => "it panics".to_owned(),
    };
    if std::env::var_os("RIMLIGHT_SHOW").is_some() {
        println!("{name} => {ended}");
    }
    let (kind, words) = wanted.split_once(": ").unwrap_or((wanted, ""));
    let right =
        ended.split_once(": ").is_some_and(|(k, message)| k == kind && message.contains(words)) && !words.is_empty();
    if took > TIME {
        return Some(format!("{name}: it took {took:?}"));
    }
    (!right).then(|| format!("{name}: should be '{wanted}', is '{ended}'"))
}

/// A model of this graph.
pub fn of(graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: Some(10),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(23) }],
        graph: Some(Box::new(graph)),
        ..ModelProto::default()
    }
}

pub fn load(model: &ModelProto) -> Result<Model, LoadError> {
    Model::from_bytes_with(model.encode_to_vec(), &limits())
}

fn numbers<T: std::str::FromStr>(text: &str) -> Vec<T> {
    text.split(',').filter(|n| !n.is_empty()).map(|n| n.parse().unwrap_or_else(|_| panic!("'{n}'"))).collect()
}

fn list(name: &str, values: &[f32]) -> TensorProto {
    let dims = vec![values.len() as i64];
    let float_data = values.to_vec();
    TensorProto { name: Some(name.to_owned()), data_type: Some(1), dims, float_data, ..TensorProto::default() }
}

/// A graph of the one node that a line describes.
fn graph(line: &str) -> GraphProto {
    let (left, attributes) = line.split_once(';').unwrap_or((line, ""));
    let mut words = left.split_whitespace();
    let operator = words.next().unwrap();
    let mut graph = GraphProto { name: Some("bad".to_owned()), ..GraphProto::default() };
    let mut inputs = vec![];
    for (i, word) in words.enumerate() {
        if word == "-" {
            inputs.push(String::new());
            continue;
        }
        let name = format!("v{i}");
        let (kind, values) = word.split_once(':').unwrap();
        match kind {
            "x" => graph.input.push(port(&name, &numbers::<i64>(values))),
            "w" => graph.initializer.push(floats(&name, &numbers::<i64>(values))),
            "i" => graph.initializer.push(integers(&name, &numbers(values))),
            "i2" => {
                let all: Vec<i64> = numbers(values);
                let dims = vec![all.len() as i64 / 2, 2];
                graph.initializer.push(TensorProto { dims, ..integers(&name, &all) });
            }
            "s" => graph.initializer.push(TensorProto { dims: vec![], ..integers(&name, &numbers(values)) }),
            "f" => graph.initializer.push(list(&name, &numbers(values))),
            "f0" => graph.initializer.push(TensorProto { dims: vec![], ..list(&name, &numbers(values)) }),
            "u" | "t" => {
                let dims: Vec<i64> = numbers(values);
                let n = usize::try_from(dims.iter().product::<i64>()).unwrap();
                let mut tensor = TensorProto { name: Some(name.clone()), dims, ..TensorProto::default() };
                if kind == "u" {
                    (tensor.data_type, tensor.raw_data) = (Some(2), Some(vec![7; n].into()));
                } else {
                    (tensor.data_type, tensor.string_data) = (Some(8), vec!["text".into(); n]);
                }
                graph.initializer.push(tensor);
            }
            other => panic!("'{other}' in '{line}'"),
        }
        inputs.push(name);
    }
    let attribute = |text: &str| {
        let (name, value) = text.split_once('=').unwrap();
        let of = |kind| AttributeProto { name: Some(name.to_owned()), r#type: Some(kind), ..AttributeProto::default() };
        match value.strip_prefix('\'') {
            Some(text) => AttributeProto { s: Some(text.trim_end_matches('\'').to_owned().into()), ..of(3) },
            None if value.contains(',') => ints(name, &numbers(value)),
            None if value.contains('.') => AttributeProto { f: Some(value.parse().unwrap()), ..of(1) },
            None => int(name, value.parse().unwrap()),
        }
    };
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    graph.node.push(node(operator, &inputs, "y", attributes.split_whitespace().map(attribute).collect()));
    graph.output.push(ValueInfoProto { name: Some("y".to_owned()), r#type: None });
    graph
}

#[test]
fn nodes_that_are_wrong_end_in_their_error() {
    let rows: Vec<&str> = include_str!("nodes.txt").lines().filter(|line| !line.trim().is_empty()).collect();
    assert!(rows.len() >= 200, "{} rows", rows.len());
    let mut failed = vec![];
    for row in rows {
        let (line, wanted) = row.split_once(" => ").unwrap_or((row, "?"));
        failed.extend(wrong(line, wanted, || load(&of(graph(line)))));
    }
    assert!(failed.is_empty(), "{} rows:\n{}", failed.len(), failed.join("\n"));
}
