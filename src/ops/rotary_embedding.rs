//! RotaryEmbedding (ONNX opset 23): pairs of a head's elements are turned by angles that depend on their place.
//!
//! `(a, b)` becomes `(cos · a - sin · b, sin · a + cos · b)`. Pairs are the halves of what is rotated, or neighbours
//! (interleaved). With position ids, cosines and sines are rows of tables, which are gathered first.

use std::sync::Arc;

use super::composite::{Composite, Recipe};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
    ValueId,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::tensor::Tensor;
use crate::tensor::shape::elements;

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;

/// Turns pairs. Inputs: x `[batch, heads, length, size]` or `[batch, length, heads · size]`, cosines and sines
/// `[batch, length, rotated / 2]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RotaryEmbedding {
    /// Heads of an input of three dimensions.
    heads: Option<usize>,
    /// How many of a head's elements are rotated; `None` for all.
    rotated: Option<usize>,
    interleaved: bool,
}

/// Makes a RotaryEmbedding.
pub(super) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let count = |name| -> Result<Option<usize>, DefinitionError> {
        let n = d.int(name)?.unwrap_or(0);
        let count = usize::try_from(n).ok().filter(|&n| n <= 1 << 20);
        count.map(|n| (n > 0).then_some(n)).ok_or_else(|| DefinitionError::Value(name, format!("is {n}")))
    };
    let rotated = count("rotary_embedding_dim")?;
    if rotated.is_some_and(|n| n % 2 == 1) {
        return Err(DefinitionError::Value("rotary_embedding_dim", "is odd".to_owned()));
    }
    let operator = RotaryEmbedding { heads: count("num_heads")?, rotated, interleaved: d.flag("interleaved", false)? };
    if d.inputs > 3 { Ok(Arc::new(Composite::new(d, by_position))) } else { Ok(Arc::new(operator)) }
}

/// With position ids as input 3.
fn by_position(
    d: &Definition,
    recipe: &mut Recipe,
    inputs: &[Option<ValueId>],
) -> Result<Vec<Option<ValueId>>, ShapeError> {
    let &[Some(x), Some(cosines), Some(sines), positions] = inputs else {
        return Err(ShapeError::new("its input, cosines or sines are missing"));
    };
    let mut tables = [cosines, sines];
    if let Some(positions) = positions {
        for table in &mut tables {
            *table = recipe.apply("Gather", &[*table, positions])?;
        }
    }
    let rotation = Definition { outputs: 1, ..d.clone() };
    Ok(vec![Some(recipe.node(rotation, &[x, tables[0], tables[1]])?)])
}

/// The sizes of one run.
struct Sizes {
    /// Heads, or places and heads of an input of three dimensions, between which the angles are the same.
    heads: usize,
    /// Places behind them.
    length: usize,
    size: usize,
    half: usize,
}

impl RotaryEmbedding {
    /// Half of what is rotated of a head of this size.
    fn half(&self, size: usize) -> Result<usize, ShapeError> {
        let rotated = self.rotated.unwrap_or(size);
        if rotated > size || rotated % 2 == 1 {
            return Err(ShapeError::new(format!("{rotated} elements of a head of {size} are no pairs")));
        }
        Ok(rotated / 2)
    }

    fn sizes(&self, x: &[usize]) -> Result<Sizes, ShapeError> {
        match (x, self.heads) {
            (&[_, heads, length, size], _) => Ok(Sizes { heads, length, size, half: self.half(size)? }),
            (&[_, _, hidden], Some(heads)) if hidden % heads == 0 => {
                Ok(Sizes { heads, length: 1, size: hidden / heads, half: self.half(hidden / heads)? })
            }
            _ => Err(ShapeError::new(format!("its input {x:?} is no list of {:?} heads", self.heads))),
        }
    }
}

impl Operator for RotaryEmbedding {
    fn name(&self) -> &str {
        "RotaryEmbedding"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let length = match (x.rank(), self.heads) {
            (4, _) => &x.shape[2],
            (3, Some(_)) => &x.shape[1],
            (3, None) => return Err(ShapeError::new("the number of heads is missing")),
            _ => return Err(ShapeError::new(format!("its input is {x}, not of three or four dimensions"))),
        };
        let half = match x.concrete() {
            Some(shape) => Dim::from(self.sizes(&shape)?.half),
            None => self.rotated.map_or(Dim::Unknown, |n| Dim::from(n / 2)),
        };
        let differ = |a: &Dim, b: &Dim| a.known().zip(b.known()).is_some_and(|(a, b)| a != b);
        for i in 1..3 {
            let table = Fact::at(inputs, i)?;
            let fits = table.rank() == 3
                && table.shape.iter().zip([&x.shape[0], length, &half]).all(|(own, wanted)| !differ(own, wanted));
            if !fits || !x.element_type.is_float() || table.element_type != x.element_type {
                return Err(ShapeError::new(format!("input {i} is {table}, which are no angles of {x}")));
            }
        }
        Ok(vec![x.without_content()])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let s = self.sizes(x.shape())?;
        let (values, cosines, sines) = (x.to_f64(), inputs.tensor(1)?.to_f64(), inputs.tensor(2)?.to_f64());
        let mut y = values.clone();
        for row in 0..values.len().checked_div(s.size).unwrap_or(0) {
            let place = row / (s.heads * s.length) * s.length + row % s.length;
            for pair in 0..s.half {
                let (a, b) = if self.interleaved { (2 * pair, 2 * pair + 1) } else { (pair, pair + s.half) };
                let (a, b) = (row * s.size + a, row * s.size + b);
                let angle = place * s.half + pair;
                let (Some(c), Some(sine)) = (cosines.get(angle), sines.get(angle)) else {
                    return Err(ShapeError::new("there are fewer angles than pairs").into());
                };
                y[a] = c * values[a] - sine * values[b];
                y[b] = sine * values[a] + c * values[b];
            }
        }
        Ok(vec![Tensor::from_f64(x.element_type(), x.shape(), y)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let shape = request.shape(0)?;
        let s = self.sizes(&shape).map_err(|e| e.to_string())?;
        let count = elements(&shape).filter(|&n| u32::try_from(n).is_ok());
        let count = count.ok_or("it has more elements than a shader can count")?;
        let candidate = Candidate::new("elements", vec![Want::In(Layout::Linear); 3], vec![Layout::Linear]);
        if count == 0 {
            return Ok(vec![candidate]);
        }
        let kernel =
            Kernel::of("shape/rotate.wgsl").define("WORKGROUP", WORKGROUP).define("INTERLEAVED", self.interleaved);
        let units = count.div_ceil(4);
        let dispatch = (0..3)
            .try_fold(Dispatch::of(kernel), |d, i| Ok::<_, String>(d.bind(Binding::Input(i), request.storage(i)?)))?
            .bind(Binding::Output(0), request.output_storage(0)?)
            .param("units", units)
            .param("elements", count)
            .param("size", s.size)
            .param("heads", s.heads)
            .param("length", s.length)
            .param("half", s.half)
            .linear(units as u64, WORKGROUP, request.device);
        Ok(vec![candidate.dispatch(dispatch).cost(10.0 * count as f64, 16.0 * count as f64)])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::ElementType;
    use crate::testing::{Input, Tolerance, try_check};

    #[test]
    fn a_quarter_turn_by_hand() {
        let x = Tensor::new([1, 1, 4], vec![1f32, 2.0, 3.0, 4.0]).unwrap();
        let tables = [vec![1f32, 0.0], vec![0.0, 1.0]].map(|t| Tensor::new([1, 2], t).unwrap());
        let run = |interleaved: i64| {
            let mut d =
                Definition::new("RotaryEmbedding").attribute("num_heads", 1).attribute("interleaved", interleaved);
            d.inputs = 4;
            let ids = Tensor::new([1, 1], vec![0i64]).unwrap();
            let values = [&x, &tables[0], &tables[1], &ids].map(|t| Value::from(t.clone()));
            let operator = make(&d).unwrap();
            operator.evaluate(&mut Context::default(), Inputs(&values.each_ref().map(Some))).unwrap().remove(0)
        };
        let expected = |v: [f32; 4]| Value::from(Tensor::new([1, 1, 4], v.to_vec()).unwrap());
        // The second pair is turned by 90 degrees: (a, b) becomes (-b, a).
        assert_eq!(run(0), expected([1.0, -4.0, 3.0, 2.0]));
        assert_eq!(run(1), expected([1.0, 2.0, -4.0, 3.0]));
        assert!(make(&Definition::new("").attribute("rotary_embedding_dim", 3)).is_err());
        assert!(make(&Definition::new("").attribute("num_heads", -3)).is_err());
        let fact = |shape: &[usize]| Fact::new(ElementType::F32, shape.to_vec());
        let (x, odd, table) = (fact(&[1, 2, 3, 4]), fact(&[1, 2, 3, 5]), fact(&[1, 3, 2]));
        let operator = make(&Definition::new("")).unwrap();
        assert!(operator.infer(&[Some(&x), Some(&table), Some(&table)]).is_ok());
        assert!(operator.infer(&[Some(&odd), Some(&table), Some(&table)]).is_err());
        assert!(operator.infer(&[Some(&x), Some(&table), Some(&x)]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn gpu_and_reference_agree(
            batch in 0usize..3, heads in 1usize..4, length in 1usize..4, half in 1usize..5, rest in 0usize..3, flat: bool, interleaved: bool,
        ) {
            let size = 2 * half + rest;
            let shape = if flat { vec![batch, length, heads * size] } else { vec![batch, heads, length, size] };
            let numbers = |shape: &[usize], seed: usize| {
                let n = shape.iter().product();
                Input::Run(Tensor::new(shape, (0..n).map(|i| ((i + seed) * 7919 % 211) as f32 / 105.0 - 1.0).collect()).unwrap())
            };
            let table = [batch, length, half];
            let d = Definition::new("").attribute("num_heads", heads as i64).attribute("rotary_embedding_dim", 2 * half as i64)
                .attribute("interleaved", i64::from(interleaved));
            let inputs = [numbers(&shape, 1), numbers(&table, 2), numbers(&table, 3)];
            // Two products of numbers up to 1 and their sum.
            try_check(&*make(&d).unwrap(), &inputs, Tolerance { absolute: 4e-7, relative: 1e-6 }).map_err(TestCaseError::fail)?;
        }
    }
}
