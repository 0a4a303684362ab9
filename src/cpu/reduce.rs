//! Reductions and global pools: sums, extremes and norms of lanes.
//!
//! Element `i` of lane `(o, k)` lies at `(o · length + i) · inner + k`. Sums are kept in parts, so that the error of a long
//! lane stays near that of a short one.

use pulp::{Simd, WithSimd};

use super::kernel::{Job, Kernel};
use super::simd::{dispatch, load, magnitude, select, store};
use super::tasks;
use crate::graph::{EvaluateError, Fact};
use crate::ops::pool::Kind;
use crate::ops::reduce::Reduce;

/// What becomes of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Sum,
    Mean,
    /// The sum of the magnitudes.
    L1,
    /// The root of the sum of the squares.
    L2,
    SumSquare,
    /// The extremes, a NaN passed over.
    Max,
    Min,
    /// The largest, a NaN kept, as pools have it.
    PoolMax,
}

#[derive(Debug)]
struct Reduced {
    function: Function,
    length: usize,
    inner: usize,
}

/// The kernel of a pool over all positions of a channel.
pub(super) fn global(kind: Kind, positions: usize) -> Option<Box<dyn Kernel>> {
    let function = match kind {
        Kind::Max => Function::PoolMax,
        Kind::Average { .. } => Function::Mean,
        Kind::Lp(1) => Function::L1,
        Kind::Lp(2) => Function::L2,
        Kind::Lp(_) => return None,
    };
    (positions > 0).then(|| Box::new(Reduced { function, length: positions, inner: 1 }) as Box<dyn Kernel>)
}

/// The kernel of a reduction along neighbouring axes.
pub(super) fn kernel(reduce: &Reduce, inputs: &[Option<&Fact>]) -> Option<Box<dyn Kernel>> {
    use crate::graph::Operator as _;
    let function = match reduce.name() {
        "ReduceSum" => Function::Sum,
        "ReduceMean" => Function::Mean,
        "ReduceL1" => Function::L1,
        "ReduceL2" => Function::L2,
        "ReduceSumSquare" => Function::SumSquare,
        "ReduceMax" => Function::Max,
        "ReduceMin" => Function::Min,
        _ => return None,
    };
    let shape = inputs.first().copied().flatten()?.concrete()?;
    let reduced = reduce.dimensions(inputs)?;
    // Dimensions of 1 lie wherever they are wanted.
    let kept = |i: &usize| shape[*i] != 1;
    let gone: Vec<usize> = (0..shape.len()).filter(|&i| reduced[i]).filter(kept).collect();
    let (from, to) = (gone.first().copied().unwrap_or(0), gone.last().map_or(0, |last| last + 1));
    if shape.contains(&0) || (from..to).filter(kept).any(|i| !reduced[i]) {
        return None;
    }
    let (length, inner) = (shape[from..to].iter().product(), shape[to..].iter().product());
    Some(Box::new(Reduced { function, length, inner }))
}

impl Kernel for Reduced {
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let &Self { function, length, inner } = self;
        let x = job.inputs.tensor(0)?.as_slice::<f32>()?;
        let y = job.y.as_mut_slice::<f32>()?;
        let blocks = y.len() / inner;
        // Lanes that lie beside each other can be shared out too, where there is one block of them.
        let small = job.threads.count() == 1 || x.len() < 16 << 10;
        let (step, columns) = if small {
            (blocks, inner)
        } else {
            let step = blocks.div_ceil(job.threads.count());
            let tasks = blocks.div_ceil(step);
            (step, inner.div_ceil(job.threads.count() / tasks).next_multiple_of(64))
        };
        let mut work = vec![];
        for (y, x) in y.chunks_mut(step * inner).zip(x.chunks(step * length * inner)) {
            if step == 1 {
                let parts = y.chunks_mut(columns).enumerate();
                work.extend(parts.map(|(i, y)| Lanes { function, length, inner, first: i * columns, x, y }));
            } else {
                work.push(Lanes { function, length, inner, first: 0, x, y });
            }
        }
        tasks::each(job.threads, work, dispatch);
        Ok(())
    }
}

/// Blocks of lanes, or from the first of them the lanes from `first` on.
struct Lanes<'a> {
    function: Function,
    length: usize,
    inner: usize,
    first: usize,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Lanes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let count = self.length as f32;
        let (add, itself) = (|a, b| simd.add_f32s(a, b), |x: S::f32s| x);
        let square = |x| simd.mul_f32s(x, x);
        match self.function {
            Function::Sum => walk(simd, self, 0.0, itself, add, |all| all),
            Function::Mean => walk(simd, self, 0.0, itself, add, |all| all / count),
            Function::L1 => walk(simd, self, 0.0, |x| magnitude(simd, x), add, |all| all),
            Function::L2 => walk(simd, self, 0.0, square, add, f32::sqrt),
            Function::SumSquare => walk(simd, self, 0.0, square, add, |all| all),
            Function::Max => {
                let join = |a, b| select(simd, simd.less_than_f32s(a, b), b, a);
                walk(simd, self, f32::NEG_INFINITY, itself, join, |all| all);
            }
            Function::Min => {
                let join = |a, b| select(simd, simd.less_than_f32s(b, a), b, a);
                walk(simd, self, f32::INFINITY, itself, join, |all| all);
            }
            Function::PoolMax => {
                let larger = |a, b| select(simd, simd.less_than_f32s(a, b), b, a);
                // A NaN is not equal to itself.
                let join = |a, b| select(simd, simd.equal_f32s(b, b), larger(a, b), b);
                let join = |a, b| select(simd, simd.equal_f32s(a, a), join(a, b), a);
                walk(simd, self, f32::MIN, itself, join, |all| all);
            }
        }
    }
}

/// Vectors that are joined side by side, so that none waits for the one before.
const BESIDE: usize = 4;

/// So many are joined before they are joined with the others.
const PART: usize = 64;

/// All lanes: each is `finish(join(… map(x) …))`.
#[inline(always)]
fn walk<S: Simd>(
    simd: S,
    lanes: Lanes<'_>,
    start: f32,
    map: impl Fn(S::f32s) -> S::f32s,
    join: impl Fn(S::f32s, S::f32s) -> S::f32s,
    finish: impl Fn(f32) -> f32,
) {
    let Lanes { length, inner, first, x, y, .. } = lanes;
    let begin = simd.splat_f32s(start);
    if inner == 1 {
        for (x, y) in x.chunks_exact(length).zip(y) {
            let mut all = begin;
            for part in x.chunks(PART * BESIDE * S::F32_LANES) {
                let mut sums = [begin; BESIDE];
                let (vectors, rest) = S::as_simd_f32s(part);
                let (groups, single) = vectors.as_chunks::<BESIDE>();
                for group in groups {
                    for j in 0..BESIDE {
                        sums[j] = join(sums[j], map(group[j]));
                    }
                }
                for v in single {
                    sums[0] = join(sums[0], map(*v));
                }
                if !rest.is_empty() {
                    sums[1] = join(sums[1], mapped(simd, rest, &map, start));
                }
                let sum = join(join(sums[0], sums[1]), join(sums[2], sums[3]));
                all = join(all, sum);
            }
            let single = [all];
            let elements: &[f32] = bytemuck::cast_slice(&single);
            let joined = elements.iter().fold(begin, |all, v| join(all, simd.splat_f32s(*v)));
            let joined = [joined];
            let joined: &[f32] = bytemuck::cast_slice(&joined);
            *y = finish(joined[0]);
        }
        return;
    }
    let columns = y.len().min(inner);
    for (x, y) in x.chunks_exact(length * inner).zip(y.chunks_exact_mut(columns)) {
        let mut done = 0;
        while done < columns {
            let width = (columns - done).min(BESIDE * S::F32_LANES);
            let mut all = [begin; BESIDE];
            for part in x.chunks(PART * inner) {
                let mut sums = [begin; BESIDE];
                for row in part.chunks_exact(inner) {
                    let row = &row[first + done..][..width];
                    if let [group, ..] = S::as_simd_f32s(row).0.as_chunks::<BESIDE>().0 {
                        for j in 0..BESIDE {
                            sums[j] = join(sums[j], map(group[j]));
                        }
                    } else {
                        for (sum, v) in sums.iter_mut().zip(row.chunks(S::F32_LANES)) {
                            *sum = join(*sum, map(load(simd, v)));
                        }
                    }
                }
                for j in 0..BESIDE {
                    all[j] = join(all[j], sums[j]);
                }
            }
            for (y, all) in y[done..done + width].chunks_mut(S::F32_LANES).zip(all) {
                store(simd, y, all);
                y.iter_mut().for_each(|y| *y = finish(*y));
            }
            done += width;
        }
    }
}

/// At most a vector of elements, mapped, and `start` where there are fewer.
#[inline(always)]
fn mapped<S: Simd>(simd: S, from: &[f32], map: impl Fn(S::f32s) -> S::f32s, start: f32) -> S::f32s {
    let mut v = [map(load(simd, from))];
    bytemuck::cast_slice_mut::<S::f32s, f32>(&mut v)[from.len()..].fill(start);
    v[0]
}
