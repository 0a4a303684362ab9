//! Graphs out of their messages: names to values, through nested graphs and calls of functions.
//!
//! A *frame* is a scope of names: the main graph's, that of a graph in an attribute, or that of a called function, whose
//! nodes become nodes of the graph that calls it. What a graph in an attribute reads of the frames around it becomes an
//! input of it, and of the node that has the attribute: see [`Body`](crate::graph::Body).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::functions::{Call, Functions};
use super::messages::{GraphProto, NodeProto, ValueInfoProto};
use super::ports::{self, Port};
use super::tensors::Tensors;
use crate::error::LoadError;
use crate::graph::{Body, Dim, Fact, Graph, Node, Unsupported, ValueId};
use crate::limits::within;

/// The version of each domain's operator set.
pub type Opsets = Arc<HashMap<String, i64>>;

/// Reads the graphs of one file.
pub struct Reader<'a> {
    pub(super) functions: &'a Functions,
    pub(super) tensors: Tensors<'a>,
    /// Nodes so far, those of functions counted for each call.
    nodes: u64,
    /// The graphs that are being read, the innermost at the end.
    graphs: Vec<Open>,
    pub(super) frames: Vec<Frame>,
    /// For names of values in calls.
    unique: usize,
}

/// A graph that is being read.
#[derive(Default)]
pub(super) struct Open {
    pub(super) graph: Graph,
    taken: HashSet<String>,
    /// What it reads of the frame around it, by name.
    captured: Vec<(String, ValueId)>,
}

/// A scope of names.
pub(super) struct Frame {
    /// What they stand for; `None` for an input that a call leaves out.
    pub(super) names: HashMap<String, Option<ValueId>>,
    /// The graph that its nodes belong to, by its index in [`Reader::graphs`].
    pub(super) graph: usize,
    pub(super) opsets: Opsets,
    pub(super) call: Option<Call>,
}

impl Frame {
    /// The version of a domain's operators here.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        self.opsets.get(domain).copied()
    }
}

/// A graph out of an attribute, with what it reads of the frame around it.
pub(super) struct Inner {
    graph: Graph,
    captured: Vec<(String, ValueId)>,
}

pub(super) fn invalid<T>(message: String) -> Result<T, LoadError> {
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
        within("the nesting of graphs", nesting, self.tensors.limits.nesting, "nesting")?;
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
    pub(super) fn nodes(&mut self, protos: Vec<NodeProto>) -> Result<(), LoadError> {
        let mut nodes = vec![];
        for proto in protos {
            self.nodes += 1;
            within(
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

    pub(super) fn push(&mut self, node: Node) {
        self.open().graph.nodes.push(node);
    }

    /// The frame that is being read. There is always one: the first is never popped.
    pub(super) fn frame(&self) -> &Frame {
        &self.frames[self.frames.len() - 1]
    }

    /// The graph of the current frame.
    pub(super) fn open(&mut self) -> &mut Open {
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
