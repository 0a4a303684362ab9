//! Both models measured side by side.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rimlight::compress::{Changes, Sample, compare, unpack_zeros};
use rimlight::onnx::ModelFile;
use rimlight::{Device, Engine, Options, Session};

use super::sets::Sets;
use crate::commands::inspect::work;
use crate::failure::Outcome;
use crate::output;

/// How long the runs of both models are measured.
const MEASURE: Duration = Duration::from_secs(3);

/// What a model takes.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Bytes of the file.
    pub file: u64,
    /// Bytes of constants that are not zero, which is what a file takes where zeros are packed.
    pub weights: usize,
    /// How many weights are not zero.
    pub not_zero: usize,
    /// Bytes in memory: of values and packed weights on a GPU, of weights on the CPU.
    pub memory: u64,
    /// Operations of a run.
    pub work: f64,
    /// The time of a run, the median.
    pub run: Duration,
}

/// What was found of two models.
pub struct Measured {
    pub figures: [Figures; 2],
    pub changes: Changes,
    /// On the samples to evaluate on.
    pub evaluation: Option<Changes>,
}

/// Measures a model before and after. `original` is the one before as it lay on the disk, `factors` what channels of values
/// were divided by. Runs are measured for a while, so many of each at most.
///
/// # Errors
/// If one of them cannot be run.
pub fn measure(
    files: [&ModelFile; 2],
    original: &ModelFile,
    factors: &HashMap<String, Vec<f32>>,
    sets: &Sets,
    device: &Device,
    most: usize,
) -> Outcome<Measured> {
    let compared = |samples: &[Sample], what: &str| {
        let bar = output::progress(samples.len() as u64, what, false);
        let changes = compare(files[0], files[1], factors, samples, device, |done| bar.set_position(done as u64));
        bar.finish_and_clear();
        changes
    };
    let changes = compared(&sets.compare, "comparing")?;
    let evaluation = match sets.evaluate.as_slice() {
        [] => None,
        samples => Some(compared(samples, "evaluating")?),
    };
    let waiting = output::spinner("measuring");
    let sample = sets.compare.first();
    let mut runs = [Run::new(original, sample, device)?, Run::new(files[1], sample, device)?];
    let start = Instant::now();
    // In turns, so that what else the machine does falls on both.
    while runs[0].times.len() < most && (runs[0].times.len() < 5 || start.elapsed() < MEASURE) {
        for run in &mut runs {
            run.once()?;
        }
    }
    waiting.finish_and_clear();
    Ok(Measured { figures: runs.map(Run::figures), changes, evaluation })
}

/// A model that is run over and over.
struct Run {
    session: Session,
    figures: Figures,
    times: Vec<Duration>,
}

impl Run {
    fn new(file: &ModelFile, sample: Option<&Sample>, device: &Device) -> Outcome<Self> {
        let model = file.model()?;
        let inputs = sample.map(|sample| sample.inputs.as_slice()).unwrap_or_default();
        let options = inputs.iter().fold(Options::new(), |options, (name, tensor)| options.shape(name, tensor.shape()));
        let borrowed: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let plan = model.plan_for(device, &options, &borrowed)?;
        let held = |graph: &rimlight::Graph| -> usize {
            graph.values.iter().filter_map(|v| v.fact.as_ref()?.constant.as_ref()).map(|t| t.bytes().len()).sum()
        };
        let memory = plan.schedule().map_or_else(|| held(plan.graph()) as u64, |s| s.summary.device_bytes());
        let mut dense = file.clone();
        unpack_zeros(&mut dense)?;
        let constants = || dense.constants().filter_map(|name| dense.constant(name));
        let not_zero = |tensor: rimlight::Tensor| tensor.to_f64().into_iter().filter(|&v| v != 0.0).count();
        let figures = Figures {
            file: file.to_bytes()?.len() as u64,
            weights: constants().map(|tensor| tensor.len()).sum(),
            not_zero: constants().map(not_zero).sum(),
            memory,
            work: work(plan.graph()),
            run: Duration::ZERO,
        };
        let mut session = Engine::new(&model, device, &options)?.session()?;
        for (name, tensor) in inputs {
            session.set(session.input(name)?, tensor.view())?;
        }
        // The first run makes what later ones use again.
        session.run()?;
        Ok(Self { session, figures, times: vec![] })
    }

    fn once(&mut self) -> Outcome {
        let start = Instant::now();
        self.session.run()?;
        self.times.push(start.elapsed());
        Ok(())
    }

    fn figures(mut self) -> Figures {
        self.times.sort();
        Figures { run: self.times.get(self.times.len() / 2).copied().unwrap_or_default(), ..self.figures }
    }
}
