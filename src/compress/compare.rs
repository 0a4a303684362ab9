//! How far a compressed model strays from what it was made of.

use std::collections::{HashMap, HashSet};

use super::samples::{Sample, Watched, check_samples};
use super::{CompressError, layers};
use crate::onnx::ModelFile;
use crate::session::Device;
use crate::tensor::Tensor;

/// How a value changed, over all samples.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Change {
    /// The value's name.
    pub value: String,
    /// The layer that computes it; none for an output of the model.
    pub layer: Option<String>,
    /// The root of the mean square of the differences, relative to that of the value before.
    pub relative: f64,
    /// The largest difference of an element.
    pub largest: f64,
    /// The cosine of the angle between before and after.
    pub cosine: f64,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Changes {
    /// How many samples were run.
    pub samples: usize,
    /// The model's outputs, in its order.
    pub outputs: Vec<Change>,
    /// The layers' results that both models have in the same shape, those that changed most first.
    pub layers: Vec<Change>,
    /// Of how many samples the largest element of the first output stayed in its place.
    pub agree: usize,
    /// How many samples had a label, and of how many of these it was the largest element's place, before and after.
    pub labelled: usize,
    /// Right answers before and after.
    pub right: [usize; 2],
}

impl Changes {
    /// The part of the labelled samples that was answered right, before and after; `None` where none has a label.
    pub fn accuracy(&self) -> Option<[f64; 2]> {
        let part = |right: usize| right as f64 / self.labelled as f64;
        (self.labelled > 0).then(|| self.right.map(part))
    }

    /// The part of all samples whose answer stayed the same.
    pub fn agreement(&self) -> f64 {
        self.agree as f64 / self.samples.max(1) as f64
    }
}

/// Sums of a value's elements and differences.
#[derive(Debug, Default, Clone)]
struct Sums {
    before: f64,
    after: f64,
    product: f64,
    difference: f64,
    largest: f64,
    /// Whether the two cannot be compared.
    other: bool,
}

impl Sums {
    /// Adds what a value was and is, its channels along the second axis divided by these factors.
    fn add(&mut self, before: &Tensor, after: &Tensor, factors: Option<&Vec<f32>>) {
        if before.shape() != after.shape() {
            self.other = true;
            return;
        }
        let inner: usize = after.shape().iter().skip(2).product();
        let factor = |i: usize| match factors {
            Some(factors) => factors.get(i / inner.max(1) % factors.len().max(1)).map_or(1.0, |&f| f64::from(f)),
            None => 1.0,
        };
        for (i, (a, b)) in before.to_f64().into_iter().zip(after.to_f64()).enumerate() {
            let b = b * factor(i);
            self.before += a * a;
            self.after += b * b;
            self.product += a * b;
            self.difference += (a - b) * (a - b);
            self.largest = self.largest.max((a - b).abs());
        }
    }

    fn change(&self, value: &str, layer: Option<&str>) -> Change {
        let ratio = |a: f64, b: f64| if a == 0.0 { 0.0 } else { a / b };
        let both = (self.before * self.after).sqrt();
        Change {
            value: value.to_owned(),
            layer: layer.map(str::to_owned),
            relative: ratio(self.difference, self.before).sqrt(),
            largest: self.largest,
            cosine: if both > 0.0 { self.product / both } else { f64::from(u8::from(self.difference == 0.0)) },
        }
    }
}

/// Runs two models on the same samples, and compares the outputs and what the layers give. `factors` are what channels of
/// values were divided by ([`Quantized::factors`](super::Quantized::factors)); `done` is told how many samples were run.
///
/// # Errors
/// If a sample does not fit, or a run fails.
pub fn compare(
    before: &ModelFile,
    after: &ModelFile,
    factors: &HashMap<String, Vec<f32>>,
    samples: &[Sample],
    device: &Device,
    mut done: impl FnMut(usize),
) -> Result<Changes, CompressError> {
    check_samples(&before.model()?, samples)?;
    let outputs: Vec<String> = before.outputs.iter().filter_map(|part| part.get().name.clone()).collect();
    let layers = layer_values(before, after);
    let names: Vec<String> = outputs.iter().cloned().chain(layers.iter().map(|(_, value)| value.clone())).collect();
    let mut runs = [Watched::new(before, &names, samples, device)?, Watched::new(after, &names, samples, device)?];
    let mut sums = vec![Sums::default(); names.len()];
    let (mut agree, mut labelled, mut right) = (0, 0, [0; 2]);
    for (i, sample) in samples.iter().enumerate() {
        let [before, after] = &mut runs;
        let (before, after) = (before.run(sample)?, after.run(sample)?);
        for (((sums, name), before), after) in sums.iter_mut().zip(&names).zip(&before).zip(&after) {
            sums.add(before, after, factors.get(name));
        }
        let [a, b] = [before.first(), after.first()].map(|tensor| tensor.and_then(|tensor| largest(tensor)));
        agree += usize::from(a == b);
        if let Some(label) = sample.label {
            labelled += 1;
            right = [right[0] + usize::from(a == Some(label)), right[1] + usize::from(b == Some(label))];
        }
        done(i + 1);
    }
    let (of_outputs, of_layers) = sums.split_at(outputs.len());
    let mut layers: Vec<Change> = layers
        .iter()
        .zip(of_layers)
        .filter(|(_, sums)| !sums.other)
        .map(|((layer, value), sums)| sums.change(value, Some(layer)))
        .collect();
    layers.sort_by(|a, b| b.relative.total_cmp(&a.relative));
    let outputs = outputs.iter().zip(of_outputs).map(|(value, sums)| sums.change(value, None)).collect();
    Ok(Changes { samples: samples.len(), outputs, layers, agree, labelled, right })
}

/// The place of the largest element, from the first that is as large.
pub(super) fn largest(tensor: &Tensor) -> Option<usize> {
    let values = tensor.to_f64();
    let best = values.iter().enumerate().fold(None, |best: Option<(usize, f64)>, (i, &v)| match best {
        Some((_, b)) if b >= v || v.is_nan() => best,
        _ => Some((i, v)),
    });
    best.map(|(place, _)| place)
}

/// For each layer the value that shows what it computes, in both models: its output, or that of the batch normalization
/// behind it, which may have been folded into it.
fn layer_values(before: &ModelFile, after: &ModelFile) -> Vec<(String, String)> {
    let computed: HashSet<&str> = after.nodes.iter().flat_map(|p| &p.get().output).map(String::as_str).collect();
    let norms: HashMap<&str, &str> = before
        .nodes
        .iter()
        .map(|part| part.get())
        .filter(|node| node.is("BatchNormalization"))
        .filter_map(|node| Some((node.given(0)?, node.result())))
        .collect();
    let mut values = vec![];
    for layer in layers(before) {
        let Some(node) = before.nodes.get(layer.node).map(|part| part.get()) else { continue };
        let result = node.result();
        let shown = norms.get(result).copied().into_iter().chain([result]).find(|name| computed.contains(name));
        if let Some(value) = shown {
            values.push((layer.name, value.to_owned()));
        }
    }
    values
}
