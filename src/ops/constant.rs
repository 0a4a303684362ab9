//! Constant and ConstantOfShape (ONNX opsets 1 to 25).

use std::sync::Arc;

use super::generate::generated;
use super::remap::element_bits;
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::tensor::Tensor;

/// A tensor that stands in the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant(Tensor);

/// A tensor of a given shape whose elements are all alike.
#[derive(Debug, Clone, PartialEq)]
pub struct ConstantOfShape(Tensor);

pub(super) fn constant(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let tensor = if let Some(tensor) = d.tensor("value")? {
        tensor
    } else if let Some(value) = d.float("value_float")? {
        Tensor::scalar(value)
    } else if let Some(values) = d.floats("value_floats")? {
        Tensor::vector(values)
    } else if let Some(value) = d.int("value_int")? {
        Tensor::scalar(value)
    } else if let Some(values) = d.ints("value_ints")? {
        Tensor::vector(values)
    } else {
        return Err(match d.attributes.keys().next() {
            Some(other) => DefinitionError::Unsupported(format!("a constant given as '{other}' is not supported")),
            None => DefinitionError::Missing("value"),
        });
    };
    Ok(Arc::new(Constant(tensor)))
}

pub(super) fn constant_of_shape(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let value = d.tensor("value")?.unwrap_or_else(|| Tensor::vector(vec![0f32]));
    if value.len() != 1 {
        return Err(DefinitionError::Value("value", format!("has {} elements, not one", value.len())));
    }
    Ok(Arc::new(ConstantOfShape(value)))
}

impl Operator for Constant {
    fn name(&self) -> &str {
        "Constant"
    }

    fn infer(&self, _: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        Ok(vec![Fact::constant(self.0.clone())])
    }

    fn evaluate(&self, _: &mut Context, _: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        Ok(vec![self.0.clone().into()])
    }

    fn work(&self, _: &[Option<&Fact>], _: &[Fact]) -> f64 {
        0.0
    }
}

impl Operator for ConstantOfShape {
    fn name(&self) -> &str {
        "ConstantOfShape"
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::Parameter
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let fact = Fact::at(inputs, 0)?;
        let count = fact.count()?;
        let shape = match (&fact.known, fact.integers()) {
            (Some(known), _) => known.clone(),
            (None, Some(integers)) => integers.into_iter().map(Dim::Known).collect(),
            (None, None) => match count {
                Some(rank) => vec![Dim::Unknown; rank],
                None => return Ok(vec![]),
            },
        };
        if shape.iter().any(|d| d.known().is_some_and(|n| n < 0)) {
            return Err(ShapeError::new("a dimension is negative"));
        }
        Ok(vec![Fact::new(self.0.element_type(), shape)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let dims = inputs.list(0)?.ok_or_else(|| ShapeError::new("its shape is missing"))?;
        let shape: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
        let shape = shape.ok_or_else(|| ShapeError::new("a dimension is negative"))?;
        let length = Tensor::bounded(self.0.element_type(), &shape)?;
        if let Ok([text]) = self.0.strings() {
            return Ok(vec![Tensor::from_strings(shape, vec![text.clone(); length])?.into()]);
        }
        Ok(vec![Tensor::from_bytes(self.0.element_type(), shape, self.0.bytes().repeat(length).into())?.into()])
    }

    fn work(&self, _: &[Option<&Fact>], _: &[Fact]) -> f64 {
        0.0
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let bits = element_bits(&self.0).ok_or("its value is none that a kernel takes")?;
        generated(request, request.any_output_storage(0)?, "splat_y(bits_y(params.a, params.b))", bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::ElementType;

    #[test]
    fn a_constant_is_its_attribute() {
        let made = |name: &str, value: crate::graph::Attribute| {
            constant(&Definition::new("Constant").attribute(name, value))
                .unwrap()
                .infer(&[])
                .unwrap()
                .remove(0)
                .constant
        };
        assert_eq!(made("value_int", 3.into()), Some(Tensor::scalar(3i64)));
        assert_eq!(
            made("value_floats", crate::graph::Attribute::Floats(vec![1., 2.])),
            Some(Tensor::vector(vec![1f32, 2.]))
        );
        assert!(constant(&Definition::new("Constant")).is_err());
        assert!(constant(&Definition::new("Constant").attribute("value_string", "a")).is_err());
    }

    #[test]
    fn a_shape_is_filled_or_refused() {
        let operator = ConstantOfShape(Tensor::vector(vec![7i32]));
        let run =
            |dims: Vec<i64>| operator.evaluate(&mut Context::default(), Inputs(&[Some(&Tensor::vector(dims).into())]));
        assert_eq!(run(vec![2, 2]).unwrap(), [Tensor::new([2, 2], vec![7i32; 4]).unwrap().into()]);
        assert_eq!(run(vec![]).unwrap(), [Tensor::scalar(7i32).into()]);
        assert_eq!(run(vec![i64::MAX, 0]).unwrap().len(), 1);
        assert!(run(vec![-1]).is_err());
        assert!(run(vec![1 << 20, 1 << 20]).is_err());
        let fact = operator.infer(&[Some(&Fact::dims(vec![Dim::symbol("n"), Dim::Known(2)]))]).unwrap();
        assert_eq!((fact[0].element_type, fact[0].to_string().as_str()), (ElementType::I32, "i32[n, 2]"));
    }

    #[test]
    fn kernels_fill() {
        use crate::testing::{Input, Tolerance, check};
        let values = [
            Tensor::vector(vec![1.5f32]),
            Tensor::vector(vec![-3i32]),
            Tensor::vector(vec![250u8]),
            Tensor::vector(vec![-3i64 << 40 | 5]),
            Tensor::vector(vec![0.1f64]),
            Tensor::vector(vec![u32::MAX]),
            Tensor::vector(vec![half::bf16::from_f32(-0.25)]),
            Tensor::vector(vec![i16::MIN]),
            Tensor::vector(vec![half::f16::from_f32(0.25)]),
            Tensor::vector(vec![crate::tensor::Truth::from(true)]),
        ];
        for value in values {
            for shape in [vec![], vec![3i64, 5], vec![0, 2], vec![8]] {
                let shape = Input::Constant(Tensor::vector(shape));
                check(&ConstantOfShape(value.clone()), &[shape], Tolerance::EXACT);
            }
        }
    }
}
