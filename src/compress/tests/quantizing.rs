//! Fewer bits.

use super::*;
use crate::session::Device;
use crate::tensor::ElementType;

/// A convolution with a batch normalization, one for each channel, a residual link, two matrices, a softmax.
pub(super) fn network(opset: i64) -> ModelFile {
    Net::new(opset)
        .input("x", &[-1, 3, 8, 8])
        .conv("x", "first", [16, 3, 3, 3], 1)
        .constant("s", weights(&[16], 2))
        .constant("t", weights(&[16], 3))
        .constant("m", weights(&[16], 4))
        .constant("v", Tensor::vector((0..16).map(|i| 0.5 + i as f32 / 16.0).collect()))
        .node("BatchNormalization", &["first", "s", "t", "m", "v"], "norm")
        .node("Relu", &["norm"], "a")
        .conv("a", "each", [16, 1, 5, 5], 16)
        .node("Relu", &["each"], "b")
        .conv("b", "second", [16, 16, 3, 3], 1)
        .node("Add", &["second", "a"], "sum")
        .node("GlobalAveragePool", &["sum"], "mean")
        .node("Flatten", &["mean"], "row")
        .constant("w1", weights(&[32, 16], 6))
        .constant("b1", weights(&[32], 7))
        .with("Gemm", &["row", "w1", "b1"], "hidden", |node| node.with_int("transB", 1))
        .node("Relu", &["hidden"], "kept")
        .constant("w2", weights(&[32, 10], 8))
        .node("MatMul", &["kept", "w2"], "y")
        .output("y")
        .file()
}

pub(super) fn samples(count: u64) -> Vec<Sample> {
    (0..count).map(|i| Sample::new(vec![("x".to_owned(), weights(&[1, 3, 8, 8], 1000 + i))])).collect()
}

pub(super) fn x() -> Tensor {
    weights(&[2, 3, 8, 8], 5)
}

pub(super) fn quantized(how: &Quantization, samples: &[Sample]) -> (ModelFile, Quantized) {
    let mut file = network(13);
    let quantized = quantize(&mut file, how, samples, &Device::cpu()).unwrap();
    (file, quantized)
}

pub(super) fn operators(file: &ModelFile) -> Vec<String> {
    file.nodes.iter().map(|part| part.get().operator().to_owned()).collect()
}

pub(super) fn strays(file: &ModelFile) -> f64 {
    difference(&answer(&network(13), &[x()]), &answer(file, &[x()]))
}

#[test]
fn weights_in_fewer_bits_are_near_and_small() {
    let bytes = |file: &ModelFile| file.to_bytes().unwrap().len();
    let floats = bytes(&network(13));
    for (scheme, most, size) in
        [(Scheme::F16, 1e-3, 0.65), (Scheme::Int8Weights, 2e-2, 0.55), (Scheme::Int4Weights, 0.15, 0.55)]
    {
        let (file, _) = quantized(&Quantization::new(scheme), &[]);
        let error = strays(&file);
        assert!(error > 0.0 && error < most, "{scheme:?} {error}");
        assert!((bytes(&file) as f64) < floats as f64 * size, "{scheme:?} {} of {floats}", bytes(&file));
    }
}

#[test]
fn tables_and_recurrent_layers_are_stored_in_fewer_bits_too() {
    let floats = Net::new(13)
        .input("x", &[5, 2])
        .with("Cast", &["x"], "words", |node| node.with_int("to", 7))
        .constant("table", weights(&[40, 16], 1))
        .node("Gather", &["table", "words"], "rows")
        .constant("w", weights(&[1, 48, 16], 2))
        .constant("r", weights(&[1, 48, 12], 3))
        .with("LSTM", &["rows", "w", "r"], "y", |node| node.with_int("hidden_size", 12))
        .output("y")
        .file();
    let x = [Tensor::new([5, 2], (0..10).map(|i| (i * 7 % 40) as f32).collect()).unwrap()];
    let bytes = |file: &ModelFile| file.to_bytes().unwrap().len() as f64;
    for (scheme, stored, most, size) in
        [(Scheme::F16, Stored::Halves, 2e-3, 0.65), (Scheme::Int8Weights, Stored::Bytes, 3e-2, 0.55)]
    {
        let mut file = floats.clone();
        let found = quantize(&mut file, &Quantization::new(scheme), &[], &Device::cpu()).unwrap();
        let found: Vec<_> = found.layers.iter().map(|layer| (layer.operator.as_str(), layer.stored)).collect();
        assert_eq!(found, [("Gather", stored), ("LSTM", stored)]);
        let strayed = difference(&answer(&floats, &x), &answer(&file, &x));
        assert!(strayed > 0.0 && strayed < most, "{scheme:?} {strayed}");
        assert!(bytes(&file) < bytes(&floats) * size, "{scheme:?} {} of {}", bytes(&file), bytes(&floats));
    }
}

#[test]
fn bytes_are_the_nearest_on_the_grid_of_their_channel() {
    let (file, quantized) = quantized(&Quantization::new(Scheme::Int8Weights), &[]);
    assert_eq!(quantized.layers.iter().filter(|l| l.stored == Stored::Bytes).count(), 5);
    for (name, axis) in [("second.w", 0), ("w1", 0), ("w2", 1)] {
        let before = network(13).constant(name).unwrap();
        let (q, scale) =
            (file.constant(&format!("{name}_quantized")).unwrap(), file.constant(&format!("{name}_scale")).unwrap());
        assert_eq!((q.element_type(), q.shape()), (ElementType::I8, before.shape()));
        let inner: usize = before.shape()[axis + 1..].iter().product();
        let scale = scale.to_f64();
        for (i, (w, q)) in before.to_f64().into_iter().zip(q.to_f64()).enumerate() {
            let s = scale[i / inner % scale.len()];
            assert!((w - q * s).abs() <= s * 0.5001, "{name} {i}");
        }
        // The largest of each channel stands at the end of the grid.
        for (channel, s) in scale.iter().enumerate() {
            let own = before.to_f64().into_iter().enumerate().filter(|(i, _)| i / inner % scale.len() == channel);
            let largest = own.fold(0f64, |m, (_, w)| m.max(w.abs()));
            assert!((largest / 127.0 - s).abs() < 1e-8);
        }
    }
}

#[test]
fn tables_that_slices_are_taken_of_become_bytes() {
    let floats = Net::new(13)
        .input("x", &[-1, 64])
        .constant("positions", weights(&[40, 64], 3))
        .constant("from", Tensor::vector(vec![2i64]))
        .constant("to", Tensor::vector(vec![5i64]))
        .constant("axis", Tensor::vector(vec![0i64]))
        .node("Slice", &["positions", "from", "to", "axis"], "some")
        .node("Add", &["x", "some"], "y")
        .output("y")
        .file();
    let mut file = floats.clone();
    let done = quantize(&mut file, &Quantization::new(Scheme::Int4Weights), &[], &Device::cpu()).unwrap();
    assert_eq!((done.layers.len(), done.layers[0].stored), (1, Stored::Bytes));
    assert_eq!(file.constant("positions_quantized").map(|table| table.element_type()), Some(ElementType::I8));
    let x = weights(&[3, 64], 5);
    let [before, after] = [&floats, &file].map(|file| answer(file, std::slice::from_ref(&x)));
    let error = difference(&before, &after);
    assert!(error > 0.0 && error < 0.01, "{error}");
}

#[test]
fn activations_are_quantized_in_the_run() {
    let (file, quantized) = quantized(&Quantization::new(Scheme::Dynamic), &[]);
    assert!(quantized.layers.iter().all(|l| l.stored == Stored::Dynamic));
    let operators = operators(&file);
    let count = |name: &str| operators.iter().filter(|o| *o == name).count();
    assert_eq!((count("Conv"), count("ConvInteger"), count("MatMulInteger"), count("Gemm")), (0, 3, 2, 0));
    let error = strays(&file);
    assert!(error > 0.0 && error < 0.05, "{error}");
}

#[test]
fn calibrated_models_have_integers_everywhere() {
    for range in [Range::MinMax, Range::Percentile, Range::Entropy, Range::MeanSquare] {
        let mut how = Quantization::new(Scheme::Int8);
        how.range = Some(range);
        let (file, quantized) = quantized(&how, &samples(8));
        assert!(quantized.layers.iter().all(|l| l.stored == Stored::Integers), "{quantized:?}");
        let operators = operators(&file);
        let count = |name: &str| operators.iter().filter(|o| *o == name).count();
        // The input, what Relu gives twice, both operands' sum and one of them, the mean, its row, the hidden ones.
        assert_eq!((count("QuantizeLinear"), count("BatchNormalization")), (8, 0), "{operators:?}");
        let error = strays(&file);
        assert!(error > 0.0 && error < 0.1, "{range:?} {error}");
        // A row holds the mean's numbers: one scale for both.
        assert_eq!(file.constant("row_q_scale"), file.constant("mean_q_scale"));
    }
}

#[test]
fn biases_make_up_for_rounded_weights() {
    let mean_error = |correct: bool| {
        let mut how = Quantization::new(Scheme::Int8);
        how.correct_bias = correct;
        let (file, _) = quantized(&how, &samples(16));
        let x = weights(&[16, 3, 8, 8], 77);
        let (a, b) = (answer(&network(13), std::slice::from_ref(&x)), answer(&file, &[x]));
        let mut means = [0f64; 10];
        for (i, (a, b)) in a[0].iter().zip(&b[0]).enumerate() {
            means[i % 10] += (a - b) / 16.0;
        }
        means.iter().map(|m| m.abs()).sum::<f64>()
    };
    assert!(mean_error(true) < mean_error(false));
}

#[test]
fn layers_that_matter_stay_in_floats_until_the_loss_holds() {
    let (_, all) = quantized(&Quantization::new(Scheme::Int8), &samples(8));
    assert_eq!(all.loss, None);
    let mut how = Quantization::new(Scheme::Int8);
    how.max_loss = Some(1.0);
    let (_, loose) = quantized(&how, &samples(8));
    let loss = loose.loss.unwrap();
    assert!(loss > 0.0 && loose.layers.iter().all(|l| l.stored == Stored::Integers));
    how.max_loss = Some(loss * 0.8);
    let (_, tight) = quantized(&how, &samples(8));
    assert!(tight.loss.unwrap() <= loss * 0.8);
    let floats = tight.layers.iter().filter(|l| l.stored == Stored::Floats).count();
    assert!((1..5).contains(&floats), "{tight:?}");
    how.max_loss = Some(0.0);
    let mut file = network(13);
    let error = quantize(&mut file, &how, &samples(8), &Device::cpu()).unwrap_err().to_string();
    assert!(error.starts_with("no choice of layers keeps the loss within 0"), "{error}");
    assert_eq!(file.to_bytes().unwrap(), network(13).to_bytes().unwrap(), "nothing has changed");
}

#[test]
fn old_operator_sets_are_brought_to_newer_ones_where_they_can_be() {
    let old = Net::new(9)
        .input("x", &[2, 4, 6, 6])
        .conv("x", "a", [16, 4, 3, 3], 1)
        .with("Clip", &["a"], "b", |node| node.with_float("min", 0.0).with_float("max", 0.5))
        .with("Dropout", &["b"], "c", |node| node.with_float("ratio", 0.5))
        .node("GlobalAveragePool", &["c"], "d")
        .with("Squeeze", &["d"], "e", |node| node.with_ints("axes", &[2, 3]))
        .with("Softmax", &["e"], "y", |node| node)
        .output("y");
    let old = old.file();
    let mut new = old.clone();
    let done = quantize(&mut new, &Quantization::new(Scheme::Int8Weights), &[], &Device::cpu()).unwrap();
    assert_eq!((done.opset, new.opset("")), (13, Some(13)));
    let x = weights(&[2, 4, 6, 6], 1);
    assert!(difference(&answer(&old, std::slice::from_ref(&x)), &answer(&new, &[x])) < 2e-2);

    let stuck = Net::new(9)
        .input("x", &[2, 4, 6, 6])
        .conv("x", "a", [16, 4, 3, 3], 1)
        .with("Softmax", &["a"], "y", |node| node)
        .output("y");
    let error = quantize(&mut stuck.file(), &Quantization::new(Scheme::Int8Weights), &[], &Device::cpu()).unwrap_err();
    let expected = "the model is of operator set 9, and this needs 13; node 'y' (Softmax) cannot be brought to it: export the \
                    model anew, with opset_version=13 or later";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn what_cannot_be_is_said_before_anything_is_done() {
    let message = |file: &ModelFile, how: &Quantization, samples: &[Sample]| {
        quantize(&mut file.clone(), how, samples, &Device::cpu()).unwrap_err().to_string()
    };
    let (file, int8) = (network(13), Quantization::new(Scheme::Int8));
    assert_eq!(message(&file, &int8, &[]), "there is no sample: the set is empty");
    let wrong = [Sample::new(vec![("x".to_owned(), weights(&[1, 3, 9, 8], 1))])];
    assert_eq!(message(&file, &int8, &wrong), "sample 1: input 'x' is f32[N, 3, 8, 8], but f32[1, 3, 9, 8] was given");
    let wrong = [Sample::new(vec![("z".to_owned(), weights(&[1, 3, 8, 8], 1))])];
    assert_eq!(message(&file, &int8, &wrong), "sample 1: there is nothing for input 'x'");
    let wrong = [Sample::new(vec![("x".to_owned(), Tensor::zeros(ElementType::F64, [1, 3, 8, 8]).unwrap())])];
    assert!(message(&file, &int8, &wrong).contains("but f64[1, 3, 8, 8] was given"));
    let (quantized, _) = quantized(&int8, &samples(1));
    let text = message(&quantized, &Quantization::new(Scheme::F16), &[]);
    assert!(text.starts_with("the model is quantized already: node '"), "{text}");
    let mut how = Quantization::new(Scheme::Int4Weights);
    how.block = 24;
    assert_eq!(message(&file, &how, &[]), "a block has 16, 32, 64, 128 or 256 numbers, not 24");
    how = Quantization::new(Scheme::F16);
    how.layers = vec!["secnd".to_owned()];
    assert!(message(&file, &how, &[]).contains("did you mean 'second'?"));
}

#[test]
fn a_bias_has_a_place_beside_weights_of_next_to_nothing() {
    // A channel of zeros and one of weights that are tiny beside their bias, as folded normalizations leave them.
    let mut w = weights(&[8, 4, 3, 3], 1).to_f64().iter().map(|&w| w as f32).collect::<Vec<_>>();
    w[..36].fill(0.0);
    w[36..72].iter_mut().for_each(|w| *w *= 1e-12);
    let net = || {
        Net::new(13)
            .input("x", &[-1, 4, 6, 6])
            .constant("w", Tensor::new([8, 4, 3, 3], w.clone()).unwrap())
            .constant("b", Tensor::vector(vec![0.037f32, -0.41, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
            .node("Conv", &["x", "w", "b"], "a")
            .node("Relu", &["a"], "c")
            .conv("c", "y", [3, 8, 1, 1], 1)
            .output("y")
            .file()
    };
    let samples: Vec<Sample> =
        (0..16).map(|i| Sample::new(vec![("x".to_owned(), weights(&[1, 4, 6, 6], i))])).collect();
    let mut file = net();
    // Equalized, the biases would be other numbers for the same answers.
    let how = Quantization { equalize: false, ..Quantization::new(Scheme::Int8) };
    quantize(&mut file, &how, &samples, &Device::cpu()).unwrap();
    let name = file.constants().find(|name| name.starts_with("a_bias") && name.ends_with("_quantized")).unwrap();
    let bias = file.constant(name).unwrap().to_f64();
    let scale = file.constant(&name.replace("_quantized", "_scale")).unwrap().to_f64();
    let near = |channel: usize, wanted: f64| (bias[channel] * scale[channel] - wanted).abs() < 1e-6;
    assert!(near(0, 0.037) && near(1, -0.41), "{bias:?} {scale:?}");
    let x = weights(&[2, 4, 6, 6], 77);
    let error = difference(&answer(&net(), std::slice::from_ref(&x)), &answer(&file, &[x]));
    assert!(error < 0.02, "{error}");
}

#[test]
fn layers_that_share_their_weights_share_their_bytes() {
    let net = || {
        Net::new(13)
            .input("x", &[-1, 24])
            .constant("w", weights(&[24, 24], 1))
            .node("MatMul", &["x", "w"], "a")
            .node("Relu", &["a"], "b")
            .node("MatMul", &["b", "w"], "c")
            .output("c")
            .file()
    };
    let samples: Vec<Sample> = (0..32).map(|i| Sample::new(vec![("x".to_owned(), weights(&[1, 24], i))])).collect();
    for scheme in [Scheme::Int8, Scheme::Int8Weights, Scheme::Dynamic] {
        let mut file = net();
        let done = quantize(&mut file, &Quantization::new(scheme), &samples, &Device::cpu()).unwrap();
        assert!(done.layers.iter().all(|layer| layer.stored != Stored::Floats), "{done:?}");
        assert_eq!(file.constants().filter(|name| file.constant(name).unwrap().len() == 24 * 24).count(), 1);
        let x = weights(&[3, 24], 77);
        assert!(difference(&answer(&net(), std::slice::from_ref(&x)), &answer(&file, &[x])) < 0.05, "{scheme:?}");
    }
}

#[test]
fn what_is_only_read_in_floats_stays_in_floats() {
    let net = || {
        Net::new(13)
            .input("x", &[-1, 3, 8, 8])
            .conv("x", "first", [16, 3, 3, 3], 1)
            .node("Relu", &["first"], "a")
            .conv("a", "second", [10, 16, 1, 1], 1)
            .node("Relu", &["second"], "b")
            .node("GlobalAveragePool", &["b"], "mean")
            .node("Flatten", &["mean"], "row")
            .node("Softmax", &["row"], "y")
            .output("y")
            .file()
    };
    let mut file = net();
    let mut how = Quantization::new(Scheme::Int8);
    how.weight_bits = 7;
    quantize(&mut file, &how, &samples(8), &Device::cpu()).unwrap();
    // The input, and what the second convolution reads: classes may lie further apart than the samples showed.
    assert_eq!(operators(&file).iter().filter(|o| *o == "QuantizeLinear").count(), 2, "{:?}", operators(&file));
    for name in ["first.w_quantized", "second.w_quantized"] {
        let largest = file.constant(name).unwrap().to_f64().into_iter().fold(0f64, |most, w| most.max(w.abs()));
        assert_eq!(largest, 63.0, "{name}");
    }
    assert!(difference(&answer(&net(), &[x()]), &answer(&file, &[x()])) < 0.1);
    how.weight_bits = 6;
    assert!(matches!(quantize(&mut net(), &how, &samples(1), &Device::cpu()), Err(CompressError::Options(_))));
}

#[test]
fn parts_of_a_concatenation_have_its_scale() {
    let net = || {
        Net::new(13)
            .input("x", &[-1, 3, 8, 8])
            .conv("x", "left", [4, 3, 3, 3], 1)
            .conv("x", "right", [5, 3, 1, 1], 1)
            .node("Relu", &["left"], "a")
            .node("Relu", &["right"], "b")
            .with("Concat", &["a", "b"], "both", |node| node.with_int("axis", 1))
            .with("MaxPool", &["both"], "pooled", |node| node.with_ints("kernel_shape", &[2, 2]))
            .conv("pooled", "y", [4, 9, 1, 1], 1)
            .output("y")
            .file()
    };
    let mut file = net();
    quantize(&mut file, &Quantization::new(Scheme::Int8), &samples(8), &Device::cpu()).unwrap();
    for value in ["a", "b", "pooled"] {
        for what in ["scale", "zero"] {
            let of = |value: &str| file.constant(&format!("{value}_q_{what}"));
            assert!(of(value).is_some() && of(value) == of("both"), "{value} {what}");
        }
    }
    assert!(difference(&answer(&net(), &[x()]), &answer(&file, &[x()])) < 0.1);
}
