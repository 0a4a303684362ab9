//! A model's data in other files: read or mapped, inside the model's folder only.

use std::fs;
use std::path::Path;

use prost::Message;
use rimlight::onnx::messages::*;
use rimlight::{LoadError, Model, Tensor};

/// A model in a folder of its own whose constant `w` (two f32) lies in `location`.
fn written(folder: &Path, location: &str, range: Option<(&str, &str)>) -> std::path::PathBuf {
    let entry =
        |key: &str, value: &str| StringStringEntryProto { key: Some(key.to_owned()), value: Some(value.to_owned()) };
    let mut tensor = TensorProto {
        name: Some("w".to_owned()),
        data_type: Some(1),
        dims: vec![2],
        data_location: Some(1),
        external_data: vec![entry("location", location)],
        ..TensorProto::default()
    };
    if let Some((offset, length)) = range {
        tensor.external_data.extend([entry("offset", offset), entry("length", length)]);
    }
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(13) }],
        graph: Some(Box::new(GraphProto { initializer: vec![tensor], ..GraphProto::default() })),
        ..ModelProto::default()
    };
    let path = folder.join("model.onnx");
    fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

fn weights(model: &Model) -> Tensor {
    let graph = model.graph();
    graph.constant(graph.find("w").unwrap()).unwrap().clone()
}

fn data() -> Vec<u8> {
    [0.5f32, -1.0, 7.0].iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn refusal(path: &Path) -> String {
    let read = Model::open(path).expect_err("must not be read").to_string();
    #[allow(unsafe_code)]
    // SAFETY: nobody else knows the folder.
    let mapped = unsafe { Model::open_mapped(path) }.expect_err("must not be mapped").to_string();
    assert_eq!(read, mapped);
    read
}

#[test]
fn data_is_read_or_mapped() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("parts")).unwrap();
    fs::write(folder.path().join("parts/w.bin"), data()).unwrap();
    let path = written(folder.path(), "parts/w.bin", Some(("4", "8")));
    let expected = Tensor::vector(vec![-1f32, 7.0]);
    assert_eq!(weights(&Model::open(&path).unwrap()), expected);
    #[allow(unsafe_code)]
    // SAFETY: nobody else knows the folder.
    let mapped = unsafe { Model::open_mapped(&path) }.unwrap();
    assert_eq!(weights(&mapped), expected);
}

#[test]
fn without_offset_and_length_the_whole_file_counts() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("w.bin"), &data()[..8]).unwrap();
    let path = written(folder.path(), "w.bin", None);
    assert_eq!(weights(&Model::open(&path).unwrap()), Tensor::vector(vec![0.5f32, -1.0]));
    fs::write(folder.path().join("w.bin"), data()).unwrap();
    assert!(refusal(&path).contains("takes 8 bytes, but 'w.bin' holds 12"));
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), "gone.bin", None);
    assert!(matches!(Model::open(&path), Err(LoadError::Io { path, .. }) if path.ends_with("gone.bin")));
    assert!(refusal(&path).contains("gone.bin"));
    let from_bytes = Model::from_bytes(fs::read(&path).unwrap()).unwrap_err().to_string();
    assert!(from_bytes.contains("gone.bin") && from_bytes.contains("given as bytes"), "{from_bytes}");
}

#[test]
fn ranges_outside_the_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("w.bin"), data()).unwrap();
    for (range, part) in [
        (("8", "8"), "8 bytes from 8 on in 'w.bin', which has 12"),
        (("13", "0"), "which has 12"),
        (("18446744073709551615", "8"), "which has 12"),
        (("0", "18446744073709551615"), "which has 12"),
        (("-1", "8"), "offset '-1' is no size"),
        (("0", "many"), "length 'many' is no size"),
        (("0", "4"), "takes 8 bytes, but 'w.bin' holds 4"),
    ] {
        let message = refusal(&written(folder.path(), "w.bin", Some(range)));
        assert!(message.contains(part) && message.contains("'w'"), "{message}");
    }
}

#[test]
fn paths_that_lead_out_are_refused() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret.bin");
    fs::write(&secret, &data()[..8]).unwrap();
    let folder = outside.path().join("inner");
    fs::create_dir(&folder).unwrap();
    let absolute = secret.to_str().unwrap();
    for location in ["../secret.bin", "./../secret.bin", "x/../../secret.bin", absolute, "", ".", "..\\secret.bin"] {
        let message = refusal(&written(&folder, location, None));
        assert!(message.contains("not a path inside the model's folder"), "{location}: {message}");
    }
    assert!(refusal(&written(&folder, ".//", None)).contains("not a path"));
}

#[cfg(unix)]
#[test]
fn links_that_lead_out_are_refused() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret.bin");
    fs::write(&secret, &data()[..8]).unwrap();
    let folder = outside.path().join("inner");
    fs::create_dir(&folder).unwrap();

    std::os::unix::fs::symlink(&secret, folder.join("soft.bin")).unwrap();
    assert!(refusal(&written(&folder, "soft.bin", None)).contains("a link that leads out"));
    std::os::unix::fs::symlink(outside.path(), folder.join("up")).unwrap();
    assert!(refusal(&written(&folder, "up/secret.bin", None)).contains("a link that leads out"));
    fs::hard_link(&secret, folder.join("hard.bin")).unwrap();
    assert!(refusal(&written(&folder, "hard.bin", None)).contains("hard links"));

    // A link that stays inside is as good as the file.
    fs::write(folder.join("real.bin"), &data()[..8]).unwrap();
    std::os::unix::fs::symlink("real.bin", folder.join("near.bin")).unwrap();
    assert!(Model::open(written(&folder, "near.bin", None)).is_ok());
    fs::create_dir(folder.join("folder.bin")).unwrap();
    assert!(refusal(&written(&folder, "folder.bin", None)).contains("is no file"));
}
