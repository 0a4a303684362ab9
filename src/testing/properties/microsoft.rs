//! Fused operators of com.microsoft: graphs of their parts.

use super::draw::*;
use super::{Case, Entry};
use crate::tensor::{ElementType, Tensor};
use crate::testing::{Input, Tolerance};

/// How a case is drawn.
type Drawing = fn(&mut Draw) -> Case;

/// A few sums of at most 40 products below 4, and a smooth function; of 16 bits each step of the parts is rounded, by the
/// reference or by both.
fn smooth(element_type: ElementType) -> Tolerance {
    match element_type {
        BF16 => Tolerance::relative(0.1),
        F16 => Tolerance::relative(1e-2),
        _ => Tolerance::relative(3e-5),
    }
}

/// A tensor given when the model runs, or known before.
fn either(tensor: Tensor, d: &mut Draw) -> Input {
    d.input(tensor)
}

fn begun(d: &Draw) -> Case {
    d.case().opset(1).within(smooth(d.element_type))
}

fn random(d: &mut Draw, shape: &[usize]) -> Tensor {
    d.floats(shape, -2.0, 2.0)
}

fn activation(d: &mut Draw) -> Case {
    let shape = d.shape(1..=4);
    let case = match d.name() {
        "QuickGelu" if d.flip() => begun(d).attribute("alpha", d.number(0.5, 2.0)),
        _ => begun(d),
    };
    let case = case.run(random(d, &shape));
    match d.name() {
        "FastGelu" if d.flip() => case,
        "BiasGelu" | "FastGelu" => case.input(either(random(d, &shape[shape.len() - 1..]), d)),
        _ => case,
    }
}

fn product(d: &mut Draw) -> Case {
    let [m, k, n] = [d.size().min(9), d.positive(), d.size().min(9)];
    let batch = d.up_to(3);
    let mut case = begun(d).attribute("alpha", d.pick(&[0.5f32, 1.0, 2.0]));
    let mut operands = vec![];
    for (rows, columns, [turn, rotate]) in [(m, k, ["transA", "transBatchA"]), (k, n, ["transB", "transBatchB"])] {
        let (turned, rotated) = (d.flag(), d.flag());
        case = case.attribute(turn, turned).attribute(rotate, rotated);
        let [rows, columns] = if turned == 1 { [columns, rows] } else { [rows, columns] };
        operands.push(if rotated == 1 { vec![rows, batch, columns] } else { vec![batch, rows, columns] });
    }
    case.run(random(d, &operands[0])).input(either(random(d, &operands[1]), d))
}

/// A function behind a product, with its parameters.
fn activated(d: &mut Draw, case: Case) -> Case {
    let name = d.pick(&["", "Relu", "Tanh", "Sigmoid", "LeakyRelu", "HardSigmoid", "Clip"]);
    let case = if name.is_empty() { case } else { case.attribute("activation", name) };
    match name {
        "LeakyRelu" if d.name() == "FusedGemm" => case.attribute("activation_alpha", 0.25f32),
        "LeakyRelu" => case.attribute("activation_params", vec![0.25f32]),
        "HardSigmoid" => case.attribute("activation_params", vec![0.25f32, 0.5]),
        "Clip" => case.attribute("activation_params", vec![-1.0f32, 1.5]),
        _ => case,
    }
}

fn gemm(d: &mut Draw) -> Case {
    let [m, k, n] = [d.positive(), d.positive(), d.positive()];
    let (turn_a, turn_b) = (d.flag(), d.flag());
    let turned = |turn: i64, shape: [usize; 2]| if turn == 1 { [shape[1], shape[0]] } else { shape };
    let case = begun(d).attribute("transA", turn_a).attribute("transB", turn_b);
    let case = case.attribute("alpha", 0.5f32).attribute("beta", d.pick(&[0.0f32, 1.0, 2.0]));
    let case = activated(d, case);
    let (a, b) = (random(d, &turned(turn_a, [m, k])), random(d, &turned(turn_b, [k, n])));
    let case = case.run(a).input(either(b, d));
    let c = d.broadcast(&[m, n]);
    if d.flip() { case } else { case.input(either(random(d, &c), d)) }
}

fn convolution(d: &mut Draw) -> Case {
    let (groups, inputs, outputs) = (d.up_to(2), d.up_to(3), d.up_to(4));
    let [kernel, height, width] = [d.up_to(3), d.within(3..=8), d.within(3..=8)];
    let pad = d.integer(0..=1);
    let (channels, results) = (groups * inputs, groups * outputs);
    let case = begun(d).attribute("group", groups as i64).attribute("pads", vec![pad; 4]);
    let case = activated(d, case).run(random(d, &[2, channels, height, width]));
    let case = case.input(either(random(d, &[results, inputs, kernel, kernel]), d));
    let case = if d.flip() { case.missing() } else { case.input(either(random(d, &[results]), d)) };
    let size = |n: usize| n + 2 * pad as usize + 1 - kernel;
    if d.flip() { case } else { case.run(random(d, &[2, results, size(height), size(width)])) }
}

/// Lengths of what is normalized: a mean of few numbers may be near them all, where digits are lost.
fn simplified(d: &mut Draw) -> Case {
    let shape = d.shape(1..=3);
    let axis = d.pick(&[-1, shape.len() as i64 - 1]);
    let case = d.case().attribute("axis", axis).attribute("epsilon", 0.01f32).within(smooth(d.element_type));
    let width = shape[shape.len() - 1];
    // What nothing is divided by is no number.
    let outputs = if width > 0 { d.within(1..=2) } else { 1 };
    case.outputs(outputs).run(random(d, &shape)).input(either(random(d, &[width]), d))
}

fn skipped(d: &mut Draw) -> Case {
    let shape = [d.up_to(3), d.size(), d.within(2..=13)];
    let simple = d.name() == "SkipSimplifiedLayerNormalization";
    let width = [shape[2]];
    let case = begun(d).attribute("epsilon", 0.01f32).outputs(if simple || d.flip() { 1 } else { 4 });
    let case = case.run(random(d, &shape)).run(random(d, &shape)).input(either(random(d, &width), d));
    let case = match (simple, d.flip()) {
        (true, _) => case,
        (false, true) => case.missing(),
        (false, false) => case.input(either(random(d, &width), d)),
    };
    if d.flip() { case } else { case.input(either(random(d, &width), d)) }
}

fn embedded(d: &mut Draw) -> Case {
    let (batch, length, width) = (d.up_to(3), d.up_to(9), d.within(2..=13));
    let [words, places, segments] = [d.within(1..=9), d.within(9..=12), d.within(1..=3)];
    let mut rows = |n: usize| {
        let numbers = (0..batch * length).map(|_| d.below(n) as i32).collect();
        Input::Run(Tensor::new([batch, length], numbers).unwrap())
    };
    let (word, segment, mask) = (rows(words), rows(segments), rows(2));
    let case = begun(d).attribute("epsilon", 0.01f32).input(word);
    let segmented = d.flip();
    let case = if segmented { case.input(segment) } else { case.missing() };
    let case = case.input(either(random(d, &[words, width]), d)).input(either(random(d, &[places, width]), d));
    let table = either(random(d, &[segments, width]), d);
    let case = if segmented { case.input(table) } else { case.missing() };
    let case = case.input(either(random(d, &[width]), d)).input(either(random(d, &[width]), d));
    if d.flip() { case } else { case.outputs(2).input(mask) }
}

/// Numbers of which scores remain small: what they are rounded by is multiplied by an exponential.
fn gentle(d: &mut Draw, shape: &[usize]) -> Tensor {
    d.floats(shape, -0.6, 0.6)
}

/// Numbers of heads, queries, keys, and the sizes of heads.
fn sizes(d: &mut Draw) -> [usize; 4] {
    [d.up_to(3), d.up_to(5), d.up_to(7), 2 * d.up_to(4)]
}

fn multi_head(d: &mut Draw) -> Case {
    let [heads, queries, keys, size] = sizes(d);
    let (batch, values) = (d.up_to(2), d.up_to(5));
    let case = begun(d).attribute("num_heads", heads as i64);
    let case = case.maybe("scale", d.flip().then_some(0.3f32));
    let own = [batch, queries, heads * size];
    let case = case.run(gentle(d, &own)).run(gentle(d, &[batch, keys, heads * size]));
    let case = case.run(gentle(d, &[batch, keys, heads * values]));
    let widths = heads * (2 * size + values);
    let case = if d.flip() { case.missing() } else { case.input(either(gentle(d, &[widths]), d)) };
    // Where no key is seen, all scores are as low as that of an unseen one, and lose their digits.
    let seen = (0..batch * keys).map(|i| i32::from(i % keys == 0 || d.flip())).collect();
    let mask = Tensor::new([batch, keys], seen).unwrap();
    let case = if d.flip() { case.missing() } else { case.run(mask) };
    if d.flip() { case } else { case.run(gentle(d, &[1, heads, queries, keys])) }
}

fn packed(d: &mut Draw) -> Case {
    let [heads, length, width, size] = sizes(d);
    let batch = d.up_to(2);
    let all = 3 * heads * size;
    let case = begun(d).attribute("num_heads", heads as i64).attribute("unidirectional", d.flag());
    let case = case.run(gentle(d, &[batch, length, width])).input(either(gentle(d, &[width, all]), d));
    let case = if d.flip() { case.missing() } else { case.input(either(gentle(d, &[all]), d)) };
    if d.flip() {
        return case;
    }
    let case = case.missing().run(gentle(d, &[2, batch, heads, 3, size]));
    case.outputs(2)
}

/// Places and the tables of their cosines and sines.
fn tables(d: &mut Draw, size: usize) -> [Tensor; 2] {
    [0; 2].map(|_| d.floats(&[16, size / 2], -1.0, 1.0))
}

fn rotary(d: &mut Draw) -> Case {
    let [heads, length, _, size] = sizes(d);
    let batch = d.up_to(3);
    let [cosines, sines] = tables(d, size);
    let case = begun(d).attribute("interleaved", d.flag());
    let case = case.run(gentle(d, &[batch, heads, length, size]));
    let places = (0..batch * length).map(|_| d.below(16) as i64).collect();
    let case = match d.flip() {
        true => case.run(Tensor::new([batch, length], places).unwrap()),
        false => case.run(Tensor::vector(vec![d.integer(0..=7)])),
    };
    case.input(either(cosines, d)).input(either(sines, d))
}

fn group_query(d: &mut Draw) -> Case {
    let [groups, _, _, size] = sizes(d);
    let size = 4 * size;
    let (kv_heads, batch) = (d.up_to(2), d.up_to(2));
    // A first run of some rows, or one more row behind those before.
    let (length, past) = if d.flip() { (d.up_to(5), 0) } else { (1, d.up_to(6)) };
    let heads = groups * kv_heads;
    let rotates = d.flag();
    let case = begun(d).outputs(3).attribute("num_heads", heads as i64).attribute("kv_num_heads", kv_heads as i64);
    let case = case.attribute("do_rotary", rotates).attribute("rotary_interleaved", d.flag());
    let case = case.attribute("local_window_size", d.pick(&[-1i64, 2])).attribute("softcap", d.pick(&[0.0f32, 2.0]));
    let case = case.run(gentle(d, &[batch, length, heads * size]));
    let own = [batch, length, kv_heads * size];
    let case = case.run(gentle(d, &own)).run(gentle(d, &own));
    let cache = [batch, kv_heads, past, size];
    let case = match past {
        0 => case.missing().missing(),
        _ => case.run(gentle(d, &cache)).run(gentle(d, &cache)),
    };
    let total = past + length;
    let case = case.run(Tensor::vector(vec![total as i32 - 1; batch])).constant(Tensor::vector(vec![total as i32]));
    if rotates == 0 {
        return case;
    }
    let [cosines, sines] = tables(d, size);
    case.input(either(cosines, d)).input(either(sines, d))
}

pub fn entries() -> Vec<Entry> {
    let drawn: [(&'static str, Drawing); 14] = [
        ("BiasGelu", activation),
        ("FastGelu", activation),
        ("Gelu", activation),
        ("QuickGelu", activation),
        ("FusedMatMul", product),
        ("FusedGemm", gemm),
        ("FusedConv", convolution),
        ("SkipLayerNormalization", skipped),
        ("SkipSimplifiedLayerNormalization", skipped),
        ("EmbedLayerNormalization", embedded),
        ("MultiHeadAttention", multi_head),
        ("Attention", packed),
        ("RotaryEmbedding", rotary),
        ("GroupQueryAttention", group_query),
    ];
    let entry =
        |(name, draw): (_, Drawing)| Entry { domain: "com.microsoft", name, types: FLOATS, draw: Box::new(draw) };
    let mut entries: Vec<Entry> = drawn.into_iter().map(entry).collect();
    entries.push(Entry { domain: "", ..entry(("SimplifiedLayerNormalization", simplified)) });
    entries
}
