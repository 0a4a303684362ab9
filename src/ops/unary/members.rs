//! The table of element-wise functions of one tensor.

use std::fmt;

use crate::graph::erf::{erf, erfc};
use crate::graph::{Activation, Definition, DefinitionError, EvaluateError};
use crate::ops::broadcast::program::{Operation, Program, With};
use crate::tensor::{ElementType, Tensor, Truth, Wide};

/// The element types that a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Floats,
    Integers,
    Numbers,
    Truths,
}

impl Takes {
    pub(super) const fn allows(self, element_type: ElementType) -> bool {
        match self {
            Self::Floats => element_type.is_float(),
            Self::Integers => element_type.is_integer(),
            Self::Numbers => element_type.is_float() || element_type.is_integer(),
            Self::Truths => matches!(element_type, ElementType::Bool),
        }
    }
}

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Floats => "floating-point numbers",
            Self::Integers => "integers",
            Self::Numbers => "numbers",
            Self::Truths => "truth values",
        })
    }
}

type Result<T, E = EvaluateError> = std::result::Result<T, E>;

/// A function, in every form in which it is needed.
#[derive(Debug)]
pub(super) struct Member {
    /// Its name in the standard.
    pub name: &'static str,
    pub takes: Takes,
    /// Whether it gives truth values.
    pub test: bool,
    /// Up to two parameters, from the attributes.
    pub parameters: fn(&Definition) -> Result<[f32; 2], DefinitionError>,
    /// The reference.
    pub evaluate: fn(&Tensor, [f64; 2]) -> Result<Tensor>,
    /// The kernel: an expression of `v` (four elements), `params.alpha` and `params.beta`.
    pub wgsl: &'static str,
    /// What it is in a program of floating-point numbers, where that is simple arithmetic.
    pub steps: fn([f32; 2]) -> Option<Program>,
    /// The kernel for integers, where that is another.
    pub integer: Option<&'static str>,
    /// The kernel for integers of 64 bits, and of 32 without a sign: an expression of one element `v` as `common/wide`
    /// has it.
    pub wide: Option<&'static str>,
    /// The activation that it is on floating-point numbers, if it is one.
    pub activation: fn([f32; 2]) -> Option<Activation>,
    /// How far kernel and reference may lie apart: relative to the value, and for values below `scale` relative to that.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by tests"))]
    pub tolerance: f32,
    #[cfg_attr(not(test), expect(dead_code, reason = "read by tests"))]
    pub scale: f32,
    /// The largest argument for which they agree.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by tests"))]
    pub range: f32,
}

impl Member {
    /// The member itself, or the one that stands for it under these attributes.
    pub(super) fn variant(&'static self, definition: &Definition) -> Result<&'static Self, DefinitionError> {
        if self.name == GELU_TANH.name {
            return match definition.string("approximate")?.as_deref() {
                None | Some("none") => Ok(self),
                Some("tanh") => Ok(&GELU_TANH),
                Some(other) => {
                    Err(DefinitionError::Value("approximate", format!("is '{other}', not 'none' or 'tanh'")))
                }
            };
        }
        Ok(self)
    }
}

/// What most members have.
const FLOAT: Member = Member {
    name: "",
    takes: Takes::Floats,
    test: false,
    parameters: |_| Ok([0.0; 2]),
    evaluate: |x, _| Ok(x.clone()),
    wgsl: "v",
    steps: |_| None,
    integer: None,
    wide: None,
    activation: |_| None,
    // A few units in the last place of f32: what Vulkan allows a division (2.5) and a handful of roundings.
    tolerance: 8e-7,
    scale: 0.0,
    range: f32::INFINITY,
};

/// In the place of an expression for integers: there is none.
pub(super) const NO_KERNEL: &str = "";

const NUMBER: Member = Member { takes: Takes::Numbers, tolerance: 0.0, ..FLOAT };

/// Gelu's tanh approximation, which stands under the same name.
static GELU_TANH: Member = Member {
    name: "Gelu",
    evaluate: |x, _| {
        floats(x, |v| 0.5 * v * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (v + 0.044_715 * v * v * v)).tanh()))
    },
    wgsl: "gelu_tanh4(v)",
    activation: |_| Some(Activation::GeluTanh),
    ..FLOAT
};

pub(super) static MEMBERS: &[Member] = &[
    Member {
        name: "Abs",
        evaluate: |x, _| numbers(x, f64::abs, i128::wrapping_abs),
        wgsl: "abs(v)",
        wide: Some("magnitude64(v)"),
        ..NUMBER
    },
    Member { name: "Acos", evaluate: |x, _| floats(x, f64::acos), wgsl: "acos4(v)", scale: 1.0, ..FLOAT },
    Member { name: "Acosh", evaluate: |x, _| floats(x, f64::acosh), wgsl: "acosh4(v)", ..FLOAT },
    Member { name: "Asin", evaluate: |x, _| floats(x, f64::asin), wgsl: "asin4(v)", ..FLOAT },
    Member { name: "Asinh", evaluate: |x, _| floats(x, f64::asinh), wgsl: "asinh4(v)", ..FLOAT },
    Member { name: "Atan", evaluate: |x, _| floats(x, f64::atan), wgsl: "atan4(v)", ..FLOAT },
    Member { name: "Atanh", evaluate: |x, _| floats(x, f64::atanh), wgsl: "atanh4(v)", ..FLOAT },
    Member {
        name: "BitwiseNot",
        takes: Takes::Integers,
        evaluate: |x, _| numbers(x, |v| v, |v| !v),
        wgsl: "~v",
        wide: Some("~v"),
        ..NUMBER
    },
    Member { name: "Ceil", evaluate: |x, _| floats(x, f64::ceil), wgsl: "ceil(v)", tolerance: 0.0, ..FLOAT },
    Member {
        name: "Celu",
        parameters: |d| alpha(d, 1.0),
        // max(0, x) + min(0, α (e^(x/α) - 1))
        evaluate: |x, [a, _]| floats(x, |v| if v < 0.0 { a * (v / a).exp_m1() } else { v }),
        wgsl: "select(v, params.alpha * expm1_4(v / params.alpha), v < vec4<f32>(0.0))",
        ..FLOAT
    },
    Member { name: "Cos", evaluate: |x, _| floats(x, f64::cos), wgsl: "cos4(v)", ..PERIODIC },
    Member { name: "Cosh", evaluate: |x, _| floats(x, f64::cosh), wgsl: "cosh4(v)", ..FLOAT },
    Member {
        name: "Elu",
        parameters: |d| alpha(d, 1.0),
        evaluate: |x, [a, _]| floats(x, |v| if v < 0.0 { a * v.exp_m1() } else { v }),
        wgsl: "select(v, params.alpha * expm1_4(v), v < vec4<f32>(0.0))",
        ..FLOAT
    },
    Member { name: "Erf", evaluate: |x, _| floats(x, erf), wgsl: "erf4(v)", ..FLOAT },
    Member { name: "Exp", evaluate: |x, _| floats(x, f64::exp), wgsl: "exp4(v)", ..FLOAT },
    Member { name: "Floor", evaluate: |x, _| floats(x, f64::floor), wgsl: "floor(v)", tolerance: 0.0, ..FLOAT },
    Member {
        name: "Gelu",
        // x Φ(x), with Φ(x) = erfc(-x/√2) / 2
        evaluate: |x, _| floats(x, |v| 0.5 * v * erfc(-v * std::f64::consts::FRAC_1_SQRT_2)),
        wgsl: "gelu4(v)",
        activation: |_| Some(Activation::Gelu),
        tolerance: 6e-6,
        range: 6e4,
        ..FLOAT
    },
    Member {
        name: "HardSigmoid",
        parameters: |d| Ok([d.float("alpha")?.unwrap_or(0.2), d.float("beta")?.unwrap_or(0.5)]),
        evaluate: |x, [a, b]| floats(x, |v| bound(a * v + b, 0.0, 1.0)),
        steps: |[a, b]| {
            let line = Program::default().then(Operation::Mul, With::Number(a), false);
            Some(line.then(Operation::Add, With::Number(b), false).then_bound(0.0, 1.0))
        },
        activation: |[a, b]| Some(Activation::HardSigmoid(a, b)),
        scale: 1.0,
        ..FLOAT
    },
    Member {
        name: "HardSwish",
        evaluate: |x, _| floats(x, |v| v * bound(v / 6.0 + 0.5, 0.0, 1.0)),
        activation: |_| Some(Activation::HardSwish),
        scale: 1.0,
        ..FLOAT
    },
    Member {
        name: "IsInf",
        takes: Takes::Floats,
        test: true,
        parameters: |d| {
            Ok([d.flag("detect_positive", true)?, d.flag("detect_negative", true)?].map(|b| f32::from(u8::from(b))))
        },
        evaluate: |x, [p, n]| tests(x, |v| v.is_infinite() && ((p != 0.0 && v > 0.0) || (n != 0.0 && v < 0.0))),
        wgsl: "select(vec4<i32>(0), vec4<i32>(1), is_inf4(v) & (vec4<f32>(0.0) != select(vec4<f32>(params.alpha), vec4<f32>(params.beta), bitcast<vec4<i32>>(v) < vec4<i32>(0))))",
        ..NUMBER
    },
    Member {
        name: "IsNaN",
        takes: Takes::Floats,
        test: true,
        evaluate: |x, _| tests(x, f64::is_nan),
        wgsl: "select(vec4<i32>(0), vec4<i32>(1), is_nan4(v))",
        ..NUMBER
    },
    Member {
        name: "LeakyRelu",
        parameters: |d| alpha(d, 0.01),
        evaluate: |x, [a, _]| floats(x, |v| if v < 0.0 { a * v } else { v }),
        activation: |[a, _]| Some(Activation::LeakyRelu(a)),
        ..FLOAT
    },
    Member { name: "Log", evaluate: |x, _| floats(x, f64::ln), wgsl: "log4(v)", ..FLOAT },
    Member {
        name: "Mish",
        // x tanh(ln(1 + e^x))
        evaluate: |x, _| floats(x, |v| v * softplus(v).tanh()),
        wgsl: "mish4(v)",
        range: 6e4,
        ..FLOAT
    },
    Member {
        name: "Neg",
        evaluate: |x, _| numbers(x, |v| -v, i128::wrapping_neg),
        wgsl: "-v",
        steps: |_| Some(Program::default().then(Operation::Mul, With::Number(-1.0), false)),
        wide: Some("negate64(v)"),
        ..NUMBER
    },
    Member {
        name: "Not",
        takes: Takes::Truths,
        evaluate: |x, _| {
            let y = x.as_slice::<Truth>()?.iter().map(|&v| Truth::from(!bool::from(v))).collect();
            Ok(Tensor::new(x.shape(), y)?)
        },
        wgsl: "select(vec4<i32>(0), vec4<i32>(1), v == vec4<i32>(0))",
        ..NUMBER
    },
    Member {
        name: "Reciprocal",
        evaluate: |x, _| floats(x, f64::recip),
        wgsl: "1.0 / v",
        steps: |_| Some(Program::default().then(Operation::Div, With::Number(1.0), true)),
        ..FLOAT
    },
    Member {
        name: "Relu",
        evaluate: |x, _| numbers(x, |v| if v < 0.0 { 0.0 } else { v }, |v| v.max(0)),
        integer: Some("max(v, vec4<i32>(0))"),
        steps: |_| Some(Program::default().then(Operation::Max, With::Number(0.0), false)),
        activation: |_| Some(Activation::Relu),
        wide: Some("select(v, vec2<u32>(0u), is_negative64(v))"),
        ..NUMBER
    },
    Member {
        name: "Round",
        evaluate: |x, _| floats(x, f64::round_ties_even),
        wgsl: "round(v)",
        tolerance: 0.0,
        ..FLOAT
    },
    Member {
        name: "Selu",
        parameters: |d| {
            let (a, g) = if d.opset < 6 { (1.6732, 1.0507) } else { (1.673_263_2, 1.050_701) };
            Ok([d.float("alpha")?.unwrap_or(a), d.float("gamma")?.unwrap_or(g)])
        },
        evaluate: |x, [a, g]| floats(x, |v| g * if v <= 0.0 { a * v.exp_m1() } else { v }),
        wgsl: "params.beta * select(v, params.alpha * expm1_4(v), v <= vec4<f32>(0.0))",
        ..FLOAT
    },
    Member {
        name: "Shrink",
        parameters: |d| Ok([d.float("lambd")?.unwrap_or(0.5), d.float("bias")?.unwrap_or(0.0)]),
        evaluate: |x, [l, b]| {
            let y = x.to_f64().into_iter().map(|v| {
                if v < -l {
                    v + b
                } else if v > l {
                    v - b
                } else {
                    0.0
                }
            });
            Ok(Tensor::from_f64(x.element_type(), x.shape(), y.collect())?)
        },
        wgsl: "select(select(vec4<f32>(0.0), v - params.beta, v > vec4<f32>(params.alpha)), v + params.beta, v < vec4<f32>(-params.alpha))",
        integer: Some(NO_KERNEL),
        ..NUMBER
    },
    Member { name: "Sigmoid", evaluate: |x, _| floats(x, sigmoid), activation: |_| Some(Activation::Sigmoid), ..FLOAT },
    Member {
        name: "Sign",
        evaluate: |x, _| numbers(x, |v| if v == 0.0 || v.is_nan() { v } else { v.signum() }, i128::signum),
        wgsl: "select(sign(v), v, is_nan4(v))",
        integer: Some("sign(v)"),
        wide: Some("sign64(v)"),
        ..NUMBER
    },
    Member { name: "Sin", evaluate: |x, _| floats(x, f64::sin), wgsl: "sin4(v)", ..PERIODIC },
    Member { name: "Sinh", evaluate: |x, _| floats(x, f64::sinh), wgsl: "sinh4(v)", ..FLOAT },
    Member { name: "Softplus", evaluate: |x, _| floats(x, softplus), wgsl: "softplus4(v)", ..FLOAT },
    Member {
        name: "Softsign",
        evaluate: |x, _| floats(x, |v| v / (1.0 + v.abs())),
        wgsl: "v / (1.0 + abs(v))",
        ..FLOAT
    },
    Member {
        name: "Sqrt",
        evaluate: |x, _| floats(x, f64::sqrt),
        wgsl: "sqrt4(v)",
        steps: |_| Some(Program::default().then(Operation::Sqrt, With::Itself, false)),
        ..FLOAT
    },
    Member {
        name: "Swish",
        parameters: |d| alpha(d, 1.0),
        evaluate: |x, [a, _]| floats(x, |v| v * sigmoid(a * v)),
        activation: |[a, _]| (a == 1.0).then_some(Activation::Silu),
        wgsl: "select(v, vec4<f32>(0.0), params.alpha * v < vec4<f32>(-104.0)) * sigmoid4(params.alpha * v)",
        range: 6e4,
        ..FLOAT
    },
    Member { name: "Tan", evaluate: |x, _| floats(x, f64::tan), wgsl: "tan4(v)", ..PERIODIC },
    Member { name: "Tanh", evaluate: |x, _| floats(x, f64::tanh), activation: |_| Some(Activation::Tanh), ..FLOAT },
    Member {
        name: "ThresholdedRelu",
        parameters: |d| alpha(d, 1.0),
        evaluate: |x, [a, _]| floats(x, |v| if v > a { v } else { 0.0 }),
        wgsl: "select(vec4<f32>(0.0), v, v > vec4<f32>(params.alpha))",
        tolerance: 0.0,
        ..FLOAT
    },
];

/// Functions whose argument is brought into one period: absolute errors, and none for arguments without bound.
const PERIODIC: Member = Member { scale: 1.0, range: 1e4, ..FLOAT };

fn alpha(definition: &Definition, default: f32) -> Result<[f32; 2], DefinitionError> {
    Ok([definition.float("alpha")?.unwrap_or(default), 0.0])
}

fn sigmoid(v: f64) -> f64 {
    1.0 / (1.0 + (-v).exp())
}

fn softplus(v: f64) -> f64 {
    if v.is_nan() { v } else { v.max(0.0) + (-v.abs()).exp().ln_1p() }
}

/// min(max(v, low), high) that lets NaN through.
fn bound(v: f64, low: f64, high: f64) -> f64 {
    let v = if v < low { low } else { v };
    if v > high { high } else { v }
}

/// Applies a function to floating-point numbers, in 64 bits.
pub(crate) fn floats(x: &Tensor, f: impl Fn(f64) -> f64) -> Result<Tensor> {
    Ok(f64::map(x, &mut |part| part.iter_mut().for_each(|v| *v = f(*v)))?)
}

/// Applies a function to numbers. Integers that overflow wrap around.
pub(super) fn numbers(x: &Tensor, f: impl Fn(f64) -> f64, g: impl Fn(i128) -> i128) -> Result<Tensor> {
    if x.element_type().is_float() {
        return floats(x, f);
    }
    Ok(i128::map(x, &mut |part| part.iter_mut().for_each(|v| *v = g(*v)))?)
}

/// Asks a question of each floating-point number.
fn tests(x: &Tensor, f: impl Fn(f64) -> bool) -> Result<Tensor> {
    let answers = x.to_f64().into_iter().map(|v| Truth::from(f(v))).collect();
    Ok(Tensor::new(x.shape(), answers)?)
}
