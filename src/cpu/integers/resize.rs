//! Resize of quantized numbers: the nearest as they are, sums of several as floats, a plane at a time.

use pulp::{Simd, WithSimd};

use super::super::kernel::{Job, Kernel};
use super::super::resize::{self, Resized};
use super::super::simd::dispatch;
use super::super::tasks;
use super::{Finish, bytes};
use crate::graph::{EvaluateError, Fact};
use crate::ops::resize::Resize;

/// The kernel of a Resize that takes elements as they are.
pub(super) fn nearest(resize: &Resize, inputs: &[Option<&Fact>]) -> Option<Box<dyn Kernel>> {
    let resized = resize::resized(resize, inputs).filter(Resized::is_nearest)?;
    Some(Box::new(Nearest(resized)))
}

#[derive(Debug)]
struct Nearest(Resized);

impl Kernel for Nearest {
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let (x, y) = (job.inputs.tensor(0)?.bytes(), bytes(job.y)?);
        let Resized { x_plane, y_plane, .. } = self.0;
        let step = tasks::planes(job.threads, y.len() / y_plane, y.len());
        let [first, second] = self.0.between().map(|n| n.next_multiple_of(4));
        let work = y.chunks_mut(step * y_plane).zip(x.chunks(step * x_plane)).collect();
        tasks::each(job.threads, work, |(y, x): (&mut [u8], &[u8])| {
            job.scratch.with((first + second) / 4, |scratch| {
                let (a, b) = bytemuck::cast_slice_mut(scratch).split_at_mut(first);
                for (x, y) in x.chunks_exact(x_plane).zip(y.chunks_exact_mut(y_plane)) {
                    self.0.nearest(x, y, [&mut *a, &mut *b]);
                }
            });
        });
        Ok(())
    }
}

/// Quantized numbers that become others of another scale.
#[derive(Debug)]
pub(super) struct Sums {
    pub resized: Resized,
    /// The bits that make numbers without a sign of those with one, and the zero point of such numbers.
    pub flip: u8,
    pub zero: f32,
    pub factor: f32,
    pub finish: Finish,
}

impl Kernel for Sums {
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let (x, y) = (job.inputs.tensor(0)?.bytes(), bytes(job.y)?);
        let Resized { x_plane, y_plane, .. } = self.resized;
        let step = tasks::planes(job.threads, y.len() / y_plane, y.len() * 4);
        let between: usize = self.resized.between().iter().sum();
        let work = y.chunks_mut(step * y_plane).zip(x.chunks(step * x_plane)).collect();
        tasks::each(job.threads, work, |(y, x): (&mut [u8], &[u8])| {
            job.scratch.with(x_plane + y_plane + between, |scratch| dispatch(Planes { of: self, x, y, scratch }));
        });
        Ok(())
    }
}

struct Planes<'a> {
    of: &'a Sums,
    x: &'a [u8],
    y: &'a mut [u8],
    scratch: &'a mut [f32],
}

impl WithSimd for Planes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Sums { resized, flip, zero, factor, finish } = self.of;
        let (floats, scratch) = self.scratch.split_at_mut(resized.x_plane);
        let (sums, scratch) = scratch.split_at_mut(resized.y_plane);
        let (a, b) = scratch.split_at_mut(resized.between()[0]);
        for (x, y) in self.x.chunks_exact(resized.x_plane).zip(self.y.chunks_exact_mut(resized.y_plane)) {
            floats.iter_mut().zip(x).for_each(|(float, x)| *float = f32::from(x ^ flip) - zero);
            resized.plane(simd, floats, sums, [&mut *a, &mut *b]);
            y.iter_mut().zip(&*sums).for_each(|(y, sum)| *y = finish.byte(sum * factor));
        }
    }
}
