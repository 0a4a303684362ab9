//! Graphs: orders, names, symbols, versions, attributes.

use super::*;
use crate::graph::Dim;
use crate::tensor::Tensor;

#[test]
fn initializers_that_are_listed_as_inputs_are_constants() {
    let mut graph = relu();
    graph.initializer.push(tensor("w", 1, &[1]));
    graph.initializer[0].float_data = vec![2.0];
    graph.input.insert(0, value("w", &["1"]));
    let mut model = model(graph);
    model.ir_version = Some(3);
    let (graph, metadata) = read(bytes(&model), &NoExternal, &Limits::default()).unwrap();
    assert_eq!(metadata.ir_version, 3);
    assert_eq!(graph.inputs, [graph.find("x").unwrap()]);
    assert_eq!(graph.constant(graph.find("w").unwrap()), Some(&Tensor::vector(vec![2f32])));
}

#[test]
fn nodes_may_stand_in_any_order() {
    let mut graph = relu();
    graph.node = vec![node("Relu", &["b"], &["y"]), node("Relu", &["x"], &["a"]), node("Relu", &["a"], &["b"])];
    let graph = load(graph).unwrap();
    let names: Vec<_> = graph.nodes.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "y"]);
    assert_eq!(graph.fact(graph.outputs[0]).unwrap().to_string(), "f32[2, 3]");
}

#[test]
fn dimensions_are_numbers_symbols_or_get_a_name() {
    let mut graph = relu();
    graph.input = vec![value("x", &["batch", "", "3", "-1", "x_1"]), value("z", &["batch"])];
    graph.output.clear();
    let graph = load(graph).unwrap();
    let shape = |name| graph.fact(graph.find(name).unwrap()).unwrap().to_string();
    assert_eq!(shape("x"), "f32[batch, x_1_, 3, x_3, x_1]");
    assert_eq!(graph.fact(graph.find("z").unwrap()).unwrap().shape, [Dim::symbol("batch")]);
}

#[test]
fn constants_of_every_form_become_values() {
    let constant = |name: &str, attribute: AttributeProto| NodeProto {
        attribute: vec![attribute],
        ..node("Constant", &[], &[name])
    };
    let named = |name: &str, kind| AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(kind),
        ..AttributeProto::default()
    };
    let mut graph = relu();
    graph.node.extend([
        constant("float", AttributeProto { f: Some(0.5), ..named("value_float", 1) }),
        constant("floats", AttributeProto { floats: vec![0.5, 1.0], ..named("value_floats", 6) }),
        constant("int", AttributeProto { i: Some(-3), ..named("value_int", 2) }),
        constant("ints", AttributeProto { ints: vec![1, 2], ..named("value_ints", 7) }),
        constant("text", AttributeProto { s: Some("a".into()), ..named("value_string", 3) }),
        constant("texts", AttributeProto { strings: vec!["b".into(), "c".into()], ..named("value_strings", 8) }),
    ]);
    let graph = load(graph).unwrap();
    let get = |name| graph.constant(graph.find(name).unwrap()).unwrap().clone();
    assert_eq!(get("float"), Tensor::scalar(0.5f32));
    assert_eq!(get("floats"), Tensor::vector(vec![0.5f32, 1.0]));
    assert_eq!(get("int"), Tensor::scalar(-3i64));
    assert_eq!(get("ints"), Tensor::vector(vec![1i64, 2]));
    assert_eq!(get("text").strings().unwrap(), ["a"]);
    assert_eq!(get("texts").strings().unwrap(), ["b", "c"]);
}

#[test]
fn all_unknown_operators_are_named_at_once() {
    let mut inner = relu();
    inner.node = vec![node("Inner", &["x"], &["i"])];
    let mut branch = node("Branch", &["x"], &["b"]);
    branch.attribute.push(AttributeProto {
        name: Some("then".to_owned()),
        r#type: Some(5),
        g: Some(Box::new(inner)),
        ..AttributeProto::default()
    });
    let mut own = node("Own", &["x"], &["o"]);
    own.domain = Some("mine".to_owned());
    let mut graph = relu();
    graph.node.extend([branch, own, node("Frobnicate", &["x"], &["f"]), node("Frobnicate", &["x"], &["g"])]);
    let mut model = model(graph);
    model.functions.push(FunctionProto {
        name: Some("Own".to_owned()),
        domain: Some("mine".to_owned()),
        node: vec![node("Deep", &[], &[])],
        ..FunctionProto::default()
    });
    let error = read(bytes(&model), &NoExternal, &Limits::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "operator set 13 with operators that Rimlight does not have: Branch, Deep, Frobnicate (2 times), Inner"
    );
}

#[test]
fn values_must_be_defined_once() {
    let mut graph = relu();
    graph.node.push(node("Relu", &["x"], &["y"]));
    assert_eq!(refusal(graph), "the graph is not valid: the value 'y' is defined twice");

    let mut graph = relu();
    graph.input.push(value("x", &["1"]));
    assert_eq!(refusal(graph), "the graph is not valid: the value 'x' is defined twice");

    let mut graph = relu();
    graph.node[0].input[0] = "nowhere".to_owned();
    assert_eq!(refusal(graph), "node 'y' (Relu): it reads 'nowhere', which nothing defines");

    let mut graph = relu();
    graph.output[0].name = Some("z".to_owned());
    assert_eq!(refusal(graph), "the graph is not valid: nothing computes the output 'z'");

    let mut graph = relu();
    graph.output.push(graph.output[0].clone());
    assert_eq!(refusal(graph), "the graph is not valid: the output 'y' is listed twice");
}

#[test]
fn a_cycle_is_refused() {
    let mut graph = relu();
    graph.node = vec![node("Relu", &["y"], &["a"]), node("Relu", &["a"], &["y"])];
    assert!(refusal(graph).contains("cycle"));
}

#[test]
fn an_input_must_be_of_a_known_type() {
    let with = |change: fn(&mut TypeProto)| {
        let mut graph = relu();
        change(graph.input[0].r#type.as_mut().unwrap());
        refusal(graph)
    };
    let sequence = with(|t| *t = TypeProto { sequence_type: Some(Bytes::new()), ..TypeProto::default() });
    assert!(sequence.contains("input 'x' holds something of no type"), "{sequence}");
    let map = with(|t| *t = TypeProto { map_type: Some(Bytes::new()), ..TypeProto::default() });
    assert!(map.contains("input 'x' is a map"), "{map}");
    let text = with(|t| t.tensor_type.as_mut().unwrap().elem_type = Some(14));
    assert!(text.contains("input 'x' has the element type complex64"), "{text}");
    let mut graph = relu();
    graph.input[0] = value("x", &["-2"]);
    assert!(refusal(graph).contains("input 'x' has the dimension -2"));
}

#[test]
fn versions_out_of_range_are_named() {
    let with = |change: fn(&mut ModelProto)| {
        let mut model = model(relu());
        change(&mut model);
        read(bytes(&model), &NoExternal, &Limits::default()).map(|(g, _)| g.opset).map_err(|e| e.to_string())
    };
    assert!(with(|m| m.ir_version = Some(2)).unwrap_err().contains("IR version is 2"));
    assert!(with(|m| m.opset_import[0].version = Some(0)).unwrap_err().contains("from operator set 1 on"));
    assert!(with(|m| m.opset_import.clear()).unwrap_err().contains("names no operator set"));
    assert!(with(|m| m.graph = None).unwrap_err().contains("no graph"));
    // Old ones are read as far as their operators are known in that form; newer ones are tried.
    assert_eq!(with(|m| m.opset_import[0].version = Some(1)), Ok(1));
    assert_eq!(with(|m| m.opset_import[0].version = Some(99)), Ok(99));
    assert_eq!(with(|m| m.opset_import[0].domain = Some("ai.onnx".to_owned())), Ok(13));
}

#[test]
fn surplus_and_missing_inputs_and_outputs_are_refused() {
    let message = |inputs: &[&str], outputs: &[&str]| {
        let error = load(GraphProto { node: vec![node("Relu", inputs, outputs)], ..relu() }).unwrap_err();
        assert_eq!(error.unsupported(), None);
        error.to_string()
    };
    assert!(message(&["x", "x"], &["y"]).contains("it has 2 inputs, but takes 1"));
    assert!(message(&[], &["y"]).contains("it has 0 inputs, but takes 1"));
    assert!(message(&["x"], &["y", "z"]).contains("it has 2 outputs, but gives 1 at most"));
}

#[test]
fn a_file_says_what_it_is() {
    let mut model = model(relu());
    model.producer_name = Some("trainer".to_owned());
    model.producer_version = Some("2.1".to_owned());
    model.doc_string = Some("finds edges".to_owned());
    model.metadata_props.push(StringStringEntryProto { key: Some("licence".into()), value: Some("MIT".into()) });
    let model = crate::Model::from_bytes(bytes(&model)).unwrap();
    let metadata = model.metadata();
    assert_eq!((metadata.producer.as_str(), metadata.doc.as_str()), ("trainer 2.1", "finds edges"));
    assert_eq!(metadata.opsets, [(String::new(), 13)]);
    assert_eq!(metadata.properties, [("licence".to_owned(), "MIT".to_owned())]);
    assert_eq!(model.inputs().map(|p| p.to_string()).collect::<Vec<_>>(), ["x f32[2, 3]"]);
    assert_eq!(model.outputs().map(|p| p.to_string()).collect::<Vec<_>>(), ["y f32[2, 3]"]);
    assert_eq!(model.reread().unwrap().graph().nodes.len(), 1);
}

#[test]
fn a_model_comes_from_a_callback_as_often_as_it_is_asked_for() {
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = calls.clone();
    let model = crate::Model::from_callback(std::sync::Arc::new(move || {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(bytes(&model(relu())))
    }));
    model.unwrap().reread().unwrap();
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 2);
    let failing = crate::Model::from_callback(std::sync::Arc::new(|| Err(std::io::ErrorKind::NotFound.into())));
    assert!(matches!(failing, Err(LoadError::Io { .. })));
}
