//! Planes copied such that each element of a sliding window reads a dense stretch.
//!
//! A plane is copied once, its padding added, and split by the strides: with a stride of 2, into planes of the even and
//! odd rows and columns. Then output (y, x) finds every element of its window at `y · pitch + x` from a place of the
//! element's own, the same for all outputs.

use pulp::Simd;

use super::simd::{load, store};
use crate::ops::window::{Axis, three};

/// A plane's part of one phase of the strides: every `stride`-th row and column from `(row, column)` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Phase {
    row: usize,
    column: usize,
}

/// Where the windows lie.
#[derive(Debug)]
pub(super) struct Windows {
    pub height: Axis,
    pub width: Axis,
    phases: Vec<Phase>,
    /// Rows of the output that are made of one copy.
    pub band: usize,
    /// Rows of a phase that one row of the output sees, and the distance between rows.
    seen: usize,
    pub pitch: usize,
    /// For each element of the kernel, where it begins in the phases, which follow each other.
    pub taps: Vec<usize>,
}

impl Windows {
    /// `None` where copies with padding would be out of proportion, or there are three axes.
    pub fn new(axes: &[Axis]) -> Option<Self> {
        let [Axis::ONE, height, width] = three(axes)? else { return None };
        let extent = |axis: &Axis| {
            let reach = axis.kernel.checked_sub(1)?.checked_mul(axis.dilation)?;
            axis.output.checked_sub(1)?.checked_mul(axis.stride)?.checked_add(reach)?.checked_add(1)
        };
        let (rows, pitch) = (extent(&height)?.div_ceil(height.stride), extent(&width)?.div_ceil(width.stride));
        let near = |padded: usize, axis: &Axis| padded <= 4 * (axis.input + axis.output) + 64;
        if height.kernel * width.kernel > 1024 || !near(rows, &height) || !near(pitch, &width) {
            return None;
        }
        let (band, seen) = (height.output, rows - (height.output - 1));
        let mut windows = Self { height, width, phases: vec![], band, seen, pitch, taps: vec![] };
        windows.place();
        (windows.phases.len() * rows * pitch < 1 << 26).then_some(windows)
    }

    /// The same with copies of a part of a plane's rows, of about as many elements at most.
    #[must_use]
    pub fn in_bands(mut self, elements: usize) -> Self {
        let rows = elements / (self.phases.len() * self.pitch).max(1);
        // What bands have in common is copied for each.
        let most = (rows + 1).saturating_sub(self.seen).max(4 * self.seen).min(self.height.output);
        self.band = self.height.output.div_ceil(self.height.output.div_ceil(most));
        self.place();
        self
    }

    /// Finds the phases and where each element of the kernel begins in them.
    fn place(&mut self) {
        let (height, width) = (self.height, self.width);
        self.taps.clear();
        for y in (0..height.kernel).map(|k| k * height.dilation) {
            for x in (0..width.kernel).map(|k| k * width.dilation) {
                let phase = Phase { row: y % height.stride, column: x % width.stride };
                let index = self.phases.iter().position(|p| *p == phase).unwrap_or_else(|| {
                    self.phases.push(phase);
                    self.phases.len() - 1
                });
                self.taps.push((index * self.rows() + y / height.stride) * self.pitch + x / width.stride);
            }
        }
    }

    /// Rows of a phase.
    const fn rows(&self) -> usize {
        self.band - 1 + self.seen
    }

    /// Elements of a plane's phases.
    pub const fn copied(&self) -> usize {
        self.phases.len() * self.rows() * self.pitch
    }

    /// Copies what `count` rows of the output from `first` on see of the plane that `x` begins with into phases, `fill`
    /// around it.
    #[inline(always)]
    pub fn copy<S: Simd>(&self, simd: S, x: &[f32], [first, count]: [usize; 2], fill: f32, out: &mut [f32]) {
        let (h, w) = (&self.height, &self.width);
        for (phase, out) in self.phases.iter().zip(out.chunks_exact_mut(self.rows() * self.pitch)) {
            // The columns that lie inside: from … to.
            let from = w.before.saturating_sub(phase.column).div_ceil(w.stride).min(self.pitch);
            let to = (w.input + w.before).saturating_sub(phase.column).div_ceil(w.stride).clamp(from, self.pitch);
            // The rows that lie inside: after so many above the plane.
            let above = h.before.saturating_sub(first * h.stride + phase.row).div_ceil(h.stride);
            let inside = (h.input + h.before).saturating_sub(first * h.stride + phase.row).div_ceil(h.stride);
            let rows = count - 1 + self.seen;
            let (above, inside) = if from < to { (above.min(rows), inside.min(rows)) } else { (rows, rows) };
            surround(simd, out, above * self.pitch + from, fill);
            if above < inside {
                let row = (first + above) * h.stride + phase.row - h.before;
                let mut at = row * w.input + from * w.stride + phase.column - w.before;
                // A row, and what lies between it and the next: what is too much is written over by what comes after it.
                for row in above..inside {
                    let out = &mut out[row * self.pitch + from..];
                    pick(simd, &x[at..], w.stride, out, to - from);
                    surround(simd, &mut out[to - from..], self.pitch - to + from, fill);
                    at += h.stride * w.input;
                }
            }
            let below = inside.max(above) * self.pitch + from;
            if let Some(rest) = (rows * self.pitch).checked_sub(below) {
                surround(simd, &mut out[below..], rest, fill);
            }
        }
    }

    /// Copies what the output sees of a plane of bytes into phases, some bits of each flipped, `fill` around it.
    #[inline(always)]
    pub fn copy_bytes(&self, x: &[u8], flip: u8, fill: u8, out: &mut [u8]) {
        let (h, w) = (&self.height, &self.width);
        out.fill(fill);
        for (phase, out) in self.phases.iter().zip(out.chunks_exact_mut(self.rows() * self.pitch)) {
            let from = w.before.saturating_sub(phase.column).div_ceil(w.stride).min(self.pitch);
            let to = (w.input + w.before).saturating_sub(phase.column).div_ceil(w.stride).clamp(from, self.pitch);
            if from == to {
                continue;
            }
            let begin = from * w.stride + phase.column - w.before;
            for (row, out) in out.chunks_exact_mut(self.pitch).enumerate() {
                let inside = (row * h.stride + phase.row).checked_sub(h.before).filter(|&row| row < h.input);
                let Some(row) = inside else { continue };
                let (x, out) = (&x[row * w.input + begin..], &mut out[from..to]);
                match w.stride {
                    1 => out.iter_mut().zip(x).for_each(|(out, x)| *out = x ^ flip),
                    2 => {
                        out.iter_mut().zip(x.as_chunks::<2>().0).for_each(|(out, x)| *out = x[0] ^ flip);
                        // The last one may have no neighbour.
                        out[to - from - 1] = x[2 * (to - from - 1)] ^ flip;
                    }
                    stride => out.iter_mut().zip(x.iter().step_by(stride)).for_each(|(out, x)| *out = x ^ flip),
                }
            }
        }
    }
}

/// Fills the first `length` elements, and a few after them where there are any.
#[inline(always)]
fn surround<S: Simd>(simd: S, out: &mut [f32], length: usize, fill: f32) {
    match out.get_mut(..length.next_multiple_of(S::F32_LANES)) {
        Some(out) => S::as_mut_simd_f32s(out).0.fill(simd.splat_f32s(fill)),
        None => {
            let length = length.min(out.len());
            out[..length].fill(fill);
        }
    }
}

/// Copies every `stride`-th element until there are `length`, and perhaps a few more.
#[inline(always)]
fn pick<S: Simd>(simd: S, x: &[f32], stride: usize, out: &mut [f32], length: usize) {
    let wide = length.next_multiple_of(S::F32_LANES);
    match (stride, x.get(..wide * stride), out.get_mut(..wide)) {
        (1, Some(x), Some(out)) => {
            for (out, x) in out.chunks_exact_mut(S::F32_LANES).zip(x.chunks_exact(S::F32_LANES)) {
                store(simd, out, load(simd, x));
            }
        }
        (2, Some(x), Some(out)) => {
            // Written so that the compiler sees that vectors are shuffled.
            let pairs = S::as_simd_f32s(x).0.as_chunks::<2>().0;
            for (out, pair) in S::as_mut_simd_f32s(out).0.iter_mut().zip(pairs) {
                let pair = pair.map(|v| simd.or_f32s(v, simd.splat_f32s(0.0)));
                let mut picked = [simd.splat_f32s(0.0)];
                let from: &[f32] = bytemuck::cast_slice(&pair);
                for (i, to) in bytemuck::cast_slice_mut::<S::f32s, f32>(&mut picked).iter_mut().enumerate() {
                    *to = from[2 * i];
                }
                *out = picked[0];
            }
        }
        _ => out[..length].iter_mut().zip(x.iter().step_by(stride)).for_each(|(out, x)| *out = *x),
    }
}
