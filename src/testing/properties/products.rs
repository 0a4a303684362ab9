//! Products of matrices, and what is made of them: attention and recurrent layers.

use super::draw::*;
use super::{Case, Drawing, Entry, entry};
use crate::tensor::{ElementType, Tensor, Truth};
use crate::testing::{Input, Tolerance};

/// Sums of up to 40 products of magnitude at most 1, in any order: each of the roundings is at most 2⁻²⁴ of a sum of at
/// most 40.
const SUMS: Tolerance = Tolerance { absolute: 2e-5, relative: 1e-5 };
/// Weighted means of numbers of at most 1 by weights from `exp` of scores that sum up to 40 products: a relative error
/// of the scores of 40 · 6e-8 becomes one of the weights, and both `exp`s add a few units in the last place.
const MEANS: Tolerance = Tolerance { absolute: 2e-5, relative: 2e-5 };

fn width(d: &mut Draw) -> usize {
    d.pick(&[1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 31, 40])
}

fn close(d: &Draw) -> Tolerance {
    if d.element_type.is_float() { SUMS } else { Tolerance::EXACT }
}

/// Sums long enough to be split, over few workgroups: 2,100 roundings of a sum that random signs keep near 30.
fn long(d: &mut Draw) -> Case {
    let (m, k, n) = (d.within(1..=9), d.within(2048..=2100), d.within(1..=9));
    let (a, b) = (d.summands(&[m, k]), d.summands(&[k, n]));
    let b = if d.flip() { Input::Constant(b) } else { Input::Run(b) };
    let close = if d.element_type.is_float() { Tolerance { absolute: 2e-4, relative: 1e-5 } } else { Tolerance::EXACT };
    d.case().run(a).input(b).within(close)
}

fn matmul(d: &mut Draw) -> Case {
    if d.random.one_in(12) {
        return long(d);
    }
    let (m, k, n) = (d.size(), width(d), d.size());
    let batch = d.full(0..=2).into_iter().map(|n| n.min(3)).collect::<Vec<_>>();
    let (a, b) = (d.broadcast(&batch), d.broadcast(&batch));
    let (a, b) = match d.below(6) {
        0 => (vec![k], [b, vec![k, n]].concat()),
        1 => ([a, vec![m, k]].concat(), vec![k]),
        _ => ([a, vec![m, k]].concat(), [b, vec![k, n]].concat()),
    };
    let (a, b) = (d.summands(&a), d.summands(&b));
    let b = if d.flip() { Input::Constant(b) } else { Input::Run(b) };
    d.case().run(a).input(b).within(close(d))
}

fn gemm(d: &mut Draw) -> Case {
    let (m, k, n) = (d.size(), width(d), d.size());
    let (a_turned, b_turned) = (d.flip(), d.flip());
    let float = d.element_type.is_float();
    let case = d.case().attribute("transA", i64::from(a_turned)).attribute("transB", i64::from(b_turned));
    let case = match float && d.flip() {
        true => case.attribute("alpha", d.number(-1.0, 1.0)).attribute("beta", d.number(-1.0, 1.0)),
        false => case,
    };
    let a = d.summands(&if a_turned { [k, m] } else { [m, k] });
    let b = d.summands(&if b_turned { [n, k] } else { [k, n] });
    let known = d.flip();
    let constant = |t: Tensor| if known { Input::Constant(t) } else { Input::Run(t) };
    let case = case.run(a).input(constant(b)).within(close(d));
    let shapes = [vec![], vec![1], vec![n], vec![m, n], vec![m, 1], vec![1, n]];
    let own = d.pick(&shapes);
    if d.random.one_in(4) { case } else { case.input(constant(d.summands(&own))) }
}

fn einsum(d: &mut Draw) -> Case {
    const SIZES: [usize; 5] = [1, 2, 3, 5, 4];
    let sizes = d.permutation(5).into_iter().map(|i| SIZES[i as usize]).collect::<Vec<_>>();
    let letter = |i: usize| char::from(b'a' + i as u8);
    let terms: Vec<Vec<usize>> =
        (0..d.within(1..=3)).map(|_| (0..d.within(0..=3)).map(|_| d.below(5)).collect()).collect();
    let mut formula = terms.iter().map(|t| t.iter().map(|&i| letter(i)).collect()).collect::<Vec<String>>().join(",");
    if d.flip() {
        let kept: Vec<usize> = d.permutation(5).into_iter().map(|i| i as usize).collect();
        let kept = kept.into_iter().filter(|i| d.flip() && terms.iter().any(|t| t.contains(i)));
        formula = format!("{formula}->{}", kept.map(letter).collect::<String>());
    }
    let mut case = d.case().attribute("equation", formula).within(close(d));
    for term in terms {
        let shape: Vec<usize> = term.iter().map(|&i| sizes[i]).collect();
        case = case.run(d.summands(&shape));
    }
    case
}

/// Permutations of a dominant diagonal, so that rows are swapped and nothing cancels to noise.
fn determinant(d: &mut Draw) -> Case {
    let n = d.within(1..=6);
    let batch = d.shape(0..=2).into_iter().map(|n| n.min(5)).collect::<Vec<_>>();
    let count: usize = batch.iter().product();
    let mut matrices = vec![];
    for _ in 0..count {
        for at in d.permutation(n) {
            matrices.extend((0..n).map(|column| {
                let noise = f64::from(d.number(-0.5, 0.5)) / n as f64;
                if column as i64 == at { 2.0 + noise } else { noise }
            }));
        }
    }
    let x = Tensor::from_f64(d.element_type, [batch, vec![n, n]].concat(), matrices).unwrap();
    // Products of 6 numbers from 1 to 3, each with a few roundings.
    d.case().run(x).within(Tolerance::relative(1e-5))
}

fn attention(d: &mut Draw) -> Case {
    let (batch, kv, group) = (d.up_to(2), d.within(1..=2), d.within(1..=2));
    let (queries, keys, past) = (d.size().min(9), d.up_to(40), if d.random.one_in(3) { d.within(1..=3) } else { 0 });
    let (size, v, heads) = (d.up_to(9), d.up_to(9), kv * group);
    let flat = d.flip();
    let shape = |heads: usize, length: usize, size: usize| match flat {
        true => vec![batch, length, heads * size],
        false => vec![batch, heads, length, size],
    };
    let mut case = d.case().attribute("is_causal", d.flag());
    if d.random.one_in(3) {
        case = case.attribute("softcap", 2.0f32);
    }
    if d.flip() {
        case = case.attribute("scale", d.number(0.1, 2.0));
    }
    if flat {
        case = case.attribute("q_num_heads", heads as i64).attribute("kv_num_heads", kv as i64);
    }
    for shape in [shape(heads, queries, size), shape(kv, keys, size), shape(kv, keys, v)] {
        case = case.run(d.floats(&shape, -1.0, 1.0));
    }
    let total = past + keys;
    let mut mask = vec![batch, heads, queries, total];
    let repeated = d.below(5);
    if repeated < 3 {
        mask[repeated] = 1;
    }
    let case = match d.below(4) {
        0 => case.run(d.floats(&mask, -1.0, 1.0)),
        1 => case.run(d.floats(&mask[2..], -1.0, 1.0)),
        // What is left out entirely gives no number.
        2 => {
            let mut kept: Vec<Truth> = d.truths(&mask).as_slice().unwrap().to_vec();
            kept.iter_mut().step_by(mask[3]).for_each(|first| *first = Truth::from(true));
            case.run(Tensor::new(mask, kept).unwrap())
        }
        _ => case.missing(),
    };
    let case = match past {
        0 => case.outputs(1),
        _ => case
            .run(d.floats(&[batch, kv, past, size], -1.0, 1.0))
            .run(d.floats(&[batch, kv, past, v], -1.0, 1.0))
            .outputs(3),
    };
    case.within(MEANS)
}

fn rotary(d: &mut Draw) -> Case {
    let (batch, heads, length) = (d.size().min(2), d.up_to(3), d.up_to(3));
    let (half, rest) = (d.up_to(4), d.below(3));
    let size = 2 * half + rest;
    let shape = if d.flip() { vec![batch, length, heads * size] } else { vec![batch, heads, length, size] };
    let case = d.case().attribute("num_heads", heads as i64).attribute("rotary_embedding_dim", 2 * half as i64);
    let case = case.attribute("interleaved", d.flag()).run(d.floats(&shape, -1.0, 1.0));
    // Two products of numbers up to 1 and their sum.
    let close = Tolerance { absolute: 4e-7, relative: 1e-6 };
    if d.flip() {
        let table = [batch, length, half];
        return case.run(d.floats(&table, -1.0, 1.0)).run(d.floats(&table, -1.0, 1.0)).within(close);
    }
    // Rows of a table, by the positions.
    let rows = d.within(1..=7);
    let positions: Vec<i64> = (0..batch * length).map(|_| d.below(rows) as i64).collect();
    let table = [rows, half];
    let case = case.run(d.floats(&table, -1.0, 1.0)).run(d.floats(&table, -1.0, 1.0)).within(close);
    case.run(Tensor::new([batch, length], positions).unwrap())
}

fn recurrent(d: &mut Draw) -> Case {
    const OWN: [&str; 10] =
        ["Relu", "Tanh", "Sigmoid", "Softsign", "Softplus", "Affine", "LeakyRelu", "ScaledTanh", "HardSigmoid", "Elu"];
    let (gates, functions) = match d.name() {
        "RNN" => (1, 1),
        "GRU" => (3, 2),
        _ => (4, 3),
    };
    let direction = d.pick(&["forward", "reverse", "bidirectional"]);
    let directions = if direction == "bidirectional" { 2 } else { 1 };
    let (steps, batch, input, hidden) = (d.size().min(3), d.up_to(2), d.up_to(4), d.pick(&[1, 3, 4, 7, 16]));
    let turned = d.flip();
    let mut case = d.case().attribute("direction", direction).attribute("layout", i64::from(turned));
    case = case.outputs(d.within(1..=if d.name() == "LSTM" { 3 } else { 2 }));
    case = match d.name() {
        "GRU" => case.attribute("linear_before_reset", d.flag()),
        "LSTM" => case.attribute("input_forget", d.flag()),
        _ => case,
    };
    if d.random.one_in(3) {
        // What grows is not asked of every gate; what jumps (ThresholdedRelu) of none.
        let first = d.pick(&OWN);
        let names = (0..functions * directions).map(|i| if i == 0 { first } else { "Tanh" }.to_owned());
        case = case.attribute("activations", names.collect::<Vec<_>>()).attribute("clip", 1.5f32);
    }
    let rows = gates * hidden;
    let swap = |a: usize, b: usize| if turned { [b, a] } else { [a, b] };
    let x = [&swap(steps, batch)[..], &[input]].concat();
    let state = [&swap(directions, batch)[..], &[hidden]].concat();
    // A state of any size has sums of about one.
    let part = 1.0 / (hidden as f32).sqrt();
    case = case.run(d.floats(&x, -1.0, 1.0));
    // As a trained model has them, or not.
    let constant = !d.random.one_in(3);
    let weights = |tensor: Tensor| if constant { Input::Constant(tensor) } else { Input::Run(tensor) };
    let weights_or_none = |d: &mut Draw, case: Case, shape: &[usize]| {
        if d.flip() { case.input(weights(d.floats(shape, -0.5, 0.5))) } else { case.missing() }
    };
    for (shape, most) in [([directions, rows, input], 0.5), ([directions, rows, hidden], part)] {
        case = case.input(weights(d.floats(&shape, -most, most)));
    }
    let lengths: Vec<i32> = (0..batch).map(|_| d.within(0..=steps) as i32).collect();
    let optional = |d: &mut Draw, case: Case, shape: &[usize], most: f32| {
        if d.flip() { case.run(d.floats(shape, -most, most)) } else { case.missing() }
    };
    case = weights_or_none(d, case, &[directions, 2 * rows]);
    case = if d.random.one_in(3) { case.run(Tensor::vector(lengths)) } else { case.missing() };
    case = optional(d, case, &state, 1.0);
    if d.name() == "LSTM" {
        case = optional(d, case, &state, 1.0);
        case = weights_or_none(d, case, &[directions, 3 * hidden]);
    }
    // Three steps, each of which may double an error.
    case.within(Tolerance { absolute: 2e-5, relative: 2e-5 })
}

pub fn entries() -> Vec<Entry> {
    const MULTIPLIED: &[ElementType] = &[F32, F16, BF16, I32];
    const RECURRENT: &[ElementType] = &[F32, F16];
    let all: [(&'static str, &'static [ElementType], Drawing); 9] = [
        ("Attention", FLOATS, attention),
        ("Det", FLOATS, determinant),
        ("Einsum", COMPUTED, einsum),
        ("GRU", RECURRENT, recurrent),
        ("Gemm", MULTIPLIED, gemm),
        ("LSTM", RECURRENT, recurrent),
        ("MatMul", MULTIPLIED, matmul),
        ("RNN", RECURRENT, recurrent),
        ("RotaryEmbedding", FLOATS, rotary),
    ];
    all.into_iter().map(|(name, types, draw)| entry(name, types, draw)).collect()
}
