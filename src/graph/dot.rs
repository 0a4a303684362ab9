//! A graph for Graphviz.

use super::{Fact, Graph, ValueId};

impl Graph {
    /// The graph in Graphviz's language: `dot -Tsvg` draws it. Nodes are boxes, inputs and outputs are rounded, edges carry
    /// types and shapes; constants are left out.
    pub fn dot(&self) -> String {
        let producers = self.producers();
        let mut dot = String::from(
            "digraph {\n  node [shape=box, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\"];\n",
        );
        let mut line = |text: std::fmt::Arguments<'_>| dot.push_str(&format!("  {text}\n"));
        for &id in &self.inputs {
            line(format_args!("v{} [label={}, style=rounded];", id.0, quoted(&self.value(id).name)));
        }
        let source = |id: ValueId| match producers[id.0] {
            Some(node) => format!("n{}", node.0),
            None => format!("v{}", id.0),
        };
        let label = |id: ValueId| quoted(&self.fact(id).map_or_else(|| "?".to_owned(), Fact::to_string));
        for (i, node) in self.nodes.iter().enumerate() {
            line(format_args!("n{i} [label={}];", quoted(&format!("{}\n{}", node.operator.name(), node.name))));
            for &id in node.inputs.iter().flatten().filter(|id| self.constant(**id).is_none()) {
                line(format_args!("{} -> n{i} [label={}];", source(id), label(id)));
            }
        }
        for (i, &id) in self.outputs.iter().enumerate() {
            line(format_args!("o{i} [label={}, style=rounded];", quoted(&self.value(id).name)));
            line(format_args!("{} -> o{i} [label={}];", source(id), label(id)));
        }
        dot.push_str("}\n");
        dot
    }
}

/// A string of Graphviz's. Names come from files and can hold anything.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ElementType;
    use crate::graph::Definition;

    #[test]
    fn names_are_escaped_and_edges_labelled() {
        let mut graph = Graph::builder();
        let x = graph.input("a \"b\"\\\u{7}", ElementType::F32, [2]);
        let y = graph.node(&Definition::new("Relu"), &[x]).unwrap();
        graph.output("y", y);
        assert_eq!(
            graph.build().unwrap().dot(),
            r#"digraph {
  node [shape=box, fontname="sans-serif"];
  edge [fontname="sans-serif"];
  v0 [label="a \"b\"\\ ", style=rounded];
  n0 [label="Relu\nRelu_0"];
  v0 -> n0 [label="f32[2]"];
  o0 [label="y", style=rounded];
  n0 -> o0 [label="f32[2]"];
}
"#
        );
    }
}
