//! Which channels go.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::follow::{Followed, Follower, Producer};
use super::removal::Removal;
use crate::compress::layers::Layer;
use crate::compress::{CompressError, magnitude};
use crate::onnx::ModelFile;

/// What is added to a variance where a batch normalization says nothing else.
const EPSILON: f64 = 1e-5;

/// Chooses so much of the channels that these layers compute. Channels that are computed by the same layers are ranked among
/// each other, and of each such class the same part goes, so that layers stay in proportion; one of a class always stays.
///
/// A channel weighs as much as its filters, all weights of each added up without their signs, times the factor of a batch
/// normalization behind it, relative to the mean of the layer, and of several layers on average.
pub fn choose(file: &ModelFile, layers: &[Layer], amount: f64, multiple: usize) -> Result<Removal, CompressError> {
    let model = file.model()?;
    let mut found = Follower::new(file, &model).follow();
    let weights: HashSet<&str> = layers.iter().map(|layer| layer.weights.as_str()).collect();
    let mut channels: BTreeMap<usize, Channel> = BTreeMap::new();
    for (number, producer) in std::mem::take(&mut found.producers).iter().enumerate() {
        let importance = importance(file, producer)?;
        for (&channel, importance) in producer.along.channels.iter().zip(importance) {
            let channel = channels.entry(found.coupling.find(channel)).or_default();
            channel.add(number, importance);
            channel.named |= weights.contains(producer.weights.as_str());
        }
    }
    let mut classes: HashMap<Vec<usize>, Vec<(f64, usize)>> = HashMap::new();
    for (&root, channel) in &channels {
        if channel.named && !found.coupling.is_fixed(root) {
            classes.entry(channel.producers.clone()).or_default().push((channel.importance(), root));
        }
    }
    if classes.is_empty() {
        let message =
            "no channel of these layers can go: what reads them, or what they are added to, cannot be followed";
        return Err(CompressError::Nothing(message.to_owned()));
    }
    let mut gone = HashSet::new();
    for class in classes.values_mut() {
        class.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let count = going(class.len(), amount, multiple);
        gone.extend(class.iter().take(count).map(|&(_, root)| root));
    }
    let Followed { coupling, slices, edits, .. } = found;
    Ok(Removal::new(coupling, slices, edits, gone))
}

/// How many of so many channels go.
fn going(channels: usize, amount: f64, multiple: usize) -> usize {
    let kept = channels - magnitude::count(amount, channels);
    let multiple = multiple.max(1);
    // The nearest multiple; where the whole is none, what remains of it is not made up for.
    let near = (kept + multiple / 2) / multiple * multiple;
    channels - near.clamp(multiple.min(channels).max(1), channels)
}

#[derive(Debug, Default)]
struct Channel {
    producers: Vec<usize>,
    sum: f64,
    parts: usize,
    /// Whether a layer that was named computes it.
    named: bool,
}

impl Channel {
    fn add(&mut self, producer: usize, importance: f64) {
        if self.producers.last() != Some(&producer) {
            self.producers.push(producer);
        }
        self.sum += importance;
        self.parts += 1;
    }

    fn importance(&self) -> f64 {
        self.sum / self.parts.max(1) as f64
    }
}

/// How much each channel of a layer weighs, relative to their mean.
fn importance(file: &ModelFile, producer: &Producer) -> Result<Vec<f64>, CompressError> {
    let lost = || CompressError::Nothing(format!("the weights '{}' are lost", producer.weights));
    let tensor = file.constant(&producer.weights).ok_or_else(lost)?;
    let (axis, count) = (producer.along.axis, producer.along.channels.len());
    let inner: usize = tensor.shape().iter().skip(axis + 1).product();
    let mut sums = vec![0.0; count];
    for (i, weight) in tensor.to_f64().into_iter().enumerate() {
        if let Some(sum) = sums.get_mut(i / inner.max(1) % count.max(1)) {
            *sum += weight.abs();
        }
    }
    if let Some([scale, variance]) = &producer.norm {
        let numbers = |name: &str| file.constant(name).map(|tensor| tensor.to_f64()).unwrap_or_default();
        for ((sum, scale), variance) in sums.iter_mut().zip(numbers(scale)).zip(numbers(variance)) {
            *sum *= scale.abs() / (variance + EPSILON).sqrt();
        }
    }
    let mean = sums.iter().sum::<f64>() / count.max(1) as f64;
    Ok(sums.into_iter().map(|sum| if mean > 0.0 { sum / mean } else { 0.0 }).collect())
}
