//! Whole models: suite × backend. Each row is a model of the folder `RIMLIGHT_MODELS`; its outputs are compared with what
//! ONNX Runtime answers (`NAME.io.npz`), and every value on the way with the references (`validate`).
//!
//! A line in `models!` adds a model.

use std::collections::HashSet;

use rimlight::kernel::DeviceClass;
use rimlight::{Backend, Device, DeviceOptions, Model, Options, Placement, Precision, Tensor, Tolerance, validate};
use rimlight_tests::{models, reference, root};

/// How near a model's outputs must be to ONNX Runtime's, relative to the largest magnitude in the same output channel.
struct Row {
    model: &'static str,
    references: &'static [&'static str],
    /// In 32 bits. ONNX Runtime's own optimized and plain runs of most of these models differ by up to 7·10⁻⁶; three
    /// times that is allowed, for sums in another order.
    single: f32,
    /// Whether nodes may run on the host: recurrent layers do, and what reads 64-bit token numbers.
    placement: Placement,
    /// In 16 bits, where a value has 11 bits and some fifty layers add their roundings up.
    half: f32,
    /// The least correlation with ONNX Runtime's answer where values are quantized on the way, instead of a difference: the
    /// last bit of a float decides there on a whole step of a quantized number. The definition itself, computed in f64, comes
    /// to 0.989 here (`tests/reference/quantized_literal.py`): what is exact is each step, which `validate` compares.
    correlation: Option<f64>,
}

const SINGLE: f32 = 2e-5;
const HALF: f32 = 1e-2;

/// The most that a plan of a public one has on a software adapter in 32 bits. (In 16, values of both storages take more.)
const PIPELINES: usize = 14;

macro_rules! models {
    (@placement) => { super::Placement::GpuOnly };
    (@placement quantized) => { super::Placement::GpuOnly };
    (@placement host) => { super::Placement::Auto };
    (@correlation quantized) => { Some(0.98) };
    (@correlation $($host:ident)?) => { None };
    ($($name:ident: $model:literal, [$($reference:literal),+], $single:expr, $half:expr $(, $kind:ident)?;)*) => {$(
        mod $name {
            #[allow(unused_imports, reason = "a row may have bounds of its own")]
            use super::{HALF, SINGLE};

            const ROW: super::Row = super::Row {
                model: $model,
                references: &[$($reference),+],
                single: $single,
                half: $half,
                placement: models!(@placement $($kind)?),
                correlation: models!(@correlation $($kind)?),
            };

            #[test]
            fn on_the_cpu() {
                super::agrees(&ROW, &super::Case::cpu());
            }
            #[test]
            fn on_the_gpu() {
                super::agrees(&ROW, &super::Case::gpu(&ROW, None, super::Precision::F32));
            }
            #[test]
            fn on_the_gpu_in_16_bits() {
                super::agrees(&ROW, &super::Case::gpu(&ROW, None, super::Precision::F16));
            }
            #[test]
            fn as_on_every_class() {
                super::agrees_as_on_every_class(&ROW);
            }
            #[test]
            fn as_on_mali_in_16_bits() {
                super::agrees(&ROW, &super::Case::gpu(&ROW, Some(super::DeviceClass::Mali), super::Precision::F16));
            }
        }
    )*};
}

models! {
    digits: "digits", ["digits"], SINGLE, HALF;
    mnist_8: "mnist-8", ["mnist-8"], SINGLE, HALF;
    squeezenet: "squeezenet1.0", ["squeezenet1.0"], SINGLE, HALF;
    mobilenet_v2: "mobilenetv2_fp32", ["mobilenetv2_fp32"], SINGLE, HALF;
    mobilenet_v2_int8: "mobilenetv2_int8_qdq", ["mobilenetv2_int8_qdq"], SINGLE, HALF, quantized;
    resnet20: "resnet20_cifar10", ["resnet20_cifar10"], SINGLE, HALF;
    super_resolution: "super_resolution", ["super_resolution"], SINGLE, HALF;
    ultraface: "version-RFB-320", ["version-RFB-320"], SINGLE, HALF;
    // In 16 bits: a class whose largest score is a hundredth, 1.2·10⁻² of that.
    yolox_nano: "yolox_nano", ["yolox_nano"], SINGLE, 1.5e-2;
    // The last layer multiplies by up to fifty before its sigmoid. ONNX Runtime's own optimized run differs from its plain
    // one by 9.0·10⁻⁵ here, and the references (sums in 64 bits) by 8.5·10⁻⁵.
    text_detection: "ch_PP-OCRv3_det", ["ch_PP-OCRv3_det", "ch_PP-OCRv3_det.second"], 2e-4, HALF;
    file_types: "magika_standard_v3_3", ["magika_standard_v3_3"], SINGLE, HALF;
    noise_suppression_1: "dtln_model_1", ["dtln_model_1"], SINGLE, HALF, host;
    noise_suppression_2: "dtln_model_2", ["dtln_model_2"], SINGLE, HALF, host;
    // In 16 bits: one number of the state, of 0.1, 1.27·10⁻² of that.
    voice_activity: "silero_vad_16k", ["silero_vad_16k"], SINGLE, 1.3e-2, host;
    spam: "spam", ["spam"], SINGLE, HALF, host;
    ten_classes: "ten_classes", ["ten_classes"], SINGLE, HALF, host;
    language_model: "messages", ["messages", "messages.second"], SINGLE, HALF, host;
    sentences: "all-minilm-l6-v2_w8", ["all-minilm-l6-v2_w8"], SINGLE, HALF, host;
}

/// Where and how a model is run.
struct Case {
    device: Option<Device>,
    options: Options,
    precision: Precision,
}

impl Case {
    fn cpu() -> Self {
        Self { device: Some(Device::cpu()), options: Options::new(), precision: Precision::F32 }
    }

    /// On a GPU, software adapters included, no node on the host but where the row says so; skipped where there is none, unless one is required.
    fn gpu(row: &Row, class: Option<DeviceClass>, precision: Precision) -> Self {
        let mut wanted = DeviceOptions::default();
        (wanted.backend, wanted.class) = (Backend::Gpu, class);
        let device = Device::new(&wanted)
            .inspect_err(|e| {
                assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{e}");
                eprintln!("skipped: {e}");
            })
            .ok();
        let options = Options::new().placement(row.placement).precision(precision);
        Self { device, options, precision }
    }
}

/// Pearson's correlation of the elements of two tensors.
fn correlation(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_f64(), b.to_f64());
    assert_eq!(a.len(), b.len());
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (a_mean, b_mean) = (mean(&a), mean(&b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(&b).map(|(a, b)| f(a - a_mean, b - b_mean)).sum::<f64>();
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
}

fn agrees(row: &Row, case: &Case) {
    agrees_as_planned(row, case, &mut HashSet::new());
}

/// Classes that plan a model alike are the same test: only the first is compared value by value. `RIMLIGHT_BRIEF_TESTS=1` has each
/// model take a third of the classes, not all the same.
fn agrees_as_on_every_class(row: &Row) {
    let mut plans = HashSet::new();
    let brief = std::env::var_os("RIMLIGHT_BRIEF_TESTS").is_some();
    for (i, class) in DeviceClass::ALL.into_iter().enumerate() {
        if brief && !(i + row.model.len()).is_multiple_of(3) {
            continue;
        }
        agrees_as_planned(row, &Case::gpu(row, Some(class), Precision::F32), &mut plans);
    }
}

fn agrees_as_planned(row: &Row, case: &Case, plans: &mut HashSet<String>) {
    let (Some(public), Some(device)) = (models(), &case.device) else { return };
    // Our own lie beside the sources.
    let file = format!("{}.onnx", row.model);
    let own = ["models", "tests/data"].map(|folder| root().join(folder)).into_iter().find(|f| f.join(&file).is_file());
    let references = if own.is_some() { root().join("tests/data") } else { public.clone() };
    let public_model = own.is_none();
    let model = own.unwrap_or(public).join(file);
    let model = Model::open(model).expect("the model loads");
    let rtol = if case.precision == Precision::F16 { row.half } else { row.single };
    let outside = Tolerance { rtol, atol: 1e-7, floor: 0.0, amplified: 0.0 };
    let inside = Tolerance { rtol: Tolerance::of(case.precision).rtol.max(rtol), ..Tolerance::of(case.precision) };
    // Step by step only where no bound holds to the end.
    let inside = if row.correlation.is_some() { inside } else { inside.end_to_end() };
    // One session for all references: the second has other shapes.
    let mut session = model.session_with(device, &case.options).expect("the model is planned and loaded");
    for name in row.references {
        let (inputs, outputs) = reference(references.join(format!("{name}.io.npz")));
        let given = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.view()));
        let results = session.run_with(given).expect("the model runs");
        assert!(!outputs.is_empty());
        for (name, expected) in &outputs {
            let (_, got) = results.iter().find(|(n, _)| n == name).expect("an output of that name");
            if let Some(least) = row.correlation {
                let found = correlation(got, expected);
                assert!(found >= least, "the correlation with ONNX Runtime's answer is {found}");
                continue;
            }
            let compared = outside.compare(name, got, expected);
            assert!(compared.passed, "against ONNX Runtime: {compared:?}");
        }
        // A start waits for each pipeline. On GPUs fewer of them can cost more than they are worth.
        if public_model
            && case.precision == Precision::F32
            && device.facts().is_some_and(|facts| facts.class == DeviceClass::Software)
        {
            let pipelines = session.schedule().map_or(0, |s| s.summary.pipelines);
            assert!(pipelines <= PIPELINES, "{name}: {pipelines} pipelines");
        }
        let plan = session.schedule().map(|s| format!("{name} {:?} {:?} {:?}", s.kernels, s.steps, s.slots));
        if plan.is_some_and(|plan| !plans.insert(plan)) {
            continue;
        }
        let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let validation = validate(&model, device, &case.options, &given, inside).expect("the model runs");
        assert!(validation.passed(), "against the references: {:?}", validation.first_failure());
    }
}
