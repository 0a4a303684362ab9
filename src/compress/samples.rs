//! Samples of what a model will be given: to calibrate with, to compare on, to evaluate.

use std::collections::HashSet;

use super::CompressError;
use crate::graph::Fact;
use crate::model::Model;
use crate::onnx::messages::ValueInfoProto;
use crate::onnx::{ModelFile, Part};
use crate::session::{Device, InputId, Options, OutputId, Session};
use crate::tensor::Tensor;

/// What one run is given, and what should come out of it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// A tensor for each input of the model.
    pub inputs: Vec<(String, Tensor)>,
    /// The class that it belongs to, where that is known.
    pub label: Option<usize>,
}

impl Sample {
    /// A sample of which nothing is known.
    pub const fn new(inputs: Vec<(String, Tensor)>) -> Self {
        Self { inputs, label: None }
    }

    /// One that belongs to this class.
    #[must_use]
    pub const fn labelled(mut self, label: usize) -> Self {
        self.label = Some(label);
        self
    }

    fn input(&self, name: &str) -> Option<&Tensor> {
        self.inputs.iter().find(|(own, _)| own == name).map(|(_, tensor)| tensor)
    }
}

/// Whether a model can be run on samples, and that there are any.
///
/// # Errors
/// [`CompressError::Samples`], with the first that does not fit.
pub fn check_samples(model: &Model, samples: &[Sample]) -> Result<(), CompressError> {
    if samples.is_empty() {
        return Err(CompressError::Samples("there is no sample: the set is empty".to_owned()));
    }
    for (i, sample) in samples.iter().enumerate() {
        for port in model.inputs() {
            let wrong = |message: String| CompressError::Samples(format!("sample {}: {message}", i + 1));
            let tensor =
                sample.input(port.name).ok_or_else(|| wrong(format!("there is nothing for input '{}'", port.name)))?;
            if tensor.is_empty() {
                return Err(wrong(format!("input '{}' is given nothing: {:?}", port.name, tensor.shape())));
            }
            if let Some(fact) = port.fact
                && !fits(fact, tensor)
            {
                let (kind, shape) = (tensor.element_type(), tensor.shape());
                return Err(wrong(format!("input '{}' is {fact}, but {kind}{shape:?} was given", port.name)));
            }
        }
    }
    Ok(())
}

fn fits(fact: &Fact, tensor: &Tensor) -> bool {
    let dims = fact.shape.iter().zip(tensor.shape());
    fact.element_type == tensor.element_type()
        && fact.shape.len() == tensor.rank()
        && dims.into_iter().all(|(dim, &size)| dim.size().is_none_or(|dim| dim == size))
}

/// A model that runs on samples, with values on the way to be looked at.
pub(super) struct Watched {
    session: Session,
    inputs: Vec<(String, InputId)>,
    outputs: Vec<OutputId>,
}

impl Watched {
    /// A model of which these values are looked at, outputs or not. The samples have been checked.
    pub fn new(file: &ModelFile, names: &[String], samples: &[Sample], device: &Device) -> Result<Self, CompressError> {
        let mut file = file.clone();
        let known: HashSet<String> = file.outputs.iter().filter_map(|part| part.get().name.clone()).collect();
        for name in names.iter().filter(|name| !known.contains(*name)) {
            file.outputs.push(Part::new(ValueInfoProto { name: Some(name.clone()), r#type: None }));
        }
        let model = file.model()?;
        let mut options = Options::new();
        for (name, tensor) in samples.first().iter().flat_map(|sample| &sample.inputs) {
            options = options.shape(name, tensor.shape());
        }
        let session = model.session_with(device, &options)?;
        let input = |name: &str| Ok((name.to_owned(), session.input(name)?));
        let inputs = model.inputs().map(|port| input(port.name)).collect::<Result<_, crate::RunError>>()?;
        let outputs = names.iter().map(|name| session.output(name)).collect::<Result<_, _>>()?;
        Ok(Self { session, inputs, outputs })
    }

    /// The values that a sample gives, in the order of the names.
    pub fn run(&mut self, sample: &Sample) -> Result<Vec<&Tensor>, CompressError> {
        for (name, id) in &self.inputs {
            if let Some(tensor) = sample.input(name) {
                self.session.set(*id, tensor.view())?;
            }
        }
        self.session.run()?;
        Ok(self.outputs.iter().map(|&id| self.session.get(id)).collect::<Result<_, _>>()?)
    }
}
