//! RandomNormal, RandomNormalLike, RandomUniform, RandomUniformLike (ONNX opsets 1 to 22), Bernoulli (15, 22).
//!
//! The numbers follow from a key and their places alone ([`philox`]), on the CPU and on the GPU: the same bits of uniform
//! numbers and of choices, and normal ones up to the rounding of logarithm and sine. The key is made of the attribute `seed`
//! where a node has one, else of the session's seed ([`crate::Options::seed`]) and the node's place in the graph: runs can be
//! repeated.

mod multinomial;
pub(in crate::ops) mod philox;

use std::f64::consts::PI;
use std::sync::Arc;

use philox::{Key, key, unit_interval, words};

use super::gather_elements::countable;
use super::strided::WORKGROUP;
use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::tensor::{ElementType, Tensor};

pub(super) use multinomial::multinomial;

/// What the numbers are like.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Distribution {
    /// From `low` to `high`, all alike.
    Uniform { low: f32, high: f32 },
    /// Around a mean, with a standard deviation.
    Normal { mean: f32, scale: f32 },
    /// 1 with the probability that input 0 says, else 0.
    Bernoulli,
}

/// Random numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Random {
    name: &'static str,
    distribution: Distribution,
    /// The result's shape, if it is not that of input 0.
    shape: Option<Vec<usize>>,
    /// The result's type, if it is not that of input 0.
    element_type: Option<ElementType>,
    /// What the numbers follow from; made of the session's seed where the node has none.
    key: Option<Key>,
}

/// The key of a node's own seed.
fn own_key(d: &Definition) -> Result<Option<Key>, DefinitionError> {
    Ok(d.float("seed")?.map(|seed| key(seed.to_bits().into(), u64::MAX)))
}

/// The key of an evaluation in the body of a loop.
fn next_key(context: &mut Context) -> Key {
    context.draws += 1;
    key(context.seed, u64::MAX - context.draws)
}

/// The type that attribute `dtype` names.
fn named_type(d: &Definition) -> Result<Option<ElementType>, DefinitionError> {
    let named = |number| {
        let element_type = ElementType::from_data_type(number).filter(|&t| t != ElementType::String);
        element_type.ok_or_else(|| DefinitionError::Value("dtype", format!("is {number}, which is no number's")))
    };
    d.int("dtype")?.map(named).transpose()
}

pub(super) fn random(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let number = |name, default: f32| Ok::<f32, DefinitionError>(d.float(name)?.unwrap_or(default));
    let (name, distribution) = match d.op_type.as_str() {
        "RandomNormal" | "RandomNormalLike" => {
            let name = if d.op_type.ends_with("Like") { "RandomNormalLike" } else { "RandomNormal" };
            (name, Distribution::Normal { mean: number("mean", 0.0)?, scale: number("scale", 1.0)? })
        }
        "RandomUniform" | "RandomUniformLike" => {
            let name = if d.op_type.ends_with("Like") { "RandomUniformLike" } else { "RandomUniform" };
            (name, Distribution::Uniform { low: number("low", 0.0)?, high: number("high", 1.0)? })
        }
        _ => ("Bernoulli", Distribution::Bernoulli),
    };
    let own_shape = matches!(name, "RandomNormal" | "RandomUniform");
    let mut element_type = named_type(d)?;
    if own_shape {
        element_type = element_type.or(Some(ElementType::F32));
    }
    if element_type.is_some_and(|t| !t.is_float()) && distribution != Distribution::Bernoulli {
        return Err(DefinitionError::Value("dtype", "is no floating-point type".to_owned()));
    }
    let shape = if own_shape {
        let shape = d.ints("shape")?.ok_or(DefinitionError::Missing("shape"))?;
        let wrong = || DefinitionError::Value("shape", format!("is {shape:?}"));
        let sizes: Vec<usize> =
            shape.iter().map(|&n| usize::try_from(n)).collect::<Result<_, _>>().map_err(|_| wrong())?;
        Tensor::bounded(ElementType::F64, &sizes).map_err(|_| wrong())?;
        Some(sizes)
    } else {
        None
    };
    Ok(Arc::new(Random { name, distribution, shape, element_type, key: own_key(d)? }))
}

impl Random {
    /// The result's type, of an input's.
    fn result(&self, input: Option<ElementType>) -> Result<ElementType, ShapeError> {
        let element_type = self.element_type.or(input).ok_or_else(|| ShapeError::new("its input is missing"))?;
        let number = element_type.is_float() || self.distribution == Distribution::Bernoulli;
        if !number || element_type == ElementType::String {
            return Err(ShapeError::new(format!("there are no such random numbers of {element_type}")));
        }
        Ok(element_type)
    }

    fn numbers(&self, key: Key, count: usize, probabilities: Option<Vec<f64>>) -> Vec<f64> {
        let mut words = words(key).map(unit_interval);
        let mut draw = || words.next().unwrap_or_default();
        match self.distribution {
            Distribution::Uniform { low, high } => {
                let (low, span) = (f64::from(low), f64::from(high) - f64::from(low));
                (0..count).map(|_| low + span * draw()).collect()
            }
            Distribution::Normal { mean, scale } => {
                let mut numbers = Vec::with_capacity(count + 1);
                while numbers.len() < count {
                    let (radius, angle) = ((-2.0 * (1.0 - draw()).ln()).sqrt(), 2.0 * PI * draw());
                    numbers.extend([angle.cos(), angle.sin()].map(|v| f64::from(mean) + f64::from(scale) * radius * v));
                }
                numbers.truncate(count);
                numbers
            }
            Distribution::Bernoulli => {
                let given = probabilities.unwrap_or_default();
                given.into_iter().map(|p| if draw() < p { 1.0 } else { 0.0 }).collect()
            }
        }
    }
}

impl Operator for Random {
    fn name(&self) -> &str {
        self.name
    }

    fn is_deterministic(&self) -> bool {
        false
    }

    fn with_seed(&self, seed: u64, stream: u64) -> Option<Arc<dyn Operator>> {
        self.key.is_none().then(|| Arc::new(Self { key: Some(key(seed, stream)), ..self.clone() }) as Arc<dyn Operator>)
    }

    fn reads(&self, _: usize) -> Reads {
        if self.distribution == Distribution::Bernoulli { Reads::Elements } else { Reads::Fact }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let input = Fact::optional(inputs, 0);
        let element_type = self.result(input.map(|fact| fact.element_type))?;
        Ok(vec![match &self.shape {
            Some(shape) => Fact::new(element_type, shape.clone()),
            None => Fact::at(inputs, 0)?.with_type(element_type),
        }])
    }

    fn evaluate(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let input = if self.shape.is_some() { None } else { Some(inputs.tensor(0)?) };
        let element_type = self.result(input.map(Tensor::element_type))?;
        let shape = self.shape.clone().or(input.map(|x| x.shape().to_vec())).unwrap_or_default();
        let count = Tensor::bounded(element_type, &shape)?;
        let key = self.key.unwrap_or_else(|| next_key(context));
        let given = input.filter(|_| self.distribution == Distribution::Bernoulli).map(Tensor::to_f64);
        Ok(vec![Tensor::from_f64(element_type, shape, self.numbers(key, count, given))?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let to = request.output_storage(0)?;
        let units = countable(&request.output_shape(0)?)?.div_ceil(4);
        let mut wants = vec![Want::Nothing; request.inputs.len()];
        let bernoulli = self.distribution == Distribution::Bernoulli;
        if bernoulli {
            wants[0] = Want::In(Layout::Linear);
        }
        let candidate = Candidate::new("draw", wants, vec![Layout::Linear]);
        if units == 0 {
            return Ok(vec![candidate]);
        }
        let (form, a, b) = match self.distribution {
            Distribution::Uniform { low, high } => (0, low, high - low),
            Distribution::Normal { mean, scale } => (1, mean, scale),
            Distribution::Bernoulli => (2, 0.0, 0.0),
        };
        let [key0, key1] = self.key.ok_or("its seed is not known before the run")?;
        let kernel = Kernel::of("random/draw.wgsl").define("WORKGROUP", WORKGROUP).define("FORM", form);
        let mut dispatch = Dispatch::of(kernel)
            .param("units", units)
            .param("key0", key0)
            .param("key1", key1)
            .param("a", a)
            .param("b", b);
        if bernoulli {
            dispatch = dispatch.bind(Binding::Input(0), request.storage(0)?);
        }
        let dispatch = dispatch.bind(Binding::Output(0), to).linear(units as u64, WORKGROUP, request.device);
        Ok(vec![candidate.cost(units as f64 * 400.0, units as f64 * to.unit_bytes() as f64).dispatch(dispatch)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Input, Tolerance, check};

    fn seeded(d: &Definition) -> Arc<dyn Operator> {
        let operator = random(d).unwrap();
        operator.with_seed(7, 3).unwrap_or(operator)
    }

    fn draw(operator: &dyn Operator) -> Vec<f64> {
        operator.evaluate(&mut Context::default(), Inputs(&[])).unwrap().remove(0).into_tensor().unwrap().to_f64()
    }

    #[test]
    fn numbers_are_as_their_distributions_say() {
        let shape = |name: &str| Definition::new(name).attribute("shape", vec![100i64, 100]);
        let moments = |v: &[f64]| {
            let mean = v.iter().sum::<f64>() / v.len() as f64;
            (mean, v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / v.len() as f64)
        };
        let uniform = draw(&*seeded(&shape("RandomUniform").attribute("low", -1f32).attribute("high", 3f32)));
        assert!(uniform.iter().all(|v| (-1.0..=3.0).contains(v)));
        // Of 10,000 numbers the mean strays by a hundredth of the deviation; four times that is next to never reached.
        let (mean, variance) = moments(&uniform);
        assert!((mean - 1.0).abs() < 0.05 && (variance - 16.0 / 12.0).abs() < 0.06, "{mean} {variance}");
        let (mean, variance) = moments(&draw(&*seeded(&shape("RandomNormal").attribute("mean", 2f32))));
        assert!((mean - 2.0).abs() < 0.04 && (variance - 1.0).abs() < 0.06, "{mean} {variance}");
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let d = Definition::new("RandomUniform").attribute("shape", vec![5i64]);
        let own = random(&d.clone().attribute("seed", 4f32)).unwrap();
        assert_eq!(draw(&*own), draw(&*own));
        assert!(own.with_seed(1, 2).is_none());
        let of = |seed, stream| draw(&*random(&d).unwrap().with_seed(seed, stream).unwrap());
        assert_eq!(of(1, 2), of(1, 2));
        assert!(of(1, 2) != of(1, 3) && of(1, 2) != of(2, 2));
        // In a body of a loop each evaluation draws the next numbers.
        let mut context = Context::default();
        let mut next = || random(&d).unwrap().evaluate(&mut context, Inputs(&[])).unwrap();
        assert!(next() != next());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let d = |shape: Vec<i64>| Definition::new("RandomNormal").attribute("shape", shape);
        assert!(random(&Definition::new("RandomNormal")).is_err());
        assert!(random(&d(vec![-1])).is_err() && random(&d(vec![1 << 40, 1 << 40])).is_err());
        assert!(random(&d(vec![2]).attribute("dtype", 7i64)).is_err());
        let words = Fact::new(ElementType::I64, [2usize]);
        assert!(random(&Definition::new("RandomNormalLike")).unwrap().infer(&[Some(&words)]).is_err());
    }

    #[test]
    fn kernels_draw_the_same() {
        for shape in [vec![], vec![0i64, 3], vec![1], vec![7], vec![5, 13], vec![4, 64]] {
            let d = |name: &str| Definition::new(name).attribute("shape", shape.clone());
            let scaled = d("RandomUniform").attribute("low", -2f32).attribute("high", 0.5f32);
            check(&*seeded(&scaled), &[], Tolerance { absolute: 1e-6, relative: 0.0 });
            // The logarithm and the sine are good to some units in the last place; radii are below 6.
            check(
                &*seeded(&d("RandomNormal").attribute("scale", 3f32)),
                &[],
                Tolerance { absolute: 2e-5, relative: 0.0 },
            );
            let sizes: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
            let n: usize = sizes.iter().product();
            let x = Tensor::new(sizes, (0..n).map(|i| (i % 5) as f32 / 4.0).collect::<Vec<_>>()).unwrap();
            check(&*seeded(&Definition::new("Bernoulli")), &[Input::Run(x.clone())], Tolerance::EXACT);
            let truths = Definition::new("Bernoulli").attribute("dtype", 9i64);
            check(&*seeded(&truths), &[Input::Run(x.clone())], Tolerance::EXACT);
            check(
                &*seeded(&Definition::new("RandomUniformLike")),
                &[Input::Run(x)],
                Tolerance { absolute: 1e-6, relative: 0.0 },
            );
        }
    }
}
