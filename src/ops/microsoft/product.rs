//! FusedMatMul, FusedGemm and FusedConv: products with what comes before and behind them.

use std::sync::Arc;

use super::{Composite, Recipe, needed, optional, wrong};
use crate::graph::{Definition, DefinitionError, Operator, ShapeError, ValueId};

/// Makes one of them.
pub(in crate::ops) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let build = match d.op_type.as_str() {
        "FusedMatMul" => matmul,
        "FusedGemm" => gemm,
        _ => conv,
    };
    if d.op_type == "FusedGemm" || d.op_type == "FusedConv" {
        activation(d).map_err(|e| DefinitionError::Value("activation", e.message))?;
    }
    Ok(Arc::new(Composite::new(d, build)))
}

/// `alpha · A' × B'`. `transBatchA` moves A's first dimension before the last but one; `transA` turns the last two.
fn matmul(d: &Definition, recipe: &mut Recipe, inputs: &[Option<ValueId>]) -> Result<Vec<Option<ValueId>>, ShapeError> {
    let mut operands = [needed(inputs, 0)?, needed(inputs, 1)?];
    for (operand, [batch, turn]) in operands.iter_mut().zip([["transBatchA", "transA"], ["transBatchB", "transB"]]) {
        let [batch, turn] = [d.flag(batch, false).map_err(|e| wrong(&e))?, d.flag(turn, false).map_err(|e| wrong(&e))?];
        let rank = i64::try_from(recipe.rank(*operand)?).unwrap_or(i64::MAX);
        let mut order: Vec<i64> = (0..rank).collect();
        // A vector is the same turned.
        if rank < 2 {
            continue;
        }
        let last = order.len() - 1;
        if batch && rank > 2 {
            order[..last].rotate_left(1);
        }
        if turn {
            order.swap(last - 1, last);
        }
        if batch || turn {
            *operand = recipe.transpose(*operand, order)?;
        }
    }
    let mut y = recipe.apply("MatMul", &operands)?;
    let alpha = d.float("alpha").map_err(|e| wrong(&e))?.unwrap_or(1.0);
    if alpha != 1.0 {
        let alpha = recipe.number(y, alpha.into())?;
        y = recipe.apply("Mul", &[y, alpha])?;
    }
    Ok(vec![Some(y)])
}

/// The definition of the function that the attribute `activation` names, if it does, and its bounds if it is Clip.
fn activation(d: &Definition) -> Result<Option<(Definition, Vec<f32>)>, ShapeError> {
    let Some(name) = d.string("activation").map_err(|e| wrong(&e))?.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let float = |name| d.float(name).map_err(|e| wrong(&e));
    let given = match d.floats("activation_params").map_err(|e| wrong(&e))? {
        Some(given) => given,
        None => [float("activation_alpha")?, float("activation_beta")?].into_iter().flatten().collect(),
    };
    let mut own = Definition::new(name.as_str());
    let names: &[&str] = match name.as_str() {
        "Relu" | "Tanh" | "Sigmoid" | "Softplus" | "Softsign" | "Clip" | "HardSwish" => &[],
        "LeakyRelu" | "Elu" | "ThresholdedRelu" => &["alpha"],
        "HardSigmoid" => &["alpha", "beta"],
        "Selu" => &["alpha", "gamma"],
        _ => return Err(ShapeError::new(format!("names '{name}', which is no function here"))),
    };
    for (name, value) in names.iter().zip(&given) {
        own = own.attribute(*name, *value);
    }
    Ok(Some((own, if name == "Clip" { given } else { vec![] })))
}

fn activated(d: &Definition, recipe: &mut Recipe, x: ValueId) -> Result<ValueId, ShapeError> {
    let Some((function, bounds)) = activation(d)? else { return Ok(x) };
    let mut inputs = vec![x];
    for bound in bounds.into_iter().take(2) {
        inputs.push(recipe.number(x, bound.into())?);
    }
    recipe.node(function, &inputs)
}

/// The operator of the standard, without what is behind it.
fn plain(d: &Definition, op_type: &str) -> Definition {
    let mut own = Definition { op_type: op_type.to_owned(), domain: String::new(), opset: 24, outputs: 1, ..d.clone() };
    own.attributes.retain(|name, _| !name.starts_with("activation"));
    own
}

fn gemm(d: &Definition, recipe: &mut Recipe, inputs: &[Option<ValueId>]) -> Result<Vec<Option<ValueId>>, ShapeError> {
    let y = recipe.outputs(plain(d, "Gemm"), &inputs[..inputs.len().min(3)])?[0];
    Ok(vec![Some(activated(d, recipe, y)?)])
}

/// `activation(X * W + B + Z)`.
fn conv(d: &Definition, recipe: &mut Recipe, inputs: &[Option<ValueId>]) -> Result<Vec<Option<ValueId>>, ShapeError> {
    let mut y = recipe.outputs(plain(d, "Conv"), &inputs[..inputs.len().min(3)])?[0];
    if let Some(z) = optional(inputs, 3) {
        y = recipe.apply("Add", &[y, z])?;
    }
    Ok(vec![Some(activated(d, recipe, y)?)])
}
