//! Sessions of one model on one device, in several threads.

use std::sync::Barrier;

use rimlight::gpu::wgpu;
use rimlight::graph::Definition;
use rimlight::{Device, ElementType, Graph, Model, Options, Placement, Session, Tensor};

use super::{Application, digits, watched};

/// Pictures of noise, one like no other.
fn pictures() -> Vec<Tensor> {
    let pixel = |picture: usize, i: usize| ((i * 31 + picture * 173 + i * i * 7) % 256) as f32 / 255.0;
    (0..5)
        .map(|picture| Tensor::new([1, 1, 28, 28], (0..784).map(|i| pixel(picture, i)).collect::<Vec<_>>()).unwrap())
        .collect()
}

fn answer(session: &mut Session, picture: &Tensor) -> Tensor {
    session.run_with([("image", picture.view())]).unwrap().remove(0).1
}

/// Bytes that live on the device, once it is done with what was let go of.
fn allocated(app: &Application) -> Option<u64> {
    app.device.poll(wgpu::PollType::Wait { submission_index: None, timeout: None }).unwrap();
    app.device.generate_allocator_report().map(|report| report.total_allocated_bytes)
}

/// Kilobytes of the process that lie in memory.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
}

/// A few runs a session. `RIMLIGHT_RUNS=1000` makes it as many, and has the process's memory stand still too: run it alone.
#[test]
fn two_threads_get_what_one_gets_and_memory_stands_still() {
    let Some(app) = Application::start() else { return };
    let guest = app.guest();
    let runs: Option<usize> = std::env::var("RIMLIGHT_RUNS").ok().map(|runs| runs.parse().unwrap());
    let (model, options) = (digits(), Options::new().placement(Placement::GpuOnly));
    let pictures = pictures();
    let mut alone = model.session_with(&guest, &options).unwrap();
    let expected: Vec<Tensor> = pictures.iter().map(|picture| answer(&mut alone, picture)).collect();
    let (warm, over, measured) = (Barrier::new(3), Barrier::new(3), Barrier::new(3));
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (app, guest, model, options, pictures, expected) =
                (&app, &guest, &model, &options, &pictures, &expected);
            let (warm, over, measured) = (&warm, &over, &measured);
            scope.spawn(move || {
                let (mut session, seen) = watched(app, || {
                    let mut session = model.session_with(guest, options).unwrap();
                    for i in 0..10 {
                        assert_eq!(answer(&mut session, &pictures[i % 5]), expected[i % 5]);
                    }
                    session
                });
                assert!(seen.is_empty(), "{seen:?}");
                warm.wait();
                measured.wait();
                let ((), seen) = watched(app, || {
                    for run in 0..runs.unwrap_or(20) {
                        let which = (run + thread) % pictures.len();
                        assert_eq!(answer(&mut session, &pictures[which]), expected[which], "run {run} of {thread}");
                    }
                });
                assert!(seen.is_empty(), "{seen:?}");
                over.wait();
                // Its memory lives until it was measured.
                measured.wait();
                drop(session);
            });
        }
        warm.wait();
        let (device, process) = (allocated(&app), resident());
        measured.wait();
        over.wait();
        assert_eq!(allocated(&app), device, "bytes on the device");
        if let (Some(runs), Some(before), Some(after)) = (runs, process, resident()) {
            println!(
                "{runs} runs in each of two threads: {before} kB before, {after} kB after, {device:?} bytes on the device"
            );
            assert!(after < before + 2048, "{before} kB before, {after} kB after");
        }
        measured.wait();
    });
    assert_eq!(app.uncaught.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn sessions_of_one_model_share_its_weights() {
    let Some(app) = Application::start() else { return };
    let guest: Device = app.guest();
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [1usize, 512]);
    let weights: Vec<f32> = (0..512 * 512).map(|i| (i % 101) as f32 / 50.0 - 1.0).collect();
    let bytes = weights.len() as u64 * 4;
    let w = graph.constant("w", Tensor::new([512, 512], weights).unwrap());
    let y = graph.node(&Definition::new("MatMul"), &[x, w]).unwrap();
    graph.output("y", y);
    let model = Model::from_graph(graph.build().unwrap());
    let Some(before) = allocated(&app) else { return };
    let sessions: Vec<Session> = (0..3).map(|_| model.session(&guest).unwrap()).collect();
    let all = allocated(&app).unwrap() - before;
    assert!(all >= bytes && all < 2 * bytes, "{all} bytes for three sessions of {bytes} bytes of weights");
    drop(sessions);
}
