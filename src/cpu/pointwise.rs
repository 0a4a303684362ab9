//! Element-wise functions, arithmetic of two tensors, and Concat.

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::simd::{activate_slice, dispatch, load, store};
use super::tasks;
use crate::graph::{Activation, EvaluateError, Fact, Operator};
use crate::ops::binary::Binary;
use crate::ops::concat::Concat;
use crate::ops::unary::clip::Clip;
use crate::tensor::Tensor;

/// Elements of one task: fewer are not worth a thread.
const STEP: usize = 32 << 10;

/// The kernel of an element-wise operator or a Concat.
pub(super) fn kernel(operator: &dyn Operator, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    if let Some(binary) = operator.downcast::<Binary>() {
        return arithmetic(binary, inputs, output);
    }
    if let Some(concat) = operator.downcast::<Concat>() {
        let shape = output.concrete()?;
        let axis = concat.axis(shape.len()).ok()?;
        return Some(Box::new(Joined { axis, rows: shape[..axis].iter().product() }));
    }
    let function = match operator.downcast::<Clip>() {
        Some(clip) => clip.function(inputs),
        None => operator.activation(),
    };
    Some(Box::new(Function(function?)))
}

/// An activation by itself.
#[derive(Debug)]
struct Function(Activation);

impl Kernel for Function {
    fn in_place(&self) -> &[usize] {
        &[0]
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        struct Apply<'a>(&'a mut [f32], Activation);
        impl WithSimd for Apply<'_> {
            type Output = ();
            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                activate_slice(simd, self.0, self.1);
            }
        }
        let y = job.y.as_mut_slice::<f32>()?;
        let x = job.inputs.optional(0).map(Tensor::as_slice::<f32>).transpose()?;
        tasks::each(job.threads, y.chunks_mut(STEP).enumerate().collect(), |(i, y)| {
            if let Some(x) = x {
                y.copy_from_slice(&x[i * STEP..][..y.len()]);
            }
            dispatch(Apply(y, self.0));
        });
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
}

/// `full ∘ other`, or `other ∘ full`, where `full` has the output's shape and `other` is repeated: it covers `middle`
/// neighbouring axes of the output, those before and after them are ones.
#[derive(Debug)]
struct Binaries {
    arithmetic: Arithmetic,
    full: usize,
    middle: usize,
    inner: usize,
    in_place: Vec<usize>,
}

fn arithmetic(binary: &Binary, inputs: &[Option<&Fact>], output: &Fact) -> Option<Box<dyn Kernel>> {
    let arithmetic = match binary.name() {
        "Add" => Arithmetic::Add,
        "Sub" => Arithmetic::Sub,
        "Mul" => Arithmetic::Mul,
        "Div" => Arithmetic::Div,
        _ => return None,
    };
    let shape = |i: usize| inputs.get(i).copied().flatten()?.concrete();
    let (a, y) = (shape(0)?, output.concrete()?);
    let b = binary.aligned(a.len(), shape(1)?, 1).ok()?;
    let (full, other) = if a == y { (0, b) } else { (1, a) };
    if full == 1 && shape(1)? != y {
        return None;
    }
    // The axes along which `other` is not repeated must be neighbours.
    let mut other = [vec![1; y.len().checked_sub(other.len())?], other].concat();
    if other.iter().zip(&y).all(|(o, y)| o == y) {
        other.clone_from(&y);
    }
    let first = other.iter().position(|&d| d != 1).unwrap_or(0);
    let end = other.iter().rposition(|&d| d != 1).map_or(first, |last| last + 1);
    if other[first..end] != y[first..end] {
        return None;
    }
    let middle = y[first..end].iter().product();
    let inner = y[end..].iter().product();
    let mut in_place = vec![full];
    if middle * inner == y.iter().product() && inner == 1 {
        in_place.push(1 - full);
    }
    Some(Box::new(Binaries { arithmetic, full, middle, inner, in_place }))
}

impl Kernel for Binaries {
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
    binary: &'a Binaries,
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
        let &Binaries { arithmetic, middle, inner, .. } = binary;
        let combine = |y: S::f32s, x: S::f32s| {
            let (a, b) = if swapped { (x, y) } else { (y, x) };
            match arithmetic {
                Arithmetic::Add => simd.add_f32s(a, b),
                Arithmetic::Sub => simd.sub_f32s(a, b),
                Arithmetic::Mul => simd.mul_f32s(a, b),
                Arithmetic::Div => simd.div_f32s(a, b),
            }
        };
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
                each_vector(simd, y, |y, _| combine(y, x));
            } else {
                let x = &other[at % middle..][..length];
                each_vector(simd, y, |y, i| combine(y, load(simd, &x[i..(i + S::F32_LANES).min(length)])));
            }
        }
    }
}

/// Replaces each vector of a slice by a function of it and of where it begins.
#[inline(always)]
fn each_vector<S: Simd>(simd: S, y: &mut [f32], f: impl Fn(S::f32s, usize) -> S::f32s) {
    let (vectors, rest) = S::as_mut_simd_f32s(y);
    let whole = vectors.len() * S::F32_LANES;
    for (i, v) in vectors.iter_mut().enumerate() {
        *v = f(*v, i * S::F32_LANES);
    }
    if !rest.is_empty() {
        let v = f(load(simd, rest), whole);
        store(simd, rest, v);
    }
}

/// Tensors one after another along an axis.
#[derive(Debug)]
struct Joined {
    axis: usize,
    /// The product of the axes before it.
    rows: usize,
}

impl Kernel for Joined {
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let mut parts = Vec::with_capacity(job.inputs.len());
        for i in 0..job.inputs.len() {
            let part = job.inputs.tensor(i)?;
            parts.push((part.as_slice::<f32>()?, part.shape()[self.axis..].iter().product::<usize>()));
        }
        let y = job.y.as_mut_slice::<f32>()?;
        let row = y.len() / self.rows;
        for (i, mut y) in y.chunks_exact_mut(row).enumerate() {
            for (part, length) in &parts {
                let (to, rest) = y.split_at_mut(*length);
                to.copy_from_slice(&part[i * length..][..*length]);
                y = rest;
            }
        }
        Ok(())
    }
}
