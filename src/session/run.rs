//! A session: inputs in, a run, outputs out.

use std::fmt;
use std::sync::Arc;

use super::Engine;
use super::binding::{Shapes, check_input};
use super::engine::{Loaded, Planned};
use crate::cpu::CpuSession;
use crate::error::RunError;
#[cfg(feature = "gpu")]
use crate::gpu::GpuSession;
use crate::tensor::{Tensor, TensorView};

/// An input of a session's model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InputId(usize);

/// An output of a session's model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutputId(usize);

/// Runs whose shapes differ from the last one's keep their memory for this many other shapes.
const KEPT_RUNNERS: usize = 4;

/// The memory of one run at a time. It is `Send`; several sessions of one [`Engine`] share weights and pipelines.
pub struct Session {
    engine: Engine,
    /// What was set, kept to be given again to a run with other shapes.
    inputs: Vec<Option<Tensor>>,
    /// The runners for the shapes met last, the current one at the end.
    runners: Vec<(Arc<Planned>, Runner)>,
    has_run: bool,
}

enum Runner {
    Cpu(CpuSession),
    #[cfg(feature = "gpu")]
    Gpu(Box<GpuSession>),
}

impl Session {
    pub(super) fn new(engine: Engine) -> Self {
        let inputs = vec![None; engine.model().graph().inputs.len()];
        Self { engine, inputs, runners: vec![], has_run: false }
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

    /// Gives an input its content; it is copied.
    ///
    /// # Errors
    /// [`RunError::InputType`] or [`RunError::InputShape`] if it does not fit the model.
    pub fn set(&mut self, input: InputId, tensor: TensorView<'_>) -> Result<(), RunError> {
        let graph = self.engine.model().graph();
        let (Some(slot), Some(&id)) = (self.inputs.get_mut(input.0), graph.inputs.get(input.0)) else {
            return Err(RunError::State("the input is of another model".to_owned()));
        };
        let info = graph.value(id);
        if let Some(fact) = &info.fact {
            check_input(&info.name, fact, self.engine.options(), &tensor)?;
        }
        // A steady run copies into the memory that it has.
        match slot {
            Some(kept) if kept.element_type() == tensor.element_type() && kept.shape() == tensor.shape() => {
                kept.copy_from(&tensor);
            }
            _ => *slot = Some(tensor.to_tensor()),
        }
        Ok(())
    }

    /// Runs the model and waits for its outputs.
    ///
    /// # Errors
    /// [`RunError::MissingInput`] if an input was not set; what the plan or the device says.
    pub fn run(&mut self) -> Result<(), RunError> {
        self.select()?;
        let Some((_, runner)) = self.runners.last_mut() else { return Ok(()) };
        match runner {
            Runner::Cpu(cpu) => cpu.run(&self.inputs)?,
            #[cfg(feature = "gpu")]
            Runner::Gpu(gpu) => {
                for (i, input) in self.inputs.iter().enumerate() {
                    if let Some(input) = input {
                        gpu.set(i, input)?;
                    }
                }
                gpu.run()?;
            }
        }
        self.has_run = true;
        Ok(())
    }

    /// Sets inputs by name, runs, and gives copies of all outputs with their names: the short form for a first program.
    ///
    /// # Errors
    /// As those of [`Session::input`], [`Session::set`] and [`Session::run`].
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
        (0..graph.outputs.len())
            .map(|i| Ok((graph.value(graph.outputs[i]).name.clone(), self.get(OutputId(i))?.clone())))
            .collect()
    }

    /// An output of the last run.
    ///
    /// # Errors
    /// [`RunError::State`] before the first run.
    pub fn get(&self, output: OutputId) -> Result<&Tensor, RunError> {
        if !self.has_run {
            return Err(RunError::State("there is no output yet: nothing was run".to_owned()));
        }
        let found = self.runners.last().and_then(|(_, runner)| match runner {
            Runner::Cpu(cpu) => cpu.output(output.0),
            #[cfg(feature = "gpu")]
            Runner::Gpu(gpu) => gpu.output(output.0),
        });
        found.ok_or_else(|| RunError::State("the output is of another model".to_owned()))
    }

    /// Runs the model step by step and hands every value that the device keeps to `observe`, by its name, as soon as it is
    /// computed. Slow: for [`validate`](super::validate()).
    ///
    /// # Errors
    /// As those of [`Session::run`].
    pub fn run_observed(&mut self, observe: &mut dyn FnMut(&str, Tensor)) -> Result<(), RunError> {
        self.select()?;
        let Some((planned, runner)) = self.runners.last_mut() else { return Ok(()) };
        let graph = &planned.graph;
        match runner {
            Runner::Cpu(cpu) => {
                cpu.run_observed(&self.inputs, &mut |id, tensor| observe(&graph.value(id).name, tensor))?
            }
            #[cfg(feature = "gpu")]
            Runner::Gpu(gpu) => {
                for (i, input) in self.inputs.iter().enumerate() {
                    if let Some(input) = input {
                        gpu.set(i, input)?;
                    }
                }
                gpu.run_observed(&mut |id, tensor| observe(&graph.value(id).name, tensor))?;
            }
        }
        self.has_run = true;
        Ok(())
    }

    /// Makes the memory for these input shapes ready, so that the first run need not.
    pub(super) fn prepare(&mut self, shapes: &Shapes) -> Result<(), RunError> {
        if let Some(at) = self.runners.iter().position(|(planned, _)| planned.shapes == *shapes) {
            let found = self.runners.remove(at);
            self.runners.push(found);
            return Ok(());
        }
        let planned = self.engine.planned(shapes)?;
        let runner = match self.engine.load(&planned)? {
            Loaded::Cpu(plan) => Runner::Cpu(plan.session()),
            #[cfg(feature = "gpu")]
            Loaded::Gpu(engine) => Runner::Gpu(Box::new(engine.session()?)),
        };
        if self.runners.len() == KEPT_RUNNERS {
            self.runners.remove(0);
        }
        self.runners.push((planned, runner));
        Ok(())
    }

    /// Makes the runner for the inputs' shapes the current one.
    fn select(&mut self) -> Result<(), RunError> {
        let graph = self.engine.model().graph();
        for (i, input) in self.inputs.iter().enumerate() {
            if input.is_none() {
                return Err(RunError::MissingInput(graph.value(graph.inputs[i]).name.clone()));
            }
        }
        let fits = |planned: &Planned| {
            planned
                .shapes
                .iter()
                .zip(&self.inputs)
                .all(|(shape, input)| input.as_ref().is_some_and(|t| t.shape() == shape))
        };
        if self.runners.last().is_some_and(|(planned, _)| fits(planned)) {
            return Ok(());
        }
        let shapes: Shapes = self.inputs.iter().flatten().map(|t| t.shape().to_vec()).collect();
        self.prepare(&shapes)
    }

    /// The plan of the current shapes: that of the last run, or the one that the session was made with.
    pub fn schedule(&self) -> Option<&crate::plan::Schedule> {
        self.runners.last()?.0.schedule.as_deref()
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

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?})", self.engine)
    }
}
