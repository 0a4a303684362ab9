//! A model that runs on samples piece by piece, each piece from where the one before ended.
//!
//! What comes later in a model may be changed between two pieces. All together costs what one run of the whole model does.

use std::collections::{HashMap, HashSet};

use crate::compress::CompressError;
use crate::compress::samples::{Sample, Watched};
use crate::onnx::messages::{DimensionProto, NodeProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto};
use crate::onnx::{ModelFile, Part, names_read};
use crate::session::Device;
use crate::tensor::Tensor;

/// How far a model has run on samples.
#[derive(Debug)]
pub struct Walk<'a> {
    device: &'a Device,
    /// Of each sample what is known and still to be read.
    known: Vec<HashMap<String, Tensor>>,
    /// What nodes that have run computed.
    computed: HashSet<String>,
}

impl<'a> Walk<'a> {
    /// At a model's beginning.
    pub fn new(samples: &[Sample], device: &'a Device) -> Self {
        let known = samples.iter().map(|sample| sample.inputs.iter().cloned().collect()).collect();
        Self { device, known, computed: HashSet::new() }
    }

    /// Runs what is missing up to a value, and gives it for each sample; nothing for a value that no input leads to.
    pub fn to(&mut self, file: &ModelFile, value: &str) -> Result<impl Iterator<Item = &Tensor>, CompressError> {
        if self.known.first().is_some_and(|known| !known.contains_key(value)) {
            self.run(file, value)?;
        }
        Ok(self.known.iter().filter_map(move |known| known.get(value)))
    }

    fn run(&mut self, file: &ModelFile, value: &str) -> Result<(), CompressError> {
        let piece = self.missing(file, value);
        let given: Vec<String> = {
            let read: HashSet<String> = piece.iter().flat_map(reads).collect();
            let mut given: Vec<String> = self.known.first().into_iter().flat_map(HashMap::keys).cloned().collect();
            given.retain(|name| read.contains(name));
            given.sort();
            given
        };
        let varying = varying(&piece, &given);
        self.computed.extend(piece.iter().flat_map(|node| node.output.iter().cloned()));
        let later: HashSet<String> = file
            .nodes
            .iter()
            .map(Part::get)
            .filter(|node| !node.output.iter().any(|name| self.computed.contains(name)))
            .flat_map(reads)
            .chain([value.to_owned()])
            .collect();
        let mut found: Vec<String> = varying.into_iter().filter(|name| later.contains(name)).collect();
        found.sort();
        if !found.is_empty() {
            let (model, samples) = self.cut(file, piece, &given, &found);
            let mut watched = Watched::new(&model, &found, &samples, self.device)?;
            for (known, sample) in self.known.iter_mut().zip(&samples) {
                known.extend(found.iter().cloned().zip(watched.run(sample)?.into_iter().cloned()));
            }
        }
        self.known.iter_mut().for_each(|known| known.retain(|name, _| later.contains(name)));
        Ok(())
    }

    /// The nodes that lead to a value from what is known.
    fn missing(&self, file: &ModelFile, value: &str) -> Vec<NodeProto> {
        let known = |name: &String| self.known.first().is_some_and(|known| known.contains_key(name));
        let mut needed = HashSet::from([value.to_owned()]);
        let mut piece = vec![];
        for node in file.nodes.iter().rev().map(Part::get) {
            if node.output.iter().any(|name| needed.contains(name)) {
                needed.extend(reads(node).into_iter().filter(|name| !known(name)));
                piece.push(node.clone());
            }
        }
        piece.reverse();
        piece
    }

    /// A piece as a model, and what it is given for each sample.
    fn cut(
        &self,
        file: &ModelFile,
        piece: Vec<NodeProto>,
        given: &[String],
        found: &[String],
    ) -> (ModelFile, Vec<Sample>) {
        let of = |known: &HashMap<String, Tensor>, name: &String| Some((name.clone(), known.get(name)?.clone()));
        let sample = |known| Sample::new(given.iter().filter_map(|name| of(known, name)).collect());
        let samples: Vec<Sample> = self.known.iter().map(sample).collect();
        let mut model = file.clone();
        model.nodes = piece.into_iter().map(Part::new).collect();
        model.between.clear();
        model.outputs =
            found.iter().map(|name| Part::new(ValueInfoProto { name: Some(name.clone()), r#type: None })).collect();
        model.inputs = samples
            .first()
            .iter()
            .flat_map(|sample| &sample.inputs)
            .map(|(name, x)| Part::new(port(name, x)))
            .collect();
        model.drop_unread();
        (model, samples)
    }
}

fn reads(node: &NodeProto) -> HashSet<String> {
    let mut names = HashSet::new();
    names_read(node, &mut names);
    names
}

/// What nodes compute that depends on these values.
fn varying(nodes: &[NodeProto], given: &[String]) -> HashSet<String> {
    let mut depends: HashSet<String> = given.iter().cloned().collect();
    for node in nodes {
        if reads(node).iter().any(|name| depends.contains(name)) {
            depends.extend(node.output.iter().filter(|name| !name.is_empty()).cloned());
        }
    }
    depends.retain(|name| !given.contains(name));
    depends
}

/// An input like this tensor, of any size.
fn port(name: &str, like: &Tensor) -> ValueInfoProto {
    let dim = |axis| DimensionProto { dim_value: None, dim_param: Some(format!("{name}.{axis}")) };
    let tensor = TensorTypeProto {
        elem_type: Some(like.element_type().data_type()),
        shape: Some(TensorShapeProto { dim: (0..like.rank()).map(dim).collect() }),
    };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { tensor_type: Some(tensor), ..TypeProto::default() }),
    }
}

#[cfg(test)]
mod tests {
    use super::Walk;
    use crate::compress::Sample;
    use crate::compress::tests::{Net, weights};
    use crate::session::Device;
    use crate::tensor::Tensor;

    #[test]
    fn pieces_compute_what_the_whole_does() {
        let net = |second: u64| {
            Net::new(13)
                .input("x", &[-1, 4])
                .constant("w", weights(&[4, 4], 1))
                .constant("v", weights(&[4, 4], second))
                .node("Shape", &["x"], "shape")
                .node("Neg", &["w"], "turned")
                .node("MatMul", &["x", "turned"], "a")
                .node("Relu", &["a"], "b")
                .node("MatMul", &["b", "v"], "c")
                .node("Add", &["c", "x"], "d")
                .node("MatMul", &["d", "turned"], "e")
                .node("Reshape", &["e", "shape"], "y")
                .output("y")
                .file()
        };
        let inputs = [weights(&[2, 4], 8), weights(&[5, 4], 9)];
        let samples: Vec<Sample> = inputs.iter().map(|x| Sample::new(vec![("x".to_owned(), x.clone())])).collect();
        let device = Device::cpu();
        let floats = |tensors: Vec<&Tensor>| tensors.into_iter().map(Tensor::to_f64).collect::<Vec<_>>();
        let mut walk = Walk::new(&samples, &device);
        assert_eq!(floats(walk.to(&net(2), "x").unwrap().collect()), floats(inputs.iter().collect()));
        let b = floats(walk.to(&net(2), "b").unwrap().collect());
        // What is still to be read is what runs on: no weights, and nothing that is done with.
        let mut known: Vec<String> = walk.known[0].keys().cloned().collect();
        known.sort();
        assert_eq!(known, ["b", "x"]);
        // The second matrix is another by now, the first is not looked at any more.
        let y = floats(walk.to(&net(3), "y").unwrap().collect());
        let mut whole = Walk::new(&samples, &device);
        assert_eq!(floats(whole.to(&net(3), "y").unwrap().collect()), y);
        assert_eq!(floats(Walk::new(&samples, &device).to(&net(3), "b").unwrap().collect()), b);
        assert!(floats(Walk::new(&samples, &device).to(&net(2), "y").unwrap().collect()) != y);
        assert_eq!(walk.to(&net(3), "turned").unwrap().count(), 0);
    }
}
