//! Loops whose number of times is known before the run, written out.

use crate::graph::{Body, Definition, ShapeError, ValueId};
use crate::ops::composite::Recipe;

/// Nodes that a loop may become.
const MOST: usize = 1 << 10;

/// Whether a loop of a body is short enough to be written out.
pub fn is_short(body: &Body, times: usize) -> bool {
    times.checked_mul(body.nodes().max(1)).is_some_and(|nodes| nodes <= MOST)
}

/// The nodes of a body with these values as its inputs, and the values of its outputs; `None` where nothing is known of
/// one of these, so that it is perhaps no tensor.
///
/// # Errors
/// If the body cannot take them.
pub fn insert(recipe: &mut Recipe, body: &Body, inputs: &[ValueId]) -> Result<Option<Vec<ValueId>>, ShapeError> {
    let graph = body.inferred(inputs.iter().map(|&id| recipe.known(id).cloned()))?;
    if graph.outputs.iter().any(|&id| graph.fact(id).is_none()) {
        return Ok(None);
    }
    Ok(Some(recipe.insert(&graph, inputs)))
}

/// One place of a value along an axis, without that axis.
///
/// # Errors
/// If there is no such axis.
pub fn place(recipe: &mut Recipe, x: ValueId, axis: usize, index: usize) -> Result<ValueId, ShapeError> {
    let index = i64::try_from(index).map_err(|_| ShapeError::new("an index is too large"))?;
    let index = recipe.constant(crate::tensor::Tensor::scalar(index));
    recipe.node(Definition::new("Gather").attribute("axis", number(axis)?), &[x, index])
}

/// Values of one shape side by side along a new axis; `None` where there are none or their shapes are not known to be one.
///
/// # Errors
/// If there is no such axis.
pub fn stack(recipe: &mut Recipe, values: &[ValueId], axis: usize) -> Result<Option<ValueId>, ShapeError> {
    let Some(first) = values.first().and_then(|&id| recipe.known(id)).cloned() else { return Ok(None) };
    let same =
        |&id: &ValueId| recipe.known(id).is_some_and(|fact| fact.concrete().is_some() && fact.shape == first.shape);
    if !values.iter().all(same) {
        return Ok(None);
    }
    let axes = recipe.integers([number(axis)?]);
    let mut parts = vec![];
    for &value in values {
        parts.push(recipe.apply("Unsqueeze", &[value, axes])?);
    }
    recipe.node(Definition::new("Concat").attribute("axis", number(axis)?), &parts).map(Some)
}

fn number(axis: usize) -> Result<i64, ShapeError> {
    i64::try_from(axis).map_err(|_| ShapeError::new("an axis is too large"))
}
