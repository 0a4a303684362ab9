//! Pools that look for the largest of 8-bit integers.
//!
//! A plane is copied with its padding as bytes without a sign, whose order is that of the integers, and its rows and columns
//! split by the strides, as in `windows.rs`: then a row of the output is the largest, byte by byte, of as many dense stretches
//! as the window has elements.

use super::super::kernel::{Job, Kernel};
use super::super::tasks;
use super::super::windows::Windows;
use super::bytes;
use super::pairs::{Pairs, Work, dispatch};
use crate::graph::{EvaluateError, Fact};
use crate::ops::pool::{Kind, Pool};
use crate::tensor::ElementType;

#[derive(Debug)]
struct Largest {
    windows: Windows,
    /// The bits that make numbers without a sign of those with one.
    flip: u8,
}

/// The kernel, where windows move along one or two axes.
pub(super) fn kernel(pool: &Pool, inputs: &[Option<&Fact>]) -> Option<Box<dyn Kernel>> {
    let fact = inputs.first().copied().flatten()?;
    let flip = match fact.element_type {
        ElementType::U8 => 0,
        ElementType::I8 => 0x80,
        _ => return None,
    };
    let window = pool.window.as_ref().filter(|_| pool.kind == Kind::Max && !pool.indices)?;
    let x = fact.concrete().filter(|x| !x.contains(&0))?;
    let windows = Windows::new(&window.axes(&x[2..], &window.kernel).ok()?)?;
    Some(Box::new(Largest { windows, flip }))
}

impl Kernel for Largest {
    fn products(&self) -> usize {
        self.windows.taps.len().div_ceil(4)
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let Job { inputs, y, threads, scratch, .. } = job;
        let (x, y) = (inputs.tensor(0)?.bytes(), bytes(y)?);
        let (height, width) = (&self.windows.height, &self.windows.width);
        let [from, to] = [height.input * width.input, height.output * width.output];
        let step = tasks::planes(threads, y.len() / to, y.len() * self.products());
        let work = y.chunks_mut(step * to).zip(x.chunks(step * from)).collect();
        tasks::each(threads, work, |(y, x): (&mut [u8], &[u8])| {
            scratch.with(self.windows.copied().div_ceil(4), |copy| {
                dispatch(Planes { of: self, x, y, copy: bytemuck::cast_slice_mut(copy) });
            });
        });
        Ok(())
    }
}

/// Some planes, and the memory for a copy of one.
struct Planes<'a> {
    of: &'a Largest,
    x: &'a [u8],
    y: &'a mut [u8],
    copy: &'a mut [u8],
}

impl Work for Planes<'_> {
    #[inline(always)]
    fn run<P: Pairs>(self, _: P) {
        let Self { of: Largest { windows, flip }, x, y, copy } = self;
        let (height, width) = (&windows.height, &windows.width);
        let planes = x.chunks_exact(height.input * width.input);
        for (x, y) in planes.zip(y.chunks_exact_mut(height.output * width.output)) {
            windows.copy_bytes(x, *flip, 0, copy);
            for (row, y) in y.chunks_exact_mut(width.output).enumerate() {
                for (i, tap) in windows.taps.iter().enumerate() {
                    let seen = &copy[tap + row * windows.pitch..];
                    let pairs = y.iter_mut().zip(seen);
                    if i == 0 { pairs.for_each(|(y, &x)| *y = x) } else { pairs.for_each(|(y, &x)| *y = (*y).max(x)) }
                }
                y.iter_mut().for_each(|y| *y ^= flip);
            }
        }
    }
}
