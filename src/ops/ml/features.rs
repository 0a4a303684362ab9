//! ArrayFeatureExtractor, Binarizer, Imputer, Normalizer, OneHotEncoder and Scaler (ai.onnx.ml, opset 1): made of operators of
//! the standard's own domain.

use std::sync::Arc;

use crate::graph::{Definition, DefinitionError, Operator, ShapeError, ValueId};
use crate::ops::composite::{Composite, Recipe};
use crate::tensor::{ElementType, Tensor};

type Made = Result<Arc<dyn Operator>, DefinitionError>;
type Values = Result<Vec<Option<ValueId>>, ShapeError>;

fn input(inputs: &[Option<ValueId>], index: usize) -> Result<ValueId, ShapeError> {
    inputs.get(index).copied().flatten().ok_or_else(|| ShapeError::new(format!("input {index} is missing")))
}

/// A value as 32-bit floats.
fn float(r: &mut Recipe, x: ValueId) -> Result<ValueId, ShapeError> {
    match r.fact(x)?.element_type {
        ElementType::F32 => Ok(x),
        _ => r.node(Definition::new("Cast").attribute("to", 1i64), &[x]),
    }
}

/// Columns of the last dimension, by their indices; of a list a matrix with one row.
pub(in crate::ops) fn array_feature_extractor(d: &Definition) -> Made {
    Ok(Arc::new(Composite::new(d, |_, r, inputs| -> Values {
        let (mut x, indices) = (input(inputs, 0)?, input(inputs, 1)?);
        if r.rank(x)? == 1 {
            x = r.reshape(x, vec![1, -1])?;
        }
        let indices = r.reshape(indices, vec![-1])?;
        Ok(vec![Some(r.node(Definition::new("Gather").attribute("axis", -1i64), &[x, indices])?)])
    })))
}

/// 1 where a number is above the threshold, else 0.
pub(in crate::ops) fn binarizer(d: &Definition) -> Made {
    d.float("threshold")?;
    Ok(Arc::new(Composite::new(d, |d, r, inputs| -> Values {
        let x = input(inputs, 0)?;
        let threshold = r.number(x, d.float("threshold").ok().flatten().unwrap_or(0.0).into())?;
        let above = r.apply("Greater", &[x, threshold])?;
        Ok(vec![Some(r.apply("CastLike", &[above, x])?)])
    })))
}

/// `(x - offset) scale`, the same for all columns or one for each.
pub(in crate::ops) fn scaler(d: &Definition) -> Made {
    d.floats("offset")?;
    d.floats("scale")?;
    Ok(Arc::new(Composite::new(d, |d, r, inputs| -> Values {
        let mut x = float(r, input(inputs, 0)?)?;
        for (name, operator) in [("offset", "Sub"), ("scale", "Mul")] {
            if let Some(values) = d.floats(name).ok().flatten().filter(|v| !v.is_empty()) {
                let values = r.constant(Tensor::vector(values));
                x = r.apply(operator, &[x, values])?;
            }
        }
        Ok(vec![Some(x)])
    })))
}

/// A value in the place of another one, which may be NaN; the same for all columns or one for each.
pub(in crate::ops) fn imputer(d: &Definition) -> Made {
    let given = (d.floats("imputed_value_floats")?, d.ints("imputed_value_int64s")?);
    d.float("replaced_value_float")?;
    d.int("replaced_value_int64")?;
    if given.0.is_none_or(|v| v.is_empty()) && given.1.is_none_or(|v| v.is_empty()) {
        return Err(DefinitionError::Missing("imputed_value_floats"));
    }
    Ok(Arc::new(Composite::new(d, |d, r, inputs| -> Values {
        let x = input(inputs, 0)?;
        let floats = d.floats("imputed_value_floats").ok().flatten().filter(|v| !v.is_empty());
        let (values, replaced) = match floats {
            Some(values) => {
                (Tensor::vector(values), d.float("replaced_value_float").ok().flatten().unwrap_or(0.0).into())
            }
            None => {
                let values = d.ints("imputed_value_int64s").ok().flatten().unwrap_or_default();
                (Tensor::vector(values), d.int("replaced_value_int64").ok().flatten().unwrap_or(0) as f64)
            }
        };
        let values = r.constant(values);
        let values = r.cast_like(values, x)?;
        let wrong = if replaced.is_nan() {
            r.apply("IsNaN", &[x])?
        } else {
            let replaced = r.number(x, replaced)?;
            r.apply("Equal", &[x, replaced])?
        };
        Ok(vec![Some(r.apply("Where", &[wrong, values, x])?)])
    })))
}

/// Each row divided by its norm: the largest magnitude, their sum, or the root of the sum of their squares.
pub(in crate::ops) fn normalizer(d: &Definition) -> Made {
    match d.string("norm")?.as_deref() {
        None | Some("MAX" | "L1" | "L2") => {}
        Some(other) => return Err(DefinitionError::Value("norm", format!("is '{other}', which is none"))),
    }
    Ok(Arc::new(Composite::new(d, |d, r, inputs| -> Values {
        let x = float(r, input(inputs, 0)?)?;
        let last = r.integers(vec![-1]);
        let norm = match d.string("norm").ok().flatten().as_deref() {
            Some("L1") => r.apply("ReduceL1", &[x, last])?,
            Some("L2") => r.apply("ReduceL2", &[x, last])?,
            _ => {
                let sizes = r.apply("Abs", &[x])?;
                r.apply("ReduceMax", &[sizes, last])?
            }
        };
        // Rows of zeros stay.
        let least = r.number(x, 1e-30)?;
        let norm = r.apply("Max", &[norm, least])?;
        Ok(vec![Some(r.apply("Div", &[x, norm])?)])
    })))
}

/// Zeros and, in a new last dimension, a one at the place of the category; texts are looked up too.
pub(in crate::ops) fn one_hot_encoder(d: &Definition) -> Made {
    let given = (d.ints("cats_int64s")?, d.strings("cats_strings")?);
    if given.0.is_none_or(|v| v.is_empty()) && given.1.is_none_or(|v| v.is_empty()) {
        return Err(DefinitionError::Missing("cats_int64s"));
    }
    if !d.flag("zeros", true)? {
        return Err(DefinitionError::Unsupported("refusing what has no category is not supported".to_owned()));
    }
    Ok(Arc::new(Composite::new(d, |d, r, inputs| -> Values {
        let mut x = input(inputs, 0)?;
        let categories = match r.fact(x)?.element_type {
            ElementType::String => {
                let texts = d.strings("cats_strings").ok().flatten().unwrap_or_default();
                Tensor::from_strings([texts.len()], texts).map_err(|e| ShapeError::new(e.to_string()))?
            }
            _ => Tensor::vector(d.ints("cats_int64s").ok().flatten().unwrap_or_default()),
        };
        let (shown, kind) = (r.fact(x)?.to_string(), r.fact(x)?.element_type);
        if categories.is_empty() {
            return Err(ShapeError::new(format!("there are no categories for {shown}")));
        }
        if kind != ElementType::String && kind != ElementType::I64 {
            x = r.node(Definition::new("Cast").attribute("to", 7i64), &[x])?;
        }
        let axes = r.integers(vec![-1]);
        let (x, categories) = (r.apply("Unsqueeze", &[x, axes])?, r.constant(categories));
        let hot = r.apply("Equal", &[x, categories])?;
        Ok(vec![Some(r.node(Definition::new("Cast").attribute("to", 1i64), &[hot])?)])
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Context, Inputs, Value};

    fn run(made: Made, inputs: &[Tensor]) -> Tensor {
        let values: Vec<Value> = inputs.iter().cloned().map(Value::from).collect();
        let values: Vec<Option<&Value>> = values.iter().map(Some).collect();
        made.unwrap().evaluate(&mut Context::default(), Inputs(&values)).unwrap().remove(0).into_tensor().unwrap()
    }

    fn rows(values: &[f32]) -> Tensor {
        Tensor::new([values.len() / 2, 2], values.to_vec()).unwrap()
    }

    #[test]
    fn columns_are_taken() {
        let d = Definition::new("ArrayFeatureExtractor");
        let y = run(array_feature_extractor(&d), &[rows(&[1., 2., 3., 4.]), Tensor::vector(vec![1i64])]);
        assert_eq!(y, Tensor::new([2, 1], vec![2f32, 4.]).unwrap());
        let y = run(array_feature_extractor(&d), &[Tensor::vector(vec![1f32, 2.]), Tensor::vector(vec![1i64, 0])]);
        assert_eq!(y, Tensor::new([1, 2], vec![2f32, 1.]).unwrap());
    }

    #[test]
    fn numbers_are_compared_scaled_and_replaced() {
        let d = Definition::new("Binarizer").attribute("threshold", 2f32);
        assert_eq!(run(binarizer(&d), &[rows(&[1., 2., 3., 4.])]), rows(&[0., 0., 1., 1.]));
        let d = Definition::new("Scaler").attribute("offset", vec![1f32]).attribute("scale", vec![2f32, 3.]);
        assert_eq!(run(scaler(&d), &[rows(&[1., 2., 3., 4.])]), rows(&[0., 3., 4., 9.]));
        let d = Definition::new("Imputer").attribute("imputed_value_floats", vec![7f32, 8.]);
        let d = d.attribute("replaced_value_float", f32::NAN);
        assert_eq!(run(imputer(&d), &[rows(&[f32::NAN, f32::NAN, 3., 4.])]), rows(&[7., 8., 3., 4.]));
        let d = Definition::new("Imputer")
            .attribute("imputed_value_int64s", vec![5i64])
            .attribute("replaced_value_int64", 3i64);
        assert_eq!(run(imputer(&d), &[Tensor::new([1, 2], vec![3i64, 4]).unwrap()]).to_f64(), [5.0, 4.0]);
        assert!(imputer(&Definition::new("Imputer")).is_err());
    }

    #[test]
    fn rows_have_norm_one() {
        let norm = |name: &str| {
            run(normalizer(&Definition::new("Normalizer").attribute("norm", name)), &[rows(&[3., -4., 0., 0.])])
        };
        assert_eq!(norm("MAX"), rows(&[0.75, -1., 0., 0.]));
        assert_eq!(norm("L1"), rows(&[3. / 7., -4. / 7., 0., 0.]));
        assert_eq!(norm("L2"), rows(&[0.6, -0.8, 0., 0.]));
        assert!(normalizer(&Definition::new("Normalizer").attribute("norm", "L3")).is_err());
    }

    #[test]
    fn categories_become_ones() {
        let d = Definition::new("OneHotEncoder").attribute("cats_int64s", vec![4i64, 2]);
        let y = run(one_hot_encoder(&d), &[Tensor::vector(vec![2f32, 3.0, 4.0])]);
        assert_eq!(y, Tensor::new([3, 2], vec![0f32, 1., 0., 0., 1., 0.]).unwrap());
        let d = Definition::new("OneHotEncoder").attribute("cats_strings", vec!["a".to_owned(), "b".to_owned()]);
        let y = run(one_hot_encoder(&d), &[Tensor::from_strings([1], vec!["b".to_owned()]).unwrap()]);
        assert_eq!(y, Tensor::new([1, 2], vec![0f32, 1.]).unwrap());
    }
}
