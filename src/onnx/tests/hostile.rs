//! Files that are broken, or made to do harm: an error or a model, never a panic, a hang, or memory without end.

use super::*;
use crate::limits::LimitError;
use crate::onnx::messages;

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

fn limited(model: &ModelProto, limits: &Limits) -> Option<&'static str> {
    match read(bytes(model), &NoExternal, limits) {
        Err(LoadError::Limit(error)) => Some(error.field),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    }
}

/// A small file that uses every part of the format.
fn varied() -> Vec<u8> {
    let mut graph = relu();
    graph.node.push(node("Relu", &["w"], &["z"]));
    graph.initializer.push(tensor("w", 1, &[2]));
    graph.initializer[0].float_data = vec![1.0, 2.0];
    graph.initializer.push(tensor("r", 7, &[1]));
    graph.initializer[1].raw_data = Some(vec![0; 8].into());
    bytes(&model(graph)).to_vec()
}

#[test]
fn files_that_are_no_models_are_refused() {
    let files: [&[u8]; 5] = [b"", b"not a model", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"TFL3", &[0xff; 64]];
    for file in files {
        let error = read(Bytes::copy_from_slice(file), &NoExternal, &Limits::default()).unwrap_err();
        assert!(matches!(error, LoadError::Format(_)), "{error}");
    }
}

#[test]
fn a_cut_file_is_refused_wherever_it_is_cut() {
    let file = varied();
    assert!(read(Bytes::copy_from_slice(&file), &NoExternal, &Limits::default()).is_ok());
    for length in 0..file.len() {
        let cut = read(Bytes::copy_from_slice(&file[..length]), &NoExternal, &Limits::default());
        assert!(matches!(cut, Err(LoadError::Format(_))), "{length} of {}", file.len());
    }
}

#[test]
fn flipped_bits_do_not_panic() {
    let file = varied();
    for i in 0..file.len() * 8 {
        let mut file = file.clone();
        file[i / 8] ^= 1 << (i % 8);
        let _ = read(file.into(), &NoExternal, &Limits::default());
    }
}

#[test]
fn every_limit_is_kept_and_named() {
    let mut graph = relu();
    graph.initializer.push(tensor("w", 1, &[3]));
    graph.initializer[0].float_data = vec![0.0; 3];
    let model = model(graph);
    let size = bytes(&model).len() as u64;
    assert_eq!(limited(&model, &limits(|l| l.file_bytes = size)), None);
    assert_eq!(limited(&model, &limits(|l| l.file_bytes = size - 1)), Some("file_bytes"));
    assert_eq!(limited(&model, &limits(|l| l.nodes = 0)), Some("nodes"));
    assert_eq!(limited(&model, &limits(|l| l.messages = 5)), Some("messages"));
    assert_eq!(limited(&model, &limits(|l| l.elements = 3)), None);
    assert_eq!(limited(&model, &limits(|l| l.elements = 2)), Some("elements"));
    assert_eq!(limited(&model, &limits(|l| l.initializer_bytes = 12)), None);
    assert_eq!(limited(&model, &limits(|l| l.initializer_bytes = 11)), Some("initializer_bytes"));
}

#[test]
fn graphs_inside_graphs_are_bounded() {
    let mut graph = relu();
    for _ in 0..40 {
        let mut outer = relu();
        outer.node[0].attribute.push(AttributeProto {
            name: Some("body".to_owned()),
            r#type: Some(5),
            g: Some(Box::new(graph)),
            ..AttributeProto::default()
        });
        graph = outer;
    }
    let model = model(graph);
    assert_eq!(limited(&model, &Limits::default()), Some("nesting"));
    assert_eq!(limited(&model, &limits(|l| l.nesting = u64::MAX)), Some("nesting"));
}

#[test]
fn a_megabyte_of_empty_messages_is_refused_before_it_is_decoded() {
    // Field 5 (initializer), length 0, over and over, in a graph.
    let graph: Vec<u8> = [0x2a, 0x00].repeat(1 << 20);
    let mut file = vec![0x3a];
    prost::encoding::encode_varint(graph.len() as u64, &mut file);
    file.extend(graph);
    let error = read(file.into(), &NoExternal, &Limits::default()).unwrap_err();
    assert!(matches!(error, LoadError::Limit(LimitError { field: "messages", .. })), "{error}");
}

#[test]
fn sizes_that_overflow_are_refused_without_an_allocation() {
    for dims in [&[i64::MAX, i64::MAX][..], &[1 << 40], &[1 << 32, 1 << 32]] {
        let mut graph = relu();
        graph.initializer.push(tensor("w", 1, dims));
        assert_eq!(limited(&model(graph), &Limits::default()), Some("elements"), "{dims:?}");
    }
    let mut graph = relu();
    graph.initializer.push(tensor("w", 1, &[-2, 2]));
    assert!(refusal(graph).contains("the shape [-2, 2] is not valid"));
    let mut graph = relu();
    graph.initializer.push(tensor("w", 1, &[1; 65]));
    assert!(refusal(graph).contains("65 dimensions"));
    // An input may be of any size: nothing is allocated for it before it is given.
    let mut graph = relu();
    graph.input[0] = value("x", &["9223372036854775807", "9223372036854775807"]);
    assert!(load(graph).is_ok());
}

#[test]
fn sparse_and_segmented_data_is_refused() {
    let mut graph = relu();
    graph.sparse_initializer.push(Bytes::new());
    assert!(refusal(graph).contains("sparse"));
    let mut graph = relu();
    let mut segmented = tensor("w", 1, &[0]);
    segmented.segment = Some(Bytes::new());
    graph.initializer.push(segmented);
    assert!(refusal(graph).contains("segments"));
}

#[test]
fn attributes_that_make_no_sense_are_refused() {
    let with = |attribute: AttributeProto| {
        let mut graph = relu();
        graph.node[0].attribute.push(messages::AttributeProto { name: Some("a".to_owned()), ..attribute });
        refusal(graph)
    };
    let kind = |kind| AttributeProto { r#type: Some(kind), ..AttributeProto::default() };
    assert!(with(kind(4)).contains("has no value"));
    assert!(with(kind(5)).contains("is a graph"));
    assert!(with(kind(11)).contains("sparse"));
    assert!(with(kind(77)).contains("unknown number 77"));
    assert!(with(AttributeProto { s: Some(vec![0xff].into()), ..kind(3) }).contains("not UTF-8"));
    assert!(with(AttributeProto { ref_attr_name: Some("b".into()), ..kind(2) }).contains("function"));
}
