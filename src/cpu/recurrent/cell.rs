//! What becomes of the sums of a cell's gates, for one sequence: some vectors of the state at a time.

use pulp::Simd;

use crate::cpu::functions::tanh;
use crate::cpu::simd::{activate, bounded, exp, load, magnitude, select, store};
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
fn apply<S: Simd>(simd: S, function: Function, x: S::f32s) -> S::f32s {
    let splat = |v: f32| simd.splat_f32s(v);
    match function {
        Function::Relu => bounded(simd, 0.0, f32::INFINITY, x),
        Function::Tanh => tanh(simd, x),
        Function::Sigmoid => activate(simd, x, Activation::Sigmoid),
        Function::Softsign => simd.div_f32s(x, simd.add_f32s(splat(1.0), magnitude(simd, x))),
        Function::Softplus => {
            // No file is known that has it: element by element.
            let mut v = [x];
            for v in bytemuck::cast_slice_mut::<S::f32s, f32>(&mut v) {
                *v = function.apply(f64::from(*v)) as f32;
            }
            v[0]
        }
        Function::Affine(alpha, beta) => simd.mul_add_e_f32s(splat(alpha as f32), x, splat(beta as f32)),
        Function::LeakyRelu(alpha) => activate(simd, x, Activation::LeakyRelu(alpha as f32)),
        Function::ThresholdedRelu(alpha) => select(simd, simd.less_than_f32s(x, splat(alpha as f32)), splat(0.0), x),
        Function::ScaledTanh(alpha, beta) => {
            simd.mul_f32s(splat(alpha as f32), tanh(simd, simd.mul_f32s(splat(beta as f32), x)))
        }
        Function::HardSigmoid(alpha, beta) => activate(simd, x, Activation::HardSigmoid(alpha as f32, beta as f32)),
        Function::Elu(alpha) => {
            let below = simd.mul_f32s(splat(alpha as f32), simd.sub_f32s(exp(simd, x), splat(1.0)));
            select(simd, simd.less_than_f32s(x, splat(0.0)), below, x)
        }
    }
}

/// A gate: a function of its sums, which are bounded before.
#[inline(always)]
fn gate<S: Simd>(simd: S, gates: Gates, function: usize, x: S::f32s) -> S::f32s {
    let x = if gates.bound > 0.0 { bounded(simd, -gates.bound, gates.bound, x) } else { x };
    apply(simd, gates.functions[function], x)
}

/// The vector at `from` of the `part`-th of some parts of this length.
#[inline(always)]
fn part<S: Simd>(simd: S, values: &[f32], part: usize, length: usize, from: usize) -> S::f32s {
    let to = (from + S::F32_LANES).min(length);
    load(simd, &values[part * length + from..part * length + to])
}

/// RNN.
#[inline(always)]
pub(super) fn rnn<S: Simd>(simd: S, gates: Gates, sums: &[f32], state: &mut [f32]) {
    let hidden = state.len();
    for (i, state) in state.chunks_mut(S::F32_LANES).enumerate() {
        let sum = part(simd, sums, 0, hidden, i * S::F32_LANES);
        store(simd, state, gate(simd, gates, 0, sum));
    }
}

/// LSTM: `sums` are those of the gates i, o, f and c, `peepholes` those of i, o and f if there are any.
#[inline(always)]
pub(super) fn lstm<S: Simd>(
    simd: S,
    gates: Gates,
    sums: &[f32],
    peepholes: &[f32],
    state: &mut [f32],
    memory: &mut [f32],
) {
    let hidden = state.len();
    let all = state.chunks_mut(S::F32_LANES).zip(memory.chunks_mut(S::F32_LANES));
    for (i, (state, memory)) in all.enumerate() {
        let from = i * S::F32_LANES;
        let old = load(simd, memory);
        let [mut input, mut output, mut forget, new] = [0, 1, 2, 3].map(|gate| part(simd, sums, gate, hidden, from));
        if !peepholes.is_empty() {
            input = simd.mul_add_e_f32s(part(simd, peepholes, 0, hidden, from), old, input);
            forget = simd.mul_add_e_f32s(part(simd, peepholes, 2, hidden, from), old, forget);
        }
        let input = gate(simd, gates, 0, input);
        let forget =
            if gates.input_forget { simd.sub_f32s(simd.splat_f32s(1.0), input) } else { gate(simd, gates, 0, forget) };
        let new = simd.mul_add_e_f32s(forget, old, simd.mul_f32s(input, gate(simd, gates, 1, new)));
        if !peepholes.is_empty() {
            output = simd.mul_add_e_f32s(part(simd, peepholes, 1, hidden, from), new, output);
        }
        let output = gate(simd, gates, 0, output);
        store(simd, memory, new);
        store(simd, state, simd.mul_f32s(output, apply(simd, gates.functions[2], new)));
    }
}

/// GRU, before the product of the new state is known: the gates z and r take their sums' place, and `reset` becomes what
/// that product reads of the state.
#[inline(always)]
pub(super) fn reset<S: Simd>(simd: S, gates: Gates, sums: &mut [f32], state: &[f32], reset: &mut [f32]) {
    for sums in sums.chunks_mut(S::F32_LANES) {
        let sum = load(simd, sums);
        store(simd, sums, gate(simd, gates, 0, sum));
    }
    let hidden = state.len();
    for (i, reset) in reset.chunks_mut(S::F32_LANES).enumerate() {
        let from = i * S::F32_LANES;
        let old = part(simd, state, 0, hidden, from);
        let r = part(simd, sums, 1, hidden, from);
        store(simd, reset, if gates.linear_before_reset { old } else { simd.mul_f32s(r, old) });
    }
}

/// GRU: the new state, of the gates z and r, the candidate's sums with the input and its product with the state.
#[inline(always)]
pub(super) fn gru<S: Simd>(simd: S, gates: Gates, zr: &[f32], input: &[f32], product: &[f32], state: &mut [f32]) {
    let hidden = state.len();
    for (i, state) in state.chunks_mut(S::F32_LANES).enumerate() {
        let from = i * S::F32_LANES;
        let old = load(simd, state);
        let [update, r] = [0, 1].map(|gate| part(simd, zr, gate, hidden, from));
        let (input, product) = (part(simd, input, 0, hidden, from), part(simd, product, 0, hidden, from));
        let sum = if gates.linear_before_reset {
            simd.mul_add_e_f32s(r, product, input)
        } else {
            simd.add_f32s(product, input)
        };
        let candidate = gate(simd, gates, 1, sum);
        // (1 − z)·candidate + z·old
        let new = simd.mul_add_e_f32s(update, simd.sub_f32s(old, candidate), candidate);
        store(simd, state, new);
    }
}
