//! Operators that are made of others: one recipe gives the shape rule, the reference, and the nodes that a rewrite puts in
//! the operator's place before a plan is made.

use std::fmt;
use std::sync::Arc;

use crate::graph::{
    Context, Definition, Dim, EvaluateError, Fact, Graph, Inputs, Node, Operator, ShapeError, Value, ValueId,
};
use crate::tensor::{ElementType, Tensor};

/// Puts the nodes of an operator with these attributes together: from the values of its inputs to those of its outputs.
pub(super) type Build = fn(&Definition, &mut Recipe, &[Option<ValueId>]) -> Result<Vec<Option<ValueId>>, ShapeError>;

/// An operator that is made of others.
pub(super) struct Composite {
    definition: Definition,
    build: Build,
}

impl Composite {
    /// An operator of this definition.
    pub fn new(definition: &Definition, build: Build) -> Self {
        Self { definition: definition.clone(), build }
    }
}

impl fmt::Debug for Composite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.definition.op_type, self.definition.attributes)
    }
}

/// The nodes that take an operator's place, while they are put together. What each gives is inferred at once.
#[derive(Debug, Default)]
pub(super) struct Recipe {
    graph: Graph,
}

impl Recipe {
    /// A recipe whose inputs are those that are given, of these facts; and their values.
    pub fn start(facts: &[Option<&Fact>]) -> (Self, Vec<Option<ValueId>>) {
        let mut recipe = Self::default();
        let add = |(i, fact): (usize, &Option<&Fact>)| {
            fact.map(|fact| recipe.graph.add_value(format!("input_{i}"), Some(fact.clone())))
        };
        let inputs: Vec<_> = facts.iter().enumerate().map(add).collect();
        recipe.graph.inputs = inputs.iter().flatten().copied().collect();
        (recipe, inputs)
    }

    /// The graph that gives these values. Each output is computed by a node of its own, and no input is one.
    ///
    /// # Errors
    /// If the element type of one is not known.
    pub fn finish(mut self, outputs: impl IntoIterator<Item = ValueId>) -> Result<Graph, ShapeError> {
        for id in outputs {
            let computed = self.graph.nodes.iter().any(|node| node.outputs.contains(&Some(id)));
            let own = match computed && !self.graph.outputs.contains(&id) {
                true => id,
                false => self.apply("Identity", &[id])?,
            };
            self.graph.outputs.push(own);
        }
        Ok(self.graph)
    }

    /// The nodes of a graph, whose facts are inferred, with these values as its inputs; and the values of its outputs.
    pub fn insert(&mut self, graph: &Graph, inputs: &[ValueId]) -> Vec<ValueId> {
        let mut own: Vec<Option<ValueId>> = vec![None; graph.values.len()];
        for (inner, outer) in graph.inputs.iter().zip(inputs) {
            own[inner.0] = Some(*outer);
        }
        let first = self.graph.nodes.len();
        let own: Vec<ValueId> = own
            .into_iter()
            .zip(&graph.values)
            .map(|(known, value)| {
                known.unwrap_or_else(|| self.graph.add_value(format!("{}_{first}", value.name), value.fact.clone()))
            })
            .collect();
        let rename = |ids: &[Option<ValueId>]| ids.iter().map(|id| id.map(|id| own[id.0])).collect();
        self.graph.nodes.extend(graph.nodes.iter().map(|node| Node {
            name: format!("{}_{first}", node.name),
            operator: node.operator.clone(),
            inputs: rename(&node.inputs),
            outputs: rename(&node.outputs),
        }));
        graph.outputs.iter().map(|id| own[id.0]).collect()
    }

    /// What is known of a value, if anything is.
    pub fn known(&self, id: ValueId) -> Option<&Fact> {
        self.graph.fact(id)
    }

    /// What is known of a value.
    ///
    /// # Errors
    /// If not even its rank is known.
    pub fn fact(&self, id: ValueId) -> Result<&Fact, ShapeError> {
        self.graph.fact(id).ok_or_else(|| ShapeError::new("the rank of an intermediate value is not known"))
    }

    /// The number of a value's dimensions.
    ///
    /// # Errors
    /// If it is not known.
    pub fn rank(&self, id: ValueId) -> Result<usize, ShapeError> {
        Ok(self.fact(id)?.rank())
    }

    /// A value's dimension.
    ///
    /// # Errors
    /// If there is none of this index.
    pub fn dim(&self, id: ValueId, index: usize) -> Result<Dim, ShapeError> {
        let fact = self.fact(id)?;
        fact.shape.get(index).cloned().ok_or_else(|| ShapeError::new(format!("{fact} has no dimension {index}")))
    }

    /// A constant.
    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        let name = format!("constant_{}", self.graph.values.len());
        self.graph.add_value(name, Some(Fact::constant(tensor)))
    }

    /// A list of integers.
    pub fn integers(&mut self, list: impl Into<Vec<i64>>) -> ValueId {
        self.constant(Tensor::vector(list.into()))
    }

    /// A number, in the element type of another value.
    ///
    /// # Errors
    /// If nothing is known of that one.
    pub fn number(&mut self, like: ValueId, number: f64) -> Result<ValueId, ShapeError> {
        let element_type = self.fact(like)?.element_type;
        let tensor = Tensor::from_f64(element_type, vec![], vec![number]);
        Ok(self.constant(tensor.map_err(|e| ShapeError::new(e.to_string()))?))
    }

    /// What an operator of the newest operator set makes of these values: its first output.
    ///
    /// # Errors
    /// If the operator cannot take them.
    pub fn node(&mut self, definition: Definition, inputs: &[ValueId]) -> Result<ValueId, ShapeError> {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        self.outputs(Definition { outputs: 1, ..definition }, &inputs).map(|outputs| outputs[0])
    }

    /// [`Recipe::node`] of an operator without attributes.
    ///
    /// # Errors
    /// If the operator cannot take these values.
    pub fn apply(&mut self, op_type: &str, inputs: &[ValueId]) -> Result<ValueId, ShapeError> {
        self.node(Definition::new(op_type), inputs)
    }

    /// All outputs of an operator, as many as its definition has.
    ///
    /// # Errors
    /// If there is no such operator, or it cannot take these values.
    pub fn outputs(&mut self, definition: Definition, inputs: &[Option<ValueId>]) -> Result<Vec<ValueId>, ShapeError> {
        let definition = Definition { inputs: inputs.len(), outputs: definition.outputs.max(1), ..definition };
        let wrong = |e: &dyn fmt::Display| ShapeError::new(format!("{}: {e}", definition.op_type));
        let operator =
            super::operator(&definition).map_err(|e| ShapeError { unsupported: e.unsupported(), ..wrong(&e) })?;
        self.operator(operator, inputs, definition.outputs)
    }

    /// As many outputs of an operator.
    ///
    /// # Errors
    /// If it cannot take these values.
    pub fn operator(
        &mut self,
        operator: Arc<dyn Operator>,
        inputs: &[Option<ValueId>],
        outputs: usize,
    ) -> Result<Vec<ValueId>, ShapeError> {
        let facts: Option<Vec<_>> =
            inputs.iter().map(|input| input.map_or(Some(None), |id| self.graph.fact(id).map(Some))).collect();
        let facts = facts.map(|facts| operator.infer(&facts)).transpose()?.unwrap_or_default();
        let name = format!("{}_{}", operator.name(), self.graph.nodes.len());
        let outputs: Vec<_> =
            (0..outputs).map(|i| self.graph.add_value(format!("{name}_{i}"), facts.get(i).cloned())).collect();
        let (inputs, given) = (inputs.to_vec(), outputs.iter().copied().map(Some).collect());
        self.graph.nodes.push(Node { name, operator, inputs, outputs: given });
        Ok(outputs)
    }

    /// The value under another shape: 0 keeps a dimension, -1 is what remains.
    ///
    /// # Errors
    /// If it does not have it.
    pub fn reshape(&mut self, x: ValueId, shape: impl Into<Vec<i64>>) -> Result<ValueId, ShapeError> {
        let shape = self.integers(shape);
        self.apply("Reshape", &[x, shape])
    }

    /// The value with its dimensions in another order.
    ///
    /// # Errors
    /// If it has others.
    pub fn transpose(&mut self, x: ValueId, order: impl Into<Vec<i64>>) -> Result<ValueId, ShapeError> {
        self.node(Definition::new("Transpose").attribute("perm", order.into()), &[x])
    }

    /// A part along an axis.
    ///
    /// # Errors
    /// If there is no such axis.
    pub fn slice(&mut self, x: ValueId, axis: i64, start: i64, end: i64) -> Result<ValueId, ShapeError> {
        let [start, end, axis] = [start, end, axis].map(|n| self.integers([n]));
        self.apply("Slice", &[x, start, end, axis])
    }

    /// The value in another element type, itself if it has that.
    ///
    /// # Errors
    /// If nothing is known of it.
    pub fn cast_like(&mut self, x: ValueId, like: ValueId) -> Result<ValueId, ShapeError> {
        if self.fact(x)?.element_type == self.fact(like)?.element_type {
            return Ok(x);
        }
        self.apply("CastLike", &[x, like])
    }
}

impl Operator for Composite {
    fn name(&self) -> &str {
        &self.definition.op_type
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let graph = self.graph(inputs)?;
        Ok(graph.outputs.iter().map_while(|&id| graph.fact(id).cloned()).collect())
    }

    fn evaluate(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let facts: Vec<_> = (0..inputs.len()).map(|i| inputs.optional(i).map(|t| Fact::constant(t.clone()))).collect();
        let graph = self.graph(&facts.iter().map(Option::as_ref).collect::<Vec<_>>())?;
        evaluate(&graph, context, inputs)
    }

    fn expansion(&self, inputs: &[Option<&Fact>]) -> Result<Option<Graph>, ShapeError> {
        self.graph(inputs).map(Some)
    }

    fn work(&self, inputs: &[Option<&Fact>], _: &[Fact]) -> f64 {
        let Ok(graph) = self.graph(inputs) else { return 0.0 };
        let fact = |id: &Option<ValueId>| id.and_then(|id| graph.fact(id));
        let work = |node: &Node| {
            let inputs: Vec<_> = node.inputs.iter().map(fact).collect();
            let outputs: Vec<_> = node.outputs.iter().filter_map(fact).cloned().collect();
            node.operator.work(&inputs, &outputs)
        };
        graph.nodes.iter().map(work).sum()
    }
}

impl Composite {
    fn graph(&self, facts: &[Option<&Fact>]) -> Result<Graph, ShapeError> {
        let build =
            |recipe: &mut Recipe, inputs: &[Option<ValueId>]| (self.build)(&self.definition, recipe, inputs).map(Some);
        graph(facts, self.definition.outputs, build).map(Option::unwrap_or_default)
    }
}

/// The nodes that `build` puts together for such inputs, if it does. Each output is computed by a node of its own, and no
/// input is one.
pub(super) fn graph(
    facts: &[Option<&Fact>],
    outputs: usize,
    build: impl Fn(&mut Recipe, &[Option<ValueId>]) -> Result<Option<Vec<Option<ValueId>>>, ShapeError>,
) -> Result<Option<Graph>, ShapeError> {
    let (mut recipe, inputs) = Recipe::start(facts);
    let Some(given) = build(&mut recipe, &inputs)? else { return Ok(None) };
    let mut ids = vec![];
    for id in given.into_iter().take(outputs.max(1)) {
        // An output that is left out is empty; nobody reads it.
        let none = || Tensor::zeros(ElementType::F32, vec![0]).map_err(|e| ShapeError::new(e.to_string()));
        ids.push(match id {
            Some(id) => id,
            None => recipe.constant(none()?),
        });
    }
    recipe.finish(ids).map(Some)
}

/// The outputs of such nodes, for these inputs, by their references.
pub(super) fn evaluate(graph: &Graph, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
    let mut values: Vec<Option<Value>> =
        graph.values.iter().map(|v| v.fact.as_ref()?.constant.clone().map(Value::Tensor)).collect();
    for (id, value) in graph.inputs.iter().zip((0..inputs.len()).filter_map(|i| inputs.value(i))) {
        values[id.0] = Some(value.clone());
    }
    for node in &graph.nodes {
        let given: Vec<Option<&Value>> = node.inputs.iter().map(|id| id.and_then(|id| values[id.0].as_ref())).collect();
        let outputs = node.operator.compute(context, Inputs(&given))?;
        for (id, value) in node.outputs.iter().zip(outputs) {
            if let Some(id) = id {
                values[id.0] = Some(value);
            }
        }
    }
    let missing = || ShapeError::new("an output was not computed").into();
    graph.outputs.iter().map(|id| values[id.0].clone().ok_or_else(missing)).collect()
}
