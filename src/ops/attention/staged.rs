//! Attention on a GPU, step by step: for every form that the kernels for all of it at once do not take.
//!
//! Keys and values so far are joined with the new ones, then come the scores, their masks, the weights and their sums. The
//! scores lie in memory, rows padded to whole units; one of the steps may be an output too.

use super::append::{Operand, joined};
use super::fused::Rows;
use super::{Attention, MASK, Scores, Sizes, VALID};
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Storage, Want};
use crate::ops::contraction::{Axis, Contraction, Place};
use crate::tensor::ElementType;
use crate::tensor::shape::{broadcast_strides, elements};

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;

struct Stages<'a> {
    attention: &'a Attention,
    request: &'a Request<'a>,
    s: Sizes,
    past: usize,
    candidate: Candidate,
}

/// The way to run it.
pub(super) fn candidates(attention: &Attention, request: &Request<'_>, s: Sizes, past: usize) -> Candidates {
    // No step, and no product of sizes, is larger than this one.
    let (length, size) = (s.queries.max(past.saturating_add(s.keys)), s.d.max(s.v));
    let all = [s.batch, s.heads, length, size].map(|n| n.max(1));
    elements(&all).filter(|&n| i32::try_from(n).is_ok()).ok_or("it is larger than a shader can count")?;
    let mut outputs = vec![Layout::Linear; request.outputs.len()];
    if let Some(scores) = outputs.get_mut(3) {
        *scores = Layout::Rows.canonical(&request.output_shape(3)?);
    }
    let candidate = Candidate::new("steps", vec![Want::In(Layout::Linear); request.inputs.len()], outputs);
    let all = Stages { attention, request, s, past, candidate }.run()?;
    // Slower than the kernels that keep scores to themselves.
    let work = 2.0 * [s.batch, s.heads, s.queries, past + s.keys, s.d + s.v].iter().map(|&n| n as f64).product::<f64>();
    Ok(vec![all.cost(40.0 * work, 0.0)])
}

impl Stages<'_> {
    const fn keys(&self) -> usize {
        self.past + self.s.keys
    }

    fn scratch(&mut self, units: usize, storage: Storage) -> Place {
        self.candidate.scratch.push((units.max(1) as u64, storage));
        (Binding::Scratch(self.candidate.scratch.len() - 1), storage)
    }

    fn input(&self, index: usize) -> Result<Place, String> {
        Ok((Binding::Input(index), self.request.storage(index)?))
    }

    fn output(&self, index: usize) -> Result<Place, String> {
        Ok((Binding::Output(index), self.request.output_storage(index)?))
    }

    fn run(mut self) -> Result<Candidate, String> {
        let s = self.s;
        let keys = self.keys();
        let rows = elements(&[s.batch, s.heads, s.queries]).ok_or("it is too large")?;
        let row_units = keys.div_ceil(4);
        let scores = rows.checked_mul(row_units).filter(|n| n.checked_mul(4).is_some_and(|n| u32::try_from(n).is_ok()));
        let scores = scores.ok_or("it has more scores than a shader can count")?;
        let k = self.joined(1, s.d)?;
        let v = self.joined(2, s.v)?;
        if rows == 0 {
            return Ok(self.candidate);
        }
        if keys == 0 || s.d == 0 {
            return Err("there is nothing to attend to".to_owned());
        }
        let asked = if self.attention.outputs > 3 { Some(self.attention.scores) } else { None };
        let given = match asked {
            Some(_) => Some(self.output(3)?),
            None => None,
        };
        let store = |own: Scores| given.clone().filter(|_| asked == Some(own));
        let mut so_far = self.scratch(scores, Storage::F32);
        for to in std::iter::once(so_far.clone()).chain(store(Scores::Products)) {
            self.products(&k, to)?;
        }
        if let Some(to) = store(Scores::Masked).or_else(|| store(Scores::Capped)) {
            // Where nothing masks and nothing caps, the kernel copies.
            self.mask(so_far.clone(), to, scores, row_units)?;
        }
        if self.masks() {
            let masked = self.scratch(scores, Storage::F32);
            self.mask(so_far, masked.clone(), scores, row_units)?;
            so_far = masked;
        }
        let weights = self.scratch(scores, Storage::F32);
        for to in std::iter::once(weights.clone()).chain(store(Scores::Weights)) {
            let dispatch = Dispatch::of(Kernel::of("attention/weights.wgsl").define("WORKGROUP", WORKGROUP))
                .bind(so_far.0.clone(), so_far.1)
                .bind(to.0, to.1)
                .param("rows", rows)
                .param("row_units", row_units)
                .param("keys", keys)
                .linear(rows as u64, WORKGROUP, self.request.device);
            self.candidate.dispatches.push(dispatch);
        }
        self.sums(&v, weights)?;
        Ok(self.candidate)
    }

    /// The keys (input 1) or values (input 2), behind those so far.
    fn joined(&mut self, input: usize, size: usize) -> Result<Operand, String> {
        let s = self.s;
        let steps = s.steps(s.heads / s.group, s.keys, size);
        let own = Operand { place: self.input(input)?, rows: Rows { base: 0, steps } };
        joined(self.attention, self.request, (s, self.past), input, own, &mut self.candidate)
    }

    /// `scale · Q × Kᵀ`.
    fn products(&mut self, k: &Operand, to: Place) -> Result<(), String> {
        let s = self.s;
        let q = s.steps(s.heads, s.queries, s.d);
        #[expect(clippy::cast_possible_truncation, reason = "a parameter is an f32")]
        let scale = self.attention.scale(s.d) as f32;
        let products = Contraction {
            kept: vec![
                Axis::new(s.batch, q[0], k.rows.steps[0]),
                Axis::new(s.heads / s.group, s.group * q[1], k.rows.steps[1]),
                Axis::new(s.group, q[1], 0),
                Axis::new(s.queries, q[2], 0),
                Axis::new(self.keys(), 0, k.rows.steps[2]),
            ],
            summed: vec![Axis::new(s.d, 1, 1)],
            scale: Some(scale),
            padded: true,
        };
        let dispatch = products.dispatch(self.input(0)?, Some(k.place.clone()), to, self.request.device)?;
        self.candidate.dispatches.extend(dispatch);
        Ok(())
    }

    /// Whether scores are changed before they become weights.
    fn masks(&self) -> bool {
        let given = [MASK, VALID].iter().any(|&i| self.request.optional(i).is_some());
        given || self.attention.causal || self.attention.softcap > 0.0
    }

    fn mask(&mut self, from: Place, to: Place, units: usize, row_units: usize) -> Result<(), String> {
        let (s, keys) = (self.s, self.keys());
        let mask = match self.request.optional(MASK) {
            None => None,
            Some(mask) => {
                let shape = self.request.shape(MASK)?;
                // A mask of one column is repeated; one that is shorter otherwise hides the rest.
                let covered = match shape.last() {
                    None | Some(1) => keys,
                    Some(&n) => n,
                };
                let to = [s.batch, s.heads, s.queries, covered];
                if covered > keys || crate::tensor::shape::broadcast(&shape, &to).as_deref() != Some(&to[..]) {
                    return Err("its mask does not fit its scores".to_owned());
                }
                if covered == 0 {
                    return Err("its mask is empty".to_owned());
                }
                Some((covered, broadcast_strides(&shape, &to), mask.fact.element_type == ElementType::Bool))
            }
        };
        let valid = self.request.optional(VALID).is_some();
        let kind = mask.as_ref().map_or(0, |(.., truth)| if *truth { 2 } else { 1 });
        let kernel = Kernel::of("attention/mask.wgsl")
            .define("WORKGROUP", WORKGROUP)
            .define("MASK", kind)
            .define("VALID", valid);
        let mut dispatch = Dispatch::of(kernel).bind(from.0, from.1);
        for (index, given) in [(MASK, mask.is_some()), (VALID, valid)] {
            if given {
                let storage =
                    if index == VALID { self.request.index_storage(index) } else { self.request.storage(index) };
                dispatch = dispatch.bind(Binding::Input(index), storage?);
            }
        }
        dispatch = dispatch
            .bind(to.0, to.1)
            .param("units", units)
            .param("row_units", row_units)
            .param("keys", keys)
            .param("queries", s.queries)
            .param("heads", s.heads)
            .param("softcap", self.attention.softcap)
            .param("causal", u32::from(self.attention.causal))
            .param("before", i32::try_from(self.past).map_err(|_| "it is too large")?);
        if let Some((covered, steps, _)) = mask {
            dispatch = dispatch.param("covered", covered);
            for (name, step) in ["mask_batch", "mask_head", "mask_row", "mask_column"].into_iter().zip(steps) {
                dispatch = dispatch.param(name, step);
            }
        }
        self.candidate.dispatches.push(dispatch.linear(units as u64, WORKGROUP, self.request.device));
        Ok(())
    }

    /// `weights × V`.
    fn sums(&mut self, v: &Operand, weights: Place) -> Result<(), String> {
        let s = self.s;
        let pitch = self.keys().next_multiple_of(4);
        let (queries, heads) = (
            vec![Axis::new(s.queries, pitch, 0)],
            vec![
                Axis::new(s.heads / s.group, s.group * s.queries * pitch, v.rows.steps[1]),
                Axis::new(s.group, s.queries * pitch, 0),
            ],
        );
        let batch = vec![Axis::new(s.batch, s.heads * s.queries * pitch, v.rows.steps[0])];
        let inner = vec![Axis::new(s.v, 0, 1)];
        let sums = Contraction {
            kept: if s.flat {
                [batch, queries, heads, inner].concat()
            } else {
                [batch, heads, queries, inner].concat()
            },
            summed: vec![Axis::new(self.keys(), 1, v.rows.steps[2])],
            scale: None,
            padded: false,
        };
        let dispatch = sums.dispatch(weights, Some(v.place.clone()), self.output(0)?, self.request.device)?;
        self.candidate.dispatches.extend(dispatch);
        Ok(())
    }
}
