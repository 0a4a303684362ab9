//! A graph as text: one line per node.

use std::fmt;

use super::{Fact, Graph, ValueId};
use crate::tensor::{ElementType, Tensor};

/// Constants up to this many elements are written out.
const WRITTEN_OUT: usize = 8;

/// Inputs, nodes in order with their outputs' types and shapes, and outputs. Small constants are written where they are used,
/// others by their name, type and shape. The alternate form (`{:#}`) adds the operators' parameters.
///
/// ```
/// # use rimlight::{ElementType, Graph, graph::Definition};
/// # let mut graph = Graph::builder();
/// # let x = graph.input("x", ElementType::F32, [2, 3]);
/// # let y = graph.node(&Definition::new("Relu"), &[x])?;
/// # graph.output("y", y);
/// # let graph = graph.build()?;
/// assert_eq!(graph.to_string(), "input x: f32[2, 3]\ny: f32[2, 3] = Relu(x)\noutput y: f32[2, 3]\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &id in &self.inputs {
            writeln!(f, "input {}", self.declared(id))?;
        }
        for node in &self.nodes {
            let outputs: Vec<_> =
                node.outputs.iter().map(|id| id.map_or_else(|| "_".to_owned(), |id| self.declared(id))).collect();
            let inputs: Vec<_> =
                node.inputs.iter().map(|id| id.map_or_else(|| "_".to_owned(), |id| self.used(id))).collect();
            write!(f, "{} = {}({})", outputs.join(", "), node.operator.name(), inputs.join(", "))?;
            if f.alternate() {
                write!(f, "  # {:?}", node.operator)?;
            }
            writeln!(f)?;
        }
        for &id in &self.outputs {
            writeln!(f, "output {}", self.declared(id))?;
        }
        Ok(())
    }
}

impl Graph {
    /// A value's name, type and shape.
    fn declared(&self, id: ValueId) -> String {
        let info = self.value(id);
        let declared = info.declared.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
        format!("{}: {}", info.name, info.fact.as_ref().map_or(declared, Fact::to_string))
    }

    /// A value as a node reads it.
    fn used(&self, id: ValueId) -> String {
        match self.constant(id) {
            Some(tensor) => content(tensor).unwrap_or_else(|| self.declared(id)),
            None => self.value(id).name.clone(),
        }
    }
}

/// The elements of a small tensor of rank 0 or 1, written out.
fn content(tensor: &Tensor) -> Option<String> {
    if tensor.len() > WRITTEN_OUT || tensor.rank() > 1 {
        return None;
    }
    fn list<T: fmt::Debug>(values: &[T]) -> Vec<String> {
        values.iter().map(|v| format!("{v:?}")).collect()
    }
    let elements = match tensor.element_type() {
        ElementType::I64 => list::<i64>(tensor.as_slice().ok()?),
        ElementType::I32 => list::<i32>(tensor.as_slice().ok()?),
        ElementType::F32 => list::<f32>(tensor.as_slice().ok()?),
        _ => return None,
    };
    Some(if tensor.rank() == 0 { elements.concat() } else { format!("[{}]", elements.join(", ")) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Definition, Dim};

    #[test]
    fn every_part_of_a_graph_is_listed() {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [Dim::symbol("n"), Dim::Known(4)]);
        let shape = graph.constant("shape", Tensor::vector(vec![0i64, 2, 2]));
        let weights = graph.constant("weights", Tensor::zeros(ElementType::F32, [4, 3]).unwrap());
        let product = graph.node(&Definition::new("MatMul"), &[x, weights]).unwrap();
        let reshaped = graph.node(&Definition::new("Reshape"), &[x, shape]).unwrap();
        graph.output("product", product);
        graph.output("reshaped", reshaped);
        assert_eq!(
            graph.build().unwrap().to_string(),
            "input x: f32[n, 4]\n\
             product: f32[n, 3] = MatMul(x, weights: f32[4, 3])\n\
             reshaped: f32[n, 2, 2] = Reshape(x, [0, 2, 2])\n\
             output product: f32[n, 3]\n\
             output reshaped: f32[n, 2, 2]\n"
        );
    }
}
