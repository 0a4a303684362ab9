//! Graphs of what works on pictures.

use super::net::{Net, op};
use crate::model::Model;
use crate::tensor::Tensor;

/// Convolutions and pools of every kind.
pub(super) fn pictures() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let x = net.input("x", &[1, 3, 16, 16]);
    let padded = |group: i64| op("Conv").attribute("pads", [1, 1, 1, 1]).attribute("group", group);
    let (w, v, d) = (net.weights(&[16, 3, 3, 3]), net.weights(&[16, 16, 3, 3]), net.weights(&[16, 1, 3, 3]));
    let (many, square) = (net.input("many", &[1, 64, 16, 16]), net.weights(&[64, 64, 3, 3]));
    let tiled = net.node(padded(1), &[many, square]);
    let (p, g, t) = (net.weights(&[24, 16, 1, 1]), net.weights(&[16, 8, 3, 3]), net.weights(&[16, 8, 3, 3]));
    let a = net.node(padded(1), &[x, w]);
    let a = net.node(padded(1), &[a, v]);
    let deep = net.node(padded(16), &[a, d]);
    let wide = net.node(op("Conv"), &[deep, p]);
    let grouped = net.node(padded(2), &[deep, g]);
    let up = net.node(op("ConvTranspose").attribute("strides", [2, 2]), &[grouped, t]);
    let most = net.node(op("MaxPool").attribute("kernel_shape", [2, 2]).attribute("strides", [2, 2]), &[up]);
    let dilated = op("Conv").attribute("pads", [2, 2, 2, 2]).attribute("dilations", [2, 2]);
    let broad = net.node(dilated, &[deep, v]);
    let mean = net.node(op("AveragePool").attribute("kernel_shape", [3, 3]).attribute("pads", [1, 1, 1, 1]), &[most]);
    let all = net.node(op("GlobalAveragePool"), &[mean]);
    let high = net.node(op("GlobalMaxPool"), &[wide]);
    // With nothing around it that wants another layout than its own.
    let (plane, e) = (net.input("plane", &[1, 3, 16, 16]), net.weights(&[3, 1, 3, 3]));
    let flat = net.node(padded(3), &[plane, e]);
    for value in [wide, broad, all, high, flat, tiled] {
        net.output(value);
    }
    net.finish()
}

/// One convolution, for which no other can stand.
pub(super) fn dense() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let (x, w) = (net.input("x", &[1, 32, 24, 24]), net.weights(&[64, 32, 5, 5]));
    let y = net.node(op("Conv").attribute("pads", [2, 2, 2, 2]), &[x, w]);
    net.output(y);
    net.finish()
}

/// Few pixels of many channels.
pub(super) fn deep() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let (x, w) = (net.input("x", &[1, 256, 5, 5]), net.weights(&[32, 256, 3, 3]));
    let y = net.node(op("Conv").attribute("strides", [2, 2]), &[x, w]);
    net.output(y);
    net.finish()
}

/// Kernels for what is rare: one dimension, channels that are no multiple of four, odd widths.
pub(super) fn odd_pictures() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let x = net.input("x", &[1, 5, 7, 9]);
    let s = net.input("s", &[1, 4, 30]);
    let (w, v, l) = (net.weights(&[6, 5, 3, 3]), net.weights(&[6, 2, 3, 3]), net.weights(&[5, 4, 3]));
    let a = net.node(op("Conv"), &[x, w]);
    let b = net.node(op("Conv").attribute("group", 3i64), &[a, v]);
    let line = net.node(op("Conv"), &[s, l]);
    let line = net.node(op("MaxPool").attribute("kernel_shape", [3]), &[line]);
    let mean = net.node(op("GlobalAveragePool"), &[a]);
    let sizes = net.constant(Tensor::vector(vec![1f32, 1.0, 2.0, 2.0]));
    let none = net.constant(Tensor::vector(Vec::<f32>::new()));
    let near = op("Resize").attribute("mode", "nearest").attribute("coordinate_transformation_mode", "asymmetric");
    let near = net.node(near.attribute("nearest_mode", "floor"), &[a, none, sizes]);
    let smooth = net.node(op("Resize").attribute("mode", "linear"), &[b, none, sizes]);
    for value in [line, mean, near, smooth] {
        net.output(value);
    }
    net.finish()
}

/// Normalizations across channels, norms of windows, places and regions.
pub(super) fn across() -> (Model, Vec<(&'static str, Tensor)>) {
    let mut net = Net::new();
    let x = net.input("x", &[2, 6, 5, 7]);
    let theta = net.input("theta", &[2, 2, 3]);
    let size = net.constant(Tensor::vector(vec![2i64, 6, 3, 4]));
    let grid = net.node(op("AffineGrid"), &[theta, size]);
    let (weights, moves) = (net.weights(&[4, 6, 2, 2]), net.input("moves", &[2, 8, 4, 6]));
    let (blocks, picture) = (net.input("blocks", &[1, 8, 1]), net.constant(Tensor::vector(vec![2i64, 2])));
    let lengths = net.constant(Tensor::vector(vec![2i64, 1, 0, 2, 1, 2]));
    let (most, places) =
        (net.input("most", &[1, 1, 2, 2]), net.constant(Tensor::new([1, 1, 2, 2], vec![5i64, 7, 8, 15]).unwrap()));
    let regions = net.constant(Tensor::new([1, 5], vec![1f32, 0.0, 1.0, 4.0, 4.0]).unwrap());
    let outputs = [
        net.node(op("LRN").attribute("size", 3i64), &[x]),
        net.node(op("MeanVarianceNormalization"), &[x]),
        net.node(op("Hardmax").attribute("axis", 2i64), &[x]),
        net.node(op("LpPool").attribute("kernel_shape", [2, 2]), &[x]),
        net.node(op("GridSample"), &[x, grid]),
        net.node(op("MaxRoiPool").attribute("pooled_shape", [2, 2]), &[x, regions]),
        net.node(op("DeformConv"), &[x, weights, moves]),
        net.node(op("Col2Im"), &[blocks, picture, picture]),
        net.node(op("ReverseSequence"), &[x, lengths]),
        net.node(op("MaxUnpool").attribute("kernel_shape", [2, 2]).attribute("strides", [2, 2]), &[most, places]),
    ];
    for value in outputs {
        net.output(value);
    }
    net.pool_with_places(x);
    net.finish()
}
