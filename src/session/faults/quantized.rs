//! Nets of quantization, integer products and small element types.

use super::net::{Net, op};
use crate::graph::{Definition, ValueId};
use crate::model::Model;
use crate::ops::operator;
use crate::tensor::Tensor;

/// An operator of com.microsoft.
fn microsoft(name: &str) -> Definition {
    Definition { domain: "com.microsoft".to_owned(), opset: 1, ..op(name) }
}

/// Numbers from 0 to 255 without a pattern.
fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| ((i * 37 + 11) % 251) as u8).collect()
}

/// A product whose left side is quantized in the run: `[…, k]` becomes `[…, 4]`. The sums are small enough for one more to tell.
pub fn dynamic(net: &mut Net, x: ValueId, k: usize) -> ValueId {
    let quantize = operator(&Definition { outputs: 3, ..op("DynamicQuantizeLinear") }).unwrap();
    let range = net.graph.operator(quantize, &[Some(x)], 3);
    let weights = bytes(4 * k).into_iter().map(|v| v.cast_signed() / 64).collect();
    let weights = net.constant(Tensor::new([k, 4], weights).unwrap());
    let sums = net.node(op("MatMulInteger"), &[range[0], weights, range[2]]);
    let sums = net.node(op("Cast").attribute("to", 1i64), &[sums]);
    let own = net.constant(Tensor::vector(vec![0.1f32, 0.2, 0.3, 0.4]));
    let scales = net.node(op("Mul"), &[range[1], own]);
    net.node(op("Mul"), &[sums, scales])
}

/// Quantization by every kernel, products of integers, casts through small floats.
pub fn quantized() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let (x, wide) = (net.input("x", &[4, 8]), net.input("wide", &[2, 32]));
    let scale = net.constant(Tensor::scalar(0.01f32));
    let zero = net.constant(Tensor::scalar(120u8));
    let q = net.node(op("QuantizeLinear"), &[x, scale, zero]);
    let weights = net.constant(Tensor::new([8, 5], bytes(40)).unwrap());
    let scales = net.constant(Tensor::new([4, 2], vec![0.01f32, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08]).unwrap());
    let (narrow, middle) = (net.constant(Tensor::scalar(1f32 / 256.0)), net.constant(Tensor::scalar(0u8)));
    // Weights that are constants are multiplied by other kernels.
    let packed = net.input("packed", &[3, 2, 8]);
    let packed = net.node(op("Abs"), &[packed]);
    let packed = net.node(op("Cast").attribute("to", 2i64), &[packed]);
    let of_blocks = net.constant(Tensor::vector(vec![0.1f32, 0.2, 0.3, 0.4, 0.5, 0.6]));
    let by_blocks = microsoft("MatMulNBits").attribute("K", 32i64).attribute("N", 3i64);
    let by_blocks = by_blocks.attribute("bits", 4i64).attribute("block_size", 16i64);
    // Element types 19 and 1 are a small float and a wide one.
    let small = net.node(op("Cast").attribute("to", 19i64), &[x]);
    // A zero point that is known at run time only; element type 2 is an unsigned byte.
    let offset = net.input("offset", &[1]);
    let offset = net.node(op("Abs"), &[offset]);
    let offset = net.node(op("Cast").attribute("to", 2i64), &[offset]);
    let mut values: Vec<ValueId> = vec![
        q,
        net.node(op("MatMulInteger"), &[q, weights, offset]),
        net.node(op("MatMulInteger"), &[q, weights]),
        net.node(op("QuantizeLinear").attribute("axis", 1i64).attribute("block_size", 4i64), &[x, scales]),
        net.node(microsoft("QLinearSigmoid"), &[q, scale, zero, narrow, middle]),
        net.node(by_blocks, &[wide, packed, of_blocks]),
        net.node(op("Cast").attribute("to", 1i64), &[small]),
    ];
    let dynamic = operator(&Definition { outputs: 3, ..op("DynamicQuantizeLinear") }).unwrap();
    values.extend(net.graph.operator(dynamic, &[Some(x)], 3));
    values.push(self::dynamic(&mut net, x, 8));
    for value in values {
        net.output(value);
    }
    net.finish()
}

/// What stands between DequantizeLinear and QuantizeLinear, by every kernel that computes it on integers.
pub fn integers() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let x = net.input("x", &[1, 64, 12, 12]);
    let (scale, zero) = (net.constant(Tensor::scalar(0.01f32)), net.constant(Tensor::scalar(120u8)));
    let q = net.node(op("QuantizeLinear"), &[x, scale, zero]);
    let mut values = vec![];
    for (shape, definition) in [
        ([64, 64, 1, 1], op("Conv")),
        ([64, 1, 3, 3], op("Conv").attribute("group", 64i64).attribute("pads", [1, 1, 1, 1])),
    ] {
        let floats = net.node(op("DequantizeLinear"), &[q, scale, zero]);
        let numbers = bytes(shape.iter().product()).into_iter().map(u8::cast_signed).collect();
        let (w, step) =
            (net.constant(Tensor::new(shape, numbers).unwrap()), net.constant(Tensor::scalar(0.000_713f32)));
        let w = net.node(op("DequantizeLinear"), &[w, step]);
        let y = net.node(definition, &[floats, w]);
        values.push(net.node(op("QuantizeLinear"), &[y, scale, zero]));
    }
    let both = [values[0], values[1]].map(|q| net.node(op("DequantizeLinear"), &[q, scale, zero]));
    let sum = net.node(op("Add"), &both);
    let sum = net.node(op("QuantizeLinear"), &[sum, scale, zero]);
    let floats = net.node(op("DequantizeLinear"), &[sum, scale, zero]);
    let mean = net.node(op("GlobalAveragePool"), &[floats]);
    net.output(sum);
    let mean = net.node(op("QuantizeLinear"), &[mean, scale, zero]);
    net.output(mean);
    let sizes = net.constant(Tensor::vector(vec![1i64, 64, 24, 24]));
    let none = net.constant(Tensor::vector(Vec::<f32>::new()));
    let floats = net.node(op("DequantizeLinear"), &[sum, scale, zero]);
    let larger = net.node(op("Resize").attribute("mode", "linear"), &[floats, none, none, sizes]);
    // With the scale of what is resized there would be many ties.
    let other = net.constant(Tensor::scalar(0.013_71f32));
    let larger = net.node(op("QuantizeLinear"), &[larger, other, zero]);
    net.output(larger);
    net.finish()
}
