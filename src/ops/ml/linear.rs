//! LinearRegressor (ai.onnx.ml, opset 1): `y = x cᵀ + b`.

use std::sync::Arc;

use crate::graph::{Definition, DefinitionError, Operator, ShapeError, ValueId};
use crate::ops::composite::Composite;
use crate::tensor::{ElementType, Tensor};

/// Rows of coefficients, one for each target, and what is added.
pub(in crate::ops) fn linear_regressor(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let targets = d.int("targets")?.unwrap_or(1);
    let coefficients = d.floats("coefficients")?.unwrap_or_default();
    let intercepts = d.floats("intercepts")?.unwrap_or_default();
    let count = usize::try_from(targets).ok().filter(|&n| n > 0);
    let count = count.ok_or_else(|| DefinitionError::Value("targets", format!("is {targets}")))?;
    if coefficients.is_empty() || coefficients.len() % count != 0 {
        return Err(DefinitionError::Value(
            "coefficients",
            format!("are {}, for {targets} targets", coefficients.len()),
        ));
    }
    if !intercepts.is_empty() && intercepts.len() != count {
        return Err(DefinitionError::Value("intercepts", format!("are {}, for {targets} targets", intercepts.len())));
    }
    match d.string("post_transform")?.as_deref() {
        None | Some("NONE" | "SOFTMAX" | "LOGISTIC") => {}
        Some(other) => return Err(DefinitionError::Unsupported(format!("the transform '{other}' is not supported"))),
    }
    Ok(Arc::new(Composite::new(d, |d, r, inputs| -> Result<Vec<Option<ValueId>>, ShapeError> {
        let mut x = inputs.first().copied().flatten().ok_or_else(|| ShapeError::new("input 0 is missing"))?;
        if r.fact(x)?.element_type != ElementType::F32 {
            x = r.node(Definition::new("Cast").attribute("to", 1i64), &[x])?;
        }
        if r.rank(x)? == 1 {
            x = r.reshape(x, vec![1, -1])?;
        }
        let coefficients = d.floats("coefficients").ok().flatten().unwrap_or_default();
        let targets = usize::try_from(d.int("targets").ok().flatten().unwrap_or(1)).unwrap_or(1).max(1);
        let shape = [targets, coefficients.len() / targets];
        let weights = Tensor::new(shape, coefficients).map_err(|e| ShapeError::new(e.to_string()))?;
        let mut given = vec![x, r.constant(weights)];
        if let Some(intercepts) = d.floats("intercepts").ok().flatten().filter(|v| !v.is_empty()) {
            given.push(r.constant(Tensor::vector(intercepts)));
        }
        let y = r.node(Definition::new("Gemm").attribute("transB", 1i64), &given)?;
        Ok(vec![Some(match d.string("post_transform").ok().flatten().as_deref() {
            Some("SOFTMAX") => r.apply("Softmax", &[y])?,
            Some("LOGISTIC") => r.apply("Sigmoid", &[y])?,
            _ => y,
        })])
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Context, Inputs, Value};

    #[test]
    fn targets_are_weighted_sums() {
        let d = Definition::new("LinearRegressor")
            .attribute("coefficients", vec![1f32, 2., 3., 4.])
            .attribute("targets", 2i64);
        let d = d.attribute("intercepts", vec![10f32, 20.]);
        let x: Value = Tensor::new([1, 2], vec![5i64, 6]).unwrap().into();
        let y = linear_regressor(&d).unwrap().evaluate(&mut Context::default(), Inputs(&[Some(&x)])).unwrap();
        assert_eq!(y, [Tensor::new([1, 2], vec![27f32, 59.]).unwrap().into()]);
        assert!(linear_regressor(&d.clone().attribute("targets", 3i64)).is_err());
        assert!(linear_regressor(&d.clone().attribute("targets", 0i64)).is_err());
        assert!(linear_regressor(&d.attribute("intercepts", vec![1f32])).is_err());
    }
}
