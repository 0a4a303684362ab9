//! Which values of a model are quantized.

use std::collections::{HashMap, HashSet};

use crate::compress::layers::Layer;
use crate::model::Model;
use crate::onnx::messages::NodeProto;
use crate::onnx::{ModelFile, Part};
use crate::tensor::ElementType;

/// Operators whose result holds numbers of their first input, and nothing else: one scale serves both.
const MOVES: [&str; 7] = ["Flatten", "MaxPool", "Reshape", "Squeeze", "Slice", "Transpose", "Unsqueeze"];
/// Operators that compute on bytes where all they read is quantized.
const COMPUTES: [&str; 13] = [
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "GlobalAveragePool",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Mul",
    "Pad",
    "Relu",
    "Resize",
    "Sigmoid",
];
/// Activations that engines fold into the layer before them: what comes between the two is not quantized.
const FOLDED: [&str; 2] = ["Clip", "Relu"];

/// The values that are quantized, and whose scale each has.
#[derive(Debug, Default)]
pub struct Places {
    /// In the order in which they are computed.
    pub values: Vec<String>,
    /// A value whose scale is that of another, which comes before it; or behind it, where it is a part of that.
    pub alike: HashMap<String, String>,
    known: HashSet<String>,
}

impl Places {
    /// Those around these layers, and around what lies between them.
    pub fn of(file: &ModelFile, model: &Model, layers: &[Layer]) -> Self {
        let mut places = Self::default();
        let outputs: HashSet<&str> = file.outputs.iter().filter_map(|part| part.get().name.as_deref()).collect();
        let constants: HashSet<&str> = file.constants().collect();
        let floats: HashSet<&str> = model
            .graph()
            .values
            .iter()
            .filter(|value| value.fact.as_ref().is_some_and(|fact| fact.element_type == ElementType::F32))
            .map(|value| value.name.as_str())
            .collect();
        let reads = super::norm::reads(file);
        let dynamic = |name: &str| floats.contains(name) && !constants.contains(name);
        let quantizable = |name: &str| dynamic(name) && !outputs.contains(name);
        let chosen: HashSet<usize> = layers.iter().map(|layer| layer.node).collect();
        for (place, part) in file.nodes.iter().enumerate() {
            let node = part.get();
            let result = node.result();
            if chosen.contains(&place) {
                if let Some(x) = node.given(0).filter(|x| quantizable(x)) {
                    places.add(x);
                }
                let folded = reads.get(result) == Some(&1)
                    && file.nodes.iter().map(Part::get).any(|reader| {
                        reader.given(0) == Some(result) && reader.standard().is_some_and(|op| FOLDED.contains(&op))
                    });
                if !folded && quantizable(result) {
                    places.add(result);
                }
            } else if places.computes(node, &chosen, file, &dynamic) && quantizable(result) {
                places.add(result);
                let moves = node.standard().is_some_and(|operator| MOVES.contains(&operator));
                if let Some(x) = node.given(0).filter(|_| moves) {
                    places.alike.insert(result.to_owned(), x.to_owned());
                }
            }
        }
        places.drop_unused(file, layers);
        for part in file.nodes.iter().rev() {
            places.join(part.get(), &reads);
        }
        places
    }

    /// Lets parts that nothing but a Concat reads have its scale: they are rounded once, and moved as bytes.
    fn join(&mut self, node: &NodeProto, reads: &HashMap<String, usize>) {
        let result = node.result();
        let own = |name: &String| self.has(name) && !self.alike.contains_key(name) && reads.get(name) == Some(&1);
        if node.is("Concat") && self.has(result) && node.input.iter().all(own) {
            self.alike.extend(node.input.iter().map(|name| (name.clone(), result.to_owned())));
        }
    }

    /// Takes out values from which nothing is computed on bytes: what only a Softmax at the end reads, and what is moved
    /// and pooled for it. They would be rounded, and cut off where samples did not reach as far, for nothing.
    fn drop_unused(&mut self, file: &ModelFile, layers: &[Layer]) {
        let layers: HashSet<usize> = layers.iter().map(|layer| layer.node).collect();
        let mut used: HashSet<&str> = HashSet::new();
        for (place, part) in file.nodes.iter().enumerate().rev() {
            let node = part.get();
            if layers.contains(&place) {
                used.extend(node.given(0));
            } else if used.contains(node.result()) && self.known.contains(node.result()) {
                used.extend(node.input.iter().map(String::as_str));
            }
        }
        self.known.retain(|name| used.contains(name.as_str()));
        self.values.retain(|name| used.contains(name.as_str()));
        self.alike.retain(|name, _| used.contains(name.as_str()));
    }

    fn add(&mut self, name: &str) {
        if self.known.insert(name.to_owned()) {
            self.values.push(name.to_owned());
        }
    }

    /// Whether a value is quantized.
    pub fn has(&self, name: &str) -> bool {
        self.known.contains(name)
    }

    /// Whether a node computes on bytes: all floats that it reads are quantized, or it is an activation behind a layer.
    fn computes(
        &self,
        node: &NodeProto,
        layers: &HashSet<usize>,
        file: &ModelFile,
        dynamic: &impl Fn(&str) -> bool,
    ) -> bool {
        let Some(operator) = node.standard() else { return false };
        if node.output.iter().filter(|name| !name.is_empty()).count() != 1 {
            return false;
        }
        let behind_layer = FOLDED.contains(&operator)
            && file
                .nodes
                .iter()
                .enumerate()
                .any(|(place, part)| layers.contains(&place) && Some(part.get().result()) == node.given(0));
        let floats: Vec<&str> = node.input.iter().map(String::as_str).filter(|name| dynamic(name)).collect();
        let known = !floats.is_empty() && floats.iter().all(|name| self.has(name));
        behind_layer || (known && (MOVES.contains(&operator) || COMPUTES.contains(&operator)))
    }
}
