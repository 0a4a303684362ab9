//! Bodies of If, Loop and Scan, run by sessions of their own on the device of the session around them.
//!
//! A body becomes a model whose inputs are its own, what it captures included; captured constants are constants of it, so
//! that weights are packed once. It is planned once for the shapes that it meets. What one time hands on to the next is
//! [carried](Session::carry), and stays on the device.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::run::{InputId, OutputId, Runner};
use super::{Device, Engine, Options, Precision, Recovery, Session};
use crate::error::RunError;
use crate::graph::{Bodies, Body, Context, EvaluateError, Fact, Graph, RunningBody, Value, ValueId, cost};
use crate::model::Model;
use crate::tensor::ElementType;

/// Operations of one time below which a plan is not worth it: the references run the body.
const SMALL: f64 = 4096.0;

/// Operations of one time below which a GPU is not worth a submission: the CPU's kernels run the body.
const SUBMISSION: f64 = 2e6;

/// Operations that a GPU must do for every element that goes there or back each time.
const CROSSING: f64 = 16.0;

/// Shapes for which one body is planned; with others the references run it.
const SHAPES: usize = 8;

/// Who runs a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    References,
    Cpu,
    Device,
}

/// The bodies of a planned graph.
#[derive(Debug)]
pub(super) struct PlannedBodies {
    device: Device,
    options: Options,
    /// Every body, with which of its captured values are constants.
    known: Vec<(Body, Vec<bool>)>,
    made: Mutex<Vec<Arc<Made>>>,
}

/// A body for certain inputs.
#[derive(Debug)]
struct Made {
    body: Body,
    carried: Vec<(usize, usize)>,
    /// The types and shapes of its inputs.
    given: Vec<(ElementType, Vec<usize>)>,
    /// The place of each input in the session; constants have none.
    places: Vec<Option<usize>>,
    /// What one time takes of the work that is allowed.
    cost: u64,
    /// The session, unless somebody runs it or the references do better.
    session: Mutex<Option<Box<Session>>>,
}

impl PlannedBodies {
    /// Those of a graph that an engine planned, if there are any.
    pub fn of(engine: &Engine, graph: &Graph) -> Option<Arc<dyn Bodies>> {
        let mut known = vec![];
        gather(graph, &|id| graph.constant(id).is_some(), &mut known);
        let given = engine.options();
        // What is decided in a body should not hang on the rounding of 16 bits, and its values come from the host.
        let mut options =
            Options { precision: Precision::F32, keep_weights: false, recovery: Recovery::Off, ..given.clone() };
        (options.dims, options.shapes) = Default::default();
        let bodies = Self { device: engine.device().clone(), options, known, made: Mutex::default() };
        (!bodies.known.is_empty()).then(|| Arc::new(bodies) as Arc<dyn Bodies>)
    }

    fn make(&self, body: &Body, inputs: &[Value], carried: &[(usize, usize)]) -> Option<Made> {
        let given: Vec<_> = inputs
            .iter()
            .map(|value| value.as_tensor().map(|tensor| (tensor.element_type(), tensor.shape().to_vec())))
            .collect::<Option<_>>()?;
        let mut made = Made {
            body: body.clone(),
            carried: carried.to_vec(),
            given,
            places: vec![None; inputs.len()],
            cost: 0,
            session: Mutex::default(),
        };
        let session = self.session(&mut made, inputs);
        made.session = Mutex::new(session.map(Box::new));
        Some(made)
    }

    /// A session for a body; `None` where the references should run it.
    fn session(&self, made: &mut Made, inputs: &[Value]) -> Option<Session> {
        let (body, carried) = (&made.body, &made.carried);
        let formal = inputs.len() - body.captured();
        let flags = self.known.iter().find(|(known, _)| known == body).map(|(_, flags)| flags)?;
        let constant = |i: usize| i >= formal && flags.get(i - formal) == Some(&true);
        if !body.is_deterministic() || made.given.iter().any(|(element_type, _)| *element_type == ElementType::String) {
            return None;
        }
        let facts = made.given.iter().enumerate().map(|(i, (element_type, shape))| match inputs[i].as_tensor() {
            Some(tensor) if constant(i) => Some(Fact::constant(tensor.clone())),
            _ => Some(Fact::new(*element_type, shape.clone())),
        });
        let mut graph = body.inferred(facts).ok()?;
        // What grows from time to time would be planned each time.
        let keeps = |&(output, input): &(usize, usize)| {
            let fact = graph.outputs.get(output).and_then(|&id| graph.fact(id));
            let (element_type, shape) = &made.given[input];
            fact.is_some_and(|f| f.element_type == *element_type && f.concrete().as_ref() == Some(shape))
        };
        if !carried.iter().all(keeps) {
            return None;
        }
        let elements = |fact: Option<&Fact>| fact.and_then(Fact::concrete).map_or(0, |shape| shape.iter().product());
        // Each time of a loop only what is not handed on crosses, and what is captured stays.
        let gives = (0..graph.outputs.len()).filter(|o| carried.iter().all(|c| c.0 != *o)).map(|o| graph.outputs[o]);
        let until = if carried.is_empty() { inputs.len() } else { formal };
        let takes = (0..until).filter(|&i| !constant(i) && carried.iter().all(|c| c.1 != i)).map(|i| graph.inputs[i]);
        let crossing: usize = gives.chain(takes).map(|id| elements(graph.fact(id))).sum();
        let (device, mut options) = match place(work(&graph), crossing) {
            Place::References => return None,
            Place::Device if self.device.is_gpu() && self.options.memory_limit.is_none() => {
                (self.device.clone(), self.options.clone())
            }
            _ => (self.device.on_cpu("CPU: for what is not worth a submission"), Options::default()),
        };
        // The number of the time, states and elements.
        options.varying = formal;
        made.cost = 1 + graph.nodes.iter().map(|node| node_cost(&graph, node.outputs.iter().flatten())).sum::<u64>();
        let open: Vec<usize> = (0..inputs.len()).filter(|&i| !constant(i)).collect();
        graph.inputs = open.iter().map(|&i| graph.inputs[i]).collect();
        open.iter().enumerate().for_each(|(place, &i)| made.places[i] = Some(place));
        let engine = Engine::new(&Model::from_graph(graph), &device, &options).ok()?;
        let mut session = engine.session().ok()?;
        for &(output, input) in carried {
            session.hand(OutputId(output), InputId(made.places[input]?)).ok()?;
        }
        Some(session)
    }
}

/// Who runs a body that does so many operations each time, while so many elements go to it and come back.
fn place(work: f64, crossing: usize) -> Place {
    match work {
        _ if work < SMALL => Place::References,
        _ if work < SUBMISSION + CROSSING * crossing as f64 => Place::Cpu,
        _ => Place::Device,
    }
}

/// The bodies in a graph and in each other, and which of their captured values are constants, as those of the graph are.
fn gather(graph: &Graph, constant: &dyn Fn(ValueId) -> bool, known: &mut Vec<(Body, Vec<bool>)>) {
    for node in &graph.nodes {
        for body in node.operator.bodies() {
            let from = node.inputs.len().saturating_sub(body.captured());
            let mut flags: Vec<bool> = node.inputs[from..].iter().map(|id| id.is_some_and(constant)).collect();
            match known.iter_mut().find(|(other, _)| other == body) {
                // The same for several nodes: their constants may differ.
                Some((_, others)) => {
                    others.fill(false);
                    flags.fill(false);
                }
                None => known.push((body.clone(), flags.clone())),
            }
            let inner = body.graph();
            let captured = &inner.inputs[inner.inputs.len() - body.captured()..];
            let is_constant = |id: ValueId| {
                let flag = captured.iter().position(|&c| c == id).and_then(|i| flags.get(i));
                flag.map_or_else(|| inner.constant(id).is_some(), |&flag| flag)
            };
            gather(inner, &is_constant, known);
        }
    }
}

/// The operations of a graph's nodes as far as they are known. Those of bodies in it count for nothing: they are placed by
/// themselves.
fn work(graph: &Graph) -> f64 {
    graph.nodes.iter().filter_map(|node| graph.work_of(node)).sum()
}

fn node_cost<'a>(graph: &Graph, outputs: impl Iterator<Item = &'a ValueId>) -> u64 {
    let bytes = |id: &ValueId| {
        let fact = graph.fact(*id);
        let elements = fact.and_then(Fact::concrete).map_or(0, |shape| shape.iter().product::<usize>());
        fact.map_or(0, |fact| elements.saturating_mul(fact.element_type.size()))
    };
    outputs.map(|id| cost(bytes(id), 1)).sum()
}

impl Bodies for PlannedBodies {
    fn begin(&self, body: &Body, inputs: &[Option<Value>], carried: &[(usize, usize)]) -> Option<Box<dyn RunningBody>> {
        let inputs: Vec<Value> = inputs.iter().cloned().collect::<Option<_>>()?;
        let made = {
            let mut all = lock(&self.made);
            let fits = |made: &&Arc<Made>| made.body == *body && made.carried == carried && made.takes(&inputs);
            match all.iter().find(fits) {
                Some(made) => Arc::clone(made),
                None if all.iter().filter(|made| made.body == *body).count() >= SHAPES => return None,
                None => {
                    let made = Arc::new(self.make(body, &inputs, carried)?);
                    all.push(Arc::clone(&made));
                    made
                }
            }
        };
        let session = lock(&made.session).take()?;
        let mut running = Running { made, session: Some(session) };
        for (i, value) in inputs.into_iter().enumerate() {
            running.set(i, value).ok()?;
        }
        Some(Box::new(running))
    }
}

impl Made {
    fn takes(&self, inputs: &[Value]) -> bool {
        let same = |(value, (element_type, shape)): (&Value, &(ElementType, Vec<usize>))| {
            value.as_tensor().is_some_and(|t| t.element_type() == *element_type && t.shape() == shape)
        };
        self.given.len() == inputs.len() && inputs.iter().zip(&self.given).all(same)
    }
}

/// A body under way. When it is done, the session waits for the next.
struct Running {
    made: Arc<Made>,
    /// There until this is dropped.
    session: Option<Box<Session>>,
}

impl Running {
    fn session(&mut self) -> Result<&mut Session, EvaluateError> {
        self.session.as_deref_mut().ok_or_else(|| EvaluateError::Run("it is over".to_owned()))
    }
}

impl RunningBody for Running {
    fn set(&mut self, input: usize, value: Value) -> Result<(), EvaluateError> {
        match self.made.places.get(input) {
            Some(&Some(place)) => self.session()?.set_value(InputId(place), value).map_err(failed),
            _ => Ok(()),
        }
    }

    fn run(&mut self, context: &mut Context) -> Result<(), EvaluateError> {
        let work = &mut context.body_work;
        *work = work.checked_sub(self.made.cost).ok_or_else(|| EvaluateError::endless(&context.limits))?;
        let session = self.session()?;
        session.body_work = Some(*work);
        session.within = Some(context.interrupt.clone());
        session.run().map_err(failed)?;
        *work = session.body_work.unwrap_or_default();
        Ok(())
    }

    fn output(&self, output: usize) -> Result<Value, EvaluateError> {
        let session = self.session.as_deref().ok_or_else(|| EvaluateError::Run("it is over".to_owned()))?;
        match self.made.carried.iter().any(|carried| carried.0 == output) {
            true => session.state_of(OutputId(output)).map(Value::from),
            false => session.get_value(OutputId(output)).cloned(),
        }
        .map_err(failed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *lock(&self.made.session) = self.session.take();
    }
}

impl Runner {
    /// Has it run the bodies of a graph.
    pub(super) fn with_bodies(mut self, engine: &Engine, graph: &Graph) -> Self {
        self.host().bodies = PlannedBodies::of(engine, graph);
        self
    }
}

impl Session {
    /// Tells the current runner what work is left to the bodies in it.
    pub(super) fn allow_work(&mut self) {
        if let Some((_, runner)) = self.runners.last_mut() {
            runner.host().work = self.body_work;
        }
    }

    /// Notes what the current runner left of it.
    pub(super) fn account_work(&mut self) {
        if let Some((_, runner)) = self.runners.last_mut() {
            self.body_work = runner.host().work;
        }
    }
}

fn failed(error: RunError) -> EvaluateError {
    match error {
        RunError::Node(error) => error.into(),
        error => EvaluateError::Run(error.to_string()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
