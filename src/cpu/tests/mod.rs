//! Every kernel against its operator's reference.

mod attention;
mod chains;
mod dynamic;
mod lanes;
mod moves;
mod quantize;
mod recurrent;
mod resampling;
mod windows;

use std::sync::Arc;

use proptest::prelude::*;

use super::{CpuPlan, Threads, reference};
use crate::graph::{Activation, Definition, Fact, Graph, Operator, ValueId};
use crate::ops::conv::Conv;
use crate::ops::operator;
use crate::tensor::{ElementType, Tensor};
use crate::testing::Tolerance;

/// Sums of up to a few hundred products of magnitude at most 1 in f32, in another order than the reference's in f64.
const SUMS: Tolerance = Tolerance { absolute: 4e-5, relative: 1e-5 };

#[derive(Clone)]
enum Input {
    Run(Tensor),
    Constant(Tensor),
    Missing,
}

fn tensor(shape: &[usize], seed: u32) -> Tensor {
    let n: usize = shape.iter().product();
    let mix = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503)) >> 8) as f32;
    Tensor::new(shape.to_vec(), (0..n as u32).map(|i| mix(i) / (1 << 23) as f32 - 1.0).collect()).unwrap()
}

/// Runs one operator between two others (so that its input's memory is free to be taken), twice, with one thread and
/// with several, and compares with the references.
fn check(op: Arc<dyn Operator>, inputs: &[Input], tolerance: Tolerance) -> Result<(), TestCaseError> {
    check_outputs(op, inputs, 1, tolerance)
}

/// [`check`] of an operator with several outputs.
fn check_outputs(
    op: Arc<dyn Operator>,
    inputs: &[Input],
    outputs: usize,
    tolerance: Tolerance,
) -> Result<(), TestCaseError> {
    check_read(op, inputs, &vec![true; outputs], tolerance)
}

/// [`check`] of an operator with several outputs, of which these are there.
fn check_read(
    op: Arc<dyn Operator>,
    inputs: &[Input],
    outputs: &[bool],
    tolerance: Tolerance,
) -> Result<(), TestCaseError> {
    let negate = || operator(&Definition::new("Neg")).unwrap();
    let mut graph = Graph::builder();
    let mut given = vec![];
    let mut ids: Vec<Option<ValueId>> = vec![];
    for (i, input) in inputs.iter().enumerate() {
        ids.push(match input {
            Input::Run(t) => {
                let id = graph.input(&format!("x{i}"), t.element_type(), t.shape().to_vec());
                given.push(t.clone());
                Some(graph.operator(negate(), &[Some(id)], 1)[0])
            }
            Input::Constant(t) => Some(graph.constant(&format!("c{i}"), t.clone())),
            Input::Missing => None,
        });
    }
    let results = graph.operator(op.clone(), &ids, outputs.len());
    for (i, y) in results.into_iter().enumerate().filter(|(i, _)| outputs[*i]) {
        graph.output(&format!("y{i}"), y);
    }
    let mut graph = graph.build().map_err(|e| TestCaseError::fail(e.to_string()))?;
    let places = graph.nodes.last_mut().into_iter().flat_map(|node| &mut node.outputs);
    for (place, _) in places.zip(outputs).filter(|(_, read)| !**read) {
        *place = None;
    }
    let graph = Arc::new(graph);
    let expected = reference::evaluate(&graph, &given, |_, value| value).unwrap();
    let expected: Vec<_> = expected.into_iter().map(|value| value.into_tensor().unwrap()).collect();
    let given: Vec<_> = given.into_iter().map(Some).collect();
    for threads in [1, 3] {
        let plan = Arc::new(CpuPlan::new(graph.clone(), &Threads::new(Some(threads))));
        prop_assert!(plan.has_kernel().last() == Some(!expected[0].is_empty()), "{op:?} has no kernel");
        let mut session = plan.session();
        for _ in 0..2 {
            session.run(&given).unwrap();
            for (i, expected) in expected.iter().enumerate() {
                tolerance.compare(session.output(i).unwrap(), expected, None).map_err(|e| {
                    TestCaseError::fail(format!(
                        "output {i} of {op:?} of {:?}, {threads} threads: {e}",
                        graph.inputs.iter().map(|&i| graph.fact(i).map(Fact::to_string)).collect::<Vec<_>>()
                    ))
                })?;
            }
        }
    }
    Ok(())
}

/// Bytes without a pattern.
fn bytes(shape: &[usize], signed: bool, seed: usize) -> Tensor {
    let n = shape.iter().product::<usize>();
    let numbers = (0..n).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 7 & 255) as u8);
    match signed {
        true => Tensor::new(shape, numbers.map(u8::cast_signed).collect()).unwrap(),
        false => Tensor::new(shape, numbers.collect()).unwrap(),
    }
}

/// Runs one operator on inputs of any type by its kernel, with one thread and with several, and compares with its reference.
fn agree(op: Arc<dyn Operator>, inputs: Vec<Input>, outputs: usize) -> Result<(), TestCaseError> {
    let mut graph = Graph::builder();
    let (mut given, mut ids) = (vec![], vec![]);
    for (i, input) in inputs.into_iter().enumerate() {
        ids.push(match input {
            Input::Run(t) => {
                let id = graph.input(&format!("x{i}"), t.element_type(), t.shape().to_vec());
                given.push(t);
                Some(id)
            }
            Input::Constant(t) => Some(graph.constant(&format!("c{i}"), t)),
            Input::Missing => None,
        });
    }
    for (i, y) in graph.operator(op, &ids, outputs).into_iter().enumerate() {
        graph.output(&format!("y{i}"), y);
    }
    let graph = Arc::new(graph.build().map_err(|e| TestCaseError::fail(e.to_string()))?);
    let expected = reference::evaluate(&graph, &given, |_, value| value).unwrap();
    let expected: Vec<_> = expected.into_iter().map(|value| value.into_tensor().unwrap()).collect();
    let given: Vec<_> = given.into_iter().map(Some).collect();
    for threads in [1, 3] {
        // What kernels hold packed is nowhere else.
        let plan = Arc::new(CpuPlan::released(Arc::new((*graph).clone()), &Threads::new(Some(threads))));
        prop_assert!(plan.has_kernel().all(|has| has));
        let mut session = plan.session();
        for _ in 0..2 {
            session.run(&given).unwrap();
            for (i, expected) in expected.iter().enumerate() {
                let compared = Tolerance::EXACT.compare(session.output(i).unwrap(), expected, None);
                compared.map_err(|e| TestCaseError::fail(format!("output {i}: {e}")))?;
            }
        }
    }
    Ok(())
}

fn activation() -> impl Strategy<Value = Activation> {
    prop_oneof![
        3 => Just(Activation::Identity),
        1 => Just(Activation::Relu),
        1 => Just(Activation::Clip(-0.5, 0.5)),
        1 => Just(Activation::Silu),
        1 => Just(Activation::HardSwish),
    ]
}

fn kept(constant: bool, tensor: Tensor) -> Input {
    if constant { Input::Constant(tensor) } else { Input::Run(tensor) }
}

/// Kernel, stride, dilation, padding before and after, and an input that is large enough for them.
fn axis() -> impl Strategy<Value = [usize; 6]> {
    (1usize..5, 1usize..4, 1usize..3, 0usize..4, 0usize..4, 0usize..24).prop_map(|(k, s, d, before, after, more)| {
        // A pool's padding must be smaller than its kernel.
        let (before, after) = (before.min(k - 1), after.min(k - 1));
        let reach = (k - 1) * d + 1;
        [k, s, d, before, after, (reach + more).saturating_sub(before + after).max(1)]
    })
}

fn window(definition: Definition, axes: &[[usize; 6]]) -> Definition {
    let list = |f: &dyn Fn(&[usize; 6]) -> usize| axes.iter().map(|a| f(a) as i64).collect::<Vec<i64>>();
    definition
        .attribute("kernel_shape", list(&|a| a[0]))
        .attribute("strides", list(&|a| a[1]))
        .attribute("dilations", list(&|a| a[2]))
        .attribute("pads", [list(&|a| a[3]), list(&|a| a[4])].concat())
}

fn shape(n: usize, c: usize, axes: &[[usize; 6]], at: usize) -> Vec<usize> {
    [n, c].into_iter().chain(axes.iter().map(|a| a[at])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn convolutions_agree(
        n in 1usize..3, groups in 1usize..4, i in 1usize..6, o in prop_oneof![1usize..8, Just(13), Just(24)],
        axes in prop::collection::vec(axis(), 1..3), pointwise: bool, bias: bool, residual: bool, constant: bool,
        activation in activation(),
    ) {
        let mut axes = axes;
        if pointwise {
            axes.iter_mut().for_each(|a| a[..5].copy_from_slice(&[1, 1, 1, 0, 0]));
        }
        let definition = window(Definition::new("Conv"), &axes).attribute("group", groups as i64);
        let mut conv = operator(&definition).unwrap().downcast::<Conv>().unwrap().clone();
        conv.activation = activation;
        let x = shape(n, groups * i, &axes, 5);
        let w = shape(groups * o, i, &axes, 0);
        let mut inputs = vec![Input::Run(tensor(&x, 1)), kept(constant, tensor(&w, 2))];
        inputs.push(if bias { kept(constant, tensor(&[groups * o], 3)) } else { Input::Missing });
        if residual {
            let output = |a: &[usize; 6]| (a[5] + a[3] + a[4] - (a[0] - 1) * a[2] - 1) / a[1] + 1;
            let y: Vec<_> = [n, groups * o].into_iter().chain(axes.iter().map(output)).collect();
            inputs.push(Input::Run(tensor(&y, 4)));
            (conv.residual, conv.residual_last) = (true, bias);
        }
        check(Arc::new(conv), &inputs, SUMS)?;
    }

    #[test]
    fn convolutions_by_the_way_of_winograd_agree(
        n in 1usize..3, i in 12usize..40, o in 12usize..40, h in 10usize..40, w in 10usize..40, before in 0usize..3, after in 0usize..3,
        bias: bool, residual: bool, activation in activation(),
    ) {
        let axes = [[3, 1, 1, before, after, h], [3, 1, 1, after, before, w]];
        let mut conv = operator(&window(Definition::new("Conv"), &axes)).unwrap().downcast::<Conv>().unwrap().clone();
        conv.activation = activation;
        let mut inputs = vec![
            Input::Run(tensor(&[n, i, h, w], 1)),
            Input::Constant(tensor(&[o, i, 3, 3], 2)),
            if bias { Input::Constant(tensor(&[o], 3)) } else { Input::Missing },
        ];
        if residual {
            inputs.push(Input::Run(tensor(&[n, o, h + before + after - 2, w + before + after - 2], 4)));
            (conv.residual, conv.residual_last) = (true, bias);
        }
        // Rounding at the points is multiplied on the way back: up to 8 times in each direction, were all of one sign. As for
        // the GPU's kernels, a millionth for each product of numbers of magnitude at most 1.
        check(Arc::new(conv), &inputs, Tolerance { absolute: 1e-6 * (9 * i) as f32, relative: 1e-5 })?;
    }

    #[test]
    fn depthwise_convolutions_agree(
        n in 1usize..3, c in 2usize..7, multiplier in 1usize..3, axes in prop::collection::vec(axis(), 1..3), bias: bool,
        residual: bool, activation in activation(),
    ) {
        let definition = window(Definition::new("Conv"), &axes).attribute("group", c as i64);
        let mut conv = operator(&definition).unwrap().downcast::<Conv>().unwrap().clone();
        conv.activation = activation;
        let mut inputs = vec![
            Input::Run(tensor(&shape(n, c, &axes, 5), 1)),
            Input::Constant(tensor(&shape(c * multiplier, 1, &axes, 0), 2)),
            if bias { Input::Constant(tensor(&[c * multiplier], 3)) } else { Input::Missing },
        ];
        if residual {
            let output = |a: &[usize; 6]| (a[5] + a[3] + a[4] - (a[0] - 1) * a[2] - 1) / a[1] + 1;
            let y: Vec<_> = [n, c * multiplier].into_iter().chain(axes.iter().map(output)).collect();
            inputs.push(Input::Run(tensor(&y, 4)));
            (conv.residual, conv.residual_last) = (true, bias);
        }
        check(Arc::new(conv), &inputs, SUMS)?;
    }

    #[test]
    fn pools_agree(
        n in 1usize..3, c in 1usize..5, axes in prop::collection::vec(axis(), 1..3), kind in 0usize..4, include_pad: bool, ceil: bool,
    ) {
        let name = ["MaxPool", "AveragePool", "LpPool", "LpPool"][kind];
        let mut definition = window(Definition::new(name), &axes).attribute("ceil_mode", i64::from(ceil));
        if kind == 1 {
            definition = definition.attribute("count_include_pad", i64::from(include_pad));
        }
        if kind == 3 {
            definition = definition.attribute("p", 1i64);
        }
        check(operator(&definition).unwrap(), &[Input::Run(tensor(&shape(n, c, &axes, 5), 1))], SUMS)?;
    }

    #[test]
    fn global_pools_agree(
        dims in prop::collection::vec(1usize..9, 2..5), long in 1usize..3000, name in prop::sample::select(vec!["Average", "Max", "Lp"]),
    ) {
        let operator = operator(&Definition::new(format!("Global{name}Pool"))).unwrap();
        check(operator.clone(), &[Input::Run(tensor(&dims, 1))], SUMS)?;
        check(operator, &[Input::Run(tensor(&[1, 2, long], 1))], SUMS)?;
    }

    #[test]
    fn reductions_agree(
        dims in prop::collection::vec(prop_oneof![3 => 1usize..7, 1 => 30usize..80], 1..5)
            .prop_filter("a sum of many numbers of both signs keeps an error of theirs, not of its own", |d| d.iter().product::<usize>() < 1 << 12),
        from in 0usize..5, to in 0usize..5, keep: bool,
        name in prop::sample::select(vec!["Sum", "Mean", "L1", "L2", "SumSquare", "Max", "Min"]),
    ) {
        let axes: Vec<i64> = (0..dims.len()).filter(|i| (from..=to).contains(i)).map(|i| i as i64).collect();
        let definition = Definition::new(format!("Reduce{name}")).attribute("keepdims", i64::from(keep));
        let definition = if axes.is_empty() { definition } else { definition.attribute("axes", axes) };
        check(operator(&definition).unwrap(), &[Input::Run(tensor(&dims, 1))], Tolerance { relative: 2e-5, ..SUMS })?;
    }

    #[test]
    fn products_agree(
        batch in 1usize..3, own: bool, m in prop_oneof![Just(1usize), 1usize..40],
        k in prop_oneof![5 => 1usize..40, 1 => 380usize..800],
        n in prop_oneof![1usize..80, Just(200)], constant: bool, activation in activation(),
    ) {
        let b = if own { vec![batch, k, n] } else { vec![k, n] };
        let op = operator(&Definition::new("MatMul")).unwrap();
        let op = op.with_activation(activation).unwrap();
        check(op, &[Input::Run(tensor(&[batch, m, k], 1)), kept(constant, tensor(&b, 2))], SUMS)?;
    }

    #[test]
    fn gemms_agree(
        m in prop_oneof![Just(1usize), 1usize..40], k in 1usize..40, n in 1usize..80, trans_a: bool, trans_b: bool,
        c in 0usize..5, constant: bool, alpha in -2f32..2.0, beta in -2f32..2.0,
    ) {
        let definition = Definition::new("Gemm")
            .attribute("alpha", alpha)
            .attribute("beta", beta)
            .attribute("transA", i64::from(trans_a))
            .attribute("transB", i64::from(trans_b));
        let mut inputs = vec![
            Input::Run(tensor(&if trans_a { [k, m] } else { [m, k] }, 1)),
            kept(constant, tensor(&if trans_b { [n, k] } else { [k, n] }, 2)),
        ];
        let shapes = [vec![], vec![n], vec![m, n], vec![m, 1]];
        if let Some(c) = shapes.get(c) {
            inputs.push(kept(constant, tensor(c, 3)));
        }
        check(operator(&definition).unwrap(), &inputs, SUMS)?;
    }

    #[test]
    fn functions_agree(dims in prop::collection::vec(0usize..9, 0..4), which in 0usize..10, exponent in 0usize..3) {
        let names =
            ["Relu", "Sigmoid", "HardSwish", "Tanh", "Exp", "Erf", "Gelu", "Abs", "Gelu", "Pow"];
        let definition = Definition::new(names[which]);
        let definition = if which == 8 { definition.attribute("approximate", "tanh") } else { definition };
        let mut inputs = vec![Input::Run(tensor(&dims, 1))];
        if which == 9 {
            inputs.push(Input::Constant(Tensor::scalar([2.0f32, 1.0, -1.0][exponent])));
        }
        // Gelu's left tail is a difference of numbers up to 1.
        let tolerance = Tolerance { absolute: if names[which] == "Gelu" { 2e-7 } else { 0.0 }, relative: 2e-6 };
        check(operator(&definition).unwrap(), &inputs, tolerance)?;
    }

    #[test]
    fn arithmetic_agrees(
        dims in prop::collection::vec(1usize..9, 0..4), from in 0usize..4, to in 0usize..4, short: bool, swapped: bool,
        name in prop::sample::select(vec!["Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu"]), constant: bool,
    ) {
        // The other operand keeps the axes from … to.
        let mut other: Vec<_> =
            dims.iter().enumerate().map(|(i, &d)| if (from..=to).contains(&i) { d } else { 1 }).collect();
        while short && other.first() == Some(&1) {
            other.remove(0);
        }
        let mut inputs = vec![Input::Run(tensor(&dims, 1)), kept(constant, tensor(&other, 7))];
        if swapped {
            inputs.reverse();
        }
        // A quotient of numbers near 0 is large, and each is rounded once.
        check(operator(&Definition::new(name)).unwrap(), &inputs, Tolerance::relative(2e-6))?;
    }

    #[test]
    fn tensors_that_both_repeat_agree(
        dims in prop::collection::vec((1usize..6, any::<bool>(), any::<bool>()), 1..5),
        name in prop::sample::select(vec!["Add", "Sub", "Mul", "Div", "Max", "Min"]),
    ) {
        let side = |pick: fn(&(usize, bool, bool)) -> bool| -> Vec<usize> {
            dims.iter().map(|d| if pick(d) { 1 } else { d.0 }).collect()
        };
        let inputs = [Input::Run(tensor(&side(|d| d.1), 1)), Input::Run(tensor(&side(|d| d.2), 7))];
        check(operator(&Definition::new(name)).unwrap(), &inputs, Tolerance::relative(2e-6))?;
    }

    #[test]
    fn concatenations_agree(dims in prop::collection::vec(1usize..5, 1..4), parts in prop::collection::vec(0usize..4, 1..4), axis in 0usize..3) {
        let axis = axis % dims.len();
        let inputs: Vec<_> = parts.iter().enumerate().map(|(i, &length)| {
            let mut dims = dims.clone();
            dims[axis] = length;
            Input::Run(tensor(&dims, i as u32))
        }).collect();
        check(operator(&Definition::new("Concat").attribute("axis", axis as i64)).unwrap(), &inputs, Tolerance::EXACT)?;
    }
}

#[test]
fn work_large_enough_for_several_tasks_agrees() {
    // Several ranges of positions, and more elements than one task takes.
    let conv = window(Definition::new("Conv"), &[[3, 1, 1, 1, 1, 60], [3, 2, 1, 1, 1, 61]]);
    let inputs = [
        Input::Run(tensor(&[1, 9, 60, 61], 1)),
        Input::Constant(tensor(&[20, 9, 3, 3], 2)),
        Input::Constant(tensor(&[20], 3)),
    ];
    check(operator(&conv).unwrap(), &inputs, SUMS).unwrap();
    let (a, b) = (tensor(&[1, 9, 90, 91], 1), tensor(&[9, 1, 1], 2));
    check(operator(&Definition::new("Add")).unwrap(), &[Input::Run(a.clone()), Input::Constant(b)], SUMS).unwrap();
    check(operator(&Definition::new("Relu")).unwrap(), &[Input::Run(a)], SUMS).unwrap();
}

proptest! {
    // Of matrices that are large enough.
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn products_with_zeros_agree(
        k in 300usize..700, trans: bool, c in 0usize..5, zeros in prop::sample::select(vec![69usize, 75, 95, 100]),
        alpha in -2f32..2.0, beta in -2f32..2.0, activation in activation(), at in prop::collection::vec(0usize..300, 0..2),
    ) {
        let n = (1usize << 18).div_ceil(k);
        let definition = Definition::new("Gemm").attribute("alpha", alpha).attribute("beta", beta);
        let op = operator(&definition.attribute("transB", i64::from(trans))).unwrap().with_activation(activation).unwrap();
        let mut b = tensor(&if trans { [n, k] } else { [k, n] }, 2).as_slice::<f32>().unwrap().to_vec();
        b.iter_mut().enumerate().filter(|(i, _)| i.wrapping_mul(7919) % 100 < zeros).for_each(|(_, b)| *b = 0.0);
        let mut a = tensor(&[1, k], 1).as_slice::<f32>().unwrap().to_vec();
        // Some functions have their own way with infinity.
        let infinite = if activation == Activation::Identity { &at[..] } else { &[] };
        infinite.iter().for_each(|&at| a[at] = f32::INFINITY);
        let b = Tensor::new(if trans { vec![n, k] } else { vec![k, n] }, b).unwrap();
        let mut inputs = vec![Input::Run(Tensor::new([1, k], a).unwrap()), Input::Constant(b)];
        let shapes = [vec![], vec![n], vec![1, n], vec![1, 1]];
        if let Some(c) = shapes.get(c) {
            inputs.push(Input::Run(tensor(c, 3)));
        }
        check(op, &inputs, SUMS)?;
    }
}
