//! Plans, without a GPU: what they look like, how much memory they take, and that wgpu accepts them.

use std::sync::Arc;

use rimlight::gpu::{GpuDevice, GpuEngine, GpuSession};
use rimlight::graph::{Bindings, Definition, Fact};
use rimlight::kernel::{DeviceClass, DeviceFacts};
use rimlight::optimize::{Rewrites, optimize};
use rimlight::plan::{PlanOptions, Schedule, plan};
use rimlight::{ElementType, Graph, Model, Tensor};
use rimlight_tests::{models, root};

/// The plan of a model with a batch of one, on a device of these facts.
fn planned(model: &Model, facts: &DeviceFacts, half: bool) -> Schedule {
    let mut bindings = Bindings::new();
    let mut symbols = vec![];
    for fact in model.inputs().filter_map(|port| port.fact) {
        fact.shape.iter().for_each(|dim| dim.symbols(&mut symbols));
    }
    bindings.extend(symbols.into_iter().map(|symbol| (symbol, 1)));
    let graph = model.graph().bind(&bindings).expect("a model with a batch of one");
    let graph = optimize(graph, &Rewrites::default()).expect("a model that can be rewritten");
    plan(graph, facts, &PlanOptions { half, ..PlanOptions::default() }).expect("a plan")
}

fn digits() -> Model {
    Model::open(root().join("models/digits.onnx")).expect("the embedded model")
}

/// A plan is data: a change of it is a change that somebody must look at.
#[test]
fn the_embedded_models_plans_are_as_they_were() {
    for (name, facts) in [
        ("lavapipe", DeviceFacts::lavapipe()),
        ("mali", DeviceFacts::floor(DeviceClass::Mali)),
        ("nvidia", DeviceFacts::floor(DeviceClass::Nvidia)),
    ] {
        insta::assert_snapshot!(name, planned(&digits(), &facts, false).to_string());
    }
}

/// Every class at the portable floor of limits, in both precisions: wgpu checks each pipeline, buffer and binding.
#[test]
fn wgpu_accepts_the_plans_of_every_class() {
    let device = GpuDevice::noop();
    for class in DeviceClass::ALL {
        for half in [false, true] {
            let facts = DeviceFacts { max_storage_buffers: 4, ..DeviceFacts::floor(class) };
            let model = digits();
            let schedule = Arc::new(planned(&model, &facts, half));
            assert_eq!(schedule.summary.host_nodes, 0, "{class}");
            let engine = GpuEngine::new(&device, Arc::clone(&schedule)).expect("pipelines");
            let mut session = GpuSession::new(&engine).expect("memory");
            let shape = schedule.graph.fact(schedule.graph.inputs[0]).and_then(Fact::concrete).expect("a shape");
            let x = Tensor::zeros(ElementType::F32, shape).expect("an input");
            session.set(schedule.graph.inputs[0], &x.view()).expect("an input that fits");
            session.run().expect("a run that computes nothing");
        }
    }
}

/// The bounds are those of the graphs with in-place unaries (largest sum of live bytes), and a quarter on top for values
/// that wgpu will not let share a buffer.
#[test]
fn activations_take_little_more_than_they_must() {
    let Some(folder) = models() else { return };
    for (name, bound) in [("mobilenetv2_fp32", 6.02e6), ("squeezenet1.0", 6.20e6), ("yolox_nano", 5.54e6)] {
        let model = Model::open(folder.join(format!("{name}.onnx"))).expect("the model loads");
        let summary = planned(&model, &DeviceFacts::lavapipe(), false).summary;
        let bytes = summary.activation_bytes as f64;
        assert!(bytes <= 1.25 * bound, "{name} takes {bytes} bytes, the bound is {bound}");
        assert!(summary.activation_bytes >= summary.lower_bound_bytes);
        // In 16 bits the half of it, and the other half of the inputs, which stay as the application gives them.
        let half = planned(&model, &DeviceFacts::lavapipe(), true);
        let shapes = half.graph.inputs.iter().filter_map(|&input| half.graph.fact(input)?.concrete());
        let inputs: usize = shapes.map(|shape| 2 * shape.iter().product::<usize>()).sum();
        let taken = half.summary.activation_bytes;
        assert!((taken as f64) < 0.55 * bytes + inputs as f64, "{name} in 16 bits takes {taken}");
    }
}

/// The most dispatches and pipelines that a model's plan may have: a pipeline is compiled by each first start, and each
/// dispatch takes some microseconds whatever it computes.
#[test]
fn plans_have_few_dispatches_and_pipelines() {
    let Some(folder) = models() else { return };
    let mut above = vec![];
    for (name, dispatches, pipelines) in [
        ("mobilenetv2_fp32", 54, 8),
        ("squeezenet1.0", 36, 13),
        ("yolox_nano", 135, 16),
        ("version-RFB-320", 76, 22),
        ("magika_standard_v3_3", 43, 23),
        ("dtln_model_2", 47, 14),
        ("silero_vad_16k", 19, 14),
    ] {
        let model = Model::open(folder.join(format!("{name}.onnx"))).expect("the model loads");
        let summary = planned(&model, &DeviceFacts::lavapipe(), false).summary;
        if summary.dispatches > dispatches || summary.pipelines > pipelines {
            above.push((name, summary.dispatches, summary.pipelines));
        }
    }
    assert!(above.is_empty(), "dispatches and pipelines: {above:?}");
}

/// Attention spelled out over this many keys, 8 heads of 64.
fn attention(length: usize) -> Model {
    let mut graph = Graph::builder();
    let [q, k, v] = ["q", "k", "v"].map(|name| graph.input(name, ElementType::F32, [1, 8, length, 64]));
    let turn = Definition::new("Transpose").attribute("perm", vec![0i64, 1, 3, 2]);
    let turned = graph.node(&turn, &[k]).expect("a transposition");
    let scores = graph.node(&Definition::new("MatMul"), &[q, turned]).expect("products");
    let weights = graph.node(&Definition::new("Softmax"), &[scores]).expect("weights");
    let y = graph.node(&Definition::new("MatMul"), &[weights, v]).expect("sums");
    graph.output("y", y);
    Model::from_graph(graph.build().expect("a graph"))
}

/// No matrix of scores is ever in memory.
#[test]
fn what_attention_takes_grows_linearly() {
    for facts in DeviceClass::ALL.map(DeviceFacts::floor).into_iter().chain([DeviceFacts::lavapipe()]) {
        let memory = |length| planned(&attention(length), &facts, false).summary.activation_bytes;
        let (short, long) = (memory(1024), memory(4096));
        assert!(short > 0 && long <= 4 * short, "{}: {short} bytes became {long}", facts.class);
    }
}
