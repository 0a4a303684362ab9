use std::sync::Arc;

use proptest::prelude::*;

use super::fused::{Fused, Rows};
use super::*;
use crate::ops::operator;
use crate::tensor::{ElementType, Tensor, Truth};
use crate::testing::{Input, Tolerance, check, try_check};

/// Weighted means of numbers of at most 1 by weights from `exp` of scores that sum up to 80 products: a relative error
/// of the scores of 80 · 6e-8 becomes one of the weights, and both `exp`s add a few units in the last place.
const MEANS: Tolerance = Tolerance { absolute: 2e-5, relative: 2e-5 };

fn tensor(shape: &[usize], seed: u32) -> Tensor {
    let n: usize = shape.iter().product();
    let mix = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503)) >> 8) as f32;
    Tensor::new(shape.to_vec(), (0..n as u32).map(|i| mix(i) / (1 << 23) as f32 - 1.0).collect()).unwrap()
}

fn evaluate(op: &dyn Operator, inputs: &[Option<Tensor>]) -> Vec<Tensor> {
    let values: Vec<_> = inputs.iter().cloned().map(|t| t.map(Value::Tensor)).collect();
    let values: Vec<_> = values.iter().map(Option::as_ref).collect();
    let outputs = op.evaluate(&mut Context::default(), Inputs(&values)).unwrap();
    outputs.into_iter().map(|v| v.into_tensor().unwrap()).collect()
}

fn attention(definition: Definition) -> Arc<dyn Operator> {
    operator(&definition).unwrap()
}

#[test]
fn means_by_hand() {
    // Equal keys: the mean of the values. A query far along one key: that key's value.
    let q = Tensor::new([1, 1, 2, 2], vec![0f32, 0.0, 100.0, 0.0]).unwrap();
    let k = Tensor::new([1, 1, 2, 2], vec![1f32, 0.0, -1.0, 0.0]).unwrap();
    let v = Tensor::new([1, 1, 2, 1], vec![2f32, 6.0]).unwrap();
    let y = evaluate(&*attention(Definition::new("Attention")), &[Some(q), Some(k), Some(v)]).remove(0);
    assert_eq!(y, Tensor::new([1, 1, 2, 1], vec![4f32, 2.0]).unwrap());
}

#[test]
fn a_query_without_keys_gives_zero() {
    let x = || Some(tensor(&[1, 1, 2, 4], 1));
    let mask = Tensor::new([2, 2], [true, true, false, false].map(Truth::from).to_vec()).unwrap();
    let y = evaluate(&*attention(Definition::new("Attention")), &[x(), x(), x(), Some(mask)]).remove(0);
    assert_eq!(y.as_slice::<f32>().unwrap()[4..], [0.0; 4]);
    assert!(y.as_slice::<f32>().unwrap()[..4].iter().all(|&v| v != 0.0));
}

#[test]
fn keys_so_far_come_before_and_come_out() {
    // In two parts, causal: the same as in one.
    let (k, v, q) = (tensor(&[1, 2, 5, 3], 1), tensor(&[1, 2, 5, 4], 2), tensor(&[1, 2, 5, 3], 3));
    let causal = Definition::new("Attention").attribute("is_causal", 1i64);
    let whole = evaluate(&*attention(causal.clone()), &[Some(q.clone()), Some(k.clone()), Some(v.clone())]).remove(0);
    let part = |t: &Tensor, from: usize, to: usize| {
        let size = t.shape()[3];
        let data = t.as_slice::<f32>().unwrap().chunks(5 * size).flat_map(|h| h[from * size..to * size].to_vec());
        Tensor::new([1, 2, to - from, size], data.collect()).unwrap()
    };
    let mut causal = causal;
    causal.outputs = 3;
    let inputs = [
        Some(part(&q, 3, 5)),
        Some(part(&k, 3, 5)),
        Some(part(&v, 3, 5)),
        None,
        Some(part(&k, 0, 3)),
        Some(part(&v, 0, 3)),
    ];
    let outputs = evaluate(&*attention(causal), &inputs);
    assert_eq!(outputs[0], part(&whole, 3, 5));
    assert_eq!(outputs[1..], [k, v]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let fact = |shape: &[usize]| Fact::new(ElementType::F32, shape.to_vec());
    let op = attention(Definition::new("Attention"));
    let infer = |shapes: [&[usize]; 3]| {
        let facts = shapes.map(fact);
        op.infer(&facts.each_ref().map(Some))
    };
    assert_eq!(infer([&[1, 4, 3, 8], &[1, 2, 5, 8], &[1, 2, 5, 6]]).unwrap()[0].to_string(), "f32[1, 4, 3, 6]");
    assert!(infer([&[1, 3, 3, 8], &[1, 2, 5, 8], &[1, 2, 5, 8]]).is_err());
    assert!(infer([&[1, 2, 3, 8], &[1, 2, 5, 7], &[1, 2, 5, 8]]).is_err());
    assert!(infer([&[1, 3, 8], &[1, 5, 8], &[1, 5, 8]]).is_err());
    assert!(infer([&[8], &[8], &[8]]).is_err());
    assert!(operator(&Definition::new("Attention").attribute("q_num_heads", -1i64)).is_err());
}

#[test]
fn long_rows_agree() {
    let input = |shape: &[usize], seed| Input::Run(tensor(shape, seed));
    let inputs = [input(&[1, 2, 70, 68], 1), input(&[1, 2, 131, 68], 2), input(&[1, 2, 131, 72], 3)];
    check(&*attention(Definition::new("Attention")), &inputs, MEANS);
}

/// Sizes of heads: whole units and others. Each number of units is a pipeline.
fn size() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![1usize, 3, 4, 8, 13, 16, 32, 71, 80])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn attention_agrees(
        batch in 1usize..3, kv in 1usize..3, group in 1usize..3, queries in 0usize..10, keys in 1usize..70, d in 1usize..10,
        v in 1usize..10, flat: bool, causal: bool, softcap in prop_oneof![Just(0f32), Just(2.0)], scale in prop::option::of(0.1f32..2.0),
        mask in 0usize..5, repeated in 0usize..4,
    ) {
        let heads = kv * group;
        let mut definition =
            Definition::new("Attention").attribute("softcap", softcap).attribute("is_causal", i64::from(causal));
        if let Some(scale) = scale {
            definition = definition.attribute("scale", scale);
        }
        if flat {
            definition = definition.attribute("q_num_heads", heads as i64).attribute("kv_num_heads", kv as i64);
        }
        let shape = |heads: usize, length: usize, size: usize| {
            if flat { vec![batch, length, heads * size] } else { vec![batch, heads, length, size] }
        };
        let mut inputs = vec![
            Input::Run(tensor(&shape(heads, queries, d), 1)),
            Input::Run(tensor(&shape(kv, keys, d), 2)),
            Input::Run(tensor(&shape(kv, keys, v), 3)),
        ];
        let mut to = vec![batch, heads, queries, keys];
        if repeated < 3 {
            to[repeated] = 1;
        }
        let numbers = tensor(&to, 4);
        match mask {
            1 => inputs.push(Input::Run(numbers)),
            2 => inputs.push(Input::Run(tensor(&to[2..], 4))),
            3 | 4 => {
                let kept = numbers.as_slice::<f32>().unwrap().iter().map(|&x| x > 0.0);
                inputs.push(Input::Run(if mask == 3 {
                    Tensor::new(to, kept.map(Truth::from).collect()).unwrap()
                } else {
                    Tensor::new(to, kept.map(|kept| if kept { 0.25 } else { f32::NEG_INFINITY }).collect()).unwrap()
                }));
            }
            _ => {}
        }
        try_check(&*attention(definition), &inputs, MEANS).map_err(TestCaseError::fail)?;
    }

    /// Operands where projections leave them: in one value, or in values of their own.
    #[test]
    fn fused_attention_agrees(
        batch in 1usize..3, kv in 1usize..4, group in 1usize..4, queries in 1usize..40, keys in 1usize..40, d in size(),
        v in size(), packed: bool, side_by_side: bool, causal: bool, scale in 0.1f32..2.0, mask in 0usize..4, repeated in 0usize..5,
        valid in prop_oneof![3 => Just(None), 1 => (0i64..40).prop_map(Some)],
    ) {
        let keys = if packed { queries } else { keys };
        let heads = kv * group;
        let lengths = [queries, keys, keys];
        let widths = [heads * d, kv * d, kv * v];
        let (inputs, operands) = if packed {
            let row: usize = widths.iter().sum();
            let rows = |i: usize, size| Rows {
                base: widths[..i].iter().sum(),
                steps: [queries * row, size, row],
            };
            (vec![tensor(&[batch, queries, row], 1)], [rows(0, d), rows(1, d), rows(2, v)])
        } else {
            let of = |i: usize, size| Rows { base: 0, steps: [lengths[i] * widths[i], size, widths[i]] };
            let inputs = (0..3).map(|i| tensor(&[batch, lengths[i], widths[i]], i as u32)).collect();
            (inputs, [of(0, d), of(1, d), of(2, v)])
        };
        let shape = if side_by_side { vec![batch, queries, heads * v] } else { vec![batch, heads, queries, v] };
        let sizes = [batch, heads, queries, keys, d, v];
        let before = if causal && !packed && keys > queries && keys % 2 == 0 { keys - queries } else { 0 };
        let fused = Fused { scale, causal, before, sizes, group, packed, operands, side_by_side, shape };
        prop_assert!(fused.suits());
        let mut inputs: Vec<Input> = inputs.into_iter().map(Input::Run).collect();
        if mask > 0 {
            inputs.resize_with(3, || Input::Missing);
            let mut to = vec![batch, heads, queries, keys];
            if repeated < 4 {
                to[repeated] = 1;
            }
            let numbers = tensor(&to, 4);
            let kept = numbers.as_slice::<f32>().unwrap().iter().map(|&x| x > 0.0);
            inputs.push(Input::Run(match mask {
                1 => numbers,
                2 => Tensor::new(to, kept.map(Truth::from).collect()).unwrap(),
                _ => Tensor::new(to, kept.map(|kept| if kept { 0.25 } else { f32::NEG_INFINITY }).collect()).unwrap(),
            }));
        }
        if let Some(valid) = valid {
            inputs.resize_with(VALID, || Input::Missing);
            let ends = (0..batch as i64).map(|b| (valid + 7 * b) % (keys as i64 + 1));
            inputs.push(Input::Run(Tensor::vector(ends.collect())));
        }
        try_check(&fused, &inputs, MEANS).map_err(TestCaseError::fail)?;
    }

    /// Keys and values so far, valid keys, short masks, heads that do not begin at whole units, scores.
    #[test]
    fn all_forms_agree(
        batch in 1usize..3, kv in 1usize..3, group in 1usize..3, queries in 0usize..5, keys in 1usize..9, past in 0usize..150,
        d in size(), v in size(), flat: bool, causal: bool, softcap in prop_oneof![Just(0f32), Just(2.0)],
        mask in 0usize..4, outputs in 1usize..5, mode in 0i64..4, valid: bool,
    ) {
        let heads = kv * group;
        let mut definition = Definition::new("Attention")
            .attribute("is_causal", i64::from(causal)).attribute("qk_matmul_output_mode", mode);
        if flat {
            definition = definition.attribute("q_num_heads", heads as i64).attribute("kv_num_heads", kv as i64);
        }
        definition.outputs = outputs;
        let valid = valid && past == 0;
        let hides = causal || mask > 0 || valid;
        if !(outputs == 4 && (mode == 1 || mode == 2) && hides) {
            definition = definition.attribute("softcap", softcap);
        }
        let shape = |heads: usize, length: usize, size: usize| {
            if flat { vec![batch, length, heads * size] } else { vec![batch, heads, length, size] }
        };
        let mut inputs = vec![
            Input::Run(tensor(&shape(heads, queries, d), 1)),
            Input::Run(tensor(&shape(kv, keys, d), 2)),
            Input::Run(tensor(&shape(kv, keys, v), 3)),
            Input::Missing, Input::Missing, Input::Missing, Input::Missing,
        ];
        let total = past + keys;
        let numbers = tensor(&[batch, 1, queries, if mask == 3 { total.div_ceil(2).max(2).min(total) } else { total }], 4);
        match mask {
            1 | 3 => inputs[3] = Input::Run(numbers),
            2 => {
                let kept = numbers.as_slice::<f32>().unwrap().iter().map(|&x| Truth::from(x > 0.0)).collect();
                inputs[3] = Input::Run(Tensor::new(numbers.shape(), kept).unwrap());
            }
            _ => {}
        }
        if past > 0 {
            inputs[4] = Input::Run(tensor(&[batch, kv, past, d], 5));
            inputs[5] = Input::Run(tensor(&[batch, kv, past, v], 6));
        }
        if valid {
            inputs[6] = Input::Run(Tensor::vector((0..batch).map(|b| ((b + keys) % (keys + 1)) as i32).collect()));
        }
        try_check(&*attention(definition), &inputs, MEANS).map_err(TestCaseError::fail)?;
    }
}
