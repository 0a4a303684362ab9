//! Kernels that a developer changes without building the library: `--shaders DIR`. So a fault can be planted in one, and
//! the program must find it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn run(command: &str, folder: &Path, more: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_rimlight"));
    program.args([command, "digits", "--backend", "gpu", "--shaders"]).arg(folder).args(more);
    program.current_dir(root()).env_remove("RIMLIGHT_MODELS").output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Whether there is an adapter; where the environment demands one, there must be.
fn gpu() -> bool {
    let there = rimlight::Device::gpu().is_ok();
    assert!(there || std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "a GPU is required, but there is none");
    there
}

/// A folder with a shader of the repository in it, changed.
fn folder(path: &str, change: impl Fn(&str) -> String) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(root().join("shaders").join(path)).unwrap();
    let file = folder.path().join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, change(&text)).unwrap();
    folder
}

/// Every activation, which the convolutions apply to what they store.
const ACTIVATION: &str = "common/activation.wgsl";

#[test]
fn a_fault_in_a_shader_is_answered_with_no_and_the_first_wrong_value() {
    if !gpu() {
        return eprintln!("skipped: there is no GPU adapter");
    }
    let whole = folder(ACTIVATION, str::to_owned);
    let output = run("validate", whole.path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));

    // All that is activated is an eighth too much.
    let faulty = folder(ACTIVATION, |text| {
        let right = text.replace("fn activate(", "fn right(");
        assert_ne!(right, text);
        let head = "fn activate(v: vec4<f32>, kind: u32, alpha: f32, beta: f32) -> vec4<f32>";
        format!("{right}\n{head} {{ return right(v, kind, alpha, beta) + 0.125; }}\n")
    });
    for class in ["software", "mali", "nvidia"] {
        let output = run("validate", faulty.path(), &["--device-class", class, "--json"]);
        assert_eq!(output.status.code(), Some(1), "{class}: {}", said(&output));
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(result["passed"], false);
        // The first convolution is the first that has an activation.
        assert_eq!(result["first_failure"]["name"], "conv1.relu", "{class}");
        let [got, expected] = ["got", "expected"].map(|key| result["first_failure"][key].as_f64().unwrap());
        assert!((got - expected - 0.125).abs() < 1e-3, "{class}: {got} instead of {expected}");
    }
    let output = run("validate", faulty.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("the first that differs: 'conv1.relu'"), "{}", said(&output));
}

#[test]
fn what_is_no_shader_is_refused() {
    if !gpu() {
        return eprintln!("skipped: there is no GPU adapter");
    }
    let broken = folder(ACTIVATION, |text| text.replace("let zero = vec4<f32>(0.0);", "let zero = vec4<f32>(0.0;"));
    let unknown = folder(ACTIVATION, |text| text.replace("sigmoid4(v)", "sigmoyd4(v)"));
    let directive = folder(ACTIVATION, |text| format!("#if\n{text}"));
    let parameters = folder(ACTIVATION, |text| format!("#param more: u32\n{text}"));
    let misnamed = folder(ACTIVATION, str::to_owned);
    fs::rename(misnamed.path().join(ACTIVATION), misnamed.path().join("common/activatoin.wgsl")).unwrap();
    let empty = tempfile::tempdir().unwrap();
    for (folder, parts) in [
        (&broken, ["shader 'common/activation.wgsl'", "expected"]),
        (&unknown, ["shader 'common/activation.wgsl'", "sigmoyd4"]),
        (&directive, ["common/activation.wgsl:1", "a condition is"]),
        (&parameters, ["shader 'common/activation.wgsl'", "\"more\""]),
        (&misnamed, ["common/activatoin.wgsl", "did you mean 'common/activation.wgsl'?"]),
        (&empty, ["holds no shader", "conv/direct.wgsl"]),
    ] {
        for command in ["validate", "inspect"] {
            let output = run(command, folder.path(), &[]);
            let said = said(&output);
            assert_eq!(output.status.code(), Some(2), "{said}");
            for part in parts {
                assert!(said.contains(part) && !said.contains("panicked"), "'{part}' in {said}");
            }
        }
    }
    let output = run("run", Path::new("no/such/folder"), &[]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    // The CPU has no use for them, and says so.
    let whole = folder(ACTIVATION, str::to_owned);
    let output = run("run", whole.path(), &["--backend", "cpu"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}
