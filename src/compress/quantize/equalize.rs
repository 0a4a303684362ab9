//! Weights of layers that follow each other brought to ranges alike, without a change of what they compute.
//!
//! (Nagel, van Baalen, Blankevoort and Welling, Data-Free Quantization Through Weight Equalization and Bias Correction, 2019.)
//! What stands between two layers gives `f(s x) = s f(x)` for each `s > 0`, so that a channel that is made smaller by the first
//! may be made as much larger by the second: `s = √(r₁ / r₂)`, with the largest magnitudes of its weights in both.

use std::collections::HashMap;

use super::norm::reads;
use crate::compress::CompressError;
use crate::compress::layers::{self, Layer};
use crate::onnx::messages::NodeProto;
use crate::onnx::{ModelFile, Part};
use crate::tensor::Tensor;

/// Operators that keep channels and factors as they are.
const HOMOGENEOUS: [&str; 5] = ["AveragePool", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Relu"];
/// Pairs of a chain change each other's ranges: so often are all of them looked at.
const ROUNDS: usize = 8;
/// The most that a channel is scaled by at once.
const MOST: f32 = 1e3;

/// A layer, and those that read what it computes, all of it.
struct Pair {
    first: Layer,
    bias: Option<String>,
    readers: Vec<(Layer, usize)>,
}

/// Equalizes these layers where they follow each other. How many are read by ones that are scaled with them.
pub fn equalize(file: &mut ModelFile, names: &[String]) -> Result<usize, CompressError> {
    let pairs = pairs(file, names);
    for _ in 0..ROUNDS {
        let mut moved = 1f32;
        for pair in &pairs {
            moved = moved.max(pair.scale(file)?);
        }
        if moved < 1.01 {
            break;
        }
    }
    Ok(pairs.len())
}

fn pairs(file: &ModelFile, names: &[String]) -> Vec<Pair> {
    let reads = reads(file);
    let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, part) in file.nodes.iter().enumerate() {
        for name in &part.get().input {
            readers.entry(name).or_default().push(place);
        }
    }
    let own = |layer: &Layer| names.contains(&layer.name) && reads.get(&layer.weights) == Some(&1);
    let all: HashMap<usize, Layer> =
        layers::layers(file).into_iter().filter(own).map(|layer| (layer.node, layer)).collect();
    let node = |place: usize| file.nodes.get(place).map(Part::get);
    let reader = |layer: &Layer, place: usize, value: &str| {
        let (reader, node) = (all.get(&place)?, node(place)?);
        let fits = convolves(reader) == convolves(layer) && reader.operator != "ConvTranspose" && plain(node);
        let once = node.given(0) == Some(value) && node.input.iter().filter(|name| *name == value).count() == 1;
        Some((reader.clone(), groups(node))).filter(|_| fits && once)
    };
    let pair = |layer: &Layer| {
        let first = node(layer.node)?;
        if !matches!(layer.operator.as_str(), "Conv" | "Gemm") || !plain(first) {
            return None;
        }
        let bias = first.given(2).map(str::to_owned);
        // A bias that others read as well, or that is no number for each channel, cannot be scaled.
        let count = layer.shape.get(layer.outputs)?;
        let vector =
            |name: &String| reads.get(name) == Some(&1) && file.constant(name).is_some_and(|b| b.shape() == [*count]);
        if !bias.as_ref().is_none_or(vector) {
            return None;
        }
        let mut value = first.result();
        loop {
            let places = readers.get(value)?;
            // An output of the model, or what a graph in an attribute reads, is read once more than nodes read it.
            if reads.get(value) != Some(&places.len()) {
                return None;
            }
            match places.as_slice() {
                [only] if node(*only)?.standard().is_some_and(|operator| HOMOGENEOUS.contains(&operator)) => {
                    let next = node(*only)?;
                    if next.output.iter().filter(|name| !name.is_empty()).count() != 1 {
                        return None;
                    }
                    value = next.result();
                }
                places => {
                    let readers = places.iter().map(|&place| reader(layer, place, value)).collect::<Option<_>>()?;
                    return Some(Pair { first: layer.clone(), bias, readers });
                }
            }
        }
    };
    let mut pairs: Vec<Pair> = all.values().filter_map(pair).collect();
    pairs.sort_by_key(|pair| pair.first.node);
    pairs
}

fn convolves(layer: &Layer) -> bool {
    layer.operator.starts_with("Conv")
}

/// Whether a Gemm is a product and a bias, and nothing else.
fn plain(node: &NodeProto) -> bool {
    let one = |factor| node.float(factor).unwrap_or(1.0) == 1.0;
    node.int("transA").unwrap_or_default() == 0 && one("alpha") && one("beta")
}

fn groups(node: &NodeProto) -> usize {
    usize::try_from(node.int("group").unwrap_or(1)).unwrap_or(1).max(1)
}

/// The channel that each weight of a layer computes.
fn of_output(layer: &Layer, place: usize) -> usize {
    let inner: usize = layer.shape.iter().skip(layer.outputs + 1).product();
    place / inner.max(1) % layer.shape.get(layer.outputs).copied().unwrap_or(1).max(1)
}

/// The channel that each weight of a layer reads.
fn of_input(layer: &Layer, groups: usize, place: usize) -> usize {
    let dim = |axis: usize| layer.shape.get(axis).copied().unwrap_or(1).max(1);
    let inner: usize = layer.shape.iter().skip(layer.inputs + 1).product();
    let group = of_output(layer, place) / (dim(layer.outputs) / groups).max(1);
    group * dim(layer.inputs) + place / inner.max(1) % dim(layer.inputs)
}

impl Pair {
    /// Scales all channels. The largest factor.
    fn scale(&self, file: &mut ModelFile) -> Result<f32, CompressError> {
        let count = self.first.shape.get(self.first.outputs).copied().unwrap_or_default();
        let widen = |ranges: &mut Vec<f32>, channel: usize, weight: f32| {
            if let Some(range) = ranges.get_mut(channel) {
                *range = range.max(weight.abs());
            }
        };
        let (mut before, mut behind) = (vec![0f32; count], vec![0f32; count]);
        for (place, &weight) in self.first.tensor(file)?.as_slice::<f32>()?.iter().enumerate() {
            widen(&mut before, of_output(&self.first, place), weight);
        }
        for (reader, groups) in &self.readers {
            for (place, &weight) in reader.tensor(file)?.as_slice::<f32>()?.iter().enumerate() {
                widen(&mut behind, of_input(reader, *groups, place), weight);
            }
        }
        let factor = |(before, behind): (&f32, &f32)| match (before / behind).sqrt() {
            // A channel that is not computed, or not read, has no range.
            factor if factor.is_finite() && factor > 0.0 => factor.clamp(1.0 / MOST, MOST),
            _ => 1.0,
        };
        let factors: Vec<f32> = before.iter().zip(&behind).map(factor).collect();
        let at = |channel: usize| factors.get(channel).copied().unwrap_or(1.0);
        multiply(file, &self.first.weights, |place| 1.0 / at(of_output(&self.first, place)))?;
        if let Some(bias) = &self.bias {
            multiply(file, bias, |place| 1.0 / at(place))?;
        }
        for (reader, groups) in &self.readers {
            multiply(file, &reader.weights, |place| at(of_input(reader, *groups, place)))?;
        }
        Ok(factors.iter().fold(1f32, |most, factor| most.max(*factor).max(1.0 / factor)))
    }
}

fn multiply(file: &mut ModelFile, name: &str, factor: impl Fn(usize) -> f32) -> Result<(), CompressError> {
    let lost = || CompressError::Nothing(format!("the constant '{name}' is lost"));
    let tensor = file.constant(name).ok_or_else(lost)?;
    let scaled = tensor.as_slice::<f32>()?.iter().enumerate().map(|(place, value)| value * factor(place)).collect();
    file.set_constant(name, &Tensor::new(tensor.shape(), scaled)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::tests::{Net, answer, difference, weights};

    fn network() -> ModelFile {
        Net::new(13)
            .input("x", &[-1, 3, 8, 8])
            .conv("x", "first", [6, 3, 3, 3], 1)
            .node("Relu", &["first"], "a")
            .conv("a", "each", [12, 1, 3, 3], 6)
            .with("LeakyRelu", &["each"], "b", |node| node.with_float("alpha", 0.1))
            .with("MaxPool", &["b"], "c", |node| node.with_ints("kernel_shape", &[2, 2]))
            .conv("c", "left", [4, 6, 1, 1], 2)
            .conv("c", "right", [4, 12, 3, 3], 1)
            .node("Add", &["left", "right"], "sum")
            .node("GlobalAveragePool", &["sum"], "mean")
            .node("Flatten", &["mean"], "row")
            .constant("w1", weights(&[5, 4], 6))
            .with("Gemm", &["row", "w1"], "hidden", |node| node.with_int("transB", 1))
            .constant("w2", weights(&[5, 3], 8))
            .node("MatMul", &["hidden", "w2"], "y")
            .output("y")
            .file()
    }

    #[test]
    fn ranges_become_alike_and_answers_stay() {
        let mut file = network();
        let names: Vec<String> = layers::layers(&file).into_iter().map(|layer| layer.name).collect();
        // What is added to something else is not scaled: left, right. The last one is read by nobody.
        assert_eq!(equalize(&mut file, &names).unwrap(), 3);
        let x = weights(&[2, 3, 8, 8], 5);
        let answers = [&network(), &file].map(|file| answer(file, std::slice::from_ref(&x)));
        assert!(difference(&answers[0], &answers[1]) < 1e-5);
        let range = |name: &str, keep: &dyn Fn(usize) -> bool| {
            let weights = file.constant(name).unwrap().to_f64();
            weights.iter().enumerate().filter(|(i, _)| keep(*i)).fold(0f64, |most, (_, w)| most.max(w.abs()))
        };
        for channel in 0..12 {
            let before = range("each.w", &|i| i / 9 == channel);
            let group = channel / 6;
            let left = range("left.w", &|i| i / 12 == group && i % 6 == channel % 6);
            let right = range("right.w", &|i| i / 9 % 12 == channel);
            assert!((before / left.max(right) - 1.0).abs() < 0.02, "{channel}: {before} {left} {right}");
        }
    }

    #[test]
    fn what_something_else_reads_is_left() {
        let nets = [
            Net::new(13).input("x", &[1, 4]).constant("w", weights(&[4, 4], 1)).node("Gemm", &["x", "w"], "a").node(
                "Sigmoid",
                &["a"],
                "b",
            ),
            Net::new(13)
                .input("x", &[1, 4])
                .constant("w", weights(&[4, 4], 1))
                .node("Gemm", &["x", "w"], "b")
                .output("b"),
            Net::new(13).input("x", &[1, 4]).constant("w", weights(&[4, 4], 1)).node("Gemm", &["x", "w"], "b").node(
                "Add",
                &["b", "x"],
                "c",
            ),
        ];
        for net in nets {
            let mut file = net.constant("v", weights(&[4, 2], 2)).node("MatMul", &["b", "v"], "y").output("y").file();
            assert_eq!(equalize(&mut file, &["a", "b", "y"].map(str::to_owned)).unwrap(), 0);
        }
        let shared = Net::new(13).input("x", &[1, 4]).constant("w", weights(&[4, 4], 1)).node("Gemm", &["x", "w"], "a");
        let mut file = shared.node("MatMul", &["a", "w"], "y").output("y").file();
        assert_eq!(equalize(&mut file, &["a", "y"].map(str::to_owned)).unwrap(), 0);
    }
}
