//! Resizing on the host: axis by axis, in f64.

use super::Taps;
use crate::graph::EvaluateError;
use crate::ops::pad::element;
use crate::ops::remap::Remap;
use crate::tensor::{ElementType, Tensor, Truth};

/// The resized tensor. Axes without taps stay as they are; `fill` stands where a tap's index is negative.
pub(super) fn resize(x: &Tensor, shape: Vec<usize>, taps: &[Option<Taps>], fill: f32) -> Result<Tensor, EvaluateError> {
    if taps.iter().flatten().all(|taps| taps.count == 1) {
        // The nearest element is only moved, whatever its type.
        let table = |taps: &Option<Taps>| taps.as_ref().map(|t| t.index.iter().map(|&i| i.into()).collect());
        let remap = Remap { source: x.shape().to_vec(), tables: taps.iter().map(table).collect() };
        return remap.gather(x, shape, element(x.element_type(), fill)?.bytes());
    }
    let mut values = numbers(x)?;
    let mut dims = x.shape().to_vec();
    for (i, taps) in taps.iter().enumerate() {
        if let Some(taps) = taps {
            values = along(&values, &dims, i, taps);
            dims[i] = shape[i];
        }
    }
    // What is outside along one axis is filled, whatever lies along the others.
    for (i, taps) in taps.iter().enumerate() {
        let Some(taps) = taps else { continue };
        let (n, inner) = (shape[i], shape[i + 1..].iter().product::<usize>().max(1));
        for (o, _) in taps.index.chunks(taps.count).enumerate().filter(|(_, index)| index[0] < 0) {
            for image in values.chunks_mut(n * inner) {
                image[o * inner..(o + 1) * inner].fill(fill.into());
            }
        }
    }
    from_numbers(x.element_type(), shape, values)
}

/// The values along one axis replaced by sums of their taps.
fn along(values: &[f64], dims: &[usize], axis: usize, taps: &Taps) -> Vec<f64> {
    let (n, inner) = (dims[axis], dims[axis + 1..].iter().product::<usize>().max(1));
    let mut out = Vec::with_capacity(values.len() / n.max(1) * (taps.index.len() / taps.count));
    for image in values.chunks(n * inner) {
        for (index, weight) in taps.index.chunks(taps.count).zip(taps.weight.chunks(taps.count)) {
            let start = out.len();
            out.resize(start + inner, 0.0);
            for (&i, &w) in index.iter().zip(weight) {
                let line = &image[usize::try_from(i).unwrap_or(0) * inner..][..inner];
                out[start..].iter_mut().zip(line).for_each(|(sum, v)| *sum += f64::from(w) * v);
            }
        }
    }
    out
}

fn numbers(x: &Tensor) -> Result<Vec<f64>, EvaluateError> {
    Ok(match x.element_type() {
        ElementType::F32 => x.as_slice::<f32>()?.iter().map(|&v| v.into()).collect(),
        ElementType::F16 => x.as_slice::<half::f16>()?.iter().map(|v| v.to_f64()).collect(),
        ElementType::F64 => x.as_slice::<f64>()?.to_vec(),
        ElementType::Bool => x.as_slice::<Truth>()?.iter().map(|v| f64::from(v.0 != 0)).collect(),
        _ => x.integers().unwrap_or_default().into_iter().map(|v| v as f64).collect(),
    })
}

/// Integers are cut off towards zero.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts of floats saturate")]
fn from_numbers(element_type: ElementType, shape: Vec<usize>, values: Vec<f64>) -> Result<Tensor, EvaluateError> {
    let values = values.into_iter();
    Ok(match element_type {
        ElementType::F32 => Tensor::new(shape, values.map(|v| v as f32).collect::<Vec<_>>()),
        ElementType::F16 => Tensor::new(shape, values.map(half::f16::from_f64).collect::<Vec<_>>()),
        ElementType::F64 => Tensor::new(shape, values.collect::<Vec<_>>()),
        ElementType::I64 => Tensor::new(shape, values.map(|v| v as i64).collect::<Vec<_>>()),
        ElementType::I32 => Tensor::new(shape, values.map(|v| v as i32).collect::<Vec<_>>()),
        ElementType::I8 => Tensor::new(shape, values.map(|v| v as i8).collect::<Vec<_>>()),
        ElementType::U8 => Tensor::new(shape, values.map(|v| v as u8).collect::<Vec<_>>()),
        ElementType::Bool => Tensor::new(shape, values.map(|v| Truth((v as i64 != 0).into())).collect::<Vec<_>>()),
    }?)
}
