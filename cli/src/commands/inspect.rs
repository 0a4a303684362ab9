//! `rimlight inspect`: what a model is and what a run of it does, before it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use rimlight::kernel::Storage;
use rimlight::plan::{Place, Schedule, readable_bytes};
use rimlight::{Device, ElementType, Graph, Model, Plan};

use super::{print, print_json};
use crate::failure::{Failure, Outcome};
use crate::flags::{DeviceFlags, InputFlags, PlanFlags, PrecisionFlag};
use crate::inputs::Inputs;
use crate::known;
use crate::output::{Table, operations, thousands};
use crate::timeline;

/// Show a model's inputs, outputs, operators and plan: what runs where and why, and its memory
#[derive(Debug, Args)]
#[command(after_help = after_help())]
pub struct Inspect {
    /// An ONNX file, or a model that is known by name
    model: String,
    /// Print every step of the plan
    #[arg(long)]
    steps: bool,
    /// Write the graph in Graphviz's language (`-` is the standard output)
    #[arg(long, value_name = "FILE.dot")]
    dot: Option<PathBuf>,
    /// Write a picture of the plan's memory over time, nodes on the host in red
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    inputs: InputFlags,
    #[command(flatten)]
    plan: PlanFlags,
    #[command(flatten)]
    device: DeviceFlags,
}

fn after_help() -> String {
    let mut table = Table::default();
    for rewrite in rimlight::optimize::REWRITES {
        table.row([rewrite.name, rewrite.about]);
    }
    format!(
        "Rewrites, for --without:\n{table}\nExamples:\n  rimlight inspect model.onnx\n  \
         rimlight inspect model.onnx --input k=k.npy\n  \
         rimlight inspect model.onnx --backend gpu --device-class mali --svg memory.svg"
    )
}

impl Inspect {
    pub fn run(&self) -> Outcome {
        let (model, known) = known::open(&self.model, &self.plan.limits())?;
        let device = self.device.device(self.plan.require_gpu)?;
        // A dimension that stays open makes a plan impossible, but not a look at the model.
        let plan = match Inputs::gather(&model, known.as_ref(), &self.inputs, &self.plan.dim) {
            Ok(inputs) => {
                let precision = match self.plan.precision {
                    PrecisionFlag::F16 => rimlight::Precision::F16,
                    _ => rimlight::Precision::F32,
                };
                let options = inputs.options(&self.plan)?.precision(precision);
                Ok((model.plan_for(&device, &options, &inputs.given())?, inputs))
            }
            Err(failure) => Err(failure),
        };
        if let Some(path) = &self.dot {
            let graph = plan.as_ref().map_or_else(|_| model.graph(), |(plan, _)| plan.graph());
            write(path, &graph.dot())?;
        }
        if let Some(path) = &self.svg {
            let (plan, _) = plan.as_ref().map_err(Failure::clone)?;
            let schedule = plan.schedule().ok_or_else(|| {
                Failure::input("--svg draws what a plan keeps on a GPU, but the device is the CPU: add --backend gpu")
            })?;
            write(path, &timeline::svg(schedule, &self.model))?;
        }
        if self.json {
            return print_json(&json(&self.model, &model, &device, &plan.as_ref().map(|(plan, _)| plan)));
        }
        if self.dot.as_deref().is_some_and(|path| path.as_os_str() == "-") {
            return Ok(());
        }
        print(&summary(&self.model, &model))?;
        match &plan {
            Err(failure) => print(&format!("\nno plan yet: {failure}\n")),
            Ok((plan, inputs)) => {
                print(&planned(plan, &device, &inputs.notes))?;
                print(&open(&model, plan, inputs))?;
                match plan.schedule() {
                    Some(schedule) if self.steps => print(&format!("\n{schedule}")),
                    _ => Ok(()),
                }
            }
        }
    }
}

fn write(path: &PathBuf, text: &str) -> Outcome {
    if path.as_os_str() == "-" {
        return print(text);
    }
    std::fs::write(path, text).map_err(|e| Failure::file(path, e))
}

fn operators(graph: &Graph) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for node in &graph.nodes {
        *counts.entry(node.operator.name()).or_default() += 1;
    }
    counts
}

/// Elements of constants of floats, and of integers of a byte or less, as which weights are stored: what was trained.
fn parameters(graph: &Graph) -> usize {
    let constants = graph.values.iter().filter_map(|value| value.fact.as_ref()?.constant.as_ref());
    let trained = |t: ElementType| {
        t.is_float() || matches!(t, ElementType::I8 | ElementType::U8 | ElementType::I4 | ElementType::U4)
    };
    constants.filter(|tensor| trained(tensor.element_type())).map(rimlight::Tensor::len).sum()
}

/// The work of one run, where every shape is known.
pub fn work(graph: &Graph) -> f64 {
    let node = |node: &rimlight::graph::Node| {
        let inputs = graph.input_facts(node)?;
        let outputs: Option<Vec<_>> =
            node.outputs.iter().map(|id| id.map_or(None, |id| graph.fact(id).cloned())).collect();
        Some(node.operator.work(&inputs, &outputs?))
    };
    graph.nodes.iter().filter_map(node).sum()
}

/// What the model is.
pub fn summary(name: &str, model: &Model) -> String {
    let graph = model.graph();
    let metadata = model.metadata();
    let mut text = format!("{name}\n");
    let mut table = Table::default();
    if !metadata.producer.is_empty() {
        table.row(["written by", &metadata.producer]);
    }
    let opsets: Vec<String> = metadata
        .opsets
        .iter()
        .map(|(domain, version)| if domain.is_empty() { version.to_string() } else { format!("{domain} {version}") })
        .collect();
    table.row(["operator sets", &opsets.join(", ")]);
    for port in model.inputs() {
        table.row(["input", &port.to_string()]);
    }
    for port in model.outputs() {
        table.row(["output", &port.to_string()]);
    }
    let counts: Vec<String> = operators(graph).iter().map(|(name, n)| format!("{name} {n}")).collect();
    table.row(["operators", &format!("{}: {}", graph.nodes.len(), counts.join(", "))]);
    table.row(["parameters", &thousands(parameters(graph))]);
    text.push_str(&table.to_string());
    text
}

/// What a run does.
pub fn planned(plan: &Plan, device: &Device, notes: &[String]) -> String {
    let mut text = format!("\nplan for {}", device.name());
    if let Some(facts) = device.facts() {
        text.push_str(&format!(" as {}", facts.class));
    }
    if !notes.is_empty() {
        let dims: Vec<&str> = notes.iter().filter(|note| note.contains(" = ")).map(String::as_str).collect();
        if !dims.is_empty() {
            text.push_str(&format!(", with {}", dims.join(", ")));
        }
    }
    text.push('\n');
    let Some(schedule) = plan.schedule() else {
        let graph = plan.graph();
        let counts: Vec<String> = operators(graph).iter().map(|(name, n)| format!("{name} {n}")).collect();
        let mut table = Table::default();
        if let Some(reason) = plan.instead() {
            table.row(["on the CPU", reason]);
        }
        table.row(["after rewrites", &format!("{} nodes, all on the CPU: {}", graph.nodes.len(), counts.join(", "))]);
        table.row(["work", &operations(work(graph))]);
        return text + &table.to_string();
    };
    let s = &schedule.summary;
    let mut table = Table::default();
    table.row(["work", &operations(s.work)]);
    let conversions = format!("{} ({} of them convert layouts)", s.dispatches, s.conversions);
    table.row(["dispatches", &conversions]);
    table.row(["pipelines", &s.pipelines.to_string()]);
    let activations = readable_bytes(s.activation_bytes);
    table.row(["activations", &format!("{activations}, lower bound {}", readable_bytes(s.lower_bound_bytes))]);
    table.row(["constants", &readable_bytes(s.constant_bytes)]);
    if schedule.half {
        let (names, bytes) = single(schedule);
        let all: BTreeSet<_> = schedule.slots.iter().map(|slot| slot.value).collect();
        let count = format!(
            "{} of {} values, {} (--steps and --json name them)",
            names.len(),
            all.len(),
            readable_bytes(bytes)
        );
        table.row(["kept in 32 bits", &count]);
    }
    table.row(["memory", &timeline::line(schedule, 60)]);
    text.push_str(&table.to_string());
    text.push_str(&places(schedule));
    text
}

/// What the plan does not know yet and a run will, where nodes run on the host.
fn open(model: &Model, plan: &Plan, inputs: &Inputs) -> String {
    let given = inputs.given();
    let names = model.parameters().map(|port| port.name).filter(|name| given.iter().all(|(other, _)| other != name));
    let names: Vec<&str> = names.collect();
    let hosts = plan.schedule().is_some_and(|schedule| schedule.summary.host_nodes > 0);
    if names.is_empty() || !hosts {
        return String::new();
    }
    let inputs: Vec<String> = names.iter().map(|name| format!("--input {name}=FILE")).collect();
    format!(
        "\nA run makes a plan for the content of {}, with which more may run on the GPU: {} shows that one.\n",
        names.join(", "),
        inputs.join(" ")
    )
}

/// The values that a plan of 16 bits stores in 32, in the order in which they come up, and their bytes.
fn single(schedule: &Schedule) -> (Vec<&str>, u64) {
    let mut values = vec![];
    let mut bytes = 0;
    for slot in schedule.slots.iter().filter(|slot| schedule.half && slot.storage == Storage::F32) {
        if !values.contains(&slot.value) {
            values.push(slot.value);
            bytes += slot.region.size;
        }
    }
    (values.into_iter().map(|value| schedule.graph.value(value).name.as_str()).collect(), bytes)
}

/// Where each operator runs: the kinds of kernel with how often, and every node that is on the host.
fn places(schedule: &Schedule) -> String {
    let mut counts: BTreeMap<(&str, &str), (usize, f64)> = BTreeMap::new();
    let mut host = Table::default();
    let mut hosts = 0;
    for place in &schedule.places {
        let node = schedule.graph.node(place.node);
        let kind = match &place.place {
            Place::Gpu(candidate) => *candidate,
            Place::View => "view: nothing is done",
            Place::Host(reason) => {
                hosts += 1;
                host.row([&node.name, node.operator.name(), reason]);
                "on the host"
            }
        };
        let count = counts.entry((node.operator.name(), kind)).or_default();
        count.0 += 1;
        count.1 += place.work;
    }
    let mut table = Table::default();
    for ((operator, kind), (count, work)) in counts {
        table.row([operator, &count.to_string(), kind, &operations(work)]);
    }
    let mut text = format!("\n{table}");
    if hosts > 0 {
        text.push_str(&format!("\non the host, and why:\n{host}"));
    }
    text
}

fn json(name: &str, model: &Model, device: &Device, plan: &Result<&Plan, &Failure>) -> serde_json::Value {
    let graph = model.graph();
    let port = |port: rimlight::Port<'_>| {
        serde_json::json!({
            "name": port.name,
            "type": port.fact.map(|fact| fact.element_type.name()),
            "shape": port.fact.map(|fact| fact.shape.iter().map(ToString::to_string).collect::<Vec<_>>()),
        })
    };
    let metadata = model.metadata();
    let mut json = serde_json::json!({
        "model": name,
        "producer": metadata.producer,
        "ir_version": metadata.ir_version,
        "opsets": metadata.opsets.iter().map(|(domain, version)| (domain.clone(), *version)).collect::<BTreeMap<_, _>>(),
        "inputs": model.inputs().map(port).collect::<Vec<_>>(),
        "outputs": model.outputs().map(port).collect::<Vec<_>>(),
        "operators": operators(graph),
        "nodes": graph.nodes.len(),
        "parameters": parameters(graph),
        "adapter": device.name(),
        "backend": if device.is_gpu() { "gpu" } else { "cpu" },
        "device_class": device.facts().map(|facts| facts.class.name()),
    });
    match plan {
        Err(failure) => json["plan_error"] = failure.to_string().into(),
        Ok(plan) => {
            json["plan"] = match plan.schedule() {
                Some(schedule) => schedule_json(schedule),
                None => serde_json::json!({
                    "nodes": plan.graph().nodes.len(), "work": work(plan.graph()), "instead": plan.instead(),
                }),
            };
        }
    }
    json
}

fn schedule_json(schedule: &Schedule) -> serde_json::Value {
    let s = &schedule.summary;
    let place = |place: &rimlight::plan::NodePlace| {
        let node = schedule.graph.node(place.node);
        let (kind, detail) = match &place.place {
            Place::Gpu(candidate) => ("gpu", *candidate),
            Place::View => ("view", ""),
            Place::Host(reason) => ("host", reason.as_str()),
        };
        serde_json::json!({
            "name": node.name, "operator": node.operator.name(), "place": kind, "detail": detail, "work": place.work,
        })
    };
    serde_json::json!({
        "activation_bytes": s.activation_bytes,
        "lower_bound_bytes": s.lower_bound_bytes,
        "constant_bytes": s.constant_bytes,
        "dispatches": s.dispatches,
        "conversions": s.conversions,
        "pipelines": s.pipelines,
        "host_nodes": s.host_nodes,
        "half": schedule.half,
        "single_precision_values": single(schedule).0,
        "work": s.work,
        "live_bytes": timeline::live(schedule),
        "nodes": schedule.places.iter().map(place).collect::<Vec<_>>(),
    })
}
