//! If, Loop and Scan by their references, written out, and by what is said of them before they run.

use std::sync::Arc;

use crate::graph::{Body, Context, Definition, Dim, Fact, Graph, Inputs, Operator, Sequence, Value, ValueId};
use crate::optimize::{Rewrites, optimize};
use crate::tensor::{ElementType, Tensor, Truth};
use crate::{GraphBuilder, ops};

fn make(definition: &Definition) -> Arc<dyn Operator> {
    ops::operator(definition).unwrap()
}

fn numbers(values: &[f32]) -> Value {
    Tensor::vector(values.to_vec()).into()
}

fn run(operator: &dyn Operator, inputs: &[Option<Value>]) -> Result<Vec<Value>, String> {
    let inputs: Vec<Option<&Value>> = inputs.iter().map(Option::as_ref).collect();
    operator.evaluate(&mut Context::default(), Inputs(&inputs)).map_err(|e| e.to_string())
}

fn graph(build: impl FnOnce(&mut GraphBuilder)) -> Graph {
    let mut graph = Graph::builder();
    build(&mut graph);
    graph.build().unwrap()
}

fn apply(graph: &mut GraphBuilder, name: &str, inputs: &[ValueId]) -> ValueId {
    graph.node(&Definition::new(name), inputs).unwrap()
}

/// The number of the time, the condition, a carried value and a captured one: `v + w`, which is collected too, while the
/// sum of it is below 100.
fn adding() -> Body {
    let graph = graph(|g| {
        let [_, v, w] = {
            let i = g.input("i", ElementType::I64, [0usize; 0]);
            g.input("c", ElementType::Bool, [0usize; 0]);
            [i, g.input("v", ElementType::F32, [1]), g.input("w", ElementType::F32, [1])]
        };
        let next = apply(g, "Add", &[v, w]);
        let hundred = g.constant("hundred", Tensor::scalar(100f32));
        let sum = g.node(&Definition::new("ReduceSum").attribute("keepdims", 0), &[next]).unwrap();
        let less = apply(g, "Less", &[sum, hundred]);
        g.output("less", less);
        g.output("next", next);
        let copy = apply(g, "Identity", &[next]);
        g.output("copy", copy);
    });
    Body::new(graph, 1)
}

fn looping(body: Body) -> Arc<dyn Operator> {
    make(&Definition { inputs: 3, outputs: 2, ..Definition::new("Loop") }.attribute("body", body))
}

fn times(n: i64) -> Option<Value> {
    Some(Tensor::scalar(n).into())
}

fn truth(truth: bool) -> Option<Value> {
    Some(Tensor::scalar(Truth::from(truth)).into())
}

#[test]
fn a_loop_ends_by_number_or_by_condition() {
    let operator = looping(adding());
    let of = |n, c, w: f32| run(&*operator, &[n, c, Some(numbers(&[1.0])), Some(numbers(&[w]))]);
    let column = |values: &[f32]| Value::from(Tensor::new([values.len(), 1], values.to_vec()).unwrap());
    assert_eq!(of(times(3), None, 2.0), Ok(vec![numbers(&[7.0]), column(&[3.0, 5.0, 7.0])]));
    assert_eq!(of(None, truth(true), 60.0), Ok(vec![numbers(&[121.0]), column(&[61.0, 121.0])]));
    assert_eq!(of(times(9), truth(true), 60.0), of(None, None, 60.0));
    for (n, c) in [(times(0), None), (times(-5), None), (None, truth(false))] {
        assert_eq!(of(n, c, 2.0), Ok(vec![numbers(&[1.0]), column(&[])]));
    }
    assert!(of(Some(numbers(&[1.0])), None, 1.0).is_err());
    assert!(of(None, times(1), 1.0).is_err());
}

#[test]
fn definitions_of_loops_must_fit_their_bodies() {
    let of = |inputs, outputs| {
        let definition = Definition { inputs, outputs, ..Definition::new("Loop") }.attribute("body", adding());
        ops::operator(&definition).is_ok()
    };
    assert!(of(3, 2) && of(3, 0) && !of(2, 1) && !of(4, 2) && !of(3, 3));
    assert!(ops::operator(&Definition { inputs: 3, ..Definition::new("Loop") }).is_err());
    let scan = |count: i64, inputs| {
        let definition = Definition { inputs, outputs: 1, ..Definition::new("Scan") };
        ops::operator(&definition.attribute("body", adding()).attribute("num_scan_inputs", count)).is_ok()
    };
    assert!(
        scan(1, 3) && scan(3, 3) && !scan(0, 3) && !scan(4, 3) && !scan(-1, 3) && !scan(i64::MAX, 3) && !scan(1, 2)
    );
}

#[test]
fn shapes_of_loops_hold_for_any_number_of_times() {
    let fact = |shape: &[Dim]| Fact::new(ElementType::F32, shape.to_vec());
    let n = Fact::constant(Tensor::scalar(4i64));
    let x = fact(&[Dim::Known(1)]);
    let facts = looping(adding()).infer_partly(&[Some(&n), None, Some(&x), Some(&x)], true).unwrap();
    let text: Vec<_> = facts.into_iter().map(|fact| fact.unwrap().to_string()).collect();
    // The condition may end it earlier.
    assert_eq!(text, ["f32[1]", "f32[?, 1]"]);
    // What grows has a dimension that is not known; what changes its rank has no fact at all.
    let growing = graph(|g| {
        g.input("i", ElementType::I64, [0usize; 0]);
        let c = g.input("c", ElementType::Bool, [0usize; 0]);
        let v = g.input("v", ElementType::F32, [1]);
        let both = g.node(&Definition::new("Concat").attribute("axis", 0), &[v, v]).unwrap();
        let c = apply(g, "Identity", &[c]);
        g.output("c_out", c);
        g.output("both", both);
    });
    let definition = Definition { inputs: 3, outputs: 1, ..Definition::new("Loop") };
    let operator = make(&definition.attribute("body", Body::new(growing, 0)));
    let facts = operator.infer_partly(&[Some(&n), None, Some(&x)], true).unwrap();
    assert_eq!(facts[0].as_ref().unwrap().to_string(), "f32[?]");
    let results = run(&*operator, &[times(3), None, Some(numbers(&[1.0]))]).unwrap();
    assert_eq!(results[0], numbers(&[1.0; 8]));
    // Doubled again and again it would fill the memory.
    assert!(run(&*operator, &[times(1 << 40), None, Some(numbers(&[1.0; 1 << 20]))]).is_err());
}

#[test]
fn sequences_are_carried() {
    let body = graph(|g| {
        let i = g.input("i", ElementType::I64, [0usize; 0]);
        let c = g.input("c", ElementType::Bool, [0usize; 0]);
        let list = g.input("list", ElementType::I64, [0usize; 0]);
        let longer = make(&Definition { inputs: 2, ..Definition::new("SequenceInsert") });
        let longer = g.operator(longer, &[Some(list), Some(i)], 1)[0];
        let c = apply(g, "Identity", &[c]);
        g.output("c_out", c);
        g.output("longer", longer);
    });
    let definition = Definition { inputs: 3, outputs: 1, ..Definition::new("Loop") };
    let operator = make(&definition.attribute("body", Body::new(body, 0)));
    let empty = Value::from(Sequence::new(ElementType::I64, vec![]).unwrap());
    let results = run(&*operator, &[times(3), None, Some(empty)]).unwrap();
    let expected = (0..3i64).map(Tensor::scalar).collect();
    assert_eq!(results, [Sequence::new(ElementType::I64, expected).unwrap().into()]);
    assert_eq!(operator.infer_partly(&[None, None, None], false).unwrap().first().cloned().flatten(), None);
}

/// A state and an element: their sum, twice.
fn summing() -> Body {
    let graph = graph(|g| {
        let state = g.input("state", ElementType::F32, [2]);
        let element = g.input("element", ElementType::F32, [2]);
        let sum = apply(g, "Add", &[state, element]);
        g.output("sum", sum);
        let copy = apply(g, "Identity", &[sum]);
        g.output("copy", copy);
    });
    Body::new(graph, 0)
}

#[test]
fn a_scan_walks_along_any_axis_in_any_direction() {
    let definition = |axis: i64, out: i64, backwards: i64, prepend: i64| {
        Definition { inputs: 2, outputs: 2, ..Definition::new("Scan") }
            .attribute("body", summing())
            .attribute("num_scan_inputs", 1)
            .attribute("scan_input_axes", [axis])
            .attribute("scan_output_axes", [out])
            .attribute("scan_input_directions", [backwards])
            .attribute("scan_output_directions", [prepend])
    };
    let x = Tensor::new([3, 2], vec![1f32, 2., 3., 4., 5., 6.]).unwrap();
    let zero = Some(numbers(&[0.0, 0.0]));
    let of = |definition: &Definition, x: &Tensor| run(&*make(definition), &[zero.clone(), Some(x.clone().into())]);
    let two = |shape: [usize; 2], values: &[f32]| Value::from(Tensor::new(shape, values.to_vec()).unwrap());
    let last = numbers(&[9., 12.]);
    assert_eq!(of(&definition(0, 0, 0, 0), &x), Ok(vec![last.clone(), two([3, 2], &[1., 2., 4., 6., 9., 12.])]));
    assert_eq!(of(&definition(-2, 1, 0, 0), &x), Ok(vec![last.clone(), two([2, 3], &[1., 4., 9., 2., 6., 12.])]));
    assert_eq!(of(&definition(0, 0, 1, 0), &x), Ok(vec![last.clone(), two([3, 2], &[5., 6., 8., 10., 9., 12.])]));
    assert_eq!(of(&definition(0, 0, 0, 1), &x), Ok(vec![last, two([3, 2], &[9., 12., 4., 6., 1., 2.])]));
    let none = Tensor::zeros(ElementType::F32, [0, 2]).unwrap();
    assert_eq!(of(&definition(0, -1, 0, 0), &none), Ok(vec![numbers(&[0., 0.]), two([2, 0], &[])]));
    assert!(of(&definition(2, 0, 0, 0), &x).is_err() && of(&definition(0, 3, 0, 0), &x).is_err());
    assert!(ops::operator(&definition(0, 0, 2, 0)).is_err());
    assert!(ops::operator(&definition(0, 0, 0, 0).attribute("scan_input_axes", [0, 0])).is_err());
}

#[test]
fn the_first_scans_take_batches() {
    let definition = Definition { opset: 8, inputs: 3, outputs: 2, ..Definition::new("Scan") }
        .attribute("body", summing())
        .attribute("num_scan_inputs", 1);
    let operator = make(&definition);
    let x = Tensor::new([2, 2, 2], (1..9).map(|v| v as f32).collect()).unwrap();
    let states = Tensor::zeros(ElementType::F32, [2, 2]).unwrap();
    let of = |lengths: Option<Vec<i64>>| {
        let lengths = lengths.map(|lengths| Tensor::vector(lengths).into());
        let results = run(&*operator, &[lengths, Some(states.clone().into()), Some(x.clone().into())]);
        results.map(|r| r.into_iter().map(|v| v.into_tensor().unwrap().as_slice::<f32>().unwrap().to_vec()).collect())
    };
    assert_eq!(of(None), Ok(vec![vec![4., 6., 12., 14.], vec![1., 2., 4., 6., 5., 6., 12., 14.]]));
    assert_eq!(of(Some(vec![1, 2])), Ok(vec![vec![1., 2., 12., 14.], vec![1., 2., 0., 0., 5., 6., 12., 14.]]));
    for wrong in [vec![3, 1], vec![-1, 1], vec![1]] {
        assert!(of(Some(wrong)).is_err());
    }
    let [states, x] = [Fact::new(ElementType::F32, [2, 2]), Fact::new(ElementType::F32, [2, 2, 2])];
    let facts = operator.infer(&[None, Some(&states), Some(&x)]).unwrap();
    assert_eq!(facts.iter().map(Fact::to_string).collect::<Vec<_>>(), ["f32[2, 2]", "f32[2, 2, 2]"]);
}

/// If of a condition: x + 1, or x with another axis.
fn choosing() -> Arc<dyn Operator> {
    let then = graph(|g| {
        let x = g.input("x", ElementType::F32, [2]);
        let one = g.constant("one", Tensor::scalar(1f32));
        let y = apply(g, "Add", &[x, one]);
        g.output("y", y);
    });
    let otherwise = graph(|g| {
        let x = g.input("x", ElementType::F32, [2]);
        let axes = g.constant("axes", Tensor::vector(vec![0i64]));
        let y = apply(g, "Unsqueeze", &[x, axes]);
        g.output("y", y);
    });
    let definition = Definition { inputs: 1, outputs: 1, ..Definition::new("If") };
    make(&definition.attribute("then_branch", Body::new(then, 1)).attribute("else_branch", Body::new(otherwise, 1)))
}

#[test]
fn branches_are_merged_as_far_as_they_agree() {
    let operator = choosing();
    let x = Fact::new(ElementType::F32, [2]);
    let unknown = Fact::new(ElementType::Bool, [0usize; 0]);
    assert_eq!(operator.infer_partly(&[Some(&unknown), Some(&x)], true), Ok(vec![None]));
    let known = |c: bool| Fact::constant(Tensor::scalar(Truth::from(c)));
    let text = |c: bool| operator.infer(&[Some(&known(c)), Some(&x)]).unwrap()[0].to_string();
    assert_eq!((text(true), text(false)), ("f32[2]".to_owned(), "f32[1, 2]".to_owned()));
    assert_eq!(run(&*operator, &[truth(true), Some(numbers(&[1., 2.]))]), Ok(vec![numbers(&[2., 3.])]));
    assert!(run(&*operator, &[Some(numbers(&[1.0])), Some(numbers(&[1., 2.]))]).is_err());
    assert!(operator.infer_partly(&[Some(&x), Some(&x)], true).is_err());
}

/// Rewrites a graph of this one operator; the names of the operators that are left, and whether both give the same.
fn rewritten(operator: Arc<dyn Operator>, inputs: &[Option<(Tensor, bool)>], outputs: usize) -> Vec<String> {
    let mut given = vec![];
    let graph = graph(|g| {
        let ids: Vec<Option<ValueId>> = inputs
            .iter()
            .enumerate()
            .map(|(i, input)| {
                let (tensor, constant) = input.as_ref()?;
                if *constant {
                    return Some(g.constant(&format!("c{i}"), tensor.clone()));
                }
                given.push(Some(Value::from(tensor.clone())));
                Some(g.input(&format!("x{i}"), tensor.element_type(), tensor.shape().to_vec()))
            })
            .collect();
        for (i, id) in g.operator(operator, &ids, outputs).into_iter().enumerate() {
            g.output(&format!("y{i}"), id);
        }
    });
    let after = optimize(graph.clone(), &Rewrites::default()).unwrap();
    let results = |graph: &Graph| {
        graph.evaluate(&mut Context::default(), given.clone(), |_, _, value| Ok(value)).map_err(|e| e.to_string())
    };
    assert_eq!(results(&graph), results(&after));
    after.nodes.iter().map(|node| node.operator.name().to_owned()).collect()
}

#[test]
fn what_is_known_before_the_run_is_written_out() {
    let x = Tensor::vector(vec![1f32, 2.0]);
    let condition = |constant| Some((Tensor::scalar(Truth::from(true)), constant));
    assert_eq!(rewritten(choosing(), &[condition(true), Some((x.clone(), false))], 1), ["Add"]);
    assert_eq!(rewritten(choosing(), &[condition(false), Some((x, false))], 1), ["If"]);

    let scan = Definition { inputs: 2, outputs: 2, ..Definition::new("Scan") }
        .attribute("body", summing())
        .attribute("num_scan_inputs", 1)
        .attribute("scan_output_directions", [1]);
    let rows = Tensor::new([3, 2], vec![1f32, 2., 3., 4., 5., 6.]).unwrap();
    let inputs = [Some((Tensor::vector(vec![0f32, 1.0]), false)), Some((rows, false))];
    let left = rewritten(make(&scan), &inputs, 2);
    assert!(left.iter().all(|name| name != "Scan") && left.iter().filter(|name| *name == "Add").count() == 3);

    // Its condition depends on what is given: it stays. One whose condition always holds does not.
    let carried = Some((Tensor::vector(vec![1f32]), false));
    let three = Some((Tensor::scalar(3i64), true));
    assert_eq!(rewritten(looping(adding()), &[three.clone(), None, carried.clone(), carried.clone()], 2), ["Loop"]);
    let counting = graph(|g| {
        let i = g.input("i", ElementType::I64, [0usize; 0]);
        g.input("c", ElementType::Bool, [0usize; 0]);
        let v = g.input("v", ElementType::F32, [1]);
        let w = g.input("w", ElementType::F32, [1]);
        let two = g.constant("two", Tensor::scalar(2i64));
        let on = apply(g, "Less", &[i, two]);
        let next = apply(g, "Mul", &[v, w]);
        let number = g.node(&Definition::new("Cast").attribute("to", 1), &[i]).unwrap();
        let both = apply(g, "Add", &[next, number]);
        g.output("on", on);
        g.output("next", next);
        g.output("both", both);
    });
    let counting = looping(Body::new(counting, 1));
    // Three times, by its own condition, however often it might.
    for limit in [None, Some((Tensor::scalar(i64::MAX), true))] {
        let left = rewritten(Arc::clone(&counting), &[limit, None, carried.clone(), carried.clone()], 2);
        assert!(left.iter().all(|name| name != "Loop"), "{left:?}");
        assert_eq!(left.iter().filter(|name| *name == "Mul").count(), 3);
    }
    let twice = [Some((Tensor::scalar(2i64), true)), None, carried.clone(), carried];
    assert_eq!(rewritten(counting, &twice, 2).iter().filter(|name| *name == "Mul").count(), 2);
}
