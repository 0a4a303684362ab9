//! Pools that take every second window of two or three columns and need no padding, straight from the input: rows are joined
//! in registers, and two vectors give the even columns and the odd ones.

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::simd::{dispatch, load, store};
use super::stencil::larger;
use super::tasks;
use crate::graph::EvaluateError;
use crate::ops::pool::Kind;
use crate::ops::window::Axis;

#[derive(Debug)]
pub(super) struct Halves {
    height: Axis,
    width: Axis,
    /// What sums are multiplied with; `None` where the largest is looked for.
    factor: Option<f32>,
}

impl Halves {
    /// `None` where windows are others. `axes` are those of the plane.
    pub fn new(kind: Kind, [height, width]: [Axis; 2]) -> Option<Self> {
        let inside = |axis: &Axis| {
            let reach = axis.kernel.checked_sub(1)?.checked_mul(axis.dilation)?;
            let last = axis.output.checked_sub(1)?.checked_mul(axis.stride)?.checked_add(reach)?;
            (axis.before == 0 && last < axis.input).then_some(())
        };
        inside(&height)?;
        inside(&width)?;
        let factor = match kind {
            Kind::Max => None,
            Kind::Average { .. } => Some(1.0 / (height.kernel * width.kernel) as f32),
            Kind::Lp(_) => return None,
        };
        let fits = width.stride == 2 && width.dilation == 1 && matches!(width.kernel, 2 | 3);
        fits.then_some(Self { height, width, factor })
    }
}

impl Kernel for Halves {
    fn products(&self) -> usize {
        4 * self.height.kernel * self.width.kernel
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let x = job.inputs.tensor(0)?.as_slice::<f32>()?;
        let y = job.y.as_mut_slice::<f32>()?;
        let plane = self.height.output * self.width.output;
        let planes = y.len() / plane;
        let step = tasks::planes(job.threads, planes, y.len() * self.height.kernel * self.width.kernel);
        let work: Vec<_> = y.chunks_mut(step * plane).enumerate().collect();
        tasks::each(job.threads, work, |(i, y)| {
            let x = &x[i * step * self.height.input * self.width.input..];
            dispatch(Planes { halves: self, x, y });
        });
        Ok(())
    }
}

/// Some planes of the output, and the input from where theirs begin.
struct Planes<'a> {
    halves: &'a Halves,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Planes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { halves: Halves { height, width, factor }, x, y } = self;
        let (row, plane) = (height.stride * width.input, height.input * width.input);
        let rows = y.len() / width.output;
        for i in 0..rows {
            let from = &x[i / height.output * plane + i % height.output * row..];
            for column in (0..width.output).step_by(S::F32_LANES) {
                let from = &from[2 * column..];
                let [mut sum, odd] = halves(simd, joined(simd, height, width.input, factor.is_none(), from));
                sum = join(simd, factor.is_none(), sum, odd);
                if width.kernel == 3 {
                    let [even, _] = halves(simd, joined(simd, height, width.input, factor.is_none(), &from[2..]));
                    sum = join(simd, factor.is_none(), sum, even);
                }
                if let Some(factor) = factor {
                    sum = simd.mul_f32s(sum, simd.splat_f32s(*factor));
                }
                // What reaches beyond the row is written over by the next.
                let to = i * width.output + column;
                let room = (y.len() - to).min(S::F32_LANES);
                store(simd, &mut y[to..to + room], sum);
            }
        }
    }
}

#[inline(always)]
fn join<S: Simd>(simd: S, largest: bool, a: S::f32s, b: S::f32s) -> S::f32s {
    if largest { larger(simd, a, b) } else { simd.add_f32s(a, b) }
}

/// Two vectors of the rows that a window sees, joined.
#[inline(always)]
fn joined<S: Simd>(simd: S, height: &Axis, width: usize, largest: bool, from: &[f32]) -> [S::f32s; 2] {
    let mut sums = pair(simd, from);
    for tap in 1..height.kernel {
        let [a, b] = pair(simd, from.get(tap * height.dilation * width..).unwrap_or(&[]));
        sums = [join(simd, largest, sums[0], a), join(simd, largest, sums[1], b)];
    }
    sums
}

/// The next two vectors, zeros where there are fewer numbers.
#[inline(always)]
fn pair<S: Simd>(simd: S, from: &[f32]) -> [S::f32s; 2] {
    match S::as_simd_f32s(from).0 {
        [a, b, ..] => [*a, *b],
        [..] => [load(simd, from), load(simd, from.get(S::F32_LANES..).unwrap_or(&[]))],
    }
}

/// The even elements of two vectors, and the odd ones.
#[inline(always)]
fn halves<S: Simd>(simd: S, pair: [S::f32s; 2]) -> [S::f32s; 2] {
    // Written so that the compiler sees that vectors are shuffled.
    let pair = pair.map(|v| simd.or_f32s(v, simd.splat_f32s(0.0)));
    let from: &[f32] = bytemuck::cast_slice(&pair);
    let mut halves = [[simd.splat_f32s(0.0)]; 2];
    for (first, half) in halves.iter_mut().enumerate() {
        for (i, to) in bytemuck::cast_slice_mut::<S::f32s, f32>(half).iter_mut().enumerate() {
            *to = from[2 * i + first];
        }
    }
    [halves[0][0], halves[1][0]]
}
