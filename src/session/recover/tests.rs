//! Faults of the device, each planted: a typed error, or another device and the right answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::error::Error;
use crate::graph::{Definition, Graph};
use crate::model::Model;
use crate::session::DeviceOptions;
use crate::{ElementType, Tensor};

/// `relu(x · w) + state`, the sum carried from run to run if somebody asks for it.
fn model() -> Model {
    let mut graph = Graph::builder();
    let (x, state) = (graph.input("x", ElementType::F32, [3, 5]), graph.input("state", ElementType::F32, [3, 4]));
    let w = graph.constant("w", Tensor::new([5, 4], (0..20).map(|i| (i * 7 % 11) as f32 - 5.0).collect()).unwrap());
    let product = graph.node(&Definition::new("MatMul"), &[x, w]).unwrap();
    let relu = graph.node(&Definition::new("Relu"), &[product]).unwrap();
    let next = graph.node(&Definition::new("Add"), &[relu, state]).unwrap();
    graph.output("next", next);
    Model::from_graph(graph.build().unwrap())
}

fn x(run: usize) -> Tensor {
    Tensor::new([3, 5], (0..15).map(|i| ((i + run) % 7) as f32 - 3.0).collect()).unwrap()
}

fn zeros() -> Tensor {
    Tensor::zeros(ElementType::F32, [3, 4]).unwrap()
}

/// What the model gives without a state. Its sums of small whole numbers are exact on every device.
fn expected(run: usize) -> Tensor {
    let mut session = model().session(&Device::cpu()).unwrap();
    session.run_with([("x", x(run).view()), ("state", zeros().view())]).unwrap().remove(0).1
}

/// A device of this test's own, chosen by Rimlight (`Auto`) or asked for.
fn device(backend: Backend) -> Option<Device> {
    let gpu = crate::session::run::tests::gpu()?;
    let adapter = Some(gpu.as_gpu().unwrap().info().name.clone());
    Some(Device::new(&DeviceOptions { backend, adapter, ..DeviceOptions::default() }).unwrap())
}

/// Options, and the events that sessions with them tell of.
fn options() -> (Options, Arc<Mutex<Vec<Event>>>) {
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let told = Arc::clone(&events);
    (Options::new().on_event(move |event| told.lock().unwrap().push(event.clone())), events)
}

fn run(session: &mut Session, run: usize, by_future: bool) -> Result<Tensor, RunError> {
    session.set(session.input("x")?, x(run).view())?;
    session.set(session.input("state")?, zeros().view())?;
    match by_future {
        true => pollster::block_on(session.run_async())?,
        false => session.run()?,
    }
    session.get(session.output("next")?).cloned()
}

fn faults(session: &Session) -> &crate::gpu::GpuDevice {
    session.engine().device().as_gpu().unwrap()
}

/// Where each of the events went.
fn moves(events: &Mutex<Vec<Event>>) -> Vec<(Backend, bool)> {
    let told = events.lock().unwrap();
    let moved = |event: &Event| match event {
        Event::Moved { backend, states_lost, .. } => (*backend, *states_lost),
        other => panic!("{other}"),
    };
    told.iter().map(moved).collect()
}

#[test]
fn a_device_that_is_lost_is_opened_anew_once_and_then_the_cpu_goes_on() {
    for (asked, recovery, at_last) in [
        (Backend::Auto, Recovery::Auto, Some(Backend::Cpu)),
        (Backend::Gpu, Recovery::ToCpu, Some(Backend::Cpu)),
        (Backend::Gpu, Recovery::Auto, None),
    ] {
        let Some(device) = device(asked) else { return };
        let (options, events) = options();
        let engine = Engine::new(&model(), &device, &options.recovery(recovery)).unwrap();
        let (mut session, mut other) = (engine.session().unwrap(), engine.session().unwrap());
        assert_eq!(run(&mut session, 0, false).unwrap(), expected(0));
        // Amid a run.
        faults(&session).faults().lose_at(1);
        assert_eq!(run(&mut session, 1, false).unwrap(), expected(1));
        assert_eq!(moves(&events), [(Backend::Gpu, false)]);
        assert_eq!(session.backend(), Some(Backend::Gpu));
        // Another session of the engine meets it there, and so does one that is made now.
        assert_eq!(run(&mut other, 2, true).unwrap(), expected(2));
        assert!(faults(&session).is_same(faults(&other)) && !faults(&other).is_same(device.as_gpu().unwrap()));
        assert!(faults(&engine.session().unwrap()).is_same(faults(&other)));
        faults(&session).faults().lose_at(1);
        let outcome = run(&mut session, 3, true);
        match at_last {
            Some(backend) => {
                assert_eq!(outcome.unwrap(), expected(3));
                assert_eq!(session.backend(), Some(backend));
                assert_eq!(run(&mut other, 4, false).unwrap(), expected(4));
                assert_eq!(moves(&events).last(), Some(&(Backend::Cpu, false)));
            }
            // Somebody asked for a GPU, and is told.
            None => assert!(matches!(outcome, Err(RunError::Device(DeviceError::Lost(_)))), "{outcome:?}"),
        }
    }
}

#[test]
fn an_adapter_that_is_gone_leaves_the_cpu() {
    let Some(device) = device(Backend::Auto) else { return };
    let (options, events) = options();
    let mut session = model().session_with(&device, &options).unwrap();
    faults(&session).faults().be_gone();
    faults(&session).faults().lose_at(1);
    assert_eq!(run(&mut session, 0, false).unwrap(), expected(0));
    assert_eq!(moves(&events), [(Backend::Cpu, false)]);
}

#[test]
fn memory_that_is_refused_and_kernels_that_do_not_compile_leave_the_cpu() {
    let refused = |what: &str| DeviceError::Refused { what: what.to_owned(), message: "a fault".to_owned() };
    let memory = |what: &str| DeviceError::OutOfMemory(what.to_owned());
    for (what, error) in [
        ("the kernel", refused("the kernel")),
        ("memory for the model's constants", memory("constants")),
        ("memory for uploading constants", memory("uploading")),
        ("memory for a session", memory("a session")),
        ("memory for reading and writing", memory("staging")),
        ("a run", refused("a run")),
    ] {
        for asked in [Backend::Auto, Backend::Gpu] {
            let Some(device) = device(asked) else { return };
            device.as_gpu().unwrap().faults().refuse(what, error.clone());
            let (options, events) = options();
            let session = model().session_with(&device, &options);
            let outcome = session.and_then(|mut session| {
                let result = run(&mut session, 5, false).map_err(Error::from)?;
                assert_eq!(session.backend(), Some(Backend::Cpu));
                Ok(result)
            });
            match (asked, outcome) {
                (Backend::Auto, outcome) => {
                    assert_eq!(outcome.unwrap(), expected(5), "{what}");
                    assert_eq!(moves(&events), [(Backend::Cpu, false)], "{what}");
                }
                (_, Err(Error::Run(RunError::Device(got)))) => assert_eq!(got.to_string(), error.to_string()),
                (_, outcome) => panic!("{what}: {outcome:?}"),
            }
        }
    }
}

#[test]
fn a_device_that_does_not_answer_is_given_up() {
    for by_future in [false, true] {
        let Some(device) = device(Backend::Auto) else { return };
        let (options, events) = options();
        let mut session = model().session_with(&device, &options.patience(Duration::from_millis(300))).unwrap();
        assert_eq!(run(&mut session, 0, by_future).unwrap(), expected(0));
        faults(&session).faults().be_silent(true);
        assert_eq!(run(&mut session, 1, by_future).unwrap(), expected(1));
        assert_eq!(moves(&events), [(Backend::Gpu, false)]);
        // Whoever sets a bound for waits of his own waits again.
        faults(&session).faults().be_silent(true);
        session.as_gpu().unwrap().set_timeout(Duration::from_millis(20));
        let outcome = run(&mut session, 2, by_future);
        assert!(matches!(outcome, Err(RunError::Device(DeviceError::Timeout(_)))), "{outcome:?}");
        assert_eq!(moves(&events).len(), 1);
    }
}

#[test]
fn without_recovery_each_fault_is_the_applications() {
    let Some(device) = device(Backend::Auto) else { return };
    let (options, events) = options();
    let options = options.recovery(Recovery::Off).patience(Duration::from_millis(300));
    let mut session = model().session_with(&device, &options).unwrap();
    faults(&session).faults().be_silent(true);
    let outcome = run(&mut session, 0, false);
    assert!(matches!(outcome, Err(RunError::Device(DeviceError::Timeout(_)))), "{outcome:?}");
    faults(&session).faults().be_silent(false);
    faults(&session).faults().lose_at(1);
    let mut other = session.engine().session().unwrap();
    let outcome = run(&mut other, 0, true);
    assert!(matches!(outcome, Err(RunError::Device(DeviceError::Lost(_)))), "{outcome:?}");
    assert_eq!(moves(&events), []);
}

#[test]
fn an_applications_own_device_is_not_opened_anew() {
    let Some(gpu) = device(Backend::Gpu) else { return };
    let gpu = gpu.as_gpu().unwrap();
    let device = Device::from_wgpu(gpu.wgpu().clone(), gpu.queue().clone());
    let (options, events) = options();
    let mut session = model().session_with(&device, &options).unwrap();
    assert_eq!(run(&mut session, 0, false).unwrap(), expected(0));
    device.notify_lost("the application says so");
    let outcome = run(&mut session, 0, false);
    assert!(matches!(outcome, Err(RunError::Device(DeviceError::Lost(_)))), "{outcome:?}");
    assert_eq!(moves(&events), []);
}

#[test]
fn states_that_lay_on_the_device_begin_anew_and_the_run_says_so() {
    let Some(device) = device(Backend::Auto) else { return };
    let (options, events) = options();
    let mut session = model().session_with(&device, &options).unwrap();
    session.carry("next", "state").unwrap();
    let step = |session: &mut Session| {
        session.set(session.input("x")?, x(0).view())?;
        session.run()?;
        session.state("next")
    };
    let once = expected(0);
    let twice: Vec<f32> = once.as_slice::<f32>().unwrap().iter().map(|v| 2.0 * v).collect();
    assert_eq!(step(&mut session).unwrap(), once);
    assert_eq!(step(&mut session).unwrap().as_slice::<f32>().unwrap(), twice);
    faults(&session).faults().lose_at(1);
    let outcome = step(&mut session);
    assert!(matches!(outcome, Err(RunError::Device(DeviceError::Lost(_)))), "{outcome:?}");
    assert_eq!(moves(&events), [(Backend::Gpu, true)]);
    assert_eq!(step(&mut session).unwrap(), once);
    assert_eq!(step(&mut session).unwrap().as_slice::<f32>().unwrap(), twice);
}

#[test]
fn runs_that_were_submitted_end_with_the_device_and_the_next_goes_on() {
    let Some(device) = device(Backend::Auto) else { return };
    let (options, events) = options();
    let mut session = model().session_with(&device, &options).unwrap();
    let submit = |session: &mut Session, run: usize| {
        session.set(session.input("x")?, x(run).view())?;
        session.set(session.input("state")?, zeros().view())?;
        session.submit()
    };
    let next = session.output("next").unwrap();
    let outputs = submit(&mut session, 0).unwrap().wait().unwrap();
    assert_eq!(*outputs.get(next).unwrap(), expected(0));
    let under_way = submit(&mut session, 1).unwrap();
    device.as_gpu().unwrap().wgpu().destroy();
    device.notify_lost("destroyed");
    // It may have been done before.
    if let Ok(outputs) = under_way.wait() {
        assert_eq!(*outputs.get(next).unwrap(), expected(1));
    }
    let outputs = submit(&mut session, 2).unwrap().wait().unwrap();
    assert_eq!(*outputs.get(next).unwrap(), expected(2));
    assert_eq!(moves(&events), [(Backend::Gpu, false)]);
}
