//! SimplifiedLayerNormalization, SkipLayerNormalization, SkipSimplifiedLayerNormalization and EmbedLayerNormalization.

use std::sync::Arc;

use super::{Composite, Recipe, needed, optional, wrong};
use crate::graph::{Definition, DefinitionError, Operator, ShapeError, ValueId};

/// Makes one of them.
pub(in crate::ops) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let build = match d.op_type.as_str() {
        "SimplifiedLayerNormalization" => simplified,
        "EmbedLayerNormalization" => embedded,
        _ => skipped,
    };
    Ok(Arc::new(Composite::new(d, build)))
}

fn epsilon(d: &Definition, default: f32) -> Result<f32, ShapeError> {
    Ok(d.float("epsilon").map_err(|e| wrong(&e))?.unwrap_or(default))
}

/// `1 / √(mean of x² + ε)` along the last axis, or the axes from one on.
fn inverse_root_mean_square(recipe: &mut Recipe, x: ValueId, axis: i64, epsilon: f32) -> Result<ValueId, ShapeError> {
    let rank = i64::try_from(recipe.rank(x)?).unwrap_or(i64::MAX);
    let from = if axis < 0 { axis.saturating_add(rank) } else { axis };
    if !(0..rank).contains(&from) {
        return Err(ShapeError::new(format!("axis {axis} is out of range for rank {rank}")));
    }
    let axes = recipe.integers((from..rank).collect::<Vec<_>>());
    let squares = recipe.apply("Mul", &[x, x])?;
    let mean = recipe.apply("ReduceMean", &[squares, axes])?;
    let epsilon = recipe.number(mean, epsilon.into())?;
    let padded = recipe.apply("Add", &[mean, epsilon])?;
    let root = recipe.apply("Sqrt", &[padded])?;
    recipe.apply("Reciprocal", &[root])
}

/// Inputs: x and a scale. Outputs: the root mean square normalization, and what x was multiplied by.
fn simplified(
    d: &Definition,
    recipe: &mut Recipe,
    inputs: &[Option<ValueId>],
) -> Result<Vec<Option<ValueId>>, ShapeError> {
    let (x, scale) = (needed(inputs, 0)?, needed(inputs, 1)?);
    let axis = d.int("axis").map_err(|e| wrong(&e))?.unwrap_or(-1);
    let epsilon = epsilon(d, 1e-5)?;
    let own = Definition::new("RMSNormalization").attribute("axis", axis).attribute("epsilon", epsilon);
    let y = recipe.node(own, &[x, scale])?;
    let factor = if d.outputs > 1 { Some(inverse_root_mean_square(recipe, x, axis, epsilon)?) } else { None };
    Ok(vec![Some(y), factor])
}

/// Inputs: x, what is added to it, a scale, a shift (not where simplified), and a bias that is added too. Outputs: the
/// normalized sum, its mean and inverse deviation, and the sum.
fn skipped(
    d: &Definition,
    recipe: &mut Recipe,
    inputs: &[Option<ValueId>],
) -> Result<Vec<Option<ValueId>>, ShapeError> {
    let simple = d.op_type == "SkipSimplifiedLayerNormalization";
    let (x, skip, scale) = (needed(inputs, 0)?, needed(inputs, 1)?, needed(inputs, 2)?);
    let (shift, bias) = if simple { (None, optional(inputs, 3)) } else { (optional(inputs, 3), optional(inputs, 4)) };
    let epsilon = epsilon(d, 1e-12)?;
    let mut sum = recipe.apply("Add", &[x, skip])?;
    if let Some(bias) = bias {
        sum = recipe.apply("Add", &[sum, bias])?;
    }
    if simple {
        let own = Definition::new("RMSNormalization").attribute("epsilon", epsilon);
        let y = recipe.node(own, &[sum, scale])?;
        let factor = if d.outputs > 2 { Some(inverse_root_mean_square(recipe, sum, -1, epsilon)?) } else { None };
        return Ok(vec![Some(y), None, factor, Some(sum)]);
    }
    let own = Definition { outputs: d.outputs.min(3), ..Definition::new("LayerNormalization") };
    let own = own.attribute("epsilon", epsilon);
    let normalized = recipe.outputs(own, &[Some(sum), Some(scale), shift])?;
    let at = |i: usize| normalized.get(i).copied();
    Ok(vec![at(0), at(1), at(2), Some(sum)])
}

/// Inputs: words, segments, tables of words, places and segments, a scale, a shift, a mask and places. Outputs: the normalized
/// sum of their rows, how many of each batch the mask keeps, and the sum.
fn embedded(
    d: &Definition,
    recipe: &mut Recipe,
    inputs: &[Option<ValueId>],
) -> Result<Vec<Option<ValueId>>, ShapeError> {
    let (words, table, places) = (needed(inputs, 0)?, needed(inputs, 2)?, needed(inputs, 3)?);
    let mut sum = recipe.apply("Gather", &[table, words])?;
    let own = match optional(inputs, 8) {
        Some(ids) => recipe.apply("Gather", &[places, ids])?,
        None => {
            let shape = recipe.apply("Shape", &[words])?;
            let [zero, one] = [0, 1].map(|n| recipe.integers([n]));
            let length = recipe.apply("Gather", &[shape, one])?;
            recipe.apply("Slice", &[places, zero, length, zero])?
        }
    };
    sum = recipe.apply("Add", &[sum, own])?;
    if let (Some(segments), Some(table)) = (optional(inputs, 1), optional(inputs, 4)) {
        let own = recipe.apply("Gather", &[table, segments])?;
        sum = recipe.apply("Add", &[sum, own])?;
    }
    let own = Definition::new("LayerNormalization").attribute("epsilon", epsilon(d, 1e-12)?);
    let y = recipe.outputs(own, &[Some(sum), Some(needed(inputs, 5)?), Some(needed(inputs, 6)?)])?[0];
    let kept = match optional(inputs, 7).filter(|_| d.outputs > 1) {
        None if d.outputs <= 1 => None,
        mask => {
            // Without a mask, the sums of nothing.
            let rows = mask.map_or_else(|| recipe.apply("Sub", &[words, words]), Ok)?;
            let axes = recipe.integers([1]);
            let sums = Definition::new("ReduceSum").attribute("keepdims", 0);
            let sums = recipe.node(sums, &[rows, axes])?;
            Some(recipe.node(Definition::new("Cast").attribute("to", 6), &[sums])?)
        }
    };
    Ok(vec![Some(y), kept, Some(sum)])
}
