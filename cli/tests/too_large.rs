//! A tensor that is larger than what the adapter binds at once: an error that says so, or the CPU.

mod onnx;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use onnx::{integers, message, model, node, port};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rimlight")).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The adapter's name, and the bytes that it binds at once; where the environment demands one, there must be.
fn adapter() -> Option<(String, u64)> {
    match rimlight::Device::gpu() {
        Ok(device) => Some((device.as_gpu()?.info().name.clone(), device.facts()?.max_binding_size)),
        Err(error) => {
            assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{error}");
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// `y = max(expand(x, [rows, 4]))`: four numbers go in, and in between there are `16 · rows` bytes.
fn large_value(folder: &Path, rows: u64) -> PathBuf {
    let nodes = [node("Expand", &["x", "shape"], "large"), node("ReduceMax", &["large"], "y")];
    let shape = integers("shape", &[i64::try_from(rows).unwrap(), 4]);
    let path = folder.join("value.onnx");
    std::fs::write(&path, model(&nodes, &[shape], &[port("x", &[4])], &[port("y", &[1, 1])])).unwrap();
    path
}

/// `y = w[2]` with weights of `16 · rows` bytes, which lie in a file full of holes.
fn large_weights(folder: &Path, rows: u64) -> PathBuf {
    let entry = message(&[(1, b"location"), (2, b"w.bin")], &[]);
    let w = message(&[(8, b"w"), (13, &entry)], &[(1, rows), (1, 4), (2, 1), (14, 1)]);
    std::fs::File::create(folder.join("w.bin")).unwrap().set_len(rows * 16).unwrap();
    let nodes = [node("MatMul", &["w", "x"], "y")];
    let path = folder.join("weights.onnx");
    std::fs::write(&path, model(&nodes, &[w], &[port("x", &[4, 1])], &[port("y", &[rows, 1])])).unwrap();
    path
}

#[test]
fn on_the_gpu_it_is_an_error_that_names_the_tensor_and_the_way_out() {
    let Some((_, limit)) = adapter() else { return };
    let folder = tempfile::tempdir().unwrap();
    let rows = limit / 16 + 1;
    let path = large_value(folder.path(), rows);
    for command in ["run", "inspect", "validate", "bench"] {
        let output = run(&[command, path.to_str().unwrap(), "--backend", "gpu"]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{command}: {said}");
        let named = format!("tensor 'large' takes {} bytes", rows * 16);
        for part in [&named, ", Expand)", "--backend cpu", "--adapter", &limit.to_string()] {
            assert!(said.contains(part) && !said.contains("panicked"), "{command}: '{part}' in {said}");
        }
    }
}

#[test]
fn weights_that_are_too_large_lie_in_parts() {
    let Some((_, limit)) = adapter() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = large_weights(folder.path(), limit / 16 + 1);
    let output = run(&["inspect", path.to_str().unwrap(), "--backend", "gpu", "--require-gpu"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    // Small enough to be computed in a test.
    if limit <= 256 << 20 {
        let output = run(&["run", path.to_str().unwrap(), "--backend", "gpu", "--require-gpu", "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    }
}

#[test]
fn what_just_fits_runs() {
    let Some((_, limit)) = adapter().filter(|(_, limit)| *limit <= 256 << 20) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = large_value(folder.path(), limit / 16);
    let output = run(&["run", path.to_str().unwrap(), "--backend", "gpu", "--require-gpu", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn an_automatic_choice_takes_the_cpu_and_says_so() {
    let Some((name, limit)) = adapter() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = large_value(folder.path(), limit / 16 + 1);
    // A GPU in software is taken only by its name; the choice is automatic all the same.
    let automatic = ["--backend", "auto", "--adapter", &name];
    let with = |command, more: &[&str]| run(&[&[command, path.to_str().unwrap()], &automatic[..], more].concat());
    let output = with("inspect", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(
        said(&output).contains("on the CPU") && said(&output).contains("tensor 'large' takes"),
        "{}",
        said(&output)
    );
    // Who asks for the GPU by another flag gets the error.
    assert_eq!(with("inspect", &["--require-gpu"]).status.code(), Some(2));
    // So does who wants 16 bits, which the CPU does not have.
    large_value(folder.path(), limit / 8 + 2);
    assert_eq!(with("inspect", &["--precision", "f16"]).status.code(), Some(2));
    large_value(folder.path(), limit / 16 + 1);
    // Small enough to be computed in a test.
    if limit <= 256 << 20 {
        let output = with("run", &["--json"]);
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(result["backend"], "cpu", "{}", said(&output));
        assert!(result["notes"].to_string().contains("tensor 'large' takes"), "{result}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("the CPU runs the model"), "{}", said(&output));
    }
}
