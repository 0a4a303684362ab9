//! Integers that stand for floats, as DequantizeLinear takes them and QuantizeLinear gives them.

use super::super::edit::Edit;
use crate::graph::{Node, ValueId};
use crate::ops::quantize::Quantize;
use crate::tensor::{ElementType, Tensor};

/// Integers with one scale and zero point for all, or one for each slice along an axis.
#[derive(Debug, Clone)]
pub(super) struct Integers {
    /// The integers; of a QuantizeLinear, the floats.
    pub value: ValueId,
    pub scale: ValueId,
    pub scales: Vec<f32>,
    pub zero: Option<ValueId>,
    pub zeros: Vec<i64>,
    pub element_type: ElementType,
    /// The axis, where there are several scales.
    pub axis: Option<usize>,
}

impl Integers {
    /// Those that a node of QuantizeLinear gives, or one of DequantizeLinear takes.
    fn of(edit: &Edit<'_>, node: &Node, back: bool) -> Option<Self> {
        let linear = node.operator.downcast::<Quantize>()?;
        let graph = edit.graph();
        let (value, scale) = (node.inputs.first().copied()??, node.inputs.get(1).copied()??);
        let zero = node.inputs.get(2).copied().flatten();
        let output = graph.fact(node.outputs.first().copied()??)?;
        let (floats, integers) = if back { (output, graph.fact(value)?) } else { (graph.fact(value)?, output) };
        let scale_fact = graph.fact(scale)?;
        let plain = linear.is_back() == back && linear.is_plain() && floats.element_type == ElementType::F32;
        let scales = scale_fact.floats().filter(|_| plain && scale_fact.element_type == ElementType::F32)?;
        let zeros = match zero {
            Some(zero) => graph.constant(zero)?.integers()?,
            None => vec![0],
        };
        let axis = (scales.len() > 1).then(|| linear.axis(integers.rank()));
        let axis = if let Some(axis) = axis { Some(axis?) } else { None };
        Some(Self { value, scale, scales, zero, zeros, element_type: integers.element_type, axis })
    }

    pub fn is_eight(&self) -> bool {
        matches!(self.element_type, ElementType::I8 | ElementType::U8)
    }

    /// Whether one scale serves all.
    pub fn is_whole(&self) -> bool {
        self.scales.len() == 1 && self.zeros.len() == 1 && self.is_eight()
    }

    /// Whether both stand for the same numbers.
    pub fn is_like(&self, other: &Self) -> bool {
        self.scales == other.scales && self.zeros == other.zeros && self.element_type == other.element_type
    }

    /// The zero point as a value.
    pub fn zero(&self, edit: &mut Edit<'_>) -> Option<ValueId> {
        if self.zero.is_some() {
            return self.zero;
        }
        let zero = Tensor::from_f64(self.element_type, [], vec![0.0]).ok()?;
        Some(edit.constant("zero_point", zero))
    }
}

/// What a QuantizeLinear gives, if one scale serves all.
pub(super) fn quantized(edit: &Edit<'_>, node: &Node) -> Option<Integers> {
    Integers::of(edit, node, false).filter(Integers::is_whole)
}

/// The integers that a value was before it was dequantized.
pub(super) fn dequantized(edit: &Edit<'_>, value: ValueId) -> Option<Integers> {
    let (_, node) = edit.producer(value)?;
    Integers::of(edit, node, true)
}
