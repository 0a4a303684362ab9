//! Element-wise functions of vectors: activations, and those that no other operator takes over.
//!
//! Where a polynomial stands for a function, it was fitted to the least relative error over the range that is named.

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::simd::{activate, dispatch, exp, load, magnitude, negated, select, store};
use super::tasks;
use crate::graph::{Activation, EvaluateError, Fact, Operator};
use crate::ops::binary::Binary;
use crate::ops::unary::Unary;
use crate::ops::unary::clip::Clip;
use crate::tensor::Tensor;

/// Elements of one task: fewer are not worth a thread.
const STEP: usize = 16 << 10;

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Function {
    Activation(Activation),
    Abs,
    Exp,
    Erf,
    Neg,
    Reciprocal,
    Sqrt,
    Square,
}

impl Function {
    /// The function that an operator applies to its first input, if it is one of these.
    fn of(operator: &dyn Operator, inputs: &[Option<&Fact>]) -> Option<Self> {
        if let Some(clip) = operator.downcast::<Clip>() {
            return clip.function(inputs).map(Self::Activation);
        }
        if let Some(activation) = operator.activation() {
            return Some(Self::Activation(activation));
        }
        if operator.downcast::<Binary>().is_some_and(|binary| binary.name() == "Pow") {
            let exponent = inputs.get(1).copied().flatten()?;
            let [exponent] = exponent.floats()?[..] else { return None };
            return match exponent {
                2.0 => Some(Self::Square),
                1.0 => Some(Self::Activation(Activation::Identity)),
                0.5 => Some(Self::Sqrt),
                -1.0 => Some(Self::Reciprocal),
                _ => None,
            };
        }
        match operator.downcast::<Unary>()?.name() {
            "Abs" => Some(Self::Abs),
            "Exp" => Some(Self::Exp),
            "Erf" => Some(Self::Erf),
            "Neg" => Some(Self::Neg),
            "Reciprocal" => Some(Self::Reciprocal),
            "Sqrt" => Some(Self::Sqrt),
            _ => None,
        }
    }

    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        let splat = |v: f32| simd.splat_f32s(v);
        match self {
            Self::Activation(activation) => activate(simd, x, activation),
            Self::Abs => magnitude(simd, x),
            Self::Exp => {
                // Near the end of f32's range e · eˣ⁻¹, and beyond it what `exp` gives is replaced.
                let large = simd.less_than_f32s(splat(80.0), x);
                let y = exp(simd, select(simd, large, simd.sub_f32s(x, splat(1.0)), x));
                let y = select(simd, large, simd.mul_f32s(y, splat(std::f32::consts::E)), y);
                let y = select(simd, simd.less_than_f32s(x, splat(-86.0)), splat(0.0), y);
                select(simd, simd.less_than_f32s(splat(88.722_84), x), splat(f32::INFINITY), y)
            }
            Self::Erf => erf(simd, x),
            Self::Neg => negated(simd, x),
            Self::Reciprocal => simd.div_f32s(splat(1.0), x),
            Self::Sqrt => simd.sqrt_f32s(x),
            Self::Square => simd.mul_f32s(x, x),
        }
    }
}

/// x Φ(x)
#[inline(always)]
pub(super) fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let half = simd.mul_f32s(x, simd.splat_f32s(0.5));
    let e = erf(simd, simd.mul_f32s(x, simd.splat_f32s(std::f32::consts::FRAC_1_SQRT_2)));
    simd.mul_add_e_f32s(half, e, half)
}

/// x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))
#[inline(always)]
pub(super) fn gelu_tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let splat = |v: f32| simd.splat_f32s(v);
    // √(2/π) and 0.044715 times that.
    let inner = simd.mul_add_e_f32s(simd.mul_f32s(x, x), splat(0.035_677_408), splat(0.797_884_6));
    let half = simd.mul_f32s(x, splat(0.5));
    simd.mul_add_e_f32s(half, tanh(simd, simd.mul_f32s(x, inner)), half)
}

/// `c₀ + c₁z + c₂z² + …`
#[inline(always)]
fn polynomial<S: Simd>(simd: S, z: S::f32s, coefficients: &[f32]) -> S::f32s {
    let Some((last, others)) = coefficients.split_last() else { return simd.splat_f32s(0.0) };
    let mut sum = simd.splat_f32s(*last);
    for c in others.iter().rev() {
        sum = simd.mul_add_e_f32s(sum, z, simd.splat_f32s(*c));
    }
    sum
}

/// tanh x to within 3 units in the last place.
#[inline(always)]
pub(super) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let splat = |v: f32| simd.splat_f32s(v);
    let size = magnitude(simd, x);
    // Up to 0.7: x times a polynomial of x².
    let near = [1.0, -0.333_331_3, 0.133_284_15, -0.053_526_01, 0.020_024_453, -0.005_088_331];
    let near = simd.mul_f32s(x, polynomial(simd, simd.mul_f32s(x, x), &near));
    // Beyond: 1 − 2 / (e²ˣ + 1), with the sign of x.
    let e = exp(simd, simd.add_f32s(size, size));
    let far = simd.sub_f32s(splat(1.0), simd.div_f32s(splat(2.0), simd.add_f32s(e, splat(1.0))));
    let far = select(simd, simd.less_than_f32s(x, splat(0.0)), negated(simd, far), far);
    select(simd, simd.less_than_f32s(size, splat(0.7)), near, far)
}

/// erf x to within 5 units in the last place: x times a quotient of two polynomials of x².
#[inline(always)]
fn erf<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let above = [
        std::f32::consts::FRAC_2_SQRT_PI,
        0.185_683_8,
        0.048_730_99,
        0.003_142_271_2,
        0.000_132_424_58,
        -2.022_674_8e-6,
        2.211_897_7e-8,
    ];
    let below = [1.0, 0.497_890_3, 0.109_155_78, 0.013_178_395, 0.000_833_228_7];
    let square = simd.mul_f32s(x, x);
    let near = simd.div_f32s(simd.mul_f32s(x, polynomial(simd, square, &above)), polynomial(simd, square, &below));
    // From here on it is 1, with the sign of x.
    let one = simd.or_f32s(simd.and_f32s(x, simd.splat_f32s(-0.0)), simd.splat_f32s(1.0));
    select(simd, simd.less_than_f32s(simd.splat_f32s(3.75), magnitude(simd, x)), one, near)
}

/// The kernel of an operator that applies such a function to each element.
pub(super) fn kernel(operator: &dyn Operator, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    let function = Function::of(operator, inputs)?;
    (inputs.first().copied().flatten()?.concrete() == output.concrete()).then(|| Box::new(function) as Box<dyn Kernel>)
}

/// The kernel of the square of each element.
pub(super) fn square() -> Box<dyn Kernel> {
    Box::new(Function::Square)
}

/// A function of each element of a slice.
struct Apply<'a>(&'a mut [f32], Function);

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (vectors, rest) = S::as_mut_simd_f32s(self.0);
        for v in vectors {
            *v = self.1.apply(simd, *v);
        }
        if !rest.is_empty() {
            let v = self.1.apply(simd, load(simd, rest));
            store(simd, rest, v);
        }
    }
}

impl Kernel for Function {
    fn in_place(&self) -> &[usize] {
        &[0]
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let y = job.y.as_mut_slice::<f32>()?;
        let x = job.inputs.optional(0).map(Tensor::as_slice::<f32>).transpose()?;
        tasks::each(job.threads, y.chunks_mut(STEP).enumerate().collect(), |(i, y)| {
            if let Some(x) = x {
                y.copy_from_slice(&x[i * STEP..][..y.len()]);
            }
            dispatch(Apply(y, *self));
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Definition;

    #[test]
    fn functions_agree_with_their_definitions() {
        let functions = [
            (Definition::new("Abs"), Function::Abs),
            (Definition::new("Exp"), Function::Exp),
            (Definition::new("Erf"), Function::Erf),
            (Definition::new("Gelu"), Function::Activation(Activation::Gelu)),
            (Definition::new("Gelu").attribute("approximate", "tanh"), Function::Activation(Activation::GeluTanh)),
            (Definition::new("Neg"), Function::Neg),
            (Definition::new("Reciprocal"), Function::Reciprocal),
            (Definition::new("Sqrt"), Function::Sqrt),
            (Definition::new("Tanh"), Function::Activation(Activation::Tanh)),
        ];
        let small = (-2003..=2000).map(|i| i as f32 / 300.0);
        let large = (-210..=210).map(|i| i as f32 / 2.0 + 0.13);
        let xs: Vec<f32> =
            small.chain(large).chain([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, 1e-20, 88.3, 88.7]).collect();
        for (definition, function) in functions {
            let operator = crate::ops::operator(&definition).unwrap();
            let gelu = definition.op_type == "Gelu";
            let x = crate::graph::Value::from(Tensor::vector(xs.clone()));
            let inputs = crate::graph::Inputs(&[Some(&x)]);
            let expected = operator.evaluate(&mut crate::graph::Context::default(), inputs).unwrap();
            let expected = expected[0].as_tensor().unwrap();
            let mut ys = xs.clone();
            dispatch(Apply(&mut ys, function));
            for ((x, y), expected) in xs.iter().zip(ys).zip(expected.as_slice::<f32>().unwrap()) {
                // Gelu's left tail is a difference; the smallest numbers may be flushed to zero.
                let floor = if gelu { 1e-6 } else { 1e-36 };
                let near = (y - expected).abs() <= 1e-6 * expected.abs() + floor;
                // Gelu of -∞ is a product of infinity and 0.
                let same = y == *expected || (y.is_nan() && (expected.is_nan() || gelu));
                assert!(near || same, "{function:?}({x}) = {expected}, not {y}");
            }
        }
    }
}
