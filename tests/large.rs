//! Constants that are larger than what a device binds at once: they lie in parts, each with dispatches of its own, or the
//! error says what does not fit and where. The device's limit is small here, so that nothing else need be large.

use std::sync::atomic::Ordering;

use rimlight::graph::{Definition, ValueId};
use rimlight::{Device, Graph, GraphBuilder, Model, Options, Placement, PlanError, Precision, Tensor};
use rimlight::{Tolerance, validate};

/// Bytes that one binding covers, and that one buffer has.
const BINDING: u64 = 16 << 10;

/// As many 32-bit numbers.
const NUMBERS: usize = 4096;

fn filled(shape: &[usize], scale: f32) -> Tensor {
    let n = shape.iter().product();
    Tensor::new(shape, (0..n).map(|i| (((i * 37 + 11) % 101) as f32 / 50.5 - 1.0) * scale).collect()).unwrap()
}

/// Bytes, the odd ones of them.
fn bytes(shape: &[usize]) -> Tensor {
    let n = shape.iter().product();
    Tensor::new(shape, (0..n).map(|i| ((i * 37 + 11) % 251) as u8).collect()).unwrap()
}

/// A model in the making, with what it is given.
struct Net {
    graph: GraphBuilder,
    inputs: Vec<(String, Tensor)>,
    constants: usize,
}

impl Net {
    fn new() -> Self {
        Self { graph: Graph::builder(), inputs: vec![], constants: 0 }
    }

    fn input(&mut self, tensor: Tensor) -> ValueId {
        let name = format!("x{}", self.inputs.len());
        let id = self.graph.input(&name, tensor.element_type(), tensor.shape().to_vec());
        self.inputs.push((name, tensor));
        id
    }

    fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.constants += 1;
        self.graph.constant(&format!("c{}", self.constants), tensor)
    }

    fn weights(&mut self, shape: &[usize]) -> ValueId {
        self.constant(filled(shape, 0.3))
    }

    fn node(&mut self, definition: &Definition, inputs: &[ValueId]) -> ValueId {
        self.graph.node(definition, inputs).unwrap()
    }

    /// Indices along an axis of so many elements: of both ends, of the middle, from the back.
    fn indices(&mut self, size: usize) -> ValueId {
        let size = size as i64;
        let picks = [0, size - 1, -1, -size, size / 2, size / 3, size / 2 - 1, -(size / 3) - 1, size * 2 / 3];
        self.input(Tensor::new([3, 3], picks.map(|at| at.clamp(-size, size - 1)).to_vec()).unwrap())
    }

    fn finish(mut self, y: ValueId) -> (Model, Vec<(String, Tensor)>) {
        self.graph.output("y", y);
        (Model::from_graph(self.graph.build().unwrap()), self.inputs)
    }
}

/// Makes a model, and gives its result.
type Make = dyn Fn(&mut Net) -> ValueId;

fn op(name: &str) -> Definition {
    Definition::new(name)
}

/// Runs a model in both precisions, compares every value with the references, and gives how many nodes of an operator
/// the plan in 32 bits has.
fn check(device: &Device, what: &str, (model, inputs): (Model, Vec<(String, Tensor)>), operator: &str) -> usize {
    let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut nodes = 0;
    for precision in [Precision::F16, Precision::F32] {
        let options = Options::new().placement(Placement::GpuOnly).precision(precision);
        let found = validate(&model, device, &options, &given, Tolerance::of(precision));
        let found = found.unwrap_or_else(|error| panic!("{what} in {precision:?}: {error}"));
        assert!(found.passed(), "{what} in {precision:?}: {:?}", found.first_failure());
        let plan = model.plan_for(device, &options, &given).unwrap();
        nodes = plan.graph().nodes.iter().filter(|node| node.operator.name() == operator).count();
    }
    nodes
}

#[test]
fn an_embedding_lies_in_parts() {
    let Some((device, errors)) = rimlight_tests::small_device(BINDING) else { return };
    for inner in [1, 3, 4, 7, 64] {
        let rows = NUMBERS / inner;
        for (rows, parts) in [(rows - 1, 0), (rows, 0), (rows + 1, 2), (2 * rows + rows / 2, 3)] {
            let mut net = Net::new();
            let (table, at) = (net.constant(filled(&[rows, inner], 1.0)), net.indices(rows));
            let y = net.node(&op("Gather"), &[table, at]);
            let found = check(&device, &format!("{rows} x {inner}"), net.finish(y), "GatherPart");
            // Of rows in whole units, as many parts as it takes; of others perhaps one more.
            let fits = if inner % 4 == 0 { found == parts } else { (parts..parts * 2 + 1).contains(&found) };
            assert!(fits, "{rows} x {inner}: {found} parts");
        }
    }
    // Along another axis, and of bytes, which are four times as many.
    for (shape, axis) in [([3, 2000, 4], 1i64), ([2, 3, 1001], -1)] {
        let mut net = Net::new();
        let size = shape[axis.rem_euclid(3) as usize];
        let (table, at) = (net.constant(filled(&shape, 1.0)), net.indices(size));
        let y = net.node(&op("Gather").attribute("axis", axis), &[table, at]);
        assert!(check(&device, &format!("{shape:?} along {axis}"), net.finish(y), "GatherPart") > 1);
    }
    let mut net = Net::new();
    let (table, at) = (net.constant(bytes(&[5000, 8])), net.indices(5000));
    let y = net.node(&op("Gather"), &[table, at]);
    assert_eq!(check(&device, "bytes", net.finish(y), "GatherPart"), 3);
    assert_eq!(errors.load(Ordering::Relaxed), 0);
}

#[test]
fn products_lie_in_parts() {
    let Some((device, errors)) = rimlight_tests::small_device(BINDING) else { return };
    for (m, k) in [(1, 32), (5, 32), (9, 33), (3, 129), (2, 1000)] {
        let n = NUMBERS / k;
        for (n, divided) in [(n - 1, false), (n, false), (n + 1, true), (3 * n + 1, true)] {
            for (transposed, bias) in [(false, false), (false, true), (true, true)] {
                let mut net = Net::new();
                let x = net.input(filled(&[m, k], 1.0));
                let w = net.weights(&if transposed { [n, k] } else { [k, n] });
                let y = if transposed || bias {
                    let c = net.weights(&[n]);
                    net.node(&op("Gemm").attribute("transB", i64::from(transposed)), &[x, w, c])
                } else {
                    net.node(&op("MatMul"), &[x, w])
                };
                let y = net.node(&op("Tanh"), &[y]);
                let found = check(&device, &format!("{m} x {k} x {n} {transposed}"), net.finish(y), "Concat");
                // Just below the limit, what lies beside may take what is left.
                let exact = divided || (k % 4 == 0 && n % 64 == 0 && !bias);
                assert!(!exact || found == usize::from(divided), "{m} x {k} x {n} {transposed} {bias}: {found}");
            }
        }
    }
    assert_eq!(errors.load(Ordering::Relaxed), 0);
}

#[test]
fn what_is_fused_into_products_and_convolutions_is_divided_too() {
    let Some((device, errors)) = rimlight_tests::small_device(BINDING) else { return };
    let mut models: Vec<(&str, Box<Make>)> = vec![];
    models.push((
        "residual",
        Box::new(|net| {
            let (x, r) = (net.input(filled(&[2, 3, 40], 1.0)), net.input(filled(&[2, 3, 203], 1.0)));
            let (w, c) = (net.weights(&[40, 203]), net.weights(&[203]));
            let y = net.node(&op("MatMul"), &[x, w]);
            let y = net.node(&op("Add"), &[y, c]);
            let y = net.node(&op("Add"), &[r, y]);
            net.node(&op("Relu"), &[y])
        }),
    ));
    models.push((
        "constant on the left",
        Box::new(|net| {
            let (w, x) = (net.weights(&[301, 20]), net.input(filled(&[20, 3], 1.0)));
            net.node(&op("MatMul"), &[w, x])
        }),
    ));
    models.push((
        "constant on the left, a vector",
        Box::new(|net| {
            let (w, x) = (net.weights(&[301, 20]), net.input(filled(&[20], 1.0)));
            net.node(&op("MatMul"), &[w, x])
        }),
    ));
    models.push((
        "batches",
        Box::new(|net| {
            let (x, w) = (net.input(filled(&[3, 2, 16], 1.0)), net.weights(&[3, 16, 130]));
            net.node(&op("MatMul"), &[x, w])
        }),
    ));
    models.push((
        "Gemm, the left one transposed, a column",
        Box::new(|net| {
            let (w, x, c) = (net.weights(&[20, 301]), net.input(filled(&[20, 3], 1.0)), net.weights(&[301, 1]));
            net.node(&op("Gemm").attribute("transA", 1i64), &[w, x, c])
        }),
    ));
    models.push((
        "1 x 1 convolution",
        Box::new(|net| {
            let (x, w, c) =
                (net.input(filled(&[1, 40, 3, 5], 1.0)), net.weights(&[150, 40, 1, 1]), net.weights(&[150]));
            let y = net.node(&op("Conv"), &[x, w, c]);
            let r = net.input(filled(&[1, 150, 3, 5], 1.0));
            let y = net.node(&op("Add"), &[y, r]);
            net.node(&op("Relu"), &[y])
        }),
    ));
    models.push((
        "3 x 3 convolution",
        Box::new(|net| {
            let (x, w) = (net.input(filled(&[1, 30, 4, 6], 1.0)), net.weights(&[37, 30, 3, 3]));
            let y = net.node(&op("Conv").attribute("pads", [1, 1, 1, 1]), &[x, w]);
            net.node(&op("Sigmoid"), &[y])
        }),
    ));
    models.push((
        "transposed convolution",
        Box::new(|net| {
            let (x, w, c) = (net.input(filled(&[1, 30, 3, 3], 1.0)), net.weights(&[30, 37, 2, 2]), net.weights(&[37]));
            net.node(&op("ConvTranspose").attribute("strides", [2, 2]), &[x, w, c])
        }),
    ));
    for (what, make) in models {
        let mut net = Net::new();
        let y = make(&mut net);
        assert_eq!(check(&device, what, net.finish(y), "Concat"), 1, "{what}");
    }
    assert_eq!(errors.load(Ordering::Relaxed), 0);
}

/// An embedding that is the last product's weights as well, as it is written for language models.
#[test]
fn tied_weights_lie_in_parts_twice() {
    let Some((device, errors)) = rimlight_tests::small_device(BINDING) else { return };
    for transposed in [false, true] {
        let mut net = Net::new();
        let (table, at) = (net.weights(&[450, 12]), net.indices(450));
        let x = net.node(&op("Gather"), &[table, at]);
        let x = net.node(&op("Tanh"), &[x]);
        let y = if transposed {
            let w = net.node(&op("Transpose"), &[table]);
            net.node(&op("MatMul"), &[x, w])
        } else {
            let shape = net.constant(Tensor::vector(vec![9i64, 12]));
            let x = net.node(&op("Reshape"), &[x, shape]);
            net.node(&op("Gemm").attribute("transB", 1i64), &[x, table])
        };
        let y = net.node(&op("Softmax"), &[y]);
        let finished = net.finish(y);
        assert_eq!(check(&device, "products", finished, "Concat"), 1);
    }
    assert_eq!(errors.load(Ordering::Relaxed), 0);
}

#[test]
fn quantized_weights_lie_in_parts() {
    let Some((device, errors)) = rimlight_tests::small_device(BINDING) else { return };
    // What comes out of bytes is folded to floats, which are too large.
    for each in [false, true] {
        let mut net = Net::new();
        let (w, zero) = (net.constant(bytes(&[420, 16])), net.constant(Tensor::scalar(128u8)));
        let scale = match each {
            true => net.constant(Tensor::vector((0..420).map(|i| 0.01 + i as f32 * 1e-5).collect())),
            false => net.constant(Tensor::scalar(0.01f32)),
        };
        let zero = if each { net.constant(Tensor::vector(vec![128u8; 420])) } else { zero };
        let table = net.node(&op("DequantizeLinear").attribute("axis", 0i64), &[w, scale, zero]);
        let at = net.indices(420);
        let x = net.node(&op("Gather"), &[table, at]);
        let w = net.node(&op("Transpose"), &[table]);
        let y = net.node(&op("MatMul"), &[x, w]);
        assert_eq!(check(&device, "folded", net.finish(y), "Concat"), 1, "{each}");
    }
    for each in [false, true] {
        let mut net = Net::new();
        let (x, w) = (net.input(bytes(&[3, 40])), net.constant(bytes(&[40, 1001])));
        let zero = net.constant(Tensor::scalar(120u8));
        let zeros = match each {
            true => net.constant(Tensor::vector((0..1001).map(|i| (i % 250) as u8).collect::<Vec<u8>>())),
            false => zero,
        };
        let y = net.node(&op("MatMulInteger"), &[x, w, zero, zeros]);
        let y = net.node(&op("Cast").attribute("to", 1i64), &[y]);
        assert_eq!(check(&device, "MatMulInteger", net.finish(y), "Concat"), 1, "{each}");
    }
    assert_eq!(errors.load(Ordering::Relaxed), 0);
}

/// The error names the tensor, its node and what may be done.
#[test]
fn what_cannot_be_divided_is_refused_when_the_plan_is_made() {
    let Some((device, errors)) = rimlight_tests::small_device(BINDING) else { return };
    let refused =
        |what: &str, (model, _): (Model, Vec<(String, Tensor)>), tensor: &str, of: &str, least: u64| match model
            .plan(&device, &Options::new())
        {
            Err(error @ PlanError::TooLarge { .. }) => {
                let text = error.to_string();
                assert!(text.contains("--backend cpu") && text.contains("--adapter"), "{what}: {text}");
                let PlanError::TooLarge { name, operator, bytes, limit, .. } = error else { unreachable!() };
                assert_eq!((name.as_str(), operator.as_str(), limit), (tensor, of, BINDING), "{what}");
                assert!(bytes >= least, "{what}: {bytes}");
            }
            other => panic!("{what}: {other:?}"),
        };
    // An activation.
    let mut net = Net::new();
    let x = net.input(filled(&[NUMBERS + 1], 1.0));
    let y = net.node(&op("Relu"), &[x]);
    refused("an activation", net.finish(y), "x0", "Relu", BINDING + 4);
    // There is no way to divide groups.
    let mut net = Net::new();
    let (x, w) = (net.input(filled(&[1, 80, 3, 3], 1.0)), net.weights(&[120, 40, 1, 1]));
    let y = net.node(&op("Conv").attribute("group", 2i64), &[x, w]);
    refused("groups", net.finish(y), "c1", "Conv", BINDING);
    assert_eq!(errors.load(Ordering::Relaxed), 0);
}
