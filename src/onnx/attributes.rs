//! Attributes of a file's nodes as the operators take them.

use super::messages::AttributeProto;
use super::ports;
use super::tensors::Tensors;
use crate::error::LoadError;
use crate::graph::Attribute;

/// The attribute's value, or what is wrong with it (the end of a sentence about it).
pub fn attribute(
    owner: &str,
    proto: AttributeProto,
    tensors: &mut Tensors<'_>,
) -> Result<Result<Attribute, String>, LoadError> {
    if proto.ref_attr_name.as_ref().is_some_and(|name| !name.is_empty()) {
        return Ok(Err("refers to an attribute of a function, but stands in no function".to_owned()));
    }
    let text = |s: &[u8]| String::from_utf8(s.to_vec()).map_err(|_| "is a text that is not UTF-8".to_owned());
    Ok(match kind(&proto) {
        // Some writers leave out zeros and empty texts.
        1 => Ok(Attribute::Float(proto.f.unwrap_or_default())),
        2 => Ok(Attribute::Int(proto.i.unwrap_or_default())),
        3 => text(&proto.s.unwrap_or_default()).map(Attribute::String),
        4 => match proto.t {
            None => Err("has no value".to_owned()),
            Some(tensor) => {
                let name = tensor.name.clone().filter(|name| !name.is_empty());
                Ok(Attribute::Tensor(tensors.read(&name.unwrap_or_else(|| owner.to_owned()), *tensor)?))
            }
        },
        6 => Ok(Attribute::Floats(proto.floats)),
        7 => Ok(Attribute::Ints(proto.ints)),
        8 => proto.strings.iter().map(|s| text(s)).collect::<Result<_, _>>().map(Attribute::Strings),
        5 | 10 => Err("is a graph, which the operator does not take".to_owned()),
        9 => Err("is a list of tensors, which no operator takes".to_owned()),
        11 | 12 => Err("is a sparse tensor, which is not supported".to_owned()),
        13 => ports::value_type(proto.tp.as_ref()).map(Attribute::Type).map_err(|(_, message)| message),
        14 => Err("is a list of types, which no operator takes".to_owned()),
        other => Err(format!("has a type with the unknown number {other}")),
    })
}

/// The number of the attribute's type. Files of the first IR versions do not give it: then it is that of the field that
/// is filled.
fn kind(proto: &AttributeProto) -> i32 {
    match proto.r#type {
        Some(kind) if kind != 0 => kind,
        _ if proto.f.is_some() => 1,
        _ if proto.i.is_some() => 2,
        _ if proto.s.is_some() => 3,
        _ if proto.t.is_some() => 4,
        _ if proto.g.is_some() => 5,
        _ if proto.tp.is_some() => 13,
        _ if !proto.floats.is_empty() => 6,
        _ if !proto.strings.is_empty() => 8,
        _ if !proto.graphs.is_empty() => 10,
        // Nothing is filled: an empty list of integers, the only one that occurs.
        _ => 7,
    }
}
