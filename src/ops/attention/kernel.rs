//! Attention on a GPU, in one kernel that keeps its scores to itself.

use super::{MASK, Sizes};
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Candidates, DeviceClass, Dispatch, Kernel, Layout, Storage, Want};
use crate::tensor::ElementType;
use crate::tensor::shape::broadcast_strides;

/// Sixteen invocations own a row of the result, four units each.
pub(crate) const LARGEST: usize = 256;
/// Units of a result's row that the kernel for software adapters writes out (its compilation grows with them).
const WRITTEN_OUT: usize = 32;
/// Buffers that it needs with a mask and operands of their own.
const BUFFERS: u32 = 5;

/// Where an operand lies: the unit of its first element, and the steps of its batches, heads and rows, in units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub base: usize,
    pub steps: [usize; 3],
}

/// One attention as the kernels take it.
#[derive(Debug)]
pub(super) struct Problem {
    pub sizes: Sizes,
    pub scale: f32,
    pub softcap: f32,
    pub causal: bool,
    /// The layout of each input that q, k and v lie in: three, or one for all.
    pub layouts: Vec<Layout>,
    /// Of q, k, v and the result.
    pub places: [Placed; 4],
    /// The result's layout.
    pub result: Layout,
}

/// What q, k and v are bound to: three buffers, one, or one for q and one for both others.
#[derive(Clone, Copy)]
enum Bound {
    Each = 0,
    Together = 1,
    Pair = 2,
}

/// The ways to run it, or why there is none.
pub(super) fn candidates(problem: &Problem, request: &Request<'_>) -> Candidates {
    let s = problem.sizes;
    let mut wants: Vec<Want> = problem.layouts.iter().map(|&layout| Want::In(layout)).collect();
    wants.resize(request.inputs.len(), Want::Nothing);
    if request.output_shape(0)?.contains(&0) {
        return Ok(vec![Candidate::new("empty", vec![Want::Nothing; wants.len()], vec![problem.result])]);
    }
    if s.keys == 0 || s.d == 0 {
        return Err("there is nothing to attend to".to_owned());
    }
    if s.d > LARGEST || s.v > LARGEST {
        return Err(format!("its heads are larger than {LARGEST}"));
    }
    // Queries of a workgroup, four in the kernel for all.
    let grid = |queries: usize| [s.queries.div_ceil(queries), s.heads, s.batch];
    let limit = request.device.max_workgroups as usize;
    if grid(4).iter().any(|&n| n > limit) {
        return Err("there are too many heads or batches".to_owned());
    }
    let mask = match request.optional(MASK) {
        None => None,
        Some(mask) => {
            let shape = request.shape(MASK)?;
            if shape.len() > 4 || shape.last() != Some(&s.keys) && shape.last() != Some(&1) {
                return Err("its mask is shorter than the keys".to_owned());
            }
            wants[MASK] = Want::In(Layout::Linear);
            let steps = broadcast_strides(&shape, &[s.batch, s.heads, s.queries, s.keys]);
            Some((steps, request.storage(MASK)?, mask.fact.element_type == ElementType::Bool))
        }
    };
    let mut template = Candidate::new("", wants, vec![problem.result]);
    let mut places = problem.places;
    let (bound, operands) = if problem.layouts.len() == 1 {
        (Bound::Together, vec![(Binding::Input(0), request.storage(0)?)])
    } else if mask.is_some() && request.device.max_storage_buffers < BUFFERS {
        (Bound::Pair, pair(problem, request, &mut template, &mut places)?)
    } else {
        let input = |i| Ok((Binding::Input(i), request.storage(i)?));
        (Bound::Each, (0..3).map(input).collect::<Result<_, String>>()?)
    };
    let kind = mask.as_ref().map_or(0, |(_, _, truth)| if *truth { 2 } else { 1 });
    let kernel = |shader| Kernel::of(shader).define("MASK", kind).define("BOUND", bound as i64);
    let mut dispatch = Dispatch::of(kernel("attention/rows.wgsl"));
    for (binding, storage) in operands {
        dispatch = dispatch.bind(binding, storage);
    }
    if let Some((_, storage, _)) = &mask {
        dispatch = dispatch.bind(Binding::Input(MASK), *storage);
    }
    dispatch = dispatch
        .bind(Binding::Output(0), request.output_storage(0)?)
        .param("queries", s.queries)
        .param("keys", s.keys)
        .param("d", s.d)
        .param("v4", s.v.div_ceil(4))
        .param("group", s.group)
        .param("scale", problem.scale)
        .param("softcap", problem.softcap)
        .param("causal", u32::from(problem.causal));
    for (names, place) in NAMES.into_iter().zip(places) {
        dispatch = dispatch.param(names[0], place.base);
        for (name, step) in names[1..].iter().zip(place.steps) {
            dispatch = dispatch.param(name, step);
        }
    }
    if let Some((steps, ..)) = mask {
        for (name, step) in ["mask_batch", "mask_head", "mask_row", "mask_column"].into_iter().zip(steps) {
            dispatch = dispatch.param(name, step);
        }
    }
    // The work of a query, in a time of 10 GFLOP/s; software adapters do 0.3 with the kernel for all.
    let work = 2.0 * [s.batch, s.heads, s.keys, s.d + s.v].iter().map(|&n| n as f64).product::<f64>();
    let candidate = |name, dispatch: Dispatch, queries: usize, slowness: f64| {
        let [x, y, z] = grid(queries).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let padded = s.queries.next_multiple_of(queries) as f64;
        Candidate { name, ..template.clone() }
            .dispatch(dispatch.workgroups(x, y, z))
            .cost(padded * work * slowness, 0.0)
    };
    let software = request.device.class == DeviceClass::Software;
    let mut offered = vec![candidate("rows", dispatch.clone(), 4, if software { 30.0 } else { 1.0 })];
    let lanes = request.device.subgroup_size.filter(|lanes| software && (4..=16).contains(lanes));
    let v4 = s.v.div_ceil(4);
    if let Some(lanes) = lanes.filter(|_| v4 <= WRITTEN_OUT) {
        let queries = if v4 <= WRITTEN_OUT / 2 && s.queries > lanes as usize { 2 } else { 1 };
        dispatch.kernel = Kernel {
            storages: dispatch.kernel.storages,
            ..kernel("attention/subgroup.wgsl")
                .define("LANES", lanes)
                .define("QUERIES", queries)
                .define("V4", v4 as i64)
        };
        offered.push(candidate("subgroup", dispatch, queries as usize * lanes as usize, 1.0));
    }
    Ok(offered)
}

/// The parameters of each operand's place.
const NAMES: [[&str; 4]; 4] = [
    ["q_first", "q_batch", "q_head", "q_row"],
    ["k_first", "k_batch", "k_head", "k_row"],
    ["v_first", "v_batch", "v_head", "v_row"],
    ["y_first", "y_batch", "y_head", "y_row"],
];

/// Copies keys and values into one buffer, where five are too many. The copies of a head are rows of whole units.
fn pair(
    problem: &Problem,
    request: &Request<'_>,
    candidate: &mut Candidate,
    places: &mut [Placed; 4],
) -> Result<Vec<(Binding, Storage)>, String> {
    let s = problem.sizes;
    let kv = s.heads / s.group;
    let lines = [s.batch, kv, s.keys].iter().try_fold(1usize, |a, &b| a.checked_mul(b)).ok_or("it is too large")?;
    let mut base = 0;
    for (input, size) in [(1, s.d), (2, s.v)] {
        let width = size.div_ceil(4);
        let units = lines.checked_mul(width).filter(|n| u32::try_from(*n).is_ok()).ok_or("it is too large")?;
        let from = places[input];
        let dispatch = Dispatch::of(Kernel::of("attention/join.wgsl"))
            .bind(Binding::Input(input), request.storage(input)?)
            .bind(Binding::Scratch(0), Storage::F32)
            .param("units", units)
            .param("width", width)
            .param("rows", s.keys)
            .param("heads", kv)
            .param("x_first", from.base)
            .param("x_batch", from.steps[0])
            .param("x_head", from.steps[1])
            .param("x_row", from.steps[2])
            .param("y_first", base)
            .linear(units as u64, 64, request.device);
        candidate.dispatches.push(dispatch);
        places[input] = Placed { base, steps: [kv * s.keys * width, s.keys * width, width] };
        base += units;
    }
    candidate.scratch.push((base as u64, Storage::F32));
    Ok(vec![(Binding::Input(0), request.storage(0)?), (Binding::Scratch(0), Storage::F32)])
}
