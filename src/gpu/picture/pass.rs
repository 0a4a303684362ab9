//! A dispatch that reads or writes textures beside its buffers.

use std::sync::Arc;

use super::view;
use crate::error::DeviceError;
use crate::gpu::GpuDevice;
use crate::gpu::pipeline::Pipeline;
use crate::kernel::Dispatch;

/// A dispatch, ready to be encoded.
#[derive(Debug, Clone)]
pub(super) struct Pass {
    pipeline: Arc<Pipeline>,
    group: wgpu::BindGroup,
    /// Group 1, where there are textures.
    textures: Option<wgpu::BindGroup>,
    workgroups: [u32; 3],
}

impl Pass {
    /// Binds a dispatch: its buffers in the order of the shader's declarations, each from an offset on, and the textures.
    pub async fn new(
        device: &GpuDevice,
        dispatch: &Dispatch,
        buffers: &[(&wgpu::Buffer, u64)],
        textures: &[(wgpu::BindingType, &wgpu::Texture)],
    ) -> Result<Self, DeviceError> {
        let kinds: Vec<_> = textures.iter().map(|(kind, _)| *kind).collect();
        let pipeline = device.textured(&dispatch.kernel, &kinds).await?;
        device
            .guarded("what a picture is read or shown with", || {
                // The buffers begin where they are bound.
                let words = std::iter::repeat_n(0, buffers.len());
                let words = words.chain(dispatch.params.iter().map(|(_, word)| word.bits()));
                let mut bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
                bytes.resize(bytes.len().next_multiple_of(16), 0);
                let params = filled(device, "params", wgpu::BufferUsages::UNIFORM, &bytes);
                let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: params.as_entire_binding() }];
                for (binding, &(buffer, offset)) in (1..).zip(buffers) {
                    let bound = wgpu::BufferBinding { buffer, offset, size: None };
                    entries.push(wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(bound) });
                }
                let group = device.create_bind_group(&pipeline.layout, &entries);
                let textures = Self::bind(device, &pipeline, textures);
                Self { pipeline, group, textures, workgroups: dispatch.workgroups }
            })
            .await
    }

    /// Binds other textures of the same kinds.
    pub async fn change(
        &mut self,
        device: &GpuDevice,
        textures: &[(wgpu::BindingType, &wgpu::Texture)],
    ) -> Result<(), DeviceError> {
        let bind = || Self::bind(device, &self.pipeline, textures);
        self.textures = device.guarded("another texture", bind).await?;
        Ok(())
    }

    fn bind(
        device: &GpuDevice,
        pipeline: &Pipeline,
        textures: &[(wgpu::BindingType, &wgpu::Texture)],
    ) -> Option<wgpu::BindGroup> {
        let layout = pipeline.textures.as_ref()?;
        // Made within the caller's scope of errors: a texture may be another device's, or gone.
        let views: Vec<_> = textures.iter().map(|(_, texture)| view(texture)).collect();
        let entries: Vec<_> = (0..)
            .zip(&views)
            .map(|(binding, view)| wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::TextureView(view) })
            .collect();
        Some(device.create_bind_group(layout, &entries))
    }

    /// Encodes it into a pass.
    pub fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        let [x, y, z] = self.workgroups;
        pass.set_pipeline(&self.pipeline.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        if let Some(textures) = &self.textures {
            pass.set_bind_group(1, textures, &[]);
        }
        pass.dispatch_workgroups(x, y, z);
    }
}

/// A buffer with these bytes in it, given when it is made.
pub(super) fn filled(device: &GpuDevice, label: &str, usage: wgpu::BufferUsages, bytes: &[u8]) -> wgpu::Buffer {
    let buffer = device.create_buffer(label, bytes.len() as u64, usage, true);
    if let Ok(mut view) = buffer.get_mapped_range_mut(..bytes.len() as u64) {
        view.copy_from_slice(bytes);
    }
    buffer.unmap();
    buffer
}
