//! States, on both backends.

use crate::graph::{Definition, Graph};
use crate::model::Model;
use crate::session::{Device, Session};
use crate::{ElementType, RunError, Tensor};

fn devices() -> impl Iterator<Item = Device> {
    [Some(Device::cpu()), crate::session::run::tests::gpu()].into_iter().flatten()
}

/// `next = state + x`, and `y = 2 · next`; with `on_host` a node in between that no GPU runs.
fn sums(on_host: bool) -> Model {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [3usize]);
    let state = graph.input("state", ElementType::F32, [3usize]);
    let mut next = graph.node(&Definition::new("Add"), &[state, x]).unwrap();
    if on_host {
        let texts = graph.node(&Definition::new("Cast").attribute("to", 8i64), &[next]).unwrap();
        next = graph.node(&Definition::new("Cast").attribute("to", 1i64), &[texts]).unwrap();
    }
    let y = graph.node(&Definition::new("Add"), &[next, next]).unwrap();
    graph.output("y", y);
    graph.output("next", next);
    Model::from_graph(graph.build().unwrap())
}

fn vector(values: [f32; 3]) -> Tensor {
    Tensor::vector(values.to_vec())
}

fn step(session: &mut Session, x: [f32; 3]) -> Tensor {
    let (x, y, id) = (vector(x), session.output("y").unwrap(), session.input("x").unwrap());
    session.set(id, x.view()).unwrap();
    session.run().unwrap();
    session.get(y).unwrap().clone()
}

#[test]
fn a_state_is_handed_on_and_begins_again() {
    for device in devices() {
        for on_host in [false, true] {
            let mut session = sums(on_host).session(&device).unwrap();
            assert!(session.state("next").is_err());
            session.carry("next", "state").unwrap();
            session.carry("next", "state").unwrap();
            for round in 0..2 {
                for i in 1..4u8 {
                    let times = f32::from(i);
                    assert_eq!(step(&mut session, [1.0, 2.0, -3.0]), vector([2.0, 4.0, -6.0].map(|v| v * times)));
                }
                assert_eq!(session.state("next").unwrap(), vector([3.0, 6.0, -9.0]), "{round}");
                session.reset();
            }
            // A state that is given: from then on, and after the next reset.
            let state = session.input("state").unwrap();
            step(&mut session, [9.0; 3]);
            session.set(state, vector([10.0; 3]).view()).unwrap();
            for expected in [22.0, 24.0] {
                assert_eq!(step(&mut session, [1.0; 3]), vector([expected; 3]));
            }
            session.reset();
            assert_eq!(step(&mut session, [1.0; 3]), vector([22.0; 3]));
            let on_gpu = session.schedule().is_some();
            // On the GPU it stays there.
            assert_eq!(session.get(session.output("next").unwrap()).is_err(), on_gpu && !on_host);
        }
    }
}

#[test]
fn the_short_form_gives_states_with_the_other_outputs() {
    for device in devices() {
        let mut session = sums(false).session(&device).unwrap();
        session.carry("next", "state").unwrap();
        for i in 1..4u8 {
            let outputs = session.run_with([("x", vector([1.0, 2.0, 3.0]).view())]).unwrap();
            let next = vector([1.0, 2.0, 3.0].map(|v| v * f32::from(i)));
            assert_eq!(outputs[1], ("next".to_owned(), next), "{device:?}");
        }
    }
}

#[test]
fn a_carried_state_follows_runs_that_are_not_waited_for() {
    for device in devices() {
        let mut session = sums(false).session(&device).unwrap();
        session.carry("next", "state").unwrap();
        let (x, y) = (session.input("x").unwrap(), session.output("y").unwrap());
        let mut pending = vec![];
        for _ in 0..4 {
            session.set(x, vector([1.0; 3]).view()).unwrap();
            pending.push(session.submit().unwrap());
        }
        for (i, run) in (1u8..).zip(pending) {
            assert_eq!(run.wait().unwrap().get(y).unwrap(), &vector([2.0 * f32::from(i); 3]));
        }
    }
    if let Some(gpu) = crate::session::run::tests::gpu() {
        let mut session = sums(true).session(&gpu).unwrap();
        session.carry("next", "state").unwrap();
        session.set(session.input("x").unwrap(), vector([1.0; 3]).view()).unwrap();
        assert!(matches!(session.submit(), Err(RunError::State(_))));
    }
}

#[test]
fn what_is_carried_may_grow() {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [1usize, 4]);
    let past = graph.input("past", ElementType::F32, [crate::Dim::symbol("length"), crate::Dim::from(4usize)]);
    let all = graph.node(&Definition::new("Concat").attribute("axis", 0i64), &[past, x]).unwrap();
    graph.output("all", all);
    let model = Model::from_graph(graph.build().unwrap());
    for device in devices() {
        let mut session = model.session(&device).unwrap();
        session.carry("all", "past").unwrap();
        // Of unknown length, so that it must be given.
        assert!(matches!(session.run_with([("x", row(0).view())]), Err(RunError::MissingInput(_))));
        session.set(session.input("past").unwrap(), Tensor::zeros(ElementType::F32, [0, 4]).unwrap().view()).unwrap();
        for i in 0..6 {
            session.set(session.input("x").unwrap(), row(i).view()).unwrap();
            session.run().unwrap();
        }
        let expected = (0..6u8).flat_map(|i| [f32::from(i); 4]).collect::<Vec<_>>();
        assert_eq!(session.state("all").unwrap(), Tensor::new([6, 4], expected).unwrap());
    }
}

fn row(i: u8) -> Tensor {
    Tensor::new([1, 4], vec![f32::from(i); 4]).unwrap()
}

#[test]
fn what_cannot_be_carried_is_said() {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [2usize]);
    let z = graph.input("z", ElementType::I32, [2usize]);
    let y = graph.node(&Definition::new("Neg"), &[x]).unwrap();
    let w = graph.node(&Definition::new("Concat").attribute("axis", 0i64), &[x, y]).unwrap();
    for (name, value) in [("y", y), ("w", w), ("v", z)] {
        graph.output(name, value);
    }
    let mut session = Model::from_graph(graph.build().unwrap()).session(&Device::cpu()).unwrap();
    assert!(matches!(session.carry("x", "x"), Err(RunError::Name { kind: "output", .. })));
    assert!(matches!(session.carry("y", "y"), Err(RunError::Name { kind: "input", .. })));
    assert!(matches!(session.carry("v", "x"), Err(RunError::InputType { .. })));
    assert!(matches!(session.carry("w", "x"), Err(RunError::InputShape { .. })));
    session.carry("y", "x").unwrap();
    assert!(matches!(session.carry("y", "x"), Ok(())));
}
