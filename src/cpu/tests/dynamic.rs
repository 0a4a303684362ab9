//! Numbers that are quantized in the run, and products of integers whose zero points and scales come with it.

use super::*;
use crate::ops::quantize::{IntegerConv, IntegerProduct};
use crate::ops::window::Window;

/// An input that is left out, known, or comes with the run.
fn of_kind(kind: u8, tensor: Tensor) -> Input {
    match kind {
        0 => Input::Missing,
        1 => Input::Constant(tensor),
        _ => Input::Run(tensor),
    }
}

/// DynamicQuantizeLinear.
fn of_range() -> Arc<dyn Operator> {
    operator(&Definition { outputs: 3, ..Definition::new("DynamicQuantizeLinear") }).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn sums_of_products_agree_to_the_last_integer(
        batch in prop::sample::select(vec![(vec![], vec![]), (vec![3], vec![]), (vec![2], vec![2]), (vec![], vec![3]), (vec![2, 1], vec![3])]),
        m in prop::sample::select(vec![1usize, 1, 2, 7, 23]), k in prop::sample::select(vec![1usize, 2, 3, 17, 64, 131]), n in 1usize..40,
        signed in any::<[bool; 2]>(), zeros in [0u8..3, 0..3], each in any::<[bool; 2]>(), known: bool, seed in 0usize..1000,
    ) {
        let (a, b) = ([&batch.0[..], &[m, k]].concat(), [&batch.1[..], &[k, n]].concat());
        let rows = bytes(&if each[0] { vec![m] } else { vec![] }, signed[0], seed + 1);
        let columns = bytes(&if each[1] { vec![n] } else { vec![1] }, signed[1], seed + 2);
        let inputs = vec![
            Input::Run(bytes(&a, signed[0], seed)),
            kept(known, bytes(&b, signed[1], seed + 3)),
            of_kind(zeros[0], rows),
            of_kind(zeros[1], columns),
        ];
        agree(operator(&Definition::new("MatMulInteger")).unwrap(), inputs, 1)?;
    }

    #[test]
    fn sums_of_windows_agree_to_the_last_integer(
        groups in prop::sample::select(vec![1usize, 1, 2, 5]), inputs in 1usize..9, outputs in 1usize..15, axes in 1usize..4,
        height in 3usize..9, width in prop::sample::select(vec![3usize, 7, 16, 21, 40]), kernel in prop::sample::select(vec![1usize, 1, 3]),
        stride in 1usize..3, pad in 0usize..2, signed in any::<[bool; 2]>(), zero in 0u8..3, own_zero in 0u8..2, each: bool,
        seed in 0usize..1000,
    ) {
        let (inputs, outputs) = if groups == 5 { (1, 1) } else { (inputs, outputs) };
        let size = &[3, height, width][3 - axes..];
        let x = bytes(&[&[2, inputs * groups], size].concat(), signed[0], seed);
        let w = bytes(&[&[outputs * groups, inputs], &vec![kernel; axes][..]].concat(), signed[1], seed + 1);
        let own = bytes(&if each { vec![outputs * groups] } else { vec![] }, signed[1], seed + 2);
        let definition = Definition::new("ConvInteger")
            .attribute("group", groups as i64)
            .attribute("strides", vec![stride as i64; axes])
            .attribute("pads", vec![pad as i64; 2 * axes]);
        let inputs =
            vec![Input::Run(x), Input::Constant(w), of_kind(zero, bytes(&[], signed[0], seed + 3)), of_kind(own_zero, own)];
        agree(operator(&definition).unwrap(), inputs, 1)?;
    }

    #[test]
    fn floats_by_scales_of_the_run_agree_to_the_last_bit(
        matrix: bool, groups in prop::sample::select(vec![1usize, 5]), m in prop::sample::select(vec![1usize, 3, 14]), k in 1usize..40,
        n in 1usize..40, signed in any::<[bool; 2]>(), bias in 0u8..3, seed in 0usize..1000,
    ) {
        let n = if groups == 5 && !matrix { 5 } else { n };
        let (x, w) = match matrix {
            true => (vec![2, m, k], vec![k, n]),
            false => (vec![2, if groups == 5 { 5 } else { k }, m, 9], vec![n, if groups == 5 { 1 } else { k }, 3, 3]),
        };
        let weights = (0..n).map(|i| 0.011 + i as f32 / 999.0).collect();
        let mut inputs = vec![
            Input::Run(bytes(&x, signed[0], seed)),
            Input::Run(Tensor::scalar(0.037f32)),
            Input::Run(bytes(&[], signed[0], seed + 1)),
            Input::Constant(bytes(&w, signed[1], seed + 2)),
            Input::Constant(Tensor::vector(weights)),
            Input::Constant(bytes(&[n], signed[1], seed + 3)),
        ];
        let bias = of_kind(bias, Tensor::vector((0..n).map(|i| i as f32 * 0.37 - 1.1).collect()));
        if matrix {
            inputs.push(bias);
            return agree(Arc::new(IntegerProduct::folded(None, 1.0, None)), inputs, 1);
        }
        inputs.extend([Input::Missing, Input::Missing, bias]);
        let window = Window { strides: vec![1, 2], pads: vec![1; 4], ..Window::default() };
        let conv = Conv { window, groups, ..Conv::default() };
        agree(Arc::new(IntegerConv::folded(conv, true, None)), inputs, 1)?;
    }

    #[test]
    fn numbers_are_quantized_by_their_range(
        n in prop_oneof![4 => 1usize..200, 1 => 16_000usize..40_000], from in -3.0f32..3.0, to in -3.0f32..3.0,
        odd in prop::sample::select(vec![0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-44]), step in 1usize..9000,
    ) {
        let mut x: Vec<f32> = (0..n).map(|i| from + (to - from) * ((i * step % n) as f32 / n as f32)).collect();
        x[n / 2] = odd;
        agree(of_range(), vec![Input::Run(Tensor::vector(x))], 3)?;
        // Ties, as near as f32 comes to them.
        let x = (0..n).map(|i| (i * step % 511) as f32 / 2.0 - 100.0).collect();
        agree(of_range(), vec![Input::Run(Tensor::vector(x))], 3)?;
    }
}
