//! The layers of a model that have weights.

use super::CompressError;
use crate::onnx::messages::NodeProto;
use crate::onnx::{ModelFile, Part};
use crate::tensor::{ElementType, Tensor};

/// A layer with constant weights of 32 bits: a convolution, a product with a matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its node's name, or that of its first output.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// The name of its weights.
    pub weights: String,
    /// Their shape.
    pub shape: Vec<usize>,
    /// The axis of the weights along which the layer's outputs lie.
    pub outputs: usize,
    /// The axis along which what is summed up lies.
    pub inputs: usize,
    /// The node's place in the file.
    pub(crate) node: usize,
}

impl Layer {
    /// The layer that a node is.
    fn of(file: &ModelFile, place: usize, node: &NodeProto) -> Option<Self> {
        let weights = node.given(1)?;
        let (outputs, inputs) = axes(node)?;
        let tensor = file.constant(weights).filter(|tensor| tensor.element_type() == ElementType::F32)?;
        // A vector is no matrix, and a product with several of them has no channels.
        let rank = if matches!(node.operator(), "MatMul" | "Gemm") { tensor.rank() == 2 } else { tensor.rank() >= 3 };
        rank.then(|| Self {
            name: node.called().to_owned(),
            operator: node.operator().to_owned(),
            weights: weights.to_owned(),
            shape: tensor.shape().to_vec(),
            outputs,
            inputs,
            node: place,
        })
    }

    /// The layer's weights.
    pub(crate) fn tensor(&self, file: &ModelFile) -> Result<Tensor, CompressError> {
        let gone = || CompressError::Nothing(format!("layer '{}' has lost its weights '{}'", self.name, self.weights));
        file.constant(&self.weights).ok_or_else(gone)
    }
}

/// The axes of the weights of outputs and of inputs.
fn axes(node: &NodeProto) -> Option<(usize, usize)> {
    match node.standard()? {
        "Conv" => Some((0, 1)),
        "ConvTranspose" => Some((1, 0)),
        "Gemm" if node.int("transB").unwrap_or_default() != 0 => Some((0, 1)),
        "Gemm" | "MatMul" => Some((1, 0)),
        _ => None,
    }
}

/// The layers of a model that have constant weights, in the file's order: Conv, ConvTranspose, Gemm, and MatMul with a matrix
/// as its second operand. (Those in functions and in the graphs of attributes are not among them.)
pub fn layers(file: &ModelFile) -> Vec<Layer> {
    file.nodes.iter().enumerate().filter_map(|(place, part)| Layer::of(file, place, part.get())).collect()
}

/// The layers, and what else has matrices of weights that can be stored in fewer bits: tables that Gather or Slice take rows of,
/// and the two factors of each recurrent layer.
pub(crate) fn stored(file: &ModelFile) -> Vec<Layer> {
    let of = |(place, part): (usize, &Part<NodeProto>)| match part.get().standard() {
        Some("Gather") if part.get().int("axis").unwrap_or_default() == 0 => vec![matrix(file, place, 0, 2)],
        Some("Slice") => vec![matrix(file, place, 0, 2)],
        Some("RNN" | "GRU" | "LSTM") => vec![matrix(file, place, 1, 3), matrix(file, place, 2, 3)],
        _ => vec![Layer::of(file, place, part.get())],
    };
    file.nodes.iter().enumerate().flat_map(of).flatten().collect()
}

/// Rows that are shorter are not worth a scale of their own.
const SHORT: usize = 8;

/// A constant of so many dimensions that a node reads, the last of which is that of what is summed up or of a row.
fn matrix(file: &ModelFile, place: usize, input: usize, rank: usize) -> Option<Layer> {
    let node = file.nodes.get(place)?.get();
    let weights = node.given(input)?;
    let tensor = file.constant(weights).filter(|tensor| tensor.element_type() == ElementType::F32)?;
    let worth = tensor.rank() == rank && tensor.shape().last().is_some_and(|&length| length >= SHORT);
    (worth && tensor.as_slice::<f32>().ok()?.iter().all(|v| v.is_finite())).then(|| Layer {
        name: node.called().to_owned(),
        operator: node.operator().to_owned(),
        weights: weights.to_owned(),
        shape: tensor.shape().to_vec(),
        outputs: rank - 2,
        inputs: rank - 1,
        node: place,
    })
}

/// Of these layers those of these names, or of weights of these names; all where none is given.
///
/// # Errors
/// If there is no such layer, or none at all.
pub(crate) fn select(all: Vec<Layer>, names: &[String]) -> Result<Vec<Layer>, CompressError> {
    if all.is_empty() {
        return Err(CompressError::Nothing("the model has no layer with constant weights of 32 bits".to_owned()));
    }
    let is = |layer: &Layer, name: &String| layer.name == *name || layer.weights == *name;
    if let Some(name) = names.iter().find(|name| !all.iter().any(|layer| is(layer, name))) {
        let known = all.into_iter().map(|layer| layer.name).collect();
        return Err(CompressError::UnknownLayer { name: name.clone(), known });
    }
    Ok(all.into_iter().filter(|layer| names.is_empty() || names.iter().any(|name| is(layer, name))).collect())
}
