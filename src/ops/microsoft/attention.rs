//! MultiHeadAttention, Attention and RotaryEmbedding of com.microsoft.

use std::sync::Arc;

use super::{Composite, Recipe, heads, needed, optional, wrong};
use crate::graph::{Definition, DefinitionError, Dim, Operator, ShapeError, Unsupported, ValueId};

/// Makes one of them.
pub(in crate::ops) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let build = match d.op_type.as_str() {
        "MultiHeadAttention" => multi_head,
        "Attention" => packed,
        _ => rotary,
    };
    Ok(Arc::new(Composite::new(d, build)))
}

fn unsupported(message: &str) -> ShapeError {
    ShapeError::unsupported(Unsupported::Form, message)
}

/// What a head attends with.
struct Heads {
    query: ValueId,
    key: ValueId,
    value: ValueId,
    /// Which keys are seen: for each batch, or batch and query, a number that is not 0; or how many keys are.
    seen: Option<ValueId>,
    /// What is added to the scores.
    bias: Option<ValueId>,
    past: Option<[ValueId; 2]>,
}

/// The standard's Attention of these, `[batch, heads, length, size]`: the result, and the keys and values so far.
fn attend(d: &Definition, recipe: &mut Recipe, heads: Heads) -> Result<[ValueId; 3], ShapeError> {
    let float = |name| d.float(name).map_err(|e| wrong(&e));
    let hidden = float("mask_filter_value")?.unwrap_or(-10_000.0);
    let mut bias = heads.bias;
    if let Some(seen) = heads.seen {
        let seen = shown(recipe, seen, &heads)?;
        // What is not seen counts next to nothing, rather than nothing, as in ONNX Runtime.
        let seen = recipe.cast_like(seen, heads.query)?;
        let [one, low] = [1.0, f64::from(hidden)].map(|n| recipe.number(heads.query, n));
        let unseen = recipe.apply("Sub", &[one?, seen])?;
        let low = recipe.apply("Mul", &[unseen, low?])?;
        bias = Some(match bias {
            Some(bias) => recipe.apply("Add", &[low, bias])?,
            None => low,
        });
    }
    let mut own = Definition { outputs: 3, ..Definition::new("Attention") };
    own = own.attribute("is_causal", d.int("unidirectional").map_err(|e| wrong(&e))?.unwrap_or(0));
    if let Some(scale) = float("scale")?.filter(|&scale| scale != 0.0) {
        own = own.attribute("scale", scale);
    }
    let [past_key, past_value] = heads.past.map_or([None, None], |past| past.map(Some));
    let inputs = [Some(heads.query), Some(heads.key), Some(heads.value), bias, past_key, past_value];
    let given = recipe.outputs(own, &inputs)?;
    Ok([given[0], given[1], given[2]])
}

/// A mask `[batch, 1, queries or 1, keys]` of numbers: those of `[batch, keys]` or `[batch, queries, keys]`, or 1 before so
/// many keys, `[batch]`.
fn shown(recipe: &mut Recipe, mask: ValueId, heads: &Heads) -> Result<ValueId, ShapeError> {
    match recipe.rank(mask)? {
        1 => {
            if let (Some(n), Some(batch)) = (recipe.dim(mask, 0)?.known(), recipe.dim(heads.query, 0)?.known())
                && n != batch
            {
                return Err(unsupported("a mask of starts and ends is not supported"));
            }
            let keys = length(recipe, heads)?;
            let [zero, one] = [0i64, 1].map(|n| recipe.constant(crate::tensor::Tensor::scalar(n)));
            let places = recipe.apply("Range", &[zero, keys, one])?;
            let counts = recipe.node(Definition::new("Cast").attribute("to", 7), &[mask])?;
            let counts = recipe.reshape(counts, [-1, 1, 1, 1])?;
            recipe.apply("Less", &[places, counts])
        }
        2 => {
            let axes = recipe.integers([1, 2]);
            recipe.apply("Unsqueeze", &[mask, axes])
        }
        3 => {
            let axes = recipe.integers([1]);
            recipe.apply("Unsqueeze", &[mask, axes])
        }
        4 => Ok(mask),
        rank => Err(unsupported(&format!("a mask of rank {rank} is not supported"))),
    }
}

/// The number of keys, those so far counted, a single 64-bit integer.
fn length(recipe: &mut Recipe, heads: &Heads) -> Result<ValueId, ShapeError> {
    let at = recipe.constant(crate::tensor::Tensor::scalar(2i64));
    let shape = recipe.apply("Shape", &[heads.key])?;
    let own = recipe.apply("Gather", &[shape, at])?;
    let Some([past, _]) = heads.past else { return Ok(own) };
    let shape = recipe.apply("Shape", &[past])?;
    let before = recipe.apply("Gather", &[shape, at])?;
    recipe.apply("Add", &[own, before])
}

/// `[batch, length, heads · size]` as `[batch, heads, length, size]`.
pub(super) fn apart(recipe: &mut Recipe, x: ValueId, heads: i64) -> Result<ValueId, ShapeError> {
    let fact = recipe.fact(x)?;
    let uneven = fact.shape.last().and_then(Dim::known).is_some_and(|n| n % heads != 0);
    if fact.rank() != 3 || uneven {
        return Err(ShapeError::new(format!("{fact} does not consist of {heads} heads")));
    }
    let x = recipe.reshape(x, [0, 0, heads, -1])?;
    recipe.transpose(x, [0, 2, 1, 3])
}

/// `[batch, heads, length, size]` as `[batch, length, heads · size]`.
pub(super) fn together(recipe: &mut Recipe, x: ValueId) -> Result<ValueId, ShapeError> {
    let x = recipe.transpose(x, [0, 2, 1, 3])?;
    recipe.reshape(x, [0, 0, -1])
}

/// Inputs: queries, keys, values, their biases, which keys are seen, what is added to the scores, keys and values so far.
/// Outputs: the result `[batch, length, heads · size]`, and the keys and values so far.
fn multi_head(
    d: &Definition,
    recipe: &mut Recipe,
    inputs: &[Option<ValueId>],
) -> Result<Vec<Option<ValueId>>, ShapeError> {
    let n = heads(d, "num_heads")?;
    if (8..inputs.len()).any(|i| optional(inputs, i).is_some()) || d.outputs > 3 {
        return Err(unsupported("a cache that is shared, and scores as an output, are not supported"));
    }
    let (query, mut key, mut value) = (needed(inputs, 0)?, optional(inputs, 1), optional(inputs, 2));
    let mut parts = vec![];
    // [batch, length, heads, 2 or 3, size]: all, or keys and values, one beside the other.
    let mut unpack = |recipe: &mut Recipe, x: ValueId, count: i64| -> Result<(), ShapeError> {
        for i in 0..count {
            let at = recipe.constant(crate::tensor::Tensor::scalar(i));
            let part = recipe.node(Definition::new("Gather").attribute("axis", 3), &[x, at])?;
            parts.push(recipe.reshape(part, [0, 0, -1])?);
        }
        Ok(())
    };
    match (recipe.rank(query)?, key) {
        (5, None) => unpack(recipe, query, 3)?,
        (3, Some(packed)) if value.is_none() && recipe.rank(packed)? == 5 => unpack(recipe, packed, 2)?,
        _ => {}
    }
    let query = if parts.len() == 3 { parts.remove(0) } else { query };
    if let [own_key, own_value] = parts[..] {
        (key, value) = (Some(own_key), Some(own_value));
    }
    let (Some(key), Some(value)) = (key, value) else { return Err(ShapeError::new("its keys or values are missing")) };
    let mut all = [query, key, value];
    if let Some(bias) = optional(inputs, 3) {
        let mut from = 0;
        let size = |recipe: &Recipe, x: ValueId| -> Result<i64, ShapeError> {
            let fact = recipe.fact(x)?;
            let dims: Option<Vec<i64>> = match fact.rank() {
                4 => [1, 3].iter().map(|&i| fact.shape[i].known()).collect(),
                _ => fact.shape.last().map(Dim::known).into_iter().collect(),
            };
            dims.map(|dims| dims.iter().fold(1i64, |n, &dim| n.saturating_mul(dim)))
                .ok_or_else(|| ShapeError::new("the size of its heads is not known"))
        };
        for x in &mut all {
            let to = size(recipe, *x)?.saturating_add(from);
            if recipe.rank(*x)? == 3 {
                let part = recipe.slice(bias, 0, from, to)?;
                *x = recipe.apply("Add", &[*x, part])?;
            }
            from = to;
        }
    }
    for x in &mut all {
        if recipe.rank(*x)? != 4 {
            *x = apart(recipe, *x, n)?;
        }
    }
    let past = optional(inputs, 6).zip(optional(inputs, 7)).map(|(key, value)| [key, value]);
    let [query, key, value] = all;
    let own = Heads { query, key, value, seen: optional(inputs, 4), bias: optional(inputs, 5), past };
    let [y, key, value] = attend(d, recipe, own)?;
    Ok(vec![Some(together(recipe, y)?), Some(key), Some(value)])
}

/// Inputs: x, the weights and biases of queries, keys and values one beside the other, a mask, keys and values so far, and
/// what is added to the scores. Outputs: the result, and keys and values so far, one before the other.
fn packed(d: &Definition, recipe: &mut Recipe, inputs: &[Option<ValueId>]) -> Result<Vec<Option<ValueId>>, ShapeError> {
    let n = heads(d, "num_heads")?;
    let rotates = d.flag("do_rotary", false).map_err(|e| wrong(&e))?;
    if rotates || optional(inputs, 6).is_some() {
        return Err(unsupported("rotation, and a cache that is shared, are not supported"));
    }
    let (x, weights) = (needed(inputs, 0)?, needed(inputs, 1)?);
    let mut all = recipe.apply("MatMul", &[x, weights])?;
    if let Some(bias) = optional(inputs, 2) {
        all = recipe.apply("Add", &[all, bias])?;
    }
    let sizes = match d.ints("qkv_hidden_sizes").map_err(|e| wrong(&e))? {
        Some(sizes) if sizes.len() == 3 => sizes,
        Some(_) => return Err(ShapeError::new("attribute 'qkv_hidden_sizes' has three numbers")),
        None => {
            let width = recipe.dim(weights, 1)?.known().ok_or_else(|| ShapeError::new("its size is not known"))?;
            vec![width / 3; 3]
        }
    };
    let mut parts = vec![];
    let mut from = 0i64;
    for size in sizes {
        let to = from.saturating_add(size);
        let part = recipe.slice(all, 2, from, to)?;
        parts.push(apart(recipe, part, n)?);
        from = to;
    }
    let past = match optional(inputs, 4) {
        None => None,
        Some(past) => {
            let mut take = |i: i64| {
                let at = recipe.constant(crate::tensor::Tensor::scalar(i));
                recipe.node(Definition::new("Gather").attribute("axis", 0), &[past, at])
            };
            Some([take(0)?, take(1)?])
        }
    };
    let [query, key, value] = parts[..] else { return Err(ShapeError::new("its parts are not three")) };
    let own = Heads { query, key, value, seen: optional(inputs, 3), bias: optional(inputs, 5), past };
    let [y, key, value] = attend(d, recipe, own)?;
    let present = if d.outputs > 1 {
        let axes = recipe.integers([0]);
        let [key, value] = [key, value].map(|x| recipe.apply("Unsqueeze", &[x, axes]));
        Some(recipe.node(Definition::new("Concat").attribute("axis", 0), &[key?, value?])?)
    } else {
        None
    };
    Ok(vec![Some(together(recipe, y)?), present])
}

/// Inputs: x, the places (of each batch and row, or of the first row), tables of cosines and sines.
fn rotary(d: &Definition, recipe: &mut Recipe, inputs: &[Option<ValueId>]) -> Result<Vec<Option<ValueId>>, ShapeError> {
    let (x, places) = (needed(inputs, 0)?, needed(inputs, 1)?);
    let tables = [needed(inputs, 2)?, needed(inputs, 3)?];
    let int = |name| d.int(name).map_err(|e| wrong(&e)).map(|n| n.unwrap_or(0));
    let float = |name| d.float(name).map_err(|e| wrong(&e));
    if float("scale")?.is_some_and(|scale| scale != 1.0) || int("is_packed_batching")? != 0 {
        return Err(unsupported("scaled or packed rotation is not supported"));
    }
    let rotated = int("rotary_embedding_dim")?;
    let mut count = int("num_heads")?;
    if recipe.rank(x)? == 3 && count == 0 {
        // The tables tell how large a head is.
        let (width, half) = (recipe.dim(x, 2)?.known(), recipe.dim(tables[0], 1)?.known());
        count = width.zip(half).filter(|(_, half)| *half > 0).map_or(0, |(width, half)| width / half / 2);
    }
    let places = if recipe.rank(places)? == 2 { places } else { from_first(recipe, x, places)? };
    Ok(vec![Some(rotate(d, recipe, x, places, tables, [count, rotated])?)])
}

/// The standard's rotation at these places.
pub(super) fn rotate(
    d: &Definition,
    recipe: &mut Recipe,
    x: ValueId,
    places: ValueId,
    tables: [ValueId; 2],
    [heads, rotated]: [i64; 2],
) -> Result<ValueId, ShapeError> {
    let name = if d.op_type == "RotaryEmbedding" { "interleaved" } else { "rotary_interleaved" };
    let own = Definition::new("RotaryEmbedding")
        .attribute("interleaved", d.int(name).map_err(|e| wrong(&e))?.unwrap_or(0))
        .attribute("num_heads", heads)
        .attribute("rotary_embedding_dim", rotated);
    recipe.node(own, &[x, tables[0], tables[1], places])
}

/// The places of all rows, `[batch, length]`, from that of the first.
fn from_first(recipe: &mut Recipe, x: ValueId, first: ValueId) -> Result<ValueId, ShapeError> {
    let axis = if recipe.rank(x)? == 4 { 2 } else { 1 };
    let shape = recipe.apply("Shape", &[x])?;
    let at = recipe.integers([0, axis]);
    let to = recipe.apply("Gather", &[shape, at])?;
    let axis = recipe.constant(crate::tensor::Tensor::scalar(axis));
    let length = recipe.apply("Gather", &[shape, axis])?;
    let [zero, one] = [0i64, 1].map(|n| recipe.constant(crate::tensor::Tensor::scalar(n)));
    let range = recipe.apply("Range", &[zero, length, one])?;
    let first = recipe.node(Definition::new("Cast").attribute("to", 7), &[first])?;
    let places = recipe.apply("Add", &[range, first])?;
    recipe.apply("Expand", &[places, to])
}
