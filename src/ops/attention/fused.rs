//! Attention over queries, keys and values as other nodes leave them: in the one product that projects all three, or in
//! values of their own, before any transposition. A rewrite makes it of the nodes that a file spells attention out with.

use super::append::Operand;
use super::kernel::{LARGEST, Problem};
use super::{Attention, MASK, Scores, Sizes, VALID, kernel};
use crate::graph::{Context, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value};
use crate::kernel::{Binding, Candidate, Candidates, Layout, Want};
use crate::tensor::shape::elements;
use crate::tensor::{ElementType, Tensor};

/// Where the rows of an operand lie in its input, in elements: the first, and the steps of batches, heads and rows. A
/// row's elements are neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rows {
    pub base: usize,
    pub steps: [usize; 3],
}

impl Rows {
    /// Whether every row begins at a whole unit.
    pub fn in_units(self) -> bool {
        self.base.is_multiple_of(4) && self.steps.iter().all(|step| step.is_multiple_of(4))
    }

    /// The end of the last element of so many batches, heads and rows of `size` elements.
    fn end(self, counts: [usize; 3], size: usize) -> Option<usize> {
        let last = |(&step, count): (&usize, usize)| count.checked_sub(1)?.checked_mul(step);
        let steps = self.steps.iter().zip(counts).map(last);
        steps.fold(self.base.checked_add(size), |end, step| end?.checked_add(step?))
    }
}

/// Attention whose operands are read where they lie. Inputs: one that q, k and v all lie in, or one for each; the mask and the
/// numbers of valid keys at the places that they have in Attention.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fused {
    /// Multiplies the products of queries and keys.
    pub scale: f32,
    /// Whether a query sees no key after its own place.
    pub causal: bool,
    /// Where `causal`, the keys before the first query's own place; it is counted from the end of the valid keys where these
    /// are given.
    pub before: usize,
    /// Batches, heads, queries, keys, elements of a query, elements of a value.
    pub sizes: [usize; 6],
    /// Heads of queries that share one of keys and values.
    pub group: usize,
    /// Whether all three lie in the first input.
    pub packed: bool,
    /// Where q, k and v lie.
    pub operands: [Rows; 3],
    /// Whether the result's rows hold all heads side by side, as the projection after them reads them.
    pub side_by_side: bool,
    /// The result's shape: its memory is that of `[batch, heads, queries, v]` or `[batch, queries, heads, v]`.
    pub shape: Vec<usize>,
}

impl Fused {
    /// Whether kernels can take it.
    pub fn suits(&self) -> bool {
        let [.., d, v] = self.sizes;
        let whole = self.group > 0 && self.sizes[1].is_multiple_of(self.group);
        whole && d.max(v) <= LARGEST && !self.sizes.contains(&0)
    }

    /// The number of rows of each operand, and their length.
    fn extents(&self) -> [([usize; 3], usize); 3] {
        let [batch, heads, queries, keys, d, v] = self.sizes;
        let shared = heads / self.group.max(1);
        [([batch, heads, queries], d), ([batch, shared, keys], d), ([batch, shared, keys], v)]
    }

    fn sizes(&self) -> Sizes {
        let [batch, heads, queries, keys, d, v] = self.sizes;
        Sizes { batch, heads, group: self.group, queries, keys, d, v, flat: self.side_by_side }
    }

    /// The steps of the result's batches, heads and rows, in elements.
    pub fn result_steps(&self) -> [usize; 3] {
        let [_, heads, queries, .., v] = self.sizes;
        if self.side_by_side { [queries * heads * v, v, heads * v] } else { [heads * queries * v, queries * v, v] }
    }

    /// An operand's rows, dense.
    fn rows(&self, index: usize, input: &Tensor) -> Result<Tensor, EvaluateError> {
        let (Rows { base, steps }, (counts, size)) = (self.operands[index], self.extents()[index]);
        if self.operands[index].end(counts, size).is_none_or(|end| end > input.len()) {
            return Err(ShapeError::new("its operands lie outside of its inputs").into());
        }
        let from = input.to_f64();
        let mut rows = Vec::with_capacity(counts.iter().product::<usize>() * size);
        for (b, h) in (0..counts[0]).flat_map(|b| (0..counts[1]).map(move |h| (b, h))) {
            for row in 0..counts[2] {
                rows.extend_from_slice(&from[base + b * steps[0] + h * steps[1] + row * steps[2]..][..size]);
            }
        }
        Ok(Tensor::from_f64(input.element_type(), [&counts[..], &[size]].concat(), rows)?)
    }
}

impl Operator for Fused {
    fn name(&self) -> &str {
        "Attention"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        for (i, (rows, (counts, size))) in self.operands.iter().zip(self.extents()).enumerate() {
            let fact = Fact::at(inputs, if self.packed { 0 } else { i })?;
            let length = fact.concrete().and_then(|shape| elements(&shape)).unwrap_or(0);
            if rows.end(counts, size).is_none_or(|end| end > length) {
                return Err(ShapeError::new(format!("its operands lie outside of {fact}")));
            }
        }
        let x = Fact::at(inputs, 0)?;
        Ok(vec![Fact::new(x.element_type, self.shape.clone())])
    }

    fn evaluate(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let operand = |i: usize| {
            Ok::<_, EvaluateError>(Value::from(self.rows(i, inputs.tensor(if self.packed { 0 } else { i })?)?))
        };
        let operands = [operand(0)?, operand(1)?, operand(2)?];
        let mask = inputs.optional(MASK).cloned().map(Value::from);
        let mut all: Vec<Option<&Value>> = operands.iter().map(Some).collect();
        // What is valid is counted from the place of the last query.
        let [batch, _, queries, ..] = self.sizes;
        let end = i64::try_from(self.before + queries).map_err(|_| ShapeError::new("it has too many keys"))?;
        let valid = match inputs.optional(VALID) {
            Some(given) => Some(Value::from(given.clone())),
            None => (self.before > 0).then(|| Value::from(Tensor::vector(vec![end; batch]))),
        };
        if mask.is_some() || valid.is_some() {
            all.push(mask.as_ref());
        }
        if valid.is_some() {
            all.resize(VALID, None);
            all.push(valid.as_ref());
        }
        let attention = Attention {
            scale: Some(self.scale),
            softcap: 0.0,
            causal: self.causal,
            heads: None,
            outputs: 1,
            scores: Scores::Products,
        };
        let y = attention.evaluate(context, Inputs(&all))?.swap_remove(0).into_tensor();
        let y = y.ok_or_else(|| ShapeError::new("its result is no tensor"))?;
        let [batch, heads, queries, .., v] = self.sizes;
        if !self.side_by_side {
            return Ok(vec![y.reshaped(self.shape.clone())?.into()]);
        }
        let from = y.to_f64();
        let rows = (0..batch * queries * heads).flat_map(|i| {
            let (b, row, h) = (i / heads / queries, i / heads % queries, i % heads);
            from[((b * heads + h) * queries + row) * v..][..v].iter().copied()
        });
        Ok(vec![Tensor::from_f64(y.element_type(), self.shape.clone(), rows.collect())?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let mut wants = vec![Want::Nothing; request.inputs.len()];
        let operand = |i: usize, wants: &mut Vec<Want>| {
            let input = if self.packed { 0 } else { i };
            wants[input] = Want::In(Layout::Linear);
            Ok::<_, String>(Operand { place: (Binding::Input(input), request.storage(input)?), rows: self.operands[i] })
        };
        let operands = [operand(0, &mut wants)?, operand(1, &mut wants)?, operand(2, &mut wants)?];
        for i in [MASK, VALID].into_iter().filter(|&i| request.optional(i).is_some()) {
            if let Some(want) = wants.get_mut(i) {
                *want = Want::In(Layout::Linear);
            }
        }
        let problem = Problem {
            sizes: self.sizes(),
            scale: self.scale,
            softcap: 0.0,
            causal: self.causal,
            before: self.before,
            operands,
            result: self.result_steps(),
        };
        kernel::candidates(&problem, Candidate::new("", wants, vec![Layout::Linear]), request)
    }

    fn work(&self, _: &[Option<&Fact>], _: &[Fact]) -> f64 {
        let [batch, heads, queries, keys, d, v] = self.sizes;
        2.0 * [batch, heads, queries, keys, d + v].iter().map(|&n| n as f64).product::<f64>()
    }
}

/// Whether a mask of this type and shape can be read for scores of `[batch, heads, queries, keys]`.
pub(crate) fn takes_mask(fact: &Fact, element_type: ElementType, scores: [usize; 4]) -> bool {
    let Some(shape) = fact.concrete() else { return false };
    let typed = fact.element_type == element_type || fact.element_type == ElementType::Bool;
    let wide = shape.last().is_some_and(|n| *n == scores[3] || *n == 1);
    typed && wide && crate::tensor::shape::broadcast(&shape, &scores).as_deref() == Some(&scores[..])
}
