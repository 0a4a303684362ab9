//! Every operator by its name: since which operator set, with how many inputs and outputs, and how it is made.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::*;
use crate::graph::{Definition, DefinitionError, Operator, Unsupported};

/// Makes an operator from its definition.
type Constructor = fn(&Definition) -> Result<Arc<dyn Operator>, DefinitionError>;

/// Domain, name, the first operator set that has it in a form that is known, how many inputs it takes (in any of its
/// versions, optional ones counted), how many outputs at most, and how it is made.
type Entry = (&'static str, &'static str, i64, RangeInclusive<usize>, usize, Constructor);

/// As many inputs or outputs as a file likes.
const MANY: usize = usize::MAX;

/// Every operator that files can name.
const REGISTRY: &[Entry] = &[
    ("", "Abs", 1, 1..=1, 1, unary::make),
    ("", "Acos", 7, 1..=1, 1, unary::make),
    ("", "Acosh", 9, 1..=1, 1, unary::make),
    ("", "Add", 1, 2..=2, 1, binary::make),
    ("", "AffineGrid", 20, 2..=2, 1, grid::affine::make),
    ("", "And", 1, 2..=2, 1, binary::make),
    ("", "ArgMax", 1, 1..=1, 1, reduce::arg::make),
    ("", "ArgMin", 1, 1..=1, 1, reduce::arg::make),
    ("", "Asin", 7, 1..=1, 1, unary::make),
    ("", "Asinh", 9, 1..=1, 1, unary::make),
    ("", "Atan", 7, 1..=1, 1, unary::make),
    ("", "Atanh", 9, 1..=1, 1, unary::make),
    ("", "Attention", 23, 3..=7, 4, attention::from_definition),
    ("", "AveragePool", 1, 1..=1, 1, pool::pool),
    ("", "BatchNormalization", 1, 5..=5, 5, batch_normalization::make),
    ("", "Bernoulli", 15, 1..=1, 1, random::random),
    ("", "BitShift", 11, 2..=2, 1, binary::make),
    ("", "BitwiseAnd", 18, 2..=2, 1, binary::make),
    ("", "BitwiseNot", 18, 1..=1, 1, unary::make),
    ("", "BitwiseOr", 18, 2..=2, 1, binary::make),
    ("", "BitwiseXor", 18, 2..=2, 1, binary::make),
    ("", "BlackmanWindow", 17, 1..=1, 1, signal::window),
    ("", "Cast", 1, 1..=1, 1, cast::cast),
    ("", "CastLike", 15, 2..=2, 1, cast::cast),
    ("", "Ceil", 1, 1..=1, 1, unary::make),
    ("", "Celu", 12, 1..=1, 1, unary::make),
    ("", "Clip", 1, 1..=3, 1, unary::clip::make),
    ("", "CenterCropPad", 18, 2..=2, 1, center_crop_pad::make),
    ("", "Col2Im", 18, 3..=3, 1, col2im::make),
    ("", "Compress", 9, 2..=2, 1, non_zero::compress),
    ("", "Concat", 1, 1..=MANY, 1, concat::from_definition),
    ("", "ConcatFromSequence", 11, 1..=1, 1, sequence::from_definition),
    ("", "Constant", 1, 0..=0, 1, constant::constant),
    ("", "ConstantOfShape", 9, 1..=1, 1, constant::constant_of_shape),
    ("", "Conv", 1, 2..=3, 1, conv::conv),
    ("", "ConvInteger", 10, 2..=4, 1, quantize::convolution),
    ("", "ConvTranspose", 1, 2..=3, 1, conv_transpose::conv_transpose),
    ("", "Cos", 7, 1..=1, 1, unary::make),
    ("", "Cosh", 9, 1..=1, 1, unary::make),
    ("", "CumProd", 26, 2..=2, 1, cumulative_sum::from_definition),
    ("", "CumSum", 11, 2..=2, 1, cumulative_sum::from_definition),
    ("", "DFT", 17, 1..=3, 1, signal::dft),
    ("", "DeformConv", 19, 3..=5, 1, deform_conv::make),
    ("", "DepthToSpace", 1, 1..=1, 1, depth_to_space::from_definition),
    ("", "DequantizeLinear", 10, 2..=3, 1, quantize::linear),
    ("", "Det", 11, 1..=1, 1, determinant::make),
    ("", "Div", 1, 2..=2, 1, binary::make),
    ("", "Dropout", 1, 1..=3, 2, identity::from_definition),
    ("", "DynamicQuantizeLinear", 11, 1..=1, 3, quantize::dynamic),
    ("", "Einsum", 12, 1..=MANY, 1, einsum::make),
    ("", "Elu", 1, 1..=1, 1, unary::make),
    ("", "Equal", 1, 2..=2, 1, binary::make),
    ("", "Erf", 9, 1..=1, 1, unary::make),
    ("", "Exp", 1, 1..=1, 1, unary::make),
    ("", "Expand", 8, 2..=2, 1, expand::from_definition),
    ("", "EyeLike", 9, 1..=1, 1, mask::from_definition),
    ("", "Flatten", 1, 1..=1, 1, reshape::from_definition),
    ("", "Floor", 1, 1..=1, 1, unary::make),
    ("", "Gather", 1, 2..=2, 1, gather::from_definition),
    ("", "GatherElements", 11, 2..=2, 1, gather_elements::from_definition),
    ("", "GatherND", 11, 2..=2, 1, gather_elements::from_definition),
    ("", "Gelu", 20, 1..=1, 1, unary::make),
    ("", "GRU", 1, 3..=6, 2, recurrent::make),
    ("", "Gemm", 1, 2..=3, 1, matmul::gemm),
    ("", "GlobalAveragePool", 1, 1..=1, 1, pool::global),
    ("", "GlobalLpPool", 2, 1..=1, 1, pool::global),
    ("", "GlobalMaxPool", 1, 1..=1, 1, pool::global),
    ("", "Greater", 1, 2..=2, 1, binary::make),
    ("", "GreaterOrEqual", 12, 2..=2, 1, binary::make),
    ("", "HammingWindow", 17, 1..=1, 1, signal::window),
    ("", "HannWindow", 17, 1..=1, 1, signal::window),
    ("", "HardSigmoid", 1, 1..=1, 1, unary::make),
    ("", "HardSwish", 14, 1..=1, 1, unary::make),
    ("", "GridSample", 16, 2..=2, 1, grid::sample),
    ("", "Hardmax", 1, 1..=1, 1, norm::softmax::make),
    ("", "Identity", 1, 1..=1, 1, identity::from_definition),
    ("", "If", 1, 1..=1, MANY, control::branch),
    ("", "ImageDecoder", 20, 1..=1, 1, image_decoder::make),
    ("", "IsInf", 10, 1..=1, 1, unary::make),
    ("", "IsNaN", 9, 1..=1, 1, unary::make),
    ("", "LRN", 1, 1..=1, 1, norm::response::make),
    ("", "LSTM", 1, 3..=8, 3, recurrent::make),
    ("", "LeakyRelu", 1, 1..=1, 1, unary::make),
    ("", "Less", 1, 2..=2, 1, binary::make),
    ("", "LessOrEqual", 12, 2..=2, 1, binary::make),
    ("", "Log", 1, 1..=1, 1, unary::make),
    ("", "LogSoftmax", 1, 1..=1, 1, norm::softmax::make),
    ("", "Loop", 1, 2..=MANY, MANY, control::repeat),
    ("", "LpPool", 2, 1..=1, 1, pool::pool),
    ("", "MatMul", 1, 2..=2, 1, matmul::matmul),
    ("", "MatMulInteger", 10, 2..=4, 1, quantize::product),
    ("", "Max", 1, 1..=MANY, 1, binary::variadic::make),
    ("", "MaxPool", 1, 1..=1, 2, pool::pool),
    ("", "MaxRoiPool", 1, 2..=2, 1, roi::pool),
    ("", "MaxUnpool", 9, 2..=3, 1, max_unpool::make),
    ("", "Mean", 1, 1..=MANY, 1, binary::variadic::make),
    ("", "MeanVarianceNormalization", 9, 1..=1, 1, norm::moments::make),
    ("", "MelWeightMatrix", 17, 5..=5, 1, signal::mel_weight_matrix),
    ("", "Min", 1, 1..=MANY, 1, binary::variadic::make),
    ("", "Mish", 18, 1..=1, 1, unary::make),
    ("", "Mod", 10, 2..=2, 1, binary::make),
    ("", "Mul", 1, 2..=2, 1, binary::make),
    ("", "Multinomial", 7, 1..=1, 1, random::multinomial),
    ("", "Neg", 1, 1..=1, 1, unary::make),
    ("", "NegativeLogLikelihoodLoss", 12, 2..=3, 1, loss::make),
    ("", "NonMaxSuppression", 10, 2..=5, 1, non_max_suppression::make),
    ("", "NonZero", 9, 1..=1, 1, non_zero::non_zero),
    ("", "Not", 1, 1..=1, 1, unary::make),
    ("", "OneHot", 9, 3..=3, 1, mask::from_definition),
    ("", "Optional", 15, 0..=1, 1, sequence::optional),
    ("", "OptionalGetElement", 15, 1..=1, 1, sequence::optional),
    ("", "OptionalHasElement", 15, 0..=1, 1, sequence::optional),
    ("", "Or", 1, 2..=2, 1, binary::make),
    ("", "PRelu", 1, 2..=2, 1, binary::make),
    ("", "Pad", 1, 1..=4, 1, pad::from_definition),
    ("", "Pow", 1, 2..=2, 1, binary::make),
    ("", "QLinearConv", 10, 8..=9, 1, quantize::convolution),
    ("", "QLinearMatMul", 10, 8..=8, 1, quantize::product),
    ("", "QuantizeLinear", 10, 2..=3, 1, quantize::linear),
    ("", "RNN", 1, 3..=6, 2, recurrent::make),
    ("", "RandomNormal", 1, 0..=0, 1, random::random),
    ("", "RandomNormalLike", 1, 1..=1, 1, random::random),
    ("", "RandomUniform", 1, 0..=0, 1, random::random),
    ("", "RandomUniformLike", 1, 1..=1, 1, random::random),
    ("", "Range", 11, 3..=3, 1, range::from_definition),
    ("", "Reciprocal", 1, 1..=1, 1, unary::make),
    ("", "ReduceL1", 1, 1..=2, 1, reduce::make),
    ("", "ReduceL2", 1, 1..=2, 1, reduce::make),
    ("", "ReduceLogSum", 1, 1..=2, 1, reduce::make),
    ("", "ReduceLogSumExp", 1, 1..=2, 1, reduce::make),
    ("", "ReduceMax", 1, 1..=2, 1, reduce::make),
    ("", "ReduceMean", 1, 1..=2, 1, reduce::make),
    ("", "ReduceMin", 1, 1..=2, 1, reduce::make),
    ("", "ReduceProd", 1, 1..=2, 1, reduce::make),
    ("", "ReduceSum", 1, 1..=2, 1, reduce::make),
    ("", "ReduceSumSquare", 1, 1..=2, 1, reduce::make),
    ("", "RegexFullMatch", 20, 1..=1, 1, text::regex::make),
    ("", "Relu", 1, 1..=1, 1, unary::make),
    ("", "Reshape", 1, 1..=2, 1, reshape::from_definition),
    ("", "Resize", 10, 1..=4, 1, resize::from_definition),
    ("", "RotaryEmbedding", 23, 3..=4, 1, rotary_embedding::make),
    ("", "ReverseSequence", 10, 2..=2, 1, reverse_sequence::make),
    ("", "RoiAlign", 10, 3..=3, 1, roi::align),
    ("", "Round", 11, 1..=1, 1, unary::make),
    ("", "STFT", 17, 2..=4, 1, signal::stft),
    ("", "Scan", 8, 1..=MANY, MANY, control::scan),
    ("", "Scatter", 9, 3..=3, 1, scatter::from_definition),
    ("", "ScatterElements", 11, 3..=3, 1, scatter::from_definition),
    ("", "ScatterND", 11, 3..=3, 1, scatter::from_definition),
    ("", "Selu", 1, 1..=1, 1, unary::make),
    ("", "SequenceAt", 11, 2..=2, 1, sequence::from_definition),
    ("", "SequenceConstruct", 11, 1..=MANY, 1, sequence::from_definition),
    ("", "SequenceEmpty", 11, 0..=0, 1, sequence::from_definition),
    ("", "SequenceErase", 11, 1..=2, 1, sequence::from_definition),
    ("", "SequenceInsert", 11, 2..=3, 1, sequence::from_definition),
    ("", "SequenceLength", 11, 1..=1, 1, sequence::from_definition),
    ("", "SequenceMap", 17, 1..=MANY, MANY, sequence::map),
    ("", "Shape", 1, 1..=1, 1, shape::from_definition),
    ("", "Shrink", 9, 1..=1, 1, unary::make),
    ("", "Sigmoid", 1, 1..=1, 1, unary::make),
    ("", "Sign", 9, 1..=1, 1, unary::make),
    ("", "SimplifiedLayerNormalization", 1, 2..=2, 2, microsoft::normalization::make),
    ("", "Sin", 7, 1..=1, 1, unary::make),
    ("", "Sinh", 9, 1..=1, 1, unary::make),
    ("", "Size", 1, 1..=1, 1, shape::from_definition),
    ("", "Slice", 1, 1..=5, 1, slice::from_definition),
    ("", "Softmax", 1, 1..=1, 1, norm::softmax::make),
    ("", "SoftmaxCrossEntropyLoss", 12, 2..=3, 2, loss::softmax_cross_entropy),
    ("", "Softplus", 1, 1..=1, 1, unary::make),
    ("", "Softsign", 1, 1..=1, 1, unary::make),
    ("", "SpaceToDepth", 1, 1..=1, 1, depth_to_space::from_definition),
    ("", "Split", 1, 1..=2, MANY, split::from_definition),
    ("", "SplitToSequence", 11, 1..=2, 1, sequence::from_definition),
    ("", "Sqrt", 1, 1..=1, 1, unary::make),
    ("", "Squeeze", 1, 1..=2, 1, reshape::from_definition),
    ("", "StringConcat", 20, 2..=2, 1, text::concat::make),
    ("", "StringNormalizer", 10, 1..=1, 1, text::normalizer::make),
    ("", "StringSplit", 20, 1..=1, 2, text::split::make),
    ("", "Sub", 1, 2..=2, 1, binary::make),
    ("", "Sum", 1, 1..=MANY, 1, binary::variadic::make),
    ("", "Swish", 24, 1..=1, 1, unary::make),
    ("", "Tan", 7, 1..=1, 1, unary::make),
    ("", "Tanh", 1, 1..=1, 1, unary::make),
    ("", "TfIdfVectorizer", 9, 1..=1, 1, text::tf_idf::make),
    ("", "TensorScatter", 24, 2..=3, 1, tensor_scatter::make),
    ("", "ThresholdedRelu", 10, 1..=1, 1, unary::make),
    ("", "Tile", 6, 2..=2, 1, expand::from_definition),
    ("", "TopK", 1, 1..=2, 2, top_k::from_definition),
    ("", "Transpose", 1, 1..=1, 1, transpose::from_definition),
    ("", "Trilu", 14, 1..=2, 1, mask::from_definition),
    ("", "Unique", 11, 1..=1, 4, unique::from_definition),
    ("", "Unsqueeze", 1, 1..=2, 1, reshape::from_definition),
    ("", "Upsample", 1, 1..=2, 1, resize::from_definition),
    ("", "Xor", 1, 2..=2, 1, binary::make),
    ("", "GroupNormalization", 18, 3..=3, 1, norm::group::make),
    ("", "InstanceNormalization", 1, 3..=3, 1, norm::group::make),
    ("", "LayerNormalization", 1, 2..=3, 3, norm::layer::make),
    ("", "LpNormalization", 1, 1..=1, 1, norm::layer::make),
    ("", "RMSNormalization", 23, 2..=2, 1, norm::layer::make),
    ("", "Where", 9, 3..=3, 1, select::make),
    ("com.microsoft", "Attention", 1, 2..=7, 2, microsoft::attention::make),
    ("com.microsoft", "BiasGelu", 1, 2..=2, 1, microsoft::activation::make),
    ("com.microsoft", "DequantizeLinear", 1, 2..=3, 1, quantize::linear),
    ("com.microsoft", "DynamicQuantizeMatMul", 1, 3..=5, 1, quantize::dynamic_product),
    ("com.microsoft", "MatMulIntegerToFloat", 1, 4..=7, 1, quantize::product),
    ("com.microsoft", "MatMulNBits", 1, 3..=6, 1, quantize::blocks),
    ("com.microsoft", "QGemm", 1, 6..=9, 1, quantize::product),
    ("com.microsoft", "QLinearAdd", 1, 7..=8, 1, quantize::around),
    ("com.microsoft", "QLinearAveragePool", 1, 4..=5, 1, quantize::around),
    ("com.microsoft", "QLinearConcat", 1, 5..=MANY, 1, quantize::around),
    ("com.microsoft", "QLinearGlobalAveragePool", 1, 5..=5, 1, quantize::around),
    ("com.microsoft", "QLinearLeakyRelu", 1, 4..=5, 1, quantize::around),
    ("com.microsoft", "QLinearMul", 1, 7..=8, 1, quantize::around),
    ("com.microsoft", "QLinearReduceMean", 1, 4..=5, 1, quantize::around),
    ("com.microsoft", "QLinearSigmoid", 1, 4..=5, 1, quantize::around),
    ("com.microsoft", "QLinearSoftmax", 1, 5..=5, 1, quantize::around),
    ("com.microsoft", "QLinearWhere", 1, 9..=9, 1, quantize::around),
    ("com.microsoft", "EmbedLayerNormalization", 1, 7..=9, 3, microsoft::normalization::make),
    ("com.microsoft", "FastGelu", 1, 1..=2, 1, microsoft::activation::make),
    ("com.microsoft", "FusedConv", 1, 2..=4, 1, microsoft::product::make),
    ("com.microsoft", "FusedGemm", 1, 2..=3, 1, microsoft::product::make),
    ("com.microsoft", "FusedMatMul", 1, 2..=2, 1, microsoft::product::make),
    ("com.microsoft", "Gelu", 1, 1..=1, 1, microsoft::activation::make),
    ("com.microsoft", "GatherBlockQuantized", 1, 3..=4, 1, quantize::gather),
    ("com.microsoft", "GroupQueryAttention", 1, 7..=14, 4, microsoft::group_query::make),
    ("com.microsoft", "MultiHeadAttention", 1, 1..=10, 4, microsoft::attention::make),
    ("com.microsoft", "QuantizeLinear", 1, 2..=3, 1, quantize::linear),
    ("ai.onnx.preview.training", "Adagrad", 1, 5..=MANY, MANY, optimizer::from_definition),
    ("ai.onnx.preview.training", "Adam", 1, 6..=MANY, MANY, optimizer::from_definition),
    ("ai.onnx.preview.training", "Momentum", 1, 5..=MANY, MANY, optimizer::from_definition),
    ("ai.onnx.ml", "ArrayFeatureExtractor", 1, 2..=2, 1, ml::array_feature_extractor),
    ("ai.onnx.ml", "Binarizer", 1, 1..=1, 1, ml::binarizer),
    ("ai.onnx.ml", "Imputer", 1, 1..=1, 1, ml::imputer),
    ("ai.onnx.ml", "LabelEncoder", 1, 1..=1, 1, ml::label_encoder),
    ("ai.onnx.ml", "LinearRegressor", 1, 1..=1, 1, ml::linear_regressor),
    ("ai.onnx.ml", "Normalizer", 1, 1..=1, 1, ml::normalizer),
    ("ai.onnx.ml", "OneHotEncoder", 1, 1..=1, 1, ml::one_hot_encoder),
    ("ai.onnx.ml", "Scaler", 1, 1..=1, 1, ml::scaler),
    ("ai.onnx.ml", "TreeEnsemble", 5, 1..=1, 1, ml::tree_ensemble),
    ("ai.onnx.ml", "TreeEnsembleRegressor", 1, 1..=1, 1, ml::tree_ensemble_regressor),
    ("com.microsoft", "QuickGelu", 1, 1..=1, 1, microsoft::activation::make),
    ("com.microsoft", "RotaryEmbedding", 1, 4..=4, 1, microsoft::attention::make),
    ("com.microsoft", "SkipLayerNormalization", 1, 3..=5, 4, microsoft::normalization::make),
    ("com.microsoft", "SkipSimplifiedLayerNormalization", 1, 3..=4, 4, microsoft::normalization::make),
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

fn entry(definition: &Definition) -> Option<&'static Entry> {
    let domain = if definition.domain == "ai.onnx" { "" } else { &definition.domain };
    REGISTRY.iter().find(|(d, name, ..)| *d == domain && *name == definition.op_type)
}

/// Makes an operator. How many inputs and outputs its node has is checked by [`check_arity`].
///
/// # Errors
/// If there is none of this name in this operator set, or its attributes are wrong.
pub fn operator(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    match entry(definition) {
        None => Err(DefinitionError::Refused(
            Unsupported::of_domain(&definition.domain),
            "Rimlight has no such operator".to_owned(),
        )),
        Some((_, _, since, ..)) if definition.opset < *since => Err(DefinitionError::Refused(
            Unsupported::OperatorSet,
            format!("the operator is read from operator set {since} on, but the model uses {}", definition.opset),
        )),
        Some((.., make)) => make(definition),
    }
}

/// Checks the number of inputs and outputs that a node has, left out ones counted.
///
/// # Errors
/// If the operator takes fewer or more inputs, or gives fewer outputs.
pub fn check_arity(definition: &Definition) -> Result<(), DefinitionError> {
    let Some((_, _, _, inputs, outputs, _)) = entry(definition) else { return Ok(()) };
    if !inputs.contains(&definition.inputs) {
        let takes = match (*inputs.start(), *inputs.end()) {
            (least, MANY) => format!("at least {least}"),
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} to {most}"),
        };
        return Err(DefinitionError::Arity(format!("it has {} inputs, but takes {takes}", definition.inputs)));
    }
    if definition.outputs > *outputs {
        let message = format!("it has {} outputs, but gives {outputs} at most", definition.outputs);
        return Err(DefinitionError::Arity(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_refuses_surplus_and_missing_inputs_and_outputs() {
        for (domain, name, _, inputs, outputs, _) in REGISTRY {
            let refuses = |inputs: usize, outputs: usize| {
                let mut definition = Definition::new(*name);
                (definition.domain, definition.inputs, definition.outputs) = ((*domain).to_owned(), inputs, outputs);
                matches!(check_arity(&definition), Err(DefinitionError::Arity(_)))
            };
            assert!(!refuses(*inputs.start(), 1) && !refuses(*inputs.end(), *outputs), "{name}");
            assert!(inputs.end().checked_add(1).is_none_or(|more| refuses(more, 1)), "{name}");
            assert!(inputs.start().checked_sub(1).is_none_or(|fewer| refuses(fewer, 1)), "{name}");
            assert!(outputs.checked_add(1).is_none_or(|more| refuses(*inputs.start(), more)), "{name}");
        }
    }

    /// What the README shows of an operator is what its files say, in their order, comments and `…` aside.
    #[test]
    fn the_readme_shows_a_real_operator() {
        let readme = include_str!("../../README.md");
        let section = readme.split_once("### Adding an operator").unwrap().1.split_once("\n## ").unwrap().0;
        let blocks: Vec<&str> = section.split("```").skip(1).step_by(2).collect();
        let files = [
            include_str!("cumulative_sum.rs"),
            include_str!("../../shaders/reduce/running.wgsl"),
            concat!(include_str!("registry.rs"), include_str!("../kernel/shaders.rs")),
        ];
        assert_eq!(blocks.len(), files.len());
        for (block, mut rest) in blocks.iter().zip(files) {
            for line in
                block.lines().skip(1).filter(|line| !line.trim().starts_with(['…', '/']) && !line.trim().is_empty())
            {
                let at =
                    rest.find(line).unwrap_or_else(|| panic!("the README shows '{line}', which is not there any more"));
                rest = &rest[at + line.len()..];
            }
        }
    }

    #[test]
    fn no_operator_is_listed_twice() {
        let names: std::collections::HashSet<_> = names().collect();
        assert_eq!(names.len(), REGISTRY.len());
    }
}
