//! MelWeightMatrix (ONNX opset 17): the weights that gather the bins of a spectrum into bands as wide as they sound.
//!
//! Edges of bands lie evenly on the mel scale, `m = 2595 log10(1 + f / 700)`; between the edges of a band weights rise to its
//! middle and fall again.

use std::sync::Arc;

use super::windows::output_type;
use super::{given, known};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::ops::generate::tabulated;
use crate::tensor::{ElementType, Tensor};

/// A matrix of `[length / 2 + 1, bands]`, of the number of bands, the transform's length, the sample rate and the lowest and
/// highest frequency (inputs 0 to 4).
#[derive(Debug, Clone, PartialEq)]
pub struct MelWeightMatrix {
    element_type: ElementType,
}

pub(in crate::ops) fn mel_weight_matrix(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(MelWeightMatrix { element_type: output_type(d)? }))
}

/// The number of bands, or of bins, as a dimension.
fn size(n: i64, what: &str) -> Result<usize, ShapeError> {
    usize::try_from(n).map_err(|_| ShapeError::new(format!("its {what} is {n}")))
}

impl MelWeightMatrix {
    fn weights(&self, [bands, length, rate]: [i64; 3], [low, high]: [f64; 2]) -> Result<Tensor, EvaluateError> {
        let (bands, bins) = (size(bands, "number of bands")?, size(length, "length")? / 2 + 1);
        let shape = [bins, bands];
        let mut weights = vec![0.0; Tensor::bounded(self.element_type, &shape)?];
        let mel = |f: f64| 2595.0 * (1.0 + f / 700.0).log10();
        let step = (mel(high) - mel(low)) / (bands as f64 + 2.0);
        let mut edges = Vec::with_capacity(bands.min(weights.len()) + 2);
        // Without bands there are no edges that could lie outside.
        for i in 0..if bands == 0 { 0 } else { bands + 2 } {
            let frequency = 700.0 * (10f64.powf((i as f64 * step + mel(low)) / 2595.0) - 1.0);
            let bin = ((length as f64 + 1.0) * frequency / rate as f64).floor();
            if !(0.0..=bins as f64).contains(&bin) {
                return Err(ShapeError::new(format!("an edge at {frequency} Hz lies outside of the spectrum")).into());
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the bins")]
            edges.push(bin as usize);
        }
        for (band, edges) in edges.windows(3).enumerate() {
            let &[left, middle, right] = edges else { continue };
            let mut set = |bin: usize, weight: f64| match weights.get_mut(bin * bands + band) {
                Some(there) => {
                    *there = weight;
                    Ok(())
                }
                None => Err(ShapeError::new("a band lies outside of the spectrum")),
            };
            if left == middle {
                set(middle, 1.0)?;
            }
            for bin in left..middle.max(left) {
                set(bin, (bin - left) as f64 / (middle - left) as f64)?;
            }
            for bin in middle..right.max(middle) {
                set(bin, (right - bin) as f64 / (right - middle) as f64)?;
            }
            if left < middle && right <= middle {
                set(middle, 1.0)?;
            }
        }
        Ok(Tensor::from_f64(self.element_type, shape, weights)?)
    }
}

impl Operator for MelWeightMatrix {
    fn name(&self) -> &str {
        "MelWeightMatrix"
    }

    fn reads(&self, input: usize) -> Reads {
        match input {
            0..=4 => Reads::Parameter,
            _ => Reads::Elements,
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        for i in 0..5 {
            Fact::at(inputs, i)?;
        }
        let dim = |i: usize, what: &str, f: fn(usize) -> usize| match known(inputs, i) {
            Some(n) => size(n, what).map(|n| Dim::from(f(n))),
            None => Ok(Dim::Unknown),
        };
        let shape = [dim(1, "length", |n| n / 2 + 1)?, dim(0, "number of bands", |n| n)?];
        Ok(vec![Fact::new(self.element_type, shape)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let missing = || ShapeError::new("one of its five numbers is missing");
        let integer = |i: usize| given(inputs, i)?.ok_or_else(|| EvaluateError::from(missing()));
        let float =
            |i: usize| inputs.tensor(i)?.to_f64().first().copied().ok_or_else(|| EvaluateError::from(missing()));
        let numbers = [integer(0)?, integer(1)?, integer(2)?];
        Ok(vec![self.weights(numbers, [float(3)?, float(4)?])?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let constant = |i: usize| {
            let constant = request.input(i)?.fact.constant.clone();
            constant.ok_or_else(|| "its numbers are computed at run time".to_owned())
        };
        let values = [constant(0)?, constant(1)?, constant(2)?, constant(3)?, constant(4)?].map(Value::from);
        if request.output_shape(0)?.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).is_none_or(|n| n > 1 << 22) {
            return Err("it is too large to be a constant".to_owned());
        }
        let weights = self.evaluate(&mut Context::default(), Inputs(&values.each_ref().map(Some)));
        let weights = weights.map_err(|e| e.to_string())?.into_iter().next().and_then(Value::into_tensor);
        tabulated(request, &weights.ok_or("it is no tensor")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Input, Tolerance, check};

    #[test]
    fn bands_rise_and_fall() {
        let operator = MelWeightMatrix { element_type: ElementType::F32 };
        // Edges at 0, 433, 1132 and 2264 Hz: bins 0, 0, 2 and 4.
        let weights = operator.weights([2, 16, 8192], [0.0, 4096.0]).unwrap();
        let mut expected = vec![1.0, 0.0, 0.5, 0.5, 0.0, 1.0, 0.0, 0.5];
        expected.resize(18, 0.0);
        assert_eq!((weights.shape(), weights.to_f64()), (&[9, 2][..], expected));
        assert!(operator.weights([2, 16, 0], [0.0, 4096.0]).is_err());
        assert!(operator.weights([2, 16, 8192], [-1e9, 4096.0]).is_err());
        assert!(operator.weights([2, 16, 8192], [0.0, 1e9]).is_err());
        assert!(operator.weights([-1, 16, 8192], [0.0, 4096.0]).is_err());
        assert!(operator.weights([i64::MAX, 1 << 40, 8192], [0.0, 4096.0]).is_err());
    }

    #[test]
    fn the_kernel_gives_the_same() {
        let integers = [8i64, 64, 8192].map(|n| Input::Constant(Tensor::scalar(n)));
        let floats = [0f32, 4000.0].map(|f| Input::Constant(Tensor::scalar(f)));
        let inputs: Vec<Input> = integers.into_iter().chain(floats).collect();
        check(&MelWeightMatrix { element_type: ElementType::F32 }, &inputs, Tolerance::EXACT);
    }
}
