//! The program as a user runs it: what it prints, and how it exits.

mod onnx;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rimlight::{ElementType, Tensor};
use rimlight_cli::arrays;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rimlight(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rimlight"));
    command.args(arguments).current_dir(root()).env_remove("RIMLIGHT_MODELS");
    command
}

fn run(arguments: &[&str]) -> Output {
    rimlight(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("it was killed: {output:?}"))
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> serde_json::Value {
    assert_eq!(code(output), 0, "{}", message(output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

/// Whether there is an adapter; where the environment demands one, there must be.
fn gpu() -> bool {
    let there = rimlight::Device::gpu().is_ok();
    assert!(there || std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "a GPU is required, but there is none");
    if !there {
        eprintln!("skipped in part: there is no GPU adapter");
    }
    there
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in ["try", "devices", "inspect", "run", "validate", "bench", "compress", "conformance", "models"] {
        let output = run(&[command, "--help"]);
        assert_eq!(code(&output), 0);
        let help = String::from_utf8_lossy(&output.stdout);
        assert!(help.contains(&format!("rimlight {command}")) && help.contains("Example"), "{command}: {help}");
        if command != "try" {
            assert!(help.contains("--json"), "{command}");
        }
        if command != "models" {
            assert!(
                help.contains("--backend") && help.contains("--adapter") && help.contains("--device-class"),
                "{command}"
            );
        }
    }
    assert_eq!(code(&run(&["inspekt"])), 2);
}

#[test]
fn devices_are_checked() {
    if !gpu() {
        return;
    }
    let vulkan = |arguments: &[&str]| rimlight(arguments).env("WGPU_BACKEND", "vulkan").output().unwrap();
    let result = json(&vulkan(&["devices", "--check=quick", "--json"]));
    assert_eq!(result["passed"], true);
    let checks = result["adapters"][0]["self_test"]["checks"].as_array().unwrap();
    for name in ["loops", "workgroup memory and barriers", "storage in 16-bit floats"] {
        let check = checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {checks:?}"));
        assert_eq!(check["result"], "ok");
    }
    let text =
        String::from_utf8_lossy(&vulkan(&["devices", "--check", "--adapter", "no such adapter"]).stdout).into_owned();
    assert!(text.contains("no GPU to check"), "{text}");
}

#[test]
fn a_picture_is_classified_on_both_backends() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.npz");
    let mut backends = vec!["cpu"];
    if gpu() {
        backends.push("gpu");
    }
    for backend in backends {
        for digit in [3, 7] {
            let picture = format!("image=models/images/digit_{digit}.png");
            let out = out.to_str().unwrap();
            let result =
                json(&run(&["run", "digits", "--input", &picture, "--output", out, "--backend", backend, "--json"]));
            assert_eq!(result["backend"], backend);
            assert_eq!(result["outputs"][0]["argmax"], digit);
            let arrays = arrays::read_npz(Path::new(out)).unwrap();
            assert_eq!((arrays[0].0.as_str(), arrays[0].1.shape()), ("probabilities", &[1, 10][..]));
        }
    }
}

#[test]
fn the_gpu_agrees_with_the_references_and_no_node_is_on_the_host() {
    if !gpu() {
        return;
    }
    for class in ["software", "mali", "nvidia", "gl"] {
        for precision in ["f32", "f16"] {
            let arguments = [
                "validate",
                "models/digits.onnx",
                "--input",
                "models/images/digit_5.png",
                "--require-gpu",
                "--device-class",
                class,
                "--precision",
                precision,
                "--json",
            ];
            let result = json(&run(&arguments));
            assert_eq!(result["passed"], true, "{class} {precision}: {result}");
            assert_eq!(result["precision"], precision);
            assert!(result["elements"].as_u64().unwrap() > 1000);
        }
    }
}

#[test]
fn a_tolerance_that_nothing_keeps_is_answered_with_no() {
    let arguments =
        ["validate", "digits", "--backend", if gpu() { "gpu" } else { "cpu" }, "--rtol", "0", "--atol", "0"];
    let output = run(&arguments);
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("the first that differs: '"));
}

#[test]
fn bench_has_the_figures_of_the_contract() {
    let result = json(&run(&["bench", "digits", "--runs", "3", "--warmup", "1", "--backend", "cpu", "--json"]));
    let keys: Vec<&str> = result.as_object().unwrap().keys().map(String::as_str).collect();
    let contract = [
        "model",
        "backend",
        "adapter",
        "precision",
        "load_ms",
        "cold_start_ms",
        "median_ms",
        "min_ms",
        "p95_ms",
        "peak_rss_mb",
        "gpu_memory_mb",
        "dispatches",
        "pipelines",
        "device_ms",
        "cpu_ms",
        "runs_ms",
    ];
    assert_eq!(keys, contract);
    assert_eq!(result["runs_ms"].as_array().unwrap().len(), 3);
    assert!(result["min_ms"].as_f64().unwrap() > 0.0);
    assert!(result["cold_start_ms"].as_f64().unwrap() >= result["load_ms"].as_f64().unwrap());
}

#[test]
fn a_memory_limit_is_kept_or_refused() {
    let refused = run(&["run", "digits", "--memory-limit", "100", "--backend", "cpu"]);
    assert_eq!(code(&refused), 2);
    if gpu() {
        let limited = |megabytes| run(&["inspect", "digits", "--memory-limit", megabytes, "--backend", "gpu"]);
        assert_eq!(code(&limited("100")), 0);
        let refused = limited("0");
        assert_eq!(code(&refused), 2);
        assert!(message(&refused).contains("more than the limit of 0"), "{}", message(&refused));
    }
}

#[test]
fn short_submissions_change_nothing_but_their_number() {
    if gpu() {
        let run = |more: &[&str]| run(&[&["validate", "digits", "--backend", "gpu"], more].concat());
        assert_eq!(code(&run(&["--submission", "0"])), 0);
        assert_eq!(code(&run(&["--submission", "short"])), 2);
    }
}

#[test]
fn bench_keeps_several_runs_under_way() {
    for backend in if gpu() { &["cpu", "gpu"][..] } else { &["cpu"] } {
        let result =
            json(&run(&["bench", "digits", "--runs", "3", "--in-flight", "2", "--backend", backend, "--json"]));
        assert_eq!(result["in_flight"], 2);
        assert!(result["runs_per_second"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn inspect_tells_what_runs_where() {
    let result = json(&run(&["inspect", "digits", "--backend", "cpu", "--json"]));
    assert_eq!(result["parameters"], 93_322);
    assert_eq!(result["operators"]["Conv"], 3);
    if !gpu() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [svg, dot] = ["plan.svg", "plan.dot"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let result = json(&run(&["inspect", "digits", "--backend", "gpu", "--svg", &svg, "--dot", &dot, "--json"]));
    assert_eq!(result["plan"]["host_nodes"], 0);
    let most = result["plan"]["live_bytes"].as_array().unwrap().iter().filter_map(serde_json::Value::as_u64).max();
    assert!(most <= result["plan"]["activation_bytes"].as_u64());
    assert!(std::fs::read_to_string(svg).unwrap().ends_with("</svg>\n"));
    assert!(std::fs::read_to_string(dot).unwrap().starts_with("digraph"));
    let text = run(&["inspect", "digits", "--backend", "gpu", "--steps"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("dispatch '"));
}

#[test]
fn try_ends_with_a_verdict_and_a_program() {
    let output = run(&["try", "digits", "--input", "models/images/digit_4.png"]);
    assert_eq!(code(&output), 0, "{}", message(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    for part in ["YES", "fn main()", "session.input(\"image\")", "AGREE"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn bad_input_gets_a_clear_message_and_status_two() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let digits = std::fs::read(root().join("models/digits.onnx")).unwrap();
    let text = file("text.onnx", b"this is no model");
    let cut = file("cut.onnx", &digits[..digits.len() / 2]);
    let picture = file("picture.png", b"this is no picture");
    let input = |name: &str, tensor: Tensor| {
        let path = folder.path().join(name);
        arrays::write_npz(&path, &[("x".to_owned(), tensor)]).unwrap();
        format!("image={}", path.to_str().unwrap())
    };
    let shape = input("shape.npz", Tensor::zeros(ElementType::F32, [1, 1, 27, 28]).unwrap());
    let types = input("types.npz", Tensor::zeros(ElementType::I32, [1, 1, 28, 28]).unwrap());
    let picture = format!("image={picture}");
    for (arguments, said) in [
        (&["run", &text][..], "not an ONNX model"),
        (&["run", &cut], "not an ONNX model"),
        (&["run", "missing.onnx"], "no such file"),
        (&["run", "digit"], "did you mean 'digits'?"),
        (&["run", "digits", "--input", "imge=x.npy"], "did you mean 'image'?"),
        (&["run", "digits", "--input", "image=x.npy"], "x.npy"),
        (&["run", "digits", "--input", &shape], "[1, 1, 27, 28]"),
        (&["run", "digits", "--input", &types], "i32"),
        (&["run", "digits", "--input", &picture], "cannot be decoded"),
        (&["run", "digits", "--dim", "M=1"], "symbolic dimension 'M'"),
        (&["run", "digits", "--dim", "N=99999999999"], "too large"),
        (&["inspect", "digits", "--without", "fold_constant"], "fold_constants"),
        (&["run", "digits", "--backend", "cpu", "--require-gpu"], "contradict"),
        (&["validate", "digits", "--rtol=-1"], "--rtol"),
        (&["conformance", "models"], "no test"),
    ] {
        let output = run(arguments);
        let message = message(&output);
        assert_eq!(code(&output), 2, "{arguments:?}: {message}");
        assert!(message.contains(said) && !message.contains("panicked"), "{arguments:?}: {message}");
    }
}

/// The program without any driver: Vulkan's and EGL's are hidden.
fn without_drivers(arguments: &[&str]) -> Output {
    rimlight(arguments)
        .env("VK_DRIVER_FILES", "/nonexistent.json")
        .env("VK_ICD_FILENAMES", "/nonexistent.json")
        .env("__EGL_VENDOR_LIBRARY_FILENAMES", "/nonexistent.json")
        .env("__EGL_VENDOR_LIBRARY_DIRS", "/nonexistent")
        .output()
        .unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn without_a_driver_gpu_exits_three_and_auto_takes_the_cpu_and_says_so() {
    let output = without_drivers(&["run", "digits", "--backend", "gpu"]);
    assert_eq!(code(&output), 3, "{output:?}");
    assert!(message(&output).contains("no GPU"), "{output:?}");
    let output = without_drivers(&["devices"]);
    assert_eq!(code(&output), 0);
    assert!(String::from_utf8_lossy(&output.stdout).contains("CPU: taken"), "{output:?}");
    assert_eq!(json(&without_drivers(&["run", "digits", "--json"]))["backend"], "cpu");
}

#[test]
fn a_backend_test_passes_fails_or_is_unsupported() {
    let folder = tempfile::tempdir().unwrap();
    let test = |name: &str, expected: f32| {
        let set = folder.path().join(name).join("test_data_set_0");
        std::fs::create_dir_all(&set).unwrap();
        std::fs::write(folder.path().join(name).join("model.onnx"), relu()).unwrap();
        std::fs::write(set.join("input_0.pb"), tensor(&[-1.0, 2.0])).unwrap();
        std::fs::write(set.join("output_0.pb"), tensor(&[0.0, expected])).unwrap();
    };
    test("right", 2.0);
    let arguments = ["conformance", folder.path().to_str().unwrap(), "--backend", "cpu"];
    let output = run(&arguments);
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1 passed, 0 failed, 0 unsupported\n");
    test("wrong", 3.0);
    std::fs::create_dir_all(folder.path().join("unknown/test_data_set_0")).unwrap();
    let unknown: Vec<u8> = String::from_utf8(relu()).unwrap().replace("Relu", "Rulu").into_bytes();
    std::fs::write(folder.path().join("unknown/model.onnx"), unknown).unwrap();
    let output = run(&arguments);
    assert_eq!(code(&output), 1, "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.ends_with("1 passed, 1 failed, 1 unsupported\n"), "{text}");
    assert!(text.contains("failed: wrong: output 'y': element 1 is 2 instead of 3"), "{text}");
    // `run` refuses the same file for the same reason.
    let reason = "no such operator";
    let output = run(&[&arguments[..], &["--json"]].concat());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = report["tests"].as_array().unwrap().iter().find(|row| row["test"] == "unknown").unwrap();
    assert_eq!((row["result"].as_str(), row["unsupported"].as_str()), (Some("unsupported"), Some(reason)));
    let output = run(&["run", folder.path().join("unknown/model.onnx").to_str().unwrap(), "--backend", "cpu"]);
    assert_eq!(code(&output), 2);
    assert!(message(&output).contains(&format!("not supported ({reason})")), "{output:?}");
    // A file of expectations that is written agrees with the run after it, whose status is then 0.
    let list = folder.path().join("expectations.toml");
    std::fs::write(&list, "").unwrap();
    let listed = [&arguments[..], &["--expectations", list.to_str().unwrap()]].concat();
    assert_eq!(code(&run(&listed)), 1);
    assert_eq!(code(&run(&[&listed[..], &["--write"]].concat())), 0);
    let output = run(&listed);
    assert_eq!(code(&output), 0, "{output:?}");
}

/// A `TensorProto` of f32.
fn tensor(values: &[f32]) -> Vec<u8> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    onnx::message(&[(9, &bytes)], &[(1, values.len() as u64), (2, 1)])
}

/// A model: y = Relu(x), both f32[2].
fn relu() -> Vec<u8> {
    onnx::model(&[onnx::node("Relu", &["x"], "y")], &[], &[onnx::port("x", &[2])], &[onnx::port("y", &[2])])
}

#[test]
fn a_smaller_model_is_written_with_a_report_or_nothing_is() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("small.onnx");
    let (masks, path) = (folder.path().join("masks.npz"), out.to_str().unwrap());
    let samples = tempfile::tempdir().unwrap();
    let wrong = samples.path().join("wrong.npz");
    let colours = rimlight::Tensor::new([1, 3, 28, 28], vec![0f32; 3 * 28 * 28]).unwrap();
    arrays::write_npz(&wrong, &[("image".to_owned(), colours)]).unwrap();
    let none = samples.path().join("none.npz");
    let nothing = rimlight::Tensor::new([0, 1, 28, 28], Vec::<f32>::new()).unwrap();
    arrays::write_npz(&none, &[("image".to_owned(), nothing)]).unwrap();
    let (colours, empty) = (wrong.to_str().unwrap(), samples.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    let from = |model: &str, path: &str, more: &[&str]| {
        run(&[&["compress", model, "-o", path, "--backend", "cpu", "--runs", "3", "--json"], more].concat())
    };
    let compress = |more: &[&str]| from("digits", path, more);
    for (wrong, expected) in [
        (&[][..], "nothing is to be done"),
        (&["--prune", "l1"], "--prune needs --amount"),
        (&["--prune", "l1", "--amount", "1.5"], "from 0 to 1, not 1.5"),
        (&["--prune", "l1", "--amount=-0.5"], "from 0 to 1, not -0.5"),
        (&["--prune", "channels", "--amount", "nan"], "from 0 to less than 1, not NaN"),
        (&["--prune", "l1", "--amount", "0.5", "--layers", "none"], "the model has no layer 'none'"),
        (&["--quantize", "int8-weights", "--layers", "convl"], "did you mean 'conv1'?"),
        (&["--quantize", "int8"], "name them with --calibrate"),
        (&["--quantize", "int8", "--calibrate", "docs"], "there is no sample in it"),
        (&["--quantize", "int8", "--calibrate", empty.to_str().unwrap()], "there is no sample in it"),
        (&["--quantize", "int8", "--calibrate", colours], "[1, 3, 28, 28]"),
        (&["--quantize", "int8", "--calibrate", none.to_str().unwrap()], "'image' is given nothing: [0, 1, 28, 28]"),
        (&["--quantize", "int8", "--calibrate", "models/images", "--max-loss", "2"], "from 0 to 1"),
        (&["--quantize", "f16", "--dim", "M=1"], "symbolic dimension 'M'"),
        (&["--quantize", "int8", "--calibrate", "tests/data/spam.io.npz"], "it has no array for the input 'image'"),
    ] {
        let output = compress(wrong);
        assert_eq!(code(&output), 2, "{wrong:?}");
        assert!(message(&output).contains(expected), "{wrong:?}: {}", message(&output));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    }
    let arguments =
        ["--prune", "channels", "--amount", "0.25", "--masks", masks.to_str().unwrap(), "--calibrate", "models/images"];
    let report = json(&compress(&arguments));
    assert_eq!(report["samples"]["count"], 10);
    for key in ["file_bytes", "work", "not_zero"] {
        assert!(report["after"][key].as_f64() < report["before"][key].as_f64(), "{key}");
    }
    assert!(!arrays::read_npz(&masks).unwrap().is_empty());
    let result = json(&run(&["run", path, "--input", "image=models/images/digit_3.png", "--backend", "cpu", "--json"]));
    assert_eq!(result["outputs"][0]["name"], "probabilities");
    // Zeros take a bit each, in the file, and what is packed so may be compressed again.
    let sparse = folder.path().join("sparse.onnx");
    let sparse = sparse.to_str().unwrap();
    let report = json(&from("digits", sparse, &["--prune", "l1", "--amount", "0.5"]));
    assert!(report["packed"]["constants"].as_u64() > Some(0));
    let bytes = |which: &str| report[which]["file_bytes"].as_f64().unwrap();
    assert!(bytes("after") < 0.65 * bytes("before"), "{report}");
    let result =
        json(&run(&["run", sparse, "--input", "image=models/images/digit_3.png", "--backend", "cpu", "--json"]));
    assert!(result["outputs"].is_array());
    let again = folder.path().join("again.onnx");
    let again = again.to_str().unwrap();
    let report = json(&from(sparse, again, &["--quantize", "f16", "--zeros", "packed"]));
    assert!(report["after"]["file_bytes"].as_f64().unwrap() < 0.4 * bytes("before"));
    // What was written is quantized then, and not once more.
    assert_eq!(json(&from(path, again, &["--quantize", "int8-weights"]))["quantized"]["opset"], 17);
    let output = run(&["compress", again, "-o", path, "--quantize", "f16"]);
    assert!(message(&output).contains("the model is quantized already"), "{}", message(&output));
    // Without samples the model is run on a random input, whose size may have to be said.
    let (decoder, halves) = ("tests/data/exports/decoder.script.onnx", ["--quantize", "f16"]);
    let output = from(decoder, again, &halves);
    assert!(message(&output).contains("--dim length=N"), "{}", message(&output));
    let dims = ["--dim", "length=2", "--dim", "past=3", "--dim", "total=5"];
    let report = json(&from(decoder, again, &[&halves[..], &dims].concat()));
    assert!(report["after"]["file_bytes"].as_f64() < report["before"]["file_bytes"].as_f64(), "{report}");
}
