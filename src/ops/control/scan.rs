//! Scan (ONNX opsets 8, and 9 to 24): a graph along an axis of tensors, with a state.

use std::sync::Arc;

use super::{collect, known_whole, unroll};
use crate::graph::{
    Body, Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Graph, Inputs, Operator, Repeated,
    ShapeError, Value,
};
use crate::ops::composite::Recipe;
use crate::ops::sequence::pieces;
use crate::tensor::Tensor;
use crate::tensor::shape::axis;

/// How one tensor is walked along, or put together.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Along {
    axis: i64,
    backwards: bool,
}

/// A graph along an axis of tensors.
///
/// Its inputs are the first states, the tensors that are walked along, and what the graph captures; in opset 8, before them,
/// the lengths of the sequences of a batch, and all tensors are batches. The graph takes the states and an element of each
/// tensor, and gives the next states and elements that are put together.
#[derive(Debug, Clone, PartialEq)]
struct Scan {
    body: Body,
    states: usize,
    scanned: Vec<Along>,
    collected: Vec<Along>,
    batched: bool,
}

pub(in crate::ops) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let body = d.body("body")?.ok_or(DefinitionError::Missing("body"))?;
    let batched = d.opset < 9;
    let count = d.int("num_scan_inputs")?.ok_or(DefinitionError::Missing("num_scan_inputs"))?;
    let (takes, gives) = (body.formal().len(), body.graph().outputs.len());
    if takes.checked_add(usize::from(batched)) != Some(d.inputs) {
        return Err(DefinitionError::Value("body", format!("takes {takes} inputs, but {} are given", d.inputs)));
    }
    let count = usize::try_from(count).ok().filter(|&count| 0 < count && count <= takes);
    let count = count.ok_or_else(|| DefinitionError::Value("num_scan_inputs", "is out of range".to_owned()))?;
    let states = takes - count;
    if gives < states || gives < d.outputs {
        return Err(DefinitionError::Value("body", format!("gives {gives} outputs, which are too few")));
    }
    let along = |axes: &'static str, directions: &'static str, count: usize| {
        let get = |name: &'static str| match d.ints(name)? {
            None => Ok(vec![0; count]),
            Some(values) if values.len() == count => Ok(values),
            Some(values) => Err(DefinitionError::Value(name, format!("has {} elements, not {count}", values.len()))),
        };
        let (axes, directions) = (get(axes)?, get(directions)?);
        if directions.iter().any(|direction| !(0..=1).contains(direction)) {
            return Err(DefinitionError::Value("directions", "holds something else than 0 and 1".to_owned()));
        }
        let both = axes.into_iter().zip(directions);
        Ok(both.map(|(axis, direction)| Along { axis, backwards: direction == 1 }).collect::<Vec<_>>())
    };
    let (scanned, collected) = match batched {
        true => (along("no axes", "directions", count)?, vec![Along::default(); gives - states]),
        false => (
            along("scan_input_axes", "scan_input_directions", count)?,
            along("scan_output_axes", "scan_output_directions", gives - states)?,
        ),
    };
    Ok(Arc::new(Scan { body, states, scanned, collected, batched }))
}

fn found(at: i64, rank: usize) -> Result<usize, ShapeError> {
    axis(at, rank).ok_or_else(|| ShapeError::new(format!("axis {at} is out of range for rank {rank}")))
}

impl Scan {
    /// Where the captured values begin among the inputs.
    fn captured(&self) -> usize {
        usize::from(self.batched) + self.states + self.scanned.len()
    }

    /// Walks along tensors, `length` elements, or all.
    fn walk(
        &self,
        context: &mut Context,
        states: Vec<Tensor>,
        tensors: &[Tensor],
        captured: &[Option<Value>],
        length: Option<usize>,
    ) -> Result<(Vec<Value>, Vec<Vec<Tensor>>), EvaluateError> {
        let mut steps = length;
        let mut axes = vec![];
        for (tensor, along) in tensors.iter().zip(&self.scanned) {
            let axis = found(along.axis, tensor.rank())?;
            let size = tensor.shape()[axis];
            let wanted = *steps.get_or_insert(size);
            if if length.is_some() { size < wanted } else { size != wanted } {
                return Err(
                    ShapeError::new(format!("the axes that are walked along have {wanted} and {size} places")).into()
                );
            }
            axes.push(axis);
        }
        let steps = steps.unwrap_or_default();
        let mut states: Vec<Value> = states.into_iter().map(Value::from).collect();
        let before: Vec<Vec<usize>> =
            states.iter().filter_map(|value| value.as_tensor().map(|tensor| tensor.shape().to_vec())).collect();
        let mut collected = vec![vec![]; self.collected.len()];
        let elements = |step: usize| {
            let all = tensors.iter().zip(&self.scanned).zip(&axes).enumerate();
            let element = |(i, ((tensor, along), &axis)): (usize, ((&Tensor, &Along), &usize))| {
                let place = if along.backwards { steps - 1 - step } else { step };
                Ok((self.states + i, Value::from(pieces::place(tensor, axis, place)?)))
            };
            all.map(element).collect::<Result<Vec<_>, EvaluateError>>()
        };
        if steps > 0 {
            let first = states.into_iter().chain(elements(0)?.into_iter().map(|(_, value)| value)).map(Some);
            let first = first.chain(captured.iter().cloned()).collect();
            let mut body = Repeated::begin(context, &self.body, first, (0..self.states).map(|i| (i, i)));
            for step in 0..steps {
                body.run(context, elements(step)?)?;
                let shape = |i: usize| body.look(i).and_then(Value::as_tensor).map(Tensor::shape);
                if !body.is_elsewhere() && before.iter().enumerate().any(|(i, before)| shape(i) != Some(before)) {
                    return Err(ShapeError::new("the shape of a state changes").into());
                }
                for (i, all) in collected.iter_mut().enumerate() {
                    collect(all, body.output(self.states + i)?)?;
                }
            }
            states = (0..self.states).map(|i| body.output(i)).collect::<Result<_, _>>()?;
        }
        for (all, along) in collected.iter_mut().zip(&self.collected) {
            if along.backwards {
                all.reverse();
            }
        }
        Ok((states, collected))
    }

    /// Facts of the graph's outputs, from those of the inputs.
    fn inner(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Option<Fact>>, ShapeError> {
        let first = usize::from(self.batched);
        let mut given = vec![];
        for i in first..self.captured() {
            let Some(fact) = inputs.get(i).copied().flatten() else {
                given.push(None);
                continue;
            };
            let mut shape = fact.shape.clone();
            if self.batched {
                if shape.is_empty() {
                    return Err(ShapeError::new("its inputs are batches, but one has no dimensions"));
                }
                shape.remove(0);
            }
            if let Some(along) = (i - first).checked_sub(self.states).map(|i| self.scanned[i]) {
                shape.remove(found(along.axis, shape.len())?);
            }
            given.push(Some(Fact::new(fact.element_type, shape)));
        }
        given.extend(inputs.iter().skip(self.captured()).map(|fact| fact.cloned()));
        self.body.infer(given)
    }

    /// What is collected where there is no step: nothing of the shape that an element would have.
    fn empty(&self, inputs: Inputs<'_>, collected: usize, axis_of: i64) -> Result<Tensor, EvaluateError> {
        let facts: Vec<Option<Fact>> = (0..inputs.len())
            .map(|i| inputs.optional(i).map(|t| Fact::new(t.element_type(), t.shape().to_vec())))
            .collect();
        let facts = self.inner(&facts.iter().map(Option::as_ref).collect::<Vec<_>>())?;
        let fact = facts.get(self.states + collected).and_then(Option::as_ref);
        let fact = fact.ok_or_else(|| ShapeError::new("the shape of an empty result is not known"))?;
        let mut shape: Vec<usize> = fact.shape.iter().map(|dim| dim.size().unwrap_or_default()).collect();
        shape.insert(found(axis_of, shape.len() + 1)?, 0);
        Ok(Tensor::zeros(fact.element_type, shape)?)
    }

    fn put_together(
        &self,
        inputs: Inputs<'_>,
        states: Vec<Value>,
        collected: &[Vec<Tensor>],
    ) -> Result<Vec<Value>, EvaluateError> {
        let mut outputs = states;
        for (i, (all, along)) in collected.iter().zip(&self.collected).enumerate() {
            outputs.push(match all.first() {
                None => self.empty(inputs, i, along.axis)?.into(),
                Some(first) => {
                    let axis = found(along.axis, first.rank() + 1)?;
                    pieces::stack(&all.iter().collect::<Vec<_>>(), axis)?.into()
                }
            });
        }
        Ok(outputs)
    }

    /// Opset 8: each sequence of the batch by itself; what is collected is filled up with zeros.
    fn batches(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let captured: Vec<Option<Value>> = (self.captured()..inputs.len()).map(|i| inputs.value(i).cloned()).collect();
        let longest = inputs.tensor(1 + self.states)?.shape().get(..2).map(|s| (s[0], s[1]));
        let (batch, longest) = longest.ok_or_else(|| ShapeError::new("its inputs are no batches of sequences"))?;
        let lengths = match inputs.list(0)? {
            None => vec![longest; batch],
            Some(lengths) => lengths
                .into_iter()
                .map(|n| usize::try_from(n).ok().filter(|n| *n <= longest))
                .collect::<Option<Vec<_>>>()
                .filter(|lengths| lengths.len() == batch)
                .ok_or_else(|| ShapeError::new("the lengths of the sequences do not fit the batch"))?,
        };
        let mut rows: Vec<Vec<Tensor>> = vec![];
        for (item, &length) in lengths.iter().enumerate() {
            let piece = |i: usize| pieces::place(inputs.tensor(1 + i)?, 0, item);
            let states = (0..self.states).map(piece).collect::<Result<_, _>>()?;
            let tensors: Vec<Tensor> =
                (self.states..self.states + self.scanned.len()).map(piece).collect::<Result<_, EvaluateError>>()?;
            for tensor in &tensors {
                if tensor.shape().first() != Some(&longest) {
                    return Err(ShapeError::new("the sequences of its inputs differ in length").into());
                }
            }
            let (states, collected) = self.walk(context, states, &tensors, &captured, Some(length))?;
            let mut row = vec![];
            for value in self.put_together(inputs, states, &collected)? {
                row.push(value.into_tensor().ok_or_else(|| ShapeError::new("a state is no tensor"))?);
            }
            for tensor in &mut row[self.states..] {
                let mut shape = tensor.shape().to_vec();
                shape[0] = longest - length;
                Tensor::bounded(tensor.element_type(), &shape)?;
                let rest = Tensor::zeros(tensor.element_type(), shape)?;
                *tensor = pieces::concat(&[tensor, &rest], 0)?;
            }
            rows.push(row);
        }
        if rows.is_empty() {
            return Err(EvaluateError::Unsupported("its batch is empty".to_owned()));
        }
        let outputs = self.body.graph().outputs.len();
        let column = |i: usize| rows.iter().filter_map(|row| row.get(i)).collect::<Vec<_>>();
        (0..outputs).map(|i| Ok(pieces::stack(&column(i), 0)?.into())).collect()
    }
}

impl Operator for Scan {
    fn name(&self) -> &str {
        "Scan"
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
        let first = usize::from(self.batched);
        let (mut batch, mut steps) = (Dim::Unknown, Dim::Unknown);
        if let Some(fact) = inputs.get(first + self.states).copied().flatten() {
            let along = found(self.scanned[0].axis, fact.rank().saturating_sub(first))?;
            steps = fact.shape[first + along].clone();
            batch = fact.shape[0].clone();
        }
        let facts = self.inner(inputs)?;
        let outputs = facts.into_iter().enumerate().map(|(i, fact)| {
            let Some(fact) = fact else { return Ok(None) };
            let mut shape = fact.shape;
            if let Some(along) = i.checked_sub(self.states).map(|i| self.collected[i]) {
                shape.insert(found(along.axis, shape.len() + 1)?, steps.clone());
            } else if !self.batched && steps.known().is_none_or(|n| n == 0) {
                // Without a step the first state is the last.
                let state = inputs.get(i).copied().flatten();
                return Ok(super::merge(state, Some(&Fact::new(fact.element_type, shape))));
            }
            if self.batched {
                shape.insert(0, batch.clone());
            }
            Ok(Some(Fact::new(fact.element_type, shape)))
        });
        outputs.collect()
    }

    fn expansion(&self, inputs: &[Option<&Fact>]) -> Result<Option<Graph>, ShapeError> {
        if self.batched {
            return Ok(None);
        }
        let (mut recipe, given) = Recipe::start(inputs);
        let Some(given) = given.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
        let (mut steps, mut axes) = (None, vec![]);
        for (along, &x) in self.scanned.iter().zip(&given[self.states..]) {
            let fact = recipe.fact(x)?;
            let axis = found(along.axis, fact.rank())?;
            let size = fact.shape[axis].size();
            if size.is_none() || steps.is_some_and(|steps| Some(steps) != size) {
                return Ok(None);
            }
            (steps, axes) = (size, [axes, vec![axis]].concat());
        }
        let steps = steps.unwrap_or_default();
        if !unroll::is_short(&self.body, steps) {
            return Ok(None);
        }
        let mut states = given[..self.states].to_vec();
        let mut collected = vec![vec![]; self.collected.len()];
        for step in 0..steps {
            let mut inner = states.clone();
            for ((along, &axis), &x) in self.scanned.iter().zip(&axes).zip(&given[self.states..]) {
                let at = if along.backwards { steps - 1 - step } else { step };
                inner.push(unroll::place(&mut recipe, x, axis, at)?);
            }
            inner.extend_from_slice(&given[self.captured()..]);
            let Some(outputs) = unroll::insert(&mut recipe, &self.body, &inner)? else { return Ok(None) };
            states = outputs[..self.states].to_vec();
            for (all, &value) in collected.iter_mut().zip(&outputs[self.states..]) {
                all.push(value);
            }
        }
        for (all, along) in collected.iter_mut().zip(&self.collected) {
            if along.backwards {
                all.reverse();
            }
            let Some(rank) = all.first().and_then(|&id| recipe.known(id)).map(Fact::rank) else { return Ok(None) };
            let axis = found(along.axis, rank + 1)?;
            let Some(together) = unroll::stack(&mut recipe, all, axis)? else { return Ok(None) };
            states.push(together);
        }
        recipe.finish(states).map(Some)
    }

    fn evaluate(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        if self.batched {
            return self.batches(context, inputs);
        }
        let captured: Vec<Option<Value>> = (self.captured()..inputs.len()).map(|i| inputs.value(i).cloned()).collect();
        let given = |i: usize| inputs.tensor(i).cloned();
        let states = (0..self.states).map(given).collect::<Result<_, _>>()?;
        let tensors: Vec<Tensor> = (self.states..self.captured()).map(given).collect::<Result<_, _>>()?;
        let (states, collected) = self.walk(context, states, &tensors, &captured, None)?;
        self.put_together(inputs, states, &collected)
    }

    fn work(&self, _: &[Option<&Fact>], _: &[Fact]) -> f64 {
        f64::INFINITY
    }
}
