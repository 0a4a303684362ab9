//! Normalizations: of batches, groups, lanes, and exponentials.

use super::draw::*;
use super::{Case, Drawing, Entry, entry};
use crate::testing::Tolerance;

/// ε is 1e-2 or more in what follows, so that an error of a mean near 2, some 2⁻²³ of it, becomes ten times as much.
const NEAR: Tolerance = Tolerance { absolute: 5e-6, relative: 1e-5 };
/// In f16 what is normalized, up to 2, is rounded to 2⁻¹¹ of that before the shift may cancel it.
const NEAR_IN_HALF: Tolerance = Tolerance { absolute: 1.1e-3, relative: 2e-3 };

fn batch(d: &mut Draw) -> Case {
    let shape = d.shape(2..=5);
    let channels = [shape[1]];
    let known = !d.random.one_in(4);
    let mut case = d.case().attribute("epsilon", 1e-3f32).run(d.floats(&shape, -2.0, 2.0));
    for (low, high) in [(0.5, 1.5), (-1.0, 1.0), (-1.0, 1.0), (0.5, 2.0)] {
        let parameter = d.floats(&channels, low, high);
        case = if known { case.constant(parameter) } else { case.run(parameter) };
    }
    // Two roundings and one of each parameter, of numbers up to 6.
    case.within(Tolerance::relative(2e-6))
}

fn groups(d: &mut Draw) -> Case {
    let count = if d.name() == "GroupNormalization" { Some(d.up_to(3)) } else { None };
    let channels = d.up_to(5) * count.unwrap_or(1);
    let positions = d.full(0..=3);
    let shape = [vec![d.up_to(2), channels], positions].concat();
    let case = d.case().attribute("epsilon", 1e-2f32).maybe("num_groups", count.map(|n| n as i64));
    let case = case.run(d.floats(&shape, -1.7, 2.3)).constant(d.floats(&[channels], 0.5, 1.5));
    case.run(d.floats(&[channels], -0.7, 0.3)).within(NEAR).within_in_half(NEAR_IN_HALF)
}

fn lanes(d: &mut Draw) -> Case {
    let shape = d.full(1..=4);
    let axis = d.axis(shape.len());
    let at = axis.rem_euclid(shape.len() as i64) as usize;
    let case = d.case().attribute("axis", axis).run(d.floats(&shape, -1.7, 2.3));
    let case = match d.name() {
        "LpNormalization" => return case.attribute("p", d.integer(1..=2)).within(NEAR).within_in_half(NEAR_IN_HALF),
        _ => case.attribute("epsilon", 1e-2f32),
    };
    let own = if d.random.one_in(4) { vec![1] } else { shape[at..].to_vec() };
    let case = case.constant(d.floats(&own, 0.5, 1.5));
    let shifts = d.name() == "LayerNormalization" && d.flip();
    let case = if shifts { case.constant(d.floats(&own, -0.7, 0.3)) } else { case };
    case.within(NEAR).within_in_half(NEAR_IN_HALF)
}

fn moments(d: &mut Draw) -> Case {
    let mut shape = d.shape(1..=5);
    // Lanes of one element would divide 0 by 10⁻⁹.
    for n in &mut shape {
        *n += usize::from(*n == 1);
    }
    let mut axes = d.axes(shape.len());
    if axes.is_empty() {
        axes.push(0);
    }
    // Sums of a few hundred terms, whose mean is taken out first; in f16 also what cancels.
    let case = d.case().attribute("axes", axes).run(d.floats(&shape, -1.7, 2.3));
    case.within(Tolerance { absolute: 2e-5, relative: 2e-5 })
}

fn exponentials(d: &mut Draw) -> Case {
    let shape = d.shape(1..=4);
    // Before operator set 13 the axes from this one on count as one.
    let case = if d.flip() { d.case().opset(11) } else { d.case() };
    let case = case.attribute("axis", d.axis(shape.len()));
    let x = if d.name() == "Hardmax" { d.whole(&shape, -5, 5) } else { d.floats(&shape, -10.0, 10.0) };
    case.run(x).within(Tolerance::relative(2e-6))
}

pub fn entries() -> Vec<Entry> {
    let all: [(&'static str, Drawing); 10] = [
        ("BatchNormalization", batch),
        ("GroupNormalization", groups),
        ("Hardmax", exponentials),
        ("InstanceNormalization", groups),
        ("LayerNormalization", lanes),
        ("LogSoftmax", exponentials),
        ("LpNormalization", lanes),
        ("MeanVarianceNormalization", moments),
        ("RMSNormalization", lanes),
        ("Softmax", exponentials),
    ];
    all.into_iter().map(|(name, draw)| entry(name, FLOATS, draw)).collect()
}
