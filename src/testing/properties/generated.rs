//! Numbers that are made, not computed from others: ranges and random ones, whose bits are those of the reference.

use super::draw::*;
use super::{Case, Entry, entry};
use crate::tensor::{ElementType, Tensor};
use crate::testing::{Input, Tolerance};

fn range(d: &mut Draw) -> Case {
    let count = d.size() as i64;
    let step = match d.integer(-9..=8) {
        step if step < 0 => step,
        step => step + 1,
    };
    let start = d.integer(-50..=50);
    // The limit may lie between two steps.
    let limit = start + step * count - d.integer(0..=step.abs() - 1) * step.signum() * i64::from(count > 0);
    let float = d.element_type.is_float();
    let scale = if float { d.pick(&[1.0, 0.25]) } else { 1.0 };
    let number = |n: i64| Tensor::from_f64(d.element_type, [0usize; 0], vec![n as f64 * scale]).unwrap();
    // A multiple of the step and a sum, which a device may join; these numbers are exact.
    d.case().constant(number(start)).constant(number(limit)).constant(number(step))
}

fn uniform(d: &mut Draw) -> Case {
    let (shape, low) = (d.shape(0..=4), d.number(-4.0, 0.0));
    let case = if d.flip() { d.case().attribute("seed", d.number(0.0, 99.0)) } else { d.case() };
    if d.flip() {
        // From 0 to 1 they are the bits that were drawn.
        return sized(d, case, shape);
    }
    let case = case.attribute("low", low).attribute("high", low + d.number(0.5, 4.0));
    // A product and a sum of the same bits, each rounded, or one of them.
    sized(d, case, shape).within(near(d, Tolerance::relative(1e-6)))
}

fn normal(d: &mut Draw) -> Case {
    let shape = d.shape(0..=4);
    let case = d.case().attribute("mean", d.number(-2.0, 2.0)).attribute("scale", d.number(0.5, 4.0));
    let case = if d.flip() { case.attribute("seed", d.number(0.0, 99.0)) } else { case };
    // The logarithm of what is near 1 loses digits: a square root of 2⁻²³ · 24.
    sized(d, case, shape).within(near(d, Tolerance { absolute: 2e-5, relative: 1e-5 }))
}

/// A tolerance, widened by the rounding to 16-bit brain floats: a number may become either neighbour.
fn near(d: &Draw, tolerance: Tolerance) -> Tolerance {
    let relative = if d.element_type == BF16 { 1.0 / 128.0 } else { 0.0 };
    Tolerance { relative: tolerance.relative + relative, ..tolerance }
}

/// The shape and the type, as an attribute or those of an input.
fn sized(d: &mut Draw, case: Case, shape: Vec<usize>) -> Case {
    let own = i64::from(d.element_type.data_type());
    match d.name().ends_with("Like") {
        false => case.attribute("dtype", own).attribute("shape", shape.iter().map(|&n| n as i64).collect::<Vec<_>>()),
        true if d.flip() => case.attribute("dtype", own).run(d.whole(&shape, 0, 1)),
        true => case.run(d.whole(&shape, 0, 1)),
    }
}

fn chances(d: &mut Draw) -> Case {
    let shape = d.shape(0..=4);
    let x = if d.element_type.is_float() { d.floats(&shape, -0.1, 1.1) } else { d.whole(&shape, 0, 1) };
    let case = if d.flip() { d.case().attribute("seed", d.number(0.0, 99.0)) } else { d.case() };
    let case = if d.flip() { case.attribute("dtype", i64::from(d.pick(NARROW).data_type())) } else { case };
    case.run(x)
}

/// Chances that are powers of two, of which none is so near to a drawn number that rounding matters.
fn classes(d: &mut Draw) -> Case {
    let (batches, classes, samples) = (d.size(), d.positive(), d.size());
    let logarithm = |d: &mut Draw| -f64::from(d.below(5) as u32) * std::f64::consts::LN_2;
    let x = (0..batches * classes).map(|_| logarithm(d)).collect();
    let x = Tensor::from_f64(d.element_type, [batches, classes], x).unwrap();
    let case = d.case().attribute("sample_size", samples as i64).attribute("dtype", d.pick(&[6i64, 7]));
    case.input(Input::Run(x))
}

/// What elements of 32 bits and fewer stand for.
const NARROW: &[ElementType] = &[F32, F16, BF16, I32, I16, I8, U16, U8, Bool];

pub fn entries() -> Vec<Entry> {
    const COUNTED: &[ElementType] = &[F32, F16, BF16, I64, I32, I16];
    vec![
        entry("Range", COUNTED, range),
        entry("RandomUniform", FLOATS, uniform),
        entry("RandomUniformLike", FLOATS, uniform),
        entry("RandomNormal", FLOATS, normal),
        entry("RandomNormalLike", FLOATS, normal),
        entry("Bernoulli", NARROW, chances),
        entry("Multinomial", FLOATS, classes),
    ]
}
