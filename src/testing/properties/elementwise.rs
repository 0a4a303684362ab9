//! Functions of elements: of one, of two, of several, and casts.

use super::draw::*;
use super::{Case, Entry, entry};
use crate::tensor::{ElementType, Tensor};
use crate::testing::Tolerance;

/// What a drawn function takes: its name and types, from where to where its arguments are drawn, how far results may lie
/// apart (relative to the value, and for values below `scale` relative to that), and its attributes.
struct Function {
    name: &'static str,
    types: &'static [ElementType],
    arguments: (f32, f32),
    tolerance: f32,
    scale: f32,
    attributes: fn(&mut Draw, Case) -> Case,
}

/// A few units in the last place of f32: what Vulkan allows a division (2.5) and a handful of roundings.
const CLOSE: f32 = 8e-7;

const FUNCTION: Function = Function {
    name: "",
    types: FLOATS,
    arguments: (-8.0, 8.0),
    tolerance: CLOSE,
    scale: 0.0,
    attributes: |_, case| case,
};

const fn function(name: &'static str, low: f32, high: f32) -> Function {
    Function { name, arguments: (low, high), ..FUNCTION }
}

/// Relative to 1, where the function's zeros are not the argument's.
const fn beside_one(function: Function) -> Function {
    Function { scale: 1.0, ..function }
}

const FUNCTIONS: &[Function] = &[
    beside_one(function("Acos", -1.0, 1.0)),
    function("Acosh", 1.0, 60.0),
    beside_one(function("Asin", -1.0, 1.0)),
    function("Asinh", -60.0, 60.0),
    function("Atan", -20.0, 20.0),
    function("Atanh", -0.99, 0.99),
    Function { tolerance: 0.0, ..function("Ceil", -20.0, 20.0) },
    Function { attributes: alpha, ..function("Celu", -8.0, 8.0) },
    beside_one(function("Cos", -50.0, 50.0)),
    function("Cosh", -9.0, 9.0),
    Function { attributes: alpha, ..function("Elu", -8.0, 8.0) },
    function("Erf", -4.0, 4.0),
    function("Exp", -15.0, 10.0),
    Function { tolerance: 0.0, ..function("Floor", -20.0, 20.0) },
    // A product of a number and a small difference.
    Function { tolerance: 6e-6, attributes: approximation, ..function("Gelu", -6.0, 6.0) },
    Function { attributes: slope_and_offset, ..beside_one(function("HardSigmoid", -8.0, 8.0)) },
    beside_one(function("HardSwish", -8.0, 8.0)),
    Function { attributes: alpha, ..function("LeakyRelu", -8.0, 8.0) },
    function("Log", 0.001, 900.0),
    function("Mish", -12.0, 12.0),
    function("Reciprocal", 0.05, 50.0),
    Function { tolerance: 0.0, ..function("Round", -20.0, 20.0) },
    Function {
        attributes: |d, case| alpha(d, case).attribute("gamma", d.number(0.5, 2.0)),
        ..function("Selu", -8.0, 8.0)
    },
    Function { attributes: threshold, tolerance: 0.0, ..function("Shrink", -4.0, 4.0) },
    function("Sigmoid", -15.0, 15.0),
    beside_one(function("Sin", -50.0, 50.0)),
    function("Sinh", -9.0, 9.0),
    function("Softplus", -15.0, 30.0),
    function("Softsign", -50.0, 50.0),
    function("Sqrt", 0.0, 900.0),
    Function { attributes: alpha, ..function("Swish", -8.0, 8.0) },
    // Between its poles, where it is no steeper than its rounding allows.
    beside_one(function("Tan", -1.4, 1.4)),
    function("Tanh", -8.0, 8.0),
    Function { attributes: alpha, tolerance: 0.0, ..function("ThresholdedRelu", -4.0, 4.0) },
];

fn alpha(d: &mut Draw, case: Case) -> Case {
    if d.flip() { case.attribute("alpha", d.number(0.3, 2.0)) } else { case }
}

fn slope_and_offset(d: &mut Draw, case: Case) -> Case {
    case.attribute("alpha", d.number(0.1, 0.4)).attribute("beta", d.number(0.3, 0.7))
}

fn threshold(d: &mut Draw, case: Case) -> Case {
    case.attribute("lambd", d.number(0.0, 2.0)).attribute("bias", d.number(-1.0, 1.0))
}

fn approximation(d: &mut Draw, case: Case) -> Case {
    case.attribute("approximate", d.pick(&["none", "tanh"]))
}

fn of_one(f: &'static Function) -> Entry {
    entry(f.name, f.types, |d| {
        let shape = d.shape(0..=5);
        let x = d.floats(&shape, f.arguments.0, f.arguments.1);
        let case = (f.attributes)(d, d.case());
        let absolute = (f.tolerance * f.scale).max(if f.tolerance > 0.0 { 1e-35 } else { 0.0 });
        case.run(x).within(Tolerance { relative: f.tolerance, absolute })
    })
}

/// One that gives what it should bit by bit, of any elements.
fn exact(name: &'static str, types: &'static [ElementType]) -> Entry {
    entry(name, types, |d| {
        let shape = d.shape(0..=5);
        d.case().run(d.any(&shape))
    })
}

/// A function of two that gives what it should bit by bit, of any elements; now and then they are the same.
fn exact_pair(name: &'static str, types: &'static [ElementType]) -> Entry {
    entry(name, types, |d| {
        let (a, b) = d.pair();
        let near = d.random.one_in(3);
        let operand = |d: &mut Draw, shape: &[usize]| {
            let tensor = if near { d.whole(shape, -2, 2) } else { d.any(shape) };
            d.input(tensor)
        };
        let (a, b) = (operand(d, &a), operand(d, &b));
        d.case().input(a).input(b)
    })
}

/// A function of one or more tensors.
fn of_several(name: &'static str, types: &'static [ElementType], draw: fn(&mut Draw, &[usize]) -> Tensor) -> Entry {
    entry(name, types, move |d| {
        let shape = d.shape(0..=4);
        let count = d.within(1..=4);
        // Sums of four, rounded in any order.
        let mut case = d.case().within(if name == "Sum" || name == "Mean" {
            Tolerance { relative: 5e-7, absolute: 0.0 }
        } else {
            Tolerance::EXACT
        });
        for _ in 0..count {
            let own = d.broadcast(&shape);
            let tensor = draw(d, &own);
            case = case.input(d.input(tensor));
        }
        case
    })
}

/// Positive floating-point numbers, so that sums do not cancel; any integers.
fn summands(d: &mut Draw, shape: &[usize]) -> Tensor {
    if d.element_type.is_float() { d.floats(shape, 0.5, 2.0) } else { d.any(shape) }
}

/// Multiples of a quarter.
fn quarters(d: &mut Draw, shape: &[usize], low: i64, high: i64) -> Tensor {
    let numbers = d.whole(shape, low, high).to_f64();
    Tensor::from_f64(d.element_type, shape, numbers.into_iter().map(|n| n / 4.0).collect()).unwrap()
}

/// A function of a number and a divisor.
fn quotient(name: &'static str, tolerance: f32) -> Entry {
    entry(name, NUMBERS, move |d| {
        let (a, b) = d.pair();
        let (a, b) = match d.element_type.is_float() {
            // In quarters, so that the multiples of the divisor are what they are: beside one, a remainder is either
            // next to nothing or next to all.
            true if name == "Mod" => (quarters(d, &a, -200, 200), quarters(d, &b, 1, 40)),
            true => (d.floats(&a, -100.0, 100.0), d.floats(&b, 0.5, 8.0)),
            false => (d.any(&a), d.any(&b)),
        };
        // Of floating-point numbers the standard has no other remainder.
        let truncated = d.element_type.is_float() || d.flip();
        let case = if name == "Mod" { d.case().attribute("fmod", i64::from(truncated)) } else { d.case() };
        let (a, b) = (d.input(a), d.input(b));
        case.input(a).input(b).within(Tolerance { relative: tolerance, absolute: 0.0 })
    })
}

/// Powers: of positive floating-point numbers, and of integers to whole ones that are not negative.
fn power(d: &mut Draw) -> Case {
    let (a, b) = d.pair();
    let base = d.element_type;
    let (x, y) = if base.is_float() {
        (d.floats(&a, 0.2, 3.0), d.floats(&b, -3.0, 3.0))
    } else {
        let y = d.whole(&b, 0, 5);
        let other = y.to_f64();
        let by = d.pick(&[base, base, I32]);
        (d.whole(&a, -4, 4), Tensor::from_f64(by, y.shape(), other).unwrap())
    };
    let y = d.input(y);
    // An exponent of 80 powers of e would cost that many roundings of the logarithm; here there are few.
    d.case().run(x).input(y).within(if base.is_float() { Tolerance::relative(1e-5) } else { Tolerance::EXACT })
}

fn clip(d: &mut Draw) -> Case {
    let shape = d.shape(0..=4);
    let x = d.any(&shape);
    let mut case = d.case().run(x);
    for (low, high) in [(-4, 0), (0, 5)] {
        let bound = d.whole(&[], low, high);
        case = if d.random.one_in(4) { case.missing() } else { case.constant(bound) };
    }
    case
}

fn cast(d: &mut Draw) -> Case {
    let shape = d.shape(0..=4);
    let x = d.any(&shape);
    let to = d.pick(ALL);
    let case = d.case().run(x);
    if d.name() == "CastLike" {
        let like = Tensor::zeros(to, [2]).unwrap();
        return case.run(like);
    }
    let case = if d.flip() { case.attribute("saturate", d.flag()) } else { case };
    let rounding = d.pick(&["up", "down", "nearest"]);
    let case = if to == ElementType::F8E8M0 { case.attribute("round_mode", rounding) } else { case };
    case.attribute("to", i64::from(to.data_type()))
}

fn choice(d: &mut Draw) -> Case {
    let shape = d.shape(0..=4);
    let [c, x, z] = [(); 3].map(|()| d.broadcast(&shape));
    let (c, x, z) = (d.truths(&c), d.any(&x), d.any(&z));
    let (c, x, z) = (d.input(c), d.input(x), d.input(z));
    d.case().input(c).input(x).input(z)
}

fn slopes(d: &mut Draw) -> Case {
    let shape = d.shape(0..=4);
    let own = d.broadcast(&shape);
    let (x, slope) = (d.any(&shape), d.any(&own));
    let slope = d.input(slope);
    d.case().run(x).input(slope)
}

fn shift(d: &mut Draw) -> Case {
    let (a, b) = d.pair();
    let (a, b) = (d.any(&a), d.whole(&b, 0, 70));
    let b = d.input(b);
    d.case().attribute("direction", d.pick(&["LEFT", "RIGHT"])).run(a).input(b)
}

fn dropout(d: &mut Draw) -> Case {
    let shape = d.shape(0..=4);
    if !FLOATS.contains(&d.element_type) {
        return d.case().run(d.any(&shape));
    }
    let case = d.case().run(d.floats(&shape, -4.0, 4.0));
    let ratio = Tensor::scalar(d.pick(&[0.0f32, 0.25, 0.5]));
    match d.below(4) {
        0 => case,
        1 => case.constant(ratio),
        // Training: it is random, but draws the same anywhere.
        n => {
            let training = Tensor::scalar(crate::tensor::Truth::from(true));
            let case = case.constant(ratio).constant(training).attribute("seed", 7).outputs(n - 1);
            case.within(Tolerance { relative: CLOSE, absolute: 0.0 })
        }
    }
}

/// Those of one input, and others that only parameterise.
pub fn of_one_input() -> Vec<Entry> {
    const CLIPPED: &[ElementType] = &[F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, I4, U4];
    let mut entries: Vec<Entry> = FUNCTIONS.iter().map(of_one).collect();
    entries.extend([
        exact("Abs", NUMBERS),
        exact("BitwiseNot", INTEGERS),
        exact("IsNaN", FLOATS),
        exact("Neg", NUMBERS),
        exact("Not", TRUTHS),
        exact("Relu", NUMBERS),
        exact("Sign", NUMBERS),
        exact("Identity", ALL),
        entry("IsInf", FLOATS, |d| {
            let shape = d.shape(0..=5);
            let x = d.any(&shape);
            d.case().attribute("detect_positive", d.flag()).attribute("detect_negative", d.flag()).run(x)
        }),
        entry("Cast", ALL, cast),
        entry("CastLike", ALL, cast),
        entry("Clip", CLIPPED, clip),
        entry("Dropout", ALL, dropout),
    ]);
    entries
}

/// Those of several inputs that are broadcast.
pub fn of_several_inputs() -> Vec<Entry> {
    const UNSIGNED: &[ElementType] = &[U8, U16, U32, U64];
    const EQUAL: &[ElementType] = &[F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, Bool];
    let mut entries = vec![];
    entries.extend(
        ["Add", "Sub", "Mul", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"].map(|name| exact_pair(name, NUMBERS)),
    );
    entries.extend(["And", "Or", "Xor"].map(|name| exact_pair(name, TRUTHS)));
    entries.extend(["BitwiseAnd", "BitwiseOr", "BitwiseXor"].map(|name| exact_pair(name, INTEGERS)));
    entries.extend(["Max", "Min"].map(|name| of_several(name, NUMBERS, Draw::any)));
    entries.extend([
        exact_pair("Equal", EQUAL),
        entry("BitShift", UNSIGNED, shift),
        // Vulkan allows a division 2.5 units in the last place.
        quotient("Div", 4e-7),
        quotient("Mod", 0.0),
        entry("PRelu", NUMBERS, slopes),
        entry("Pow", NUMBERS, power),
        of_several("Sum", NUMBERS, summands),
        of_several("Mean", FLOATS, summands),
        entry("Where", ALL, choice),
    ]);
    entries
}
