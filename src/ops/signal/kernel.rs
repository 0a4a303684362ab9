//! The kernel of DFT and STFT: the sums as they are defined, by a table of the roots of unity.

use super::fourier::root;
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Storage, Want};
use crate::ops::gather_elements::countable;
use crate::ops::remap::table;
use crate::ops::strided::WORKGROUP;

/// Terms that a kernel may add: beyond these a fast transform on the host is sooner done.
const TERMS: f64 = 4e9;
/// The longest transform: its roots are a constant.
const LONGEST: usize = 1 << 20;

/// Transforms of one length, of frames of a signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Frames {
    /// Values of the signal from one batch to the next.
    pub batch_step: usize,
    /// Frames of each batch.
    pub frames: usize,
    /// Values from one frame to the next.
    pub frame_step: usize,
    /// Signals that lie side by side: values from one term to the next.
    pub inner: usize,
    /// Terms of each sum: what the signal has, zeros beyond them left out.
    pub terms: usize,
    /// The transform's length.
    pub length: usize,
    /// Results of each frame.
    pub bins: usize,
    /// Whether the signal has imaginary parts.
    pub complex: bool,
    /// Whether it is the inverse transform, scaled by its length.
    pub inverse: bool,
    /// Whether the signal is one half of a symmetric spectrum, and the result real.
    pub real: bool,
}

impl Frames {
    /// The candidate that reads the signal from input 0, its weights from input `window`, and writes output 0.
    pub(super) fn candidates(&self, request: &Request<'_>, window: Option<usize>) -> Candidates {
        let (from, to) = (request.storage(0)?, request.output_storage(0)?);
        countable(&request.shape(0)?)?;
        let elements = countable(&request.output_shape(0)?)?;
        let mut wants = vec![Want::Nothing; request.inputs.len()];
        wants[0] = Want::In(Layout::Linear);
        if let Some(window) = window {
            wants[window] = Want::In(Layout::Linear);
        }
        let candidate = Candidate::new("sums", wants, vec![Layout::Linear]);
        if elements == 0 {
            return Ok(vec![candidate]);
        }
        let terms = elements as f64 * self.terms as f64;
        if self.length > LONGEST || terms > TERMS {
            return Err("its kernel would add too many terms".to_owned());
        }
        #[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
        let roots = (0..self.length).flat_map(|k| root(k, self.length, self.inverse)).map(|v| v as f32).collect();
        let kernel = Kernel::of("signal/dft.wgsl")
            .define("WORKGROUP", WORKGROUP)
            .define("COMPLEX", self.complex)
            .define("REAL", self.real)
            .define("WINDOW", window.is_some());
        let units = elements.div_ceil(4);
        let mut dispatch = Dispatch::of(kernel)
            .param("units", units)
            .param("elements", elements)
            .param("bins", self.bins)
            .param("inner", self.inner)
            .param("frames", self.frames)
            .param("batch_step", self.batch_step)
            .param("frame_step", self.frame_step)
            .param("terms", self.terms)
            .param("length", self.length)
            .param("scale", if self.inverse { 1.0 / self.length as f32 } else { 1.0 })
            .bind(Binding::Input(0), from)
            .bind(table(roots, Storage::F32), Storage::F32);
        if let Some(window) = window {
            dispatch = dispatch.bind(Binding::Input(window), request.storage(window)?);
        }
        let dispatch = dispatch.bind(Binding::Output(0), to).linear(units as u64, WORKGROUP, request.device);
        Ok(vec![candidate.cost(terms * 4.0, terms * 4.0).dispatch(dispatch)])
    }
}
