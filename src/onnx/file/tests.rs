//! Written files say what was read, and what was changed.

use std::path::{Path, PathBuf};

use prost::Message;

use super::super::messages::*;
use super::super::tests::{bytes, model, relu, tensor};
use super::*;
use crate::cpu::reference;
use crate::graph::Graph;

/// Everything that a graph is.
fn described(graph: &Graph) -> String {
    let constants = graph.values.iter().map(|value| match graph.constant(graph.find(&value.name).unwrap()) {
        Some(tensor) => format!("{} {:?}\n", value.name, crate::cache::hash(tensor.bytes())),
        None => format!("{}\n", value.name),
    });
    format!("{}{}", graph, constants.collect::<String>())
}

fn round_trip(path: &Path) {
    let file = ModelFile::open(path).unwrap();
    let written = file.to_bytes().unwrap();
    let (before, after) = (Model::open(path).unwrap(), Model::from_bytes(written.clone()).unwrap());
    assert_eq!(described(before.graph()), described(after.graph()), "{}", path.display());
    assert_eq!(before.metadata(), after.metadata());
    let original = std::fs::read(path).unwrap();
    assert_eq!(original.len(), written.len(), "{}: nothing is lost", path.display());
}

#[test]
fn a_model_that_is_not_changed_is_written_as_it_was() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("models")];
    folders.extend(std::env::var_os("RIMLIGHT_MODELS").map(PathBuf::from));
    let mut models = 0;
    for folder in folders {
        let entries = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        for path in entries.filter(|path| path.extension().is_some_and(|e| e == "onnx")) {
            round_trip(&path);
            models += 1;
        }
    }
    assert!(models >= 3);
}

#[test]
fn what_is_not_declared_stays_where_a_part_is_changed() {
    // A node with a text of its author's (field 6) and a field that nobody knows.
    let mut node = super::super::tests::node("Relu", &["x"], &["y"]).encode_to_vec();
    node.extend(b"\x32\x04text\xc2\x3e\x03abc");
    let part = Part::<NodeProto>::read(node.clone().into()).unwrap();
    let mut file = ModelFile::from_bytes(bytes(&model(relu()))).unwrap();
    file.nodes[0] = part;
    file.nodes[0].edit().op_type = Some("Abs".to_owned());
    let written = file.to_bytes().unwrap();
    let found = |text: &[u8]| written.windows(text.len()).any(|window| window == text);
    assert!(found(b"\x32\x04text\xc2\x3e\x03abc") && found(b"Abs") && !found(b"Relu"));
    assert!(Model::from_bytes(written).is_ok());
}

#[test]
fn a_constant_is_replaced_by_another_of_another_shape() {
    let mut graph = relu();
    graph.node[0] = super::super::tests::node("Add", &["x", "w"], &["y"]);
    graph.initializer.push(tensor("w", 1, &[3]));
    graph.initializer[0].float_data = vec![1.0, 2.0, 3.0];
    // As files of the third version list them.
    graph.input.push(super::super::tests::value("w", &["3"]));
    let mut proto = model(graph);
    proto.ir_version = Some(3);
    let mut file = ModelFile::from_bytes(bytes(&proto)).unwrap();
    assert_eq!(file.constants().collect::<Vec<_>>(), ["w"]);
    assert_eq!(file.constant("w"), Some(Tensor::vector(vec![1f32, 2.0, 3.0])));
    file.set_constant("w", &Tensor::scalar(4f32)).unwrap();
    let model = file.model().unwrap();
    assert_eq!((model.inputs().len(), model.metadata().ir_version), (1, 4));
    let x = Tensor::new([2, 3], vec![0f32; 6]).unwrap();
    let y = reference::evaluate(model.graph(), &[x], |_, value| value).unwrap();
    assert_eq!(y[0].as_tensor().unwrap().as_slice::<f32>().unwrap(), [4.0; 6]);
}

#[test]
fn constants_in_nodes_are_constants_too() {
    let mut graph = relu();
    graph.node[0] = super::super::tests::node("Add", &["x", "w"], &["y"]);
    let mut constant = super::super::tests::node("Constant", &[], &["w"]);
    let mut value = tensor("", 1, &[]);
    value.float_data = vec![2.5];
    constant.attribute.push(AttributeProto {
        name: Some("value".to_owned()),
        t: Some(Box::new(value)),
        r#type: Some(4),
        ..AttributeProto::default()
    });
    graph.node.insert(0, constant);
    let mut file = ModelFile::from_bytes(bytes(&model(graph))).unwrap();
    assert_eq!(file.constant("w"), Some(Tensor::scalar(2.5f32)));
    file.set_constant("w", &Tensor::scalar(3.5f32)).unwrap();
    assert_eq!((file.nodes.len(), file.constant("w")), (1, Some(Tensor::scalar(3.5f32))));
    file.nodes.clear();
    file.outputs.clear();
    file.drop_unread();
    assert_eq!(file.constants().count(), 0);
}

#[test]
fn four_bit_constants_are_packed_as_the_format_has_them() {
    let nibbles = [-8i8, 7, -1].map(|v| v.cast_unsigned());
    let tensor = Tensor::from_bytes(ElementType::I4, [3usize], nibbles.to_vec().into()).unwrap();
    let proto = stored("w", &tensor).unwrap();
    assert_eq!(proto.raw_data.as_deref(), Some(&[0x78, 0x0f][..]));
    let (_, read) = crate::onnx::read_tensor(proto.encode_to_vec().into(), &Limits::default()).unwrap();
    assert_eq!(read, tensor);
}

#[test]
fn a_file_that_cannot_be_written_leaves_nothing() {
    let folder = std::env::temp_dir().join(format!("rimlight-save-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("taken.onnx/in")).unwrap();
    let file = ModelFile::from_bytes(bytes(&model(relu()))).unwrap();
    file.save(folder.join("whole.onnx")).unwrap();
    assert!(Model::open(folder.join("whole.onnx")).is_ok());
    // A folder lies in the place.
    let error = file.save(folder.join("taken.onnx")).unwrap_err().to_string();
    assert!(error.starts_with("cannot write '") && error.contains("taken.onnx"), "{error}");
    assert!(file.save(folder.join("missing/out.onnx")).is_err());
    let mut left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(left, ["taken.onnx", "whole.onnx"]);
}
