//! Files that hold one value: a tensor, a sequence or an optional value.

use bytes::Bytes;
use prost::Message;

use super::messages::{OptionalProto, SequenceProto, TensorProto};
use super::scan::{Kind, scan};
use super::tensors::Tensors;
use super::{Limits, Memory, NoExternal};
use crate::error::LoadError;
use crate::graph::{Optional, Sequence, Value, ValueType};
use crate::tensor::{ElementType, Tensor};

fn decode<T: Message + Default>(bytes: Bytes, kind: Kind, limits: &Limits) -> Result<T, LoadError> {
    scan(&bytes, kind, limits)?;
    T::decode(bytes).map_err(|e| LoadError::Format(e.to_string()))
}

const fn reader(limits: &Limits) -> Tensors<'_> {
    Tensors { memory: Memory::Own, external: &NoExternal, limits, bytes: 0 }
}

/// One tensor and its name.
pub fn tensor(bytes: Bytes, limits: &Limits) -> Result<(String, Tensor), LoadError> {
    let mut proto: TensorProto = decode(bytes, Kind::Tensor, limits)?;
    let name = proto.name.take().unwrap_or_default();
    let tensor = reader(limits).read(&name, proto)?;
    Ok((name, tensor))
}

/// One value of this type and its name.
pub fn value(bytes: Bytes, value_type: &ValueType, limits: &Limits) -> Result<(String, Value), LoadError> {
    let of = match value_type {
        ValueType::Tensor(_) => return tensor(bytes, limits).map(|(name, tensor)| (name, tensor.into())),
        ValueType::Sequence(element_type) => {
            let proto: SequenceProto = decode(bytes, Kind::Sequence, limits)?;
            let name = proto.name.clone().unwrap_or_default();
            let sequence = sequence(&name, proto, *element_type, &mut reader(limits))?;
            return Ok((name, sequence.into()));
        }
        ValueType::Optional(of) => of,
    };
    let proto: OptionalProto = decode(bytes, Kind::Optional, limits)?;
    let name = proto.name.unwrap_or_default();
    let value = match (proto.tensor_value, proto.sequence_value, &**of) {
        (Some(tensor), None, ValueType::Tensor(_)) => Some(reader(limits).read(&name, tensor)?.into()),
        (None, Some(proto), ValueType::Sequence(element_type)) => {
            Some(sequence(&name, proto, *element_type, &mut reader(limits))?.into())
        }
        (None, None, _) => None,
        _ => return Err(LoadError::Format(format!("'{name}' holds something else than an {value_type}"))),
    };
    if value.as_ref().is_some_and(|value: &Value| value.value_type() != **of) {
        return Err(LoadError::Format(format!("'{name}' holds something else than an {value_type}")));
    }
    Ok((name, Optional { of: (**of).clone(), value: value.map(Box::new) }.into()))
}

fn sequence(
    name: &str,
    proto: SequenceProto,
    element_type: ElementType,
    reader: &mut Tensors<'_>,
) -> Result<Sequence, LoadError> {
    let tensors: Vec<Tensor> =
        proto.tensor_values.into_iter().map(|tensor| reader.read(name, tensor)).collect::<Result<_, _>>()?;
    let sequence = Sequence::new(element_type, tensors);
    sequence.ok_or_else(|| LoadError::Format(format!("'{name}' holds tensors that are not {element_type}")))
}
