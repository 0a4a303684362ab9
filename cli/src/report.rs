//! What a device can do and how fast it is: how we learn of devices that nobody here has.

use std::time::{Duration, Instant};

use rimlight::gpu::{AdapterInfo, SelfCheck, SelfTestReport, Verdict};
use rimlight::graph::{Definition, Graph, NodeError, ValueId};
use rimlight::{Device, ElementType, GraphBuilder, Model, Options, Precision, Tolerance};
use serde_json::json;

use crate::failure::{Failure, Outcome};
use crate::known;
use crate::output;
use crate::random::Random;

/// How long one rate is measured.
const MEASURE: Duration = Duration::from_millis(500);

/// An adapter, for JSON.
pub fn adapter(info: &AdapterInfo) -> serde_json::Value {
    let facts = &info.facts;
    json!({
        "name": info.name,
        "backend": info.backend,
        "driver": info.driver,
        "kind": info.kind.name(),
        "vendor": info.vendor,
        "device": info.device,
        "class": facts.class.name(),
        "features": info.features,
        "known_faults": info.quirks.iter().map(|quirk| json!({
            "fault": quirk.fault, "remedy": quirk.remedy, "source": quirk.source,
        })).collect::<Vec<_>>(),
        "limits": {
            "subgroup_size": facts.subgroup_size,
            "max_invocations": facts.max_invocations,
            "workgroup_memory": facts.workgroup_memory,
            "max_storage_buffers": facts.max_storage_buffers,
            "max_binding_size": facts.max_binding_size,
            "max_buffer_size": info.max_buffer_size,
            "max_workgroups": facts.max_workgroups,
            "offset_alignment": facts.offset_alignment,
        },
    })
}

/// What a self-test found, for JSON.
pub fn self_test_report(report: &SelfTestReport) -> serde_json::Value {
    let check = |check: &SelfCheck| {
        let mut row = json!({ "name": check.name, "ms": output::rounded_ms(check.time) });
        match &check.verdict {
            Verdict::Right => row["result"] = json!("ok"),
            Verdict::Absent(reason) => (row["result"], row["reason"]) = (json!("not available"), json!(reason)),
            Verdict::Wrong { got, expected } => {
                (row["result"], row["got"], row["expected"]) = (json!("wrong"), json!(got), json!(expected));
            }
            other => (row["result"], row["reason"]) = (json!("wrong"), json!(other.to_string())),
        }
        row
    };
    json!({
        "passed": report.passed(),
        "checks": report.checks.iter().map(check).collect::<Vec<_>>(),
        "switched_off": report.switched_off,
        "unfit": report.unfit,
    })
}

/// Everything about a GPU.
pub fn report(device: &Device) -> Outcome<serde_json::Value> {
    let gpu =
        device.as_gpu().ok_or_else(|| Failure::device("the device is the CPU, of which there is nothing to report"))?;
    let probes = probes();
    let bar = output::progress(probes.len() as u64 + 2, "measuring", false);
    let mut tests = vec![];
    for precision in [Precision::F32, Precision::F16] {
        tests.push(self_test(device, precision));
        bar.inc(1);
    }
    let mut rates = vec![];
    for probe in &probes {
        rates.push(match rate(probe, device) {
            Ok(rate) => rate,
            Err(failure) => json!({ "probe": probe.name, "error": failure.to_string() }),
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(json!({
        "rimlight": env!("CARGO_PKG_VERSION"),
        "system": std::env::consts::OS,
        "architecture": std::env::consts::ARCH,
        "adapter": adapter(gpu.info()),
        "self_test": tests,
        "rates": rates,
    }))
}

/// The embedded model against the references.
fn self_test(device: &Device, precision: Precision) -> serde_json::Value {
    let name = if precision == Precision::F16 { "f16" } else { "f32" };
    let test = || -> Outcome<rimlight::Validation> {
        let (model, _) = known::open("digits", &rimlight::Limits::default())?;
        let tensor = Random::new(1).tensor(ElementType::F32, &[1, 1, 28, 28])?;
        let input = model.inputs().next().map(|port| port.name.to_owned()).unwrap_or_default();
        let options = Options::new().shape(&input, [1, 1, 28, 28]).precision(precision);
        Ok(rimlight::validate(&model, device, &options, &[(&input, &tensor)], Tolerance::of(precision))?)
    };
    match test() {
        Ok(validation) => json!({
            "model": "digits", "precision": name, "passed": validation.passed(), "elements": validation.elements(),
            "worst": validation.worst().map(|worst| worst.worst),
            "first_failure": validation.first_failure().map(|value| &value.name),
        }),
        Err(failure) => json!({ "model": "digits", "precision": name, "passed": false, "error": failure.to_string() }),
    }
}

/// One kernel at work: a layer of an ordinary size.
struct Probe {
    name: &'static str,
    input: Vec<usize>,
    /// The node, with its weights.
    build: fn(&mut GraphBuilder, ValueId) -> Result<ValueId, NodeError>,
}

fn weights(graph: &mut GraphBuilder, shape: &[usize]) -> ValueId {
    // The shapes are those below: they fit.
    let tensor = Random::new(2).tensor(ElementType::F32, shape);
    graph.constant("weights", tensor.unwrap_or_else(|_| rimlight::Tensor::scalar(0f32)))
}

fn conv(graph: &mut GraphBuilder, x: ValueId, shape: [usize; 4], group: i64) -> Result<ValueId, NodeError> {
    let w = weights(graph, &shape);
    let pad = i64::try_from(shape[2] / 2).unwrap_or(0);
    let conv = Definition::new("Conv").attribute("pads", [pad; 4]).attribute("group", group);
    graph.node(&conv, &[x, w])
}

fn probes() -> Vec<Probe> {
    vec![
        Probe {
            name: "conv 3x3, 64 to 64, 56x56",
            input: vec![1, 64, 56, 56],
            build: |g, x| conv(g, x, [64, 64, 3, 3], 1),
        },
        Probe {
            name: "conv 1x1, 256 to 64, 56x56",
            input: vec![1, 256, 56, 56],
            build: |g, x| conv(g, x, [64, 256, 1, 1], 1),
        },
        Probe {
            name: "conv 1x1, 160 to 960, 7x7",
            input: vec![1, 160, 7, 7],
            build: |g, x| conv(g, x, [960, 160, 1, 1], 1),
        },
        Probe {
            name: "depthwise 3x3, 144, 56x56",
            input: vec![1, 144, 56, 56],
            build: |g, x| conv(g, x, [144, 1, 3, 3], 144),
        },
        Probe {
            name: "matmul 512x512x512",
            input: vec![512, 512],
            build: |g, x| {
                let w = weights(g, &[512, 512]);
                g.node(&Definition::new("MatMul"), &[x, w])
            },
        },
        Probe {
            name: "matmul 1x1024x1024",
            input: vec![1, 1024],
            build: |g, x| {
                let w = weights(g, &[1024, 1024]);
                g.node(&Definition::new("MatMul"), &[x, w])
            },
        },
        Probe { name: "sigmoid, 1 M", input: vec![1 << 20], build: |g, x| g.node(&Definition::new("Sigmoid"), &[x]) },
        Probe { name: "add, 1 M", input: vec![1 << 20], build: |g, x| g.node(&Definition::new("Add"), &[x, x]) },
        Probe {
            name: "softmax, 1024 rows of 1024",
            input: vec![1024, 1024],
            build: |g, x| g.node(&Definition::new("Softmax"), &[x]),
        },
        Probe {
            name: "max pool 3x3, 64, 112x112",
            input: vec![1, 64, 112, 112],
            build: |g, x| {
                let pool = Definition::new("MaxPool").attribute("kernel_shape", [3, 3]).attribute("strides", [2, 2]);
                g.node(&pool, &[x])
            },
        },
        Probe {
            name: "global average pool, 1280, 7x7",
            input: vec![1, 1280, 7, 7],
            build: |g, x| g.node(&Definition::new("GlobalAveragePool"), &[x]),
        },
    ]
}

/// The time of a probe's own dispatches, the best of many.
fn rate(probe: &Probe, device: &Device) -> Outcome<serde_json::Value> {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, probe.input.clone());
    let fault = |e: NodeError| Failure::input(e.to_string());
    let y = (probe.build)(&mut graph, x).map_err(fault)?;
    graph.output("y", y);
    let model = Model::from_graph(graph.build().map_err(fault)?);
    let mut session = model.session_with(device, &Options::new())?;
    let tensor = Random::new(3).tensor(ElementType::F32, &probe.input)?;
    session.set(session.input("x")?, tensor.view())?;
    let start = Instant::now();
    session.run()?;
    let first = start.elapsed();
    let schedule = session.schedule().cloned();
    let summary = schedule.as_ref().map(|schedule| schedule.summary).unwrap_or_default();
    let kernels: Vec<&str> = schedule.iter().flat_map(|s| &s.kernels).map(|kernel| kernel.shader).collect();
    let gpu = session.as_gpu().ok_or_else(|| Failure::device("the device is the CPU"))?;
    let (mut best, mut by_device, mut runs) = (Duration::MAX, false, 0);
    let start = Instant::now();
    while runs < 3 || start.elapsed() < MEASURE {
        let profile = gpu.profile()?;
        by_device = profile.by_device;
        let own = profile.dispatches.iter().filter(|timing| timing.node.is_some()).map(|timing| timing.time);
        best = best.min(own.sum());
        runs += 1;
    }
    let elements: usize = probe.input.iter().product();
    Ok(json!({
        "probe": probe.name,
        "kernels": kernels,
        "us": best.as_secs_f64() * 1e6,
        "gflops": summary.work / best.as_secs_f64() / 1e9,
        "input_gb_per_s": elements as f64 * 4.0 / best.as_secs_f64() / 1e9,
        "first_run_ms": output::rounded_ms(first),
        "timed_by_device": by_device,
        "runs": runs,
    }))
}
