//! A session: inputs in, a run, outputs out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "gpu")]
use super::Precision;
use super::engine::{Loaded, Planned};
use super::request::Request;
use super::{Backend, Engine};
use crate::cpu::CpuSession;
use crate::error::RunError;
#[cfg(feature = "gpu")]
use crate::gpu::GpuSession;
use crate::graph::{Host, Value};
use crate::interrupt::{Cancel, Interrupt};
use crate::tensor::Tensor;
#[cfg(not(target_arch = "wasm32"))]
use crate::tensor::TensorView;

/// An input of a session's model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InputId(pub(super) usize);

/// An output of a session's model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutputId(pub(super) usize);

/// Plans for shapes or parameters that may come again which are kept ready, the current one among them.
const KEPT_RUNNERS: usize = 4;

/// The memory of one run at a time. It is `Send`; several sessions of one [`Engine`] share weights and pipelines.
pub struct Session {
    pub(super) engine: Engine,
    /// What was set, kept to be given again to a run with other shapes.
    pub(super) inputs: Vec<Option<Value>>,
    /// Inputs that lie on the GPU: these come before those of the host.
    #[cfg(feature = "gpu")]
    pub(super) on_device: Vec<Option<crate::gpu::GpuTensor>>,
    /// The pictures on the GPU that some of these are made of by every run.
    #[cfg(feature = "gpu")]
    pub(super) pictures: Vec<Option<Arc<crate::gpu::PictureInput>>>,
    /// Those whose memory was given back, until the next run.
    #[cfg(feature = "gpu")]
    pub(super) resting: Vec<(InputId, super::on_device::Resting)>,
    /// The outputs that stay on the GPU, with the input shapes for which they do.
    #[cfg(feature = "gpu")]
    pub(super) kept: Vec<(super::binding::Shapes, OutputId)>,
    /// The runners for the shapes met last, the current one at the end.
    pub(super) runners: Vec<(Arc<Planned>, Runner)>,
    /// What the values of the runners on a GPU lie in.
    #[cfg(feature = "gpu")]
    pub(super) values: crate::gpu::ValueBuffers,
    pub(super) has_run: bool,
    /// Outputs that are inputs of the next run.
    pub(super) carried: Vec<super::carry::Carry>,
    /// Whether the current runner does not know yet of all of them.
    pub(super) carries_anew: bool,
    /// The work that is left to the bodies in it, where it runs a body itself.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) body_work: Option<u64>,
    /// What is checked while it works.
    #[cfg(feature = "gpu")]
    pub(super) checks: super::check::Checks,
    /// Who may end runs.
    pub(super) cancel: Option<Cancel>,
    pub(super) time_limit: Option<Duration>,
    /// What may end the run that this is a body of.
    pub(super) within: Option<Interrupt>,
}

pub(super) enum Runner {
    Cpu(Box<CpuSession>),
    #[cfg(feature = "gpu")]
    Gpu(Box<GpuSession>),
}

impl Runner {
    /// Whether it has the memory to run.
    const fn is_bound(&self) -> bool {
        match self {
            Self::Cpu(_) => true,
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.is_bound(),
        }
    }

    /// What its nodes on the host may use.
    pub(super) const fn host(&mut self) -> &mut Host {
        match self {
            Self::Cpu(cpu) => &mut cpu.host,
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => &mut gpu.host,
        }
    }

    /// An output of the last run.
    pub(super) fn value(&self, planned: &Planned, output: OutputId) -> Result<&Value, RunError> {
        #[cfg(not(feature = "gpu"))]
        let _ = planned;
        match self {
            Self::Cpu(cpu) => cpu.value(output.0).ok_or_else(of_another_model),
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.value(*planned.graph.outputs.get(output.0).ok_or_else(of_another_model)?),
        }
    }
}

fn of_another_model() -> RunError {
    RunError::State("the output is of another model".to_owned())
}

impl Session {
    pub(super) fn new(engine: Engine) -> Self {
        let inputs = vec![None; engine.model().graph().inputs.len()];
        #[cfg(feature = "gpu")]
        let on_device = vec![None; inputs.len()];
        #[cfg(feature = "gpu")]
        let pictures = vec![None; inputs.len()];
        Self {
            engine,
            inputs,
            #[cfg(feature = "gpu")]
            on_device,
            #[cfg(feature = "gpu")]
            pictures,
            #[cfg(feature = "gpu")]
            resting: vec![],
            #[cfg(feature = "gpu")]
            kept: vec![],
            runners: vec![],
            #[cfg(feature = "gpu")]
            values: Default::default(),
            has_run: false,
            carried: vec![],
            carries_anew: false,
            #[cfg(not(target_arch = "wasm32"))]
            body_work: None,
            #[cfg(feature = "gpu")]
            checks: super::check::Checks::default(),
            cancel: None,
            time_limit: None,
            within: None,
        }
    }

    /// The engine that the session belongs to.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The input of this name.
    ///
    /// # Errors
    /// [`RunError::Name`] if there is none; it names those that there are.
    pub fn input(&self, name: &str) -> Result<InputId, RunError> {
        let graph = self.engine.model().graph();
        let names = || graph.inputs.iter().map(|&id| &graph.value(id).name);
        names().position(|n| n == name).map(InputId).ok_or_else(|| RunError::Name {
            kind: "input",
            name: name.to_owned(),
            known: names().cloned().collect(),
        })
    }

    /// The output of this name.
    ///
    /// # Errors
    /// [`RunError::Name`] if there is none; it names those that there are.
    pub fn output(&self, name: &str) -> Result<OutputId, RunError> {
        let graph = self.engine.model().graph();
        let names = || graph.outputs.iter().map(|&id| &graph.value(id).name);
        names().position(|n| n == name).map(OutputId).ok_or_else(|| RunError::Name {
            kind: "output",
            name: name.to_owned(),
            known: names().cloned().collect(),
        })
    }

    /// Runs the model and waits for its outputs.
    ///
    /// # Errors
    /// [`RunError::MissingInput`] if an input was not set; what the plan or the device says.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run(&mut self) -> Result<(), RunError> {
        let interrupt = self.interrupt();
        while let Err(error) = self.run_once(&interrupt) {
            pollster::block_on(self.recover(error))?;
        }
        Ok(())
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn run_once(&mut self, interrupt: &Interrupt) -> Result<(), RunError> {
        // A steady run finds its memory ready, and need not wait for it.
        if self.must_select()? {
            pollster::block_on(self.select())?;
        }
        self.allow(interrupt);
        self.give()?;
        self.allow_work();
        #[cfg(feature = "gpu")]
        if self.engine.precision() == Some(Precision::F16) && !self.engine.halves_are_checked() {
            pollster::block_on(self.check_halves())?;
        }
        #[cfg(feature = "gpu")]
        if let Some(what) = self.is_compared() {
            let outcome = pollster::block_on(self.compared(what));
            return self.finish(outcome);
        }
        let outcome = match self.runners.last_mut() {
            Some((_, Runner::Cpu(cpu))) => cpu.run(&self.inputs),
            #[cfg(feature = "gpu")]
            Some((_, Runner::Gpu(gpu))) => gpu.run(),
            None => Ok(()),
        };
        self.allow(&Interrupt::default());
        self.account_work();
        #[cfg(feature = "gpu")]
        if outcome.is_ok() {
            pollster::block_on(self.look_at_numbers())?;
        }
        self.finish(outcome)
    }

    /// Hands on what a run has given, if it ended well.
    fn finish(&mut self, outcome: Result<(), RunError>) -> Result<(), RunError> {
        self.has_run = outcome.is_ok();
        outcome.and_then(|()| self.hand_on())
    }

    /// [`Session::run`], for callers that must not block. The future needs no runtime.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub async fn run_async(&mut self) -> Result<(), RunError> {
        let interrupt = self.interrupt();
        while let Err(error) = self.run_once_async(&interrupt).await {
            self.recover(error).await?;
        }
        Ok(())
    }

    async fn run_once_async(&mut self, interrupt: &Interrupt) -> Result<(), RunError> {
        self.select().await?;
        self.allow(interrupt);
        self.give()?;
        #[cfg(feature = "gpu")]
        if self.engine.precision() == Some(Precision::F16) && !self.engine.halves_are_checked() {
            Box::pin(self.check_halves()).await?;
        }
        #[cfg(feature = "gpu")]
        if let Some(what) = self.is_compared() {
            let outcome = Box::pin(self.compared(what)).await;
            return self.finish(outcome);
        }
        let outcome = match self.runners.last_mut() {
            Some((_, Runner::Cpu(cpu))) => cpu.run(&self.inputs),
            #[cfg(feature = "gpu")]
            Some((_, Runner::Gpu(gpu))) => gpu.run_async().await,
            None => Ok(()),
        };
        self.allow(&Interrupt::default());
        #[cfg(feature = "gpu")]
        if outcome.is_ok() {
            Box::pin(self.look_at_numbers()).await?;
        }
        self.finish(outcome)
    }

    /// Hands the inputs to the device.
    pub(super) fn give(&mut self) -> Result<(), RunError> {
        self.check_lengths()?;
        #[cfg(feature = "gpu")]
        self.note_run();
        let Some((planned, runner)) = self.runners.last_mut() else { return Ok(()) };
        match runner {
            #[cfg(feature = "gpu")]
            Runner::Gpu(gpu) => {
                for (i, &id) in planned.graph.inputs.iter().enumerate() {
                    match (&self.inputs[i], &self.on_device[i]) {
                        (_, Some(tensor)) => match &self.pictures[i] {
                            Some(picture) if picture.is_in(tensor) => {
                                gpu.set_picture(id, picture)?;
                            }
                            _ => gpu.set_device(id, tensor)?,
                        },
                        (Some(value), None) => match super::carry::given(&planned.turned, i, value)? {
                            Some(value) => gpu.set_value(id, &value)?,
                            None => gpu.set_value(id, value)?,
                        },
                        (None, None) => {}
                    }
                }
                Ok(())
            }
            Runner::Cpu(_) => {
                let _ = planned;
                #[cfg(feature = "gpu")]
                if self.on_device.iter().any(Option::is_some) {
                    return Err(RunError::State("an input lies on a GPU, but the session runs on the CPU".to_owned()));
                }
                Ok(())
            }
        }
    }

    /// Sets inputs by name, runs, and gives copies of all outputs with their names: the short form for a first program.
    ///
    /// # Errors
    /// As those of [`Session::input`], [`Session::set`] and [`Session::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_with<'a>(
        &mut self,
        inputs: impl IntoIterator<Item = (&'a str, TensorView<'a>)>,
    ) -> Result<Vec<(String, Tensor)>, RunError> {
        for (name, tensor) in inputs {
            let id = self.input(name)?;
            self.set(id, tensor)?;
        }
        self.run()?;
        let graph = self.engine.model().graph();
        let output = |(i, &id): (usize, &crate::graph::ValueId)| {
            let name = &graph.value(id).name;
            // What is handed on may have stayed on the device.
            let carried = self.carries(OutputId(i));
            let tensor = if carried { self.state(name)? } else { self.get(OutputId(i))?.clone() };
            Ok((name.clone(), tensor))
        };
        graph.outputs.iter().enumerate().map(output).collect()
    }

    /// An output of the last run that is a tensor.
    ///
    /// # Errors
    /// [`RunError::State`] before the first run, and if it is no tensor.
    pub fn get(&self, output: OutputId) -> Result<&Tensor, RunError> {
        let value = self.get_value(output)?;
        value.as_tensor().ok_or_else(|| no_tensor(value))
    }

    /// An output of the last run, whatever it is.
    ///
    /// # Errors
    /// [`RunError::State`] before the first run.
    pub fn get_value(&self, output: OutputId) -> Result<&Value, RunError> {
        if !self.has_run {
            return Err(RunError::State("there is no output yet: nothing was run".to_owned()));
        }
        let (planned, runner) = self.runners.last().ok_or_else(of_another_model)?;
        runner.value(planned, output)
    }

    /// Runs the model step by step and hands every value that the device keeps to `observe`, by its name, as soon as it is
    /// computed. Slow: for [`validate`](super::validate()).
    ///
    /// # Errors
    /// As those of [`Session::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_observed(&mut self, observe: &mut dyn FnMut(&str, Tensor)) -> Result<(), RunError> {
        pollster::block_on(self.run_observed_async(observe))
    }

    /// [`Session::run_observed`], for callers that must not block.
    ///
    /// # Errors
    /// As those of [`Session::run`].
    pub async fn run_observed_async(&mut self, observe: &mut dyn FnMut(&str, Tensor)) -> Result<(), RunError> {
        self.select().await?;
        self.give()?;
        let Some((planned, runner)) = self.runners.last_mut() else { return Ok(()) };
        let graph = &planned.graph;
        match runner {
            Runner::Cpu(cpu) => {
                cpu.run_observed(&self.inputs, &mut |id, tensor| observe(&graph.value(id).name, tensor))?;
            }
            #[cfg(feature = "gpu")]
            Runner::Gpu(gpu) => {
                gpu.run_observed_async(|slot, tensor| observe(&graph.value(slot.value).name, tensor)).await?;
            }
        }
        self.has_run = true;
        self.hand_on()
    }

    /// Makes the memory for these input shapes and parameters ready, so that the first run need not.
    pub(super) async fn prepare(&mut self, request: Request) -> Result<(), RunError> {
        let ready = self.runners.iter().position(|(planned, _)| planned.request.covers(&request));
        let (planned, mut runner) = match ready {
            Some(at) => self.runners.remove(at),
            None => {
                let planned = self.engine.planned(request)?;
                let (planned, loaded) = self.engine.load(planned).await?;
                let mut runner = match loaded {
                    Loaded::Cpu(plan) => Runner::Cpu(Box::new(plan.session())),
                    #[cfg(feature = "gpu")]
                    Loaded::Gpu(engine) => {
                        let rooms = self.rooms(&engine).await?;
                        Runner::Gpu(Box::new(GpuSession::with_states(&engine, &rooms).await?))
                    }
                };
                runner.host().limits = self.engine.options().limits;
                #[cfg(not(target_arch = "wasm32"))]
                let runner = runner.with_bodies(&self.engine, &planned.graph);
                (planned, runner)
            }
        };
        if self.runners.len() == KEPT_RUNNERS {
            self.runners.remove(0);
        }
        self.make_room(&mut runner).await?;
        self.runners.push((planned, runner));
        #[cfg(feature = "gpu")]
        {
            self.keep_again().await?;
            self.keep_carried().await?;
        }
        self.carries_anew = false;
        Ok(())
    }

    /// The shape of an input, wherever it was given.
    fn shape(&self, input: usize) -> Option<&[usize]> {
        #[cfg(feature = "gpu")]
        if let Some(tensor) = &self.on_device[input] {
            return Some(self.turned(input).unwrap_or_else(|| tensor.shape()));
        }
        // What is no tensor has no shape that a plan could be made for.
        self.inputs[input].as_ref().map(|value| value.as_tensor().map_or(&[][..], Tensor::shape))
    }

    /// Whether an input was given, or is a state.
    pub(super) fn is_given(&self, input: InputId) -> bool {
        input.0 < self.inputs.len() && self.shape(input.0).is_some()
    }

    /// The content of an input that was given from the host.
    fn content(&self, input: usize) -> Option<&Tensor> {
        #[cfg(feature = "gpu")]
        if self.on_device[input].is_some() {
            return None;
        }
        self.inputs[input].as_ref().and_then(Value::as_tensor)
    }

    /// Whether the current runner is for the inputs' shapes and parameters.
    ///
    /// # Errors
    /// If an input was not given.
    pub(super) fn is_ready(&self) -> Result<bool, RunError> {
        let graph = self.engine.model().graph();
        if let Some(i) = (0..self.inputs.len()).find(|&i| self.shape(i).is_none()) {
            return Err(RunError::MissingInput(graph.value(graph.inputs[i]).name.clone()));
        }
        let serves = |(planned, runner): &(Arc<Planned>, Runner)| {
            runner.is_bound() && planned.request.serves(|i| self.shape(i), |i| self.content(i))
        };
        Ok(!self.carries_anew && self.engine.precision().is_some() && self.runners.last().is_some_and(serves))
    }

    /// Whether a run must begin with [`Session::select`].
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn must_select(&self) -> Result<bool, RunError> {
        #[cfg(feature = "gpu")]
        if !self.resting.is_empty() {
            return Ok(true);
        }
        if !self.is_ready()? || self.has_spare_memory() {
            return Ok(true);
        }
        #[cfg(feature = "gpu")]
        return Ok(!self.takes_states());
        #[cfg(not(feature = "gpu"))]
        Ok(false)
    }

    /// [`Session::prepare`], on another device if this one fails.
    pub(super) async fn made_ready(&mut self, request: &Request) -> Result<(), RunError> {
        while let Err(error) = self.prepare(request.clone()).await {
            self.recover(error).await?;
        }
        Ok(())
    }

    /// Makes the runner for the inputs' shapes and parameters the current one, and has its states where it takes them.
    pub(super) async fn select(&mut self) -> Result<(), RunError> {
        #[cfg(feature = "gpu")]
        self.wake_pictures().await?;
        if !self.is_ready()? || self.has_spare_memory() {
            self.change_runner().await?;
        }
        #[cfg(feature = "gpu")]
        self.bring_states().await?;
        Ok(())
    }

    async fn change_runner(&mut self) -> Result<(), RunError> {
        Box::pin(self.settle_precision()).await?;
        let shapes = (0..self.inputs.len()).filter_map(|i| self.shape(i).map(<[usize]>::to_vec)).collect();
        let mut request = Request::new(shapes, self.engine.parameters(), |i| self.content(i));
        request.grown = self.grown();
        self.prepare(request).await
    }

    /// The plan of the current shapes and parameters: that of the last run, or the one that the session was made with.
    pub fn schedule(&self) -> Option<&crate::plan::Schedule> {
        self.runners.last()?.0.schedule.as_deref()
    }

    /// What the current plan runs on, once there is one: the CPU also takes a model that is too large for a GPU that was chosen
    /// automatically.
    pub fn backend(&self) -> Option<Backend> {
        Some(match &self.runners.last()?.1 {
            Runner::Cpu(_) => Backend::Cpu,
            #[cfg(feature = "gpu")]
            Runner::Gpu(_) => Backend::Gpu,
        })
    }

    /// The GPU's part of the session, for profiles and for encoding into the application's own commands.
    #[cfg(feature = "gpu")]
    pub fn as_gpu(&mut self) -> Option<&mut GpuSession> {
        match &mut self.runners.last_mut()?.1 {
            Runner::Gpu(gpu) => Some(gpu),
            Runner::Cpu(_) => None,
        }
    }
}

/// Somebody asked for a tensor.
pub(super) fn no_tensor(value: &Value) -> RunError {
    RunError::State(format!("the output is no tensor but {}: get it as a value", value.value_type()))
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?})", self.engine)
    }
}

#[cfg(all(test, feature = "gpu", not(target_arch = "wasm32")))]
pub(super) mod tests;

#[cfg(all(test, feature = "gpu", not(target_arch = "wasm32")))]
mod parameters;
