//! What becomes of the sums of each output channel, where all that decides it is known before a run, or comes with it.

use std::borrow::Cow;

use super::finish::{scales, within, zeros};
use crate::graph::{EvaluateError, Fact, Inputs, ShapeError};
use crate::tensor::{ElementType, Tensor};

/// Where the inputs stand in a node that multiplies integers. Without scales the sums are the result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Places {
    pub x_scale: Option<usize>,
    pub x_zero: usize,
    pub w: usize,
    pub w_scale: Option<usize>,
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
        let x_scale = scales(optional(places.x_scale)?).first().copied()?;
        let y_scale = optional(places.y_scale)?.map_or(Some(1.0), |t| scales(Some(t)).first().copied())?;
        let w_scales = spread(&scales(optional(places.w_scale)?), outputs)?;
        let bias = optional(places.bias)?;
        let floats = bias.is_some_and(|bias| bias.element_type().is_float());
        let quantized = match within(output, bounds) {
            Some((low, high)) => Some([zeros(optional(places.y_zero)?).first().copied()? as f32, low, high]),
            None if matches!(output, ElementType::F32 | ElementType::I32) => None,
            None => return None,
        };
        let rests = if floats { Some(spread(&scales(bias), outputs)?) } else { None };
        let rests: Option<Vec<f32>> = rests.map(|rests| rests.into_iter().map(|rest| rest / y_scale).collect());
        Some(Self {
            x_zero: zeros(known(places.x_zero)?).first().copied()?,
            w_zeros: spread(&zeros(known(places.w_zero)?), outputs)?,
            biases: if floats { vec![0; outputs] } else { spread(&zeros(bias), outputs)? },
            factors: w_scales.into_iter().map(|w_scale| alpha * x_scale * w_scale / y_scale).collect(),
            rests,
            quantized,
        })
    }

    /// Whether no result is infinite or NaN.
    pub fn is_finite(&self) -> bool {
        let finite = |all: &[f32]| all.iter().all(|v| v.is_finite());
        finite(&self.factors) && self.rests.as_deref().is_none_or(finite)
    }
}

/// [`Channels`] that are known, or that each run gives.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ends {
    places: Places,
    /// How many there are, and the type of the results.
    outputs: (usize, ElementType),
    alpha: f32,
    known: Option<Channels>,
}

impl Ends {
    /// Those of a node with these inputs. Only sums and floats may hang on what a run gives: what integers are bounded to is
    /// known.
    pub(super) fn of(
        inputs: &[Option<&Fact>],
        places: Places,
        outputs: (usize, ElementType),
        alpha: f32,
        bounds: Option<[i32; 2]>,
    ) -> Option<Self> {
        let known = Channels::of(|index| content(Fact::optional(inputs, index)), places, outputs, alpha, bounds);
        let known = known.filter(|channels| channels.quantized.is_none() || channels.is_finite());
        let open = matches!(outputs.1, ElementType::F32 | ElementType::I32);
        (known.is_some() || open).then_some(Self { places, outputs, alpha, known })
    }

    /// What becomes of the sums, if it is known.
    pub fn known(&self) -> Option<&Channels> {
        self.known.as_ref()
    }

    /// What becomes of the sums in a run with these inputs.
    pub fn in_run(&self, inputs: &Inputs<'_>) -> Result<Cow<'_, Channels>, EvaluateError> {
        if let Some(known) = &self.known {
            return Ok(Cow::Borrowed(known));
        }
        let given = |index| Some(inputs.optional(index));
        let channels = Channels::of(given, self.places, self.outputs, self.alpha, None);
        let wrong = || ShapeError::new("its scales, zero points and biases are not one for all or one for each output");
        Ok(Cow::Owned(channels.ok_or_else(wrong)?))
    }

    /// The zero points of x in a run with these inputs.
    pub fn x_zeros(&self, inputs: &Inputs<'_>) -> Vec<i32> {
        zeros(inputs.optional(self.places.x_zero))
    }

    /// The weights with their zero points, of whatever number these are.
    pub fn weights<'a>(&self, inputs: &Inputs<'a>) -> Result<(&'a Tensor, Vec<i32>), EvaluateError> {
        Ok((inputs.tensor(self.places.w)?, zeros(inputs.optional(self.places.w_zero))))
    }

    /// The same, if they are known.
    pub fn known_weights<'a>(&self, inputs: &[Option<&'a Fact>]) -> Option<(&'a Tensor, Vec<i32>)> {
        let known = |index| content(Fact::optional(inputs, index));
        Some((known(self.places.w)??, zeros(known(self.places.w_zero)?)))
    }

    /// The inputs that nobody looks at in a run once the weights are packed.
    pub fn held(&self) -> Vec<usize> {
        let Places { w, w_scale, w_zero, x_scale, y_scale, y_zero, bias, .. } = self.places;
        let rest = [x_scale, w_scale, Some(w_zero), y_scale, y_zero, bias].into_iter().flatten();
        [w].into_iter().chain(rest.filter(|_| self.known.is_some())).collect()
    }
}

/// The content of an input; `None` if it is not known, `Some(None)` if it is left out.
pub(super) fn content(fact: Option<&Fact>) -> Option<Option<&Tensor>> {
    match fact {
        None => Some(None),
        Some(fact) => fact.constant.as_ref().map(Some),
    }
}
