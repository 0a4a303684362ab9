//! Checks while an application works: runs beside the CPU's, numbers that are none, and floats beyond what 16 bits hold.

use std::collections::HashMap;
use std::sync::Arc;

use super::engine::Planned;
use super::run::Runner;
use super::{Comparison, Device, Engine, Event, Options, OutputId, Precision, Session, Tolerance};
use crate::error::RunError;
use crate::graph::{Graph, Node, Value, ValueId};
use crate::tensor::Tensor;

/// What [`Session::self_check`] compares with the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SelfCheck {
    /// One layer, another one each time: the run is made step by step, and the reference computes the layer from what the GPU
    /// had before it.
    Layer,
    /// The outputs of a whole run, which the CPU makes again.
    Run,
}

/// The checks of a session.
#[derive(Default)]
pub(super) struct Checks {
    /// What is compared, and in how many runs once.
    compared: Option<(SelfCheck, u32)>,
    /// Runs since then, and comparisons so far.
    since: u32,
    made: usize,
    /// Whether outputs are looked at after every run.
    numbers: bool,
    /// Outputs that are known to be no numbers.
    known: Vec<OutputId>,
    /// The CPU's session.
    beside: Option<Box<Session>>,
    /// The planned graph with its constants, and the plan that it is of.
    graph: Option<(Arc<Planned>, Arc<Graph>)>,
}

/// A value that is watched, by its name.
type Seen = HashMap<String, Tensor>;

impl Session {
    /// Compares every `every`th run with the CPU, from the next on, and tells of what differs by more than
    /// [`Tolerance::of`] the precision allows ([`Event::Mismatch`](super::Event::Mismatch)); 0 switches it off. Such a run takes longer by
    /// what the CPU needs, and the weights are in the host's memory from the first on. Runs that are submitted, and those of a
    /// session whose states lie on the GPU, are not compared. On the CPU there is nothing to compare.
    ///
    /// ```
    /// use rimlight::{Device, Event, Model, Options, SelfCheck};
    /// let options = Options::new().on_event(|event| {
    ///     if let Event::Mismatch { .. } = event {
    ///         eprintln!("this GPU computes wrong: {event}");
    ///     }
    /// });
    /// let mut session = Model::open("models/digits.onnx")?.session_with(&Device::auto(), &options)?;
    /// session.self_check(SelfCheck::Layer, 1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn self_check(&mut self, what: SelfCheck, every: u32) {
        self.checks.compared = (every > 0).then_some((what, every));
        self.checks.since = every.saturating_sub(1);
        if every == 0 {
            (self.checks.beside, self.checks.graph) = (None, None);
        }
    }

    /// Looks at every output that comes to the host, for infinities and what is no number (NaN). The first time that there are
    /// some the run is made once more, step by step, and the application is told of the first layer that gives them
    /// ([`Event::NotFinite`](super::Event::NotFinite)).
    pub fn check_numbers(&mut self, check: bool) {
        self.checks.numbers = check;
        self.checks.known.clear();
    }

    /// Whether the run to come is compared.
    pub(super) fn is_compared(&mut self) -> Option<SelfCheck> {
        let (what, every) = self.checks.compared?;
        self.checks.since += 1;
        if self.checks.since < every || !matches!(self.runners.last(), Some((_, Runner::Gpu(_)))) {
            return None;
        }
        // A state would be handed on twice.
        if !self.carried.is_empty() {
            return None;
        }
        self.checks.since = 0;
        Some(what)
    }

    /// A run that is compared.
    pub(super) async fn compared(&mut self, what: SelfCheck) -> Result<(), RunError> {
        match what {
            SelfCheck::Run => {
                if let Some((_, Runner::Gpu(gpu))) = self.runners.last_mut() {
                    gpu.run_async().await?;
                }
                self.compare_outputs().await
            }
            SelfCheck::Layer => self.compare_layer().await,
        }
    }

    async fn compare_outputs(&mut self) -> Result<(), RunError> {
        let given = self.inputs_on_host().await?;
        let Some((planned, Runner::Gpu(gpu))) = self.runners.last() else { return Ok(()) };
        let graph = Arc::clone(&planned.graph);
        let mut outputs = vec![];
        for (i, &id) in graph.outputs.iter().enumerate() {
            outputs.push(match gpu.device_output(id) {
                Ok(kept) => Some(Value::from(kept.read_async().await?)),
                Err(_) => self.get_after(i).cloned(),
            });
        }
        let mut beside = match self.checks.beside.take() {
            Some(beside) => beside,
            None => Box::new(Session::new(self.engine.on_cpu()?)),
        };
        beside.inputs = given;
        Box::pin(beside.run_async()).await?;
        let tolerance = self.tolerance();
        for (i, got) in outputs.iter().enumerate() {
            let name = &graph.value(graph.outputs[i]).name;
            if let (Some(Value::Tensor(got)), Value::Tensor(expected)) = (got, beside.get_value(OutputId(i))?) {
                self.tell_of(tolerance.compare(name, got, expected), None);
            }
        }
        self.checks.beside = Some(beside);
        Ok(())
    }

    /// How near outputs, and single layers, are to be.
    fn tolerance(&self) -> Tolerance {
        Tolerance::of(self.engine.precision().unwrap_or_default()).end_to_end()
    }

    /// An output of the run that has just been made.
    fn get_after(&self, output: usize) -> Option<&Value> {
        let (planned, runner) = self.runners.last()?;
        runner.value(planned, OutputId(output)).ok()
    }

    fn tell_of(&self, comparison: Comparison, node: Option<&Node>) {
        if !comparison.passed {
            let (node, operator) = names(node);
            let event = Event::Mismatch { device: self.engine.device().name(), node, operator, comparison };
            self.engine.options().listener.tell(&event);
        }
    }

    async fn compare_layer(&mut self) -> Result<(), RunError> {
        let graph = self.planned_graph()?;
        let Some((planned, _)) = self.runners.last() else { return Ok(()) };
        let planned = Arc::clone(planned);
        let mut watched: HashMap<&str, ValueId> = HashMap::new();
        for slot in planned.schedule.iter().flat_map(|schedule| &schedule.slots) {
            if let Some(value) = planned.graph.values.get(slot.value.0) {
                watched.insert(&value.name, slot.value);
            }
        }
        let seen = |id: &ValueId| graph.constant(*id).is_some() || watched.contains_key(graph.value(*id).name.as_str());
        let can = |node: &&Node| {
            node.inputs.iter().chain(&node.outputs).flatten().all(seen)
                && node.outputs.iter().flatten().any(|id| graph.constant(*id).is_none())
        };
        let nodes: Vec<&Node> = graph.nodes.iter().filter(can).collect();
        // Every one comes up, those far from each other one after the other.
        self.checks.made += 1;
        let Some(node) = nodes.get(self.checks.made.wrapping_mul(7919) % nodes.len().max(1)) else {
            return self.ordinary().await;
        };
        let wanted: Vec<&str> =
            node.inputs.iter().chain(&node.outputs).flatten().map(|id| graph.value(*id).name.as_str()).collect();
        let seen = self.watched(|name| wanted.contains(&name)).await?;
        let value = |id: &ValueId| graph.constant(*id).cloned().or_else(|| seen.get(&graph.value(*id).name).cloned());
        let inputs: Vec<Option<Value>> =
            node.inputs.iter().map(|id| id.as_ref().and_then(value).map(Value::from)).collect();
        if inputs.iter().zip(&node.inputs).any(|(value, id)| value.is_none() && id.is_some()) {
            return Ok(());
        }
        let references: Vec<Option<&Value>> = inputs.iter().map(Option::as_ref).collect();
        let expected = node
            .operator
            .compute(&mut crate::graph::Context::default(), crate::graph::Inputs(&references))
            .map_err(|e| crate::graph::NodeError::evaluation(node, e))?;
        for (output, expected) in node.outputs.iter().zip(&expected) {
            let Some((id, expected)) = output.as_ref().zip(expected.as_tensor()) else { continue };
            if let Some(got) = seen.get(&graph.value(*id).name) {
                self.tell_of(self.tolerance().compare(&graph.value(*id).name, got, expected), Some(node));
            }
        }
        Ok(())
    }

    /// The run without more.
    async fn ordinary(&mut self) -> Result<(), RunError> {
        match self.runners.last_mut() {
            Some((_, Runner::Gpu(gpu))) => gpu.run_async().await,
            _ => Ok(()),
        }
    }

    /// A run step by step, and the values of these names.
    async fn watched(&mut self, wanted: impl Fn(&str) -> bool) -> Result<Seen, RunError> {
        let mut seen = Seen::new();
        let Some((planned, Runner::Gpu(gpu))) = self.runners.last_mut() else { return Ok(seen) };
        let graph = &planned.graph;
        gpu.run_observed_async(|slot, tensor| {
            let name = &graph.value(slot.value).name;
            if wanted(name) {
                seen.insert(name.clone(), tensor);
            }
        })
        .await?;
        Ok(seen)
    }

    /// The graph that is run, with its constants.
    fn planned_graph(&mut self) -> Result<Arc<Graph>, RunError> {
        let planned = self.runners.last().map(|(planned, _)| Arc::clone(planned));
        let Some(planned) = planned else { return Err(RunError::State("nothing was run".to_owned())) };
        if let Some((of, graph)) = &self.checks.graph
            && Arc::ptr_eq(of, &planned)
        {
            return Ok(Arc::clone(graph));
        }
        let graph = Arc::new(self.engine.optimized(&planned.request)?.graph);
        self.checks.graph = Some((planned, Arc::clone(&graph)));
        Ok(graph)
    }

    /// The inputs, brought from the GPU where they lie there.
    async fn inputs_on_host(&self) -> Result<Vec<Option<Value>>, RunError> {
        let mut given = self.inputs.clone();
        for (given, on_device) in given.iter_mut().zip(&self.on_device) {
            if let Some(tensor) = on_device {
                *given = Some(tensor.read_async().await?.into());
            }
        }
        Ok(given)
    }

    /// Looks at the outputs of the run that has just been made, if that was asked for.
    pub(super) async fn look_at_numbers(&mut self) -> Result<(), RunError> {
        if !self.checks.numbers {
            return Ok(());
        }
        let outputs = self.runners.last().map_or(0, |(planned, _)| planned.graph.outputs.len());
        let new = |i: &usize| !self.checks.known.contains(&OutputId(*i));
        let bad = |i: &usize| self.get_after(*i).and_then(Value::as_tensor).is_some_and(|tensor| !is_finite(tensor));
        let found: Vec<usize> = (0..outputs).filter(new).filter(bad).collect();
        if found.is_empty() {
            return Ok(());
        }
        self.checks.known.extend(found.iter().map(|&i| OutputId(i)));
        let first = match self.carried.is_empty() {
            true => self.first_not_finite().await?,
            // A state would be handed on twice.
            false => None,
        };
        let Some((planned, _)) = self.runners.last() else { return Ok(()) };
        let graph = Arc::clone(&planned.graph);
        let output = || graph.value(graph.outputs[found[0]]).name.clone();
        let (value, tensor) = match first {
            Some((value, tensor)) => (value, Some(tensor)),
            None => (output(), self.get_after(found[0]).and_then(Value::as_tensor).cloned()),
        };
        let (nan, infinite) = tensor.map_or((0, 0), |tensor| counts(&tensor));
        let (node, operator) = names(maker(&graph, &value));
        self.engine.options().listener.tell(&Event::NotFinite { value, node, operator, nan, infinite });
        Ok(())
    }

    /// The first value with infinities or what is no number, inputs among them, and its content.
    async fn first_not_finite(&mut self) -> Result<Option<(String, Tensor)>, RunError> {
        let mut found: Option<(String, Tensor)> = None;
        let mut observe = |name: &str, tensor: Tensor| {
            if found.is_none() && !is_finite(&tensor) {
                found = Some((name.to_owned(), tensor));
            }
        };
        match self.runners.last_mut() {
            Some((planned, Runner::Gpu(gpu))) => {
                let graph = &planned.graph;
                gpu.run_observed_async(|slot, tensor| observe(&graph.value(slot.value).name, tensor)).await?;
            }
            Some((planned, Runner::Cpu(cpu))) => {
                let graph = &planned.graph;
                for (id, value) in graph.inputs.iter().zip(&self.inputs) {
                    if let Some(Value::Tensor(tensor)) = value {
                        observe(&graph.value(*id).name, tensor.clone());
                    }
                }
                cpu.run_observed(&self.inputs, &mut |id, tensor| observe(&graph.value(id).name, tensor))?;
            }
            None => {}
        }
        Ok(found)
    }

    /// Before the first run in 16 bits: values that these do not hold are kept in 32 from then on. It is made step by step
    /// for that, again for each value that is found, and the application is told.
    pub(super) async fn check_halves(&mut self) -> Result<(), RunError> {
        let is_half = |(planned, _): &(Arc<Planned>, Runner)| planned.schedule.as_ref().is_some_and(|s| s.half);
        while self.runners.last().is_some_and(is_half) && !self.engine.halves_are_checked() {
            if !self.carried.is_empty() {
                return Ok(());
            }
            let Some((value, tensor)) = self.first_not_finite().await? else {
                self.engine.note_halves();
                return Ok(());
            };
            let Some((planned, _)) = self.runners.last() else { return Ok(()) };
            let graph = Arc::clone(&planned.graph);
            let Some(node) = maker(&graph, &value).filter(|_| !self.engine.is_single(&value)) else {
                // It is an input's, or the model's own in 32 bits too.
                self.engine.note_halves();
                return Ok(());
            };
            let (nan, infinite) = counts(&tensor);
            let (node, operator) = names(Some(node));
            self.engine.options().listener.tell(&Event::KeptInSingle {
                value: value.clone(),
                node,
                operator,
                nan,
                infinite,
            });
            self.engine.keep_single(value);
            self.runners.clear();
            self.select().await?;
            self.give()?;
        }
        Ok(())
    }
}

impl Engine {
    /// The model on the CPU.
    fn on_cpu(&self) -> Result<Self, RunError> {
        let given = self.options();
        let mut options = Options { precision: Precision::F32, memory_limit: None, ..Options::default() };
        (options.dims, options.shapes, options.seed) = (given.dims.clone(), given.shapes.clone(), given.seed);
        options.limits = given.limits;
        let device: Device = self.device().on_cpu("CPU: beside a GPU");
        Ok(Self::new(&self.whole_model()?, &device, &options)?)
    }
}

fn names(node: Option<&Node>) -> (String, String) {
    node.map_or_else(Default::default, |node| (node.name.clone(), node.operator.name().to_owned()))
}

/// The node that gives a value.
fn maker<'a>(graph: &'a Graph, value: &str) -> Option<&'a Node> {
    graph.nodes.iter().find(|node| node.outputs.iter().flatten().any(|id| graph.value(*id).name == value))
}

fn is_finite(tensor: &Tensor) -> bool {
    match tensor.as_slice::<f32>() {
        Ok(floats) => floats.iter().all(|v| v.is_finite()),
        Err(_) if tensor.element_type().is_float() => tensor.to_f64().iter().all(|v| v.is_finite()),
        Err(_) => true,
    }
}

/// How many elements are no numbers, and how many are infinite.
fn counts(tensor: &Tensor) -> (usize, usize) {
    tensor
        .to_f64()
        .iter()
        .fold((0, 0), |(nan, infinite), v| (nan + usize::from(v.is_nan()), infinite + usize::from(v.is_infinite())))
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
