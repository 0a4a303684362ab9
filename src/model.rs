//! A model: a graph as it was read, and where it came from.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::graph::{Fact, Graph, Metadata, ValueId, ValueType};

#[cfg(feature = "onnx")]
mod source;

/// A model as its file has it: read, checked, every fact inferred. A cheap handle: clones share everything.
///
/// ```no_run
/// let model = rimlight::Model::open("squeezenet.onnx")?;
/// for input in model.inputs() {
///     println!("{}", input); // data f32[1, 3, 227, 227]
/// }
/// # Ok::<(), rimlight::LoadError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Model(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    graph: Graph,
    metadata: Metadata,
    #[cfg(feature = "onnx")]
    source: source::Source,
}

/// A model that others hold, as long as they do.
#[derive(Debug, Clone, Default)]
pub(crate) struct WeakModel(Weak<Inner>);

impl WeakModel {
    /// The model, if somebody holds it still.
    pub fn upgrade(&self) -> Option<Model> {
        self.0.upgrade().map(Model)
    }
}

/// An input or an output of a model.
#[derive(Debug, Clone, Copy)]
pub struct Port<'a> {
    /// Its name, as in the file.
    pub name: &'a str,
    /// Its type and shape. Those of an input are known, if only as symbols; an output's may be unknown.
    pub fact: Option<&'a Fact>,
    /// Its type where it is no tensor, or a tensor of which not even the rank is known.
    pub declared: Option<&'a ValueType>,
}

impl fmt::Display for Port<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fact {
            Some(fact) => write!(f, "{} {fact}", self.name),
            None => match self.declared {
                Some(declared) => write!(f, "{} {declared}", self.name),
                None => write!(f, "{} ?", self.name),
            },
        }
    }
}

impl Model {
    /// A model out of a graph that was made in code.
    pub fn from_graph(graph: Graph) -> Self {
        Self(Arc::new(Inner {
            graph,
            metadata: Metadata::default(),
            #[cfg(feature = "onnx")]
            source: source::Source::Graph,
        }))
    }

    /// The graph as it was read, before any rewrite, its facts inferred.
    pub fn graph(&self) -> &Graph {
        &self.0.graph
    }

    /// A handle that holds no weights and can be read again; `None` where the model's source keeps them anyway.
    pub(crate) fn without_contents(&self) -> Option<Self> {
        #[cfg(feature = "onnx")]
        if self.gives_anew() {
            let graph = self.0.graph.clone().without_contents(|_| false);
            let (metadata, source) = (self.0.metadata.clone(), self.0.source.clone());
            return Some(Self(Arc::new(Inner { graph, metadata, source })));
        }
        None
    }

    /// Whether the model can be read again from where it came from, although nobody holds its bytes.
    pub(crate) fn gives_anew(&self) -> bool {
        #[cfg(feature = "onnx")]
        return self.0.source.gives_anew();
        #[cfg(not(feature = "onnx"))]
        return false;
    }

    /// The model once more: it was made from a graph, and gives itself.
    #[cfg(not(feature = "onnx"))]
    pub(crate) fn reread(&self) -> Result<Self, crate::error::LoadError> {
        Ok(self.clone())
    }

    /// Whoever else holds the model.
    pub(crate) fn downgrade(&self) -> WeakModel {
        WeakModel(Arc::downgrade(&self.0))
    }

    /// What the file says about itself.
    pub fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// What a run takes, in the file's order.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = Port<'_>> {
        self.0.graph.inputs.iter().map(|&id| self.port(id))
    }

    /// The inputs whose content decides how operators run (axes, sizes, `k`): plans are made for it.
    pub fn parameters(&self) -> impl Iterator<Item = Port<'_>> {
        self.0.graph.parameter_inputs().into_iter().map(|id| self.port(id))
    }

    /// What a run gives, in the file's order.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = Port<'_>> {
        self.0.graph.outputs.iter().map(|&id| self.port(id))
    }

    fn port(&self, id: ValueId) -> Port<'_> {
        let info = self.0.graph.value(id);
        Port { name: &info.name, fact: info.fact.as_ref(), declared: info.declared.as_ref() }
    }
}
