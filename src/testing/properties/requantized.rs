//! com.microsoft's operators on quantized numbers that stand for one on floats: every integer the same.
//!
//! Scales are powers of two, so that the floats between are exact, or results are far from ties.

use super::draw::*;
use super::quantized::{BYTES, Drawing, any_of, either, of_microsoft, powers};
use super::{Case, Entry};
use crate::tensor::Tensor;

/// A quantized tensor: its numbers, its scale and its zero point.
fn quantized(d: &mut Draw, case: Case, shape: &[usize]) -> Case {
    let (x, by, zero) = (any_of(d, d.element_type, shape), powers(d, F32, &[]), any_of(d, d.element_type, &[]));
    case.input(d.input(x)).input(d.input(by)).input(d.input(zero))
}

fn result(d: &mut Draw, case: Case) -> Case {
    let (by, zero) = (powers(d, F32, &[]), any_of(d, d.element_type, &[]));
    case.input(d.input(by)).input(d.input(zero))
}

fn pair(d: &mut Draw) -> Case {
    let (a, b) = d.pair();
    let case = quantized(d, d.case(), &a);
    let case = quantized(d, case, &b);
    result(d, case)
}

fn chosen(d: &mut Draw) -> Case {
    let (a, b) = d.pair();
    let case = d.case().run(d.truths(&a));
    let case = quantized(d, case, &b);
    let case = quantized(d, case, &[]);
    result(d, case)
}

fn leaky(d: &mut Draw) -> Case {
    let shape = d.shape(0..=4);
    let case = d.case().attribute("alpha", d.pick(&[0.25f32, 0.5]));
    let case = quantized(d, case, &shape);
    result(d, case)
}

/// Of these 256 numbers none comes so near to a tie that the rounding of an exponential matters.
fn sigmoid(d: &mut Draw) -> Case {
    let shape = d.shape(0..=4);
    let zero = any_of(d, d.element_type, &[]);
    let case = d.case().run(any_of(d, d.element_type, &shape)).constant(Tensor::scalar(0.0625f32)).input(d.input(zero));
    let low = if d.element_type == I8 { -128.0 } else { 0.0 };
    case.constant(Tensor::scalar(1f32 / 256.0)).constant(d.numbers(d.element_type, &[], low, low))
}

/// Rows of the largest number and of what is nothing beside it: shares of 1, none of which is a tie.
fn softmax(d: &mut Draw) -> Case {
    let shape = d.full(1..=4);
    let low = if d.element_type == I8 { -128.0 } else { 0.0 };
    let numbers = (0..shape.iter().product()).map(|_| low + d.pick(&[0.0, 240.0])).collect();
    let x = Tensor::from_f64(d.element_type, &shape[..], numbers).unwrap();
    let case = d.case().attribute("opset", d.pick(&[11i64, 13])).attribute("axis", d.axis(shape.len()));
    let case = case.run(x).constant(Tensor::scalar(1f32)).input(either(any_of(d, d.element_type, &[]), d));
    case.constant(Tensor::scalar(1f32 / 256.0)).constant(d.numbers(d.element_type, &[], low, low))
}

/// Means of odd numbers of elements are never ties, those of powers of two are exact.
const COUNTS: &[usize] = &[1, 2, 3, 4, 5, 7];

/// A tensor and its scale, which the result has too.
fn averaged(d: &mut Draw, case: Case, shape: &[usize]) -> Case {
    let by = powers(d, F32, &[]);
    let case = case.run(any_of(d, d.element_type, shape)).input(d.input(by.clone()));
    let (zero, y_zero) = (any_of(d, d.element_type, &[]), any_of(d, d.element_type, &[]));
    case.input(d.input(zero)).input(d.input(by)).input(d.input(y_zero))
}

/// One size, and ones around it.
fn single(d: &mut Draw, rank: usize) -> Vec<usize> {
    let (at, size) = (d.below(rank), d.pick(COUNTS));
    (0..rank).map(|i| if i == at { size } else { 1 }).collect()
}

fn pool(d: &mut Draw) -> Case {
    let rank = d.within(1..=2);
    let kernel = single(d, rank);
    let size: Vec<usize> = kernel.iter().map(|k| k + d.up_to(6) - 1).collect();
    let strides: Vec<i64> = (0..rank).map(|_| d.integer(1..=3)).collect();
    let case = d.case().attribute("kernel_shape", kernel.iter().map(|&k| k as i64).collect::<Vec<_>>());
    let shape = [&[d.up_to(2), d.up_to(5)], &size[..]].concat();
    averaged(d, case.attribute("strides", strides), &shape)
}

fn global_pool(d: &mut Draw) -> Case {
    let shape = [vec![d.up_to(3), d.up_to(9)], single(d, 2)].concat();
    let case = d.case().attribute("channels_last", 0i64);
    averaged(d, case, &shape)
}

fn mean(d: &mut Draw) -> Case {
    let mut shape = d.full(1..=4);
    let axis = d.axis(shape.len());
    let at = axis.rem_euclid(shape.len() as i64) as usize;
    shape[at] = d.pick(COUNTS);
    let case = d.case().attribute("axes", vec![axis]).attribute("keepdims", d.flag());
    averaged(d, case, &shape)
}

fn concat(d: &mut Draw) -> Case {
    let shape = d.shape(1..=4);
    let axis = d.axis(shape.len());
    let at = axis.rem_euclid(shape.len() as i64) as usize;
    let case = d.case().attribute("axis", axis);
    let mut case = result(d, case);
    for _ in 0..d.within(1..=3) {
        let mut own = shape.clone();
        own[at] = d.size();
        case = quantized(d, case, &own);
    }
    case
}

pub fn entries() -> Vec<Entry> {
    let drawn: [(&'static str, Drawing); 10] = [
        ("QLinearAdd", pair),
        ("QLinearMul", pair),
        ("QLinearWhere", chosen),
        ("QLinearLeakyRelu", leaky),
        ("QLinearSigmoid", sigmoid),
        ("QLinearSoftmax", softmax),
        ("QLinearAveragePool", pool),
        ("QLinearGlobalAveragePool", global_pool),
        ("QLinearReduceMean", mean),
        ("QLinearConcat", concat),
    ];
    drawn.into_iter().map(|(name, draw)| of_microsoft(name, BYTES, draw)).collect()
}
