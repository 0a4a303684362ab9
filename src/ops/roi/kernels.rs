//! The kernels of regions.

use super::{Kind, Roi};
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::tensor::shape;

const WORKGROUP: u32 = 64;

/// The one way to run regions: each output from scratch.
pub(super) fn candidates(roi: &Roi, request: &Request<'_>) -> Candidates {
    let (x, y) = (request.shape(0)?, request.output_shape(0)?);
    let small = |s: &[usize]| shape::elements(s).is_some_and(|n| n < 1 << 30);
    if !small(&x) || !small(&y) || !small(&request.shape(1)?) || x[2..].iter().any(|&n| n >= 1 << 24) {
        return Err("its tensors are too large for 32-bit indices".to_owned());
    }
    let wants = vec![Want::In(Layout::Linear); request.inputs.len()];
    let candidate = Candidate::new("bins", wants, vec![Layout::Linear]);
    if y.contains(&0) {
        return Ok(vec![candidate]);
    }
    if x.contains(&0) {
        return Err("its input is empty".to_owned());
    }
    let elements: usize = y.iter().product();
    let units = elements.div_ceil(4);
    let (align, points) = match roi.kind {
        Kind::Align { max, half_pixel, points } => (Some((max, half_pixel)), points),
        Kind::Pool => (None, 0),
    };
    let kernel = Kernel::of("roi/bins.wgsl").define("WORKGROUP", WORKGROUP).define("POOL", align.is_none());
    let mut dispatch =
        Dispatch::of(kernel).bind(Binding::Input(0), request.storage(0)?).bind(Binding::Input(1), request.storage(1)?);
    if align.is_some() {
        dispatch = dispatch.bind(Binding::Input(2), request.index_storage(2)?);
    }
    dispatch = dispatch
        .bind(Binding::Output(0), request.output_storage(0)?)
        .param("units", units)
        .param("elements", elements)
        .param("images", x[0])
        .param("channels", x[1])
        .param("input_y", x[2])
        .param("input_x", x[3])
        .param("output_y", y[2])
        .param("output_x", y[3])
        .param("scale", roi.scale);
    if let Some((max, half_pixel)) = align {
        dispatch = dispatch
            .param("half_pixel", u32::from(half_pixel))
            .param("largest", u32::from(max))
            .param("points", points);
    }
    let dispatch = dispatch.linear(units as u64, WORKGROUP, request.device);
    Ok(vec![candidate.dispatch(dispatch).cost(elements as f64 * 200.0, elements as f64 * 20.0)])
}
