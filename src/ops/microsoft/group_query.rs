//! GroupQueryAttention of com.microsoft: attention with a cache of keys and values, rotated on the way in.
//!
//! The cache is a buffer into which new keys are written behind those that are valid, or grows with them: it is as long as
//! the longer of the past and the total length.

use std::sync::Arc;

use super::attention::{apart, rotate, together};
use super::{Recipe, heads, needed, optional, wrong};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Graph, Inputs, Operator, Reads, ShapeError,
    Unsupported, Value, ValueId,
};
use crate::ops::composite;
use crate::tensor::Tensor;

/// Inputs by their places.
const KEY: usize = 1;
const PAST_KEY: usize = 3;
const LENGTHS: usize = 5;
const TOTAL: usize = 6;
const COSINES: usize = 7;
const PLACES: usize = 9;
const BIAS: usize = 10;
const SINK: usize = 11;

/// Attention of groups of heads.
#[derive(Debug, Clone)]
pub struct GroupQueryAttention {
    definition: Definition,
    heads: i64,
    kv_heads: i64,
    /// How far before its own place a query sees; 0 for all.
    window: i64,
}

/// Makes a GroupQueryAttention.
pub(in crate::ops) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let refuse = |message: &str| Err(DefinitionError::Unsupported(message.to_owned()));
    let count = |name| heads(d, name).map_err(|e| DefinitionError::Value(name, e.message));
    let (heads, kv_heads) = (count("num_heads")?, count("kv_num_heads")?);
    if heads % kv_heads != 0 {
        return Err(DefinitionError::Value("kv_num_heads", format!("is {kv_heads}, which does not divide {heads}")));
    }
    let quantized = ["k_quant_type", "v_quant_type"]
        .iter()
        .any(|&name| d.string(name).ok().flatten().is_some_and(|kind| !kind.is_empty() && kind != "NONE"));
    if d.int("smooth_softmax")?.unwrap_or(0) > 0 || quantized || d.outputs > 3 {
        return refuse("smooth softmax, quantized caches, and scores as an output are not supported");
    }
    let window = d.int("local_window_size")?.unwrap_or(-1).max(0);
    Ok(Arc::new(GroupQueryAttention { definition: d.clone(), heads, kv_heads, window }))
}

impl GroupQueryAttention {
    /// How long the cache is, from the past and the total length; `None` where that is not known.
    fn cache(past: Option<&Fact>, total: Option<&Fact>, new: Option<&Dim>) -> Option<i64> {
        let total = total.and_then(|fact| fact.constant.as_ref()).and_then(Tensor::integers);
        let total = total.and_then(|numbers| numbers.first().copied());
        match past.map(|fact| fact.shape.get(2).and_then(Dim::known)) {
            // Without a past, all keys are new.
            None | Some(Some(0)) => total.or_else(|| new.and_then(Dim::known)),
            Some(Some(past)) => total.map(|total| total.max(past)),
            Some(None) => None,
        }
    }

    fn build(
        &self,
        recipe: &mut Recipe,
        inputs: &[Option<ValueId>],
    ) -> Result<Option<Vec<Option<ValueId>>>, ShapeError> {
        let d = &self.definition;
        let query = needed(inputs, 0)?;
        let fact = |recipe: &Recipe, i: usize| optional(inputs, i).and_then(|id| recipe.fact(id).ok().cloned());
        let length = recipe.dim(query, 1)?;
        let (past, total) = (fact(recipe, PAST_KEY), fact(recipe, TOTAL));
        let Some(cache) = Self::cache(past.as_ref(), total.as_ref(), Some(&length)) else { return Ok(None) };
        let (Some(new), Some(width)) = (length.known(), recipe.dim(query, 2)?.known()) else { return Ok(None) };
        if recipe.dim(query, 0)?.known().is_none() {
            return Ok(None);
        }
        if optional(inputs, SINK).is_some() || cache > 1 << 24 || cache < new {
            return Err(ShapeError::unsupported(Unsupported::Form, "such a cache is not supported"));
        }
        let (query, key, value) = match optional(inputs, KEY) {
            Some(key) => (query, key, needed(inputs, 2)?),
            None => {
                let size = width / (self.heads + 2 * self.kv_heads);
                let (q, k) = (self.heads * size, (self.heads + self.kv_heads) * size);
                (recipe.slice(query, 2, 0, q)?, recipe.slice(query, 2, q, k)?, recipe.slice(query, 2, k, width)?)
            }
        };
        let mut query = apart(recipe, query, self.heads)?;
        let mut keys = apart(recipe, key, self.kv_heads)?;
        let value = apart(recipe, value, self.kv_heads)?;

        // Where the first new key is written: behind those that are valid. Of a first run with padding that is 0.
        let lengths = recipe.node(Definition::new("Cast").attribute("to", 7), &[needed(inputs, LENGTHS)?])?;
        let lengths = recipe.reshape(lengths, [-1])?;
        let [before, zero] = [new - 1, 0].map(|n| recipe.integers([n]));
        let starts = recipe.apply("Sub", &[lengths, before])?;
        let starts = recipe.apply("Max", &[starts, zero])?;
        let own = recipe.integers((0..new).collect::<Vec<_>>());
        let columns = recipe.reshape(starts, [-1, 1])?;
        // The place of each query, [batch, length].
        let places = recipe.apply("Add", &[columns, own])?;
        if d.flag("do_rotary", false).map_err(|e| wrong(&e))? {
            let tables = [needed(inputs, COSINES)?, needed(inputs, COSINES + 1)?];
            let at = optional(inputs, PLACES).unwrap_or(places);
            // A head of which only a part is rotated has shorter tables.
            let rotated = recipe.dim(tables[0], 1)?.known().map_or(0, |half| half.saturating_mul(2));
            query = rotate(d, recipe, query, at, tables, [0, rotated])?;
            keys = rotate(d, recipe, keys, at, tables, [0, rotated])?;
        }
        let mut caches = vec![];
        for (x, past) in [(keys, optional(inputs, PAST_KEY)), (value, optional(inputs, PAST_KEY + 1))] {
            let had = past.map(|past| recipe.dim(past, 2)).transpose()?.and_then(|dim| dim.known()).unwrap_or(0);
            let buffer = if had == 0 { x } else { past.unwrap_or(x) };
            let had = if had == 0 { new } else { had };
            let pads = recipe.integers([0, 0, 0, 0, 0, 0, cache - had, 0]);
            let buffer = if cache > had { recipe.apply("Pad", &[buffer, pads])? } else { buffer };
            caches.push(recipe.node(Definition::new("TensorScatter"), &[buffer, x, starts])?);
        }
        // A query sees what is not behind its own place, which is counted from the end of the new keys, nor too far before.
        let count = recipe.integers([new]);
        let ends = recipe.apply("Add", &[starts, count])?;
        let mut mask = optional(inputs, BIAS);
        if self.window > 0 {
            let all = recipe.integers((0..cache).collect::<Vec<_>>());
            let rows = recipe.reshape(places, [0, 1, -1, 1])?;
            let window = recipe.integers([self.window]);
            let first = recipe.apply("Sub", &[rows, window])?;
            let near = recipe.apply("Greater", &[all, first])?;
            mask = Some(match mask {
                Some(bias) => {
                    let lowest = recipe.number(bias, f64::NEG_INFINITY)?;
                    let covered = recipe.dim(bias, 3)?.known().unwrap_or(cache);
                    let pads = recipe.integers([0, 0, 0, 0, 0, 0, 0, cache.saturating_sub(covered).max(0)]);
                    let bias = recipe.apply("Pad", &[bias, pads])?;
                    recipe.apply("Where", &[near, bias, lowest])?
                }
                None => near,
            });
        }
        let float = |name| d.float(name).map_err(|e| wrong(&e));
        let mut own = Definition::new("Attention").attribute("softcap", float("softcap")?.unwrap_or(0.0));
        own = own.attribute("is_causal", 1);
        if let Some(scale) = float("scale")?.filter(|&scale| scale != 0.0) {
            own = own.attribute("scale", scale);
        }
        let own_inputs = [Some(query), Some(caches[0]), Some(caches[1]), mask, None, None, Some(ends)];
        let y = recipe.outputs(own, &own_inputs)?[0];
        Ok(Some(vec![Some(together(recipe, y)?), Some(caches[0]), Some(caches[1])]))
    }

    fn graph(&self, inputs: &[Option<&Fact>]) -> Result<Option<Graph>, ShapeError> {
        composite::graph(inputs, self.definition.outputs, |recipe, ids| self.build(recipe, ids))
    }
}

impl Operator for GroupQueryAttention {
    fn name(&self) -> &str {
        "GroupQueryAttention"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        if let Some(graph) = self.graph(inputs)? {
            return Ok(graph.outputs.iter().map_while(|&id| graph.fact(id).cloned()).collect());
        }
        let query = Fact::at(inputs, 0)?;
        let [batch, length, width] = &query.shape[..] else {
            return Err(ShapeError::new(format!("its queries {query} are not of three dimensions")));
        };
        let all = if Fact::optional(inputs, KEY).is_some() { self.heads } else { self.heads + 2 * self.kv_heads };
        let size = width.floor_div(&Dim::Known(all));
        let past = Fact::optional(inputs, PAST_KEY);
        let cache = Self::cache(past, Fact::optional(inputs, TOTAL), Some(length)).map_or(Dim::Unknown, Dim::Known);
        let present = query.with_shape(vec![batch.clone(), Dim::Known(self.kv_heads), cache, size.clone()]);
        let y = query.with_shape(vec![batch.clone(), length.clone(), Dim::Known(self.heads).mul(&size)]);
        let mut outputs = vec![y, present.clone(), present];
        outputs.truncate(self.definition.outputs.max(1));
        Ok(outputs)
    }

    fn evaluate(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let facts: Vec<_> = (0..inputs.len()).map(|i| inputs.optional(i).map(|t| Fact::constant(t.clone()))).collect();
        let graph = self.graph(&facts.iter().map(Option::as_ref).collect::<Vec<_>>())?;
        let graph = graph.ok_or_else(|| ShapeError::new("its total length is no number"))?;
        composite::evaluate(&graph, context, inputs)
    }

    /// The total length decides how long the cache is.
    fn reads(&self, input: usize) -> Reads {
        if input == TOTAL { Reads::Parameter } else { Reads::Elements }
    }

    fn expansion(&self, inputs: &[Option<&Fact>]) -> Result<Option<Graph>, ShapeError> {
        self.graph(inputs)
    }
}
