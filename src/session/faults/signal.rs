//! Nets of indexing and signal processing.

use super::net::{Net, op};
use crate::graph::ValueId;
use crate::model::Model;
use crate::tensor::Tensor;

/// What fetches and places elements by indices that are known at run time only.
pub fn indices() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let x = net.input("x", &[4, 6]);
    let picks = net.input("picks", &[4, 2]);
    let updates = net.input("updates", &[4, 2]);
    // Element type 6 is a 32-bit integer.
    let picks = net.node(op("Cast").attribute("to", 6i64), &[picks]);
    let values: [ValueId; 4] = [
        net.node(op("GatherElements").attribute("axis", 1i64), &[x, picks]),
        net.node(op("GatherND"), &[x, picks]),
        net.node(op("ScatterElements").attribute("axis", 1i64), &[x, picks, updates]),
        {
            let rows = net.input("rows", &[4]);
            net.node(op("ScatterND"), &[x, picks, rows])
        },
    ];
    for value in values {
        net.output(value);
    }
    net.finish()
}

/// Transforms, and tensors that come from nothing.
pub fn signals() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let x = net.input("x", &[1, 12, 1]);
    let spectrum = net.node(op("DFT"), &[x]);
    let axis = net.constant(Tensor::scalar(1i64));
    let sums = net.node(op("CumSum"), &[x, axis]);
    let (m, indices) = (net.input("m", &[5, 7]), net.input("indices", &[3]));
    let triangle = net.node(op("Trilu"), &[m]);
    let eye = net.node(op("EyeLike"), &[m]);
    let (depth, values) = (net.constant(Tensor::scalar(4i64)), net.input("values", &[2]));
    let hot = net.node(op("OneHot"), &[indices, depth, values]);
    let two = net.constant(Tensor::vector(vec![2i64]));
    let best = crate::ops::operator(&op("TopK")).unwrap();
    // Where the best are is given too: as an output of the graph it may be stored in 32 bits.
    for value in net.graph.operator(best, &[Some(m), Some(two)], 2) {
        net.output(value);
    }
    for value in [spectrum, sums, triangle, eye, hot] {
        net.output(value);
    }
    net.finish()
}

/// Random numbers.
pub fn draws() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let x = net.input("x", &[3, 4]);
    let noise = net.node(op("RandomNormalLike"), &[x]);
    let picks = net.node(op("Multinomial").attribute("sample_size", 2i64), &[x]);
    for value in [noise, picks] {
        net.output(value);
    }
    net.finish()
}
