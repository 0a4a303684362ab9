//! Sums, products, means, other sizes and functions of quantized numbers.

use super::super::kernel::{Job, Kernel};
use super::super::resize::resized;
use super::super::tasks;
use super::pairs::{Pairs, Work, dispatch};
use super::resize::Sums;
use super::{Finish, bytes};
use crate::graph::{EvaluateError, Fact};
use crate::ops::quantize::{Between, Kind, Numbers};
use crate::tensor::ElementType;

/// Elements of one task: fewer are not worth a thread.
const STEP: usize = 16 << 10;

#[derive(Debug)]
struct Integers {
    kind: Kind,
    /// Zero points are those of bytes without a sign.
    numbers: Numbers,
    /// The bits that make numbers without a sign of those with one.
    flip: u8,
    /// Elements of a plane.
    plane: usize,
    finish: Finish,
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
    let mut numbers = between.numbers(inputs, output, if between.kind() == Kind::Mean { plane } else { 1 })?;
    let (flip, less) = if x.element_type == ElementType::I8 { (0x80, 128.0) } else { (0, 0.0) };
    numbers.zeros = numbers.zeros.map(|zero| zero + less);
    let [zero, low, high] = numbers.result;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a zero point has 8 bits")]
    let finish = Finish { low: low - zero, high: high - zero, zero: zero as i32 as u8 };
    if let Some((operator, inputs)) = between.resize(inputs) {
        let resized = resized(operator, &inputs)?;
        let sums = Sums { resized, flip, zero: numbers.zeros[0], factor: numbers.factors[0], finish };
        return Some(Box::new(sums));
    }
    let alike = inputs.get(3).copied().flatten().is_some_and(|b| b.element_type == x.element_type);
    (plane > 0 && (between.kind() == Kind::Mean || alike))
        .then(|| Box::new(Integers { kind: between.kind(), numbers, flip, plane, finish }) as Box<dyn Kernel>)
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
        let a = job.inputs.tensor(0)?.bytes();
        let y = bytes(job.y)?;
        let of = self;
        if self.kind == Kind::Mean {
            let step = tasks::planes(job.threads, y.len(), a.len());
            let work = y.chunks_mut(step).zip(a.chunks(step * self.plane)).collect();
            tasks::each(job.threads, work, |(y, a)| dispatch(Part { of, y, a, b: a }));
            return Ok(());
        }
        let b = job.inputs.tensor(3)?.bytes();
        if b.len() != a.len() {
            let step = tasks::planes(job.threads, b.len(), a.len());
            let planes = step * self.plane;
            let work = y.chunks_mut(planes).zip(a.chunks(planes).zip(b.chunks(step))).collect();
            tasks::each(job.threads, work, |(y, (a, b)): (&mut [u8], (&[u8], &[u8]))| {
                let planes = y.chunks_mut(self.plane).zip(a.chunks(self.plane)).zip(b.chunks(1));
                planes.for_each(|((y, a), b)| dispatch(Part { of, y, a, b }));
            });
            return Ok(());
        }
        let work = y.chunks_mut(STEP).zip(a.chunks(STEP).zip(b.chunks(STEP))).collect();
        tasks::each(job.threads, work, |(y, (a, b))| dispatch(Part { of, y, a, b }));
        Ok(())
    }
}

/// A part of the result.
struct Part<'a> {
    of: &'a Integers,
    y: &'a mut [u8],
    a: &'a [u8],
    /// As many, or one for all of `a`.
    b: &'a [u8],
}

impl Work for Part<'_> {
    #[inline(always)]
    fn run<P: Pairs>(self, _: P) {
        let Self { of, y, a, b } = self;
        let Numbers { zeros: [a_zero, b_zero], factors: [a_factor, b_factor], .. } = of.numbers;
        let (flip, finish) = (of.flip, of.finish);
        let wide = |v: u8, zero: f32| f32::from(v ^ flip) - zero;
        if let (&[b], Kind::Add | Kind::Mul) = (b, of.kind) {
            let b = wide(b, b_zero);
            let (factor, rest) = if of.kind == Kind::Add { (a_factor, b * b_factor) } else { (a_factor, 0.0) };
            let multiplier = if of.kind == Kind::Add { 1.0 } else { b };
            y.iter_mut().zip(a).for_each(|(y, &a)| *y = finish.byte(wide(a, a_zero) * multiplier * factor + rest));
            return;
        }
        let pairs = y.iter_mut().zip(a.iter().zip(b));
        match of.kind {
            Kind::Add => pairs.for_each(|(y, (a, b))| {
                *y = finish.byte(wide(*a, a_zero) * a_factor + wide(*b, b_zero) * b_factor);
            }),
            Kind::Mul => pairs.for_each(|(y, (a, b))| {
                *y = finish.byte(wide(*a, a_zero) * wide(*b, b_zero) * a_factor);
            }),
            _ => {
                for (y, a) in y.iter_mut().zip(a.chunks_exact(of.plane)) {
                    let sum: u32 = a.iter().map(|&v| u32::from(v ^ flip)).sum();
                    *y = finish.byte((sum as f32 - of.plane as f32 * a_zero) * a_factor);
                }
            }
        }
    }
}
