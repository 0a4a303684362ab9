use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::cpu::reference::evaluate;
use crate::cpu::{CpuPlan, Threads};
use crate::graph::Definition;
use crate::optimize::{Rewrites, optimize};

/// A graph of quantized nodes that is being made.
struct Quantized {
    builder: crate::GraphBuilder,
    seed: u32,
}

/// Integers with their scale and zero point.
#[derive(Clone)]
struct Value {
    q: ValueId,
    scale: f32,
    zero: Tensor,
    shape: Vec<usize>,
}

impl Quantized {
    fn next(&mut self, below: u32) -> u32 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.seed >> 8) % below
    }

    fn bytes(&mut self, shape: &[usize], signed: bool) -> Tensor {
        let numbers = (0..shape.iter().product::<usize>()).map(|_| self.next(256) as u8);
        match signed {
            true => Tensor::new(shape, numbers.map(u8::cast_signed).collect()).unwrap(),
            false => Tensor::new(shape, numbers.collect()).unwrap(),
        }
    }

    fn dequantize(&mut self, q: ValueId, scales: Vec<f32>, zeros: Tensor, axis: i64) -> ValueId {
        let scales = if scales.len() == 1 { Tensor::scalar(scales[0]) } else { Tensor::vector(scales) };
        let inputs = [q, self.builder.constant("scale", scales), self.builder.constant("zero", zeros)];
        self.builder.node(&Definition::new("DequantizeLinear").attribute("axis", axis), &inputs).unwrap()
    }

    fn floats(&mut self, x: &Value) -> ValueId {
        self.dequantize(x.q, vec![x.scale], x.zero.clone(), 0)
    }

    fn quantize(&mut self, x: ValueId, scale: f32, zero: Tensor, shape: Vec<usize>) -> Value {
        let inputs =
            [x, self.builder.constant("scale", Tensor::scalar(scale)), self.builder.constant("zero", zero.clone())];
        let q = self.builder.node(&Definition::new("QuantizeLinear"), &inputs).unwrap();
        Value { q, scale, zero, shape }
    }

    /// Weights that are dequantized along axis 0, and their scales.
    fn weights(&mut self, shape: &[usize]) -> (ValueId, Vec<f32>) {
        let tensor = self.bytes(shape, true);
        let q = self.builder.constant("w", tensor);
        let scales: Vec<f32> = (0..shape[0]).map(|_| 0.001 + self.next(1000) as f32 / 1e5).collect();
        let zeros = Tensor::vector(vec![0i8; shape[0]]);
        (self.dequantize(q, scales.clone(), zeros, 0), scales)
    }

    fn bias(&mut self, x: f32, scales: &[f32]) -> ValueId {
        let n = scales.len();
        let integers = (0..n).map(|_| self.next(9000) as i32 - 4500).collect();
        let q = self.builder.constant("bias", Tensor::vector::<i32>(integers));
        if self.next(2) == 0 {
            let floats = (0..n).map(|i| i as f32 * 0.173 - 0.4).collect();
            return self.builder.constant("bias", Tensor::vector::<f32>(floats));
        }
        self.dequantize(q, scales.iter().map(|s| s * x).collect(), Tensor::vector(vec![0i32; n]), 0)
    }
}

/// Some nodes one after another, each drawn: a graph, its values that are to agree, and its input.
fn drawn(seed: u32, nodes: usize) -> (Graph, Tensor) {
    let mut graph = Quantized { builder: Graph::builder(), seed };
    let shape = vec![1, 1 + graph.next(9) as usize, 3 + graph.next(6) as usize, 2 + graph.next(9) as usize];
    let count = shape.iter().product::<usize>();
    let input = Tensor::new(&shape[..], (0..count).map(|_| graph.next(4096) as f32 / 512.0 - 4.0).collect()).unwrap();
    let x = graph.builder.input("x", ElementType::F32, shape.clone());
    let zero = Tensor::scalar(graph.next(256) as u8);
    let mut x = graph.quantize(x, 0.031, zero, shape);
    for _ in 0..nodes {
        let floats = graph.floats(&x);
        let channels = x.shape[1];
        // No multiple of other scales, for ties are ties up to rounding alone.
        let (mut scale, mut zero) =
            (0.020_137 + graph.next(100) as f32 / 1999.0, Tensor::scalar(graph.next(256) as u8));
        if graph.next(3) == 0 {
            zero = Tensor::scalar((graph.next(256) as u8).cast_signed());
        }
        let mut shape = x.shape.clone();
        let mut y = match graph.next(13) {
            0 | 1 => {
                let depthwise = channels > 1 && graph.next(2) == 0;
                let outputs = if depthwise { channels } else { 1 + graph.next(9) as usize };
                let kernel = 1 + 2 * graph.next(2) as usize;
                let (w, scales) = graph.weights(&[outputs, if depthwise { 1 } else { channels }, kernel, kernel]);
                let bias = graph.bias(x.scale, &scales);
                let conv = Definition::new("Conv").attribute("group", if depthwise { channels as i64 } else { 1 });
                let conv = conv.attribute("pads", vec![kernel as i64 / 2; 4]);
                shape[1] = outputs;
                scale *= 8.0;
                graph.builder.node(&conv, &[floats, w, bias]).unwrap()
            }
            2 => {
                let other = graph.floats(&x);
                graph.builder.node(&Definition::new("Add"), &[floats, other]).unwrap()
            }
            3 => graph.builder.node(&Definition::new("Mul"), &[floats, floats]).unwrap(),
            4 => graph.builder.node(&Definition::new("HardSwish"), &[floats]).unwrap(),
            5 => {
                shape.swap(2, 3);
                if graph.next(2) == 0 {
                    (scale, zero) = (x.scale, x.zero.clone());
                }
                let turn = Definition::new("Transpose").attribute("perm", vec![0i64, 1, 3, 2]);
                graph.builder.node(&turn, &[floats]).unwrap()
            }
            8 | 9 => {
                let gate = graph.floats(&x);
                let gate = graph.builder.node(&Definition::new("GlobalAveragePool"), &[gate]).unwrap();
                let gate = graph.quantize(gate, 0.013_391, Tensor::scalar(131u8), vec![1, channels, 1, 1]);
                graph.builder.output(&format!("q{}", gate.q.0), gate.q);
                let gate = graph.floats(&gate);
                let both = if graph.next(2) == 0 { [floats, gate] } else { [gate, floats] };
                graph.builder.node(&Definition::new(if scale < 0.04 { "Add" } else { "Mul" }), &both).unwrap()
            }
            6 => {
                let other = graph.floats(&x);
                let other = graph.builder.node(&Definition::new("Sigmoid"), &[other]).unwrap();
                let other = graph.quantize(other, 1.0 / 256.0, Tensor::scalar(0u8), shape.clone());
                graph.builder.output(&format!("q{}", other.q.0), other.q);
                let other = graph.floats(&other);
                shape[1] *= 2;
                graph.builder.node(&Definition::new("Concat").attribute("axis", 1i64), &[other, floats]).unwrap()
            }
            10 | 11 => {
                let nearest = graph.next(2) == 0;
                if graph.next(2) == 0 && nearest {
                    (scale, zero) = (x.scale, x.zero.clone());
                }
                shape[2] *= 2;
                shape[3] = 1 + graph.next(9) as usize;
                let sizes = Tensor::vector(shape.iter().map(|&n| n as i64).collect());
                let sizes = graph.builder.constant("sizes", sizes);
                let resize = Definition::new("Resize").attribute("mode", if nearest { "nearest" } else { "linear" });
                let none = graph.builder.constant("none", Tensor::vector::<f32>(vec![]));
                graph.builder.node(&resize, &[floats, none, none, sizes]).unwrap()
            }
            7 => {
                let kernel = [shape[2].min(2), shape[3].min(2)];
                let pad = if kernel == [2; 2] { graph.next(2) as i64 } else { 0 };
                for (size, kernel) in shape[2..].iter_mut().zip(kernel) {
                    *size = (*size + 2 * pad as usize).saturating_sub(kernel) / 2 + 1;
                }
                let pool = Definition::new("AveragePool").attribute("kernel_shape", kernel.map(|k| k as i64).to_vec());
                let pool = pool.attribute("strides", vec![2i64, 2]).attribute("pads", vec![pad; 4]);
                graph.builder.node(&pool.attribute("count_include_pad", pad), &[floats]).unwrap()
            }
            _ => graph.builder.node(&Definition::new("Sigmoid"), &[floats]).unwrap(),
        };
        if graph.next(3) == 0 && (scale, &zero) != (x.scale, &x.zero) {
            y = graph.builder.node(&Definition::new("Relu"), &[y]).unwrap();
        }
        x = graph.quantize(y, scale, zero, shape);
        graph.builder.output(&format!("q{}", x.q.0), x.q);
    }
    (graph.builder.build().unwrap(), input)
}

/// For each quantized value of a graph what its node makes, in f64, of what the node's inputs were: where what is quantized lies
/// within 1e-3 of a tie, nothing.
fn literal(graph: &Graph, values: &[Option<Tensor>]) -> Vec<(String, Vec<Option<f64>>, Vec<f64>)> {
    let producers = graph.producers();
    let node = |id: ValueId| producers[id.0].map(|at| &graph.nodes[at.0]);
    let numbers = |id: ValueId| graph.constant(id).or(values[id.0].as_ref()).unwrap().to_f64();
    let mut found = vec![];
    for &output in &graph.outputs {
        let quantize = node(output).unwrap();
        let [x, scale, zero] = [0, 1, 2].map(|i| quantize.inputs[i].unwrap());
        let (scale, zero) = (numbers(scale)[0], numbers(zero)[0]);
        let (low, high) =
            if graph.fact(output).unwrap().element_type == ElementType::I8 { (-128.0, 127.0) } else { (0.0, 255.0) };
        let expected = numbers(x).into_iter().map(|v| {
            let v = v / scale;
            let near = ((v - v.floor()) - 0.5).abs() < 1e-3;
            (!near).then(|| (v.round_ties_even() + zero).clamp(low, high))
        });
        found.push((graph.value(output).name.clone(), expected.collect(), numbers(output)));
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn integers_are_what_the_standard_says(seed: u32, nodes in 1usize..5) {
        let (graph, input) = drawn(seed, nodes);
        let others = crate::optimize::REWRITES.iter().map(|r| r.name);
        let others = others.filter(|name| !["fold_quantization", "drop_dead"].contains(name));
        let rewritten = optimize(graph.clone(), &Rewrites::without(others).unwrap()).unwrap();
        let text = rewritten.to_string();
        for floats in ["Conv", "Add", "Mul", "AveragePool", "DequantizeLinear"] {
            prop_assert!(!text.contains(&format!("= {floats}(")), "{text}");
        }

        // The integers that the rewritten graph gives, by the references and by the CPU's kernels.
        let by_reference: Vec<Tensor> = evaluate(&rewritten, std::slice::from_ref(&input), |_, value| value).unwrap()
            .into_iter().map(|value| value.into_tensor().unwrap()).collect();
        let plan = Arc::new(CpuPlan::new(Arc::new(rewritten), &Threads::new(Some(2))));
        let mut session = plan.session();
        session.run(&[Some(input.clone())]).unwrap();
        let by_kernels: Vec<Tensor> = (0..by_reference.len()).map(|i| session.output(i).unwrap().clone()).collect();
        // Sums with the weights of a resize are not exact.
        prop_assert!(text.contains("QLinearResize") || by_kernels == by_reference, "{by_kernels:?}\n{by_reference:?}\n{text}");
        for integers in [by_reference, by_kernels] {
            // Node by node: each of the graph as it was read is given the integers that the other one found before it.
            let mut values: Vec<Option<Tensor>> = vec![None; graph.values.len()];
            let mut at = 0;
            evaluate(&graph, std::slice::from_ref(&input), |id, value| {
                let value = match graph.outputs.iter().position(|output| *output == id) {
                    Some(place) => { at += 1; integers[place].clone().into() }
                    None => value,
                };
                values[id.0] = value.as_tensor().cloned();
                value
            }).unwrap();
            prop_assert_eq!(at, graph.outputs.len());
            for (name, expected, got) in literal(&graph, &values) {
                for (i, (expected, got)) in expected.into_iter().zip(got).enumerate() {
                    prop_assert!(expected.is_none_or(|expected| expected == got), "{name}[{i}]: {expected:?}, not {got}\n{text}");
                }
            }
        }
    }
}
