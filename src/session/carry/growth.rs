//! States that grow up to a stated length, in memory that is there from the start.

use super::Carry;
use crate::error::RunError;
#[cfg(feature = "gpu")]
use crate::gpu::{GpuEngine, GpuTensor};
use crate::graph::{Context, Inputs, Operator, Value};
use crate::ops::transpose::Transpose;
use crate::optimize::outermost::Grown;
#[cfg(feature = "gpu")]
use crate::session::engine::Planned;
#[cfg(feature = "gpu")]
use crate::session::run::OutputId;
use crate::session::run::Session;
use crate::tensor::Tensor;

/// How far a state grows.
#[derive(Debug)]
pub(super) struct Growth {
    axis: usize,
    length: usize,
    /// Memory on the GPU for the whole length.
    #[cfg(feature = "gpu")]
    room: Option<GpuTensor>,
    /// How the state lies on the GPU, where a run left it there.
    turned: Option<Turned>,
}

/// A state that lies in a plan's order.
#[cfg_attr(not(feature = "gpu"), allow(dead_code, reason = "states are turned for GPUs alone"))]
#[derive(Debug)]
struct Turned {
    /// Its shape as the model has it.
    shape: Vec<usize>,
    /// The order of dimensions by which it becomes what the model has.
    back: Vec<usize>,
}

impl Growth {
    /// The state is no longer what a run left.
    pub fn forget(&mut self) {
        self.turned = None;
    }

    /// A run left the state on the GPU, perhaps with the axis outermost.
    #[cfg(feature = "gpu")]
    pub fn lies(&mut self, turned: Option<&Grown>, tensor: &GpuTensor) {
        let lies = tensor.shape();
        self.turned = turned.map(|grown| {
            let back = grown.back(lies.len());
            Turned { shape: back.iter().map(|&i| lies[i]).collect(), back }
        });
    }
}

/// The dimensions of a tensor in another order.
#[cfg_attr(not(feature = "gpu"), allow(dead_code, reason = "states are turned for GPUs alone"))]
fn reordered(tensor: Tensor, order: &[usize]) -> Result<Tensor, RunError> {
    if order.is_sorted() {
        return Ok(tensor);
    }
    let transpose = Transpose { perm: Some(order.iter().map(|&i| i as i64).collect()) };
    let value = Value::Tensor(tensor);
    let turned = transpose.evaluate(&mut Context::default(), Inputs(&[Some(&value)]));
    let turned = turned.ok().and_then(|values| values.into_iter().next()).and_then(Value::into_tensor);
    turned.ok_or_else(|| RunError::State("a state has no such order".to_owned()))
}

impl Session {
    /// [`Session::carry`] of a state that grows along an axis, such as the keys and values of attention, up to a length.
    ///
    /// On a GPU memory for the whole length is taken once, and where the model joins the input and something new, a run
    /// writes what is new behind what is there: nothing of the past is copied, and no run takes memory for it. Likewise where
    /// it writes some rows of a cache of fixed length (TensorScatter). What grows has the axis outermost there; [`Session::state`] gives it as the model has it. The state is then given from
    /// the host's memory ([`Session::set`]), and [`Session::device_output`] does not give it.
    ///
    /// ```
    /// use rimlight::graph::Definition;
    /// use rimlight::{Device, Dim, ElementType, Graph, Model, RunError, Tensor};
    /// let mut graph = Graph::builder();
    /// let past = graph.input("past", ElementType::F32, [Dim::from(2), Dim::symbol("length"), Dim::from(1)]);
    /// let new = graph.input("new", ElementType::F32, [2usize, 1, 1]);
    /// let all = graph.node(&Definition::new("Concat").attribute("axis", 1i64), &[past, new])?;
    /// graph.output("all", all);
    /// let mut session = Model::from_graph(graph.build()?).session(&Device::cpu())?;
    /// session.carry_up_to("all", "past", 1, 2)?;
    /// let none = Tensor::zeros(ElementType::F32, [2, 0, 1])?;
    /// session.set(session.input("past")?, none.view())?;
    /// let new = |a: f32, b: f32| Tensor::new([2, 1, 1], vec![a, b]);
    /// session.run_with([("new", new(1.0, 2.0)?.view())])?;
    /// session.run_with([("new", new(3.0, 4.0)?.view())])?;
    /// assert_eq!(session.state("all")?, Tensor::new([2, 2, 1], vec![1f32, 3.0, 2.0, 4.0])?);
    /// let error = session.run_with([("new", new(5.0, 6.0)?.view())]).unwrap_err();
    /// assert!(matches!(error, RunError::TooLong { axis: 1, length: 2, found: 3, .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Session::carry`]; [`RunError::State`] if the input has no such axis, or is carried up to another length. A run
    /// that would make the state longer ends with [`RunError::TooLong`].
    pub fn carry_up_to(&mut self, output: &str, input: &str, axis: usize, length: usize) -> Result<(), RunError> {
        let to = self.input(input)?;
        let graph = self.engine.model().graph();
        let rank = graph.fact(graph.inputs[to.0]).map(|fact| fact.shape.len());
        if rank.is_some_and(|rank| axis >= rank) {
            return Err(RunError::State(format!("input '{input}' has no axis {axis}")));
        }
        self.carry(output, input)?;
        let Some(carry) = self.carried.iter_mut().find(|carry| carry.input == to) else { return Ok(()) };
        match &carry.growth {
            Some(growth) if (growth.axis, growth.length) != (axis, length) => {
                let Growth { axis, length, .. } = growth;
                return Err(RunError::State(format!(
                    "input '{input}' is carried up to {length} along axis {axis} already"
                )));
            }
            Some(_) => {}
            None => {
                let growth = Growth {
                    axis,
                    length,
                    #[cfg(feature = "gpu")]
                    room: None,
                    turned: None,
                };
                carry.growth = Some(growth);
                self.carries_anew = true;
            }
        }
        Ok(())
    }

    /// What plans are told of states that grow.
    pub(in crate::session) fn grown(&self) -> Vec<Grown> {
        let grown = |carry: &Carry| {
            let Growth { axis, length, .. } = *carry.growth.as_ref()?;
            Some(Grown { input: carry.input.0, output: carry.output.0, axis, length })
        };
        self.carried.iter().filter_map(grown).collect()
    }

    /// The shape of a state as the model has it, where it lies in another order.
    #[cfg_attr(not(feature = "gpu"), allow(dead_code, reason = "states are turned for GPUs alone"))]
    pub(in crate::session) fn turned(&self, input: usize) -> Option<&[usize]> {
        let carry = self.carried.iter().find(|carry| carry.input.0 == input)?;
        carry.growth.as_ref()?.turned.as_ref().map(|turned| turned.shape.as_slice())
    }

    /// Whether an input lies on the GPU in another order than the model's.
    #[cfg(feature = "gpu")]
    pub(in crate::session) fn is_reordered(&self, input: usize) -> bool {
        let other = |growth: &Growth| growth.turned.as_ref().is_some_and(|turned| !turned.back.is_sorted());
        self.carried.iter().any(|carry| carry.input.0 == input && carry.growth.as_ref().is_some_and(other))
    }

    /// Whether an output is kept in another order than the model's.
    #[cfg(feature = "gpu")]
    pub(in crate::session) fn is_turned(&self, output: OutputId) -> bool {
        self.carried.iter().any(|carry| carry.output == output && self.turned(carry.input.0).is_some())
    }

    /// Whether no state would be longer than it is carried for.
    pub(in crate::session) fn check_lengths(&self) -> Result<(), RunError> {
        let Some((planned, _)) = self.runners.last() else { return Ok(()) };
        for carry in self.carried.iter().filter(|carry| carry.growth.is_some()) {
            let fact = planned.graph.outputs.get(carry.output.0).and_then(|&id| planned.graph.fact(id));
            let Some(mut shape) = fact.and_then(crate::graph::Fact::concrete) else { continue };
            if let Some(grown) = planned.turned.iter().find(|grown| grown.output == carry.output.0) {
                shape = grown.back(shape.len()).into_iter().map(|i| shape[i]).collect();
            }
            self.check_length(carry, Some(&shape))?;
        }
        Ok(())
    }

    /// Whether a state of this shape is no longer than it is carried for.
    pub(super) fn check_length(&self, carry: &Carry, shape: Option<&[usize]>) -> Result<(), RunError> {
        let Some(Growth { axis, length, .. }) = carry.growth else { return Ok(()) };
        match shape.and_then(|shape| shape.get(axis)) {
            Some(&found) if found > length => {
                let graph = self.engine.model().graph();
                let name = graph.value(graph.outputs[carry.output.0]).name.clone();
                Err(RunError::TooLong { name, axis, length, found })
            }
            _ => Ok(()),
        }
    }

    /// A state that was read from the GPU, as the model has it.
    #[cfg(feature = "gpu")]
    pub(super) fn in_order(&self, output: OutputId, tensor: Tensor) -> Result<Tensor, RunError> {
        let turned = |carry: &'_ Carry| {
            let turned = carry.growth.as_ref().filter(|_| carry.output == output)?.turned.as_ref()?;
            Some(turned.back.clone())
        };
        match self.carried.iter().find_map(turned) {
            Some(back) => reordered(tensor, &back),
            None => Ok(tensor),
        }
    }

    /// The memory of the states that stay where they are, in the plan's order.
    #[cfg(feature = "gpu")]
    pub(in crate::session) async fn rooms(&mut self, engine: &GpuEngine) -> Result<Vec<GpuTensor>, RunError> {
        let (schedule, mut rooms) = (engine.schedule(), vec![]);
        for held in &schedule.held {
            let own = |carry: &&mut Carry| (carry.input.0, carry.output.0) == (held.state.input, held.state.output);
            let growth = self.carried.iter_mut().find(own).and_then(|carry| carry.growth.as_mut());
            let value = schedule.graph.outputs.get(held.state.output);
            let slot = schedule.slots.iter().find(|slot| Some(&slot.value) == value);
            let fact = value.and_then(|&value| schedule.graph.fact(value));
            // A session without the state has memory of its own.
            let (Some(growth), Some(slot), Some(fact)) = (growth, slot, fact) else { return Ok(vec![]) };
            let room = match &growth.room {
                Some(room) if room.storage() == slot.storage => room.clone(),
                _ => {
                    let shape = vec![held.state.elements.next_multiple_of(16)];
                    GpuTensor::new(engine.device(), fact.element_type, slot.storage, shape).await?
                }
            };
            growth.room = Some(room.clone());
            rooms.push(room);
        }
        Ok(rooms)
    }
}

/// Whether an input on the GPU lies in the order that a plan takes it in.
#[cfg(feature = "gpu")]
pub(super) fn lies_as_wanted(planned: &Planned, input: usize, reordered: bool) -> bool {
    reordered == planned.turned.iter().any(|grown| grown.input == input && grown.axis > 0)
}

/// What an input is given in the order of a plan: `None` where that is the model's.
#[cfg(feature = "gpu")]
pub(in crate::session) fn given(turned: &[Grown], input: usize, value: &Value) -> Result<Option<Value>, RunError> {
    let Some(grown) = turned.iter().find(|grown| grown.input == input && grown.axis > 0) else { return Ok(None) };
    let Value::Tensor(tensor) = value else { return Ok(None) };
    Ok(Some(reordered(tensor.clone(), &grown.order(tensor.rank()))?.into()))
}
