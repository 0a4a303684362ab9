//! The reference of Conv: products of `f32` (or `f64`) summed in `f64`, row by row.

use half::f16;

use super::{Conv, RESIDUAL};
use crate::graph::{Activation, EvaluateError, Inputs, ShapeError, Value};
use crate::ops::window::{Axis, three};
use crate::tensor::{ElementType, Tensor, shape};

/// The output of a convolution.
pub(super) fn evaluate(conv: &Conv, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
    let (x, w) = (inputs.tensor(0)?, inputs.tensor(1)?);
    let facts: Vec<_> = (0..inputs.len())
        .map(|i| inputs.optional(i).map(|t| crate::graph::Fact::new(t.element_type(), t.shape().to_vec())))
        .collect();
    let facts: Vec<_> = facts.iter().map(Option::as_ref).collect();
    // Checks ranks, types, channels and the kernel's size.
    crate::graph::Operator::infer(conv, &facts)?;
    let axes = conv.window.axes(&x.shape()[2..], &w.shape()[2..])?;
    let Some(mut axes) = three(&axes) else {
        return Err(EvaluateError::Unsupported("convolutions over more than three axes are not supported".to_owned()));
    };
    let mut y_shape = vec![x.shape()[0], w.shape()[0]];
    y_shape.extend(axes[3 - (x.rank() - 2)..].iter().map(|a| a.output));
    let length = shape::elements(&y_shape).filter(|&n| n < 1 << 40);
    let length = length.ok_or_else(|| ShapeError::new(format!("the output {y_shape:?} is too large")))?;
    if axes.iter().all(Axis::is_pointwise) {
        // One long row instead of many short ones.
        let positions = axes.iter().map(|a| a.output).product();
        axes = [Axis::ONE, Axis::ONE, Axis { input: positions, output: positions, ..Axis::ONE }];
    }
    // Rows are along the last axis that has a length.
    let short = axes.iter().rev().take_while(|axis| axis.input == 1 && axis.is_pointwise()).count();
    axes.rotate_right(short);
    let plan =
        Loops { samples: x.shape()[0], groups: conv.groups(), inputs: w.shape()[1], outputs: w.shape()[0], axes };
    let bias = inputs.optional(2);
    let residual = if conv.residual { Some(inputs.tensor(RESIDUAL)?) } else { None };
    let finish = |sum: f64, residual: f64| -> f64 {
        #[expect(clippy::cast_possible_truncation, reason = "results are f32")]
        match conv.residual_last {
            true => f64::from(conv.activation.apply(sum as f32)) + residual,
            false => f64::from(conv.activation.apply((sum + residual) as f32)),
        }
    };
    macro_rules! run {
        ($type:ty, $wide:expr, $narrow:expr) => {{
            let wide = |t: &Tensor| -> Result<Vec<f64>, EvaluateError> {
                Ok(t.as_slice::<$type>()?.iter().map(|&v| $wide(v)).collect())
            };
            let (bias, residual) = (bias.map(wide).transpose()?, residual.map(wide).transpose()?);
            let mut y: Vec<$type> = Vec::with_capacity(length);
            plan.run(x.as_slice::<$type>()?, w.as_slice::<$type>()?, bias.as_deref(), $wide, |row: &[f64]| {
                let at = y.len();
                y.extend(
                    row.iter().enumerate().map(|(i, &sum)| $narrow(sum, residual.as_ref().map_or(0.0, |r| r[at + i]))),
                );
            });
            Tensor::new(y_shape, y)?
        }};
    }
    #[expect(clippy::cast_possible_truncation, reason = "the result is rounded to the output's type")]
    let y = match x.element_type() {
        ElementType::F32 => run!(f32, f64::from, |s, r| finish(s, r) as f32),
        ElementType::F16 => run!(f16, f64::from, |s, r| f16::from_f64(finish(s, r))),
        // Activations are functions of f32.
        _ if conv.activation == Activation::Identity => run!(f64, |v: f64| v, |s: f64, r: f64| s + r),
        _ => run!(f64, |v: f64| v, finish),
    };
    Ok(vec![y.into()])
}

/// The loops of a convolution over three spatial axes.
struct Loops {
    samples: usize,
    groups: usize,
    /// Input channels of a group.
    inputs: usize,
    /// Output channels of all groups.
    outputs: usize,
    axes: [Axis; 3],
}

impl Loops {
    /// Calls `row` with each output row (along the last axis) in order.
    fn run<T: Copy>(
        &self,
        x: &[T],
        w: &[T],
        bias: Option<&[f64]>,
        wide: impl Fn(T) -> f64,
        mut row: impl FnMut(&[f64]),
    ) {
        let [d, h, v] = self.axes;
        let plane = d.input * h.input * v.input;
        let taps = d.kernel * h.kernel * v.kernel;
        let sample = self.groups * self.inputs * plane;
        let columns: Vec<_> = (0..v.kernel).map(|k| v.outputs(k)).collect();
        let mut sums = vec![0f64; v.output];
        for n in 0..self.samples {
            for o in 0..self.outputs {
                let group = o / (self.outputs / self.groups);
                let x = &x[n * sample + group * self.inputs * plane..][..self.inputs * plane];
                let w = &w[o * self.inputs * taps..][..self.inputs * taps];
                for (oz, oy) in (0..d.output).flat_map(|oz| (0..h.output).map(move |oy| (oz, oy))) {
                    sums.fill(bias.map_or(0.0, |b| b[o]));
                    for i in 0..self.inputs {
                        for (kz, ky) in d.taps(oz).flat_map(|kz| h.taps(oy).map(move |ky| (kz, ky))) {
                            let start = ((i * d.input + d.position(oz, kz)) * h.input + h.position(oy, ky)) * v.input;
                            let x = &x[start..][..v.input];
                            let w = &w[((i * d.kernel + kz) * h.kernel + ky) * v.kernel..][..v.kernel];
                            for ((kx, range), &w) in columns.iter().enumerate().zip(w) {
                                if range.is_empty() {
                                    continue;
                                }
                                let w = wide(w);
                                let x = &x[v.position(range.start, kx)..];
                                let sums = &mut sums[range.clone()];
                                // By index: calls that set out an iterator are not always inlined, and show here.
                                if v.stride == 1 {
                                    let x = &x[..sums.len()];
                                    for j in 0..sums.len() {
                                        sums[j] += w * wide(x[j]);
                                    }
                                } else {
                                    for j in 0..sums.len() {
                                        sums[j] += w * wide(x[j * v.stride]);
                                    }
                                }
                            }
                        }
                    }
                    row(&sums);
                }
            }
        }
    }
}
