//! Arithmetic of two tensors, one of them repeated perhaps.

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::simd::{dispatch, each_vector, load, select};
use super::tasks;
use crate::graph::{EvaluateError, Fact, Operator};
use crate::ops::binary::Binary;
use crate::ops::binary::variadic::Variadic;
use crate::tensor::Tensor;
use crate::tensor::shape::broadcast_strides;

/// Elements of one task: fewer are not worth a thread.
const STEP: usize = 32 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
    PRelu,
}

impl Arithmetic {
    /// Of `a` and `b`, or of `b` and `a` if they are swapped.
    #[inline(always)]
    fn ordered<S: Simd>(self, simd: S, swapped: bool, a: S::f32s, b: S::f32s) -> S::f32s {
        let (a, b) = if swapped { (b, a) } else { (a, b) };
        self.apply(simd, a, b)
    }

    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
        match self {
            Self::Add => simd.add_f32s(a, b),
            Self::Sub => simd.sub_f32s(a, b),
            Self::Mul => simd.mul_f32s(a, b),
            Self::Div => simd.div_f32s(a, b),
            // A NaN is not equal to itself; it stays, whichever operand it is.
            Self::Max => {
                let larger = select(simd, simd.less_than_f32s(b, a), a, b);
                select(simd, simd.equal_f32s(a, a), larger, a)
            }
            Self::Min => {
                let smaller = select(simd, simd.less_than_f32s(a, b), a, b);
                select(simd, simd.equal_f32s(a, a), smaller, a)
            }
            Self::PRelu => select(simd, simd.less_than_f32s(a, simd.splat_f32s(0.0)), simd.mul_f32s(a, b), a),
        }
    }
}

/// The kernel of arithmetic of two tensors.
pub(super) fn kernel(operator: &dyn Operator, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    let shape = |i: usize| inputs.get(i).copied().flatten()?.concrete();
    let (a, y) = (shape(0)?, output.concrete()?);
    let b = match operator.downcast::<Binary>() {
        Some(binary) => binary.aligned(a.len(), shape(1)?, 1).ok()?,
        None if operator.downcast::<Variadic>().is_some() && inputs.len() == 2 => shape(1)?,
        None => return None,
    };
    let arithmetic = match operator.name() {
        "Add" | "Sum" => Arithmetic::Add,
        "Sub" => Arithmetic::Sub,
        "Mul" => Arithmetic::Mul,
        "Div" => Arithmetic::Div,
        "Max" => Arithmetic::Max,
        "Min" => Arithmetic::Min,
        "PRelu" => Arithmetic::PRelu,
        _ => return None,
    };
    match repeated(arithmetic, a.clone(), b.clone(), &shape(1)?, &y) {
        Some(kernel) => Some(Box::new(kernel)),
        None => Some(Box::new(Broadcast::new(arithmetic, &a, &b, &y)?)),
    }
}

/// `full ∘ other`, or `other ∘ full`, where `full` has the output's shape and `other` is repeated: it covers `middle`
/// neighbouring axes of the output, those before and after them are ones.
#[derive(Debug)]
struct Repeated {
    arithmetic: Arithmetic,
    full: usize,
    middle: usize,
    inner: usize,
    in_place: Vec<usize>,
}

fn repeated(arithmetic: Arithmetic, a: Vec<usize>, b: Vec<usize>, own: &[usize], y: &[usize]) -> Option<Repeated> {
    let (full, other) = if a == y { (0, b) } else { (1, a) };
    if full == 1 && own != y {
        return None;
    }
    // The axes along which `other` is not repeated must be neighbours.
    let mut other = [vec![1; y.len().checked_sub(other.len())?], other].concat();
    if other.iter().zip(y).all(|(o, y)| o == y) {
        other = y.to_vec();
    }
    let first = other.iter().position(|&d| d != 1).unwrap_or(0);
    let end = other.iter().rposition(|&d| d != 1).map_or(first, |last| last + 1);
    if other[first..end] != y[first..end] {
        return None;
    }
    let middle = y[first..end].iter().product();
    let inner = y[end..].iter().product();
    let mut in_place = vec![full];
    if middle * inner == y.iter().product::<usize>() && inner == 1 {
        in_place.push(1 - full);
    }
    Some(Repeated { arithmetic, full, middle, inner, in_place })
}

impl Kernel for Repeated {
    fn in_place(&self) -> &[usize] {
        &self.in_place
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let y = job.y.as_mut_slice::<f32>()?;
        let slice = |i: usize| job.inputs.optional(i).map(Tensor::as_slice::<f32>).transpose();
        let (full, other) = (slice(self.full)?, slice(1 - self.full)?);
        // What y holds already is the operand that is missing; if that is `other`, both have the output's shape.
        let (held, other) = match (full, other) {
            (full, Some(other)) => ((full, self.full), other),
            (Some(full), None) => ((None, 1 - self.full), full),
            (None, None) => return Err(crate::graph::ShapeError::new("both operands are missing").into()),
        };
        tasks::each(job.threads, y.chunks_mut(STEP).enumerate().collect(), |(i, y)| {
            if let Some(full) = held.0 {
                y.copy_from_slice(&full[i * STEP..][..y.len()]);
            }
            dispatch(Combine { binary: self, swapped: held.1 == 1, y, first: i * STEP, other });
        });
        Ok(())
    }
}

/// `y ∘ other`, or `other ∘ y` if they are swapped.
struct Combine<'a> {
    binary: &'a Repeated,
    swapped: bool,
    y: &'a mut [f32],
    first: usize,
    other: &'a [f32],
}

impl WithSimd for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { binary, swapped, y, first, other } = self;
        let &Repeated { arithmetic, middle, inner, .. } = binary;
        // Stretches over which `other` is either one number or a run of neighbours.
        let stretch = if inner > 1 { inner } else { middle };
        let mut done = 0;
        while done < y.len() {
            let at = first + done;
            let length = (stretch - at % stretch).min(y.len() - done);
            let y = &mut y[done..done + length];
            done += length;
            if inner > 1 || middle == 1 {
                let x = simd.splat_f32s(other[at / inner % middle]);
                each_vector(simd, y, |y, _| arithmetic.ordered(simd, swapped, y, x));
            } else {
                let x = &other[at % middle..][..length];
                each_vector(simd, y, |y, i| {
                    arithmetic.ordered(simd, swapped, y, load(simd, &x[i..(i + S::F32_LANES).min(length)]))
                });
            }
        }
    }
}

/// Any two tensors, read by strides over as few dimensions as will do, the innermost last.
#[derive(Debug)]
struct Broadcast {
    arithmetic: Arithmetic,
    /// For each dimension its size, and the distances of neighbours in either operand.
    dims: Vec<(usize, [usize; 2])>,
}

impl Broadcast {
    fn new(arithmetic: Arithmetic, a: &[usize], b: &[usize], y: &[usize]) -> Option<Self> {
        let strides = [broadcast_strides(a, y), broadcast_strides(b, y)];
        let mut dims: Vec<(usize, [usize; 2])> = vec![];
        for (i, &size) in y.iter().enumerate().filter(|(_, size)| **size != 1) {
            let own = [strides[0][i], strides[1][i]];
            match dims.last_mut() {
                Some((outer, steps)) if *steps == own.map(|s| s * size) => {
                    *outer *= size;
                    *steps = own;
                }
                _ => dims.push((size, own)),
            }
        }
        // The innermost dimension of each operand is dense or repeated.
        dims.last().is_some_and(|(_, steps)| steps.iter().all(|&s| s <= 1)).then_some(Self { arithmetic, dims })
    }
}

impl Kernel for Broadcast {
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let a = job.inputs.tensor(0)?.as_slice::<f32>()?;
        let b = job.inputs.tensor(1)?.as_slice::<f32>()?;
        let y = job.y.as_mut_slice::<f32>()?;
        let row = self.dims.last().map_or(1, |dim| dim.0);
        let rows = (STEP / row).max(1);
        tasks::each(job.threads, y.chunks_mut(rows * row).enumerate().collect(), |(i, y)| {
            dispatch(Rows { broadcast: self, first: i * rows, a, b, y });
        });
        Ok(())
    }
}

/// Rows of a result, from one on.
struct Rows<'a> {
    broadcast: &'a Broadcast,
    first: usize,
    a: &'a [f32],
    b: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Broadcast { arithmetic, dims } = self.broadcast;
        let Some((&(length, steps), outer)) = dims.split_last() else { return };
        for (i, y) in self.y.chunks_exact_mut(length).enumerate() {
            let (mut index, mut at) = (self.first + i, [0, 0]);
            for &(size, strides) in outer.iter().rev() {
                for (at, stride) in at.iter_mut().zip(strides) {
                    *at += index % size * stride;
                }
                index /= size;
            }
            let (a, b) = (&self.a[at[0]..], &self.b[at[1]..]);
            let part = |x: &[f32], i: usize| load(simd, &x[i..(i + S::F32_LANES).min(length)]);
            let (first, second) = (simd.splat_f32s(a[0]), simd.splat_f32s(b[0]));
            match steps {
                [0, 0] => each_vector(simd, y, |_, _| arithmetic.apply(simd, first, second)),
                [0, _] => each_vector(simd, y, |_, i| arithmetic.apply(simd, first, part(b, i))),
                [_, 0] => each_vector(simd, y, |_, i| arithmetic.apply(simd, part(a, i), second)),
                _ => each_vector(simd, y, |_, i| arithmetic.apply(simd, part(a, i), part(b, i))),
            }
        }
    }
}
