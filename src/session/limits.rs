//! Models that ask for too much in their runs: refused when they are planned, or before the node that would take it.

use crate::error::{Error, PlanError, RunError};
use crate::graph::{Body, Definition, Graph, ValueId};
use crate::limits::Limits;
use crate::model::Model;
use crate::session::{Device, Options};
use crate::{ElementType, GraphBuilder, Tensor};

fn devices() -> impl Iterator<Item = Device> {
    #[cfg(feature = "gpu")]
    let gpu = crate::session::run::tests::gpu();
    #[cfg(not(feature = "gpu"))]
    let gpu = None;
    [Some(Device::cpu()), gpu].into_iter().flatten()
}

fn limits(change: impl FnOnce(&mut Limits)) -> Options {
    let mut limits = Limits::default();
    change(&mut limits);
    Options::new().limits(limits)
}

fn scalar<T: crate::Element>(value: T) -> Tensor {
    Tensor::new(Vec::<usize>::new(), vec![value]).unwrap()
}

/// The field that a run of a model names, whichever step it comes from.
fn refused(model: &Model, device: &Device, options: &Options, given: &[(&str, &Tensor)]) -> Option<&'static str> {
    let run = || -> Result<(), Error> {
        let mut session = model.session_with(device, options)?;
        session.run_with(given.iter().map(|(name, tensor)| (*name, tensor.view())))?;
        Ok(())
    };
    match run() {
        Ok(()) => None,
        Err(
            Error::Plan(PlanError::Limit(error))
            | Error::Run(RunError::Limit(error) | RunError::Plan(PlanError::Limit(error))),
        ) => Some(error.field),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn what_a_plan_would_take_is_bounded() {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [8, 16]);
    let w = graph.constant("w", Tensor::zeros(ElementType::F32, [16, 32]).unwrap());
    let y = graph.node(&Definition::new("MatMul"), &[x, w]).unwrap();
    let z = graph.node(&Definition::new("Relu"), &[y]).unwrap();
    graph.output("z", z);
    let model = Model::from_graph(graph.build().unwrap());
    let x = Tensor::zeros(ElementType::F32, [8, 16]).unwrap();
    // The weights, and the two values about Relu.
    let memory = 4 * (16 * 32 + 2 * 8 * 32);
    for device in devices() {
        let refused = |options: &Options| refused(&model, &device, options, &[("x", &x)]);
        assert_eq!(refused(&limits(|l| (l.elements, l.memory_bytes, l.work) = (512, memory, 10_000))), None);
        assert_eq!(refused(&limits(|l| l.elements = 511)), Some("elements"));
        assert_eq!(refused(&limits(|l| l.memory_bytes = memory - 1)), Some("memory_bytes"));
        assert_eq!(refused(&limits(|l| l.work = 8 * 16 * 32 - 1)), Some("work"));
    }
}

/// Sizes that are the content of an input which plans are not made for, or computed of it: only the run can tell them.
#[test]
fn what_only_a_run_can_tell_is_bounded_before_it_is_taken() {
    type Build = fn(&mut GraphBuilder, ValueId) -> ValueId;
    let cases: [(&str, Build); 6] = [
        ("ConstantOfShape", |g, n| g.node(&Definition::new("ConstantOfShape"), &[n]).unwrap()),
        ("Expand", |g, n| {
            let one = g.constant("one", Tensor::vector(vec![1f32]));
            g.node(&Definition::new("Expand"), &[one, n]).unwrap()
        }),
        ("Tile", |g, n| {
            let one = g.constant("one", Tensor::vector(vec![1f32]));
            g.node(&Definition::new("Tile"), &[one, n]).unwrap()
        }),
        ("Pad", |g, n| {
            let (one, zero) =
                (g.constant("one", Tensor::vector(vec![1f32])), g.constant("zero", Tensor::vector(vec![0i64])));
            let pads = g.node(&Definition::new("Concat").attribute("axis", 0i64), &[zero, n]).unwrap();
            g.node(&Definition::new("Pad"), &[one, pads]).unwrap()
        }),
        ("Range", |g, n| {
            let axes = g.constant("axes", Tensor::vector(vec![0i64]));
            let (zero, one) = (g.constant("zero", scalar(0i64)), g.constant("one", scalar(1i64)));
            let end = g.node(&Definition::new("Squeeze"), &[n, axes]).unwrap();
            g.node(&Definition::new("Range"), &[zero, end, one]).unwrap()
        }),
        ("OneHot", |g, n| {
            let at = g.constant("at", Tensor::vector(vec![0i64]));
            let values = g.constant("values", Tensor::vector(vec![0f32, 1.0]));
            g.node(&Definition::new("OneHot"), &[at, n, values]).unwrap()
        }),
    ];
    for (name, build) in cases {
        let mut graph = Graph::builder();
        let floats = graph.input("n", ElementType::F32, [1usize]);
        // What comes from a float that is not looked at when a plan is made.
        let sum = graph.node(&Definition::new("Add"), &[floats, floats]).unwrap();
        let n = graph.node(&Definition::new("Cast").attribute("to", 7i64), &[sum]).unwrap();
        let y = build(&mut graph, n);
        graph.output("y", y);
        let model = Model::from_graph(graph.build().unwrap());
        for device in devices() {
            let of = |n: f32, options: &Options| refused(&model, &device, options, &[("n", &Tensor::vector(vec![n]))]);
            assert_eq!(of(4.0, &Options::new()), None, "{name}");
            assert_eq!(of((1u64 << 40) as f32, &Options::new()), Some("elements"), "{name}");
            assert_eq!(of(500.0, &limits(|l| l.memory_bytes = 3000)), Some("memory_bytes"), "{name}");
        }
    }
}

/// In the body of a loop, which the references run.
#[test]
fn bodies_keep_to_the_limits_too() {
    let mut body = Graph::builder();
    let _time = body.input("time", ElementType::I64, Vec::<usize>::new());
    let going = body.input("going", ElementType::Bool, Vec::<usize>::new());
    let size = body.input("size", ElementType::I64, [1usize]);
    let doubled = body.node(&Definition::new("Mul"), &[size, size]).unwrap();
    let goes = body.node(&Definition::new("Identity"), &[going]).unwrap();
    let large = body.node(&Definition::new("ConstantOfShape"), &[size]).unwrap();
    let summed = body.node(&Definition::new("ReduceSum"), &[large]).unwrap();
    body.output("goes", goes);
    body.output("doubled", doubled);
    body.output("summed", summed);
    let mut graph = Graph::builder();
    let size = graph.input("size", ElementType::I64, [1usize]);
    let trips = graph.constant("trips", scalar(i64::MAX));
    let goes = graph.constant("goes", scalar(crate::tensor::Truth::from(true)));
    let definition = Definition { inputs: 3, outputs: 2, ..Definition::new("Loop") };
    let definition = definition.attribute("body", Body::new(body.build().unwrap(), 0));
    let operator = crate::ops::operator(&definition).unwrap();
    let outputs = graph.operator(operator, &[Some(trips), Some(goes), Some(size)], 2);
    graph.output("size_after", outputs[0]);
    graph.output("sums", outputs[1]);
    let model = Model::from_graph(graph.build().unwrap());
    for device in devices() {
        let options = limits(|l| l.body_work = 1000);
        let of = |n: i64| refused(&model, &device, &options, &[("size", &Tensor::vector(vec![n]))]);
        // Its square is too many.
        assert_eq!(of(100_000), Some("elements"));
        // It goes round until its work is done.
        assert_eq!(of(1), Some("body_work"));
    }
}
