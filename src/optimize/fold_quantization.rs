//! Operators between DequantizeLinear and QuantizeLinear are computed on the integers themselves: convolutions and products
//! with their weights in 8 bits, sums, products and means of tensors, other sizes of them, functions of an element by a table,
//! and what only moves elements as it is, brought to the result's scale by a table before. A mean over windows is a convolution
//! with ones. Where no QuantizeLinear follows, a convolution or a product of integers gives floats.
//!
//! Only where kernels over packed words take it ([`quantize`](crate::ops::quantize)), and where all scales and zero points are
//! known. An activation between the two bounds the integers: rounding keeps their order.

mod integers;

use std::sync::Arc;

use integers::{Integers, dequantized, quantized};

use super::edit::Edit;
use super::fuse_activation::activation;
use crate::graph::{Activation, Fact, Graph, Operator, ValueId};
use crate::ops::concat::Concat;
use crate::ops::conv::Conv;
use crate::ops::matmul::{Gemm, MatMul};
use crate::ops::pool::{self, Pool};
use crate::ops::quantize::{Between, IntegerConv, IntegerProduct, Kind, is_of_planes};
use crate::ops::reshape::Reshape;
use crate::ops::resize::Resize;
use crate::ops::transpose::Transpose;
use crate::ops::window::{Axis, Window};
use crate::tensor::{ElementType, Tensor};

pub(super) fn apply(graph: &mut Graph) -> bool {
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let Some(result) = edit.node(index).and_then(|node| quantized(&edit, node)) else { continue };
        let Some(x) = edit.node(index).and_then(|node| node.inputs[0]) else { continue };
        let Some((operator, inputs)) = folded(&mut edit, x, &result) else { continue };
        edit.replace(index, operator, inputs);
        edit.sweep(x);
    }
    for index in edit.nodes() {
        let Some((operator, inputs)) = product(&mut edit, index, None, None) else { continue };
        edit.replace(index, operator, inputs);
    }
    edit.finish()
}

type Folded = (Arc<dyn Operator>, Vec<Option<ValueId>>);

/// The operator on integers that gives what a value becomes when it is quantized, and its inputs.
fn folded(edit: &mut Edit<'_>, value: ValueId, result: &Integers) -> Option<Folded> {
    let (index, node) = edit.producer_for(value, 1)?;
    // An activation by itself is a function of an element; after something else it bounds what that gives.
    let bounds = activation(edit.graph(), node).and_then(|activation| bounds(activation, result));
    if let Some(bounds) = bounds
        && let Some((before, _)) = node.inputs.first().copied().flatten().and_then(|x| edit.producer_for(x, 1))
        && let Some(found) = operation(edit, before, result, Some(bounds))
    {
        return Some(found);
    }
    operation(edit, index, result, None)
}

/// An operator on integers in the place of a node.
fn operation(edit: &mut Edit<'_>, index: usize, result: &Integers, bounds: Option<[i32; 2]>) -> Option<Folded> {
    let found = product(edit, index, Some(result), bounds);
    let found = found.or_else(|| moved(edit, index, result, bounds));
    let found = found.or_else(|| averaged(edit, index, result, bounds));
    found.or_else(|| between(edit, index, result, bounds))
}

/// The integers between which an activation leaves results, if it only bounds them.
fn bounds(activation: Activation, result: &Integers) -> Option<[i32; 2]> {
    let (low, high) = match activation {
        Activation::Relu => (0.0, f32::INFINITY),
        Activation::Clip(low, high) if low <= high => (low, high),
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, reason = "bounded before")]
    let integer = |v: f32| {
        let q = f64::from((v / result.scales[0]).round_ties_even()) + result.zeros[0] as f64;
        q.clamp(-1024.0, 1024.0) as i32
    };
    (result.scales[0] > 0.0).then(|| [integer(low), integer(high)])
}

/// A convolution or a product of integers, quantized or, without a result to be, as floats.
fn product(edit: &mut Edit<'_>, index: usize, result: Option<&Integers>, bounds: Option<[i32; 2]>) -> Option<Folded> {
    let node = edit.node(index)?;
    let operator = node.operator.clone();
    let (conv, gemm) = (operator.downcast::<Conv>(), operator.downcast::<Gemm>());
    if conv.is_none() && gemm.is_none() && operator.downcast::<MatMul>().is_none_or(|p| *p != MatMul::default()) {
        return None;
    }
    let bias = node.inputs.get(2).copied().flatten();
    let (x, w) = (node.inputs.first().copied()??, node.inputs.get(1).copied()??);
    let (x, w) = (dequantized(edit, x)?, dequantized(edit, w)?);
    let shape = |id: ValueId| edit.graph().fact(id).and_then(Fact::concrete);
    let (x_shape, w_shape) = (shape(x.value)?, shape(w.value)?);
    edit.graph().constant(w.value)?;
    let none = if w.element_type == ElementType::U8 { 128 } else { 0 };
    if !x.is_whole() || !w.is_eight() || w.zeros.iter().any(|&zero| zero != none) {
        return None;
    }
    let (outputs, axis) = match (conv, gemm) {
        (Some(conv), _) => (taken(conv, &x_shape, &w_shape)?, 0),
        (_, Some(gemm)) => {
            let plain = Gemm { alpha: gemm.alpha, transpose_b: gemm.transpose_b, ..Gemm::default() };
            let axis = if gemm.transpose_b { 0 } else { 1 };
            (multiplied(&x_shape, &w_shape, gemm.transpose_b).filter(|_| *gemm == plain)?, axis)
        }
        _ => (multiplied(&x_shape, &w_shape, false)?, 1),
    };
    if w.axis.is_some_and(|own| own != axis) {
        return None;
    }
    let alpha = gemm.map_or(1.0, |gemm| gemm.alpha);
    let bias = match bias {
        Some(bias) => Some(added(edit, bias, outputs, (&x, &w, alpha))?),
        None => None,
    };
    let mut inputs = vec![Some(x.value), Some(x.scale), x.zero(edit), Some(w.value), Some(w.scale), w.zero(edit)];
    let ends = match result {
        Some(result) => [Some(result.scale), result.zero(edit)],
        None => [None, None],
    };
    if let Some(conv) = conv {
        inputs.extend(ends.into_iter().chain([bias]));
        return Some((Arc::new(IntegerConv::folded(conv.clone(), result.is_none(), bounds)), inputs));
    }
    inputs.extend([bias].into_iter().chain(ends));
    let transpose = gemm.map(|gemm| (false, gemm.transpose_b));
    Some((Arc::new(IntegerProduct::folded(transpose, alpha, bounds)), inputs))
}

/// The output channels of a convolution that kernels over packed words take.
fn taken(conv: &Conv, x: &[usize], w: &[usize]) -> Option<usize> {
    let plain = Conv { window: conv.window.clone(), groups: conv.groups, ..Conv::default() };
    let (groups, outputs) = (conv.groups(), *w.first()?);
    let (group_inputs, group_outputs) = (*w.get(1)?, outputs / groups);
    let whole = group_inputs.is_multiple_of(4) && group_outputs.is_multiple_of(4);
    let suits = groups == 1 || whole || (group_inputs == 1 && group_outputs == 1);
    (*conv == plain && suits && x.len() <= 4 && !x.contains(&0) && !w.contains(&0)).then_some(outputs)
}

/// The columns of a product that kernels over packed words take.
fn multiplied(a: &[usize], b: &[usize], transposed: bool) -> Option<usize> {
    let &[first, second] = b else { return None };
    let (k, n) = if transposed { (second, first) } else { (first, second) };
    let (&last, rows) = a.split_last()?;
    let whole = rows.iter().product::<usize>() == 1 || (k.is_multiple_of(4) && n.is_multiple_of(4));
    (last == k && whole && a.len() > 1 && !a.contains(&0) && !b.contains(&0)).then_some(n)
}

/// A bias: the integers that it was, where their scale is that of the sums, else floats.
fn added(
    edit: &mut Edit<'_>,
    bias: ValueId,
    outputs: usize,
    (x, w, alpha): (&Integers, &Integers, f32),
) -> Option<ValueId> {
    let one_each = |shape: Vec<usize>| shape == [outputs];
    if !one_each(edit.graph().fact(bias)?.concrete()?) {
        return None;
    }
    let Some(integers) = dequantized(edit, bias) else {
        let constant = edit.graph().constant(bias)?;
        return (constant.element_type() == ElementType::F32).then_some(bias);
    };
    let at = |all: &[f32], o: usize| if all.len() == 1 { all[0] } else { all[o] };
    // The scales may have been rounded on their way into the file.
    let near = |o: usize| {
        let (own, sums) = (at(&integers.scales, o), alpha * x.scales[0] * at(&w.scales, o));
        (own - sums).abs() <= 2.5e-7 * sums.abs()
    };
    let plain = integers.element_type == ElementType::I32 && integers.zeros.iter().all(|&zero| zero == 0);
    if plain && integers.scales.iter().chain(&w.scales).all(|v| v.is_finite()) && (0..outputs).all(near) {
        return Some(integers.value);
    }
    let numbers = edit.graph().constant(integers.value)?.integers()?;
    let zero = |o: usize| if integers.zeros.len() == 1 { integers.zeros[0] } else { integers.zeros[o] };
    let floats = numbers.iter().enumerate().map(|(o, &n)| (n - zero(o)) as f32 * at(&integers.scales, o));
    let floats = Tensor::vector(floats.collect::<Vec<_>>());
    Some(edit.constant("bias", floats))
}

/// Where the integers are that stand for a value with a result's scale and zero point.
enum Rescaled {
    /// They are what it was dequantized from.
    There(ValueId),
    /// The node that dequantizes these, for nobody else, is to make them.
    By(usize, Integers),
}

impl Rescaled {
    fn of(edit: &Edit<'_>, value: ValueId, result: &Integers, bounds: Option<[i32; 2]>) -> Option<Self> {
        let x = dequantized(edit, value).filter(Integers::is_whole)?;
        if bounds.is_none() && x.is_like(result) {
            return Some(Self::There(x.value));
        }
        let (index, _) = edit.producer_for(value, 1)?;
        Some(Self::By(index, x))
    }

    /// The integers, in the graph from now on.
    fn place(self, edit: &mut Edit<'_>, result: &Integers, bounds: Option<[i32; 2]>) -> Option<ValueId> {
        let (index, x) = match self {
            Self::There(value) => return Some(value),
            Self::By(index, x) => (index, x),
        };
        let floats = edit.node(index)?.outputs.first().copied()??;
        let graph = edit.graph();
        let (name, shape) = (format!("{}/rescaled", graph.value(floats).name), graph.fact(floats)?.shape.clone());
        let inputs = vec![Some(x.value), Some(x.scale), x.zero(edit), Some(result.scale), result.zero(edit)];
        let integers = edit.value(&name);
        edit.replace(index, Arc::new(Between::rescaling(bounds)), inputs);
        edit.redirect(index, floats, integers);
        edit.set_fact(integers, Fact::new(result.element_type, shape));
        Some(integers)
    }
}

/// The facts of a node's inputs.
fn facts<'a>(edit: &'a Edit<'_>, inputs: &[Option<ValueId>]) -> Vec<Option<&'a Fact>> {
    inputs.iter().map(|input| input.and_then(|id| edit.graph().fact(id))).collect()
}

/// What only moves elements, or chooses among them: after an activation, and a change of scale, by a table.
fn moved(edit: &mut Edit<'_>, index: usize, result: &Integers, bounds: Option<[i32; 2]>) -> Option<Folded> {
    let node = edit.node(index)?;
    let (operator, mut inputs) = (node.operator.clone(), node.inputs.clone());
    let largest = |pool: &Pool| pool.kind == pool::Kind::Max && !pool.indices;
    let moves = operator.downcast::<Reshape>().is_some()
        || operator.downcast::<Transpose>().is_some()
        || operator.downcast::<Pool>().is_some_and(largest)
        || operator.downcast::<Resize>().is_some_and(|resize| resize.is_nearest(&facts(edit, &inputs)))
        || matches!(operator.name(), "Flatten" | "Squeeze" | "Unsqueeze" | "Slice" | "DepthToSpace" | "SpaceToDepth");
    let tensors = if operator.downcast::<Concat>().is_some() { inputs.len() } else { usize::from(moves) };
    let all = inputs.iter().take(tensors).map(|&input| Rescaled::of(edit, input?, result, bounds));
    let all: Vec<_> = all.collect::<Option<_>>().filter(|all: &Vec<_>| !all.is_empty())?;
    for (input, rescaled) in inputs.iter_mut().zip(all) {
        *input = Some(rescaled.place(edit, result, bounds)?);
    }
    Some((operator, inputs))
}

/// A mean over windows of as many elements each, as a convolution of each channel with ones.
fn averaged(edit: &mut Edit<'_>, index: usize, result: &Integers, bounds: Option<[i32; 2]>) -> Option<Folded> {
    let node = edit.node(index)?;
    let pool = node.operator.downcast::<Pool>()?;
    let (pool::Kind::Average { include_pad }, Some(window)) = (pool.kind, pool.window.clone()) else { return None };
    let x = dequantized(edit, node.inputs.first().copied()??).filter(Integers::is_whole)?;
    let shape = edit.graph().fact(x.value)?.concrete()?;
    let axes = window.axes(shape.get(2..)?, &window.kernel).ok()?;
    // What lies beyond the padding never counts.
    let counts = |axis: &Axis| !axis.is_padded() || (include_pad && !window.ceil);
    let count: usize = window.kernel.iter().product();
    if !axes.iter().all(counts) || count > 1 << 15 {
        return None;
    }
    let kernel = [&[shape[1], 1], &window.kernel[..]].concat();
    let conv = Conv { groups: shape[1], window: Window { ceil: false, ..window }, ..Conv::default() };
    taken(&conv, &shape, &kernel)?;
    let ones = edit.constant("ones", Tensor::new(&kernel[..], vec![1i8; shape[1] * count]).ok()?);
    let scale = edit.constant("scale", Tensor::scalar(1.0 / count as f32));
    let zero = edit.constant("zero_point", Tensor::scalar(0i8));
    let inputs = [Some(x.value), Some(x.scale), x.zero(edit), Some(ones), Some(scale), Some(zero)];
    let inputs = inputs.into_iter().chain([Some(result.scale), result.zero(edit), None]);
    Some((Arc::new(IntegerConv::folded(conv, false, bounds)), inputs.collect()))
}

/// Sums, products, means, other sizes and functions of an element.
fn between(edit: &mut Edit<'_>, index: usize, result: &Integers, bounds: Option<[i32; 2]>) -> Option<Folded> {
    let node = edit.node(index)?;
    let operator = Between::of(&node.operator, bounds)?;
    let (given, more) = node.inputs.split_at_checked(operator.tensors())?;
    let resize = node.operator.downcast::<Resize>();
    let takes = resize.map_or(more.is_empty(), |resize| resize.takes_integers(&facts(edit, &node.inputs)));
    if !takes {
        return None;
    }
    let more = more.to_vec();
    let mut tensors: Vec<_> = given.iter().map(|&id| dequantized(edit, id?)).collect::<Option<_>>()?;
    let shape = |x: &Integers| edit.graph().fact(x.value).and_then(Fact::concrete);
    let of_planes = |x: &Integers, of: &Integers| shape(x).zip(shape(of)).is_some_and(|(x, of)| is_of_planes(&x, &of));
    // What has one element for each plane comes second.
    if let [a, b] = &mut tensors[..]
        && of_planes(a, b)
    {
        std::mem::swap(a, b);
    }
    let first = shape(&tensors[0])?;
    let fits = |x: &Integers| x.is_whole() && (shape(x).as_ref() == Some(&first) || of_planes(x, &tensors[0]));
    let fits = tensors.iter().all(fits);
    // No mean is of more than these.
    let small = operator.kind() != Kind::Mean || first.iter().skip(2).product::<usize>() <= 1 << 15;
    if !fits || !small || first.contains(&0) {
        return None;
    }
    let mut inputs = vec![];
    for x in &tensors {
        inputs.extend([Some(x.value), Some(x.scale), x.zero(edit)]);
    }
    inputs.extend([Some(result.scale), result.zero(edit)]);
    inputs.extend(more);
    Some((Arc::new(operator), inputs))
}

#[cfg(test)]
mod tests;
