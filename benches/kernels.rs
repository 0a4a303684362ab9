//! One operator at a time, on each device: handing the input over, the kernel, and reading the result.
//!
//! `cargo bench -p rimlight-benches --bench kernels -- conv` measures those whose name has `conv` in it.

use criterion::{Criterion, criterion_group, criterion_main};
use rimlight::graph::Definition;
use rimlight::{Device, ElementType, Graph, Model, Tensor};
use rimlight_benches::{devices, numbers, run};

/// An attribute.
enum Is {
    One(i64),
    All(&'static [i64]),
    Text(&'static str),
}

/// An input beside the first, which comes with each run.
enum Has {
    /// Another that comes with each run.
    Run(&'static [usize]),
    /// Weights.
    Weights(&'static [usize]),
    /// These numbers.
    Floats(&'static [f32]),
    Nothing,
}

use Has::{Floats, Nothing, Run, Weights};
use Is::{All, One, Text};

/// A case: its name, the operator, its attributes, the shape of its first input, and the other inputs.
type Case = (&'static str, &'static str, &'static [(&'static str, Is)], &'static [usize], &'static [Has]);

/// Layers that are measured in floats and in integers: a name, the operator, its attributes, and the shapes of input and weights.
type Pair = (&'static str, &'static str, &'static [(&'static str, Is)], &'static [usize], &'static [usize]);

const SAME: (&str, Is) = ("pads", All(&[1, 1, 1, 1]));

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("conv-3x3", "Conv", &[SAME], &[1, 64, 56, 56], &[Weights(&[64, 64, 3, 3]), Weights(&[64])]),
    ("conv-1x1", "Conv", &[], &[1, 256, 28, 28], &[Weights(&[256, 256, 1, 1]), Weights(&[256])]),
    ("conv-depthwise", "Conv", &[SAME, ("group", One(96))], &[1, 96, 56, 56], &[Weights(&[96, 1, 3, 3]), Weights(&[96])]),
    ("conv-transpose-2x2", "ConvTranspose", &[("strides", All(&[2, 2]))], &[1, 24, 80, 80], &[Weights(&[24, 24, 2, 2])]),
    ("matmul-square", "MatMul", &[], &[256, 256], &[Weights(&[256, 256])]),
    ("matmul-vector", "MatMul", &[], &[1, 1280], &[Weights(&[1280, 1000])]),
    ("matmul-batch", "MatMul", &[], &[12, 128, 64], &[Run(&[12, 64, 128])]),
    ("max-pool-3x3", "MaxPool", &[("kernel_shape", All(&[3, 3])), ("strides", All(&[2, 2]))], &[1, 64, 112, 112], &[]),
    ("softmax", "Softmax", &[("axis", One(-1))], &[256, 1000], &[]),
    ("layer-norm", "LayerNormalization", &[], &[256, 384], &[Weights(&[384]), Weights(&[384])]),
    ("reduce-mean", "ReduceMean", &[("axes", All(&[-1]))], &[1024, 384], &[]),
    ("add", "Add", &[], &[1, 64, 112, 112], &[Run(&[1, 64, 112, 112])]),
    ("add-channels", "Add", &[], &[1, 64, 112, 112], &[Weights(&[64, 1, 1])]),
    ("tanh", "Tanh", &[], &[1, 64, 112, 112], &[]),
    ("resize-nearest", "Resize", &[("mode", Text("nearest"))], &[1, 64, 52, 52], &[Nothing, Floats(&[1.0, 1.0, 2.0, 2.0])]),
    ("resize-linear", "Resize", &[("mode", Text("linear"))], &[1, 64, 52, 52], &[Nothing, Floats(&[1.0, 1.0, 2.0, 2.0])]),
    ("transpose", "Transpose", &[("perm", All(&[0, 2, 3, 1]))], &[1, 64, 112, 112], &[]),
];

/// What is measured in floats and in 8-bit integers, `-f32` and `-int8` behind the name: four layers in a row, so that what
/// goes in and out hardly counts.
#[rustfmt::skip]
const PAIRS: &[Pair] = &[
    ("four-conv-1x1-64", "Conv", &[], &[1, 64, 56, 56], &[64, 64, 1, 1]),
    ("four-conv-1x1-256", "Conv", &[], &[1, 256, 28, 28], &[256, 256, 1, 1]),
    ("four-conv-1x1-512", "Conv", &[], &[1, 512, 7, 7], &[512, 512, 1, 1]),
    ("four-conv-3x3-64", "Conv", &[SAME], &[1, 64, 56, 56], &[64, 64, 3, 3]),
    ("four-conv-3x3-128", "Conv", &[SAME], &[1, 128, 28, 28], &[128, 128, 3, 3]),
    ("four-conv-3x3-256", "Conv", &[SAME], &[1, 256, 14, 14], &[256, 256, 3, 3]),
    ("four-depthwise-96", "Conv", &[SAME, ("group", One(96))], &[1, 96, 56, 56], &[96, 1, 3, 3]),
    ("four-matmul-128x384", "MatMul", &[], &[128, 384], &[384, 384]),
    ("four-matmul-512", "MatMul", &[], &[512, 512], &[512, 512]),
    ("four-matmul-vector", "MatMul", &[], &[1, 1024], &[1024, 1024]),
];

/// A model of one node, and what is given to each of its runs.
fn model(&(name, operator, attributes, shape, others): &Case) -> (Model, Vec<(String, Tensor)>) {
    let mut graph = Graph::builder();
    let mut definition = Definition::new(operator);
    // The axes of reductions were an attribute then.
    definition.opset = if operator.starts_with("Reduce") { 17 } else { definition.opset };
    definition = with(definition, attributes);
    let mut given = vec![("x0".to_owned(), numbers(shape))];
    let mut inputs = vec![Some(graph.input("x0", ElementType::F32, shape.to_vec()))];
    for (i, other) in others.iter().enumerate() {
        inputs.push(match *other {
            Run(shape) => {
                let name = format!("x{}", i + 1);
                given.push((name.clone(), numbers(shape)));
                Some(graph.input(&name, ElementType::F32, shape.to_vec()))
            }
            Weights(shape) => Some(graph.constant(&format!("w{i}"), numbers(shape))),
            Floats(values) => Some(graph.constant(&format!("w{i}"), Tensor::vector(values.to_vec()))),
            Nothing => None,
        });
    }
    let operator = rimlight::ops::operator(&definition).unwrap_or_else(|e| panic!("{name}: {e}"));
    let y = graph.operator(operator, &inputs, 1)[0];
    graph.output("y", y);
    (Model::from_graph(graph.build().unwrap_or_else(|e| panic!("{name}: {e}"))), given)
}

/// The attributes of a node.
fn with(mut definition: Definition, attributes: &[(&str, Is)]) -> Definition {
    for (name, value) in attributes {
        definition = match *value {
            One(value) => definition.attribute(*name, value),
            All(values) => definition.attribute(*name, values.to_vec()),
            Text(text) => definition.attribute(*name, text),
        };
    }
    definition
}

/// Four layers of one of the pairs, in integers or in floats.
fn layers(pair: &Pair, integers: bool) -> (Model, Vec<(String, Tensor)>) {
    let &(name, operator, attributes, shape, weights) = pair;
    let mut graph = Graph::builder();
    let bytes = |shape: &[usize]| {
        let count = shape.iter().product::<usize>();
        Tensor::new(shape, (0..count).map(|i| ((i * 37 % 251) as u8).cast_signed()).collect()).expect("a tensor")
    };
    let scale = graph.constant("scale", Tensor::scalar(0.02f32));
    let step = graph.constant("step", Tensor::scalar(1.0 / 1024.0f32));
    let zero = graph.constant("zero", Tensor::scalar(3i8));
    let given = if integers { bytes(shape) } else { numbers(shape) };
    let mut x = graph.input("x0", given.element_type(), shape.to_vec());
    for i in 0..4 {
        let node = |graph: &mut rimlight::GraphBuilder, d: Definition, inputs: &[_]| {
            graph.node(&d, inputs).unwrap_or_else(|e| panic!("{name}: {e}"))
        };
        let definition = with(Definition::new(operator), attributes);
        if !integers {
            let w = graph.constant(&format!("w{i}"), numbers(weights));
            x = node(&mut graph, definition, &[x, w]);
            continue;
        }
        let w = graph.constant(&format!("w{i}"), bytes(weights));
        let w = node(&mut graph, Definition::new("DequantizeLinear"), &[w, step]);
        let floats = node(&mut graph, Definition::new("DequantizeLinear"), &[x, scale, zero]);
        let y = node(&mut graph, definition, &[floats, w]);
        x = node(&mut graph, Definition::new("QuantizeLinear"), &[y, scale, zero]);
    }
    graph.output("y", x);
    (Model::from_graph(graph.build().unwrap_or_else(|e| panic!("{name}: {e}"))), vec![("x0".to_owned(), given)])
}

/// Products whose weights are the same matrix in 32, 8 and 4 bits, the latter with a scale for each 32 of a column: their
/// names, bits (0: floats), rows, and the matrix's rows and columns. One row is bound by reading the matrix.
const WEIGHTS: &[(&str, usize, [usize; 3])] = &[
    ("weights-f32-1-row", 0, [1, 2048, 4096]),
    ("weights-int8-1-row", 8, [1, 2048, 4096]),
    ("weights-int4-1-row", 4, [1, 2048, 4096]),
    ("weights-f32-64-rows", 0, [64, 1024, 1024]),
    ("weights-int8-64-rows", 8, [64, 1024, 1024]),
    ("weights-int4-64-rows", 4, [64, 1024, 1024]),
];

/// A model of one product with such weights.
fn product(&(name, bits, [m, k, n]): &(&str, usize, [usize; 3])) -> (Model, Vec<(String, Tensor)>) {
    let mut graph = Graph::builder();
    let mut operands = vec![Some(graph.input("x0", ElementType::F32, [m, k]))];
    let mut definition = Definition::new("MatMul");
    if bits == 0 {
        operands.push(Some(graph.constant("w", numbers(&[k, n]))));
    } else {
        definition = Definition::new("MatMulNBits").attribute("K", k as i64).attribute("N", n as i64);
        definition = definition.attribute("bits", bits as i64).attribute("block_size", 32i64);
        (definition.domain, definition.opset) = ("com.microsoft".to_owned(), 1);
        let (blocks, blob) = (k / 32, 32 * bits / 8);
        let bytes = (0..n * blocks * blob).map(|i| (i.wrapping_mul(2_654_435_761) >> 9) as u8).collect();
        let scales = vec![0.01f32; n * blocks];
        for tensor in [Tensor::new([n, blocks, blob], bytes), Tensor::new([n, blocks], scales)] {
            let tensor = tensor.unwrap_or_else(|e| panic!("{name}: {e}"));
            operands.push(Some(graph.constant(&format!("w{}", operands.len()), tensor)));
        }
    }
    let operator = rimlight::ops::operator(&definition).unwrap_or_else(|e| panic!("{name}: {e}"));
    let y = graph.operator(operator, &operands, 1)[0];
    graph.output("y", y);
    let model = Model::from_graph(graph.build().unwrap_or_else(|e| panic!("{name}: {e}")));
    (model, vec![("x0".to_owned(), numbers(&[m, k]))])
}

fn on(criterion: &mut Criterion, group: &str, device: &Device) {
    let mut group = criterion.benchmark_group(group);
    for weights in WEIGHTS {
        let (name, outputs) = (weights.0, ["y".to_owned()]);
        let mut prepared = None;
        group.bench_function(name, |bencher| {
            let (session, inputs) = prepared.get_or_insert_with(|| {
                let (model, inputs) = product(weights);
                (model.session(device).unwrap_or_else(|e| panic!("{name}: {e}")), inputs)
            });
            bencher.iter(|| run(session, inputs, &outputs));
        });
    }
    let pairs = PAIRS.iter().flat_map(|pair| {
        [("f32", false), ("int8", true)].map(|(kind, integers)| (format!("{}-{kind}", pair.0), layers(pair, integers)))
    });
    let cases = CASES.iter().map(|case| (case.0.to_owned(), model(case))).chain(pairs);
    for (name, (model, inputs)) in cases {
        let outputs = ["y".to_owned()];
        // Nothing is made for cases that are filtered out.
        let mut session = None;
        group.bench_function(&name, |bencher| {
            let session =
                session.get_or_insert_with(|| model.session(device).unwrap_or_else(|e| panic!("{name}: {e}")));
            bencher.iter(|| run(session, &inputs, &outputs));
        });
    }
    group.finish();
}

fn kernels(criterion: &mut Criterion) {
    for (name, device) in devices() {
        on(criterion, &format!("kernels/{name}"), &device);
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
