//! Channels of a value brought to ranges alike, without a change of what a model computes.
//!
//! What stands between two layers gives `f(s x) = s f(x)` for each `s > 0`, so that a channel that the one divides by `s` may be
//! multiplied by the other (Nagel, van Baalen, Blankevoort and Welling, Data-Free Quantization Through Weight Equalization and
//! Bias Correction, 2019). Weights have a scale for each channel that they compute, activations one for all: a channel that
//! fills a part `a` of its value's range has so much coarser steps. It is made larger as far as the weights that read it
//! can bear it: with `r` the largest part that one of them is of all that are summed up with it, `s = √(a / r)`, and
//! `s = a` where each channel has a filter of its own. (Meller, Finkelstein, Almog and Grobman, Same, Same But Different, 2019;
//! Xiao and others, SmoothQuant, 2023.) No range becomes wider, since `√(a / r) ≥ a`.

use std::collections::{HashMap, HashSet};

use super::norm::reads;
use crate::compress::CompressError;
use crate::compress::channels::Coupling;
use crate::compress::layers::{self, Layer};
use crate::onnx::messages::NodeProto;
use crate::onnx::{ModelFile, Part, names_read};
use crate::tensor::Tensor;

/// Operators that keep channels and factors as they are.
const HOMOGENEOUS: [&str; 5] = ["AveragePool", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Relu"];
/// The most that a channel is multiplied or divided by.
const MOST: f32 = 1e3;
/// A channel is left if it would change by less than this part.
const WORTH: f32 = 0.01;

/// By what each channel of a value was divided, along its second axis.
pub type Factors = HashMap<String, Vec<f32>>;

/// The channels of a value, along its second axis.
#[derive(Clone)]
struct Along {
    channels: Vec<usize>,
    /// Of how many axes the value is.
    rank: usize,
}

/// A layer that computes channels.
struct Writer {
    layer: Layer,
    bias: Option<String>,
    channels: Vec<usize>,
}

/// A layer that reads channels.
struct Reader {
    layer: Layer,
    groups: usize,
    channels: Vec<usize>,
}

/// The channels of values that layers compute and layers read, with nothing but what is homogeneous between them.
#[derive(Default)]
pub struct Chains {
    coupling: Coupling,
    values: HashMap<String, Along>,
    writers: Vec<Writer>,
    readers: Vec<Reader>,
}

impl Chains {
    /// Those between these layers.
    pub fn of(file: &ModelFile, names: &[String]) -> Self {
        let reads = reads(file);
        let own = |layer: &Layer| names.contains(&layer.name) && reads.get(&layer.weights) == Some(&1);
        let layers: HashMap<usize, Layer> =
            layers::layers(file).into_iter().filter(own).map(|layer| (layer.node, layer)).collect();
        let mut chains = Self::default();
        for (place, node) in file.nodes.iter().map(Part::get).enumerate() {
            let layer = layers.get(&place).filter(|layer| layer.operator == "MatMul" || plain(node));
            let followed = match layer {
                Some(layer) => chains.layer(file, &reads, layer, node),
                None => chains.follow(node),
            };
            if followed.is_none() {
                let mut names = HashSet::new();
                names_read(node, &mut names);
                names.iter().for_each(|name| chains.hold(name));
            }
        }
        for name in file.outputs.iter().filter_map(|part| part.get().name.as_deref()) {
            chains.hold(name);
        }
        chains
    }

    /// Whether something is known of a value's channels.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The channels of a value stay as they are.
    fn hold(&mut self, name: &str) {
        if let Some(along) = self.values.get(name) {
            self.coupling.fix(&along.channels);
        }
    }

    /// A layer reads channels, and computes others.
    fn layer(
        &mut self,
        file: &ModelFile,
        reads: &HashMap<String, usize>,
        layer: &Layer,
        node: &NodeProto,
    ) -> Option<()> {
        let (x, groups) = (node.given(0)?, groups(node));
        node.input.iter().skip(1).for_each(|name| self.hold(name));
        if let Some(Along { channels, rank }) = self.values.get(x).cloned() {
            let summed = layer.shape.get(layer.inputs)?.checked_mul(groups)?;
            // Of rows a matrix sums up numbers, of pictures it does not sum up channels.
            if layer.operator != "ConvTranspose" && rank == layer.shape.len() && channels.len() == summed {
                self.readers.push(Reader { layer: layer.clone(), groups, channels });
            } else {
                self.coupling.fix(&channels);
            }
        }
        let count = *layer.shape.get(layer.outputs)?;
        let bias = node.given(2).map(str::to_owned);
        // A bias that others read as well, or that is no number for each channel, cannot be scaled.
        let vector =
            |name: &String| reads.get(name) == Some(&1) && file.constant(name).is_some_and(|b| b.shape() == [count]);
        if matches!(layer.operator.as_str(), "Conv" | "Gemm") && bias.as_ref().is_none_or(vector) {
            let channels = self.coupling.fresh(count)?;
            let along = Along { channels: channels.clone(), rank: layer.shape.len() };
            self.values.insert(node.result().to_owned(), along);
            self.writers.push(Writer { layer: layer.clone(), bias, channels });
        }
        Some(())
    }

    /// What another node does with channels; `None` if it holds them.
    fn follow(&mut self, node: &NodeProto) -> Option<()> {
        if node.output.iter().filter(|name| !name.is_empty()).count() != 1 {
            return None;
        }
        let of = |input: usize| self.values.get(node.given(input)?).cloned();
        let along = match node.standard()? {
            operator if HOMOGENEOUS.contains(&operator) => of(0)?,
            "Add" => {
                let (a, b) = (of(0)?, of(1)?);
                if a.channels.len() != b.channels.len() || a.rank != b.rank {
                    return None;
                }
                self.coupling.unite(&a.channels, &b.channels);
                a
            }
            "Concat" if node.int("axis") == Some(1) => {
                let parts = (0..node.input.len()).map(of).collect::<Option<Vec<_>>>()?;
                let rank = parts.first()?.rank;
                Along { channels: parts.into_iter().flat_map(|part| part.channels).collect(), rank }
            }
            _ => return None,
        };
        self.values.insert(node.result().to_owned(), along);
        Some(())
    }

    /// Scales channels by the ranges that values have: of each value the largest magnitude of each channel. By what they were
    /// divided, all values of a chain, and how many layers were scaled.
    pub fn equalize(
        mut self,
        file: &mut ModelFile,
        ranges: &HashMap<String, Vec<f32>>,
    ) -> Result<(Factors, usize), CompressError> {
        let mut parts: HashMap<usize, f32> = HashMap::new();
        for (name, ranges) in ranges {
            let Some(along) = self.values.get(name).filter(|along| along.channels.len() == ranges.len()) else {
                continue;
            };
            let whole = ranges.iter().copied().fold(0f32, f32::max);
            for (&channel, range) in along.channels.iter().zip(ranges) {
                let part = parts.entry(self.coupling.find(channel)).or_default();
                *part = part.max(range / whole);
            }
        }
        let borne = self.borne(file)?;
        let coupling = &mut self.coupling;
        let mut factor = |channel: usize| {
            let root = coupling.find(channel);
            let (Some(&part), Some(&borne)) = (parts.get(&root), borne.get(&root)) else { return 1.0 };
            let factor = borne.map_or(part, |r| (part / r).sqrt());
            // A channel that is not computed, or not read, has no range.
            let worth = factor.is_finite() && factor > 0.0 && (factor - 1.0).abs() > WORTH && !coupling.is_fixed(root);
            if worth { factor.clamp(1.0 / MOST, MOST) } else { 1.0 }
        };
        let count = self.writers.iter().flat_map(|w| &w.channels).max().map_or(0, |last| last + 1);
        let factors: Vec<f32> = (0..count).map(&mut factor).collect();
        let at = |channels: &[usize], i: usize| {
            channels.get(i).and_then(|&channel| factors.get(channel)).copied().unwrap_or(1.0)
        };
        let mut scaled = 0;
        for Writer { layer, bias, channels } in &self.writers {
            if (0..channels.len()).all(|i| at(channels, i) == 1.0) {
                continue;
            }
            scaled += 1;
            multiply(file, &layer.weights, |place| 1.0 / at(channels, of_output(layer, place)))?;
            if let Some(bias) = bias {
                multiply(file, bias, |place| 1.0 / at(channels, place))?;
            }
        }
        for Reader { layer, groups, channels } in &self.readers {
            multiply(file, &layer.weights, |place| at(channels, of_input(layer, *groups, place)))?;
        }
        let divided = |(name, along): (&String, &Along)| {
            let factors: Vec<f32> = (0..along.channels.len()).map(|i| at(&along.channels, i)).collect();
            factors.iter().any(|&factor| factor != 1.0).then(|| (name.clone(), factors))
        };
        Ok((self.values.iter().filter_map(divided).collect(), scaled))
    }

    /// Of each channel that is read the largest part that a weight is of those that are summed up with it; none where it is
    /// summed up with nothing.
    fn borne(&mut self, file: &ModelFile) -> Result<HashMap<usize, Option<f32>>, CompressError> {
        let mut borne: HashMap<usize, Option<f32>> = HashMap::new();
        for Reader { layer, groups, channels } in &self.readers {
            let tensor = layer.tensor(file)?;
            let weights = tensor.as_slice::<f32>()?;
            let mut largest = vec![0f32; layer.shape.get(layer.outputs).copied().unwrap_or_default()];
            for (place, weight) in weights.iter().enumerate() {
                if let Some(largest) = largest.get_mut(of_output(layer, place)) {
                    *largest = largest.max(weight.abs());
                }
            }
            let alone = layer.shape.get(layer.inputs) == Some(&1);
            let mut parts = vec![0f32; channels.len()];
            for (place, weight) in weights.iter().enumerate() {
                let largest = largest.get(of_output(layer, place)).copied().unwrap_or_default();
                if let Some(part) = parts.get_mut(of_input(layer, *groups, place))
                    && largest > 0.0
                {
                    *part = part.max(weight.abs() / largest);
                }
            }
            for (&channel, part) in channels.iter().zip(parts) {
                let known = borne.entry(self.coupling.find(channel)).or_default();
                if !alone {
                    *known = Some(known.unwrap_or_default().max(part));
                }
            }
        }
        Ok(borne)
    }
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
            .with("Concat", &["sum", "left"], "both", |node| node.with_int("axis", 1))
            .conv("both", "last", [5, 8, 1, 1], 1)
            .node("GlobalAveragePool", &["last"], "mean")
            .node("Flatten", &["mean"], "row")
            .constant("w1", weights(&[5, 5], 6))
            .with("Gemm", &["row", "w1"], "hidden", |node| node.with_int("transB", 1))
            .constant("w2", weights(&[5, 3], 8))
            .node("MatMul", &["hidden", "w2"], "y")
            .output("y")
            .file()
    }

    /// The largest magnitude of each channel of a value.
    fn ranges(file: &ModelFile, value: &str, channels: usize) -> Vec<f32> {
        let mut shown = file.clone();
        shown.show_only(&[value.to_owned()]);
        let values = answer(&shown, &[weights(&[2, 3, 8, 8], 5)]).concat();
        let inner = values.len() / 2 / channels;
        let mut ranges = vec![0f32; channels];
        for (i, value) in values.iter().enumerate() {
            ranges[i / inner % channels] = ranges[i / inner % channels].max(value.abs() as f32);
        }
        ranges
    }

    #[test]
    fn channels_fill_their_ranges_and_answers_stay() {
        let (before, mut file) = (network(), network());
        let names: Vec<String> = layers::layers(&file).into_iter().map(|layer| layer.name).collect();
        let values = [("a", 6), ("c", 12), ("sum", 4), ("left", 4), ("both", 8), ("last", 5), ("hidden", 5)];
        let known = values.map(|(name, channels)| (name.to_owned(), ranges(&before, name, channels)));
        let (factors, scaled) = Chains::of(&file, &names).equalize(&mut file, &known.clone().into()).unwrap();
        // What is added is scaled alike. The last convolution's are held by what flattens them; nobody reads y.
        assert_eq!(scaled, 5);
        let x = weights(&[2, 3, 8, 8], 5);
        let answers = [&before, &file].map(|file| answer(file, std::slice::from_ref(&x)));
        assert!(difference(&answers[0], &answers[1]) < 1e-5);
        assert!(!factors.contains_key("last") && factors["left"] == factors["right"]);
        for (name, before) in &known {
            let after = ranges(&file, name, before.len());
            let whole = [before, &after].map(|ranges| ranges.iter().copied().fold(0f32, f32::max));
            assert!(whole[1] < whole[0] * 1.0001, "{name} {whole:?}");
            for (i, (before, after)) in before.iter().zip(&after).enumerate() {
                let factor = factors.get(name).map_or(1.0, |factors| factors[i]);
                assert!((after * factor - before).abs() < 1e-4 * whole[0], "{name} {i}");
            }
        }
        // Filters for each channel bear all of it.
        let after = ranges(&file, "a", 6);
        assert!(after.iter().all(|range| (range / after[0] - 1.0).abs() < WORTH), "{after:?}");
    }

    #[test]
    fn what_something_else_reads_is_held() {
        let begin = || Net::new(13).input("x", &[2, 4]).constant("w", weights(&[4, 4], 1));
        let nets = [
            begin().node("Gemm", &["x", "w"], "a").node("Sigmoid", &["a"], "b"),
            begin().node("Gemm", &["x", "w"], "b").output("b"),
            begin().node("Gemm", &["x", "w"], "a").node("Add", &["a", "x"], "b"),
            begin().with("Gemm", &["x", "w"], "a", |node| node.with_float("alpha", 2.0)).node("Relu", &["a"], "b"),
        ];
        let one = || HashMap::from(["a", "b"].map(|name| (name.to_owned(), vec![1.0, 0.1, 0.5, 0.2])));
        let names = ["a", "b", "y"].map(str::to_owned);
        for net in nets {
            let mut file = net.constant("v", weights(&[4, 2], 2)).node("MatMul", &["b", "v"], "y").output("y").file();
            assert_eq!(Chains::of(&file, &names).equalize(&mut file, &one()).unwrap(), (Factors::new(), 0));
        }
        let shared = begin().node("Gemm", &["x", "w"], "a").node("MatMul", &["a", "w"], "y");
        let mut file = shared.output("y").file();
        assert_eq!(Chains::of(&file, &names).equalize(&mut file, &one()).unwrap().1, 0);
        // A product of pictures does not sum up their channels.
        let net = Net::new(13).input("x", &[1, 3, 4, 4]).conv("x", "a", [4, 3, 3, 3], 1);
        let net = net.constant("v", weights(&[4, 4], 2)).node("MatMul", &["a", "v"], "y").output("y");
        let mut file = net.file();
        assert_eq!(Chains::of(&file, &names).equalize(&mut file, &one()).unwrap().1, 0);
    }
}
