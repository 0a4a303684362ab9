//! Weights of four bits in blocks: products with matrices become MatMulNBits, tables of embeddings GatherBlockQuantized.

use super::compensation::Compensation;
use super::grid::{self, Nibbles};
use super::moments::Calibration;
use super::rounding;
use super::weights::FEW;
use super::{Quantization, QuantizedLayer, Stored, weights};
use crate::compress::CompressError;
use crate::compress::layers::Layer;
use crate::compress::samples::Sample;
use crate::onnx::messages::NodeProto;
use crate::onnx::{ModelFile, Part};
use crate::session::Device;
use crate::tensor::{ElementType, Tensor};

const DOMAIN: &str = "com.microsoft";

/// Rows beyond this length are rounded each to the nearest: how their elements go together takes the square of it.
const LONGEST: usize = 8192;

/// A matrix that weights of a layer are, whether they lie in the file as they are or as bytes with scales.
pub fn matrix(file: &ModelFile, name: &str) -> Option<Tensor> {
    if let Some(tensor) = file.constant(name) {
        return (tensor.element_type() == ElementType::F32 && tensor.rank() == 2).then_some(tensor);
    }
    let node = file.nodes.iter().map(Part::get).find(|node| node.result() == name)?;
    if !node.is("DequantizeLinear") || node.int("block_size").unwrap_or_default() != 0 {
        return None;
    }
    let (q, scale) = (file.constant(node.given(0)?)?, file.constant(node.given(1)?)?.to_f64());
    let zero = match node.given(2) {
        Some(zero) => file.constant(zero)?.to_f64(),
        None => vec![0.0],
    };
    let &[a, b] = q.shape() else { return None };
    let axis = crate::tensor::shape::axis(node.int("axis").unwrap_or(1), 2)?;
    let at = |numbers: &[f64], i: usize| match numbers {
        [one] => Some(*one),
        numbers => numbers.get(if axis == 0 { i / b } else { i % b }).copied(),
    };
    let value = |(i, q): (usize, f64)| Some(((q - at(&zero, i)?) * at(&scale, i)?) as f32);
    let values: Option<Vec<f32>> = q.to_f64().into_iter().enumerate().map(value).collect();
    Tensor::new([a, b], values?).ok()
}

/// Layers in blocks of four bits: products with matrices, tables of embeddings; what is none of these in bytes.
///
/// Products make up for what rounding loses on the inputs that samples show, where there are samples: those that the model gives
/// whose layers before are rounded already. Products that are kept stay in bytes, or become bytes.
pub fn quantize(
    file: &mut ModelFile,
    how: &Quantization,
    layers: &[Layer],
    kept: &[String],
    samples: &[Sample],
    device: &Device,
) -> Result<Vec<QuantizedLayer>, CompressError> {
    let before = file.clone();
    let mut calibration = (!samples.is_empty()).then(|| Calibration::new(&before, samples, device));
    let mut quantized = vec![];
    tables(file, how, &mut quantized)?;
    let mut place = 0;
    // What is known of the inputs of the product before: products side by side have the same.
    let mut known: Option<(String, Option<Compensation>)> = None;
    while let Some(node) = file.nodes.get(place).map(|part| part.get().clone()) {
        let product = if how.names(&node) { Matrix::of(file, &node) } else { None };
        let replaced = match product {
            Some(_) if kept.iter().any(|name| name == node.called()) => {
                // Of floats it is one of the others.
                if !layers.iter().any(|layer| layer.name == node.called()) {
                    quantized.push(QuantizedLayer::of(&node, Stored::Bytes));
                }
                None
            }
            Some(matrix) => {
                let (x, k) = (node.given(0).unwrap_or_default(), matrix.k);
                if let Some(calibration) = &mut calibration
                    && known.as_ref().is_none_or(|(name, _)| name != x)
                {
                    let moments = if k <= LONGEST { Some(calibration.moments(file, x, k)?) } else { None };
                    known = Some((x.to_owned(), moments.and_then(Compensation::new)));
                }
                let compensation = known.as_ref().and_then(|(_, compensation)| compensation.as_ref());
                file.use_domain(DOMAIN, 1);
                Some(product_of(file, &node, &matrix, how.block, compensation)?)
            }
            None => None,
        };
        place += replaced.as_ref().map_or(1, Vec::len);
        if let Some(nodes) = replaced {
            quantized.push(QuantizedLayer::of(&node, Stored::Nibbles));
            let end = place - nodes.len();
            file.nodes.splice(end..=end, nodes.into_iter().map(Part::new));
        }
    }
    let done = |layer: &&Layer| quantized.iter().any(|done: &QuantizedLayer| done.name == layer.name);
    let others: Vec<Layer> = layers.iter().filter(|layer| !done(layer)).cloned().collect();
    file.drop_dead();
    // Places have moved.
    if !others.is_empty() {
        quantized.extend(weights::bytes(file, &others)?);
    }
    Ok(quantized)
}

/// The products that may be ones of blocks, and how many weights each has.
pub fn products(file: &ModelFile, how: &Quantization) -> Vec<(String, usize)> {
    let nodes = file.nodes.iter().map(Part::get).filter(|node| how.names(node));
    nodes.filter_map(|node| Some((node.called().to_owned(), Matrix::of(file, node)?.floats.len()))).collect()
}

/// The constants of numbers in blocks: their name, and that of their scales.
fn store(
    file: &mut ModelFile,
    name: &str,
    shape: Vec<usize>,
    rows: usize,
    nibbles: &Nibbles,
) -> Result<[String; 2], CompressError> {
    let (q, scale) = (file.fresh(&format!("{name}_int4")), file.fresh(&format!("{name}_int4_scale")));
    file.set_constant(&q, &Tensor::new(shape, nibbles.packed.clone())?)?;
    file.set_constant(&scale, &Tensor::new([rows, nibbles.scales.len() / rows.max(1)], nibbles.scales.clone())?)?;
    Ok([q, scale])
}

/// The weights of a MatMul or Gemm.
struct Matrix {
    floats: Tensor,
    outputs: usize,
    n: usize,
    k: usize,
}

impl Matrix {
    /// The weights of a product that may be one of blocks.
    fn of(file: &ModelFile, node: &NodeProto) -> Option<Self> {
        let outputs = usize::from(node.int("transB").unwrap_or_default() == 0);
        if !(node.is("Gemm") || node.is("MatMul"))
            || node.int("transA").unwrap_or_default() != 0
            || node.float("beta").unwrap_or(1.0) != 1.0
        {
            return None;
        }
        node.given(0)?;
        let floats = matrix(file, node.given(1)?).filter(|matrix| matrix.len() >= FEW)?;
        let (n, k) = (floats.shape()[outputs], floats.shape()[1 - outputs]);
        Some(Self { floats, outputs, n, k })
    }
}

/// A MatMul or Gemm with a matrix of weights as MatMulNBits.
fn product_of(
    file: &mut ModelFile,
    node: &NodeProto,
    matrix: &Matrix,
    block: usize,
    compensation: Option<&Compensation>,
) -> Result<Vec<NodeProto>, CompressError> {
    let (x, weights) = (node.given(0).unwrap_or_default(), node.given(1).unwrap_or_default());
    let &Matrix { outputs, n, k, .. } = matrix;
    let rows = grid::rows(&matrix.floats, outputs, node.float("alpha").unwrap_or(1.0));
    let (nibbles, blocks) = (rounding::nibbles(&rows, k, block, compensation), k.div_ceil(block));
    let [q, scale] = store(file, weights, vec![n, blocks, block / 2], n, &nibbles)?;
    let zero = file.fresh(&format!("{weights}_int4_zero"));
    file.set_constant(&zero, &Tensor::new([n, blocks.div_ceil(2)], nibbles.packed_zeros(blocks))?)?;
    let bias = if node.is("Gemm") { node.given(2) } else { None };
    let y = node.result();
    let result = if bias.is_some() { file.fresh(&format!("{y}_product")) } else { y.to_owned() };
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let product = NodeProto::new("MatMulNBits", node.called().to_owned(), &[x, &q, &scale, &zero], &[&result])
        .in_domain(DOMAIN)
        .with_int("K", number(k))
        .with_int("N", number(n))
        .with_int("bits", 4)
        .with_int("block_size", number(block));
    let mut nodes = vec![product];
    if let Some(bias) = bias {
        nodes.push(NodeProto::new("Add", format!("{}_bias", node.called()), &[&result, bias], &[y]));
    }
    Ok(nodes)
}

/// Tables that rows are taken of: floats, or bytes with a scale for each row that is taken beside them and multiplied with.
fn tables(file: &mut ModelFile, how: &Quantization, quantized: &mut Vec<QuantizedLayer>) -> Result<(), CompressError> {
    for place in 0..file.nodes.len() {
        let Some(node) = file.nodes.get(place).map(|part| part.get().clone()) else { continue };
        if !node.is("Gather") || node.int("axis").unwrap_or_default() != 0 || !how.names(&node) {
            continue;
        }
        let (Some(table), Some(indices)) = (node.given(0), node.given(1)) else { continue };
        let Some((floats, last)) = table_of(file, place, &node) else { continue };
        let &[rows, length] = floats.shape() else { continue };
        // What is padded to a block would come out as further elements.
        if floats.len() < FEW || length % how.block != 0 {
            continue;
        }
        let nibbles = grid::nibbles(floats.as_slice::<f32>()?, length, how.block);
        let [q, scale] = store(file, table, vec![rows, length / 2], rows, &nibbles)?;
        let result = file.nodes.get(last).map(|part| part.get().result().to_owned()).unwrap_or_default();
        let gather =
            NodeProto::new("GatherBlockQuantized", node.called().to_owned(), &[&q, indices, &scale], &[&result])
                .in_domain(DOMAIN)
                .with_int("gather_axis", 0)
                .with_int("quantize_axis", 1)
                .with_int("bits", 4)
                .with_int("block_size", i64::try_from(how.block).unwrap_or(i64::MAX));
        // In the last one's place: what was between has no reader any more.
        if let Some(part) = file.nodes.get_mut(last) {
            *part = Part::new(gather);
        }
        quantized.push(QuantizedLayer::of(&node, Stored::Nibbles));
        file.use_domain(DOMAIN, 1);
    }
    file.drop_dead();
    Ok(())
}

/// The table that a Gather takes rows of, in floats, and the place of the node that gives these: the Gather itself, or the
/// Mul by which its bytes become floats.
fn table_of(file: &ModelFile, place: usize, gather: &NodeProto) -> Option<(Tensor, usize)> {
    let table = file.constant(gather.given(0)?).filter(|table| table.rank() == 2)?;
    if table.element_type() == ElementType::F32 {
        return Some((table, place));
    }
    if table.element_type() != ElementType::I8 {
        return None;
    }
    let only_reader = |name: &str| {
        let mut readers = file.nodes.iter().enumerate().filter(|(_, part)| part.get().input.iter().any(|i| i == name));
        let first = readers.next()?;
        readers.next().is_none().then_some((first.0, first.1.get()))
    };
    let (_, cast) = only_reader(gather.result()).filter(|(_, node)| node.is("Cast"))?;
    let (last, mul) = only_reader(cast.result()).filter(|(_, node)| node.is("Mul"))?;
    let other = mul.input.iter().find(|name| *name != cast.result())?;
    let scales = file.nodes.iter().map(Part::get).find(|node| node.result() == other)?;
    if !scales.is("Gather") || scales.given(1) != gather.given(1) || scales.int("axis").unwrap_or_default() != 0 {
        return None;
    }
    let scale = file.constant(scales.given(0)?)?;
    let &[rows, length] = table.shape() else { return None };
    // One scale for each row.
    if scale.shape() != [rows, 1] {
        return None;
    }
    let scale = scale.to_f64();
    let value = |(i, q): (usize, f64)| Some((q * scale.get(i / length)?) as f32);
    let values: Option<Vec<f32>> = table.to_f64().into_iter().enumerate().map(value).collect();
    Some((Tensor::new([rows, length], values?).ok()?, last))
}
