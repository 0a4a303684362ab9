//! Channels followed through a model, node by node.

use std::collections::{HashMap, HashSet};

use super::coupling::Coupling;
use crate::graph::{Dim, Fact};
use crate::model::Model;
use crate::onnx::ModelFile;
use crate::onnx::messages::NodeProto;

/// The channels of a value or a constant along one of its axes.
#[derive(Debug, Clone)]
pub struct Along {
    pub axis: usize,
    pub channels: Vec<usize>,
}

/// What a constant has to do with channels.
#[derive(Debug, Default)]
pub struct Slices {
    /// Its axes that have channels.
    pub along: Vec<Along>,
    /// Whether zeros in it take a channel out: weights, but not what is divided by.
    pub masked: bool,
    /// How many of its uses are accounted for.
    uses: usize,
}

/// A layer that computes channels.
#[derive(Debug)]
pub struct Producer {
    /// Its weights.
    pub weights: String,
    /// The axis of them along which the channels lie, and these.
    pub along: Along,
    /// What it computes.
    pub output: String,
    /// The scale and the variance of a batch normalization behind it.
    pub norm: Option<[String; 2]>,
}

/// What a node says of its channels besides its constants.
#[derive(Debug)]
pub enum Edit {
    /// The attribute `group`: one for each channel of the input.
    Groups(Vec<usize>),
    /// Channels that padding adds in front and behind.
    Pads { axis: usize, before: Vec<usize>, after: Vec<usize>, pads: Vec<i64> },
    /// The last number of a shape, which counts all channels.
    Shape { first: i64, channels: Vec<usize> },
}

/// What was found out about a model's channels.
#[derive(Debug)]
pub struct Followed {
    pub coupling: Coupling,
    pub slices: HashMap<String, Slices>,
    pub producers: Vec<Producer>,
    /// By the node's place.
    pub edits: Vec<(usize, Edit)>,
}

/// Follows the channels of a model.
pub struct Follower<'a> {
    pub file: &'a ModelFile,
    facts: HashMap<&'a str, &'a Fact>,
    pub found: Followed,
    values: HashMap<String, Along>,
    /// Values that were read before anything was known of their channels.
    missed: HashSet<String>,
    constants: HashSet<&'a str>,
}

impl<'a> Follower<'a> {
    pub fn new(file: &'a ModelFile, model: &'a Model) -> Self {
        let values = model.graph().values.iter();
        Self {
            file,
            facts: values.filter_map(|value| Some((value.name.as_str(), value.fact.as_ref()?))).collect(),
            found: Followed { coupling: Coupling::default(), slices: HashMap::new(), producers: vec![], edits: vec![] },
            values: HashMap::new(),
            missed: HashSet::new(),
            constants: file.constants().collect(),
        }
    }

    /// Follows all nodes, in an order in which they can run.
    pub fn follow(mut self) -> Followed {
        for place in order(self.file) {
            let Some(part) = self.file.nodes.get(place) else { continue };
            let node = part.get();
            match self.rule(place, node) {
                Some(along) if node.output.iter().filter(|name| !name.is_empty()).count() == 1 => {
                    self.values.insert(node.result().to_owned(), along);
                }
                // Nothing is known of what the node does with channels: they stay.
                _ => self.hold(node),
            }
        }
        self.hold_outside();
        self.found
    }

    /// The channels of all that a node reads stay, those that the graphs in its attributes read with them.
    fn hold(&mut self, node: &NodeProto) {
        let mut names = HashSet::new();
        crate::onnx::names_read(node, &mut names);
        for name in names {
            self.hold_value(&name);
        }
    }

    fn hold_value(&mut self, name: &str) {
        // A rule that gave up may have begun with the node's constants.
        for along in self.found.slices.get(name).into_iter().flat_map(|slices| &slices.along) {
            self.found.coupling.fix(&along.channels);
        }
        match self.values.get(name) {
            Some(along) => self.found.coupling.fix(&along.channels),
            None => {
                self.missed.insert(name.to_owned());
            }
        }
    }

    /// What the caller reads stays, and so do constants that are read by more than is known.
    fn hold_outside(&mut self) {
        for output in &self.file.outputs {
            self.hold_value(output.get().name.as_deref().unwrap_or_default());
        }
        for name in std::mem::take(&mut self.missed) {
            if let Some(along) = self.values.get(&name) {
                self.found.coupling.fix(&along.channels);
            }
        }
        let mut reads: HashMap<String, usize> = HashMap::new();
        for part in &self.file.nodes {
            let own: Vec<&String> = part.get().input.iter().collect();
            let mut all = HashSet::new();
            crate::onnx::names_read(part.get(), &mut all);
            let inner = all.iter().filter(|name| !own.contains(name));
            for name in own.iter().copied().chain(inner) {
                *reads.entry(name.clone()).or_default() += 1;
            }
        }
        let named = |part: &crate::onnx::Part<crate::onnx::messages::ValueInfoProto>| part.get().name.clone();
        for name in self.file.outputs.iter().filter_map(named) {
            *reads.entry(name).or_default() += 1;
        }
        for (name, slices) in &self.found.slices {
            if reads.get(name).copied() != Some(slices.uses) {
                for along in &slices.along {
                    self.found.coupling.fix(&along.channels);
                }
            }
        }
    }

    /// The channels of a value, where they are known.
    pub fn along(&mut self, name: Option<&str>) -> Option<Along> {
        let name = name?;
        let along = self.values.get(name).cloned();
        if along.is_none() {
            self.missed.insert(name.to_owned());
        }
        along
    }

    /// Whether a name is that of a constant.
    pub fn is_constant(&self, name: &str) -> bool {
        self.constants.contains(name)
    }

    /// The shape of a value or a constant: of each dimension its size, where that is a number.
    pub fn shape(&self, name: &str) -> Option<Vec<Option<usize>>> {
        self.facts.get(name).map(|fact| fact.shape.iter().map(Dim::size).collect())
    }

    /// Its first dimension, a symbol as a rule.
    pub fn batch(&self, name: &str) -> Option<&Dim> {
        self.facts.get(name)?.shape.first()
    }

    /// The shape of a constant.
    pub fn constant_shape(&self, name: &str) -> Option<Vec<usize>> {
        if !self.is_constant(name) {
            return None;
        }
        self.shape(name)?.into_iter().collect()
    }

    /// The integers of a constant.
    pub fn integers(&self, name: Option<&str>) -> Option<Vec<i64>> {
        let name = name.filter(|name| self.is_constant(name))?;
        self.facts.get(name)?.constant.as_ref()?.integers()
    }

    /// The numbers of a constant.
    pub fn numbers(&self, name: Option<&str>) -> Option<Vec<f64>> {
        let name = name.filter(|name| self.is_constant(name))?;
        Some(self.facts.get(name)?.constant.as_ref()?.to_f64())
    }

    /// A use of a constant has these channels. `None` if it cannot: it has another number of them.
    pub fn slice(&mut self, constant: &str, along: &[Along], masked: bool) -> Option<()> {
        let shape = self.constant_shape(constant)?;
        if along.iter().any(|along| shape.get(along.axis) != Some(&along.channels.len())) {
            return None;
        }
        let slices = self.found.slices.entry(constant.to_owned()).or_default();
        slices.uses += 1;
        slices.masked |= masked;
        for along in along {
            match slices.along.iter().find(|other| other.axis == along.axis) {
                // Two nodes read the same weights: what goes for the one goes for the other.
                Some(other) => self.found.coupling.unite(&other.channels, &along.channels),
                None => slices.along.push(along.clone()),
            }
        }
        Some(())
    }
}

/// The places of nodes in an order in which they can run.
fn order(file: &ModelFile) -> Vec<usize> {
    let producer: HashMap<&str, usize> = file
        .nodes
        .iter()
        .enumerate()
        .flat_map(|(place, part)| part.get().output.iter().map(move |name| (name.as_str(), place)))
        .collect();
    let mut state = vec![0u8; file.nodes.len()];
    let mut order = Vec::with_capacity(file.nodes.len());
    for start in 0..file.nodes.len() {
        let mut stack = vec![start];
        while let Some(&place) = stack.last() {
            if state[place] == 2 {
                stack.pop();
                continue;
            }
            let inputs = file.nodes[place].get().input.iter().filter_map(|name| producer.get(name.as_str()).copied());
            let before = stack.len();
            if state[place] == 0 {
                stack.extend(inputs.filter(|&input| state[input] == 0));
                state[place] = 1;
            }
            if stack.len() == before {
                stack.pop();
                state[place] = 2;
                order.push(place);
            }
        }
    }
    order
}
