//! Constants stored without their zeros.

use super::*;
use crate::optimize::{Rewrites, optimize};
use crate::session::Device;

/// Weights of which every so many is not zero.
fn sparse(shape: &[usize], seed: u64, every: usize) -> Tensor {
    let values = weights(shape, seed).to_f64().into_iter().enumerate();
    Tensor::new(shape.to_vec(), values.map(|(i, v)| if i % every == 1 { v as f32 } else { 0.0 }).collect()).unwrap()
}

/// A convolution whose weights do not fill their last byte of bits, and two matrices, one of them dense.
fn network(opset: i64) -> ModelFile {
    Net::new(opset)
        .input("x", &[2, 5, 6, 6])
        .constant("w0", sparse(&[101, 5, 3, 3], 1, 3))
        .node("Conv", &["x", "w0"], "a")
        .node("Relu", &["a"], "b")
        .node("GlobalAveragePool", &["b"], "c")
        .node("Flatten", &["c"], "d")
        .constant("w1", sparse(&[101, 64], 2, 2))
        .node("MatMul", &["d", "w1"], "e")
        .constant("w2", weights(&[64, 7], 3))
        .node("MatMul", &["e", "w2"], "y")
        .output("y")
        .file()
}

#[test]
fn what_is_packed_is_smaller_and_computes_the_same() {
    for opset in [9, 13] {
        let full = network(opset);
        let mut file = full.clone();
        let packed = pack_zeros(&mut file).unwrap();
        assert_eq!(packed.constants, 2);
        let sizes = [&full, &file].map(|file| file.to_bytes().unwrap().len());
        assert!(packed.after < packed.before && sizes[1] < sizes[0] - 4_000, "{packed:?} {sizes:?}");
        // Neither more nor less is written than is said, but for the table and the names.
        let saved = sizes[0] - sizes[1];
        assert!(saved.abs_diff(packed.before - packed.after) < 2_600, "{packed:?} {sizes:?}");
        let x = weights(&[2, 5, 6, 6], 9);
        assert_eq!(answer(&full, std::slice::from_ref(&x)), answer(&file, &[x]));
        // A device has them as constants.
        let graph = optimize(file.model().unwrap().graph().clone(), &Rewrites::default()).unwrap();
        let weights: Vec<_> =
            ["w0", "w1"].map(|name| graph.constant(graph.find(name).unwrap()).unwrap().clone()).into();
        assert_eq!(weights, ["w0", "w1"].map(|name| full.constant(name).unwrap()));
        // And so has who compresses them again.
        assert_eq!(unpack_zeros(&mut file).unwrap(), 2);
        assert_eq!(["w0", "w1"].map(|name| file.constant(name).unwrap()).to_vec(), weights);
        assert_eq!(file.nodes.len(), full.nodes.len());
        assert_eq!(unpack_zeros(&mut file).unwrap(), 0);
    }
}

#[test]
fn bytes_of_a_zero_point_are_packed_too() {
    let mut file = network(13);
    prune(&mut file, &Pruning::new(Pattern::L1, 0.7)).unwrap();
    quantize(&mut file, &Quantization::new(Scheme::Dynamic), &[], &Device::cpu()).unwrap();
    let full = file.clone();
    // The convolution's bytes have no sign: 128 is their zero.
    assert_eq!(pack_zeros(&mut file).unwrap().constants, 2);
    let x = weights(&[2, 5, 6, 6], 9);
    assert_eq!(answer(&full, std::slice::from_ref(&x)), answer(&file, &[x]));
}

#[test]
fn what_is_not_worth_it_stays() {
    let dense = Net::new(13).input("x", &[1, 64]).constant("w", weights(&[64, 64], 1)).node("MatMul", &["x", "w"], "y");
    let mut file = dense.output("y").file();
    let before = file.to_bytes().unwrap();
    assert_eq!(pack_zeros(&mut file).unwrap(), Packed::default());
    assert_eq!(file.to_bytes().unwrap(), before);
    // A node in the way of a newer operator set is named, and nothing is changed.
    let old = Net::new(9)
        .input("x", &[1, 64])
        .constant("w", sparse(&[64, 64], 1, 4))
        .node("MatMul", &["x", "w"], "a")
        .with("Pad", &["a"], "y", |node| node.with_ints("pads", &[0; 4]))
        .output("y");
    let mut file = old.file();
    let before = file.to_bytes().unwrap();
    assert!(matches!(pack_zeros(&mut file), Err(CompressError::Opset { node, .. }) if node == "y"));
    assert_eq!(file.to_bytes().unwrap(), before);
}
