//! Resizing on the host: axis by axis, in f64.

use super::Taps;
use crate::graph::EvaluateError;
use crate::ops::pad::element;
use crate::ops::remap::Remap;
use crate::tensor::Tensor;

/// The resized tensor. Axes without taps stay as they are; `fill` stands where a tap's index is negative.
pub(super) fn resize(x: &Tensor, shape: Vec<usize>, taps: &[Option<Taps>], fill: f32) -> Result<Tensor, EvaluateError> {
    if taps.iter().flatten().all(|taps| taps.count == 1) {
        // The nearest element is only moved, whatever its type.
        let table = |taps: &Option<Taps>| taps.as_ref().map(|t| t.index.iter().map(|&i| i.into()).collect());
        let remap = Remap { source: x.shape().to_vec(), tables: taps.iter().map(table).collect() };
        return remap.gather(x, shape, element(x.element_type(), fill)?.bytes());
    }
    let mut values = x.to_f64();
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
    Ok(Tensor::from_f64(x.element_type(), shape, values)?)
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
