//! Drivers that are broken on purpose: each fault is found, what it spoils switched off, and a model answers right without.

use super::*;
use crate::error::PlanError;
use crate::graph::{Definition, Graph};
use crate::kernel::{Dialect, Kernel, Shaders};
use crate::model::Model;
use crate::plan::Place;
use crate::session::{Device, Options, Tolerance};
use crate::tensor::{ElementType, Tensor};

/// A device whose driver changes the text of every kernel.
fn broken(how: fn(&str) -> String) -> Option<GpuDevice> {
    let device = GpuDevice::for_this_test()?;
    *lock(&device.shared().trust.broken) = Some(Arc::new(move |_, text| how(text)));
    Some(device)
}

/// A device on which kernels of these shaders store results that are off by one, or do not compile.
fn off_by_one(is_wrong: impl Fn(&str) -> bool + Send + Sync + 'static, compiles: bool) -> Option<GpuDevice> {
    let device = GpuDevice::for_this_test()?;
    let dialect = device.facts().dialect;
    let how = move |kernel: &Kernel, text: &str| match (is_wrong(kernel.shader), compiles) {
        (false, _) => text.to_owned(),
        (true, false) => "this is no shader".to_owned(),
        (true, true) => {
            let kernel = kernel.clone().define("FAULT", 1);
            crate::kernel::assemble::assemble_from(&Shaders::default(), &kernel, dialect).unwrap().wgsl
        }
    };
    *lock(&device.shared().trust.broken) = Some(Arc::new(how));
    Some(device)
}

/// A convolution and what follows it, and the answer.
fn model() -> (Model, Tensor, Tensor) {
    let numbers = |n: usize| (0..n).map(|i| ((i * 37 + 11) % 101) as f32 / 50.5 - 1.0).collect::<Vec<_>>();
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [1, 8, 12, 12]);
    let w = graph.constant("w", Tensor::new([16, 8, 3, 3], numbers(1152)).unwrap());
    let y = graph.node(&Definition::new("Conv").attribute("pads", [1i64; 4]), &[x, w]).unwrap();
    graph.output("y", y);
    let model = Model::from_graph(graph.build().unwrap());
    let x = Tensor::new([1, 8, 12, 12], numbers(1152)).unwrap();
    let answer = model.session(&Device::cpu()).unwrap().run_with([("x", x.view())]).unwrap();
    (model, x, answer[0].1.clone())
}

/// The shaders by which the model's convolution is planned, and where it runs.
fn planned(model: &Model, device: &Device) -> (Vec<&'static str>, Place) {
    let plan = model.plan(device, &Options::new()).unwrap();
    let schedule = plan.schedule().unwrap();
    let shaders = schedule.kernels.iter().map(|kernel| kernel.shader).filter(|shader| shader.starts_with("conv/"));
    (shaders.collect(), schedule.places[0].place.clone())
}

fn answers_right(model: &Model, device: &Device, x: &Tensor, expected: &Tensor) {
    let got = model.session(device).unwrap().run_with([("x", x.view())]).unwrap();
    let tolerance = Tolerance { rtol: 1e-4, atol: 1e-5, floor: 0.0, amplified: 0.0 };
    assert!(tolerance.compare("y", &got[0].1, expected).passed);
}

#[test]
fn a_kernel_that_answers_wrong_is_done_without() {
    let (model, x, expected) = model();
    for compiles in [true, false] {
        let Some(sound) = GpuDevice::for_this_test() else { return };
        let (first, _) = planned(&model, &Device::examined(sound).unwrap());
        let wrong = first.clone();
        let Some(device) = off_by_one(move |shader| wrong.contains(&shader), compiles) else { return };
        let gpu = device.clone();
        let device = Device::examined(device).unwrap();
        // Nobody knows before it is loaded.
        assert_eq!(planned(&model, &device).0, first);
        answers_right(&model, &device, &x, &expected);
        let (instead, place) = planned(&model, &device);
        assert!(instead != first && matches!(place, Place::Gpu(_)), "{instead:?} {place:?}");
        assert!(gpu.report().switched_off.iter().any(|off| off.contains(first[0])), "{}", gpu.report());
        // The next device of this process knows it from the start.
        let again = GpuDevice::for_this_test().unwrap();
        *lock(&again.shared().trust.broken) = lock(&gpu.shared().trust.broken).clone();
        pollster::block_on(again.examine(SelfTest::Auto)).unwrap();
        assert_eq!(again.distrust(), gpu.distrust());
    }
}

#[test]
fn where_no_kernel_is_left_the_host_computes() {
    let (model, x, expected) = model();
    let Some(device) = off_by_one(|shader| shader.starts_with("conv/"), true) else { return };
    let device = Device::examined(device).unwrap();
    answers_right(&model, &device, &x, &expected);
    let (shaders, place) = planned(&model, &device);
    assert!(
        shaders.is_empty() && matches!(&place, Place::Host(reason) if reason.contains("answers wrong")),
        "{place:?}"
    );
    // Who forbids the host is told why.
    let only = model.plan(&device, &Options::new().placement(crate::Placement::GpuOnly));
    assert!(matches!(only, Err(PlanError::HostNodes(nodes)) if nodes[0].contains("answers wrong")));
}

/// Replaces calls of a built-in function by calls of another of the same name in `with`, where there are any.
fn instead(text: &str, function: &str, with: &str) -> String {
    let call = format!("{function}(");
    match text.contains(&call) {
        true => format!("{}\n{with}", text.replace(&call, &format!("wrong_{call}"))),
        false => text.to_owned(),
    }
}

/// What all kernels lean on. (The families are what `rimlight devices --check` runs, which has a test.)
fn basics(device: &GpuDevice) -> SelfTestReport {
    pollster::block_on(device.test_basics()).unwrap();
    device.report()
}

fn names(report: &SelfTestReport) -> Vec<&str> {
    report.failures().map(|check| check.name.as_str()).collect()
}

#[test]
fn a_sound_device_passes() {
    let Some(device) = GpuDevice::for_this_test() else { return };
    let report = basics(&device);
    assert!(report.passed() && report.switched_off.is_empty(), "{report}");
    assert!(report.checks.len() >= 7 && report.checks.iter().any(|check| check.verdict == Verdict::Right), "{report}");
    assert!(device.distrust().is_empty());
}

#[test]
fn a_device_that_computes_nothing_is_not_checked() {
    let report = GpuDevice::noop().self_test().unwrap();
    assert!(report.passed() && matches!(report.checks[0].verdict, Verdict::Absent(_)), "{report}");
}

#[test]
fn what_is_wrong_is_switched_off() {
    /// The check that fails, how the driver is broken, whether what must be off is.
    type Case = (&'static str, fn(&str) -> String, fn(&GpuDevice) -> bool);
    let cases: [Case; 6] = [
        (
            "integer dot products",
            |text| instead(text, "dot4I8Packed", "fn wrong_dot4I8Packed(a: u32, b: u32) -> i32 { return i32(a ^ b); }"),
            |device| device.distrust().families().any(|family| family == "quantize/packed_register.wgsl"),
        ),
        (
            "atomics in storage",
            |text| text.replace("atomicMax(&", "atomicMin(&"),
            |device| device.distrust().families().any(|family| family == "shape/owners.wgsl"),
        ),
        (
            "workgroup memory and barriers",
            // What the other half of the workgroup says is not heard, as where a barrier is left out.
            |text| text.replace("told[local + half]", "told[local]"),
            |device| device.distrust().families().any(|family| family == "norm/softmax.wgsl"),
        ),
        (
            "storage in 16-bit floats",
            |text| {
                instead(
                    text,
                    "unpack2x16float",
                    "fn wrong_unpack2x16float(v: u32) -> vec2<f32> { return vec2<f32>(0.0); }",
                )
            },
            |device| !device.facts().dialect.halves,
        ),
        (
            "storage in words of 64 bits",
            |text| if text.contains("array<vec2<u64>>") { text.replace("<< 32u", "<< 31u") } else { text.to_owned() },
            |device| !device.facts().dialect.words64,
        ),
        (
            "subgroups",
            |text| text.replace("subgroupAdd(", "(-1.0) * ("),
            |device| device.facts().subgroup_size.is_none(),
        ),
    ];
    for (check, how, is_off) in cases {
        let Some(device) = broken(how) else { return };
        let Dialect { words64, halves } = device.facts().dialect;
        let has = match check {
            "storage in 16-bit floats" => halves,
            "storage in words of 64 bits" => words64,
            "subgroups" => device.facts().subgroup_size.is_some(),
            _ => true,
        };
        if !has {
            continue;
        }
        let report = basics(&device);
        assert_eq!(names(&report), [check], "{report}");
        assert!(is_off(&device), "{report}");
        assert_eq!((report.switched_off.len(), report.unfit.as_ref()), (1, None), "{report}");
        // Known from now on, and not asked again.
        assert!(device.remembered().is_some_and(|known| known.basics && known.report.switched_off.len() == 1));
    }
}

#[test]
fn a_device_that_cannot_loop_is_refused() {
    let Some(device) = broken(|text| text.replace("turn == params.turns", "turn == 1024u")) else { return };
    let refused = pollster::block_on(device.examine(SelfTest::Always));
    let Err(DeviceError::Unfit { adapter, reason }) = refused else { panic!("{refused:?}") };
    assert_eq!(adapter, device.info().to_string());
    assert!(reason.contains("loops: WRONG"), "{reason}");
}

#[test]
fn an_access_outside_that_is_not_caught_is_found() {
    let found = |behind: u8, read: i32| super::basics::bounds(&[read], &[5], &[0xa5, behind]);
    assert_eq!(found(0xa5, 5), Verdict::Right);
    assert!(matches!(found(0, 5), Verdict::Wrong { .. }));
    assert!(matches!(found(0xa5, 6), Verdict::Wrong { .. }));
}

#[test]
fn the_next_start_knows_what_was_found_and_damage_is_found_anew() {
    let Some(first) = broken(|text| text.replace("atomicMax(&", "atomicMin(&")) else { return };
    let driver = lock(&first.shared().trust.broken).clone();
    let path = std::env::temp_dir().join(format!("rimlight-self-test-{}", std::process::id()));
    let start = |device: &GpuDevice| {
        *lock(&device.shared().trust.broken) = driver.clone();
        device.forget();
        pollster::block_on(device.keep_in(crate::cache::Folder::new(&path))).unwrap();
        pollster::block_on(device.examine(SelfTest::Auto)).unwrap();
        assert!(device.distrust().families().any(|family| family == "shape/owners.wgsl"));
        // Whether it was asked.
        !device.report().checks.is_empty()
    };
    let next = || start(&GpuDevice::for_this_test().unwrap());
    assert!(start(&first) && !next());
    let files = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
    let file = files.into_iter().find(|file| file.to_string_lossy().contains("self-test-")).unwrap();
    let good = std::fs::read(&file).unwrap();
    let mut bad = good.clone();
    let last = bad.len() - 3;
    bad[last] ^= 1;
    for bad in [bad, good[..good.len() / 2].to_vec(), vec![]] {
        std::fs::write(&file, bad).unwrap();
        assert!(next());
        assert_eq!(std::fs::read(&file).unwrap(), good);
    }
    std::fs::remove_dir_all(&path).unwrap();
}

#[test]
fn a_family_that_answers_wrong_is_named_and_done_without() {
    let wrong = |shader: &str| shader == "matmul/vector.wgsl";
    let Some(device) = off_by_one(wrong, true) else { return };
    pollster::block_on(device.test_basics()).unwrap();
    // Few rows: kernels that compile in no time.
    let samples = vec![families::product(&[2, 16], families::weights(&[16, 8]))];
    let checks = pollster::block_on(device.check_families(samples)).unwrap();
    assert!(checks.iter().any(|check| check.verdict == Verdict::Right), "{checks:?}");
    for check in &checks {
        let is_wrong = matches!(check.verdict, Verdict::Wrong { .. });
        assert_eq!(is_wrong, check.name.contains("matmul/vector.wgsl"), "{check:?}");
    }
    assert_eq!(device.distrust().families().collect::<Vec<_>>(), ["matmul/vector.wgsl"]);
}
