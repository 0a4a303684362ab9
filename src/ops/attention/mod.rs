//! Attention (ONNX opsets 23 and 24): scaled dot-product attention.
//!
//! `Y = softmax(cap(scale · Q × Kᵀ) + mask) × V` for each head, with `cap(s) = softcap · tanh(s / softcap)` where a
//! softcap is given. The inputs are `[batch, heads, length, size]`, or `[batch, length, heads · size]` with the numbers of
//! heads as attributes; several heads of Q may share one of K and V. Truth masks keep what is true, others are added;
//! with `is_causal` a query sees no key after its own place. A query that sees no key gives 0.
//!
//! The scores can be an output too: the products, with the mask, after the softcap, or as weights. Versions of the standard
//! differ in whether the softcap comes before the mask, as it does here, or behind it; what would show is refused.

mod append;
pub(crate) mod fused;
mod kernel;
mod operands;
mod reference;
mod staged;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Unsupported,
    Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Layout, Want};
use append::Operand;
use fused::Rows;

/// Inputs by their places.
pub(crate) const MASK: usize = 3;
pub(crate) const PAST_KEY: usize = 4;
pub(crate) const PAST_VALUE: usize = 5;
pub(crate) const VALID: usize = 6;

/// Which scores are the fourth output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scores {
    /// The scaled products of queries and keys.
    Products,
    /// With the mask.
    Masked,
    /// With the mask and within the softcap.
    Capped,
    /// What values are weighted by.
    Weights,
}

/// Scaled dot-product attention.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Attention {
    /// Multiplies Q × Kᵀ; one over the root of Q's size where it is not given.
    pub scale: Option<f32>,
    /// Where positive, scores are kept within it.
    pub softcap: f32,
    /// Whether a query sees no key after its own place.
    pub causal: bool,
    /// Heads of Q, and of K and V, where the inputs have three dimensions.
    pub heads: Option<(usize, usize)>,
    /// Outputs: 1, up to 3 with the keys and values so far, 4 with scores.
    pub outputs: usize,
    /// What the fourth output holds.
    pub scores: Scores,
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let scores = match d.int("qk_matmul_output_mode")?.unwrap_or(0) {
        0 => Scores::Products,
        1 => Scores::Masked,
        2 => Scores::Capped,
        3 => Scores::Weights,
        mode => return Err(DefinitionError::Value("qk_matmul_output_mode", format!("is {mode}, not 0 to 3"))),
    };
    for name in ["left_window_size", "right_window_size"] {
        if d.int(name)?.unwrap_or(-1) != -1 {
            return Err(DefinitionError::Unsupported("windows of attention are not supported".to_owned()));
        }
    }
    let heads = |name| -> Result<Option<usize>, DefinitionError> {
        let positive = |n: i64| usize::try_from(n).ok().filter(|n| (1..=1 << 20).contains(n));
        d.int(name)?.map(|n| positive(n).ok_or_else(|| DefinitionError::Value(name, format!("is {n}")))).transpose()
    };
    Ok(Arc::new(Attention {
        scale: d.float("scale")?,
        softcap: d.float("softcap")?.unwrap_or(0.0),
        causal: d.flag("is_causal", false)?,
        heads: heads("q_num_heads")?.zip(heads("kv_num_heads")?),
        outputs: d.outputs.max(1),
        scores,
    }))
}

/// An input's dimensions as batch, heads, length and size of a head.
fn split<T: Clone>(
    shape: &[T],
    heads: Option<usize>,
    of: impl Fn(&T, usize) -> Result<[T; 2], ShapeError>,
) -> Result<[T; 4], ShapeError> {
    match (shape, heads) {
        ([b, h, l, s], _) => Ok([b.clone(), h.clone(), l.clone(), s.clone()]),
        ([b, l, hidden], Some(heads)) => {
            let [h, s] = of(hidden, heads)?;
            Ok([b.clone(), h, l.clone(), s])
        }
        (_, None) if shape.len() == 3 => Err(ShapeError::new("the numbers of heads are missing")),
        _ => Err(ShapeError::new(format!("an input has {} dimensions, not three or four", shape.len()))),
    }
}

/// The sizes of one attention. Q is `[batch, heads, queries, d]`, V `[batch, heads / group, keys, v]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sizes {
    batch: usize,
    heads: usize,
    group: usize,
    queries: usize,
    keys: usize,
    d: usize,
    v: usize,
    /// The inputs have three dimensions.
    flat: bool,
}

impl Sizes {
    /// Where element 0 of a row lies, as steps of batches, heads and rows, in elements.
    const fn steps(self, heads: usize, length: usize, size: usize) -> [usize; 3] {
        if self.flat {
            [length * heads * size, size, heads * size]
        } else {
            [heads * length * size, length * size, size]
        }
    }
}

impl Attention {
    fn sizes(&self, shapes: [&[usize]; 3]) -> Result<Sizes, ShapeError> {
        let of = |&hidden: &usize, heads: usize| {
            hidden
                .is_multiple_of(heads)
                .then_some([heads, hidden / heads])
                .ok_or_else(|| ShapeError::new(format!("{heads} heads do not divide {hidden}")))
        };
        let (q_heads, kv_heads) = self.heads.unzip();
        let [batch, heads, queries, d] = split(shapes[0], q_heads, of)?;
        let [k_batch, kv_heads_k, keys, k_d] = split(shapes[1], kv_heads, of)?;
        let [v_batch, kv_heads_v, v_keys, v] = split(shapes[2], kv_heads, of)?;
        let fits = k_batch == batch && v_batch == batch && kv_heads_k == kv_heads_v && k_d == d && v_keys == keys;
        let flat = shapes[0].len() == 3;
        if !fits || kv_heads_k == 0 || heads % kv_heads_k != 0 || shapes.iter().any(|s| (s.len() == 3) != flat) {
            return Err(ShapeError::new(format!("Q, K and V of {shapes:?} do not belong together")));
        }
        Ok(Sizes { batch, heads, group: heads / kv_heads_k, queries, keys, d, v, flat })
    }

    /// The ways of the kernels for all of it at once, behind `past` keys.
    fn fused(&self, request: &Request<'_>, s: Sizes, past: usize) -> Candidates {
        let kv = s.heads / s.group;
        let mut wants = vec![Want::Nothing; request.inputs.len()];
        for (i, want) in wants.iter_mut().enumerate() {
            if request.optional(i).is_some() {
                *want = Want::In(Layout::Linear);
            }
        }
        let mut own = vec![];
        for (i, heads, length, size) in [(0, s.heads, s.queries, s.d), (1, kv, s.keys, s.d), (2, kv, s.keys, s.v)] {
            let joined = i > 0 && (self.outputs > i || request.optional(PAST_KEY + i - 1).is_some());
            // Rows are whole units each, unless they are to be joined with others or lie side by side.
            let padded = !s.flat && !joined;
            if padded {
                wants[i] = Want::In(Layout::Rows.canonical(&request.shape(i)?));
            }
            let steps = s.steps(heads, length, if padded { size.next_multiple_of(4) } else { size });
            let place = (Binding::Input(i), request.storage(i)?);
            own.push(Operand { place, rows: Rows { base: 0, steps } });
        }
        let mut layouts = vec![Layout::Linear; request.outputs.len()];
        layouts[0] = if s.flat { Layout::Linear } else { Layout::Rows.canonical(&request.output_shape(0)?) };
        let mut begun = Candidate::new("", wants, layouts);
        let mut operands = own.into_iter();
        let mut next = || operands.next().ok_or("an operand is missing");
        let q = next()?;
        let k = append::joined(self, request, (s, past), 1, next()?, &mut begun)?;
        let v = append::joined(self, request, (s, past), 2, next()?, &mut begun)?;
        #[expect(clippy::cast_possible_truncation, reason = "a parameter is an f32")]
        let scale = self.scale(s.d) as f32;
        let problem = kernel::Problem {
            sizes: Sizes { keys: past + s.keys, ..s },
            scale,
            softcap: self.softcap,
            causal: self.causal,
            before: past,
            operands: [q, k, v],
            result: s.steps(s.heads, s.queries, if s.flat { s.v } else { s.v.next_multiple_of(4) }),
        };
        kernel::candidates(&problem, begun, request)
    }

    /// What products of queries and keys of this size are multiplied by.
    pub fn scale(&self, d: usize) -> f64 {
        self.scale.map_or_else(|| 1.0 / (d.max(1) as f64).sqrt(), f64::from)
    }
}

impl Operator for Attention {
    fn name(&self) -> &str {
        "Attention"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (q, k, v) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?, Fact::at(inputs, 2)?);
        if [q, k, v].iter().any(|f| !f.element_type.is_float() || f.element_type != q.element_type) {
            return Err(ShapeError::new(format!(
                "Q, K and V should be of one floating-point type, not {q}, {k} and {v}"
            )));
        }
        if let (Some(q), Some(k), Some(v)) = (q.concrete(), k.concrete(), v.concrete()) {
            self.sizes([&q, &k, &v])?;
        }
        let masked = self.causal || [MASK, VALID].iter().any(|&i| Fact::optional(inputs, i).is_some());
        if self.outputs > 3 && matches!(self.scores, Scores::Masked | Scores::Capped) && self.softcap > 0.0 && masked {
            let message = "versions of the standard differ in scores that are both masked and capped";
            return Err(ShapeError::unsupported(Unsupported::Form, message));
        }
        let of = |hidden: &Dim, heads: usize| Ok([Dim::from(heads), hidden.floor_div(&Dim::from(heads))]);
        let (q_heads, kv_heads) = self.heads.unzip();
        let [batch, heads, queries, _] = split(&q.shape, q_heads, of)?;
        let [_, kv, keys, d] = split(&k.shape, kv_heads, of)?;
        let [_, _, _, size] = split(&v.shape, kv_heads, of)?;
        let scored = (heads.clone(), queries.clone());
        let y = match q.rank() {
            3 => vec![batch.clone(), queries, heads.mul(&size)],
            _ => vec![batch.clone(), heads, queries, size.clone()],
        };
        let past = |i: usize| match Fact::optional(inputs, i).map(|past| &past.shape[..]) {
            None => Ok(Dim::Known(0)),
            Some([_, _, length, _]) => Ok(length.clone()),
            Some(_) => Err(ShapeError::new("the keys and values so far should have four dimensions")),
        };
        let present = |i, size| Ok(q.with_shape(vec![batch.clone(), kv.clone(), keys.add(&past(i)?), size]));
        let total = keys.add(&past(PAST_KEY)?);
        let scores = q.with_shape(vec![batch.clone(), scored.0, scored.1, total]);
        let mut outputs = vec![q.with_shape(y), present(PAST_KEY, d)?, present(PAST_VALUE, size)?, scores];
        outputs.truncate(self.outputs);
        Ok(outputs)
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        reference::evaluate(self, inputs)
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let shapes = [request.shape(0)?, request.shape(1)?, request.shape(2)?];
        let sizes = self.sizes([&shapes[0], &shapes[1], &shapes[2]]).map_err(|e| e.to_string())?;
        let past = match request.optional(PAST_KEY) {
            Some(_) => request.shape(PAST_KEY)?.get(2).copied().unwrap_or(0),
            None => 0,
        };
        if self.outputs <= 3
            && let Ok(candidates) = self.fused(request, sizes, past)
        {
            return Ok(candidates);
        }
        staged::candidates(self, request, sizes, past)
    }

    fn work(&self, inputs: &[Option<&Fact>], _: &[Fact]) -> f64 {
        let shape = |i: usize| inputs.get(i).copied().flatten().and_then(Fact::concrete);
        let (Some(q), Some(k), Some(v)) = (shape(0), shape(1), shape(2)) else { return 0.0 };
        self.sizes([&q, &k, &v]).map_or(0.0, |s| {
            2.0 * [s.batch, s.heads, s.queries, s.keys, s.d + s.v].iter().map(|&n| n as f64).product::<f64>()
        })
    }
}
