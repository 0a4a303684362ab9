//! From a decoded file to a graph.

use std::collections::{HashMap, HashSet};

use super::messages::{GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto};
use super::tensors::{MAX_RANK, Tensors, element_type};
use super::{NEWEST_OPSET, attributes, unknown};
use crate::error::LoadError;
use crate::graph::{Attribute, Definition, Dim, Fact, Graph, Metadata, Node, NodeError, Unsupported, ValueId};
use crate::tensor::Tensor;

/// The graph of a model file, inferred.
pub fn model(model: ModelProto, tensors: Tensors<'_>) -> Result<(Graph, Metadata), LoadError> {
    let metadata = metadata(&model);
    let graph = model.graph.ok_or_else(|| LoadError::Format("it holds no graph".to_owned()))?;
    if metadata.ir_version < 3 {
        return Err(LoadError::Format(format!("its IR version is {}, the oldest supported is 3", metadata.ir_version)));
    }
    let standard = metadata.opsets.iter().find(|(domain, _)| domain.is_empty());
    let opset = match standard {
        Some((_, version)) => *version,
        // A model of other domains only.
        None if !metadata.opsets.is_empty() => NEWEST_OPSET,
        None => return Err(LoadError::Format("it names no operator set".to_owned())),
    };
    unknown::check(&graph, &model.functions, opset)?;
    if opset > NEWEST_OPSET {
        log::warn!("the model uses operator set {opset}; the newest known is {NEWEST_OPSET}: trying it all the same");
    }
    let mut reader = Reader {
        graph: Graph { name: graph.name.clone().unwrap_or_default(), opset, ..Graph::default() },
        names: HashMap::new(),
        opsets: metadata.opsets.iter().map(|(domain, version)| (domain.as_str(), *version)).collect(),
        tensors,
    };
    reader.read(*graph)?;
    Ok((reader.graph, metadata))
}

fn metadata(model: &ModelProto) -> Metadata {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let domain = |domain: &Option<String>| domain.clone().filter(|d| d != "ai.onnx").unwrap_or_default();
    Metadata {
        producer: format!("{} {}", text(&model.producer_name), text(&model.producer_version)).trim().to_owned(),
        ir_version: model.ir_version.unwrap_or_default(),
        opsets: model.opset_import.iter().map(|s| (domain(&s.domain), s.version.unwrap_or_default())).collect(),
        doc: text(&model.doc_string),
        properties: model.metadata_props.iter().map(|p| (text(&p.key), text(&p.value))).collect(),
    }
}

struct Reader<'a> {
    graph: Graph,
    names: HashMap<String, ValueId>,
    opsets: HashMap<&'a str, i64>,
    tensors: Tensors<'a>,
}

impl Reader<'_> {
    fn read(&mut self, proto: GraphProto) -> Result<(), LoadError> {
        let sparse = proto.sparse_initializer.len();
        if sparse > 0 {
            let message = format!("it has {sparse} sparse constants, which are not supported");
            return Err(LoadError::Unsupported { reason: Unsupported::ValueKind, message });
        }
        for tensor in proto.initializer {
            let name = tensor.name.clone().unwrap_or_default();
            let tensor = self.tensors.read(&name, tensor)?;
            self.define(name, Some(Fact::constant(tensor)))?;
        }
        let constants = self.names.len();
        for input in &proto.input {
            let name = input.name.clone().unwrap_or_default();
            // IR version 3 lists the initializers among the inputs; later versions those that a caller might replace.
            if self.names.get(&name).is_some_and(|id| id.0 < constants) {
                continue;
            }
            let fact = input_fact(&name, input)?;
            let id = self.define(name, Some(fact))?;
            self.graph.inputs.push(id);
        }
        self.name_missing_dims(&proto.input);
        // Nodes may stand in any order, so that all values are defined before one is looked up.
        let mut nodes = vec![];
        for node in proto.node {
            let name = node_name(&node);
            if node.op_type.as_deref() == Some("Constant")
                && matches!(node.domain.as_deref(), None | Some("" | "ai.onnx"))
            {
                let value = node.output.first().cloned().unwrap_or_default();
                let tensor = self.constant(&name, node)?;
                self.define(value, Some(Fact::constant(tensor)))?;
                continue;
            }
            let outputs: Vec<_> = node
                .output
                .iter()
                .map(|output| if output.is_empty() { Ok(None) } else { self.define(output.clone(), None).map(Some) })
                .collect::<Result<_, _>>()?;
            nodes.push((name, node, outputs));
        }
        for (name, node, outputs) in nodes {
            let node = self.node(name, node, outputs)?;
            self.graph.nodes.push(node);
        }
        let mut listed = HashSet::new();
        for output in &proto.output {
            let name = output.name.clone().unwrap_or_default();
            let id = self.names.get(&name).copied();
            let id = id.ok_or_else(|| LoadError::Graph(format!("nothing computes the output '{name}'")))?;
            if !listed.insert(id) {
                return Err(LoadError::Graph(format!("the output '{name}' is listed twice")));
            }
            self.graph.outputs.push(id);
        }
        self.graph.sort()?;
        self.graph.infer()?;
        for (&id, output) in self.graph.outputs.iter().zip(&proto.output) {
            warn_of_contradiction(self.graph.fact(id), output);
        }
        Ok(())
    }

    fn define(&mut self, name: String, fact: Option<Fact>) -> Result<ValueId, LoadError> {
        if name.is_empty() {
            return Err(LoadError::Graph("an input, a constant or an initializer has no name".to_owned()));
        }
        if self.names.contains_key(&name) {
            return Err(LoadError::Graph(format!("the value '{name}' is defined twice")));
        }
        let id = self.graph.add_value(name.clone(), fact);
        self.names.insert(name, id);
        Ok(id)
    }

    /// Dimensions that have neither a number nor a name get one: that of the input and the axis.
    fn name_missing_dims(&mut self, protos: &[ValueInfoProto]) {
        let given: HashSet<&str> = protos
            .iter()
            .filter_map(|proto| proto.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref())
            .flat_map(|shape| &shape.dim)
            .filter_map(|dim| dim.dim_param.as_deref())
            .collect();
        for &id in &self.graph.inputs {
            let value = &mut self.graph.values[id.0];
            for (axis, dim) in value.fact.iter_mut().flat_map(|fact| &mut fact.shape).enumerate() {
                if *dim == Dim::Unknown {
                    let mut name = format!("{}_{axis}", value.name);
                    while given.contains(name.as_str()) {
                        name.push('_');
                    }
                    *dim = Dim::symbol(name);
                }
            }
        }
    }

    fn node(&mut self, name: String, proto: NodeProto, outputs: Vec<Option<ValueId>>) -> Result<Node, LoadError> {
        let op_type = proto.op_type.unwrap_or_default();
        let fail =
            |message: String| NodeError { node: name.clone(), operator: op_type.clone(), message, unsupported: None };
        let mut inputs = vec![];
        for input in &proto.input {
            inputs.push(if input.is_empty() {
                None
            } else {
                let id = self.names.get(input).copied();
                Some(id.ok_or_else(|| fail(format!("it reads '{input}', which nothing defines")))?)
            });
        }
        let domain = proto.domain.filter(|d| d != "ai.onnx").unwrap_or_default();
        let opset = self.opsets.get(domain.as_str()).copied();
        let mut definition = Definition {
            opset: opset.ok_or_else(|| fail(format!("the file names no version of its domain '{domain}'")))?,
            inputs: inputs.len(),
            outputs: outputs.len(),
            attributes: Default::default(),
            op_type: op_type.clone(),
            domain,
        };
        for attribute in proto.attribute {
            let key = attribute.name.clone().unwrap_or_default();
            let value = attributes::attribute(&name, attribute, &mut self.tensors)?;
            let value = value.map_err(|e| fail(format!("attribute '{key}' {e}")))?;
            if definition.attributes.insert(key.clone(), value).is_some() {
                return Err(fail(format!("attribute '{key}' is given twice")).into());
            }
        }
        let operator = crate::ops::check_arity(&definition)
            .and_then(|()| crate::ops::operator(&definition))
            .map_err(|e| NodeError { unsupported: e.unsupported(), ..fail(e.to_string()) })?;
        Ok(Node { name, operator, inputs, outputs })
    }

    /// The tensor of a Constant node: one of its attributes, each for another form.
    fn constant(&mut self, name: &str, proto: NodeProto) -> Result<Tensor, LoadError> {
        let fail = |message: String| NodeError {
            node: name.to_owned(),
            operator: "Constant".to_owned(),
            message,
            unsupported: None,
        };
        if proto.output.len() != 1 || !proto.input.is_empty() || proto.attribute.len() != 1 {
            return Err(fail("it should have one attribute, one output and no input".to_owned()).into());
        }
        let mut tensor = None;
        for attribute in proto.attribute {
            let key = attribute.name.clone().unwrap_or_default();
            let value = attributes::attribute(name, attribute, &mut self.tensors)?;
            tensor = Some(match (key.as_str(), value.map_err(|e| fail(format!("attribute '{key}' {e}")))?) {
                ("value", Attribute::Tensor(tensor)) => tensor,
                ("value_float", Attribute::Float(v)) => Tensor::scalar(v),
                ("value_floats", Attribute::Floats(v)) => Tensor::vector(v),
                ("value_int", Attribute::Int(v)) => Tensor::scalar(v),
                ("value_ints", Attribute::Ints(v)) => Tensor::vector(v),
                ("value_string" | "value_strings", _) => {
                    let refusal = fail("strings are not supported".to_owned());
                    return Err(NodeError { unsupported: Some(Unsupported::ElementType), ..refusal }.into());
                }
                _ => return Err(fail(format!("it has no attribute '{key}' of such a type")).into()),
            });
        }
        Ok(tensor.ok_or_else(|| fail("it has no value".to_owned()))?)
    }
}

/// The node's own name, or that of its first output.
fn node_name(node: &NodeProto) -> String {
    let own = node.name.iter().filter(|name| !name.is_empty());
    own.chain(node.output.iter().filter(|name| !name.is_empty())).next().cloned().unwrap_or_default()
}

/// The fact of an input; dimensions that the file leaves open are unknown still.
fn input_fact(name: &str, proto: &ValueInfoProto) -> Result<Fact, LoadError> {
    let fail = |message: String| Err(LoadError::Graph(format!("input '{name}' {message}")));
    let refuse = |reason: Unsupported, message: String| {
        Err(LoadError::Unsupported { reason, message: format!("input '{name}' {message}") })
    };
    let Some(tensor) = proto.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()) else {
        let kind = kind(proto.r#type.as_ref());
        return refuse(Unsupported::ValueKind, format!("is {kind}, which is not supported; inputs are tensors"));
    };
    let element_type = match element_type(tensor.elem_type.unwrap_or_default()) {
        Ok(element_type) => element_type,
        Err(name) => {
            return refuse(Unsupported::ElementType, format!("has the element type {name}, which is not supported"));
        }
    };
    let Some(shape) = &tensor.shape else {
        return fail("has no shape; the file must say at least how many dimensions it has".to_owned());
    };
    if shape.dim.len() > MAX_RANK {
        return fail(format!("has {} dimensions; at most {MAX_RANK} are supported", shape.dim.len()));
    }
    let mut dims = vec![];
    for dim in &shape.dim {
        dims.push(match (dim.dim_value, dim.dim_param.as_deref()) {
            (_, Some(symbol)) if !symbol.is_empty() => Dim::symbol(symbol),
            // Some writers put -1 for a dimension that is open.
            (None | Some(-1), _) => Dim::Unknown,
            (Some(size), _) if size < 0 => return fail(format!("has the dimension {size}")),
            (Some(size), _) => Dim::Known(size),
        });
    }
    Ok(Fact::new(element_type, dims))
}

fn kind(proto: Option<&TypeProto>) -> &'static str {
    match proto {
        Some(t) if t.sequence_type.is_some() => "a sequence",
        Some(t) if t.map_type.is_some() => "a map",
        Some(t) if t.optional_type.is_some() => "an optional value",
        Some(t) if t.sparse_tensor_type.is_some() => "a sparse tensor",
        _ => "of no type",
    }
}

/// A file's word on its outputs is not needed; where it is wrong, somebody might want to know.
fn warn_of_contradiction(fact: Option<&Fact>, proto: &ValueInfoProto) {
    let Some((fact, tensor)) = fact.zip(proto.r#type.as_ref().and_then(|t| t.tensor_type.as_ref())) else { return };
    let name = proto.name.as_deref().unwrap_or_default();
    match element_type(tensor.elem_type.unwrap_or_default()) {
        Ok(declared) if declared != fact.element_type => {
            log::warn!("the file says that output '{name}' is {declared}, but it is {}", fact.element_type);
        }
        _ => {}
    }
    if let Some(shape) = &tensor.shape {
        let differ = |(dim, declared): (&Dim, Option<i64>)| dim.known().zip(declared).is_some_and(|(a, b)| a != b);
        if shape.dim.len() != fact.rank() || fact.shape.iter().zip(shape.dim.iter().map(|d| d.dim_value)).any(differ) {
            let declared: Vec<_> = shape
                .dim
                .iter()
                .map(|d| d.dim_value.map(|v| v.to_string()).or(d.dim_param.clone()).unwrap_or_else(|| "?".to_owned()))
                .collect();
            log::warn!("the file says that output '{name}' has the shape [{}], but it is {fact}", declared.join(", "));
        }
    }
}
