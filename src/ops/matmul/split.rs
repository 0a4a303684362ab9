//! Products whose grid is too small for the device while k is long: k is split over workgroups ("split-K"), whose sums a
//! second dispatch adds, always in the same order.
//!
//! From which k on, and into how many parts at most, is what ggml's Vulkan backend does: from 2,048 on, parts of 256 at
//! least, eight of them at most, where the grid fills less than half of the units. What a part costs beside its work is
//! counted: the planner chooses. A software adapter's units are the host's threads, which any grid fills: there it is not
//! offered.

use super::tiles::{Tiles, batch, epilogue, idle, sizes};
use super::weights::Numbers;
use super::{Epilogue, Product};
use crate::kernel::{Binding, DeviceFacts, Dispatch, Kernel, Storage};

/// The least k that is split.
const LONG: usize = 2048;
/// The least of it that is a part.
const PART: usize = 256;
/// Parts at most.
const PARTS: usize = 8;
const WORKGROUP: u32 = 64;

/// Into how many parts sums of so many products are split at most, where so many workgroups would run undivided; `None` where
/// they are not.
pub(in crate::ops) fn parts(k: usize, workgroups: u32, device: &DeviceFacts) -> Option<usize> {
    let wanted = device.busy_workgroups / workgroups.max(1);
    let parts = (wanted as usize).min(k / PART).min(PARTS);
    (k >= LONG && parts > 1).then_some(parts)
}

/// A product cut along k.
pub(super) struct Split {
    pub name: &'static str,
    kernel: Kernel,
    grid: [u32; 3],
    /// Units of k of a part, a multiple of four.
    part: usize,
    parts: usize,
    /// Its time, as that of [`Tiles`].
    pub operations: f64,
}

impl Split {
    /// The parts that suit a device, if there are several.
    pub fn of(tiles: &Tiles, p: &Product, numbers: Option<&Numbers>, device: &DeviceFacts) -> Option<Self> {
        let name = match tiles.name {
            "vector" => "vector, split",
            "register" => "register, split",
            "workgroup" => "workgroup, split",
            _ => return None,
        };
        let [x, y, _] = tiles.grid;
        let parts = parts(p.k, x.saturating_mul(y), device).filter(|_| p.batch.is_empty())?;
        let kernel = tiles.kernel.clone().define("SPLIT", 1);
        let (kernel, unit) = match numbers {
            Some(numbers) => (numbers.define(kernel), numbers.unit(&tiles.kernel)),
            None => (kernel, 1),
        };
        let part = p.k.div_ceil(4).div_ceil(parts).next_multiple_of(4).next_multiple_of(unit);
        let parts = p.k.div_ceil(4).div_ceil(part);
        let grid = [x, y, u32::try_from(parts).ok()?];
        let operations = tiles.operations * idle(grid, device) / idle(tiles.grid, device);
        Some(Self { name, kernel, grid, part, parts, operations })
    }

    /// Units of all sums.
    pub fn units(&self, p: &Product) -> u64 {
        (self.parts * p.m * p.n.div_ceil(4)) as u64
    }

    /// The sums of each part, from A and B (whose steps between panels and rows are given where it has such) to the first
    /// scratch memory, in 32 bits.
    pub fn partial(
        &self,
        p: &Product,
        [a, b]: [(Binding, Storage); 2],
        panels: Option<[usize; 2]>,
        numbers: Option<&Numbers>,
    ) -> Dispatch {
        let dispatch = Dispatch::of(self.kernel.clone().define("BIAS", 0))
            .bind(a.0, a.1)
            .bind(b.0, b.1)
            .bind(Binding::Scratch(0), Storage::F32);
        let dispatch = sizes(dispatch, p, panels);
        let dispatch = numbers.map_or(dispatch.clone(), |numbers| numbers.places(dispatch));
        let dispatch = batch(epilogue(dispatch, &Epilogue::PLAIN), p, 0, 0);
        let [x, y, z] = self.grid;
        dispatch.param("part", self.part).workgroups(x, y, z)
    }

    /// What adds them: operands of `matmul/finish`, the result and the epilogue are left to bind and set.
    pub fn join(&self, p: &Product, device: &DeviceFacts) -> Dispatch {
        let n4 = p.n.div_ceil(4);
        Dispatch::of(Kernel::of("matmul/join.wgsl").define("SWITCHED", 1))
            .bind(Binding::Scratch(0), Storage::F32)
            .param("units", p.m * n4)
            .param("n4", n4)
            .param("parts", self.parts)
            .linear((p.m * n4) as u64, WORKGROUP, device)
    }
}
