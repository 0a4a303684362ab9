//! Attention on a GPU.

use super::{Attention, MASK, Sizes};
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Candidates, DeviceClass, Dispatch, Kernel, Layout, Want};
use crate::tensor::ElementType;
use crate::tensor::shape::broadcast_strides;

/// Sixteen invocations own a row of the result, four units each.
const LARGEST: usize = 256;
/// Units of a result's row that the kernel for software adapters writes out (its compilation grows with them).
const WRITTEN_OUT: usize = 32;

/// The ways to run it, or why there is none.
pub(super) fn candidates(
    attention: &Attention,
    request: &Request<'_>,
    shapes: &[Vec<usize>; 3],
    s: Sizes,
) -> Candidates {
    let (storages, y_shape) =
        ([request.storage(0)?, request.storage(1)?, request.storage(2)?], request.output_shape(0)?);
    let layout = |shape: &[usize]| Layout::Rows.canonical(shape);
    let mut wants = shapes.each_ref().map(|shape| Want::In(layout(shape))).to_vec();
    wants.resize(request.inputs.len(), Want::Nothing);
    if y_shape.contains(&0) {
        return Ok(vec![Candidate::new("empty", vec![Want::Nothing; wants.len()], vec![layout(&y_shape)])]);
    }
    if s.keys == 0 || s.d == 0 {
        return Err("there is nothing to attend to".to_owned());
    }
    if s.d > LARGEST || s.v > LARGEST {
        return Err(format!("its heads are larger than {LARGEST}"));
    }
    if s.flat && !(s.d.is_multiple_of(4) && s.v.is_multiple_of(4)) {
        return Err("its heads do not begin at whole units".to_owned());
    }
    // Queries of a workgroup, four in the kernel for all.
    let grid = |queries: usize| [s.queries.div_ceil(queries), s.heads, s.batch];
    let limit = request.device.max_workgroups as usize;
    if grid(4).iter().any(|&n| n > limit) {
        return Err("there are too many heads or batches".to_owned());
    }
    let mask = match request.optional(MASK) {
        None => None,
        Some(_) if request.device.max_storage_buffers < 5 => {
            return Err("with a mask it needs five buffers".to_owned());
        }
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
    let kind = mask.as_ref().map_or(0, |(_, _, truth)| if *truth { 2 } else { 1 });
    let kernel = |shader| Kernel::of(shader).define("MASK", kind);
    let mut dispatch = Dispatch::of(kernel("attention/rows.wgsl"));
    for (i, storage) in storages.into_iter().enumerate() {
        dispatch = dispatch.bind(Binding::Input(i), storage);
    }
    if let Some((_, storage, _)) = &mask {
        dispatch = dispatch.bind(Binding::Input(MASK), *storage);
    }
    // Rows are whole units each, whatever the layout.
    let steps = |heads: usize, length: usize, size: usize| s.steps(heads, length, size.div_ceil(4));
    let kv = s.heads / s.group;
    let [q, k, v, y] = [
        steps(s.heads, s.queries, s.d),
        steps(kv, s.keys, s.d),
        steps(kv, s.keys, s.v),
        steps(s.heads, s.queries, s.v),
    ];
    #[expect(clippy::cast_possible_truncation, reason = "a parameter is an f32")]
    let scale = attention.scale(s.d) as f32;
    dispatch = dispatch
        .bind(Binding::Output(0), request.output_storage(0)?)
        .param("queries", s.queries)
        .param("keys", s.keys)
        .param("d", s.d)
        .param("v4", s.v.div_ceil(4))
        .param("group", s.group)
        .param("scale", scale)
        .param("softcap", attention.softcap)
        .param("causal", u32::from(attention.causal));
    for (names, steps) in [
        (["q_batch", "q_head", "q_row"], q),
        (["k_batch", "k_head", "k_row"], k),
        (["v_batch", "v_head", "v_row"], v),
        (["y_batch", "y_head", "y_row"], y),
    ] {
        for (name, step) in names.into_iter().zip(steps) {
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
        Candidate::new(name, wants.clone(), vec![layout(&y_shape)])
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
