//! State: outputs that are the next run's inputs, such as a recurrent layer's, or the keys and values of attention.

mod growth;

#[cfg(feature = "gpu")]
pub(super) use growth::given;

use super::binding::shape_from_options;
#[cfg(feature = "gpu")]
use super::run::Runner;
use super::run::{InputId, OutputId, Session};
use crate::error::{PlanError, RunError};
use crate::graph::Value;
use crate::tensor::Tensor;
use growth::Growth;

/// An output that is handed on to an input after every run.
#[derive(Debug)]
pub(super) struct Carry {
    output: OutputId,
    input: InputId,
    /// What the input was given, while it holds a state.
    first: Option<Given>,
    growth: Option<Growth>,
}

/// What an input was given.
#[derive(Debug)]
struct Given {
    value: Option<Value>,
    #[cfg(feature = "gpu")]
    on_device: Option<crate::gpu::GpuTensor>,
}

impl Session {
    /// Has every run hand an output on to the next run's input: the state of a recurrent network, or what attention keeps
    /// of the past. On a GPU the state stays there; it is not read back ([`Session::state`] does so on request). Only where
    /// a node on the host computes or reads it, or its content is a [parameter](crate::Model::parameters), it goes by
    /// the host's memory.
    ///
    /// The state begins with what the input is given; unless it is given anything, with zeros, if its shape is known.
    /// Giving the input later sets the state. The output may have another shape than the input, as long as the model
    /// takes it: what grows from run to run is planned for each of its lengths.
    ///
    /// ```
    /// use rimlight::graph::Definition;
    /// use rimlight::{Device, ElementType, Graph, Model, Tensor};
    /// let mut graph = Graph::builder();
    /// let (x, sum) = (graph.input("x", ElementType::F32, [2usize]), graph.input("sum", ElementType::F32, [2usize]));
    /// let next = graph.node(&Definition::new("Add"), &[x, sum])?;
    /// graph.output("next", next);
    /// let mut session = Model::from_graph(graph.build()?).session(&Device::cpu())?;
    /// session.carry("next", "sum")?;
    /// for _ in 0..3 {
    ///     session.run_with([("x", Tensor::vector(vec![1f32, 2.0]).view())])?;
    /// }
    /// assert_eq!(session.state("next")?, Tensor::vector(vec![3f32, 6.0]));
    /// session.reset();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RunError::Name`] if there is no such output or input; [`RunError::InputType`] or [`RunError::InputShape`] if the
    /// input never takes the output; [`RunError::State`] if another output is handed on to it.
    pub fn carry(&mut self, output: &str, input: &str) -> Result<(), RunError> {
        let (output, input) = (self.output(output)?, self.input(input)?);
        self.hand(output, input)
    }

    /// [`Session::carry`] of an output and an input of the model.
    pub(super) fn hand(&mut self, output: OutputId, input: InputId) -> Result<(), RunError> {
        let model = self.engine.model().clone();
        let graph = model.graph();
        let (from, to) = (graph.value(graph.outputs[output.0]), graph.value(graph.inputs[input.0]));
        if let Some(other) = self.carried.iter().find(|carry| carry.input == input) {
            if other.output == output {
                return Ok(());
            }
            let other = &graph.value(graph.outputs[other.output.0]).name;
            let reason = format!("output '{other}' is handed on to input '{}' already", to.name);
            return Err(RunError::State(reason));
        }
        if let (Some(from), Some(fact)) = (&from.fact, &to.fact) {
            if from.element_type != fact.element_type {
                let (wanted, found) = (fact.element_type, from.element_type);
                return Err(RunError::InputType { name: to.name.clone(), wanted, found });
            }
            let never = |(a, b): (&crate::Dim, &crate::Dim)| a.size().zip(b.size()).is_some_and(|(a, b)| a != b);
            if from.shape.len() != fact.shape.len() || from.shape.iter().zip(&fact.shape).any(never) {
                let found = from.shape.iter().map(|dim| dim.size().unwrap_or(0)).collect();
                return Err(RunError::InputShape { name: to.name.clone(), wanted: fact.to_string(), found });
            }
        }
        if !self.is_given(input) {
            match shape_from_options(graph, graph.inputs[input.0], self.engine.options()) {
                Ok(shape) => {
                    if let Some(fact) = &to.fact {
                        self.inputs[input.0] = Some(Tensor::zeros(fact.element_type, shape)?.into());
                    }
                }
                // Whoever runs the model without giving it is told.
                Err(PlanError::Unbound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.carried.push(Carry { output, input, first: None, growth: None });
        self.carries_anew = true;
        Ok(())
    }

    /// Gives every input that an output is handed on to what it was given first, or zeros.
    pub fn reset(&mut self) {
        for carry in &mut self.carried {
            if let Some(first) = carry.first.take() {
                self.inputs[carry.input.0] = first.value;
                carry.growth.iter_mut().for_each(Growth::forget);
                #[cfg(feature = "gpu")]
                {
                    self.on_device[carry.input.0] = first.on_device;
                }
            }
        }
    }

    /// An output of the last run that is handed on, wherever it lies: a copy.
    ///
    /// # Errors
    /// [`RunError::Name`] if there is no such output, [`RunError::State`] before the first run, and if the output is no
    /// tensor or is not [carried](Session::carry); what the device says.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn state(&self, output: &str) -> Result<Tensor, RunError> {
        self.state_of(self.output(output)?)
    }

    /// [`Session::state`] of an output of the model.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn state_of(&self, output: OutputId) -> Result<Tensor, RunError> {
        #[cfg(feature = "gpu")]
        if let Some((tensor, Runner::Gpu(gpu))) = self.state_on_device(output).zip(self.runners.last().map(|r| &r.1)) {
            return self.in_order(output, gpu.read(tensor)?);
        }
        self.state_on_host(output)
    }

    /// [`Session::state`], for callers that must not block.
    ///
    /// # Errors
    /// As [`Session::state`].
    pub async fn state_async(&self, output: &str) -> Result<Tensor, RunError> {
        let output = self.output(output)?;
        #[cfg(feature = "gpu")]
        if let Some(tensor) = self.state_on_device(output) {
            return self.in_order(output, tensor.read_async().await?);
        }
        self.state_on_host(output)
    }

    /// Whether an output is handed on.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn carries(&self, output: OutputId) -> bool {
        self.handed_on(output).is_some()
    }

    /// What is handed on of an output, once a run has given it: the input that it has become.
    fn handed_on(&self, output: OutputId) -> Option<InputId> {
        self.carried.iter().find(|carry| carry.output == output && carry.first.is_some()).map(|carry| carry.input)
    }

    #[cfg(feature = "gpu")]
    fn state_on_device(&self, output: OutputId) -> Option<&crate::gpu::GpuTensor> {
        self.on_device[self.handed_on(output)?.0].as_ref()
    }

    fn state_on_host(&self, output: OutputId) -> Result<Tensor, RunError> {
        let none =
            || RunError::State("there is no state yet: nothing was run, or the output is not carried".to_owned());
        let value = self.handed_on(output).and_then(|input| self.inputs[input.0].as_ref()).ok_or_else(none)?;
        value.as_tensor().cloned().ok_or_else(|| super::run::no_tensor(value))
    }

    /// The input was given anew: that is its state from now on.
    pub(super) fn begins(&mut self, input: InputId) {
        for carry in self.carried.iter_mut().filter(|carry| carry.input == input) {
            carry.first = None;
            carry.growth.iter_mut().for_each(Growth::forget);
        }
    }

    /// Whether states go by the host's memory, so that it must be waited for every run.
    #[cfg(feature = "gpu")]
    pub(super) fn carries_by_host(&self) -> bool {
        let Some((planned, Runner::Gpu(gpu))) = self.runners.last() else { return false };
        let on_device = |output: OutputId| planned.graph.outputs.get(output.0).is_some_and(|&id| gpu.keeps(id));
        !self.carried.iter().all(|carry| on_device(carry.output))
    }

    /// Whether the current runner takes every state that lies on a GPU as it lies there.
    #[cfg(feature = "gpu")]
    pub(super) fn takes_states(&self) -> bool {
        self.carried.iter().all(|carry| self.takes(carry.input))
    }

    /// Whether the current runner takes an input from where it lies.
    #[cfg(feature = "gpu")]
    fn takes(&self, input: InputId) -> bool {
        let (Some(tensor), Some((planned, runner))) = (&self.on_device[input.0], self.runners.last()) else {
            return true;
        };
        match (runner, planned.graph.inputs.get(input.0)) {
            (Runner::Gpu(gpu), Some(&id)) => {
                growth::lies_as_wanted(planned, input.0, self.is_reordered(input.0)) && gpu.takes(id, tensor).is_ok()
            }
            _ => false,
        }
    }

    /// Brings to the host's memory those states that the current runner does not take as they lie on the GPU: a node on
    /// the host reads them, or it takes them in another order.
    #[cfg(feature = "gpu")]
    pub(super) async fn bring_states(&mut self) -> Result<(), RunError> {
        for i in 0..self.carried.len() {
            let Carry { output, input, .. } = self.carried[i];
            if self.takes(input) {
                continue;
            }
            let Some(tensor) = self.on_device[input.0].clone() else { continue };
            let state = self.in_order(output, tensor.read_async().await?)?;
            self.on_device[input.0] = None;
            self.inputs[input.0] = Some(state.into());
            self.carried[i].growth.iter_mut().for_each(Growth::forget);
        }
        Ok(())
    }

    /// Leaves on the GPU what is handed on there.
    #[cfg(feature = "gpu")]
    pub(super) async fn keep_carried(&mut self) -> Result<(), RunError> {
        let Some((planned, Runner::Gpu(gpu))) = self.runners.last_mut() else { return Ok(()) };
        for Carry { output, input, .. } in &self.carried {
            let graph = &planned.graph;
            let (Some(&from), Some(&to)) = (graph.outputs.get(output.0), graph.inputs.get(input.0)) else { continue };
            if !self.engine.parameters().contains(&input.0) && gpu.can_keep(from) && gpu.can_take(to) {
                gpu.keep(from).await?;
            }
        }
        Ok(())
    }

    /// Makes outputs of a run inputs of the next.
    pub(super) fn hand_on(&mut self) -> Result<(), RunError> {
        for i in 0..self.carried.len() {
            let Carry { output, input, .. } = self.carried[i];
            self.keep_first(i);
            #[cfg(feature = "gpu")]
            if let Some((planned, Runner::Gpu(gpu))) = self.runners.last()
                && let Some(&id) = planned.graph.outputs.get(output.0)
                && let Ok(tensor) = gpu.device_output(id)
            {
                let turned = planned.turned.iter().find(|grown| grown.output == output.0 && grown.input == input.0);
                if let Some(growth) = &mut self.carried[i].growth {
                    growth.lies(turned, &tensor);
                }
                self.on_device[input.0] = Some(tensor);
                continue;
            }
            let (planned, runner) = self.runners.last().ok_or_else(|| RunError::State("nothing was run".to_owned()))?;
            let next = runner.value(planned, output)?;
            self.check_length(&self.carried[i], next.as_tensor().map(Tensor::shape))?;
            // The plan before may have left it on the device.
            #[cfg(feature = "gpu")]
            self.on_device[input.0].take();
            // A steady run copies into the memory that it has.
            match (&mut self.inputs[input.0], next) {
                (Some(Value::Tensor(held)), Value::Tensor(next))
                    if held.element_type() == next.element_type() && held.shape() == next.shape() =>
                {
                    held.copy_from(&next.view());
                }
                (held, next) => *held = Some(next.clone()),
            }
        }
        Ok(())
    }

    fn keep_first(&mut self, carry: usize) {
        let Carry { input, first, .. } = &mut self.carried[carry];
        if first.is_none() {
            *first = Some(Given {
                value: self.inputs[input.0].take(),
                #[cfg(feature = "gpu")]
                on_device: self.on_device[input.0].take(),
            });
        }
    }
}

#[cfg(all(test, feature = "gpu", not(target_arch = "wasm32")))]
mod tests;

#[cfg(all(test, feature = "gpu", not(target_arch = "wasm32")))]
mod changing;
