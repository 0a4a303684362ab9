//! Networks as PyTorch's two exporters write them, against what ONNX Runtime answers: a vision transformer, a recurrent text
//! classifier, and a decoder with keys and values of the past (`tests/data/exports`, made by `tests/reference/exports.py`).

use std::collections::BTreeSet;
use std::path::PathBuf;

use rimlight::{Backend, Device, DeviceOptions, Model, Session, Tensor};
use rimlight_tests::{Arrays, npz, root};

const EXPORTERS: [&str; 2] = ["script", "dynamo"];

/// Relative to the largest number of an output.
const TOLERANCE: f64 = 1e-4;

fn devices() -> Vec<Device> {
    let mut options = DeviceOptions::default();
    options.backend = Backend::Gpu;
    let gpu = Device::new(&options).inspect_err(|error| {
        assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{error}");
        eprintln!("skipped: {error}");
    });
    [Device::cpu()].into_iter().chain(gpu.ok()).collect()
}

/// A network in a form, and the cases of its reference in order.
struct Export {
    path: PathBuf,
    arrays: Arrays,
}

impl Export {
    fn of(name: &str, exporter: &str) -> Self {
        let path = root().join(format!("tests/data/exports/{name}.{exporter}.onnx"));
        Self { arrays: npz(path.with_extension("io.npz")), path }
    }

    fn session(&self, device: &Device) -> Session {
        Model::open(&self.path).expect("the model loads").session(device).expect("a session")
    }

    fn cases(&self) -> BTreeSet<&str> {
        self.arrays.iter().filter_map(|(name, _)| name.strip_prefix("in:")?.split('/').next()).collect()
    }

    /// What a case gives (`in`) or gets (`out`).
    fn of_case<'a>(&'a self, direction: &str, case: &str) -> Vec<(&'a str, &'a Tensor)> {
        let prefix = format!("{direction}:{case}/");
        self.arrays.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(&prefix)?, tensor))).collect()
    }

    fn check(&self, device: &Device, case: &str, name: &str, found: &Tensor) {
        let (_, expected) = self.of_case("out", case).into_iter().find(|(own, _)| *own == name).expect("an answer");
        let at = format!("{} on {device:?}, case {case}, {name}", self.path.display());
        assert_eq!(found.shape(), expected.shape(), "{at}");
        let (found, expected) = (found.to_f64(), expected.to_f64());
        let largest = expected.iter().fold(0f64, |m, v| m.max(v.abs()));
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0f64, f64::max);
        assert!(worst <= TOLERANCE * largest, "{at}: {worst} of {largest}");
    }
}

/// Every case by itself, all of them in one session.
fn agrees(name: &str) {
    for (device, exporter) in devices().iter().flat_map(|device| EXPORTERS.map(|exporter| (device, exporter))) {
        let export = Export::of(name, exporter);
        let mut session = export.session(device);
        assert!(export.cases().len() > 1);
        for case in export.cases() {
            let given: Vec<_> = export.of_case("in", case).into_iter().map(|(name, t)| (name, t.view())).collect();
            for (name, found) in session.run_with(given).expect("a run") {
                export.check(device, case, &name, &found);
            }
        }
    }
}

#[test]
fn a_vision_transformer() {
    agrees("vision");
}

#[test]
fn a_recurrent_text_classifier() {
    agrees("text");
}

#[test]
fn a_decoder_with_its_past_given() {
    agrees("decoder");
}

#[test]
fn a_decoder_that_keeps_its_past() {
    for (device, exporter) in devices().iter().flat_map(|device| EXPORTERS.map(|exporter| (device, exporter))) {
        let export = Export::of("decoder", exporter);
        let mut session = export.session(device);
        let states = |name: &str| name.starts_with("past.");
        for (past, _) in export.of_case("in", "0").into_iter().filter(|(name, _)| states(name)) {
            session.carry(&past.replace("past", "present"), past).expect("a state");
        }
        for case in export.cases() {
            // The past is given to the first run alone.
            let given = export.of_case("in", case).into_iter().filter(|(name, _)| case == "0" || !states(name));
            let given: Vec<_> = given.map(|(name, tensor)| (name, tensor.view())).collect();
            let outputs = session.run_with(given).expect("a run");
            let logits = outputs.iter().find(|(name, _)| name == "logits").expect("logits");
            export.check(device, case, "logits", &logits.1);
        }
        let last = export.cases().into_iter().next_back().expect("a case").to_owned();
        let state = session.state("present.1.value").expect("a state");
        export.check(device, &last, "present.1.value", &state);
    }
}
