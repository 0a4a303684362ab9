//! What a plan's run is encoded with: its buffers, and a bind group for each dispatch, all made once.

use std::sync::Arc;

use super::engine::Engine;
use super::pipeline::Pipeline;
use super::program::Op;
use crate::error::DeviceError;
use crate::plan::{Bound, Region, ScheduledDispatch, Step};

/// A dispatch that is ready to be encoded.
#[derive(Debug)]
pub(super) struct Prepared {
    pub pipeline: Arc<Pipeline>,
    pub group: wgpu::BindGroup,
    pub workgroups: [u32; 3],
}

/// The memory of a plan's runs.
#[derive(Debug)]
pub(super) struct Memory {
    /// In the order of the schedule's buffers.
    pub buffers: Vec<wgpu::Buffer>,
    /// By the schedule's steps; `None` where one dispatches nothing.
    pub dispatches: Vec<Option<Prepared>>,
}

/// A part of a buffer as it is bound: its offset aligned, the rest told to the kernel.
struct Window {
    offset: u64,
    size: u64,
    /// `x_base`, in units.
    base: u32,
}

/// The window through which a region is bound. wgpu binds nothing empty: an empty one is a unit long.
fn window(region: Region, unit: u64, alignment: u64) -> Window {
    let offset = region.offset / alignment * alignment;
    let skipped = region.offset - offset;
    let size = (skipped + region.size.max(unit)).next_multiple_of(16);
    Window { offset, size, base: u32::try_from(skipped / unit).unwrap_or(0) }
}

impl Memory {
    /// Makes bind groups for these buffers, which are in the order of the schedule's.
    pub async fn new(engine: &Engine, buffers: Vec<wgpu::Buffer>) -> Result<Self, DeviceError> {
        let device = &engine.device;
        let steps: Vec<_> = dispatches(engine).collect();
        let (params, offsets) = engine.params(&steps);
        device
            .guarded("memory for a session", || {
                let uniform = device.create_buffer("params", params.len() as u64, wgpu::BufferUsages::UNIFORM, true);
                if let Ok(mut view) = uniform.get_mapped_range_mut(..params.len() as u64) {
                    view.copy_from_slice(&params);
                }
                uniform.unmap();
                let mut dispatches: Vec<Option<Prepared>> = engine.schedule.steps.iter().map(|_| None).collect();
                for ((step, dispatch), offset) in steps.iter().zip(&offsets) {
                    dispatches[*step] = Some(engine.prepare(dispatch, &buffers, &uniform, *offset));
                }
                Self { buffers, dispatches }
            })
            .await
    }
}

/// The dispatches that do something, with their step.
fn dispatches(engine: &Engine) -> impl Iterator<Item = (usize, &ScheduledDispatch)> {
    let ops = engine.program.segments.iter().flat_map(|segment| &segment.ops);
    ops.filter_map(|op| match op {
        Op::Dispatch(step) => match &engine.schedule.steps[*step] {
            Step::Dispatch(dispatch) => Some((*step, dispatch)),
            _ => None,
        },
        _ => None,
    })
}

impl Engine {
    /// What each bound buffer of a dispatch is bound to: its `@binding`, the buffer of the session or the constant, and
    /// the window.
    fn windows<'a>(
        &'a self,
        dispatch: &'a ScheduledDispatch,
    ) -> impl Iterator<Item = (u32, Result<usize, &'a wgpu::Buffer>, Window)> {
        let kernel = &self.schedule.kernels[dispatch.kernel];
        let alignment = self.device.facts().offset_alignment;
        let buffers = self.pipelines[dispatch.kernel].buffers.iter();
        buffers.zip(&dispatch.bindings).zip(&kernel.storages).filter_map(move |((buffer, bound), storage)| {
            let unit = storage.unit_bytes();
            let (target, region) = match bound {
                Bound::Slot(slot) => {
                    let region = self.schedule.slots[slot.0].region;
                    (Ok(region.buffer), region)
                }
                Bound::Scratch(region) => (Ok(region.buffer), *region),
                Bound::Constant(index) => {
                    let packed = &self.constants[*index];
                    let region = Region { buffer: 0, offset: packed.offset, size: packed.size };
                    (Err(&packed.buffer), region)
                }
            };
            buffer.binding.map(|binding| (binding, target, window(region, unit, alignment)))
        })
    }

    /// The sizes of the buffers: what the schedule says, and enough for every window.
    pub(super) fn buffer_sizes(&self) -> Result<Vec<u64>, DeviceError> {
        let mut sizes = self.schedule.buffers.clone();
        let limit = self.device.facts().max_binding_size;
        for (_, dispatch) in dispatches(self) {
            for (_, target, window) in self.windows(dispatch) {
                if window.size > limit {
                    return Err(DeviceError::Refused {
                        what: format!("the dispatch '{}'", dispatch.label),
                        message: format!("it binds {} bytes, the device at most {limit}", window.size),
                    });
                }
                if let Ok(buffer) = target {
                    sizes[buffer] = sizes[buffer].max(window.offset.saturating_add(window.size));
                }
            }
        }
        let largest = self.device.info().max_buffer_size;
        match sizes.iter().find(|&&size| size > largest) {
            None => Ok(sizes),
            Some(size) => Err(DeviceError::Refused {
                what: format!("a buffer of {size} bytes"),
                message: format!("its buffers hold at most {largest}"),
            }),
        }
    }

    /// The parameters of all dispatches, and where those of each begin.
    fn params(&self, steps: &[(usize, &ScheduledDispatch)]) -> (Vec<u8>, Vec<u64>) {
        let alignment = self.device.wgpu().limits().min_uniform_buffer_offset_alignment.max(16);
        let mut bytes: Vec<u8> = vec![];
        let mut offsets = vec![];
        for (_, dispatch) in steps {
            bytes.resize(bytes.len().next_multiple_of(alignment as usize), 0);
            offsets.push(bytes.len() as u64);
            let bases = self.windows(dispatch).map(|(_, _, window)| window.base);
            for word in bases.chain(dispatch.params.iter().copied()) {
                bytes.extend(word.to_le_bytes());
            }
        }
        // The last one is bound in whole 16 bytes too.
        bytes.resize(bytes.len().next_multiple_of(16).max(16), 0);
        (bytes, offsets)
    }

    fn prepare(
        &self,
        dispatch: &ScheduledDispatch,
        buffers: &[wgpu::Buffer],
        uniform: &wgpu::Buffer,
        offset: u64,
    ) -> Prepared {
        let pipeline = Arc::clone(&self.pipelines[dispatch.kernel]);
        let bound = |buffer, offset, size: u64| {
            wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(size) })
        };
        let mut entries = vec![];
        if pipeline.words > 0 {
            let size = (pipeline.words as u64 * 4).next_multiple_of(16);
            entries.push(wgpu::BindGroupEntry { binding: 0, resource: bound(uniform, offset, size) });
        }
        for (binding, target, window) in self.windows(dispatch) {
            let buffer = match target {
                Ok(index) => &buffers[index],
                Err(constant) => constant,
            };
            entries.push(wgpu::BindGroupEntry { binding, resource: bound(buffer, window.offset, window.size) });
        }
        let group = self.device.create_bind_group(&pipeline.layout, &entries);
        Prepared { pipeline, group, workgroups: dispatch.workgroups }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_alignment_cuts_off_is_told_to_the_kernel() {
        let w = window(Region { buffer: 0, offset: 304, size: 40 }, 8, 256);
        assert_eq!((w.offset, w.size, w.base), (256, 96, 6));
        let empty = window(Region { buffer: 0, offset: 512, size: 0 }, 16, 256);
        assert_eq!((empty.offset, empty.size, empty.base), (512, 16, 0));
    }
}
