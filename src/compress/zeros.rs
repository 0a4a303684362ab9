//! Constants of many zeros, stored without them.
//!
//! The standard's own form (`sparse_initializer`) has an index of 64 bits for each number, so that at 32 bits nothing is saved
//! until two thirds of them are zero, and nearly no engine reads it. What is written here are nodes that every engine
//! has and computes once, when it loads the model: a bit for each place, the numbers that are not zero, and
//!
//! ```text
//! bits = table[mask]                   a byte of the mask is eight bits, the lowest first
//! y    = values[cumsum(bits) · bits]   values[0] is the zero
//! ```
//!
//! which takes 1/32 of 32-bit floats and of each number that is not zero its own size.

use std::collections::HashSet;

use super::CompressError;
use super::quantize::raise_to;
use crate::cpu::reference;
use crate::error::RunError;
use crate::onnx::messages::NodeProto;
use crate::onnx::{ModelFile, Part};
use crate::tensor::{ElementType, Tensor};

/// The operator set since which there is CumSum.
const CUMULATIVE: i64 = 11;
/// What nodes that unpack are called begins so.
const MARK: &str = "unpack/";
/// The number by which the format calls integers of 32 bits.
const INT: i64 = 6;
/// Bytes that the nodes for a constant take, besides its name in each of them.
const NODES: usize = 700;
/// A constant is packed if it takes at most so much of what it took.
const WORTH: f64 = 0.9;

/// What was packed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Packed {
    /// How many constants.
    pub constants: usize,
    /// The bytes that they took.
    pub before: usize,
    /// The bytes that they take.
    pub after: usize,
}

/// Stores constants of many zeros (or, of bytes, of many of the same) without them, where that saves something. What the
/// model computes stays as it is, bit for bit.
///
/// # Errors
/// If the model is of an operator set below 11 and cannot be brought to a newer one.
pub fn pack_zeros(file: &mut ModelFile) -> Result<Packed, CompressError> {
    let names: Vec<String> = file.constants().map(str::to_owned).collect();
    let packable = |name: String| {
        let tensor = file.constant(&name)?;
        let sparse = Sparse::of(&tensor)?;
        let (before, after) = (tensor.bytes().len(), sparse.bytes() + NODES + 20 * name.len());
        ((after as f64) < before as f64 * WORTH).then_some((name, tensor, sparse, [before, after]))
    };
    let found: Vec<_> = names.into_iter().filter_map(packable).collect();
    let saved: usize = found.iter().map(|(.., [before, after])| before - after).sum();
    if saved <= TABLE {
        return Ok(Packed::default());
    }
    raise_to(file, CUMULATIVE)?;
    let table = file.fresh("bits_of_bytes");
    let bits = (0..TABLE).map(|i| ((i / 8) >> (i % 8) & 1) as u8).collect();
    file.set_constant(&table, &Tensor::new([TABLE / 8, 8], bits)?)?;
    let [all, axis] = [file.fresh("all"), file.fresh("first_axis")];
    file.set_constant(&all, &Tensor::vector(vec![-1i64]))?;
    file.set_constant(&axis, &Tensor::scalar(0i32))?;
    let mut packed = Packed { constants: found.len(), ..Packed::default() };
    for (name, tensor, sparse, [before, after]) in found {
        packed.before += before;
        packed.after += after;
        write(file, &name, &tensor, sparse, [&table, &all, &axis])?;
    }
    file.drop_unread();
    Ok(packed)
}

/// The bytes of the table of all bytes' bits.
const TABLE: usize = 256 * 8;

/// A constant without its zeros.
struct Sparse {
    mask: Vec<u8>,
    /// The zero, and then all others in their order.
    values: Tensor,
}

impl Sparse {
    /// Of a constant of more than a few numbers.
    fn of(tensor: &Tensor) -> Option<Self> {
        let size = match tensor.element_type() {
            ElementType::String | ElementType::I4 | ElementType::U4 | ElementType::F4E2M1 => return None,
            other => other.size(),
        };
        let bytes = tensor.bytes();
        // Of bytes with a zero point the most frequent one is the zero.
        let mut zero = vec![0u8; size];
        if size == 1 {
            let mut counts = [0usize; 256];
            bytes.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
            zero[0] = (0..=255u8).max_by_key(|&byte| (counts[usize::from(byte)], byte == 0))?;
        }
        let mut mask = vec![0u8; tensor.len().div_ceil(8)];
        let mut values = zero.clone();
        for (i, element) in bytes.chunks_exact(size).enumerate().filter(|(_, element)| *element != zero) {
            if let Some(byte) = mask.get_mut(i / 8) {
                *byte |= 1 << (i % 8);
            }
            values.extend_from_slice(element);
        }
        let count = values.len() / size;
        let values = Tensor::from_bytes(tensor.element_type(), [count], values.into()).ok()?;
        // An index has 32 bits.
        (i32::try_from(tensor.len()).is_ok()).then_some(Self { mask, values })
    }

    fn bytes(&self) -> usize {
        self.mask.len() + self.values.bytes().len()
    }
}

/// Puts the nodes that unpack a constant in its place.
fn write(
    file: &mut ModelFile,
    name: &str,
    tensor: &Tensor,
    sparse: Sparse,
    [table, all, axis]: [&str; 3],
) -> Result<(), CompressError> {
    let names = [
        "mask", "values", "shape", "start", "end", "places", "bytes", "bits", "flat", "sums", "index", "padded",
        "whole",
    ]
    .map(|what| file.fresh(&format!("{name}_{what}")));
    let [mask, values, shape, start, end, places, bytes, bits, flat, sums, index, padded, whole] =
        names.each_ref().map(String::as_str);
    let node = |operator: &str, inputs: &[&str], output: &str| {
        NodeProto::new(operator, format!("{MARK}{name}/{operator}/{output}"), inputs, &[output])
    };
    let cut = !tensor.len().is_multiple_of(8);
    let mut nodes = vec![
        node("Cast", &[mask], places).with_int("to", INT),
        node("Gather", &[table, places], bytes),
        node("Cast", &[bytes], bits).with_int("to", INT),
        node("Reshape", &[bits, all], flat),
        node("CumSum", &[flat, axis], sums),
        node("Mul", &[sums, flat], index),
        node("Gather", &[values, index], if cut { padded } else { whole }),
    ];
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    if cut {
        // The last byte has bits for places that there are not.
        nodes.push(node("Slice", &[padded, start, end], whole));
    }
    nodes.push(node("Reshape", &[whole, shape], name));
    file.replace_constant(name, nodes);
    if cut {
        file.set_constant(start, &Tensor::vector(vec![0i64]))?;
        file.set_constant(end, &Tensor::vector(vec![number(tensor.len())]))?;
    }
    let dims = tensor.shape().iter().map(|&d| number(d)).collect();
    file.set_constant(mask, &Tensor::vector(sparse.mask))?;
    file.set_constant(values, &sparse.values)?;
    file.set_constant(shape, &Tensor::vector::<i64>(dims))?;
    Ok(())
}

/// Makes constants again of those that [`pack_zeros`] has packed, so that they can be compressed anew. How many there were.
///
/// # Errors
/// If nodes that are called as those that unpack cannot be computed.
pub fn unpack_zeros(file: &mut ModelFile) -> Result<usize, CompressError> {
    let ours = |node: &NodeProto| node.name.as_deref().is_some_and(|name| name.starts_with(MARK));
    let constants: HashSet<&str> = file.constants().collect();
    // Nodes of a file stand in an order in which they can run.
    let mut known: HashSet<&str> = HashSet::new();
    let mut unpacked = vec![];
    for (place, node) in file.nodes.iter().map(Part::get).enumerate().filter(|(_, node)| ours(node)) {
        if node.input.iter().all(|name| constants.contains(name.as_str()) || known.contains(name.as_str())) {
            known.insert(node.result());
            unpacked.push(place);
        }
    }
    let inner: HashSet<&str> = unpacked
        .iter()
        .filter_map(|&place| file.nodes.get(place))
        .flat_map(|part| &part.get().input)
        .map(String::as_str)
        .collect();
    let results = unpacked.iter().filter_map(|&place| file.nodes.get(place)).map(|part| part.get().result());
    let ends: Vec<String> = results.filter(|name| !inner.contains(name)).map(str::to_owned).collect();
    if ends.is_empty() {
        return Ok(0);
    }
    let tensors = computed(file, &unpacked, &ends)?;
    let gone: HashSet<usize> = unpacked.into_iter().collect();
    let mut place = 0;
    file.nodes.retain(|_| {
        place += 1;
        !gone.contains(&(place - 1))
    });
    for (name, tensor) in ends.iter().zip(&tensors) {
        file.set_constant(name, tensor)?;
    }
    file.drop_unread();
    Ok(ends.len())
}

/// What these nodes of a file compute of its constants.
fn computed(file: &ModelFile, nodes: &[usize], names: &[String]) -> Result<Vec<Tensor>, CompressError> {
    let mut part = file.clone();
    part.nodes = nodes.iter().filter_map(|&place| file.nodes.get(place).cloned()).collect();
    part.inputs.clear();
    part.between.clear();
    part.show_only(names);
    part.drop_unread();
    let model = part.model()?;
    let outputs = reference::evaluate(model.graph(), &[], |_, value| value).map_err(RunError::from)?;
    let lost = || CompressError::Nothing("what unpacks a constant gives no tensor".to_owned());
    outputs.into_iter().map(|value| value.into_tensor().ok_or_else(lost)).collect()
}
