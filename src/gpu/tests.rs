//! Schedules run on the adapter, and on wgpu's own checks where nothing need be computed.

use std::sync::Arc;
use std::time::Duration;

use super::wait::{Mapping, Signal};
use super::{GpuDevice, GpuEngine, GpuSession, GpuTensor};
use crate::error::{DeviceError, RunError};
use crate::graph::{Definition, Graph, ValueId};
use crate::kernel::Storage;
use crate::plan::{PlanOptions, Schedule, Step, plan};
use crate::tensor::{ElementType, Tensor, TensorView};

/// `y = relu(x)`, `z = sigmoid(neg(y))`; with `host` there is an operator between them that no kernel has.
fn graph(shape: &[usize], host: bool) -> Graph {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, shape.iter().copied());
    let y = graph.node(&Definition::new("Relu"), &[x]).unwrap();
    let mut n = graph.node(&Definition::new("Neg"), &[y]).unwrap();
    if host {
        // Truth values and back again would do as well; the planner is told to keep this one on the host.
        n = graph.operator(Arc::new(HostOnly), &[Some(n)], 1)[0];
    }
    let z = graph.node(&Definition::new("Sigmoid"), &[n]).unwrap();
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
    let z = y.iter().map(|v| 1.0 / (1.0 + (v - f32::from(u8::from(host))).exp())).collect();
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
                let (relu, sigmoid) = expected(&input, host);
                session.set(x, &TensorView::new([n], &input).unwrap()).unwrap();
                // The input stays given.
                for _ in 0..2 {
                    session.run().unwrap();
                    close(session.get(y).unwrap(), &relu, 0.0);
                    // Our own exp is good to a few units in the last place.
                    close(session.get(z).unwrap(), &sigmoid, 1e-6);
                }
            }
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
    let (relu, sigmoid) = expected(&input, false);
    session.set(x, &TensorView::new([10], &input).unwrap()).unwrap();
    session.run().unwrap();
    close(session.get(y).unwrap(), &relu, 0.0);
    // Quarters are exact in 16 bits, and the sigmoid is not rounded to them.
    close(session.get(z).unwrap(), &sigmoid, 1e-6);
}

#[test]
fn sessions_of_halves_take_and_give_floats_on_the_device() {
    let Some(device) = GpuDevice::for_tests() else { return };
    let schedule = schedule(&device, graph(&[10], false), PlanOptions { half: true, ..PlanOptions::default() });
    let mut session = GpuSession::new(&GpuEngine::new(&device, schedule).unwrap()).unwrap();
    let (x, y, z) = ids(&session);
    let input = ramp(10, -1.0);
    let there = pollster::block_on(GpuTensor::upload(&device, &TensorView::new([10], &input).unwrap())).unwrap();
    session.set_device(x, &there).unwrap();
    for output in [y, z] {
        pollster::block_on(session.keep(output)).unwrap();
    }
    session.run().unwrap();
    let (relu, sigmoid) = expected(&input, false);
    for (output, expected) in [(y, relu), (z, sigmoid)] {
        let there = session.device_output(output).unwrap();
        assert_eq!(there.storage(), Storage::F32);
        close(&there.read(Duration::from_secs(60)).unwrap(), &expected, 1e-6);
        // And on to a session of floats, or of halves.
        session.set_device(x, &there).unwrap();
    }
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
    for (_, text) in &mut schedule.kernels[0].pastes {
        text.push_str(" + no_such_name");
    }
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
fn a_lost_device_ends_runs_with_an_error() {
    let device = GpuDevice::noop();
    let mut session = session(&device, &[4], false);
    let (x, ..) = ids(&session);
    session.set(x, &TensorView::new([4], &[0f32; 4]).unwrap()).unwrap();
    session.run().unwrap();
    device.wgpu().destroy();
    device.notify_lost("gone");
    assert!(matches!(session.run(), Err(RunError::Device(DeviceError::Lost(_)))));
}

/// The device's answer is held back, so that none is too quick for the test.
#[test]
fn a_wait_has_its_bound() {
    for device in GpuDevice::for_tests().into_iter().chain([GpuDevice::noop()]) {
        let mut session = session(&device, &[4], false);
        let (x, y, _) = ids(&session);
        session.set(x, &TensorView::new([4], &[-1f32, 0.0, 2.0, 3.0]).unwrap()).unwrap();
        session.submit().unwrap();
        let held = Arc::new(Signal::default());
        held.set(Mapping::Pending);
        let download = session.crossings[0].download.as_mut().unwrap();
        let answer = std::mem::replace(&mut download.signal, Arc::clone(&held));
        for bound in [Duration::ZERO, Duration::from_millis(20)] {
            session.set_timeout(bound);
            let start = std::time::Instant::now();
            let outcome = session.finish();
            assert!(matches!(outcome, Err(RunError::Device(DeviceError::Timeout(b))) if b == bound), "{outcome:?}");
            assert!(start.elapsed() >= bound);
            assert!(session.get(y).is_err());
        }
        // The work went on, and the next call has its result.
        while answer.get() == Mapping::Pending {
            device.poll(wgpu::PollType::Poll).unwrap();
        }
        held.set(answer.get());
        session.set_timeout(Duration::MAX);
        session.finish().unwrap();
        if device.info().backend != "noop" {
            close(session.get(y).unwrap(), &[0.0, 0.0, 2.0, 3.0], 0.0);
        }
        session.run().unwrap();
    }
}

#[test]
fn futures_need_no_runtime_and_may_cross_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let Some(device) = GpuDevice::for_tests() else { return };
    let mut session = session(&device, &[1000], true);
    let (x, y, _) = ids(&session);
    let input = ramp(1000, -9.0);
    session.set(x, &TensorView::new([1000], &input).unwrap()).unwrap();
    for _ in 0..10 {
        pollster::block_on(is_send(session.run_async())).unwrap();
    }
    close(session.get(y).unwrap(), &expected(&input, true).0, 0.0);
    // Dropped before its end: the next run waits for it.
    let mut run = Box::pin(session.run_async());
    let _ = run.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    drop(run);
    pollster::block_on(session.run_async()).unwrap();
    close(session.get(y).unwrap(), &expected(&input, true).0, 0.0);
}

#[test]
fn the_thread_that_waits_ends_with_its_device() {
    let Some(device) = GpuDevice::for_this_test() else { return };
    let mut session = session(&device, &[5], false);
    let (x, ..) = ids(&session);
    session.set(x, &TensorView::new([5], &ramp(5, 0.0)).unwrap()).unwrap();
    pollster::block_on(session.run_async()).unwrap();
    // The thread and the driver's callback hold one each.
    let failure = device.failure();
    drop((session, device));
    assert_eq!(Arc::strong_count(&failure), 1);
}

#[test]
fn tensors_cross_to_the_device_and_back() {
    let Some(device) = GpuDevice::for_tests() else { return };
    let minute = Duration::from_secs(60);
    for n in [0usize, 1, 6] {
        let integers = Tensor::vector((0..n as i64).map(|i| i * 7 - 9).collect());
        let there = pollster::block_on(GpuTensor::upload(&device, &integers.view())).unwrap();
        assert_eq!(there.read(minute).unwrap(), integers);
        let bytes = Tensor::vector((0..n as u8).collect());
        let there = pollster::block_on(GpuTensor::upload(&device, &bytes.view())).unwrap();
        assert_eq!(there.read(minute).unwrap(), bytes);
    }
    let too_wide = Tensor::vector(vec![1i64 << 40]);
    assert!(pollster::block_on(GpuTensor::upload(&device, &too_wide.view())).is_err());
}

#[test]
fn sessions_chain_on_the_device() {
    let Some(device) = GpuDevice::for_tests() else { return };
    let n = 37;
    let (mut first, mut second) = (session(&device, &[n], false), session(&device, &[n], false));
    let (x, y, z) = ids(&first);
    let input = ramp(n, -4.0);
    first.set(x, &TensorView::new([n], &input).unwrap()).unwrap();
    pollster::block_on(first.keep(z)).unwrap();
    first.run().unwrap();
    assert!(first.get(z).is_err());
    close(first.get(y).unwrap(), &expected(&input, false).0, 0.0);
    let sigmoid = first.device_output(z).unwrap();
    second.set_device(x, &sigmoid).unwrap();
    second.run().unwrap();
    let once = expected(&input, false).1;
    close(second.get(y).unwrap(), &once, 1e-6);
    close(second.get(z).unwrap(), &expected(&once, false).1, 1e-6);

    // What was detached is not touched by the next run; what was read back can be detached as well.
    let detached = pollster::block_on(first.detach(z)).unwrap();
    let read = pollster::block_on(first.detach(y)).unwrap();
    first.set(x, &TensorView::new([n], &vec![0f32; n]).unwrap()).unwrap();
    first.run().unwrap();
    let minute = Duration::from_secs(60);
    close(&detached.read(minute).unwrap(), &once, 1e-6);
    close(&read.read(minute).unwrap(), &expected(&input, false).0, 0.0);
    close(&first.device_output(z).unwrap().read(minute).unwrap(), &vec![0.5; n], 1e-6);
}

#[test]
fn the_application_may_submit_itself() {
    let Some(device) = GpuDevice::for_tests() else { return };
    let n = 9;
    let mut session = session(&device, &[n], false);
    let (x, y, z) = ids(&session);
    let input = ramp(n, -1.0);
    let encode = |session: &mut GpuSession| {
        let mut encoder = device.encoder();
        session.encode(&mut encoder).map(|()| device.queue().submit([encoder.finish()]))
    };
    session.set(x, &TensorView::new([n], &input).unwrap()).unwrap();
    assert!(matches!(encode(&mut session), Err(RunError::State(ref text)) if text.contains("'x'")));
    // A buffer of the application's own, with the tensor in its middle.
    let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let buffer = device.create_buffer("application", 256, usage, false);
    device.queue().write_buffer(&buffer, 64, bytemuck::cast_slice(&input));
    let there = GpuTensor::from_buffer(&device, buffer.clone(), 64, ElementType::F32, [n]).unwrap();
    session.set_device(x, &there).unwrap();
    assert!(matches!(encode(&mut session), Err(RunError::State(ref text)) if text.contains("'y'")));
    pollster::block_on(session.keep(y)).unwrap();
    pollster::block_on(session.keep(z)).unwrap();
    encode(&mut session).unwrap();
    let minute = Duration::from_secs(60);
    close(&session.device_output(y).unwrap().read(minute).unwrap(), &expected(&input, false).0, 0.0);
    // What does not lie in the buffer is refused.
    for (offset, shape) in [(64, vec![49]), (2, vec![1]), (u64::MAX - 3, vec![1]), (0, vec![usize::MAX, 2])] {
        assert!(GpuTensor::from_buffer(&device, buffer.clone(), offset, ElementType::F32, shape).is_err());
    }
}

#[test]
fn plans_with_host_nodes_are_not_encoded() {
    let device = GpuDevice::noop();
    let mut session = session(&device, &[4], true);
    let (x, y, _) = ids(&session);
    let tensor = pollster::block_on(GpuTensor::upload(&device, &TensorView::new([4], &[0f32; 4]).unwrap())).unwrap();
    session.set_device(x, &tensor).unwrap();
    let refused = session.encode(&mut device.encoder());
    assert!(matches!(refused, Err(RunError::State(ref text)) if text.contains("host")), "{refused:?}");
    // The other device's tensors, and those that the host must read, are refused too.
    let other = GpuDevice::noop();
    let foreign = pollster::block_on(GpuTensor::upload(&other, &TensorView::new([4], &[0f32; 4]).unwrap())).unwrap();
    assert!(session.set_device(x, &foreign).is_err());
    assert!(pollster::block_on(session.keep(y)).is_ok());
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
        let (relu, sigmoid) = expected(&input, host);
        close(&seen[&x], &input, 0.0);
        close(&seen[&y], &relu, 0.0);
        close(&seen[&z], &sigmoid, 1e-6);
        // x, y, its negation, what the host made of that, z.
        assert_eq!(seen.len(), if host { 5 } else { 4 });
        close(session.get(z).unwrap(), &sigmoid, 1e-6);
        // An ordinary run comes after it.
        session.run().unwrap();
        close(session.get(z).unwrap(), &sigmoid, 1e-6);
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
        pollster::block_on(device.keep_pipelines_in(crate::cache::Folder::new(&folder))).unwrap();
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

#[test]
fn sessions_run_on_several_threads() {
    let Some(device) = GpuDevice::for_tests() else { return };
    let n = 333;
    let schedule = schedule(&device, graph(&[n], true), PlanOptions::default());
    let engine = GpuEngine::new(&device, schedule).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let engine = &engine;
            scope.spawn(move || {
                let mut session = GpuSession::new(engine).unwrap();
                let (x, y, z) = ids(&session);
                for i in 0..20u8 {
                    let input = ramp(n, f32::from(thread) * 10.0 - f32::from(i));
                    session.set(x, &TensorView::new([n], &input).unwrap()).unwrap();
                    if i % 2 == 0 {
                        session.run().unwrap()
                    } else {
                        pollster::block_on(session.run_async()).unwrap()
                    }
                    let (relu, sigmoid) = expected(&input, true);
                    close(session.get(y).unwrap(), &relu, 0.0);
                    close(session.get(z).unwrap(), &sigmoid, 1e-6);
                }
            });
        }
    });
}

#[test]
fn the_application_keeps_its_handlers() {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    let seen = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    device.on_uncaptured_error(Arc::new(move |_| {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }));
    let ours = GpuDevice::from_wgpu(device.clone(), queue, None);
    // An error of ours does not reach the application's handler, one of its own does.
    let refused = pollster::block_on(
        ours.guarded("a buffer", || ours.create_buffer("too large", 1 << 60, wgpu::BufferUsages::STORAGE, false)),
    );
    assert!(refused.is_err());
    assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), 0);
    drop(ours.create_buffer("too large", 1 << 60, wgpu::BufferUsages::STORAGE, false));
    assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), 1);
}
