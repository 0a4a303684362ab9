//! States, on both backends.

use crate::graph::{Definition, Graph};
use crate::model::Model;
use crate::ops::operator;
use crate::session::{Device, Session};
use crate::{ElementType, RunError, Tensor};

pub(super) fn devices() -> impl Iterator<Item = Device> {
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

/// `past` and `new` joined along axis 1, and what attention makes of a query over all of it.
fn remembering(size: usize) -> Model {
    let mut graph = Graph::builder();
    let dims = |length: crate::Dim| [crate::Dim::from(2usize), length, crate::Dim::from(size)];
    let past = graph.input("past", ElementType::F32, dims(crate::Dim::symbol("before")));
    let new = graph.input("new", ElementType::F32, dims(crate::Dim::symbol("rows")));
    let added = graph.node(&Definition::new("Neg"), &[new]).unwrap();
    let all = graph.node(&Definition::new("Concat").attribute("axis", 1i64), &[past, added]).unwrap();
    let turned = graph.node(&Definition::new("Transpose").attribute("perm", [0i64, 2, 1].to_vec()), &[all]).unwrap();
    let scores = graph.node(&Definition::new("MatMul"), &[new, turned]).unwrap();
    let weights = graph.node(&Definition::new("Softmax"), &[scores]).unwrap();
    let y = graph.node(&Definition::new("MatMul"), &[weights, all]).unwrap();
    graph.output("y", y);
    graph.output("all", all);
    Model::from_graph(graph.build().unwrap())
}

/// `[2, rows, size]`, other numbers for each row and run.
pub(super) fn rows(run: usize, rows: usize, size: usize) -> Tensor {
    let number = |i: usize| ((i * 37 + run * 101) % 64) as f32 / 32.0 - 1.0;
    Tensor::new([2, rows, size], (0..2 * rows * size).map(number).collect()).unwrap()
}

/// Rows of 2 · 6 numbers are whole units, those of 2 · 3 are not: these are copied.
#[test]
fn what_is_carried_grows_in_place_up_to_its_length() {
    for size in [6, 3] {
        let model = remembering(size);
        let mut expected: Vec<(Tensor, Tensor)> = vec![];
        for (i, device) in devices().enumerate() {
            let mut session = model.session(&device).unwrap();
            session.carry_up_to("all", "past", 1, 9).unwrap();
            session.carry_up_to("all", "past", 1, 9).unwrap();
            assert!(matches!(session.carry_up_to("all", "past", 1, 8), Err(RunError::State(_))));
            assert!(matches!(session.carry_up_to("all", "past", 3, 8), Err(RunError::State(_))));
            let past = session.input("past").unwrap();
            for begin in [0, 2, 0] {
                let mut at = 0;
                let mut step = |session: &mut Session, run: usize, count: usize| {
                    session.set(session.input("new").unwrap(), rows(run, count, size).view()).unwrap();
                    session.run().unwrap();
                    let y = session.get(session.output("y").unwrap()).unwrap().clone();
                    let state = session.state("all").unwrap();
                    if i == 0 {
                        expected.push((y, state));
                    } else {
                        let (expected_y, expected_state) = expected.remove(0);
                        assert_eq!(state, expected_state, "{size} {device:?}");
                        for (a, b) in y.to_f64().into_iter().zip(expected_y.to_f64()) {
                            assert!((a - b).abs() < 1e-5, "{a} {b}");
                        }
                    }
                    at += count;
                };
                session.set(past, rows(99, begin, size).view()).unwrap();
                for (run, count) in [(0, 3), (1, 1), (2, 1), (3, 2)] {
                    step(&mut session, run, count);
                }
                session.reset();
                step(&mut session, 4, 1);
                step(&mut session, 5, 6);
                // Nine are not more than nine.
                if begin == 2 {
                    session.set(session.input("new").unwrap(), rows(6, 1, size).view()).unwrap();
                    let error = session.run().unwrap_err();
                    let RunError::TooLong { name, axis: 1, length: 9, found: 10 } = error else { panic!("{error}") };
                    assert_eq!(name, "all");
                }
            }
            if let Some(schedule) = session.schedule() {
                let held = schedule.held.iter().map(|held| schedule.buffers[held.buffer]);
                let bytes = if size == 6 { vec![9 * 2 * 6 * 4] } else { vec![] };
                assert_eq!(held.collect::<Vec<_>>(), bytes, "the whole length");
            }
        }
    }
}

#[test]
fn what_grows_may_go_by_the_host() {
    for device in devices() {
        let options = crate::session::Options::new().placement(crate::plan::Placement::HostOnly);
        let mut session = match device.is_gpu() {
            true => remembering(6).session_with(&device, &options).unwrap(),
            false => remembering(6).session(&device).unwrap(),
        };
        session.carry_up_to("all", "past", 1, 5).unwrap();
        session.set(session.input("past").unwrap(), rows(9, 1, 6).view()).unwrap();
        for run in 0..3 {
            session.set(session.input("new").unwrap(), rows(run, 1, 6).view()).unwrap();
            session.run().unwrap();
        }
        let state = session.state("all").unwrap();
        let element = |head: usize, row: usize| state.to_f64()[(head * 4 + row) * 6 + 5];
        assert_eq!(state.shape(), [2, 4, 6]);
        for head in 0..2 {
            let given = |run: usize| rows(run, 1, 6).to_f64()[head * 6 + 5];
            assert_eq!([0, 1, 2, 3].map(|row| element(head, row)), [given(9), -given(0), -given(1), -given(2)]);
        }
    }
}

#[test]
fn what_grows_in_place_follows_runs_that_are_not_waited_for() {
    for device in devices() {
        let mut session = remembering(6).session(&device).unwrap();
        session.carry_up_to("all", "past", 1, 5).unwrap();
        let (past, new, y) =
            (session.input("past").unwrap(), session.input("new").unwrap(), session.output("y").unwrap());
        let mut waited = remembering(6).session(&device).unwrap();
        waited.carry("all", "past").unwrap();
        let mut pending = vec![];
        for session in [&mut session, &mut waited] {
            session.set(past, rows(9, 1, 6).view()).unwrap();
        }
        for run in 0..4 {
            session.set(new, rows(run, 1, 6).view()).unwrap();
            pending.push(session.submit().unwrap());
        }
        for (run, pending) in pending.into_iter().enumerate() {
            waited.set(new, rows(run, 1, 6).view()).unwrap();
            waited.run().unwrap();
            let (got, expected) = (pending.wait().unwrap(), waited.get(y).unwrap().to_f64());
            for (a, b) in got.get(y).unwrap().to_f64().into_iter().zip(expected) {
                assert!((a - b).abs() < 1e-5, "{run}: {a} {b}");
            }
        }
        assert_eq!(session.state("all").unwrap(), waited.state("all").unwrap());
    }
}

/// How attention comes to its keys and values so far.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// They are joined with the new ones.
    Joined { causal: bool },
    /// The same where heads lie side by side.
    Flat { causal: bool },
    /// A run writes its rows into caches of fixed length.
    Scattered,
    /// GroupQueryAttention: it writes them into caches that grow.
    Grouped,
}

impl Form {
    /// The shape of queries, or of keys and values, of so many rows.
    fn shape(self, of: &str, rows: crate::Dim) -> Vec<crate::Dim> {
        let heads = if self == Self::Grouped && of == "q" { 4usize } else { 2 };
        match self {
            Self::Joined { .. } | Self::Scattered => vec![1usize.into(), heads.into(), rows, 8usize.into()],
            Self::Flat { .. } | Self::Grouped => vec![1usize.into(), rows, (8 * heads).into()],
        }
    }
}

/// Attention over what is carried.
fn attending(form: Form) -> Model {
    let mut graph = Graph::builder();
    let rows = || crate::Dim::symbol("rows");
    let [q, k, v] = ["q", "k", "v"].map(|name| graph.input(name, ElementType::F32, form.shape(name, rows())));
    let length = if form == Form::Scattered { 12usize.into() } else { crate::Dim::symbol("before") };
    let past = ["past_k", "past_v"].map(|name| {
        let shape = [1usize.into(), 2usize.into(), length.clone(), 8usize.into()];
        graph.input(name, ElementType::F32, shape)
    });
    let causal = !matches!(form, Form::Joined { causal: false } | Form::Flat { causal: false });
    let mut attention = Definition::new("Attention").attribute("is_causal", i64::from(causal));
    let outputs = match form {
        Form::Scattered => {
            let places = ["starts", "ends"].map(|name| graph.input(name, ElementType::I64, [1usize]));
            let caches = [(past[0], k), (past[1], v)]
                .map(|(past, new)| graph.node(&Definition::new("TensorScatter"), &[past, new, places[0]]).unwrap());
            let op = operator(&Definition { inputs: 7, outputs: 1, ..attention }).unwrap();
            let inputs = [Some(q), Some(caches[0]), Some(caches[1]), None, None, None, Some(places[1])];
            [graph.operator(op, &inputs, 1), caches.to_vec()].concat()
        }
        Form::Grouped => {
            let lengths = graph.input("lengths", ElementType::I32, [1usize]);
            let total = graph.input("total", ElementType::I32, [1usize]);
            let grouped = Definition { domain: "com.microsoft".to_owned(), ..Definition::new("GroupQueryAttention") };
            let grouped = grouped.attribute("num_heads", 4i64).attribute("kv_num_heads", 2i64);
            let op = operator(&Definition { inputs: 7, outputs: 3, ..grouped }).unwrap();
            graph.operator(op, &[q, k, v, past[0], past[1], lengths, total].map(Some), 3)
        }
        Form::Joined { .. } | Form::Flat { .. } => {
            if matches!(form, Form::Flat { .. }) {
                attention = attention.attribute("q_num_heads", 2i64).attribute("kv_num_heads", 2i64);
            }
            let op = operator(&Definition { inputs: 6, outputs: 3, ..attention }).unwrap();
            graph.operator(op, &[Some(q), Some(k), Some(v), None, Some(past[0]), Some(past[1])], 3)
        }
    };
    for (name, value) in ["y", "all_k", "all_v"].into_iter().zip(outputs) {
        graph.output(name, value);
    }
    Model::from_graph(graph.build().unwrap())
}

/// What runs of these numbers of rows leave: both caches and the result.
fn attended(session: &mut Session, form: Form) -> Vec<[Tensor; 3]> {
    for name in ["k", "v"] {
        let (all, past) = (format!("all_{name}"), format!("past_{name}"));
        session.carry_up_to(&all, &past, 2, 12).unwrap();
        let begun = if form == Form::Scattered { 12 } else { 0 };
        let none = Tensor::zeros(ElementType::F32, [1, 2, begun, 8]).unwrap();
        session.set(session.input(&past).unwrap(), none.view()).unwrap();
    }
    let (mut at, mut all) = (0usize, vec![]);
    for (run, count) in [(0, 5), (1, 1), (2, 1), (3, 3)] {
        for (j, name) in ["q", "k", "v"].into_iter().enumerate() {
            let shape: Vec<usize> = form
                .shape(name, count.into())
                .iter()
                .map(|dim| usize::try_from(dim.known().unwrap()).unwrap())
                .collect();
            let x = rows(run + 10 * j, shape.iter().product::<usize>() / 2, 1).reshaped(shape).unwrap();
            session.set(session.input(name).unwrap(), x.view()).unwrap();
        }
        let end = at + count;
        let places: &[(&str, Tensor)] = match form {
            Form::Scattered => {
                &[("starts", Tensor::vector(vec![at as i64])), ("ends", Tensor::vector(vec![end as i64]))]
            }
            Form::Grouped => {
                &[("lengths", Tensor::vector(vec![end as i32 - 1])), ("total", Tensor::vector(vec![end as i32]))]
            }
            Form::Joined { .. } | Form::Flat { .. } => &[],
        };
        for (name, place) in places {
            session.set(session.input(name).unwrap(), place.view()).unwrap();
        }
        at = end;
        session.run().unwrap();
        let y = session.get(session.output("y").unwrap()).unwrap().clone();
        all.push([session.state("all_k").unwrap(), session.state("all_v").unwrap(), y]);
    }
    all
}

#[test]
fn attention_reads_what_is_carried_where_it_lies() {
    let [joined, flat] =
        [[false, true].map(|causal| Form::Joined { causal }), [false, true].map(|causal| Form::Flat { causal })];
    for form in [&joined[..], &flat[..], &[Form::Scattered, Form::Grouped]].concat() {
        let model = attending(form);
        let mut expected = vec![];
        for device in devices() {
            let mut session = model.session(&device).unwrap();
            let got = attended(&mut session, form);
            if expected.is_empty() {
                expected = got;
                continue;
            }
            for (got, wanted) in got.iter().zip(&expected) {
                assert_eq!(got[..2], wanted[..2], "{form:?} {device:?}");
                for (a, b) in got[2].to_f64().into_iter().zip(wanted[2].to_f64()) {
                    assert!((a - b).abs() < 1e-5, "{form:?}: {a} {b}");
                }
            }
            if let Some(schedule) = session.schedule() {
                assert_eq!(schedule.held.len(), 2, "{form:?} {schedule}");
                // Nothing moves what is there already: neither a copy in another order nor one into a longer cache.
                let text = schedule.to_string();
                let copies = ["/in order'", "append.wgsl", "concat.wgsl", "copy"];
                assert!(copies.iter().all(|copy| !text.contains(copy)), "{form:?} {text}");
            }
        }
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
