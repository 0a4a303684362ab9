//! Rows of a table of small integers with scales are taken before floats are made of them: an embedding stays in 8 or 4 bits,
//! and only the rows that a run asks for become floats.

use std::sync::Arc;

use crate::graph::{Definition, Fact, Graph, Names, Node, ValueId};
use crate::ops::gather::Gather;
use crate::ops::quantize::Quantize;
use crate::tensor::Tensor;

/// A Gather of rows that DequantizeLinear makes of constants.
struct Found {
    integers: ValueId,
    scale: ValueId,
    zero: Option<ValueId>,
    belong: Belong,
    /// What makes floats of the rows.
    back: Quantize,
}

/// What scales and zeros belong to.
enum Belong {
    /// To all rows alike.
    All,
    /// To rows, and are taken with them.
    Rows,
    /// To rows, but are lists: here they are as columns.
    Lists { scales: Tensor, zeros: Option<Tensor> },
}

pub(super) fn apply(graph: &mut Graph) -> bool {
    let producers = graph.producers();
    let found: Vec<_> = graph
        .nodes
        .iter()
        .map(|node| {
            let data = node.inputs.first().copied().flatten()?;
            find(graph, node, graph.node(producers.get(data.0).copied().flatten()?))
        })
        .collect();
    if found.iter().all(Option::is_none) {
        return false;
    }
    let Ok(gather) = crate::ops::operator(&Definition::new("Gather")) else { return false };
    let mut names = Names::of(graph);
    let mut nodes = vec![];
    for (node, found) in std::mem::take(&mut graph.nodes).into_iter().zip(found) {
        let Some(mut found) = found else {
            nodes.push(node);
            continue;
        };
        let taken = !matches!(found.belong, Belong::All);
        if let Belong::Lists { scales, zeros } = found.belong {
            let mut constant = |name: &str, tensor| {
                graph.add_value(names.fresh(&format!("{}/{name}", node.name)), Some(Fact::constant(tensor)))
            };
            found.scale = constant("scales", scales);
            found.zero = zeros.map(|zeros| constant("zeros", zeros));
        }
        let mut take = |graph: &mut Graph, table: ValueId| {
            let rows = graph.add_value(names.fresh(&format!("{}/rows", graph.value(table).name)), None);
            let inputs = vec![Some(table), node.inputs.get(1).copied().flatten()];
            nodes.push(Node { name: node.name.clone(), operator: gather.clone(), inputs, outputs: vec![Some(rows)] });
            rows
        };
        if taken {
            found.scale = take(graph, found.scale);
            found.zero = found.zero.map(|zero| take(graph, zero));
        }
        let rows = take(graph, found.integers);
        let inputs = vec![Some(rows), Some(found.scale), found.zero];
        nodes.push(Node { operator: Arc::new(found.back), inputs, ..node });
    }
    graph.nodes = nodes;
    true
}

fn find(graph: &Graph, node: &Node, from: &Node) -> Option<Found> {
    let (gather, linear) = (node.operator.downcast::<Gather>()?, from.operator.downcast::<Quantize>()?);
    let given = |i: usize| from.inputs.get(i).copied().flatten();
    let (integers, scale, zero) = (given(0)?, given(1)?, given(2));
    let constants = [Some(graph.constant(integers)?), Some(graph.constant(scale)?), None];
    let zeros = match zero {
        Some(zero) => Some(graph.constant(zero)?),
        None => None,
    };
    let quantized = linear.numbers(&[constants[0], constants[1], zeros])?;
    let ([rows, columns], [down, across]) = {
        let numbers = quantized.quantized()?;
        (numbers.shape(), numbers.block())
    };
    let last = graph.fact(node.inputs.get(1).copied().flatten()?)?.rank();
    if gather.axis(2).ok()? != 0 || graph.constant(node.outputs.first().copied()??).is_some() {
        return None;
    }
    let scales = constants[1]?;
    if zeros.is_some_and(|zeros| zeros.shape() != scales.shape()) {
        return None;
    }
    let (belong, block) = match (down, across) {
        // One scale for all, or one for each column.
        _ if down >= rows && scales.rank() < 2 => (Belong::All, 0),
        (1, _) if scales.rank() == 2 => (Belong::Rows, across),
        (1, _) if across >= columns => {
            let column = |tensor: &Tensor| tensor.reshaped([rows, 1]);
            let zeros = zeros.map(column).transpose().ok()?;
            (Belong::Lists { scales: column(scales).ok()?, zeros }, columns)
        }
        _ => return None,
    };
    Some(Found { integers, scale, zero, belong, back: linear.along(last, block) })
}

#[cfg(test)]
mod tests {
    use crate::graph::Definition;
    use crate::optimize::testing::*;
    use crate::tensor::Tensor;

    #[test]
    fn rows_are_taken_before_floats_are_made_of_them() {
        // One scale, one for each column, one for each row, two for each row.
        for (scales, axis, block, extra) in
            [(vec![], 1, 0, 0), (vec![4], 1, 0, 0), (vec![3], 0, 0, 1), (vec![3, 2], 1, 2, 1)]
        {
            for zeros in [false, true] {
                let mut graph = TestGraph::new();
                let at = graph.input("at", &[2]);
                let at = graph.define(&Definition::new("Cast").attribute("to", 7i64), &[at]);
                let table = Tensor::new([3, 4], (0..12i8).map(|i| i * 9 - 50).collect()).unwrap();
                let count = scales.iter().product::<usize>();
                let scale = (0..count).map(|i| 0.5 + i as f32).collect();
                let mut inputs = vec![
                    graph.tensor("table", table),
                    graph.tensor("scale", Tensor::new(scales.clone(), scale).unwrap()),
                ];
                if zeros {
                    let zeros = (0..count).map(|i| i as i8 - 1).collect();
                    inputs.push(graph.tensor("zero", Tensor::new(scales.clone(), zeros).unwrap()));
                }
                let back = Definition::new("DequantizeLinear").attribute("axis", axis).attribute("block_size", block);
                let floats = graph.define(&back, &inputs);
                let y = graph.node("Gather", &[floats, at]);
                graph.output("y", y);
                let rewritten = graph.rewritten(&["gather_numbers", "drop_dead"]);
                graph.check(&["gather_numbers", "drop_dead"], &rewritten.to_string());
                let gathers = rewritten.nodes.iter().filter(|node| node.operator.name() == "Gather").count();
                assert_eq!(gathers, 1 + extra + extra * usize::from(zeros), "{rewritten}");
                assert_eq!(rewritten.nodes.last().unwrap().operator.name(), "DequantizeLinear");
            }
        }
    }
}
