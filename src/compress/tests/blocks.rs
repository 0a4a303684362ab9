//! Weights in blocks of four bits.

use super::quantizing::{network, operators, quantized, samples, strays};
use super::*;
use crate::session::Device;

#[test]
fn four_bits_are_near_in_each_block() {
    for block in [16, 32, 64] {
        let mut how = Quantization::new(Scheme::Int4Weights);
        (how.block, how.layers) = (block, vec!["y".to_owned()]);
        let (file, quantized) = quantized(&how, &[]);
        assert_eq!(quantized.layers.len(), 1);
        assert_eq!(operators(&file).last().map(String::as_str), Some("MatMulNBits"));
        // Rows of 32 in blocks: the last one filled up.
        let blocks = 32usize.div_ceil(block);
        assert_eq!(file.constant("w2_int4").unwrap().shape(), [10, blocks, block / 2]);
        let (q, scale) = (file.constant("w2_int4").unwrap(), file.constant("w2_int4_scale").unwrap().to_f64());
        let (zero, w) = (file.constant("w2_int4_zero").unwrap(), network(13).constant("w2").unwrap().to_f64());
        for n in 0..10 {
            for k in 0..32 {
                let byte = q.bytes()[n * blocks * block / 2 + k / 2];
                let zero = zero.bytes()[n * blocks.div_ceil(2) + k / block / 2] >> (4 * (k / block % 2)) & 15;
                let step = f64::from(byte >> (4 * (k % 2)) & 15);
                let s = scale[n * blocks + k / block];
                // Half a step from what is left of the number, where a smaller scale cuts it off.
                let left = w[k * 10 + n].clamp(-f64::from(zero) * s, (15.0 - f64::from(zero)) * s);
                assert!(s > 0.0 && ((step - f64::from(zero)) * s - left).abs() <= s * 0.5001, "{n} {k}");
            }
        }
        assert!(strays(&file) < 0.15);
    }
}

#[test]
fn four_bits_make_up_on_samples_for_what_they_lose() {
    let mut how = Quantization::new(Scheme::Int4Weights);
    how.layers = vec!["y".to_owned()];
    let [plain, better] = [vec![], samples(64)].map(|samples| strays(&quantized(&how, &samples).0));
    assert!(better < 0.8 * plain, "{better} and {plain}");
}

#[test]
fn products_that_matter_stay_in_bytes_until_the_loss_holds() {
    // A deep one, so that there are some to choose from.
    let net = || {
        let net = (0..4).fold(Net::new(13).input("x", &[-1, 16]), |net, i| {
            let [x, w, y, a] = ["a", "w", "y", "a"].map(|name| format!("{name}{i}"));
            let (x, a) = (if i == 0 { "x".to_owned() } else { x }, a.replace(&i.to_string(), &(i + 1).to_string()));
            let net = net.constant(&w, weights(&[16, 16], i + 40)).node("MatMul", &[&x, &w], &y);
            net.node("Tanh", &[&y], &a)
        });
        net.output("a4").file()
    };
    let samples: Vec<Sample> =
        (0..8).map(|i| Sample::new(vec![("x".to_owned(), weights(&[4, 16], 300 + i))])).collect();
    let quantized = |most: Option<f64>| {
        let how = Quantization { max_loss: most, ..Quantization::new(Scheme::Int4Weights) };
        let mut file = net();
        let done = quantize(&mut file, &how, &samples, &Device::cpu())?;
        Ok::<_, CompressError>((file, done))
    };
    let loss = quantized(Some(1.0)).unwrap().1.loss.unwrap();
    assert!(loss > 0.0 && quantized(None).unwrap().1.loss.is_none());
    let (file, done) = quantized(Some(loss * 0.8)).unwrap();
    let of = |stored| done.layers.iter().filter(|layer| layer.stored == stored).count();
    assert!(
        of(Stored::Bytes) > 0 && of(Stored::Nibbles) > 0 && of(Stored::Bytes) + of(Stored::Nibbles) == 4,
        "{done:?}"
    );
    assert_eq!(operators(&file).iter().filter(|o| *o == "MatMulNBits").count(), of(Stored::Nibbles));
    assert_eq!(operators(&file).iter().filter(|o| *o == "DequantizeLinear").count(), of(Stored::Bytes));
    // What is said to be lost is what the comparison finds.
    let changes = compare(&net(), &file, &done.factors, &samples, &Device::cpu(), |_| ()).unwrap();
    assert!((changes.outputs[0].relative - done.loss.unwrap()).abs() < 1e-6 && done.loss.unwrap() <= loss * 0.8);
    let error = quantized(Some(0.0)).unwrap_err().to_string();
    assert!(error.starts_with("no choice of layers keeps the loss within 0"), "{error}");
}

#[test]
fn embeddings_in_bytes_become_embeddings_in_four_bits() {
    let table = weights(&[40, 64], 3);
    let scale: Vec<f32> = (0..40).map(|i| 0.01 + i as f32 / 1000.0).collect();
    let q: Vec<i8> = table.to_f64().iter().map(|v| (v * 127.0) as i8).collect();
    let bytes = Net::new(17)
        .input("i", &[-1])
        .constant("table", Tensor::new([40, 64], q).unwrap())
        .constant("scale", Tensor::new([40, 1], scale).unwrap())
        .constant("one", Tensor::scalar(1i64))
        .with("Cast", &["i"], "rows", |node| node.with_int("to", 7))
        .node("Gather", &["table", "rows"], "q")
        .with("Cast", &["q"], "f", |node| node.with_int("to", 1))
        .node("Gather", &["scale", "rows"], "s")
        .node("Mul", &["f", "s"], "y")
        .output("y")
        .file();
    let mut file = bytes.clone();
    let done = quantize(&mut file, &Quantization::new(Scheme::Int4Weights), &[], &Device::cpu()).unwrap();
    assert_eq!((done.layers.len(), operators(&file)), (1, vec!["Cast".to_owned(), "GatherBlockQuantized".to_owned()]));
    let rows = Tensor::vector(vec![0f32, 7.0, 39.0]);
    let [before, after] = [&bytes, &file].map(|file| answer(file, std::slice::from_ref(&rows)));
    let error = difference(&before, &after);
    assert!(error > 0.0 && error < 0.1, "{error}");
}
