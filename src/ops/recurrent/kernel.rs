//! Any recurrent layer on a GPU: the products of the whole sequence with the input weights first, then one workgroup for each
//! batch and direction, which walks the sequence with the state in its memory.
//!
//! So that four buffers suffice, biases, peepholes, first states and lengths are put into one, and outputs taken from one.

use super::{Direction, Kind, Recurrent, Sizes};
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Dispatch, Kernel, Layout, Storage, Want};
use crate::ops::contraction::{Axis, Contraction, Place};
use crate::tensor::shape::elements;

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;
/// Elements of a state that a workgroup's memory has room for.
const LARGEST: usize = 1024;
/// Inputs by their places.
pub(super) const BIAS: usize = 3;
pub(super) const LENGTHS: usize = 4;
pub(super) const HIDDEN: usize = 5;
pub(super) const MEMORY: usize = 6;
pub(super) const PEEPHOLES: usize = 7;

/// A copy of so many units.
fn part(x: Place, from: usize, y: Place, to: usize, units: usize, request: &Request<'_>) -> Dispatch {
    Dispatch::of(Kernel::of("recurrent/part.wgsl").define("WORKGROUP", WORKGROUP))
        .bind(x.0, x.1)
        .bind(y.0, y.1)
        .param("units", units)
        .param("start", from)
        .param("to", to)
        .linear(units as u64, WORKGROUP, request.device)
}

/// The way to run it, whatever its weights.
pub(super) fn candidate(layer: &Recurrent, request: &Request<'_>, s: Sizes) -> Result<Candidate, String> {
    let lstm = layer.kind == Kind::Lstm;
    let directions = layer.directions();
    let rows = layer.kind.gates() * s.hidden;
    let outputs = (0..request.outputs.len()).map(|i| Ok(Layout::Rows.canonical(&request.output_shape(i)?)));
    let outputs = outputs.collect::<Result<Vec<_>, String>>()?;
    let mut candidate = Candidate::new("steps", vec![Want::In(Layout::Linear); request.inputs.len()], outputs);
    if s.hidden > LARGEST {
        return Err(format!("its state has more than {LARGEST} elements"));
    }
    if s.batch == 0 || s.hidden == 0 {
        return Ok(candidate);
    }
    if s.batch > request.device.max_workgroups as usize {
        return Err("its batch is larger than a dispatch".to_owned());
    }
    for shape in [[s.steps.max(1), s.batch, s.input], [directions, rows, s.input.max(s.hidden)]] {
        elements(&shape).filter(|&n| i32::try_from(n).is_ok()).ok_or("it is larger than a shader can count")?;
    }
    let count = elements(&[directions, s.batch, s.steps, rows]).filter(|&n| u32::try_from(n).is_ok());
    let count = count.ok_or("it is longer than a shader can count")?;
    let mut scratch = |units: usize| {
        candidate.scratch.push((units.max(1) as u64, Storage::F32));
        (Binding::Scratch(candidate.scratch.len() - 1), Storage::F32)
    };
    let (products, together) = (scratch(count.div_ceil(4)), (Binding::Scratch(1), Storage::F32));

    // What is small, one after another.
    let mut starts = [0; 8];
    let mut length = 0;
    let mut copies = vec![];
    for i in [BIAS, LENGTHS, HIDDEN, MEMORY, PEEPHOLES] {
        if request.optional(i).is_none() || (!lstm && i > HIDDEN) {
            continue;
        }
        let units = elements(&request.shape(i)?).ok_or("it is too large")?.div_ceil(4);
        starts[i] = length * 4;
        copies.push(part((Binding::Input(i), request.storage(i)?), 0, together.clone(), length, units, request));
        length += units;
    }
    scratch(length);
    let units = s.hidden.div_ceil(4);
    let (sequence, states) = (s.steps * directions * s.batch * units, directions * s.batch * units);
    let result = scratch(sequence + 2 * states);

    let (x_step, x_batch) = (layer.row(s, 1, 0) * s.input, layer.row(s, 0, 1) * s.input);
    let projection = Contraction {
        kept: vec![
            Axis::new(directions, 0, rows * s.input),
            Axis::new(s.batch, x_batch, 0),
            Axis::new(s.steps, x_step, 0),
            Axis::new(rows, 0, s.input),
        ],
        summed: vec![Axis::new(s.input, 1, 1)],
        scale: None,
        padded: false,
    };
    let inputs = [0, 1, 2].map(|i| request.storage(i).map(|storage| (Binding::Input(i), storage)));
    let [x, w, r] = inputs;
    candidate.dispatches.extend(projection.dispatch(x?, Some(w?), products.clone(), request.device)?);
    candidate.dispatches.append(&mut copies);

    let given = |i: usize| request.optional(i).is_some();
    let kernel = Kernel::of("recurrent/layer.wgsl")
        .define("WORKGROUP", WORKGROUP)
        .define("KIND", layer.kind as i64)
        .define("GATES", layer.kind.gates() as i64)
        .define("PACKED", length > 0)
        .define("BIAS", given(BIAS))
        .define("LENGTHS", given(LENGTHS))
        .define("INITIAL", given(HIDDEN))
        .define("MEMORY", lstm && given(MEMORY))
        .define("PEEPHOLES", lstm && given(PEEPHOLES))
        .define("LINEAR", layer.linear_before_reset)
        .define("COUPLED", layer.input_forget);
    let r = r?;
    let mut dispatch = Dispatch::of(kernel).bind(products.0, products.1).bind(r.0, r.1);
    if length > 0 {
        dispatch = dispatch.bind(together.0, together.1);
    }
    dispatch = dispatch
        .bind(result.0.clone(), result.1)
        .param("steps", s.steps)
        .param("batches", s.batch)
        .param("hidden", s.hidden)
        .param("reverse", u32::from(layer.direction == Direction::Reverse))
        .param("y_step", layer.row_of_y(s, 1, 0, 0))
        .param("y_batch", layer.row_of_y(s, 0, 1, 0))
        .param("y_direction", layer.row_of_y(s, 0, 0, 1))
        .param("state_batch", layer.row_of_state(s, 1, 0))
        .param("state_direction", layer.row_of_state(s, 0, 1))
        .param("hidden_to", sequence)
        .param("memory_to", sequence + states)
        .param("bias_at", starts[BIAS])
        .param("peephole_at", starts[PEEPHOLES])
        .param("hidden_at", starts[HIDDEN])
        .param("memory_at", starts[MEMORY])
        .param("length_at", starts[LENGTHS]);
    const NAMES: [[&str; 3]; 6] = [
        ["function0", "alpha0", "beta0"],
        ["function1", "alpha1", "beta1"],
        ["function2", "alpha2", "beta2"],
        ["function3", "alpha3", "beta3"],
        ["function4", "alpha4", "beta4"],
        ["function5", "alpha5", "beta5"],
    ];
    dispatch = dispatch.param("clip", layer.bound());
    for (i, names) in NAMES.into_iter().enumerate() {
        let (function, alpha, beta) = layer.activations[(i / 3).min(directions - 1)].0[i % 3].numbers();
        dispatch = dispatch.param(names[0], function).param(names[1], alpha).param(names[2], beta);
    }
    let [batches, directions] = [s.batch, directions].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    candidate.dispatches.push(dispatch.workgroups(batches, directions, 1));
    for (i, (from, units)) in [(0, sequence), (sequence, states), (sequence + states, states)].into_iter().enumerate() {
        if i < request.outputs.len() && units > 0 {
            let to = (Binding::Output(i), request.output_storage(i)?);
            candidate.dispatches.push(part(result.clone(), from, to, 0, units, request));
        }
    }
    let work = projection.work() + 2.0 * count as f64 * s.hidden as f64;
    // Four reads far apart for each product with the state: measured at a sixth of what packed weights reach.
    Ok(candidate.cost(40.0 * work, 0.0))
}
