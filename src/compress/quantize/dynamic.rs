//! Activations quantized in the run, by their own range: what is left of the model that needs no samples.

use std::collections::HashMap;

use super::weights::FEW;
use super::{QuantizedLayer, Stored, grid, opset};
use crate::compress::CompressError;
use crate::compress::layers::Layer;
use crate::onnx::messages::NodeProto;
use crate::onnx::{ModelFile, Part};
use crate::tensor::Tensor;

/// The operator set since which there is DynamicQuantizeLinear.
const DYNAMIC: i64 = 11;
const FLOAT: i64 = 1;

/// What is quantized already, by name: several layers may read one value, or the same weights.
#[derive(Debug, Default)]
struct Known {
    values: HashMap<String, [String; 3]>,
    weights: HashMap<(String, bool, usize), [String; 3]>,
    /// How many bits of a byte weights take.
    bits: u32,
}

/// Products and convolutions on bytes: DynamicQuantizeLinear, MatMulInteger or ConvInteger, and the scales multiplied in.
pub fn quantize(file: &mut ModelFile, bits: u32, layers: &[Layer]) -> Result<Vec<QuantizedLayer>, CompressError> {
    opset::raise_to(file, DYNAMIC)?;
    let mut quantized = vec![];
    let mut known = Known { bits, ..Known::default() };
    for layer in layers {
        let place = file
            .nodes
            .iter()
            .position(|part| part.get().called() == layer.name && part.get().operator() == layer.operator);
        let Some(place) = place else { continue };
        let node = file.nodes[place].get().clone();
        let plain = node.int("transA").unwrap_or_default() == 0
            && [node.float("alpha"), node.float("beta")].into_iter().flatten().all(|factor| factor == 1.0);
        let bias = node.given(2).is_none_or(|bias| file.constant(bias).is_some());
        let fits = plain && bias && layer.operator != "ConvTranspose" && layer.shape.iter().product::<usize>() >= FEW;
        quantized.push(QuantizedLayer::new(layer, if fits { Stored::Dynamic } else { Stored::Floats }));
        if fits {
            let nodes = integers(file, layer, &node, &mut known)?;
            file.nodes.splice(place..=place, nodes.into_iter().map(Part::new));
        }
    }
    file.drop_unread();
    Ok(quantized)
}

fn integers(
    file: &mut ModelFile,
    layer: &Layer,
    node: &NodeProto,
    known: &mut Known,
) -> Result<Vec<NodeProto>, CompressError> {
    let (x, y) = (node.given(0).unwrap_or_default(), node.result());
    let mut nodes = vec![];
    let same = known.values.get(x).cloned();
    let [q, scale, zero] = same.unwrap_or_else(|| {
        let names = ["quantized", "scale", "zero"].map(|what| file.fresh(&format!("{x}_{what}")));
        let outputs = names.each_ref().map(String::as_str);
        nodes.push(NodeProto::new("DynamicQuantizeLinear", format!("{x}_quantize"), &[x], &outputs));
        known.values.insert(x.to_owned(), names.clone());
        names
    });
    let conv = layer.operator == "Conv";
    let weights = (layer.weights.clone(), conv, layer.outputs);
    let same = known.weights.get(&weights).cloned();
    let [w, w_scale, w_zero] = match same {
        Some(names) => names,
        None => store(file, layer, conv, known.bits)?,
    };
    known.weights.insert(weights, [w.clone(), w_scale.clone(), w_zero.clone()]);
    let name = |what: &str| format!("{y}_{what}");
    let [sums, floats, scales, scaled] = ["sums", "floats", "scales", "scaled"].map(|what| file.fresh(&name(what)));
    let operator = if conv { "ConvInteger" } else { "MatMulInteger" };
    let mut product = NodeProto::new(operator, layer.name.clone(), &[&q, &w, &zero, &w_zero], &[&sums]);
    if conv {
        product.attribute.clone_from(&node.attribute);
    }
    let bias = node.given(2);
    let result = if bias.is_some() { scaled } else { y.to_owned() };
    nodes.extend([
        product,
        NodeProto::new("Cast", name("cast"), &[&sums], &[&floats]).with_int("to", FLOAT),
        NodeProto::new("Mul", name("scale"), &[&scale, &w_scale], &[&scales]),
        NodeProto::new("Mul", name("rescale"), &[&floats, &scales], &[&result]),
    ]);
    if let Some(bias) = bias {
        let bias = if conv { along_channels(file, bias, layer.shape.len())? } else { bias.to_owned() };
        nodes.push(NodeProto::new("Add", name("bias"), &[&result, &bias], &[y]));
    }
    Ok(nodes)
}

/// A layer's weights: bytes `[k, n]` of a product with a scale and a zero point for each column, or those of a convolution,
/// which engines take without a sign: 128 is zero.
fn store(file: &mut ModelFile, layer: &Layer, conv: bool, bits: u32) -> Result<[String; 3], CompressError> {
    let tensor = layer.tensor(file)?;
    let names = ["int8", "int8_scale", "int8_zero"].map(|what| file.fresh(&format!("{}_{what}", layer.weights)));
    let bytes = grid::signed_bytes(tensor.as_slice::<f32>()?, tensor.shape(), layer.outputs, bits, &[]);
    let count = bytes.scales.len();
    if conv {
        let shifted = bytes.data.iter().map(|&b| (i16::from(b) + 128) as u8).collect();
        file.set_constant(&names[0], &Tensor::new(tensor.shape(), shifted)?)?;
        let shape = [vec![1, count], vec![1; tensor.rank() - 2]].concat();
        file.set_constant(&names[1], &Tensor::new(shape, bytes.scales)?)?;
        file.set_constant(&names[2], &Tensor::scalar(128u8))?;
        return Ok(names);
    }
    let &[a, b] = tensor.shape() else { return Ok(names) };
    let data = match layer.outputs {
        0 => (0..b).flat_map(|k| (0..a).map(move |n| n * b + k)).filter_map(|i| bytes.data.get(i).copied()).collect(),
        _ => bytes.data,
    };
    let shape = if layer.outputs == 0 { [b, a] } else { [a, b] };
    file.set_constant(&names[0], &Tensor::new(shape, data)?)?;
    file.set_constant(&names[1], &Tensor::vector(bytes.scales))?;
    file.set_constant(&names[2], &Tensor::vector(vec![0i8; count]))?;
    Ok(names)
}

/// A bias as it is broadcast along the channels of a convolution's result.
fn along_channels(file: &mut ModelFile, bias: &str, rank: usize) -> Result<String, CompressError> {
    let missing = || CompressError::Options(format!("the bias '{bias}' is no constant"));
    let tensor = file.constant(bias).ok_or_else(missing)?;
    let name = file.fresh(&format!("{bias}_along_channels"));
    let shape = [vec![1, tensor.len()], vec![1; rank - 2]].concat();
    file.set_constant(&name, &tensor.reshaped(shape)?)?;
    Ok(name)
}
