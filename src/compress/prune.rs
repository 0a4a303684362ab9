//! Pruning: weights that go, all at once or by steps with training between them.

use std::collections::HashMap;

use super::channels::{self, Removal};
use super::layers::{self, Layer};
use super::{CompressError, magnitude};
use crate::onnx::ModelFile;
use crate::tensor::{Element, Tensor, Truth};

/// What is pruned together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pattern {
    /// Single weights, those of the smallest magnitude. Of weights of equal magnitude those that come first in the file go
    /// first. The number is that of `torch.nn.utils.prune.l1_unstructured`, rounded as there, and so are the weights, but
    /// for equal magnitudes at the border, of which PyTorch promises nothing.
    L1,
    /// Two of every four weights that follow each other along the axis that is summed up: what sparse tensor cores skip.
    TwoOfFour,
    /// Whole channels, with all that computes and reads them: the model becomes smaller in every respect.
    Channels,
}

/// How a model is pruned.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Pruning {
    /// What goes together.
    pub pattern: Pattern,
    /// How much of it goes, from 0 to 1. Two of four are a half; it is not looked at there.
    pub amount: f64,
    /// For [`Pattern::L1`]: the smallest weights of all layers together, and not of each.
    pub global: bool,
    /// The layers, by their names or those of their weights; all where it is empty.
    pub layers: Vec<String>,
    /// For [`Pattern::Channels`]: what is left of them is a multiple of this, where it can be. Devices compute channels in
    /// groups of four or eight, and a part of a group takes as long as a whole one.
    pub multiple: usize,
}

impl Pruning {
    /// So much of every layer.
    pub const fn new(pattern: Pattern, amount: f64) -> Self {
        Self { pattern, amount, global: false, layers: vec![], multiple: 1 }
    }

    /// Whether a model can be pruned so: what is found to be wrong before anything is done.
    ///
    /// # Errors
    /// If the amount is none, or there is no such layer.
    pub fn check(&self, file: &ModelFile) -> Result<(), CompressError> {
        let below = self.pattern == Pattern::Channels;
        let fits = (0.0..=1.0).contains(&self.amount) && !(below && self.amount >= 1.0);
        if self.pattern != Pattern::TwoOfFour && !fits {
            return Err(CompressError::Amount { amount: self.amount, below });
        }
        if self.global && self.pattern != Pattern::L1 {
            return Err(CompressError::Options("only single weights are pruned globally".to_owned()));
        }
        layers::select(layers::layers(file), &self.layers).map(|_| ())
    }
}

/// Which weights stay: for each constant that is pruned, a tensor of its shape.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Masks(pub Vec<(String, Tensor)>);

impl Masks {
    /// The mask of a constant.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, mask)| mask)
    }

    /// Makes the weights zero that do not stay.
    ///
    /// # Errors
    /// If a constant is gone, or has another shape.
    pub fn apply(&self, file: &mut ModelFile) -> Result<(), CompressError> {
        for (name, mask) in &self.0 {
            let wrong = || CompressError::Options(format!("the mask of '{name}' does not fit the model"));
            let mut tensor = file.constant(name).filter(|tensor| tensor.shape() == mask.shape()).ok_or_else(wrong)?;
            let kept = mask.as_slice::<Truth>()?;
            for (weight, &kept) in tensor.as_mut_slice::<f32>()?.iter_mut().zip(kept) {
                if !bool::from(kept) {
                    *weight = 0.0;
                }
            }
            file.set_constant(name, &tensor)?;
        }
        Ok(())
    }

    pub(crate) fn insert(&mut self, name: &str, shape: &[usize], kept: &[bool]) -> Result<(), CompressError> {
        let mask = Tensor::new(shape.to_vec(), kept.iter().map(|&kept| Truth::from(kept)).collect())?;
        self.0.retain(|(own, _)| own != name);
        self.0.push((name.to_owned(), mask));
        Ok(())
    }
}

/// What became of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrunedLayer {
    /// Its name.
    pub name: String,
    /// The shape of its weights before and after.
    pub shapes: [Vec<usize>; 2],
    /// How many of its weights are zero now, or gone with their channels.
    pub zeros: usize,
}

impl PrunedLayer {
    /// How many weights it had.
    pub fn weights(&self) -> usize {
        self.shapes[0].iter().product()
    }
}

/// What was pruned.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Pruned {
    /// Which weights stay, for a trainer that is to leave the others alone. Of channels that were removed these are the
    /// shapes before.
    pub masks: Masks,
    /// The layers that were to be pruned.
    pub layers: Vec<PrunedLayer>,
}

impl Pruned {
    /// How many weights the layers had.
    pub fn weights(&self) -> usize {
        self.layers.iter().map(PrunedLayer::weights).sum()
    }

    /// How many of them are zero or gone.
    pub fn zeros(&self) -> usize {
        self.layers.iter().map(|layer| layer.zeros).sum()
    }
}

/// A step of [`prune_in_steps`], for the function that is called after it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Step<'a> {
    /// Which step it is, from 1.
    pub step: usize,
    /// How many there will be.
    pub steps: usize,
    /// How much is pruned by now.
    pub amount: f64,
    /// The model, its pruned weights zero. Weights that are changed here are what the next step begins with; those that are
    /// pruned stay zero.
    pub file: &'a mut ModelFile,
    /// Which weights stay.
    pub masks: &'a Masks,
}

/// Prunes a model at once.
///
/// # Errors
/// As [`Pruning::check`], and if the model cannot be read.
pub fn prune(file: &mut ModelFile, how: &Pruning) -> Result<Pruned, CompressError> {
    prune_in_steps(file, how, 1, |_| Ok(()))
}

/// Prunes a model in steps, with a function called after each: to train what is left, or to see how far it can go. Much is
/// pruned in the first steps and little in the last (`1 − (1 − i/n)³` of the amount after step `i` of `n`), as a network
/// bears it. Channels are zero until the last step is over; then they are removed.
///
/// # Errors
/// As [`Pruning::check`], if the model cannot be read, and what the function says.
pub fn prune_in_steps(
    file: &mut ModelFile,
    how: &Pruning,
    steps: usize,
    mut after: impl FnMut(Step<'_>) -> Result<(), CompressError>,
) -> Result<Pruned, CompressError> {
    how.check(file)?;
    let layers = layers::select(layers::layers(file), &how.layers)?;
    let mut masks = Masks::default();
    let steps = steps.max(1);
    let mut removal = None;
    for step in 1..=steps {
        let left = 1.0 - step as f64 / steps as f64;
        let amount = if step == steps { how.amount } else { how.amount * (1.0 - left.powi(3)) };
        match how.pattern {
            Pattern::L1 => masks = l1(file, &layers, &masks, amount, how.global)?,
            Pattern::TwoOfFour => masks = two_of_four(file, &layers, &masks)?,
            Pattern::Channels => {
                let chosen = channels::choose(file, &layers, amount, how.multiple)?;
                masks = chosen.masks(file)?;
                removal = Some(chosen);
            }
        }
        masks.apply(file)?;
        after(Step { step, steps, amount, file, masks: &masks })?;
        masks.apply(file)?;
    }
    if let Some(removal) = &removal {
        removal.apply(file)?;
    }
    let pruned = layers.iter().map(|layer| pruned(file, layer, removal.as_ref()));
    Ok(Pruned { layers: pruned.collect::<Result<_, _>>()?, masks })
}

fn pruned(file: &ModelFile, layer: &Layer, removal: Option<&Removal>) -> Result<PrunedLayer, CompressError> {
    let after = layer.tensor(file)?;
    let zeros = match removal {
        Some(_) => layer.shape.iter().product::<usize>() - after.len(),
        None => after.as_slice::<f32>()?.iter().filter(|&&weight| weight == 0.0).count(),
    };
    Ok(PrunedLayer { name: layer.name.clone(), shapes: [layer.shape.clone(), after.shape().to_vec()], zeros })
}

/// The weights of layers, each once where several share them, and which of them stayed so far.
type Weights = (Vec<(Layer, Tensor)>, Vec<Vec<bool>>);

fn weights(file: &ModelFile, layers: &[Layer], masks: &Masks) -> Result<Weights, CompressError> {
    let mut seen: HashMap<&str, ()> = HashMap::new();
    let (mut tensors, mut kept) = (vec![], vec![]);
    for layer in layers.iter().filter(|layer| seen.insert(&layer.weights, ()).is_none()) {
        let tensor = layer.tensor(file)?;
        kept.push(match masks.get(&layer.weights) {
            Some(mask) => mask.as_slice::<Truth>()?.iter().map(|&t| t.into()).collect(),
            None => vec![true; tensor.len()],
        });
        tensors.push((layer.clone(), tensor));
    }
    Ok((tensors, kept))
}

fn l1(file: &ModelFile, layers: &[Layer], masks: &Masks, amount: f64, global: bool) -> Result<Masks, CompressError> {
    let (tensors, mut kept) = weights(file, layers, masks)?;
    let slices: Vec<&[f32]> = tensors.iter().map(|(_, tensor)| slice(tensor)).collect::<Result<_, _>>()?;
    if global {
        magnitude::smallest(&slices, &mut kept, amount);
    } else {
        for (slice, kept) in slices.iter().zip(kept.chunks_mut(1)) {
            magnitude::smallest(&[slice], kept, amount);
        }
    }
    collected(&tensors, &kept)
}

fn two_of_four(file: &ModelFile, layers: &[Layer], masks: &Masks) -> Result<Masks, CompressError> {
    let (tensors, mut kept) = weights(file, layers, masks)?;
    for ((layer, tensor), kept) in tensors.iter().zip(&mut kept) {
        magnitude::two_of_four(slice(tensor)?, tensor.shape(), layer.inputs, kept);
    }
    collected(&tensors, &kept)
}

fn collected(tensors: &[(Layer, Tensor)], kept: &[Vec<bool>]) -> Result<Masks, CompressError> {
    let mut masks = Masks::default();
    for ((layer, tensor), kept) in tensors.iter().zip(kept) {
        masks.insert(&layer.weights, tensor.shape(), kept)?;
    }
    Ok(masks)
}

fn slice<T: Element>(tensor: &Tensor) -> Result<&[T], CompressError> {
    Ok(tensor.as_slice::<T>()?)
}
