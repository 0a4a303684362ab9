//! Functions of a model's own: which there are, and what a call hands to one.

use std::collections::HashMap;

use super::messages::{AttributeProto, FunctionProto, NodeProto};
use crate::error::LoadError;

/// Functions that call each other may be nested this deep.
pub const DEEPEST_CALL: usize = 32;

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
pub fn attributes(function: &FunctionProto, call: Vec<AttributeProto>) -> HashMap<String, AttributeProto> {
    let own = function.attribute_proto.iter().cloned();
    own.chain(call).map(|attribute| (attribute.name.clone().unwrap_or_default(), attribute)).collect()
}
