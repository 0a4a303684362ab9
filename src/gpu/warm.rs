//! Pipelines that are finished before their first dispatch.
//!
//! A driver in software makes machine code of a pipeline when it is dispatched first, on the thread of its queue; others may
//! leave something for then, too. A dispatch of no workgroups has them do it while further pipelines are made and
//! constants are packed.

use super::GpuDevice;
use super::pipeline::Pipeline;
use crate::kernel::assemble::Access;

/// Buffers for dispatches that read and write nothing.
#[derive(Debug)]
pub(super) struct Idle {
    params: wgpu::Buffer,
    /// What is read, and what is written: wgpu wants two.
    read: wgpu::Buffer,
    written: wgpu::Buffer,
}

/// Bytes of such a buffer: more parameters than any kernel has, and more than the first element of any array.
const SIZE: u64 = 1024;

impl Idle {
    /// Makes them.
    pub async fn new(device: &GpuDevice) -> Option<Self> {
        let made = device.guarded("memory for idle dispatches", || {
            let buffer = |usage| device.create_buffer("idle", SIZE, usage, false);
            let storage = wgpu::BufferUsages::STORAGE;
            Self { params: buffer(wgpu::BufferUsages::UNIFORM), read: buffer(storage), written: buffer(storage) }
        });
        made.await.ok()
    }

    /// Has the driver finish a pipeline. What goes wrong here shows where the pipeline is used.
    pub async fn dispatch(&self, device: &GpuDevice, pipeline: &Pipeline) {
        if pipeline.words as u64 * 4 > SIZE {
            return;
        }
        let params = (pipeline.words > 0)
            .then(|| wgpu::BindGroupEntry { binding: 0, resource: self.params.as_entire_binding() });
        let bound = pipeline.buffers.iter().filter_map(|buffer| {
            let idle = if buffer.access == Access::Read { &self.read } else { &self.written };
            buffer.binding.map(|binding| wgpu::BindGroupEntry { binding, resource: idle.as_entire_binding() })
        });
        let entries: Vec<_> = params.into_iter().chain(bound).collect();
        let done = device.guarded("an idle dispatch", || {
            let group = device.create_bind_group(&pipeline.layout, &entries);
            let mut encoder = device.encoder();
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                pass.set_pipeline(&pipeline.pipeline);
                pass.set_bind_group(0, &group, &[]);
                pass.dispatch_workgroups(0, 0, 0);
            }
            device.submit([encoder.finish()]);
        });
        if let Err(error) = done.await {
            log::debug!("a pipeline was not finished beforehand: {error}");
        }
    }
}
