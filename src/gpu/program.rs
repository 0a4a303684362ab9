//! A schedule as it is run: segments of work that the device does without the host, and host nodes between them.

use crate::graph::{NodeId, ValueId};
use crate::kernel::{Layout, units};
use crate::plan::{Bound, Region, Schedule, SlotId, Step};

/// A value that crosses between host and device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The value.
    pub value: ValueId,
    /// Where it lies on the device.
    pub slot: SlotId,
    /// Where it lies in the segment's staging buffer.
    pub staging: u64,
    /// Bytes in whole units; 0 for an empty value, which is not moved at all.
    pub size: u64,
}

/// One command of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Copies [`Segment::uploads`] of this index to its slot.
    Upload(usize),
    /// Runs the dispatch that is the schedule's step of this index.
    Dispatch(usize),
    /// Copies [`Segment::downloads`] of this index from its slot.
    Download(usize),
}

/// Work that the device does without the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segment {
    pub ops: Vec<Op>,
    pub uploads: Vec<Transfer>,
    pub downloads: Vec<Transfer>,
    /// Bytes of the staging buffers.
    pub upload_bytes: u64,
    pub download_bytes: u64,
    /// Behind the last command of each submission, of which there is one unless it would take too long.
    pub ends: Vec<usize>,
    /// The same of a run that may be interrupted.
    pub short_ends: Vec<usize>,
}

/// What a run does, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Runs a node on the host.
    Host(NodeId),
    /// Submits the segment of this index.
    Device(usize),
}

/// A schedule as it is run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Program {
    pub phases: Vec<Phase>,
    pub segments: Vec<Segment>,
}

impl Program {
    /// Splits a schedule. `writes(step, binding)` tells whether a dispatch writes what it binds there.
    pub fn new(schedule: &Schedule, writes: impl Fn(usize, usize) -> bool) -> Self {
        let mut program = Self::default();
        let mut open = Segment::default();
        for (i, step) in schedule.steps.iter().enumerate() {
            match step {
                Step::Upload(slot) => {
                    open.ops.push(Op::Upload(open.uploads.len()));
                    let transfer = transfer(schedule, *slot, &mut open.upload_bytes);
                    open.uploads.push(transfer);
                }
                Step::Download(slot) => {
                    open.ops.push(Op::Download(open.downloads.len()));
                    let transfer = transfer(schedule, *slot, &mut open.download_bytes);
                    open.downloads.push(transfer);
                }
                Step::Dispatch(dispatch) => {
                    if !dispatch.workgroups.contains(&0) {
                        open.ops.push(Op::Dispatch(i));
                    }
                }
                Step::Host(host) => {
                    let node = schedule.graph.node(host.node);
                    let reads = |value: ValueId| node.inputs.iter().flatten().any(|&input| input == value);
                    // A node that reads nothing of what is being computed need not wait for it: it comes first.
                    if open.downloads.iter().any(|t| reads(t.value)) {
                        program.close(&mut open, schedule, &writes);
                    }
                    program.phases.push(Phase::Host(host.node));
                }
            }
        }
        program.close(&mut open, schedule, &writes);
        program
    }

    fn close(&mut self, open: &mut Segment, schedule: &Schedule, writes: &impl Fn(usize, usize) -> bool) {
        let mut segment = std::mem::take(open);
        if segment.ops.is_empty() {
            return;
        }
        segment.gather(schedule, writes);
        self.phases.push(Phase::Device(self.segments.len()));
        self.segments.push(segment);
    }

    /// Whether one submission does it all.
    pub fn is_one_submission(&self) -> bool {
        matches!(self.phases.as_slice(), [] | [Phase::Device(_)])
    }
}

fn transfer(schedule: &Schedule, slot: SlotId, staged: &mut u64) -> Transfer {
    let lies = &schedule.slots[slot.0];
    let size = units(&lies.shape, Layout::Linear).unwrap_or(0).saturating_mul(lies.storage.unit_bytes());
    let staging = *staged;
    // What stays where it is crosses nothing.
    if schedule.held.iter().any(|held| held.buffer == lies.region.buffer) {
        return Transfer { value: lies.value, slot, staging, size };
    }
    // Maps and copies begin at multiples of 8 and 4.
    *staged = staging.saturating_add(size).next_multiple_of(16);
    Transfer { value: lies.value, slot, staging, size }
}

impl Segment {
    /// Brings uploads to the front and downloads to the end where no memory is used otherwise meanwhile, so that the
    /// dispatches between them are one compute pass.
    fn gather(&mut self, schedule: &Schedule, writes: &impl Fn(usize, usize) -> bool) {
        for i in 0..self.ops.len() {
            if let Op::Upload(k) = self.ops[i] {
                let region = schedule.slots[self.uploads[k].slot.0].region;
                let front = self.ops[..i].iter().take_while(|op| matches!(op, Op::Upload(_))).count();
                if !self.ops[front..i].iter().any(|&op| self.touches(schedule, op, region, None)) {
                    self.ops[front..=i].rotate_right(1);
                }
            }
        }
        for i in (0..self.ops.len()).rev() {
            if let Op::Download(k) = self.ops[i] {
                let region = schedule.slots[self.downloads[k].slot.0].region;
                let back = self.ops.iter().rposition(|op| !matches!(op, Op::Download(_))).unwrap_or(0);
                let written = |&op: &Op| self.touches(schedule, op, region, Some(writes));
                if back > i && !self.ops[i + 1..=back].iter().any(written) {
                    self.ops[i..=back].rotate_left(1);
                }
            }
        }
    }

    /// Whether a command uses any byte of a region, or, where `writes` is given, writes it.
    fn touches(
        &self,
        schedule: &Schedule,
        op: Op,
        region: Region,
        writes: Option<&dyn Fn(usize, usize) -> bool>,
    ) -> bool {
        match op {
            Op::Upload(k) => meet(schedule.slots[self.uploads[k].slot.0].region, region),
            Op::Download(k) => writes.is_none() && meet(schedule.slots[self.downloads[k].slot.0].region, region),
            Op::Dispatch(step) => regions(schedule, step)
                .any(|(i, bound)| meet(bound, region) && writes.is_none_or(|writes| writes(step, i))),
        }
    }
}

/// The memory that a dispatch binds, each with the binding's index.
pub fn regions(schedule: &Schedule, step: usize) -> impl Iterator<Item = (usize, Region)> {
    let bindings = match &schedule.steps[step] {
        Step::Dispatch(dispatch) => dispatch.bindings.as_slice(),
        _ => &[],
    };
    bindings.iter().enumerate().filter_map(|(i, bound)| match bound {
        Bound::Slot(slot) => Some((i, schedule.slots[slot.0].region)),
        Bound::Scratch(region) => Some((i, *region)),
        Bound::Constant(_) => None,
    })
}

/// Whether two regions share a byte.
pub fn meet(a: Region, b: Region) -> bool {
    a.buffer == b.buffer && a.offset < b.offset.saturating_add(b.size) && b.offset < a.offset.saturating_add(a.size)
}
