//! BatchNormalization (ONNX opsets 1 to 15): `y = (x - mean) / √(variance + ε) · scale + shift`, the parameters being one
//! number for each channel (the second dimension).
//!
//! In training, mean and variance are those of the batch, and the running ones are outputs: `old · momentum +
//! new · (1 - momentum)`; before opset 14 a node trains where it has more than one output, and gives out the batch's too.

use std::sync::Arc;

use half::f16;

use super::broadcast::{self, Operand};
use super::composite::{self, Composite, Recipe};
use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Graph, Inputs, Operator, Request, ShapeError, Value,
    ValueId,
};
use crate::kernel::Candidates;
use crate::tensor::{Element, ElementType, Tensor};

/// BatchNormalization. Its inputs are x, scale, shift, mean and variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNormalization {
    /// What is added to the variance.
    pub epsilon: f32,
}

/// Makes a BatchNormalization.
pub(super) fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let trains =
        if definition.opset < 14 { definition.outputs > 1 } else { definition.flag("training_mode", false)? };
    match (definition.flag("spatial", true)?, trains) {
        (true, true) => return Ok(Arc::new(Composite::new(definition, training))),
        (true, false) => {}
        (false, true) => {
            return Err(DefinitionError::Unsupported("training by single positions is not supported".to_owned()));
        }
        (false, false) => return Ok(Arc::new(Composite::new(definition, by_positions))),
    }
    Ok(Arc::new(BatchNormalization { epsilon: definition.float("epsilon")?.unwrap_or(1e-5) }))
}

/// The normalization with statistics of each position, not of each channel (`spatial` 0, before opset 9).
fn by_positions(
    d: &Definition,
    recipe: &mut Recipe,
    inputs: &[Option<ValueId>],
) -> Result<Vec<Option<ValueId>>, ShapeError> {
    let &[Some(x), Some(scale), Some(shift), Some(mean), Some(variance)] = inputs else {
        return Err(ShapeError::new("an input is missing"));
    };
    let of_an_item = recipe.fact(x)?.shape.get(1..).unwrap_or_default().to_vec();
    for parameter in [scale, shift, mean, variance] {
        let fact = recipe.fact(parameter)?;
        let fits = fact.rank() == of_an_item.len()
            && fact.shape.iter().zip(&of_an_item).all(|(a, b)| a.known().zip(b.known()).is_none_or(|(a, b)| a == b));
        if !fits || !fact.element_type.is_float() {
            return Err(ShapeError::new(format!("a parameter is {fact}, not a number for each position")));
        }
    }
    let epsilon = d.float("epsilon").map_err(|e| ShapeError::new(e.to_string()))?.unwrap_or(1e-5);
    let epsilon = recipe.number(variance, epsilon.into())?;
    let padded = recipe.apply("Add", &[variance, epsilon])?;
    let deviation = recipe.apply("Sqrt", &[padded])?;
    let mut y = x;
    for (op, parameter) in [("Sub", mean), ("Div", deviation), ("Mul", scale), ("Add", shift)] {
        let parameter = recipe.cast_like(parameter, x)?;
        y = recipe.apply(op, &[y, parameter])?;
    }
    Ok(vec![Some(y)])
}

/// The normalization of a batch by its own statistics, and what becomes of the running ones.
fn training(
    d: &Definition,
    recipe: &mut Recipe,
    inputs: &[Option<ValueId>],
) -> Result<Vec<Option<ValueId>>, ShapeError> {
    let &[Some(x), Some(scale), Some(shift), Some(old_mean), Some(old_variance), ..] = inputs else {
        return Err(ShapeError::new("an input is missing"));
    };
    let number = |name| d.float(name).map_err(|e| ShapeError::new(e.to_string()));
    let (epsilon, momentum) = (number("epsilon")?.unwrap_or(1e-5), f64::from(number("momentum")?.unwrap_or(0.9)));
    let facts = inputs.iter().take(5).flatten().map(|&id| recipe.fact(id)).collect::<Result<Vec<_>, _>>()?;
    let facts: Vec<_> = facts.into_iter().map(Some).collect();
    BatchNormalization { epsilon }.infer(&facts)?;
    let rank = i64::try_from(recipe.rank(x)?).unwrap_or(i64::MAX);
    if rank < 2 {
        return Err(ShapeError::new("without channels there is no batch to train on"));
    }
    let axes: Vec<i64> = (0..rank).filter(|&axis| axis != 1).collect();
    let axes = recipe.integers(axes);
    let mean = recipe.apply("ReduceMean", &[x, axes])?;
    let centred = recipe.apply("Sub", &[x, mean])?;
    let squares = recipe.apply("Mul", &[centred, centred])?;
    let variance = recipe.apply("ReduceMean", &[squares, axes])?;
    let epsilon = recipe.number(variance, epsilon.into())?;
    let padded = recipe.apply("Add", &[variance, epsilon])?;
    let deviation = recipe.apply("Sqrt", &[padded])?;
    let mut y = recipe.apply("Div", &[centred, deviation])?;
    let aligned = [vec![1, -1], vec![1; usize::try_from(rank - 2).unwrap_or_default()]].concat();
    for (op, parameter) in [("Mul", scale), ("Add", shift)] {
        let parameter = recipe.cast_like(parameter, x)?;
        let parameter = recipe.reshape(parameter, aligned.clone())?;
        y = recipe.apply(op, &[y, parameter])?;
    }
    let mut outputs = vec![Some(y)];
    let mut own = vec![];
    for (old, new) in [(old_mean, mean), (old_variance, variance)] {
        let new = recipe.reshape(new, [-1])?;
        let new = recipe.cast_like(new, old)?;
        own.push(Some(new));
        let [kept, added] = [momentum, 1.0 - momentum].map(|factor| recipe.number(old, factor));
        let old = recipe.apply("Mul", &[old, kept?])?;
        let added = recipe.apply("Mul", &[new, added?])?;
        outputs.push(Some(recipe.apply("Add", &[old, added])?));
    }
    outputs.extend(own);
    Ok(outputs)
}

impl BatchNormalization {
    /// Factor and summand of each channel: `y = factor · x + summand`. The parameters must be constants of one length.
    pub fn affine(&self, inputs: &[Option<&Fact>]) -> Option<(Vec<f64>, Vec<f64>)> {
        let [scale, shift, mean, variance] =
            [1, 2, 3, 4].map(|i| Fact::optional(inputs, i).and_then(|f| f.constant.as_ref()).and_then(numbers));
        self.joined(&scale?, &shift?, &mean?, &variance?)
    }

    fn joined(&self, scale: &[f64], shift: &[f64], mean: &[f64], variance: &[f64]) -> Option<(Vec<f64>, Vec<f64>)> {
        if [shift, mean, variance].iter().any(|v| v.len() != scale.len()) {
            return None;
        }
        let factor: Vec<f64> =
            scale.iter().zip(variance).map(|(s, v)| s / (v + f64::from(self.epsilon)).sqrt()).collect();
        let summand = factor.iter().zip(shift).zip(mean).map(|((f, s), m)| s - f * m).collect();
        Some((factor, summand))
    }
}

fn numbers(parameter: &Tensor) -> Option<Vec<f64>> {
    parameter.element_type().is_float().then(|| parameter.to_f64())
}

impl Operator for BatchNormalization {
    fn name(&self) -> &str {
        "BatchNormalization"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        if !x.element_type.is_float() || x.rank() == 0 {
            return Err(ShapeError::new(format!("it takes floating-point numbers in channels, not {x}")));
        }
        for i in 1..5 {
            let parameter = Fact::at(inputs, i)?;
            let fits = match (x.shape.get(1), parameter.shape.as_slice()) {
                (Some(channels), [own]) => {
                    channels.known().zip(own.known()).is_none_or(|(channels, own)| channels == own)
                }
                (None, [own]) => own.known().is_none_or(|own| own == 1),
                _ => false,
            };
            if !fits || !parameter.element_type.is_float() {
                return Err(ShapeError::new(format!("input {i} is {parameter}, not a number for each channel of {x}")));
            }
        }
        Ok(vec![x.without_content()])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let parameter = |i: usize| -> Result<Vec<f64>, EvaluateError> {
            numbers(inputs.tensor(i)?)
                .ok_or_else(|| ShapeError::new(format!("input {i} should be floating-point")).into())
        };
        let (factor, summand) = self
            .joined(&parameter(1)?, &parameter(2)?, &parameter(3)?, &parameter(4)?)
            .filter(|(factor, _)| factor.len() == x.shape().get(1).copied().unwrap_or(1))
            .ok_or_else(|| ShapeError::new("the parameters are not a number for each channel"))?;
        #[expect(clippy::cast_possible_truncation, reason = "rounding to the element type is what is meant")]
        let y = match x.element_type() {
            ElementType::F16 => normalized(x, &factor, &summand, |v: f16| v.to_f64(), f16::from_f64),
            ElementType::F64 => normalized(x, &factor, &summand, |v: f64| v, |v| v),
            _ => normalized(x, &factor, &summand, |v: f32| v.into(), |v| v as f32),
        };
        Ok(vec![y?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let facts: Vec<_> = request.inputs.iter().map(|i| i.map(|i| i.fact)).collect();
        let (factor, summand) = self.affine(&facts).ok_or("its statistics are computed at run time")?;
        let x = Operand::input(request, 0)?;
        let rank = x.shape.len();
        let channel = |values: Vec<f64>| {
            #[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
            let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
            let aligned = [vec![values.len()], vec![1; rank.saturating_sub(2)]].concat();
            Operand::constant(Tensor::vector(values), aligned)
        };
        broadcast::candidates(request, &[x.clone(), channel(factor), channel(summand)], "fma(a, b, c)")
    }

    /// Statistics that are computed at run time are joined to factors first.
    fn expansion(&self, inputs: &[Option<&Fact>]) -> Result<Option<Graph>, ShapeError> {
        self.infer(inputs)?;
        if self.affine(inputs).is_some() {
            return Ok(None);
        }
        composite::graph(inputs, 1, |recipe, ids| {
            let &[Some(x), Some(scale), Some(shift), Some(mean), Some(variance)] = ids else { return Ok(None) };
            let rank = recipe.rank(x)?;
            // Steps between numbers of 16 bits would each be rounded.
            let wide = match recipe.fact(x)?.element_type {
                ElementType::F16 | ElementType::BF16 => recipe.constant(Tensor::scalar(0f32)),
                _ => x,
            };
            let variance = recipe.cast_like(variance, wide)?;
            let epsilon = recipe.number(variance, self.epsilon.into())?;
            let padded = recipe.apply("Add", &[variance, epsilon])?;
            let deviation = recipe.apply("Sqrt", &[padded])?;
            let scale = recipe.cast_like(scale, wide)?;
            let factor = recipe.apply("Div", &[scale, deviation])?;
            let aligned = [vec![-1], vec![1; rank.saturating_sub(2)]].concat();
            let mut y = recipe.cast_like(x, wide)?;
            for (op, parameter) in [("Sub", mean), ("Mul", factor), ("Add", shift)] {
                let parameter = recipe.cast_like(parameter, wide)?;
                let parameter = recipe.reshape(parameter, aligned.clone())?;
                y = recipe.apply(op, &[y, parameter])?;
            }
            let y = recipe.cast_like(y, x)?;
            Ok(Some(vec![Some(y)]))
        })
    }

    fn work(&self, _: &[Option<&Fact>], outputs: &[Fact]) -> f64 {
        let elements = outputs.first().and_then(Fact::concrete).unwrap_or_default();
        2.0 * elements.iter().map(|&d| d as f64).product::<f64>()
    }
}

fn normalized<T: Element>(
    x: &Tensor,
    factor: &[f64],
    summand: &[f64],
    read: impl Fn(T) -> f64,
    write: impl Fn(f64) -> T,
) -> Result<Tensor, EvaluateError> {
    let plane: usize = x.shape().iter().skip(2).product();
    let mut y = Vec::with_capacity(x.len());
    for (i, plane) in x.as_slice::<T>()?.chunks(plane.max(1)).enumerate() {
        let c = i % factor.len();
        y.extend(plane.iter().map(|&v| write(factor[c] * read(v) + summand[c])));
    }
    Ok(Tensor::new(x.shape(), y)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Input, Tolerance, check, try_check};

    fn inputs(shape: &[usize]) -> Vec<Input> {
        let channels = shape.get(1).copied().unwrap_or(1);
        let wave = |n: usize, from: f32| (0..n).map(|i| from + (i as f32 * 1.7).sin()).collect::<Vec<_>>();
        let x = Tensor::new(shape, wave(shape.iter().product(), 0.5)).unwrap();
        let parameters = [0.8, -0.1, 0.3, 1.5].map(|from| Input::Constant(Tensor::vector(wave(channels, from))));
        [vec![Input::Run(x)], parameters.to_vec()].concat()
    }

    #[test]
    fn channels_are_normalized() {
        let vector = |v: [f32; 2]| Value::from(Tensor::vector(v.to_vec()));
        let x = Value::from(Tensor::new([1, 2, 1, 2], vec![1.0f32, 2.0, 3.0, 4.0]).unwrap());
        let (scale, shift, mean, variance) =
            (vector([2.0, 3.0]), vector([0.0, 1.0]), vector([1.0, 3.0]), vector([3.0, 8.0]));
        let inputs = [Some(&x), Some(&scale), Some(&shift), Some(&mean), Some(&variance)];
        let y = BatchNormalization { epsilon: 1.0 }.evaluate(&mut Context::default(), Inputs(&inputs)).unwrap();
        assert_eq!(y, [Tensor::new([1, 2, 1, 2], vec![0.0f32, 1.0, 1.0, 2.0]).unwrap().into()]);
    }

    /// The batch's mean and variance are 2 and 1; the running ones move towards them. Before opset 14 both come out.
    #[test]
    fn a_batch_is_normalized_by_itself_in_training() {
        let vector = |v: f32| Value::from(Tensor::vector(vec![v]));
        let x = Value::from(Tensor::new([2, 1, 1], vec![1.0f32, 3.0]).unwrap());
        let inputs = [x, vector(2.0), vector(0.5), vector(4.0), vector(3.0)];
        let d = Definition { inputs: 5, outputs: 3, ..Definition::new("BatchNormalization") };
        let d = d.attribute("training_mode", 1).attribute("epsilon", 0.0f32).attribute("momentum", 0.75f32);
        let inputs: Vec<_> = inputs.iter().map(Some).collect();
        let run = |d: &Definition| make(d).unwrap().evaluate(&mut Context::default(), Inputs(&inputs)).unwrap();
        let y = Value::from(Tensor::new([2, 1, 1], vec![-1.5f32, 2.5]).unwrap());
        let expected = [y, vector(3.5), vector(2.5), vector(2.0), vector(1.0)];
        assert_eq!(run(&d), expected[..3]);
        assert_eq!(run(&Definition { opset: 9, outputs: 5, ..d }), expected);
    }

    #[test]
    fn parameters_that_do_not_fit_are_refused() {
        let x = Fact::new(ElementType::F32, [1usize, 3, 2]);
        let [two, three] = [2usize, 3].map(|n| Fact::new(ElementType::F32, [n]));
        let operator = BatchNormalization { epsilon: 1e-5 };
        assert!(operator.infer(&[Some(&x), Some(&three), Some(&three), Some(&three), Some(&three)]).is_ok());
        assert!(operator.infer(&[Some(&x), Some(&three), Some(&two), Some(&three), Some(&three)]).is_err());
        let vector = Tensor::vector(vec![1.0f32, 2.0]);
        let one = Input::Constant(Tensor::vector(vec![0.5f32]));
        check(&operator, &[Input::Run(vector), one.clone(), one.clone(), one.clone(), one], Tolerance::relative(1e-6));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn agrees(shape in prop::collection::vec(prop::sample::select(vec![0usize, 1, 2, 3, 5, 8, 9]), 2..6)) {
            // Two roundings and one of each parameter, of numbers up to 4.
            try_check(&BatchNormalization { epsilon: 1e-3 }, &inputs(&shape), Tolerance::relative(1e-6)).map_err(TestCaseError::fail)?;
        }
    }
}
