//! Reading and making nodes of a file.

use std::collections::HashSet;

use crate::onnx::messages::{AttributeProto, GraphProto, NodeProto};

/// The numbers by which the format calls an attribute's type.
const FLOAT: i32 = 1;
const INT: i32 = 2;
const INTS: i32 = 7;

impl NodeProto {
    /// A node of the standard's.
    pub fn new(operator: &str, name: String, inputs: &[&str], outputs: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            input: owned(inputs),
            output: owned(outputs),
            name: Some(name),
            op_type: Some(operator.to_owned()),
            ..Self::default()
        }
    }

    /// Whether it is this operator of the standard's.
    pub fn is(&self, operator: &str) -> bool {
        self.standard() == Some(operator)
    }

    /// Its operator, if that is the standard's.
    pub fn standard(&self) -> Option<&str> {
        match self.domain.as_deref() {
            None | Some("" | "ai.onnx") => self.op_type.as_deref(),
            _ => None,
        }
    }

    /// Its operator.
    pub fn operator(&self) -> &str {
        self.op_type.as_deref().unwrap_or_default()
    }

    /// What it is called: its own name, or that of its first output.
    pub fn called(&self) -> &str {
        let own = self.name.as_deref().filter(|name| !name.is_empty());
        own.or_else(|| self.output.iter().map(String::as_str).find(|name| !name.is_empty())).unwrap_or_default()
    }

    /// An input, unless it is left out.
    pub fn given(&self, place: usize) -> Option<&str> {
        self.input.get(place).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Its first output.
    pub fn result(&self) -> &str {
        self.output.first().map_or("", String::as_str)
    }

    /// An attribute.
    pub fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
    }

    /// An attribute that is an integer.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name)?.i
    }

    /// An attribute that is a number.
    pub fn float(&self, name: &str) -> Option<f32> {
        self.attribute(name)?.f
    }

    /// An attribute that is a list of integers.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    /// Sets an attribute to an integer.
    #[must_use]
    pub fn with_int(mut self, name: &str, value: i64) -> Self {
        self.set(AttributeProto { i: Some(value), ..attribute(name, INT) });
        self
    }

    /// Sets an attribute to a number.
    #[must_use]
    pub fn with_float(mut self, name: &str, value: f32) -> Self {
        self.set(AttributeProto { f: Some(value), ..attribute(name, FLOAT) });
        self
    }

    /// Sets an attribute to a list of integers.
    #[must_use]
    pub fn with_ints(mut self, name: &str, values: &[i64]) -> Self {
        self.set(AttributeProto { ints: values.to_vec(), ..attribute(name, INTS) });
        self
    }

    /// Puts it into another domain.
    #[must_use]
    pub fn in_domain(mut self, domain: &str) -> Self {
        self.domain = Some(domain.to_owned());
        self
    }

    fn set(&mut self, attribute: AttributeProto) {
        self.attribute.retain(|other| other.name != attribute.name);
        self.attribute.push(attribute);
    }
}

fn attribute(name: &str, kind: i32) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(kind), ..AttributeProto::default() }
}

/// Adds the names that a node and the graphs in its attributes read. (Names that are those graphs' own are among them: none
/// of them may be a name around it.)
pub fn names_read(node: &NodeProto, names: &mut HashSet<String>) {
    names.extend(node.input.iter().filter(|name| !name.is_empty()).cloned());
    for attribute in &node.attribute {
        for graph in attribute.g.as_deref().into_iter().chain(&attribute.graphs) {
            names_in_graph(graph, names);
        }
    }
}

fn names_in_graph(graph: &GraphProto, names: &mut HashSet<String>) {
    names.extend(graph.output.iter().filter_map(|output| output.name.clone()));
    for node in &graph.node {
        names_read(node, names);
        // So that none of them is given to a value around the graph.
        names.extend(node.output.iter().cloned());
    }
}
