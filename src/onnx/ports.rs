//! The inputs and outputs that a file declares, and their types.

use bytes::Bytes;
use prost::Message;

use super::messages::{ElementTypeProto, HeldTypeProto, TypeProto, ValueInfoProto};
use super::tensors::{MAX_RANK, element_type};
use crate::error::LoadError;
use crate::graph::{Dim, Fact, Unsupported, ValueType};
use crate::tensor::ElementType;

/// What a file says of an input.
pub enum Port {
    /// A tensor; dimensions that the file leaves open are unknown still.
    Tensor(Fact),
    /// Something else, or a tensor of which not even the rank is given.
    Other(ValueType),
}

/// What a file says of an input.
pub fn input(name: &str, proto: &ValueInfoProto) -> Result<Port, LoadError> {
    let fail = |message: String| Err(LoadError::Graph(format!("input '{name}' {message}")));
    let refuse = |(reason, message): Refusal| {
        Err(LoadError::Unsupported { reason, message: format!("input '{name}' {message}") })
    };
    let Some(tensor) = proto.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()) else {
        return value_type(proto.r#type.as_ref()).map(Port::Other).or_else(refuse);
    };
    let element_type = match held_tensor(tensor.elem_type) {
        Ok(element_type) => element_type,
        Err(refusal) => return refuse(refusal),
    };
    let Some(shape) = &tensor.shape else { return Ok(Port::Other(ValueType::Tensor(element_type))) };
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
    Ok(Port::Tensor(Fact::new(element_type, dims)))
}

/// Why a type is refused: the reason, and the end of a sentence about what has it.
pub type Refusal = (Unsupported, String);

/// The type that a file gives, without its shape.
pub fn value_type(proto: Option<&TypeProto>) -> Result<ValueType, Refusal> {
    let refused = |kind: &str| Err((Unsupported::ValueKind, format!("is {kind}, which is not supported")));
    match proto {
        Some(TypeProto { tensor_type: Some(tensor), .. }) => held_tensor(tensor.elem_type).map(ValueType::Tensor),
        Some(TypeProto { sequence_type: Some(sequence), .. }) => held_sequence(sequence),
        Some(TypeProto { optional_type: Some(optional), .. }) => {
            let of = match held(optional)? {
                HeldTypeProto { tensor_type: Some(tensor), .. } => ValueType::Tensor(held_tensor(tensor.elem_type)?),
                HeldTypeProto { sequence_type: Some(sequence), .. } => held_sequence(&sequence)?,
                _ => return refused("an optional value of neither a tensor nor a sequence"),
            };
            Ok(ValueType::Optional(Box::new(of)))
        }
        Some(t) if t.map_type.is_some() => refused("a map"),
        Some(t) if t.sparse_tensor_type.is_some() => refused("a sparse tensor"),
        _ => refused("of no type"),
    }
}

fn held_sequence(sequence: &Bytes) -> Result<ValueType, Refusal> {
    match held(sequence)?.tensor_type {
        Some(tensor) => held_tensor(tensor.elem_type).map(ValueType::Sequence),
        None => Err((Unsupported::ValueKind, "is a sequence of something else than tensors".to_owned())),
    }
}

fn held_tensor(number: Option<i32>) -> Result<ElementType, Refusal> {
    element_type(number.unwrap_or_default())
        .map_err(|name| (Unsupported::ElementType, format!("has the element type {name}, which is not supported")))
}

fn held(bytes: &Bytes) -> Result<HeldTypeProto, Refusal> {
    let decoded = ElementTypeProto::decode(bytes.clone()).ok().and_then(|proto| proto.elem_type);
    decoded.ok_or_else(|| (Unsupported::ValueKind, "holds something of no type".to_owned()))
}

/// The type that a file gives an output, if it is no tensor.
pub fn not_a_tensor(proto: &ValueInfoProto) -> Option<ValueType> {
    value_type(proto.r#type.as_ref()).ok().filter(|t| !matches!(t, ValueType::Tensor(_)))
}

/// A file's word on its outputs is not needed; where it is wrong, somebody might want to know.
pub fn warn_of_contradiction(fact: Option<&Fact>, proto: &ValueInfoProto) {
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
