//! Recurrent layers with constant weights on a GPU: one product of matrices for the whole sequence, then one workgroup for
//! each batch and direction, which reads weights that lie in the order in which it needs them.

use half::f16;

use super::activation::Function;
use super::kernel::{BIAS, HIDDEN, LENGTHS, MEMORY, PEEPHOLES};
use super::{Direction, Kind, Recurrent, Sizes};
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Constant, DeviceClass, Dispatch, Kernel, Layout, Packing, Storage, Want};
use crate::ops::matmul::{Product, Tiles, families, in_panels};
use crate::ops::remap::table;
use crate::tensor::shape::elements;
use crate::tensor::{Element, ElementType, Tensor};

/// Elements of a state that the workgroup's memory has room for, with the sums of its gates.
const LARGEST: usize = 512;
/// Outputs behind Y by their places, where a node has them.
const HIDDEN_OUTPUT: usize = 1;
const MEMORY_OUTPUT: usize = 2;

/// The candidate, if all but the sequences and their first states is constant, and the sequences have one length.
pub(super) fn candidate(layer: &Recurrent, request: &Request<'_>, s: Sizes) -> Option<Candidate> {
    let (gates, directions, units) = (layer.kind.gates(), layer.directions(), s.hidden.div_ceil(4));
    let rows = s.steps.checked_mul(s.batch)?;
    let fits = s.hidden <= LARGEST && s.batch <= request.device.max_workgroups as usize;
    // The functions are part of the pipeline: both directions' are the same.
    let usual = layer.activations.iter().all(|own| *own == layer.activations[0]);
    if request.optional(LENGTHS).is_some() || !fits || !usual || rows * s.hidden * s.input == 0 {
        return None;
    }
    // What the whole sequence multiplies with the weights of all gates.
    let product = Product::of_matrices(rows, s.input, directions * gates * units * 4, false, false);
    let cheapest = |a: &Tiles, b: &Tiles| a.operations.total_cmp(&b.operations);
    let family = families(&product, request.device).into_iter().min_by(cheapest)?;
    let panel = family.panel(&product);
    let columns = (product.n / 4).checked_next_multiple_of(panel)?;
    let input = constant(request, 1, INPUT, vec![gates, panel], s.input.checked_mul(columns)?)?;
    let state = constant(request, 2, STATE, vec![gates], elements(&[directions, units * 4, gates, units])?)?;
    let count = elements(&[rows, product.n]).filter(|&n| u32::try_from(n).is_ok())?;
    let b_rows = gates + usize::from(separate(layer)) + if given(request, PEEPHOLES) { 3 } else { 0 };
    let b = (given(request, BIAS) || given(request, PEEPHOLES)).then(|| biases(layer, request, s, b_rows));

    let layout = |shape: &[usize]| Layout::Rows.canonical(shape);
    let mut wants = vec![Want::Nothing; request.inputs.len()];
    wants[0] = Want::In(layout(&request.shape(0).ok()?));
    let outputs = (0..request.outputs.len()).map(|i| Some(layout(&request.output_shape(i).ok()?)));
    let mut candidate = Candidate::new("gates", wants, outputs.collect::<Option<_>>()?);
    candidate.scratch.push((count as u64 / 4, Storage::F32));
    let products = (Binding::Scratch(0), Storage::F32);
    let x = (Binding::Input(0), request.storage(0).ok()?);
    candidate.dispatches.push(family.dispatch(&product, [x, input, products.clone()]));

    // A first state of zeros is as good as none.
    let first = |i: usize| given(request, i) && !zeros(request, i);
    let (hidden, memory) = (first(HIDDEN), layer.kind == Kind::Lstm && first(MEMORY));
    // A software adapter hands a workgroup's invocations on eight at a time.
    let workgroup = if request.device.class == DeviceClass::Software { 64 } else { 128 };
    let own = layer.activations[0].0.map(Function::numbers);
    let kernel = Kernel::of("recurrent/gates.wgsl")
        .define("WORKGROUP", workgroup)
        .define("KIND", layer.kind as i64)
        .define("GATES", gates as i64)
        .define("B_ROWS", if b.is_some() { b_rows as i64 } else { 0 })
        .define("PEEPHOLES", given(request, PEEPHOLES))
        .define("INITIAL", hidden)
        .define("MEMORY", memory)
        .define("LAST_HIDDEN", request.outputs.len() > HIDDEN_OUTPUT)
        .define("LAST_MEMORY", request.outputs.len() > MEMORY_OUTPUT)
        .define("LINEAR", separate(layer))
        .define("TWICE", layer.kind == Kind::Gru && !layer.linear_before_reset)
        .define("COUPLED", layer.input_forget)
        .define("FUNCTION0", own[0].0)
        .define("FUNCTION1", own[1].0)
        .define("FUNCTION2", own[2].0);
    let mut dispatch = Dispatch::of(kernel).bind(products.0, products.1).bind(state.0, state.1);
    if let Some(b) = b {
        dispatch = dispatch.bind(table(b?, Storage::F32), Storage::F32);
    }
    for i in [(HIDDEN, hidden), (MEMORY, memory)].into_iter().filter(|(_, given)| *given).map(|(i, _)| i) {
        candidate.inputs[i] = Want::In(layout(&request.shape(i).ok()?));
        dispatch = dispatch.bind(Binding::Input(i), request.storage(i).ok()?);
    }
    for i in 0..request.outputs.len() {
        dispatch = dispatch.bind(Binding::Output(i), request.output_storage(i).ok()?);
    }
    if dispatch.bindings.len() > request.device.max_storage_buffers as usize {
        return None;
    }
    let row = directions * gates * units;
    dispatch = dispatch
        .param("steps", s.steps)
        .param("hidden", s.hidden)
        .param("units", units)
        .param("reverse", u32::from(layer.direction == Direction::Reverse))
        .param("product_step", layer.row(s, 1, 0) * row)
        .param("product_batch", layer.row(s, 0, 1) * row)
        .param("y_step", layer.row_of_y(s, 1, 0, 0))
        .param("y_batch", layer.row_of_y(s, 0, 1, 0))
        .param("y_direction", layer.row_of_y(s, 0, 0, 1))
        .param("state_batch", layer.row_of_state(s, 1, 0))
        .param("state_direction", layer.row_of_state(s, 0, 1))
        .param("clip", layer.bound());
    for (names, (_, alpha, beta)) in
        [["alpha0", "beta0"], ["alpha1", "beta1"], ["alpha2", "beta2"]].into_iter().zip(own)
    {
        dispatch = dispatch.param(names[0], alpha).param(names[1], beta);
    }
    let [x, y] = [s.batch, directions].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    candidate.dispatches.push(dispatch.workgroups(x, y, 1));
    // As many products as elements of the sequence, each with the state; nothing but weights is read for them.
    let work = 2.0 * count as f64 * s.hidden as f64;
    Some(candidate.cost(family.operations + 4.0 * work, 0.0))
}

/// Whether a GRU's reset gate applies to the product with the state, whose bias then is one of its own.
fn separate(layer: &Recurrent) -> bool {
    layer.kind == Kind::Gru && layer.linear_before_reset
}

fn given(request: &Request<'_>, input: usize) -> bool {
    request.optional(input).is_some()
}

fn zeros(request: &Request<'_>, input: usize) -> bool {
    let constant = request.optional(input).and_then(|input| input.fact.constant.as_ref());
    constant.is_some_and(|tensor| tensor.bytes().iter().all(|&byte| byte == 0))
}

/// A constant input as a packing of so many units, and its storage.
fn constant(
    request: &Request<'_>,
    input: usize,
    packing: Packing,
    parameters: Vec<usize>,
    units: usize,
) -> Option<(Binding, Storage)> {
    let source = request.input(input).ok()?.fact.constant.clone()?;
    let storage = request.storage(input).ok()?;
    let units = u64::try_from(units).ok()?;
    Some((Binding::Constant(Box::new(Constant { source, packing, parameters, storage, units })), storage))
}

/// Biases and peepholes as the kernel reads them: a row of whole units for each gate's, those of W and of R as one where
/// they are added to one sum.
fn biases(layer: &Recurrent, request: &Request<'_>, s: Sizes, rows: usize) -> Option<Vec<f32>> {
    let (gates, width) = (layer.kind.gates(), s.hidden.next_multiple_of(4));
    let numbers = |input: usize| match request.optional(input) {
        Some(input) => input.fact.constant.as_ref().map(Tensor::to_f64),
        None => Some(vec![]),
    };
    let (b, peepholes) = (numbers(BIAS)?, numbers(PEEPHOLES)?);
    let mut out = vec![0.0; layer.directions() * rows * width];
    for (i, row) in out.chunks_exact_mut(width).enumerate() {
        let (direction, row_of) = (i / rows, i % rows);
        let bias = |gate: usize, h: usize| b.get((direction * 2 * gates + gate) * s.hidden + h).copied().unwrap_or(0.0);
        for (h, value) in row[..s.hidden].iter_mut().enumerate() {
            let sum = match row_of {
                2 if separate(layer) => bias(2, h),
                3 if separate(layer) => bias(gates + 2, h),
                gate if gate < gates => bias(gate, h) + bias(gates + gate, h),
                row => peepholes[(direction * 3 + row - gates) * s.hidden + h],
            };
            #[expect(clippy::cast_possible_truncation, reason = "sums of numbers of 32 bits, kept so")]
            {
                *value = sum as f32;
            }
        }
    }
    Some(out)
}

/// W as panels of a matrix of inputs by gates, each gate's columns padded to whole units. Parameters: gates, units of a panel.
const INPUT: Packing = Packing {
    name: "recurrent/input",
    pack: |w, parameters| by_type(w, parameters, input_weights::<f32>, input_weights::<f16>),
};

/// R as units of `[direction, element of the state, gate, unit]`, zeros beyond the state. Parameters: gates.
const STATE: Packing = Packing {
    name: "recurrent/state",
    pack: |r, parameters| by_type(r, parameters, state_weights::<f32>, state_weights::<f16>),
};

type Pack<T> = fn(&[T], &[usize], &[usize]) -> Vec<T>;

fn by_type(tensor: &Tensor, parameters: &[usize], singles: Pack<f32>, halves: Pack<f16>) -> Tensor {
    let shape = tensor.shape();
    match tensor.element_type() {
        ElementType::F16 => Tensor::vector(halves(tensor.as_slice().unwrap_or_default(), shape, parameters)),
        _ => Tensor::vector(singles(tensor.as_slice().unwrap_or_default(), shape, parameters)),
    }
}

fn input_weights<T: Element + Default>(w: &[T], shape: &[usize], parameters: &[usize]) -> Vec<T> {
    let (&[directions, rows, input], &[gates, panel]) = (shape, parameters) else { return vec![] };
    let (hidden, width) = (rows / gates, (rows / gates).next_multiple_of(4));
    let mut padded = vec![T::default(); directions * gates * width * input];
    for (own, padded) in w.chunks_exact(hidden * input).zip(padded.chunks_exact_mut(width * input)) {
        padded[..own.len()].copy_from_slice(own);
    }
    in_panels(&padded, &[1, input, directions * gates * width, 1, panel])
}

fn state_weights<T: Element + Default>(r: &[T], shape: &[usize], parameters: &[usize]) -> Vec<T> {
    let (&[directions, rows, hidden], &[gates]) = (shape, parameters) else { return vec![] };
    let width = hidden.next_multiple_of(4);
    let mut out = vec![T::default(); directions * width * gates * width];
    for direction in 0..directions {
        for row in 0..rows {
            let column = row / hidden * width + row % hidden;
            for (k, &value) in r[(direction * rows + row) * hidden..][..hidden].iter().enumerate() {
                out[(direction * width + k) * gates * width + column] = value;
            }
        }
    }
    out
}
