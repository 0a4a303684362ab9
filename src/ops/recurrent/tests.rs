use proptest::prelude::*;

use super::*;
use crate::testing::{Input, Tolerance, try_check};

fn run(d: &Definition, inputs: &[Option<Tensor>]) -> Result<Vec<Vec<f64>>, String> {
    let operator = make(d).map_err(|e| e.to_string())?;
    let facts: Vec<_> =
        inputs.iter().map(|t| t.as_ref().map(|t| Fact::new(t.element_type(), t.shape().to_vec()))).collect();
    let facts = operator.infer(&facts.iter().map(Option::as_ref).collect::<Vec<_>>()).map_err(|e| e.to_string())?;
    let values: Vec<_> = inputs.iter().map(|t| t.clone().map(Value::Tensor)).collect();
    let values: Vec<_> = values.iter().map(Option::as_ref).collect();
    let outputs = operator.evaluate(&mut Context::default(), Inputs(&values)).map_err(|e| e.to_string())?;
    assert_eq!(outputs.len(), facts.len());
    Ok(outputs
        .iter()
        .zip(facts)
        .map(|(value, fact)| {
            let t = value.as_tensor().unwrap().clone();
            assert_eq!(fact.concrete().as_deref(), Some(t.shape()));
            t.to_f64()
        })
        .collect())
}

fn tensor(shape: &[usize], numbers: &[f64]) -> Option<Tensor> {
    Some(Tensor::from_f64(ElementType::F64, shape, numbers.to_vec()).unwrap())
}

fn close(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    for (g, e) in got.iter().zip(expected) {
        assert!((g - e).abs() < 1e-12, "{got:?} instead of {expected:?}");
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[test]
fn a_simple_cell_remembers() {
    let inputs = [tensor(&[2, 1, 1], &[1.0, 2.0]), tensor(&[1, 1, 1], &[0.5]), tensor(&[1, 1, 1], &[0.25])];
    let (first, second) = (0.5f64.tanh(), (1.0 + 0.25 * 0.5f64.tanh()).tanh());
    let got = run(&Definition::new("RNN"), &inputs).unwrap();
    close(&got[0], &[first, second]);
    close(&got[1], &[second]);
    let got = run(&Definition::new("RNN").attribute("clip", 0.25f32), &inputs).unwrap();
    close(&got[0], &[0.25f64.tanh(); 2]);
}

#[test]
fn gates_of_a_gru_are_update_reset_and_new() {
    let x = 0.7;
    let (w, r, b) = ([0.3, -0.4, 0.9], [0.2, 0.6, -0.5], [0.1, -0.2, 0.3, 0.05, 0.15, -0.25]);
    let h0 = 0.8;
    let z = sigmoid(x * w[0] + h0 * r[0] + b[0] + b[3]);
    let reset = sigmoid(x * w[1] + h0 * r[1] + b[1] + b[4]);
    let inputs = [
        tensor(&[1, 1, 1], &[x]),
        tensor(&[1, 3, 1], &w),
        tensor(&[1, 3, 1], &r),
        tensor(&[1, 6], &b),
        None,
        tensor(&[1, 1, 1], &[h0]),
    ];
    for (before, new) in
        [(0i64, x * w[2] + b[2] + (reset * h0) * r[2] + b[5]), (1, x * w[2] + b[2] + reset * (h0 * r[2] + b[5]))]
    {
        let got = run(&Definition::new("GRU").attribute("linear_before_reset", before), &inputs).unwrap();
        close(&got[0], &[(1.0 - z) * new.tanh() + z * h0]);
    }
}

#[test]
fn gates_of_an_lstm_are_input_output_forget_and_cell() {
    let (x, h0, c0) = (0.7, 0.8, -0.3);
    let (w, r) = ([0.3, -0.4, 0.9, 0.2], [0.2, 0.6, -0.5, 0.4]);
    let (b, p) = ([0.1, -0.2, 0.3, 0.05, 0.15, -0.25, 0.35, 0.45], [0.5, -0.6, 0.7]);
    let sum = |gate: usize| x * w[gate] + h0 * r[gate] + b[gate] + b[gate + 4];
    let input = sigmoid(sum(0) + p[0] * c0);
    let inputs = [
        tensor(&[1, 1, 1], &[x]),
        tensor(&[1, 4, 1], &w),
        tensor(&[1, 4, 1], &r),
        tensor(&[1, 8], &b),
        None,
        tensor(&[1, 1, 1], &[h0]),
        tensor(&[1, 1, 1], &[c0]),
        tensor(&[1, 3], &p),
    ];
    for (coupled, forget) in [(0i64, sigmoid(sum(2) + p[2] * c0)), (1, 1.0 - input)] {
        let c = forget * c0 + input * sum(3).tanh();
        let h = sigmoid(sum(1) + p[1] * c) * c.tanh();
        let got = run(&Definition::new("LSTM").attribute("input_forget", coupled), &inputs).unwrap();
        close(&got.concat(), &[h, h, c]);
    }
}

#[test]
fn what_a_file_may_get_wrong_is_refused() {
    let inputs = |hidden: usize| {
        [tensor(&[1, 1, 1], &[1.0]), tensor(&[1, 4, 1], &[0.0; 4]), tensor(&[1, 4, hidden], &vec![0.0; 4 * hidden])]
    };
    assert!(run(&Definition::new("LSTM"), &inputs(1)).is_ok());
    assert!(run(&Definition::new("LSTM"), &inputs(2)).unwrap_err().contains("W is [1, 4, 1], it should be [1, 8, 1]"));
    assert!(
        run(&Definition::new("LSTM").attribute("hidden_size", 7i64), &inputs(1)).unwrap_err().contains("hidden_size")
    );
    assert!(make(&Definition::new("LSTM").attribute("direction", "up")).is_err());
    assert!(make(&Definition::new("GRU").attribute("activations", vec!["Tanh".to_owned()])).is_err());
    assert!(make(&Definition::new("GRU").attribute("clip", -1.0f32)).is_err());
    let mut long = inputs(1).to_vec();
    long.extend([None, Some(Tensor::vector(vec![2i32]))]);
    assert!(run(&Definition::new("LSTM"), &long).unwrap_err().contains("no more than 1"));
}

/// Numbers that look random.
fn numbers(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|i| (((i + seed) * 7919 + 13) % 211) as f64 / 105.0 - 1.0).collect()
}

/// `[a, b, n]` as `[b, a, n]`.
fn swapped(t: &[f64], a: usize, b: usize) -> Vec<f64> {
    let n = t.len() / (a * b).max(1);
    (0..a * b).flat_map(|i| t[(i % a * b + i / a) * n..][..n].to_vec()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn both_ways_are_one_way_and_the_other(
        op in prop::sample::select(vec!["RNN", "GRU", "LSTM"]),
        steps in 1usize..5, batch in 1usize..4, input in 1usize..4, hidden in 1usize..4,
        lengths in prop::collection::vec(0usize..5, 3),
    ) {
        let gates = match op { "RNN" => 1, "GRU" => 3, _ => 4 };
        let (w, r) = (numbers(2 * gates * hidden * input, 1), numbers(2 * gates * hidden * hidden, 2));
        let b = numbers(4 * gates * hidden, 3);
        let x = numbers(steps * batch * input, 4);
        let lengths: Vec<i32> = lengths[..batch].iter().map(|&n| n.min(steps) as i32).collect();
        let part = |v: &[f64], direction: usize| v[direction * v.len() / 2..(direction + 1) * v.len() / 2].to_vec();
        let one = |direction: usize, name: &str| {
            run(&Definition::new(op).attribute("direction", name), &[
                tensor(&[steps, batch, input], &x),
                tensor(&[1, gates * hidden, input], &part(&w, direction)),
                tensor(&[1, gates * hidden, hidden], &part(&r, direction)),
                tensor(&[1, 2 * gates * hidden], &part(&b, direction)),
                Some(Tensor::vector(lengths.clone())),
            ]).unwrap()
        };
        let both = Definition::new(op).attribute("direction", "bidirectional");
        let all = [
            tensor(&[steps, batch, input], &x),
            tensor(&[2, gates * hidden, input], &w),
            tensor(&[2, gates * hidden, hidden], &r),
            tensor(&[2, 2 * gates * hidden], &b),
            Some(Tensor::vector(lengths.clone())),
        ];
        let got = run(&both, &all).unwrap();
        let (forward, reverse) = (one(0, "forward"), one(1, "reverse"));
        // Y is [steps, directions, batch, hidden]; the states are [directions, batch, hidden].
        let y: Vec<f64> = (0..steps)
            .flat_map(|t| [&forward[0], &reverse[0]].map(|y| y[t * batch * hidden..][..batch * hidden].to_vec()).concat())
            .collect();
        close(&got[0], &y);
        for state in 1..got.len() {
            close(&got[state], &[forward[state].clone(), reverse[state].clone()].concat());
        }
        // With the batch first, everything is turned around, and nothing else changes.
        let mut turned = all.clone();
        turned[0] = tensor(&[batch, steps, input], &swapped(&x, steps, batch));
        let first = run(&both.attribute("layout", 1i64), &turned).unwrap();
        let y: Vec<f64> = (0..batch).flat_map(|n| (0..steps).flat_map(move |t| (0..2).map(move |d| (t, d, n))))
            .flat_map(|(t, d, n)| got[0][((t * 2 + d) * batch + n) * hidden..][..hidden].to_vec()).collect();
        close(&first[0], &y);
        for state in 1..got.len() {
            close(&first[state], &swapped(&got[state], 2, batch));
        }
    }
}

proptest! {
    // Each case compiles kernels of its own.
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn gpu_and_reference_agree(
        op in prop::sample::select(vec!["RNN", "GRU", "LSTM"]), direction in prop::sample::select(vec!["forward", "reverse", "bidirectional"]),
        steps in 0usize..4, batch in 1usize..3, input in 1usize..4, hidden in prop::sample::select(vec![1usize, 3, 4, 7, 261]),
        given in prop::collection::vec(any::<bool>(), 5), flags in prop::collection::vec(any::<bool>(), 4), functions in 0usize..11,
    ) {
        let (gates, own) = match op { "RNN" => (1, 1), "GRU" => (3, 2), _ => (4, 3) };
        let directions = if direction == "bidirectional" { 2 } else { 1 };
        let rows = gates * hidden;
        let names = ["Relu", "Tanh", "Sigmoid", "Softsign", "Softplus", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu"];
        let mut definition = Definition::new(op).attribute("direction", direction)
            .attribute("layout", i64::from(flags[0])).attribute("linear_before_reset", i64::from(flags[1]))
            .attribute("input_forget", i64::from(flags[2]));
        if flags[3] {
            // What jumps (ThresholdedRelu) or grows is not asked of every gate.
            let names = (0..own * directions).map(|i| if i == 0 { names[functions] } else { "Tanh" }.to_owned()).collect::<Vec<_>>();
            definition = definition.attribute("activations", names).attribute("clip", 1.5f32);
        }
        let numbers = |shape: &[usize], seed: usize, scale: f64| {
            let values = numbers(shape.iter().product(), seed).into_iter().map(|v| v * scale).collect();
            Input::Run(Tensor::from_f64(ElementType::F32, shape, values).unwrap())
        };
        let swap = |a: usize, b: usize| if flags[0] { [b, a] } else { [a, b] };
        let state = [&swap(directions, batch)[..], &[hidden]].concat();
        // A state of any size has sums of about one.
        let part = 1.0 / (hidden as f64).sqrt();
        let optional = |i: usize, input: Input| if given[i] { input } else { Input::Missing };
        let mut inputs = vec![
            numbers(&[&swap(steps, batch)[..], &[input]].concat(), 1, 1.0),
            numbers(&[directions, rows, input], 2, 0.5),
            numbers(&[directions, rows, hidden], 3, part),
            optional(0, numbers(&[directions, 2 * rows], 4, 0.5)),
            optional(1, Input::Run(Tensor::vector((0..batch).map(|b| ((b + 2 * steps) % (steps + 1)) as i32).collect()))),
            optional(2, numbers(&state, 5, 1.0)),
        ];
        if op == "LSTM" {
            inputs.push(optional(3, numbers(&state, 6, 1.0)));
            inputs.push(optional(4, numbers(&[directions, 3 * hidden], 7, 0.5)));
        }
        // Three steps, each of which may double an error; sums of 261 products are good to 1e-6.
        let tolerance = Tolerance { absolute: 2e-5, relative: 2e-5 };
        let jumps = flags[3] && names[functions] == "ThresholdedRelu";
        if !jumps {
            try_check(&*make(&definition).unwrap(), &inputs, tolerance).map_err(TestCaseError::fail)?;
        }
    }
}
