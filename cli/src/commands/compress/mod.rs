//! `rimlight compress`: a smaller model out of a model, and what it costs.

mod figures;
mod report;
mod sets;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use rimlight::compress::{
    self, CompressError, Packed, Pattern, Pruned, Pruning, Quantization, Quantized, Range, Scheme,
};
use rimlight::onnx::ModelFile;

use super::print;
use crate::arrays;
use crate::failure::{Failure, Outcome};
use crate::flags::DeviceFlags;
use crate::known::{self, Place};
use crate::output;
use sets::Sets;

/// Make a model smaller: prune it, store it in fewer bits; and measure what that costs
#[derive(Debug, Args)]
#[command(
    long_about = "Make a model smaller: prune it, store it in fewer bits; and measure what that costs.\n\n\
        What is written is standard ONNX, and everything that was not compressed is as it was. The report compares both models: \
        size, memory, work, time of a run, how far each output and each layer strays on the samples of --calibrate (a random \
        input where there are none), and with --evaluate the part of right answers. Samples are pictures, .npy and .npz files, \
        CIFAR-10's .bin files, and folders of these; a folder says what they are of by a file labels.txt of lines FILE CLASS, by \
        folders within it that are called by the numbers of classes, an .npz file by an array `labels`. What is given to both \
        flags is shared out: samples that were calibrated with are not evaluated on.",
    after_help = "Examples:\n  rimlight compress model.onnx -o small.onnx --prune channels --amount 0.3 --evaluate pictures\n  \
        rimlight compress model.onnx -o sparse.onnx --prune l1 --amount 0.5 --global --masks masks.npz\n  \
        rimlight compress model.onnx -o int8.onnx --quantize int8 --calibrate pictures --evaluate pictures"
)]
pub struct Compress {
    /// An ONNX file, or a model that is known by name
    model: String,
    /// The file to write
    #[arg(short, long, value_name = "OUT.onnx")]
    output: PathBuf,
    #[command(flatten)]
    prune: PruneFlags,
    #[command(flatten)]
    quantize: QuantizeFlags,
    /// How constants of many zeros are stored: packed as a bit for each place and what is not zero, unpacked when the model is
    /// loaded
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto")]
    zeros: ZerosFlag,
    #[command(flatten)]
    sets: sets::SetFlags,
    /// Measure so many runs of each model at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

/// What is pruned.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Prune")]
struct PruneFlags {
    /// What goes
    #[arg(long, value_enum, value_name = "WHAT")]
    prune: Option<PruneFlag>,
    /// How much of it, from 0 to 1
    #[arg(long, value_name = "PART", requires = "prune", allow_negative_numbers = true)]
    amount: Option<f64>,
    /// The smallest weights of all layers together, not of each (l1)
    #[arg(long, requires = "prune")]
    global: bool,
    /// Only these layers, by the names of their nodes or of their weights; those to be quantized too
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    layers: Vec<String>,
    /// What is left of the channels of a layer is a multiple of this, where it can be (channels)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    multiple: u32,
    /// Keep which weights stay in this file, for a trainer: an array of truth values for each that was pruned
    #[arg(long, value_name = "FILE.npz", requires = "prune")]
    masks: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PruneFlag {
    /// Single weights, those of the smallest magnitude
    L1,
    /// Two of every four weights that are summed up side by side
    #[value(name = "2:4")]
    TwoOfFour,
    /// Whole channels
    Channels,
}

/// What is stored in fewer bits.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Quantize")]
struct QuantizeFlags {
    /// What is stored and computed with fewer bits; after pruning, where both are asked for
    #[arg(long, value_enum, value_name = "HOW")]
    quantize: Option<SchemeFlag>,
    /// How the ranges of activations follow from the samples (int8)
    #[arg(long, value_enum, value_name = "HOW", default_value = "mse")]
    range: RangeFlag,
    /// So many numbers share a scale (int4-weights)
    #[arg(long, value_name = "N", default_value_t = 32)]
    block: u32,
    /// The bits of a byte that weights take: 7 for engines whose products of bytes overflow on x86 without VNNI (int8, dynamic)
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(7..=8))]
    weight_bits: u32,
    /// Leave biases as they are: they do not make up for what rounding weights does to the means (int8)
    #[arg(long)]
    no_bias_correction: bool,
    /// Leave the ranges of channels as they are, even where alike ones would lose less (int8)
    #[arg(long)]
    no_equalization: bool,
    /// Keep layers in floats (int8), products in bytes (int4-weights), until no more is lost on the samples: of right answers
    /// where samples have labels (0.01 for one of a hundred), else how far the output that strays most does, relative to its
    /// root mean square, as the report says it (0.2 is a cosine of 0.98)
    #[arg(long, value_name = "PART", requires = "quantize")]
    max_loss: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SchemeFlag {
    /// Constants in 16-bit floats
    F16,
    /// Weights in bytes, computed with in floats
    Int8Weights,
    /// Matrices and embeddings in four bits, other weights in bytes
    Int4Weights,
    /// Weights in bytes, activations quantized in the run
    Dynamic,
    /// Weights and activations in bytes, calibrated on samples
    Int8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ZerosFlag {
    /// Packed where single weights were pruned
    Auto,
    /// Packed
    Packed,
    /// As numbers like all others
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RangeFlag {
    /// In each of the other ways, and then in that by which the outputs change least on the samples (many are needed)
    Best,
    /// From the least to the largest
    MinMax,
    /// Without a ten-thousandth of the elements
    Percentile,
    /// Such that 256 steps tell most of the distribution
    Entropy,
    /// Such that the squares of the errors add up to least
    Mse,
}

impl QuantizeFlags {
    fn quantization(&self, layers: &[String], calibrated: bool) -> Outcome<Option<Quantization>> {
        let Some(how) = self.quantize else { return Ok(None) };
        let mut how = Quantization::new(match how {
            SchemeFlag::F16 => Scheme::F16,
            SchemeFlag::Int8Weights => Scheme::Int8Weights,
            SchemeFlag::Int4Weights => Scheme::Int4Weights,
            SchemeFlag::Dynamic => Scheme::Dynamic,
            SchemeFlag::Int8 => Scheme::Int8,
        });
        if how.scheme == Scheme::Int8 && !calibrated {
            return Err(Failure::input(
                "--quantize int8 needs samples of what the model will be given: name them with --calibrate",
            ));
        }
        if how.scheme == Scheme::Int4Weights && self.max_loss.is_some() && !calibrated {
            return Err(Failure::input(
                "--max-loss needs samples of what the model will be given: name them with --calibrate",
            ));
        }
        how.range = match self.range {
            RangeFlag::Best => None,
            RangeFlag::MinMax => Some(Range::MinMax),
            RangeFlag::Percentile => Some(Range::Percentile),
            RangeFlag::Entropy => Some(Range::Entropy),
            RangeFlag::Mse => Some(Range::MeanSquare),
        };
        how.block = self.block as usize;
        how.weight_bits = self.weight_bits;
        how.correct_bias = !self.no_bias_correction;
        how.equalize = !self.no_equalization;
        how.max_loss = self.max_loss;
        how.layers = layers.to_vec();
        Ok(Some(how))
    }
}

impl PruneFlags {
    fn pruning(&self) -> Outcome<Option<Pruning>> {
        let Some(what) = self.prune else { return Ok(None) };
        let pattern = match what {
            PruneFlag::L1 => Pattern::L1,
            PruneFlag::TwoOfFour => Pattern::TwoOfFour,
            PruneFlag::Channels => Pattern::Channels,
        };
        let amount = match (self.amount, pattern) {
            (Some(_), Pattern::TwoOfFour) => return Err(Failure::input("--prune 2:4 takes no --amount: it is a half")),
            (Some(amount), _) => amount,
            (None, Pattern::TwoOfFour) => 0.5,
            (None, _) => return Err(Failure::input("--prune needs --amount, the part that goes, such as 0.5")),
        };
        let mut how = Pruning::new(pattern, amount);
        (how.global, how.multiple) = (self.global, self.multiple as usize);
        how.layers.clone_from(&self.layers);
        Ok(Some(how))
    }
}

/// What was done to the model.
#[derive(Default)]
struct Done {
    pruned: Option<Pruned>,
    quantized: Option<Quantized>,
    packed: Option<Packed>,
    /// Why zeros are not packed.
    plain: Option<String>,
}

impl Compress {
    pub fn run(&self) -> Outcome {
        let pruning = self.prune.pruning()?;
        let quantization = self.quantize.quantization(&self.prune.layers, self.sets.calibrated())?;
        if pruning.is_none() && quantization.is_none() {
            return Err(Failure::input("nothing is to be done: say what with --prune or --quantize"));
        }
        let (place, known) = known::find(&self.model)?;
        let original = match &place {
            Place::File(path) => ModelFile::open(path)?,
            Place::Program(bytes) => ModelFile::from_bytes(*bytes)?,
        };
        let mut before = original.clone();
        compress::unpack_zeros(&mut before)?;
        self.check_output(&place)?;
        let model = before.model()?;
        // What is wrong is said before anything is read or computed.
        if let Some(how) = &pruning {
            how.check(&before)?;
        }
        if let Some(how) = &quantization {
            how.check_model(&before)?;
        }
        let sets = Sets::read(&self.sets, &model, known.as_ref())?;
        if let Some(how) = &quantization {
            how.check(&before, &sets.compare)?;
        }
        let device = self.device.device(false)?;

        let mut after = before.clone();
        let mut done = Done::default();
        let waiting = output::spinner("compressing");
        if let Some(how) = &pruning {
            done.pruned = Some(compress::prune(&mut after, how)?);
        }
        if let Some(how) = &quantization {
            // What is random shows nothing of what the model will be given.
            let samples = if self.sets.calibrated() { sets.compare.as_slice() } else { &[] };
            done.quantized = Some(compress::quantize(&mut after, how, samples, &device)?);
        }
        let single = pruning.as_ref().is_some_and(|how| how.pattern != Pattern::Channels);
        if self.zeros == ZerosFlag::Packed || self.zeros == ZerosFlag::Auto && single {
            match compress::pack_zeros(&mut after) {
                Ok(packed) => done.packed = Some(packed),
                Err(error @ CompressError::Opset { .. }) if self.zeros == ZerosFlag::Auto => {
                    done.plain = Some(error.to_string());
                }
                Err(error) => return Err(error.into()),
            }
        }
        waiting.finish_and_clear();
        // What cannot be loaded is not written.
        after.model()?;
        after.save(&self.output)?;
        if let (Some(path), Some(pruned)) = (&self.prune.masks, &done.pruned) {
            arrays::write_npz(path, &pruned.masks.0)?;
        }
        let factors = done.quantized.as_ref().map(|quantized| quantized.factors.clone()).unwrap_or_default();
        let figures = figures::measure([&before, &after], &original, &factors, &sets, &device, self.runs as usize)?;
        let report = report::Report {
            name: &self.model,
            output: &self.output,
            device: &device,
            done: &done,
            sets: &sets,
            figures,
        };
        if self.json { super::print_json(&report.json()) } else { print(&report.text()) }
    }

    /// Whether the files can be written, before anything is computed for them.
    fn check_output(&self, place: &Place) -> Outcome {
        let same = |a: &Path, b: &Path| a.exists() && a.canonicalize().ok() == b.canonicalize().ok();
        for file in [Some(&self.output), self.prune.masks.as_ref()].into_iter().flatten() {
            if matches!(place, Place::File(model) if same(model, file)) {
                return Err(Failure::file(file, "this is the model itself: name another file"));
            }
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            if file.is_dir() || folder.is_some_and(|folder| !folder.is_dir()) {
                return Err(Failure::file(file, "this is no place for a file"));
            }
        }
        if self.prune.masks.as_ref() == Some(&self.output) {
            return Err(Failure::file(&self.output, "the model and the masks cannot be one file"));
        }
        Ok(())
    }
}
