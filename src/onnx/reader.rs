//! Graphs out of their messages: names to values, through nested graphs and calls of functions.
//!
//! A *frame* is a scope of names: the main graph's, that of a graph in an attribute, or that of a called function, whose
//! nodes become nodes of the graph that calls it. What a graph in an attribute reads of the frames around it becomes an
//! input of it, and of the node that has the attribute: see [`Body`](crate::graph::Body).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::functions::{DEEPEST_CALL, Functions, attributes};
use super::messages::{AttributeProto, GraphProto, NodeProto, ValueInfoProto};
use super::ports::{self, Port};
use super::scan::exceeds;
use super::tensors::Tensors;
use crate::error::LoadError;
use crate::graph::{Body, Definition, Dim, Fact, Graph, Node, NodeError, Unsupported, ValueId};

/// The version of each domain's operator set.
pub type Opsets = Arc<HashMap<String, i64>>;

/// Reads the graphs of one file.
pub struct Reader<'a> {
    functions: &'a Functions,
    pub(super) tensors: Tensors<'a>,
    /// Nodes so far, those of functions counted for each call.
    nodes: u64,
    /// The graphs that are being read, the innermost at the end.
    graphs: Vec<Open>,
    frames: Vec<Frame>,
    /// For names of values in calls.
    unique: usize,
}

/// A graph that is being read.
#[derive(Default)]
struct Open {
    graph: Graph,
    taken: HashSet<String>,
    /// What it reads of the frame around it, by name.
    captured: Vec<(String, ValueId)>,
}

/// A scope of names.
pub(super) struct Frame {
    /// What they stand for; `None` for an input that a call leaves out.
    names: HashMap<String, Option<ValueId>>,
    /// The graph that its nodes belong to, by its index in [`Reader::graphs`].
    graph: usize,
    opsets: Opsets,
    call: Option<Call>,
}

impl Frame {
    /// The version of a domain's operators here.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        self.opsets.get(domain).copied()
    }
}

/// The call of a function.
struct Call {
    function: usize,
    /// The name of the node that calls.
    name: String,
    attributes: HashMap<String, AttributeProto>,
    /// Values of the caller that outputs still to be computed are, by the outputs' names.
    results: HashMap<String, Vec<ValueId>>,
}

/// A graph out of an attribute, with what it reads of the frame around it.
pub(super) struct Inner {
    graph: Graph,
    captured: Vec<(String, ValueId)>,
}

fn invalid<T>(message: String) -> Result<T, LoadError> {
    Err(LoadError::Graph(message))
}

impl<'a> Reader<'a> {
    pub fn new(opsets: &[(String, i64)], functions: &'a Functions, tensors: Tensors<'a>) -> Self {
        let opsets = Arc::new(opsets.iter().cloned().collect());
        let frame = Frame { names: HashMap::new(), graph: 0, opsets, call: None };
        Self { functions, tensors, nodes: 0, graphs: vec![Open::default()], frames: vec![frame], unique: 0 }
    }

    /// The main graph, inferred.
    pub fn main(mut self, mut proto: GraphProto) -> Result<Graph, LoadError> {
        let outputs = std::mem::take(&mut proto.output);
        let inputs = std::mem::take(&mut proto.input);
        let name = proto.name.take();
        self.constants(&mut proto)?;
        let constants = self.open().graph.values.len();
        for input in &inputs {
            let name = input.name.clone().unwrap_or_default();
            // IR version 3 lists the initializers among the inputs; later versions those that a caller might replace.
            if self.frame().names.get(&name).copied().flatten().is_some_and(|id| id.0 < constants) {
                continue;
            }
            let (fact, declared) = match ports::input(&name, input)? {
                Port::Tensor(fact) => (Some(fact), None),
                Port::Other(value_type) => (None, Some(value_type)),
            };
            let id = self.define(name, fact)?;
            let graph = &mut self.open().graph;
            graph.values[id.0].declared = declared;
            graph.inputs.push(id);
        }
        name_missing_dims(&mut self.open().graph, &inputs);
        self.nodes(proto.node)?;
        let mut listed = HashSet::new();
        for output in &outputs {
            let id = self.output(output)?;
            if !listed.insert(id) {
                let name = output.name.as_deref().unwrap_or_default();
                return invalid(format!("the output '{name}' is listed twice"));
            }
            let value = &mut self.open().graph.values[id.0];
            value.declared = value.declared.take().or_else(|| ports::not_a_tensor(output));
        }
        let mut graph = std::mem::take(&mut self.open().graph);
        graph.name = name.unwrap_or_default();
        graph.sort()?;
        graph.infer()?;
        for (&id, output) in graph.outputs.iter().zip(&outputs) {
            ports::warn_of_contradiction(graph.fact(id), output);
        }
        Ok(graph)
    }

    /// A graph out of an attribute.
    pub(super) fn inner(&mut self, mut proto: GraphProto) -> Result<Inner, LoadError> {
        let nesting = self.graphs.len() as u64;
        exceeds("the nesting of graphs", nesting, self.tensors.limits.nesting, "nesting")?;
        let opsets = Arc::clone(&self.frame().opsets);
        self.frames.push(Frame { names: HashMap::new(), graph: self.graphs.len(), opsets, call: None });
        self.graphs.push(Open::default());
        let outputs = std::mem::take(&mut proto.output);
        self.constants(&mut proto)?;
        for input in std::mem::take(&mut proto.input) {
            // What the file says of its type is not always right: inference does not rely on it.
            let fact = match ports::input("", &input) {
                Ok(Port::Tensor(fact)) => Some(fact),
                _ => None,
            };
            let id = self.define(input.name.unwrap_or_default(), fact)?;
            self.open().graph.inputs.push(id);
        }
        self.nodes(proto.node)?;
        for output in &outputs {
            let id = self.output(output)?;
            self.open().graph.values[id.0].declared = ports::value_type(output.r#type.as_ref()).ok();
        }
        self.frames.pop();
        let Some(Open { mut graph, captured, .. }) = self.graphs.pop() else {
            return invalid("a graph in an attribute has no end".to_owned());
        };
        graph.name = proto.name.unwrap_or_default();
        graph.sort()?;
        Ok(Inner { graph, captured })
    }

    /// The bodies of a node, all with the same captured values behind their own inputs; and these values.
    pub(super) fn bodies(&mut self, inner: Vec<Inner>) -> Result<(Vec<Body>, Vec<Option<ValueId>>), LoadError> {
        let mut names: Vec<String> = vec![];
        let mut known = HashSet::new();
        for (name, _) in inner.iter().flat_map(|inner| &inner.captured) {
            if known.insert(name) {
                names.push(name.clone());
            }
        }
        let mut bodies = vec![];
        for Inner { mut graph, captured } in inner {
            let places: HashMap<String, ValueId> = captured.into_iter().collect();
            for name in &names {
                let id = places.get(name).copied().unwrap_or_else(|| graph.add_value(name.clone(), None));
                graph.inputs.push(id);
            }
            bodies.push(Body::new(graph, names.len()));
        }
        // Found before, when the graphs were read.
        let values = names.iter().map(|name| self.find(name).flatten()).collect();
        Ok((bodies, values))
    }

    fn constants(&mut self, proto: &mut GraphProto) -> Result<(), LoadError> {
        let sparse = proto.sparse_initializer.len();
        if sparse > 0 {
            let message = format!("it has {sparse} sparse constants, which are not supported");
            return Err(LoadError::Unsupported { reason: Unsupported::ValueKind, message });
        }
        for tensor in std::mem::take(&mut proto.initializer) {
            let name = tensor.name.clone().unwrap_or_default();
            let tensor = self.tensors.read(&name, tensor)?;
            self.define(name, Some(Fact::constant(tensor)))?;
        }
        Ok(())
    }

    fn output(&mut self, proto: &ValueInfoProto) -> Result<ValueId, LoadError> {
        let name = proto.name.as_deref().unwrap_or_default();
        let id = self.find(name).flatten();
        let id = id.ok_or_else(|| LoadError::Graph(format!("nothing computes the output '{name}'")))?;
        self.open().graph.outputs.push(id);
        Ok(id)
    }

    /// The nodes of a graph or a function. They may stand in any order, so all values are defined before one is looked up.
    fn nodes(&mut self, protos: Vec<NodeProto>) -> Result<(), LoadError> {
        let mut nodes = vec![];
        for proto in protos {
            self.nodes += 1;
            exceeds(
                "the number of nodes, those of called functions included",
                self.nodes,
                self.tensors.limits.nodes,
                "nodes",
            )?;
            let name = self.own_name(&node_name(&proto));
            if proto.op_type.as_deref() == Some("Constant")
                && matches!(proto.domain.as_deref(), None | Some("" | "ai.onnx"))
            {
                let value = proto.output.first().cloned().unwrap_or_default();
                let tensor = self.constant(&name, proto)?;
                self.define(value, Some(Fact::constant(tensor)))?;
                continue;
            }
            let outputs: Vec<_> = proto
                .output
                .iter()
                .map(|output| if output.is_empty() { Ok(None) } else { self.define(output.clone(), None).map(Some) })
                .collect::<Result<_, _>>()?;
            nodes.push((name, proto, outputs));
        }
        for (name, proto, outputs) in nodes {
            match self.functions.called_by(&proto) {
                Some(function) => self.call(function, name, proto, outputs)?,
                None => {
                    let node = self.node(name, proto, outputs)?;
                    self.push(node);
                }
            }
        }
        Ok(())
    }

    /// The nodes of a function in the place of the node that calls it.
    fn call(
        &mut self,
        function: usize,
        name: String,
        proto: NodeProto,
        outputs: Vec<Option<ValueId>>,
    ) -> Result<(), LoadError> {
        let called = self.functions.at(function);
        let fail = |message: &str| {
            let operator = proto.op_type.clone().unwrap_or_default();
            Err(NodeError { node: name.clone(), operator, message: message.to_owned(), unsupported: None }.into())
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

    /// The value of a name in the current frame or those around it: `Some(None)` for one that a call leaves out.
    pub(super) fn find(&mut self, name: &str) -> Option<Option<ValueId>> {
        let top = self.frames.len() - 1;
        let mut at = top;
        let mut value = loop {
            let frame = &self.frames[at];
            match frame.names.get(name) {
                Some(value) => break *value,
                // A function sees nothing of its caller.
                None if at == 0 || frame.call.is_some() => return None,
                None => at -= 1,
            }
        };
        for frame in &mut self.frames[at + 1..] {
            let open = &mut self.graphs[frame.graph];
            value = value.map(|_| {
                let id = open.graph.add_value(fresh(&mut open.taken, &mut self.unique, name), None);
                open.captured.push((name.to_owned(), id));
                id
            });
            frame.names.insert(name.to_owned(), value);
        }
        Some(value)
    }

    /// A new value of the current frame, or in a function the caller's value that is computed under this name.
    fn define(&mut self, name: String, fact: Option<Fact>) -> Result<ValueId, LoadError> {
        if name.is_empty() {
            return invalid("an input, a constant or an initializer has no name".to_owned());
        }
        let own = self.own_name(&name);
        let Some(frame) = self.frames.last_mut() else { return invalid("it holds no graph".to_owned()) };
        if frame.names.contains_key(&name) {
            return invalid(format!("the value '{name}' is defined twice"));
        }
        let open = &mut self.graphs[frame.graph];
        let result = frame.call.as_mut().and_then(|call| call.results.get_mut(&name)?.pop());
        let id = match result {
            Some(id) => {
                open.graph.values[id.0].fact = fact;
                id
            }
            None => open.graph.add_value(fresh(&mut open.taken, &mut self.unique, &own), fact),
        };
        frame.names.insert(name, Some(id));
        Ok(id)
    }

    /// A name in the current frame as it is in the graph.
    fn own_name(&self, name: &str) -> String {
        match self.frames.last().and_then(|frame| frame.call.as_ref()) {
            Some(call) => format!("{}/{name}", call.name),
            None => name.to_owned(),
        }
    }

    fn push(&mut self, node: Node) {
        self.open().graph.nodes.push(node);
    }

    /// The frame that is being read. There is always one: the first is never popped.
    pub(super) fn frame(&self) -> &Frame {
        &self.frames[self.frames.len() - 1]
    }

    /// The graph of the current frame.
    fn open(&mut self) -> &mut Open {
        let graph = self.frame().graph;
        &mut self.graphs[graph]
    }
}

/// A name that no value of the graph has: this one, or with a number behind it.
fn fresh(taken: &mut HashSet<String>, unique: &mut usize, name: &str) -> String {
    let mut fresh = name.to_owned();
    while !taken.insert(fresh.clone()) {
        *unique += 1;
        fresh = format!("{name}#{unique}");
    }
    fresh
}

/// The node's own name, or that of its first output.
fn node_name(node: &NodeProto) -> String {
    let own = node.name.iter().filter(|name| !name.is_empty());
    own.chain(node.output.iter().filter(|name| !name.is_empty())).next().cloned().unwrap_or_default()
}

/// Dimensions that have neither a number nor a name get one: that of the input and the axis.
fn name_missing_dims(graph: &mut Graph, protos: &[ValueInfoProto]) {
    let given: HashSet<&str> = protos
        .iter()
        .filter_map(|proto| proto.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref())
        .flat_map(|shape| &shape.dim)
        .filter_map(|dim| dim.dim_param.as_deref())
        .collect();
    for &id in &graph.inputs {
        let value = &mut graph.values[id.0];
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
