//! Inputs that parameterise operators: plans are made for their content, and follow it.

use super::tests::gpu;
use crate::error::RunError;
use crate::graph::{Definition, Graph};
use crate::model::Model;
use crate::session::{Device, Options, Session};
use crate::{ElementType, Placement, Tensor};

/// The first `k` of each row of `x`, in a shape of which one number is given, times a factor.
fn model() -> Model {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [2, 6]);
    let end = graph.input("end", ElementType::I64, [1]);
    let rows = graph.input("rows", ElementType::I64, [1]);
    let factor = graph.input("factor", ElementType::F32, [1]);
    let zero = graph.constant("zero", Tensor::vector(vec![0i64]));
    let one = graph.constant("one", Tensor::vector(vec![1i64]));
    let rest = graph.constant("rest", Tensor::vector(vec![-1i64]));
    let part = graph.node(&Definition::new("Slice"), &[x, zero, end, one]).unwrap();
    let shape = graph.node(&Definition::new("Concat").attribute("axis", 0i64), &[rows, rest]).unwrap();
    let shaped = graph.node(&Definition::new("Reshape"), &[part, shape]).unwrap();
    let y = graph.node(&Definition::new("Mul"), &[shaped, factor]).unwrap();
    graph.output("y", y);
    Model::from_graph(graph.build().unwrap())
}

fn x() -> Tensor {
    Tensor::new([2, 6], (0..12).map(|i| i as f32).collect()).unwrap()
}

fn run(session: &mut Session, end: i64, rows: i64, factor: f32) -> Result<Tensor, RunError> {
    let (x, end, rows, factor) =
        (x(), Tensor::vector(vec![end]), Tensor::vector(vec![rows]), Tensor::vector(vec![factor]));
    let inputs = [("x", x.view()), ("end", end.view()), ("rows", rows.view()), ("factor", factor.view())];
    Ok(session.run_with(inputs)?.remove(0).1)
}

fn expected(end: i64, rows: i64, factor: f32) -> Tensor {
    let values: Vec<f32> = (0..2).flat_map(|r| (0..end).map(move |c| (r * 6 + c) as f32 * factor)).collect();
    Tensor::new([rows as usize, values.len() / rows as usize], values).unwrap()
}

#[test]
fn only_what_parameterises_is_a_parameter() {
    let model = model();
    let graph = model.graph();
    let names: Vec<_> = graph.parameter_inputs().iter().map(|&id| graph.value(id).name.as_str()).collect();
    assert_eq!(names, ["end", "rows"]);
}

#[test]
fn a_plan_can_be_made_for_their_content() {
    let Some(gpu) = gpu() else { return };
    let (model, options) = (model(), Options::new());
    let hosts = |plan: crate::Plan| plan.schedule().unwrap().summary.host_nodes;
    assert!(hosts(model.plan(&gpu, &options).unwrap()) > 0);
    let [end, rows] = [4i64, 2].map(|n| Tensor::vector(vec![n]));
    let plan = |inputs: &[(&str, &Tensor)]| model.plan_for(&gpu, &options, inputs);
    assert_eq!(hosts(plan(&[("end", &end), ("rows", &rows)]).unwrap()), 0);
    let names: Vec<_> = model.parameters().map(|port| port.name).collect();
    assert_eq!(names, ["end", "rows"]);
    let wrong = Tensor::vector(vec![4i32]);
    assert!(plan(&[("end", &wrong)]).unwrap_err().to_string().contains("end"));
    assert!(plan(&[("ends", &end)]).unwrap_err().to_string().contains("ends"));
}

#[test]
fn what_is_computed_of_large_or_shapeless_inputs_is_none() {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [3, 70]);
    let mask = graph.input("mask", ElementType::I64, [1, 70]);
    let offset = graph.input("offset", ElementType::I64, [1]);
    // As many columns as the mask has ones: the mask is data, however small.
    let columns = graph.node(&Definition::new("ReduceSum").attribute("keepdims", 0i64), &[mask]).unwrap();
    let columns = graph.node(&Definition::new("Add"), &[columns, offset]).unwrap();
    let three = graph.constant("three", Tensor::vector(vec![3i64]));
    let zero = graph.constant("zero", Tensor::vector(vec![0i64]));
    let shape = graph.node(&Definition::new("Concat").attribute("axis", 0i64), &[three, columns]).unwrap();
    let twos = graph.constant("axes", Tensor::vector(vec![0i64, 1]));
    let zeros = graph.constant("zeros", Tensor::vector(vec![0i64, 0]));
    let y = graph.node(&Definition::new("Slice"), &[x, zeros, shape, twos]).unwrap();
    // The shape of an input is known without its content.
    let lines = graph.input("lines", ElementType::F32, [crate::Dim::symbol("n")]);
    let length = graph.node(&Definition::new("Shape"), &[lines]).unwrap();
    let z = graph.node(&Definition::new("Slice"), &[lines, zero, length]).unwrap();
    graph.output("y", y);
    graph.output("z", z);
    let graph = graph.build().unwrap();
    assert_eq!(graph.parameter_inputs(), []);
}

#[test]
fn plans_follow_contents_and_nothing_runs_on_the_host() {
    let Some(gpu) = gpu() else { return };
    let model = model();
    let strict = Options::new().placement(Placement::GpuOnly);
    for (device, options) in [(&gpu, &strict), (&Device::cpu(), &Options::new())] {
        let mut session = model.session_with(device, options).unwrap();
        for (end, rows, factor) in
            [(6, 2, 1.0), (3, 2, 2.0), (3, 3, -1.0), (6, 2, 0.5), (1, 1, 4.0), (2, 4, 1.0), (5, 2, 3.0)]
        {
            assert_eq!(run(&mut session, end, rows, factor).unwrap(), expected(end, rows, factor));
        }
    }
}

#[test]
fn a_parameter_that_goes_on_changing_is_read_as_any_input() {
    let Some(gpu) = gpu() else { return };
    let model = model();
    for device in [gpu, Device::cpu()] {
        let mut session = model.session(&device).unwrap();
        for end in 1..=6 {
            assert_eq!(run(&mut session, end, 2, 1.0).unwrap(), expected(end, 2, 1.0));
        }
        let planned = &session.runners.last().unwrap().0;
        // The one that stayed is still a constant.
        let graph = &planned.graph;
        let constants = graph.inputs.iter().map(|&id| graph.constant(id).is_some()).collect::<Vec<_>>();
        assert_eq!(constants, [false, false, true, false]);
        let plan = std::sync::Arc::as_ptr(planned);
        for end in (1..=6).rev() {
            assert_eq!(run(&mut session, end, 2, 1.0).unwrap(), expected(end, 2, 1.0));
            assert_eq!(std::sync::Arc::as_ptr(&session.runners.last().unwrap().0), plan);
        }
    }
}

#[test]
fn wrong_contents_are_errors_and_the_session_goes_on() {
    let Some(gpu) = gpu() else { return };
    let model = model();
    for device in [gpu, Device::cpu()] {
        let mut session = model.session(&device).unwrap();
        for (end, rows) in [(6, 5), (6, -2), (6, i64::MAX), (i64::MIN, i64::MIN)] {
            let error = run(&mut session, end, rows, 1.0).unwrap_err();
            assert!(error.to_string().contains("Reshape"), "{error}");
            assert_eq!(run(&mut session, 4, 2, 1.0).unwrap(), expected(4, 2, 1.0));
        }
    }
    // No more elements can be taken than there are.
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [3]);
    let k = graph.input("k", ElementType::I64, [1]);
    let y = graph.node(&Definition::new("TopK"), &[x, k]).unwrap();
    graph.output("y", y);
    let mut session = Model::from_graph(graph.build().unwrap()).session(&Device::cpu()).unwrap();
    let x = Tensor::vector(vec![1f32, 3.0, 2.0]);
    for k in [-1, 4, i64::MIN] {
        assert!(session.run_with([("x", x.view()), ("k", Tensor::vector(vec![k]).view())]).is_err());
    }
    let got = session.run_with([("x", x.view()), ("k", Tensor::vector(vec![2i64]).view())]).unwrap();
    assert_eq!(got[0].1, Tensor::vector(vec![3f32, 2.0]));
}

#[test]
fn steady_runs_with_the_same_contents_make_nothing() {
    let Some(device) = gpu() else { return };
    let mut session = model().session(&device).unwrap();
    for _ in 0..2 {
        run(&mut session, 4, 2, 1.0).unwrap();
    }
    let made = device.as_gpu().unwrap().creations();
    for _ in 0..3 {
        run(&mut session, 4, 2, 1.0).unwrap();
    }
    assert_eq!(device.as_gpu().unwrap().creations(), made);
}

/// Outputs that are kept stay so when a parameter changes, and a parameter need not lie on the device to be encoded.
#[test]
fn kept_outputs_and_encoding_follow_the_contents() {
    let Some(device) = gpu() else { return };
    let gpu = device.as_gpu().unwrap();
    let mut session = model().session(&device).unwrap();
    let y = session.output("y").unwrap();
    let id = |name| session.input(name).unwrap();
    let (x_id, end_id, rows_id, factor_id) = (id("x"), id("end"), id("rows"), id("factor"));
    pollster::block_on(async {
        let on_device = crate::gpu::GpuTensor::upload(gpu, &x().view()).await.unwrap();
        let factor = crate::gpu::GpuTensor::upload(gpu, &Tensor::vector(vec![2f32]).view()).await.unwrap();
        session.set_on_device(x_id, &on_device).unwrap();
        session.set_on_device(factor_id, &factor).unwrap();
        session.set(rows_id, Tensor::vector(vec![2i64]).view()).unwrap();
        session.set(end_id, Tensor::vector(vec![3i64]).view()).unwrap();
        session.keep(y).await.unwrap();
        for end in [3, 5, 3] {
            session.set(end_id, Tensor::vector(vec![end]).view()).unwrap();
            session.run_async().await.unwrap();
            assert_eq!(session.device_output(y).unwrap().read_async().await.unwrap(), expected(end, 2, 2.0));
        }
        let mut encoder = gpu.wgpu().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        session.encode(&mut encoder).unwrap();
        gpu.queue().submit([encoder.finish()]);
        assert_eq!(session.device_output(y).unwrap().read_async().await.unwrap(), expected(3, 2, 2.0));
        // Another content is another plan, which is not made while encoding.
        session.set(end_id, Tensor::vector(vec![4i64]).view()).unwrap();
        assert!(session.encode(&mut gpu.wgpu().create_command_encoder(&Default::default())).is_err());
        session.run_async().await.unwrap();
        assert_eq!(session.device_output(y).unwrap().read_async().await.unwrap(), expected(4, 2, 2.0));
        assert!(session.as_gpu().unwrap().set_tensor(crate::graph::ValueId(1), &Tensor::vector(vec![5i64])).is_err());
    });
}

/// What is computed of constants and parameters alone, floating-point numbers among it.
#[test]
fn floats_that_decide_a_shape_are_folded() {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [1, 1, 2, 2]);
    let factor = graph.input("factor", ElementType::F32, [2]);
    let ones = graph.constant("ones", Tensor::vector(vec![1f32, 1.0]));
    let half = graph.constant("half", Tensor::vector(vec![0.5f32]));
    let factor = graph.node(&Definition::new("Mul"), &[factor, half]).unwrap();
    let scales = graph.node(&Definition::new("Concat").attribute("axis", 0i64), &[ones, factor]).unwrap();
    let none = graph.constant("none", Tensor::vector(Vec::<f32>::new()));
    let y = graph.node(&Definition::new("Resize"), &[x, none, scales]).unwrap();
    let start = graph.constant("start", Tensor::scalar(1f32));
    let limit = graph.input("limit", ElementType::F32, Vec::<usize>::new());
    let range = graph.node(&Definition::new("Range"), &[start, limit, start]).unwrap();
    graph.output("y", y);
    graph.output("range", range);
    let model = Model::from_graph(graph.build().unwrap());
    let Some(gpu) = gpu() else { return };
    let x = Tensor::new([1, 1, 2, 2], vec![1f32, 2.0, 3.0, 4.0]).unwrap();
    for (device, options) in [(gpu, Options::new().placement(Placement::GpuOnly)), (Device::cpu(), Options::new())] {
        let mut session = model.session_with(&device, &options).unwrap();
        for (factor, limit, columns) in [([2f32, 4.0], 3.5f32, 4), ([4.0, 2.0], 1.0, 2)] {
            let (factor, limit) = (Tensor::vector(factor.to_vec()), Tensor::scalar(limit));
            let got = session.run_with([("x", x.view()), ("factor", factor.view()), ("limit", limit.view())]).unwrap();
            assert_eq!(got[0].1.shape()[3], columns);
            let expected: Vec<f32> = if columns == 4 { vec![1.0, 2.0, 3.0] } else { vec![] };
            assert_eq!(got[1].1, Tensor::vector(expected));
        }
    }
}
