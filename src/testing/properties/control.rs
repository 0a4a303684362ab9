//! Branches and loops that are known before the run: their bodies' nodes, written out.

use super::draw::*;
use super::{Case, Entry, entry};
use crate::GraphBuilder;
use crate::graph::{Body, Definition, Graph, ValueId};
use crate::tensor::{ElementType, Tensor, Truth};
use crate::testing::Tolerance;

/// Sums and products of up to seven times round, of numbers that stay small.
const STEPS: Tolerance = Tolerance::relative(2e-5);

fn body(captured: usize, build: impl FnOnce(&mut GraphBuilder)) -> Body {
    let mut graph = Graph::builder();
    build(&mut graph);
    Body::new(graph.build().unwrap(), captured)
}

fn apply(graph: &mut GraphBuilder, name: &str, inputs: &[ValueId]) -> ValueId {
    graph.node(&Definition::new(name), inputs).unwrap()
}

/// One of a few functions of two numbers, for all of a tensor.
fn function(d: &mut Draw) -> &'static str {
    d.pick(&["Add", "Sub", "Max", "Min"])
}

/// One of two functions of what lies around the branches.
fn branch(d: &mut Draw) -> Case {
    let (shape, other) = d.pair();
    let (element_type, condition) = (d.element_type, d.flip());
    let mut either = || {
        let name = function(d);
        body(2, |g| {
            let [a, b] = [("a", &shape), ("b", &other)].map(|(name, shape)| g.input(name, element_type, shape.clone()));
            let y = apply(g, name, &[a, b]);
            g.output("y", y);
        })
    };
    let (then, otherwise) = (either(), either());
    let case = d.case().attribute("then_branch", then).attribute("else_branch", otherwise);
    let case = case.constant(Tensor::scalar(Truth::from(condition)));
    case.captured(d.whole(&shape, -9, 9)).captured(d.whole(&other, -9, 9))
}

/// Carries a tensor, changed by one around it in each time round, and collects what it was. What goes round no time at all
/// is left to the host.
fn repeat(d: &mut Draw) -> Case {
    let shape = d.shape(0..=3);
    let around = d.broadcast(&shape);
    let (element_type, times) = (d.element_type, d.integer(1..=7));
    let name = function(d);
    let body = body(1, |g| {
        g.input("i", I64, [0usize; 0]);
        let goes_on = g.input("goes_on", Bool, [0usize; 0]);
        let v = g.input("v", element_type, shape.clone());
        let w = g.input("w", element_type, around.clone());
        let next = apply(g, name, &[v, w]);
        let on = apply(g, "Identity", &[goes_on]);
        g.output("on", on);
        g.output("next", next);
        let copy = apply(g, "Identity", &[v]);
        g.output("copy", copy);
    });
    let case = d.case().attribute("body", body).outputs(2).constant(Tensor::scalar(times));
    let case = if d.flip() { case.missing() } else { case.constant(Tensor::scalar(Truth::from(true))) };
    case.run(d.whole(&shape, -9, 9)).captured(d.whole(&around, -3, 3)).within(STEPS)
}

/// A running sum along an axis of a tensor, from either end, collected along another.
fn scan(d: &mut Draw) -> Case {
    let step = d.shape(0..=2);
    let (element_type, count) = (d.element_type, d.up_to(7));
    let (at, to) = (d.below(step.len() + 1), d.below(step.len() + 1));
    let name = function(d);
    let body = body(0, |g| {
        let state = g.input("state", element_type, step.clone());
        let element = g.input("element", element_type, step.clone());
        let sum = apply(g, name, &[state, element]);
        g.output("sum", sum);
        let copy = apply(g, "Identity", &[sum]);
        g.output("copy", copy);
    });
    let mut shape = step.clone();
    shape.insert(at, count);
    let case = d.case().attribute("body", body).attribute("num_scan_inputs", 1).outputs(2);
    let case = case.attribute("scan_input_axes", vec![at as i64]).attribute("scan_output_axes", vec![to as i64]);
    let case =
        case.attribute("scan_input_directions", vec![d.flag()]).attribute("scan_output_directions", vec![d.flag()]);
    case.run(d.whole(&step, -9, 9)).run(d.whole(&shape, -9, 9)).within(STEPS)
}

pub fn entries() -> Vec<Entry> {
    const COMPUTED: &[ElementType] = &[F32, F16, I64, I32];
    vec![entry("If", COMPUTED, branch), entry("Loop", COMPUTED, repeat), entry("Scan", COMPUTED, scan)]
}
