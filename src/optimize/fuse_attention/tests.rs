use crate::graph::{Definition, ValueId};
use crate::optimize::testing::*;

/// A value `[batch, length, heads · 4]` as heads.
fn heads(graph: &mut TestGraph, x: ValueId, perm: [i64; 4]) -> ValueId {
    let shape = graph.integers("heads", &[2, -1, 3, 4]);
    let divided = graph.node("Reshape", &[x, shape]);
    graph.define(&Definition::new("Transpose").attribute("perm", perm.to_vec()), &[divided])
}

/// The way back from heads.
fn rows(graph: &mut TestGraph, y: ValueId) -> ValueId {
    let back = graph.define(&Definition::new("Transpose").attribute("perm", vec![0i64, 2, 1, 3]), &[y]);
    let shape = graph.integers("rows", &[2, -1, 12]);
    graph.node("Reshape", &[back, shape])
}

#[test]
fn attention_of_three_values_however_it_is_scaled_and_masked() {
    for form in 0..12 {
        let mut graph = TestGraph::new();
        let [x, z, w] = ["q", "k", "v"].map(|name| graph.input(name, &[2, if name == "q" { 5 } else { 6 }, 12]));
        let mut q = heads(&mut graph, x, [0, 2, 1, 3]);
        let mut k = heads(&mut graph, z, [0, 2, 3, 1]);
        let v = heads(&mut graph, w, [0, 2, 1, 3]);
        let (half, two) = (graph.constant("half", &[], &[0.5]), graph.constant("two", &[1], &[2.0]));
        match form % 4 {
            1 => q = graph.node("Mul", &[half, q]),
            2 => {
                let root = graph.constant("root", &[], &[0.5f32.sqrt()]);
                (q, k) = (graph.node("Mul", &[q, root]), graph.node("Mul", &[k, root]));
            }
            _ => {}
        }
        let mut scores = graph.node("MatMul", &[q, k]);
        match form % 4 {
            0 => scores = graph.node("Div", &[scores, two]),
            3 => scores = graph.node("Mul", &[scores, half]),
            _ => {}
        }
        let mut inputs = "q, k, v".to_owned();
        let mut given = String::new();
        match form / 4 {
            1 => {
                let mask = graph.input("mask", &[2, 1, 1, 6]);
                scores = graph.node("Add", &[scores, mask]);
                inputs.push_str(", mask");
                given = "input mask: f32[2, 1, 1, 6]\n".to_owned();
            }
            2 => {
                // Of the six keys one comes before the queries' own, or none does.
                let before = form % 2;
                let hidden: Vec<f32> =
                    (0..30).map(|i| if i % 6 > i / 6 + before { f32::NEG_INFINITY } else { 0.0 }).collect();
                let mask = graph.constant("causal", &[1, 1, 5, 6], &hidden);
                scores = graph.node("Add", &[mask, scores]);
            }
            _ => {}
        }
        let weights = graph.node("Softmax", &[scores]);
        let mixed = graph.node("MatMul", &[weights, v]);
        let y = rows(&mut graph, mixed);
        graph.output("y", y);
        graph.check(
            &["fuse_attention"],
            &format!(
                "input q: f32[2, 5, 12]\ninput k: f32[2, 6, 12]\ninput v: f32[2, 6, 12]\n{given}\
                 y: f32[2, 5, 12] = Attention({inputs})\n\
                 output y: f32[2, 5, 12]\n",
            ),
        );
    }
}

#[test]
fn attention_of_one_value_however_it_is_divided() {
    for form in 0..3 {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[1, 5, 36]);
        let shape = graph.integers("parts", &[1, 5, 3, 3, 4]);
        let parts = graph.node("Reshape", &[x, shape]);
        let turn = |perm: &[i64]| Definition::new("Transpose").attribute("perm", perm.to_vec());
        let parts = graph.define(&turn(&[2, 0, 3, 1, 4]), &[parts]);
        let part = |graph: &mut TestGraph, i: i64| match form {
            0 => {
                let index = graph.integers("index", &[i]);
                let one = graph.node("Gather", &[parts, index]);
                let axes = graph.integers("axes", &[0]);
                graph.node("Squeeze", &[one, axes])
            }
            1 => {
                let [start, end, axes] = [i, i + 1, 0].map(|n| graph.integers("bound", &[n]));
                let one = graph.node("Slice", &[parts, start, end, axes]);
                graph.node("Squeeze", &[one, axes])
            }
            _ => {
                let index = graph.scalar("index", i);
                graph.node("Gather", &[parts, index])
            }
        };
        let [q, k, v] = [0, 1, 2].map(|i| part(&mut graph, i));
        let k = graph.define(&turn(&[0, 1, 3, 2]), &[k]);
        let scores = graph.node("MatMul", &[q, k]);
        let weights = graph.node("Softmax", &[scores]);
        let mixed = graph.node("MatMul", &[weights, v]);
        let y = graph.define(&turn(&[0, 2, 1, 3]), &[mixed]);
        graph.output("y", y);
        graph.check(
            &["fuse_attention"],
            "input x: f32[1, 5, 36]\n\
             y: f32[1, 5, 3, 4] = Attention(x)\n\
             output y: f32[1, 5, 3, 4]\n",
        );
    }
}

#[test]
fn groups_of_heads_and_heads_within_batches() {
    for together in [false, true] {
        let mut graph = TestGraph::new();
        let (x, z) = (graph.input("x", &[2, 5, 24]), graph.input("z", &[2, 6, 8]));
        let turn = |perm: &[i64]| Definition::new("Transpose").attribute("perm", perm.to_vec());
        let divided = graph.integers("divided", &[2, -1, 6, 4]);
        let q = graph.node("Reshape", &[x, divided]);
        let mut q = graph.define(&turn(&[0, 2, 1, 3]), &[q]);
        let shared = graph.integers("shared", &[2, -1, 2, 4]);
        let k = graph.node("Reshape", &[z, shared]);
        let mut k = graph.define(&turn(&[0, 2, 1, 3]), &[k]);
        // Each of two heads of keys and values three times.
        let axes = graph.integers("axes", &[2]);
        let k5 = graph.node("Unsqueeze", &[k, axes]);
        let to = graph.integers("to", &[2, 2, 3, 6, 4]);
        let k5 = graph.node("Expand", &[k5, to]);
        let six = graph.integers("six", &[2, 6, 6, 4]);
        k = graph.node("Reshape", &[k5, six]);
        if together {
            let shape = graph.integers("together", &[12, -1, 4]);
            (q, k) = (graph.node("Reshape", &[q, shape]), graph.node("Reshape", &[k, shape]));
        }
        let v = k;
        let k = graph.define(&turn(if together { &[0, 2, 1] } else { &[0, 1, 3, 2] }), &[k]);
        let scores = graph.node("MatMul", &[q, k]);
        let weights = graph.node("Softmax", &[scores]);
        let y = graph.node("MatMul", &[weights, v]);
        let all = graph.integers("all", &[2, 6, 5, 4]);
        let y = graph.node("Reshape", &[y, all]);
        let y = graph.define(&turn(&[0, 2, 1, 3]), &[y]);
        graph.output("y", y);
        graph.check(
            &["fuse_attention"],
            "input x: f32[2, 5, 24]\ninput z: f32[2, 6, 8]\n\
             y: f32[2, 5, 6, 4] = Attention(x, z, z)\n\
             output y: f32[2, 5, 6, 4]\n",
        );
    }
}

#[test]
fn operators_read_their_operands_where_they_lie() {
    for form in 0..4 {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[2, 5, 36]);
        let split = Definition { outputs: 3, ..Definition::new("Split") }.attribute("axis", -1i64);
        let mut parts = graph.define_all(&split, &[x]);
        let mut definition = Definition::new("Attention").attribute("is_causal", i64::from(form == 3));
        if form == 0 {
            definition = definition.attribute("q_num_heads", 3i64).attribute("kv_num_heads", 3i64);
        } else {
            parts = parts.into_iter().map(|part| heads(&mut graph, part, [0, 2, 1, 3])).collect();
        }
        let mut inputs = "x";
        match form {
            // It hides nothing.
            1 => parts.push(graph.constant("mask", &[5, 5], &[0.0; 25])),
            2 => {
                parts.push(graph.input("mask", &[5, 5]));
                inputs = "x, _, _, mask";
            }
            _ => {}
        }
        let mut y = graph.define(&definition, &parts);
        if form > 0 {
            y = rows(&mut graph, y);
        }
        graph.output("y", y);
        let mask = if form == 2 { "input mask: f32[5, 5]\n" } else { "" };
        graph.check(
            &["fuse_attention"],
            &format!("input x: f32[2, 5, 36]\n{mask}y: f32[2, 5, 12] = Attention({inputs})\noutput y: f32[2, 5, 12]\n"),
        );
    }
}

#[test]
fn operators_that_do_more_stay() {
    for form in 0..3 {
        let mut graph = TestGraph::new();
        let [q, k, v] = ["q", "k", "v"].map(|name| graph.input(name, &[2, 3, 4, 4]));
        let definition = Definition { outputs: if form == 0 { 3 } else { 1 }, ..Definition::new("Attention") };
        let definition = definition.attribute("softcap", if form == 1 { 2f32 } else { 0.0 });
        let mut inputs = vec![q, k, v];
        if form == 2 {
            // Shorter than the keys.
            inputs.push(graph.input("mask", &[4, 3]));
        }
        let y = graph.define_all(&definition, &inputs);
        graph.output("y", y[0]);
        let text = graph.rewritten(&[]).to_string();
        graph.check(&["fuse_attention"], &text);
    }
}

#[test]
fn what_is_no_attention_stays() {
    for form in 0..4 {
        let mut graph = TestGraph::new();
        let [q, k, v] = ["q", "k", "v"].map(|name| graph.input(name, &[2, 4, 4]));
        let turn = Definition::new("Transpose").attribute("perm", vec![0i64, 2, 1]);
        let k = graph.define(&turn, &[k]);
        let mut scores = graph.node("MatMul", &[q, k]);
        if form == 0 {
            // A factor for each key is none for all.
            let factors = graph.random("factors", &[4]);
            scores = graph.node("Mul", &[scores, factors]);
        }
        let axis = if form == 1 { 1i64 } else { -1 };
        let mut weights = graph.define(&Definition::new("Softmax").attribute("axis", axis), &[scores]);
        if form == 2 {
            graph.output("weights", weights);
        }
        if form == 3 {
            let factors = graph.random("factors", &[4]);
            weights = graph.node("Mul", &[weights, factors]);
        }
        let y = graph.node("MatMul", &[weights, v]);
        graph.output("y", y);
        let text = graph.rewritten(&[]).to_string();
        graph.check(&["fuse_attention"], &text);
    }
}
