//! Public models from the folder that RIMLIGHT_MODELS names; skipped with a line where there is none.

use super::*;
use crate::Model;

/// The float models that the engine has to run: name, inputs, outputs, as `name type[shape]`.
const MODELS: [(&str, &str, &str); 8] = [
    ("mnist-8", "Input3 f32[1, 1, 28, 28]", "Plus214_Output_0 f32[1, 10]"),
    ("squeezenet1.0", "data f32[1, 3, 227, 227]", "?"),
    ("mobilenetv2_fp32", "input f32[batch_size, 3, 224, 224]", "?"),
    ("resnet20_cifar10", "input f32[N, 3, 32, 32]", "?"),
    ("super_resolution", "input f32[batch, 1, height, width]", "?"),
    ("version-RFB-320", "input f32[1, 3, 240, 320]", "?"),
    ("yolox_nano", "images f32[1, 3, 416, 416]", "?"),
    ("ch_PP-OCRv3_det", "x f32[p2o.DynamicDimension.0, 3, p2o.DynamicDimension.1, p2o.DynamicDimension.2]", "?"),
];

/// The file, where there is one.
fn file(name: &str) -> Option<Bytes> {
    let folder = std::env::var_os("RIMLIGHT_MODELS")?;
    std::fs::read(std::path::Path::new(&folder).join(format!("{name}.onnx"))).ok().map(Bytes::from)
}

#[test]
fn public_models_load() {
    for (name, inputs, outputs) in MODELS {
        let Some(bytes) = file(name) else {
            println!("skipped {name}: RIMLIGHT_MODELS names no folder that holds it");
            continue;
        };
        match Model::from_bytes(bytes) {
            Ok(model) => {
                let join = |ports: Vec<String>| ports.join(", ");
                assert_eq!(join(model.inputs().map(|p| p.to_string()).collect()), inputs, "{name}");
                let found = join(model.outputs().map(|p| p.to_string()).collect());
                println!("{name} {found} {}", model.graph().nodes.len());
                assert!(outputs == "?" || found == outputs, "{name} {found}");
            }
            Err(LoadError::UnknownOperators { operators, .. }) => println!("{name}: {operators:?}"),
            Err(other) => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn a_damaged_public_model_is_an_error_or_a_model() {
    let Some(file) = file("mnist-8") else {
        println!("skipped: RIMLIGHT_MODELS names no folder that holds mnist-8");
        return;
    };
    for length in (0..file.len()).step_by(97) {
        let _ = Model::from_bytes(file.slice(..length));
    }
    for i in (0..file.len()).step_by(97) {
        let mut flipped = file.to_vec();
        flipped[i] ^= 0x55;
        let _ = Model::from_bytes(flipped);
    }
}
