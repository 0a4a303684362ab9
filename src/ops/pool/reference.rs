//! The reference of pools, in `f64`.

use half::f16;

use super::{Kind, Pool};
use crate::graph::{EvaluateError, Fact, Operator, ShapeError, Value};
use crate::ops::window::{Axis, three};
use crate::tensor::{ElementType, Tensor, shape};

/// The output of a pool, and the indices where they are asked for.
pub(super) fn evaluate(pool: &Pool, x: &Tensor) -> Result<Vec<Value>, EvaluateError> {
    pool.infer(&[Some(&Fact::new(x.element_type(), x.shape().to_vec()))])?;
    let spatial = &x.shape()[2..];
    let axes = axes(pool, spatial)?;
    let Some(mut axes) = three(&axes) else {
        return Err(EvaluateError::Unsupported("pools over more than three axes are not supported".to_owned()));
    };
    let mut y_shape = x.shape()[..2].to_vec();
    y_shape.extend(axes[3 - spatial.len().min(3)..].iter().map(|a| a.output));
    if pool.window.is_none() {
        y_shape.truncate(2);
        y_shape.resize(x.rank(), 1);
        // All positions are one long row, whatever the rank.
        let positions = spatial.iter().product();
        axes = [Axis::ONE, Axis::ONE, Axis { input: positions, kernel: positions, ..Axis::ONE }];
    }
    let length = shape::elements(&y_shape).filter(|&n| n < 1 << 40);
    let length = length.ok_or_else(|| ShapeError::new(format!("the output {y_shape:?} is too large")))?;
    let mut indices: Vec<i64> = vec![];
    macro_rules! run {
        ($type:ty, $lowest:expr, $wide:expr, $narrow:expr) => {{
            let x: Vec<f64> = x.as_slice::<$type>()?.iter().map(|&v| $wide(v)).collect();
            let mut y: Vec<$type> = Vec::with_capacity(length);
            let planes = y_shape[0] * y_shape[1];
            windows(&x, planes, axes, |inside, counted| {
                let (value, at) = reduce(pool.kind, inside, counted, $lowest);
                y.push($narrow(value));
                if pool.indices {
                    indices.push(index(at, axes, pool.column_major));
                }
            });
            Tensor::new(y_shape.clone(), y)?
        }};
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "values of the type itself, or rounded to it"
    )]
    let y = match x.element_type() {
        ElementType::F32 => run!(f32, f32::MIN.into(), f64::from, |v| v as f32),
        ElementType::F16 => run!(f16, f16::MIN.into(), f64::from, f16::from_f64),
        ElementType::I8 => run!(i8, i8::MIN.into(), f64::from, |v| v as i8),
        ElementType::U8 => run!(u8, u8::MIN.into(), f64::from, |v| v as u8),
        _ => run!(f64, f64::MIN, |v| v, |v| v),
    };
    let indices = if pool.indices { Some(Tensor::new(y_shape, indices)?) } else { None };
    Ok([y].into_iter().chain(indices).map(Value::from).collect())
}

/// The axes of a pool's windows.
pub(super) fn axes(pool: &Pool, spatial: &[usize]) -> Result<Vec<Axis>, ShapeError> {
    match &pool.window {
        Some(window) => window.axes(spatial, &window.kernel),
        None => Ok(vec![]),
    }
}

/// Calls `visit` for each output in order, with the values inside its window and their places in x, and with the
/// number of positions that are not beyond the padding.
fn windows(x: &[f64], planes: usize, [d, h, w]: [Axis; 3], mut visit: impl FnMut(&[(f64, usize)], usize)) {
    let plane = d.input * h.input * w.input;
    let mut inside = vec![];
    for p in 0..planes {
        for (oz, oy) in (0..d.output).flat_map(|oz| (0..h.output).map(move |oy| (oz, oy))) {
            for ox in 0..w.output {
                inside.clear();
                for (kz, ky) in d.taps(oz).flat_map(|kz| h.taps(oy).map(move |ky| (kz, ky))) {
                    let row = p * plane + (d.position(oz, kz) * h.input + h.position(oy, ky)) * w.input;
                    inside.extend(w.taps(ox).map(|kx| row + w.position(ox, kx)).map(|at| (x[at], at)));
                }
                visit(&inside, counted(d, oz) * counted(h, oy) * counted(w, ox));
            }
        }
    }
}

/// Elements of a window that lie in the input or its padding.
fn counted(axis: Axis, o: usize) -> usize {
    let padded = axis.before + axis.input + axis.after;
    padded.saturating_sub(o * axis.stride).div_ceil(axis.dilation).min(axis.kernel)
}

/// The result of a window, and the place of a maximum.
fn reduce(kind: Kind, inside: &[(f64, usize)], counted: usize, lowest: f64) -> (f64, usize) {
    let mean = |count: usize| inside.iter().map(|v| v.0).sum::<f64>() / count.max(1) as f64;
    match kind {
        Kind::Max => inside.iter().fold((lowest, inside.first().map_or(0, |v| v.1)), |best, &(v, at)| {
            // The first of equals; a NaN stays.
            if v > best.0 || (v.is_nan() && !best.0.is_nan()) { (v, at) } else { best }
        }),
        Kind::Average { include_pad: true } => (mean(counted), 0),
        Kind::Average { include_pad: false } => (mean(inside.len()), 0),
        Kind::Lp(p) => {
            let sum: f64 = inside.iter().map(|v| v.0.abs().powi(p.cast_signed())).sum();
            (sum.powf(1.0 / f64::from(p)), 0)
        }
    }
}

/// The index of a maximum as the standard counts it.
fn index(at: usize, [d, h, w]: [Axis; 3], column_major: bool) -> i64 {
    let plane = d.input * h.input * w.input;
    let at = if column_major {
        let (x, y, z) = (at % w.input, at / w.input % h.input, at / (w.input * h.input) % d.input);
        at / plane * plane + (x * h.input + y) * d.input + z
    } else {
        at
    };
    i64::try_from(at).unwrap_or(i64::MAX)
}
