//! Gelu, FastGelu, QuickGelu and BiasGelu.

use std::sync::Arc;

use super::{Composite, Recipe, needed, optional, wrong};
use crate::graph::{Definition, DefinitionError, Operator, ShapeError, ValueId};

/// Makes one of them.
pub(in crate::ops) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    d.float("alpha")?;
    Ok(Arc::new(Composite::new(d, build)))
}

/// `QuickGelu: x · σ(alpha · x)`; the others: Gelu of x, or of x and a bias, FastGelu by its approximation with tanh.
fn build(d: &Definition, recipe: &mut Recipe, inputs: &[Option<ValueId>]) -> Result<Vec<Option<ValueId>>, ShapeError> {
    let mut x = needed(inputs, 0)?;
    if let Some(bias) = optional(inputs, 1) {
        x = recipe.apply("Add", &[x, bias])?;
    }
    let function = match d.op_type.as_str() {
        "QuickGelu" => {
            let alpha = d.float("alpha").map_err(|e| wrong(&e))?.unwrap_or(1.702);
            Definition::new("Swish").attribute("alpha", alpha)
        }
        "FastGelu" => Definition::new("Gelu").attribute("approximate", "tanh"),
        _ => Definition::new("Gelu"),
    };
    Ok(vec![Some(recipe.node(function, &[x])?)])
}
