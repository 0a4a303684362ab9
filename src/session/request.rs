//! What a plan is made for: the inputs' shapes, and the content of those that parameterise operators (axes, sizes, bounds).

use super::binding::Shapes;
use crate::graph::Graph;
use crate::optimize::outermost::Grown;
use crate::tensor::{ElementType, Tensor};

/// Elements up to which an input's content is read when a plan is made.
const PARAMETER_LIMIT: usize = 1 << 12;

/// Contents of one parameter that plans are made for, while the shapes stay: from then on the plans that are made read it
/// as any other input, so that one which changes from run to run does not cost a plan each time.
const KEPT_CONTENTS: usize = 4;

/// What a plan knows of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Nothing: it was not given when the plan was made, or lies on a GPU.
    Unknown,
    /// Its elements.
    Known(Tensor),
    /// Nothing, since they change from run to run.
    Varying,
}

/// What a run asks a plan for, and what a plan was made for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The shapes of the graph's inputs, in its order.
    pub shapes: Shapes,
    /// The parameters among the inputs, by their places, in order.
    pub contents: Vec<(usize, Content)>,
    /// The inputs that outputs are handed on to and that grow in place.
    pub grown: Vec<Grown>,
}

impl Request {
    /// For these shapes; the content of the parameters among the inputs is `given`, or nobody knows it.
    pub fn new<'a>(shapes: Shapes, parameters: &[usize], given: impl Fn(usize) -> Option<&'a Tensor>) -> Self {
        let contents = parameters.iter().filter(|&&i| shapes.get(i).is_some_and(|shape| is_small(shape)));
        // A copy, since the caller writes over its own.
        let content = |i| given(i).map_or(Content::Unknown, |tensor| Content::Known(tensor.view().to_tensor()));
        let contents = contents.map(|&i| (i, content(i))).collect();
        Self { shapes, contents, grown: vec![] }
    }

    /// The places of a graph's inputs that parameterise it.
    pub fn parameters(graph: &Graph) -> Vec<usize> {
        let mut parameters = graph.parameter_inputs();
        parameters.retain(|&id| graph.fact(id).is_some_and(|fact| fact.element_type != ElementType::String));
        (0..graph.inputs.len()).filter(|&i| parameters.contains(&graph.inputs[i])).collect()
    }

    /// Whether a plan for this serves inputs of these shapes and contents. Nothing is allocated.
    pub fn serves<'a>(
        &self,
        shape: impl Fn(usize) -> Option<&'a [usize]>,
        content: impl Fn(usize) -> Option<&'a Tensor>,
    ) -> bool {
        self.shapes.iter().enumerate().all(|(i, own)| shape(i).is_some_and(|s| s == own))
            && self.contents.iter().all(|(i, own)| match (own, content(*i)) {
                (Content::Known(own), Some(content)) => own.bytes() == content.bytes(),
                (Content::Unknown, None) | (Content::Varying, _) => true,
                (Content::Unknown, Some(_)) | (Content::Known(_), None) => false,
            })
    }

    /// Whether a plan for this serves that request.
    pub fn covers(&self, other: &Self) -> bool {
        self.grown == other.grown && self.serves(|i| other.shapes.get(i).map(Vec::as_slice), |i| other.known(i))
    }

    /// The content of the input at this place, if it is known.
    pub fn known(&self, input: usize) -> Option<&Tensor> {
        self.contents.iter().find_map(|(i, content)| match content {
            Content::Known(tensor) if *i == input => Some(tensor),
            _ => None,
        })
    }

    /// The request as it is planned, beside plans that were made before: parameters that changed often are varying.
    #[must_use]
    pub fn beside<'a>(mut self, plans: impl Iterator<Item = &'a Self> + Clone) -> Self {
        for (i, content) in &mut self.contents {
            let mut seen: Vec<&Tensor> = vec![];
            for other in plans.clone().filter(|other| other.shapes == self.shapes).filter_map(|other| other.known(*i)) {
                if !seen.contains(&other) {
                    seen.push(other);
                }
            }
            if let Content::Known(tensor) = content
                && seen.len() >= KEPT_CONTENTS
                && !seen.contains(&&*tensor)
            {
                *content = Content::Varying;
            }
        }
        self
    }
}

fn is_small(shape: &[usize]) -> bool {
    crate::tensor::shape::elements(shape).is_some_and(|n| n <= PARAMETER_LIMIT)
}
