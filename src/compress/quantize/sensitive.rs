//! Layers that lose too much in fewer bits, and are kept in more.

use super::equalize::Factors;
use super::qdq::Prepared;
use super::{Quantization, QuantizedLayer, Range, Stored, blocks};
use crate::compress::CompressError;
use crate::compress::compare::largest;
use crate::compress::layers::{self, Layer};
use crate::compress::samples::{Sample, Watched};
use crate::onnx::ModelFile;
use crate::session::Device;
use crate::tensor::Tensor;

/// So many samples tell how sensitive each layer is.
const PROBES: usize = 8;

/// What a model answers to samples.
struct Answers(Vec<Vec<Tensor>>);

impl Answers {
    fn of(file: &ModelFile, samples: &[Sample], device: &Device) -> Result<Self, CompressError> {
        let outputs: Vec<String> = file.outputs.iter().filter_map(|part| part.get().name.clone()).collect();
        let mut watched = Watched::new(file, &outputs, samples, device)?;
        let answer = |sample| Ok(watched.run(sample)?.into_iter().cloned().collect());
        Ok(Self(samples.iter().map(answer).collect::<Result<_, CompressError>>()?))
    }

    /// How many samples with a label are answered right, and how many have one.
    fn right(&self, samples: &[Sample]) -> [usize; 2] {
        let answer = |tensors: &Vec<Tensor>| tensors.first().and_then(largest);
        let labelled = self.0.iter().zip(samples).filter(|(_, sample)| sample.label.is_some());
        labelled.fold([0, 0], |[right, all], (tensors, sample)| {
            [right + usize::from(answer(tensors) == sample.label), all + 1]
        })
    }

    /// The root of the mean square of the differences relative to what there was, of the output that changed most.
    fn strays(&self, from: &Self) -> f64 {
        let outputs = self.0.first().map_or(0, Vec::len);
        let of_output = |output: usize| {
            let (mut differences, mut squares) = (0.0, 0.0);
            for (now, before) in self.0.iter().zip(&from.0) {
                let (Some(now), Some(before)) = (now.get(output), before.get(output)) else { continue };
                for (a, b) in now.to_f64().into_iter().zip(before.to_f64()) {
                    differences += (a - b) * (a - b);
                    squares += b * b;
                }
            }
            if squares > 0.0 { (differences / squares).sqrt() } else { 0.0 }
        };
        (0..outputs).map(of_output).fold(0.0, f64::max)
    }
}

/// What is lost between two models: the part of right answers where samples have labels, else how far the outputs stray.
fn loss(before: &Answers, after: &Answers, samples: &[Sample]) -> f64 {
    match (before.right(samples), after.right(samples)) {
        ([_, 0], _) => after.strays(before),
        ([before, all], [after, _]) => (before as f64 - after as f64) / all as f64,
    }
}

/// A model that was quantized in one way of several.
pub struct Chosen {
    pub file: ModelFile,
    pub layers: Vec<QuantizedLayer>,
    /// How many layers were equalized, and by what channels were divided.
    pub equalized: usize,
    pub factors: Factors,
    /// How ranges were found.
    pub range: Range,
    /// What was lost on the samples.
    pub loss: f64,
    /// How far the outputs strayed.
    strays: f64,
}

/// Quantizes all layers, in the way by which the outputs stray least where that is left open, or as many as the loss allows:
/// those that change the outputs most when they alone are quantized stay as they are.
pub fn quantize(
    file: &ModelFile,
    how: &Quantization,
    samples: &[Sample],
    device: &Device,
) -> Result<Chosen, CompressError> {
    let before = Answers::of(file, samples, device)?;
    let attempt = |names: &[String], equalize: bool, range: Option<Range>| -> Result<Option<Chosen>, CompressError> {
        let how = Quantization { layers: names.to_vec(), range, ..how.clone() };
        let prepared = Prepared::new(file, &how, equalize, samples, device)?;
        let mut best: Option<Chosen> = None;
        for range in range.map_or(Range::ALL.to_vec(), |range| vec![range]) {
            let (file, layers) = prepared.quantized(range, &how)?;
            let answers = Answers::of(&file, samples, device)?;
            let (loss, strays) = (loss(&before, &answers, samples), answers.strays(&before));
            if best.as_ref().is_none_or(|best| strays < best.strays) {
                let (equalized, factors) = (prepared.equalized, prepared.factors.clone());
                best = Some(Chosen { file, layers, equalized, factors, range, loss, strays });
            }
        }
        Ok(best)
    };
    let nothing = || CompressError::Nothing("there is no way to find ranges".to_owned());
    let mut names: Vec<String> =
        layers::layers(file).into_iter().filter(|layer| how.includes(layer)).map(|layer| layer.name).collect();
    let mut best = attempt(&names, false, how.range)?.ok_or_else(nothing)?;
    if how.equalize
        && let Some(other) = attempt(&names, true, how.range)?
        && other.equalized > 0
        && other.strays < best.strays
    {
        best = other;
    }
    let Some(most) = how.max_loss.filter(|&most| best.loss > most) else { return Ok(best) };
    let how = Quantization { equalize: best.equalized > 0, range: Some(best.range), ..how.clone() };
    names = by_sensitivity(file, &how, names, samples, device)?;
    let found = fewest(names.len(), |kept| {
        let tried = attempt(names.get(kept..).unwrap_or_default(), how.equalize, how.range)?;
        Ok(tried.filter(|tried| tried.loss <= most))
    })?;
    found.ok_or_else(|| too_much(most, best.loss, "quantize the weights alone"))
}

/// What comes of the fewest layers that have to stay, as far as a search by halves finds them: some, and not all. Of fewer than have
/// to, nothing comes.
fn fewest<T>(
    all: usize,
    mut attempt: impl FnMut(usize) -> Result<Option<T>, CompressError>,
) -> Result<Option<T>, CompressError> {
    let (mut low, mut high) = (1, all);
    let mut found = None;
    while low < high {
        let kept = low.midpoint(high);
        match attempt(kept)? {
            None => low = kept + 1,
            tried => {
                found = tried;
                high = kept;
            }
        }
    }
    Ok(found)
}

fn too_much(most: f64, loss: f64, instead: &str) -> CompressError {
    CompressError::Nothing(format!(
        "no choice of layers keeps the loss within {most}: with all of them quantized it is {loss:.4}; allow more, or {instead}"
    ))
}

/// Weights of four bits, in all layers or as many as the loss allows. Products stay in bytes that change the outputs most, for the
/// memory that they save, when they alone are rounded.
pub fn nibbles(
    file: &ModelFile,
    how: &Quantization,
    layers: &[Layer],
    samples: &[Sample],
    device: &Device,
) -> Result<(ModelFile, Vec<QuantizedLayer>, Option<f64>), CompressError> {
    let quantized = |how: &Quantization, samples: &[Sample], kept: &[String]| {
        let mut copy = file.clone();
        let layers = blocks::quantize(&mut copy, how, layers, kept, samples, device)?;
        Ok::<_, CompressError>((copy, layers))
    };
    let Some(most) = how.max_loss else {
        let (file, layers) = quantized(how, samples, &[])?;
        return Ok((file, layers, None));
    };
    let before = Answers::of(file, samples, device)?;
    let attempt = |kept: &[String]| {
        let (file, layers) = quantized(how, samples, kept)?;
        let loss = loss(&before, &Answers::of(&file, samples, device)?, samples);
        Ok::<_, CompressError>((file, layers, Some(loss)))
    };
    let all = attempt(&[])?;
    let lost = all.2.unwrap_or_default();
    if lost <= most {
        return Ok(all);
    }
    let probes = samples.get(..PROBES).unwrap_or(samples);
    let before = Answers::of(file, probes, device)?;
    let mut ranked = vec![];
    for (name, count) in blocks::products(file, how) {
        let alone = Quantization { layers: vec![name.clone()], ..how.clone() };
        let mut copy = file.clone();
        blocks::quantize(&mut copy, &alone, &[], &[], &[], device)?;
        ranked.push((Answers::of(&copy, probes, device)?.strays(&before).powi(2) / count as f64, name));
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let names: Vec<String> = ranked.into_iter().map(|(_, name)| name).collect();
    let found = fewest(names.len(), |kept| {
        let tried = attempt(names.get(..kept).unwrap_or_default())?;
        Ok(Some(tried).filter(|(.., loss)| loss.is_some_and(|loss| loss <= most)))
    })?;
    found.ok_or_else(|| too_much(most, lost, "take int8-weights"))
}

/// The layers, those first that change the outputs most when they alone are quantized.
fn by_sensitivity(
    file: &ModelFile,
    how: &Quantization,
    names: Vec<String>,
    samples: &[Sample],
    device: &Device,
) -> Result<Vec<String>, CompressError> {
    let probes = samples.get(..PROBES).unwrap_or(samples);
    let before = Answers::of(file, probes, device)?;
    let mut ranked = vec![];
    for name in names {
        let alone = Quantization { layers: vec![name.clone()], ..how.clone() };
        let prepared = Prepared::new(file, &alone, false, probes, device)?;
        let (copy, quantized) = prepared.quantized(how.range.unwrap_or_default(), how)?;
        // One that stays as it is changes nothing.
        let integers = quantized.iter().any(|layer| layer.stored == Stored::Integers);
        let change = if integers { Answers::of(&copy, probes, device)?.strays(&before) } else { 0.0 };
        ranked.push((change, name));
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(ranked.into_iter().map(|(_, name)| name).collect())
}
