//! Adagrad, Adam and Momentum (ai.onnx.preview.training, opset 1): one step of training for any number of tensors.
//!
//! Inputs are the rate `r`, the number of steps done `t`, then all tensors `x`, their gradients `g`, and what is kept of earlier
//! steps; outputs are the new tensors and the new of what is kept. Everywhere `g' = norm_coefficient x + g`.

use std::sync::Arc;

use super::composite::{Composite, Recipe};
use crate::graph::{Definition, DefinitionError, Operator, ShapeError, ValueId};

type Values = Vec<Option<ValueId>>;

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let (build, kept): (super::composite::Build, usize) = match d.op_type.as_str() {
        "Adagrad" => (adagrad, 3),
        "Adam" => (adam, 4),
        _ => (momentum, 3),
    };
    for name in ["norm_coefficient", "norm_coefficient_post", "decay_factor", "epsilon", "alpha", "beta"] {
        d.float(name)?;
    }
    if d.op_type == "Momentum" {
        for name in ["norm_coefficient", "alpha", "beta"] {
            d.float(name)?.ok_or(DefinitionError::Missing(name))?;
        }
        match d.string("mode")?.ok_or(DefinitionError::Missing("mode"))?.as_str() {
            "standard" | "nesterov" => {}
            other => return Err(DefinitionError::Value("mode", format!("is '{other}', which is none"))),
        }
    }
    // By the text of the standard it is 1e-6 then, by its own example 1e-2: neither can be called right.
    if d.op_type == "Adam" && d.float("epsilon")?.is_none() {
        let message = "the standard contradicts itself on Adam without 'epsilon': give it".to_owned();
        return Err(DefinitionError::Unsupported(message));
    }
    if d.inputs < 2 + kept || !(d.inputs - 2).is_multiple_of(kept) {
        return Err(DefinitionError::Arity(format!("{} inputs are no whole tensors' worth", d.inputs)));
    }
    Ok(Arc::new(Composite::new(d, build)))
}

/// A number of the definition.
fn number(d: &Definition, name: &'static str, default: f32) -> f64 {
    d.float(name).ok().flatten().unwrap_or(default).into()
}

/// The rate, the steps done as a number of the tensors' type, and for each tensor it and what belongs to it.
struct Step {
    rate: ValueId,
    time: ValueId,
    tensors: Vec<Vec<ValueId>>,
}

impl Step {
    fn of(r: &mut Recipe, inputs: &[Option<ValueId>], each: usize) -> Result<Self, ShapeError> {
        let given: Option<Vec<ValueId>> = inputs.iter().copied().collect();
        let given = given.ok_or_else(|| ShapeError::new("an input is missing"))?;
        let [rate, time, rest @ ..] = given.as_slice() else { return Err(ShapeError::new("an input is missing")) };
        let count = rest.len() / each;
        let first = *rest.first().ok_or_else(|| ShapeError::new("an input is missing"))?;
        // Single numbers, whatever their rank.
        let (rate, time) = (r.reshape(*rate, vec![])?, r.reshape(*time, vec![])?);
        let (rate, time) = (r.cast_like(rate, first)?, r.cast_like(time, first)?);
        let tensors = (0..count).map(|i| (0..each).map(|k| rest[k * count + i]).collect()).collect();
        Ok(Self { rate, time, tensors })
    }
}

/// `a x`, for a number a.
fn scaled(r: &mut Recipe, a: f64, x: ValueId) -> Result<ValueId, ShapeError> {
    let a = r.number(x, a)?;
    r.apply("Mul", &[a, x])
}

/// `a x + b y`, for numbers a and b.
fn mixed(r: &mut Recipe, (a, x): (f64, ValueId), (b, y): (f64, ValueId)) -> Result<ValueId, ShapeError> {
    let (x, y) = (scaled(r, a, x)?, scaled(r, b, y)?);
    r.apply("Add", &[x, y])
}

/// All first results, then all second ones, …
fn in_order(results: &[Vec<ValueId>]) -> Values {
    let each = results.first().map_or(0, Vec::len);
    (0..each).flat_map(|k| results.iter().map(move |values| Some(values[k]))).collect()
}

/// `sqrt(h) + epsilon`
fn spread(d: &Definition, r: &mut Recipe, h: ValueId) -> Result<ValueId, ShapeError> {
    let (root, epsilon) = (r.apply("Sqrt", &[h])?, r.number(h, number(d, "epsilon", 1e-6))?);
    r.apply("Add", &[root, epsilon])
}

/// `h' = h + g'²`, `x' = x - r / (1 + t decay) g' / (sqrt(h') + epsilon)`
fn adagrad(d: &Definition, r: &mut Recipe, inputs: &[Option<ValueId>]) -> Result<Values, ShapeError> {
    let step = Step::of(r, inputs, 3)?;
    let (one, decay) = (r.number(step.time, 1.0)?, scaled(r, number(d, "decay_factor", 0.0), step.time)?);
    let slower = r.apply("Add", &[one, decay])?;
    let rate = r.apply("Div", &[step.rate, slower])?;
    let mut results = vec![];
    for tensor in &step.tensors {
        let &[x, g, h] = tensor.as_slice() else { continue };
        let g = mixed(r, (number(d, "norm_coefficient", 0.0), x), (1.0, g))?;
        let square = r.apply("Mul", &[g, g])?;
        let h = r.apply("Add", &[h, square])?;
        let (change, spread) = (r.apply("Mul", &[rate, g])?, spread(d, r, h)?);
        let change = r.apply("Div", &[change, spread])?;
        results.push(vec![r.apply("Sub", &[x, change])?, h]);
    }
    Ok(in_order(&results))
}

/// `v' = alpha v + (1 - alpha) g'`, `h' = beta h + (1 - beta) g'²`,
/// `x' = (1 - norm_coefficient_post) (x - r' v' / (sqrt(h') + epsilon))`, with
/// `r' = r sqrt(1 - beta^t) / (1 - alpha^t)` but for the first step.
fn adam(d: &Definition, r: &mut Recipe, inputs: &[Option<ValueId>]) -> Result<Values, ShapeError> {
    let step = Step::of(r, inputs, 4)?;
    let (alpha, beta) = (number(d, "alpha", 0.9), number(d, "beta", 0.999));
    let one = r.number(step.time, 1.0)?;
    let rest = |r: &mut Recipe, base: f64| {
        let base = r.number(step.time, base)?;
        let power = r.apply("Pow", &[base, step.time])?;
        r.apply("Sub", &[one, power])
    };
    let (of_beta, of_alpha) = (rest(r, beta)?, rest(r, alpha)?);
    let root = r.apply("Sqrt", &[of_beta])?;
    let adjusted = r.apply("Mul", &[step.rate, root])?;
    let adjusted = r.apply("Div", &[adjusted, of_alpha])?;
    let zero = r.number(step.time, 0.0)?;
    let later = r.apply("Greater", &[step.time, zero])?;
    let rate = r.apply("Where", &[later, adjusted, step.rate])?;
    let mut results = vec![];
    for tensor in &step.tensors {
        let &[x, g, v, h] = tensor.as_slice() else { continue };
        let g = mixed(r, (number(d, "norm_coefficient", 0.0), x), (1.0, g))?;
        let v = mixed(r, (alpha, v), (1.0 - alpha, g))?;
        let square = r.apply("Mul", &[g, g])?;
        let h = mixed(r, (beta, h), (1.0 - beta, square))?;
        let spread = spread(d, r, h)?;
        let change = r.apply("Div", &[v, spread])?;
        let change = r.apply("Mul", &[rate, change])?;
        let x = r.apply("Sub", &[x, change])?;
        results.push(vec![scaled(r, 1.0 - number(d, "norm_coefficient_post", 0.0), x)?, v, h]);
    }
    Ok(in_order(&results))
}

/// `v' = alpha v + beta g'`, beta being 1 in the first step; `x' = x - r v'`, or `x - r (g' + alpha v')` after Nesterov.
fn momentum(d: &Definition, r: &mut Recipe, inputs: &[Option<ValueId>]) -> Result<Values, ShapeError> {
    let step = Step::of(r, inputs, 3)?;
    let alpha = number(d, "alpha", 0.0);
    let nesterov = d.string("mode").ok().flatten().is_some_and(|mode| mode == "nesterov");
    let (zero, one) = (r.number(step.time, 0.0)?, r.number(step.time, 1.0)?);
    let later = r.apply("Greater", &[step.time, zero])?;
    let beta = r.number(step.time, number(d, "beta", 0.0))?;
    let beta = r.apply("Where", &[later, beta, one])?;
    let mut results = vec![];
    for tensor in &step.tensors {
        let &[x, g, v] = tensor.as_slice() else { continue };
        let g = mixed(r, (number(d, "norm_coefficient", 0.0), x), (1.0, g))?;
        let fresh = r.apply("Mul", &[beta, g])?;
        let v = mixed(r, (alpha, v), (1.0, fresh))?;
        let direction = if nesterov { mixed(r, (1.0, g), (alpha, v))? } else { v };
        let change = r.apply("Mul", &[step.rate, direction])?;
        results.push(vec![r.apply("Sub", &[x, change])?, v]);
    }
    Ok(in_order(&results))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Context, Inputs, Value};
    use crate::tensor::Tensor;

    fn run(d: Definition, tensors: &[&[f32]], t: i64, outputs: usize) -> Vec<Vec<f64>> {
        let d = Definition { domain: "ai.onnx.preview.training".to_owned(), inputs: 2 + tensors.len(), outputs, ..d };
        let mut values = vec![Value::from(Tensor::scalar(0.1f32)), Tensor::scalar(t).into()];
        values.extend(tensors.iter().map(|v| Value::from(Tensor::vector(v.to_vec()))));
        let values: Vec<Option<&Value>> = values.iter().map(Some).collect();
        let results = from_definition(&d).unwrap().evaluate(&mut Context::default(), Inputs(&values)).unwrap();
        results.into_iter().map(|v| v.into_tensor().unwrap().to_f64()).collect()
    }

    fn near(got: &[Vec<f64>], expected: &[&[f64]]) {
        assert_eq!(got.len(), expected.len());
        for (a, b) in got.iter().flatten().zip(expected.iter().copied().flatten()) {
            assert!((a - b).abs() < 1e-6, "{got:?}, expected {expected:?}");
        }
    }

    #[test]
    fn steps_by_hand() {
        // g = 2, h = 1 + 4: x = 1 - 0.1 · 2 / sqrt 5.
        near(&run(Definition::new("Adagrad"), &[&[1.0], &[2.0], &[1.0]], 0, 2), &[&[1.0 - 0.2 / 5f64.sqrt()], &[5.0]]);
        let momentum = |mode: &str| {
            let d = Definition::new("Momentum").attribute("alpha", 0.5f32).attribute("beta", 0.25f32);
            d.attribute("norm_coefficient", 0f32).attribute("mode", mode)
        };
        // v = 0.5 · 4 + 2, or + 0.25 · 2 later; two tensors at once.
        let inputs: [&[f32]; 6] = [&[1.0], &[1.0], &[2.0], &[2.0], &[4.0], &[0.0]];
        near(&run(momentum("standard"), &inputs, 0, 4), &[&[0.6], &[0.8], &[4.0], &[2.0]]);
        near(&run(momentum("standard"), &inputs, 3, 4), &[&[0.75], &[0.95], &[2.5], &[0.5]]);
        near(&run(momentum("nesterov"), &inputs, 0, 4), &[&[0.6], &[0.7], &[4.0], &[2.0]]);
        let d =
            Definition::new("Adam").attribute("alpha", 0.5f32).attribute("beta", 0.75f32).attribute("epsilon", 0f32);
        // v = 0.5 · 2 and h = 0.25 · 4; later the rate is 0.1 sqrt(1 - 0.75) / (1 - 0.5).
        near(&run(d.clone(), &[&[1.0], &[2.0], &[0.0], &[0.0]], 0, 3), &[&[0.9], &[1.0], &[1.0]]);
        near(&run(d, &[&[1.0], &[2.0], &[0.0], &[0.0]], 1, 3), &[&[0.9], &[1.0], &[1.0]]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let d = |inputs| Definition { inputs, ..Definition::new("Adagrad") };
        assert!(from_definition(&d(5)).is_ok() && from_definition(&d(8)).is_ok());
        assert!(from_definition(&d(6)).is_err() && from_definition(&d(2)).is_err());
        assert!(from_definition(&Definition { inputs: 5, ..Definition::new("Momentum") }).is_err());
        let adam = Definition { inputs: 6, ..Definition::new("Adam") };
        assert!(matches!(from_definition(&adam), Err(DefinitionError::Unsupported(_))));
        assert!(from_definition(&adam.attribute("epsilon", 1e-6f32)).is_ok());
    }
}
