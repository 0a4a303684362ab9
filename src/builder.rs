//! Graphs made in code.

use std::sync::Arc;

use crate::graph::{Definition, Dim, Fact, Graph, Node, NodeError, Operator, ValueId};
use crate::ops;
use crate::tensor::{ElementType, Tensor};

/// Makes a graph in code, node by node.
///
/// ```
/// use rimlight::{ElementType, Graph, graph::Definition};
/// let mut graph = Graph::builder();
/// let x = graph.input("x", ElementType::F32, [2, 3]);
/// let y = graph.node(&Definition::new("Relu"), &[x])?;
/// graph.output("y", y);
/// let graph = graph.build()?;
/// assert_eq!(graph.fact(graph.outputs[0]).unwrap().to_string(), "f32[2, 3]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct GraphBuilder {
    graph: Graph,
}

impl Graph {
    /// A builder, for graphs made in code.
    pub fn builder() -> GraphBuilder {
        GraphBuilder::default()
    }
}

impl GraphBuilder {
    /// An input of this type and shape.
    pub fn input(
        &mut self,
        name: &str,
        element_type: ElementType,
        shape: impl IntoIterator<Item = impl Into<Dim>>,
    ) -> ValueId {
        let id = self.graph.add_value(name, Some(Fact::new(element_type, shape)));
        self.graph.inputs.push(id);
        id
    }

    /// A constant.
    pub fn constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        self.graph.add_value(name, Some(Fact::constant(tensor)))
    }

    /// A node of a standard operator with one output.
    ///
    /// # Errors
    /// If there is no such operator or its attributes are wrong.
    pub fn node(&mut self, definition: &Definition, inputs: &[ValueId]) -> Result<ValueId, NodeError> {
        let mut definition = definition.clone();
        definition.inputs = inputs.len();
        let name = format!("{}_{}", definition.op_type, self.graph.nodes.len());
        let operator =
            ops::check_arity(&definition).and_then(|()| ops::operator(&definition)).map_err(|e| NodeError {
                node: name,
                operator: definition.op_type.clone(),
                message: e.to_string(),
                unsupported: e.unsupported(),
                limit: None,
            })?;
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        Ok(self.operator(operator, &inputs, 1)[0])
    }

    /// A node of any operator, with this many outputs.
    pub fn operator(
        &mut self,
        operator: Arc<dyn Operator>,
        inputs: &[Option<ValueId>],
        outputs: usize,
    ) -> Vec<ValueId> {
        let name = format!("{}_{}", operator.name(), self.graph.nodes.len());
        let outputs: Vec<_> = (0..outputs)
            .map(|i| self.graph.add_value(if i == 0 { name.clone() } else { format!("{name}_{i}") }, None))
            .collect();
        self.graph.nodes.push(Node {
            name,
            operator,
            inputs: inputs.to_vec(),
            outputs: outputs.iter().copied().map(Some).collect(),
        });
        outputs
    }

    /// Makes a value an output under this name.
    pub fn output(&mut self, name: &str, value: ValueId) {
        name.clone_into(&mut self.graph.values[value.0].name);
        self.graph.outputs.push(value);
    }

    /// The graph, its facts inferred.
    ///
    /// # Errors
    /// With the first node whose inputs cannot be right.
    pub fn build(mut self) -> Result<Graph, NodeError> {
        self.graph.opset = 24;
        self.graph.infer()?;
        Ok(self.graph)
    }
}
