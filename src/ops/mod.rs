//! The operators: one file per family, with its parameters, shape rule, reference, GPU candidates and tests.
//!
//! Adding one touches its file, its shader, and a line of `REGISTRY`.

use std::sync::Arc;

use crate::graph::{Definition, DefinitionError, Operator, Unsupported};

pub(crate) mod attention;
pub mod batch_normalization;
pub mod binary;
mod broadcast;
pub mod cast;
pub(crate) mod concat;
mod constant;
pub(crate) mod conv;
pub(crate) mod conv_transpose;
pub mod convert;
mod cumulative_sum;
pub(crate) mod depth_to_space;
pub(crate) mod expand;
mod gather;
mod gather_elements;
mod identity;
mod mask;
pub(crate) mod matmul;
pub mod norm;
pub(crate) mod pad;
pub(crate) mod pool;
mod quantize;
mod range;
mod recurrent;
pub mod reduce;
mod remap;
pub(crate) mod reshape;
pub(crate) mod resize;
mod scatter;
pub mod select;
mod shape;
pub(crate) mod slice;
mod split;
pub(crate) mod strided;
mod top_k;
pub(crate) mod transpose;
pub mod unary;
pub(crate) mod window;

/// Makes an operator from its definition.
type Constructor = fn(&Definition) -> Result<Arc<dyn Operator>, DefinitionError>;

/// Every operator that files can name: domain, name, the first operator set that has it, and how it is made.
const REGISTRY: &[(&str, &str, i64, Constructor)] = &[
    ("", "Abs", 1, unary::make),
    ("", "Acos", 7, unary::make),
    ("", "Acosh", 9, unary::make),
    ("", "Add", 1, binary::make),
    ("", "And", 1, binary::make),
    ("", "ArgMax", 1, reduce::arg::make),
    ("", "ArgMin", 1, reduce::arg::make),
    ("", "Asin", 7, unary::make),
    ("", "Asinh", 9, unary::make),
    ("", "Atan", 7, unary::make),
    ("", "Atanh", 9, unary::make),
    ("", "Attention", 23, attention::from_definition),
    ("", "AveragePool", 1, pool::pool),
    ("", "BatchNormalization", 1, batch_normalization::make),
    ("", "BitShift", 11, binary::make),
    ("", "BitwiseAnd", 18, binary::make),
    ("", "BitwiseNot", 18, unary::make),
    ("", "BitwiseOr", 18, binary::make),
    ("", "BitwiseXor", 18, binary::make),
    ("", "Cast", 1, cast::cast),
    ("", "CastLike", 15, cast::cast),
    ("", "Ceil", 1, unary::make),
    ("", "Celu", 12, unary::make),
    ("", "Clip", 1, unary::clip::make),
    ("", "Concat", 1, concat::from_definition),
    ("", "Constant", 1, constant::constant),
    ("", "ConstantOfShape", 9, constant::constant_of_shape),
    ("", "Conv", 1, conv::conv),
    ("", "ConvTranspose", 1, conv_transpose::conv_transpose),
    ("", "Cos", 7, unary::make),
    ("", "Cosh", 9, unary::make),
    ("", "CumSum", 11, cumulative_sum::from_definition),
    ("", "DepthToSpace", 1, depth_to_space::from_definition),
    ("", "DequantizeLinear", 10, quantize::make),
    ("", "Div", 1, binary::make),
    ("", "Dropout", 1, identity::from_definition),
    ("", "Elu", 1, unary::make),
    ("", "Equal", 1, binary::make),
    ("", "Erf", 9, unary::make),
    ("", "Exp", 1, unary::make),
    ("", "Expand", 8, expand::from_definition),
    ("", "EyeLike", 9, mask::from_definition),
    ("", "Flatten", 1, reshape::from_definition),
    ("", "Floor", 1, unary::make),
    ("", "Gather", 1, gather::from_definition),
    ("", "GatherElements", 11, gather_elements::from_definition),
    ("", "GatherND", 11, gather_elements::from_definition),
    ("", "Gelu", 20, unary::make),
    ("", "GRU", 7, recurrent::make),
    ("", "Gemm", 1, matmul::gemm),
    ("", "GlobalAveragePool", 1, pool::global),
    ("", "GlobalLpPool", 2, pool::global),
    ("", "GlobalMaxPool", 1, pool::global),
    ("", "Greater", 1, binary::make),
    ("", "GreaterOrEqual", 12, binary::make),
    ("", "HardSigmoid", 1, unary::make),
    ("", "HardSwish", 14, unary::make),
    ("", "Hardmax", 1, norm::softmax::make),
    ("", "Identity", 1, identity::from_definition),
    ("", "IsInf", 10, unary::make),
    ("", "IsNaN", 9, unary::make),
    ("", "LSTM", 7, recurrent::make),
    ("", "LeakyRelu", 1, unary::make),
    ("", "Less", 1, binary::make),
    ("", "LessOrEqual", 12, binary::make),
    ("", "Log", 1, unary::make),
    ("", "LogSoftmax", 1, norm::softmax::make),
    ("", "LpPool", 2, pool::pool),
    ("", "MatMul", 1, matmul::matmul),
    ("", "Max", 1, binary::variadic::make),
    ("", "MaxPool", 1, pool::pool),
    ("", "Mean", 1, binary::variadic::make),
    ("", "Min", 1, binary::variadic::make),
    ("", "Mish", 18, unary::make),
    ("", "Mod", 10, binary::make),
    ("", "Mul", 1, binary::make),
    ("", "Neg", 1, unary::make),
    ("", "Not", 1, unary::make),
    ("", "OneHot", 9, mask::from_definition),
    ("", "Or", 1, binary::make),
    ("", "PRelu", 1, binary::make),
    ("", "Pad", 1, pad::from_definition),
    ("", "Pow", 1, binary::make),
    ("", "QuantizeLinear", 10, quantize::make),
    ("", "RNN", 7, recurrent::make),
    ("", "Range", 11, range::from_definition),
    ("", "Reciprocal", 1, unary::make),
    ("", "ReduceL1", 1, reduce::make),
    ("", "ReduceL2", 1, reduce::make),
    ("", "ReduceLogSum", 1, reduce::make),
    ("", "ReduceLogSumExp", 1, reduce::make),
    ("", "ReduceMax", 1, reduce::make),
    ("", "ReduceMean", 1, reduce::make),
    ("", "ReduceMin", 1, reduce::make),
    ("", "ReduceProd", 1, reduce::make),
    ("", "ReduceSum", 1, reduce::make),
    ("", "ReduceSumSquare", 1, reduce::make),
    ("", "Relu", 1, unary::make),
    ("", "Reshape", 1, reshape::from_definition),
    ("", "Resize", 10, resize::from_definition),
    ("", "Round", 11, unary::make),
    ("", "Scatter", 9, scatter::from_definition),
    ("", "ScatterElements", 11, scatter::from_definition),
    ("", "ScatterND", 11, scatter::from_definition),
    ("", "Selu", 1, unary::make),
    ("", "Shape", 1, shape::from_definition),
    ("", "Sigmoid", 1, unary::make),
    ("", "Sign", 9, unary::make),
    ("", "Sin", 7, unary::make),
    ("", "Sinh", 9, unary::make),
    ("", "Size", 1, shape::from_definition),
    ("", "Slice", 1, slice::from_definition),
    ("", "Softmax", 1, norm::softmax::make),
    ("", "Softplus", 1, unary::make),
    ("", "Softsign", 1, unary::make),
    ("", "SpaceToDepth", 1, depth_to_space::from_definition),
    ("", "Split", 1, split::from_definition),
    ("", "Sqrt", 1, unary::make),
    ("", "Squeeze", 1, reshape::from_definition),
    ("", "Sub", 1, binary::make),
    ("", "Sum", 1, binary::variadic::make),
    ("", "Swish", 24, unary::make),
    ("", "Tan", 7, unary::make),
    ("", "Tanh", 1, unary::make),
    ("", "ThresholdedRelu", 10, unary::make),
    ("", "Tile", 6, expand::from_definition),
    ("", "TopK", 1, top_k::from_definition),
    ("", "Transpose", 1, transpose::from_definition),
    ("", "Trilu", 14, mask::from_definition),
    ("", "Unsqueeze", 1, reshape::from_definition),
    ("", "Upsample", 7, resize::from_definition),
    ("", "Xor", 1, binary::make),
    ("", "GroupNormalization", 18, norm::group::make),
    ("", "InstanceNormalization", 1, norm::group::make),
    ("", "LayerNormalization", 17, norm::layer::make),
    ("", "LpNormalization", 1, norm::layer::make),
    ("", "RMSNormalization", 23, norm::layer::make),
    ("", "Where", 9, select::make),
];

/// Whether there is an operator of this name.
pub fn exists(domain: &str, op_type: &str) -> bool {
    let domain = if domain == "ai.onnx" { "" } else { domain };
    REGISTRY.iter().any(|(d, name, ..)| *d == domain && *name == op_type)
}

/// Every operator's domain and name.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    REGISTRY.iter().map(|(domain, name, ..)| (*domain, *name))
}

/// Makes an operator.
///
/// # Errors
/// If there is none of this name in this operator set, or its attributes are wrong.
pub fn operator(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let domain = if definition.domain == "ai.onnx" { "" } else { &definition.domain };
    let entry = REGISTRY.iter().find(|(d, name, ..)| *d == domain && *name == definition.op_type);
    match entry {
        None => {
            Err(DefinitionError::Refused(Unsupported::of_domain(domain), "Rimlight has no such operator".to_owned()))
        }
        Some((_, _, since, _)) if definition.opset < *since => Err(DefinitionError::Refused(
            Unsupported::OperatorSet,
            format!("the operator is read from operator set {since} on, but the model uses {}", definition.opset),
        )),
        Some((_, _, _, make)) => make(definition),
    }
}
