//! Sums of integers that are made floats, multiplied by the scales of both factors and perhaps added to a bias, as dynamic
//! quantization has it: the MatMulInteger or ConvInteger gives the floats itself.
//!
//! `y = Cast(sums) · (x_scale · w_scale) + bias`, where x_scale is one number that the run gives, w_scale and bias are known and
//! one for all or one for each output. It rounds as the written nodes do.

use std::sync::Arc;

use super::edit::Edit;
use super::operands::operands;
use crate::graph::{Fact, Graph, Node, Operator, ValueId};
use crate::ops::quantize::{IntegerConv, IntegerProduct};
use crate::tensor::ElementType;

pub(super) fn apply(graph: &mut Graph) -> bool {
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let Some(node) = edit.node(index) else { continue };
        let Some(mut found) = scaled(&edit, node).or_else(|| biased(&edit, node)) else { continue };
        let row = found.inputs[found.row];
        if let Some((name, tensor)) = row.and_then(|row| flat(edit.graph(), row)) {
            found.inputs[found.row] = Some(edit.constant(&name, tensor));
        }
        edit.fuse(found.first, index, found.operator, found.inputs);
        if let Some([cast, scales]) = found.between {
            edit.sweep(cast);
            edit.sweep(scales);
        }
    }
    edit.finish()
}

struct Found {
    /// The node that sums up.
    first: usize,
    operator: Arc<dyn Operator>,
    inputs: Vec<Option<ValueId>>,
    /// The input that is one number for each output.
    row: usize,
    /// The floats of the sums, and the product of the scales.
    between: Option<[ValueId; 2]>,
}

/// A constant of one axis in the place of one of several.
fn flat(graph: &Graph, row: ValueId) -> Option<(String, crate::tensor::Tensor)> {
    let tensor = graph.constant(row)?;
    let flat = tensor.reshaped([tensor.len()]).ok().filter(|_| tensor.rank() > 1)?;
    Some((format!("{}/row", graph.value(row).name), flat))
}

/// A node whose results can be multiplied and added to.
enum Summing<'a> {
    Product(&'a IntegerProduct),
    Conv(&'a IntegerConv),
}

impl<'a> Summing<'a> {
    fn of(node: &'a Node) -> Option<Self> {
        let product = node.operator.downcast().map(Self::Product);
        product.or_else(|| node.operator.downcast().map(Self::Conv))
    }

    /// The axis of the outputs, from the last one on.
    fn axis(&self, graph: &Graph, node: &Node) -> Option<usize> {
        let y = graph.fact(node.outputs.first().copied()??)?;
        match self {
            Self::Conv(_) => y.rank().checked_sub(2),
            // A vector on the right has no columns.
            Self::Product(product) => {
                let b = graph.fact(node.inputs.get(product.right()).copied()??)?;
                (b.rank() > 1).then_some(0)
            }
        }
    }
}

/// Whether a constant has one number for each element along this axis of `y`, counted from the last, and leaves its shape as it is.
fn lies_along(constant: &Fact, y: &Fact, axis: usize) -> bool {
    let (Some(own), Some(y)) = (constant.constant.as_ref().and(constant.concrete()), y.concrete()) else {
        return false;
    };
    let one_each = own.iter().rev().zip(y.iter().rev()).enumerate();
    let mut one_each = one_each.map(|(i, (&own, &y))| own == if i == axis { y } else { 1 });
    constant.element_type == ElementType::F32 && own.len() <= y.len() && own.len() > axis && one_each.all(|fits| fits)
}

fn one(fact: &Fact) -> bool {
    fact.element_type == ElementType::F32 && fact.concrete().is_some_and(|shape| shape.iter().all(|&n| n == 1))
}

/// Sums that are made floats and multiplied by their scales.
fn scaled(edit: &Edit<'_>, node: &Node) -> Option<Found> {
    let (graph, (a, b)) = (edit.graph(), operands(node, "Mul")?);
    let y = graph.fact(node.outputs.first().copied()??)?;
    [[a, b], [b, a]].into_iter().find_map(|[floats, scales]| {
        let (_, cast) = edit.producer_for(floats, 1)?;
        let sums = cast.inputs.first().copied().flatten().filter(|_| cast.operator.name() == "Cast")?;
        let (first, summing) = edit.producer_for(sums, 1)?;
        let axis = Summing::of(summing)?.axis(graph, summing)?;
        let (whole, float) = (graph.fact(sums)?, graph.fact(floats)?);
        let types = [whole.element_type, float.element_type] == [ElementType::I32, ElementType::F32];
        if !types || whole.shape != y.shape || y.concrete().is_none_or(|shape| shape.contains(&0)) {
            return None;
        }
        let (p, q) = operands(edit.producer(scales)?.1, "Mul")?;
        let fits = |[x, w]: [ValueId; 2]| {
            let (x, w) = (graph.fact(x)?, graph.fact(w)?);
            let known = lies_along(w, y, axis) || (one(w) && w.constant.is_some());
            (one(x) && known).then_some(())
        };
        let [x_scale, w_scale] = [[p, q], [q, p]].into_iter().find(|&pair| fits(pair).is_some())?;
        let given = |index: usize| summing.inputs.get(index).copied().flatten();
        let inputs = vec![given(0), Some(x_scale), given(2), given(1), Some(w_scale), given(3)];
        let operator: Arc<dyn Operator> = match Summing::of(summing)? {
            Summing::Product(product) => Arc::new(product.scaled()?),
            Summing::Conv(conv) => Arc::new(conv.scaled()?),
        };
        Some(Found { first, operator, inputs, row: 4, between: Some([floats, scales]) })
    })
}

/// Floats of sums that a bias is added to.
fn biased(edit: &Edit<'_>, node: &Node) -> Option<Found> {
    let (graph, (a, b)) = (edit.graph(), operands(node, "Add")?);
    let y = graph.fact(node.outputs.first().copied()??)?;
    [[a, b], [b, a]].into_iter().find_map(|[floats, bias]| {
        let (first, summing) = edit.producer_for(floats, 1)?;
        let of = Summing::of(summing)?;
        let axis = of.axis(graph, summing)?;
        let place = match of {
            Summing::Product(product) => product.bias_of_floats()?,
            Summing::Conv(conv) => conv.bias_of_floats()?,
        };
        let float = graph.fact(floats)?;
        let same = float.element_type == ElementType::F32 && float.shape == y.shape;
        let mut inputs = summing.inputs.clone();
        inputs.resize(inputs.len().max(place + 1), None);
        let free = inputs[place].replace(bias).is_none();
        (free && same && lies_along(graph.fact(bias)?, y, axis)).then(|| Found {
            first,
            operator: summing.operator.clone(),
            inputs,
            row: place,
            between: None,
        })
    })
}

#[cfg(test)]
mod tests {
    use crate::graph::{Definition, ValueId};
    use crate::optimize::testing::*;
    use crate::tensor::Tensor;

    /// What dynamic quantization makes of a layer, as far as the sums as floats, and the product of the scales.
    fn layer(graph: &mut TestGraph, operator: &Definition, x: ValueId, w: Tensor, scale: &[usize]) -> [ValueId; 2] {
        let quantize = Definition { outputs: 3, ..Definition::new("DynamicQuantizeLinear") };
        let [q, x_scale, zero] = graph.define_all(&quantize, &[x])[..] else { panic!("three outputs") };
        let (w, w_zero) = (graph.tensor("w", w), graph.tensor("w_zero", Tensor::scalar(128u8)));
        let sums = graph.define(operator, &[q, w, zero, w_zero]);
        let floats = graph.define(&Definition::new("Cast").attribute("to", 1i64), &[sums]);
        let numbers = [0.5, 0.25, 0.125, 0.0625];
        let w_scale = graph.constant("w_scale", scale, &numbers[..scale.iter().product()]);
        [floats, graph.node("Mul", &[x_scale, w_scale])]
    }

    /// The integers, the scale and the zero point.
    const QUANTIZED: &str = "DynamicQuantizeLinear_0, DynamicQuantizeLinear_0_1, DynamicQuantizeLinear_0_2";

    /// The line that gives them.
    fn quantized(shape: &str) -> String {
        format!(
            "DynamicQuantizeLinear_0: u8[{shape}], DynamicQuantizeLinear_0_1: f32[], DynamicQuantizeLinear_0_2: u8[] = \
             DynamicQuantizeLinear(x)\n"
        )
    }

    fn bytes(shape: &[usize]) -> Tensor {
        Tensor::new(shape, (0..shape.iter().product::<usize>()).map(|i| (i * 37 % 251) as u8).collect()).unwrap()
    }

    #[test]
    fn scales_and_a_bias_join_the_product() {
        for turned in [false, true] {
            let mut graph = TestGraph::new();
            let x = graph.input("x", &[2, 3, 5]);
            let [floats, scales] = layer(&mut graph, &Definition::new("MatMulInteger"), x, bytes(&[5, 4]), &[4]);
            let scaled = graph.node("Mul", &if turned { [scales, floats] } else { [floats, scales] });
            let bias = graph.constant("bias", &[1, 4], &[1.0, -2.0, 3.0, -4.0]);
            let y = graph.node("Add", &if turned { [bias, scaled] } else { [scaled, bias] });
            graph.output("y", y);
            graph.check(
                &["fuse_scales"],
                &format!(
                    "input x: f32[2, 3, 5]\n{}y: f32[2, 3, 4] = QLinearMatMul({QUANTIZED}, w: u8[5, 4], [0.5, 0.25, 0.125, 0.0625], \
                     w_zero: u8[], [1.0, -2.0, 3.0, -4.0])\noutput y: f32[2, 3, 4]\n",
                    quantized("2, 3, 5"),
                ),
            );
        }
    }

    #[test]
    fn scales_and_a_bias_join_the_convolution() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[1, 3, 5, 5]);
        let conv = Definition::new("ConvInteger").attribute("pads", vec![1i64; 4]);
        let [floats, scales] = layer(&mut graph, &conv, x, bytes(&[4, 3, 3, 3]), &[1, 4, 1, 1]);
        let scaled = graph.node("Mul", &[floats, scales]);
        let bias = graph.constant("bias", &[1, 4, 1, 1], &[1.0, -2.0, 3.0, -4.0]);
        let y = graph.node("Add", &[scaled, bias]);
        graph.output("y", y);
        graph.check(
            &["fuse_scales"],
            &format!(
                "input x: f32[1, 3, 5, 5]\n{}y: f32[1, 4, 5, 5] = ConvInteger({QUANTIZED}, w: u8[4, 3, 3, 3], \
                 [0.5, 0.25, 0.125, 0.0625], w_zero: u8[], _, _, [1.0, -2.0, 3.0, -4.0])\noutput y: f32[1, 4, 5, 5]\n",
                quantized("1, 3, 5, 5"),
            ),
        );
    }

    #[test]
    fn what_is_needed_elsewhere_or_does_not_fit_stays() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[3, 5]);
        let product = Definition::new("MatMulInteger");
        // Floats that somebody else reads, scales of rows, scales that enlarge the sums.
        let [floats, scales] = layer(&mut graph, &product, x, bytes(&[5, 3]), &[1]);
        let y = graph.node("Mul", &[floats, scales]);
        let other = graph.node("Neg", &[floats]);
        graph.output("y", y);
        graph.output("other", other);
        for (name, shape) in [("rows", &[3, 1][..]), ("more", &[1, 1, 3])] {
            let [floats, scales] = layer(&mut graph, &product, x, bytes(&[5, 3]), shape);
            let y = graph.node("Mul", &[floats, scales]);
            graph.output(name, y);
        }
        let text = graph.rewritten(&[]).to_string();
        graph.check(&["fuse_scales"], &text);
    }
}
