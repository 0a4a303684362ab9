//! Cast and CastLike: the same numbers as another element type.
//!
//! Floating-point numbers become integers by rounding toward zero, saturating, NaN becoming 0; integers wrap around;
//! to `bool`, everything but 0 is true.

use std::sync::Arc;

use half::f16;

use super::unary;
use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Candidate, Candidates, Layout, Storage};
use crate::tensor::{Element, ElementType, Tensor, Truth};

/// Cast, or CastLike where there is no type: the second input's is taken then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cast {
    to: Option<ElementType>,
}

/// Makes a Cast (the type is a number of the standard's `TensorProto.DataType`, before operator set 6 its name).
pub(super) fn cast(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let name = if definition.opset < 6 { definition.string("to")? } else { None };
    let number = match &name {
        Some(name) => name.clone(),
        None => definition.int("to")?.ok_or(DefinitionError::Missing("to"))?.to_string(),
    };
    let to = match number.as_str() {
        "1" | "FLOAT" => ElementType::F32,
        "2" | "UINT8" => ElementType::U8,
        "3" | "INT8" => ElementType::I8,
        "6" | "INT32" => ElementType::I32,
        "7" | "INT64" => ElementType::I64,
        "9" | "BOOL" => ElementType::Bool,
        "10" | "FLOAT16" => ElementType::F16,
        "11" | "DOUBLE" => ElementType::F64,
        other => return Err(DefinitionError::Unsupported(format!("there are no tensors of data type {other}"))),
    };
    Ok(Arc::new(Cast { to: Some(to) }))
}

/// Makes a CastLike.
pub(super) fn cast_like(_: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(Cast { to: None }))
}

impl Operator for Cast {
    fn name(&self) -> &str {
        if self.to.is_some() { "Cast" } else { "CastLike" }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let to = self.to.map_or_else(|| Fact::at(inputs, 1).map(|like| like.element_type), Ok)?;
        let integers = |t: ElementType| matches!(t, ElementType::I64 | ElementType::I32);
        let mut y = x.with_type(to);
        // Sizes stay what they are; none is so large that it would wrap around.
        if integers(x.element_type) && integers(to) {
            y.known.clone_from(&x.known);
        }
        Ok(vec![y])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let to = self.to.map_or_else(|| inputs.tensor(1).map(Tensor::element_type), Ok)?;
        Ok(vec![converted(x, to)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let (read, written) = (request.storage(0)?, request.output_storage(0)?);
        let from = request.input(0)?.fact.element_type;
        let to = request.outputs.first().map_or(from, |y| y.element_type);
        if from == to {
            let view = Candidate::view(0, request.inputs.len());
            // In another layout than the linear one a copy is nearer than a conversion.
            return match request.input(0)?.layout {
                Layout::Linear => Ok(vec![view]),
                _ => Ok([vec![view], unary::pointwise(request, "v", 0, [0.0; 2])?].concat()),
            };
        }
        unary::pointwise(request, expression(from, read, to, written), 0, [0.0; 2])
    }
}

/// The kernel: stored integers are cut to their type's bits when they are stored.
const fn expression(from: ElementType, read: Storage, to: ElementType, written: Storage) -> &'static str {
    match (read.is_float(), written.is_float()) {
        (true, _) if matches!(to, ElementType::Bool) => {
            "select(vec4<i32>(0), vec4<i32>(1), (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) != vec4<u32>(0u))"
        }
        (_, _) if matches!(to, ElementType::Bool) => "select(vec4<i32>(0), vec4<i32>(1), v != vec4<i32>(0))",
        (false, true) if matches!(from, ElementType::Bool) => {
            "select(vec4<f32>(0.0), vec4<f32>(1.0), v != vec4<i32>(0))"
        }
        (false, false) if matches!(from, ElementType::Bool) => "select(vec4<i32>(0), vec4<i32>(1), v != vec4<i32>(0))",
        (true, false) => match to {
            ElementType::I8 => "vec4<i32>(select(bound4(v, -128.0, 127.0), vec4<f32>(0.0), is_nan4(v)))",
            ElementType::U8 => "vec4<i32>(select(bound4(v, 0.0, 255.0), vec4<f32>(0.0), is_nan4(v)))",
            // 2^31 is no f32 below the largest i32: from there on it is that itself.
            _ => {
                "select(vec4<i32>(select(bound4(v, -2147483648.0, 2147483520.0), vec4<f32>(0.0), is_nan4(v))), vec4<i32>(2147483647), v >= vec4<f32>(2147483648.0))"
            }
        },
        (false, true) => "vec4<f32>(v)",
        _ => "v",
    }
}

/// A number on its way from one type to another: nothing is lost in either.
enum Number {
    Float(f64),
    Integer(i64),
}

/// Takes a number in.
trait Target: Element {
    fn from_float(v: f64) -> Self;
    fn from_integer(v: i64) -> Self;
}

macro_rules! targets {
    ($($type:ty),*) => {$(
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, trivial_numeric_casts)]
        impl Target for $type {
            fn from_float(v: f64) -> Self {
                v as $type
            }
            fn from_integer(v: i64) -> Self {
                v as $type
            }
        }
    )*};
}
targets! { f32, f64, i64, i32, i8, u8 }

impl Target for f16 {
    fn from_float(v: f64) -> Self {
        Self::from_f64(v)
    }
    fn from_integer(v: i64) -> Self {
        Self::from_f64(v as f64)
    }
}

impl Target for Truth {
    fn from_float(v: f64) -> Self {
        Self::from(v != 0.0)
    }
    fn from_integer(v: i64) -> Self {
        Self::from(v != 0)
    }
}

fn converted(x: &Tensor, to: ElementType) -> Result<Tensor, EvaluateError> {
    if x.element_type() == to {
        return Ok(x.clone());
    }
    match to {
        ElementType::F32 => read::<f32>(x),
        ElementType::F16 => read::<f16>(x),
        ElementType::F64 => read::<f64>(x),
        ElementType::I64 => read::<i64>(x),
        ElementType::I32 => read::<i32>(x),
        ElementType::I8 => read::<i8>(x),
        ElementType::U8 => read::<u8>(x),
        ElementType::Bool => read::<Truth>(x),
    }
}

fn read<Y: Target>(x: &Tensor) -> Result<Tensor, EvaluateError> {
    match x.element_type() {
        ElementType::F32 => mapped::<f32, Y>(x, |v| Number::Float(v.into())),
        ElementType::F16 => mapped::<f16, Y>(x, |v| Number::Float(v.into())),
        ElementType::F64 => mapped::<f64, Y>(x, Number::Float),
        ElementType::I64 => mapped::<i64, Y>(x, Number::Integer),
        ElementType::I32 => mapped::<i32, Y>(x, |v| Number::Integer(v.into())),
        ElementType::I8 => mapped::<i8, Y>(x, |v| Number::Integer(v.into())),
        ElementType::U8 => mapped::<u8, Y>(x, |v| Number::Integer(v.into())),
        ElementType::Bool => mapped::<Truth, Y>(x, |v| Number::Integer(bool::from(v).into())),
    }
}

fn mapped<X: Element, Y: Target>(x: &Tensor, number: impl Fn(X) -> Number) -> Result<Tensor, EvaluateError> {
    let y = x.as_slice::<X>()?.iter().map(|&v| match number(v) {
        Number::Float(v) => Y::from_float(v),
        Number::Integer(v) => Y::from_integer(v),
    });
    Ok(Tensor::new(x.shape(), y.collect())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Dim;
    use crate::testing::{Input, Tolerance, check};

    /// The types with their numbers in the standard.
    const TYPES: [(i64, ElementType); 8] = [
        (1, ElementType::F32),
        (2, ElementType::U8),
        (3, ElementType::I8),
        (6, ElementType::I32),
        (7, ElementType::I64),
        (9, ElementType::Bool),
        (10, ElementType::F16),
        (11, ElementType::F64),
    ];

    fn to(number: i64) -> Arc<dyn Operator> {
        cast(&Definition::new("Cast").attribute("to", number)).unwrap()
    }

    #[test]
    fn floats_become_integers_toward_zero() {
        let x = Tensor::vector(vec![1.9f32, -1.9, 300.0, -300.0, f32::NAN, f32::INFINITY, 3e9]);
        assert_eq!(converted(&x, ElementType::I8).unwrap().as_slice::<i8>().unwrap(), [1, -1, 127, -128, 0, 127, 127]);
        assert_eq!(converted(&x, ElementType::U8).unwrap().as_slice::<u8>().unwrap(), [1, 0, 255, 0, 0, 255, 255]);
        let y = converted(&x, ElementType::I32).unwrap();
        assert_eq!(y.as_slice::<i32>().unwrap(), [1, -1, 300, -300, 0, i32::MAX, i32::MAX]);
        let y = converted(&x, ElementType::I64).unwrap();
        assert_eq!(y.as_slice::<i64>().unwrap(), [1, -1, 300, -300, 0, i64::MAX, 3_000_000_000]);
        let wide = Tensor::vector(vec![i64::MAX, 257, -1]);
        assert_eq!(converted(&wide, ElementType::U8).unwrap().as_slice::<u8>().unwrap(), [255, 1, 255]);
    }

    #[test]
    fn every_pair_agrees() {
        let x = Tensor::vector(vec![
            0.0f32,
            -0.0,
            0.4,
            -0.6,
            1.0,
            -1.0,
            1.5,
            2.5,
            100.7,
            127.0,
            128.0,
            -128.9,
            -129.0,
            255.5,
            256.0,
            1000.0,
            -65_504.0,
            65_519.0,
            1e6,
            16_777_217.0,
            2_147_483_520.0,
            2_147_483_648.0,
            -2_147_483_648.0,
            1e20,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
        ]);
        for (_, from) in TYPES {
            let x = converted(&x, from).unwrap();
            for (number, element_type) in TYPES {
                let wide = |t| matches!(t, ElementType::I64 | ElementType::F64);
                let value = Value::from(x.clone());
                let y = to(number).evaluate(&mut Context::default(), Inputs(&[Some(&value)])).unwrap();
                assert!(matches!(&y[..], [Value::Tensor(y)] if y.element_type() == element_type));
                if !wide(from) && !wide(element_type) {
                    check(&*to(number), &[Input::Run(x.clone())], Tolerance::EXACT);
                }
            }
        }
    }

    #[test]
    fn shapes_keep_their_content_and_the_type_may_be_an_inputs() {
        let h = Fact::dims(vec![Dim::symbol("h")]);
        assert_eq!(to(6).infer(&[Some(&h)]).unwrap()[0].known, h.known);
        let like = cast_like(&Definition::new("CastLike")).unwrap();
        let u8s = Fact::new(ElementType::U8, [2usize]);
        assert_eq!(like.infer(&[Some(&h), Some(&u8s)]).unwrap()[0].element_type, ElementType::U8);
        let x = Tensor::vector(vec![1.5f32, 2.5]);
        check(&*like, &[Input::Run(x), Input::Constant(Tensor::scalar(1i32))], Tolerance::EXACT);
        assert!(cast(&Definition::new("Cast").attribute("to", 8)).is_err());
        assert!(cast(&Definition { opset: 1, ..Definition::new("Cast") }.attribute("to", "INT64")).is_ok());
    }
}
