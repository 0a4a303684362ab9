//! DFT (ONNX opsets 17 and 20): `y_k = Σ_n x_n e^(-2πi k n / N)` along an axis, or the inverse
//! `1/N Σ_n x_n e^(2πi k n / N)`. The last dimension of a signal holds the real and, perhaps, the imaginary part.

use std::sync::Arc;

use super::fourier::{Complex, transform};
use super::kernel::Frames;
use super::{asked, given, known, positive};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::tensor::Tensor;
use crate::tensor::shape::axis;

/// A discrete Fourier transform along one axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Dft {
    inverse: bool,
    /// Only the first half of the spectrum of a real signal: given by a transform, read by an inverse one.
    onesided: bool,
    /// The axis where it is an attribute (before operator set 20); else it is input 2.
    axis: Option<i64>,
}

pub(in crate::ops) fn dft(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let axis = if d.opset < 20 { Some(d.int("axis")?.unwrap_or(1)) } else { None };
    let (inverse, onesided) = (d.flag("inverse", false)?, d.flag("onesided", false)?);
    Ok(Arc::new(Dft { inverse, onesided, axis }))
}

/// What a transform does with a signal of a known shape.
struct Plan {
    axis: usize,
    frames: Frames,
    shape: Vec<usize>,
}

impl Dft {
    /// The axis among those of a signal: any but the last.
    fn place(&self, given: Option<i64>, rank: usize) -> Result<usize, ShapeError> {
        let at = self.axis.or(given).unwrap_or(-2);
        axis(at, rank)
            .filter(|&at| at + 1 < rank)
            .ok_or_else(|| ShapeError::new(format!("axis {at} is none of a signal of rank {rank}")))
    }

    /// Whether the result is a real signal, made of half of its spectrum.
    fn restores(&self) -> bool {
        self.inverse && self.onesided && self.axis.is_none()
    }

    /// Whether the signal has imaginary parts, by its last dimension.
    fn complex(&self, parts: usize) -> Result<bool, ShapeError> {
        let complex = match parts {
            1 => false,
            2 => true,
            n => {
                return Err(ShapeError::new(format!(
                    "the signal has {n} parts, not a real and perhaps an imaginary one"
                )));
            }
        };
        match (self.onesided, self.restores(), complex) {
            (true, false, true) => Err(ShapeError::new("half a spectrum takes a real signal")),
            (true, true, false) => Err(ShapeError::new("a signal is made of a complex spectrum")),
            _ => Ok(complex),
        }
    }

    fn bins(&self, length: usize) -> usize {
        if self.onesided && !self.restores() { length / 2 + 1 } else { length }
    }

    fn plan(&self, x: &[usize], at: Option<i64>, length: Option<i64>) -> Result<Plan, ShapeError> {
        let axis = self.place(at, x.len())?;
        let complex = self.complex(x[x.len() - 1])?;
        let signal = x[axis];
        let length = match length {
            Some(length) => positive(length, "length")?,
            None if self.restores() => 2 * signal.saturating_sub(1),
            None => signal,
        };
        let whole =
            |n: &[usize]| crate::tensor::shape::elements(n).ok_or_else(|| ShapeError::new("the signal is too large"));
        let inner = whole(&x[axis + 1..x.len() - 1])?;
        let bins = self.bins(length);
        let mut shape = x.to_vec();
        shape[axis] = bins;
        shape[x.len() - 1] = if self.restores() { 1 } else { 2 };
        if length == 0 && whole(&shape)? > 0 {
            return Err(ShapeError::new("the signal has no values"));
        }
        let frames = Frames {
            batch_step: whole(&x[axis..x.len() - 1])?,
            frames: 1,
            frame_step: 0,
            inner,
            terms: signal.min(if self.restores() { length / 2 + 1 } else { length }),
            length,
            bins,
            complex,
            inverse: self.inverse,
            real: self.restores(),
        };
        Ok(Plan { axis, frames, shape })
    }
}

impl Operator for Dft {
    fn name(&self) -> &str {
        "DFT"
    }

    fn reads(&self, input: usize) -> Reads {
        match input {
            1 | 2 => Reads::Parameter,
            _ => Reads::Elements,
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        if !x.element_type.is_float() || x.rank() < 2 {
            return Err(ShapeError::new(format!("its signal is {x}")));
        }
        let last = x.rank() - 1;
        if let Some(parts) = x.shape[last].size() {
            self.complex(parts)?;
        }
        let mut shape = x.shape.clone();
        shape[last] = Dim::from(if self.restores() { 1usize } else { 2 });
        let given_axis = Fact::optional(inputs, 2).filter(|_| self.axis.is_none());
        let at = match given_axis {
            None => Some(self.place(None, x.rank())?),
            Some(fact) => match fact.integers().and_then(|v| v.first().copied()) {
                Some(at) => Some(self.place(Some(at), x.rank())?),
                None => None,
            },
        };
        let Some(at) = at else {
            // Any of the axes may change.
            shape[..last].fill(Dim::Unknown);
            return Ok(vec![x.with_shape(shape)]);
        };
        let length = match (Fact::optional(inputs, 1), known(inputs, 1)) {
            (Some(_), None) => None,
            (_, Some(length)) => Some(positive(length, "length")?),
            (None, None) => x.shape[at].size().map(|n| if self.restores() { 2 * n.saturating_sub(1) } else { n }),
        };
        shape[at] = length.map_or(Dim::Unknown, |n| Dim::from(self.bins(n)));
        Ok(vec![x.with_shape(shape)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        if !x.element_type().is_float() || x.rank() < 2 {
            return Err(ShapeError::new(format!("its signal is {x:?}")).into());
        }
        let at = if self.axis.is_none() { given(inputs, 2)? } else { None };
        let Plan { axis, frames, shape } = self.plan(x.shape(), at, given(inputs, 1)?)?;
        let mut y = vec![0.0; Tensor::bounded(x.element_type(), &shape)?];
        Tensor::bounded(x.element_type(), &[frames.length, 2])?;
        if y.is_empty() {
            return Ok(vec![Tensor::from_f64(x.element_type(), shape, y)?.into()]);
        }
        let numbers = x.to_f64();
        let parts = if frames.complex { 2 } else { 1 };
        let lanes: usize = x.shape()[..axis].iter().product::<usize>() * frames.inner;
        for lane in 0..lanes {
            let (batch, i) = (lane / frames.inner, lane % frames.inner);
            let mut line: Vec<Complex> = (0..frames.terms)
                .map(|n| {
                    let e = (batch * frames.batch_step + n * frames.inner + i) * parts;
                    [numbers[e], if frames.complex { numbers[e + 1] } else { 0.0 }]
                })
                .collect();
            line.resize(frames.length, [0.0; 2]);
            if frames.real {
                // The other half mirrors this one; what lies on the mirror is real.
                line[0][1] = 0.0;
                for n in 1..frames.length.div_ceil(2) {
                    line[frames.length - n] = [line[n][0], -line[n][1]];
                }
                if frames.length % 2 == 0 {
                    line[frames.length / 2][1] = 0.0;
                }
            }
            let scale = if frames.inverse { 1.0 / frames.length as f64 } else { 1.0 };
            for (k, value) in transform(&line, frames.inverse).into_iter().take(frames.bins).enumerate() {
                let e = (batch * frames.bins + k) * frames.inner + i;
                if frames.real {
                    y[e] = value[0] * scale;
                } else {
                    (y[2 * e], y[2 * e + 1]) = (value[0] * scale, value[1] * scale);
                }
            }
        }
        Ok(vec![Tensor::from_f64(x.element_type(), shape, y)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let at = if self.axis.is_none() { asked(request, 2, "axis")? } else { None };
        let plan = self.plan(&request.shape(0)?, at, asked(request, 1, "length")?);
        plan.map_err(|e| e.to_string())?.frames.candidates(request, None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Input, Tolerance, try_check};

    fn run(operator: &Dft, x: Tensor, length: Option<i64>, at: Option<i64>) -> Result<Vec<f64>, EvaluateError> {
        let values = [Some(x.into()), length.map(|n| Tensor::scalar(n).into()), at.map(|a| Tensor::scalar(a).into())];
        let values: Vec<Option<&Value>> = values.iter().map(Option::as_ref).collect();
        let y = operator.evaluate(&mut Context::default(), Inputs(&values))?.remove(0).into_tensor().unwrap();
        Ok(y.to_f64())
    }

    fn real(values: &[f32]) -> Tensor {
        Tensor::new([1, values.len(), 1], values.to_vec()).unwrap()
    }

    fn near(got: &[f64], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?}, expected {expected:?}");
    }

    #[test]
    fn a_signal_there_and_back() {
        let forward = Dft { inverse: false, onesided: false, axis: None };
        let half = Dft { onesided: true, ..forward.clone() };
        let back = Dft { inverse: true, onesided: true, axis: None };
        // 1, 2, 4 by hand: 7, then 1 - 3 ± i √3.
        let x = [1.0, 2.0, 4.0];
        let root = 3f64.sqrt();
        near(&run(&forward, real(&x), None, None).unwrap(), &[7.0, 0.0, -2.0, root, -2.0, -root]);
        near(&run(&half, real(&x), None, None).unwrap(), &[7.0, 0.0, -2.0, root]);
        // Cut off, and with zeros behind.
        near(&run(&forward, real(&x), Some(1), None).unwrap(), &[1.0, 0.0]);
        near(&run(&forward, real(&x[..1]), Some(2), Some(1)).unwrap(), &[1.0, 0.0, 1.0, 0.0]);
        for n in [3i64, 4] {
            let x: Vec<f32> = (0..n).map(|i| (i * i) as f32).collect();
            let y = run(&half, real(&x), None, None).unwrap();
            let y = Tensor::new([1, y.len() / 2, 2], y.iter().map(|&v| v as f32).collect::<Vec<_>>()).unwrap();
            let x: Vec<f64> = x.into_iter().map(f64::from).collect();
            near(&run(&back, y, Some(n), Some(-2)).unwrap(), &x);
        }
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        let forward = Dft { inverse: false, onesided: false, axis: None };
        assert!(run(&forward, real(&[1.0]), Some(0), None).is_err());
        assert!(run(&forward, real(&[1.0]), Some(i64::MAX), None).is_err());
        assert!(run(&forward, real(&[1.0]), None, Some(-1)).is_err());
        assert!(run(&forward, real(&[1.0]), None, Some(2)).is_err());
        assert!(run(&forward, Tensor::vector(vec![1f32]), None, None).is_err());
        let both = Tensor::new([1, 1, 2], vec![1f32, 2.0]).unwrap();
        assert!(run(&Dft { onesided: true, ..forward.clone() }, both, None, None).is_err());
        // Before operator set 20 the axis is an attribute, and 1 if it is not given.
        let old = Definition { opset: 17, ..Definition::new("DFT") };
        let fact = Fact::new(crate::tensor::ElementType::F32, [2usize, 3, 4, 1]);
        let shape = |d: &Definition| dft(d).unwrap().infer(&[Some(&fact)]).unwrap()[0].to_string();
        assert_eq!(shape(&old.clone().attribute("onesided", 1i64)), "f32[2, 2, 4, 2]");
        assert_eq!(shape(&Definition::new("DFT").attribute("onesided", 1i64)), "f32[2, 3, 3, 2]");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Sums of up to 17 terms below 1 in size: each adds a rounding of at most 2⁻²³ relative to a sum of at most 34.
        #[test]
        fn gpu_and_reference_agree(
            dims in prop::collection::vec(prop::sample::select(vec![0usize, 1, 2, 3, 5, 8, 13]), 1..4),
            at in any::<prop::sample::Index>(), length in prop::option::of(1i64..17), complex in any::<bool>(),
            inverse in any::<bool>(), onesided in any::<bool>(), seed in any::<u32>(),
        ) {
            let at = at.index(dims.len());
            let operator = Dft { inverse, onesided, axis: None };
            let complex = if onesided { inverse } else { complex };
            let mut shape = dims;
            shape.push(if complex { 2 } else { 1 });
            prop_assume!(length.is_some() || operator.plan(&shape, Some(at as i64), None).is_ok());
            let n: usize = shape.iter().product();
            let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 8_388_608.0 - 1.0;
            let x = Tensor::new(shape, (0..n).map(value).collect()).unwrap();
            let length = length.map_or(Input::Missing, |n| Input::Constant(Tensor::scalar(n)));
            let inputs = [Input::Run(x), length, Input::Constant(Tensor::scalar(at as i64))];
            let tolerance = Tolerance { absolute: 2e-5, relative: 2e-6 };
            // In 16 bits the signal is rounded for both; only the result is once more.
            crate::testing::try_check_by_precision(&operator, &inputs, tolerance, Tolerance { absolute: 1e-4, relative: 2e-3 })
                .map_err(TestCaseError::fail)?;
        }
    }

    #[test]
    fn long_transforms_stay_within_bounds() {
        let x = Tensor::new([1, 500, 1], (0..500).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect()).unwrap();
        let operator = Dft { inverse: false, onesided: true, axis: None };
        // 500 terms below 1: roundings of sums below 500 add up to less than 500 · 500 · 2⁻²⁴, and rarely to a tenth of it.
        let tolerance = Tolerance { absolute: 1e-3, relative: 1e-6 };
        try_check(&operator, &[Input::Run(x)], tolerance).unwrap();
    }
}
