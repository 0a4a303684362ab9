//! Nets of losses, recurrent layers, products by formulas and attention step by step.

use super::net::{Net, op};
use crate::graph::ValueId;
use crate::model::Model;
use crate::ops::operator;
use crate::tensor::Tensor;

/// All that the kernels of language models and losses compute, but for attention of many queries in one kernel.
pub fn language() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let scores = net.input("scores", &[4, 5]);
    let labels = net.constant(Tensor::vector(vec![1i32, 4, 0, 2]));
    let loss = op("NegativeLogLikelihoodLoss").attribute("reduction", "none");
    let (heads, angles) = (net.input("heads", &[1, 2, 3, 4]), net.input("angles", &[1, 3, 2]));
    let (cache, update) = (net.input("cache", &[1, 4, 3]), net.input("update", &[1, 2, 3]));
    let bias = net.input("bias", &[3, 3]);
    let squares = net.input("squares", &[2, 3, 3]);
    let mut values: Vec<ValueId> = vec![
        net.node(loss, &[scores, labels]),
        net.node(op("RotaryEmbedding"), &[heads, angles, angles]),
        net.node(op("TensorScatter"), &[cache, update]),
        net.node(op("Attention"), &[heads, heads, heads, bias]),
        net.node(op("Det"), &[squares]),
        net.node(op("Einsum").attribute("equation", "bii->bi"), &[squares]),
    ];
    let scale = net.weights(&[5]);
    let layer = operator(&crate::graph::Definition { outputs: 3, ..op("LayerNormalization") }).unwrap();
    values.extend(net.graph.operator(layer, &[Some(scores), Some(scale)], 3));
    // Softmax takes no notice of what is added to all scores: they are given out too.
    let attention = crate::graph::Definition { outputs: 4, ..op("Attention") };
    let attention = attention.attribute("softcap", 2f32).attribute("qk_matmul_output_mode", 2i64);
    let past = net.input("past", &[1, 2, 2, 4]);
    let inputs = [heads, heads, heads].map(Some).into_iter().chain([None, Some(past), Some(past)]);
    let inputs: Vec<_> = inputs.collect();
    values.extend(net.graph.operator(operator(&attention).unwrap(), &inputs, 4));
    // One query of many keys.
    let (one, keys) = (net.input("one", &[1, 2, 1, 16]), net.input("keys", &[1, 2, 1200, 16]));
    values.push(net.node(op("Attention"), &[one, keys, keys]));
    let (x, w, r) = (net.input("sequence", &[3, 2, 4]), net.weights(&[1, 20, 4]), net.weights(&[1, 20, 5]));
    let lstm = operator(&op("LSTM")).unwrap();
    values.push(net.graph.operator(lstm, &[Some(x), Some(w), Some(r)], 1)[0]);
    // With lengths it is run by another kernel.
    let (w, r) = (net.weights(&[1, 5, 4]), net.weights(&[1, 5, 5]));
    let lengths = net.constant(Tensor::vector(vec![3i32, 2]));
    let rnn = operator(&op("RNN")).unwrap();
    values.push(net.graph.operator(rnn, &[Some(x), Some(w), Some(r), None, Some(lengths)], 1)[0]);
    values.push(rotary(&mut net));
    for value in values {
        net.output(value);
    }
    net.finish()
}

/// A rotary embedding that is spelled out.
pub(super) fn rotary(net: &mut Net) -> ValueId {
    let x = net.input("turned", &[1, 2, 3, 8]);
    let (cosine, sine) = (net.input("cosine", &[3, 8]), net.input("sine", &[3, 8]));
    let [zero, half, end, last] = [0i64, 4, 8, 3].map(|n| net.constant(Tensor::vector(vec![n])));
    let (low, high) = (net.node(op("Slice"), &[x, zero, half, last]), net.node(op("Slice"), &[x, half, end, last]));
    let negative = net.node(op("Neg"), &[high]);
    let swapped = net.node(op("Concat").attribute("axis", -1i64), &[negative, low]);
    let (plain, turned) = (net.node(op("Mul"), &[x, cosine]), net.node(op("Mul"), &[swapped, sine]));
    net.node(op("Add"), &[plain, turned])
}

/// A normalization that is spelled out.
pub(super) fn normalization(net: &mut Net, x: ValueId) -> ValueId {
    let (two, epsilon) = (net.constant(Tensor::vector(vec![2f32])), net.constant(Tensor::vector(vec![1e-3f32])));
    let square = net.node(op("Pow"), &[x, two]);
    let mean = net.node(op("ReduceMean").attribute("axes", vec![-1i64]), &[square]);
    let sum = net.node(op("Add"), &[mean, epsilon]);
    let root = net.node(op("Sqrt"), &[sum]);
    net.node(op("Div"), &[x, root])
}
