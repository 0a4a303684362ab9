//! Networks that are drawn from bytes: valid graphs of many operators over small shapes, with numbers to run them on.
//!
//! libFuzzer changes the bytes, and a network changes with them: what was drawn before the change stays as it is. Bytes that
//! are used up count as zeros, so that every string of bytes is a network.
//!
//! **What is exact.** Inputs and weights are multiples of an eighth. As long as sums and products of such numbers fit the 24
//! bits of a float they are the same in whatever order they are computed, and only of those are functions drawn that jump
//! (Floor, comparisons, quantization, the place of a maximum): what computes them in another order must give the same bits.
//! Everything else is continuous, and may differ by as much as rounding moves it: see [`near`](crate::near).

mod control;
mod draw;
mod elementwise;
mod idioms;
mod moves;
mod norms;
mod products;
mod quantized;
mod reductions;
mod shapes;
mod windows;

use std::collections::BTreeMap;
use std::fmt;

use rimlight::graph::{Bindings, Definition, Dim, Fact, NodeError, ValueId};
use rimlight::ops::operator;
use rimlight::{Graph, Tensor};

pub use draw::Kind;

/// A network.
#[derive(Debug, Clone, Default)]
pub struct Net {
    /// Its values, each after what it is computed of.
    pub values: Vec<Made>,
    /// Its nodes, in order.
    pub nodes: Vec<Step>,
    /// What a run gives, by places in `values`.
    pub outputs: Vec<usize>,
}

/// A value.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its type, and its shape in numbers.
    pub fact: Fact,
    /// Where it comes from.
    pub origin: Origin,
    /// What is known of its numbers, if they are the same however they are computed.
    pub grid: Option<Grid>,
}

/// Where a value comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// It is given to a run.
    Input {
        /// What is given.
        tensor: Tensor,
        /// The dimensions that are symbols in the model.
        open: Vec<bool>,
    },
    /// It is part of the model.
    Constant {
        /// What it holds.
        tensor: Tensor,
        /// Whether it is computed with, and not read as a parameter.
        data: bool,
    },
    /// A node gives it.
    Node,
}

/// Numbers that are multiples of 2^-`unit` and below 2^`top`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Bits behind the point.
    pub unit: i32,
    /// Bits before it.
    pub top: i32,
}

impl Grid {
    /// Truth values, and integers that are few.
    pub const SMALL: Self = Self { unit: 0, top: 7 };

    /// Itself, where floats have that many bits.
    #[must_use]
    pub fn exact(self) -> Option<Self> {
        (self.unit + self.top <= 20).then_some(self)
    }

    /// What holds both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self { unit: self.unit.max(other.unit), top: self.top.max(other.top) }
    }

    /// So many bits more before the point.
    #[must_use]
    pub const fn higher(self, bits: i32) -> Self {
        Self { unit: self.unit, top: self.top + bits }
    }

    /// Products.
    #[must_use]
    pub const fn times(self, other: Self) -> Self {
        Self { unit: self.unit + other.unit, top: self.top + other.top }
    }
}

/// A node.
#[derive(Debug, Clone)]
pub struct Step {
    /// What it does.
    pub definition: Definition,
    /// What it reads.
    pub inputs: Vec<Option<usize>>,
    /// What it gives.
    pub outputs: Vec<usize>,
}

/// A network as a graph.
pub struct Built {
    /// The graph.
    pub graph: Graph,
    /// The graph's value for each of the network's.
    pub ids: Vec<ValueId>,
}

impl Net {
    /// The graph, its open dimensions symbols or numbers.
    ///
    /// # Errors
    /// If it is no valid graph after all: a finding, since each of its nodes was accepted when it was drawn.
    pub fn graph(&self, open: bool) -> Result<Built, NodeError> {
        self.graph_with(|_, fact, symbols| match (open, symbols) {
            (true, Some(symbols)) => symbols.to_vec(),
            _ => fact.shape.clone(),
        })
    }

    /// The graph, the dimensions of its inputs by a function of the input's number, its fact and its symbols.
    ///
    /// # Errors
    /// If it is no valid graph.
    pub fn graph_with(&self, dims: impl Fn(usize, &Fact, Option<&[Dim]>) -> Vec<Dim>) -> Result<Built, NodeError> {
        let mut builder = Graph::builder();
        let mut ids = vec![ValueId(usize::MAX); self.values.len()];
        let mut inputs = 0;
        for (i, made) in self.values.iter().enumerate() {
            match &made.origin {
                Origin::Input { open, .. } => {
                    let symbols: Vec<Dim> = made.fact.shape.iter().zip(open).map(symbol).collect();
                    let dims = dims(inputs, &made.fact, Some(&symbols));
                    ids[i] = builder.input(&format!("x{inputs}"), made.fact.element_type, dims);
                    inputs += 1;
                }
                Origin::Constant { tensor, .. } => ids[i] = builder.constant(&format!("c{i}"), tensor.clone()),
                Origin::Node => {}
            }
        }
        for (number, step) in self.nodes.iter().enumerate() {
            let operator = operator(&step.definition).map_err(|e| NodeError {
                node: format!("node {number}"),
                operator: step.definition.op_type.clone(),
                message: e.to_string(),
                unsupported: e.unsupported(),
                limit: None,
            })?;
            let read: Vec<_> = step.inputs.iter().map(|input| input.map(|i| ids[i])).collect();
            for (&i, id) in step.outputs.iter().zip(builder.operator(operator, &read, step.outputs.len())) {
                ids[i] = id;
            }
        }
        for (k, &i) in self.outputs.iter().enumerate() {
            builder.output(&format!("y{k}"), ids[i]);
        }
        Ok(Built { graph: builder.build()?, ids })
    }

    /// What the symbols of the open graph stand for.
    pub fn bindings(&self) -> Bindings {
        let mut bindings = BTreeMap::new();
        for made in &self.values {
            if let Origin::Input { tensor, .. } = &made.origin {
                bindings.extend(tensor.shape().iter().map(|&n| (name(n), n as i64)));
            }
        }
        bindings
    }

    /// What a run is given.
    pub fn inputs(&self) -> Vec<Tensor> {
        let input = |made: &Made| match &made.origin {
            Origin::Input { tensor, .. } => Some(tensor.clone()),
            _ => None,
        };
        self.values.iter().filter_map(input).collect()
    }
}

/// Dimensions of one size have one name.
fn name(size: usize) -> String {
    format!("n{size}")
}

fn symbol((dim, open): (&Dim, &bool)) -> Dim {
    match dim.size() {
        Some(size) if *open => Dim::symbol(name(size)),
        _ => dim.clone(),
    }
}

/// One line for each node, for whoever looks into a finding.
impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, made) in self.values.iter().enumerate() {
            match &made.origin {
                Origin::Input { open, .. } => writeln!(f, "v{i} = input {} open {open:?}", made.fact)?,
                Origin::Constant { tensor, .. } => writeln!(f, "v{i} = constant {tensor:?}")?,
                Origin::Node => {}
            }
        }
        for Step { definition, inputs, outputs } in &self.nodes {
            let facts: Vec<String> =
                outputs.iter().map(|&o| self.values[o].fact.without_content().to_string()).collect();
            let exact: Vec<bool> = outputs.iter().map(|&o| self.values[o].grid.is_some()).collect();
            let read: Vec<_> = inputs.iter().map(|i| i.map_or("-".to_owned(), |i| format!("v{i}"))).collect();
            writeln!(
                f,
                "v{outputs:?} = {} {:?} ({}) : {} exact {exact:?}",
                definition.op_type,
                definition.attributes,
                read.join(", "),
                facts.join(", ")
            )?;
        }
        writeln!(f, "outputs {:?}", self.outputs)
    }
}
