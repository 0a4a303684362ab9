//! Range (ONNX opset 11): `y_i = start + i · delta`, for `max(⌈(limit − start) / delta⌉, 0)` elements.

use std::sync::Arc;

use super::generate::generated;
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::tensor::{ElementType, Tensor};

/// Evenly spaced numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Range;

pub(super) fn from_definition(_: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(Range))
}

/// `⌈(limit − start) / delta⌉`, and none where the range is empty. A step of 0 is refused.
fn count(start: i64, limit: i64, delta: i64) -> Result<usize, ShapeError> {
    let (start, limit, delta) = (i128::from(start), i128::from(limit), i128::from(delta));
    if delta == 0 {
        return Err(ShapeError::new("its step is 0"));
    }
    let (span, step) = if delta > 0 { (limit - start, delta) } else { (start - limit, -delta) };
    usize::try_from((span.max(0) + step - 1) / step).map_err(|_| ShapeError::new("the range is too long"))
}

/// [`count`] of three tensors, which hold one number each.
fn elements(tensors: [&Tensor; 3]) -> Result<usize, ShapeError> {
    if tensors.iter().any(|tensor| tensor.len() != 1) {
        return Err(ShapeError::new("its inputs should be three numbers"));
    }
    if let [Some(start), Some(limit), Some(delta)] = tensors.map(|t| t.integers().and_then(|v| v.first().copied())) {
        return count(start, limit, delta);
    }
    let [start, limit, delta] = tensors.map(|t| t.to_f64().first().copied().unwrap_or(f64::NAN));
    let n = ((limit - start) / delta).ceil();
    if n.is_nan() || n > 2e9 {
        return Err(ShapeError::new(format!("a range from {start} to {limit} in steps of {delta} is endless")));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 2e9")]
    Ok(n.max(0.0) as usize)
}

impl Operator for Range {
    fn name(&self) -> &str {
        "Range"
    }

    fn reads(&self, input: usize) -> Reads {
        match input {
            0..=2 => Reads::Parameter,
            _ => Reads::Elements,
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let facts = [Fact::at(inputs, 0)?, Fact::at(inputs, 1)?, Fact::at(inputs, 2)?];
        let element_type = facts[0].element_type;
        let counts =
            element_type.is_float() || matches!(element_type, ElementType::I64 | ElementType::I32 | ElementType::I16);
        if !counts || facts.iter().any(|fact| fact.element_type != element_type) {
            return Err(ShapeError::new("its inputs should be three numbers of one type"));
        }
        if let [Some(start), Some(limit), Some(delta)] = facts.map(|fact| fact.constant.as_ref()) {
            return Ok(vec![Fact::new(element_type, [elements([start, limit, delta])?])]);
        }
        let known = |i: usize| facts[i].known.as_ref().and_then(|v| v.first());
        let dim = match (known(0), known(1), known(2)) {
            (Some(Dim::Known(start)), Some(Dim::Known(limit)), Some(Dim::Known(delta))) => {
                Dim::from(count(*start, *limit, *delta)?)
            }
            (_, _, Some(Dim::Known(0))) => return Err(ShapeError::new("its step is 0")),
            (Some(start), Some(limit), Some(Dim::Known(delta))) if *delta > 0 => {
                limit.sub(start).ceil_div(&Dim::Known(*delta)).maximum(&Dim::Known(0))
            }
            _ => Dim::Unknown,
        };
        Ok(vec![Fact::new(element_type, [dim])])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let tensors = [inputs.tensor(0)?, inputs.tensor(1)?, inputs.tensor(2)?];
        let element_type = tensors[0].element_type();
        let n = elements(tensors)?;
        Tensor::bounded(element_type, &[n])?;
        if let [Some(start), _, Some(delta)] = tensors.map(|t| t.integers().and_then(|v| v.first().copied())) {
            // No element passes the limit, so none overflows.
            let elements = (0..n as i64).map(|i| start.wrapping_add(i.wrapping_mul(delta)));
            return Ok(vec![match element_type {
                #[expect(clippy::cast_possible_truncation, reason = "between start and limit, which are i32")]
                ElementType::I32 => Tensor::vector(elements.map(|v| v as i32).collect()).into(),
                #[expect(clippy::cast_possible_truncation, reason = "between start and limit, which are i16")]
                ElementType::I16 => Tensor::vector(elements.map(|v| v as i16).collect()).into(),
                _ => Tensor::vector(elements.collect::<Vec<i64>>()).into(),
            }]);
        }
        let [start, _, delta] = tensors.map(|t| t.to_f64().first().copied().unwrap_or_default());
        let elements = (0..n).map(|i| start + i as f64 * delta);
        Ok(vec![match element_type {
            #[expect(clippy::cast_possible_truncation, reason = "f32 was asked for")]
            ElementType::F32 => Tensor::vector(elements.map(|v| v as f32).collect()).into(),
            ElementType::F16 => Tensor::vector(elements.map(half::f16::from_f64).collect()).into(),
            _ => Tensor::vector(elements.collect::<Vec<f64>>()).into(),
        }])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let constant = |i: usize| {
            let constant = request.input(i)?.fact.constant.as_ref();
            constant.ok_or_else(|| "its bounds are computed at run time".to_owned())
        };
        let (start, delta) = (constant(0)?, constant(2)?);
        let number = |t: &Tensor| t.to_f64().first().copied().filter(|_| t.element_type().is_float());
        if let (Some(start), Some(delta)) = (number(start), number(delta)) {
            #[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
            let words = [start as f32, delta as f32].map(f32::to_bits);
            let value =
                "y_unit(fma(vec4<f32>(e), vec4<f32>(bitcast<f32>(params.b)), vec4<f32>(bitcast<f32>(params.a))))";
            return generated(request, request.output_storage(0)?, value, words);
        }
        let word = |t: &Tensor| {
            let number = t.integers().and_then(|v| v.first().copied()).and_then(|v| i32::try_from(v).ok());
            number.map(i32::cast_unsigned).ok_or_else(|| "its bounds do not fit 32 bits".to_owned())
        };
        // What no element passes fits if the limit does.
        word(constant(1)?)?;
        let value = "y_unit(vec4<i32>(e) * bitcast<i32>(params.b) + bitcast<i32>(params.a))";
        generated(request, request.index_output_storage(0)?, value, [word(start)?, word(delta)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(values: [Tensor; 3]) -> Result<Vec<Value>, EvaluateError> {
        let values = values.map(Value::from);
        Range.evaluate(&mut Context::default(), Inputs(&values.each_ref().map(Some)))
    }

    #[test]
    fn ranges_are_those_of_the_standard() {
        let integers = |a: i64, b: i64, c: i64| run([a, b, c].map(Tensor::scalar));
        assert_eq!(integers(3, 9, 3).unwrap(), [Tensor::vector(vec![3i64, 6]).into()]);
        assert_eq!(integers(10, 4, -2).unwrap(), [Tensor::vector(vec![10i64, 8, 6]).into()]);
        assert_eq!(integers(10, 4, 2).unwrap(), [Tensor::vector(Vec::<i64>::new()).into()]);
        assert!(integers(0, 1, 0).is_err());
        assert!(integers(i64::MIN, i64::MAX, 1).is_err());
        assert_eq!(run([1f32, 2., 0.5].map(Tensor::scalar)).unwrap(), [Tensor::vector(vec![1f32, 1.5]).into()]);
        assert!(run([0f32, 1., 0.].map(Tensor::scalar)).is_err());
        assert!(run([0f32, 1., f32::NAN].map(Tensor::scalar)).is_err());
    }

    #[test]
    fn a_symbolic_limit_is_the_length() {
        let scalar = |d: Dim| Fact { known: Some(vec![d]), ..Fact::new(ElementType::I64, Vec::<Dim>::new()) };
        let facts = [scalar(Dim::Known(0)), scalar(Dim::symbol("n")), scalar(Dim::Known(1))];
        assert_eq!(Range.infer(&facts.each_ref().map(Some)).unwrap()[0].to_string(), "i64[max(n, 0)]");
    }

    /// Steps are rounded once in an f32: the error is that of the largest element.
    #[test]
    fn kernels_agree() {
        use crate::testing::{Input, Tolerance, check};
        for [start, limit, delta] in [[0i32, 7, 1], [5, -6, -3], [3, 3, 1], [-1, 100, 9]] {
            check(&Range, &[start, limit, delta].map(|v| Input::Constant(Tensor::scalar(v))), Tolerance::EXACT);
            let short = [start, limit, delta].map(|v| Input::Constant(Tensor::scalar(v as i16)));
            check(&Range, &short, Tolerance::EXACT);
            let floats = [start, limit, delta].map(|v| Input::Constant(Tensor::scalar(v as f32 * 0.3)));
            check(&Range, &floats, Tolerance { absolute: 4e-6, relative: 2e-7 });
        }
    }
}
