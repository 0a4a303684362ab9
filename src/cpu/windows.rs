//! Planes copied such that each element of a sliding window reads a dense stretch.
//!
//! A plane is copied once, its padding added, and split by the strides: with a stride of 2, into planes of the even and
//! odd rows and columns. Then output (y, x) finds every element of its window at `y · pitch + x` from a place of the
//! element's own, the same for all outputs.

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
    /// Rows of a phase, and the distance between them.
    rows: usize,
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
        let mut windows = Self { height, width, phases: vec![], rows, pitch, taps: vec![] };
        for y in (0..height.kernel).map(|k| k * height.dilation) {
            for x in (0..width.kernel).map(|k| k * width.dilation) {
                let phase = Phase { row: y % height.stride, column: x % width.stride };
                let index = windows.phases.iter().position(|p| *p == phase).unwrap_or_else(|| {
                    windows.phases.push(phase);
                    windows.phases.len() - 1
                });
                windows.taps.push((index * rows + y / height.stride) * pitch + x / width.stride);
            }
        }
        (windows.phases.len() * rows * pitch < 1 << 26).then_some(windows)
    }

    /// Elements of a plane's phases.
    pub const fn copied(&self) -> usize {
        self.phases.len() * self.rows * self.pitch
    }

    /// Copies a plane into phases, `fill` around it.
    #[inline(always)]
    pub fn copy(&self, x: &[f32], fill: f32, out: &mut [f32]) {
        let (h, w) = (&self.height, &self.width);
        for (phase, out) in self.phases.iter().zip(out.chunks_exact_mut(self.rows * self.pitch)) {
            // The columns that lie inside: from … to.
            let from = w.before.saturating_sub(phase.column).div_ceil(w.stride).min(self.pitch);
            let to = (w.input + w.before).saturating_sub(phase.column).div_ceil(w.stride).clamp(from, self.pitch);
            for (i, out) in out.chunks_exact_mut(self.pitch).enumerate() {
                let row = (i * h.stride + phase.row).wrapping_sub(h.before);
                if row >= h.input || from == to {
                    out.fill(fill);
                    continue;
                }
                out[..from].fill(fill);
                out[to..].fill(fill);
                let row = &x[row * w.input..][..w.input][from * w.stride + phase.column - w.before..];
                let out = &mut out[from..to];
                match w.stride {
                    1 => out.copy_from_slice(&row[..out.len()]),
                    2 => {
                        // Written so that the compiler sees pairs.
                        let (pairs, rest) = row.as_chunks::<2>();
                        for (out, pair) in out.iter_mut().zip(pairs) {
                            *out = pair[0];
                        }
                        if let ([last], Some(out)) = (rest, out.get_mut(pairs.len())) {
                            *out = *last;
                        }
                    }
                    stride => {
                        for (out, x) in out.iter_mut().zip(row.iter().step_by(stride)) {
                            *out = *x;
                        }
                    }
                }
            }
        }
    }
}
