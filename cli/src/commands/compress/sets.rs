//! The samples of a compression: to calibrate with, and to evaluate on.

use std::path::PathBuf;

use clap::Args;
use rimlight::compress::{Sample, check_samples};
use rimlight::{Model, RunError};

use crate::failure::{Failure, Outcome};
use crate::flags::{InputFlags, dimension};
use crate::inputs::Inputs;
use crate::known::Known;
use crate::samples::Reader;

/// What samples there are.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Samples")]
pub struct SetFlags {
    /// Samples of what the model will be given: folders and files
    #[arg(long, value_name = "PATH", num_args = 1..)]
    calibrate: Vec<PathBuf>,
    /// Calibrate with so many of them at most, evenly spread
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// Samples with labels: what part of them is answered right, before and after
    #[arg(long, value_name = "PATH", num_args = 1..)]
    evaluate: Vec<PathBuf>,
    /// How a picture becomes the input, such as resize=stretch or mean=0.5
    #[arg(long, value_name = "PROPERTY=VALUE")]
    preprocess: Vec<String>,
    /// Bind a symbolic dimension of the random input, where no samples are given
    #[arg(long, value_name = "NAME=N", value_parser = dimension, conflicts_with_all = ["calibrate", "evaluate"])]
    dim: Vec<(String, usize)>,
}

impl SetFlags {
    /// Whether there are samples to calibrate with.
    pub fn calibrated(&self) -> bool {
        !self.calibrate.is_empty()
    }
}

/// Samples, read and found to fit.
pub struct Sets {
    /// To compare on, and to calibrate with if they were given for that.
    pub compare: Vec<Sample>,
    /// Where these are from.
    pub origin: Origin,
    /// To evaluate on.
    pub evaluate: Vec<Sample>,
    /// How many of those for evaluation were left out, since they were calibrated with.
    pub left_out: usize,
}

/// Where samples are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// They were given to calibrate with.
    Calibrate,
    /// Only samples to evaluate on were given.
    Evaluate,
    /// None were given.
    Random,
}

impl Origin {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calibrate => "calibrate",
            Self::Evaluate => "evaluate",
            Self::Random => "random",
        }
    }
}

impl Sets {
    /// Reads what the flags name.
    ///
    /// # Errors
    /// If a sample cannot be read, does not fit the model, or none has a label although they are to be evaluated on.
    pub fn read(flags: &SetFlags, model: &Model, known: Option<&Known>) -> Outcome<Self> {
        let reader = Reader { model, known, preprocess: &flags.preprocess };
        let mut evaluate = vec![];
        if !flags.evaluate.is_empty() {
            evaluate = reader.read(&flags.evaluate)?;
            check_samples(model, &evaluate)?;
            if evaluate.iter().all(|sample| sample.label.is_none()) {
                return Err(Failure::input(
                    "no sample of --evaluate has a label: name them in labels.txt (lines FILE CLASS), or put them into \
                     folders that are called by the numbers of their classes",
                ));
            }
        }
        let most = flags.samples as usize;
        if !flags.calibrate.is_empty() {
            let all = reader.read(&flags.calibrate)?;
            check_samples(model, &all)?;
            let total = all.len();
            let chosen: Vec<usize> = (0..most.min(total)).map(|i| i * total / most.min(total).max(1)).collect();
            let (mut compare, mut rest) = (vec![], vec![]);
            for (i, sample) in all.into_iter().enumerate() {
                if chosen.binary_search(&i).is_ok() { compare.push(sample) } else { rest.push(sample) }
            }
            let places = |paths: &[PathBuf]| -> Vec<PathBuf> {
                paths.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone())).collect()
            };
            let shared = places(&flags.calibrate) == places(&flags.evaluate);
            if shared && rest.is_empty() {
                return Err(Failure::input(format!(
                    "all {total} samples are calibrated with, and none is left to evaluate on: take fewer with --samples"
                )));
            }
            let left_out = if shared { compare.len() } else { 0 };
            if shared {
                evaluate = rest;
            }
            return Ok(Self { compare, origin: Origin::Calibrate, evaluate, left_out });
        }
        if !evaluate.is_empty() {
            let compare = evaluate.iter().take(most).cloned().collect();
            return Ok(Self { compare, origin: Origin::Evaluate, evaluate, left_out: 0 });
        }
        let mut known_dims = vec![];
        for dim in model.inputs().filter_map(|port| port.fact).flat_map(|fact| &fact.shape) {
            dim.symbols(&mut known_dims);
        }
        if let Some((name, _)) = flags.dim.iter().find(|(name, _)| !known_dims.contains(name)) {
            return Err(RunError::Name { kind: "symbolic dimension", name: name.clone(), known: known_dims }.into());
        }
        let nothing = InputFlags { input: vec![], inputs: None, preprocess: vec![], seed: 0 };
        let random = Inputs::gather(model, known, &nothing, &flags.dim)?;
        let compare = vec![Sample::new(random.tensors)];
        Ok(Self { compare, origin: Origin::Random, evaluate, left_out: 0 })
    }
}
