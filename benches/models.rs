//! Whole models on each device: a steady run, and the cold start from the file to the first result.
//!
//! The embedded digits always; the others where the folder `RIMLIGHT_MODELS` has them.

use criterion::{Criterion, criterion_group, criterion_main};
use rimlight::{Device, Model};
use rimlight_benches::{Case, devices, models, ports, run};

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

fn on(criterion: &mut Criterion, name: &str, device: &Device) {
    for ((model_name, dims), path, options) in models(CASES) {
        let model = Model::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
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
