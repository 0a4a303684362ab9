//! Graphs of products, of what works on single elements, and along rows.

use super::net::{Net, op};
use crate::model::Model;
use crate::tensor::Tensor;

/// Products of matrices of every size.
pub(super) fn products() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let x = net.input("x", &[1, 64]);
    let m = net.input("m", &[64, 64]);
    let b = net.input("b", &[2, 5, 7]);
    let c = net.input("c", &[2, 7, 3]);
    let (w, v) = (net.weights(&[64, 32]), net.weights(&[64, 48]));
    let row = net.node(op("MatMul"), &[x, w]);
    let square = net.node(op("MatMul"), &[m, v]);
    let large = net.node(op("MatMul"), &[m, m]);
    let batch = net.node(op("MatMul"), &[b, c]);
    let gemm = net.node(op("Gemm").attribute("transB", 1i64), &[m, m]);
    let (wide, packed) = (net.input("wide", &[64, 1024]), net.weights(&[1024, 512]));
    let packed = net.node(op("MatMul"), &[wide, packed]);
    let (long, deep) = (net.input("long", &[10, 2100]), net.weights(&[2100, 8]));
    let split = net.node(op("MatMul"), &[long, deep]);
    for value in [row, square, large, batch, gemm, packed, split] {
        net.output(value);
    }
    net.finish()
}

/// Element-wise operators, shapes and reductions.
pub(super) fn elements() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let x = net.input("x", &[2, 6, 5]);
    let y = net.input("y", &[6, 1]);
    let sum = net.node(op("Add"), &[x, y]);
    let root = net.node(op("Softsign"), &[sum]);
    let turned = net.node(op("Transpose").attribute("perm", [2, 0, 1]), &[root]);
    let turned2 = net.node(op("Transpose").attribute("perm", [0, 2, 1]), &[root]);
    let joined = net.node(op("Concat").attribute("axis", 2i64), &[x, sum]);
    let whole = net.node(op("Concat").attribute("axis", 0i64), &[joined, joined]);
    let one = net.constant(Tensor::vector(vec![1i64]));
    let three = net.constant(Tensor::vector(vec![3i64]));
    let part = net.node(op("Slice"), &[x, one, three, one]);
    let pads = net.constant(Tensor::vector(vec![0i64, 1, 2, 0, 1, 0]));
    let padded = net.node(op("Pad").attribute("mode", "reflect"), &[x, pads]);
    for value in [turned, turned2, whole, part, padded] {
        net.output(value);
    }
    net.finish()
}

/// What works along rows: softmax, reductions, normalizations, attention, fetching.
pub(super) fn rows() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let x = net.input("x", &[6, 64]);
    let odd = net.input("odd", &[3, 7, 5]);
    let long = net.input("long", &[2, 3000]);
    let q = net.input("q", &[1, 2, 8, 16]);
    let cube = net.input("cube", &[1, 16, 8, 12]);
    let solid = net.input("solid", &[1, 2, 5, 6, 7]);
    let places = net.constant(Tensor::vector(vec![2i64, 0, 5, 2]));
    let axis = net.constant(Tensor::vector(vec![1i64]));
    let picks = net.input("picks", &[4]);
    // Element type 6 is a 32-bit integer: indices that are known at run time only.
    let picks = net.node(op("Cast").attribute("to", 6i64), &[picks]);
    let (wide, narrow) = (net.weights(&[64]), net.weights(&[5]));
    // 22 is a 4-bit integer, which becomes a float by a table.
    let four = net.node(op("Cast").attribute("to", 22i64), &[odd]);
    let outputs = [
        net.node(op("Cast").attribute("to", 1i64), &[four]),
        net.node(op("LayerNormalization"), &[x, wide]),
        net.node(op("LayerNormalization"), &[odd, narrow]),
        net.node(op("Softmax"), &[x]),
        net.node(op("Softmax").attribute("axis", 1i64), &[odd]),
        net.node(op("Softmax"), &[odd]),
        net.node(op("LogSoftmax"), &[long]),
        net.node(op("ReduceMean"), &[x, axis]),
        net.node(op("ReduceMax"), &[long, axis]),
        net.node(op("ReduceSumSquare"), &[odd, axis]),
        net.node(op("ArgMax").attribute("axis", 1i64), &[x]),
        net.node(op("Gather").attribute("axis", 0i64), &[x, places]),
        net.node(op("Gather").attribute("axis", 0i64), &[odd, picks]),
        net.node(op("Attention"), &[q, q, q]),
        net.node(op("Transpose").attribute("perm", [0, 2, 3, 1]), &[cube]),
        net.node(op("MaxPool").attribute("kernel_shape", [2, 2, 2]), &[solid]),
    ];
    for value in outputs {
        net.output(value);
    }
    net.finish()
}

/// Bytes that a device binds for which [`divided`] is too large.
pub const TIGHT: u64 = 16 << 10;

/// The value that is computed in parts.
pub const DIVIDED: &str = "divided";

/// An embedding, and a product, each of which lies in parts on a device that binds [`TIGHT`] bytes.
pub fn divided() -> [(Model, Vec<(&'static str, Tensor)>); 2] {
    let mut net = Net::new();
    let (picks, table) = (net.input("picks", &[5]), net.weights(&[900, 6]));
    // Element type 7 is a 64-bit integer.
    let picks = net.node(op("Cast").attribute("to", 7i64), &[picks]);
    let rows = net.node(op("Gather"), &[table, picks]);
    net.graph.output(DIVIDED, rows);
    let embedding = net.finish();
    let mut net = Net::new();
    let (x, w) = (net.input("x", &[3, 40]), net.weights(&[40, 150]));
    let product = net.node(op("MatMul"), &[x, w]);
    net.graph.output(DIVIDED, product);
    [embedding, net.finish()]
}
