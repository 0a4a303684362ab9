//! A model: what its file says.

use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;

use crate::details::Details;
use crate::failure::{Failure, guard};
use crate::pointers::{bytes, given, text};
use crate::status::Status;

/// A model as its file has it, read and checked. It holds the weights; once a session is made it can be freed, and a GPU has
/// them alone.
#[derive(Debug)]
pub struct Model {
    pub(crate) model: rimlight::Model,
    inputs: Vec<Details>,
    outputs: Vec<Details>,
}

impl Model {
    pub(crate) fn of(model: rimlight::Model) -> Self {
        let inputs = model.inputs().map(|port| Details::of_port(&port)).collect();
        let outputs = model.outputs().map(|port| Details::of_port(&port)).collect();
        Self { model, inputs, outputs }
    }
}

/// What stands at an index; `kind` is `input` or `output`.
pub(crate) fn at<'a, T>(all: &'a [T], index: usize, kind: &str) -> Result<&'a T, Failure> {
    all.get(index).ok_or_else(|| none_at(all.len(), index, kind))
}

/// Nothing stands at an index.
pub(crate) fn none_at(count: usize, index: usize, kind: &str) -> Failure {
    let plural = if count == 1 { "" } else { "s" };
    Failure::new(Status::NotFound, format!("the model has {count} {kind}{plural}, counted from 0: none at {index}"))
}

/// The index of a name; `kind` is `input` or `output`.
fn index_of(all: &[Details], name: &str, kind: &'static str) -> Result<usize, Failure> {
    all.iter().position(|details| details.is_called(name)).ok_or_else(|| {
        let known: Vec<String> = all.iter().map(Details::text).collect();
        let message = format!("the model has no {kind} '{name}'; it has {}", known.join(", "));
        Failure::new(Status::NotFound, message)
    })
}

/// Reads a model from an ONNX file. Free it with rimlight_model_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rimlight_model_open(
    path: *const c_char,
    model: Option<&mut MaybeUninit<*mut Model>>,
) -> Status {
    guard(|| {
        let model = given(model, "model")?;
        // SAFETY: the header asks for a text that lives as long as the call.
        let path = unsafe { text(path, "path") }?;
        model.write(Box::into_raw(Box::new(Model::of(rimlight::Model::open(path)?))));
        Ok(())
    })
}

/// Reads a model from the bytes of an ONNX file, which are copied. Free it with rimlight_model_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rimlight_model_from_bytes(
    data: *const c_void,
    length: usize,
    model: Option<&mut MaybeUninit<*mut Model>>,
) -> Status {
    guard(|| {
        let model = given(model, "model")?;
        given((!data.is_null()).then_some(()), "data")?;
        // SAFETY: the header asks for `length` bytes that nobody changes during the call.
        let read = unsafe { bytes(data, length, "data") }?.to_vec();
        model.write(Box::into_raw(Box::new(Model::of(rimlight::Model::from_bytes(read)?))));
        Ok(())
    })
}

/// Frees a model. Its sessions live on. NULL is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_model_free(model: Option<Box<Model>>) {
    guard(|| {
        drop(model);
        Ok(())
    });
}

/// How many inputs the model has.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_model_input_count(model: Option<&Model>, count: Option<&mut MaybeUninit<usize>>) -> Status {
    guard(|| {
        let model = given(model, "model")?;
        given(count, "count")?.write(model.inputs.len());
        Ok(())
    })
}

/// How many outputs the model has.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_model_output_count(model: Option<&Model>, count: Option<&mut MaybeUninit<usize>>) -> Status {
    guard(|| {
        let model = given(model, "model")?;
        given(count, "count")?.write(model.outputs.len());
        Ok(())
    })
}

/// What the file says of an input. The details live as long as the model.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_model_input(
    model: Option<&Model>,
    index: usize,
    details: Option<&mut MaybeUninit<*const Details>>,
) -> Status {
    guard(|| {
        let found = at(&given(model, "model")?.inputs, index, "input")?;
        given(details, "details")?.write(found);
        Ok(())
    })
}

/// What the file says of an output; its shape may show in a run alone. The details live as long as the model.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_model_output(
    model: Option<&Model>,
    index: usize,
    details: Option<&mut MaybeUninit<*const Details>>,
) -> Status {
    guard(|| {
        let found = at(&given(model, "model")?.outputs, index, "output")?;
        given(details, "details")?.write(found);
        Ok(())
    })
}

/// The index of the input of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rimlight_model_input_index(
    model: Option<&Model>,
    name: *const c_char,
    index: Option<&mut MaybeUninit<usize>>,
) -> Status {
    guard(|| {
        let model = given(model, "model")?;
        // SAFETY: the header asks for a text that lives as long as the call.
        let found = index_of(&model.inputs, unsafe { text(name, "name") }?, "input")?;
        given(index, "index")?.write(found);
        Ok(())
    })
}

/// The index of the output of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rimlight_model_output_index(
    model: Option<&Model>,
    name: *const c_char,
    index: Option<&mut MaybeUninit<usize>>,
) -> Status {
    guard(|| {
        let model = given(model, "model")?;
        // SAFETY: the header asks for a text that lives as long as the call.
        let found = index_of(&model.outputs, unsafe { text(name, "name") }?, "output")?;
        given(index, "index")?.write(found);
        Ok(())
    })
}
