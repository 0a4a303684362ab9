//! `rimlight conformance`: folders in the form of ONNX's backend tests.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Args;
use rimlight::onnx::{self, Limits};
use rimlight::{Device, LoadError, Model, Options, Tensor};

use super::{print, print_json};
use crate::failure::{Failure, Outcome};
use crate::flags::DeviceFlags;
use crate::output;

/// Run ONNX backend tests: folders of model.onnx and test_data_set_*
#[derive(Debug, Args)]
#[command(
    long_about = "Run ONNX backend tests: folders with `model.onnx` and `test_data_set_*/input_*.pb, output_*.pb`, one or \
        a tree of them.\n\nAn element may differ by atol + rtol times the expected one, as in the standard's own runner. \
        Exit status 1 if a test fails; what is not supported does not count as a failure.",
    after_help = "Example: rimlight conformance onnx/backend/test/data/node --backend gpu"
)]
pub struct Conformance {
    /// Folders of tests, or of folders of tests
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// Allowed difference relative to the expected element
    #[arg(long, default_value_t = 1e-3)]
    rtol: f64,
    /// Allowed absolute difference
    #[arg(long, default_value_t = 1e-7)]
    atol: f64,
    /// Seconds that one test may take
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
    /// Only tests whose name holds this
    #[arg(long, value_name = "SUBSTRING")]
    only: Option<String>,
    /// Print JSON, every test in it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Passed,
    Failed(String),
    Unsupported(String),
}

impl Conformance {
    pub fn run(&self) -> Outcome {
        let mut tests = vec![];
        for folder in &self.folders {
            if !folder.is_dir() {
                return Err(Failure::file(folder, "there is no such folder"));
            }
            find(folder, 0, &mut tests);
        }
        let wanted = |test: &PathBuf| self.only.as_deref().is_none_or(|only| name(test).contains(only));
        tests.retain(wanted);
        tests.sort();
        if tests.is_empty() {
            return Err(Failure::input(
                "there is no test: none of the folders has a model.onnx beside a test_data_set_0",
            ));
        }
        let device = self.device.device(false)?;
        let bar = output::progress(tests.len() as u64, "testing", false);
        let mut ends = vec![];
        for test in &tests {
            let end = self.bounded(test, &device);
            if !self.json
                && let End::Failed(reason) = &end
            {
                bar.suspend(|| print(&format!("failed: {}: {reason}\n", name(test))))?;
            }
            ends.push(end);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let count = |wanted: fn(&End) -> bool| ends.iter().filter(|end| wanted(end)).count();
        let passed = count(|end| matches!(end, End::Passed));
        let failed = count(|end| matches!(end, End::Failed(_)));
        let unsupported = count(|end| matches!(end, End::Unsupported(_)));
        if self.json {
            let test = |(test, end): (&PathBuf, &End)| {
                let (end, reason) = match end {
                    End::Passed => ("passed", None),
                    End::Failed(reason) => ("failed", Some(reason)),
                    End::Unsupported(reason) => ("unsupported", Some(reason)),
                };
                serde_json::json!({ "test": name(test), "folder": test, "result": end, "reason": reason })
            };
            print_json(&serde_json::json!({
                "adapter": device.name(),
                "passed": passed,
                "failed": failed,
                "unsupported": unsupported,
                "tests": tests.iter().zip(&ends).map(test).collect::<Vec<_>>(),
            }))?;
        } else {
            print(&format!("{passed} passed, {failed} failed, {unsupported} unsupported\n"))?;
        }
        if failed == 0 { Ok(()) } else { Err(Failure::NO) }
    }

    /// Runs a test on a thread of its own, so that one that hangs or panics is one that failed.
    fn bounded(&self, test: &Path, device: &Device) -> End {
        let (sender, receiver) = mpsc::channel();
        let (test, device) = (test.to_owned(), device.clone());
        let (rtol, atol) = (self.rtol, self.atol);
        let timeout = Duration::from_secs(self.timeout);
        let worker = std::thread::spawn(move || {
            // Nobody listens any more where the time is over.
            let _ = sender.send(run(&test, &device, rtol, atol));
        });
        let start = Instant::now();
        match receiver.recv_timeout(timeout) {
            Ok(end) => end,
            Err(mpsc::RecvTimeoutError::Timeout) => End::Failed(format!("it took more than {} s", self.timeout)),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let reason = worker.join().err().map(|panic| match panic.downcast::<String>() {
                    Ok(message) => *message,
                    Err(panic) => {
                        panic.downcast::<&str>().map_or_else(|_| String::new(), |message| (*message).to_owned())
                    }
                });
                End::Failed(format!("it panicked after {:?}: {}", start.elapsed(), reason.unwrap_or_default()))
            }
        }
    }
}

fn name(test: &Path) -> String {
    test.file_name().unwrap_or(test.as_os_str()).to_string_lossy().into_owned()
}

/// Every folder of a test in a tree.
fn find(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    if folder.join("model.onnx").is_file() {
        found.push(folder.to_owned());
        return;
    }
    // Links may lead in circles.
    if depth == 16 {
        return;
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            find(&entry.path(), depth + 1, found);
        }
    }
}

fn run(test: &Path, device: &Device, rtol: f64, atol: f64) -> End {
    let model = match Model::open(test.join("model.onnx")) {
        Ok(model) => model,
        Err(error @ LoadError::UnknownOperators { .. }) => return End::Unsupported(error.to_string()),
        Err(error) => return refused(error.to_string()),
    };
    let mut sets: Vec<PathBuf> = std::fs::read_dir(test)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| name(path).starts_with("test_data_set_") && path.is_dir())
        .collect();
    sets.sort();
    if sets.is_empty() {
        return End::Failed("it has no test_data_set_0".to_owned());
    }
    let mut session = None;
    for set in sets {
        let (inputs, expected) = match (tensors(&set, "input"), tensors(&set, "output")) {
            (Ok(inputs), Ok(expected)) => (inputs, expected),
            (Err(error), _) | (_, Err(error)) => return refused(error),
        };
        if inputs.len() > model.inputs().len() || expected.len() > model.outputs().len() {
            return End::Failed(format!("{} has more tensors than the model inputs and outputs", name(&set)));
        }
        let session = match &mut session {
            Some(session) => session,
            none => match rimlight::Engine::new(&model, device, &Options::new()).map_err(rimlight::Error::from) {
                Ok(engine) => match engine.session() {
                    Ok(session) => none.insert(session),
                    Err(error) => return refused(error.to_string()),
                },
                Err(error) => return refused(error.to_string()),
            },
        };
        let views = model.inputs().map(|port| port.name).zip(inputs.iter().map(Tensor::view));
        let outputs = match session.run_with(views) {
            Ok(outputs) => outputs,
            Err(error) => return refused(error.to_string()),
        };
        for ((name, got), expected) in outputs.iter().zip(&expected) {
            if let Err(difference) = compare(got, expected, rtol, atol) {
                return End::Failed(format!("output '{name}': {difference}"));
            }
        }
    }
    End::Passed
}

/// A refusal of what the standard allows is a gap, not a fault, where it says so.
fn refused(message: String) -> End {
    let gaps =
        ["not supported", "unsupported", "has no such operator", "does not have", "has no kernel", "not implemented"];
    if gaps.iter().any(|gap| message.to_lowercase().contains(gap)) {
        End::Unsupported(message)
    } else {
        End::Failed(message)
    }
}

/// The tensors `KIND_0.pb`, `KIND_1.pb`, …
fn tensors(set: &Path, kind: &str) -> Result<Vec<Tensor>, String> {
    let mut found = vec![];
    loop {
        let path = set.join(format!("{kind}_{}.pb", found.len()));
        if !path.is_file() {
            return Ok(found);
        }
        let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        match onnx::read_tensor(bytes.into(), &Limits::default()) {
            Ok((_, tensor)) => found.push(tensor),
            // Sequences and optionals are files of other messages.
            Err(LoadError::Format(_)) => return Err(format!("{}: what is no tensor is not supported", name(&path))),
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn compare(got: &Tensor, expected: &Tensor, rtol: f64, atol: f64) -> Result<(), String> {
    if (got.element_type(), got.shape()) != (expected.element_type(), expected.shape()) {
        return Err(format!(
            "{}{:?} instead of {}{:?}",
            got.element_type(),
            got.shape(),
            expected.element_type(),
            expected.shape()
        ));
    }
    let (got, expected) = (got.to_f64(), expected.to_f64());
    for (i, (&g, &e)) in got.iter().zip(&expected).enumerate() {
        let same = g == e || (g.is_nan() && e.is_nan()) || (e.is_finite() && (g - e).abs() <= atol + rtol * e.abs());
        if !same {
            return Err(format!("element {i} is {g} instead of {e}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_measured_by_themselves() {
        let tensor = |v: &[f32]| Tensor::vector(v.to_vec());
        assert!(compare(&tensor(&[1000.5, f32::NAN]), &tensor(&[1000.0, f32::NAN]), 1e-3, 0.0).is_ok());
        assert!(compare(&tensor(&[1.002]), &tensor(&[1.0]), 1e-3, 1e-7).unwrap_err().contains("element 0"));
        assert!(compare(&tensor(&[1.0]), &Tensor::vector(vec![1i64]), 1.0, 1.0).is_err());
        assert!(compare(&tensor(&[f32::INFINITY]), &tensor(&[f32::MAX]), 1e-3, 1e-7).is_err());
    }
}
