//! The reference of attention, in f64.

use super::{Attention, MASK, PAST_KEY, PAST_VALUE, Scores, VALID};
use crate::graph::{EvaluateError, Fact, Inputs, Operator, ShapeError, Value};
use crate::tensor::shape::broadcast_strides;
use crate::tensor::{ElementType, Tensor};

/// What a mask adds: what is true is kept.
fn summands(mask: &Tensor) -> Vec<f64> {
    match mask.element_type() {
        ElementType::Bool => {
            mask.to_f64().iter().map(|&kept| if kept == 0.0 { f64::NEG_INFINITY } else { 0.0 }).collect()
        }
        _ => mask.to_f64(),
    }
}

/// The outputs of one run.
pub(super) fn evaluate(attention: &Attention, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
    let facts: Vec<_> = (0..inputs.len())
        .map(|i| inputs.optional(i).map(|t| Fact::new(t.element_type(), t.shape().to_vec())))
        .collect();
    let facts = attention.infer(&facts.iter().map(Option::as_ref).collect::<Vec<_>>())?;
    let (q, k, v) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.tensor(2)?);
    let s = attention.sizes([q.shape(), k.shape(), v.shape()])?;
    let kv = s.heads / s.group;
    let element_type = q.element_type();
    let q_values = q.to_f64();
    // Keys and values with those so far before them, [batch, heads, length, size].
    let past = inputs.optional(PAST_KEY).map_or(0, |past| past.shape().get(2).copied().unwrap_or(0));
    let keys = past + s.keys;
    let present = |now: &Tensor, index: usize, size: usize| -> Result<Vec<f64>, EvaluateError> {
        let now = now.to_f64();
        let before = match inputs.optional(index) {
            Some(t) if t.shape() == [s.batch, kv, past, size] => t.to_f64(),
            None if past == 0 => vec![],
            _ => return Err(ShapeError::new("the keys and values so far do not fit").into()),
        };
        let [batch_step, head_step, row_step] = s.steps(kv, s.keys, size);
        let mut all = Vec::with_capacity(s.batch * kv * keys * size);
        for (b, h) in (0..s.batch).flat_map(|b| (0..kv).map(move |h| (b, h))) {
            all.extend_from_slice(&before[(b * kv + h) * past * size..][..past * size]);
            for row in 0..s.keys {
                all.extend_from_slice(&now[b * batch_step + h * head_step + row * row_step..][..size]);
            }
        }
        Ok(all)
    };
    let (k_values, v_values) = (present(k, PAST_KEY, s.d)?, present(v, PAST_VALUE, s.v)?);
    let mask = match inputs.optional(MASK) {
        None => None,
        Some(mask) => {
            // A mask that is shorter than the keys hides the rest.
            let length = mask.shape().last().copied().unwrap_or(1);
            let covered = if length == 1 { keys } else { length };
            let to = [s.batch, s.heads, s.queries, covered];
            if covered > keys || crate::tensor::shape::broadcast(mask.shape(), &to).as_deref() != Some(&to[..]) {
                return Err(ShapeError::new(format!("the mask is {mask:?}, which does not broadcast to {to:?}")).into());
            }
            Some((summands(mask), broadcast_strides(mask.shape(), &to), covered))
        }
    };
    let valid = match inputs.optional(VALID) {
        Some(valid) if valid.len() == s.batch => inputs.integers(VALID)?,
        Some(_) => return Err(ShapeError::new("there is not one number of valid keys for each batch").into()),
        None => None,
    };
    let (scale, softcap) = (attention.scale(s.d), f64::from(attention.softcap));
    let [q_batch, q_head, q_row] = s.steps(s.heads, s.queries, s.d);
    let [y_batch, y_head, y_row] = s.steps(s.heads, s.queries, s.v);
    let mut y = vec![0.0; s.batch * s.heads * s.queries * s.v];
    let mut asked = Vec::with_capacity(if facts.len() > 3 { s.batch * s.heads * s.queries * keys } else { 0 });
    for (b, h) in (0..s.batch).flat_map(|b| (0..s.heads).map(move |h| (b, h))) {
        let head = (b * kv + h / s.group) * keys;
        for i in 0..s.queries {
            let query = &q_values[b * q_batch + h * q_head + i * q_row..][..s.d];
            // Where the query's own place is among the keys.
            let place = match &valid {
                Some(valid) => valid[b].saturating_sub(s.queries as i64).saturating_add(i as i64),
                None => (past + i) as i64,
            };
            let score = |j: usize| {
                let hidden =
                    (attention.causal && j as i64 > place) || valid.as_ref().is_some_and(|valid| j as i64 >= valid[b]);
                let bias = match &mask {
                    _ if hidden => f64::NEG_INFINITY,
                    None => 0.0,
                    Some((_, _, covered)) if j >= *covered => f64::NEG_INFINITY,
                    Some((mask, step, _)) => mask[b * step[0] + h * step[1] + i * step[2] + j * step[3]],
                };
                if bias == f64::NEG_INFINITY {
                    return bias;
                }
                let dot: f64 = query.iter().zip(&k_values[(head + j) * s.d..]).map(|(a, b)| a * b).sum();
                let capped = if softcap > 0.0 { softcap * (dot * scale / softcap).tanh() } else { dot * scale };
                capped + bias
            };
            let scores: Vec<f64> = (0..keys).map(score).collect();
            match attention.scores {
                _ if facts.len() <= 3 => {}
                Scores::Products => {
                    asked.extend((0..keys).map(|j| {
                        query.iter().zip(&k_values[(head + j) * s.d..]).map(|(a, b)| a * b).sum::<f64>() * scale
                    }))
                }
                Scores::Masked | Scores::Capped => asked.extend_from_slice(&scores),
                Scores::Weights => {}
            }
            let weigh = attention.scores == Scores::Weights && facts.len() > 3;
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if largest == f64::NEG_INFINITY {
                asked.extend(scores.iter().filter(|_| weigh).map(|_| 0.0));
                continue;
            }
            let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
            let total: f64 = weights.iter().sum();
            asked.extend(weights.iter().filter(|_| weigh).map(|weight| weight / total));
            let out = &mut y[b * y_batch + h * y_head + i * y_row..][..s.v];
            for (j, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
                for (out, value) in out.iter_mut().zip(&v_values[(head + j) * s.v..]) {
                    *out += weight / total * value;
                }
            }
        }
    }
    let shape = |i: usize| {
        let shape: Option<Vec<usize>> = facts.get(i)?.concrete();
        shape
    };
    let mut outputs = vec![];
    for (i, data) in [y, k_values, v_values, asked].into_iter().enumerate().take(facts.len()) {
        let shape = shape(i).ok_or_else(|| ShapeError::new("a shape overflows"))?;
        outputs.push(Tensor::from_f64(element_type, shape, data)?.into());
    }
    Ok(outputs)
}
