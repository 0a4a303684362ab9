//! HannWindow, HammingWindow and BlackmanWindow (ONNX opset 17): `w_n = a - b cos(2π n / N) + c cos(4π n / N)`, with the
//! window's length for N, or one less where both its ends are to be alike.

use std::f64::consts::PI;
use std::sync::Arc;

use super::{asked, given, known};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::ops::generate::tabulated;
use crate::tensor::{ElementType, Tensor};

/// The weights of a window of a length that is input 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    name: &'static str,
    /// a, b and c.
    weights: [f64; 3],
    periodic: bool,
    element_type: ElementType,
}

pub(in crate::ops) fn window(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let (name, weights) = match d.op_type.as_str() {
        "HannWindow" => ("HannWindow", [0.5, 0.5, 0.0]),
        "HammingWindow" => ("HammingWindow", [25.0 / 46.0, 21.0 / 46.0, 0.0]),
        _ => ("BlackmanWindow", [0.42, 0.5, 0.08]),
    };
    let element_type = output_type(d)?;
    Ok(Arc::new(Window { name, weights, periodic: d.flag("periodic", true)?, element_type }))
}

/// The type that attribute `output_datatype` names; 32-bit floats if it is not given.
pub(super) fn output_type(d: &Definition) -> Result<ElementType, DefinitionError> {
    let number = d.int("output_datatype")?.unwrap_or(1);
    ElementType::from_data_type(number)
        .filter(|t| t.is_float() || t.is_integer())
        .ok_or_else(|| DefinitionError::Value("output_datatype", format!("is {number}, which is no number's")))
}

impl Window {
    fn length(size: i64) -> Result<usize, ShapeError> {
        usize::try_from(size).map_err(|_| ShapeError::new(format!("its length is {size}")))
    }

    fn values(&self, size: i64) -> Result<Tensor, EvaluateError> {
        let size = Self::length(size)?;
        Tensor::bounded(self.element_type, &[size])?;
        let [a, b, c] = self.weights;
        // The one value of a symmetric window stands in its middle, where they all are 1.
        let period = if self.periodic { size } else { size.saturating_sub(1) };
        let value = |n: usize| {
            let angle = if period == 0 { PI } else { 2.0 * PI * n as f64 / period as f64 };
            a - b * angle.cos() + c * (2.0 * angle).cos()
        };
        Ok(Tensor::from_f64(self.element_type, [size], (0..size).map(value).collect())?)
    }
}

impl Operator for Window {
    fn name(&self) -> &str {
        self.name
    }

    fn reads(&self, input: usize) -> Reads {
        match input {
            0 => Reads::Parameter,
            _ => Reads::Elements,
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        if Fact::at(inputs, 0)?.rank() > 1 {
            return Err(ShapeError::new("its length should be a number"));
        }
        let size = match known(inputs, 0) {
            Some(size) => Dim::from(Self::length(size)?),
            None => Fact::at(inputs, 0)?.known.as_ref().and_then(|v| v.first().cloned()).unwrap_or(Dim::Unknown),
        };
        Ok(vec![Fact::new(self.element_type, [size])])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let size = given(inputs, 0)?.ok_or_else(|| ShapeError::new("its length is missing"))?;
        Ok(vec![self.values(size)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let size = asked(request, 0, "length")?.ok_or("its length is missing")?;
        if size > 1 << 22 {
            return Err("it is too large to be a constant".to_owned());
        }
        tabulated(request, &self.values(size).map_err(|e| e.to_string())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Input, Tolerance, check};

    #[test]
    fn windows_are_those_of_their_formulas() {
        let make = |name: &str, periodic: i64| {
            let d = Definition::new(name).attribute("periodic", periodic);
            window(&d).unwrap().downcast::<Window>().unwrap().clone()
        };
        let values = |name: &str, periodic, size| make(name, periodic).values(size).unwrap().to_f64();
        let near = |got: Vec<f64>, expected: &[f64]| {
            assert!(
                got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
                "{got:?}"
            );
        };
        near(values("HannWindow", 1, 4), &[0.0, 0.5, 1.0, 0.5]);
        near(values("HannWindow", 0, 3), &[0.0, 1.0, 0.0]);
        near(values("HammingWindow", 0, 3), &[4.0 / 46.0, 1.0, 4.0 / 46.0]);
        near(values("BlackmanWindow", 0, 3), &[0.0, 1.0, 0.0]);
        near(values("HannWindow", 0, 1), &[1.0]);
        assert!(make("HannWindow", 1).values(-1).is_err() && make("HannWindow", 1).values(i64::MAX).is_err());
        assert!(window(&Definition::new("HannWindow").attribute("output_datatype", 8i64)).is_err());
    }

    #[test]
    fn kernels_give_the_same() {
        for name in ["HannWindow", "HammingWindow", "BlackmanWindow"] {
            for size in [0i64, 1, 2, 7, 64] {
                let operator = window(&Definition::new(name).attribute("periodic", size % 2)).unwrap();
                check(&*operator, &[Input::Constant(Tensor::scalar(size))], Tolerance::EXACT);
            }
        }
    }
}
