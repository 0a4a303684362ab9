//! Attention on a GPU, in one kernel that keeps its scores to itself, or in two where few queries see many keys: then the
//! keys are split over workgroups.

use super::append::{Append, Operand};
use super::fused::Rows;
use super::operands::Operands;
use super::{MASK, Sizes, VALID};
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Candidates, DeviceClass, Dispatch, Kernel, Storage, Want};
use crate::ops::contraction::Place;
use crate::tensor::ElementType;
use crate::tensor::shape::{broadcast, broadcast_strides, elements};

/// Sixteen invocations own a row of the result, four units each.
pub(crate) const LARGEST: usize = 256;
/// Units of a result's row that the kernel for software adapters writes out (its compilation grows with them).
const WRITTEN_OUT: usize = 32;
/// Queries that a workgroup of the kernel for all owns.
const OWNED: usize = 4;
/// Queries that are few.
const FEW: usize = 4;
/// Keys of a tile: what a workgroup of the kernel for all scores at once.
const TILE: usize = 64;
const WORKGROUP: u32 = 64;
/// Workgroups that keep the threads busy which a software adapter has.
const THREADS: usize = 4;
/// What the kernel for few queries takes on software adapters to read the keys and values of a workgroup, and for each of its
/// queries, beside a query of that for many (lavapipe; heads of 64, 128 to 4,096 keys).
const DECODED: [f64; 2] = [3.7, 1.1];
/// What joining the parts of the keys takes, as operations; on software adapters four times as much.
const MERGED: f64 = 50_000.0;

/// One attention as the kernels take it.
#[derive(Debug)]
pub(super) struct Problem {
    pub sizes: Sizes,
    pub scale: f32,
    pub softcap: f32,
    pub causal: bool,
    /// Keys before the first query's own place.
    pub before: usize,
    /// q, k and v.
    pub operands: [Operand; 3],
    /// Steps of the result's batches, heads and rows, in elements.
    pub result: [usize; 3],
}

/// A mask: the keys that it covers, its steps, its storage, and whether it holds truth values.
struct Mask {
    covered: usize,
    steps: Vec<usize>,
    storage: Storage,
    truth: bool,
}

impl Mask {
    fn of(s: Sizes, request: &Request<'_>) -> Result<Option<Self>, String> {
        let Some(mask) = request.optional(MASK) else { return Ok(None) };
        let shape = request.shape(MASK)?;
        // A mask of one column is repeated; one that is shorter otherwise hides the rest.
        let covered = match shape.last() {
            None | Some(1) => s.keys,
            Some(&n) => n,
        };
        let to = [s.batch, s.heads, s.queries, covered];
        if covered == 0 || covered > s.keys || broadcast(&shape, &to).as_deref() != Some(&to[..]) {
            return Err("its mask does not fit its scores".to_owned());
        }
        let truth = mask.fact.element_type == ElementType::Bool;
        Ok(Some(Self { covered, steps: broadcast_strides(&shape, &to), storage: request.storage(MASK)?, truth }))
    }
}

/// How the keys are split: into how many parts, and keys of one.
#[derive(Clone, Copy)]
struct Split {
    parts: usize,
    span: usize,
}

/// The ways to run it, or why there is none. `begun` says what is wanted, and what is dispatched before.
pub(super) fn candidates(problem: &Problem, mut begun: Candidate, request: &Request<'_>) -> Candidates {
    let s = problem.sizes;
    if [s.batch, s.heads, s.queries, s.v].contains(&0) {
        if begun.dispatches.is_empty() {
            begun.inputs.fill(Want::Nothing);
        }
        return Ok(vec![Candidate { name: "empty", ..begun }]);
    }
    if s.keys == 0 || s.d == 0 {
        return Err("there is nothing to attend to".to_owned());
    }
    if s.d > LARGEST || s.v > LARGEST {
        return Err(format!("its heads are larger than {LARGEST}"));
    }
    let all = [s.batch, s.heads, s.queries.max(s.keys), s.d.max(s.v).next_multiple_of(4)];
    elements(&all).filter(|&n| i32::try_from(n).is_ok()).ok_or("it is larger than a shader can count")?;
    let mask = Mask::of(s, request)?;
    let valid = match request.optional(VALID) {
        Some(_) => Some(request.index_storage(VALID)?),
        None => None,
    };
    let others = 1 + usize::from(mask.is_some()) + usize::from(valid.is_some());
    let most = (request.device.max_storage_buffers as usize).saturating_sub(others);
    let operands = Operands::of(problem, most, request, &mut begun)?;
    // Rows that do not begin at whole units are written elsewhere first.
    let whole = problem.result.iter().all(|step| step.is_multiple_of(4));
    let v4 = s.v.div_ceil(4);
    let lines = s.batch * s.heads * s.queries;
    let mut to: Place = (Binding::Output(0), request.output_storage(0)?);
    let mut result = problem.result;
    if !whole {
        to = (Binding::Scratch(begun.scratch.len()), Storage::F32);
        begun.scratch.push(((lines * v4) as u64, to.1));
        result = [s.heads * s.queries * v4 * 4, s.queries * v4 * 4, v4 * 4];
    }
    let fused = Fused { problem, request, begun, mask, valid, operands, to, result };
    let mut offered: Vec<Candidate> = fused.offered()?;
    if !whole {
        for candidate in &mut offered {
            candidate.dispatches.extend(fused.dense()?);
        }
    }
    Ok(offered)
}

/// A problem and what its kernels are bound to.
struct Fused<'a, 'b> {
    problem: &'a Problem,
    request: &'a Request<'b>,
    begun: Candidate,
    mask: Option<Mask>,
    /// What the numbers of valid keys are stored as.
    valid: Option<Storage>,
    operands: Operands,
    to: Place,
    result: [usize; 3],
}

impl Fused<'_, '_> {
    fn offered(&self) -> Candidates {
        let (s, device) = (self.problem.sizes, self.request.device);
        let (kv, v4) = (s.heads / s.group, s.v.div_ceil(4));
        let software = device.class == DeviceClass::Software;
        // Queries that share keys.
        let shared = s.group * s.queries;
        let workgroups = shared.div_ceil(OWNED) * kv * s.batch;
        let busy = device.busy_workgroups as usize;
        let rows = || Kernel::of("attention/rows.wgsl");
        // The work of a query, in a time of 10 GFLOP/s; software adapters do 0.3 with the kernel for all.
        let work = 2.0 * [s.batch, s.keys, s.d + s.v].iter().map(|&n| n as f64).product::<f64>();
        let slow = if software { 30.0 } else { 1.0 };
        let padded = (kv * shared.next_multiple_of(OWNED)) as f64;
        let idle = |workgroups: usize| (busy as f64 / workgroups as f64).max(1.0);
        let mut offered = vec![self.candidate("rows", rows(), OWNED, None, padded * work * slow * idle(workgroups))?];
        let few = s.queries <= FEW;
        if let Some(split) = Split::of(s.keys, busy / workgroups, TILE).filter(|_| few && !software) {
            let cost = padded * work * idle(workgroups * split.parts) + MERGED;
            offered.push(self.candidate("rows, split", rows(), OWNED, Some(split), cost)?);
        }
        let Some(lanes) = device.subgroup_size.filter(|lanes| software && (4..=16).contains(lanes)) else {
            return Ok(offered);
        };
        let lanes = lanes as usize;
        if v4 <= WRITTEN_OUT {
            let best = if v4 <= WRITTEN_OUT / 2 && s.queries > lanes { 2 } else { 1 };
            let other = (v4 <= WRITTEN_OUT / 2 && self.request.open).then_some(3 - best);
            for owned in [best].into_iter().chain(other) {
                let kernel = Kernel::of("attention/subgroup.wgsl")
                    .define("LANES", lanes as i64)
                    .define("QUERIES", owned as i64)
                    .define("UNITS", v4.div_ceil(lanes) as i64);
                let padded = (s.heads * s.queries.next_multiple_of(owned * lanes)) as f64;
                // Two queries of a lane share each key.
                let slow = if owned < best { 1.2 } else { 1.0 };
                offered.push(self.by_head("subgroup", kernel, owned * lanes, padded * work * slow)?);
            }
        }
        if few {
            let owned = shared.next_power_of_two().min(OWNED);
            let kernel = Kernel::of("attention/subgroup_decode.wgsl")
                .define("LANES", lanes as i64)
                .define("ROWS", owned as i64)
                .define("UNITS", v4.div_ceil(lanes) as i64);
            let blocks = kv * shared.div_ceil(owned);
            let cost = blocks as f64 * work * (DECODED[0] + DECODED[1] * owned as f64);
            offered.push(self.candidate("decode", kernel.clone(), owned, None, cost)?);
            let workgroups = blocks * s.batch;
            if let Some(split) = Split::of(s.keys, THREADS / workgroups, 4 * TILE) {
                let gain = (workgroups * split.parts).min(THREADS) as f64 / workgroups as f64;
                let cost = cost / gain + 4.0 * MERGED;
                offered.push(self.candidate("decode, split", kernel, owned, Some(split), cost)?);
            }
        }
        Ok(offered)
    }

    /// A kernel whose workgroups own some of the queries of heads that share keys.
    fn candidate(
        &self,
        name: &'static str,
        kernel: Kernel,
        owned: usize,
        split: Option<Split>,
        cost: f64,
    ) -> Result<Candidate, String> {
        let s = self.problem.sizes;
        let blocks = (s.group * s.queries).div_ceil(owned);
        let Some(Split { parts, span }) = split else {
            let grid = [blocks, s.heads / s.group, s.batch];
            return self.one(name, self.dispatch(kernel, self.to.clone()), grid, cost);
        };
        let (lines, v4) = (s.batch * s.heads * s.queries, s.v.div_ceil(4));
        let partial = (Binding::Scratch(self.begun.scratch.len()), Storage::F32);
        let dispatch = self
            .dispatch(kernel.define("SPLIT", 1), partial.clone())
            .param("heads", s.heads)
            .param("splits", parts)
            .param("span", span);
        let mut candidate = self.one(name, dispatch, [blocks * parts, s.heads / s.group, s.batch], cost)?;
        candidate.scratch.push(((lines * parts * (v4 + 1)) as u64, partial.1));
        let merge = Dispatch::of(Kernel::of("attention/merge.wgsl").define("WORKGROUP", WORKGROUP))
            .bind(partial.0, partial.1)
            .bind(self.to.0.clone(), self.to.1)
            .param("units", lines * v4)
            .param("heads", s.heads)
            .param("queries", s.queries)
            .param("v4", v4)
            .param("splits", parts);
        let merge = placed(merge, NAMES[3], Rows { base: 0, steps: self.result });
        candidate.dispatches.push(merge.linear((lines * v4) as u64, WORKGROUP, self.request.device));
        Ok(candidate)
    }

    /// A kernel whose workgroups own queries of one head.
    fn by_head(&self, name: &'static str, kernel: Kernel, owned: usize, cost: f64) -> Result<Candidate, String> {
        let s = self.problem.sizes;
        let dispatch = self.dispatch(kernel, self.to.clone());
        self.one(name, dispatch, [s.queries.div_ceil(owned), s.heads, s.batch], cost)
    }

    fn one(&self, name: &'static str, dispatch: Dispatch, grid: [usize; 3], cost: f64) -> Result<Candidate, String> {
        let limit = self.request.device.max_workgroups;
        let fits =
            |n: usize| u32::try_from(n).ok().filter(|&n| n <= limit).ok_or("there are too many heads or batches");
        let dispatch = dispatch.workgroups(fits(grid[0])?, fits(grid[1])?, fits(grid[2])?);
        Ok(Candidate { name, ..self.begun.clone() }.dispatch(dispatch).cost(cost, 0.0))
    }

    /// A kernel bound to the operands, the grid not set yet.
    fn dispatch(&self, kernel: Kernel, to: Place) -> Dispatch {
        let (problem, s) = (self.problem, self.problem.sizes);
        let kind = self.mask.as_ref().map_or(0, |mask| if mask.truth { 2 } else { 1 });
        let kernel = kernel
            .define("MASK", kind)
            .define("BOUND", self.operands.bound as i64)
            .define("SOFTCAP", problem.softcap > 0.0)
            .define("VALID", self.valid.is_some());
        let mut dispatch = Dispatch::of(kernel);
        for (binding, storage) in &self.operands.places {
            dispatch = dispatch.bind(binding.clone(), *storage);
        }
        for (index, storage) in [(MASK, self.mask.as_ref().map(|mask| mask.storage)), (VALID, self.valid)] {
            if let Some(storage) = storage {
                dispatch = dispatch.bind(Binding::Input(index), storage);
            }
        }
        dispatch = dispatch
            .bind(to.0, to.1)
            .param("queries", s.queries)
            .param("keys", s.keys)
            .param("d", s.d)
            .param("v4", s.v.div_ceil(4))
            .param("group", s.group)
            .param("scale", problem.scale);
        if problem.softcap > 0.0 {
            dispatch = dispatch.param("softcap", problem.softcap);
        }
        dispatch = dispatch
            .param("causal", u32::from(problem.causal))
            .param("before", i32::try_from(problem.before).unwrap_or(i32::MAX));
        let result = Rows { base: 0, steps: self.result };
        for (names, rows) in NAMES.into_iter().zip(self.operands.rows.into_iter().chain([result])) {
            dispatch = placed(dispatch, names, rows);
        }
        if let Some(Mask { covered, steps, .. }) = &self.mask {
            dispatch = dispatch.param("covered", *covered);
            for (name, step) in ["mask_batch", "mask_head", "mask_row", "mask_column"].into_iter().zip(steps) {
                dispatch = dispatch.param(name, *step);
            }
        }
        dispatch
    }

    /// Brings rows of whole units to where the result has them.
    fn dense(&self) -> Result<Option<Dispatch>, String> {
        let s = self.problem.sizes;
        let [batch, head, row] = self.result;
        let (steps, counts) = match s.flat {
            true => ([batch, row, head], [s.batch, s.queries, s.heads]),
            false => ([batch, head, row], [s.batch, s.heads, s.queries]),
        };
        let x = Operand { place: self.to.clone(), rows: Rows { base: 0, steps } };
        let to = (Binding::Output(0), self.request.output_storage(0)?);
        Append { x: &x, past: None, counts, size: s.v, pitch: s.v, to, first: 0 }.dispatch(self.request)
    }
}

impl Split {
    /// Into at most `wanted` parts of at least so many keys.
    fn of(keys: usize, wanted: usize, least: usize) -> Option<Self> {
        let parts = wanted.min(keys / least);
        if parts < 2 {
            return None;
        }
        let span = keys.div_ceil(parts).next_multiple_of(TILE);
        let parts = keys.div_ceil(span);
        (parts > 1).then_some(Self { parts, span })
    }
}

/// The parameters of each operand's place.
const NAMES: [[&str; 4]; 4] = [
    ["q_first", "q_batch", "q_head", "q_row"],
    ["k_first", "k_batch", "k_head", "k_row"],
    ["v_first", "v_batch", "v_head", "v_row"],
    ["y_first", "y_batch", "y_head", "y_row"],
];

/// Sets the parameters of a place, in units.
fn placed(dispatch: Dispatch, names: [&'static str; 4], rows: Rows) -> Dispatch {
    let values = [rows.base, rows.steps[0], rows.steps[1], rows.steps[2]];
    names.into_iter().zip(values).fold(dispatch, |dispatch, (name, value)| dispatch.param(name, value / 4))
}
