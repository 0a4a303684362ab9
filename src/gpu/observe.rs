//! Runs that are watched: every value on the device is read back as soon as it is complete.

use super::program::{Op, Phase, meet, regions};
use super::wait::{Staging, Wait};
use super::{GpuSession, elements};
use crate::error::RunError;
use crate::kernel::assemble::Access;
use crate::kernel::unpack;
use crate::plan::{Bound, Schedule, Slot, SlotId, Step};
use crate::tensor::Tensor;

impl GpuSession {
    /// Runs command by command and hands every value that lies on the device to `observe` as soon as it is complete, in
    /// ONNX's order whatever its layout. Slow, and it allocates: for finding out where a run goes wrong.
    ///
    /// # Errors
    /// As a run.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_observed(&mut self, observe: impl FnMut(&Slot, Tensor)) -> Result<(), RunError> {
        let wait = self.bound();
        super::wait::now(self.observed(observe, &wait))
    }

    /// [`GpuSession::run_observed`], for callers that must not block.
    ///
    /// # Errors
    /// As a run.
    pub async fn run_observed_async(&mut self, observe: impl FnMut(&Slot, Tensor)) -> Result<(), RunError> {
        let wait = self.giving_back();
        self.observed(observe, &wait).await
    }

    async fn observed(&mut self, mut observe: impl FnMut(&Slot, Tensor), wait: &Wait) -> Result<(), RunError> {
        self.prepare(wait).await?;
        let engine = self.engine().clone();
        let inner = engine.inner();
        let (device, schedule) = (&inner.device, &inner.schedule);
        let writes = |step: usize, binding: usize| match &schedule.steps[step] {
            Step::Dispatch(dispatch) => inner.pipelines[dispatch.kernel].buffers[binding].access != Access::Read,
            _ => false,
        };
        for phase in &inner.program.phases {
            let index = match *phase {
                Phase::Host(node) => {
                    self.host(node)?;
                    continue;
                }
                Phase::Device(index) => index,
            };
            self.stage(index)?;
            let segment = &inner.program.segments[index];
            self.unmap_upload(index);
            for (i, &op) in segment.ops.iter().enumerate() {
                let complete = completed(schedule, &segment.ops, i, &writes, |op| match op {
                    Op::Upload(k) => Some(segment.uploads[k].slot),
                    _ => None,
                });
                let slots = complete.into_iter().map(|slot| &schedule.slots[slot.0]);
                let slots: Vec<&Slot> = slots.filter(|slot| slot.region.size > 0).collect();
                let (submission, stagings) = device
                    .guarded("a watched run", || {
                        let mut encoder = self.encode_alone(index, op);
                        let stagings: Vec<_> = slots
                            .iter()
                            .zip(self.memory.iter().cycle())
                            .map(|(slot, memory)| {
                                let staging = Staging::download(device, slot.region.size);
                                let from = &memory.buffers[slot.region.buffer];
                                let size = slot.region.size.next_multiple_of(4);
                                encoder.copy_buffer_to_buffer(from, slot.region.offset, &staging.buffer, 0, size);
                                staging
                            })
                            .collect();
                        let submission = device.submit([encoder.finish()]);
                        stagings.iter().for_each(Staging::map);
                        (submission, stagings)
                    })
                    .await?;
                for (slot, staging) in slots.iter().zip(&stagings) {
                    device.settle(staging, &submission, wait).await?;
                    let view = staging.read(0..slot.region.size.next_multiple_of(4))?;
                    observe(slot, tensor(schedule, slot, &view)?);
                }
            }
            // The staging buffers take the way of an ordinary run.
            let submission =
                device.guarded("a watched run", || self.frame.send(engine.inner(), index, [device.encoder()])).await?;
            self.frame.launched(index, submission);
            self.collect(wait).await?;
        }
        self.frame.complete = true;
        Ok(())
    }
}

/// The slots that are complete once the command of this index has run: those that it writes and no later one writes,
/// and those that no command names as its own (views, joined parts) where the next command is the first to read them.
fn completed(
    schedule: &Schedule,
    ops: &[Op],
    index: usize,
    writes: &impl Fn(usize, usize) -> bool,
    upload: impl Fn(Op) -> Option<SlotId>,
) -> Vec<SlotId> {
    let bound = |op: Op, written: bool| -> Vec<SlotId> {
        let Op::Dispatch(step) = op else { return if written { upload(op).into_iter().collect() } else { vec![] } };
        let Step::Dispatch(dispatch) = &schedule.steps[step] else { return vec![] };
        let slots = dispatch.bindings.iter().enumerate().filter(|(i, _)| writes(step, *i) == written);
        slots.filter_map(|(_, b)| if let Bound::Slot(slot) = b { Some(*slot) } else { None }).collect()
    };
    let mut complete = bound(ops[index], true);
    complete.retain(|slot| !ops[index + 1..].iter().any(|&op| bound(op, true).contains(slot)));
    if let Some(&next) = ops.get(index + 1) {
        let read = bound(next, false).into_iter().filter(|slot| {
            // Somebody wrote its bytes, under another name, and nobody read it yet.
            let region = schedule.slots[slot.0].region;
            let named = ops.iter().any(|&op| bound(op, true).contains(slot));
            let read_before = ops[..=index].iter().any(|&op| bound(op, false).contains(slot));
            let written = ops[..=index].iter().any(|&op| match op {
                Op::Dispatch(step) => regions(schedule, step).any(|(i, r)| writes(step, i) && meet(r, region)),
                _ => upload(op).is_some_and(|s| meet(schedule.slots[s.0].region, region)),
            });
            !named && !read_before && written
        });
        complete.extend(read.collect::<Vec<_>>());
    }
    complete.sort_unstable();
    complete.dedup();
    complete
}

/// A value from the bytes of its slot.
fn tensor(schedule: &Schedule, slot: &Slot, bytes: &[u8]) -> Result<Tensor, RunError> {
    let element_type =
        schedule.graph.fact(slot.value).map_or(crate::tensor::ElementType::F32, |fact| fact.element_type);
    let elements = slot.region.size as usize / elements::cell(slot.storage);
    let mut physical = Tensor::zeros(element_type, [elements])?;
    elements::load(bytes, slot.storage, element_type, physical.overwrite())
        .map_err(|e| RunError::State(e.to_string()))?;
    Ok(unpack(&physical, &slot.shape, slot.layout)?)
}
