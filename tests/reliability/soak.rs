//! Many runs on one device, sessions, engines and models made and dropped in between, shapes changing: the same answers bit by
//! bit, and memory that does not grow.

use std::collections::HashMap;
use std::time::Instant;

use rimlight::graph::Definition;
use rimlight::{Backend, Device, DeviceOptions, Dim, ElementType, Engine, Graph, Model, Options, Tensor};

/// Runs of the small model, and those that `RIMLIGHT_SOAK` asks for: of it, and of mobilenet_v2.
const FEW: usize = 300;
const ALL: [usize; 2] = [100_000, 2_000];

/// By how much memory may grow after the first third.
const GROWTH: f64 = 1.01;

fn is_long() -> bool {
    std::env::var_os("RIMLIGHT_SOAK").is_some()
}

/// Bytes of this process in memory, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(status.split(' ').nth(1)?.parse::<u64>().ok()? * 4096)
}

/// Bytes that a GPU's driver was asked for.
fn on_device(device: &Device) -> Option<u64> {
    Some(device.as_gpu()?.wgpu().generate_allocator_report()?.total_reserved_bytes)
}

/// The most of each third.
fn thirds(samples: &[u64]) -> [u64; 3] {
    let n = samples.len();
    [0, 1, 2].map(|i| samples[i * n / 3..(i + 1) * n / 3].iter().copied().max().unwrap_or(0))
}

fn devices() -> Vec<Device> {
    let mut options = DeviceOptions::default();
    options.backend = Backend::Gpu;
    match Device::new(&options) {
        Ok(gpu) => vec![gpu, Device::cpu()],
        Err(error) => {
            assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{error}");
            eprintln!("skipped: {error}");
            vec![Device::cpu()]
        }
    }
}

/// A convolution, a pool, and a product with what is left.
fn small() -> Model {
    let mut graph = Graph::builder();
    let ramp = |n: usize| (0..n).map(|i| ((i * 7 + 3) % 11) as f32 / 11.0 - 0.5).collect::<Vec<f32>>();
    let x = graph.input("x", ElementType::F32, [Dim::symbol("N"), 3.into(), Dim::symbol("H"), Dim::symbol("W")]);
    let w = graph.constant("w", Tensor::new([6, 3, 3, 3], ramp(162)).unwrap());
    let v = graph.constant("v", Tensor::new([6, 10], ramp(60)).unwrap());
    let a = graph.node(&Definition::new("Conv").attribute("pads", [1, 1, 1, 1]), &[x, w]).unwrap();
    let b = graph.node(&Definition::new("Relu"), &[a]).unwrap();
    let c = graph.node(&Definition::new("GlobalAveragePool"), &[b]).unwrap();
    let d = graph.node(&Definition::new("Flatten"), &[c]).unwrap();
    let e = graph.node(&Definition::new("MatMul"), &[d, v]).unwrap();
    let y = graph.node(&Definition::new("Softmax"), &[e]).unwrap();
    graph.output("y", y);
    Model::from_graph(graph.build().unwrap())
}

/// Runs a model of one input so often, its shape in turn one of these.
fn soak(name: &str, device: &Device, model: &dyn Fn() -> Model, shapes: &[&[usize]], runs: usize) {
    let inputs: Vec<Tensor> = shapes
        .iter()
        .map(|shape| {
            let n = shape.iter().product::<usize>();
            Tensor::new(shape.to_vec(), (0..n).map(|i| ((i * 31 + 7) % 101) as f32 / 50.5 - 1.0).collect()).unwrap()
        })
        .collect();
    let (mut answers, start): (HashMap<usize, Vec<u8>>, _) = (HashMap::new(), Instant::now());
    let (mut host, mut gpu) = (vec![], vec![]);
    // A session lives for a fiftieth of the runs, an engine for a tenth, a model for a third.
    let every = |parts: usize| runs.div_ceil(parts).max(1);
    let mut made = model();
    let mut engine = Engine::new(&made, device, &Options::new()).unwrap();
    let mut session = engine.session().unwrap();
    for run in 0..runs {
        if run % every(3) == 0 && run > 0 {
            made = model();
        }
        if run % every(10) == 0 && run > 0 {
            engine = Engine::new(&made, device, &Options::new()).unwrap();
        }
        if run % every(50) == 0 && run > 0 {
            session = engine.session().unwrap();
        }
        // Some runs of one shape, then the next one.
        let shape = run / 7 % shapes.len();
        let port = made.inputs().next().unwrap().name.to_owned();
        let outputs = session.run_with([(port.as_str(), inputs[shape].view())]).unwrap();
        let bytes: Vec<u8> = outputs.iter().flat_map(|(_, tensor)| tensor.bytes().to_vec()).collect();
        let first = answers.entry(shape).or_insert_with(|| bytes.clone());
        assert!(*first == bytes, "{name} on {}: run {run} gives something else", device.name());
        if run % every(300) == 0 {
            host.extend(resident());
            gpu.extend(on_device(device));
        }
    }
    let took = start.elapsed();
    for (what, samples) in [("the process", &host), ("the device's memory", &gpu)] {
        if samples.is_empty() {
            continue;
        }
        let [first, second, third] = thirds(samples);
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        println!(
            "{name} on {}, {runs} runs in {took:.0?}: {what} {:.2} MB, {:.2} MB, {:.2} MB",
            device.name(),
            megabytes(first),
            megabytes(second),
            megabytes(third)
        );
        if runs >= 1000 {
            assert!(third as f64 <= second as f64 * GROWTH, "{name} on {}: {what} grows", device.name());
        }
    }
}

#[test]
fn a_small_model_runs_and_runs() {
    let shapes: [&[usize]; 6] =
        [&[1, 3, 8, 8], &[2, 3, 5, 7], &[1, 3, 17, 4], &[3, 3, 8, 8], &[1, 3, 1, 1], &[1, 3, 12, 31]];
    for device in devices() {
        soak("a small model", &device, &small, &shapes, if is_long() { ALL[0] } else { FEW });
    }
}

#[test]
fn a_network_runs_and_runs() {
    if !is_long() {
        eprintln!("skipped: minutes of runs, which RIMLIGHT_SOAK=1 asks for");
        return;
    }
    let Some(folder) = rimlight_tests::models() else { return };
    let model = || Model::open(folder.join("mobilenetv2_fp32.onnx")).unwrap();
    for device in devices() {
        soak("mobilenet_v2", &device, &model, &[&[1, 3, 224, 224], &[2, 3, 224, 224]], ALL[1]);
    }
}
