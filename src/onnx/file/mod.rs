//! A model file that can be changed and written again. What nobody changes is written byte for byte as it was: names,
//! functions, metadata, fields that Rimlight knows nothing of.

mod node;
mod save;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use bytes::Bytes;

pub(crate) use node::names_read;
pub use save::WriteError;
pub(crate) use wire::Part;

use super::messages::{NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto};
use super::scan::{self, Kind};
use super::tensors::Tensors;
use super::{External, Limits, Memory, NoExternal};
use crate::error::LoadError;
use crate::model::Model;
use crate::tensor::{ElementType, Tensor};
use wire::{Field, fields};

/// The first version of the format in which constants need not be listed among the inputs.
const CONSTANTS_BY_THEMSELVES: i64 = 4;

/// An ONNX file in memory, to be changed and written. Its constants may be replaced, nodes put in and taken out; data that
/// lay in other files is part of it.
///
/// ```no_run
/// use rimlight::onnx::ModelFile;
///
/// let mut file = ModelFile::open("model.onnx")?;
/// let weights = file.constant("fc.weight").expect("the model has them");
/// file.set_constant("fc.weight", &weights)?;
/// file.save("copy.onnx")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ModelFile {
    pub(crate) ir_version: i64,
    pub(crate) opsets: Vec<OperatorSetIdProto>,
    /// Fields of the model beside these and the graph.
    rest: Vec<Field>,
    pub(crate) nodes: Vec<Part<NodeProto>>,
    pub(crate) constants: Vec<Part<TensorProto>>,
    pub(crate) inputs: Vec<Part<ValueInfoProto>>,
    pub(crate) outputs: Vec<Part<ValueInfoProto>>,
    /// What the file says of values on the way.
    pub(crate) between: Vec<Part<ValueInfoProto>>,
    /// Fields of the graph beside these.
    graph_rest: Vec<Field>,
}

impl ModelFile {
    /// Reads a file, and the files in its folder in which constants of it lie.
    ///
    /// # Errors
    /// If a file cannot be read or is no ONNX model.
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| LoadError::Io { path: path.display().to_string(), source })?;
        Self::read(bytes.into(), &super::Folder::of(path, false), &Limits::default())
    }

    /// Reads a model from bytes.
    ///
    /// # Errors
    /// If they are no ONNX model, or it keeps data in other files.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self, LoadError> {
        Self::read(bytes.into(), &NoExternal, &Limits::default())
    }

    fn read(bytes: Bytes, external: &dyn External, limits: &Limits) -> Result<Self, LoadError> {
        scan::scan(&bytes, Kind::Model, limits)?;
        let mut file = Self {
            ir_version: 0,
            opsets: vec![],
            rest: vec![],
            nodes: vec![],
            constants: vec![],
            inputs: vec![],
            outputs: vec![],
            between: vec![],
            graph_rest: vec![],
        };
        let mut graph = None;
        for field in fields(&bytes)? {
            match field.number {
                1 => file.ir_version = number(&field)?,
                7 => graph = Some(field.content),
                8 => file.opsets.push(decode(field.content)?),
                _ => file.rest.push(field),
            }
        }
        let graph = graph.ok_or_else(|| LoadError::Format("it holds no graph".to_owned()))?;
        for field in fields(&graph)? {
            match field.number {
                1 => file.nodes.push(Part::read(field.content)?),
                5 => file.constants.push(Part::read(field.content)?),
                11 => file.inputs.push(Part::read(field.content)?),
                12 => file.outputs.push(Part::read(field.content)?),
                13 => file.between.push(Part::read(field.content)?),
                _ => file.graph_rest.push(field),
            }
        }
        let mut tensors = Tensors { memory: Memory::Own, external, limits, bytes: 0 };
        for part in &mut file.constants {
            if part.get().data_location == Some(1) {
                let name = part.get().name.clone().unwrap_or_default();
                let tensor = tensors.read(&name, part.get().clone())?;
                *part.edit() = stored(&name, &tensor)?;
            }
        }
        Ok(file)
    }

    /// The model that the file is now.
    ///
    /// # Errors
    /// If it is none, or is too large to be written.
    pub fn model(&self) -> Result<Model, crate::Error> {
        Ok(Model::from_bytes(self.to_bytes()?)?)
    }

    /// The version of a domain's operators; the standard's for an empty name.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        let is = |own: &Option<String>| match own.as_deref().unwrap_or_default() {
            "ai.onnx" => domain.is_empty(),
            own => own == domain,
        };
        self.opsets.iter().find(|set| is(&set.domain)).and_then(|set| set.version)
    }

    /// Declares a domain's operators, unless a version of them is declared.
    pub(crate) fn use_domain(&mut self, domain: &str, version: i64) {
        if self.opset(domain).is_none() {
            self.opsets.push(OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version) });
        }
    }

    /// The names of the constants: initializers, and what nodes `Constant` give.
    pub fn constants(&self) -> impl Iterator<Item = &str> {
        let initializers = self.constants.iter().filter_map(|part| part.get().name.as_deref());
        initializers.chain(self.nodes.iter().filter_map(|part| constant_node(part.get()).map(|(name, _)| name)))
    }

    /// A constant's content: that of an initializer, or of a node `Constant` that holds a tensor.
    pub fn constant(&self, name: &str) -> Option<Tensor> {
        let initializer = self.constants.iter().map(Part::get).find(|t| t.name.as_deref() == Some(name));
        let node = || self.nodes.iter().filter_map(|part| constant_node(part.get())).find(|(n, _)| *n == name);
        let proto = initializer.or_else(|| node().map(|(_, tensor)| tensor))?;
        let limits = Limits::default();
        let mut tensors = Tensors { memory: Memory::Own, external: &NoExternal, limits: &limits, bytes: 0 };
        tensors.read(name, proto.clone()).ok()
    }

    /// Replaces a constant, or adds one.
    ///
    /// # Errors
    /// If the format has no form for the tensor.
    pub fn set_constant(&mut self, name: &str, tensor: &Tensor) -> Result<(), LoadError> {
        let proto = stored(name, tensor)?;
        self.nodes.retain(|part| constant_node(part.get()).is_none_or(|(own, _)| own != name));
        match self.constants.iter_mut().find(|part| part.get().name.as_deref() == Some(name)) {
            Some(part) => *part.edit() = proto,
            None => self.constants.push(Part::new(proto)),
        }
        // What is listed among the inputs would have the old shape.
        let listed = self.inputs.len();
        self.inputs.retain(|part| part.get().name.as_deref() != Some(name));
        if self.inputs.len() < listed || self.ir_version < CONSTANTS_BY_THEMSELVES {
            self.list_no_constants();
        }
        self.between.retain(|part| part.get().name.as_deref() != Some(name));
        Ok(())
    }

    /// Lets nodes at the front compute what was a constant.
    pub(crate) fn replace_constant(&mut self, name: &str, nodes: Vec<NodeProto>) {
        self.list_no_constants();
        self.constants.retain(|part| part.get().name.as_deref() != Some(name));
        self.nodes.retain(|part| constant_node(part.get()).is_none_or(|(own, _)| own != name));
        self.nodes.splice(0..0, nodes.into_iter().map(Part::new));
    }

    /// Lets the model give these values, and nothing else.
    pub(crate) fn show_only(&mut self, names: &[String]) {
        let port = |name: &String| Part::new(ValueInfoProto { name: Some(name.clone()), r#type: None });
        self.outputs = names.iter().map(port).collect();
    }

    /// Takes out nodes of which nothing is read, and then constants.
    pub(crate) fn drop_dead(&mut self) {
        loop {
            let (read, before) = (self.read_names(), self.nodes.len());
            self.nodes.retain(|part| part.get().output.iter().any(|name| read.contains(name)));
            if self.nodes.len() == before {
                break;
            }
        }
        self.drop_unread();
    }

    /// From the version on that need not list constants among the inputs, none is: a caller cannot replace them then.
    fn list_no_constants(&mut self) {
        let names: HashSet<&str> = self.constants.iter().filter_map(|part| part.get().name.as_deref()).collect();
        self.inputs.retain(|part| part.get().name.as_deref().is_none_or(|name| !names.contains(name)));
        self.ir_version = self.ir_version.max(CONSTANTS_BY_THEMSELVES);
    }

    /// Takes out constants that nothing reads.
    pub(crate) fn drop_unread(&mut self) {
        // What is listed among the inputs and is no constant is the caller's, read or not.
        self.list_no_constants();
        let read = self.read_names();
        let is_read = |name: Option<&str>| name.is_some_and(|name| read.contains(name));
        self.constants.retain(|part| is_read(part.get().name.as_deref()));
        self.nodes.retain(|part| constant_node(part.get()).is_none_or(|(name, _)| is_read(Some(name))));
    }

    /// Names that nodes, graphs in their attributes and the outputs read.
    fn read_names(&self) -> HashSet<String> {
        let mut names: HashSet<String> = self.outputs.iter().filter_map(|part| part.get().name.clone()).collect();
        for part in &self.nodes {
            node::names_read(part.get(), &mut names);
        }
        names
    }

    /// A name that nothing in the graph has.
    pub(crate) fn fresh(&self, name: &str) -> String {
        let mut taken = self.read_names();
        taken.extend(self.nodes.iter().flat_map(|part| part.get().output.iter().cloned()));
        taken.extend(self.constants().map(str::to_owned));
        let mut fresh = name.to_owned();
        let mut number = 1;
        while taken.contains(&fresh) {
            number += 1;
            fresh = format!("{name}_{number}");
        }
        fresh
    }
}

/// The value that a node `Constant` gives, where it holds a tensor.
fn constant_node(node: &NodeProto) -> Option<(&str, &TensorProto)> {
    if !node.is("Constant") {
        return None;
    }
    Some((node.output.first()?, node.attribute("value")?.t.as_deref()?))
}

/// A tensor as a message, its elements as bytes.
fn stored(name: &str, tensor: &Tensor) -> Result<TensorProto, LoadError> {
    let fail = |message: &str| LoadError::Tensor { name: name.to_owned(), message: message.to_owned() };
    let dims: Result<Vec<i64>, _> = tensor.shape().iter().map(|&d| i64::try_from(d)).collect();
    let mut proto = TensorProto {
        dims: dims.map_err(|_| fail("its shape does not fit the format"))?,
        data_type: Some(tensor.element_type().data_type()),
        name: Some(name.to_owned()),
        ..TensorProto::default()
    };
    match tensor.element_type() {
        ElementType::String => {
            let texts = tensor.strings().map_err(|e| fail(&e.to_string()))?;
            proto.string_data = texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect();
        }
        // Two to a byte in a file, one here.
        ElementType::I4 | ElementType::U4 | ElementType::F4E2M1 => {
            let pair = |pair: &[u8]| pair.iter().rev().fold(0, |byte, half| byte << 4 | (half & 15));
            proto.raw_data = Some(tensor.bytes().chunks(2).map(pair).collect());
        }
        _ => proto.raw_data = Some(Bytes::copy_from_slice(tensor.bytes())),
    }
    Ok(proto)
}

fn decode<M: prost::Message + Default>(content: Bytes) -> Result<M, LoadError> {
    M::decode(content).map_err(|e| LoadError::Format(e.to_string()))
}

/// The number that a field holds.
fn number(field: &Field) -> Result<i64, LoadError> {
    let mut bytes: &[u8] = &field.whole;
    scan::varint(&mut bytes)?;
    Ok(scan::varint(&mut bytes)?.cast_signed())
}
