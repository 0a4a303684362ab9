//! Numbers as small integers and back, and products of such: every integer the same.

use super::draw::*;
use super::{Case, Entry, entry};
use crate::tensor::ElementType::{F4E2M1, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ};
use crate::tensor::{ElementType, Tensor};
use crate::testing::{Input, Tolerance};

/// How a case is drawn.
pub type Drawing = fn(&mut Draw) -> Case;

pub const BYTES: &[ElementType] = &[U8, I8];
const SMALL_INTEGERS: &[ElementType] = &[U8, I8, U16, I16, U4, I4];
const SMALL_FLOATS: &[ElementType] = &[F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F4E2M1];

/// A tensor given when the model runs, or known before.
pub fn either(tensor: Tensor, d: &mut Draw) -> Input {
    d.input(tensor)
}

/// Any number of one of the small integer types.
pub fn any_of(d: &mut Draw, element_type: ElementType, shape: &[usize]) -> Tensor {
    let (low, high) = match element_type {
        U8 => (0.0, 255.0),
        I8 => (-128.0, 127.0),
        U16 => (0.0, 65_535.0),
        I16 => (-32_768.0, 32_767.0),
        U4 => (0.0, 15.0),
        I4 => (-8.0, 7.0),
        I32 => (-70_000.0, 70_000.0),
        _ => (-6.0, 6.0),
    };
    d.numbers(element_type, shape, low, high)
}

/// The shape of the scales of a tensor, and the axis and the size of the blocks: one for all, for each slice, or each block.
fn scales(d: &mut Draw, shape: &[usize]) -> (Vec<usize>, i64, i64) {
    let axis = d.axis(shape.len());
    let at = axis.rem_euclid(shape.len() as i64) as usize;
    match d.below(4) {
        0 => (vec![], axis, 0),
        1 => {
            let block = d.within(1..=5);
            let mut scales = shape.to_vec();
            scales[at] = shape[at].div_ceil(block);
            (scales, axis, block as i64)
        }
        _ => (vec![shape[at]], axis, 0),
    }
}

/// Scales, of which 16 bits hold most to two digits: quotients are no ties, or exact ones.
fn scale(d: &mut Draw, element_type: ElementType, shape: &[usize]) -> Tensor {
    if d.flip() { powers(d, element_type, shape) } else { d.numbers(element_type, shape, 0.02, 2.0) }
}

/// Scales that are powers of two.
pub fn powers(d: &mut Draw, element_type: ElementType, shape: &[usize]) -> Tensor {
    let numbers = (0..shape.iter().product()).map(|_| d.pick(&[0.125, 0.25, 0.5, 1.0])).collect();
    Tensor::from_f64(element_type, shape, numbers).unwrap()
}

fn quantize(d: &mut Draw) -> Case {
    let shape = d.shape(1..=4);
    let (scales, axis, block) = scales(d, &shape);
    let to = if d.flip() { d.pick(SMALL_INTEGERS) } else { d.pick(&[SMALL_INTEGERS, SMALL_FLOATS].concat()) };
    let float = d.element_type.is_float();
    let x = if float { d.any(&shape) } else { d.whole(&shape, -1000, 1000) };
    let by = scale(d, if float { d.element_type } else { F32 }, &scales);
    let case = d.case().attribute("axis", axis).attribute("block_size", block).attribute("saturate", d.flag());
    let case = case.run(x).input(d.input(by));
    if d.random.one_in(3) {
        return case.attribute("output_dtype", i64::from(to.data_type()));
    }
    let zero = if SMALL_FLOATS.contains(&to) { d.numbers(to, &scales, 0.0, 0.0) } else { any_of(d, to, &scales) };
    case.input(d.input(zero))
}

fn dequantize(d: &mut Draw) -> Case {
    let shape = d.shape(1..=4);
    let (scales, axis, block) = scales(d, &shape);
    let to = d.pick(FLOATS);
    let x = any_of(d, d.element_type, &shape);
    let by = scale(d, to, &scales);
    let case = d.case().attribute("axis", axis).attribute("block_size", block).run(x).input(d.input(by));
    if d.random.one_in(3) {
        return case;
    }
    let zero =
        if d.element_type == I32 { d.numbers(I32, &scales, 0.0, 0.0) } else { any_of(d, d.element_type, &scales) };
    case.input(d.input(zero))
}

/// Of microsoft's domain: without blocks, for some of the types.
pub fn of_microsoft(name: &'static str, types: &'static [ElementType], draw: Drawing) -> Entry {
    Entry { domain: "com.microsoft", name, types, draw: Box::new(draw) }
}

fn dynamic(d: &mut Draw) -> Case {
    let shape = d.shape(0..=4);
    let (low, high) = (d.number(-3.0, 3.0), d.number(-3.0, 3.0));
    let x = d.floats(&shape, low.min(high), low.max(high));
    // The scale is a float, whose quotient a device may round otherwise.
    d.case().outputs(3).run(x).within(Tolerance { absolute: 1e-7, relative: 0.0 })
}

/// One number for all, or one for each.
fn own(d: &mut Draw, lines: usize) -> Vec<usize> {
    if d.flip() { vec![lines] } else { vec![] }
}

fn convolution(d: &mut Draw) -> Case {
    let quantized = d.name() == "QLinearConv";
    let (groups, group_inputs, group_outputs) = (d.up_to(3), d.up_to(4), d.up_to(5));
    let rank = d.within(1..=3);
    let kernel: Vec<usize> = (0..rank).map(|_| d.up_to(3)).collect();
    let size: Vec<usize> = kernel.iter().map(|k| 2 * k + d.up_to(5) - 2).collect();
    let (channels, outputs) = (groups * group_inputs, groups * group_outputs);
    let batch = if d.kind == Kind::Empty { 0 } else { d.up_to(3) };
    let mut many =
        |most: i64, from: i64, count: usize| -> Vec<i64> { (0..count).map(|_| d.integer(from..=most)).collect() };
    let (strides, pads) = (many(3, 1, rank), many(1, 0, 2 * rank));
    let case = d.case().attribute("group", groups as i64).attribute("strides", strides).attribute("pads", pads);
    let case = case.attribute("dilations", vec![d.integer(1..=2); rank]);
    let (w_type, y_type) = (d.pick(BYTES), d.pick(BYTES));
    let x = any_of(d, d.element_type, &[&[batch, channels], &size[..]].concat());
    let w = any_of(d, w_type, &[&[outputs, group_inputs], &kernel[..]].concat());
    let lines = own(d, outputs);
    let (x_zero, w_zero) = (any_of(d, d.element_type, &[]), any_of(d, w_type, &lines));
    let (w, x_zero, w_zero) = (d.input(w), d.input(x_zero), d.input(w_zero));
    if !quantized {
        let case = case.run(x).input(w);
        return match d.below(3) {
            0 => case,
            1 => case.input(x_zero),
            _ => case.input(x_zero).input(w_zero),
        };
    }
    let (x_scale, w_scale) = (scale(d, F32, &[]), scale(d, F32, &lines));
    let (y_scale, y_zero) = (d.numbers(F32, &[], 4.0, 60.0), any_of(d, y_type, &[]));
    let case = case.run(x).input(d.input(x_scale)).input(x_zero).input(w).input(d.input(w_scale)).input(w_zero);
    let case = case.input(d.input(y_scale)).input(d.input(y_zero));
    if d.flip() { case } else { case.input(either(any_of(d, I32, &[outputs]), d)) }
}

/// Shapes of two operands of a product, and its rows and columns.
fn operands(d: &mut Draw) -> (Vec<usize>, Vec<usize>, [usize; 2]) {
    let [m, n] = [d.size().min(9), d.size().min(9)];
    let k = d.positive();
    let batch: Vec<usize> = (0..d.below(3)).map(|_| d.up_to(3)).collect();
    let b = d.broadcast(&batch);
    ([&batch[..], &[m, k]].concat(), [&b[..], &[k, n]].concat(), [m, n])
}

/// Zero points or scales for a batch of matrices: one, or one for each row or column of matrices that are no batch.
fn lines(d: &mut Draw, shape: &[usize], count: usize) -> Vec<usize> {
    if shape.len() == 2 { own(d, count) } else { vec![] }
}

fn product(d: &mut Draw) -> Case {
    let (a, b, [m, n]) = operands(d);
    let b_type = d.pick(BYTES);
    let (a_lines, b_lines) = (lines(d, &a, m), lines(d, &b, n));
    let (a_zero, b_zero) = (any_of(d, d.element_type, &a_lines), any_of(d, b_type, &b_lines));
    let (a, b) = (any_of(d, d.element_type, &a), any_of(d, b_type, &b));
    let (b, a_zero, b_zero) = (d.input(b), d.input(a_zero), d.input(b_zero));
    let case = d.case().run(a);
    let (a_scale, b_scale) = (scale(d, F32, &a_lines), scale(d, F32, &b_lines));
    let (a_scale, b_scale) = (d.input(a_scale), d.input(b_scale));
    match d.name() {
        "MatMulInteger" => {
            let case = case.input(b);
            match d.below(3) {
                0 => case,
                1 => case.input(a_zero),
                _ => case.input(a_zero).input(b_zero),
            }
        }
        "QLinearMatMul" => {
            let case = case.input(a_scale).input(a_zero).input(b).input(b_scale).input(b_zero);
            let (y_scale, y_zero) = (d.numbers(F32, &[], 4.0, 90.0), any_of(d, U8, &[]));
            case.input(d.input(y_scale)).input(d.input(y_zero))
        }
        _ => {
            let case = case.input(b).input(a_scale).input(b_scale).input(a_zero).input(b_zero);
            // A product and a sum of floats.
            let case = case.within(Tolerance { absolute: 1e-3, relative: 1e-6 });
            if d.flip() { case } else { case.input(either(d.numbers(F32, &[n], -9.0, 9.0), d)) }
        }
    }
}

fn general_product(d: &mut Draw) -> Case {
    let (m, k, n) = (d.size().min(9), d.positive(), d.positive());
    let (turn_a, turn_b, b_type) = (d.flag(), d.flag(), d.pick(BYTES));
    let turned = |turn: i64, shape: [usize; 2]| if turn == 1 { [shape[1], shape[0]] } else { shape };
    let a = any_of(d, d.element_type, &turned(turn_a, [m, k]));
    let b = any_of(d, b_type, &turned(turn_b, [k, n]));
    let columns = own(d, n);
    let case = d
        .case()
        .attribute("transA", turn_a)
        .attribute("transB", turn_b)
        .attribute("alpha", d.pick(&[0.5f32, 1.0, 2.0]));
    let case = case.run(a).input(either(powers(d, F32, &[]), d)).input(either(any_of(d, d.element_type, &[]), d));
    let case =
        case.input(d.input(b)).input(either(powers(d, F32, &columns), d)).input(either(any_of(d, b_type, &columns), d));
    let case = match d.below(4) {
        0 => case.missing(),
        1 => case.input(either(any_of(d, I32, &[n]), d)),
        2 => case.input(either(any_of(d, I32, &[m, 1]), d)),
        _ => case.input(either(any_of(d, I32, &[m, n]), d)),
    };
    if d.flip() {
        return case.within(Tolerance::relative(1e-6));
    }
    let (y_scale, y_zero) = (d.numbers(F32, &[], 4.0, 90.0), any_of(d, d.element_type, &[]));
    case.input(d.input(y_scale)).input(d.input(y_zero))
}

fn dynamic_product(d: &mut Draw) -> Case {
    let (a, b, [_, n]) = operands(d);
    let b_type = d.pick(BYTES);
    let columns = lines(d, &b, n);
    let (b, zero, by) = (any_of(d, b_type, &b), any_of(d, b_type, &columns), powers(d, F32, &columns));
    let case = d.case().run(d.floats(&a, -4.0, 4.0)).input(d.input(b)).input(d.input(by));
    // Up to 17 products below 4 · 255 in size.
    let case = case.within(Tolerance { absolute: 2e-2, relative: 1e-5 });
    match d.below(3) {
        0 => case,
        1 => case.input(d.input(zero)),
        _ => case.input(d.input(zero)).input(either(d.numbers(F32, &[n], -9.0, 9.0), d)),
    }
}

fn packed_product(d: &mut Draw) -> Case {
    let (bits, block) = (d.pick(&[2usize, 4, 8]), d.pick(&[16usize, 32]));
    let (k, n) = (d.within(1..=70), d.up_to(9));
    let blocks = k.div_ceil(block);
    let rows = d.shape(0..=2);
    let case = d.case().attribute("K", k as i64).attribute("N", n as i64).attribute("bits", bits as i64);
    let case = case.attribute("block_size", block as i64);
    let a = d.floats(&[&rows[..], &[k]].concat(), -1.0, 1.0);
    let packed = any_of(d, U8, &[n, blocks, block * bits / 8]);
    let scales = d.floats(&[n * blocks], 0.01, 0.1);
    let case = case.run(a).input(d.input(packed)).input(d.input(scales));
    let case = match d.below(4) {
        0 => case.missing(),
        1 => case.input(either(d.floats(&[n * blocks], 0.0, 3.0), d)),
        _ => case.input(either(any_of(d, U8, &[n * (blocks * bits).div_ceil(8)]), d)),
    };
    let case = if d.flip() { case } else { case.missing().input(either(d.floats(&[n], -3.0, 3.0), d)) };
    // Up to 70 products below 26 in size, whose sums are below 1800.
    case.within(Tolerance { absolute: 2e-3, relative: 2e-5 })
}

/// Rows of small integers in blocks, by their indices.
fn gathered(d: &mut Draw) -> Case {
    let packed = d.element_type == U8;
    let bits = if packed { d.pick(&[2, 4, 8]) } else { 4 };
    let (rows, bytes) = (d.up_to(7), d.within(1..=20));
    let per = if packed { 8 / bits } else { 1 };
    let blocks = (bytes * per).div_ceil(16);
    let (data, zeros) = (d.any(&[rows, bytes]), d.any(&[rows, blocks.div_ceil(per)]));
    let scales = d.numbers(F32, &[rows, blocks], 0.1, 1.0);
    let chosen = [d.size().min(4), d.within(1..=3)];
    let places = d.places(&chosen, rows);
    let case = d.case().attribute("block_size", 16).attribute("bits", bits as i64);
    let case = case.run(data).run(places).run(scales);
    if d.flip() { case.run(zeros) } else { case }
}

pub fn entries() -> Vec<Entry> {
    const SINGLE: &[ElementType] = &[F32];
    const TO_FLOATS: &[ElementType] =
        &[U8, I8, U16, I16, U4, I4, I32, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F4E2M1];
    const TO_INTEGERS: &[ElementType] = &[F32, F16, BF16, I32];
    vec![
        entry("QuantizeLinear", TO_INTEGERS, quantize),
        entry("DequantizeLinear", TO_FLOATS, dequantize),
        entry("DynamicQuantizeLinear", SINGLE, dynamic),
        entry("ConvInteger", BYTES, convolution),
        entry("QLinearConv", BYTES, convolution),
        entry("MatMulInteger", BYTES, product),
        entry("QLinearMatMul", BYTES, product),
        of_microsoft("QuantizeLinear", TO_INTEGERS, quantize),
        of_microsoft("DequantizeLinear", TO_FLOATS, dequantize),
        of_microsoft("DynamicQuantizeMatMul", SINGLE, dynamic_product),
        of_microsoft("MatMulIntegerToFloat", BYTES, product),
        of_microsoft("GatherBlockQuantized", &[U8, U4, I4], gathered),
        of_microsoft("MatMulNBits", FLOATS, packed_product),
        of_microsoft("QGemm", BYTES, general_product),
    ]
}
