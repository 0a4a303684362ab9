//! The ways to reduce on a GPU.

use super::Reduce;
use super::members::LOG_SUM_EXP;
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Storage, Want};
use crate::ops::broadcast::is_wide;
use crate::ops::norm::{Groups, WORKGROUP};
use crate::tensor::ElementType;
use crate::tensor::shape::{elements, strides};

const KEPT: [(&str, &str); 3] = [("k0", "ks0"), ("k1", "ks1"), ("k2", "ks2")];
const GONE: [(&str, &str); 3] = [("r0", "rs0"), ("r1", "rs1"), ("r2", "rs2")];

pub(super) fn of(reduce: &Reduce, request: &Request<'_>) -> Candidates {
    let given = request.optional(1).filter(|_| reduce.axes.is_none());
    let axes = match (&reduce.axes, given) {
        (Some(axes), _) => axes.clone(),
        (None, None) => vec![],
        (None, Some(given)) => given.fact.integers().ok_or("its axes are computed at run time")?,
    };
    let dims = request.shape(0)?;
    let Some(reduced) = reduce.reduced(&axes, dims.len()).map_err(|e| e.to_string())? else {
        return Ok(vec![Candidate::view(0, request.inputs.len())]);
    };
    let count = |wanted: bool| {
        let dims: Vec<usize> = dims.iter().zip(&reduced).filter(|(_, r)| **r == wanted).map(|(d, _)| *d).collect();
        elements(&dims).filter(|&n| u32::try_from(n).is_ok())
    };
    let (Some(outputs), Some(length)) = (count(false), count(true)) else {
        return Err("it has more elements than a shader can count".to_owned());
    };
    let mut wants = vec![Want::Nothing; request.inputs.len()];
    let own = request.input(0)?.layout;
    let layouts = if own == Layout::Linear { vec![own] } else { vec![own, Layout::Linear] };
    let mut all = vec![];
    for layout in layouts {
        // Channels that are reduced with the positions, being one alone, leave no channels to lie in.
        if layout == Layout::Channels4 && reduced[..2].contains(&true) {
            continue;
        }
        wants[0] = Want::In(layout);
        let pairs = takes_pairs(reduce, request.input(0)?.fact.element_type);
        if pairs && layout != Layout::Linear {
            continue;
        }
        let groups =
            span(&dims, &reduced).filter(|_| !pairs).and_then(|(from, to)| Groups::of(&dims, from, to, layout));
        // Four channels at once leave four channels; everything else leaves its results in order.
        let written = if layout == Layout::Channels4 { layout } else { Layout::Linear };
        let written = written.canonical(&request.output_shape(0)?);
        let mut candidate = Candidate::new("general", wants.clone(), vec![written]);
        let mut any_way = None;
        if outputs > 0 {
            let dispatch = match groups {
                Some(groups) => {
                    candidate.name = if groups.columns { "columns" } else { "rows" };
                    lanes(reduce, request, groups, length)?
                }
                None if layout == Layout::Linear => {
                    general(reduce, request, &dims, &reduced, (outputs, length), false)?
                }
                None => continue,
            };
            candidate = candidate.dispatch(dispatch);
            // By a kernel for any reduction of any dimensions, which may save pipelines.
            if layout == Layout::Linear && !pairs && request.storage(0)?.is_float() && reduce.member.any.is_some() {
                let dispatch = general(reduce, request, &dims, &reduced, (outputs, length), true);
                let any = Candidate::new("any", wants.clone(), vec![written]);
                any_way = dispatch.ok().map(|dispatch| any.dispatch(dispatch));
            }
        } else if layout != Layout::Linear {
            continue;
        }
        let units = (outputs.saturating_mul(length)).div_ceil(4) as f64;
        // Elements fetched one by one cost four loads for one.
        let each = if groups.is_some() { 4.0 } else { 40.0 };
        let bytes = units * request.any_storage(0)?.unit_bytes() as f64;
        all.push(candidate.cost(units * each, bytes));
        all.extend(any_way.map(|candidate| candidate.cost(units * 60.0, bytes)));
    }
    Ok(all)
}

/// The dimensions from which and before which all are reduced (those of one element count as either).
fn span(dims: &[usize], reduced: &[bool]) -> Option<(usize, usize)> {
    let long = |i: &usize| reduced[*i] && dims[*i] != 1;
    let first = (0..dims.len()).find(long)?;
    let last = (0..dims.len()).rev().find(long)?;
    (first..=last).all(|i| reduced[i] || dims[i] == 1).then_some((first, last + 1))
}

fn specialized(reduce: &Reduce, request: &Request<'_>, shader: &'static str) -> Result<Kernel, String> {
    let member = reduce.member;
    let float = request.storage(0)?.is_float();
    let element_type = request.input(0)?.fact.element_type;
    let (start, finish) = match (float, member.integer) {
        (true, _) => (member.start, member.finish),
        (false, Some((start, finish))) => (of_nothing(member.name, element_type).unwrap_or(start), finish),
        (false, None) => return Err("it reduces integers".to_owned()),
    };
    let map = if element_type == ElementType::Bool {
        "select(vec4<i32>(0), vec4<i32>(1), v != vec4<i32>(0))"
    } else {
        member.map
    };
    Ok(Kernel::of(shader)
        .define("WORKGROUP", WORKGROUP)
        .define("LOG_SUM_EXP", member.name == LOG_SUM_EXP)
        .paste("MAP", map)
        .paste("JOIN", member.join)
        .paste("START", start)
        .paste("FINISH", finish))
}

/// The largest or smallest of no integers: the least or the largest of their type, where that is less than `i32` has.
fn of_nothing(name: &str, element_type: ElementType) -> Option<&'static str> {
    let (least, largest) = match element_type {
        ElementType::I16 => ("-32768", "32767"),
        ElementType::U16 => ("0", "65535"),
        ElementType::I8 => ("-128", "127"),
        ElementType::U8 => ("0", "255"),
        ElementType::Bool => ("0", "1"),
        _ => return None,
    };
    match name {
        "ReduceMax" => Some(least),
        "ReduceMin" => Some(largest),
        _ => None,
    }
}

fn lanes(reduce: &Reduce, request: &Request<'_>, groups: Groups, length: usize) -> Result<Dispatch, String> {
    let together = groups.cooperative(request.device);
    let kernel = specialized(reduce, request, "reduce/lanes.wgsl")?
        .define("COLUMNS", groups.columns)
        .define("COOPERATIVE", together);
    let units = if groups.columns { groups.groups } else { groups.groups.div_ceil(4) };
    let each = if together { u64::from(WORKGROUP) } else { 1 };
    let dispatch = Dispatch::of(kernel)
        .bind(Binding::Input(0), request.storage(0)?)
        .bind(Binding::Output(0), request.output_storage(0)?);
    Ok(groups.params(dispatch).param("count", length as f32).linear(units as u64 * each, WORKGROUP, request.device))
}

/// Whether integers are reduced as pairs of words: because WGSL has none so wide, or lest a mean's sum overflows.
fn takes_pairs(reduce: &Reduce, element_type: ElementType) -> bool {
    is_wide(element_type) || (reduce.member.is_mean() && element_type.is_integer())
}

/// The kernel for such integers.
fn of_pairs(reduce: &Reduce, element_type: ElementType) -> Result<Kernel, String> {
    let lacking = || format!("it has no kernel for {element_type}");
    let [map, join, signed, unsigned, finish] = reduce.member.wide.ok_or_else(lacking)?;
    if reduce.member.is_mean() && element_type.size() == 8 {
        return Err("its sums could overflow".to_owned());
    }
    if element_type.size() < 4 && !Storage::computes(element_type) {
        return Err(lacking());
    }
    let kernel = Kernel::of("reduce/general.wgsl")
        .define("WORKGROUP", WORKGROUP)
        .define("SCALAR", 2)
        .paste("MAP", map)
        .paste("JOIN", join)
        .paste("FINISH", finish);
    Ok(match element_type {
        _ if element_type.is_signed_integer() => kernel.paste("START", signed),
        _ => kernel.define("UNSIGNED", 1).paste("START", unsigned),
    })
}

fn general(
    reduce: &Reduce,
    request: &Request<'_>,
    dims: &[usize],
    reduced: &[bool],
    (outputs, length): (usize, usize),
    any: bool,
) -> Result<Dispatch, String> {
    let kept = joined(dims, reduced, false);
    let gone = joined(dims, reduced, true);
    if kept.len() > 4 || gone.len() > 3 {
        return Err("kept and reduced dimensions alternate too often".to_owned());
    }
    let units = outputs.div_ceil(4);
    let element_type = request.input(0)?.fact.element_type;
    let kernel = match takes_pairs(reduce, element_type) {
        // What it counts fits a float.
        true if length >= 1 << 24 => return Err("it has more elements than its kernel counts".to_owned()),
        true => of_pairs(reduce, element_type)?,
        false if any => Kernel::of("reduce/general.wgsl").define("WORKGROUP", WORKGROUP).define("ANY", 1),
        false => specialized(reduce, request, "reduce/general.wgsl")?,
    };
    let mut dispatch = Dispatch::of(kernel)
        .bind(Binding::Input(0), request.any_storage(0)?)
        .bind(Binding::Output(0), request.any_output_storage(0)?)
        .param("units", units)
        .param("outputs", outputs)
        .param("count", if any && !reduce.member.is_mean() { 1.0 } else { length as f32 });
    if let Some((map, join, start, root)) = reduce.member.any.filter(|_| any) {
        dispatch = dispatch.param("map", map).param("join", join).param("start", start).param("root", root);
    }
    let at = |joined: &[(usize, usize)], i: usize| joined.get(i).copied().unwrap_or((1, 0));
    for (i, (size, stride)) in KEPT.into_iter().enumerate() {
        dispatch = dispatch.param(size, at(&kept, i).0).param(stride, at(&kept, i).1);
    }
    dispatch = dispatch.param("ks3", at(&kept, 3).1);
    for (i, (size, stride)) in GONE.into_iter().enumerate() {
        dispatch = dispatch.param(size, at(&gone, i).0).param(stride, at(&gone, i).1);
    }
    Ok(dispatch.linear(units as u64, WORKGROUP, request.device))
}

/// The kept or the reduced dimensions with their strides, innermost first, neighbours joined.
fn joined(dims: &[usize], reduced: &[bool], wanted: bool) -> Vec<(usize, usize)> {
    let strides = strides(dims);
    let mut all: Vec<(usize, usize)> = vec![];
    for i in (0..dims.len()).rev().filter(|&i| reduced[i] == wanted && dims[i] != 1) {
        match all.last_mut() {
            Some((size, stride)) if size.checked_mul(*stride) == Some(strides[i]) => {
                *size = size.saturating_mul(dims[i])
            }
            _ => all.push((dims[i], strides[i])),
        }
    }
    all
}
