//! From a model's symbolic shapes to numbers: by the options, or by the inputs of a run.

use super::Options;
use super::request::Request;
use crate::error::{PlanError, RunError};
use crate::graph::{Bindings, Dim, Fact, Graph, NodeError, ValueId, ValueType};
use crate::nearest::suggestion;
use crate::tensor::TensorView;

/// The shapes of a graph's inputs, in numbers, in the graph's order.
pub type Shapes = Vec<Vec<usize>>;

/// The input shapes that the options and the file give together.
///
/// # Errors
/// [`PlanError::Unbound`] for the first dimension that neither gives.
pub fn shapes_from_options(graph: &Graph, options: &Options) -> Result<Shapes, PlanError> {
    check_names(graph, options)?;
    graph.inputs.iter().map(|&id| shape_from_options(graph, id, options)).collect()
}

/// The shape that the options and the file give an input.
///
/// # Errors
/// [`PlanError::Unbound`] for the first dimension that neither gives.
pub fn shape_from_options(graph: &Graph, id: ValueId, options: &Options) -> Result<Vec<usize>, PlanError> {
    let info = graph.value(id);
    if let Some(shape) = options.shapes.get(&info.name) {
        return Ok(shape.clone());
    }
    let Some(fact) = &info.fact else {
        return match info.declared {
            Some(ValueType::Tensor(_)) => {
                Err(PlanError::Unbound { input: info.name.clone(), dim: "its shape".to_owned() })
            }
            // What is no tensor has no shape.
            _ => Ok(vec![]),
        };
    };
    fact.shape
        .iter()
        .map(|dim| {
            let bound = dim.bind(&options.dims);
            bound.size().ok_or_else(|| PlanError::Unbound { input: info.name.clone(), dim: bound.to_string() })
        })
        .collect()
}

/// A symbol or an input that the model does not have is a mistake of the caller's, not to be passed over.
fn check_names(graph: &Graph, options: &Options) -> Result<(), PlanError> {
    let mut symbols = vec![];
    for fact in graph.inputs.iter().filter_map(|&id| graph.fact(id)) {
        fact.shape.iter().for_each(|d| d.symbols(&mut symbols));
    }
    let unknown = |kind: &str, name: &str, known: &[String]| {
        let near = suggestion(name, known.iter().map(String::as_str));
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        PlanError::Options(format!("the model has no {kind} '{name}'{near}; it has {known}"))
    };
    if let Some(name) = options.dims.keys().find(|name| !symbols.contains(name)) {
        return Err(unknown("symbolic dimension", name, &symbols));
    }
    let inputs: Vec<String> = graph.inputs.iter().map(|&id| graph.value(id).name.clone()).collect();
    match options.shapes.keys().find(|name| !inputs.contains(name)) {
        Some(name) => Err(unknown("input", name, &inputs)),
        None => Ok(()),
    }
}

/// Whether a tensor fits an input: its type, and its shape as far as the model fixes it.
///
/// # Errors
/// [`RunError::InputType`] or [`RunError::InputShape`].
pub fn check_input(name: &str, fact: &Fact, options: &Options, given: &TensorView<'_>) -> Result<(), RunError> {
    if given.element_type() != fact.element_type {
        return Err(RunError::InputType {
            name: name.to_owned(),
            wanted: fact.element_type,
            found: given.element_type(),
        });
    }
    let fits = fact.rank() == given.shape().len()
        && fact.shape.iter().zip(given.shape()).all(|(dim, &n)| dim.bind(&options.dims).size().is_none_or(|d| d == n));
    if fits {
        return Ok(());
    }
    let wanted: Vec<String> = fact.shape.iter().map(ToString::to_string).collect();
    Err(RunError::InputShape {
        name: name.to_owned(),
        wanted: format!("[{}]", wanted.join(", ")),
        found: given.shape().to_vec(),
    })
}

/// The graph with its inputs' shapes in numbers, its parameters constant as far as they are known, seeds for its random
/// operators, and everything inferred.
///
/// # Errors
/// [`PlanError::Options`] if one symbol would have two values; [`PlanError::Node`] if a node cannot be right.
pub fn concrete(mut graph: Graph, request: &Request, seed: u64) -> Result<Graph, PlanError> {
    let mut bindings = Bindings::new();
    for (i, (&id, shape)) in graph.inputs.clone().iter().zip(&request.shapes).enumerate() {
        let info = &mut graph.values[id.0];
        if let (None, Some(ValueType::Tensor(element_type))) = (&info.fact, &info.declared) {
            info.fact = Some(Fact::new(*element_type, shape.clone()));
        }
        let Some(fact) = &mut info.fact else { continue };
        for (dim, &size) in fact.shape.iter().zip(shape) {
            let Dim::Expression(expression) = dim else { continue };
            let crate::graph::Expression::Symbol(symbol) = &**expression else { continue };
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            if let Some(other) = bindings.insert(symbol.clone(), size)
                && other != size
            {
                return Err(PlanError::Options(format!(
                    "the dimension '{symbol}' would be {other} and {size} at once"
                )));
            }
        }
        match request.known(i) {
            Some(tensor) => *fact = Fact::constant(tensor.clone()),
            None => fact.shape = shape.iter().map(|&d| Dim::from(d)).collect(),
        }
    }
    for (stream, node) in graph.nodes.iter_mut().enumerate() {
        if let Some(seeded) = node.operator.with_seed(seed, stream as u64) {
            node.operator = seeded;
        }
    }
    graph.infer().map_err(|e: NodeError| PlanError::Node(e))?;
    Ok(graph)
}
