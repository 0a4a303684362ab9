//! Functions of a model's own: which there are, and what a call hands to one.

use std::collections::HashMap;
use std::sync::Arc;

use super::messages::{AttributeProto, FunctionProto, NodeProto};
use super::reader::{Frame, Reader, invalid};
use crate::error::LoadError;
use crate::graph::{Definition, Node, NodeError, ValueId};

/// Functions that call each other may be nested this deep.
const DEEPEST_CALL: usize = 32;

/// The name of a function: its domain, its own name, its overload.
type Key = (String, String, String);

/// The functions of a file.
#[derive(Debug, Default)]
pub struct Functions {
    functions: Vec<FunctionProto>,
    places: HashMap<Key, usize>,
}

impl Functions {
    /// The functions of a file.
    ///
    /// # Errors
    /// If two have one name.
    pub fn new(functions: Vec<FunctionProto>) -> Result<Self, LoadError> {
        let mut places = HashMap::new();
        for (i, function) in functions.iter().enumerate() {
            let key = key(function.domain.as_deref(), function.name.as_deref(), function.overload.as_deref());
            let name = key.1.clone();
            if places.insert(key, i).is_some() {
                return Err(LoadError::Graph(format!("the function '{name}' is defined twice")));
            }
        }
        Ok(Self { functions, places })
    }

    /// The function that a node calls, by its place: operators of the standard that there are come first.
    pub fn called_by(&self, node: &NodeProto) -> Option<usize> {
        let key = key(node.domain.as_deref(), node.op_type.as_deref(), node.overload.as_deref());
        if key.0.is_empty() && crate::ops::exists(&key.0, &key.1) {
            return None;
        }
        self.places.get(&key).copied()
    }

    /// The function at a place that [`Functions::called_by`] gave.
    pub fn at(&self, place: usize) -> &FunctionProto {
        &self.functions[place]
    }
}

fn key(domain: Option<&str>, name: Option<&str>, overload: Option<&str>) -> Key {
    let domain = domain.filter(|domain| *domain != "ai.onnx").unwrap_or_default();
    (domain.to_owned(), name.unwrap_or_default().to_owned(), overload.unwrap_or_default().to_owned())
}

/// Attributes that nodes of a function refer to, by their names: those of the call, and else the function's own.
fn attributes(function: &FunctionProto, call: Vec<AttributeProto>) -> HashMap<String, AttributeProto> {
    let own = function.attribute_proto.iter().cloned();
    own.chain(call).map(|attribute| (attribute.name.clone().unwrap_or_default(), attribute)).collect()
}

/// The call of a function.
pub(super) struct Call {
    pub(super) function: usize,
    /// The name of the node that calls.
    pub(super) name: String,
    pub(super) attributes: HashMap<String, AttributeProto>,
    /// Values of the caller that outputs still to be computed are, by the outputs' names.
    pub(super) results: HashMap<String, Vec<ValueId>>,
}

impl Reader<'_> {
    /// The nodes of a function in the place of the node that calls it.
    pub(super) fn call(
        &mut self,
        function: usize,
        name: String,
        proto: NodeProto,
        outputs: Vec<Option<ValueId>>,
    ) -> Result<(), LoadError> {
        let called = self.functions.at(function);
        let fail = |message: &str| {
            let operator = proto.op_type.clone().unwrap_or_default();
            Err(NodeError { node: name.clone(), operator, message: message.to_owned(), unsupported: None, limit: None }
                .into())
        };
        let mut calls = self.frames.iter().filter_map(|frame| frame.call.as_ref());
        if calls.any(|call| call.function == function) {
            return fail("the function calls itself");
        }
        if self.frames.iter().filter(|frame| frame.call.is_some()).count() >= DEEPEST_CALL {
            return fail("functions call each other too deep");
        }
        if proto.input.len() > called.input.len() || outputs.len() > called.output.len() {
            return fail("it has more inputs or outputs than the function");
        }
        let mut given = vec![];
        for attribute in &proto.attribute {
            given.extend(self.referred(attribute.clone())?);
        }
        let mut names = HashMap::new();
        for (i, formal) in called.input.iter().enumerate() {
            let value = match proto.input.get(i).filter(|input| !input.is_empty()) {
                Some(input) => match self.find(input) {
                    Some(value) => value,
                    None => return fail(&format!("it reads '{input}', which nothing defines")),
                },
                None => None,
            };
            if names.insert(formal.clone(), value).is_some() {
                return fail("the function has two inputs of one name");
            }
        }
        let mut results: HashMap<String, Vec<ValueId>> = HashMap::new();
        for (formal, value) in called.output.iter().zip(&outputs) {
            results.entry(formal.clone()).or_default().extend(value);
        }
        let mut opsets = (*self.frame().opsets).clone();
        opsets.extend(called.opset_import.iter().map(|set| {
            let domain = set.domain.clone().filter(|domain| domain != "ai.onnx").unwrap_or_default();
            (domain, set.version.unwrap_or_default())
        }));
        let call = Call { function, name: name.clone(), attributes: attributes(called, given), results };
        let graph = self.frame().graph;
        self.frames.push(Frame { names, graph, opsets: Arc::new(opsets), call: Some(call) });
        self.nodes(called.node.clone())?;
        let results = self.frames.last_mut().and_then(|frame| frame.call.take()).map(|call| call.results);
        // Outputs that are inputs, or are listed twice.
        for (formal, values) in results.into_iter().flatten() {
            for value in values {
                let Some(from) = self.frame().names.get(&formal).copied() else {
                    return fail(&format!("nothing in the function computes '{formal}'"));
                };
                let node_name = self.open().graph.value(value).name.clone();
                let operator = crate::ops::operator(&Definition { inputs: 1, ..Definition::new("Identity") });
                let operator = operator.map_err(|e| LoadError::Graph(e.to_string()))?;
                self.push(Node { name: node_name, operator, inputs: vec![from], outputs: vec![Some(value)] });
            }
        }
        self.frames.pop();
        Ok(())
    }

    /// An attribute as it stands, or what the call of the function gives for it if it refers to one of the function's;
    /// nothing if the call leaves that out.
    pub(super) fn referred(&self, attribute: AttributeProto) -> Result<Option<AttributeProto>, LoadError> {
        let Some(from) = attribute.ref_attr_name.as_ref().filter(|name| !name.is_empty()) else {
            return Ok(Some(attribute));
        };
        match self.frames.iter().rev().find_map(|frame| frame.call.as_ref()) {
            Some(call) => {
                Ok(call.attributes.get(from).map(|given| AttributeProto { name: attribute.name, ..given.clone() }))
            }
            None => invalid(format!("an attribute refers to '{from}' of a function, but stands in no function")),
        }
    }
}
