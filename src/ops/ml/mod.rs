//! Operators of ai.onnx.ml on tensors: features made ready for a model, linear models, trees.

mod features;
mod label_encoder;
mod linear;
mod trees;

pub(super) use features::{array_feature_extractor, binarizer, imputer, normalizer, one_hot_encoder, scaler};
pub(super) use label_encoder::label_encoder;
pub(super) use linear::linear_regressor;
pub(super) use trees::{tree_ensemble, tree_ensemble_regressor};
