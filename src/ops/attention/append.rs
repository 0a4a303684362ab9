//! Rows of keys and values brought together: those so far with the new ones, and copies for kernels that want them elsewhere.

use super::fused::Rows;
use super::{Attention, PAST_KEY, Sizes};
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Dispatch, Kernel, Storage};
use crate::ops::contraction::Place;
use crate::tensor::shape::elements;

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;

/// The rows of q, k, v or the result: what they lie in, and where.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub place: Place,
    pub rows: Rows,
}

/// What `attention/append.wgsl` brings together.
pub(super) struct Append<'a> {
    pub x: &'a Operand,
    /// Rows before those of x, dense, and how many of them there are.
    pub past: Option<(Place, usize)>,
    /// Batches, heads and rows of x.
    pub counts: [usize; 3],
    /// Elements of a row, and those after which the next begins.
    pub size: usize,
    pub pitch: usize,
    /// What it is written to, from this unit on.
    pub to: Place,
    pub first: usize,
}

impl Append<'_> {
    /// Units that are written.
    pub fn units(&self) -> Result<usize, String> {
        let [batch, heads, rows] = self.counts;
        let before = self.past.as_ref().map_or(0, |(_, rows)| *rows);
        let elements = elements(&[batch, heads, before.saturating_add(rows), self.pitch]);
        let count = elements.filter(|&n| u32::try_from(n).is_ok());
        count.map(|n| n.div_ceil(4)).ok_or_else(|| "it has more keys than a shader can count".to_owned())
    }

    /// The dispatch, unless there is nothing to do.
    pub fn dispatch(self, request: &Request<'_>) -> Result<Option<Dispatch>, String> {
        let units = self.units()?;
        if units == 0 {
            return Ok(None);
        }
        let [batch, heads, rows] = self.counts;
        let before = self.past.as_ref().map_or(0, |(_, rows)| *rows);
        let Rows { base, steps } = self.x.rows;
        let whole = self.size.is_multiple_of(4) && self.pitch == self.size && self.x.rows.in_units();
        let unit = if whole { 4 } else { 1 };
        let past = self.past.filter(|(_, rows)| *rows > 0);
        let kernel = Kernel::of("attention/append.wgsl")
            .define("WORKGROUP", WORKGROUP)
            .define("PAST", past.is_some())
            .define("WHOLE", whole);
        let mut dispatch = Dispatch::of(kernel).bind(self.x.place.0.clone(), self.x.place.1);
        if let Some((place, _)) = past {
            dispatch = dispatch.bind(place.0, place.1);
        }
        Ok(Some(
            dispatch
                .bind(self.to.0, self.to.1)
                .param("units", units)
                .param("elements", batch * heads * (before + rows) * self.pitch)
                .param("heads", heads)
                .param("before", before)
                .param("rows", rows)
                .param("size", self.size / unit)
                .param("pitch", self.pitch / unit)
                .param("x_first", base / unit)
                .param("x_batch", steps[0] / unit)
                .param("x_head", steps[1] / unit)
                .param("x_row", steps[2] / unit)
                .param("y_first", self.first)
                .linear(units as u64, WORKGROUP, request.device),
        ))
    }
}

/// The keys (input 1) or values (input 2) behind `before` so far: in an output where that is asked for. `own` are the new ones,
/// which are read where they lie if there are no others.
pub(super) fn joined(
    attention: &Attention,
    request: &Request<'_>,
    (s, before): (Sizes, usize),
    input: usize,
    own: Operand,
    candidate: &mut Candidate,
) -> Result<Operand, String> {
    let past = PAST_KEY + input - 1;
    let keys = before + s.keys;
    let (kv, size) = (s.heads / s.group, if input == 1 { s.d } else { s.v });
    let so_far = match request.optional(past) {
        Some(_) => Some(((Binding::Input(past), request.storage(past)?), before)),
        None => None,
    };
    let asked = attention.outputs > input;
    if !asked && so_far.is_none() {
        return Ok(own);
    }
    let rows = |to: Place| Append {
        x: &own,
        past: so_far.clone(),
        counts: [s.batch, kv, s.keys],
        size,
        pitch: size,
        to,
        first: 0,
    };
    let mut to = vec![];
    if asked {
        to.push((Binding::Output(input), request.output_storage(input)?));
    }
    // What is computed with is not rounded on the way.
    let exact = to.iter().any(|(_, storage)| *storage == Storage::F32);
    if so_far.is_some() && !exact {
        let place = (Binding::Scratch(candidate.scratch.len()), Storage::F32);
        candidate.scratch.push((rows(place.clone()).units()?.max(1) as u64, place.1));
        to.push(place);
    }
    let last = to.last().cloned();
    for place in to {
        candidate.dispatches.extend(rows(place).dispatch(request)?);
    }
    match last {
        Some(place) if so_far.is_some() => {
            let steps = [kv * keys * size, keys * size, size];
            Ok(Operand { place, rows: Rows { base: 0, steps } })
        }
        _ => Ok(own),
    }
}
