//! Public models load, and damaged ones do no harm.

use std::collections::BTreeMap;

use rimlight::Model;
use rimlight::optimize::{Rewrites, optimize};

/// The float models that the engine has to run: their inputs, their outputs, and how many nodes of which operators they have
/// when all rewrites are done.
const MODELS: [(&str, &str, &str, &str); 8] = [
    ("mnist-8", "Input3 f32[1, 1, 28, 28]", "Plus214_Output_0 f32[1, 10]", "2 Conv, 1 Gemm, 2 MaxPool, 1 Reshape"),
    (
        "squeezenet1.0",
        "data f32[1, 3, 227, 227]",
        "prob f32[1, 1000]",
        "8 Concat, 26 Conv, 1 Flatten, 1 GlobalAveragePool, 3 MaxPool, 1 Softmax",
    ),
    (
        "mobilenetv2_fp32",
        "input f32[batch_size, 3, 224, 224]",
        "output f32[batch_size, 1000]",
        "52 Conv, 1 Flatten, 1 Gemm, 1 GlobalAveragePool",
    ),
    (
        "resnet20_cifar10",
        "input f32[N, 3, 32, 32]",
        "logits f32[N, 10]",
        "19 Conv, 1 Flatten, 1 Gemm, 1 GlobalAveragePool, 2 Pad, 2 Slice",
    ),
    (
        "super_resolution",
        "input f32[batch, 1, height, width]",
        "output f32[batch, 1, height·3, width·3]",
        "4 Conv, 1 DepthToSpace",
    ),
    (
        "version-RFB-320",
        "input f32[1, 3, 240, 320]",
        "scores f32[1, 4420, 2], boxes f32[1, 4420, 4]",
        "3 Chain, 5 Concat, 52 Conv, 1 Exp, 2 Mul, 8 Reshape, 6 Slice, 1 Softmax, 8 Transpose",
    ),
    (
        "yolox_nano",
        "images f32[1, 3, 416, 416]",
        "output f32[1, 3549, 85]",
        "18 Concat, 113 Conv, 3 MaxPool, 3 Reshape, 2 Resize, 8 Slice, 1 Transpose",
    ),
    (
        "ch_PP-OCRv3_det",
        "x f32[p2o.DynamicDimension.0, 3, p2o.DynamicDimension.1, p2o.DynamicDimension.2]",
        "sigmoid_0.tmp_0 f32[p2o.DynamicDimension.0, 1, \
         ((((⌊(p2o.DynamicDimension.1 - 1) / 32⌋ + 1)·8 - 1)·2 + 1)·2 + 2), \
         ((((⌊(p2o.DynamicDimension.2 - 1) / 32⌋ + 1)·8 - 1)·2 + 1)·2 + 2)]",
        "11 Add, 1 Concat, 72 Conv, 2 ConvTranspose, 8 GlobalAveragePool, 8 Mul, 6 Resize",
    ),
];

#[test]
fn public_models_load_and_shrink() {
    let Some(folder) = rimlight_tests::models() else { return };
    let mut wrong = vec![];
    for (name, inputs, outputs, nodes) in MODELS {
        let model = match Model::open(folder.join(format!("{name}.onnx"))) {
            Ok(model) => model,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        let join = |ports: Vec<String>| ports.join(", ");
        assert_eq!(join(model.inputs().map(|p| p.to_string()).collect()), inputs, "{name}");
        let found = join(model.outputs().map(|p| p.to_string()).collect());
        let optimized = optimize(model.graph().clone(), &Rewrites::default()).unwrap();
        let mut counts = BTreeMap::new();
        for node in &optimized.nodes {
            *counts.entry(node.operator.name()).or_insert(0) += 1;
        }
        let counts = counts.iter().map(|(operator, n)| format!("{n} {operator}")).collect::<Vec<_>>().join(", ");
        for (found, expected) in [(found.as_str(), outputs), (counts.as_str(), nodes)] {
            if found != expected {
                wrong.push(format!("{name}: {found:?}, not {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_damaged_public_model_is_an_error_or_a_model() {
    let Some(folder) = rimlight_tests::models() else { return };
    let (mut models, mut errors) = (0, 0);
    let mut load = |bytes: Vec<u8>| match Model::from_bytes(bytes) {
        // What loads must not do harm later either.
        Ok(model) => {
            models += 1;
            if let Ok(graph) = optimize(model.graph().clone(), &Rewrites::default()) {
                assert!(!graph.dot().is_empty() && !format!("{graph:#}").is_empty());
            }
        }
        Err(error) => {
            errors += 1;
            assert!(!error.to_string().is_empty());
        }
    };
    let file = std::fs::read(folder.join("mnist-8.onnx")).unwrap();
    for length in (0..file.len()).step_by(97) {
        load(file[..length].to_vec());
    }
    for (name, step) in [("mnist-8", 97), ("ch_PP-OCRv3_det", 149), ("version-RFB-320", 149), ("yolox_nano", 149)] {
        let file = std::fs::read(folder.join(format!("{name}.onnx"))).unwrap();
        // The beginning holds nodes, what follows mostly weights.
        for i in (0..file.len().min(20_000)).step_by(step) {
            let mut damaged = file.clone();
            damaged[i] ^= [0x01, 0x80, 0x55][i % 3];
            load(damaged);
        }
    }
    assert!(models > 100 && errors > 100, "{models} models, {errors} errors");
}
