//! Reductions, running sums, and where the largest lies.

use super::draw::*;
use super::{Case, Entry, entry};
use crate::tensor::{ElementType, Tensor};
use crate::testing::Tolerance;

/// Sums of at most some hundred positive numbers, and their logarithms and roots.
const SUMS: Tolerance = Tolerance::relative(2e-5);

/// A reduction: floating-point numbers between 0.5 and 1.5, so that products neither vanish nor explode and sums do not
/// cancel; small integers.
fn reduction(name: &'static str, types: &'static [ElementType]) -> Entry {
    entry(name, types, move |d| {
        // Means and logarithms of nothing are infinite or no numbers at all, of which WGSL promises neither.
        let of_nothing = !(name.contains("Log") || name == "ReduceMean");
        let float = d.element_type.is_float();
        let shape = if of_nothing { d.shape(0..=5) } else { d.full(0..=5) };
        let x = if float { d.floats(&shape, 0.5, 1.5) } else { d.whole(&shape, -3, 9) };
        let axes = d.axes(shape.len());
        let mut case = d.case().attribute("keepdims", d.flag()).run(x);
        if d.flip() {
            case = case.attribute("noop_with_empty_axes", d.flag());
        }
        // Attributes before operator set 18, or 13 for sums.
        let case = match d.below(3) {
            0 => case,
            1 => case.opset(11).attribute("axes", axes),
            _ => case.list(axes),
        };
        case.within(if float { SUMS } else { Tolerance::EXACT })
    })
}

/// Where the largest or smallest lies: of a few different numbers, so that some are equal.
fn place(name: &'static str) -> Entry {
    entry(name, ORDERED, |d| {
        let mut shape = d.shape(1..=4);
        let axis = d.axis(shape.len());
        let at = axis.rem_euclid(shape.len() as i64) as usize;
        shape[at] = shape[at].max(1);
        let x = d.whole(&shape, -6, 6);
        d.case().attribute("axis", axis).attribute("keepdims", d.flag()).attribute("select_last_index", d.flag()).run(x)
    })
}

fn best(d: &mut Draw) -> Case {
    let shape = d.shape(1..=4);
    let axis = d.axis(shape.len());
    let k = d.within(0..=shape[axis.rem_euclid(shape.len() as i64) as usize]) as i64;
    let x = if d.flip() { d.whole(&shape, -6, 6) } else { d.any(&shape) };
    let case = d.case().attribute("axis", axis).attribute("largest", d.flag()).outputs(2);
    case.run(x).list(vec![k])
}

/// Running sums of whole numbers, products of ones and twos: exact in every order.
fn running(name: &'static str) -> Entry {
    entry(name, NUMBERS, move |d| {
        let mut shape = d.shape(1..=4);
        let axis = d.axis(shape.len());
        let at = axis.rem_euclid(shape.len() as i64) as usize;
        // What passes the range of 16 bits is infinite there.
        shape[at] = shape[at].min(8);
        let x = if name == "CumSum" { d.whole(&shape, -3, 3) } else { d.whole(&shape, 1, 2) };
        let case = d.case().opset(26).attribute("exclusive", d.flag()).attribute("reverse", d.flag());
        case.run(x).constant(if d.flip() { Tensor::scalar(axis) } else { Tensor::vector(vec![axis]) })
    })
}

/// What has a largest; truth values too.
const ORDERED: &[ElementType] = &[F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, Bool];

pub fn entries() -> Vec<Entry> {
    let mut entries =
        vec![place("ArgMax"), place("ArgMin"), running("CumSum"), running("CumProd"), entry("TopK", NUMBERS, best)];
    entries.extend(["ReduceL1", "ReduceProd", "ReduceSum", "ReduceSumSquare"].map(|name| reduction(name, NUMBERS)));
    entries.extend(["ReduceMax", "ReduceMin"].map(|name| reduction(name, ORDERED)));
    // Sums of 64 bits could overflow.
    entries.push(reduction("ReduceMean", &[F32, F16, BF16, I32, I16, I8, U32, U16, U8]));
    entries.extend(["ReduceL2", "ReduceLogSum", "ReduceLogSumExp"].map(|name| reduction(name, FLOATS)));
    entries
}
