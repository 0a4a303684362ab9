//! Tensors seen as lanes.

use half::f16;

use crate::graph::{EvaluateError, Request, ShapeError};
use crate::kernel::{Binding, Candidate, DeviceClass, DeviceFacts, Dispatch, Kernel, Layout, Storage};
use crate::tensor::shape::elements;
use crate::tensor::{Element, ElementType, Tensor};

/// Invocations of a workgroup.
pub(in crate::ops) const WORKGROUP: u32 = 64;

/// A dense tensor seen as lanes: element `i` of lane `(o, k)` lies at `(o · length + i) · inner + k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) struct Lanes {
    pub outer: usize,
    pub length: usize,
    pub inner: usize,
}

impl Lanes {
    /// The lanes along the dimensions `from .. to`.
    pub fn of(shape: &[usize], from: usize, to: usize) -> Result<Self, ShapeError> {
        let count = |dims: &[usize]| elements(dims).ok_or_else(|| ShapeError::new("its shape is too large"));
        // The whole is checked too, so that products of parts fit.
        count(shape)?;
        Ok(Self { outer: count(&shape[..from])?, length: count(&shape[from..to])?, inner: count(&shape[to..])? })
    }

    /// How many there are.
    pub const fn count(self) -> usize {
        self.outer.saturating_mul(self.inner)
    }

    /// The elements of all lanes.
    pub const fn elements(self) -> usize {
        self.count().saturating_mul(self.length)
    }
}

/// Lanes that consist of whole units, as `common/lanes` walks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) struct Groups {
    pub groups: usize,
    pub steps: usize,
    pub stride: usize,
    pub length: usize,
    pub columns: bool,
}

impl Groups {
    /// The lanes along the dimensions `from .. to` of a tensor in this layout, if no unit is shared between groups.
    pub fn of(shape: &[usize], from: usize, to: usize, layout: Layout) -> Option<Self> {
        let lanes = Lanes::of(shape, from, to).ok()?;
        if lanes.elements() == 0 {
            return None;
        }
        let columns = |groups, steps, stride| Self { groups, steps, stride, length: steps, columns: true };
        match layout.canonical(shape) {
            Layout::Rows if from + 1 == shape.len() => {
                let steps = lanes.length.div_ceil(4);
                Some(Self { groups: lanes.outer, steps, stride: 1, length: lanes.length, columns: false })
            }
            // A single row is followed by nothing but padding.
            Layout::Linear if lanes.inner == 1 && (lanes.length.is_multiple_of(4) || lanes.outer == 1) => {
                let steps = lanes.length.div_ceil(4);
                Some(Self { groups: lanes.outer, steps, stride: 1, length: lanes.length, columns: false })
            }
            Layout::Linear if lanes.inner.is_multiple_of(4) => {
                Some(columns(lanes.count() / 4, lanes.length, lanes.inner / 4))
            }
            // All positions of four channels.
            Layout::Channels4 if from == 2 && to == shape.len() => {
                Some(columns(shape[0] * shape[1].div_ceil(4), lanes.length, 1))
            }
            _ => None,
        }
    }

    /// Whether a whole workgroup should take each group.
    pub fn cooperative(self, device: &DeviceFacts) -> bool {
        cooperative(self.groups, self.steps, device)
    }

    /// The parameters that `common/lanes` has.
    pub fn params(self, dispatch: Dispatch) -> Dispatch {
        dispatch
            .param("groups", self.groups)
            .param("steps", self.steps)
            .param("stride", self.stride)
            .param("length", self.length)
    }

    /// The parameters, and an invocation or a workgroup for each group.
    pub fn dispatch(self, dispatch: Dispatch, device: &DeviceFacts) -> Dispatch {
        let each = if self.cooperative(device) { u64::from(WORKGROUP) } else { 1 };
        self.params(dispatch).linear(self.groups as u64 * each, WORKGROUP, device)
    }
}

/// Whether a workgroup rather than an invocation should take each of `count` lanes of `steps` steps. Software adapters
/// run invocations one after another and pay for barriers, so that only few long lanes are worth dividing there.
pub(super) fn cooperative(count: usize, steps: usize, device: &DeviceFacts) -> bool {
    match device.class {
        DeviceClass::Software => count < 16 && steps >= 1024,
        _ => steps >= 32 || (steps >= 8 && count < 512),
    }
}

/// Adds two dispatches for lanes that share units: `statistics` gives each lane a unit of two numbers, and `apply` takes
/// each unit of the input with those of its lanes.
pub(super) fn shared(
    mut candidate: Candidate,
    request: &Request<'_>,
    lanes: Lanes,
    statistics: Dispatch,
    apply: Kernel,
) -> Result<Candidate, String> {
    let (read, written) = (request.storage(0)?, request.output_storage(0)?);
    let together = cooperative(lanes.count(), lanes.length / 4, request.device);
    let each = if together { u64::from(WORKGROUP) } else { 1 };
    let (groups, steps, stride) = (lanes.count(), lanes.length, lanes.inner);
    let mut statistics = Groups { groups, steps, stride, length: steps, columns: true }
        .params(statistics.bind(Binding::Input(0), read).bind(Binding::Scratch(0), Storage::F32))
        .linear(groups as u64 * each, WORKGROUP, request.device);
    statistics.kernel = statistics
        .kernel
        .define("WORKGROUP", WORKGROUP)
        .define("COLUMNS", true)
        .define("SINGLE", true)
        .define("COOPERATIVE", together);
    let units = lanes.elements().div_ceil(4);
    let apply = Dispatch::of(apply.define("WORKGROUP", WORKGROUP))
        .bind(Binding::Input(0), read)
        .bind(Binding::Scratch(0), Storage::F32)
        .bind(Binding::Output(0), written)
        .param("units", units)
        .param("elements", lanes.elements())
        .param("length", lanes.length)
        .param("inner", lanes.inner)
        .linear(units as u64, WORKGROUP, request.device);
    candidate.scratch.push((groups as u64, Storage::F32));
    Ok(candidate.dispatch(statistics).dispatch(apply))
}

/// Replaces each lane of a floating-point tensor by what `f` makes of it (and of its number), in 64 bits.
pub(super) fn map_lanes(x: &Tensor, lanes: Lanes, f: impl FnMut(usize, &mut [f64])) -> Result<Tensor, EvaluateError> {
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the element type is what is meant")]
    match x.element_type() {
        ElementType::F32 => mapped(x, lanes, |v: f32| v.into(), |v| v as f32, f),
        ElementType::F16 => mapped(x, lanes, |v: f16| v.to_f64(), f16::from_f64, f),
        ElementType::F64 => mapped(x, lanes, |v: f64| v, |v| v, f),
        other => Err(ShapeError::new(format!("it takes floating-point numbers, not {other}")).into()),
    }
}

fn mapped<T: Element>(
    x: &Tensor,
    lanes: Lanes,
    read: impl Fn(T) -> f64,
    write: impl Fn(f64) -> T,
    mut f: impl FnMut(usize, &mut [f64]),
) -> Result<Tensor, EvaluateError> {
    let mut y = x.as_slice::<T>()?.to_vec();
    if y.is_empty() {
        return Ok(x.clone());
    }
    let mut lane = vec![0.0; lanes.length];
    for (o, block) in y.chunks_mut(lanes.length * lanes.inner).enumerate() {
        for k in 0..lanes.inner {
            let places = || (k..lanes.length * lanes.inner).step_by(lanes.inner);
            lane.iter_mut().zip(places()).for_each(|(v, at)| *v = read(block[at]));
            f(o * lanes.inner + k, &mut lane);
            lane.iter().zip(places()).for_each(|(v, at)| block[at] = write(*v));
        }
    }
    Ok(Tensor::new(x.shape(), y)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_walked_in_every_direction() {
        let x = Tensor::new([2, 3, 2], (0..12).map(|i| i as f32).collect()).unwrap();
        let sums = |from, to| {
            let lanes = Lanes::of(x.shape(), from, to).unwrap();
            let mut sums = vec![0.0; lanes.count()];
            map_lanes(&x, lanes, |n, lane| sums[n] = lane.iter().sum()).unwrap();
            sums
        };
        assert_eq!(sums(1, 2), [6.0, 9.0, 24.0, 27.0]);
        assert_eq!(sums(2, 3), [1.0, 5.0, 9.0, 13.0, 17.0, 21.0]);
        assert_eq!(sums(0, 2), [30.0, 36.0]);
        assert!(Lanes::of(&[usize::MAX, 2], 0, 1).is_err());
    }
}
