//! What scales and shifts each channel of a convolution's or a Gemm's result is folded into its weights and bias:
//! a BatchNormalization, and Mul, Div, Add and Sub with a constant for each channel.
//!
//! `a · (Σ w x + b) + c = Σ (a w) x + (a b + c)`, with `a = scale / √(variance + ε)` and `c = shift − a · mean` for a
//! BatchNormalization. Computed in 64 bits, rounded once. What the statistics say of the sums that they were taken of is
//! kept: the planner asks for it ([`Operator::cancellation`]).

use std::sync::Arc;

use half::f16;

use super::edit::Edit;
use crate::graph::{Activation, Fact, Graph, Node, Operator, ValueId};
use crate::ops::batch_normalization::BatchNormalization;
use crate::ops::conv::Conv;
use crate::ops::conv_transpose::ConvTranspose;
use crate::ops::matmul::Gemm;
use crate::tensor::{ElementType, Tensor};

pub(super) fn apply(graph: &mut Graph) -> bool {
    // Weights have a number for each channel at least: a tensor of more channels has none that could change.
    let constants = graph.values.iter().filter_map(|value| value.fact.as_ref()?.constant.as_ref());
    let most = constants.map(Tensor::len).max().unwrap_or(0);
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let Some(node) = edit.node(index) else { continue };
        let Some((x, affine)) = affine(edit.graph(), node, most) else { continue };
        // Old files name what training would compute as further outputs.
        if node.outputs.iter().flatten().count() != 1 {
            continue;
        }
        let Some((first, producer)) = edit.producer_for(x, 1) else { continue };
        let Some(folded) = fold(edit.graph(), producer, &affine) else { continue };
        let mut inputs = producer.inputs.clone();
        let name = |input: usize| {
            let id = inputs.get(input).copied().flatten();
            format!("{}/{}", producer.name, id.map_or("bias", |id| edit.graph().value(id).name.as_str()))
        };
        let (weights, bias) = (name(1), name(2));
        inputs.resize(inputs.len().max(3), None);
        inputs[1] = Some(edit.constant(&weights, folded.weights));
        inputs[2] = Some(edit.constant(&bias, folded.bias));
        edit.fuse(first, index, folded.operator, inputs);
    }
    edit.finish()
}

/// A factor and a summand for each channel.
struct Affine {
    scale: Vec<f64>,
    shift: Vec<f64>,
    /// The mean of each channel before, and its variance, where a BatchNormalization knows them.
    statistics: Option<(Vec<f32>, Vec<f32>)>,
}

/// What the node does to each channel (axis 1) of the value that it reads, if that is all it does and the channels are not more than
/// `most`.
fn affine(graph: &Graph, node: &Node, most: usize) -> Option<(ValueId, Affine)> {
    let id = |i: usize| node.inputs.get(i).copied().flatten();
    if let Some(norm) = node.operator.downcast::<BatchNormalization>() {
        let facts = graph.input_facts(node)?;
        let (scale, shift) = norm.affine(&facts)?;
        let floats = |i: usize| facts.get(i).copied().flatten().and_then(Fact::floats);
        return Some((id(0)?, Affine { scale, shift, statistics: floats(3).zip(floats(4)) }));
    }
    if !matches!(node.operator.name(), "Mul" | "Div" | "Add" | "Sub") {
        return None;
    }
    let (a, b) = (id(0)?, id(1)?);
    let (x, constant, first) = if graph.constant(b).is_some() { (a, b, true) } else { (b, a, false) };
    let channels = graph.fact(x)?.shape.get(1)?.size().filter(|&channels| channels <= most)?;
    let values = per_channel(graph.fact(x)?, graph.fact(constant)?, channels)?;
    let (ones, zeros) = (vec![1.0; channels], vec![0.0; channels]);
    let (scale, shift) = match (node.operator.name(), first) {
        ("Mul", _) => (values, zeros),
        ("Div", true) => (values.iter().map(|v| v.recip()).collect(), zeros),
        ("Add", _) => (ones, values),
        ("Sub", true) => (ones, values.iter().map(|v| -v).collect()),
        ("Sub", false) => (vec![-1.0; channels], values),
        _ => return None,
    };
    Some((x, Affine { scale, shift, statistics: None }))
}

/// The constant's number for each channel of x, if it has one for each or one for all.
fn per_channel(x: &Fact, constant: &Fact, channels: usize) -> Option<Vec<f64>> {
    let shape = constant.concrete()?;
    let missing = x.rank().checked_sub(shape.len())?;
    let fits = shape.iter().enumerate().all(|(i, &n)| n == 1 || (i + missing == 1 && n == channels));
    // What does not fit need not be read.
    let values = if fits { constant.floats()? } else { return None };
    match values.len() {
        1 => Some(vec![values[0].into(); channels]),
        n if n == channels => Some(values.into_iter().map(f64::from).collect()),
        _ => None,
    }
}

/// A node with other weights and another bias.
struct Folded {
    operator: Arc<dyn Operator>,
    weights: Tensor,
    bias: Tensor,
}

fn fold(graph: &Graph, node: &Node, affine: &Affine) -> Option<Folded> {
    let weights = graph.constant(node.inputs.get(1).copied().flatten()?)?;
    let shape = weights.shape();
    let mut target = target(node.operator.as_ref(), shape)?;
    let channels = affine.scale.len();
    let bias = match node.inputs.get(2).copied().flatten() {
        None => vec![0.0; channels],
        Some(id) => bias(graph.fact(id)?, channels)?,
    };
    if let (Some(conv), Some(statistics)) = (target.operator.downcast::<Conv>(), &affine.statistics) {
        let cancellation = cancellation(statistics, &bias);
        target.operator = Arc::new(Conv { cancellation, ..conv.clone() });
    }
    let bias = bias.iter().zip(&affine.scale).zip(&affine.shift);
    let bias: Vec<f64> = bias.map(|((b, scale), shift)| target.factor * scale * b + shift).collect();
    let scaled = Fact::constant(weights.clone()).floats()?.into_iter().enumerate();
    let scaled: Option<Vec<f64>> =
        scaled.map(|(i, w)| Some(f64::from(w) * affine.scale.get((target.channel)(i))?)).collect();
    let scaled = scaled?;
    // As the weights' type has them: what overflows is left to the nodes as they are.
    let most = if weights.element_type() == ElementType::F16 { f64::from(f16::MAX) } else { f64::from(f32::MAX) };
    let finite = |values: &[f64]| values.iter().all(|v| v.abs() <= most);
    if affine.shift.len() != channels || !finite(&bias) || !finite(&scaled) {
        return None;
    }
    let element_type = weights.element_type();
    Some(Folded {
        operator: target.operator,
        weights: rounded(element_type, shape, &scaled)?,
        bias: rounded(element_type, &[channels], &bias)?,
    })
}

/// By how much the sums of a convolution without its bias are larger than what varies in them, as the root of the mean
/// square over the channels.
#[expect(clippy::cast_possible_truncation, reason = "an estimate")]
fn cancellation((means, variances): &(Vec<f32>, Vec<f32>), bias: &[f64]) -> f32 {
    let squares = means.iter().zip(variances).zip(bias).map(|((&mean, &variance), bias)| {
        let (mean, variance) = (f64::from(mean) - bias, f64::from(variance));
        // A channel that hardly varies at all says nothing in any precision.
        (mean * mean + variance) / (variance + 1e-5)
    });
    (squares.sum::<f64>() / bias.len().max(1) as f64).sqrt() as f32
}

/// An operator whose weights can take a factor for each channel.
struct Target {
    /// The operator that takes the new weights and the new bias.
    operator: Arc<dyn Operator>,
    /// What the old bias was multiplied with.
    factor: f64,
    /// The channel that the weight at an index belongs to.
    channel: Box<dyn Fn(usize) -> usize>,
}

/// The operator as one, under weights of this shape, if nothing stands between its sums and its result.
fn target(operator: &dyn Operator, shape: &[usize]) -> Option<Target> {
    let inner = |axis: usize| shape.get(axis..).map(|dims| dims.iter().product::<usize>().max(1));
    if let Some(conv) = operator.downcast::<Conv>() {
        let inner = inner(1)?;
        let plain = conv.activation == Activation::Identity && !conv.residual;
        return plain.then(|| Target {
            operator: Arc::new(conv.clone()),
            factor: 1.0,
            channel: Box::new(move |i| i / inner),
        });
    }
    if let Some(conv) = operator.downcast::<ConvTranspose>() {
        let (inputs, outputs, inner) = (*shape.first()?, (*shape.get(1)?).max(1), inner(2)?);
        // Weights stand by input channel, then by the output channels of its group.
        let per_group = (inputs / conv.groups.max(1)).max(1);
        let channel = move |i: usize| i / inner / outputs / per_group * outputs + i / inner % outputs;
        return (conv.activation == Activation::Identity).then(|| Target {
            operator: Arc::new(conv.clone()),
            factor: 1.0,
            channel: Box::new(channel),
        });
    }
    let gemm = operator.downcast::<Gemm>().filter(|gemm| gemm.activation == Activation::Identity)?;
    let (columns, transposed) = ((*shape.get(1)?).max(1), gemm.transpose_b);
    Some(Target {
        operator: Arc::new(Gemm { beta: 1.0, ..gemm.clone() }),
        factor: f64::from(gemm.beta),
        channel: Box::new(move |i| if transposed { i / columns } else { i % columns }),
    })
}

/// The bias of each channel. That of a Gemm may have a row for each row of the product: then there is none.
fn bias(fact: &Fact, channels: usize) -> Option<Vec<f64>> {
    if fact.rank() == 1 && fact.concrete()? == [channels] {
        return Some(fact.floats()?.into_iter().map(f64::from).collect());
    }
    per_channel(&Fact::new(fact.element_type, [1, channels]), fact, channels)
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to the weights' type is what is meant")]
fn rounded(element_type: ElementType, shape: &[usize], values: &[f64]) -> Option<Tensor> {
    match element_type {
        ElementType::F32 => Tensor::new(shape, values.iter().map(|&v| v as f32).collect()).ok(),
        ElementType::F16 => Tensor::new(shape, values.iter().map(|&v| f16::from_f64(v)).collect()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::Definition;
    use crate::optimize::testing::*;

    const APPLIED: [&str; 2] = ["fold_batch_norm", "drop_dead"];

    #[test]
    fn a_convolution_takes_its_norm_and_then_its_activation() {
        for name in ["Conv", "ConvTranspose"] {
            let mut graph = TestGraph::new();
            let x = graph.input("x", &[2, 10, 5, 5]);
            let (w, b) = (graph.random("w", &[10, 10, 1, 1]), graph.random("b", &[10]));
            let conv = graph.node(name, &[x, w, b]);
            let [scale, shift, mean] = ["scale", "shift", "mean"].map(|name| graph.random(name, &[10]));
            let variance: Vec<f32> = (0..10).map(|i| i as f32).collect();
            let variance = graph.constant("variance", &[10], &variance);
            let norm = Definition::new("BatchNormalization").attribute("epsilon", 0.25f32);
            let normed = graph.define(&norm, &[conv, scale, shift, mean, variance]);
            let y = graph.node("Relu", &[normed]);
            graph.output("y", y);
            graph.check(
                &["fold_batch_norm", "fuse_activation", "drop_dead"],
                &format!(
                    "input x: f32[2, 10, 5, 5]\n\
                     y: f32[2, 10, 5, 5] = {name}(x, {name}_0/w: f32[10, 10, 1, 1], {name}_0/b: f32[10])\n\
                     output y: f32[2, 10, 5, 5]\n"
                ),
            );
        }
    }

    /// Numbers for each of ten channels, as a constant that repeats over `rank - 2` further axes.
    fn channels(graph: &mut TestGraph, name: &str, rank: usize) -> crate::graph::ValueId {
        let mut shape = vec![1; rank];
        shape[1] = 10;
        graph.random(name, &shape[usize::from(rank > 2)..])
    }

    #[test]
    fn convolutions_take_scales_and_shifts() {
        for (name, groups, weights, bias) in [
            ("Conv", 1, [10, 4, 3, 3], false),
            ("Conv", 2, [10, 2, 3, 3], true),
            ("ConvTranspose", 1, [4, 10, 3, 3], true),
            ("ConvTranspose", 2, [4, 5, 3, 3], false),
        ] {
            let mut graph = TestGraph::new();
            let x = graph.input("x", &[2, 4, 5, 5]);
            let mut inputs = vec![x, graph.random("w", &weights)];
            if bias {
                inputs.push(graph.random("b", &[10]));
            }
            let conv = graph.define(&Definition::new(name).attribute("group", groups), &inputs);
            let factor = channels(&mut graph, "factor", 4);
            let scaled = graph.node("Mul", &[factor, conv]);
            let summand = channels(&mut graph, "summand", 4);
            let shifted = graph.node("Add", &[scaled, summand]);
            let six = graph.constant("six", &[], &[6.0]);
            let taken = graph.node("Sub", &[six, shifted]);
            let y = graph.node("Div", &[taken, six]);
            graph.output("y", y);
            let size = if name == "Conv" { 3 } else { 7 };
            let [o, i, ..] = weights;
            let text = graph.rewritten(&APPLIED).to_string();
            let (names, _) = text.split_once(": f32[10])").unwrap();
            let (start, names) = names.split_once(&format!("= {name}(x, ")).unwrap();
            assert_eq!(start, format!("input x: f32[2, 4, 5, 5]\ny: f32[2, 10, {size}, {size}] "));
            assert!(names.contains(&format!(": f32[{o}, {i}, 3, 3], {name}_0/")), "{text}");
            let rewritten = graph.check(&APPLIED, &text);
            assert_eq!(rewritten.nodes.len(), 1);
        }
    }

    #[test]
    fn a_gemm_takes_scales_and_shifts() {
        for transposed in [false, true] {
            for bias in [None, Some(&[10][..]), Some(&[1, 10]), Some(&[])] {
                let mut graph = TestGraph::new();
                let x = graph.input("x", &[3, 4]);
                let mut inputs = vec![x, graph.random("w", &if transposed { [10, 4] } else { [4, 10] })];
                inputs.extend(bias.map(|shape| graph.random("b", shape)));
                let definition = Definition::new("Gemm").attribute("transB", i64::from(transposed));
                let gemm = graph.define(&definition.attribute("alpha", 0.5f32).attribute("beta", 2.0f32), &inputs);
                let factor = channels(&mut graph, "factor", 2);
                let scaled = graph.node("Mul", &[gemm, factor]);
                let summand = channels(&mut graph, "summand", 2);
                let y = graph.node("Sub", &[scaled, summand]);
                graph.output("y", y);
                let text = graph.rewritten(&APPLIED).to_string();
                assert_eq!(graph.check(&APPLIED, &text).nodes.len(), 1, "{text}");
            }
        }
    }

    #[test]
    fn what_is_not_per_channel_stays() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[1, 2, 3, 3]);
        let w = graph.random("w", &[2, 2, 1, 1]);
        let mut outputs = vec![];
        // A number for each column, one for each batch of two, one more axis, a division by zero, the wrong way round.
        for (operator, shape) in [("Mul", &[3][..]), ("Mul", &[2, 1, 1, 1]), ("Mul", &[1, 1, 1, 1, 1])] {
            let conv = graph.node("Conv", &[x, w]);
            let constant = graph.random(operator, shape);
            outputs.push(graph.node(operator, &[conv, constant]));
        }
        let conv = graph.node("Conv", &[x, w]);
        let zero = graph.constant("zero", &[], &[0.0]);
        let shared = graph.node("Add", &[conv, zero]);
        let other = graph.node("Relu", &[conv]);
        let conv = graph.node("Conv", &[x, w]);
        let one = graph.constant("one", &[], &[1.0]);
        outputs.extend([shared, other, graph.node("Div", &[one, conv])]);
        for (i, value) in outputs.into_iter().enumerate() {
            graph.output(&format!("y{i}"), value);
        }
        let text = graph.rewritten(&[]).to_string();
        graph.check(&APPLIED, &text);
    }

    #[test]
    fn weights_that_would_be_infinite_stay() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[1, 1, 2, 2]);
        let w = graph.constant("w", &[1, 1, 1, 1], &[1e30]);
        let conv = graph.node("Conv", &[x, w]);
        let tiny = graph.constant("tiny", &[], &[1e-30]);
        let y = graph.node("Div", &[conv, tiny]);
        graph.output("y", y);
        assert_eq!(graph.rewritten(&APPLIED).nodes.len(), 2);
    }

    #[test]
    fn what_the_statistics_say_of_cancellation_is_kept() {
        let near = |statistics: [&[f32]; 2], bias: &[f64], expected: f32| {
            let got = super::cancellation(&(statistics[0].to_vec(), statistics[1].to_vec()), bias);
            assert!((got - expected).abs() < 1e-3, "{got} is not {expected}");
        };
        near([&[3.0, 0.0], &[1.0, 1.0]], &[0.0, 0.0], 5.5f32.sqrt());
        // A bias is no part of the sums.
        near([&[3.0], &[1.0]], &[3.0], 1.0);
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[1, 4, 2, 2]);
        let w = graph.random("w", &[4, 4, 1, 1]);
        let conv = graph.node("Conv", &[x, w]);
        let [scale, shift] = ["scale", "shift"].map(|name| graph.random(name, &[4]));
        let mean = graph.constant("mean", &[4], &[8.0; 4]);
        let variance = graph.constant("variance", &[4], &[4.0; 4]);
        let normed = graph.node("BatchNormalization", &[conv, scale, shift, mean, variance]);
        graph.output("y", normed);
        let graph = graph.rewritten(&APPLIED);
        let cancellations: Vec<f32> = graph.nodes.iter().map(|node| node.operator.cancellation()).collect();
        assert_eq!(cancellations.len(), 1);
        assert!((cancellations[0] - 17f32.sqrt()).abs() < 1e-3, "{cancellations:?}");
    }
}
