//! Graphs in attributes, functions of a model's own, and files that make harm of either.

use super::*;
use crate::graph::{Context, Value, ValueType};
use crate::tensor::{ElementType, Tensor, Truth};

fn graph_attribute(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(5),
        g: Some(Box::new(graph)),
        ..AttributeProto::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(2), i: Some(value), ..AttributeProto::default() }
}

fn of_function(name: &str, from: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(2),
        ref_attr_name: Some(from.to_owned()),
        ..AttributeProto::default()
    }
}

/// A graph of nodes with these inputs and outputs, of no declared type.
fn body(inputs: &[&str], nodes: Vec<NodeProto>, outputs: &[&str]) -> GraphProto {
    let port = |name: &&str| ValueInfoProto { name: Some((*name).to_owned()), r#type: None };
    GraphProto {
        node: nodes,
        input: inputs.iter().map(port).collect(),
        output: outputs.iter().map(port).collect(),
        ..GraphProto::default()
    }
}

fn condition(name: &str) -> ValueInfoProto {
    let mut port = value(name, &[]);
    port.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = Some(9);
    port
}

fn branch(condition: &str, then: GraphProto, otherwise: GraphProto, output: &str) -> NodeProto {
    let attribute = vec![graph_attribute("then_branch", then), graph_attribute("else_branch", otherwise)];
    NodeProto { attribute, ..node("If", &[condition], &[output]) }
}

fn run(graph: &Graph, inputs: Vec<Value>) -> Vec<Value> {
    graph.evaluate(&mut Context::default(), inputs.into_iter().map(Some), |_, _, value| Ok(value)).unwrap()
}

fn function(name: &str, inputs: &[&str], nodes: Vec<NodeProto>, outputs: &[&str]) -> FunctionProto {
    FunctionProto {
        name: Some(name.to_owned()),
        domain: Some("own".to_owned()),
        input: inputs.iter().map(|&s| s.to_owned()).collect(),
        output: outputs.iter().map(|&s| s.to_owned()).collect(),
        node: nodes,
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(13) }],
        ..FunctionProto::default()
    }
}

fn call(name: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto { domain: Some("own".to_owned()), ..node(name, inputs, outputs) }
}

fn with_functions(graph: GraphProto, functions: Vec<FunctionProto>) -> Result<Graph, LoadError> {
    let mut model = model(graph);
    model.opset_import.push(OperatorSetIdProto { domain: Some("own".to_owned()), version: Some(1) });
    model.functions = functions;
    read(bytes(&model), &NoExternal, &Limits::default()).map(|(graph, _)| graph)
}

#[test]
fn bodies_read_what_is_around_them_and_hide_it_by_names_of_their_own() {
    // then: (c ? a + x : -x) of the outermost x; else: a of its own, which is not the outer a.
    let inner = branch(
        "c",
        body(&[], vec![node("Add", &["a", "x"], &["s"])], &["s"]),
        body(&[], vec![node("Neg", &["x"], &["s"])], &["s"]),
        "t",
    );
    let mut graph = relu();
    graph.input.push(condition("c"));
    graph.node = vec![
        branch(
            "c",
            body(&[], vec![inner], &["t"]),
            body(&[], vec![node("Abs", &["x"], &["a"]), node("Mul", &["a", "a"], &["t"])], &["t"]),
            "y",
        ),
        node("Exp", &["x"], &["a"]),
    ];
    let graph = load(graph).unwrap();
    let node = graph.nodes.iter().find(|node| node.operator.name() == "If").unwrap();
    let names: Vec<_> = node.inputs.iter().flatten().map(|&id| graph.value(id).name.as_str()).collect();
    assert_eq!(names, ["c", "c", "a", "x"]);
    assert_eq!(graph.fact(graph.outputs[0]).unwrap().to_string(), "f32[2, 3]");
    let x = Tensor::new([2, 3], vec![0f32, -1.0, 2.0, 0.0, 0.0, 0.0]).unwrap();
    let first = |truth: bool| {
        let y = run(&graph, vec![x.clone().into(), Tensor::scalar(Truth::from(truth)).into()]).remove(0);
        y.into_tensor().unwrap().as_slice::<f32>().unwrap()[..3].to_vec()
    };
    assert_eq!(first(false), [0.0, 1.0, 4.0]);
    assert_eq!(first(true), [1.0, (-1f32).exp() - 1.0, 2f32.exp() + 2.0]);
}

#[test]
fn what_a_body_reads_must_be_defined() {
    let with = |then: GraphProto| {
        let mut graph = relu();
        graph.input.push(condition("c"));
        graph.node = vec![branch("c", then, body(&[], vec![], &["x"]), "y")];
        load(graph)
    };
    assert!(with(body(&[], vec![], &["x"])).is_ok());
    assert!(
        with(body(&[], vec![node("Neg", &["nowhere"], &["s"])], &["s"])).unwrap_err().to_string().contains("nowhere")
    );
    assert!(with(body(&[], vec![], &["nowhere"])).unwrap_err().to_string().contains("nowhere"));
    assert!(with(body(&["a"], vec![], &["x"])).unwrap_err().to_string().contains("takes inputs"));
    assert!(with(body(&[], vec![], &[])).unwrap_err().to_string().contains("0 outputs"));
    // Nothing that stands in a body is seen outside it.
    let mut graph = relu();
    graph.input.push(condition("c"));
    let then = body(&[], vec![node("Neg", &["x"], &["s"])], &["s"]);
    graph.node = vec![branch("c", then, body(&[], vec![], &["x"]), "b"), node("Neg", &["s"], &["y"])];
    assert!(refusal(graph).contains("it reads 's', which nothing defines"));
    let mut graph = relu();
    graph.node[0].attribute.push(graph_attribute("body", body(&[], vec![], &["x"])));
    assert!(refusal(graph).contains("a graph, which the operator does not take"));
}

#[test]
fn a_loop_without_end_ends() {
    let mut graph = relu();
    graph.node = vec![NodeProto {
        attribute: vec![graph_attribute(
            "body",
            body(&["i", "c", "v"], vec![node("Abs", &["v"], &["w"])], &["c", "w"]),
        )],
        ..node("Loop", &["", "", "x"], &["y"])
    }];
    let graph = load(graph).unwrap();
    assert_eq!(graph.fact(graph.outputs[0]).unwrap().to_string(), "f32[2, 3]");
    let x = Value::from(Tensor::zeros(ElementType::F32, [2, 3]).unwrap());
    let mut context = Context { body_work: 1000, ..Context::default() };
    let error = graph.evaluate(&mut context, [Some(x)], |_, _, value| Ok(value)).unwrap_err();
    assert!(error.to_string().contains("the work of loops' bodies"), "{error}");
}

#[test]
fn functions_become_nodes_of_their_callers() {
    // Outer(p, q; alpha = 2) = (Inner(p), q or nothing): Inner uses attributes, a nested graph, an optional input.
    let inner = FunctionProto {
        attribute_proto: vec![AttributeProto { ints: vec![1], r#type: Some(7), ..int("axis", 0) }],
        ..function(
            "Inner",
            &["a", "left_out"],
            vec![
                NodeProto { attribute: vec![of_function("to", "kind")], ..node("Cast", &["a"], &["cast"]) },
                NodeProto {
                    attribute: vec![of_function("axes", "axis"), int("keepdims", 0)],
                    ..node("ReduceMax", &["cast"], &["max"])
                },
                node("Clip", &["max", "left_out"], &["y"]),
            ],
            &["y"],
        )
    };
    // A function sees attributes that its caller's call was given.
    let deep = |input: &str, output: &str| NodeProto {
        attribute: vec![of_function("kind", "type")],
        ..call("Inner", &[input], &[output])
    };
    let outer = function(
        "Outer",
        &["p", "q"],
        vec![deep("p", "r"), deep("p", "s"), node("Add", &["r", "s"], &["t"])],
        &["t", "q"],
    );
    let mut graph = relu();
    graph.node = vec![
        NodeProto {
            name: Some("one".to_owned()),
            attribute: vec![int("type", 11)],
            ..call("Outer", &["x", "x"], &["y", "same"])
        },
        NodeProto { attribute: vec![int("type", 6)], ..call("Outer", &["x"], &["other"]) },
    ];
    graph.output.push(value("same", &["2", "3"]));
    graph.output.push(value("other", &["2"]));
    let graph = with_functions(graph, vec![outer, inner]).unwrap();
    let facts: Vec<_> = graph.outputs.iter().map(|&id| graph.fact(id).unwrap().to_string()).collect();
    assert_eq!(facts, ["f64[2]", "f32[2, 3]", "i32[2]"]);
    let x = Tensor::new([2, 3], vec![1f32, 5.0, 2.0, -1.0, -2.0, -3.0]).unwrap();
    let results = run(&graph, vec![x.clone().into()]);
    assert_eq!(results[0], Tensor::vector(vec![10f64, -2.0]).into());
    assert_eq!(results[1], x.into());
    assert!(graph.find("one/r").is_some() && graph.find("other/r").is_some());
}

#[test]
fn functions_that_make_no_sense_are_refused() {
    let with = |functions: Vec<FunctionProto>, node: NodeProto| {
        let mut graph = relu();
        graph.node = vec![node];
        with_functions(graph, functions).unwrap_err().to_string()
    };
    let plain = || call("F", &["x"], &["y"]);
    let itself = function("F", &["a"], vec![call("F", &["a"], &["b"])], &["b"]);
    assert!(with(vec![itself], plain()).contains("calls itself"));
    let [f, g] =
        [("F", "G"), ("G", "F")].map(|(own, other)| function(own, &["a"], vec![call(other, &["a"], &["b"])], &["b"]));
    assert!(with(vec![f, g], plain()).contains("calls itself"));
    let nothing = || function("F", &["a"], vec![], &["b"]);
    assert!(with(vec![nothing()], plain()).contains("nothing in the function computes 'b'"));
    assert!(with(vec![nothing(), nothing()], plain()).contains("defined twice"));
    assert!(with(vec![nothing()], call("F", &["x", "x"], &["y"])).contains("more inputs or outputs"));
    // A function does not see its caller's values.
    let peeks = function("F", &["a"], vec![node("Neg", &["x"], &["b"])], &["b"]);
    assert!(with(vec![peeks], plain()).contains("it reads 'x', which nothing defines"));
}

#[test]
fn functions_that_grow_without_measure_are_refused() {
    // Each calls the next twice: 2³⁰ nodes.
    let functions = (0..30).map(|i| {
        let next = format!("F{}", i + 1);
        function(&format!("F{i}"), &["a"], vec![call(&next, &["a"], &["b"]), call(&next, &["b"], &["c"])], &["c"])
    });
    let mut functions: Vec<_> = functions.collect();
    functions.push(function("F30", &["a"], vec![node("Neg", &["a"], &["b"])], &["b"]));
    let mut graph = relu();
    graph.node = vec![call("F0", &["x"], &["y"])];
    assert!(matches!(
        with_functions(graph, functions),
        Err(LoadError::Limit(crate::limits::LimitError { field: "nodes", .. }))
    ));
    // A chain that is deeper than calls may be.
    let mut functions: Vec<_> = (0..40)
        .map(|i| function(&format!("F{i}"), &["a"], vec![call(&format!("F{}", i + 1), &["a"], &["b"])], &["b"]))
        .collect();
    functions.push(function("F40", &["a"], vec![node("Neg", &["a"], &["b"])], &["b"]));
    let mut graph = relu();
    graph.node = vec![call("F0", &["x"], &["y"])];
    assert!(with_functions(graph, functions).unwrap_err().to_string().contains("too deep"));
}

#[test]
fn broken_bodies_and_functions_do_not_panic() {
    let step = node("Add", &["v", "x"], &["w"]);
    let mut graph = relu();
    graph.input.push(condition("c"));
    graph.node = vec![
        NodeProto {
            attribute: vec![graph_attribute("body", body(&["i", "g", "v"], vec![step], &["g", "w", "i"]))],
            ..node("Loop", &["n", "", "x"], &["l", "times"])
        },
        branch("c", body(&[], vec![], &["l"]), body(&[], vec![call("F", &["l"], &["s"])], &["s"]), "y"),
    ];
    graph.initializer.push(tensor("n", 7, &[]));
    graph.initializer[0].int64_data = vec![3];
    let mut model = model(graph);
    model.opset_import.push(OperatorSetIdProto { domain: Some("own".to_owned()), version: Some(1) });
    model.functions = vec![function("F", &["a"], vec![node("Neg", &["a"], &["b"])], &["b"])];
    let file = bytes(&model).to_vec();
    assert!(read(file.clone().into(), &NoExternal, &Limits::default()).is_ok());
    for i in 0..file.len() * 8 {
        let mut file = file.clone();
        file[i / 8] ^= 1 << (i % 8);
        if let Ok((graph, _)) = read(file.into(), &NoExternal, &Limits::default()) {
            let _ = crate::optimize::optimize(graph.clone(), &crate::optimize::Rewrites::default());
            let x = Value::from(Tensor::zeros(ElementType::F32, [2, 3]).unwrap());
            let truth = Value::from(Tensor::scalar(Truth::from(i % 2 == 0)));
            let mut context = Context { body_work: 100, ..Context::default() };
            let _ = graph.evaluate(&mut context, [Some(x), Some(truth)], |_, _, value| Ok(value));
        }
    }
}

#[test]
fn files_of_one_value_hold_what_they_should() {
    let part = |v: f32| TensorProto { float_data: vec![v], ..tensor("", 1, &[1]) };
    let sequence =
        SequenceProto { name: Some("s".to_owned()), elem_type: Some(1), tensor_values: vec![part(1.0), part(2.0)] };
    let optional = OptionalProto {
        name: Some("o".to_owned()),
        elem_type: Some(3),
        sequence_value: Some(sequence.clone()),
        ..OptionalProto::default()
    };
    let read = |bytes: Vec<u8>, value_type: &ValueType| {
        super::super::read_value(bytes.into(), value_type, &Limits::default()).map_err(|e| e.to_string())
    };
    let of = ValueType::Sequence(ElementType::F32);
    let (name, value) = read(sequence.encode_to_vec(), &of).unwrap();
    assert_eq!((name.as_str(), value.tensors(), value.value_type()), ("s", 2, of.clone()));
    assert!(read(sequence.encode_to_vec(), &ValueType::Sequence(ElementType::I64)).is_err());
    let optional_of = ValueType::Optional(Box::new(of.clone()));
    let (_, there) = read(optional.encode_to_vec(), &optional_of).unwrap();
    assert!(matches!(there, Value::Optional(o) if o.value == Some(Box::new(value))));
    let (_, missing) = read(OptionalProto::default().encode_to_vec(), &optional_of).unwrap();
    assert!(matches!(missing, Value::Optional(o) if o.value.is_none() && o.of == of));
    let tensor_of = ValueType::Optional(Box::new(ValueType::Tensor(ElementType::F32)));
    assert!(read(optional.encode_to_vec(), &tensor_of).is_err());
    let (_, one) = read(part(1.0).encode_to_vec(), &ValueType::Tensor(ElementType::F32)).unwrap();
    assert_eq!(one, Tensor::vector(vec![1f32]).into());
}
