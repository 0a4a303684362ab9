//! States that lie on the GPU when a plan comes whose nodes on the host read them, or which takes them in another order.

use super::tests::{devices, rows};
use crate::graph::{Definition, Graph};
use crate::model::Model;
use crate::session::run::tests::gpu;
use crate::session::{Device, Session};
use crate::{ElementType, RunError, Tensor};

/// `past` and `new` joined along axis 1, and the first columns of either: once plans were made for four numbers of columns
/// at the same shapes, those for further numbers have the host cut them off.
fn model(of_past: bool) -> Model {
    let mut graph = Graph::builder();
    let dims = |length: crate::Dim| [2usize.into(), length, 6usize.into()];
    let past = graph.input("past", ElementType::F32, dims(crate::Dim::symbol("before")));
    let new = graph.input("new", ElementType::F32, dims(1usize.into()));
    let end = graph.input("end", ElementType::I64, [1usize]);
    let added = graph.node(&Definition::new("Neg"), &[new]).unwrap();
    let all = graph.node(&Definition::new("Concat").attribute("axis", 1i64), &[past, added]).unwrap();
    let [zero, two] = [("zero", 0i64), ("two", 2)].map(|(name, n)| graph.constant(name, Tensor::vector(vec![n])));
    let cut = if of_past { past } else { new };
    let part = graph.node(&Definition::new("Slice"), &[cut, zero, end, two]).unwrap();
    graph.output("part", part);
    graph.output("all", all);
    Model::from_graph(graph.build().unwrap())
}

fn session(device: &Device, of_past: bool, in_place: bool) -> Session {
    let mut session = model(of_past).session(device).unwrap();
    match in_place {
        true => session.carry_up_to("all", "past", 1, 4).unwrap(),
        false => session.carry("all", "past").unwrap(),
    }
    session.set(session.input("past").unwrap(), rows(9, 1, 6).view()).unwrap();
    session
}

fn give(session: &mut Session, run: usize, end: i64) {
    session.set(session.input("new").unwrap(), rows(run, 1, 6).view()).unwrap();
    session.set(session.input("end").unwrap(), Tensor::vector(vec![end]).view()).unwrap();
}

/// How a run is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Run,
    Async,
    Submit,
}

/// A run, and what it gave: the columns, and the state after it.
fn step(session: &mut Session, way: Way, run: usize, end: i64) -> Vec<Tensor> {
    give(session, run, end);
    let part = session.output("part").unwrap();
    let got = match way {
        Way::Run => session.run().map(|()| session.get(part).unwrap().clone()),
        Way::Async => pollster::block_on(session.run_async()).map(|()| session.get(part).unwrap().clone()),
        Way::Submit => session.submit().and_then(|run| Ok(run.wait()?.get(part)?.clone())),
    };
    let got = got.unwrap_or_else(|error| {
        // What goes by the host's memory must be waited for; the state is still there.
        assert!(way == Way::Submit && matches!(error, RunError::State(_)), "{error}");
        session.run().unwrap();
        session.get(part).unwrap().clone()
    });
    vec![got, session.state("all").unwrap()]
}

#[test]
fn a_state_on_the_gpu_goes_to_the_host_where_a_node_there_reads_it() {
    for (of_past, in_place, way) in [
        (true, false, Way::Run),
        (true, false, Way::Submit),
        (true, true, Way::Run),
        (true, true, Way::Async),
        (false, true, Way::Run),
        (false, true, Way::Submit),
    ] {
        let mut expected = vec![];
        for (i, device) in devices().enumerate() {
            let mut session = session(&device, of_past, in_place);
            let mut on_host = vec![];
            for last in 1..=5 {
                session.reset();
                // By the second of these runs the state lies on the GPU.
                for (run, end) in [(0, 1), (1, last), (2, 1)] {
                    let got = step(&mut session, way, run, end);
                    match i {
                        0 => expected.push(got),
                        _ => assert_eq!(got, expected.remove(0), "{of_past} {in_place} {way:?} {last} {run}"),
                    }
                    let schedule = session.schedule();
                    on_host.extend(schedule.map(|s| (s.summary.host_nodes > 0, s.held.is_empty())));
                }
            }
            if device.is_gpu() {
                let plain = !in_place;
                assert_eq!(on_host.len(), 15);
                for (at, found) in on_host.into_iter().enumerate() {
                    assert_eq!(found, if at == 13 { (true, true) } else { (false, plain) }, "{at}");
                }
            }
        }
    }
}

/// What is encoded into the application's own commands cannot wait for a state to be brought anywhere.
#[test]
fn a_state_in_another_order_is_not_encoded() {
    let Some(device) = gpu() else { return };
    let mut session = session(&device, false, true);
    step(&mut session, Way::Run, 0, 1);
    // Kept as the model has it.
    let state = session.state("all").unwrap();
    let lies = pollster::block_on(crate::gpu::GpuTensor::upload(device.as_gpu().unwrap(), &state.view())).unwrap();
    session.set_on_device(session.input("past").unwrap(), &lies).unwrap();
    step(&mut session, Way::Run, 1, 1);
    session.set_on_device(session.input("past").unwrap(), &lies).unwrap();
    give(&mut session, 1, 1);
    let mut encoder = device.as_gpu().unwrap().wgpu().create_command_encoder(&Default::default());
    let error = session.encode(&mut encoder).unwrap_err();
    assert!(error.to_string().contains("as it lies"), "{error}");
}
