//! The reference of GridSample: places in `f32`, as everybody computes them, sums in `f64`.

use super::{GridSample, Mode, Padding};
use crate::graph::EvaluateError;
use crate::tensor::{Tensor, shape};

/// A neighbour along one axis: its index, `None` for a zero outside, and its weight.
type Tap = (Option<usize>, f64);

pub(super) fn evaluate(
    operator: &GridSample,
    x: &Tensor,
    grid: &Tensor,
    y: Vec<usize>,
) -> Result<Tensor, EvaluateError> {
    let count = Tensor::bounded(x.element_type(), &y)?;
    let (channels, spatial) = (x.shape()[1], &x.shape()[2..]);
    let (plane, positions): (usize, usize) = (spatial.iter().product(), y[2..].iter().product());
    let places = grid.to_f64();
    let strides = shape::strides(spatial);
    let taps = |n: usize, p: usize| -> Vec<Vec<Tap>> {
        // The innermost axis is named first.
        let place = &places[(n * positions + p) * spatial.len()..][..spatial.len()];
        #[expect(clippy::cast_possible_truncation, reason = "grids are stored in 32 bits at most, but for f64")]
        spatial.iter().zip(place.iter().rev()).map(|(&size, &at)| operator.taps(at as f32, size)).collect()
    };
    if operator.mode == Mode::Nearest {
        // Elements of any type are moved as they are; outside are zeros.
        let size = x.element_type().size();
        let mut out = vec![0u8; count * size];
        for (n, p) in (0..y[0]).flat_map(|n| (0..positions).map(move |p| (n, p))) {
            let at: Option<usize> =
                taps(n, p).iter().zip(&strides).map(|(taps, stride)| taps[0].0.map(|i| i * stride)).sum();
            for c in 0..channels {
                let to = ((n * channels + c) * positions + p) * size;
                if let Some(from) = at.map(|at| ((n * channels + c) * plane + at) * size) {
                    out[to..to + size].copy_from_slice(&x.bytes()[from..from + size]);
                }
            }
        }
        return Ok(Tensor::from_bytes(x.element_type(), y, out.into())?);
    }
    let values = x.to_f64();
    let mut out = vec![0f64; count];
    for (n, p) in (0..y[0]).flat_map(|n| (0..positions).map(move |p| (n, p))) {
        // All neighbours that are inside, with the products of their weights.
        let mut all = vec![(0usize, 1f64)];
        for (taps, stride) in taps(n, p).iter().zip(&strides) {
            let inside = |(at, w): (usize, f64)| {
                taps.iter().filter_map(move |&(i, v)| i.map(|i| (at + i * stride, w * v))).collect::<Vec<_>>()
            };
            all = all.into_iter().flat_map(inside).collect();
        }
        for c in 0..channels {
            let x = &values[(n * channels + c) * plane..];
            out[(n * channels + c) * positions + p] = all.iter().map(|&(at, w)| x[at] * w).sum();
        }
    }
    Ok(Tensor::from_f64(x.element_type(), y, out)?)
}

impl GridSample {
    /// The neighbours of a coordinate between −1 and 1 along an axis of this size.
    fn taps(&self, coordinate: f32, size: usize) -> Vec<Tap> {
        let length = size as f32;
        let at = match self.align_corners {
            true => (coordinate + 1.0) / 2.0 * (length - 1.0),
            false => ((coordinate + 1.0) * length - 1.0) / 2.0,
        };
        if self.mode == Mode::Nearest {
            return vec![(self.index(self.bring(at.round_ties_even(), length), size), 1.0)];
        }
        let at = self.bring(at, length);
        let base = at.floor();
        let part = f64::from(at - base);
        let tap = |(k, w): (i8, f64)| (self.index(base + f32::from(k), size), w);
        match self.mode {
            Mode::Cubic => (-1i8..3).map(|k| tap((k, keys((part - f64::from(k)).abs())))).collect(),
            _ => vec![tap((0, 1.0 - part)), tap((1, part))],
        }
    }

    /// A place brought into the picture, or, with zeros around it, not further than a few elements outside.
    fn bring(&self, at: f32, length: f32) -> f32 {
        // NaN goes where the smallest number goes.
        let clamp = |low: f32, high: f32| if at >= low { at.min(high) } else { low };
        match self.padding {
            Padding::Zeros => clamp(-4.0, length + 4.0),
            Padding::Border => clamp(0.0, length - 1.0),
            Padding::Reflection => self.reflect(at, length),
        }
    }

    /// A place reflected at the picture's borders until it is inside.
    fn reflect(&self, at: f32, length: f32) -> f32 {
        let (low, high) = if self.align_corners { (0.0, length - 1.0) } else { (-0.5, length - 0.5) };
        let range = high - low;
        if at >= low && at <= high {
            return at;
        }
        if range <= 0.0 || !at.is_finite() {
            return low;
        }
        let over = if at < low { low - at } else { at - high };
        let turns = (over / range).trunc();
        let rest = over - turns * range;
        let even = turns % 2.0 == 0.0;
        if even == (at < low) { low + rest } else { high - rest }
    }

    /// The element at a whole place, `None` for a zero outside.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is inside when it is cast")]
    fn index(&self, at: f32, size: usize) -> Option<usize> {
        let length = size as f32;
        if self.padding == Padding::Zeros && !(at >= 0.0 && at < length) {
            return None;
        }
        let at = if self.padding == Padding::Reflection { self.reflect(at, length) } else { at };
        Some((at.clamp(0.0, length - 1.0) as usize).min(size - 1))
    }
}

/// Keys' cubic convolution with −0.75, at a distance.
fn keys(t: f64) -> f64 {
    const A: f64 = -0.75;
    if t <= 1.0 { ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0 } else { ((A * t - 5.0 * A) * t + 8.0 * A) * t - 4.0 * A }
}
