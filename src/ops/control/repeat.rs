//! Loop (ONNX opsets 1 to 24): a graph again and again, while a condition holds, a number of times at most.

use std::sync::Arc;

use super::{collect, known_truth, known_whole, merge, truth, unroll};
use crate::graph::{
    Body, Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Graph, Inputs, Operator, Reads, Repeated,
    ShapeError, Value, ValueId,
};
use crate::ops::composite::Recipe;
use crate::ops::sequence::pieces;
use crate::tensor::{ElementType, Tensor, Truth};

/// A graph again and again.
///
/// Its inputs are the largest number of times, the condition (both may be left out), values that are carried from one time
/// to the next, and what the graph captures. The graph takes the number of the time, the condition, and the carried values;
/// it gives the condition and the carried values of the next time, and elements that are collected along a new first axis.
/// The condition that it gives holds also where none is given to the first time, as other runtimes have it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loop {
    body: Body,
    carried: usize,
}

pub(in crate::ops) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let body = d.body("body")?.ok_or(DefinitionError::Missing("body"))?;
    let carried = d.inputs.saturating_sub(2);
    let (takes, gives) = (body.formal().len(), body.graph().outputs.len());
    if takes != carried + 2 {
        return Err(DefinitionError::Value("body", format!("takes {takes} inputs, not {}", carried + 2)));
    }
    if gives < carried + 1 || gives - 1 < d.outputs {
        return Err(DefinitionError::Value("body", format!("gives {gives} outputs, which are too few")));
    }
    if d.inputs < 2 && body.captured() > 0 {
        return Err(DefinitionError::Unsupported("its condition is not given, not even as left out".to_owned()));
    }
    Ok(Arc::new(Loop { body, carried }))
}

/// Carried facts become more general this often before nothing is said of them.
const ROUNDS: usize = 3;

impl Loop {
    /// How often the graph runs at most, as far as that is known.
    pub fn limit(inputs: &[Option<&Fact>]) -> Option<usize> {
        let count = Fact::optional(inputs, 0)?.integers()?;
        count.first().map(|&n| usize::try_from(n.max(0)).unwrap_or(usize::MAX))
    }

    /// What is known of the first values of the graph's inputs, the carried ones left out.
    fn head(&self) -> [Option<Fact>; 2] {
        let shape = vec![Dim::Known(1); self.counter_rank()];
        [Some(Fact::new(ElementType::I64, shape)), Some(Fact::new(ElementType::Bool, [0usize; 0]))]
    }

    /// The number of the time is a scalar, but some files take it as a list of one.
    fn counter_rank(&self) -> usize {
        let id = self.body.formal().first();
        id.and_then(|&id| self.body.graph().fact(id)).map_or(0, |fact| fact.rank().min(1))
    }

    /// The number of a time, as the graph takes it.
    pub fn counter(&self, time: usize) -> Tensor {
        let time = i64::try_from(time).unwrap_or(i64::MAX);
        if self.counter_rank() == 0 { Tensor::scalar(time) } else { Tensor::vector(vec![time]) }
    }

    /// Facts of the outputs that hold for any number of times.
    fn general(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Option<Fact>>, ShapeError> {
        let captured: Vec<Option<Fact>> = inputs.iter().skip(2 + self.carried).map(|fact| fact.cloned()).collect();
        let given = |i: usize| inputs.get(2 + i).copied().flatten().map(Fact::without_content);
        let mut carried: Vec<Option<Fact>> = (0..self.carried).map(given).collect();
        // In nested loops the rounds would multiply.
        let rounds = if self.body.depth() > 2 { 1 } else { ROUNDS };
        for round in 0..=rounds {
            let inputs = self.head().into_iter().chain(carried.iter().cloned()).chain(captured.iter().cloned());
            let facts = match self.body.infer(inputs) {
                Ok(facts) => facts,
                Err(error) if round == 0 || error.unsupported.is_some() => return Err(error),
                Err(_) => return Ok(vec![]),
            };
            let next: Vec<_> = carried.iter().zip(&facts[1..]).map(|(a, b)| merge(a.as_ref(), b.as_ref())).collect();
            if next == carried {
                return Ok(facts);
            }
            carried = if round + 1 >= rounds { vec![None; self.carried] } else { next };
        }
        Ok(vec![])
    }
}

impl Operator for Loop {
    fn name(&self) -> &str {
        "Loop"
    }

    fn takes_strings(&self) -> bool {
        true
    }

    fn bodies(&self) -> Vec<&Body> {
        vec![&self.body]
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        known_whole(self.infer_partly(inputs, true)?)
    }

    fn infer_partly(&self, inputs: &[Option<&Fact>], _: bool) -> Result<Vec<Option<Fact>>, ShapeError> {
        let facts = self.general(inputs)?;
        let Some((condition, facts)) = facts.split_first() else { return Ok(vec![]) };
        let first = Fact::optional(inputs, 1);
        let always =
            known_truth(condition.as_ref()) == Some(true) && (first.is_none() || known_truth(first) == Some(true));
        let times = Self::limit(inputs).filter(|_| always).map_or(Dim::Unknown, Dim::from);
        let outputs = facts.iter().enumerate().map(|(i, fact)| {
            let fact = fact.as_ref()?;
            if i < self.carried {
                let first = inputs.get(2 + i).copied().flatten();
                return merge(Some(fact), first);
            }
            let mut shape = vec![times.clone()];
            shape.extend_from_slice(&fact.shape);
            Some(Fact::new(fact.element_type, shape))
        });
        Ok(outputs.collect())
    }

    fn reads(&self, input: usize) -> Reads {
        if input < 2 { Reads::Parameter } else { Reads::Elements }
    }

    fn expansion(&self, inputs: &[Option<&Fact>]) -> Result<Option<Graph>, ShapeError> {
        let (mut recipe, given) = Recipe::start(inputs);
        let limit = match Fact::optional(inputs, 0) {
            None => usize::MAX,
            Some(_) => Self::limit(inputs).unwrap_or(usize::MAX),
        };
        let known_limit = Fact::optional(inputs, 0).is_none() || Self::limit(inputs).is_some();
        let mut going = match Fact::optional(inputs, 1) {
            None => Some(true),
            condition => known_truth(condition),
        };
        let Some(rest) = given.into_iter().skip(2).collect::<Option<Vec<_>>>() else { return Ok(None) };
        let (first, captured) = rest.split_at(self.carried.min(rest.len()));
        let mut carried = first.to_vec();
        let mut collected = vec![vec![]; self.body.graph().outputs.len() - 1 - self.carried];
        let mut time = 0;
        while going != Some(false) && time < limit {
            if going.is_none() || !known_limit || !unroll::is_short(&self.body, time + 1) {
                return Ok(None);
            }
            let counter = recipe.constant(self.counter(time));
            let condition = recipe.constant(Tensor::scalar(Truth::from(true)));
            let given: Vec<ValueId> =
                [counter, condition].into_iter().chain(carried).chain(captured.iter().copied()).collect();
            let Some(outputs) = unroll::insert(&mut recipe, &self.body, &given)? else { return Ok(None) };
            going = known_truth(recipe.known(outputs[0]));
            carried = outputs[1..=self.carried].to_vec();
            for (all, &value) in collected.iter_mut().zip(&outputs[1 + self.carried..]) {
                all.push(value);
            }
            time += 1;
        }
        for all in &collected {
            let Some(together) = unroll::stack(&mut recipe, all, 0)? else { return Ok(None) };
            carried.push(together);
        }
        recipe.finish(carried).map(Some)
    }

    fn evaluate(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let limit = match inputs.integers(0)?.as_deref() {
            None => u64::MAX,
            Some(&[n]) => u64::try_from(n).unwrap_or(0),
            Some(others) => {
                return Err(ShapeError::new(format!("the number of times has {} elements", others.len())).into());
            }
        };
        let mut going = match inputs.value(1) {
            None => true,
            Some(_) => truth(inputs.tensor(1)?)?,
        };
        let first = [Some(self.counter(0).into()), Some(Tensor::scalar(Truth::from(true)).into())];
        let first = first.into_iter().chain((2..inputs.len()).map(|i| inputs.value(i).cloned())).collect();
        let handed_on = (0..self.carried).map(|i| (1 + i, 2 + i));
        let mut body = Repeated::begin(context, &self.body, first, handed_on);
        let mut collected: Vec<Vec<Tensor>> = vec![vec![]; self.body.graph().outputs.len() - 1 - self.carried];
        let mut time = 0usize;
        while going && (time as u64) < limit {
            body.run(context, [(0, self.counter(time).into())])?;
            let condition = body.output(0)?.into_tensor();
            going = truth(&condition.ok_or_else(|| ShapeError::new("the condition is no tensor"))?)?;
            for (i, all) in collected.iter_mut().enumerate() {
                collect(all, body.output(1 + self.carried + i)?)?;
            }
            time += 1;
        }
        let mut outputs: Vec<Value> = vec![];
        for i in 0..self.carried {
            let missing = || ShapeError::new(format!("input {} is missing", i + 2));
            outputs.push(match time {
                0 => inputs.value(2 + i).cloned().ok_or_else(missing)?,
                _ => body.output(1 + i)?,
            });
        }
        for (i, tensors) in collected.iter().enumerate() {
            outputs.push(match tensors.is_empty() {
                false => pieces::stack(&tensors.iter().collect::<Vec<_>>(), 0)?.into(),
                true => self.empty(inputs, i)?.into(),
            });
        }
        Ok(outputs)
    }

    fn work(&self, _: &[Option<&Fact>], _: &[Fact]) -> f64 {
        f64::INFINITY
    }
}

impl Loop {
    /// What is collected if the graph never runs: nothing of the shape that it would be, dimensions that do not show taken
    /// as 0.
    fn empty(&self, inputs: Inputs<'_>, collected: usize) -> Result<Tensor, EvaluateError> {
        let facts: Vec<Option<Fact>> = (0..inputs.len())
            .map(|i| {
                let tensor = inputs.value(i)?.as_tensor()?;
                Some(if i < 2 + self.carried {
                    Fact::new(tensor.element_type(), tensor.shape().to_vec())
                } else {
                    Fact::constant(tensor.clone())
                })
            })
            .collect();
        let facts: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
        let place = 1 + self.carried + collected;
        let fact = self.general(&facts).ok().and_then(|facts| facts.get(place).cloned().flatten());
        let (element_type, rest) = match (fact, self.body.declared(place)) {
            (Some(fact), _) => (fact.element_type, fact.shape),
            (None, Some(element_type)) => (element_type, vec![]),
            (None, None) => return Err(ShapeError::new("the type of an empty result is not known").into()),
        };
        let shape: Vec<usize> =
            std::iter::once(0).chain(rest.iter().map(|dim| dim.size().unwrap_or_default())).collect();
        Ok(Tensor::zeros(element_type, shape)?)
    }
}
