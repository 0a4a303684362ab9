//! Rewritten models compute what they computed before: every value that a model keeps under its rewrites, by the operators'
//! references.

use std::collections::BTreeMap;

use rimlight::cpu::reference::evaluate;
use rimlight::graph::{Bindings, Graph, Value};
use rimlight::optimize::{REWRITES, Rewrites, optimize};
use rimlight::{Model, Tensor};

/// Models, and their symbols bound to small sizes.
const MODELS: [(&str, &[(&str, i64)]); 5] = [
    ("mnist-8", &[]),
    ("resnet20_cifar10", &[("N", 2)]),
    ("super_resolution", &[("batch", 1), ("height", 12), ("width", 9)]),
    (
        "ch_PP-OCRv3_det",
        &[("p2o.DynamicDimension.0", 1), ("p2o.DynamicDimension.1", 32), ("p2o.DynamicDimension.2", 64)],
    ),
    ("version-RFB-320", &[]),
];

/// Numbers between -1 and 1, always the same.
fn inputs(graph: &Graph) -> Vec<Tensor> {
    let mut seed = 7u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut tensor = |shape: Vec<usize>| {
        let data = (0..shape.iter().product()).map(|_| next()).collect();
        Tensor::new(shape, data).unwrap()
    };
    graph.inputs.iter().map(|&id| tensor(graph.fact(id).unwrap().concrete().unwrap())).collect()
}

fn values(graph: &Graph) -> BTreeMap<String, Tensor> {
    let mut values = BTreeMap::new();
    let keep = |id, value: Value| {
        if let Value::Tensor(tensor) = &value {
            values.insert(graph.value(id).name.clone(), tensor.clone());
        }
        value
    };
    evaluate(graph, &inputs(graph), keep).unwrap();
    values
}

/// Checks that the values which both have agree, outputs among them, and gives their number.
fn agree(name: &str, before: &BTreeMap<String, Tensor>, graph: &Graph) -> usize {
    let after = values(graph);
    for (value, after) in &after {
        let before = before.get(value).unwrap_or_else(|| panic!("{name}: '{value}' is new"));
        assert_eq!(before.shape(), after.shape(), "{name}: {value}");
        let (Ok(b), Ok(a)) = (before.as_slice::<f32>(), after.as_slice::<f32>()) else {
            assert_eq!(before, after, "{name}: {value}");
            continue;
        };
        let largest = b.iter().fold(0f32, |m, v| m.max(v.abs()));
        for (b, a) in b.iter().zip(a) {
            // Folded weights are rounded anew in each of some dozens of layers.
            assert!((b - a).abs() <= 2e-5 * largest, "{name}: {value}: {b} became {a}");
        }
    }
    for &output in &graph.outputs {
        assert!(after.contains_key(&graph.value(output).name), "{name}: an output vanished");
    }
    after.len()
}

#[test]
fn rewritten_models_compute_the_same_values() {
    let Some(folder) = rimlight_tests::models() else { return };
    for (name, symbols) in MODELS {
        let model = Model::open(folder.join(format!("{name}.onnx"))).unwrap();
        let bindings: Bindings = symbols.iter().map(|&(symbol, n)| (symbol.to_owned(), n)).collect();
        let graph = model.graph().bind(&bindings).unwrap();
        let before = values(&graph);
        let rewritten = optimize(graph.clone(), &Rewrites::default()).unwrap();
        let kept = agree(name, &before, &rewritten);
        assert!(rewritten.nodes.len() < graph.nodes.len() && kept >= rewritten.nodes.len(), "{name}");
    }
}

#[test]
fn each_rewrite_can_be_alone_and_can_be_missing() {
    let Some(folder) = rimlight_tests::models() else { return };
    for name in ["mnist-8", "resnet20_cifar10"] {
        let model = Model::open(folder.join(format!("{name}.onnx"))).unwrap();
        let graph = model.graph().bind(&Bindings::from([("N".to_owned(), 1)])).unwrap();
        let before = values(&graph);
        for rewrite in REWRITES {
            let others = REWRITES.iter().map(|r| r.name).filter(|other| *other != rewrite.name);
            let alone = optimize(graph.clone(), &Rewrites::without(others).unwrap()).unwrap();
            agree(&format!("{name} with {} alone", rewrite.name), &before, &alone);
            let missing = optimize(graph.clone(), &Rewrites::without([rewrite.name]).unwrap()).unwrap();
            agree(&format!("{name} without {}", rewrite.name), &before, &missing);
        }
    }
}
