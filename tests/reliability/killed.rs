//! Processes that are killed while they write what makes the next start faster: the next start is right.

use std::process::{Command, Stdio};
use std::time::Duration;

use rimlight::graph::Definition;
use rimlight::plan::Tuning;
use rimlight::{Backend, Device, DeviceOptions, ElementType, Graph, Model, Options, Tensor};

/// Processes that are killed unless `RIMLIGHT_SOAK` asks for all of them.
const FEW: usize = 3;
const ALL: usize = 200;

/// What tells a process of this test that it is one, and which folder it keeps its files in.
const FOLDER: &str = "RIMLIGHT_KILLED_FOLDER";
/// Whether it is to answer instead of to write.
const ANSWERS: &str = "RIMLIGHT_KILLED_ANSWERS";

fn device(folder: &str) -> Device {
    let mut options = DeviceOptions::default();
    options.backend = Backend::Gpu;
    options.cache_folder = Some(folder.into());
    Device::new(&options).unwrap()
}

/// `x` to this power and that many times itself: each is a kernel of its own.
fn model(number: usize) -> Model {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [5]);
    let mut y = x;
    for bit in 0..6 {
        let name = if number >> bit & 1 == 1 { "Sin" } else { "Cos" };
        y = graph.node(&Definition::new(name), &[y]).unwrap();
    }
    graph.output("y", y);
    Model::from_graph(graph.build().unwrap())
}

fn x() -> Tensor {
    Tensor::vector(vec![-2f32, -0.5, 0.0, 1.0, 3.0])
}

/// What is right for a model.
fn expected(number: usize) -> Vec<f32> {
    let step = |v: f32, bit: usize| if number >> bit & 1 == 1 { v.sin() } else { v.cos() };
    x().as_slice::<f32>().unwrap().iter().map(|&v| (0..6).fold(v, step)).collect()
}

fn answers(device: &Device, number: usize) {
    // Nothing is fused, so that there are many pipelines to keep.
    let options = Options::new().without("fuse_chain").without("fuse_activation");
    let mut session = model(number).session_with(device, &options).unwrap();
    let outputs = session.run_with([("x", x().view())]).unwrap();
    for (got, expected) in outputs[0].1.as_slice::<f32>().unwrap().iter().zip(expected(number)) {
        assert!((got - expected).abs() < 1e-5, "model {number}: {got} in place of {expected}");
    }
}

/// The process that is killed, or the one that starts after it. By itself it does nothing.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let device = device(&folder);
    if std::env::var_os(ANSWERS).is_some() {
        (0..3).for_each(|number| answers(&device, number));
        println!("answered, {} measured", device.as_gpu().unwrap().tuning().len());
        return;
    }
    for number in 0.. {
        answers(&device, number % 64);
        let mut tuning = Tuning::default();
        (0..40).for_each(|kind| tuning.set(kind, number as u128));
        device.as_gpu().unwrap().learn(&tuning);
    }
}

fn start(folder: &str, answers: bool) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "killed::child", "--nocapture"]).env(FOLDER, folder);
    if answers {
        command.env(ANSWERS, "1");
    }
    command
}

#[test]
fn a_start_after_a_kill_is_right() {
    if let Err(error) = Device::gpu() {
        assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{error}");
        eprintln!("skipped: {error}");
        return;
    }
    let times = if std::env::var_os("RIMLIGHT_SOAK").is_some() { ALL } else { FEW };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let (mut seed, mut drafts) = (12_345u64, 0);
    for time in 0..times {
        let mut child = start(path, false).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // From before the device is there until many files were written.
        std::thread::sleep(Duration::from_millis(50 + (seed >> 33) % 1500));
        child.kill().unwrap();
        child.wait().unwrap();
        drafts += std::fs::read_dir(path)
            .map_or(0, |all| all.flatten().filter(|file| file.file_name().to_string_lossy().contains(".tmp-")).count());
        let next = start(path, true).output().unwrap();
        let text = String::from_utf8_lossy(&next.stdout);
        assert!(next.status.success() && text.contains("answered"), "after kill {time}: {text}");
    }
    println!("{times} processes killed, {drafts} drafts seen that they left");
}
