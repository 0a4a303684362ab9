//! STFT (ONNX opset 17): Fourier transforms of the overlapping frames of a signal,
//! `y[b, f, k] = Σ_n w_n x[b, f · step + n] e^(-2πi k n / N)`.

use std::sync::Arc;

use super::fourier::{Complex, transform};
use super::kernel::Frames;
use super::{asked, given, known, positive};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::tensor::Tensor;

/// Transforms of frames of a signal (input 0), `step` apart (input 1), weighted by a window (input 2), of a length (input
/// 3) that is the window's if it is not given.
#[derive(Debug, Clone, PartialEq)]
pub struct Stft {
    /// Only the first half of each spectrum.
    onesided: bool,
}

pub(in crate::ops) fn stft(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(Stft { onesided: d.flag("onesided", true)? }))
}

impl Stft {
    /// The length of frames, which a window has too.
    fn length(window: Option<usize>, given: Option<i64>) -> Result<usize, ShapeError> {
        match (window, given) {
            (None, None) => Err(ShapeError::new("it has neither a window nor a length of frames")),
            (Some(window), None) => positive(i64::try_from(window).unwrap_or(i64::MAX), "window's length"),
            (window, Some(length)) => {
                let length = positive(length, "length of frames")?;
                match window {
                    Some(window) if window != length => {
                        Err(ShapeError::new(format!("a window of {window} values does not go with frames of {length}")))
                    }
                    _ => Ok(length),
                }
            }
        }
    }

    fn bins(&self, length: usize) -> usize {
        if self.onesided { length / 2 + 1 } else { length }
    }

    /// Whether the signal has imaginary parts, by its last dimension.
    fn complex(&self, parts: usize) -> Result<bool, ShapeError> {
        match parts {
            1 => Ok(false),
            2 if self.onesided => Err(ShapeError::new("half a spectrum takes a real signal")),
            2 => Ok(true),
            n => Err(ShapeError::new(format!("the signal has {n} parts, not a real and perhaps an imaginary one"))),
        }
    }

    fn plan(&self, x: &[usize], step: i64, length: usize) -> Result<(Frames, Vec<usize>), ShapeError> {
        let &[batches, signal, parts] = x else {
            return Err(ShapeError::new("its signal should be [batches, values, 1 or 2]"));
        };
        let complex = self.complex(parts)?;
        let step = positive(step, "step")?;
        let rest = signal.checked_sub(length);
        let rest = rest.ok_or_else(|| ShapeError::new(format!("frames of {length} values in a signal of {signal}")))?;
        let (frames, bins) = (rest / step + 1, self.bins(length));
        let plan = Frames {
            batch_step: signal,
            frames,
            frame_step: step.min(signal),
            inner: 1,
            terms: length,
            length,
            bins,
            complex,
            inverse: false,
            real: false,
        };
        Ok((plan, vec![batches, frames, bins, 2]))
    }
}

impl Operator for Stft {
    fn name(&self) -> &str {
        "STFT"
    }

    fn reads(&self, input: usize) -> Reads {
        match input {
            1 | 3 => Reads::Parameter,
            _ => Reads::Elements,
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let [batches, signal, parts] = x.shape.as_slice() else {
            return Err(ShapeError::new(format!("its signal should be [batches, values, 1 or 2], not {x}")));
        };
        let window = Fact::optional(inputs, 2);
        let float = |fact: &Fact| fact.element_type.is_float();
        if !float(x) || !window.is_none_or(|w| w.element_type == x.element_type && w.rank() == 1) {
            return Err(ShapeError::new("its signal and its window should be floats of one type"));
        }
        if let Some(parts) = parts.size() {
            self.complex(parts)?;
        }
        let length = match (Fact::optional(inputs, 3), window.map(|w| w.shape[0].size())) {
            (Some(_), window) => match known(inputs, 3) {
                Some(length) => Some(Self::length(window.flatten(), Some(length))?),
                None => window.flatten(),
            },
            (None, Some(window)) => window,
            (None, None) => Some(Self::length(None, None)?),
        };
        let step = Fact::at(inputs, 1).map(|_| known(inputs, 1))?;
        let frames = match (signal.size(), step, length) {
            (Some(signal), Some(step), Some(length)) => {
                Dim::from(self.plan(&[1, signal, 1], step, length).map(|(plan, _)| plan.frames)?)
            }
            _ => Dim::Unknown,
        };
        let bins = length.map_or(Dim::Unknown, |n| Dim::from(self.bins(n)));
        Ok(vec![x.with_shape(vec![batches.clone(), frames, bins, Dim::from(2usize)])])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (x, window) = (inputs.tensor(0)?, inputs.optional(2));
        if !x.element_type().is_float() || window.is_some_and(|w| w.rank() != 1) {
            return Err(ShapeError::new("its signal and its window should be floats").into());
        }
        let length = Self::length(window.map(Tensor::len), given(inputs, 3)?)?;
        let step = given(inputs, 1)?.ok_or_else(|| ShapeError::new("its step is missing"))?;
        let (plan, shape) = self.plan(x.shape(), step, length)?;
        let mut y = Vec::with_capacity(Tensor::bounded(x.element_type(), &shape)?);
        let (numbers, weights) = (x.to_f64(), window.map(Tensor::to_f64));
        let parts = if plan.complex { 2 } else { 1 };
        for batch in 0..shape[0] {
            for frame in 0..plan.frames {
                let first = batch * plan.batch_step + frame * plan.frame_step;
                let line: Vec<Complex> = (0..length)
                    .map(|n| {
                        let e = (first + n) * parts;
                        let w = weights.as_ref().map_or(1.0, |w| w[n]);
                        [numbers[e] * w, if plan.complex { numbers[e + 1] * w } else { 0.0 }]
                    })
                    .collect();
                y.extend(transform(&line, false).into_iter().take(plan.bins).flatten());
            }
        }
        Ok(vec![Tensor::from_f64(x.element_type(), shape, y)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let window = request.optional(2).is_some();
        let elements = if window { request.shape(2)?.first().copied() } else { None };
        let length = Self::length(elements, asked(request, 3, "length of frames")?).map_err(|e| e.to_string())?;
        let step = asked(request, 1, "step")?.ok_or("its step is missing")?;
        let (plan, _) = self.plan(&request.shape(0)?, step, length).map_err(|e| e.to_string())?;
        plan.candidates(request, window.then_some(2))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Input, Tolerance, try_check_by_precision};

    #[test]
    fn frames_are_weighted_and_transformed() {
        let x: Value = Tensor::new([1, 4, 1], vec![1f32, 2.0, 3.0, 5.0]).unwrap().into();
        let (step, window): (Value, Value) = (Tensor::scalar(2i64).into(), Tensor::vector(vec![1f32, 0.5]).into());
        let run = |inputs: &[Option<&Value>]| {
            let results = Stft { onesided: true }.evaluate(&mut Context::default(), Inputs(inputs))?;
            let y = results.into_iter().next().and_then(Value::into_tensor).unwrap();
            Ok::<_, EvaluateError>((y.shape().to_vec(), y.to_f64()))
        };
        let (shape, y) = run(&[Some(&x), Some(&step), Some(&window)]).unwrap();
        // Sums and differences of (1, 1) and (3, 2.5).
        assert_eq!((shape, y), (vec![1, 2, 2, 2], vec![2.0, 0.0, 0.0, 0.0, 5.5, 0.0, 0.5, 0.0]));
        let bad = |n: i64| Value::from(Tensor::scalar(n));
        assert!(run(&[Some(&x), Some(&bad(0)), Some(&window)]).is_err());
        assert!(run(&[Some(&x), Some(&step)]).is_err());
        assert!(run(&[Some(&x), Some(&step), Some(&window), Some(&bad(3))]).is_err());
        assert!(run(&[Some(&x), Some(&step), None, Some(&bad(5))]).is_err());
        assert_eq!(run(&[Some(&x), Some(&bad(i64::MAX)), None, Some(&bad(4))]).unwrap().0, [1, 1, 3, 2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// As DFT's: sums of up to 13 terms below 1 in size.
        #[test]
        fn gpu_and_reference_agree(
            batches in 0usize..3, extra in 0usize..20, length in 1usize..14, step in 1i64..9, window in any::<bool>(),
            onesided in any::<bool>(), complex in any::<bool>(), seed in any::<u32>(),
        ) {
            let complex = complex && !onesided;
            let values = |n: usize| -> Vec<f32> {
                (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 8_388_608.0 - 1.0).collect()
            };
            let shape = [batches, length + extra, if complex { 2 } else { 1 }];
            let x = Tensor::new(shape, values(shape.iter().product())).unwrap();
            let weights = if window { Input::Run(Tensor::vector(values(length))) } else { Input::Missing };
            let frame = Input::Constant(Tensor::scalar(length as i64));
            let inputs = [Input::Run(x), Input::Constant(Tensor::scalar(step)), weights, frame];
            let (single, half) = (Tolerance { absolute: 2e-5, relative: 2e-6 }, Tolerance { absolute: 1e-4, relative: 2e-3 });
            try_check_by_precision(&Stft { onesided }, &inputs, single, half).map_err(TestCaseError::fail)?;
        }
    }
}
