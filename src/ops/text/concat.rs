//! StringConcat: texts joined element by element, with broadcasting.

use std::sync::Arc;

use super::texts;
use crate::graph::{Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, ShapeError, Value};
use crate::ops::broadcast;
use crate::tensor::shape::{elements, strides, walk};
use crate::tensor::{ElementType, Tensor};

/// `y = a b`.
#[derive(Debug, Clone, PartialEq)]
pub struct StringConcat;

pub(in crate::ops) fn make(_: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(StringConcat))
}

/// The strides with which a tensor of this shape is read where it broadcasts to another one.
fn read_strides(shape: &[usize], to: &[usize]) -> Vec<usize> {
    let missing = to.len().saturating_sub(shape.len());
    let own = strides(shape);
    (0..to.len())
        .map(|i| match i.checked_sub(missing) {
            Some(i) if shape[i] > 1 => own[i],
            _ => 0,
        })
        .collect()
}

impl Operator for StringConcat {
    fn name(&self) -> &str {
        "StringConcat"
    }

    fn takes_strings(&self) -> bool {
        true
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (a, b) = (texts(inputs, 0)?, texts(inputs, 1)?);
        Ok(vec![Fact::new(ElementType::String, broadcast::shape(&[&a.shape, &b.shape])?)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (a, b) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let to = broadcast::sizes(&[a.shape(), b.shape()])?;
        let (a_texts, b_texts) = (a.strings()?, b.strings()?);
        Tensor::bounded(ElementType::String, &to)?;
        let mut joined = Vec::with_capacity(elements(&to).unwrap_or_default());
        walk(&to, [&read_strides(a.shape(), &to), &read_strides(b.shape(), &to)], |[i, j]| {
            joined.push(format!("{}{}", a_texts[i], b_texts[j]));
        });
        Ok(vec![Tensor::from_strings(to, joined)?.into()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{run, strings};
    use super::*;

    #[test]
    fn texts_are_joined_with_broadcasting() {
        let d = Definition::new("StringConcat");
        let y = run(make, &d, &[strings(&[2, 1], &["a", "ß"]), strings(&[3], &["", ".x", "-"])]).unwrap();
        assert_eq!(y, [strings(&[2, 3], &["a", "a.x", "a-", "ß", "ß.x", "ß-"])]);
        assert_eq!(run(make, &d, &[strings(&[], &["a"]), strings(&[], &["b"])]).unwrap(), [strings(&[], &["ab"])]);
        assert!(run(make, &d, &[strings(&[2], &["a", "b"]), Tensor::vector(vec![1f32])]).is_err());
        assert!(run(make, &d, &[strings(&[2], &["a", "b"]), strings(&[3], &["a", "b", "c"])]).is_err());
    }
}
