//! Resize: along each axis that changes, each element is a sum of a few taps.
//!
//! Indices and weights were computed once (`ops/resize`). One plane after the other goes through one axis after the other,
//! those that shrink first, so that nothing in between is larger than the larger of input and output.

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::simd::{dispatch, load, store};
use super::tasks;
use crate::graph::{EvaluateError, Fact};
use crate::ops::resize::Resize;

/// One axis of a plane, the others as they are when it comes to it.
#[derive(Debug)]
pub(super) struct Pass {
    /// The product of the dimensions before and behind it.
    outer: usize,
    inner: usize,
    /// Its length before.
    input: usize,
    /// Taps of an element, their indices, and their weights.
    count: usize,
    index: Vec<usize>,
    weight: Vec<f32>,
    /// Each element stands so often, and nothing else happens.
    repeat: Option<usize>,
}

impl Pass {
    const fn output(&self) -> usize {
        self.index.len() / self.count
    }
}

/// A plane after another, each by passes.
#[derive(Debug)]
pub(super) struct Resized {
    /// Elements of a plane, before and after: all dimensions from the first that changes on.
    pub x_plane: usize,
    pub y_plane: usize,
    passes: Vec<Pass>,
}

/// The kernel of a Resize whose sizes are known.
pub(super) fn kernel(resize: &Resize, inputs: &[Option<&Fact>]) -> Option<Box<dyn Kernel>> {
    resized(resize, inputs).map(|resized| Box::new(resized) as Box<dyn Kernel>)
}

/// What a Resize does, if its sizes are known.
pub(super) fn resized(resize: &Resize, inputs: &[Option<&Fact>]) -> Option<Resized> {
    let taps = resize.all_taps(inputs)?;
    let mut dims = inputs.first().copied().flatten()?.concrete()?;
    let first = taps.iter().position(Option::is_some).unwrap_or(dims.len());
    let x_plane = dims[first..].iter().product();
    let mut axes: Vec<_> = taps.into_iter().enumerate().filter_map(|(i, taps)| Some((i, taps?))).collect();
    // The last axis first among those that grow alike: it is the dearest, and has the fewest lines before the others.
    let growth = |i: usize, outputs: usize| outputs as f64 / dims[i] as f64;
    axes.sort_by(|(i, a), (j, b)| {
        let (a, b) = (growth(*i, a.index.len() / a.count), growth(*j, b.index.len() / b.count));
        a.total_cmp(&b).then(j.cmp(i))
    });
    let mut passes = vec![];
    for (i, taps) in axes {
        let index: Vec<usize> = taps.index.iter().map(|&i| usize::try_from(i).ok()).collect::<Option<_>>()?;
        let outputs = index.len() / taps.count;
        let times = outputs / dims[i];
        let repeats = taps.count == 1 && taps.weight.iter().all(|&w| w == 1.0);
        let repeats =
            repeats && outputs.is_multiple_of(dims[i]) && index.iter().enumerate().all(|(o, &i)| o / times == i);
        passes.push(Pass {
            outer: dims[first..i].iter().product(),
            inner: dims[i + 1..].iter().product(),
            input: dims[i],
            count: taps.count,
            index,
            weight: taps.weight,
            repeat: repeats.then_some(times),
        });
        dims[i] = outputs;
    }
    (!passes.is_empty()).then(|| Resized { x_plane, y_plane: dims[first..].iter().product(), passes })
}

impl Resized {
    /// The numbers that one pass leaves for the next, in two parts; the pass after may write over what the one before left.
    pub fn between(&self) -> [usize; 2] {
        let between = self.x_plane.max(self.y_plane);
        [1, 2].map(|before| if self.passes.len() > before { between } else { 0 })
    }

    /// One plane, by something that does a pass. `a` and `b` are what stands between passes.
    #[inline(always)]
    fn each<T>(&self, x: &[T], y: &mut [T], [a, b]: [&mut [T]; 2], mut pass: impl FnMut(&Pass, &[T], &mut [T])) {
        for (i, own) in self.passes.iter().enumerate() {
            let (from, to) = if i % 2 == 0 { (&*b, &mut *a) } else { (&*a, &mut *b) };
            let from = if i == 0 { x } else { from };
            pass(own, from, if i + 1 == self.passes.len() { &mut *y } else { to });
        }
    }

    /// One plane of sums.
    #[inline(always)]
    pub fn plane<S: Simd>(&self, simd: S, x: &[f32], y: &mut [f32], between: [&mut [f32]; 2]) {
        self.each(
            x,
            y,
            between,
            #[inline(always)]
            |pass, x, y| along(simd, pass, x, y),
        );
    }

    /// Whether elements are taken as they are.
    pub fn is_nearest(&self) -> bool {
        self.passes.iter().all(|pass| pass.count == 1 && pass.weight.iter().all(|&w| w == 1.0))
    }

    /// One plane of elements that are taken as they are.
    pub fn nearest(&self, x: &[u8], y: &mut [u8], between: [&mut [u8]; 2]) {
        self.each(x, y, between, |pass, x, y| {
            let (input, output) = (pass.input * pass.inner, pass.output() * pass.inner);
            for (x, y) in x.chunks_exact(input).zip(y.chunks_exact_mut(output)).take(pass.outer) {
                if pass.inner == 1 {
                    y.iter_mut().zip(&pass.index).for_each(|(y, &i)| *y = x[i]);
                    continue;
                }
                let lines = y.chunks_exact_mut(pass.inner).zip(&pass.index);
                lines.for_each(|(y, &i)| y.copy_from_slice(&x[i * pass.inner..][..pass.inner]));
            }
        });
    }
}

impl Kernel for Resized {
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let x = job.inputs.tensor(0)?.as_slice::<f32>()?;
        let y = job.y.as_mut_slice::<f32>()?;
        let planes = y.len() / self.y_plane;
        let step = planes.div_ceil(job.threads.count());
        let [first, second] = self.between();
        let work = y.chunks_mut(step * self.y_plane).zip(x.chunks(step * self.x_plane)).collect();
        tasks::each(job.threads, work, |(y, x)| {
            job.scratch.with(first + second, |scratch| {
                let scratch = scratch.split_at_mut(first);
                dispatch(Planes { resized: self, x, y, scratch: scratch.into() });
            });
        });
        Ok(())
    }
}

struct Planes<'a> {
    resized: &'a Resized,
    x: &'a [f32],
    y: &'a mut [f32],
    scratch: [&'a mut [f32]; 2],
}

impl WithSimd for Planes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [a, b] = self.scratch;
        let planes = self.x.chunks_exact(self.resized.x_plane).zip(self.y.chunks_exact_mut(self.resized.y_plane));
        for (x, y) in planes {
            self.resized.plane(simd, x, y, [&mut *a, &mut *b]);
        }
    }
}

/// A pass over a plane; the slices may be longer than it.
#[inline(always)]
fn along<S: Simd>(simd: S, pass: &Pass, x: &[f32], y: &mut [f32]) {
    let &Pass { outer, inner, input, count, .. } = pass;
    let output = pass.output();
    for (x, y) in x.chunks_exact(input * inner).zip(y.chunks_exact_mut(output * inner)).take(outer) {
        if inner == 1 {
            line(pass, x, y);
            continue;
        }
        let taps = pass.index.chunks_exact(count).zip(pass.weight.chunks_exact(count));
        for (y, (index, weight)) in y.chunks_exact_mut(inner).zip(taps) {
            if let (&[i], &[1.0]) = (index, weight) {
                y.copy_from_slice(&x[i * inner..][..inner]);
                continue;
            }
            for (v, y) in y.chunks_mut(S::F32_LANES).enumerate() {
                let mut sum = simd.splat_f32s(0.0);
                for (&i, &w) in index.iter().zip(weight) {
                    let from = i * inner + v * S::F32_LANES;
                    sum = simd.mul_add_e_f32s(load(simd, &x[from..from + y.len()]), simd.splat_f32s(w), sum);
                }
                store(simd, y, sum);
            }
        }
    }
}

/// A pass over a line of neighbours.
#[inline(always)]
fn line(pass: &Pass, x: &[f32], y: &mut [f32]) {
    match (pass.repeat, pass.count) {
        (Some(2), _) => {
            for (y, x) in y.as_chunks_mut::<2>().0.iter_mut().zip(x) {
                *y = [*x; 2];
            }
        }
        (Some(4), _) => {
            for (y, x) in y.as_chunks_mut::<4>().0.iter_mut().zip(x) {
                *y = [*x; 4];
            }
        }
        (Some(times), _) => {
            for (y, x) in y.chunks_exact_mut(times).zip(x) {
                y.fill(*x);
            }
        }
        (None, 1) => {
            for ((y, &i), w) in y.iter_mut().zip(&pass.index).zip(&pass.weight) {
                *y = w * x[i];
            }
        }
        (None, 2) => {
            let taps = pass.index.as_chunks::<2>().0.iter().zip(pass.weight.as_chunks::<2>().0);
            for (y, (&[i, j], &[v, w])) in y.iter_mut().zip(taps) {
                *y = v * x[i] + w * x[j];
            }
        }
        (None, count) => {
            let taps = pass.index.chunks_exact(count).zip(pass.weight.chunks_exact(count));
            for (y, (index, weight)) in y.iter_mut().zip(taps) {
                *y = index.iter().zip(weight).map(|(&i, w)| w * x[i]).sum();
            }
        }
    }
}
