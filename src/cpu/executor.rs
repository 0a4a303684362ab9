//! A graph on the CPU: which kernel runs each node, and when each value is needed last.

use std::sync::Arc;
use std::time::Duration;
#[cfg(not(target_arch = "wasm32"))]
use std::time::Instant;
#[cfg(target_arch = "wasm32")]
use web_time::Instant;

use super::kernel::{self, Job, Kernel};
use super::memory::Memory;
use super::{Scratch, Threads};
use crate::error::RunError;
use crate::graph::{Graph, Host, Inputs, Node, NodeError, NodeId, Value, ValueId};
use crate::tensor::{ElementType, Tensor};

/// Multiplications of a run for which no other thread is woken: a fifth of a millisecond.
const SHORT: f64 = 8e6;

/// A node with the way it is run.
#[derive(Debug)]
struct Step {
    /// The kernel; the operator's own reference where there is none.
    kernel: Option<Box<dyn Kernel>>,
    /// The outputs' types and shapes, where a kernel writes them.
    outputs: Vec<Option<(ElementType, Vec<usize>)>>,
    /// Values that no later node reads.
    last: Vec<ValueId>,
    /// The place of an input in whose memory the output may be written.
    in_place: Option<usize>,
    /// Its outputs are constants already.
    folded: bool,
}

/// What to do to run a graph on the CPU. Sessions share it: the packed weights lie in it.
#[derive(Debug)]
pub struct CpuPlan {
    graph: Arc<Graph>,
    steps: Vec<Step>,
    constants: Vec<Option<Value>>,
    threads: Threads,
}

impl CpuPlan {
    /// Makes a graph ready to run on these threads. Nodes whose shapes are known get kernels where there are any.
    pub fn new(graph: Arc<Graph>, threads: &Threads) -> Self {
        Self::made(graph, threads, true)
    }

    /// [`CpuPlan::new`] that lets go of what kernels hold packed: of each constant as soon as its last reader has it, if the
    /// graph is nobody else's.
    pub fn released(graph: Arc<Graph>, threads: &Threads) -> Self {
        Self::made(graph, threads, false)
    }

    fn made(graph: Arc<Graph>, threads: &Threads, keep: bool) -> Self {
        let mut graph = if keep { graph } else { Arc::new(Arc::unwrap_or_clone(graph)) };
        let mut remaining = vec![0usize; graph.values.len()];
        let read = graph.nodes.iter().flat_map(|node| node.inputs.iter().flatten());
        for id in read.chain(&graph.outputs) {
            remaining[id.0] += 1;
        }
        let constant: Vec<_> = (0..graph.values.len()).map(|i| graph.constant(ValueId(i)).is_some()).collect();
        // Readers that look at a value, the caller of the graph among them.
        let mut looks = remaining.clone();
        graph.inputs.iter().for_each(|id| looks[id.0] += 1);
        let mut steps = Vec::with_capacity(graph.nodes.len());
        for index in 0..graph.nodes.len() {
            let node = &graph.nodes[index];
            let (kernel, outputs) = kernel_of(&graph, node).unzip();
            let mut last = vec![];
            for &id in node.inputs.iter().flatten() {
                remaining[id.0] -= 1;
                if remaining[id.0] == 0 && !constant[id.0] {
                    last.push(id);
                }
            }
            let dies = |i: &usize| {
                let id = node.inputs.get(*i).copied().flatten();
                id.is_some_and(|id| {
                    // The caller holds the graph's inputs.
                    !graph.inputs.contains(&id)
                        && last.contains(&id)
                        && node.inputs.iter().flatten().filter(|other| **other == id).count() == 1
                })
            };
            let kernel: Option<Box<dyn Kernel>> = kernel;
            let in_place = kernel.as_ref().and_then(|k| k.in_place().iter().copied().find(dies));
            let folded = node.outputs.iter().flatten().all(|&id| constant[id.0]);
            let mut held = vec![];
            for place in kernel.as_ref().map_or(&[][..], |k| k.holds()) {
                if let Some(id) = node.inputs.get(*place).copied().flatten() {
                    looks[id.0] -= 1;
                    held.push(id);
                }
            }
            if let (false, Some(graph)) = (keep, Arc::get_mut(&mut graph)) {
                for id in held.into_iter().filter(|id| looks[id.0] == 0) {
                    if let Some(fact) = &mut graph.values[id.0].fact {
                        fact.constant = None;
                    }
                }
            }
            steps.push(Step { kernel, outputs: outputs.unwrap_or_default(), last, in_place, folded });
        }
        // What is read in runs is there from the start.
        let there = |tensor: &Tensor| {
            tensor.bytes();
            Value::Tensor(tensor.clone())
        };
        let constants = (0..graph.values.len()).map(|i| graph.constant(ValueId(i)).map(there));
        Self { steps, constants: constants.collect(), threads: threads.clone(), graph }
    }

    /// The same on the caller's thread alone, if a run has ended before its work is handed over to others, and back.
    #[must_use]
    pub fn on_few_threads(mut self) -> Self {
        let products = self.steps.iter().filter_map(|step| {
            let elements = step.outputs.iter().flatten().map(|(_, shape)| shape.iter().product::<usize>()).max()?;
            Some(elements as f64 * step.kernel.as_ref()?.products() as f64)
        });
        if products.sum::<f64>() < SHORT {
            self.threads = Threads::new(Some(1));
        }
        self
    }

    /// The graph.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// For each node, whether a kernel runs it (the operator's reference does otherwise).
    pub fn has_kernel(&self) -> impl Iterator<Item = bool> + '_ {
        self.steps.iter().map(|step| step.kernel.is_some())
    }

    /// A session.
    pub fn session(self: &Arc<Self>) -> CpuSession {
        CpuSession {
            plan: self.clone(),
            values: vec![None; self.graph.values.len()],
            outputs: vec![],
            memory: Memory::default(),
            scratch: Scratch::default(),
            host: Host::default(),
        }
    }
}

/// A kernel, and the types and shapes of the outputs that it writes.
type Planned = (Box<dyn Kernel>, Vec<Option<(ElementType, Vec<usize>)>>);

fn kernel_of(graph: &Graph, node: &Node) -> Option<Planned> {
    let inputs = graph.input_facts(node)?;
    let (mut facts, mut outputs) = (vec![], vec![]);
    for output in &node.outputs {
        let fact = match output {
            Some(id) => Some(graph.fact(*id)?),
            None => None,
        };
        facts.push(fact);
        outputs.push(match fact {
            Some(fact) => Some((fact.element_type, fact.concrete()?)),
            None => None,
        });
    }
    Some((kernel::kernel(&*node.operator, &inputs, &facts)?, outputs))
}

/// The time that one node took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeTime {
    /// The node.
    pub node: NodeId,
    /// Whether a kernel ran it (the operator's reference did otherwise).
    pub has_kernel: bool,
    /// Its time.
    pub time: Duration,
}

/// A run of a plan, again and again: the values' memory is kept between runs.
#[derive(Debug)]
pub struct CpuSession {
    plan: Arc<CpuPlan>,
    values: Vec<Option<Value>>,
    outputs: Vec<Value>,
    memory: Memory,
    scratch: Scratch,
    /// What nodes without a kernel may use.
    pub(crate) host: Host,
}

impl CpuSession {
    /// Runs the graph. `inputs` are in the order of [`Graph::inputs`] and of their types and shapes.
    ///
    /// # Errors
    /// [`RunError::Node`] with the first node that cannot be computed, also where that is because an input is missing.
    pub fn run<V: Clone + Into<Value>>(&mut self, inputs: &[Option<V>]) -> Result<(), RunError> {
        self.set(inputs);
        let plan = Arc::clone(&self.plan);
        plan.threads.inside(|| self.run_steps(&plan, &mut |_, _| ()))
    }

    /// Runs the graph and takes the time of every node.
    ///
    /// # Errors
    /// As [`CpuSession::run`].
    pub fn profile<V: Clone + Into<Value>>(&mut self, inputs: &[Option<V>]) -> Result<Vec<NodeTime>, RunError> {
        self.set(inputs);
        let plan = Arc::clone(&self.plan);
        plan.threads.inside(|| {
            let mut times = Vec::with_capacity(plan.steps.len());
            let mut start = Instant::now();
            self.run_steps(&plan, &mut |index, _| {
                let now = Instant::now();
                let has_kernel = plan.steps[index].kernel.is_some();
                times.push(NodeTime { node: NodeId(index), has_kernel, time: now - start });
                start = now;
            })?;
            Ok(times)
        })
    }

    /// Runs the graph and shows every value that is computed.
    ///
    /// # Errors
    /// As [`CpuSession::run`].
    pub fn run_observed<V: Clone + Into<Value>>(
        &mut self,
        inputs: &[Option<V>],
        observe: &mut dyn FnMut(ValueId, Tensor),
    ) -> Result<(), RunError> {
        self.set(inputs);
        let plan = Arc::clone(&self.plan);
        // On the caller's thread: what is shown need not be fit for another.
        self.run_steps(&plan, &mut |index, values| {
            for &output in plan.graph.nodes[index].outputs.iter().flatten() {
                if let Some(Value::Tensor(tensor)) = &values[output.0] {
                    observe(output, tensor.clone());
                }
            }
        })
    }

    /// Takes the last run's memory back and holds the next one's inputs.
    fn set<V: Clone + Into<Value>>(&mut self, inputs: &[Option<V>]) {
        self.memory.age();
        let left = self.values.iter_mut().filter_map(Option::take);
        for tensor in self.outputs.drain(..).chain(left).filter_map(Value::into_tensor) {
            self.memory.reclaim(tensor);
        }
        for (&id, value) in self.plan.graph.inputs.iter().zip(inputs) {
            self.values[id.0] = value.clone().map(Into::into);
        }
    }

    /// Runs the graph on the inputs that were set; after each node `done` gets its index and the values that there are.
    fn run_steps(&mut self, plan: &CpuPlan, done: &mut dyn FnMut(usize, &[Option<Value>])) -> Result<(), RunError> {
        for (index, (node, step)) in plan.graph.nodes.iter().zip(&plan.steps).enumerate() {
            self.host.interrupt.check()?;
            if !step.folded
                && let Err(error) = self.step(plan, node, step)
            {
                // It may be a body in it that was ended.
                self.host.interrupt.check()?;
                return Err(error);
            }
            done(index, &self.values);
            for id in &step.last {
                if let Some(Value::Tensor(tensor)) = self.values[id.0].take() {
                    self.memory.reclaim(tensor);
                }
            }
        }
        for &id in &plan.graph.outputs {
            let value = self.values[id.0].clone().or_else(|| plan.constants[id.0].clone());
            self.outputs.push(value.ok_or_else(|| NodeError {
                node: plan.graph.value(id).name.clone(),
                operator: "output".to_owned(),
                message: "nothing computes it, and it was not given".to_owned(),
                unsupported: None,
                limit: None,
            })?);
        }
        // An output held twice could not be used again.
        self.values.iter_mut().for_each(|value| *value = None);
        Ok(())
    }

    fn step(&mut self, plan: &CpuPlan, node: &Node, step: &Step) -> Result<(), RunError> {
        let taken = step.in_place.and_then(|i| node.inputs[i]).and_then(|id| self.values[id.0].take());
        let mut inputs = Vec::with_capacity(node.inputs.len());
        let held = step.kernel.as_ref().map_or(&[][..], |kernel| kernel.holds());
        for (i, input) in node.inputs.iter().enumerate() {
            inputs.push(match input {
                Some(_) if (taken.is_some() && step.in_place == Some(i)) || held.contains(&i) => None,
                Some(id) => {
                    let value = self.values[id.0].as_ref().or(plan.constants[id.0].as_ref());
                    Some(value.ok_or_else(|| {
                        NodeError::new(node, format!("its input '{}' was not given", plan.graph.value(*id).name))
                    })?)
                }
                None => None,
            });
        }
        if let (Some(kernel), [first, more @ ..]) = (&step.kernel, &step.outputs[..]) {
            let memory = &mut self.memory;
            let mut tensor = |(element_type, shape): &(ElementType, Vec<usize>)| {
                memory.tensor(*element_type, shape).map_err(|e| NodeError::new(node, e))
            };
            let mut y = match (taken, first) {
                (Some(Value::Tensor(tensor)), _) => tensor,
                (_, Some(first)) => tensor(first)?,
                (_, None) => tensor(&(ElementType::F32, vec![0]))?,
            };
            let mut more =
                more.iter().map(|m| m.as_ref().map(&mut tensor).transpose()).collect::<Result<Vec<_>, _>>()?;
            let (threads, scratch) = (&plan.threads, &self.scratch);
            let job = Job { inputs: Inputs(&inputs), y: &mut y, more: &mut more, threads, scratch };
            kernel.run(job).map_err(|e| NodeError::new(node, e))?;
            for (output, value) in node.outputs.iter().zip([first.is_some().then_some(y)].into_iter().chain(more)) {
                if let (Some(id), Some(value)) = (*output, value) {
                    self.values[id.0] = Some(value.into());
                }
            }
            return Ok(());
        }
        plan.graph.node_within(node, Inputs(&inputs), &self.host.limits)?;
        let results = self.host.evaluate(|context| node.operator.compute(context, Inputs(&inputs)));
        let results = results.map_err(|e| NodeError::evaluation(node, e))?;
        if node.outputs.iter().skip(results.len()).any(Option::is_some) {
            let message = format!("it gave {} outputs of {}", results.len(), node.outputs.len());
            return Err(NodeError::new(node, message).into());
        }
        for (output, value) in node.outputs.iter().zip(results) {
            if let Some(id) = *output {
                self.values[id.0] = Some(value);
            }
        }
        Ok(())
    }

    /// An output of the last run, if it is a tensor.
    pub fn output(&self, index: usize) -> Option<&Tensor> {
        self.value(index).and_then(Value::as_tensor)
    }

    /// An output of the last run.
    pub fn value(&self, index: usize) -> Option<&Value> {
        self.outputs.get(index)
    }

    /// Lets go of the memory that is kept for the next run, but not of the outputs.
    pub fn trim(&mut self) {
        (self.memory, self.scratch) = Default::default();
    }

    /// Lets go of all that is no part of the plan, the outputs too.
    pub(crate) fn rest(&mut self) {
        self.trim();
        self.outputs.clear();
        self.values.fill(None);
    }

    /// Bytes of memory that are kept for the next run.
    pub fn memory_bytes(&self) -> usize {
        self.memory.free_bytes() + self.outputs.iter().map(Value::bytes).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Definition;

    /// relu(-x) + x, with -x an output too.
    fn graph() -> Arc<Graph> {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [2, 3]);
        let a = graph.node(&Definition::new("Neg"), &[x]).unwrap();
        let b = graph.node(&Definition::new("Relu"), &[a]).unwrap();
        let c = graph.node(&Definition::new("LeakyRelu").attribute("alpha", 0.5f32), &[b]).unwrap();
        graph.output("a", a);
        graph.output("c", c);
        Arc::new(graph.build().unwrap())
    }

    #[test]
    fn runs_give_what_the_reference_gives_again_and_again() {
        let graph = graph();
        let mut session = Arc::new(CpuPlan::new(graph.clone(), &Threads::new(Some(2)))).session();
        assert!(session.output(0).is_none());
        for run in 0..3 {
            let x = Tensor::new([2, 3], (0..6).map(|i| (i - run) as f32).collect()).unwrap();
            let expected = crate::cpu::reference::evaluate(&graph, std::slice::from_ref(&x), |_, value| value).unwrap();
            session.run(&[Some(x.clone())]).unwrap();
            for (i, expected) in expected.iter().enumerate() {
                assert_eq!(session.value(i), Some(expected));
            }
            // The caller's tensor is not written to.
            assert_eq!(x.as_slice::<f32>().unwrap()[5], (5 - run) as f32);
        }
        let kept = session.memory_bytes();
        session.run(&[Some(Tensor::zeros(ElementType::F32, [2, 3]).unwrap())]).unwrap();
        assert_eq!(session.memory_bytes(), kept);
        assert!(session.run::<Tensor>(&[None]).unwrap_err().to_string().contains("'x' was not given"));
        assert!(session.output(0).is_none());
    }

    #[test]
    fn every_value_is_shown_and_stays_as_it_was() {
        let graph = graph();
        let mut session = Arc::new(CpuPlan::new(graph.clone(), &Threads::new(Some(1)))).session();
        let x = Tensor::new([2, 3], vec![-2f32, -1.0, 0.0, 1.0, 2.0, 3.0]).unwrap();
        let mut expected = vec![];
        crate::cpu::reference::evaluate(&graph, std::slice::from_ref(&x), |id, value| {
            expected.push((id, value.as_tensor().unwrap().clone()));
            value
        })
        .unwrap();
        let mut seen = vec![];
        session.run_observed(&[Some(x)], &mut |id, tensor| seen.push((id, tensor))).unwrap();
        assert_eq!(seen, expected);
    }
}
