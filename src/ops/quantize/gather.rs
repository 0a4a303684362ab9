//! GatherBlockQuantized (com.microsoft): parts of a tensor of small integers in blocks, by their indices along an axis, as
//! floats: the embeddings of quantized language models.
//!
//! `y = (gather(q) - gather(zero)) · gather(scale)`, a scale and a zero point for each block along the axis `quantize_axis`.
//! Numbers of 2, 4 or 8 bits may lie packed in bytes, the first in the lowest bits; their zero points lie packed as well, and
//! are the middle of the range where there are none.

use std::sync::Arc;

use crate::graph::{Definition, DefinitionError, Dim, Operator, ShapeError, ValueId};
use crate::ops::composite::{Composite, Recipe};
use crate::tensor::shape::axis;
use crate::tensor::{ElementType, Tensor};

/// Makes a GatherBlockQuantized.
pub(in crate::ops) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Attributes::of(d)?;
    Ok(Arc::new(Composite::new(d, build)))
}

struct Attributes {
    gather: i64,
    quantize: i64,
    block: i64,
    bits: u8,
}

impl Attributes {
    fn of(d: &Definition) -> Result<Self, DefinitionError> {
        let bits = match d.int("bits")?.unwrap_or(4) {
            bits @ (2 | 4 | 8) => bits as u8,
            bits => return Err(DefinitionError::Value("bits", format!("is {bits}; it must be 2, 4 or 8"))),
        };
        let block = d.int("block_size")?.unwrap_or(128);
        if !(16..1 << 30).contains(&block) || block.count_ones() != 1 {
            let message = format!("is {block}; it must be a power of two, 16 or more");
            return Err(DefinitionError::Value("block_size", message));
        }
        let axis = |name, default| Ok::<_, DefinitionError>(d.int(name)?.unwrap_or(default));
        Ok(Self { gather: axis("gather_axis", 0)?, quantize: axis("quantize_axis", 1)?, block, bits })
    }
}

fn build(d: &Definition, recipe: &mut Recipe, inputs: &[Option<ValueId>]) -> Result<Vec<Option<ValueId>>, ShapeError> {
    let Attributes { gather, quantize, block, bits } =
        Attributes::of(d).map_err(|e| ShapeError { unsupported: e.unsupported(), ..ShapeError::new(e.to_string()) })?;
    let given = |i: usize| inputs.get(i).copied().flatten();
    let needed = |i| given(i).ok_or_else(|| ShapeError::new(format!("input {i} is missing")));
    let (data, indices, scale) = (needed(0)?, needed(1)?, needed(2)?);
    let rank = recipe.rank(data)?;
    let (Some(gather), Some(quantize)) = (axis(gather, rank), axis(quantize, rank)) else {
        return Err(ShapeError::new(format!("it has axes that {rank} dimensions do not have")));
    };
    let element_type = recipe.fact(data)?.element_type;
    let packed = match element_type {
        ElementType::U8 => true,
        ElementType::I4 | ElementType::U4 if bits == 4 => false,
        other => return Err(ShapeError::new(format!("it does not take {bits} bits of {other}"))),
    };
    if gather == quantize || (packed && quantize + 1 != rank) {
        return Err(ShapeError::new(format!(
            "it cannot gather along axis {gather} what is in blocks along {quantize}"
        )));
    }
    if recipe.rank(scale)? != rank {
        return Err(ShapeError::new("its scales have another rank"));
    }
    let taken = |recipe: &mut Recipe, id| {
        recipe.node(Definition::new("Gather").attribute("axis", gather as i64), &[id, indices])
    };
    // Where the axis lies in what was gathered.
    let along = if quantize < gather { quantize } else { quantize + recipe.rank(indices)? - 1 };
    let (mut q, scale) = (taken(recipe, data)?, taken(recipe, scale)?);
    let mut zero = given(3).map(|zero| taken(recipe, zero)).transpose()?;
    if packed && bits < 8 {
        q = unpacked(recipe, q, bits)?;
        if let Some(bytes) = zero {
            let blocks = recipe.dim(scale, along)?;
            let blocks = blocks.known().ok_or_else(|| ShapeError::new("how many scales it has is not known"))?;
            let all = unpacked(recipe, bytes, bits)?;
            zero = Some(recipe.slice(all, along as i64, 0, blocks)?);
        }
    }
    if packed && zero.is_none() {
        let middle = recipe.constant(Tensor::scalar(1u8 << (bits - 1)));
        let shape: Option<Vec<i64>> = recipe.fact(scale)?.shape.iter().map(Dim::known).collect();
        let shape = match shape {
            Some(shape) => recipe.integers(shape),
            None => recipe.apply("Shape", &[scale])?,
        };
        zero = Some(recipe.apply("Expand", &[middle, shape])?);
    }
    let back = Definition::new("DequantizeLinear").attribute("axis", along as i64).attribute("block_size", block);
    let y = recipe.outputs(back, &[Some(q), Some(scale), zero])?[0];
    Ok(vec![Some(y)])
}

/// The numbers that lie packed in bytes, along the last axis.
fn unpacked(recipe: &mut Recipe, bytes: ValueId, bits: u8) -> Result<ValueId, ShapeError> {
    let rank = recipe.rank(bytes)?;
    let per = 8 / bits;
    let mask = recipe.constant(Tensor::scalar((1u8 << bits) - 1));
    let last = recipe.integers([rank as i64]);
    let mut parts = vec![];
    for i in 0..per {
        let mut part = bytes;
        if i > 0 {
            let by = recipe.constant(Tensor::scalar(i * bits));
            part = recipe.node(Definition::new("BitShift").attribute("direction", "RIGHT"), &[part, by])?;
        }
        if i + 1 < per {
            part = recipe.apply("BitwiseAnd", &[part, mask])?;
        }
        parts.push(recipe.apply("Unsqueeze", &[part, last])?);
    }
    let all = recipe.node(Definition::new("Concat").attribute("axis", rank as i64), &parts)?;
    let Dim::Known(count) = recipe.dim(bytes, rank - 1)? else {
        return Err(ShapeError::new("how many bytes there are is not known"));
    };
    let count = count.checked_mul(per.into()).ok_or_else(|| ShapeError::new("it has too many bytes"))?;
    let mut shape = vec![0; rank - 1];
    shape.push(count);
    recipe.reshape(all, shape)
}
