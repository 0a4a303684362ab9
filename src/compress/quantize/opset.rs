//! Bringing a model to a newer operator set, where its nodes allow it.

use crate::compress::CompressError;
use crate::onnx::messages::NodeProto;
use crate::onnx::{ModelFile, Part};
use crate::tensor::Tensor;

/// The operator set since which scales go along an axis.
pub const PER_AXIS: i64 = 13;

/// Operators of which no version from 7 to 13 means anything else, but for what [`Change`] says of them.
const SAME: [&str; 101] = [
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "And",
    "ArgMax",
    "ArgMin",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "AveragePool",
    "Cast",
    "Ceil",
    "Celu",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvTranspose",
    "Cos",
    "Cosh",
    "DepthToSpace",
    "Det",
    "Div",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "EyeLike",
    "Flatten",
    "Floor",
    "GRU",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Greater",
    "HardSigmoid",
    "Identity",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LRN",
    "LSTM",
    "LeakyRelu",
    "Less",
    "Log",
    "MatMul",
    "Max",
    "MaxPool",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Neg",
    "NonZero",
    "Not",
    "OneHot",
    "Or",
    "PRelu",
    "Pow",
    "RNN",
    "Range",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "Shape",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Size",
    "Softplus",
    "Softsign",
    "SpaceToDepth",
    "Sqrt",
    "Sub",
    "Sum",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Tile",
    "Transpose",
    "Where",
    "Xor",
];

/// What has to be done to a node.
enum Change {
    Nothing,
    /// An attribute becomes an input, a list of integers, at this place.
    Input(&'static str, usize),
    /// Bounds become inputs.
    Bounds,
    /// An attribute is dropped.
    Drop(&'static str),
    /// The axis that went without saying changes.
    Axis,
}

/// What it takes to bring a node from one operator set to the 13th; `None` where that is not known.
fn change(node: &NodeProto, from: i64, rank: impl Fn(&str) -> Option<usize>) -> Option<Change> {
    let operator = node.standard()?;
    let graphs = node.attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty());
    Some(match operator {
        _ if graphs || from < 7 => return None,
        "Clip" if from < 11 => Change::Bounds,
        "Clip" | "Pad" | "Slice" | "Resize" | "CumSum" | "TopK" | "Round" if from >= 11 => Change::Nothing,
        "Dropout" if from < 12 => Change::Drop("ratio"),
        "Dropout" => Change::Nothing,
        "BatchNormalization" => match node.int("spatial") {
            None => Change::Nothing,
            Some(1) => Change::Drop("spatial"),
            Some(_) => return None,
        },
        "Squeeze" | "Unsqueeze" | "ReduceSum" => {
            if node.attribute("axes").is_some() {
                Change::Input("axes", 1)
            } else {
                Change::Nothing
            }
        }
        "Split" if node.attribute("split").is_some() => Change::Input("split", 1),
        "Split" => Change::Nothing,
        "Softmax" | "LogSoftmax" => {
            // All axes from this one on counted as one: the same where it is the last.
            let axis = node.int("axis").unwrap_or(1);
            let last = axis == -1 || rank(node.given(0)?)? as i64 == axis + 1;
            if last { Change::Axis } else { return None }
        }
        operator if SAME.contains(&operator) => Change::Nothing,
        _ => return None,
    })
}

/// Brings a model to the 13th operator set if it is older than it needs to be.
///
/// # Errors
/// As [`raise`].
pub fn raise_to(file: &mut ModelFile, needed: i64) -> Result<(), CompressError> {
    match file.opset("") {
        Some(opset) if opset < needed => raise(file, PER_AXIS),
        _ => Ok(()),
    }
}

/// Brings a model to this operator set, the 13th, if it is older.
///
/// # Errors
/// With the first node that stands in the way.
pub fn raise(file: &mut ModelFile, needed: i64) -> Result<(), CompressError> {
    let opset = file.opset("").unwrap_or(needed);
    if opset >= needed {
        return Ok(());
    }
    let model = file.model()?;
    let rank = |name: &str| model.graph().fact(model.graph().find(name)?).map(|fact| fact.shape.len());
    // Other domains have versions of their own.
    let standard = file.nodes.iter().map(Part::get).enumerate().filter(|(_, node)| node.standard().is_some());
    let known = standard.map(|(place, node)| {
        let refused = || CompressError::Opset {
            opset,
            needed,
            node: node.called().to_owned(),
            operator: node.operator().to_owned(),
        };
        Ok((place, change(node, opset, rank).ok_or_else(refused)?))
    });
    // Nothing is changed if one of them is in the way.
    let changes: Vec<(usize, Change)> = known.collect::<Result<_, CompressError>>()?;
    for (place, change) in changes {
        let Some(node) = file.nodes.get(place).map(|part| part.get().clone()) else { continue };
        let raised = match change {
            Change::Nothing => continue,
            Change::Drop(name) => without(node.clone(), name),
            Change::Axis => node.clone().with_int("axis", -1),
            Change::Input(name, at) => {
                let numbers = node.ints(name).unwrap_or_default().to_vec();
                with_constant(file, without(node.clone(), name), at, name, &Tensor::vector(numbers))?
            }
            Change::Bounds => {
                let mut raised = without(without(node.clone(), "min"), "max");
                for (at, name) in [(1, "min"), (2, "max")] {
                    if let Some(bound) = node.float(name) {
                        raised = with_constant(file, raised, at, name, &Tensor::scalar(bound))?;
                    }
                }
                raised
            }
        };
        if let Some(part) = file.nodes.get_mut(place) {
            *part = Part::new(raised);
        }
    }
    for set in &mut file.opsets {
        if matches!(set.domain.as_deref(), None | Some("" | "ai.onnx")) {
            set.version = Some(needed);
        }
    }
    Ok(())
}

fn without(mut node: NodeProto, name: &str) -> NodeProto {
    node.attribute.retain(|attribute| attribute.name.as_deref() != Some(name));
    node
}

fn with_constant(
    file: &mut ModelFile,
    mut node: NodeProto,
    at: usize,
    name: &str,
    tensor: &Tensor,
) -> Result<NodeProto, CompressError> {
    let constant = file.fresh(&format!("{}_{name}", node.called()));
    file.set_constant(&constant, tensor)?;
    node.input.resize(node.input.len().max(at + 1), String::new());
    if let Some(input) = node.input.get_mut(at) {
        *input = constant;
    }
    Ok(node)
}
