use crate::graph::{Definition, Dim};
use crate::session::{Backend, Device, DeviceOptions};
use crate::{ElementType, Graph, Model, Session, Tensor};

/// A chain over any number of rows.
fn session(device: &Device) -> Session {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [Dim::symbol("rows"), Dim::from(64)]);
    let mut y = x;
    for _ in 0..3 {
        y = graph.node(&Definition::new("Softmax"), &[y]).unwrap();
    }
    graph.output("y", y);
    Model::from_graph(graph.build().unwrap()).session(device).unwrap()
}

fn rows(n: usize) -> Tensor {
    Tensor::new([n, 64], (0..n * 64).map(|i| (i % 7) as f32).collect()).unwrap()
}

/// Runs, checks that rows are what they are alone, and says what is held.
fn run(session: &mut Session, n: usize) -> u64 {
    let outputs = session.run_with([("x", rows(n).view())]).unwrap();
    let sums = outputs[0].1.as_slice::<f32>().unwrap().chunks(64).map(|row| row.iter().sum::<f32>());
    assert!(sums.map(|sum| (sum - 1.0).abs()).all(|error| error < 1e-4));
    session.memory().values
}

fn devices() -> impl Iterator<Item = Device> {
    let options = DeviceOptions { backend: Backend::Gpu, ..DeviceOptions::default() };
    let gpu = Device::new(&options).inspect_err(|error| eprintln!("skipped: {error}")).ok();
    [Device::cpu()].into_iter().chain(gpu)
}

#[test]
fn plans_take_turns_with_memory() {
    for device in devices() {
        let alone = |n| run(&mut session(&device), n);
        let (small, middle, large) = (alone(1), alone(100), alone(1000));
        assert!(small < middle && middle < large, "{small} {middle} {large}");
        let mut session = session(&device);
        for n in [1, 1000, 100, 1, 1000, 100] {
            assert!(run(&mut session, n) <= large, "{n} rows on {device:?}");
        }
        // Both are used: neither must be made again and again.
        let made = device.as_gpu().map(|gpu| gpu.creations());
        for _ in 0..40 {
            run(&mut session, 1000);
            run(&mut session, 100);
        }
        assert_eq!(device.as_gpu().map(|gpu| gpu.creations()), made);
        let held: Vec<u64> = (0..40).map(|_| run(&mut session, 100)).collect();
        assert_eq!(held.last(), Some(&middle), "{device:?}: {held:?}");
        for _ in 0..40 {
            run(&mut session, 1);
        }
        assert_eq!(session.memory().values, small);
        assert_eq!(run(&mut session, 1000), large);
    }
}

#[test]
fn a_trimmed_session_goes_on() {
    for device in devices() {
        let mut session = session(&device);
        let before = run(&mut session, 50);
        run(&mut session, 20);
        session.trim();
        let y = session.output("y").unwrap();
        assert_eq!(session.get(y).unwrap().shape(), [20, 64]);
        assert!(session.memory().values < before);
        assert_eq!(run(&mut session, 50), before);
    }
}
