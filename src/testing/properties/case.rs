//! One case: an operator with attributes, its inputs, and how near its outputs must come.

use std::sync::{Arc, OnceLock};

use crate::graph::{Attribute, Context, Definition, Fact, Graph, Inputs, Operator, Value};
use crate::kernel::{DeviceClass, DeviceFacts, Storage};
use crate::ops::{check_arity, operator};
use crate::plan::Placement;
use crate::session::{Backend, Device, DeviceOptions};
use crate::tensor::{ElementType, Tensor};
use crate::testing::{Adapter, Input, Tolerance, candidates, try_check_by_precision};
use crate::{Model, Options};

/// A case. Unless it says how far results may lie apart, they are the same.
pub struct Case {
    definition: Definition,
    inputs: Vec<Input>,
    /// How many of the inputs, the last, the bodies of the node read of what lies around it.
    captured: usize,
    tolerance: Tolerance,
    in_half: Option<Tolerance>,
}

impl Case {
    pub fn new(definition: Definition) -> Self {
        Self { definition, inputs: vec![], captured: 0, tolerance: Tolerance::EXACT, in_half: None }
    }

    pub fn attribute(mut self, name: &str, value: impl Into<Attribute>) -> Self {
        self.definition = self.definition.attribute(name, value);
        self
    }

    /// An attribute, if there is a value for it.
    pub fn maybe(self, name: &str, value: Option<impl Into<Attribute>>) -> Self {
        match value {
            Some(value) => self.attribute(name, value),
            None => self,
        }
    }

    pub fn opset(mut self, opset: i64) -> Self {
        self.definition.opset = opset;
        self
    }

    /// How many outputs the node has, if not one.
    pub fn outputs(mut self, outputs: usize) -> Self {
        self.definition.outputs = outputs;
        self
    }

    pub fn input(mut self, input: Input) -> Self {
        self.inputs.push(input);
        self
    }

    pub fn run(self, tensor: Tensor) -> Self {
        self.input(Input::Run(tensor))
    }

    pub fn constant(self, tensor: Tensor) -> Self {
        self.input(Input::Constant(tensor))
    }

    /// A list of integers that is known before the run.
    pub fn list(self, values: Vec<i64>) -> Self {
        self.constant(Tensor::vector(values))
    }

    pub fn missing(self) -> Self {
        self.input(Input::Missing)
    }

    /// What the bodies of the node read of the graph around it, behind all inputs.
    pub fn captured(mut self, tensor: Tensor) -> Self {
        self.captured += 1;
        self.run(tensor)
    }

    pub fn within(mut self, tolerance: Tolerance) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// With 16-bit storage. Without it, the tolerance is widened by the rounding of what is stored.
    pub fn within_in_half(mut self, tolerance: Tolerance) -> Self {
        self.in_half = Some(tolerance);
        self
    }

    fn operator(&self) -> Result<Arc<dyn Operator>, String> {
        let definition = Definition { inputs: self.inputs.len() - self.captured, ..self.definition.clone() };
        check_arity(&definition).map_err(|e| e.to_string())?;
        let made = operator(&definition).map_err(|e| e.to_string())?;
        // As shapes are bound, random operators are given what they draw by.
        Ok(made.with_seed(7, 3).unwrap_or(made))
    }

    fn facts(&self) -> Vec<Option<Fact>> {
        let fact = |input: &Input| match input {
            Input::Run(t) => Some(Fact::new(t.element_type(), t.shape().to_vec())),
            Input::Constant(t) => Some(Fact::constant(t.clone())),
            Input::Missing => None,
        };
        self.inputs.iter().map(fact).collect()
    }

    /// Whether the shape rule and the kernels take the case.
    pub fn is_taken(&self) -> bool {
        let Ok(operator) = self.operator() else { return false };
        let facts = self.facts();
        let facts: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
        let inferred = operator.check_types(&facts).and_then(|()| operator.infer(&facts));
        let Ok(outputs) = inferred else { return false };
        let storage = |fact: &Fact| Storage::of(fact.element_type, false);
        let inputs: Vec<_> = facts.iter().map(|&fact| (fact, fact.and_then(storage))).collect();
        let storages: Vec<_> = outputs.iter().map(storage).collect();
        let devices = [DeviceFacts::lavapipe(), DeviceFacts::floor(DeviceClass::Nvidia)];
        outputs.iter().all(|f| f.concrete().is_some())
            && candidates(&*operator, &devices, &inputs, (&outputs, &storages)).is_ok()
    }

    /// Runs the case every way there is and compares. Returns the number of runs on the adapter, 0 if there is none.
    pub fn check(&self) -> Result<usize, String> {
        let operator = self.operator()?;
        let facts = self.facts();
        let facts: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
        operator.check_types(&facts).map_err(|e| e.to_string())?;
        if operator.expansion(&facts).map_err(|e| e.to_string())?.is_some() {
            return self.check_whole(operator);
        }
        let tolerance = self.rounded();
        try_check_by_precision(&*operator, &self.inputs, tolerance, self.in_half.unwrap_or_else(|| tolerance.half()))
    }

    /// The tolerance in the inputs' own type: that of halves is stated or theirs by the comparison; a number that is
    /// rounded to a brain float may become either neighbour.
    fn rounded(&self) -> Tolerance {
        let any = |wanted| self.inputs.iter().filter_map(Input::tensor).any(|t| t.element_type() == wanted);
        let brain = any(ElementType::BF16);
        match self.in_half {
            // They have three bits fewer than halves.
            Some(Tolerance { absolute, relative }) if brain => {
                return Tolerance { absolute: 8.0 * absolute, relative: 8.0 * relative };
            }
            Some(in_half) if any(ElementType::F16) => return in_half,
            _ => {}
        }
        let inexact = self.tolerance.relative > 0.0 || self.tolerance.absolute > 0.0;
        let relative = self.tolerance.relative + if brain && inexact { 1.0 / 128.0 } else { 0.0 };
        Tolerance { relative, ..self.tolerance }
    }

    /// Runs a graph of the one node in a session, all of it on the GPU, and compares with the reference: what is made
    /// of other operators has no kernel of its own.
    fn check_whole(&self, operator: Arc<dyn Operator>) -> Result<usize, String> {
        let Some(device) = gpu() else { return Ok(0) };
        let values: Vec<Option<Value>> = self.inputs.iter().map(|i| i.tensor().cloned().map(Value::Tensor)).collect();
        let values: Vec<Option<&Value>> = values.iter().map(Option::as_ref).collect();
        let expected = operator.compute(&mut Context::default(), Inputs(&values)).map_err(|e| e.to_string())?;
        let mut graph = Graph::builder();
        let mut given = vec![];
        let mut ids = vec![];
        for (i, input) in self.inputs.iter().enumerate() {
            let name = format!("x{i}");
            ids.push(match input {
                Input::Run(t) => {
                    given.push((name.clone(), t.view()));
                    Some(graph.input(&name, t.element_type(), t.shape().to_vec()))
                }
                Input::Constant(t) => Some(graph.constant(&name, t.clone())),
                Input::Missing => None,
            });
        }
        let outputs = expected.len().min(self.definition.outputs);
        for (i, id) in graph.operator(operator, &ids, outputs).into_iter().enumerate() {
            graph.output(&format!("y{i}"), id);
        }
        let model = Model::from_graph(graph.build().map_err(|e| e.to_string())?);
        let options = Options::new().placement(Placement::GpuOnly);
        let mut session = model.session_with(device, &options).map_err(|e| e.to_string())?;
        let got = session.run_with(given.iter().map(|(name, view)| (name.as_str(), view.clone())));
        for ((name, got), expected) in got.map_err(|e| e.to_string())?.iter().zip(expected) {
            let expected = expected.into_tensor().ok_or("it gives no tensor")?;
            self.rounded().compare(got, &expected, None).map_err(|e| format!("{name}: {e}"))?;
        }
        Ok(1)
    }
}

/// The definition, the inputs' types, shapes and first elements.
impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Definition { op_type, opset, attributes, outputs, .. } = &self.definition;
        write!(f, "{op_type} of operator set {opset} with ")?;
        for (name, attribute) in attributes {
            match attribute {
                Attribute::Graph(body) => write!(f, "{name} of {} nodes, ", body.nodes())?,
                other => write!(f, "{name} {other:?}, ")?,
            }
        }
        write!(f, "{outputs} outputs, of")?;
        for input in &self.inputs {
            match input {
                Input::Missing => write!(f, " -")?,
                Input::Run(t) => write!(f, " {}{:?}", t.element_type(), t.shape())?,
                Input::Constant(t) => {
                    let numbers = t.to_f64();
                    let first = &numbers[..numbers.len().min(8)];
                    write!(f, " {}{:?} = {first:?}", t.element_type(), t.shape())?;
                }
            }
        }
        Ok(())
    }
}

/// The GPU that sessions run on, if the tests have an adapter.
fn gpu() -> Option<&'static Device> {
    static GPU: OnceLock<Option<Device>> = OnceLock::new();
    let open = || {
        Adapter::shared()?;
        let options = DeviceOptions { backend: Backend::Gpu, ..DeviceOptions::default() };
        Some(Device::new(&options).expect("sessions find the adapter that the tests have"))
    };
    GPU.get_or_init(open).as_ref()
}
