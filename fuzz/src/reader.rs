//! The reader of ONNX files: any bytes are a model or an error, and a model that is written again is the same.

use rimlight::graph::ValueType;
use rimlight::onnx::{ModelFile, read_tensor, read_value};
use rimlight::{ElementType, Limits, LoadError, Model};

/// Small ones, so that a file costs little whatever it asks for.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.file_bytes = 1 << 16;
    limits.nodes = 256;
    limits.messages = 4096;
    limits.nesting = 4;
    limits.initializer_bytes = 1 << 20;
    limits.elements = 1 << 18;
    limits
}

/// Reads a file as a model, and else as what else there is.
///
/// # Panics
/// If a model cannot be written again, or is another one then.
pub fn run(bytes: &[u8]) {
    let limits = limits();
    let owned = || bytes.to_vec();
    match Model::from_bytes_with(owned(), &limits) {
        Ok(model) => written_again(bytes, &model, &limits),
        // What is no model may be a tensor, or a sequence of them.
        Err(LoadError::Format(_)) => {
            let _ = read_tensor(owned().into(), &limits);
            let _ = read_value(owned().into(), &ValueType::Sequence(ElementType::F32), &limits);
            let optional = ValueType::Optional(Box::new(ValueType::Tensor(ElementType::F32)));
            let _ = read_value(owned().into(), &optional, &limits);
        }
        // The editor of files checks less.
        Err(_) => drop(ModelFile::from_bytes(owned())),
    }
}

fn written_again(bytes: &[u8], model: &Model, limits: &Limits) {
    let file = ModelFile::from_bytes(bytes.to_vec()).expect("what is a model can be edited");
    let written = file.to_bytes().expect("what was read can be written");
    let again = Model::from_bytes_with(written, limits).expect("what was written is a model");
    assert_eq!(model.graph().to_string(), again.graph().to_string());
}
