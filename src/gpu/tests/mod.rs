//! Schedules run on the adapter, and on wgpu's own checks where nothing need be computed.

mod embedding;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use half::f16;

use super::wait::{Mapping, Signal};
use super::{GpuDevice, GpuEngine, GpuSession, GpuTensor, Loading};
use crate::error::{DeviceError, RunError};
use crate::graph::{Definition, Graph, ValueId};
use crate::kernel::{Dialect, Storage};
use crate::plan::{PlanOptions, Schedule, Step, plan};
use crate::tensor::{ElementType, Tensor, TensorView};

/// `y = relu(x)`, `z = softplus(neg(y))`; with `host` there is an operator between them that no kernel has.
fn graph(shape: &[usize], host: bool) -> Graph {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, shape.iter().copied());
    let y = graph.node(&Definition::new("Relu"), &[x]).unwrap();
    let mut n = graph.node(&Definition::new("Neg"), &[y]).unwrap();
    if host {
        // Truth values and back again would do as well; the planner is told to keep this one on the host.
        n = graph.operator(Arc::new(HostOnly), &[Some(n)], 1)[0];
    }
    let z = graph.node(&Definition::new("Softplus"), &[n]).unwrap();
    graph.output("y", y);
    graph.output("z", z);
    graph.build().unwrap()
}

/// Adds one, on the host.
#[derive(Debug)]
struct HostOnly;

impl crate::graph::Operator for HostOnly {
    fn name(&self) -> &str {
        "HostOnly"
    }

    fn infer(
        &self,
        inputs: &[Option<&crate::graph::Fact>],
    ) -> Result<Vec<crate::graph::Fact>, crate::graph::ShapeError> {
        Ok(vec![crate::graph::Fact::at(inputs, 0)?.without_content()])
    }

    fn evaluate(
        &self,
        _: &mut crate::graph::Context,
        inputs: crate::graph::Inputs<'_>,
    ) -> Result<Vec<crate::graph::Value>, crate::graph::EvaluateError> {
        let x = inputs.tensor(0)?;
        let y = x.as_slice::<f32>()?.iter().map(|v| v + 1.0).collect();
        Ok(vec![Tensor::new(x.shape().to_vec(), y)?.into()])
    }
}

fn schedule(device: &GpuDevice, graph: Graph, options: PlanOptions) -> Arc<Schedule> {
    Arc::new(plan(graph, device.facts(), &options).unwrap())
}

fn session(device: &GpuDevice, shape: &[usize], host: bool) -> GpuSession {
    let schedule = schedule(device, graph(shape, host), PlanOptions::default());
    GpuSession::new(&GpuEngine::new(device, schedule).unwrap()).unwrap()
}

fn ids(session: &GpuSession) -> (ValueId, ValueId, ValueId) {
    let graph = &session.engine().schedule().graph;
    (graph.inputs[0], graph.outputs[0], graph.outputs[1])
}

fn ramp(n: usize, from: f32) -> Vec<f32> {
    (0..n).map(|i| from + i as f32 * 0.25).collect()
}

fn expected(x: &[f32], host: bool) -> (Vec<f32>, Vec<f32>) {
    let y: Vec<f32> = x.iter().map(|v| v.max(0.0)).collect();
    let z = y.iter().map(|v| (f32::from(u8::from(host)) - v).exp().ln_1p()).collect();
    (y, z)
}

fn close(got: &Tensor, expected: &[f32], tolerance: f32) {
    let got = got.as_slice::<f32>().unwrap();
    assert_eq!(got.len(), expected.len());
    for (g, e) in got.iter().zip(expected) {
        assert!((g - e).abs() <= tolerance, "{g} instead of {e}");
    }
}

#[test]
fn runs_agree_with_the_formula() {
    let Some(device) = GpuDevice::for_tests() else { return };
    for host in [false, true] {
        for n in [1usize, 5, 64, 1001] {
            let mut session = session(&device, &[n], host);
            let (x, y, z) = ids(&session);
            assert_eq!(session.engine().submissions(), if host { 2 } else { 1 });
            for from in [-3.0, 7.0] {
                let input = ramp(n, from);
                let (relu, softplus) = expected(&input, host);
                session.set(x, &TensorView::new([n], &input).unwrap()).unwrap();
                // The input stays given.
                for _ in 0..2 {
                    session.run().unwrap();
                    close(session.get(y).unwrap(), &relu, 0.0);
                    // Our own exp is good to a few units in the last place.
                    close(session.get(z).unwrap(), &softplus, 1e-6);
                }
            }
        }
    }
}

/// Every half becomes the same float, and floats on and around every half and every tie the same half, with the device's
/// instructions and without.
#[test]
fn halves_are_taken_apart_as_instructions_do() {
    let Some(device) = GpuDevice::for_tests() else { return };
    let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    let around = |h: &f16| {
        let (low, high) = (h.to_f32(), f16::from_bits(h.to_bits().wrapping_add(1)).to_f32());
        let tie = f32::midpoint(low, high);
        [low, tie, f32::from_bits(tie.to_bits().wrapping_sub(1)), f32::from_bits(tie.to_bits().wrapping_add(1))]
    };
    let floats: Vec<f32> = halves.iter().flat_map(around).chain([65_519.99, 65_520.0, -1e30, f32::INFINITY]).collect();
    let mut graph = Graph::builder();
    let (h, f) =
        (graph.input("h", ElementType::F16, [halves.len()]), graph.input("f", ElementType::F32, [floats.len()]));
    let widened = graph.node(&Definition::new("Cast").attribute("to", 1), &[h]).unwrap();
    let narrowed = graph.node(&Definition::new("Cast").attribute("to", 10), &[f]).unwrap();
    graph.output("widened", widened);
    graph.output("narrowed", narrowed);
    let graph = graph.build().unwrap();
    for instructions in [true, false] {
        let device = device.speaking(Dialect { halves: instructions, ..device.facts().dialect });
        let schedule = schedule(&device, graph.clone(), PlanOptions::default());
        let mut session = GpuSession::new(&GpuEngine::new(&device, schedule).unwrap()).unwrap();
        session.set(h, &TensorView::new([halves.len()], &halves).unwrap()).unwrap();
        session.set(f, &TensorView::new([floats.len()], &floats).unwrap()).unwrap();
        session.run().unwrap();
        let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        for (got, half) in session.get(widened).unwrap().as_slice::<f32>().unwrap().iter().zip(&halves) {
            assert!(same(*got, half.to_f32()), "{got} of {half:?}, instructions: {instructions}");
        }
        for (got, float) in session.get(narrowed).unwrap().as_slice::<f16>().unwrap().iter().zip(&floats) {
            let expected = f16::from_f32(*float);
            assert!(same(got.to_f32(), expected.to_f32()), "{got} of {float:e}, instructions: {instructions}");
        }
    }
}

#[test]
fn empty_tensors_run() {
    let Some(device) = GpuDevice::for_tests() else { return };
    let mut session = session(&device, &[0, 3], false);
    let (x, y, _) = ids(&session);
    session.set(x, &TensorView::new::<f32>([0, 3], &[]).unwrap()).unwrap();
    session.run().unwrap();
    assert_eq!(session.get(y).unwrap().shape(), [0, 3]);
}

#[test]
fn halves_are_stored_and_come_back_as_floats() {
    let Some(device) = GpuDevice::for_tests() else { return };
    let schedule = schedule(&device, graph(&[10], false), PlanOptions { half: true, ..PlanOptions::default() });
    let storage =
        |name: &str| schedule.slots.iter().find(|s| schedule.graph.value(s.value).name == name).map(|s| s.storage);
    // What crosses to the application is what the graph says it is.
    assert_eq!(
        ["x", "y", "Neg_1", "z"].map(storage),
        [Storage::F32, Storage::F32, Storage::F16, Storage::F32].map(Some)
    );
    let schedule = Arc::clone(&schedule);
    let mut session = GpuSession::new(&GpuEngine::new(&device, schedule).unwrap()).unwrap();
    let (x, y, z) = ids(&session);
    let input = ramp(10, -1.0);
    let (relu, softplus) = expected(&input, false);
    session.set(x, &TensorView::new([10], &input).unwrap()).unwrap();
    session.run().unwrap();
    close(session.get(y).unwrap(), &relu, 0.0);
    // Quarters are exact in 16 bits, and the softplus is not rounded to them.
    close(session.get(z).unwrap(), &softplus, 1e-6);
}

#[test]
fn steady_runs_make_nothing() {
    // Devices of its own: what other tests make must not be counted.
    for device in GpuDevice::for_this_test().into_iter().chain([GpuDevice::noop()]) {
        let mut session = session(&device, &[100], true);
        let (x, ..) = ids(&session);
        let input = ramp(100, 0.0);
        let step = |session: &mut GpuSession| {
            session.set(x, &TensorView::new([100], &input).unwrap()).unwrap();
            session.run().unwrap();
        };
        step(&mut session);
        let made = device.creations();
        for _ in 0..100 {
            step(&mut session);
        }
        assert_eq!(device.creations(), made);
    }
}

#[test]
fn sessions_share_pipelines_and_constants() {
    let device = GpuDevice::noop();
    let schedule = schedule(&device, graph(&[100], false), PlanOptions::default());
    let engine = GpuEngine::new(&device, Arc::clone(&schedule)).unwrap();
    let pipelines = device.pipelines();
    assert_eq!(pipelines, schedule.kernels.len());
    let _again = GpuEngine::new(&device, schedule).unwrap();
    assert_eq!(device.pipelines(), pipelines);
    let _sessions = [GpuSession::new(&engine).unwrap(), GpuSession::new(&engine).unwrap()];
}

#[test]
fn wrong_inputs_are_refused() {
    let device = GpuDevice::noop();
    let mut session = session(&device, &[4], false);
    let (x, y, _) = ids(&session);
    assert!(matches!(session.run(), Err(RunError::MissingInput(ref name)) if name == "x"));
    let four = [0f32; 4];
    assert!(matches!(session.set(x, &TensorView::new([2, 2], &four).unwrap()), Err(RunError::InputShape { .. })));
    assert!(matches!(session.set(x, &TensorView::new([4], &[0i32; 4]).unwrap()), Err(RunError::InputType { .. })));
    assert!(matches!(session.set(y, &TensorView::new([4], &four).unwrap()), Err(RunError::State(_))));
    assert!(session.get(ValueId(9_999)).is_err());
}

#[test]
fn a_kernel_that_does_not_compile_is_refused() {
    let device = GpuDevice::noop();
    let mut schedule = (*schedule(&device, graph(&[4], false), PlanOptions::default())).clone();
    schedule.kernels[0].shader = "no such shader.wgsl";
    let refused = GpuEngine::new(&device, Arc::new(schedule.clone()));
    assert!(matches!(refused, Err(DeviceError::Refused { .. })), "{refused:?}");
    // One that assembles, but is not WGSL.
    schedule.kernels[0].shader = "elementwise/unary.wgsl";
    schedule.kernels[0].pastes = vec![("EXPRESSION", "v + no_such_name".to_owned())];
    let refused = GpuEngine::new(&device, Arc::new(schedule));
    assert!(matches!(refused, Err(DeviceError::Refused { ref message, .. }) if message.contains("no_such_name")));
}

#[test]
fn a_schedule_with_the_wrong_bindings_is_refused() {
    let device = GpuDevice::noop();
    let mut schedule = (*schedule(&device, graph(&[4], false), PlanOptions::default())).clone();
    for step in &mut schedule.steps {
        if let Step::Dispatch(dispatch) = step {
            dispatch.bindings.pop();
        }
    }
    assert!(matches!(GpuEngine::new(&device, Arc::new(schedule)), Err(DeviceError::Refused { .. })));
}

#[test]
fn every_value_can_be_watched() {
    let Some(device) = GpuDevice::for_tests() else { return };
    for host in [false, true] {
        let n = 21;
        let mut session = session(&device, &[n], host);
        let (x, y, z) = ids(&session);
        let input = ramp(n, -2.0);
        session.set(x, &TensorView::new([n], &input).unwrap()).unwrap();
        let mut seen = std::collections::BTreeMap::new();
        session.run_observed(|slot, tensor| drop(seen.insert(slot.value, tensor))).unwrap();
        let (relu, softplus) = expected(&input, host);
        close(&seen[&x], &input, 0.0);
        close(&seen[&y], &relu, 0.0);
        close(&seen[&z], &softplus, 1e-6);
        // x, y, its negation, what the host made of that, z.
        assert_eq!(seen.len(), if host { 5 } else { 4 });
        close(session.get(z).unwrap(), &softplus, 1e-6);
        // An ordinary run comes after it.
        session.run().unwrap();
        close(session.get(z).unwrap(), &softplus, 1e-6);
    }
}

#[test]
fn dispatches_are_timed() {
    for device in GpuDevice::for_tests().into_iter().chain([GpuDevice::noop()]) {
        let mut session = session(&device, &[1000], true);
        let (x, y, _) = ids(&session);
        let input = ramp(1000, -2.0);
        session.set(x, &TensorView::new([1000], &input).unwrap()).unwrap();
        let profile = session.profile().unwrap();
        let dispatches = session.engine().schedule().steps.iter().filter(|s| matches!(s, Step::Dispatch(_))).count();
        assert_eq!(profile.dispatches.len(), dispatches);
        assert_eq!(profile.by_device, device.info().features.contains(&"timestamps"));
        if device.info().backend != "noop" {
            close(session.get(y).unwrap(), &expected(&input, true).0, 0.0);
        }
    }
}

#[test]
fn compiled_pipelines_are_kept_in_a_folder() {
    let folder = std::env::temp_dir().join(format!("rimlight-pipelines-{}", std::process::id()));
    let start = || {
        let device = GpuDevice::for_this_test()?;
        pollster::block_on(device.keep_in(crate::cache::Folder::new(&folder))).unwrap();
        let schedule = schedule(&device, graph(&[100], false), PlanOptions::default());
        let _engine = GpuEngine::new(&device, schedule).unwrap();
        Some(device.info().features.contains(&"pipeline-cache"))
    };
    let files = || std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>();
    if let Some(keeps) = start() {
        assert_eq!(files().len(), usize::from(keeps));
        // A start with what is there, and one with a file that was damaged.
        start();
        for file in files() {
            let mut bytes = std::fs::read(&file).unwrap();
            bytes.truncate(bytes.len() - 1);
            std::fs::write(&file, &bytes).unwrap();
            start();
            assert_ne!(std::fs::read(&file).unwrap(), bytes);
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
}
