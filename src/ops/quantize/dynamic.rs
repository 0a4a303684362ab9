//! DynamicQuantizeLinear (ONNX opset 11): numbers as 8-bit integers without a sign, with the scale and the zero point that
//! their own range gives. Outputs: the integers, the scale, the zero point.
//!
//! `scale = (max(x, 0) - min(x, 0)) / 255`, or 1 where all is 0; `zero = round(saturate(0 - min(x, 0) / scale))`;
//! `y = saturate(round(x / scale) + zero)`, ties to even.

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Storage, Want, units};
use crate::tensor::shape::elements;
use crate::tensor::{ElementType, Tensor};

const WORKGROUP: u32 = 64;
/// Workgroups that look for the range side by side.
const GROUPS: u64 = 64;

/// DynamicQuantizeLinear.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct DynamicQuantize;

impl DynamicQuantize {
    /// The scale of numbers between these two, which 0 lies between.
    pub fn scale(low: f32, high: f32) -> f32 {
        if high == low { 1.0 } else { (high - low) / 255.0 }
    }

    /// The zero point of numbers from `low` on: a whole number, or NaN where the range is infinite.
    pub fn zero(low: f32, scale: f32) -> f32 {
        (-low / scale).clamp(0.0, 255.0).round_ties_even()
    }
}

/// Makes a DynamicQuantizeLinear.
#[expect(clippy::unnecessary_wraps, reason = "all constructors have this form")]
pub(in crate::ops) fn make(_: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(DynamicQuantize))
}

impl Operator for DynamicQuantize {
    fn name(&self) -> &str {
        "DynamicQuantizeLinear"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        if x.element_type != ElementType::F32 {
            return Err(ShapeError::new(format!("it quantizes f32, not {}", x.element_type)));
        }
        let one = |t| Fact::new(t, Vec::<usize>::new());
        Ok(vec![x.with_type(ElementType::U8), one(ElementType::F32), one(ElementType::U8)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let numbers = x.as_slice::<f32>()?;
        let low = numbers.iter().fold(0f32, |low, &v| low.min(v));
        let high = numbers.iter().fold(0f32, |high, &v| high.max(v));
        let scale = Self::scale(low, high);
        let zero = Self::zero(low, scale);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts of floats saturate")]
        let y: Vec<u8> = numbers.iter().map(|v| ((v / scale).round_ties_even() + zero) as u8).collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is bounded")]
        let zero = zero as u8;
        Ok(vec![Tensor::new(x.shape(), y)?.into(), Tensor::scalar(scale).into(), Tensor::scalar(zero).into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let shape = request.shape(0)?;
        // Channels in groups, where none is padding.
        let grouped = shape.len() > 2 && shape[1].is_multiple_of(4);
        let layouts = [Layout::Linear].into_iter().chain(grouped.then_some(Layout::Channels4));
        layouts.map(|layout| in_layout(request, &shape, layout)).collect()
    }
}

/// The kernels on x as it lies so.
fn in_layout(request: &Request<'_>, shape: &[usize], layout: Layout) -> Result<Candidate, String> {
    let (count, total) = (units(shape, layout), elements(shape));
    let (count, total) = count.zip(total).ok_or("it is too large for a shader")?;
    u32::try_from(total).map_err(|_| "it is too large for a shader")?;
    let x = request.storage(0)?;
    let groups = count.div_ceil(u64::from(WORKGROUP)).clamp(1, GROUPS);
    let mut candidate = Candidate::new("range", vec![Want::In(layout)], vec![layout, Layout::Linear, Layout::Linear]);
    candidate.scratch = vec![(groups, Storage::F32), (1, Storage::F32)];
    let find =
        |last: bool| Kernel::of("quantize/extent.wgsl").define("WORKGROUP", WORKGROUP).define("LAST", i64::from(last));
    if total > 0 {
        candidate = candidate.dispatch(
            Dispatch::of(find(false))
                .bind(Binding::Input(0), x)
                .bind(Binding::Scratch(0), Storage::F32)
                .param("units", count as usize)
                .param("elements", total)
                .workgroups(u32::try_from(groups).unwrap_or(1), 1, 1),
        );
    }
    candidate = candidate.dispatch(
        Dispatch::of(find(true))
            .bind(Binding::Scratch(0), Storage::F32)
            .bind(Binding::Scratch(1), Storage::F32)
            .bind(Binding::Output(1), request.output_storage(1)?)
            .bind(Binding::Output(2), request.output_storage(2)?)
            .param("units", if total > 0 { groups as usize } else { 0 })
            .param("elements", 0usize)
            .workgroups(1, 1, 1),
    );
    if total > 0 {
        let kernel = Kernel::of("quantize/dynamic.wgsl").define("WORKGROUP", WORKGROUP);
        candidate = candidate.dispatch(
            Dispatch::of(kernel)
                .bind(Binding::Input(0), x)
                .bind(Binding::Scratch(1), Storage::F32)
                .bind(Binding::Output(0), request.output_storage(0)?)
                .param("units", count as usize)
                .linear(count, WORKGROUP, request.device),
        );
    }
    Ok(candidate.cost(total as f64 * 6.0, total as f64 * 9.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Input, Tolerance, check};

    fn run(x: &[f32]) -> (Vec<u8>, f32, u8) {
        let x = Value::from(Tensor::vector(x.to_vec()));
        let outputs = DynamicQuantize.evaluate(&mut Context::default(), Inputs(&[Some(&x)])).unwrap();
        let t: Vec<_> = outputs.into_iter().map(|v| v.into_tensor().unwrap()).collect();
        let (y, scale, zero) = (t[0].as_slice::<u8>(), t[1].as_slice::<f32>(), t[2].as_slice::<u8>());
        (y.unwrap().to_vec(), scale.unwrap()[0], zero.unwrap()[0])
    }

    #[test]
    fn the_range_holds_zero() {
        assert_eq!(run(&[255.0, 51.0]), (vec![255, 51], 1.0, 0));
        assert_eq!(run(&[-255.0, -51.0]), (vec![0, 204], 1.0, 255));
        assert_eq!(run(&[0.0, -0.0]), (vec![0, 0], 1.0, 0));
        assert_eq!(run(&[]), (vec![], 1.0, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn kernels_agree_to_the_last_integer(
            n in prop::sample::select(vec![0usize, 1, 2, 3, 5, 64, 257, 1031, 40_003]), from in -3.0f32..3.0, to in -3.0f32..3.0,
        ) {
            let x = (0..n).map(|i| from + (to - from) * ((i * 7919 % n) as f32 / n as f32)).collect();
            // With channels that lie in groups, too.
            let shape = if n == 64 { vec![2, 8, 2, 2] } else { vec![n] };
            // The scale may be stored in 16 bits.
            let x = Input::Run(Tensor::new(shape, x).unwrap());
            check(&DynamicQuantize, &[x], Tolerance { absolute: 1e-7, relative: 0.0 });
        }
    }
}
