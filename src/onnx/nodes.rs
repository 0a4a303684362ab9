//! Nodes out of their messages: operators with their attributes, and constants.

use super::attributes;
use super::messages::NodeProto;
use super::reader::Reader;
use crate::error::LoadError;
use crate::graph::{Attribute, Definition, Node, NodeError, ValueId};
use crate::tensor::Tensor;

impl Reader<'_> {
    /// A node whose operator is not a function of the model's own.
    pub(super) fn node(
        &mut self,
        name: String,
        proto: NodeProto,
        outputs: Vec<Option<ValueId>>,
    ) -> Result<Node, LoadError> {
        let op_type = proto.op_type.unwrap_or_default();
        let fail = |message: String| NodeError {
            node: name.clone(),
            operator: op_type.clone(),
            message,
            unsupported: None,
            limit: None,
        };
        let mut inputs = vec![];
        for input in &proto.input {
            inputs.push(if input.is_empty() {
                None
            } else {
                self.find(input).ok_or_else(|| fail(format!("it reads '{input}', which nothing defines")))?
            });
        }
        let domain = proto.domain.filter(|d| d != "ai.onnx").unwrap_or_default();
        let opset = self.frame().opset(&domain);
        let mut definition = Definition {
            opset: opset.ok_or_else(|| fail(format!("the file names no version of its domain '{domain}'")))?,
            inputs: inputs.len(),
            outputs: outputs.len(),
            attributes: Default::default(),
            op_type: op_type.clone(),
            domain,
        };
        let mut graphs = vec![];
        for attribute in proto.attribute {
            let of_call = attribute.ref_attr_name.as_ref().is_some_and(|name| !name.is_empty());
            let Some(mut attribute) = self.referred(attribute)? else { continue };
            let key = attribute.name.clone().unwrap_or_default();
            if let Some(graph) = attribute.g.take_if(|_| matches!(attribute.r#type, None | Some(0 | 5))) {
                if of_call {
                    return Err(fail(format!("attribute '{key}' is a graph that the function is given")).into());
                }
                if graphs.iter().any(|(other, _)| *other == key) {
                    return Err(fail(format!("attribute '{key}' is given twice")).into());
                }
                graphs.push((key, self.inner(*graph)?));
                continue;
            }
            let value = attributes::attribute(&name, attribute, &mut self.tensors)?;
            let value = value.map_err(|e| fail(format!("attribute '{key}' {e}")))?;
            if definition.attributes.insert(key.clone(), value).is_some() {
                return Err(fail(format!("attribute '{key}' is given twice")).into());
            }
        }
        let (keys, inner): (Vec<_>, Vec<_>) = graphs.into_iter().unzip();
        let (bodies, captured) = self.bodies(inner)?;
        inputs.extend(captured);
        let count = bodies.len();
        definition.attributes.extend(keys.into_iter().zip(bodies.into_iter().map(Attribute::Graph)));
        let operator = crate::ops::check_arity(&definition)
            .and_then(|()| crate::ops::operator(&definition))
            .map_err(|e| NodeError { unsupported: e.unsupported(), ..fail(e.to_string()) })?;
        // It would take what a graph captures for inputs of its own.
        if operator.bodies().len() != count {
            return Err(fail("one of its attributes is a graph, which the operator does not take".to_owned()).into());
        }
        Ok(Node { name, operator, inputs, outputs })
    }

    /// The tensor of a Constant node: one of its attributes, each for another form.
    pub(super) fn constant(&mut self, name: &str, proto: NodeProto) -> Result<Tensor, LoadError> {
        let fail = |message: String| NodeError {
            node: name.to_owned(),
            operator: "Constant".to_owned(),
            message,
            unsupported: None,
            limit: None,
        };
        if proto.output.len() != 1 || !proto.input.is_empty() || proto.attribute.len() != 1 {
            return Err(fail("it should have one attribute, one output and no input".to_owned()).into());
        }
        let mut tensor = None;
        for attribute in proto.attribute {
            let Some(attribute) = self.referred(attribute)? else { continue };
            let key = attribute.name.clone().unwrap_or_default();
            let value = attributes::attribute(name, attribute, &mut self.tensors)?;
            tensor = Some(match (key.as_str(), value.map_err(|e| fail(format!("attribute '{key}' {e}")))?) {
                ("value", Attribute::Tensor(tensor)) => tensor,
                ("value_float", Attribute::Float(v)) => Tensor::scalar(v),
                ("value_floats", Attribute::Floats(v)) => Tensor::vector(v),
                ("value_int", Attribute::Int(v)) => Tensor::scalar(v),
                ("value_ints", Attribute::Ints(v)) => Tensor::vector(v),
                ("value_string", Attribute::String(v)) => {
                    Tensor::from_strings([], vec![v]).map_err(|e| fail(e.to_string()))?
                }
                ("value_strings", Attribute::Strings(v)) => {
                    Tensor::from_strings([v.len()], v).map_err(|e| fail(e.to_string()))?
                }
                _ => return Err(fail(format!("it has no attribute '{key}' of such a type")).into()),
            });
        }
        Ok(tensor.ok_or_else(|| fail("it has no value".to_owned()))?)
    }
}
