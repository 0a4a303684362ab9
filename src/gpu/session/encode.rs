//! A segment of a run as commands of the device.

use std::ops::Range;

use super::{GpuSession, Source};
use crate::gpu::program::{Op, Segment};

impl GpuSession {
    /// Encodes a segment: copies to the device, one compute pass, copies from it.
    pub(in crate::gpu) fn encode_segment(&self, index: usize, encoder: &mut wgpu::CommandEncoder) {
        let count = self.engine.inner().program.segments[index].ops.len();
        self.encode_part(index, 0..count, encoder);
    }

    /// Encodes some of a segment's commands.
    pub(super) fn encode_part(&self, index: usize, part: Range<usize>, encoder: &mut wgpu::CommandEncoder) {
        let mut rest = &self.engine.inner().program.segments[index].ops[part];
        while let Some(&op) = rest.first() {
            let passes = rest.iter().take_while(|op| matches!(op, Op::Dispatch(_))).count();
            if passes == 0 {
                self.encode_copy(index, op, encoder);
                rest = &rest[1..];
                continue;
            }
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for op in &rest[..passes] {
                self.encode_dispatch(*op, &mut pass);
            }
            rest = &rest[passes..];
        }
    }

    /// An encoder with one command in it.
    pub(in crate::gpu) fn encode_alone(&self, index: usize, op: Op) -> wgpu::CommandEncoder {
        let mut encoder = self.engine.device().encoder();
        if Self::is_dispatch(op) {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            self.encode_dispatch(op, &mut pass);
        } else {
            self.encode_copy(index, op, &mut encoder);
        }
        encoder
    }

    pub(in crate::gpu) fn encode_dispatch(&self, op: Op, pass: &mut wgpu::ComputePass<'_>) {
        if let (Op::Dispatch(step), Some(memory)) = (op, &self.memory)
            && let Some(prepared) = &memory.dispatches[step]
        {
            let [x, y, z] = prepared.workgroups;
            pass.set_pipeline(&prepared.pipeline.pipeline);
            pass.set_bind_group(0, &prepared.group, &[]);
            pass.dispatch_workgroups(x, y, z);
        }
    }

    pub(in crate::gpu) fn encode_copy(&self, index: usize, op: Op, encoder: &mut wgpu::CommandEncoder) {
        let Some(memory) = &self.memory else { return };
        let inner = self.engine.inner();
        let (segment, crossing): (&Segment, _) = (&inner.program.segments[index], &self.frame.crossings[index]);
        match op {
            Op::Dispatch(_) => {}
            Op::Upload(i) => {
                let transfer = &segment.uploads[i];
                let region = inner.schedule.slots[transfer.slot.0].region;
                let to = &memory.buffers[region.buffer];
                match (self.sources.get(&transfer.value), &crossing.upload) {
                    _ if transfer.size == 0 => {}
                    // A state that lies there already.
                    (Some(Source::Device(tensor)), _) if tensor.buffer() == to => {}
                    (Some(Source::Device(tensor)), _) => {
                        let size = tensor.bytes().unwrap_or(0).min(transfer.size);
                        encoder.copy_buffer_to_buffer(tensor.buffer(), tensor.offset(), to, region.offset, size);
                    }
                    (Some(Source::Picture(picture)), _) => {
                        let tensor = picture.tensor();
                        let size = tensor.bytes().unwrap_or(0).min(transfer.size);
                        picture.encode(encoder);
                        encoder.copy_buffer_to_buffer(tensor.buffer(), tensor.offset(), to, region.offset, size);
                    }
                    (_, Some(staging)) => {
                        let (from, size) = (&staging.buffer, transfer.size);
                        encoder.copy_buffer_to_buffer(from, transfer.staging, to, region.offset, size);
                    }
                    (_, None) => {}
                }
            }
            Op::Download(i) => {
                let transfer = &segment.downloads[i];
                let region = inner.schedule.slots[transfer.slot.0].region;
                let from = &memory.buffers[region.buffer];
                match (self.kept.get(&transfer.value), &crossing.download) {
                    _ if transfer.size == 0 => {}
                    (Some(kept), _) if kept.buffer() == from => {}
                    (Some(kept), _) => {
                        let size = kept.bytes().unwrap_or(0).min(transfer.size);
                        encoder.copy_buffer_to_buffer(from, region.offset, kept.buffer(), kept.offset(), size);
                    }
                    (None, Some(staging)) => {
                        let (to, size) = (&staging.buffer, transfer.size);
                        encoder.copy_buffer_to_buffer(from, region.offset, to, transfer.staging, size);
                    }
                    (None, None) => {}
                }
            }
        }
    }
}
