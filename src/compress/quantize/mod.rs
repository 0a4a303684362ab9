//! Numbers in fewer bits.

mod blocks;
mod compensation;
mod dynamic;
mod equalize;
mod grid;
mod moments;
mod norm;
mod opset;
mod places;
mod qdq;
mod ranges;
mod rounding;
mod sensitive;
mod walk;
mod weights;

pub(super) use opset::raise_to;

use std::collections::HashMap;

use super::layers::{self, Layer};
use super::{CompressError, Sample, check_samples};
use crate::onnx::messages::NodeProto;
use crate::onnx::{ModelFile, Part};
use crate::session::Device;

/// What is stored and computed with fewer bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheme {
    /// All constants in 16-bit floats, computed with in 32: half the size, next to nothing lost.
    F16,
    /// Weights in bytes with a scale for each output channel, those of recurrent layers and tables of embeddings too, computed
    /// with in 32 bits: a quarter of the size.
    Int8Weights,
    /// Matrices and tables of embeddings in four bits with a scale for each block (`MatMulNBits`, `GatherBlockQuantized`
    /// of `com.microsoft`), other weights as with [`Scheme::Int8Weights`].
    Int4Weights,
    /// Weights in bytes, and activations quantized in each run by their own range: products of integers, no samples needed.
    Dynamic,
    /// Weights and activations in bytes, the ranges of activations being those that samples showed (`QuantizeLinear` and
    /// `DequantizeLinear` around what is computed).
    Int8,
}

/// How the range of an activation follows from what samples showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Range {
    /// From the least to the largest.
    MinMax,
    /// Without a ten-thousandth of the elements, half of it on each side.
    Percentile,
    /// Such that a distribution told in 256 steps says the most of what it was.
    Entropy,
    /// Such that the squares of the errors add up to least.
    #[default]
    MeanSquare,
}

impl Range {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::MinMax, Self::Percentile, Self::MeanSquare, Self::Entropy];

    /// A word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MinMax => "min-max",
            Self::Percentile => "percentile",
            Self::Entropy => "entropy",
            Self::MeanSquare => "mse",
        }
    }
}

/// How a model is quantized.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Quantization {
    /// What is stored and computed with fewer bits.
    pub scheme: Scheme,
    /// The layers, by their names or those of their weights; all where it is empty.
    pub layers: Vec<String>,
    /// The numbers that share a scale, for [`Scheme::Int4Weights`]: 16, 32, 64, 128 or 256.
    pub block: usize,
    /// The bits of a byte that weights take, 7 or 8, for [`Scheme::Int8`] and [`Scheme::Dynamic`]. Processors of x86 without
    /// VNNI add two products of bytes in 16 bits, and engines that let them overflow need weights of 7.
    pub weight_bits: u32,
    /// How ranges are found, for [`Scheme::Int8`]; where it is left open, in the way by which the outputs change least on the
    /// samples.
    pub range: Option<Range>,
    /// Whether biases make up for what rounding weights does to the means, for [`Scheme::Int8`].
    pub correct_bias: bool,
    /// Whether channels of a value may be brought to ranges alike, for [`Scheme::Int8`]: they are where the outputs change less
    /// on the samples then.
    pub equalize: bool,
    /// The most that may be lost on the samples, for [`Scheme::Int8`] and [`Scheme::Int4Weights`]: of right answers where samples
    /// have labels (0.01 for one of a hundred), else how far the outputs may stray, relative to their root mean square. Layers
    /// are kept in floats, products in bytes instead of four bits, until it holds, those that matter most first.
    pub max_loss: Option<f64>,
}

impl Quantization {
    /// All layers, with blocks of 32, biases corrected, ranges of the least error, and equalized where that helps.
    pub const fn new(scheme: Scheme) -> Self {
        Self {
            scheme,
            layers: vec![],
            block: 32,
            weight_bits: 8,
            range: Some(Range::MeanSquare),
            correct_bias: true,
            equalize: true,
            max_loss: None,
        }
    }

    /// Whether a node is among the layers that are to be quantized.
    fn names(&self, node: &NodeProto) -> bool {
        self.layers.is_empty() || self.layers.iter().any(|name| name == node.called() || node.input.contains(name))
    }

    /// Whether a model has a node of this name, or one that reads weights of it.
    fn has(file: &ModelFile, name: &String) -> bool {
        file.nodes.iter().map(Part::get).any(|node| node.called() == name || node.input.contains(name))
    }

    /// Whether a model can be quantized so, with these samples: what is found to be wrong before anything is done.
    ///
    /// # Errors
    /// As [`Quantization::check_model`], or if samples are needed and are none or do not fit.
    pub fn check(&self, file: &ModelFile, samples: &[Sample]) -> Result<(), CompressError> {
        self.check_model(file)?;
        match self.scheme {
            Scheme::Int8 => check_samples(&file.model()?, samples),
            Scheme::Int4Weights if self.max_loss.is_some() || !samples.is_empty() => {
                check_samples(&file.model()?, samples)
            }
            _ => Ok(()),
        }
    }

    /// Whether a model can be quantized so, whatever the samples.
    ///
    /// # Errors
    /// If it is quantized already, there is no such layer, or the options contradict each other.
    pub fn check_model(&self, file: &ModelFile) -> Result<(), CompressError> {
        // What has its weights in bytes may have them in four bits.
        let bytes = self.scheme == Scheme::Int4Weights;
        let refused = |node: &&NodeProto| match node.operator() {
            "DequantizeLinear" => !bytes,
            "DynamicQuantizeLinear" | "QuantizeLinear" | "MatMulNBits" | "GatherBlockQuantized" => true,
            other => other.starts_with("QLinear") || other.contains("Integer"),
        };
        if let Some(node) = file.nodes.iter().map(Part::get).find(refused) {
            let (node, operator) = (node.called().to_owned(), node.operator().to_owned());
            return Err(CompressError::Quantized { node, operator });
        }
        if bytes && !(16..=256).contains(&self.block) || !self.block.is_power_of_two() {
            let message = format!("a block has 16, 32, 64, 128 or 256 numbers, not {}", self.block);
            return Err(CompressError::Options(message));
        }
        // Matrices that are bytes, and tables, are no layers with floats.
        match self.layers.iter().find(|name| !Self::has(file, name)) {
            None if bytes => {}
            _ => layers::select(self.candidates(file), &self.layers).map(|_| ())?,
        }
        if !(7..=8).contains(&self.weight_bits) {
            let message = format!("weights take 7 or 8 bits of a byte, not {}", self.weight_bits);
            return Err(CompressError::Options(message));
        }
        if self.max_loss.is_some_and(|most| !(0.0..=1.0).contains(&most)) {
            return Err(CompressError::Options("a loss is a part of the whole, from 0 to 1".to_owned()));
        }
        if self.max_loss.is_some() && !matches!(self.scheme, Scheme::Int8 | Scheme::Int4Weights) {
            return Err(CompressError::Options(
                "only int8 and int4-weights are measured layer by layer: a loss bounds nothing else".to_owned(),
            ));
        }
        Ok(())
    }
}

/// How a layer's weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stored {
    /// As they were.
    Floats,
    /// In 16-bit floats.
    Halves,
    /// In bytes.
    Bytes,
    /// In four bits.
    Nibbles,
    /// In bytes, and multiplied with activations that are quantized in the run.
    Dynamic,
    /// In bytes, and multiplied with activations that are.
    Integers,
}

impl Stored {
    /// A word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Floats => "f32",
            Self::Halves => "f16",
            Self::Bytes => "int8 weights",
            Self::Nibbles => "int4 weights",
            Self::Dynamic => "int8, dynamic",
            Self::Integers => "int8",
        }
    }
}

/// What became of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuantizedLayer {
    /// Its name.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// How its weights are stored.
    pub stored: Stored,
}

impl QuantizedLayer {
    fn new(layer: &Layer, stored: Stored) -> Self {
        Self { name: layer.name.clone(), operator: layer.operator.clone(), stored }
    }

    /// Adds a layer, or what it has beside what is there of it already.
    fn add(all: &mut Vec<Self>, layer: &Layer, stored: Stored) {
        match all.iter_mut().find(|known| known.name == layer.name && known.operator == layer.operator) {
            Some(known) if known.stored == Stored::Floats => known.stored = stored,
            Some(_) => {}
            None => all.push(Self::new(layer, stored)),
        }
    }

    fn of(node: &NodeProto, stored: Stored) -> Self {
        Self { name: node.called().to_owned(), operator: node.operator().to_owned(), stored }
    }
}

/// What was quantized.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Quantized {
    /// The layers.
    pub layers: Vec<QuantizedLayer>,
    /// The standard's operator set that the model is of now.
    pub opset: i64,
    /// What was lost on the samples, where it was measured.
    pub loss: Option<f64>,
    /// How ranges were found, where they were looked for.
    pub range: Option<Range>,
    /// How many layers were scaled so that the channels that they compute have ranges alike.
    pub equalized: usize,
    /// By what each channel of a value was divided for that, along its second axis.
    pub factors: HashMap<String, Vec<f32>>,
}

/// Quantizes a model. Samples run on the device: activations are calibrated with them for [`Scheme::Int8`], and for
/// [`Scheme::Int4Weights`] products make up for what rounding loses on them, where there are any.
///
/// # Errors
/// As [`Quantization::check`], if a node cannot be brought to the operator set that is needed, or a run fails.
pub fn quantize(
    file: &mut ModelFile,
    how: &Quantization,
    samples: &[Sample],
    device: &Device,
) -> Result<Quantized, CompressError> {
    how.check(file, samples)?;
    let mut changed = file.clone();
    // Of a model whose weights are bytes there may be no layer with floats.
    let selected = match how.scheme {
        Scheme::Int4Weights => how.candidates(file).into_iter().filter(|layer| how.includes(layer)).collect(),
        _ => layers::select(how.candidates(file), &how.layers)?,
    };
    let (mut loss, mut range, mut equalized, mut factors) = (None, None, 0, HashMap::new());
    let layers = match how.scheme {
        Scheme::F16 => weights::halves(&mut changed, &selected)?,
        Scheme::Int8Weights => weights::bytes(&mut changed, &selected)?,
        Scheme::Int4Weights => {
            let chosen = sensitive::nibbles(file, how, &selected, samples, device)?;
            (changed, loss) = (chosen.0, chosen.2);
            chosen.1
        }
        Scheme::Dynamic => dynamic::quantize(&mut changed, how.weight_bits, &selected)?,
        Scheme::Int8 => {
            let chosen = sensitive::quantize(file, how, samples, device)?;
            changed = chosen.file;
            loss = how.max_loss.map(|_| chosen.loss);
            (range, equalized, factors) = (Some(chosen.range), chosen.equalized, chosen.factors);
            chosen.layers
        }
    };
    if layers.iter().all(|layer| layer.stored == Stored::Floats) {
        return Err(CompressError::Nothing("no layer of the model can be quantized so".to_owned()));
    }
    // What is said of values on the way may not be so any more.
    changed.between.clear();
    *file = changed;
    Ok(Quantized { layers, opset: file.opset("").unwrap_or_default(), loss, range, equalized, factors })
}

impl Quantization {
    /// What can be stored so: of what is computed with in integers the layers alone.
    fn candidates(&self, file: &ModelFile) -> Vec<Layer> {
        match self.scheme {
            Scheme::F16 | Scheme::Int8Weights | Scheme::Int4Weights => layers::stored(file),
            Scheme::Dynamic | Scheme::Int8 => layers::layers(file),
        }
    }

    fn includes(&self, layer: &Layer) -> bool {
        self.layers.is_empty() || self.layers.iter().any(|name| *name == layer.name || *name == layer.weights)
    }
}
