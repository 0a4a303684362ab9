//! Weights and activations in bytes: QuantizeLinear and DequantizeLinear around what is computed, as engines look for them.

use std::collections::HashMap;

use super::equalize::{Chains, Factors};
use super::places::Places;
use super::ranges::{self, Seen};
use super::{Quantization, QuantizedLayer, Range, Stored, norm, opset, weights};
use crate::compress::CompressError;
use crate::compress::layers::{self, Layer};
use crate::compress::samples::{Sample, Watched};
use crate::onnx::messages::NodeProto;
use crate::onnx::{ModelFile, Part};
use crate::session::Device;
use crate::tensor::Tensor;

/// The largest integer that a bias may become: as much again is left to what is added to it.
const LARGEST_BIAS: f64 = (1u32 << 30) as f64;

/// What samples show of the values that are quantized.
#[derive(Debug)]
struct Calibration {
    seen: HashMap<String, Seen>,
    /// The mean of each channel, of values that layers read: along axis 1, of matrices along the last.
    means: HashMap<String, Vec<f64>>,
}

/// A model that is ready to be quantized: of a new enough operator set, normalizations folded, its values seen.
pub struct Prepared {
    file: ModelFile,
    /// The layers that are to be quantized, and those that are not.
    chosen: Vec<Layer>,
    others: Vec<Layer>,
    places: Places,
    calibration: Calibration,
    /// By what channels were divided to make ranges alike.
    pub factors: Factors,
    /// How many layers were scaled for that.
    pub equalized: usize,
}

impl Prepared {
    /// Runs the samples; `equalize`d or not.
    pub fn new(
        file: &ModelFile,
        how: &Quantization,
        equalize: bool,
        samples: &[Sample],
        device: &Device,
    ) -> Result<Self, CompressError> {
        let mut file = file.clone();
        opset::raise(&mut file, opset::PER_AXIS)?;
        // Names of layers stay; those of weights may not.
        let names: Vec<String> =
            layers::layers(&file).into_iter().filter(|l| how.includes(l)).map(|l| l.name).collect();
        norm::fold(&mut file)?;
        let (chosen, others): (Vec<Layer>, Vec<Layer>) = layers::layers(&file)
            .into_iter()
            .partition(|layer| names.contains(&layer.name) && layer.operator != "ConvTranspose");
        let places = Places::of(&file, &file.model()?, &chosen);
        let (mut factors, mut equalized) = (Factors::new(), 0);
        if equalize {
            let chains = Chains::of(&file, &names);
            let values: Vec<String> = places.values.iter().filter(|name| chains.has(name)).cloned().collect();
            let ranges = channel_ranges(&file, &values, samples, device)?;
            (factors, equalized) = chains.equalize(&mut file, &ranges)?;
        }
        let calibration = calibrate(&file, &places, &chosen, how.range, samples, device)?;
        Ok(Self { file, chosen, others, places, calibration, factors, equalized })
    }

    /// The model with ranges found in this way.
    pub fn quantized(
        &self,
        range: Range,
        how: &Quantization,
    ) -> Result<(ModelFile, Vec<QuantizedLayer>), CompressError> {
        let mut file = self.file.clone();
        let mut scales: HashMap<String, (f32, u8)> = HashMap::new();
        for value in &self.places.values {
            let mut origin = value;
            // What moves numbers and what joins them may follow each other.
            for _ in 0..self.places.alike.len() {
                let Some(other) = self.places.alike.get(origin) else { break };
                origin = other;
            }
            if let Some(seen) = self.calibration.seen.get(origin) {
                scales.insert(value.clone(), ranges::scale(seen.range(range)));
            }
        }
        let floats = self.others.iter().map(|layer| QuantizedLayer::new(layer, Stored::Floats));
        let mut quantized: Vec<QuantizedLayer> = floats.collect();
        for layer in &self.chosen {
            let scale = layer_input(&file, layer).and_then(|x| scales.get(&x)).copied();
            if let Some((scale, _)) = scale {
                weigh(&mut file, layer, scale, how, &self.calibration)?;
            }
            quantized.push(QuantizedLayer::new(layer, if scale.is_some() { Stored::Integers } else { Stored::Floats }));
        }
        around(&mut file, &self.places, &scales)?;
        file.drop_unread();
        Ok((file, quantized))
    }
}

fn node_of<'a>(file: &'a ModelFile, layer: &Layer) -> Option<&'a NodeProto> {
    file.nodes.iter().map(Part::get).find(|node| node.called() == layer.name && node.operator() == layer.operator)
}

fn layer_input(file: &ModelFile, layer: &Layer) -> Option<String> {
    node_of(file, layer)?.given(0).map(str::to_owned)
}

/// Runs the samples, once for ranges and means, and once more where the spread matters.
fn calibrate(
    file: &ModelFile,
    places: &Places,
    layers: &[Layer],
    range: Option<Range>,
    samples: &[Sample],
    device: &Device,
) -> Result<Calibration, CompressError> {
    let mut watched = Watched::new(file, &places.values, samples, device)?;
    let mut seen = vec![Seen::default(); places.values.len()];
    let axes: HashMap<String, bool> =
        layers.iter().filter_map(|layer| Some((layer_input(file, layer)?, layer.operator == "Conv"))).collect();
    let mut means: HashMap<String, (Vec<f64>, f64)> = HashMap::new();
    for sample in samples {
        for ((name, seen), tensor) in places.values.iter().zip(&mut seen).zip(watched.run(sample)?) {
            seen.widen(tensor.as_slice::<f32>()?);
            if let Some(&planes) = axes.get(name) {
                add_means(means.entry(name.clone()).or_default(), tensor, planes)?;
            }
        }
    }
    if range != Some(Range::MinMax) {
        for sample in samples {
            for (seen, tensor) in seen.iter_mut().zip(watched.run(sample)?) {
                seen.count(tensor.as_slice::<f32>()?);
            }
        }
    }
    let mean = |(name, (sums, count)): (String, (Vec<f64>, f64))| (name, sums.iter().map(|s| s / count).collect());
    Ok(Calibration {
        seen: places.values.iter().cloned().zip(seen).collect(),
        means: means.into_iter().map(mean).collect(),
    })
}

/// The largest magnitude of each channel of values, along their second axis.
fn channel_ranges(
    file: &ModelFile,
    values: &[String],
    samples: &[Sample],
    device: &Device,
) -> Result<HashMap<String, Vec<f32>>, CompressError> {
    let mut ranges: HashMap<String, Vec<f32>> = HashMap::new();
    if values.is_empty() {
        return Ok(ranges);
    }
    let mut watched = Watched::new(file, values, samples, device)?;
    for sample in samples {
        for (name, tensor) in values.iter().zip(watched.run(sample)?) {
            let channels = tensor.shape().get(1).copied().unwrap_or(1);
            let inner: usize = tensor.shape().iter().skip(2).product();
            let ranges = ranges.entry(name.clone()).or_default();
            ranges.resize(channels, 0.0);
            for (i, value) in tensor.as_slice::<f32>()?.iter().enumerate().filter(|(_, value)| value.is_finite()) {
                if let Some(range) = ranges.get_mut(i / inner.max(1) % channels.max(1)) {
                    *range = range.max(value.abs());
                }
            }
        }
    }
    Ok(ranges)
}

/// Adds up each channel of a value.
fn add_means((sums, count): &mut (Vec<f64>, f64), tensor: &Tensor, planes: bool) -> Result<(), CompressError> {
    let axis = if planes { 1 } else { tensor.rank().saturating_sub(1) };
    let channels = tensor.shape().get(axis).copied().unwrap_or(1);
    let inner: usize = tensor.shape().iter().skip(axis + 1).product();
    sums.resize(channels, 0.0);
    for (i, &value) in tensor.as_slice::<f32>()?.iter().enumerate() {
        if let Some(sum) = sums.get_mut(i / inner.max(1) % channels.max(1)) {
            *sum += f64::from(value);
        }
    }
    *count += tensor.len() as f64 / channels.max(1) as f64;
    Ok(())
}

/// A layer's weights as bytes, and its bias as integers of 32 bits on the grid of their products.
fn weigh(
    file: &mut ModelFile,
    layer: &Layer,
    scale: f32,
    how: &Quantization,
    calibration: &Calibration,
) -> Result<(), CompressError> {
    // Another layer may have had the same weights: they are bytes by now, and its bias stays as it is.
    let Some(floats) = file.constant(&layer.weights) else { return Ok(()) };
    let Some(node) = node_of(file, layer).cloned() else { return Ok(()) };
    let bias = bias(file, layer, &node);
    // A channel whose weights are next to nothing beside its bias needs a grid that the bias has a place on.
    let least = |bias: &f64| (bias.abs() / (f64::from(scale) * LARGEST_BIAS)) as f32;
    let least: Vec<f32> = bias.iter().flatten().map(least).collect();
    let bytes = weights::dequantized(file, layer, how.weight_bits, &least)?;
    let Some(bias) = bias else { return Ok(()) };
    let rounded = bytes.floats(floats.shape(), layer.outputs);
    let errors = match node.given(0).and_then(|x| calibration.means.get(x)).filter(|_| how.correct_bias) {
        Some(means) => mean_errors(&floats, &rounded, layer, means, &node)?,
        None => vec![0.0; bias.len()],
    };
    if node.given(2).is_none() && errors.iter().all(|&error| error == 0.0) {
        return Ok(());
    }
    let products: Vec<f32> = bytes.scales.iter().map(|w| w * scale).collect();
    let integer = |((b, e), s): ((&f64, &f64), &f32)| {
        ((b - e) / f64::from(*s)).round_ties_even().clamp(f64::from(i32::MIN), f64::from(i32::MAX)) as i32
    };
    let integers = bias.iter().zip(&errors).zip(&products).map(integer).collect();
    let count = bias.len();
    let y = node.result();
    let name = file.fresh(&format!("{y}_bias"));
    let [q, s, z] = ["quantized", "scale", "zero"].map(|what| file.fresh(&format!("{name}_{what}")));
    file.set_constant(&q, &Tensor::vector::<i32>(integers))?;
    file.set_constant(&s, &Tensor::vector(products))?;
    file.set_constant(&z, &Tensor::vector(vec![0i32; count]))?;
    let dequantize = NodeProto::new("DequantizeLinear", format!("{name}_dequantize"), &[&q, &s, &z], &[&name]);
    file.nodes.insert(0, Part::new(dequantize.with_int("axis", 0)));
    if let Some(part) = file.nodes.iter_mut().find(|part| part.get().result() == y) {
        let node = part.edit();
        node.input.resize(3, String::new());
        if let Some(input) = node.input.get_mut(2) {
            *input = name;
        }
    }
    Ok(())
}

/// The bias of a layer, a number for each output, if it can be one of integers: a vector of constants, or none yet.
fn bias(file: &ModelFile, layer: &Layer, node: &NodeProto) -> Option<Vec<f64>> {
    // A product's bias is an addition behind it; what a Gemm multiplies its bias with is left alone.
    let plain = |factor| node.float(factor).unwrap_or(1.0) == 1.0;
    if layer.operator == "MatMul" || !plain("alpha") || !plain("beta") {
        return None;
    }
    let count = layer.shape.get(layer.outputs).copied()?;
    match node.given(2) {
        None => Some(vec![0.0; count]),
        Some(name) => Some(file.constant(name).filter(|bias| bias.shape() == [count])?.to_f64()),
    }
}

/// What the mean of each output gains by the rounding of the weights: the sum over the inputs' means. (What padding adds at
/// the edges of pictures is taken for as large as the rest.)
fn mean_errors(
    floats: &Tensor,
    rounded: &[f32],
    layer: &Layer,
    means: &[f64],
    node: &NodeProto,
) -> Result<Vec<f64>, CompressError> {
    let shape = floats.shape();
    let dim = |axis: usize| shape.get(axis).copied().unwrap_or(1);
    let inner = |axis: usize| shape.iter().skip(axis + 1).product::<usize>().max(1);
    let (outputs, each) = (dim(layer.outputs), dim(layer.inputs));
    let groups = usize::try_from(node.int("group").unwrap_or(1)).unwrap_or(1).max(1);
    let mut errors = vec![0.0; outputs];
    for (i, (&w, &q)) in floats.as_slice::<f32>()?.iter().zip(rounded).enumerate() {
        let (o, c) = (i / inner(layer.outputs) % outputs, i / inner(layer.inputs) % each);
        let channel = o / (outputs / groups).max(1) * each + c;
        if let (Some(error), Some(mean)) = (errors.get_mut(o), means.get(channel)) {
            *error += (f64::from(q) - f64::from(w)) * mean;
        }
    }
    Ok(errors)
}

/// Puts the two nodes behind each value, and lets all readers read what comes out.
fn around(file: &mut ModelFile, places: &Places, scales: &HashMap<String, (f32, u8)>) -> Result<(), CompressError> {
    let mut renamed: HashMap<&str, String> = HashMap::new();
    let mut behind: HashMap<&str, [NodeProto; 2]> = HashMap::new();
    for value in &places.values {
        let Some(&(scale, zero)) = scales.get(value) else { continue };
        let name = |what: &str| file.fresh(&format!("{value}_{what}"));
        let (q, d, s, z) = (name("q"), name("dq"), name("q_scale"), name("q_zero"));
        file.set_constant(&s, &Tensor::scalar(scale))?;
        file.set_constant(&z, &Tensor::scalar(zero))?;
        behind.insert(
            value,
            [
                NodeProto::new("QuantizeLinear", format!("{value}_quantize"), &[value, &s, &z], &[&q]),
                NodeProto::new("DequantizeLinear", format!("{value}_dequantize"), &[&q, &s, &z], &[&d]),
            ],
        );
        renamed.insert(value, d);
    }
    let mut nodes = vec![];
    // Inputs come first, since no node computes them.
    let computed: Vec<String> = file.nodes.iter().flat_map(|part| part.get().output.clone()).collect();
    for value in places.values.iter().filter(|value| !computed.contains(value)) {
        nodes.extend(behind.remove(value.as_str()).into_iter().flatten().map(Part::new));
    }
    for mut part in std::mem::take(&mut file.nodes) {
        if part.get().input.iter().any(|name| renamed.contains_key(name.as_str())) {
            for input in &mut part.edit().input {
                if let Some(d) = renamed.get(input.as_str()) {
                    input.clone_from(d);
                }
            }
        }
        let outputs = part.get().output.clone();
        nodes.push(part);
        for output in outputs {
            nodes.extend(behind.remove(output.as_str()).into_iter().flatten().map(Part::new));
        }
    }
    file.nodes = nodes;
    Ok(())
}
