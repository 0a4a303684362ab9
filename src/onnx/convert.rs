//! From a decoded file to a graph.

use super::functions::Functions;
use super::messages::ModelProto;
use super::reader::Reader;
use super::tensors::Tensors;
use super::{NEWEST_OPSET, unknown};
use crate::error::LoadError;
use crate::graph::{Graph, Metadata};

/// The graph of a model file, inferred.
pub fn model(mut model: ModelProto, tensors: Tensors<'_>) -> Result<(Graph, Metadata), LoadError> {
    let metadata = metadata(&model);
    let graph = model.graph.take().ok_or_else(|| LoadError::Format("it holds no graph".to_owned()))?;
    if metadata.ir_version < 3 {
        return Err(LoadError::Format(format!("its IR version is {}, the oldest supported is 3", metadata.ir_version)));
    }
    let standard = metadata.opsets.iter().find(|(domain, _)| domain.is_empty());
    let opset = match standard {
        Some((_, version)) => *version,
        // A model of other domains only.
        None if !metadata.opsets.is_empty() => NEWEST_OPSET,
        None => return Err(LoadError::Format("it names no operator set".to_owned())),
    };
    let functions = Functions::new(std::mem::take(&mut model.functions))?;
    unknown::check(&graph, &functions, opset)?;
    if opset > NEWEST_OPSET {
        log::warn!("the model uses operator set {opset}; the newest known is {NEWEST_OPSET}: trying it all the same");
    }
    let mut graph = Reader::new(&metadata.opsets, &functions, tensors).main(*graph)?;
    graph.opset = opset;
    Ok((graph, metadata))
}

fn metadata(model: &ModelProto) -> Metadata {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let domain = |domain: &Option<String>| domain.clone().filter(|d| d != "ai.onnx").unwrap_or_default();
    Metadata {
        producer: format!("{} {}", text(&model.producer_name), text(&model.producer_version)).trim().to_owned(),
        ir_version: model.ir_version.unwrap_or_default(),
        opsets: model.opset_import.iter().map(|s| (domain(&s.domain), s.version.unwrap_or_default())).collect(),
        doc: text(&model.doc_string),
        properties: model.metadata_props.iter().map(|p| (text(&p.key), text(&p.value))).collect(),
    }
}
