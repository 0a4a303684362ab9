//! Sums of products along any dimensions of one or two tensors, each read by strides of its own: what Einsum and the steps
//! of Attention are made of.

use crate::kernel::{Binding, DeviceFacts, Dispatch, Kernel, Storage};

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;
/// Dimensions that the kernel has names for.
const NAMES: [[&str; 6]; 8] = [
    ["size0", "a_step0", "b_step0", "terms0", "a_term0", "b_term0"],
    ["size1", "a_step1", "b_step1", "terms1", "a_term1", "b_term1"],
    ["size2", "a_step2", "b_step2", "terms2", "a_term2", "b_term2"],
    ["size3", "a_step3", "b_step3", "terms3", "a_term3", "b_term3"],
    ["size4", "a_step4", "b_step4", "terms4", "a_term4", "b_term4"],
    ["size5", "a_step5", "b_step5", "terms5", "a_term5", "b_term5"],
    ["size6", "a_step6", "b_step6", "terms6", "a_term6", "b_term6"],
    ["size7", "a_step7", "b_step7", "terms7", "a_term7", "b_term7"],
];

/// A dimension: its size, and the distance between neighbours along it in each of the two tensors, in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axis {
    pub size: usize,
    pub a: usize,
    pub b: usize,
}

impl Axis {
    pub const fn new(size: usize, a: usize, b: usize) -> Self {
        Self { size, a, b }
    }
}

/// `y[o] = scale · Σ_s a[o, s] · b[o, s]`, all dimensions with the outermost first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Contraction {
    /// The dimensions of the result.
    pub kept: Vec<Axis>,
    /// Those that are summed.
    pub summed: Vec<Axis>,
    /// The result's factor.
    pub scale: Option<f32>,
    /// Whether the result's rows are padded to whole units.
    pub padded: bool,
}

/// A buffer and what its elements are stored as.
pub(super) type Place = (Binding, Storage);

impl Contraction {
    /// The dispatch, or `None` where the result is empty.
    ///
    /// # Errors
    /// If there are more dimensions or elements than the kernel can count.
    pub fn dispatch(
        &self,
        a: Place,
        b: Option<Place>,
        y: Place,
        device: &DeviceFacts,
    ) -> Result<Option<Dispatch>, String> {
        let large = || "it is too large".to_owned();
        let last = self.kept.last().map_or(1, |axis| axis.size);
        let pitch = if self.padded { last.next_multiple_of(4) } else { last };
        let outer = self.kept.split_last().map_or(&[][..], |(_, outer)| outer);
        let count = outer.iter().try_fold(pitch, |n, axis| n.checked_mul(axis.size)).ok_or_else(large)?;
        u32::try_from(count).map_err(|_| large())?;
        if count == 0 {
            return Ok(None);
        }
        // A padded row is no part of a longer one.
        let kept = if self.padded {
            let mut kept = merged(outer);
            kept.extend(self.kept.last());
            kept
        } else {
            merged(&self.kept)
        };
        let summed = merged(&self.summed);
        let (out, sum) = (kept.len().max(1), summed.len().max(1));
        if out > NAMES.len() || sum > NAMES.len() {
            return Err("it has more dimensions than its kernel".to_owned());
        }
        let pair = b.is_some();
        let kernel = Kernel::of("matmul/contract.wgsl")
            .define("WORKGROUP", WORKGROUP)
            .define("OUT", out as i64)
            .define("SUM", sum as i64)
            .define("PAIR", pair)
            .define("SCALED", self.scale.is_some());
        let mut dispatch = Dispatch::of(kernel).bind(a.0, a.1);
        if let Some(b) = b {
            dispatch = dispatch.bind(b.0, b.1);
        }
        let inner = summed.last().map_or(1, |axis| axis.size);
        let terms = summed.iter().try_fold(1usize, |n, axis| n.checked_mul(axis.size)).ok_or_else(large)?;
        u32::try_from(terms).map_err(|_| large())?;
        // Merged rows are as long as all that they are made of.
        let pitch = if self.padded { pitch } else { kept.last().map_or(1, |axis| axis.size) };
        let units = count.div_ceil(4);
        dispatch = dispatch
            .bind(y.0, y.1)
            .param("units", units)
            .param("elements", count)
            .param("pitch", pitch)
            .param("outer", terms.checked_div(inner).unwrap_or(0));
        if let Some(scale) = self.scale {
            dispatch = dispatch.param("scale", scale);
        }
        let one = Axis::new(1, 0, 0);
        for (axes, first, count) in [(&kept, 0, out), (&summed, 3, sum)] {
            let inner_first = axes.iter().rev().copied().chain(std::iter::repeat(one));
            for (names, axis) in NAMES[..count].iter().zip(inner_first) {
                dispatch = dispatch.param(names[first], axis.size).param(names[first + 1], axis.a);
                if pair {
                    dispatch = dispatch.param(names[first + 2], axis.b);
                }
            }
        }
        Ok(Some(dispatch.linear(units as u64, WORKGROUP, device)))
    }

    /// Multiplications and additions.
    pub fn work(&self) -> f64 {
        2.0 * self.kept.iter().chain(&self.summed).map(|axis| axis.size as f64).product::<f64>()
    }
}

/// The same walk with as few dimensions as possible.
fn merged(axes: &[Axis]) -> Vec<Axis> {
    let mut all: Vec<Axis> = vec![];
    for &axis in axes.iter().filter(|axis| axis.size != 1) {
        match all.last_mut() {
            Some(outer)
                if axis.a.checked_mul(axis.size) == Some(outer.a) && axis.b.checked_mul(axis.size) == Some(outer.b) =>
            {
                *outer = Axis { size: outer.size.saturating_mul(axis.size), ..axis };
            }
            _ => all.push(axis),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_that_are_walked_as_one_are_merged() {
        let axes = [Axis::new(2, 60, 0), Axis::new(3, 20, 0), Axis::new(1, 7, 7), Axis::new(20, 1, 1)];
        assert_eq!(merged(&axes), [Axis::new(6, 20, 0), Axis::new(20, 1, 1)]);
        assert_eq!(merged(&[Axis::new(4, 5, 2), Axis::new(5, 1, 0)]).len(), 2);
        assert_eq!(merged(&[]), []);
    }
}
