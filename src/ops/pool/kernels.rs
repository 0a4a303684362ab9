//! The kernels of pools: over rows, over channels in groups of four, over anything, and over whole channels.

use super::{Kind, Pool, reference};
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Candidates, DeviceClass, Dispatch, Kernel, Layout, Storage, Want, units};
use crate::ops::window::{Axis, three};
use crate::tensor::shape;

const WORKGROUP: u32 = 64;

/// The ways to run a pool.
pub(super) fn candidates(pool: &Pool, request: &Request<'_>) -> Candidates {
    let (x, y) = (request.shape(0)?, request.output_shape(0)?);
    if y.contains(&0) {
        let outputs = vec![Layout::Linear; 1 + usize::from(pool.indices)];
        return Ok(vec![Candidate::new("empty", vec![Want::In(Layout::Linear)], outputs)]);
    }
    if shape::elements(&x) == Some(0) {
        return Err("its input is empty".to_owned());
    }
    if ![&x, &y].iter().all(|s| units(s, Layout::Channels4).is_some_and(|n| n < 1 << 28)) {
        return Err("its tensors are too large for 32-bit indices".to_owned());
    }
    if pool.window.is_none() {
        return match pool.kind {
            Kind::Lp(p) => {
                let positions = x[2..].iter().product();
                let all = Axis { input: positions, kernel: positions, ..Axis::ONE };
                Ok(vec![norm(p, request, &x, &y, [Axis::ONE, Axis::ONE, all])?])
            }
            _ => global(pool, request, &x, &y),
        };
    }
    let axes = reference::axes(pool, &x[2..]).map_err(|e| e.to_string())?;
    let axes = three(&axes).ok_or("it has more than three spatial axes")?;
    if let Kind::Lp(p) = pool.kind {
        return Ok(vec![norm(p, request, &x, &y, axes)?]);
    }
    if pool.indices {
        return Ok(vec![with_indices(pool, request, &x, &y, axes)?]);
    }
    let mut candidates = vec![windowed(pool, request, &x, &y, axes, Layout::Linear)?];
    if x.len() <= 4 {
        candidates.push(windowed(pool, request, &x, &y, axes, Layout::Rows)?);
        candidates.push(windowed(pool, request, &x, &y, axes, Layout::Channels4)?);
    }
    Ok(candidates)
}

/// The number of a kind in the shaders.
const fn kind(pool: &Pool) -> u32 {
    match pool.kind {
        Kind::Max => 0,
        Kind::Average { include_pad: false } => 1,
        _ => 2,
    }
}

/// A shader for maxima or means, with the lowest number that it may meet.
fn specialised(pool: &Pool, shader: &'static str, workgroup: u32, storage: Storage) -> Kernel {
    let kernel = Kernel::of(shader).define("WORKGROUP", workgroup);
    if pool.kind != Kind::Max {
        return kernel;
    }
    let lowest = match storage {
        // f32::MIN
        _ if storage.is_float() => "-3.40282347e38",
        Storage::I8 => "-128",
        _ => "0",
    };
    kernel.define("MAX", 1).paste("lowest", lowest)
}

fn windowed(
    pool: &Pool,
    request: &Request<'_>,
    x: &[usize],
    y: &[usize],
    axes: [Axis; 3],
    layout: Layout,
) -> Result<Candidate, String> {
    let taps = axes.iter().map(|a| a.kernel.min(a.input)).product::<usize>() as f64;
    let outputs = y.iter().map(|&d| d as f64).product::<f64>();
    let bytes = 4.0 * (outputs + x.iter().map(|&d| d as f64).product::<f64>());
    // Slowness beside a kernel that is bound by its memory: reads of single elements, or of whole units.
    let (name, shader, slowness) = match layout {
        Layout::Linear => ("direct", "pool/direct.wgsl", 6.0),
        Layout::Rows => ("rows", "pool/rows.wgsl", 1.0),
        Layout::Channels4 => ("channels", "pool/channels4.wgsl", 1.0),
    };
    let (input, output) = (layout.canonical(x), layout.canonical(y));
    let mut kernel = specialised(pool, shader, WORKGROUP, request.storage(0)?);
    let [_, _, w] = axes;
    // The usual windows are written out; others are loops.
    if layout == Layout::Rows && w.kernel <= 3 && w.stride <= 2 && w.dilation == 1 && w.before < 8 {
        let (units_before, span) = (w.before.div_ceil(4), 3 * w.stride + w.kernel);
        let offset = units_before * 4 - w.before;
        kernel = kernel
            .define("KERNEL", w.kernel as i64)
            .define("STRIDE", w.stride as i64)
            .define("SPAN", span as i64)
            .define("OFFSET", offset as i64)
            .define("UNITS", (offset + span).div_ceil(4) as i64)
            .define("UNITS_BEFORE", units_before as i64);
    }
    let units = units(y, output).ok_or("it is too large")?;
    let dispatch = Dispatch::of(kernel)
        .bind(Binding::Input(0), request.storage(0)?)
        .bind(Binding::Output(0), request.output_storage(0)?);
    let dispatch = sized(dispatch, units, kind(pool), y, axes).linear(units, WORKGROUP, request.device);
    Ok(Candidate::new(name, vec![Want::In(input)], vec![output])
        .dispatch(dispatch)
        .cost(outputs * taps * slowness, bytes))
}

/// Maxima and their places.
fn with_indices(
    pool: &Pool,
    request: &Request<'_>,
    x: &[usize],
    y: &[usize],
    axes: [Axis; 3],
) -> Result<Candidate, String> {
    let units = units(y, Layout::Linear).ok_or("it is too large")?;
    let dispatch = Dispatch::of(specialised(pool, "pool/indices.wgsl", WORKGROUP, request.storage(0)?))
        .bind(Binding::Input(0), request.storage(0)?)
        .bind(Binding::Output(0), request.output_storage(0)?)
        .bind(Binding::Output(1), request.index_output_storage(1)?);
    let dispatch = sized(dispatch, units, 0, y, axes).param("columns_first", u32::from(pool.column_major));
    let product = |shape: &[usize]| shape.iter().map(|&d| d as f64).product::<f64>();
    let taps = axes.iter().map(|a| a.kernel.min(a.input) as f64).product::<f64>();
    Ok(Candidate::new("indices", vec![Want::In(Layout::Linear)], vec![Layout::Linear; 2])
        .dispatch(dispatch.linear(units, WORKGROUP, request.device))
        .cost(product(y) * taps * 8.0, 4.0 * (product(x) + 2.0 * product(y))))
}

/// The p-norms of windows: one kernel, for what few models have.
fn norm(p: u32, request: &Request<'_>, x: &[usize], y: &[usize], axes: [Axis; 3]) -> Result<Candidate, String> {
    let units = units(y, Layout::Linear).ok_or("it is too large")?;
    let dispatch = Dispatch::of(Kernel::of("pool/norm.wgsl").define("WORKGROUP", WORKGROUP))
        .bind(Binding::Input(0), request.storage(0)?)
        .bind(Binding::Output(0), request.output_storage(0)?);
    let dispatch = sized(dispatch, units, 0, y, axes).param("p", p).linear(units, WORKGROUP, request.device);
    let product = |shape: &[usize]| shape.iter().map(|&d| d as f64).product::<f64>();
    let taps = axes.iter().map(|a| a.kernel.min(a.input) as f64).product::<f64>();
    Ok(Candidate::new("norm", vec![Want::In(Layout::Linear)], vec![Layout::Linear])
        .dispatch(dispatch)
        .cost(product(y) * taps * 40.0, 4.0 * (product(x) + product(y))))
}

/// The parameters of `pool/window`.
fn sized(mut dispatch: Dispatch, units: u64, kind: u32, y: &[usize], axes: [Axis; 3]) -> Dispatch {
    dispatch = dispatch.param("units", units as u32).param("kind", kind).param("elements", y.iter().product::<usize>());
    for (axis, names) in axes.into_iter().zip(PARAMS) {
        let values = [axis.input, axis.output, axis.kernel, axis.stride, axis.dilation, axis.before, axis.after];
        for (name, value) in names.into_iter().zip(values) {
            dispatch = dispatch.param(name, value);
        }
    }
    dispatch
}

/// The names of an axis' parameters: input, output, kernel, stride, dilation, padding before and after.
const PARAMS: [[&str; 7]; 3] = [
    ["input_z", "output_z", "kernel_z", "stride_z", "dilation_z", "before_z", "after_z"],
    ["input_y", "output_y", "kernel_y", "stride_y", "dilation_y", "before_y", "after_y"],
    ["input_x", "output_x", "kernel_x", "stride_x", "dilation_x", "before_x", "after_x"],
];

fn global(pool: &Pool, request: &Request<'_>, x: &[usize], y: &[usize]) -> Candidates {
    let work = x.iter().map(|&d| d as f64).product::<f64>();
    let mut candidates = vec![];
    let planes = x[0] * x[1];
    let positions = x[2..].iter().product::<usize>();
    for layout in [Layout::Linear, Layout::Rows, Layout::Channels4] {
        if layout.canonical(x) != layout {
            continue;
        }
        // On a software adapter a barrier costs more than a few rounds of the loop.
        let workgroup = if request.device.class == DeviceClass::Software { 8 } else { WORKGROUP };
        let fours = layout == Layout::Channels4;
        let kernel = specialised(pool, "pool/global.wgsl", workgroup, request.storage(0)?).define("CHANNELS4", fours);
        // Only padded rows have anything between them.
        let width = if layout == Layout::Rows { x[2..].last().copied().unwrap_or(1) } else { positions };
        let groups = if fours { x[0] * x[1].div_ceil(4) } else { planes.div_ceil(4) };
        let output = if fours { layout.canonical(y) } else { Layout::Linear };
        let dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(0), request.storage(0)?)
            .bind(Binding::Output(0), request.output_storage(0)?)
            .param("units", groups)
            .param("planes", planes)
            .param("rows", positions.checked_div(width).unwrap_or(0))
            .param("width", width)
            .param("pitch", if layout == Layout::Rows { width.next_multiple_of(4) } else { width });
        let dispatch = dispatch.linear(groups as u64, 1, request.device);
        let candidate = Candidate::new("global", vec![Want::In(layout)], vec![output]);
        candidates.push(candidate.dispatch(dispatch).cost(4.0 * work, 4.0 * work));
    }
    Ok(candidates)
}
