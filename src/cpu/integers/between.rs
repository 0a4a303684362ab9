//! Sums, products, means and functions of quantized numbers.

use super::super::kernel::{Job, Kernel};
use super::super::tasks;
use super::{Byte, WHOLE};
use crate::graph::{EvaluateError, Fact};
use crate::ops::quantize::{Between, Kind, Numbers};
use crate::tensor::{ElementType, Tensor};

/// Elements of one task: fewer are not worth a thread.
const STEP: usize = 16 << 10;

#[derive(Debug)]
struct Integers {
    kind: Kind,
    numbers: Numbers,
    /// Elements of a plane.
    plane: usize,
}

/// A function of 8-bit integers by the 256 bytes that it gives, in the order of the bytes that it takes.
#[derive(Debug)]
struct Table(Vec<u8>);

/// The kernel, where scales and zero points are known.
pub(super) fn kernel(between: &Between, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    let x = inputs.first().copied().flatten()?;
    if between.kind() == Kind::Table {
        let table = between.table(inputs)?;
        let mut bytes = table.bytes().to_vec();
        if x.element_type == ElementType::I8 {
            // The table begins with the least number, bytes with 0.
            bytes.rotate_left(128);
        }
        return (bytes.len() == 256).then(|| Box::new(Table(bytes)) as Box<dyn Kernel>);
    }
    let plane: usize = x.concrete()?.iter().skip(2).product();
    let numbers = between.numbers(inputs, output, plane)?;
    let alike = inputs.get(3).copied().flatten().is_some_and(|b| b.element_type == x.element_type);
    (plane > 0 && (between.kind() == Kind::Mean || alike))
        .then(|| Box::new(Integers { kind: between.kind(), numbers, plane }) as Box<dyn Kernel>)
}

/// The bytes of a tensor that is written.
fn bytes(y: &mut Tensor) -> Result<&mut [u8], EvaluateError> {
    Ok(match y.element_type() {
        ElementType::U8 => y.as_mut_slice::<u8>()?,
        _ => bytemuck::cast_slice_mut(y.as_mut_slice::<i8>()?),
    })
}

impl Kernel for Table {
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let x = job.inputs.tensor(0)?.bytes();
        let work = bytes(job.y)?.chunks_mut(STEP).zip(x.chunks(STEP)).collect();
        tasks::each(job.threads, work, |(y, x): (&mut [u8], &[u8])| {
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = self.0[usize::from(x)]);
        });
        Ok(())
    }
}

impl Kernel for Integers {
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        match job.inputs.tensor(0)?.element_type() {
            ElementType::U8 => self.run_on::<u8>(job),
            _ => self.run_on::<i8>(job),
        }
    }
}

impl Integers {
    fn run_on<T: Byte>(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let Numbers { zeros: [a_zero, b_zero], factors: [a_factor, b_factor], result: [zero, low, high] } =
            self.numbers;
        let a = job.inputs.tensor(0)?.as_slice::<T>()?;
        let y = bytes(job.y)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a zero point has 8 bits")]
        let (low, high, zero) = (low - zero, high - zero, zero as i32 as u8);
        #[expect(clippy::cast_possible_truncation, reason = "the low byte is what is wanted")]
        let byte = |v: f32| ((v.max(low).min(high) + WHOLE).to_bits() as u8).wrapping_add(zero);
        if self.kind == Kind::Mean {
            let step = tasks::planes(job.threads, y.len(), a.len());
            let work = y.chunks_mut(step).zip(a.chunks(step * self.plane)).collect();
            tasks::each(job.threads, work, |(y, a): (&mut [u8], &[T])| {
                for (y, a) in y.iter_mut().zip(a.chunks_exact(self.plane)) {
                    let sum: i32 = a.iter().map(|v| v.wide()).sum();
                    *y = byte((sum as f32 - self.plane as f32 * a_zero) * a_factor);
                }
            });
            return Ok(());
        }
        let b = job.inputs.tensor(3)?.as_slice::<T>()?;
        let work = y.chunks_mut(STEP).zip(a.chunks(STEP).zip(b.chunks(STEP))).collect();
        tasks::each(job.threads, work, |(y, (a, b)): (&mut [u8], (&[T], &[T]))| {
            let pairs = y.iter_mut().zip(a.iter().zip(b));
            match self.kind {
                Kind::Add => pairs.for_each(|(y, (a, b))| {
                    *y = byte((a.wide() as f32 - a_zero) * a_factor + (b.wide() as f32 - b_zero) * b_factor);
                }),
                _ => pairs.for_each(|(y, (a, b))| {
                    *y = byte((a.wide() as f32 - a_zero) * (b.wide() as f32 - b_zero) * a_factor);
                }),
            }
        });
        Ok(())
    }
}
