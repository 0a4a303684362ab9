//! State: outputs that are the next run's inputs, such as a recurrent layer's, or the keys and values of attention.

use super::binding::shape_from_options;
#[cfg(feature = "gpu")]
use super::run::Runner;
use super::run::{InputId, OutputId, Session};
use crate::error::{PlanError, RunError};
use crate::graph::Value;
use crate::tensor::Tensor;

/// An output that is handed on to an input after every run.
#[derive(Debug)]
pub(super) struct Carry {
    output: OutputId,
    input: InputId,
    /// What the input was given, while it holds a state.
    first: Option<Given>,
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
        if let Some(other) = self.carried.iter().find(|carry| carry.input == input) {
            if other.output == output {
                return Ok(());
            }
            return Err(RunError::State("another output is handed on to this input".to_owned()));
        }
        let model = self.engine.model().clone();
        let graph = model.graph();
        let (from, to) = (graph.value(graph.outputs[output.0]), graph.value(graph.inputs[input.0]));
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
        self.carried.push(Carry { output, input, first: None });
        self.carries_anew = true;
        Ok(())
    }

    /// Gives every input that an output is handed on to what it was given first, or zeros.
    pub fn reset(&mut self) {
        for carry in &mut self.carried {
            if let Some(first) = carry.first.take() {
                self.inputs[carry.input.0] = first.value;
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
        pollster::block_on(self.state_async(output))
    }

    /// [`Session::state`], for callers that must not block.
    ///
    /// # Errors
    /// As [`Session::state`].
    pub async fn state_async(&self, output: &str) -> Result<Tensor, RunError> {
        let output = self.output(output)?;
        let none =
            || RunError::State("there is no state yet: nothing was run, or the output is not carried".to_owned());
        let carry = self.carried.iter().find(|carry| carry.output == output && carry.first.is_some());
        let input = carry.ok_or_else(none)?.input.0;
        #[cfg(feature = "gpu")]
        if let Some(tensor) = &self.on_device[input] {
            return tensor.read_async().await;
        }
        let value = self.inputs[input].as_ref().ok_or_else(none)?;
        value.as_tensor().cloned().ok_or_else(|| super::run::no_tensor(value))
    }

    /// The input was given anew: that is its state from now on.
    pub(super) fn begins(&mut self, input: InputId) {
        for carry in self.carried.iter_mut().filter(|carry| carry.input == input) {
            carry.first = None;
        }
    }

    /// Whether states go by the host's memory, so that it must be waited for every run.
    #[cfg(feature = "gpu")]
    pub(super) fn carries_by_host(&self) -> bool {
        let Some((planned, Runner::Gpu(gpu))) = self.runners.last() else { return false };
        let on_device = |output: OutputId| planned.graph.outputs.get(output.0).is_some_and(|&id| gpu.keeps(id));
        !self.carried.iter().all(|carry| on_device(carry.output))
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
            #[cfg(feature = "gpu")]
            if let Some((planned, Runner::Gpu(gpu))) = self.runners.last()
                && let Some(&id) = planned.graph.outputs.get(output.0)
                && let Ok(tensor) = gpu.device_output(id)
            {
                self.keep_first(i);
                self.on_device[input.0] = Some(tensor);
                continue;
            }
            self.keep_first(i);
            let (planned, runner) = self.runners.last().ok_or_else(|| RunError::State("nothing was run".to_owned()))?;
            let next = runner.value(planned, output)?;
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
mod tests {
    use crate::graph::{Definition, Graph};
    use crate::model::Model;
    use crate::session::{Device, Session};
    use crate::{ElementType, RunError, Tensor};

    fn devices() -> impl Iterator<Item = Device> {
        [Some(Device::cpu()), crate::session::run::tests::gpu()].into_iter().flatten()
    }

    /// `next = state + x`, and `y = 2 · next`; with `on_host` a node in between that no GPU runs.
    fn sums(on_host: bool) -> Model {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [3usize]);
        let state = graph.input("state", ElementType::F32, [3usize]);
        let mut next = graph.node(&Definition::new("Add"), &[state, x]).unwrap();
        if on_host {
            let texts = graph.node(&Definition::new("Cast").attribute("to", 8i64), &[next]).unwrap();
            next = graph.node(&Definition::new("Cast").attribute("to", 1i64), &[texts]).unwrap();
        }
        let y = graph.node(&Definition::new("Add"), &[next, next]).unwrap();
        graph.output("y", y);
        graph.output("next", next);
        Model::from_graph(graph.build().unwrap())
    }

    fn vector(values: [f32; 3]) -> Tensor {
        Tensor::vector(values.to_vec())
    }

    fn step(session: &mut Session, x: [f32; 3]) -> Tensor {
        let (x, y, id) = (vector(x), session.output("y").unwrap(), session.input("x").unwrap());
        session.set(id, x.view()).unwrap();
        session.run().unwrap();
        session.get(y).unwrap().clone()
    }

    #[test]
    fn a_state_is_handed_on_and_begins_again() {
        for device in devices() {
            for on_host in [false, true] {
                let mut session = sums(on_host).session(&device).unwrap();
                assert!(session.state("next").is_err());
                session.carry("next", "state").unwrap();
                session.carry("next", "state").unwrap();
                for round in 0..2 {
                    for i in 1..4u8 {
                        let times = f32::from(i);
                        assert_eq!(step(&mut session, [1.0, 2.0, -3.0]), vector([2.0, 4.0, -6.0].map(|v| v * times)));
                    }
                    assert_eq!(session.state("next").unwrap(), vector([3.0, 6.0, -9.0]), "{round}");
                    session.reset();
                }
                // A state that is given: from then on, and after the next reset.
                let state = session.input("state").unwrap();
                step(&mut session, [9.0; 3]);
                session.set(state, vector([10.0; 3]).view()).unwrap();
                for expected in [22.0, 24.0] {
                    assert_eq!(step(&mut session, [1.0; 3]), vector([expected; 3]));
                }
                session.reset();
                assert_eq!(step(&mut session, [1.0; 3]), vector([22.0; 3]));
                let on_gpu = session.schedule().is_some();
                // On the GPU it stays there.
                assert_eq!(session.get(session.output("next").unwrap()).is_err(), on_gpu && !on_host);
            }
        }
    }

    #[test]
    fn a_carried_state_follows_runs_that_are_not_waited_for() {
        for device in devices() {
            let mut session = sums(false).session(&device).unwrap();
            session.carry("next", "state").unwrap();
            let (x, y) = (session.input("x").unwrap(), session.output("y").unwrap());
            let mut pending = vec![];
            for _ in 0..4 {
                session.set(x, vector([1.0; 3]).view()).unwrap();
                pending.push(session.submit().unwrap());
            }
            for (i, run) in (1u8..).zip(pending) {
                assert_eq!(run.wait().unwrap().get(y).unwrap(), &vector([2.0 * f32::from(i); 3]));
            }
        }
        if let Some(gpu) = crate::session::run::tests::gpu() {
            let mut session = sums(true).session(&gpu).unwrap();
            session.carry("next", "state").unwrap();
            session.set(session.input("x").unwrap(), vector([1.0; 3]).view()).unwrap();
            assert!(matches!(session.submit(), Err(RunError::State(_))));
        }
    }

    #[test]
    fn what_is_carried_may_grow() {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [1usize, 4]);
        let past = graph.input("past", ElementType::F32, [crate::Dim::symbol("length"), crate::Dim::from(4usize)]);
        let all = graph.node(&Definition::new("Concat").attribute("axis", 0i64), &[past, x]).unwrap();
        graph.output("all", all);
        let model = Model::from_graph(graph.build().unwrap());
        for device in devices() {
            let mut session = model.session(&device).unwrap();
            session.carry("all", "past").unwrap();
            // Of unknown length, so that it must be given.
            assert!(matches!(session.run_with([("x", row(0).view())]), Err(RunError::MissingInput(_))));
            session
                .set(session.input("past").unwrap(), Tensor::zeros(ElementType::F32, [0, 4]).unwrap().view())
                .unwrap();
            for i in 0..6 {
                session.set(session.input("x").unwrap(), row(i).view()).unwrap();
                session.run().unwrap();
            }
            let expected = (0..6u8).flat_map(|i| [f32::from(i); 4]).collect::<Vec<_>>();
            assert_eq!(session.state("all").unwrap(), Tensor::new([6, 4], expected).unwrap());
        }
    }

    fn row(i: u8) -> Tensor {
        Tensor::new([1, 4], vec![f32::from(i); 4]).unwrap()
    }

    #[test]
    fn what_cannot_be_carried_is_said() {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [2usize]);
        let z = graph.input("z", ElementType::I32, [2usize]);
        let y = graph.node(&Definition::new("Neg"), &[x]).unwrap();
        let w = graph.node(&Definition::new("Concat").attribute("axis", 0i64), &[x, y]).unwrap();
        for (name, value) in [("y", y), ("w", w), ("v", z)] {
            graph.output(name, value);
        }
        let mut session = Model::from_graph(graph.build().unwrap()).session(&Device::cpu()).unwrap();
        assert!(matches!(session.carry("x", "x"), Err(RunError::Name { kind: "output", .. })));
        assert!(matches!(session.carry("y", "y"), Err(RunError::Name { kind: "input", .. })));
        assert!(matches!(session.carry("v", "x"), Err(RunError::InputType { .. })));
        assert!(matches!(session.carry("w", "x"), Err(RunError::InputShape { .. })));
        session.carry("y", "x").unwrap();
        assert!(matches!(session.carry("y", "x"), Ok(())));
    }
}
