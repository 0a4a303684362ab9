//! Faults planted on purpose, one in each shader and one in each rewrite: `validate` must find every one of them and name
//! the first value that is wrong.

use std::collections::BTreeSet;
use std::sync::Arc;

mod language;
mod net;
mod pictures;
mod quantized;
mod rows;
mod signal;

use net::{Net, op};

use super::{Backend, Device, DeviceOptions, Options, Tolerance, validate};
use crate::graph::{Context, Definition, EvaluateError, Fact, Graph, Inputs, NodeError, Operator, ShapeError, Value};
use crate::kernel::DeviceClass;
use crate::model::Model;
use crate::optimize::{REWRITES, Rewrites, optimize_watched};
use crate::plan::{Schedule, Step};
use crate::tensor::Tensor;

/// A fault to plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// All that this shader stores is off by one.
    Shader(&'static str),
    /// The first node that this rewrite changed gives a result that is off by one.
    Rewrite(&'static str),
}

/// Optimizes, with the fault planted if it is one of a rewrite.
pub fn optimize(graph: Graph, rewrites: &Rewrites, fault: Option<Fault>) -> Result<Graph, NodeError> {
    let mut before = graph.clone();
    optimize_watched(graph, rewrites, |name, graph| {
        plant(name, &before, graph, fault);
        before = graph.clone();
    })
}

/// A rewritten graph, with the fault planted if it is one of that rewrite.
pub fn planted(name: &'static str, before: &Graph, mut graph: Graph, fault: Option<Fault>) -> Graph {
    plant(name, before, &mut graph, fault);
    graph
}

fn plant(name: &'static str, before: &Graph, graph: &mut Graph, fault: Option<Fault>) {
    if fault == Some(Fault::Rewrite(name)) {
        let changed = changed(before, graph).unwrap_or_else(|| panic!("{name} changed no node of the test's graph"));
        let node = &mut graph.nodes[changed];
        node.operator = Arc::new(OffByOne(Arc::clone(&node.operator)));
    }
}

/// The first node that is not as it was: another operator, other inputs or outputs, or an input that became a constant.
fn changed(before: &Graph, after: &Graph) -> Option<usize> {
    let describe = |graph: &Graph, node: &crate::graph::Node| {
        let inputs: Vec<_> = node
            .inputs
            .iter()
            .map(|id| id.map(|id| (graph.value(id).name.clone(), graph.constant(id).is_some())))
            .collect();
        let outputs: Vec<_> = node.outputs.iter().map(|id| id.map(|id| graph.value(id).name.clone())).collect();
        (Arc::as_ptr(&node.operator).addr(), inputs, outputs)
    };
    let old: Vec<_> = before.nodes.iter().map(|node| describe(before, node)).collect();
    after.nodes.iter().position(|node| !old.contains(&describe(after, node)))
}

/// Marks the kernels of a shader as faulty.
pub fn schedule(mut schedule: Schedule, fault: Option<Fault>) -> Schedule {
    if let Some(Fault::Shader(shader)) = fault {
        for kernel in schedule.kernels.iter_mut().filter(|kernel| kernel.shader == shader) {
            kernel.defines.push(("FAULT", 1));
        }
    }
    schedule
}

/// An operator whose first result is off by one. It has no kernel, so it runs by its reference.
#[derive(Debug)]
struct OffByOne(Arc<dyn Operator>);

impl Operator for OffByOne {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        self.0.infer(inputs)
    }

    fn evaluate(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let mut results = self.0.evaluate(context, inputs)?;
        if let Some(Value::Tensor(tensor)) = results.first_mut() {
            tensor.as_mut_slice::<f32>()?.iter_mut().for_each(|v| *v += 1.0);
        }
        Ok(results)
    }
}

fn device(class: DeviceClass) -> Option<Device> {
    let mut options = DeviceOptions::default();
    (options.backend, options.class) = (Backend::Gpu, Some(class));
    Device::new(&options)
        .inspect_err(|e| {
            assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{e}");
            eprintln!("skipped: {e}");
        })
        .ok()
}

/// A device of the application's own with the fewest buffers that any has, where there is a GPU; so many bytes are bound at
/// once, or as many as the least of devices binds.
#[allow(clippy::disallowed_methods, reason = "the application makes its own device")]
fn small(binding: Option<u64>) -> Device {
    use crate::gpu::wgpu;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).unwrap();
    let least = wgpu::Limits::downlevel_defaults();
    let required_limits = wgpu::Limits {
        max_storage_buffers_per_shader_stage: 4,
        max_storage_buffer_binding_size: binding.unwrap_or(least.max_storage_buffer_binding_size),
        ..least
    };
    let descriptor = wgpu::DeviceDescriptor { required_limits, ..wgpu::DeviceDescriptor::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    Device::from_wgpu(device, queue)
}

/// The names of the values that the node of the first dispatch of a shader gives.
fn first_values(schedule: &Schedule, shader: &str) -> Vec<String> {
    let dispatch = schedule.steps.iter().find_map(|step| match step {
        Step::Dispatch(d) if schedule.kernels[d.kernel].shader == shader => Some(d),
        _ => None,
    });
    let dispatch = dispatch.expect("a dispatch of that shader");
    match dispatch.node {
        Some(node) => {
            let outputs = schedule.graph.node(node).outputs.iter().flatten();
            outputs.map(|&id| schedule.graph.value(id).name.clone()).collect()
        }
        // A conversion is labelled `value: from to`.
        None => vec![dispatch.label.split(": ").next().unwrap_or_default().to_owned()],
    }
}

#[test]
fn a_fault_in_any_shader_is_found_and_named() {
    let mut missing: BTreeSet<&str> =
        // Some files are only parts of others.
        crate::kernel::shaders::SHADERS.iter().filter(|(_, text)| text.contains("@compute")).map(|(p, _)| *p).collect();
    // Of a tensor that is too large for a device: see `a_fault_in_a_division_is_found_and_named`.
    missing.remove("shape/gather_part.wgsl");
    // Between textures and tensors: no node has them. The tests of `gpu::picture` compare them with the host.
    missing.retain(|path| !path.starts_with("picture/"));
    // Of no node either: `gpu::self_test` breaks drivers, and they must show it.
    missing.retain(|path| !path.starts_with("self_test/"));
    let classes = [DeviceClass::Software, DeviceClass::Mali, DeviceClass::Nvidia].map(device);
    if classes.iter().any(Option::is_none) {
        return;
    }
    for device in classes.into_iter().flatten().chain([small(None)]) {
        // No plan takes cooperative matrices unless they were measured: their kernel is tested by itself.
        missing.remove("matmul/cooperative.wgsl");
        if device.facts().is_some_and(|facts| facts.subgroup_size.is_none()) {
            // Only products by subgroups take A in panels.
            missing.retain(|path| !path.contains("subgroup") && *path != "matmul/panels.wgsl");
        }
        for (model, inputs) in [
            pictures::pictures(),
            pictures::odd_pictures(),
            pictures::dense(),
            pictures::deep(),
            rows::products(),
            rows::elements(),
            rows::rows(),
            pictures::across(),
            signal::indices(),
            signal::signals(),
            signal::draws(),
            language::language(),
            quantized::quantized(),
            quantized::integers(),
        ] {
            let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (*name, tensor)).collect();
            let plan = model.plan(&device, &Options::new()).unwrap();
            let schedule = plan.schedule().unwrap();
            let tolerance = Tolerance { rtol: 1e-4, atol: 1e-5, floor: 0.0, amplified: 0.0 };
            let sound = validate(&model, &device, &Options::new(), &given, tolerance).unwrap();
            assert!(sound.passed(), "{device:?}: {:?}", sound.first_failure());
            let shaders: BTreeSet<&'static str> = schedule.kernels.iter().map(|k| k.shader).collect();
            for shader in shaders {
                if !missing.remove(shader) {
                    continue;
                }
                let options = Options { fault: Some(Fault::Shader(shader)), ..Options::new() };
                let found = validate(&model, &device, &options, &given, tolerance).unwrap();
                let first = found.first_failure().map(|f| f.name.clone());
                let named = first.as_ref().is_some_and(|first| first_values(schedule, shader).contains(first));
                assert!(named, "a fault in {shader}: {first:?}");
            }
        }
    }
    assert!(missing.is_empty(), "no graph of this test runs {missing:?}: add one");
}

/// A graph in which every rewrite finds something to do.
fn rewritable() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let x = net.input("x", &[1, 4, 8, 8]);
    let same = net.node(op("Identity"), &[x]);
    let (half, w) = (net.weights(&[4, 4, 3, 3]), net.weights(&[4, 4, 3, 3]));
    let weights = net.node(op("Add"), &[half, w]);
    let pads = net.constant(Tensor::vector(vec![0i64, 0, 1, 1, 0, 0, 1, 1]));
    let padded = net.node(op("Pad"), &[same, pads]);
    let conv = net.node(op("Conv"), &[padded, weights]);
    let (scale, bias, mean) = (net.weights(&[4]), net.weights(&[4]), net.weights(&[4]));
    let variance = net.constant(Tensor::vector(vec![1f32, 2.0, 0.5, 1.5]));
    let normal = net.node(op("BatchNormalization"), &[conv, scale, bias, mean, variance]);
    let sigmoid = net.node(op("Sigmoid"), &[normal]);
    let silu = net.node(op("Mul"), &[normal, sigmoid]);
    let v = net.weights(&[4, 4, 1, 1]);
    let next = net.node(op("Conv"), &[silu, v]);
    let sum = net.node(op("Add"), &[next, silu]);
    let y = net.node(op("Relu"), &[sum]);
    net.output(y);
    let v = net.weights(&[4, 4, 1, 1]);
    let last = net.node(op("Conv"), &[x, v]);
    let last = net.node(op("Tanh"), &[last]);
    let last = net.node(op("Add"), &[x, last]);
    net.output(last);
    let v = net.weights(&[2, 4, 1, 1]);
    let (pieces, positions) = (net.node(op("Conv"), &[x, v]), net.weights(&[2, 1, 8, 8]));
    let turned = net.node(op("Transpose").attribute("perm", vec![1i64, 0, 2, 3]), &[pieces]);
    let placed = net.node(op("Add"), &[turned, positions]);
    net.output(placed);
    let rows = net.input("rows", &[2, 3, 4]);
    let (w, bias) = (net.weights(&[4, 4]), net.weights(&[4]));
    let product = net.node(op("MatMul"), &[rows, w]);
    let product = net.node(op("Add"), &[product, bias]);
    let product = net.node(op("Add"), &[rows, product]);
    net.output(product);
    let projections = [rows; 3].map(|x| {
        let w = net.weights(&[4, 4]);
        net.node(op("MatMul"), &[x, w])
    });
    let turned = net.node(op("Transpose").attribute("perm", vec![0i64, 2, 1]), &[projections[1]]);
    let scores = net.node(op("MatMul"), &[projections[0], turned]);
    let attended = net.node(op("Softmax"), &[scores]);
    let attended = net.node(op("MatMul"), &[attended, projections[2]]);
    net.output(attended);
    let parts: Vec<_> = ["q", "k", "v"].map(|name| net.input(name, &[1, 2, 5, 4])).into();
    let turned = net.node(op("Transpose").attribute("perm", vec![0i64, 1, 3, 2]), &[parts[1]]);
    let scores = net.node(op("MatMul"), &[parts[0], turned]);
    let attended = net.node(op("Softmax"), &[scores]);
    let attended = net.node(op("MatMul"), &[attended, parts[2]]);
    net.output(attended);
    let (shifted, factor) = (net.node(op("Neg"), &[rows]), net.weights(&[4]));
    let scaled = net.node(op("Mul"), &[shifted, factor]);
    net.output(scaled);
    let flat = net.constant(Tensor::vector(vec![1i64, 4, 64]));
    let joined = net.node(op("Reshape"), &[x, flat]);
    let joined = net.node(op("Transpose").attribute("perm", vec![0i64, 2, 1]), &[joined]);
    net.output(joined);
    let gelu = net.node(Definition { domain: "com.microsoft".to_owned(), ..op("QuickGelu") }, &[x]);
    net.output(gelu);
    let (half, one) = (net.constant(Tensor::vector(vec![0.5f32])), net.constant(Tensor::vector(vec![1f32])));
    let root = net.constant(Tensor::vector(vec![2f32.sqrt()]));
    let scaled = net.node(op("Div"), &[x, root]);
    let erf = net.node(op("Erf"), &[scaled]);
    let gate = net.node(op("Add"), &[erf, one]);
    let product = net.node(op("Mul"), &[x, gate]);
    let gelu = net.node(op("Mul"), &[product, half]);
    net.output(gelu);
    let (scale, zero) = (net.constant(Tensor::scalar(0.01f32)), net.constant(Tensor::scalar(128u8)));
    let q = net.node(op("QuantizeLinear"), &[x, scale, zero]);
    let floats = net.node(op("DequantizeLinear"), &[q, scale, zero]);
    let w = net.constant(Tensor::new([4, 4, 1, 1], (0..16).map(|i| (i * 13 - 90) as i8).collect()).unwrap());
    let w = net.node(op("DequantizeLinear"), &[w, scale]);
    let of_integers = net.node(op("Conv"), &[floats, w]);
    net.output(of_integers);
    let dynamic = quantized::dynamic(&mut net, rows, 4);
    net.output(dynamic);
    let mask = net.constant(Tensor::vector(vec![0b1010_0111u8, 0b0110_1001]));
    let table: Vec<u8> = (0..2048).map(|i| ((i / 8) >> (i % 8) & 1) as u8).collect();
    let table = net.constant(Tensor::new([256, 8], table).unwrap());
    let places = net.node(op("Cast").attribute("to", 6i64), &[mask]);
    let bits = net.node(op("Gather"), &[table, places]);
    let bits = net.node(op("Cast").attribute("to", 6i64), &[bits]);
    let (all, axis) = (net.constant(Tensor::vector(vec![-1i64])), net.constant(Tensor::scalar(0i32)));
    let bits = net.node(op("Reshape"), &[bits, all]);
    let sums = net.node(op("CumSum"), &[bits, axis]);
    let index = net.node(op("Mul"), &[sums, bits]);
    let values = net.weights(&[10]);
    let flat = net.node(op("Gather"), &[values, index]);
    let shape = net.constant(Tensor::vector(vec![4i64, 4, 1, 1]));
    let unpacked = net.node(op("Reshape"), &[flat, shape]);
    let of_packed = net.node(op("Conv"), &[x, unpacked]);
    net.output(of_packed);
    let table = net.constant(Tensor::new([5, 4], (0..20).map(|i| (i * 11 - 90) as i8).collect()).unwrap());
    let of_rows = net.constant(Tensor::vector(vec![0.01f32, 0.02, 0.03, 0.04, 0.05]));
    let table = net.node(op("DequantizeLinear").attribute("axis", 0i64), &[table, of_rows]);
    let places = net.node(op("Cast").attribute("to", 7i64), &[rows]);
    let taken = net.node(op("Gather"), &[table, places]);
    net.output(taken);
    let (normal, turned) = (language::normalization(&mut net, x), language::rotary(&mut net));
    net.output(normal);
    net.output(turned);
    net.finish()
}

#[test]
fn a_fault_in_any_rewrite_is_found_and_named() {
    let (model, inputs) = rewritable();
    let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let tolerance = Tolerance { rtol: 1e-4, atol: 1e-5, floor: 0.0, amplified: 0.0 };
    let device = Device::cpu();
    assert!(validate(&model, &device, &Options::new(), &given, tolerance).unwrap().passed());
    for rewrite in REWRITES {
        // What is dead has no value to be wrong.
        if rewrite.name == "drop_dead" {
            continue;
        }
        let options = Options { fault: Some(Fault::Rewrite(rewrite.name)), ..Options::new() };
        // The value of the node that the fault was planted in, under the name that it has in the end.
        let plan = model.plan(&device, &options).unwrap();
        let faulty = plan.graph().nodes.iter().find(|node| node.operator.downcast::<OffByOne>().is_some());
        let mut faulty = faulty.expect("the fault is in the graph").outputs[0].expect("an output");
        // What a rewrite has made has no counterpart: what is computed of it has.
        while model.graph().find(&plan.graph().value(faulty).name).is_none() {
            let reader = plan.graph().nodes.iter().find(|node| node.inputs.contains(&Some(faulty)));
            faulty = reader.expect("a reader of what has no counterpart").outputs[0].expect("an output");
        }
        let found = validate(&model, &device, &options, &given, tolerance).unwrap();
        let first = found.first_failure().map(|f| f.name.clone());
        assert_eq!(first.as_deref(), Some(plan.graph().value(faulty).name.as_str()), "a fault in {}", rewrite.name);
    }
}

/// What is too large for a device is divided, on that device alone.
#[test]
fn a_fault_in_a_division_is_found_and_named() {
    if device(DeviceClass::Software).is_none() {
        return;
    }
    let device = small(Some(rows::TIGHT));
    let tolerance = Tolerance { rtol: 1e-4, atol: 1e-5, floor: 0.0, amplified: 0.0 };
    for (model, inputs) in rows::divided() {
        let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (*name, tensor)).collect();
        assert!(validate(&model, &device, &Options::new(), &given, tolerance).unwrap().passed());
        let plan = model.plan(&device, &Options::new()).unwrap();
        let mut faults = vec![Fault::Rewrite("divide")];
        let shader = "shape/gather_part.wgsl";
        faults.extend(
            plan.schedule().unwrap().kernels.iter().any(|k| k.shader == shader).then_some(Fault::Shader(shader)),
        );
        for fault in faults {
            let options = Options { fault: Some(fault), ..Options::new() };
            let found = validate(&model, &device, &options, &given, tolerance).unwrap();
            // Parts have no counterpart; what is made of them has.
            let first = found.first_failure().map(|f| f.name.as_str());
            assert_eq!(first, Some(rows::DIVIDED), "a fault in {fault:?}");
        }
    }
}
