//! Attention as fused nodes have it: the scores of some queries of one head at a time, which stay in the cache.

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::product::{Addend, Output, Tile, multiply};
use super::simd::dispatch;
use super::softmax::row;
use super::tasks;
use crate::graph::{Activation, EvaluateError, Fact};
use crate::ops::attention::fused::Fused;
use crate::ops::attention::{MASK, VALID};
use crate::tensor::shape::broadcast_strides;
use crate::tensor::{ElementType, Tensor};

/// Queries of one task at most: keys and values are packed for each.
const QUERIES: usize = 240;

#[derive(Debug)]
struct Heads {
    fused: Fused,
    tile: Tile,
    /// The mask's steps of batches, heads, queries and keys, and whether it holds truth values.
    mask: Option<([usize; 4], bool)>,
}

/// The kernel of a fused attention.
pub(super) fn kernel(fused: &Fused, inputs: &[Option<&Fact>]) -> Option<Box<dyn Kernel>> {
    let fact = |i: usize| inputs.get(i).copied().flatten();
    let operands = if fused.packed { 1 } else { 3 };
    if (0..operands).any(|i| fact(i).is_none_or(|fact| fact.element_type != ElementType::F32)) {
        return None;
    }
    let [batch, heads, queries, keys, ..] = fused.sizes;
    let mask = match fact(MASK) {
        None => None,
        Some(mask) => {
            let truth = match mask.element_type {
                ElementType::F32 => false,
                ElementType::Bool => true,
                _ => return None,
            };
            let steps = broadcast_strides(&mask.concrete()?, &[batch, heads, queries, keys]);
            Some((<[usize; 4]>::try_from(steps).ok()?, truth))
        }
    };
    Some(Box::new(Heads { fused: fused.clone(), tile: Tile::of(queries), mask }))
}

/// Some queries of one head.
struct Part<'a, 'b> {
    batch: usize,
    head: usize,
    first: usize,
    rows: &'b mut [&'a mut [f32]],
}

/// What a mask holds.
#[derive(Clone, Copy)]
enum Mask<'a> {
    None,
    Added(&'a [f32]),
    Kept(&'a [u8]),
}

impl Kernel for Heads {
    fn products(&self) -> usize {
        2 * self.fused.sizes[3]
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let [batch, heads, queries, keys, d, v] = self.fused.sizes;
        let input = |i: usize| -> Result<&[f32], EvaluateError> {
            Ok(job.inputs.tensor(if self.fused.packed { 0 } else { i })?.as_slice::<f32>()?)
        };
        let operands = [input(0)?, input(1)?, input(2)?];
        let mask = match (self.mask, job.inputs.optional(MASK)) {
            (Some((_, true)), Some(mask)) => Mask::Kept(mask.bytes()),
            (Some(_), Some(mask)) => Mask::Added(Tensor::as_slice::<f32>(mask)?),
            _ => Mask::None,
        };
        let valid = job.inputs.integers(VALID)?;
        // The rows of the result, of every head its own.
        let mut rows: Vec<Vec<&mut [f32]>> = (0..batch * heads).map(|_| Vec::with_capacity(queries)).collect();
        for (i, row) in job.y.as_mut_slice::<f32>()?.chunks_exact_mut(v).enumerate() {
            let head = if self.fused.side_by_side { i / heads / queries * heads + i % heads } else { i / queries };
            rows[head].push(row);
        }
        let blocks = queries.div_ceil(QUERIES).max((job.threads.count() * 2).div_ceil(batch * heads));
        let step = queries.div_ceil(blocks).next_multiple_of(self.tile.rows);
        let parts: Vec<_> = rows
            .iter_mut()
            .enumerate()
            .flat_map(|(i, rows)| {
                let part = move |(block, rows)| Part { batch: i / heads, head: i % heads, first: block * step, rows };
                rows.chunks_mut(step).enumerate().map(part)
            })
            .collect();
        let tile = self.tile;
        let sizes = [tile.packed_b(d, keys), tile.packed_b(keys, v), tile.packed_a(step, d.max(keys)), step * keys];
        tasks::each(job.threads, parts, |part| {
            let valid = valid.as_ref().and_then(|ends| ends.get(part.batch).copied());
            job.scratch.with(sizes.iter().sum(), |memory| {
                let (k, memory) = memory.split_at_mut(sizes[0]);
                let (v, memory) = memory.split_at_mut(sizes[1]);
                let (packed, scores) = memory.split_at_mut(sizes[2]);
                dispatch(Work { heads: self, operands, mask, valid, part, memory: [k, v, packed, scores] });
            });
        });
        Ok(())
    }
}

/// Where products go.
fn plain<'a, 'b>(rows: &'a mut [&'b mut [f32]], scale: f32, addend: Option<Addend<'a>>) -> Output<'a, 'b> {
    Output { rows, scale, bias: None, addend, residual: None, activation: Activation::Identity }
}

struct Work<'a, 'b, 'c> {
    heads: &'a Heads,
    operands: [&'a [f32]; 3],
    mask: Mask<'a>,
    /// How many keys of the batch are valid, where that is said.
    valid: Option<i64>,
    part: Part<'b, 'c>,
    /// Keys, values and one operand at a time as the product takes them, and the scores.
    memory: [&'a mut [f32]; 4],
}

impl WithSimd for Work<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { heads: Heads { fused, tile, mask: steps }, operands, mask, valid, part, memory } = self;
        let [k, v, packed, scores] = memory;
        let [_, _, queries, keys, d, size] = fused.sizes;
        let places = fused.operands;
        let at = |i: usize, row: usize| {
            let [batch, head, step] = places[i].steps;
            let own = if i == 0 { part.head } else { part.head / fused.group };
            places[i].base + part.batch * batch + own * head + row * step
        };
        let count = part.rows.len();
        // What a query of these sees ends behind its own place, which is counted from the end of the valid keys.
        let keys = valid.map_or(keys, |valid| usize::try_from(valid).unwrap_or(0).min(keys));
        let ends = |i: usize| match valid {
            _ if !fused.causal => keys,
            Some(_) => keys.min((keys + part.first + i + 1).saturating_sub(queries)),
            None => keys.min(fused.before + part.first + i + 1),
        };
        // What no query of these sees need not be looked at.
        let seen = ends(count - 1);
        if seen == 0 {
            part.rows.iter_mut().for_each(|row| row.fill(0.0));
            return;
        }
        tile.pack_columns_of(d, seen, k, |j| &operands[1][at(1, j)..]);
        tile.pack_rows_of_a(count, d, packed, |i| &operands[0][at(0, part.first + i)..]);
        let scores = &mut scores[..count * seen];
        let mut rows: Vec<&mut [f32]> = scores.chunks_exact_mut(seen).collect();
        let steps = steps.map_or([0; 4], |(steps, _)| steps);
        let offset = part.batch * steps[0] + part.head * steps[1] + part.first * steps[2];
        let addend = match mask {
            Mask::Added(values) => Some(Addend { values, offset, row: steps[2], column: steps[3], factor: 1.0 }),
            _ => None,
        };
        multiply(simd, *tile, d, packed, k, &mut plain(&mut rows, fused.scale, addend));
        for (i, row_of_scores) in rows.iter_mut().enumerate() {
            if let Mask::Kept(truth) = mask {
                for (j, score) in row_of_scores.iter_mut().enumerate() {
                    if truth[offset + i * steps[2] + j * steps[3]] == 0 {
                        *score = f32::NEG_INFINITY;
                    }
                }
            }
            row_of_scores[ends(i)..].fill(f32::NEG_INFINITY);
            if row_of_scores.iter().all(|&score| score == f32::NEG_INFINITY) {
                // A query that sees no key gives 0.
                row_of_scores.fill(0.0);
            } else {
                row(simd, row_of_scores, false);
            }
        }
        tile.pack_rows_of(seen, size, v, |kk| &operands[2][at(2, kk)..][..size]);
        tile.pack_rows_of_a(count, seen, packed, |i| &*rows[i]);
        multiply(simd, *tile, seen, packed, v, &mut plain(part.rows, 1.0, None));
    }
}
