//! Branches and loops.

use rimlight::graph::{Body, Definition};
use rimlight::tensor::Truth;
use rimlight::{ElementType, Graph, GraphBuilder, Tensor};

use super::Grid;
use super::draw::Draw;

pub fn control(d: &mut Draw<'_, '_>) -> Option<()> {
    if d.flip() { branch(d) } else { repeated(d) }
}

/// A graph of one node of one captured value.
fn one(shape: &[usize], name: &str) -> Option<Body> {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, shape.to_vec());
    let y = graph.node(&Definition::new(name), &[x]).ok()?;
    graph.output("y", y);
    Some(Body::new(graph.build().ok()?, 1))
}

fn branch(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(&[2, 3, 1, 4]);
    let shape = d.shape_of(x);
    let condition = d.below(2) == 0;
    let condition = Tensor::scalar(Truth::from(condition));
    let condition = match d.below(3) {
        0 => d.parameter(condition),
        _ => d.given(condition, Grid::SMALL),
    };
    let definition = Definition::new("If")
        .attribute("then_branch", one(&shape, "Relu")?)
        .attribute("else_branch", one(&shape, "Neg")?);
    d.node(definition, &[condition, x], d.grid(x))?;
    Some(())
}

/// A value that is added to itself, or has something added, some times; each time's value is collected.
fn repeated(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(&[1, 2]);
    let shape = d.shape_of(x);
    let trips = d.below(4) as i64;
    let known = d.below(3) != 2;
    let count = Tensor::scalar(trips);
    let count = if known { d.parameter(count) } else { d.given(count, Grid::SMALL) };
    let going = d.parameter(Tensor::scalar(Truth::from(true)));
    let body = |graph: &mut GraphBuilder| {
        let _time = graph.input("time", ElementType::I64, [0usize; 0]);
        let going = graph.input("going", ElementType::Bool, [0usize; 0]);
        let v = graph.input("v", ElementType::F32, shape.clone());
        let by = graph.constant("by", Tensor::scalar(0.5f32));
        let next = graph.node(&Definition::new("Add"), &[v, by]).ok()?;
        let going = graph.node(&Definition::new("Identity"), &[going]).ok()?;
        let seen = graph.node(&Definition::new("Identity"), &[v]).ok()?;
        for (name, value) in [("goes", going), ("next", next), ("seen", seen)] {
            graph.output(name, value);
        }
        Some(())
    };
    let mut graph = Graph::builder();
    body(&mut graph)?;
    let definition = Definition::new("Loop").attribute("body", Body::new(graph.build().ok()?, 0));
    let grid = d.grid(x).map(|grid| grid.with(Grid { unit: 1, top: 1 }).higher(2));
    d.nodes(definition, &[Some(count), Some(going), Some(x)], &[grid, grid])?;
    Some(())
}
