//! What becomes of the sums of each output channel, where all that decides it is known before a run.

use super::finish::{scales, within, zeros};
use crate::tensor::{ElementType, Tensor};

/// Where the inputs stand in a node that multiplies integers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Places {
    pub x_scale: usize,
    pub x_zero: usize,
    pub w: usize,
    pub w_scale: usize,
    pub w_zero: usize,
    pub y_scale: Option<usize>,
    pub y_zero: Option<usize>,
    pub bias: Option<usize>,
}

/// For each output channel `(Σ (w - w_zero) · (x - x_zero) + bias) · factor + rest`, as floats or, quantized, rounded, with
/// the zero point added and bounded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Channels {
    /// The zero point of x.
    pub x_zero: i32,
    /// The weights' zero points.
    pub w_zeros: Vec<i32>,
    /// What is added to sums.
    pub biases: Vec<i32>,
    /// What sums are multiplied by.
    pub factors: Vec<f32>,
    /// What is added to products, unless that is nothing.
    pub rests: Option<Vec<f32>>,
    /// The zero point and the bounds of quantized results.
    pub quantized: Option<[f32; 3]>,
}

impl Channels {
    /// Those of so many outputs of a type. `known` gives the content of an input; `None` is an input that is not known, and
    /// `Some(None)` one that is left out. `alpha` multiplies all sums.
    pub(super) fn of<'a>(
        known: impl Fn(usize) -> Option<Option<&'a Tensor>>,
        places: Places,
        (outputs, output): (usize, ElementType),
        alpha: f32,
        bounds: Option<[i32; 2]>,
    ) -> Option<Self> {
        let optional = |index: Option<usize>| index.map_or(Some(None), &known);
        // One for all, or one for each.
        fn spread<T: Copy>(all: &[T], outputs: usize) -> Option<Vec<T>> {
            match *all {
                [one] => Some(vec![one; outputs]),
                _ => (all.len() == outputs).then(|| all.to_vec()),
            }
        }
        let x_scale = scales(known(places.x_scale)?).first().copied()?;
        let y_scale = optional(places.y_scale)?.map_or(Some(1.0), |t| scales(Some(t)).first().copied())?;
        let w_scales = spread(&scales(known(places.w_scale)?), outputs)?;
        let bias = optional(places.bias)?;
        let floats = bias.is_some_and(|bias| bias.element_type().is_float());
        let quantized = match within(output, bounds) {
            Some((low, high)) => Some([zeros(optional(places.y_zero)?).first().copied()? as f32, low, high]),
            None if output == ElementType::F32 => None,
            None => return None,
        };
        let rests = if floats { Some(spread(&scales(bias), outputs)?) } else { None };
        let rests: Option<Vec<f32>> = rests.map(|rests| rests.into_iter().map(|rest| rest / y_scale).collect());
        let channels = Self {
            x_zero: zeros(known(places.x_zero)?).first().copied()?,
            w_zeros: spread(&zeros(known(places.w_zero)?), outputs)?,
            biases: if floats { vec![0; outputs] } else { spread(&zeros(bias), outputs)? },
            factors: w_scales.into_iter().map(|w_scale| alpha * x_scale * w_scale / y_scale).collect(),
            rests,
            quantized,
        };
        let finite = |all: &[f32]| all.iter().all(|v| v.is_finite());
        (finite(&channels.factors) && channels.rests.as_deref().is_none_or(finite)).then_some(channels)
    }
}
