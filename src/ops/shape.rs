//! Shape and Size: what is known of a value's extent, as integers (ONNX opsets 1 to 25).

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, ShapeError, Value,
};
use crate::tensor::{ElementType, Tensor};

/// A value's extent.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Its dimensions from `start` to before `end`, which count from the back where negative and are clamped.
    Dims {
        /// The first.
        start: i64,
        /// The one after the last; the rank where it is left out.
        end: Option<i64>,
    },
    /// Its number of elements.
    Size,
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(match d.op_type.as_str() {
        "Size" => Shape::Size,
        _ => Shape::Dims { start: d.int("start")?.unwrap_or(0), end: d.int("end")? },
    }))
}

impl Shape {
    /// The range of dimensions, for a rank.
    fn range(start: i64, end: Option<i64>, rank: usize) -> std::ops::Range<usize> {
        let clamp = |at: i64| {
            let rank = i64::try_from(rank).unwrap_or(i64::MAX);
            usize::try_from(if at < 0 { at.saturating_add(rank).max(0) } else { at.min(rank) }).unwrap_or(0)
        };
        let (start, end) = (clamp(start), end.map_or(rank, clamp));
        start..end.max(start)
    }
}

impl Operator for Shape {
    fn name(&self) -> &str {
        if *self == Self::Size { "Size" } else { "Shape" }
    }

    fn takes_strings(&self) -> bool {
        true
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::Fact
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let shape = &Fact::at(inputs, 0)?.shape;
        Ok(vec![match self {
            Self::Dims { start, end } => Fact::dims(shape[Self::range(*start, *end, shape.len())].to_vec()),
            Self::Size => match shape.iter().fold(Dim::Known(1), |a, b| a.mul(b)) {
                Dim::Known(n) => Fact::constant(Tensor::scalar(n)),
                size => {
                    let scalar: [Dim; 0] = [];
                    Fact { known: Some(vec![size]), ..Fact::new(ElementType::I64, scalar) }
                }
            },
        }])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        #[expect(
            clippy::cast_possible_wrap,
            reason = "a tensor has at most isize::MAX bytes; an empty one may wrap, as its dimensions are nobody's memory"
        )]
        let integer = |n: usize| n as i64;
        Ok(vec![match self {
            Self::Dims { start, end } => {
                let dims = &x.shape()[Self::range(*start, *end, x.rank())];
                Tensor::vector(dims.iter().map(|&d| integer(d)).collect()).into()
            }
            Self::Size => Tensor::scalar(integer(x.len())).into(),
        }])
    }

    fn work(&self, _: &[Option<&Fact>], _: &[Fact]) -> f64 {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_dimensions_are_clamped() {
        let x = Fact::new(ElementType::F32, [Dim::symbol("n"), Dim::Known(3), Dim::Known(5)]);
        let known = |start, end| Shape::Dims { start, end }.infer(&[Some(&x)]).unwrap()[0].known.clone().unwrap();
        assert_eq!(known(0, None), x.shape);
        assert_eq!(known(-2, Some(-1)), [Dim::Known(3)]);
        assert_eq!(known(i64::MIN, Some(i64::MAX)), x.shape);
        assert_eq!(known(2, Some(1)), []);
        assert_eq!(Shape::Size.infer(&[Some(&x)]).unwrap()[0].known, Some(vec![Dim::symbol("n").mul(&Dim::Known(15))]));
    }

    #[test]
    fn the_reference_gives_the_same_numbers() {
        let x = Value::from(Tensor::zeros(ElementType::F32, [4, 0, 5]).unwrap());
        let run = |shape: Shape| shape.evaluate(&mut Context::default(), Inputs(&[Some(&x)])).unwrap();
        assert_eq!(run(Shape::Dims { start: 1, end: None }), [Tensor::vector(vec![0i64, 5]).into()]);
        assert_eq!(run(Shape::Size), [Tensor::scalar(0i64).into()]);
    }
}
