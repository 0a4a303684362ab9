//! NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss (ONNX opsets 12 and 13).
//!
//! `l = -weight[t] · x[n, t, d…]` with the label `t = target[n, d…]`, 0 where it is the one to ignore; the whole of it, its
//! sum, or its sum over that of the weights. SoftmaxCrossEntropyLoss takes the logarithm of the softmax of its scores first.

use std::sync::Arc;

use super::composite::{Composite, Recipe};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
    ValueId,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::tensor::shape::elements;
use crate::tensor::{ElementType, Tensor};

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;

/// What becomes of the losses of all positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reduction {
    /// They are the output.
    None,
    /// They are added.
    Sum,
    /// Their sum is divided by that of the weights.
    Mean,
}

/// The loss of scores that are logarithms of probabilities. Inputs: scores `[N, C, d…]`, labels `[N, d…]`, and perhaps
/// a weight for each of the C classes.
#[derive(Debug, Clone, PartialEq)]
pub struct NegativeLogLikelihood {
    reduction: Reduction,
    /// Positions with this label have neither loss nor weight.
    ignore: Option<i64>,
}

/// Makes a NegativeLogLikelihoodLoss.
pub(super) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let reduction = match d.string("reduction")?.as_deref() {
        None | Some("mean") => Reduction::Mean,
        Some("sum") => Reduction::Sum,
        Some("none") => Reduction::None,
        Some(other) => {
            return Err(DefinitionError::Value("reduction", format!("is '{other}'; there are none, sum and mean")));
        }
    };
    Ok(Arc::new(NegativeLogLikelihood { reduction, ignore: d.int("ignore_index")? }))
}

/// Makes a SoftmaxCrossEntropyLoss.
pub(super) fn softmax_cross_entropy(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    make(d)?;
    fn build(
        d: &Definition,
        recipe: &mut Recipe,
        inputs: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, ShapeError> {
        let Some(&Some(scores)) = inputs.first() else { return Err(ShapeError::new("its scores are missing")) };
        let logs = recipe.node(Definition::new("LogSoftmax").attribute("axis", 1), &[scores])?;
        let mut taken = inputs.to_vec();
        taken[0] = Some(logs);
        let loss = Definition { op_type: "NegativeLogLikelihoodLoss".to_owned(), opset: 24, outputs: 1, ..d.clone() };
        Ok(vec![Some(recipe.outputs(loss, &taken)?[0]), Some(logs)])
    }
    Ok(Arc::new(Composite::new(d, build)))
}

impl Operator for NegativeLogLikelihood {
    fn name(&self) -> &str {
        "NegativeLogLikelihoodLoss"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, labels) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?);
        let differ = |a: &Dim, b: &Dim| a.known().zip(b.known()).is_some_and(|(a, b)| a != b);
        let expected: Vec<&Dim> = x.shape.iter().take(1).chain(x.shape.iter().skip(2)).collect();
        if !x.element_type.is_float()
            || !matches!(labels.element_type, ElementType::I32 | ElementType::I64)
            || x.rank() < 2
            || labels.rank() != expected.len()
            || labels.shape.iter().zip(expected).any(|(a, b)| differ(a, b))
        {
            return Err(ShapeError::new(format!("labels {labels} do not go with scores {x}")));
        }
        if let Some(weight) = Fact::optional(inputs, 2) {
            let fits = matches!(weight.shape.as_slice(), [n] if !differ(n, &x.shape[1]));
            if !fits || weight.element_type != x.element_type {
                return Err(ShapeError::new(format!("the weights are {weight}, not a number for each class of {x}")));
            }
        }
        Ok(vec![x.with_shape(if self.reduction == Reduction::None { labels.shape.clone() } else { vec![] })])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (x, labels) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let &[images, classes, ref rest @ ..] = x.shape() else {
            return Err(ShapeError::new("the scores have no classes").into());
        };
        let inner = elements(rest).filter(|_| !x.is_empty()).unwrap_or(0);
        let targets = inputs.integers(1)?.unwrap_or_default();
        let weights = inputs.optional(2).map(Tensor::to_f64);
        let expected = if x.is_empty() { labels.len() } else { images * inner };
        if targets.len() != expected || weights.as_ref().is_some_and(|w| w.len() != classes) {
            return Err(ShapeError::new("scores, labels and weights do not belong together").into());
        }
        let scores = x.to_f64();
        let mut losses = Vec::with_capacity(targets.len());
        let mut total = 0.0;
        for (p, &label) in targets.iter().enumerate() {
            if Some(label) == self.ignore {
                losses.push(0.0);
                continue;
            }
            let class = usize::try_from(label).ok().filter(|&c| c < classes);
            let class = class.ok_or_else(|| ShapeError::new(format!("label {label} is none of {classes} classes")))?;
            let weight = weights.as_ref().map_or(1.0, |w| w[class]);
            total += weight;
            losses.push(-weight * scores[(p / inner * classes + class) * inner + p % inner]);
        }
        let sum: f64 = losses.iter().sum();
        let (shape, values) = match self.reduction {
            Reduction::None => (labels.shape().to_vec(), losses),
            Reduction::Sum => (vec![], vec![sum]),
            Reduction::Mean => (vec![], vec![sum / total]),
        };
        Ok(vec![Tensor::from_f64(x.element_type(), shape, values)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let (shape, labels) = (request.shape(0)?, request.shape(1)?);
        let positions = elements(&labels).ok_or("it has more elements than a shader can count")?;
        let count = elements(&shape).filter(|&n| u32::try_from(n).is_ok());
        count.ok_or("it has more elements than a shader can count")?;
        let wants = vec![Want::In(Layout::Linear); request.inputs.len()];
        let candidate = Candidate::new("positions", wants, vec![Layout::Linear]);
        let reduced = self.reduction != Reduction::None;
        let classes = shape.get(1).copied().unwrap_or(0);
        if positions == 0 || classes == 0 {
            return if reduced { Err("there are no losses".to_owned()) } else { Ok(vec![candidate]) };
        }
        let weighted = request.optional(2).is_some();
        let kernel = Kernel::of("loss/negative_log_likelihood.wgsl")
            .define("WORKGROUP", WORKGROUP)
            .define("WEIGHTED", weighted)
            .define("REDUCED", reduced)
            .define("MEAN", self.reduction == Reduction::Mean)
            .define("COOPERATIVE", reduced);
        let mut dispatch = Dispatch::of(kernel);
        dispatch =
            dispatch.bind(Binding::Input(0), request.storage(0)?).bind(Binding::Input(1), request.index_storage(1)?);
        if weighted {
            dispatch = dispatch.bind(Binding::Input(2), request.storage(2)?);
        }
        // A label beyond 32 bits reads as the nearest number that has them, and so does the one to ignore.
        let ignore = self.ignore.unwrap_or(0).clamp(i32::MIN.into(), i32::MAX.into());
        let units = positions.div_ceil(4);
        let dispatch = dispatch
            .bind(Binding::Output(0), request.output_storage(0)?)
            .param("units", units)
            .param("positions", positions)
            .param("classes", classes)
            .param("inner", shape[2..].iter().product::<usize>())
            .param("ignoring", u32::from(self.ignore.is_some()))
            .param("ignore", i32::try_from(ignore).unwrap_or_default());
        let dispatch = if reduced { dispatch } else { dispatch.linear(units as u64, WORKGROUP, request.device) };
        Ok(vec![candidate.dispatch(dispatch).cost(4.0 * positions as f64, 16.0 * positions as f64)])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Input, Tolerance, try_check};

    fn run(operator: &dyn Operator, inputs: &[Tensor]) -> Result<Vec<Vec<f64>>, EvaluateError> {
        let values: Vec<_> = inputs.iter().cloned().map(Value::Tensor).collect();
        let values: Vec<_> = values.iter().map(Some).collect();
        let outputs = operator.evaluate(&mut Context::default(), Inputs(&values))?;
        Ok(outputs.iter().filter_map(|v| Inputs(&[Some(v)]).optional(0).map(Tensor::to_f64)).collect())
    }

    #[test]
    fn the_examples_of_the_standard() {
        let x = vec![1.0f32, 2.0, 2.0, 2.0, 3.0, 2.0, 0.0, 1.0, 2.0, 2.0, 1.0, 2.0];
        let x = Tensor::new([2, 3, 2], x).unwrap();
        let labels = Tensor::new([2, 2], vec![2i64, 1, 0, 2]).unwrap();
        let weights = Tensor::vector(vec![0.2f32, 0.3, 0.1]);
        let loss = |reduction: &str| make(&Definition::new("").attribute("reduction", reduction)).unwrap();
        assert_eq!(run(&*loss("none"), &[x.clone(), labels.clone()]).unwrap()[0], [-3.0, -2.0, 0.0, -2.0]);
        let close = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-6, "{got}");
        let all = [x.clone(), labels.clone(), weights];
        close(run(&*loss("sum"), &all).unwrap()[0][0], -1.1);
        close(run(&*loss("mean"), &all).unwrap()[0][0], -1.1 / 0.7);
        let ignoring = make(&Definition::new("").attribute("ignore_index", 2)).unwrap();
        close(run(&*ignoring, &[x.clone(), labels.clone()]).unwrap()[0][0], -1.0);
        assert!(run(&*loss("sum"), &[x.clone(), Tensor::new([2, 2], vec![2i64, 3, 0, 2]).unwrap()]).is_err());
        assert!(make(&Definition::new("").attribute("reduction", "max")).is_err());

        // Two outputs: the loss, and the logarithms of the probabilities.
        let definition = Definition { inputs: 2, outputs: 2, ..Definition::new("SoftmaxCrossEntropyLoss") };
        let operator = softmax_cross_entropy(&definition).unwrap();
        let facts = [&x, &labels].map(|t| Fact::new(t.element_type(), t.shape().to_vec()));
        let inferred = operator.infer(&[Some(&facts[0]), Some(&facts[1])]).unwrap();
        assert_eq!(inferred.iter().map(ToString::to_string).collect::<Vec<_>>(), ["f32[]", "f32[2, 3, 2]"]);
        let got = run(&*operator, &[x, labels]).unwrap();
        let total = |v: [f64; 3]| v.iter().map(|v| v.exp()).sum::<f64>().ln();
        let sums = [
            total([1.0, 2.0, 3.0]) - 3.0,
            total([2.0, 2.0, 2.0]) - 2.0,
            total([0.0, 2.0, 1.0]),
            total([1.0, 2.0, 2.0]) - 2.0,
        ];
        close(got[0][0], sums.iter().sum::<f64>() / 4.0);
        close(got[1][0], 1.0 - total([1.0, 2.0, 3.0]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn gpu_and_reference_agree(
            shape in prop::collection::vec(prop::sample::select(vec![1usize, 2, 3, 5, 7]), 2..5),
            weighted: bool, reduction in prop::sample::select(vec!["none", "sum", "mean"]), ignore in prop::option::of(-1i64..4),
        ) {
            let random = |n: usize, seed: usize| (0..n).map(|i| ((i + seed) * 7919 % 211) as f32 / 105.0 - 1.1).collect::<Vec<_>>();
            let mut target = shape.clone();
            let classes = target.remove(1);
            let count: usize = target.iter().product();
            let labels: Vec<i32> = (0..count).map(|i| match ignore {
                Some(ignore) if i % 3 == 1 => ignore as i32,
                _ => (i * 5 % classes) as i32,
            }).collect();
            // Not all are ignored: the mean of nothing is no number, which f16 outputs may not hold.
            let weights = random(classes, 3).iter().map(|w| w.abs() + 0.1).collect();
            let mut inputs = vec![
                Input::Run(Tensor::new(shape.clone(), random(shape.iter().product(), 1)).unwrap()),
                Input::Run(Tensor::new(target, labels).unwrap()),
            ];
            if weighted {
                inputs.push(Input::Run(Tensor::vector(weights)));
            }
            let mut definition = Definition::new("").attribute("reduction", reduction);
            if let Some(ignore) = ignore {
                definition = definition.attribute("ignore_index", ignore);
            }
            // Sums of up to 245 products of numbers up to 1.2, in another order than the reference's.
            let tolerance = Tolerance { absolute: 2e-5, relative: 1e-5 };
            try_check(&*make(&definition).unwrap(), &inputs, tolerance).map_err(TestCaseError::fail)?;
        }
    }
}
