//! Whole models on each device: a steady run, and the cold start from the file to the first result.
//!
//! The embedded digits always; the others where the folder `RIMLIGHT_MODELS` has them.

use std::path::{Path, PathBuf};

use criterion::{Criterion, criterion_group, criterion_main};
use rimlight::{Device, Model, Options, Tensor};
use rimlight_benches::{content, devices, run};

/// A model's file without its ending, and numbers for its symbols.
type Case = (&'static str, &'static [(&'static str, usize)]);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("mnist-8", &[]),
    ("squeezenet1.0", &[]),
    ("mobilenetv2_fp32", &[("batch_size", 1)]),
    ("resnet20_cifar10", &[("N", 1)]),
    ("super_resolution", &[("batch", 1), ("height", 224), ("width", 224)]),
    ("version-RFB-320", &[]),
    ("yolox_nano", &[]),
    ("ch_PP-OCRv3_det", &[("p2o.DynamicDimension.0", 1), ("p2o.DynamicDimension.1", 640), ("p2o.DynamicDimension.2", 640)]),
    ("magika_standard_v3_3", &[("unk__214", 1)]),
    ("dtln_model_2", &[]),
];

/// Where the models lie; relative to the repository's root, as for the tests.
fn folder() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = std::env::var_os("RIMLIGHT_MODELS").filter(|v| !v.is_empty()).map(|folder| root.join(folder));
    if folder.is_none() {
        eprintln!("skipped: RIMLIGHT_MODELS names no folder of models; the embedded one is measured alone");
    }
    folder
}

/// The files that there are, each with its name and options.
fn models() -> Vec<(&'static str, PathBuf, Options)> {
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits.onnx");
    let mut found = vec![("digits", digits, Options::new())];
    let Some(folder) = folder() else { return found };
    for (name, dims) in CASES {
        let path = folder.join(format!("{name}.onnx"));
        let options = dims.iter().fold(Options::new(), |options, (symbol, n)| options.dim(*symbol, *n));
        if path.is_file() {
            found.push((name, path, options));
        } else {
            eprintln!("skipped: there is no {}", path.display());
        }
    }
    found
}

/// An input for each of the model's, and the names of its outputs.
fn ports(model: &Model, dims: &[(&str, usize)]) -> (Vec<(String, Tensor)>, Vec<String>) {
    let size = |dim: &rimlight::Dim| {
        let symbol = dim.to_string();
        dim.size().or_else(|| dims.iter().find(|(name, _)| *name == symbol).map(|(_, n)| *n)).unwrap_or(1)
    };
    let input = |port: rimlight::Port<'_>| {
        let fact = port.fact.expect("an input of a known type");
        (port.name.to_owned(), content(fact.element_type, &fact.shape.iter().map(size).collect::<Vec<_>>()))
    };
    (model.inputs().map(input).collect(), model.outputs().map(|port| port.name.to_owned()).collect())
}

fn on(criterion: &mut Criterion, name: &str, device: &Device) {
    for (model_name, path, options) in models() {
        let model = Model::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let dims = CASES.iter().find(|case| case.0 == model_name).map_or(&[][..], |case| case.1);
        let (inputs, outputs) = ports(&model, dims);
        let start = |model: &Model| {
            let mut session = model.session_with(device, &options).unwrap_or_else(|e| panic!("{model_name}: {e}"));
            run(&mut session, &inputs, &outputs);
            session
        };
        let mut session = None;
        let mut steady = criterion.benchmark_group(format!("steady/{name}"));
        steady.sample_size(20).bench_function(model_name, |bencher| {
            let session = session.get_or_insert_with(|| start(&model));
            bencher.iter(|| run(session, &inputs, &outputs));
        });
        steady.finish();
        // The device is there already; the file is opened, planned and loaded anew each time.
        let mut cold = criterion.benchmark_group(format!("cold/{name}"));
        cold.sample_size(10).bench_function(model_name, |bencher| {
            bencher.iter(|| start(&Model::open(&path).expect("a model that was opened before")));
        });
        cold.finish();
    }
}

fn whole_models(criterion: &mut Criterion) {
    for (name, device) in devices() {
        on(criterion, name, &device);
    }
}

criterion_group!(benches, whole_models);
criterion_main!(benches);
