//! The forms in which a file stores a tensor's elements.

use half::f16;

use super::*;
use crate::onnx::read_tensor;
use crate::tensor::{Tensor, Truth};

fn stored(proto: &TensorProto) -> Result<Tensor, String> {
    let read = read_tensor(proto.encode_to_vec().into(), &Limits::default());
    read.map(|(_, tensor)| tensor).map_err(|e| e.to_string())
}

#[test]
fn every_typed_field_is_read() {
    let with = |data_type, change: fn(&mut TensorProto)| {
        let mut proto = tensor("w", data_type, &[2]);
        change(&mut proto);
        stored(&proto).unwrap()
    };
    assert_eq!(with(1, |t| t.float_data = vec![1.5, f32::MAX]), Tensor::vector(vec![1.5, f32::MAX]));
    assert_eq!(with(11, |t| t.double_data = vec![1.5, -2.5]), Tensor::vector(vec![1.5f64, -2.5]));
    assert_eq!(with(7, |t| t.int64_data = vec![i64::MIN, -1]), Tensor::vector(vec![i64::MIN, -1]));
    assert_eq!(with(6, |t| t.int32_data = vec![i32::MIN, -1]), Tensor::vector(vec![i32::MIN, -1]));
    assert_eq!(with(3, |t| t.int32_data = vec![-128, 127]), Tensor::vector(vec![-128i8, 127]));
    assert_eq!(with(2, |t| t.int32_data = vec![0, 255]), Tensor::vector(vec![0u8, 255]));
    assert_eq!(with(9, |t| t.int32_data = vec![0, 1]), Tensor::vector(vec![Truth(0), Truth(1)]));
    let halves = Tensor::vector(vec![f16::ONE, f16::from_f32(-2.0)]);
    assert_eq!(with(10, |t| t.int32_data = vec![0x3c00, 0xc000]), halves);
}

#[test]
fn raw_data_of_every_type_is_read() {
    let types = [(1, 4), (2, 1), (3, 1), (6, 4), (7, 8), (9, 1), (10, 2), (11, 8)];
    for (data_type, size) in types {
        let raw: Vec<u8> = (0..2 * size).map(|i| u8::from(i == 0)).collect();
        let mut proto = tensor("w", data_type, &[2, 1]);
        proto.raw_data = Some(raw.clone().into());
        let read = stored(&proto).unwrap();
        assert_eq!((read.shape(), read.bytes()), (&[2, 1][..], &raw[..]), "type {data_type}");
    }
}

#[test]
fn raw_data_is_a_part_of_the_file_and_not_a_copy() {
    // Filler in front until the data happens to be aligned.
    let shared = (0..8).any(|filler| {
        let mut graph = relu();
        graph.name = Some("x".repeat(filler));
        graph.initializer.push(tensor("w", 2, &[1000]));
        graph.initializer[0].raw_data = Some(vec![7u8; 1000].into());
        let file = bytes(&model(graph));
        let (graph, _) = read(file.clone(), &NoExternal, &Limits::default()).unwrap();
        let tensor = graph.constant(graph.find("w").unwrap()).unwrap();
        file.as_ptr_range().contains(&tensor.bytes().as_ptr())
    });
    assert!(shared);
}

#[test]
fn scalars_empty_tensors_and_nan_are_fine() {
    let mut scalar = tensor("w", 1, &[]);
    scalar.float_data = vec![f32::NAN];
    let read = stored(&scalar).unwrap();
    assert!(read.shape().is_empty() && read.as_slice::<f32>().unwrap()[0].is_nan());

    let empty = tensor("w", 1, &[0, 3]);
    assert_eq!(stored(&empty).unwrap().shape(), [0, 3]);
    let empty = TensorProto { raw_data: Some(Bytes::new()), ..empty };
    assert_eq!(stored(&empty).unwrap().shape(), [0, 3]);
}

#[test]
fn data_that_does_not_fit_the_shape_is_refused() {
    let mut short = tensor("w", 1, &[2]);
    short.float_data = vec![1.0];
    assert!(stored(&short).unwrap_err().contains("needs 8 bytes, but 4 were given"));
    let long = TensorProto { float_data: vec![], raw_data: Some(vec![0; 9].into()), ..short.clone() };
    assert!(stored(&long).unwrap_err().contains("needs 8 bytes, but 9 were given"));
    let wrong_field = TensorProto { float_data: vec![], int64_data: vec![1, 2], ..short.clone() };
    assert!(stored(&wrong_field).unwrap_err().contains("but 0 were given"));
    let twice = TensorProto { raw_data: Some(vec![0; 8].into()), ..short };
    assert!(stored(&twice).unwrap_err().contains("stored twice"));
    let mut wide = tensor("w", 3, &[1]);
    wide.int32_data = vec![128];
    assert!(stored(&wide).unwrap_err().contains("128 does not fit"));
}

#[test]
fn types_that_are_not_supported_are_named() {
    for (number, name) in [(14, "complex64"), (15, "complex128"), (99, "99")] {
        let mut proto = tensor("the_weights", number, &[1]);
        proto.uint64_data = vec![1];
        let message = stored(&proto).unwrap_err();
        assert!(message.contains("the_weights") && message.contains(name), "{message}");
    }
}

#[test]
fn small_types_and_texts_are_read() {
    let mut packed = tensor("w", 22, &[3]);
    packed.raw_data = Some(vec![0x7f, 0x08].into());
    assert_eq!(stored(&packed).unwrap().to_f64(), [-1.0, 7.0, -8.0]);
    packed.raw_data = Some(vec![0x7f].into());
    assert!(stored(&packed).unwrap_err().contains("does not take 1 bytes"));
    let mut listed = tensor("w", 21, &[3]);
    listed.int32_data = vec![0x7f, 0x08];
    assert_eq!(stored(&listed).unwrap().to_f64(), [15.0, 7.0, 8.0]);
    let mut upper = tensor("w", 16, &[2]);
    upper.int32_data = vec![0x3f80, 0xc000];
    assert_eq!(stored(&upper).unwrap().to_f64(), [1.0, -2.0]);
    let mut texts = tensor("w", 8, &[2]);
    texts.string_data = vec!["a".into(), "".into()];
    assert_eq!(stored(&texts).unwrap().strings().unwrap(), ["a", ""]);
    texts.string_data = vec![vec![0xff].into(), "".into()];
    assert!(stored(&texts).unwrap_err().contains("not UTF-8"));
}

#[test]
fn tensors_in_attributes_are_read_as_initializers_are() {
    let mut constant = node("Constant", &[], &["c"]);
    let mut content = tensor("", 7, &[2]);
    content.int64_data = vec![3, 4];
    constant.attribute.push(AttributeProto {
        name: Some("value".to_owned()),
        r#type: Some(4),
        t: Some(Box::new(content)),
        ..AttributeProto::default()
    });
    let mut graph = relu();
    graph.node.push(constant);
    let graph = load(graph).unwrap();
    assert_eq!(graph.constant(graph.find("c").unwrap()), Some(&Tensor::vector(vec![3i64, 4])));
    assert_eq!(graph.nodes.len(), 1);
}
