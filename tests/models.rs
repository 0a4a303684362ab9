//! Whole models: suite × backend. Each row is a model of the folder `RIMLIGHT_MODELS`; its outputs are compared with what
//! ONNX Runtime answers (`NAME.io.npz`), and every value on the way with the references (`validate`).
//!
//! A line in `models!` adds a model.

use rimlight::kernel::DeviceClass;
use rimlight::{Backend, Device, DeviceOptions, Model, Options, Placement, Precision, Tensor, Tolerance, validate};
use rimlight_tests::{models, reference};

/// ONNX Runtime's own optimized and plain runs of these models differ by up to 7·10⁻⁶ of a channel's largest magnitude;
/// sums in another order as well. Three times that, in 32 bits; in 16 bits a value has 11 bits, and some fifty layers
/// add their roundings up.
const F32: Tolerance = Tolerance { rtol: 2e-5, atol: 1e-7 };
const F16: Tolerance = Tolerance { rtol: 2e-2, atol: 1e-7 };

macro_rules! models {
    ($($name:ident: $model:literal, $($reference:literal),+;)*) => {$(
        mod $name {
            const MODEL: &str = $model;
            const REFERENCES: &[&str] = &[$($reference),+];

            #[test]
            fn on_the_cpu() {
                super::agrees(MODEL, REFERENCES, &super::Case::cpu());
            }
            #[test]
            fn on_the_gpu() {
                super::agrees(MODEL, REFERENCES, &super::Case::gpu(None, super::Precision::F32));
            }
            #[test]
            fn on_the_gpu_in_16_bits() {
                super::agrees(MODEL, REFERENCES, &super::Case::gpu(None, super::Precision::F16));
            }
            #[test]
            fn as_on_mali() {
                super::agrees(MODEL, REFERENCES, &super::Case::gpu(Some(super::DeviceClass::Mali), super::Precision::F32));
            }
            #[test]
            fn as_on_nvidia() {
                super::agrees(MODEL, REFERENCES, &super::Case::gpu(Some(super::DeviceClass::Nvidia), super::Precision::F32));
            }
            #[test]
            fn as_on_mali_in_16_bits() {
                super::agrees(MODEL, REFERENCES, &super::Case::gpu(Some(super::DeviceClass::Mali), super::Precision::F16));
            }
        }
    )*};
}

models! {
    mnist_8: "mnist-8", "mnist-8";
    squeezenet: "squeezenet1.0", "squeezenet1.0";
    mobilenet_v2: "mobilenetv2_fp32", "mobilenetv2_fp32";
    resnet20: "resnet20_cifar10", "resnet20_cifar10";
    super_resolution: "super_resolution", "super_resolution";
    ultraface: "version-RFB-320", "version-RFB-320";
    yolox_nano: "yolox_nano", "yolox_nano";
    text_detection: "ch_PP-OCRv3_det", "ch_PP-OCRv3_det", "ch_PP-OCRv3_det.second";
}

/// Where and how a model is run.
struct Case {
    device: Option<Device>,
    options: Options,
    tolerance: Tolerance,
    precision: Precision,
}

impl Case {
    fn cpu() -> Self {
        let (device, options) = (Some(Device::cpu()), Options::new());
        Self { device, options, tolerance: F32, precision: Precision::F32 }
    }

    /// On a GPU, software adapters included, no node on the host; skipped where there is none, unless one is required.
    fn gpu(class: Option<DeviceClass>, precision: Precision) -> Self {
        let mut wanted = DeviceOptions::default();
        (wanted.backend, wanted.class) = (Backend::Gpu, class);
        let device = Device::new(&wanted)
            .inspect_err(|e| {
                assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{e}");
                eprintln!("skipped: {e}");
            })
            .ok();
        let options = Options::new().placement(Placement::GpuOnly).precision(precision);
        Self { device, options, tolerance: if precision == Precision::F16 { F16 } else { F32 }, precision }
    }
}

fn agrees(model: &str, references: &[&str], case: &Case) {
    let (Some(folder), Some(device)) = (models(), &case.device) else { return };
    let model = Model::open(folder.join(format!("{model}.onnx"))).expect("the model loads");
    // One session for all references: the second has other shapes.
    let mut session = model.session_with(device, &case.options).expect("the model is planned and loaded");
    for name in references {
        let (inputs, outputs) = reference(folder.join(format!("{name}.io.npz")));
        let given = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.view()));
        let results = session.run_with(given).expect("the model runs");
        assert!(!outputs.is_empty());
        for (name, expected) in &outputs {
            let (_, got) = results.iter().find(|(n, _)| n == name).expect("an output of that name");
            let compared = case.tolerance.compare(name, got, expected);
            assert!(compared.passed, "against ONNX Runtime: {compared:?}");
        }
        let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let tolerance = Tolerance::of(case.precision);
        let validation = validate(&model, device, &case.options, &given, tolerance).expect("the model runs");
        assert!(validation.passed(), "against the references: {:?}", validation.first_failure());
    }
}
