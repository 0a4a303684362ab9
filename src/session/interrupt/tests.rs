//! Runs that are ended early, and those that come after them.

use std::time::{Duration, Instant};

use crate::error::RunError;
use crate::graph::{Body, Definition, Graph};
use crate::model::Model;
use crate::session::{Device, Session};
use crate::{Cancel, ElementType, Tensor};

/// Products one after the other, so many that a run is submitted in parts.
fn model(products: usize) -> Model {
    let mut graph = Graph::builder();
    let n = 256;
    let mut x = graph.input("x", ElementType::F32, [n, n]);
    let rotation = |i: usize| f32::from(u8::from((i / n + 1) % n == i % n));
    let w = graph.constant("w", Tensor::new([n, n], (0..n * n).map(rotation).collect()).unwrap());
    for _ in 0..products {
        x = graph.node(&Definition::new("MatMul"), &[x, w]).unwrap();
        // So that the products are not made one.
        x = graph.node(&Definition::new("Relu"), &[x]).unwrap();
    }
    graph.output("y", x);
    Model::from_graph(graph.build().unwrap())
}

fn x() -> Tensor {
    Tensor::new([256, 256], (0..256 * 256).map(|i| (i % 1000) as f32).collect()).unwrap()
}

/// Products of a device's model: the CPU ends between any two.
fn products(device: &Device) -> usize {
    if device.is_gpu() { 60 } else { 6 }
}

/// Each product turns the columns by one.
fn is_turned(session: &Session, y: &Tensor) -> bool {
    let turned = products(session.engine().device());
    let (x, y) = (x(), y.as_slice::<f32>().unwrap());
    let x = x.as_slice::<f32>().unwrap();
    (0..256 * 256).all(|i| y[i / 256 * 256 + (i % 256 + turned) % 256] == x[i])
}

fn sessions() -> Vec<Session> {
    let devices = crate::session::run::tests::gpu().into_iter().chain([Device::cpu()]);
    let session = |device: Device| {
        let model = model(products(&device));
        let mut session = model.session(&device).unwrap();
        session.set(session.input("x").unwrap(), x().view()).unwrap();
        session.run().unwrap();
        session
    };
    devices.map(session).collect()
}

fn run(session: &mut Session, by_future: bool) -> Result<(), RunError> {
    if by_future { pollster::block_on(session.run_async()) } else { session.run() }
}

#[test]
fn a_run_ends_soon_after_it_is_cancelled_and_the_next_is_right() {
    for mut session in sessions() {
        for by_future in [false, true] {
            let start = Instant::now();
            run(&mut session, by_future).unwrap();
            let whole = start.elapsed();
            let cancel = Cancel::new();
            session.cancel_with(&cancel);
            let y = session.output("y").unwrap();
            // Uninterrupted, in parts.
            let calls = |session: &Session| session.engine().device().as_gpu().map_or(0, |gpu| gpu.queue_calls());
            let before = calls(&session);
            run(&mut session, by_future).unwrap();
            assert!(is_turned(&session, session.get(y).unwrap()));
            let made = calls(&session) - before;
            assert!(session.engine().device().as_gpu().is_none() || made >= 3, "{made} calls");
            let mut cancelled = 0;
            for part in 0..4 {
                let delay = whole * part / 4;
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        std::thread::sleep(delay);
                        cancel.cancel();
                    });
                    match run(&mut session, by_future) {
                        Ok(()) => assert!(is_turned(&session, session.get(y).unwrap())),
                        Err(RunError::Cancelled) => {
                            cancelled += 1;
                            assert!(session.get(y).is_err());
                        }
                        Err(other) => panic!("{other}"),
                    }
                });
                cancel.reset();
                run(&mut session, by_future).unwrap();
                assert!(is_turned(&session, session.get(y).unwrap()));
            }
            // The first is cancelled before it can be done.
            assert!(cancelled > 0);
            session.cancel_with(&Cancel::new());
        }
    }
}

#[test]
fn a_run_that_takes_too_long_ends() {
    for mut session in sessions() {
        let y = session.output("y").unwrap();
        for by_future in [false, true] {
            session.set_time_limit(Some(Duration::from_micros(200)));
            let outcome = run(&mut session, by_future);
            assert!(matches!(outcome, Err(RunError::Deadline(_))), "{outcome:?}");
            session.set_time_limit(Some(Duration::from_secs(60)));
            run(&mut session, by_future).unwrap();
            assert!(is_turned(&session, session.get(y).unwrap()));
            session.set_time_limit(None);
            let pending = session.submit().unwrap();
            assert!(is_turned(&session, pending.wait().unwrap().get(y).unwrap()));
        }
    }
}

/// A loop of a million times, whose body the references run, or a session of its own.
#[test]
fn loops_end_too() {
    for small in [true, false] {
        let n = if small { 1 } else { 100 };
        let mut body = Graph::builder();
        let _time = body.input("time", ElementType::I64, Vec::<usize>::new());
        let going = body.input("going", ElementType::Bool, Vec::<usize>::new());
        let value = body.input("value", ElementType::F32, [n, n]);
        let next = body.node(&Definition::new("MatMul"), &[value, value]).unwrap();
        let goes = body.node(&Definition::new("Identity"), &[going]).unwrap();
        body.output("goes", goes);
        body.output("next", next);
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [n, n]);
        let trips = graph.constant("trips", Tensor::new(Vec::<usize>::new(), vec![1_000_000i64]).unwrap());
        let goes =
            graph.constant("goes", Tensor::new(Vec::<usize>::new(), vec![crate::tensor::Truth::from(true)]).unwrap());
        let body = Body::new(body.build().unwrap(), 0);
        let repeat = Definition { inputs: 3, outputs: 1, ..Definition::new("Loop") }.attribute("body", body);
        let y = graph.node(&repeat, &[trips, goes, x]).unwrap();
        graph.output("y", y);
        let model = Model::from_graph(graph.build().unwrap());
        let devices = crate::session::run::tests::gpu().into_iter().chain([Device::cpu()]);
        for device in devices {
            let mut session = model.session(&device).unwrap();
            session.set_time_limit(Some(Duration::from_millis(50)));
            let x = Tensor::zeros(ElementType::F32, [n, n]).unwrap();
            let start = Instant::now();
            let outcome = session.run_with([("x", x.view())]);
            assert!(matches!(outcome, Err(RunError::Deadline(_))), "{outcome:?}");
            assert!(start.elapsed() < Duration::from_secs(20));
        }
    }
}
