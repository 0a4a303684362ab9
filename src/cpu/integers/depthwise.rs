//! Depthwise convolutions of integers: each plane is copied with its padding, without zero points, and its rows are multiplied
//! by one weight after another. All products and sums are whole numbers that floats hold.

use super::super::kernel::{Job, Kernel};
use super::super::tasks;
use super::pairs::{Pairs, Work, dispatch};
use super::{Byte, Finish, Finished, Results, integers};
use crate::graph::{EvaluateError, Fact};
use crate::ops::quantize::{Channels, IntegerConv};
use crate::ops::window::Axis;
use crate::tensor::ElementType;

/// So many products of numbers up to 255 have a sum that a float holds.
const TAPS: usize = 256;

#[derive(Debug)]
struct Depthwise {
    height: Axis,
    width: Axis,
    /// Rows of a copied plane and elements of each.
    rows: usize,
    pitch: usize,
    /// For each channel and each element of the kernel.
    weights: Vec<f32>,
    channels: Channels,
}

/// The kernel, where each channel sees its own along two axes.
pub(super) fn kernel(conv: &IntegerConv, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    let x = inputs.first().copied().flatten()?.concrete()?;
    let (weights, channels) = conv.known(inputs, output)?;
    let &[outputs, 1, kernel_y, kernel_x] = weights.shape() else { return None };
    let axes = conv.conv().window.axes(&x[2..], &[kernel_y, kernel_x]).ok()?;
    let &[height, width] = &axes[..] else { return None };
    let reach = |axis: &Axis| {
        let window = axis.kernel.checked_sub(1)?.checked_mul(axis.dilation)?.checked_add(1)?;
        axis.output.checked_sub(1)?.checked_mul(axis.stride)?.checked_add(window)
    };
    let (rows, pitch) = (reach(&height)?, reach(&width)?);
    let near = |padded: usize, axis: &Axis| padded <= 4 * (axis.input + axis.output) + 64;
    let fits = near(rows, &height) && near(pitch, &width) && kernel_y * kernel_x <= TAPS;
    if conv.conv().groups() != outputs || x.get(1) != Some(&outputs) || !fits {
        return None;
    }
    let numbers = integers(weights)?;
    let taps = kernel_y * kernel_x;
    let weights = numbers.iter().enumerate().map(|(i, &w)| (w - channels.w_zeros[i / taps]) as f32).collect();
    // Bytes of the whole row are needed even where strides leave the last ones out.
    Some(Box::new(Depthwise { height, width, rows, pitch: pitch + width.stride, weights, channels }))
}

impl Kernel for Depthwise {
    fn products(&self) -> usize {
        2 * self.height.kernel * self.width.kernel
    }

    fn holds(&self) -> &[usize] {
        &[1, 2, 3, 4, 5, 6, 7, 8]
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let Job { inputs, y, threads, scratch, .. } = job;
        let x = inputs.tensor(0)?;
        match (x.element_type(), Results::of(y)?) {
            (ElementType::U8, Results::Bytes(y)) => self.run_on(x.as_slice::<u8>()?, y, threads, scratch),
            (ElementType::U8, Results::Floats(y)) => self.run_on(x.as_slice::<u8>()?, y, threads, scratch),
            (_, Results::Bytes(y)) => self.run_on(x.as_slice::<i8>()?, y, threads, scratch),
            (_, Results::Floats(y)) => self.run_on(x.as_slice::<i8>()?, y, threads, scratch),
        }
        Ok(())
    }
}

impl Depthwise {
    fn run_on<T: Byte, U: Finished>(
        &self,
        x: &[T],
        y: &mut [U],
        threads: &super::super::Threads,
        scratch: &super::super::Scratch,
    ) {
        let plane = self.height.output * self.width.output;
        let step = tasks::planes(threads, y.len() / plane, y.len() * self.height.kernel * self.width.kernel);
        let work: Vec<_> = y.chunks_mut(step * plane).enumerate().collect();
        tasks::each(threads, work, |(i, y)| {
            scratch.with(self.rows * self.pitch + self.width.output, |copy| {
                dispatch(Planes { of: self, x, y, first: i * step, copy });
            });
        });
    }
}

/// Some planes of the output.
struct Planes<'a, T, U> {
    of: &'a Depthwise,
    x: &'a [T],
    y: &'a mut [U],
    first: usize,
    copy: &'a mut [f32],
}

impl<T: Byte, U: Finished> Work for Planes<'_, T, U> {
    #[inline(always)]
    fn run<P: Pairs>(self, _: P) {
        let Self { of, x, y, first, copy } = self;
        let (h, w) = (of.height, of.width);
        let (copy, sums) = copy.split_at_mut(of.rows * of.pitch);
        copy.fill(0.0);
        let (taps, finish) = (h.kernel * w.kernel, Finish::of(&of.channels));
        let size = h.input * w.input;
        for (i, y) in y.chunks_exact_mut(h.output * w.output).enumerate() {
            let x = &x[(first + i) * size..][..size];
            for (row, x) in copy.chunks_exact_mut(of.pitch).skip(h.before).zip(x.chunks_exact(w.input)) {
                for (to, x) in row[w.before.min(of.pitch)..].iter_mut().zip(x) {
                    *to = (x.wide() - of.channels.x_zero) as f32;
                }
            }
            let channel = (first + i) % of.channels.biases.len();
            let weights = &of.weights[channel * taps..][..taps];
            let (bias, factor) = (of.channels.biases[channel], of.channels.factors[channel]);
            let rest = of.channels.rests.as_ref().map_or(0.0, |rests| rests[channel]);
            for (oy, y) in y.chunks_exact_mut(w.output).enumerate() {
                let row = |ky: usize| &copy[(oy * h.stride + ky * h.dilation) * of.pitch..][..of.pitch];
                match (w.kernel, h.kernel, w.stride, w.dilation) {
                    (3, 3, 1, 1) => three_by_three::<1>(sums, weights, [row(0), row(1), row(2)]),
                    (3, 3, 2, 1) => three_by_three::<2>(sums, weights, [row(0), row(1), row(2)]),
                    _ => {
                        sums.fill(0.0);
                        for (ky, weights) in weights.chunks_exact(w.kernel).enumerate() {
                            for (kx, weight) in weights.iter().enumerate() {
                                let seen = row(ky)[kx * w.dilation..].iter().step_by(w.stride);
                                sums.iter_mut().zip(seen).for_each(|(sum, x)| *sum += weight * x);
                            }
                        }
                    }
                }
                #[expect(clippy::cast_possible_truncation, reason = "sums are whole numbers of 24 bits")]
                for (y, sum) in y.iter_mut().zip(&*sums) {
                    let sum = (*sum as i32).wrapping_add(bias);
                    *y = U::of(sum as f32 * factor + rest, finish);
                }
            }
        }
    }
}

/// The sums of a row of the output.
#[inline(always)]
fn three_by_three<const STRIDE: usize>(sums: &mut [f32], weights: &[f32], rows: [&[f32]; 3]) {
    let w: [f32; 9] = std::array::from_fn(|i| weights[i]);
    let count = sums.len();
    let [a, b, c] = rows.map(|row| &row[..(count - 1) * STRIDE + 3]);
    for (i, sum) in sums.iter_mut().enumerate() {
        let at = i * STRIDE;
        *sum = w[0] * a[at]
            + w[1] * a[at + 1]
            + w[2] * a[at + 2]
            + w[3] * b[at]
            + w[4] * b[at + 1]
            + w[5] * b[at + 2]
            + w[6] * c[at]
            + w[7] * c[at + 1]
            + w[8] * c[at + 2];
    }
}
