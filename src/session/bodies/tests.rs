//! Bodies by sessions, beside the references, on both backends.

use super::*;
use crate::GraphBuilder;
use crate::graph::{Context, Definition, Inputs};
use crate::session::{Tolerance, validate};
use crate::tensor::Tensor;

fn devices() -> impl Iterator<Item = Device> {
    #[cfg(feature = "gpu")]
    let gpu = crate::session::run::tests::gpu();
    #[cfg(not(feature = "gpu"))]
    let gpu = None;
    [Some(Device::cpu()), gpu].into_iter().flatten()
}

fn apply(g: &mut GraphBuilder, name: &str, inputs: &[ValueId]) -> ValueId {
    g.node(&Definition::new(name), inputs).unwrap()
}

fn body(captured: usize, build: impl FnOnce(&mut GraphBuilder)) -> Body {
    let mut graph = Graph::builder();
    build(&mut graph);
    Body::new(graph.build().unwrap(), captured)
}

fn operator(definition: Definition) -> Arc<dyn crate::graph::Operator> {
    crate::ops::operator(&definition).unwrap()
}

fn square(n: usize, of: impl Fn(usize) -> f32) -> Tensor {
    Tensor::new([n, n], (0..n * n).map(of).collect::<Vec<_>>()).unwrap()
}

/// What a branch does to a square of this many rows with a captured one.
fn branch(name: &'static str, n: usize) -> Body {
    body(2, |g| {
        let x = g.input("x", ElementType::F32, [n, n]);
        let w = g.input("w", ElementType::F32, [n, n]);
        let y = apply(g, name, &[x, w]);
        g.output("y", y);
    })
}

fn choosing(g: &mut GraphBuilder, n: usize, condition: ValueId, x: ValueId, w: ValueId) -> ValueId {
    let definition = Definition { inputs: 1, outputs: 1, ..Definition::new("If") };
    let definition =
        definition.attribute("then_branch", branch("MatMul", n)).attribute("else_branch", branch("Add", n));
    g.operator(operator(definition), &[Some(condition), Some(x), Some(w)], 1)[0]
}

/// The kinds of bodies that are tried.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// `v w` again and again, until its largest element is above a bound.
    Product,
    /// The same with a choice: a product in every second time, a sum else.
    Choice,
    /// A state that grows by a row each time.
    Growing,
}

/// Elements of an input for whose content no plan is made.
const LONG: usize = 5000;

/// The number of times, as [`looping`] takes it.
fn times(n: i64) -> Tensor {
    Tensor::vector((0..LONG).map(|i| if i == 0 { n } else { 0 }).collect::<Vec<_>>())
}

/// A Loop whose number of times is an input `n`, and so is `v` of this many rows; `w` is a weight. What each time gives is
/// collected too.
fn looping(kind: Kind, n: usize, bound: f32) -> Model {
    let inner = body(1, |g| {
        let i = g.input("i", ElementType::I64, [0usize; 0]);
        g.input("c", ElementType::Bool, [0usize; 0]);
        let rows = if kind == Kind::Growing { crate::Dim::symbol("rows") } else { n.into() };
        let v = g.input("v", ElementType::F32, [rows, n.into()]);
        let w = g.input("w", ElementType::F32, [n, n]);
        let product = apply(g, "MatMul", &[v, w]);
        let next = match kind {
            Kind::Product => product,
            Kind::Choice => {
                let two = g.constant("two", Tensor::scalar(2i64));
                let one = g.constant("one", Tensor::scalar(1i64));
                let odd = apply(g, "Mod", &[i, two]);
                let odd = apply(g, "Equal", &[odd, one]);
                choosing(g, n, odd, product, w)
            }
            Kind::Growing => {
                let definition = Definition { inputs: 2, outputs: 1, ..Definition::new("Concat") };
                g.operator(operator(definition.attribute("axis", 0)), &[Some(product), Some(w)], 1)[0]
            }
        };
        let most = g.node(&Definition::new("ReduceMax").attribute("keepdims", 0), &[next]).unwrap();
        let limit = g.constant("bound", Tensor::scalar(bound));
        let on = apply(g, "Less", &[most, limit]);
        let copy = g.node(&Definition::new("ReduceSum").attribute("keepdims", 0), &[next]).unwrap();
        g.output("on", on);
        g.output("next", next);
        g.output("copy", copy);
    });
    let mut graph = Graph::builder();
    let count = graph.input("n", ElementType::I64, [LONG]);
    let count = graph.node(&Definition::new("ReduceMax").attribute("keepdims", 0), &[count]).unwrap();
    let v = graph.input("v", ElementType::F32, [n, n]);
    let w = graph.constant("w", square(n, |i| if i % (n + 1) == 0 { 1.125 } else { 0.0 }));
    let definition = Definition { inputs: 3, outputs: 2, ..Definition::new("Loop") }.attribute("body", inner);
    let outputs = graph.operator(operator(definition), &[Some(count), None, Some(v), Some(w)], 2);
    graph.output("last", outputs[0]);
    graph.output("all", outputs[1]);
    if kind != Kind::Growing {
        let y = apply(&mut graph, "Neg", &[outputs[0]]);
        graph.output("y", y);
    }
    Model::from_graph(graph.build().unwrap())
}

/// Where the bodies of a session ran, by the devices of the sessions that were made for them.
fn places(session: &mut Session) -> Vec<Option<bool>> {
    let host = session.runners.last_mut().unwrap().1.host().bodies.clone().unwrap();
    let text = format!("{host:?}");
    text.split("session: Mutex { data: ")
        .skip(1)
        .map(|rest| (!rest.starts_with("None")).then(|| !rest.starts_with("Some(Session(Engine(Device(CPU")))
        .collect()
}

#[test]
fn loops_give_what_the_references_give() {
    for device in devices() {
        for (kind, n, bound, counts) in [
            (Kind::Product, 16, 1e9, &[0i64, 1, 7, 30][..]),
            (Kind::Product, 128, 8.0, &[3, 40]),
            (Kind::Choice, 32, 1e6, &[1, 6, 9]),
            (Kind::Choice, 128, 50.0, &[4, 40]),
            (Kind::Growing, 32, 1e6, &[4, 5]),
        ] {
            let model = looping(kind, n, bound);
            let v = square(n, |i| (i % 7) as f32 * 0.25);
            let mut session = model.session(&device).unwrap();
            for &count in counts {
                let count = times(count);
                let expected = crate::cpu::reference::evaluate(model.graph(), &[count.clone(), v.clone()], |_, v| v);
                let given = [("n", count.view()), ("v", v.view())];
                let got = session.run_with(given).unwrap();
                for ((name, got), expected) in got.iter().zip(expected.unwrap()) {
                    let expected = expected.into_tensor().unwrap();
                    assert_eq!(got.shape(), expected.shape(), "{kind:?} {n} {device:?}");
                    // Products of numbers of few bits, but as many after each other as there are times.
                    let tolerance = Tolerance { rtol: 1e-4, atol: 1e-5, floor: 0.0, amplified: 0.0 };
                    let compared = tolerance.compare(name, got, &expected);
                    assert!(compared.passed || expected.shape().contains(&0), "{kind:?} {n} {device:?}: {compared:?}");
                }
            }
            let places = places(&mut session);
            let on_device = n >= 128 && device.is_gpu();
            match kind {
                Kind::Growing => assert_eq!(places, [None]),
                Kind::Product => assert_eq!(places, [Some(on_device)]),
                Kind::Choice => assert_eq!(places[0], Some(on_device)),
            }
            if kind == Kind::Growing {
                continue;
            }
            let count = times(counts[1]);
            let validation =
                validate(&model, &device, &Options::new(), &[("n", &count), ("v", &v)], Tolerance::of(Precision::F32))
                    .unwrap();
            assert!(validation.passed(), "{kind:?} {n} {device:?}: {:?}", validation.first_failure());
        }
    }
}

#[test]
fn a_loop_without_end_ends_on_a_device_too() {
    for device in devices() {
        let model = looping(Kind::Product, 128, f32::INFINITY);
        let v = square(128, |_| 0.0);
        let mut session = model.session(&device).unwrap();
        session.run_with([("n", times(2).view()), ("v", v.view())]).unwrap();
        let (planned, runner) = session.runners.last_mut().unwrap();
        let bodies = runner.host().bodies.clone();
        let node = planned.graph.nodes.iter().find(|node| node.operator.name() == "Loop").unwrap();
        let constant = planned.graph.constant(node.inputs[3].unwrap()).cloned().unwrap();
        let inputs = [None, None, Some(Value::from(v)), Some(constant.into())];
        let mut context = Context { body_work: 1000, bodies, ..Context::default() };
        let result = node.operator.evaluate(&mut context, Inputs(&inputs.each_ref().map(Option::as_ref)));
        assert!(matches!(result, Err(EvaluateError::Limit(_))), "{device:?}: {result:?}");
        assert_eq!(places(&mut session), [Some(device.is_gpu())]);
    }
}

#[test]
fn a_body_runs_where_its_work_is_done_soonest() {
    assert_eq!(place(16.0, 16), Place::References);
    assert_eq!(place(1e5, 16), Place::Cpu);
    assert_eq!(place(3.3e7, 3), Place::Device);
    // A sum of large tensors which all cross.
    assert_eq!(place(1e7, 30_000_000), Place::Cpu);
}

#[test]
fn scans_give_what_the_references_give() {
    let (n, steps) = (128, 600);
    let inner = body(1, |g| {
        let state = g.input("state", ElementType::F32, [n, 8]);
        let x = g.input("x", ElementType::F32, [8usize]);
        let w = g.input("w", ElementType::F32, [n, n]);
        let product = apply(g, "MatMul", &[w, state]);
        let next = apply(g, "Add", &[product, x]);
        let most = g.node(&Definition::new("ReduceMax").attribute("keepdims", 0), &[next]).unwrap();
        g.output("next", next);
        g.output("most", most);
    });
    let mut graph = Graph::builder();
    let state = graph.input("state", ElementType::F32, [n, 8]);
    let x = graph.input("x", ElementType::F32, [8, steps]);
    let w = graph.constant("w", square(n, |i| if i % (n + 1) == 0 { 0.5 } else { 0.0 }));
    let definition = Definition { inputs: 2, outputs: 2, ..Definition::new("Scan") }
        .attribute("body", inner)
        .attribute("num_scan_inputs", 1)
        .attribute("scan_input_axes", [1i64])
        .attribute("scan_input_directions", [1i64]);
    let outputs = graph.operator(operator(definition), &[Some(state), Some(x), Some(w)], 2);
    graph.output("last", outputs[0]);
    graph.output("most", outputs[1]);
    let model = Model::from_graph(graph.build().unwrap());
    let state = Tensor::new([n, 8], (0..n * 8).map(|i| i as f32).collect::<Vec<_>>()).unwrap();
    let x = Tensor::new([8, steps], (0..8 * steps).map(|i| (i % 17) as f32).collect::<Vec<_>>()).unwrap();
    let expected = crate::cpu::reference::evaluate(model.graph(), &[state.clone(), x.clone()], |_, v| v).unwrap();
    for device in devices() {
        let mut session = model.session(&device).unwrap();
        for _ in 0..2 {
            let got = session.run_with([("state", state.view()), ("x", x.view())]).unwrap();
            for ((name, got), expected) in got.iter().zip(&expected) {
                let compared = Tolerance::of(Precision::F32).compare(name, got, expected.as_tensor().unwrap());
                assert!(compared.passed, "{device:?}: {compared:?}");
            }
        }
        assert_eq!(places(&mut session), [Some(false)]);
    }
}

/// A state that lay on the device, and then goes by the host: four plans know the condition, later ones do not.
#[test]
fn a_state_follows_when_the_host_takes_over() {
    let n = 4;
    let mut graph = Graph::builder();
    let i = graph.input("i", ElementType::I64, [0usize; 0]);
    let v = graph.input("v", ElementType::F32, [n, n]);
    let w = graph.constant("w", square(n, |i| if i % (n + 1) == 0 { 1.5 } else { 0.0 }));
    let two = graph.constant("two", Tensor::scalar(2i64));
    let one = graph.constant("one", Tensor::scalar(1i64));
    let odd = apply(&mut graph, "Mod", &[i, two]);
    let odd = apply(&mut graph, "Equal", &[odd, one]);
    // Read by the device, so that the state may lie there.
    let positive = apply(&mut graph, "Relu", &[v]);
    let next = choosing(&mut graph, n, odd, positive, w);
    graph.output("next", next);
    let model = Model::from_graph(graph.build().unwrap());
    for device in devices() {
        let mut expected = square(n, |i| i as f32);
        let mut session = model.session(&device).unwrap();
        session.carry("next", "v").unwrap();
        session.set(session.input("v").unwrap(), expected.view()).unwrap();
        for i in 0..8i64 {
            let i = Tensor::scalar(i);
            let next = crate::cpu::reference::evaluate(model.graph(), &[i.clone(), expected], |_, v| v).unwrap();
            expected = next[0].as_tensor().unwrap().clone();
            session.run_with([("i", i.view())]).unwrap();
            let compared = Tolerance::of(Precision::F32).compare("next", &session.state("next").unwrap(), &expected);
            assert!(compared.passed, "{device:?}: {compared:?}");
        }
    }
}
