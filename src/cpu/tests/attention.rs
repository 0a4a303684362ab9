//! Attention over operands where projections leave them.

use super::*;
use crate::ops::attention::VALID;
use crate::ops::attention::fused::{Fused, Rows};
use crate::tensor::Truth;

/// Weighted means of numbers of at most 1 by weights of which `exp` errs by a few units in the last place, their scores
/// being sums of up to a dozen products.
const MEANS: Tolerance = Tolerance { absolute: 2e-5, relative: 2e-5 };

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn attention_agrees(
        batch in 1usize..3, kv in 1usize..4, group in 1usize..4, queries in 1usize..120, d in 1usize..4, v in 1usize..10,
        packed: bool, side_by_side: bool, causal: bool, scale in 0.1f32..2.0, mask in 0usize..4, repeated in 0usize..5,
        valid in prop::option::of(0i64..80),
    ) {
        let (d, v, heads) = (4 * d, 4 * v, kv * group);
        let keys = if packed { queries } else { queries / 2 + 1 };
        let row = heads * d + kv * (d + v);
        let operands = if packed {
            let rows = |base, size| Rows { base, steps: [queries * row, size, row] };
            [rows(0, d), rows(heads * d, d), rows((heads + kv) * d, v)]
        } else {
            // Heads outside of rows.
            let rows = |n, length, size| Rows { base: 0, steps: [n * length * size, length * size, size] };
            [rows(heads, queries, d), rows(kv, keys, d), rows(kv, keys, v)]
        };
        let mut inputs: Vec<Input> = if packed {
            vec![Input::Run(tensor(&[batch, queries, row], 1))]
        } else {
            let shapes = [[batch, heads, queries, d], [batch, kv, keys, d], [batch, kv, keys, v]];
            shapes.iter().enumerate().map(|(i, shape)| Input::Run(tensor(shape, i as u32))).collect()
        };
        let shape = if side_by_side { vec![batch, queries, heads * v] } else { vec![batch, heads, queries, v] };
        let sizes = [batch, heads, queries, keys, d, v];
        let before = if causal && !packed && keys > queries && keys % 2 == 0 { keys - queries } else { 0 };
        let fused = Fused { scale, causal, before, sizes, group, packed, operands, side_by_side, shape };
        if mask > 0 {
            inputs.resize_with(3, || Input::Missing);
            let mut to = vec![batch, heads, queries, keys];
            if repeated < 4 {
                to[repeated] = 1;
            }
            let numbers = tensor(&to, 4);
            let kept = numbers.as_slice::<f32>().unwrap().iter().map(|&x| x > 0.0);
            inputs.push(Input::Constant(match mask {
                1 => numbers,
                2 => Tensor::new(to, kept.map(Truth::from).collect()).unwrap(),
                _ => Tensor::new(to, kept.map(|kept| if kept { 0.25 } else { f32::NEG_INFINITY }).collect()).unwrap(),
            }));
        }
        if let Some(valid) = valid {
            inputs.resize_with(VALID, || Input::Missing);
            inputs.push(Input::Run(Tensor::vector((0..batch as i64).map(|b| (valid + 7 * b) % (keys as i64 + 1)).collect())));
        }
        check(Arc::new(fused), &inputs, MEANS)?;
    }
}
