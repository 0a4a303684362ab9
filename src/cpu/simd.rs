//! Vectors of whatever width the processor has, chosen when the program runs, and memory that suits them.

use std::sync::Mutex;

use pulp::{Arch, Simd, WithSimd};

use crate::graph::Activation;

/// A cache line.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Numbers in memory that begins at a cache line, so that few vectors lie across two.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines(Vec<Line>);

impl Lines {
    /// This many zeros, or a few more.
    pub fn new(length: usize) -> Self {
        Self(vec![Line([0.0; 16]); length.div_ceil(16)])
    }

    /// The numbers.
    pub fn as_slice(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }

    /// The numbers, to be written.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Memory that kernels use while they run, kept for the next.
#[derive(Debug, Default)]
pub(super) struct Scratch(Mutex<Vec<Lines>>);

impl Scratch {
    /// Calls `work` with this many numbers, which hold anything.
    pub fn with<R>(&self, length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
        // Nothing can panic while the lock is held.
        let mut lines = self.0.lock().ok().and_then(|mut free| free.pop()).unwrap_or_default();
        if lines.0.len() < length.div_ceil(16) {
            lines = Lines::new(length);
        }
        let result = work(&mut lines.as_mut_slice()[..length]);
        if let Ok(mut free) = self.0.lock() {
            free.push(lines);
        }
        result
    }
}

/// Runs code that is written for vectors of any width with the widest that this processor has.
pub(super) fn dispatch<W: WithSimd>(work: W) -> W::Output {
    Arch::new().dispatch(work)
}

/// Elements of a vector.
pub(super) fn lanes() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    dispatch(Lanes)
}

/// At most a vector of numbers; zeros where there are fewer.
#[inline(always)]
pub(super) fn load<S: Simd>(simd: S, from: &[f32]) -> S::f32s {
    match S::as_simd_f32s(from).0 {
        [v, ..] => *v,
        [] => {
            // Masked loads and stores are slow on many processors.
            let mut v = [simd.splat_f32s(0.0)];
            bytemuck::cast_slice_mut(&mut v)[..from.len()].copy_from_slice(from);
            v[0]
        }
    }
}

/// Stores as much of a vector as there is room for.
#[inline(always)]
pub(super) fn store<S: Simd>(_: S, to: &mut [f32], v: S::f32s) {
    if let [whole, ..] = S::as_mut_simd_f32s(to).0 {
        *whole = v;
        return;
    }
    let length = to.len();
    to.copy_from_slice(&bytemuck::cast_slice(&[v])[..length]);
}

/// The elements of `a` where the mask is set, else those of `b`. This and the next two are here because pulp's own are not
/// always inlined, and are then compiled without the vectors that their caller may use.
#[inline(always)]
pub(super) fn select<S: Simd>(simd: S, mask: S::m32s, a: S::f32s, b: S::f32s) -> S::f32s {
    let bits = simd.select_u32s(mask, simd.transmute_u32s_f32s(a), simd.transmute_u32s_f32s(b));
    simd.transmute_f32s_u32s(bits)
}

/// Each element with the other sign.
#[inline(always)]
pub(super) fn negated<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    simd.xor_f32s(simd.splat_f32s(-0.0), x)
}

/// Each element without its sign.
#[inline(always)]
pub(super) fn magnitude<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    simd.and_f32s(simd.splat_f32s(f32::from_bits(0x7FFF_FFFF)), x)
}

/// e to the power of each element, to within 2 units in the last place; arguments beyond f32's range are clamped.
#[inline(always)]
pub(super) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let splat = |v: f32| simd.splat_f32s(v);
    // x = n·ln 2 + f with |f| ≤ ln 2 / 2. Adding 1.5·2²³ rounds to a whole number, which then stands in the low bits.
    let x = bounded(simd, -87.0, 88.0, x);
    let magic = splat(12_582_912.0);
    let shifted = simd.mul_add_e_f32s(x, splat(std::f32::consts::LOG2_E), magic);
    let n = simd.sub_f32s(shifted, magic);
    // ln 2 in two parts, the first exact in few bits.
    let f = simd.mul_add_e_f32s(n, splat(-0.693_359_4), x);
    let f = simd.mul_add_e_f32s(n, splat(2.121_944_4e-4), f);
    // The series of eᶠ: the first term left out is below 1e-8.
    let mut sum = splat(1.0 / 5040.0);
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = simd.mul_add_e_f32s(sum, f, splat(c));
    }
    let bits = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let power = simd.transmute_f32s_u32s(simd.add_u32s(bits, simd.splat_u32s(1f32.to_bits())));
    simd.mul_f32s(sum, power)
}

/// Each element brought between two bounds; a NaN stays.
#[inline(always)]
pub(super) fn bounded<S: Simd>(simd: S, low: f32, high: f32, x: S::f32s) -> S::f32s {
    // The second operand of `min` and `max` is what a NaN leaves, where there are vectors.
    let y = simd.min_f32s(simd.splat_f32s(high), simd.max_f32s(simd.splat_f32s(low), x));
    if S::F32_LANES == 1 { select(simd, simd.equal_f32s(x, x), y, x) } else { y }
}

/// x where it is positive, else a multiple of it.
#[inline(always)]
fn leaky_relu<S: Simd>(simd: S, alpha: f32, x: S::f32s) -> S::f32s {
    let negative = simd.less_than_f32s(x, simd.splat_f32s(0.0));
    select(simd, negative, simd.mul_f32s(simd.splat_f32s(alpha), x), x)
}

/// y / (1 + e⁻ˣ)
#[inline(always)]
fn gated<S: Simd>(simd: S, y: S::f32s, x: S::f32s) -> S::f32s {
    let e = exp(simd, negated(simd, x));
    simd.div_f32s(y, simd.add_f32s(simd.splat_f32s(1.0), e))
}

/// αx + β between 0 and 1.
#[inline(always)]
fn hard_sigmoid<S: Simd>(simd: S, alpha: f32, beta: f32, x: S::f32s) -> S::f32s {
    bounded(simd, 0.0, 1.0, simd.mul_add_e_f32s(simd.splat_f32s(alpha), x, simd.splat_f32s(beta)))
}

/// An activation of each element.
#[inline(always)]
pub(super) fn activate<S: Simd>(simd: S, x: S::f32s, activation: Activation) -> S::f32s {
    let mut v = [x];
    activate_vectors(simd, &mut v, activation);
    v[0]
}

/// An activation of each element of vectors. Which it is, is asked once, and its constants stay in registers.
#[inline(always)]
pub(super) fn activate_vectors<S: Simd>(simd: S, vectors: &mut [S::f32s], activation: Activation) {
    // A loop for each: with closures in their place some would not be inlined (see `each_vector`).
    macro_rules! each {
        ($v:ident => $result:expr) => {
            for place in vectors {
                let $v = *place;
                *place = $result;
            }
        };
    }
    match activation {
        Activation::Identity => {}
        Activation::Relu => each!(v => bounded(simd, 0.0, f32::INFINITY, v)),
        Activation::Clip(low, high) => each!(v => bounded(simd, low, high, v)),
        Activation::LeakyRelu(alpha) => each!(v => leaky_relu(simd, alpha, v)),
        Activation::Sigmoid => each!(v => gated(simd, simd.splat_f32s(1.0), v)),
        Activation::Silu => each!(v => gated(simd, v, v)),
        Activation::HardSigmoid(alpha, beta) => each!(v => hard_sigmoid(simd, alpha, beta, v)),
        Activation::HardSwish => each!(v => simd.mul_f32s(v, hard_sigmoid(simd, 1.0 / 6.0, 0.5, v))),
        Activation::Tanh => each!(v => super::functions::tanh(simd, v)),
        Activation::Gelu => each!(v => super::functions::gelu(simd, v)),
        Activation::GeluTanh => each!(v => super::functions::gelu_tanh(simd, v)),
    }
}

/// [`activate`] over a slice.
#[inline(always)]
pub(super) fn activate_slice<S: Simd>(simd: S, values: &mut [f32], activation: Activation) {
    let (vectors, rest) = S::as_mut_simd_f32s(values);
    activate_vectors(simd, vectors, activation);
    if !rest.is_empty() {
        let mut last = [load(simd, rest)];
        activate_vectors(simd, &mut last, activation);
        store(simd, rest, last[0]);
    }
}

/// Replaces each vector of a slice by a function of it and of where it begins.
///
/// The function stands in one place of the loop alone: a closure that is called from two and is not small is compiled by
/// itself, and then without the vectors that its caller may use.
#[inline(always)]
pub(super) fn each_vector<S: Simd>(simd: S, y: &mut [f32], f: impl Fn(S::f32s, usize) -> S::f32s) {
    for (i, y) in y.chunks_mut(S::F32_LANES).enumerate() {
        let v = f(load(simd, y), i * S::F32_LANES);
        store(simd, y, v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_agree_with_their_definitions() {
        struct Apply<'a>(&'a mut [f32], Activation);
        impl WithSimd for Apply<'_> {
            type Output = ();
            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                activate_slice(simd, self.0, self.1);
            }
        }
        let xs: Vec<f32> = (-1003..=1000).map(|i| i as f32 / 10.0).chain([f32::NAN, 0.3, -0.0]).collect();
        for activation in [
            Activation::Identity,
            Activation::Relu,
            Activation::Clip(-1.0, 6.0),
            Activation::LeakyRelu(0.1),
            Activation::Sigmoid,
            Activation::Tanh,
            Activation::Silu,
            Activation::HardSigmoid(0.2, 0.5),
            Activation::HardSwish,
        ] {
            let mut ys = xs.clone();
            dispatch(Apply(&mut ys, activation));
            for (x, y) in xs.iter().zip(ys) {
                let expected = activation.apply(*x);
                assert!(
                    (y - expected).abs() <= 1e-6 * expected.abs().max(1e-3) || (y.is_nan() && expected.is_nan()),
                    "{activation:?}({x}) = {expected}, not {y}"
                );
            }
        }
    }

    #[test]
    fn scratch_is_used_again() {
        let scratch = Scratch::default();
        let address = scratch.with(100, |s| s.as_ptr() as usize);
        assert_eq!(scratch.with(90, |s| (s.as_ptr() as usize, s.len())), (address, 90));
        assert_eq!(address % 64, 0);
    }
}
