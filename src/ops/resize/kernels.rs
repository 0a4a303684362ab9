//! Resizing on a GPU: repetition by whole numbers, tables of nearest elements, and sums of taps along two axes at a time.

use super::{Axis, RESIDUAL, Resize, Taps};
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Storage, Want};
use crate::ops::quantize::Numbers;
use crate::ops::remap::{Remap, table};
use crate::ops::strided::{WORKGROUP, cost};
use crate::tensor::shape::elements;

/// The ways to run a resize.
pub(super) fn candidates(request: &Request<'_>, resize: &Resize, axes: &[Axis]) -> Candidates {
    let (shape, result) = (request.shape(0)?, request.output_shape(0)?);
    let storages = (request.storage(0)?, request.output_storage(0)?);
    let mut wants = vec![Want::Nothing; request.inputs.len()];
    let count = elements(&result).filter(|&n| i32::try_from(n).is_ok()).ok_or("it is too large")?;
    if count == 0 {
        return Ok(vec![Candidate::new("empty", wants, vec![Layout::Linear])]);
    }
    elements(&shape).filter(|&n| i32::try_from(n).is_ok()).ok_or("it is too large")?;
    let taps = resize.taps(axes).map_err(|e| e.to_string())?;
    if taps.iter().all(Option::is_none) {
        let layout = request.input(0)?.layout;
        wants[0] = Want::In(layout);
        return Ok(vec![Candidate { view_of: Some(0), ..Candidate::new("view", wants, vec![layout]) }]);
    }
    let nearest = taps.iter().flatten().all(|taps| taps.count == 1);
    if !nearest && !storages.1.is_float() {
        return Err("its kernel interpolates floating-point numbers only".to_owned());
    }
    let mut candidates = vec![];
    for layout in [Layout::Linear, Layout::Rows, Layout::Channels4] {
        let (from, to) = (layout.canonical(&shape), layout.canonical(&result));
        if layout != Layout::Linear && (from, to) == (Layout::Linear, Layout::Linear) {
            continue;
        }
        // Channels in groups stay as they are; without positions, they are what stands in a row.
        if layout == Layout::Channels4 && (taps.len() < 3 || taps[1].is_some()) {
            continue;
        }
        wants[0] = Want::In(from);
        let own = resize.residual.then_some(RESIDUAL);
        if let Some(dispatch) = repeated(request, own, &shape, &taps, from, to)? {
            let mut candidate = Candidate::new("repeat", wants.clone(), vec![to]).dispatch(dispatch);
            let mut bytes = count as f64 / 4.0 * storages.1.unit_bytes() as f64 * 1.5;
            if resize.residual {
                candidate.inputs[RESIDUAL] = Want::In(to);
                candidate = candidate.in_place(RESIDUAL);
                bytes += count as f64 / 4.0 * request.storage(RESIDUAL)?.unit_bytes() as f64;
            }
            candidates.push(candidate.cost(0.0, bytes));
            // By the pipeline of those that add something: it reads x a second time, and adds nothing.
            if !resize.residual && storages.1.is_float() {
                let dispatch = repeated(request, Some(0), &shape, &taps, from, to)?;
                let other = dispatch.map(|d| Candidate::new("repeat", wants.clone(), vec![to]).dispatch(d));
                candidates.extend(other.map(|candidate| candidate.cost(0.0, bytes * 1.05)));
            }
        } else if resize.residual {
            // Rows take any width.
        } else if nearest {
            candidates.extend(nearest_by_table(request, resize, (&shape, &result), &taps, &wants, (from, to))?);
        } else if let Some(mut candidate) = summed(request, resize, (&shape, &result), &taps, (from, to), None)? {
            candidate.inputs.clone_from(&wants);
            candidates.push(candidate);
        }
    }
    Ok(candidates)
}

/// The ways to make quantized numbers of another size, and of another scale.
pub(super) fn of_integers(request: &Request<'_>, resize: &Resize, axes: &[Axis], numbers: &Numbers) -> Candidates {
    let (shape, result) = (request.shape(0)?, request.output_shape(0)?);
    let mut wants = vec![Want::Nothing; request.inputs.len()];
    let small = |shape: &[usize]| elements(shape).is_some_and(|n| i32::try_from(n).is_ok());
    if !small(&shape) || !small(&result) {
        return Err("it is too large".to_owned());
    }
    if result.contains(&0) {
        return Ok(vec![Candidate::new("empty", wants, vec![Layout::Linear])]);
    }
    let taps = resize.taps(axes).map_err(|e| e.to_string())?;
    if taps.iter().all(Option::is_none) || taps.iter().flatten().any(|taps| taps.index.iter().any(|&i| i < 0)) {
        return Err("it changes no size, or fills what is outside".to_owned());
    }
    let mut candidates = vec![];
    for layout in [Layout::Linear, Layout::Channels4] {
        let (from, to) = (layout.canonical(&shape), layout.canonical(&result));
        if layout == Layout::Channels4 && (taps.len() < 3 || taps[1].is_some() || (from, to) != (layout, layout)) {
            continue;
        }
        wants[0] = Want::In(from);
        if let Some(mut candidate) = summed(request, resize, (&shape, &result), &taps, (from, to), Some(numbers))? {
            candidate.inputs.clone_from(&wants);
            candidates.push(candidate);
        }
    }
    Ok(candidates)
}

/// How often each line and each element of a row stands in the result, if that is all that happens.
pub(super) fn factors(shape: &[usize], taps: &[Option<Taps>]) -> Option<(usize, usize)> {
    let (last, height) = (taps.len().checked_sub(1)?, taps.len().checked_sub(2));
    let changed = |i: usize| taps[i].is_some() && i != last && Some(i) != height;
    let factor = |i: usize| match &taps[i] {
        None => Some(1),
        Some(taps) => {
            let factor = taps.index.len() / shape[i].max(1);
            let repeats = taps.count == 1
                && factor * shape[i] == taps.index.len()
                && taps.index.iter().enumerate().all(|(o, &at)| usize::try_from(at) == Ok(o / factor.max(1)));
            repeats.then_some(factor)
        }
    };
    if (0..taps.len()).any(changed) {
        return None;
    }
    Some((height.map_or(Some(1), factor)?, factor(last)?))
}

/// Whole-number repetition of the last two dimensions, in layouts where rows are whole units. What is bound as `residual` is
/// added if it is one.
fn repeated(
    request: &Request<'_>,
    residual: Option<usize>,
    shape: &[usize],
    taps: &[Option<Taps>],
    from: Layout,
    to: Layout,
) -> Result<Option<Dispatch>, String> {
    let Some((&width, lines)) = shape.split_last() else { return Ok(None) };
    let Some((factor_h, factor_w)) = factors(shape, taps) else { return Ok(None) };
    let channels = from == Layout::Channels4;
    // Linear values can be seen as rows only where their rows are whole units on both sides.
    let rows = |layout: Layout, width: usize| layout == Layout::Rows || width.is_multiple_of(4);
    let whole = rows(from, width) && rows(to, width * factor_w);
    if !channels && !whole {
        return Ok(None);
    }
    // With channels in groups, of which there are fewer than channels, positions are units.
    let lines = if channels { &from.physical_shape(shape)[..lines.len()] } else { lines };
    let (row, out_row) =
        if channels { (width, width * factor_w) } else { (width.div_ceil(4), (width * factor_w).div_ceil(4)) };
    let units = elements(lines).and_then(|n| n.checked_mul(row)).ok_or("it is too large")?;
    let kernel = Kernel::of("resize/nearest.wgsl").define("WORKGROUP", WORKGROUP).define("CHANNELS", channels);
    let mut dispatch = Dispatch::of(kernel).bind(Binding::Input(0), request.storage(0)?);
    if let Some(input) = residual {
        dispatch.kernel = dispatch.kernel.define("RESIDUAL", 1);
        dispatch = dispatch.bind(Binding::Input(input), request.storage(input)?);
    }
    dispatch = dispatch.bind(Binding::Output(0), request.output_storage(0)?);
    dispatch = dispatch
        .param("units", units)
        .param("row_units", row)
        .param("out_row_units", out_row)
        .param("factor_h", factor_h)
        .param("factor_w", factor_w);
    if let Some(input) = residual {
        dispatch = dispatch.param("added", u32::from(input == RESIDUAL));
    }
    Ok(Some(dispatch.linear(units as u64, WORKGROUP, request.device)))
}

/// The nearest element, through a table for each axis.
fn nearest_by_table(
    request: &Request<'_>,
    resize: &Resize,
    (shape, result): (&[usize], &[usize]),
    taps: &[Option<Taps>],
    wants: &[Want],
    (from, to): (Layout, Layout),
) -> Result<Option<Candidate>, String> {
    let storages = (request.storage(0)?, request.output_storage(0)?);
    let source = from.physical_shape(shape);
    let mut tables: Vec<Option<Vec<i64>>> =
        taps.iter().map(|taps| taps.as_ref().map(|t| t.index.iter().map(|&i| i.into()).collect())).collect();
    match (to, tables.last_mut()) {
        (Layout::Rows, Some(Some(table))) => table.resize(table.len().next_multiple_of(4), -1),
        (Layout::Channels4, _) => tables.push(None),
        _ => {}
    }
    let remap = Remap { source, tables };
    if remap.dims() != to.physical_shape(result) {
        return Ok(None);
    }
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
    let fill = if storages.1.is_float() { resize.fill.to_bits() } else { (resize.fill as i32).cast_unsigned() };
    let mut candidate = Candidate::new("nearest", wants.to_vec(), vec![to]);
    if let Some(dispatch) = remap.dispatch(storages, [fill, 0], request.device)? {
        candidate = candidate.cost(0.0, cost(&dispatch, storages.1)).dispatch(dispatch);
    }
    Ok(Some(candidate))
}

/// Weighted sums, two neighbouring axes in a dispatch, through f32 scratch where there are more.
fn summed(
    request: &Request<'_>,
    resize: &Resize,
    (shape, result): (&[usize], &[usize]),
    taps: &[Option<Taps>],
    (from, to): (Layout, Layout),
    numbers: Option<&Numbers>,
) -> Result<Option<Candidate>, String> {
    let changed: Vec<usize> = (0..taps.len()).filter(|&i| taps[i].is_some()).collect();
    let mut passes: Vec<(Option<usize>, usize)> = vec![];
    for &axis in &changed {
        match passes.last_mut() {
            Some((lines @ None, last)) if *last + 1 == axis => (*lines, *last) = (Some(*last), axis),
            _ => passes.push((None, axis)),
        }
    }
    let rows = from == Layout::Rows || to == Layout::Rows;
    if rows && passes.len() > 1 {
        return Ok(None);
    }
    // The dimensions as they lie in the buffer; in rows the last may be padded on one side alone.
    let mut dims = from.physical_shape(shape);
    let goal = to.physical_shape(result);
    let mut candidate = Candidate::new("taps", vec![], vec![to]);
    let (mut operations, mut bytes) = (0.0, 0.0);
    for (i, &(lines, axis)) in passes.iter().enumerate() {
        let (first, last) = (i == 0, i + 1 == passes.len());
        let mut next = dims.clone();
        for at in lines.into_iter().chain([axis]) {
            next[at] = goal[at];
        }
        let source =
            if first { (Binding::Input(0), request.storage(0)?) } else { (Binding::Scratch(i - 1), Storage::F32) };
        let target =
            if last { (Binding::Output(0), request.output_storage(0)?) } else { (Binding::Scratch(i), Storage::F32) };
        let numbers = numbers.filter(|_| last);
        let pass = Pass { lines, axis, taps, result: result[axis], fill: resize.fill, numbers };
        let units = elements(&next).ok_or("it is too large")?.div_ceil(4);
        if !last {
            candidate.scratch.push((units as u64, Storage::F32));
        }
        let per_element = |at: usize| taps[at].as_ref().map_or(1, |t| t.count) as f64;
        let each = per_element(axis) * lines.map_or(1.0, per_element);
        operations += 2.0 * each * units as f64 * 4.0;
        bytes += units as f64 * (target.1.unit_bytes() as f64 + each * source.1.unit_bytes() as f64);
        candidate = candidate.dispatch(pass.dispatch(&dims, &next, source, target, request)?);
        dims = next;
    }
    Ok(Some(candidate.cost(operations, bytes)))
}

/// One dispatch of sums: along `axis`, and along the one before it where that changes, too.
struct Pass<'a> {
    lines: Option<usize>,
    axis: usize,
    taps: &'a [Option<Taps>],
    /// The size of `axis` in the result, without padding.
    result: usize,
    fill: f32,
    /// What becomes of the sums where they are quantized.
    numbers: Option<&'a Numbers>,
}

impl Pass<'_> {
    fn dispatch(
        &self,
        dims: &[usize],
        next: &[usize],
        (source, from): (Binding, Storage),
        (target, to): (Binding, Storage),
        request: &Request<'_>,
    ) -> Result<Dispatch, String> {
        let one = Taps { count: 1, index: vec![0], weight: vec![1.0] };
        let along_lines = self.lines.and_then(|i| self.taps[i].as_ref()).unwrap_or(&one);
        let across = self.taps[self.axis].as_ref().unwrap_or(&one);
        let (height, out_height) = self.lines.map_or((1, 1), |i| (dims[i], next[i]));
        let inner: usize = dims[self.axis + 1..].iter().product();
        let mut count = elements(next).ok_or("it is too large")?;
        let form = if inner.is_multiple_of(4) {
            2
        } else if next[self.axis].is_multiple_of(4) && inner == 1 {
            1
        } else {
            0
        };
        let units = count.div_ceil(4);
        let mut unit = 1;
        if form == 2 {
            (count, unit) = (units, 4);
        }
        let index = [along_lines.index.as_slice(), &across.index].concat();
        let weight = [along_lines.weight.as_slice(), &across.weight].concat();
        let mut kernel = Kernel::of("resize/taps.wgsl").define("WORKGROUP", WORKGROUP).define("FORM", form);
        if self.numbers.is_some() {
            kernel = kernel.define("INTEGERS", 1);
        }
        let mut dispatch = Dispatch::of(kernel)
            .bind(source, from)
            .bind(table(index, Storage::I32), Storage::I32)
            .bind(table(weight, Storage::F32), Storage::F32)
            .bind(target, to)
            .param("units", units)
            .param("elements", count)
            .param("height", height)
            .param("pitch", dims[self.axis] * inner / unit)
            .param("inner", inner / unit)
            .param("out_height", out_height)
            .param("out_width", self.result)
            .param("out_pitch", next[self.axis] * inner / unit)
            .param("taps_h", along_lines.count)
            .param("taps_w", across.count)
            .param("first_w", along_lines.index.len())
            .param("fill", self.fill);
        if let Some(Numbers { zeros, factors, result: [zero, low, high] }) = self.numbers {
            dispatch = dispatch
                .param("x_zero", zeros[0])
                .param("factor", factors[0])
                .param("zero", *zero)
                .param("low", low - zero)
                .param("high", high - zero);
        }
        Ok(dispatch.linear(units as u64, WORKGROUP, request.device))
    }
}
