//! A constant Pad of spatial axes that only a convolution or a pool reads becomes that one's own padding, where its padding
//! means the same: zeros before a convolution, an LpPool or a mean that counts its padding; minus infinity before a maximum.

use std::sync::Arc;

use super::edit::Edit;
use crate::graph::{Graph, Node, Operator};
use crate::ops::conv::Conv;
use crate::ops::pad::{Mode, Pad};
use crate::ops::pool::{Kind, Pool};
use crate::ops::window::{AutoPad, Window};

/// No axis is padded by more.
const LIMIT: usize = 1 << 20;

pub(super) fn apply(graph: &mut Graph) -> bool {
    let mut edit = Edit::of(graph);
    for index in edit.nodes() {
        let Some(node) = edit.node(index) else { continue };
        let Some(Some(x)) = node.inputs.first().copied() else { continue };
        let Some((pad, producer)) = edit.producer_for(x, 1) else { continue };
        let Some((amounts, fill)) = padding(edit.graph(), producer) else { continue };
        let Some(operator) = padded(node.operator.as_ref(), &amounts, fill) else { continue };
        let mut inputs = node.inputs.clone();
        inputs[0] = producer.inputs.first().copied().flatten();
        edit.replace(index, operator, inputs);
        edit.remove(pad);
    }
    edit.finish()
}

/// What a Pad puts before and after each spatial axis, and of which number; `None` if it does anything else.
fn padding(graph: &Graph, node: &Node) -> Option<(Vec<(usize, usize)>, f32)> {
    let pad = node.operator.downcast::<Pad>().filter(|pad| pad.mode == Mode::Constant)?;
    let facts = graph.input_facts(node)?;
    let amounts = pad.amounts(&facts).ok()??;
    let (others, spatial) = amounts.split_at_checked(2)?;
    if others.iter().any(|&pair| pair != (0, 0)) {
        return None;
    }
    let size = |n: i64| usize::try_from(n).ok().filter(|&n| n <= LIMIT);
    let spatial = spatial.iter().map(|&(before, after)| size(before).zip(size(after))).collect::<Option<_>>()?;
    Some((spatial, pad.fill(&facts)?))
}

/// The operator with this padding put before its own.
fn padded(operator: &dyn Operator, amounts: &[(usize, usize)], fill: f32) -> Option<Arc<dyn Operator>> {
    if let Some(conv) = operator.downcast::<Conv>() {
        let window = widened(&conv.window, amounts)?;
        return (fill == 0.0).then(|| Arc::new(Conv { window, ..conv.clone() }) as _);
    }
    let pool = operator.downcast::<Pool>().filter(|pool| !pool.indices)?;
    let own = pool.window.as_ref()?;
    let window = widened(own, amounts)?;
    let kind = match pool.kind {
        Kind::Max if fill == f32::NEG_INFINITY => Kind::Max,
        Kind::Lp(p) if fill == 0.0 => Kind::Lp(p),
        // The zeros of the Pad counted in the mean: they still must, and nothing else may begin to.
        Kind::Average { include_pad } if fill == 0.0 && (include_pad || own.pads.iter().all(|&pad| pad == 0)) => {
            Kind::Average { include_pad: true }
        }
        _ => return None,
    };
    // The standard allows a pool no window that lies in the padding alone.
    let inside = window.pads.iter().enumerate().all(|(i, &pad)| pad < window.kernel[i % window.kernel.len()]);
    inside.then(|| Arc::new(Pool { kind, window: Some(window), ..pool.clone() }) as _)
}

fn widened(window: &Window, amounts: &[(usize, usize)]) -> Option<Window> {
    if !matches!(window.auto_pad, AutoPad::NotSet | AutoPad::Valid) || window.check_rank(amounts.len()).is_err() {
        return None;
    }
    let own = |axis| window.padding(axis);
    let before = amounts.iter().enumerate().map(|(axis, pair)| pair.0 + own(axis).0);
    let after = amounts.iter().enumerate().map(|(axis, pair)| pair.1 + own(axis).1);
    Some(Window { auto_pad: AutoPad::NotSet, pads: before.chain(after).collect(), ..window.clone() })
}

#[cfg(test)]
mod tests {
    use crate::graph::{Definition, ValueId};
    use crate::optimize::testing::*;

    const APPLIED: [&str; 2] = ["fuse_padding", "drop_dead"];

    fn pad(graph: &mut TestGraph, x: ValueId, amounts: &[i64], fill: f32) -> ValueId {
        let amounts = graph.integers("amounts", amounts);
        let fill = graph.constant("fill", &[], &[fill]);
        graph.node("Pad", &[x, amounts, fill])
    }

    fn applies(amounts: &[i64], fill: f32, reader: &Definition) -> bool {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[1, 2, 5, 5]);
        let padded = pad(&mut graph, x, amounts, fill);
        let w = graph.random("w", &[3, 2, 3, 3]);
        let inputs = [padded, w];
        let y = graph.define(reader, if reader.op_type == "Conv" { &inputs } else { &inputs[..1] });
        graph.output("y", y);
        let rewritten = graph.rewritten(&APPLIED);
        graph.check(&APPLIED, &rewritten.to_string());
        rewritten.nodes.len() == 1
    }

    #[test]
    fn padding_that_means_the_same_is_fused() {
        let conv = Definition::new("Conv").attribute("pads", [0, 1, 2, 0]).attribute("strides", [2, 1]);
        assert!(applies(&[0, 0, 1, 2, 0, 0, 3, 4], 0.0, &conv));
        assert!(applies(&[0, 0, 1, 1, 0, 0, 1, 1], 0.0, &Definition::new("Conv").attribute("auto_pad", "VALID")));
        let pool = |name: &str| Definition::new(name).attribute("kernel_shape", [3, 3]);
        let amounts = [0, 0, 1, 2, 0, 0, 2, 1];
        assert!(applies(&amounts, f32::NEG_INFINITY, &pool("MaxPool")));
        assert!(applies(&amounts, 0.0, &pool("LpPool")));
        assert!(applies(&amounts, 0.0, &pool("AveragePool")));
        let counting = pool("AveragePool").attribute("count_include_pad", 1).attribute("pads", [1, 0, 0, 0]);
        assert!(applies(&amounts, 0.0, &counting));
        assert!(applies(&amounts, 0.0, &counting.attribute("strides", [2, 2]).attribute("ceil_mode", 1)));
    }

    #[test]
    fn other_padding_stays() {
        let conv = Definition::new("Conv");
        let pool = |name: &str| Definition::new(name).attribute("kernel_shape", [3, 3]);
        let amounts = [0, 0, 1, 1, 0, 0, 1, 1];
        assert!(!applies(&amounts, 1.0, &conv));
        assert!(!applies(&[0, 0, -1, 1, 0, 0, 1, 1], 0.0, &conv));
        assert!(!applies(&[0, 1, 1, 1, 0, -1, 1, 1], 0.0, &conv));
        assert!(!applies(&amounts, 0.0, &Definition::new("Conv").attribute("auto_pad", "SAME_LOWER")));
        assert!(!applies(&amounts, 0.0, &pool("MaxPool")));
        // Two of its own that do not count, one of the Pad that does.
        assert!(!applies(&amounts, 0.0, &pool("AveragePool").attribute("pads", [1, 1, 1, 1])));
        assert!(!applies(&[0, 0, 3, 0, 0, 0, 0, 0], 0.0, &pool("AveragePool")));
    }

    #[test]
    fn the_padded_convolution_is_one_node() {
        let mut graph = TestGraph::new();
        let x = graph.input("x", &[1, 2, 5, 5]);
        let padded = pad(&mut graph, x, &[0, 0, 1, 1, 0, 0, 1, 1], 0.0);
        let w = graph.random("w", &[3, 2, 3, 3]);
        let y = graph.node("Conv", &[padded, w]);
        graph.output("y", y);
        graph.check(
            &APPLIED,
            "input x: f32[1, 2, 5, 5]\n\
             y: f32[1, 3, 5, 5] = Conv(x, w: f32[3, 2, 3, 3])\n\
             output y: f32[1, 3, 5, 5]\n",
        );
    }
}
