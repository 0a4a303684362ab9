//! Weights stored in fewer bits, computed with in 32.

use std::collections::HashSet;

use half::f16;

use super::grid::{self, Bytes};
use super::{QuantizedLayer, Stored, opset};
use crate::compress::CompressError;
use crate::compress::layers::Layer;
use crate::onnx::ModelFile;
use crate::onnx::messages::NodeProto;
use crate::tensor::{ElementType, Tensor};

/// Constants below this many elements stay as they are: nothing is saved.
pub const FEW: usize = 256;

/// The number by which the format calls 32-bit floats.
const FLOAT: i64 = 1;

/// All constants of 32 bits as halves, with a Cast behind each.
pub fn halves(file: &mut ModelFile, layers: &[Layer]) -> Result<Vec<QuantizedLayer>, CompressError> {
    let names: Vec<String> = file.constants().map(str::to_owned).collect();
    let mut stored = HashSet::new();
    for name in names {
        let Some(tensor) = file.constant(&name).filter(|t| t.element_type() == ElementType::F32 && t.len() >= FEW)
        else {
            continue;
        };
        let values = tensor.as_slice::<f32>()?;
        // What a half cannot hold would become infinite.
        if values.iter().any(|v| v.is_finite() && v.abs() > f32::from(f16::MAX)) {
            continue;
        }
        let half = Tensor::new(tensor.shape(), values.iter().map(|&v| f16::from_f32(v)).collect())?;
        let constant = file.fresh(&format!("{name}_f16"));
        let cast = NodeProto::new("Cast", format!("{name}_cast"), &[&constant], &[&name]).with_int("to", FLOAT);
        file.replace_constant(&name, vec![cast]);
        file.set_constant(&constant, &half)?;
        stored.insert(name);
    }
    let of = |layer: &Layer| if stored.contains(&layer.weights) { Stored::Halves } else { Stored::Floats };
    let mut quantized = vec![];
    layers.iter().for_each(|layer| QuantizedLayer::add(&mut quantized, layer, of(layer)));
    Ok(quantized)
}

/// The weights of layers as bytes, with a scale for each output channel and a DequantizeLinear behind each.
pub fn bytes(file: &mut ModelFile, layers: &[Layer]) -> Result<Vec<QuantizedLayer>, CompressError> {
    opset::raise(file, opset::PER_AXIS)?;
    let mut quantized = vec![];
    for layer in layers {
        // Another layer may have had the same weights.
        let done = file.constant(&layer.weights).is_none();
        let worth = layer.shape.iter().product::<usize>() >= FEW;
        if !done && worth {
            dequantized(file, layer, 8, &[])?;
        }
        QuantizedLayer::add(&mut quantized, layer, if done || worth { Stored::Bytes } else { Stored::Floats });
    }
    Ok(quantized)
}

/// A layer's weights in so many bits of a byte behind a DequantizeLinear, with scales that are no smaller than these. The
/// bytes, to compute with.
pub fn dequantized(file: &mut ModelFile, layer: &Layer, bits: u32, least: &[f32]) -> Result<Bytes, CompressError> {
    let tensor = layer.tensor(file)?;
    let bytes = grid::signed_bytes(tensor.as_slice::<f32>()?, tensor.shape(), layer.outputs, bits, least);
    let name = &layer.weights;
    let fresh = |file: &ModelFile, what: &str| file.fresh(&format!("{name}_{what}"));
    let (q, scale, zero) = (fresh(file, "quantized"), fresh(file, "scale"), fresh(file, "zero"));
    let axis = i64::try_from(layer.outputs).unwrap_or_default();
    let node = NodeProto::new("DequantizeLinear", format!("{name}_dequantize"), &[&q, &scale, &zero], &[name]);
    file.replace_constant(name, vec![node.with_int("axis", axis)]);
    file.set_constant(&q, &Tensor::new(tensor.shape(), bytes.data.clone())?)?;
    file.set_constant(&zero, &Tensor::vector(vec![0i8; bytes.scales.len()]))?;
    file.set_constant(&scale, &Tensor::vector(bytes.scales.clone()))?;
    Ok(bytes)
}
