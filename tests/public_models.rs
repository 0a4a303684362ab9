//! Public models load, and damaged ones do no harm.

use std::collections::BTreeMap;

use rimlight::optimize::{Rewrites, optimize};
use rimlight::{LoadError, Model};

/// The float models that the engine has to run: their inputs, their outputs, and how many nodes of which operators they have
/// when all rewrites are done.
const MODELS: [(&str, &str, &str, &str); 8] = [
    ("mnist-8", "Input3 f32[1, 1, 28, 28]", "Plus214_Output_0 f32[1, 10]", ""),
    ("squeezenet1.0", "data f32[1, 3, 227, 227]", "prob_1 f32[1, 1000]", ""),
    ("mobilenetv2_fp32", "input f32[batch_size, 3, 224, 224]", "output f32[batch_size, 1000]", ""),
    ("resnet20_cifar10", "input f32[N, 3, 32, 32]", "?", ""),
    ("super_resolution", "input f32[batch, 1, height, width]", "?", ""),
    ("version-RFB-320", "input f32[1, 3, 240, 320]", "?", ""),
    ("yolox_nano", "images f32[1, 3, 416, 416]", "?", ""),
    ("ch_PP-OCRv3_det", "x f32[p2o.DynamicDimension.0, 3, p2o.DynamicDimension.1, p2o.DynamicDimension.2]", "?", ""),
];

#[test]
fn public_models_load_and_shrink() {
    let Some(folder) = rimlight_tests::models() else { return };
    let mut wrong = vec![];
    for (name, inputs, outputs, nodes) in MODELS {
        let model = match Model::open(folder.join(format!("{name}.onnx"))) {
            Ok(model) => model,
            // While operators are being written.
            Err(error @ LoadError::UnknownOperators { .. }) => {
                eprintln!("skipped {name}: {error}");
                continue;
            }
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
    let file = std::fs::read(folder.join("mnist-8.onnx")).unwrap();
    for length in (0..file.len()).step_by(97) {
        let _ = Model::from_bytes(file[..length].to_vec());
    }
    for i in (0..file.len()).step_by(97) {
        let mut flipped = file.clone();
        flipped[i] ^= 0x55;
        let _ = Model::from_bytes(flipped);
    }
}
