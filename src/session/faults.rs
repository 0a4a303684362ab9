//! Faults planted on purpose, one in each shader and one in each rewrite: `validate` must find every one of them and name
//! the first value that is wrong.

use std::collections::BTreeSet;
use std::sync::Arc;

mod language;
mod quantized;
mod signal;

use super::{Backend, Device, DeviceOptions, Options, Tolerance, validate};
use crate::graph::{
    Context, Definition, EvaluateError, Fact, Graph, Inputs, NodeError, Operator, ShapeError, Value, ValueId,
};
use crate::kernel::DeviceClass;
use crate::model::Model;
use crate::optimize::{REWRITES, Rewrites, optimize_watched};
use crate::plan::{Schedule, Step};
use crate::tensor::{ElementType, Tensor};

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
        if fault == Some(Fault::Rewrite(name)) {
            let changed =
                changed(&before, graph).unwrap_or_else(|| panic!("{name} changed no node of the test's graph"));
            let node = &mut graph.nodes[changed];
            node.operator = Arc::new(OffByOne(Arc::clone(&node.operator)));
        }
        before = graph.clone();
    })
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

/// Values between -1 and 1 without a pattern that a fault could hide behind.
fn ramp(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    Tensor::new(shape.to_vec(), (0..n).map(|i| ((i * 37 + 11) % 101) as f32 / 50.5 - 1.0).collect()).unwrap()
}

struct Net {
    graph: crate::GraphBuilder,
    inputs: Vec<(&'static str, Tensor)>,
    constants: usize,
}

impl Net {
    fn new() -> Self {
        Self { graph: Graph::builder(), inputs: vec![], constants: 0 }
    }

    fn input(&mut self, name: &'static str, shape: &[usize]) -> ValueId {
        self.inputs.push((name, ramp(shape)));
        self.graph.input(name, ElementType::F32, shape.to_vec())
    }

    fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.constants += 1;
        self.graph.constant(&format!("c{}", self.constants), tensor)
    }

    fn weights(&mut self, shape: &[usize]) -> ValueId {
        self.constant(ramp(shape))
    }

    fn node(&mut self, definition: Definition, inputs: &[ValueId]) -> ValueId {
        self.graph.node(&definition, inputs).unwrap()
    }

    /// A pool that gives the places of its maxima too.
    fn pool_with_places(&mut self, x: ValueId) {
        let definition = Definition { outputs: 2, ..op("MaxPool").attribute("kernel_shape", [2, 2]) };
        for value in self.graph.operator(crate::ops::operator(&definition).unwrap(), &[Some(x)], 2) {
            self.output(value);
        }
    }

    fn output(&mut self, value: ValueId) {
        let name = format!("out{}", self.constants);
        self.constants += 1;
        self.graph.output(&name, value);
    }

    fn finish(self) -> (Model, Vec<(&'static str, Tensor)>) {
        (Model::from_graph(self.graph.build().unwrap()), self.inputs)
    }
}

fn op(name: &str) -> Definition {
    Definition::new(name)
}

/// Convolutions and pools of every kind.
fn pictures() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let x = net.input("x", &[1, 3, 16, 16]);
    let padded = |group: i64| op("Conv").attribute("pads", [1, 1, 1, 1]).attribute("group", group);
    let (w, v, d) = (net.weights(&[16, 3, 3, 3]), net.weights(&[16, 16, 3, 3]), net.weights(&[16, 1, 3, 3]));
    let (p, g, t) = (net.weights(&[24, 16, 1, 1]), net.weights(&[16, 8, 3, 3]), net.weights(&[16, 8, 2, 2]));
    let a = net.node(padded(1), &[x, w]);
    let a = net.node(padded(1), &[a, v]);
    let deep = net.node(padded(16), &[a, d]);
    let wide = net.node(op("Conv"), &[deep, p]);
    let grouped = net.node(padded(2), &[deep, g]);
    let up = net.node(op("ConvTranspose").attribute("strides", [2, 2]), &[grouped, t]);
    let most = net.node(op("MaxPool").attribute("kernel_shape", [2, 2]).attribute("strides", [2, 2]), &[up]);
    let dilated = op("Conv").attribute("pads", [2, 2, 2, 2]).attribute("dilations", [2, 2]);
    let broad = net.node(dilated, &[deep, v]);
    let mean = net.node(op("AveragePool").attribute("kernel_shape", [3, 3]).attribute("pads", [1, 1, 1, 1]), &[most]);
    let all = net.node(op("GlobalAveragePool"), &[mean]);
    let high = net.node(op("GlobalMaxPool"), &[wide]);
    // With nothing around it that wants another layout than its own.
    let (plane, e) = (net.input("plane", &[1, 3, 16, 16]), net.weights(&[3, 1, 3, 3]));
    let flat = net.node(padded(3), &[plane, e]);
    for value in [wide, broad, all, high, flat] {
        net.output(value);
    }
    net.finish()
}

/// Kernels for what is rare: one dimension, channels that are no multiple of four, odd widths.
fn odd_pictures() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let x = net.input("x", &[1, 5, 7, 9]);
    let s = net.input("s", &[1, 4, 30]);
    let (w, v, l) = (net.weights(&[6, 5, 3, 3]), net.weights(&[6, 2, 3, 3]), net.weights(&[5, 4, 3]));
    let a = net.node(op("Conv"), &[x, w]);
    let b = net.node(op("Conv").attribute("group", 3i64), &[a, v]);
    let line = net.node(op("Conv"), &[s, l]);
    let line = net.node(op("MaxPool").attribute("kernel_shape", [3]), &[line]);
    let mean = net.node(op("GlobalAveragePool"), &[a]);
    let sizes = net.constant(Tensor::vector(vec![1f32, 1.0, 2.0, 2.0]));
    let none = net.constant(Tensor::vector(Vec::<f32>::new()));
    let near = op("Resize").attribute("mode", "nearest").attribute("coordinate_transformation_mode", "asymmetric");
    let near = net.node(near.attribute("nearest_mode", "floor"), &[a, none, sizes]);
    let smooth = net.node(op("Resize").attribute("mode", "linear"), &[b, none, sizes]);
    for value in [line, mean, near, smooth] {
        net.output(value);
    }
    net.finish()
}

/// Products of matrices of every size.
fn products() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let x = net.input("x", &[1, 64]);
    let m = net.input("m", &[64, 64]);
    let b = net.input("b", &[2, 5, 7]);
    let c = net.input("c", &[2, 7, 3]);
    let (w, v) = (net.weights(&[64, 32]), net.weights(&[64, 48]));
    let row = net.node(op("MatMul"), &[x, w]);
    let square = net.node(op("MatMul"), &[m, v]);
    let large = net.node(op("MatMul"), &[m, m]);
    let batch = net.node(op("MatMul"), &[b, c]);
    let gemm = net.node(op("Gemm").attribute("transB", 1i64), &[m, m]);
    for value in [row, square, large, batch, gemm] {
        net.output(value);
    }
    net.finish()
}

/// Element-wise operators, shapes and reductions.
fn elements() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let x = net.input("x", &[2, 6, 5]);
    let y = net.input("y", &[6, 1]);
    let sum = net.node(op("Add"), &[x, y]);
    let root = net.node(op("Softsign"), &[sum]);
    let turned = net.node(op("Transpose").attribute("perm", [2, 0, 1]), &[root]);
    let turned2 = net.node(op("Transpose").attribute("perm", [0, 2, 1]), &[root]);
    let joined = net.node(op("Concat").attribute("axis", 2i64), &[x, sum]);
    let whole = net.node(op("Concat").attribute("axis", 0i64), &[joined, joined]);
    let one = net.constant(Tensor::vector(vec![1i64]));
    let three = net.constant(Tensor::vector(vec![3i64]));
    let part = net.node(op("Slice"), &[x, one, three, one]);
    let pads = net.constant(Tensor::vector(vec![0i64, 1, 2, 0, 1, 0]));
    let padded = net.node(op("Pad").attribute("mode", "reflect"), &[x, pads]);
    for value in [turned, turned2, whole, part, padded] {
        net.output(value);
    }
    net.finish()
}

/// What works along rows: softmax, reductions, normalizations, attention, fetching.
fn rows() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let x = net.input("x", &[6, 64]);
    let odd = net.input("odd", &[3, 7, 5]);
    let long = net.input("long", &[2, 3000]);
    let q = net.input("q", &[1, 2, 8, 16]);
    let cube = net.input("cube", &[1, 16, 8, 12]);
    let solid = net.input("solid", &[1, 2, 5, 6, 7]);
    let places = net.constant(Tensor::vector(vec![2i64, 0, 5, 2]));
    let axis = net.constant(Tensor::vector(vec![1i64]));
    let picks = net.input("picks", &[4]);
    // Element type 6 is a 32-bit integer: indices that are known at run time only.
    let picks = net.node(op("Cast").attribute("to", 6i64), &[picks]);
    let (wide, narrow) = (net.weights(&[64]), net.weights(&[5]));
    // 22 is a 4-bit integer, which becomes a float by a table.
    let four = net.node(op("Cast").attribute("to", 22i64), &[odd]);
    let outputs = [
        net.node(op("Cast").attribute("to", 1i64), &[four]),
        net.node(op("LayerNormalization"), &[x, wide]),
        net.node(op("LayerNormalization"), &[odd, narrow]),
        net.node(op("Softmax"), &[x]),
        net.node(op("Softmax").attribute("axis", 1i64), &[odd]),
        net.node(op("Softmax"), &[odd]),
        net.node(op("LogSoftmax"), &[long]),
        net.node(op("ReduceMean"), &[x, axis]),
        net.node(op("ReduceMax"), &[long, axis]),
        net.node(op("ReduceSumSquare"), &[odd, axis]),
        net.node(op("ArgMax").attribute("axis", 1i64), &[x]),
        net.node(op("Gather").attribute("axis", 0i64), &[x, places]),
        net.node(op("Gather").attribute("axis", 0i64), &[odd, picks]),
        net.node(op("Attention"), &[q, q, q]),
        net.node(op("Transpose").attribute("perm", [0, 2, 3, 1]), &[cube]),
        net.node(op("MaxPool").attribute("kernel_shape", [2, 2, 2]), &[solid]),
    ];
    for value in outputs {
        net.output(value);
    }
    net.finish()
}

/// Normalizations across channels, norms of windows, places and regions.
fn across() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let x = net.input("x", &[2, 6, 5, 7]);
    let theta = net.input("theta", &[2, 2, 3]);
    let size = net.constant(Tensor::vector(vec![2i64, 6, 3, 4]));
    let grid = net.node(op("AffineGrid"), &[theta, size]);
    let (weights, moves) = (net.weights(&[4, 6, 2, 2]), net.input("moves", &[2, 8, 4, 6]));
    let (blocks, picture) = (net.input("blocks", &[1, 8, 1]), net.constant(Tensor::vector(vec![2i64, 2])));
    let lengths = net.constant(Tensor::vector(vec![2i64, 1, 0, 2, 1, 2]));
    let (most, places) =
        (net.input("most", &[1, 1, 2, 2]), net.constant(Tensor::new([1, 1, 2, 2], vec![5i64, 7, 8, 15]).unwrap()));
    let regions = net.constant(Tensor::new([1, 5], vec![1f32, 0.0, 1.0, 4.0, 4.0]).unwrap());
    let outputs = [
        net.node(op("LRN").attribute("size", 3i64), &[x]),
        net.node(op("MeanVarianceNormalization"), &[x]),
        net.node(op("Hardmax").attribute("axis", 2i64), &[x]),
        net.node(op("LpPool").attribute("kernel_shape", [2, 2]), &[x]),
        net.node(op("GridSample"), &[x, grid]),
        net.node(op("MaxRoiPool").attribute("pooled_shape", [2, 2]), &[x, regions]),
        net.node(op("DeformConv"), &[x, weights, moves]),
        net.node(op("Col2Im"), &[blocks, picture, picture]),
        net.node(op("ReverseSequence"), &[x, lengths]),
        net.node(op("MaxUnpool").attribute("kernel_shape", [2, 2]).attribute("strides", [2, 2]), &[most, places]),
    ];
    for value in outputs {
        net.output(value);
    }
    net.pool_with_places(x);
    net.finish()
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
    for class in [DeviceClass::Software, DeviceClass::Mali, DeviceClass::Nvidia] {
        let Some(device) = device(class) else { return };
        if device.facts().is_some_and(|facts| facts.subgroup_size.is_none()) {
            missing.retain(|path| !path.contains("/subgroup"));
        }
        for (model, inputs) in [
            pictures(),
            odd_pictures(),
            products(),
            elements(),
            rows(),
            across(),
            signal::indices(),
            signal::signals(),
            signal::draws(),
            language::language(),
            quantized::quantized(),
        ] {
            let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (*name, tensor)).collect();
            let plan = model.plan(&device, &Options::new()).unwrap();
            let schedule = plan.schedule().unwrap();
            let tolerance = Tolerance { rtol: 1e-4, atol: 1e-5, floor: 0.0, amplified: 0.0 };
            let sound = validate(&model, &device, &Options::new(), &given, tolerance).unwrap();
            assert!(sound.passed(), "{class:?}: {:?}", sound.first_failure());
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
    let gelu = net.node(Definition { domain: "com.microsoft".to_owned(), ..op("QuickGelu") }, &[x]);
    net.output(gelu);
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
        let faulty = faulty.expect("the fault is in the graph").outputs[0].expect("an output");
        let found = validate(&model, &device, &options, &given, tolerance).unwrap();
        let first = found.first_failure().map(|f| f.name.clone());
        assert_eq!(first.as_deref(), Some(plan.graph().value(faulty).name.as_str()), "a fault in {}", rewrite.name);
    }
}
