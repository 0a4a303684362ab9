//! What becomes of the sums of a cell's gates, for one sequence: one step of the formula after another, each for all of the
//! state, so that functions are chosen outside of loops.

use pulp::{Simd, WithSimd};

use crate::cpu::functions::tanh;
use crate::cpu::simd::{activate_slice, bounded, each_vector, exp, load, magnitude, select};
use crate::graph::Activation;
use crate::ops::recurrent::Function;

/// What all gates of a direction share.
#[derive(Clone, Copy)]
pub(super) struct Gates {
    pub functions: [Function; 3],
    /// Bounds the sums; 0 where nothing does.
    pub bound: f32,
    /// LSTM: the forget gate is one less the input gate.
    pub input_forget: bool,
    /// GRU: the reset gate applies to the product with the state, not to the state.
    pub linear_before_reset: bool,
}

/// A function of each element.
#[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
#[inline(always)]
fn apply<S: Simd>(simd: S, function: Function, values: &mut [f32]) {
    match function {
        Function::Relu => activate_slice(simd, values, Activation::Relu),
        Function::Tanh => activate_slice(simd, values, Activation::Tanh),
        Function::Sigmoid => activate_slice(simd, values, Activation::Sigmoid),
        Function::LeakyRelu(alpha) => activate_slice(simd, values, Activation::LeakyRelu(alpha as f32)),
        Function::HardSigmoid(alpha, beta) => {
            activate_slice(simd, values, Activation::HardSigmoid(alpha as f32, beta as f32));
        }
        // No file is known that has it: element by element.
        Function::Softplus => values.iter_mut().for_each(|v| *v = function.apply(f64::from(*v)) as f32),
        other => each_vector(simd, values, |x, _| seldom(simd, other, x)),
    }
}

/// The functions that are seldom seen.
#[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
#[inline(always)]
fn seldom<S: Simd>(simd: S, function: Function, x: S::f32s) -> S::f32s {
    let splat = |v: f32| simd.splat_f32s(v);
    match function {
        Function::Softsign => simd.div_f32s(x, simd.add_f32s(splat(1.0), magnitude(simd, x))),
        Function::Affine(alpha, beta) => simd.mul_add_e_f32s(splat(alpha as f32), x, splat(beta as f32)),
        Function::ThresholdedRelu(alpha) => select(simd, simd.less_than_f32s(x, splat(alpha as f32)), splat(0.0), x),
        Function::ScaledTanh(alpha, beta) => {
            simd.mul_f32s(splat(alpha as f32), tanh(simd, simd.mul_f32s(splat(beta as f32), x)))
        }
        Function::Elu(alpha) => {
            let below = simd.mul_f32s(splat(alpha as f32), simd.sub_f32s(exp(simd, x), splat(1.0)));
            select(simd, simd.less_than_f32s(x, splat(0.0)), below, x)
        }
        _ => x,
    }
}

/// A function of some gates' sums, which are bounded before. Compiled by itself: it is needed in many places, and large.
struct Open<'a> {
    function: Function,
    bound: f32,
    values: &'a mut [f32],
}

impl WithSimd for Open<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { function, bound, values } = self;
        if bound > 0.0 {
            each_vector(simd, values, |x, _| bounded(simd, -bound, bound, x));
        }
        apply(simd, function, values);
    }
}

/// Gates of their sums.
#[inline(always)]
fn open<S: Simd>(simd: S, gates: Gates, function: usize, values: &mut [f32]) {
    simd.vectorize(Open { function: gates.functions[function], bound: gates.bound, values });
}

/// The vector of a slice that begins at `from`.
#[inline(always)]
fn at<S: Simd>(simd: S, values: &[f32], from: usize) -> S::f32s {
    load(simd, &values[from..(from + S::F32_LANES).min(values.len())])
}

/// Adds `a · b` to each element.
#[inline(always)]
fn add_product<S: Simd>(simd: S, y: &mut [f32], a: &[f32], b: &[f32]) {
    each_vector(simd, y, |y, i| simd.mul_add_e_f32s(at(simd, a, i), at(simd, b, i), y));
}

/// RNN.
#[inline(always)]
pub(super) fn rnn<S: Simd>(simd: S, gates: Gates, sums: &mut [f32], state: &mut [f32]) {
    open(simd, gates, 0, sums);
    state.copy_from_slice(sums);
}

/// LSTM: `sums` are those of the gates i, o, f and c, `peepholes` those of i, o and f if there are any.
#[inline(always)]
pub(super) fn lstm<S: Simd>(
    simd: S,
    gates: Gates,
    sums: &mut [f32],
    peepholes: &[f32],
    state: &mut [f32],
    memory: &mut [f32],
) {
    let hidden = state.len();
    let (input, rest) = sums.split_at_mut(hidden);
    let (output, rest) = rest.split_at_mut(hidden);
    let (forget, new) = rest.split_at_mut(hidden);
    if !peepholes.is_empty() {
        add_product(simd, input, &peepholes[..hidden], memory);
        add_product(simd, forget, &peepholes[2 * hidden..], memory);
    }
    open(simd, gates, 0, input);
    open(simd, gates, 0, forget);
    open(simd, gates, 1, new);
    if gates.input_forget {
        let one = simd.splat_f32s(1.0);
        each_vector(simd, forget, |_, i| simd.sub_f32s(one, at(simd, input, i)));
    }
    each_vector(simd, memory, |old, i| {
        let new = simd.mul_f32s(at(simd, input, i), at(simd, new, i));
        simd.mul_add_e_f32s(at(simd, forget, i), old, new)
    });
    if !peepholes.is_empty() {
        add_product(simd, output, &peepholes[hidden..2 * hidden], memory);
    }
    open(simd, gates, 0, output);
    state.copy_from_slice(memory);
    open(simd, Gates { bound: 0.0, ..gates }, 2, state);
    each_vector(simd, state, |state, i| simd.mul_f32s(state, at(simd, output, i)));
}

/// GRU, before the product of the new state is known: the gates z and r take their sums' place, and `reset` becomes what
/// that product reads of the state.
#[inline(always)]
pub(super) fn reset<S: Simd>(simd: S, gates: Gates, sums: &mut [f32], state: &[f32], reset: &mut [f32]) {
    open(simd, gates, 0, sums);
    reset.copy_from_slice(state);
    if !gates.linear_before_reset {
        let r = &sums[state.len()..];
        each_vector(simd, reset, |state, i| simd.mul_f32s(state, at(simd, r, i)));
    }
}

/// GRU: the new state, of the gates z and r, the candidate's sums with the input and its product with the state, which
/// becomes the candidate.
#[inline(always)]
pub(super) fn gru<S: Simd>(simd: S, gates: Gates, zr: &[f32], input: &[f32], product: &mut [f32], state: &mut [f32]) {
    let (update, r) = zr.split_at(state.len());
    if gates.linear_before_reset {
        each_vector(simd, product, |v, i| simd.mul_add_e_f32s(at(simd, r, i), v, at(simd, input, i)));
    } else {
        each_vector(simd, product, |v, i| simd.add_f32s(v, at(simd, input, i)));
    }
    open(simd, gates, 1, product);
    let candidate = &*product;
    // (1 − z)·candidate + z·old
    each_vector(simd, state, |old, i| {
        let candidate = at(simd, candidate, i);
        simd.mul_add_e_f32s(at(simd, update, i), simd.sub_f32s(old, candidate), candidate)
    });
}
