//! Measuring the candidates of a model's nodes on the device that it runs on.

use std::time::{Duration, Instant};

use super::{Engine, Options, Session};
use crate::error::{Error, RunError};
use crate::plan::{Found, Timed, Tuning, search, survey};

/// What [`Session::tune`] found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Tuned {
    /// Each kind of node that has several candidates.
    pub kinds: Vec<TunedKind>,
    /// A run before, and by what was found: the medians of runs in turn.
    pub runs: (Duration, Duration),
    /// Whether that is kept: only if it makes runs faster.
    pub kept: bool,
}

/// A kind of node that was measured.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TunedKind {
    /// The operator.
    pub operator: String,
    /// The name of the first node.
    pub node: String,
    /// How many nodes of this kind there are.
    pub nodes: usize,
    /// How many candidates were measured.
    pub candidates: usize,
    /// The candidate before, and the one that is fastest.
    pub names: (&'static str, &'static str),
    /// The time of all these nodes by the one and by the other, each kept apart from what runs beside it.
    pub times: (Duration, Duration),
}

/// Runs of which each step's least time counts.
const PROFILES: usize = 3;

/// Runs by the old and by the new plan, in turn.
const RUNS: usize = 9;

impl Session {
    /// Measures the candidates of all nodes on the device, with the inputs that were set, and has the fastest ones used from
    /// now on: by this session and all plans that are made on the device, and after the next start too if the device
    /// has a [cache folder](super::DeviceOptions::cache_folder). It makes a plan for each candidate and so takes
    /// many times as long as a first run; nothing is ever measured unless this is called.
    ///
    /// # Errors
    /// [`RunError::MissingInput`] if an input was not set; [`RunError::State`] on the CPU, or if shaders were replaced; what
    /// the device says about the plan as it is. Candidates that the device refuses are passed over.
    pub fn tune(&mut self) -> Result<Tuned, Error> {
        pollster::block_on(self.select())?;
        let state = |text: &str| Error::from(RunError::State(text.to_owned()));
        let device = self.engine.device().clone();
        let gpu = device.as_gpu().ok_or_else(|| state("kernels are measured on a GPU, and the device is the CPU"))?;
        let mut options = self.engine.options().clone().precision(self.engine.precision().unwrap_or_default());
        // Measured is what suits the device; what a limit of memory or a schedule of submissions makes of it is no matter.
        options.memory_limit = None;
        if !options.shaders.are_built_in() {
            return Err(state("what is measured holds for the built-in shaders, and these were replaced"));
        }
        let Some((planned, _)) = self.runners.last().filter(|(planned, _)| planned.schedule.is_some()) else {
            return Err(state("kernels are measured on a GPU, and the model runs on the CPU"));
        };
        let graph = self.engine.optimized(&planned.request)?.graph;
        let kinds = survey(&graph, gpu.facts(), &self.engine.plan_options(gpu.tuning()))?;
        let (found, tuning) = search(&kinds, |tuning| self.measure(&options, tuning))?;
        let runs = self.compare(&options, &gpu.tuning(), &tuning)?;
        let kept = runs.1 < runs.0;
        if kept {
            gpu.learn(&tuning);
            self.engine.forget_plans();
            self.runners.clear();
        }
        let kinds = found.iter().map(|found: &Found| {
            let node = graph.node(found.kind.nodes[0]);
            let name = |i: usize| found.kind.candidates[i].1;
            TunedKind {
                operator: node.operator.name().to_owned(),
                node: node.name.clone(),
                nodes: found.kind.nodes.len(),
                candidates: found.times.iter().flatten().count(),
                names: (name(found.kind.chosen), name(found.taken)),
                times: found.times(),
            }
        });
        Ok(Tuned { kinds: kinds.collect(), runs, kept })
    }

    /// A session with the same inputs whose plans follow a tuning, run once.
    fn by(&self, options: &Options, tuning: &Tuning) -> Result<Self, Error> {
        let engine = Engine::tuned(&self.engine.whole_model()?, self.engine.device(), options, tuning)?;
        let mut session = Self::new(engine);
        session.take_inputs_of(self);
        session.run()?;
        Ok(session)
    }

    /// The least time of each step.
    fn measure(&self, options: &Options, tuning: &Tuning) -> Result<Vec<Timed>, Error> {
        let mut session = self.by(options, tuning)?;
        let mut steps: Vec<Timed> = vec![];
        for _ in 0..PROFILES {
            session.give()?;
            let gpu = session.as_gpu().ok_or_else(|| RunError::State("the model left the GPU".to_owned()))?;
            let times: Vec<Timed> = gpu.profile()?.dispatches.iter().map(|step| (step.node, step.time)).collect();
            match steps.len() == times.len() {
                true => steps.iter_mut().zip(times).for_each(|(step, time)| step.1 = step.1.min(time.1)),
                false => steps = times,
            }
        }
        Ok(steps)
    }

    /// The medians of runs by two tunings, in turn.
    fn compare(&self, options: &Options, before: &Tuning, after: &Tuning) -> Result<(Duration, Duration), Error> {
        let mut sessions = [self.by(options, before)?, self.by(options, after)?];
        let mut times = [vec![], vec![]];
        for _ in 0..RUNS {
            for (session, times) in sessions.iter_mut().zip(&mut times) {
                let start = Instant::now();
                session.run()?;
                times.push(start.elapsed());
            }
        }
        let [before, after] = times.map(|mut times| {
            times.sort();
            times[RUNS / 2]
        });
        Ok((before, after))
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::{Definition, Graph};
    use crate::session::run::tests::gpu;
    use crate::{Device, ElementType, Model, Options, RunError, Tensor};

    #[test]
    fn a_session_is_tuned_and_gives_the_same() {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [1, 8, 12, 12]);
        let w =
            graph.constant("w", Tensor::new([8, 8, 3, 3], (0..576).map(|i| (i % 9) as f32 - 4.0).collect()).unwrap());
        let a = graph.node(&Definition::new("Conv").attribute("pads", [1, 1, 1, 1]), &[x, w]).unwrap();
        let y = graph.node(&Definition::new("Relu"), &[a]).unwrap();
        graph.output("y", y);
        let model = Model::from_graph(graph.build().unwrap());
        let x = Tensor::new([1, 8, 12, 12], (0..1152).map(|i| (i % 5) as f32).collect::<Vec<f32>>()).unwrap();
        let mut on_cpu = model.session(&Device::cpu()).unwrap();
        let expected = on_cpu.run_with([("x", x.view())]).unwrap();
        assert!(matches!(on_cpu.tune(), Err(crate::Error::Run(RunError::State(_)))));
        let Some(gpu) = gpu() else { return };
        let mut session = model.session_with(&gpu, &Options::new()).unwrap();
        assert!(matches!(session.tune(), Err(crate::Error::Run(RunError::MissingInput(_)))));
        session.run_with([("x", x.view())]).unwrap();
        let tuned = session.tune().unwrap();
        // Which one is fastest is chance in so small a model; all that can be told is that they were measured.
        assert!(tuned.kinds.iter().any(|kind| kind.operator == "Conv" && kind.candidates > 1), "{tuned:?}");
        assert_eq!(gpu.as_gpu().unwrap().tuning().is_empty(), !tuned.kept);
        let got = session.run_with([("x", x.view())]).unwrap();
        let tolerance = crate::Tolerance { rtol: 1e-5, atol: 1e-6, floor: 0.0, amplified: 0.0 };
        assert!(tolerance.compare("y", &got[0].1, &expected[0].1).passed);
    }
}
