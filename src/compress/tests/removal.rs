//! Whole channels.

use super::*;

/// What residual networks, mobile ones and squeezing ones are made of: a residual link, a filter for each channel, a
/// concatenation, a link that pads channels, a gate, two matrices.
fn network() -> ModelFile {
    Net::new(13)
        .input("x", &[-1, 3, 6, 6])
        .conv("x", "first", [16, 3, 3, 3], 1)
        .constant("s", weights(&[16], 2))
        .constant("t", weights(&[16], 3))
        .constant("m", weights(&[16], 4))
        .constant("v", Tensor::vector((0..16).map(|i| 0.5 + i as f32 / 16.0).collect()))
        .node("BatchNormalization", &["first", "s", "t", "m", "v"], "norm")
        .node("Relu", &["norm"], "a")
        .conv("a", "second", [16, 16, 3, 3], 1)
        .node("Add", &["second", "a"], "sum")
        .conv("sum", "each", [16, 1, 3, 3], 16)
        .constant("low", Tensor::scalar(0f32))
        .constant("high", Tensor::scalar(6f32))
        .node("Clip", &["each", "low", "high"], "clipped")
        .with("Concat", &["sum", "clipped"], "both", |node| node.with_int("axis", 1))
        .conv("both", "third", [24, 32, 1, 1], 1)
        .constant("slope", weights(&[24, 1, 1], 5))
        .node("PRelu", &["third", "slope"], "bent")
        .constant("pads", Tensor::vector(vec![0i64, 3, 0, 0, 0, 5, 0, 0]))
        .node("Pad", &["sum", "pads"], "wide")
        .node("Add", &["bent", "wide"], "joined")
        .node("GlobalAveragePool", &["joined"], "mean")
        .conv("mean", "gate", [24, 24, 1, 1], 1)
        .node("Sigmoid", &["gate"], "open")
        .node("Mul", &["joined", "open"], "gated")
        .with("MaxPool", &["gated"], "small", |node| {
            node.with_ints("kernel_shape", &[3, 3]).with_ints("strides", &[3, 3])
        })
        .constant("flat", Tensor::vector(vec![-1i64, 96]))
        .node("Reshape", &["small", "flat"], "row")
        .constant("w1", weights(&[10, 96], 6))
        .constant("b1", weights(&[10], 7))
        .with("Gemm", &["row", "w1", "b1"], "hidden", |node| node.with_int("transB", 1))
        .node("Relu", &["hidden"], "kept")
        .constant("w2", weights(&[10, 4], 8))
        .node("MatMul", &["kept", "w2"], "y")
        .output("y")
        .file()
}

#[test]
fn a_model_without_channels_is_the_model_with_zeros_in_their_places() {
    let full = network();
    for amount in [0.0, 0.1, 0.3, 0.5, 0.9] {
        let mut small = full.clone();
        let pruned = prune(&mut small, &Pruning::new(Pattern::Channels, amount)).unwrap();
        let mut masked = full.clone();
        pruned.masks.apply(&mut masked).unwrap();
        let x = weights(&[2, 3, 6, 6], 99);
        let (masked, small_answer) = (answer(&masked, std::slice::from_ref(&x)), answer(&small, &[x]));
        assert!(difference(&masked, &small_answer) < 1e-6, "{amount}");
        if amount > 0.0 {
            assert!(small.to_bytes().unwrap().len() < full.to_bytes().unwrap().len());
        }
    }
}

#[test]
fn coupled_channels_go_together_in_proportion() {
    let mut file = network();
    let pruned = prune(&mut file, &Pruning::new(Pattern::Channels, 0.25)).unwrap();
    let shape = |name: &str| file.constant(name).unwrap().shape().to_vec();
    // The 16 of the residual link lose 4; the 8 that the padding adds to them lose 2; the hidden ones 2 of 10 (2.5).
    assert_eq!((shape("first.w"), shape("second.w")), (vec![12, 3, 3, 3], vec![12, 12, 3, 3]));
    assert_eq!((shape("each.w"), shape("third.w")), (vec![12, 1, 3, 3], vec![18, 24, 1, 1]));
    assert_eq!((shape("gate.w"), shape("slope")), (vec![18, 18, 1, 1], vec![18, 1, 1]));
    assert_eq!((shape("w1"), shape("w2"), shape("v")), (vec![8, 72], vec![8, 4], vec![12]));
    let first = &pruned.layers[0];
    assert_eq!((first.shapes[1].as_slice(), first.zeros), (&[12, 3, 3, 3][..], 4 * 27));

    // In whole groups of four: 12 are one, 14 of 16 would be 12 or 16, 8 of the others stay 8 or become 4.
    let mut file = network();
    let mut how = Pruning::new(Pattern::Channels, 0.25);
    how.multiple = 4;
    prune(&mut file, &how).unwrap();
    assert_eq!(file.constant("third.w").unwrap().shape(), [20, 24, 1, 1]);
}

#[test]
fn channels_of_a_named_layer_take_with_them_what_they_are_added_to() {
    let mut file = network();
    let mut how = Pruning::new(Pattern::Channels, 0.5);
    how.layers = vec!["second".to_owned()];
    prune(&mut file, &how).unwrap();
    let shape = |name: &str| file.constant(name).unwrap().shape().to_vec();
    assert_eq!((shape("first.w")[0], shape("second.w")[0], shape("w1")[0]), (8, 8, 10));
}

#[test]
fn what_cannot_be_followed_stays_whole() {
    // Softmax over channels, a slice of them, a graph's output, grouped filters, weights that something else reads.
    let base = || Net::new(13).input("x", &[1, 4, 5, 5]).conv("x", "a", [8, 4, 3, 3], 1);
    let nets = [
        base()
            .with("Softmax", &["a"], "s", |node| node.with_int("axis", 1))
            .conv("s", "y", [4, 8, 1, 1], 1)
            .output("y"),
        base().conv("a", "y", [4, 8, 1, 1], 1).output("y").output("a"),
        base().conv("a", "b", [8, 4, 1, 1], 2).conv("b", "y", [4, 8, 1, 1], 1).output("y"),
        base().conv("a", "y", [4, 8, 1, 1], 1).node("Identity", &["a.w"], "weights").output("y").output("weights"),
        base().node("Shape", &["a"], "shape").conv("a", "y", [4, 8, 1, 1], 1).output("y").output("shape"),
    ];
    for (i, net) in nets.into_iter().enumerate() {
        let mut how = Pruning::new(Pattern::Channels, 0.5);
        how.layers = vec!["a".to_owned()];
        let mut file = net.file();
        let error = prune(&mut file, &how).unwrap_err().to_string();
        assert!(error.starts_with("no channel of these layers can go"), "{i}: {error}");
    }
}

#[test]
fn steps_take_channels_out_at_the_end_alone() {
    let mut file = network();
    let mut seen = vec![];
    let pruned = prune_in_steps(&mut file, &Pruning::new(Pattern::Channels, 0.25), 2, |step| {
        let w = step.file.constant("first.w").unwrap();
        let zero = w.as_slice::<f32>()?.chunks(27).filter(|filter| filter.iter().all(|&w| w == 0.0)).count();
        seen.push((w.shape()[0], zero));
        Ok(())
    });
    pruned.unwrap();
    // 0.25 · (1 − (1/2)³) of 16 are 3.5, and so 4: the even number.
    assert_eq!(seen, [(16, 4), (16, 4)]);
    assert_eq!(file.constant("first.w").unwrap().shape()[0], 12);
}
