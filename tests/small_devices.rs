//! A device of the application's own that was given small limits: models fit it, or the error says what does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rimlight::graph::Definition;
use rimlight::{Device, Dim, ElementType, Error, Graph, Model, Options, Placement, PlanError, Precision, Tensor};
use rimlight::{Tolerance, validate};

/// Bytes that one binding covers, and that one buffer has.
const BINDING: u64 = 1 << 20;

fn device() -> Option<(Device, Arc<AtomicUsize>)> {
    rimlight_tests::small_device(BINDING)
}

fn filled(shape: &[usize], scale: f32) -> Tensor {
    let n = shape.iter().product();
    Tensor::new(shape, (0..n).map(|i| (((i * 37 + 11) % 101) as f32 / 50.5 - 1.0) * scale).collect()).unwrap()
}

/// The layers of a MobileNet, of which the first ones give the largest values: `[1, 16, H / 2, W / 2]`.
fn net() -> Model {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [Dim::Known(1), Dim::Known(3), Dim::symbol("H"), Dim::symbol("W")]);
    let padded = || Definition::new("Conv").attribute("pads", [1, 1, 1, 1]);
    let clip = |graph: &mut rimlight::GraphBuilder, x| graph.node(&Definition::new("Relu"), &[x]).unwrap();
    let w = graph.constant("stem", filled(&[16, 3, 3, 3], 0.3));
    let stem = graph.node(&padded().attribute("strides", [2, 2]), &[x, w]).unwrap();
    let mut x = clip(&mut graph, stem);
    for block in 0..2 {
        let w = graph.constant(&format!("{block}.expand"), filled(&[32, 16, 1, 1], 0.4));
        let wide = graph.node(&Definition::new("Conv"), &[x, w]).unwrap();
        let wide = clip(&mut graph, wide);
        let w = graph.constant(&format!("{block}.depthwise"), filled(&[32, 1, 3, 3], 0.4));
        let deep = graph.node(&padded().attribute("group", 32i64), &[wide, w]).unwrap();
        let deep = clip(&mut graph, deep);
        let w = graph.constant(&format!("{block}.project"), filled(&[16, 32, 1, 1], 0.4));
        let narrow = graph.node(&Definition::new("Conv"), &[deep, w]).unwrap();
        x = graph.node(&Definition::new("Add"), &[narrow, x]).unwrap();
    }
    let mean = graph.node(&Definition::new("GlobalAveragePool"), &[x]).unwrap();
    let flat = graph.node(&Definition::new("Flatten"), &[mean]).unwrap();
    let w = graph.constant("classes", filled(&[16, 10], 0.5));
    let scores = graph.node(&Definition::new("MatMul"), &[flat, w]).unwrap();
    let y = graph.node(&Definition::new("Softmax"), &[scores]).unwrap();
    graph.output("y", y);
    Model::from_graph(graph.build().unwrap())
}

#[test]
fn a_mobile_net_runs_or_the_error_says_what_is_too_large() {
    let Some((device, errors)) = device() else { return };
    let facts = device.facts().unwrap();
    assert_eq!((facts.max_binding_size, facts.max_storage_buffers, facts.max_invocations), (BINDING, 4, 128));
    let model = net();
    for precision in [Precision::F32, Precision::F16] {
        let options = Options::new().placement(Placement::GpuOnly).precision(precision);
        for (h, w) in [(64, 64), (33, 47), (1, 1)] {
            let x = filled(&[1, 3, h, w], 1.0);
            let found = validate(&model, &device, &options, &[("x", &x)], Tolerance::of(precision)).unwrap();
            assert!(found.passed(), "{h} x {w}: {:?}", found.first_failure());
        }
        // The widest value has 32 channels of a quarter of the picture.
        let halves = if precision == Precision::F16 { 2 } else { 1 };
        for side in [190, 270, 1000] {
            let fits = 32 * (side / 2) * (side / 2) * 4 / halves <= BINDING as usize;
            let x = filled(&[1, 3, side, side], 1.0);
            let mut session = model.session_with(&device, &options).unwrap();
            match session.run_with([("x", x.view())]).map_err(Error::from) {
                Ok(_) => assert!(fits, "{side} in {precision:?}"),
                Err(Error::Run(rimlight::RunError::Plan(PlanError::TooLarge { name, bytes, limit, .. }))) => {
                    assert!(!fits && !name.is_empty() && bytes > limit && limit == BINDING, "{side}: {name} {bytes}");
                }
                Err(error) => panic!("{side} in {precision:?}: {error}"),
            }
        }
    }
    assert_eq!(errors.load(Ordering::Relaxed), 0);
}

/// What takes several dispatches, with all that can be fused into it.
#[test]
fn winograds_way_fits_four_buffers() {
    let Some((device, errors)) = device() else { return };
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [1usize, 64, 9, 11]);
    let (w, bias) = (graph.constant("w", filled(&[64, 64, 3, 3], 0.05)), graph.constant("bias", filled(&[64], 0.5)));
    let conv = graph.node(&Definition::new("Conv").attribute("pads", [1, 1, 1, 1]), &[x, w, bias]).unwrap();
    let sum = graph.node(&Definition::new("Add"), &[conv, x]).unwrap();
    let y = graph.node(&Definition::new("Relu"), &[sum]).unwrap();
    graph.output("y", y);
    let model = Model::from_graph(graph.build().unwrap());
    let options = Options::new().placement(Placement::GpuOnly);
    let plan = model.plan(&device, &options).unwrap();
    let schedule = plan.schedule().unwrap();
    assert!(schedule.kernels.iter().any(|kernel| kernel.shader == "conv/winograd_output.wgsl"), "{schedule}");
    let x = filled(&[1, 64, 9, 11], 1.0);
    let found = validate(&model, &device, &options, &[("x", &x)], Tolerance::of(Precision::F32)).unwrap();
    assert!(found.passed(), "{:?}", found.first_failure());
    assert_eq!(errors.load(Ordering::Relaxed), 0);
}

/// Weights that together are larger than any buffer lie in several.
#[test]
fn weights_lie_in_as_many_buffers_as_they_need() {
    let Some((device, errors)) = device() else { return };
    let mut graph = Graph::builder();
    let mut x = graph.input("x", ElementType::F32, [1usize, 300]);
    for layer in 0..5 {
        let w = graph.constant(&format!("w{layer}"), filled(&[300, 300], 0.1 + layer as f32 / 100.0));
        x = graph.node(&Definition::new("MatMul"), &[x, w]).unwrap();
    }
    graph.output("y", x);
    let model = Model::from_graph(graph.build().unwrap());
    let x = filled(&[1, 300], 1.0);
    let options = Options::new().placement(Placement::GpuOnly);
    let found = validate(&model, &device, &options, &[("x", &x)], Tolerance::of(Precision::F32)).unwrap();
    assert!(found.passed(), "{:?}", found.first_failure());
    assert_eq!(errors.load(Ordering::Relaxed), 0);
}

#[test]
fn public_models_run_or_the_error_says_what_is_too_large() {
    let Some(folder) = rimlight_tests::models() else { return };
    let Some((device, errors)) = device() else { return };
    let mut runs = 0;
    for name in ["mnist-8", "resnet20_cifar10", "mobilenetv2_fp32", "squeezenet1.0", "version-RFB-320"] {
        let model = Model::open(folder.join(format!("{name}.onnx"))).unwrap();
        let (inputs, _) = rimlight_tests::reference(folder.join(format!("{name}.io.npz")));
        let outcome = model
            .session(&device)
            .and_then(|mut s| Ok(s.run_with(inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.view())))?));
        match outcome {
            Ok(_) => runs += 1,
            Err(Error::Plan(PlanError::TooLarge { .. }))
            | Err(Error::Run(rimlight::RunError::Plan(PlanError::TooLarge { .. }))) => {}
            Err(error) => panic!("{name}: {error}"),
        }
    }
    assert!(runs >= 2, "the small ones fit");
    assert_eq!(errors.load(Ordering::Relaxed), 0);
}
