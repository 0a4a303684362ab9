//! What is wrong is found while it works, and what is right is left alone.

use std::sync::Mutex;

use super::*;
use crate::ElementType;
use crate::graph::Definition;
use crate::model::Model;
use crate::session::faults::Fault;

fn options() -> (Options, Arc<Mutex<Vec<Event>>>) {
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let told = Arc::clone(&events);
    (Options::new().on_event(move |event| told.lock().unwrap().push(event.clone())), events)
}

fn ramp(shape: &[usize], scale: f32) -> Tensor {
    let n = shape.iter().product::<usize>();
    Tensor::new(shape.to_vec(), (0..n).map(|i| ((i * 7 + 3) % 13) as f32 * scale - 6.0 * scale).collect()).unwrap()
}

/// A convolution, a pool, a product and a softmax.
fn network() -> Model {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [1, 3, 9, 8]);
    let w = graph.constant("w", ramp(&[5, 3, 3, 3], 0.05));
    let v = graph.constant("v", ramp(&[5, 4], 0.1));
    let a = graph.node(&Definition::new("Conv"), &[x, w]).unwrap();
    let b = graph.node(&Definition::new("Tanh"), &[a]).unwrap();
    let c = graph.node(&Definition::new("GlobalAveragePool"), &[b]).unwrap();
    let d = graph.node(&Definition::new("Flatten"), &[c]).unwrap();
    let e = graph.node(&Definition::new("MatMul"), &[d, v]).unwrap();
    let y = graph.node(&Definition::new("Softmax"), &[e]).unwrap();
    graph.output("y", y);
    Model::from_graph(graph.build().unwrap())
}

fn run(session: &mut Session, by_future: bool) {
    session.set(session.input("x").unwrap(), ramp(&[1, 3, 9, 8], 0.2).view()).unwrap();
    match by_future {
        true => pollster::block_on(session.run_async()).unwrap(),
        false => session.run().unwrap(),
    }
}

#[test]
fn what_is_right_is_left_alone() {
    let Some(gpu) = crate::session::run::tests::gpu() else { return };
    for precision in [Precision::F32, Precision::F16] {
        for what in [SelfCheck::Layer, SelfCheck::Run] {
            let (options, events) = options();
            let mut session = network().session_with(&gpu, &options.precision(precision)).unwrap();
            run(&mut session, false);
            let expected = session.get(session.output("y").unwrap()).unwrap().clone();
            session.self_check(what, 2);
            session.check_numbers(true);
            for i in 0..20 {
                run(&mut session, i % 3 == 0);
                assert_eq!(*session.get(session.output("y").unwrap()).unwrap(), expected);
            }
            assert_eq!(*events.lock().unwrap(), [], "{precision:?} {what:?}");
        }
    }
}

#[test]
fn what_is_wrong_is_found() {
    let Some(gpu) = crate::session::run::tests::gpu() else { return };
    let sound = network().session(&gpu).unwrap();
    let mut shaders: Vec<&'static str> = sound.schedule().unwrap().kernels.iter().map(|kernel| kernel.shader).collect();
    shaders.dedup();
    for (i, shader) in shaders.into_iter().enumerate() {
        for what in [SelfCheck::Layer, SelfCheck::Run] {
            let (options, events) = options();
            let options = Options { fault: Some(Fault::Shader(shader)), ..options };
            let mut session = network().session_with(&gpu, &options).unwrap();
            session.self_check(what, 1);
            let found = || events.lock().unwrap().first().cloned();
            let steps = session.schedule().unwrap().steps.len();
            (0..4 * steps).take_while(|_| found().is_none()).for_each(|_| run(&mut session, i % 2 == 1));
            let Some(Event::Mismatch { node, operator, comparison, .. }) = found() else {
                // A probability is what it was where all logits are off by the same.
                assert!(what == SelfCheck::Run && shader.starts_with("matmul"), "{shader} by {what:?}");
                continue;
            };
            assert_eq!(node.is_empty(), what == SelfCheck::Run);
            assert_eq!(operator.is_empty(), what == SelfCheck::Run);
            assert!(!comparison.passed && (comparison.got - comparison.expected).abs() > 0.01, "{comparison:?}");
        }
    }
}

#[test]
fn the_first_layer_without_numbers_is_named() {
    let model = || {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [4]);
        let one = graph.constant("one", Tensor::vector(vec![1f32]));
        let a = graph.node(&Definition::new("Sub"), &[x, one]).unwrap();
        let b = graph.node(&Definition::new("Log"), &[a]).unwrap();
        let y = graph.node(&Definition::new("Softmax"), &[b]).unwrap();
        graph.output("y", y);
        Model::from_graph(graph.build().unwrap())
    };
    let gpu = crate::session::run::tests::gpu();
    for device in [Some(Device::cpu()), gpu].into_iter().flatten() {
        let (options, events) = options();
        let mut session = model().session_with(&device, &options).unwrap();
        let mut of = |x: [f32; 4]| {
            session.check_numbers(true);
            session.run_with([("x", Tensor::vector(x.to_vec()).view())]).unwrap();
            // Once is enough.
            session.run().unwrap();
            std::mem::take(&mut *events.lock().unwrap())
        };
        assert_eq!(of([2.0, 3.0, 4.0, 5.0]), []);
        let below = of([2.0, 0.5, 0.25, 5.0]);
        let [Event::NotFinite { operator, nan: 2, infinite: 0, .. }] = &below[..] else { panic!("{below:?}") };
        assert_eq!(operator, "Log");
        let input = of([2.0, f32::INFINITY, 3.0, 5.0]);
        let [Event::NotFinite { value, node, infinite: 1, .. }] = &input[..] else { panic!("{input:?}") };
        assert_eq!((value.as_str(), node.as_str()), ("x", ""));
    }
}

/// e²⁹ is beyond 16 bits, and without a word its inverse would be zero.
#[test]
fn what_sixteen_bits_do_not_hold_stays_in_thirty_two() {
    let Some(gpu) = crate::session::run::tests::gpu() else { return };
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [64, 64]);
    let s = graph.constant("s", Tensor::vector(vec![30f32]));
    let one = |i: usize| f32::from(u8::from(i / 64 == i % 64));
    let identity = graph.constant("identity", Tensor::new([64, 64], (0..4096).map(one).collect()).unwrap());
    let a = graph.node(&Definition::new("Mul"), &[x, s]).unwrap();
    let b = graph.node(&Definition::new("Exp"), &[a]).unwrap();
    let c = graph.node(&Definition::new("MatMul"), &[b, identity]).unwrap();
    let d = graph.node(&Definition::new("MatMul"), &[c, identity]).unwrap();
    let y = graph.node(&Definition::new("Reciprocal"), &[d]).unwrap();
    graph.output("y", y);
    let model = Model::from_graph(graph.build().unwrap());
    let x = Tensor::new([64, 64], (0..4096).map(|i| (i % 64) as f32 / 64.0).collect::<Vec<f32>>()).unwrap();
    for by_future in [false, true] {
        let (options, events) = options();
        let mut session = model.session_with(&gpu, &options.precision(Precision::F16)).unwrap();
        session.set(session.input("x").unwrap(), x.view()).unwrap();
        match by_future {
            true => pollster::block_on(session.run_async()).unwrap(),
            false => session.run().unwrap(),
        }
        let y = session.get(session.output("y").unwrap()).unwrap();
        let exact = x.as_slice::<f32>().unwrap().iter().map(|x| (-30.0 * x).exp());
        assert!(y.as_slice::<f32>().unwrap().iter().zip(exact).all(|(y, e)| (y / e - 1.0).abs() < 2e-2));
        let found = std::mem::take(&mut *events.lock().unwrap());
        assert!(!found.is_empty(), "nothing was beyond 16 bits");
        assert!(
            found.iter().all(|event| matches!(event, Event::KeptInSingle { infinite, .. } if *infinite > 0)),
            "{found:?}"
        );
        assert!(session.schedule().unwrap().half);
        // Once for all sessions of the engine.
        let mut other = session.engine().session().unwrap();
        other.set(other.input("x").unwrap(), x.view()).unwrap();
        other.run().unwrap();
        assert_eq!(*events.lock().unwrap(), []);
    }
}
