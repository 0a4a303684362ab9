//! MeanVarianceNormalization (ONNX opsets 9 and 13).
//!
//! `y = (x − mean) / (√variance + 10⁻⁹)`, mean and variance being those along `axes`, the batch and the positions of each
//! channel where nothing else is said.

use std::sync::Arc;

use super::WORKGROUP;
use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, DeviceClass, Dispatch, Kernel, Layout, Storage, Want};
use crate::tensor::{Tensor, shape};

/// What is added to the deviation, so that nothing is divided by zero.
const EPSILON: f64 = 1e-9;

/// A normalization along any axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    axes: Vec<i64>,
}

/// Makes a MeanVarianceNormalization.
pub(in crate::ops) fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(Moments { axes: definition.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]) }))
}

/// A dimension of the merged shape: its size, its stride, and whether it is normalized along.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Dimension {
    size: usize,
    stride: usize,
    along: bool,
}

impl Moments {
    /// For each dimension whether it is normalized along.
    fn along(&self, rank: usize) -> Result<Vec<bool>, ShapeError> {
        let mut along = vec![false; rank];
        for &axis in &self.axes {
            let at = shape::axis(axis, rank);
            let at = at.ok_or_else(|| ShapeError::new(format!("axis {axis} is out of range for rank {rank}")))?;
            if std::mem::replace(&mut along[at], true) {
                return Err(ShapeError::new(format!("axis {axis} is named twice")));
            }
        }
        Ok(along)
    }

    /// The dimensions outermost first, neighbours of one kind as one.
    fn merged(&self, dims: &[usize]) -> Result<Vec<Dimension>, ShapeError> {
        let mut merged: Vec<Dimension> = vec![];
        for ((&size, along), stride) in dims.iter().zip(self.along(dims.len())?).zip(shape::strides(dims)) {
            match merged.last_mut() {
                _ if size == 1 => {}
                Some(last) if last.along == along => (last.size, last.stride) = (last.size * size, stride),
                _ => merged.push(Dimension { size, stride, along }),
            }
        }
        Ok(merged)
    }
}

/// The sizes and the strides of the dimensions of one kind.
fn part(dims: &[Dimension], along: bool) -> (Vec<usize>, Vec<usize>) {
    dims.iter().filter(|d| d.along == along).map(|d| (d.size, d.stride)).unzip()
}

impl Operator for Moments {
    fn name(&self) -> &str {
        "MeanVarianceNormalization"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        if !x.element_type.is_float() {
            return Err(ShapeError::new(format!("it takes floating-point numbers, not {}", x.element_type)));
        }
        self.along(x.rank())?;
        Ok(vec![x.without_content()])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        self.infer(&[Some(&Fact::new(x.element_type(), x.shape().to_vec()))])?;
        let mut y = x.to_f64();
        if !y.is_empty() {
            let dims = self.merged(x.shape())?;
            let ((kept, kept_strides), (along, strides)) = (part(&dims, false), part(&dims, true));
            let count = along.iter().product::<usize>() as f64;
            shape::walk(&kept, [&kept_strides], |[base]| {
                let mut mean = 0.0;
                shape::walk(&along, [&strides], |[at]| mean += y[base + at] / count);
                let mut variance = 0.0;
                shape::walk(&along, [&strides], |[at]| variance += (y[base + at] - mean).powi(2) / count);
                let factor = 1.0 / (variance.sqrt() + EPSILON);
                shape::walk(&along, [&strides], |[at]| y[base + at] = (y[base + at] - mean) * factor);
            });
        }
        Ok(vec![Tensor::from_f64(x.element_type(), x.shape(), y)?.into()])
    }

    /// Two dispatches: mean and deviation of each lane, then each unit.
    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let dims = request.shape(0)?;
        let count = shape::elements(&dims).filter(|&n| u32::try_from(n).is_ok());
        let count = count.ok_or("it has more elements than a shader can count")?;
        let mut candidate = Candidate::new("moments", vec![Want::In(Layout::Linear)], vec![Layout::Linear]);
        if count > 0 {
            let merged = self.merged(&dims).map_err(|e| e.to_string())?;
            let ((kept, kept_strides), (along, strides)) = (part(&merged, false), part(&merged, true));
            if kept.len().max(along.len()) > RANK {
                return Err(format!("its kernel takes {RANK} dimensions of each kind"));
            }
            let (lanes, length): (usize, usize) = (kept.iter().product(), along.iter().product());
            // On a software adapter a barrier costs more than a few rounds of the loop.
            let together = if request.device.class == DeviceClass::Software { length >= 4096 } else { length >= 32 };
            let each = if together { u64::from(WORKGROUP) } else { 1 };
            let mut statistics = Dispatch::of(
                Kernel::of("norm/moments.wgsl").define("WORKGROUP", WORKGROUP).define("COOPERATIVE", together),
            )
            .bind(Binding::Input(0), request.storage(0)?)
            .bind(Binding::Scratch(0), Storage::F32)
            .param("lanes", lanes)
            .param("length", length);
            let units = count.div_ceil(4);
            let mut apply = Dispatch::of(Kernel::of("norm/standard.wgsl").define("WORKGROUP", WORKGROUP))
                .bind(Binding::Input(0), request.storage(0)?)
                .bind(Binding::Scratch(0), Storage::F32)
                .bind(Binding::Output(0), request.output_storage(0)?)
                .param("units", units)
                .param("elements", count);
            // Innermost first.
            for (i, names) in NAMES.iter().enumerate() {
                let at = |sizes: &[usize], or: usize| sizes.iter().rev().nth(i).copied().unwrap_or(or);
                statistics = statistics.param(names.0, at(&kept, 1)).param(names.1, at(&kept_strides, 0));
                statistics = statistics.param(names.2, at(&along, 1)).param(names.3, at(&strides, 0));
                // A dimension that is not there has index 0 when its "stride" is the whole.
                apply = apply.param(names.0, at(&kept, 1)).param(names.1, at(&kept_strides, count));
            }
            candidate.scratch.push((lanes as u64, Storage::F32));
            candidate = candidate
                .dispatch(statistics.linear(lanes as u64 * each, WORKGROUP, request.device))
                .dispatch(apply.linear(units as u64, WORKGROUP, request.device));
        }
        let elements = count as f64;
        Ok(vec![candidate.cost(elements * 10.0, elements * 12.0)])
    }

    fn work(&self, _: &[Option<&Fact>], outputs: &[Fact]) -> f64 {
        let elements: f64 = outputs.iter().filter_map(Fact::concrete).flatten().map(|d| d as f64).product();
        6.0 * elements
    }
}

/// Dimensions of each kind in the kernels.
const RANK: usize = 4;

/// The names of the parameters of each dimension: those that are kept, and those normalized along.
const NAMES: [(&str, &str, &str, &str); RANK] = [
    ("kept0", "kept_stride0", "size0", "stride0"),
    ("kept1", "kept_stride1", "size1", "stride1"),
    ("kept2", "kept_stride2", "size2", "stride2"),
    ("kept3", "kept_stride3", "size3", "stride3"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{random, run};
    use super::*;
    use crate::testing::{Input, Tolerance, try_check};

    #[test]
    fn values_by_hand() {
        let x = Tensor::new([2, 2, 1, 1], vec![1f32, 5.0, 3.0, 5.0]).unwrap();
        let y = run(&*make(&Definition::new("MeanVarianceNormalization")).unwrap(), std::slice::from_ref(&x));
        assert_eq!(y[0].as_slice::<f32>().unwrap(), [-1.0, 0.0, 1.0, 0.0]);
        let rows = make(&Definition::new("MeanVarianceNormalization").attribute("axes", [-3])).unwrap();
        assert_eq!(run(&*rows, std::slice::from_ref(&x))[0].as_slice::<f32>().unwrap(), [-1.0, 1.0, -1.0, 1.0]);
        let twice = make(&Definition::new("MeanVarianceNormalization").attribute("axes", [1, -3])).unwrap();
        assert!(twice.infer(&[Some(&Fact::new(x.element_type(), x.shape().to_vec()))]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        // As the other normalizations: sums of a few hundred terms, whose mean is taken out first. Lanes of one element
        // would divide 0 by 10⁻⁹.
        #[test]
        fn agrees(
            dims in prop::collection::vec(prop::sample::select(vec![0usize, 2, 3, 5, 7]), 1..6),
            axes in any::<u8>(),
        ) {
            let axes: Vec<i64> = (0..dims.len() as i64).filter(|i| axes >> i & 1 == 1).collect();
            prop_assume!(!axes.is_empty());
            let operator = make(&Definition::new("MeanVarianceNormalization").attribute("axes", axes)).unwrap();
            try_check(&*operator, &[Input::Run(random(&dims, 2.0, 0.3))], Tolerance { absolute: 2e-5, relative: 2e-5 })
                .map_err(TestCaseError::fail)?;
        }
    }
}
