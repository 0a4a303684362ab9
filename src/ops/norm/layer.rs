//! LayerNormalization (ONNX opset 17), RMSNormalization (23) and LpNormalization (1).
//!
//! Layer: `y = (x - mean) / √(variance + ε) · scale + shift`, mean and variance being those of the axes from `axis` on.
//! RMS: `y = x / √(mean of x² + ε) · scale`. Lp: `y = x / (Σ|x|^p)^(1/p)` along one axis.

use std::sync::Arc;

use super::lanes::map_lanes;
use super::normalize::{Affine, Mode, Plan};
use super::{Lanes, WORKGROUP};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidates, Dispatch, Kernel, Layout, Want};
use crate::ops::{binary, broadcast};
use crate::tensor::{ElementType, Tensor, shape};

/// A normalization of the last axes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layer {
    mode: Mode,
    axis: i64,
    /// What is added to the mean square.
    pub epsilon: f32,
    /// Whether mean and inverse deviation are outputs too.
    statistics: bool,
}

/// Makes the normalization that the definition names.
pub(in crate::ops) fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let mode = match definition.op_type.as_str() {
        "LayerNormalization" => Mode::Deviation,
        "RMSNormalization" => Mode::RootMeanSquare,
        _ => match definition.int("p")?.unwrap_or(2) {
            1 => Mode::L1,
            2 => Mode::L2,
            p => return Err(DefinitionError::Value("p", format!("is {p}, not 1 or 2"))),
        },
    };
    Ok(Arc::new(Layer {
        mode,
        axis: definition.int("axis")?.unwrap_or(-1),
        epsilon: definition.float("epsilon")?.unwrap_or(1e-5),
        statistics: mode == Mode::Deviation && definition.outputs > 1,
    }))
}

impl Layer {
    /// The first of the axes that are normalized together with all behind them, and whether the mean is taken out; `None`
    /// where more than the result is asked for, or the norm is another.
    pub(crate) fn simple(&self, rank: usize) -> Option<(usize, bool)> {
        let (from, _) = self.axes(rank).ok()?;
        (self.scaled() && !self.statistics).then_some((from, self.mode == Mode::Deviation))
    }

    /// The axes along which the lanes go: from the first one until before the second.
    fn axes(&self, rank: usize) -> Result<(usize, usize), ShapeError> {
        let axis = shape::axis(self.axis, rank)
            .ok_or_else(|| ShapeError::new(format!("axis {} is out of range for rank {rank}", self.axis)))?;
        Ok((axis, if self.scaled() { rank } else { axis + 1 }))
    }

    /// The dispatch that writes the lanes' statistics.
    fn statistics(&self, request: &Request<'_>, lanes: Lanes) -> Result<Option<Dispatch>, String> {
        if lanes.outer == 0 {
            return Ok(None);
        }
        if lanes.length == 0 {
            return Err("empty lanes have no statistics".to_owned());
        }
        let units = lanes.outer.div_ceil(4);
        let dispatch = Dispatch::of(Kernel::of("norm/statistics.wgsl").define("WORKGROUP", WORKGROUP))
            .bind(Binding::Input(0), request.storage(0)?)
            .bind(Binding::Output(1), request.output_storage(1)?)
            .bind(Binding::Output(2), request.output_storage(2)?)
            .param("units", units)
            .param("lanes", lanes.outer)
            .param("length", lanes.length)
            .param("epsilon", self.epsilon);
        Ok(Some(dispatch.linear(units as u64, WORKGROUP, request.device)))
    }

    /// Whether there is a scale.
    const fn scaled(&self) -> bool {
        matches!(self.mode, Mode::Deviation | Mode::RootMeanSquare)
    }
}

impl Operator for Layer {
    fn name(&self) -> &str {
        match self.mode {
            Mode::Deviation => "LayerNormalization",
            Mode::RootMeanSquare => "RMSNormalization",
            Mode::L1 | Mode::L2 => "LpNormalization",
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        if !x.element_type.is_float() {
            return Err(ShapeError::new(format!("it takes floating-point numbers, not {}", x.element_type)));
        }
        let (from, _) = self.axes(x.rank())?;
        if self.scaled() {
            Fact::at(inputs, 1)?;
        }
        for i in 1..inputs.len() {
            let Some(parameter) = Fact::optional(inputs, i) else { continue };
            let to = broadcast::shape(&[&x.shape, &parameter.shape])?;
            // Beside a dimension of 1, one that is not known yet may be 1 too.
            let grows = to.iter().zip(&x.shape).any(|(a, b)| a != b && a.known().is_some() && b.known().is_some());
            if parameter.element_type != x.element_type || to.len() != x.rank() || grows {
                return Err(ShapeError::new(format!("input {i} is {parameter}, which does not fit {x}")));
            }
        }
        let mut all = vec![x.without_content()];
        if self.statistics {
            let kept = x.shape.iter().enumerate().map(|(i, d)| if i < from { d.clone() } else { Dim::Known(1) });
            all.extend(vec![Fact::new(ElementType::F32, kept.collect::<Vec<_>>()); 2]);
        }
        Ok(all)
    }

    fn evaluate(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let (from, to) = self.axes(x.rank())?;
        let lanes = Lanes::of(x.shape(), from, to)?;
        let (mut means, mut factors) = (vec![], vec![]);
        let normalized = map_lanes(x, lanes, |_, lane| {
            let (centre, factor) = self.mode.statistics(lane, self.epsilon);
            lane.iter_mut().for_each(|v| *v = (*v - centre) * factor);
            #[expect(clippy::cast_possible_truncation, reason = "statistics are f32 outputs")]
            if self.statistics {
                means.push(centre as f32);
                factors.push(factor as f32);
            }
        })?;
        let mut y = Value::from(normalized);
        for (i, name) in [(1, "Mul"), (2, "Add")] {
            if let Some(parameter) = inputs.optional(i).filter(|_| self.scaled()) {
                y = binary::apply(name, context, &y, &parameter.clone().into())?;
            }
        }
        let mut all = vec![y];
        if self.statistics {
            let kept: Vec<_> = x.shape().iter().enumerate().map(|(i, d)| if i < from { *d } else { 1 }).collect();
            for mut values in [means, factors] {
                // An empty lane has no statistics.
                values.resize(lanes.outer, 0.0);
                all.push(Tensor::new(kept.clone(), values)?.into());
            }
        }
        Ok(all)
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let shape = request.shape(0)?;
        let (from, to) = self.axes(shape.len()).map_err(|e| e.to_string())?;
        let parameters = if self.scaled() { request.inputs.len().min(3) } else { 1 };
        let given = (1..parameters).take_while(|&i| request.optional(i).is_some());
        let aligned = given.map(|i| request.shape(i)).collect::<Result<Vec<_>, _>>()?;
        let affine = if aligned.is_empty() { Affine::Nowhere } else { Affine::Elements };
        let plan = Plan { mode: self.mode, epsilon: self.epsilon, shape: shape.clone(), from, to, affine, aligned };
        let mut all = plan.candidates(request)?;
        if self.statistics {
            // Their kernel reads x in order.
            all.retain(|candidate| candidate.inputs.first() == Some(&Want::In(Layout::Linear)));
            let lanes = Lanes::of(&shape, from, to).map_err(|e| e.to_string())?;
            for candidate in &mut all {
                candidate.outputs.resize(request.outputs.len(), Layout::Linear);
                candidate.in_place.clear();
                candidate.dispatches.extend(self.statistics(request, lanes)?);
            }
        }
        Ok(all)
    }

    fn work(&self, _: &[Option<&Fact>], outputs: &[Fact]) -> f64 {
        let elements = outputs.first().and_then(Fact::concrete).unwrap_or_default();
        7.0 * elements.iter().map(|&d| d as f64).product::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{random, run};
    use super::*;
    use crate::testing::{Input, Tolerance, check, try_check_by_precision};

    fn layer(name: &str, axis: i64) -> Arc<dyn Operator> {
        make(&Definition::new(name).attribute("axis", axis)).unwrap()
    }

    #[test]
    fn values_by_hand() {
        let x = Tensor::new([1, 4], vec![1.0f32, 3.0, 5.0, 7.0]).unwrap();
        let one = Tensor::vector(vec![1.0f32, 1.0, 1.0, 2.0]);
        let definition =
            Definition { outputs: 3, ..Definition::new("LayerNormalization") }.attribute("epsilon", 4.0f32);
        // Mean 4, variance 5, and ε makes it 9.
        let y = run(&*make(&definition).unwrap(), &[x.clone(), one.clone()]);
        assert_eq!(y[0].as_slice::<f32>().unwrap(), [-1.0, -1.0 / 3.0, 1.0 / 3.0, 2.0]);
        assert_eq!((y[1].as_slice::<f32>().unwrap(), y[1].shape()), ([4.0].as_slice(), [1, 1].as_slice()));
        assert_eq!(y[2].as_slice::<f32>().unwrap(), [1.0 / 3.0]);
        let rms = make(&Definition::new("RMSNormalization").attribute("epsilon", 4.0f32)).unwrap();
        let y = run(&*rms, &[x.clone(), one.clone()]);
        assert!((y[0].as_slice::<f32>().unwrap()[3] - 14.0 / 5.0).abs() < 1e-6);
        let y = run(&*make(&Definition::new("LpNormalization").attribute("p", 1)).unwrap(), std::slice::from_ref(&x));
        assert_eq!(y[0].as_slice::<f32>().unwrap(), [1.0 / 16.0, 3.0 / 16.0, 5.0 / 16.0, 7.0 / 16.0]);
        let fact = Fact::constant(x);
        let wide = Fact::new(ElementType::F32, [3usize, 4]);
        assert!(layer("LayerNormalization", -1).infer(&[Some(&fact), Some(&wide)]).is_err());
        assert!(layer("LayerNormalization", 2).infer(&[Some(&fact), Some(&Fact::constant(one))]).is_err());
    }

    #[test]
    fn a_large_mean_does_not_cancel() {
        let x = random(&[2, 1024], 1.0, 100.0);
        let scale = random(&[1024], 0.5, 1.0);
        // The mean of numbers around 100 is good to 1e-5; f16 holds them to 1/32.
        let tolerance = Tolerance { absolute: 2e-4, relative: 1e-5 };
        let inputs = [Input::Run(x), Input::Constant(scale.clone()), Input::Constant(scale)];
        check(&*layer("LayerNormalization", -1), &inputs, tolerance);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn agrees(
            shape in prop::collection::vec(prop::sample::select(vec![1usize, 2, 3, 4, 5, 8, 13, 36]), 1..4),
            axis in any::<prop::sample::Index>(),
            member in prop::sample::select(vec!["LayerNormalization", "RMSNormalization", "LpNormalization"]),
            shift in any::<bool>(),
            single in any::<bool>(),
        ) {
            let axis = axis.index(shape.len());
            let parameter = |seed: f32| {
                let own = if single { vec![1] } else { shape[axis..].to_vec() };
                Input::Constant(random(&own, 0.5, seed))
            };
            let mut inputs = vec![Input::Run(random(&shape, 2.0, 0.3))];
            if member != "LpNormalization" {
                inputs.push(parameter(1.0));
            }
            if member == "LayerNormalization" && shift {
                inputs.push(parameter(-0.5));
            }
            // ε is 1e-2, so that an error of a mean near 2, some 2⁻²³ of it, becomes ten times as much. In f16 what is
            // normalized, up to 2, is rounded to 2⁻¹¹ of that before the shift may cancel it.
            let single = Tolerance { absolute: 5e-6, relative: 1e-5 };
            let half = Tolerance { absolute: 1e-3, relative: 1e-5 }.half();
            let operator = make(&Definition::new(member).attribute("axis", axis as i64).attribute("epsilon", 1e-2f32)).unwrap();
            try_check_by_precision(&*operator, &inputs, single, half).map_err(TestCaseError::fail)?;
        }
    }
}
