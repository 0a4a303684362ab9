//! The renderer: the frame's texture as large as it fits, and rectangles over it, in one pass.

use rimlight::gpu::wgpu;
use rimlight::vision::Rectangle;
use scene::quads::{Overlay, Quad, atlas, placed};

use super::program::Failure;

/// A frame's texture: the renderer samples it, and Rimlight reads it.
#[derive(Debug, Clone)]
pub struct Shown {
    pub texture: wgpu::Texture,
    group: wgpu::BindGroup,
}

/// What drawing takes; all of it is made once, but for the memory of more rectangles than there ever were.
pub struct Painter {
    device: wgpu::Device,
    queue: wgpu::Queue,
    layout: wgpu::BindGroupLayout,
    frame: wgpu::RenderPipeline,
    covered: wgpu::RenderPipeline,
    smooth: wgpu::Sampler,
    letters: wgpu::BindGroup,
    quads: wgpu::Buffer,
    /// Whether the window's texels are encoded from light.
    light: bool,
}

/// A rectangle as the shader takes it.
const QUAD_BYTES: usize = 12 * 4;

#[expect(clippy::disallowed_methods, reason = "the application's own objects")]
impl Painter {
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue, format: wgpu::TextureFormat) -> Result<Self, Failure> {
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("overlay"),
            source: wgpu::ShaderSource::Wgsl(include_str!("overlay.wgsl").into()),
        });
        let visibility = wgpu::ShaderStages::FRAGMENT;
        let texels = wgpu::BindingType::Texture {
            sample_type: wgpu::TextureSampleType::Float { filterable: true },
            view_dimension: wgpu::TextureViewDimension::D2,
            multisampled: false,
        };
        let between = wgpu::BindingType::Sampler(wgpu::SamplerBindingType::Filtering);
        let entry = |(binding, ty)| wgpu::BindGroupLayoutEntry { binding, visibility, ty, count: None };
        let entries = [(0, texels), (1, between)].map(entry);
        let layout =
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let pipelines = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let attributes = wgpu::vertex_attr_array![0 => Float32x4, 1 => Float32x4, 2 => Float32x4];
        let buffers = [Some(wgpu::VertexBufferLayout {
            array_stride: QUAD_BYTES as u64,
            step_mode: wgpu::VertexStepMode::Instance,
            attributes: &attributes,
        })];
        let pipeline = |entry_point: &str| {
            let blend = Some(wgpu::BlendState::ALPHA_BLENDING);
            let target = wgpu::ColorTargetState { format, blend, write_mask: wgpu::ColorWrites::ALL };
            device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
                label: Some(entry_point),
                layout: Some(&pipelines),
                vertex: wgpu::VertexState {
                    module: &module,
                    entry_point: Some("corner"),
                    compilation_options: Default::default(),
                    buffers: &buffers,
                },
                primitive: wgpu::PrimitiveState {
                    topology: wgpu::PrimitiveTopology::TriangleStrip,
                    ..Default::default()
                },
                depth_stencil: None,
                multisample: Default::default(),
                fragment: Some(wgpu::FragmentState {
                    module: &module,
                    entry_point: Some(entry_point),
                    compilation_options: Default::default(),
                    targets: &[Some(target)],
                }),
                multiview_mask: None,
                cache: None,
            })
        };
        let (frame, covered) = (pipeline("frame"), pipeline("covered"));
        let smooth = device.create_sampler(&wgpu::SamplerDescriptor {
            mag_filter: wgpu::FilterMode::Linear,
            min_filter: wgpu::FilterMode::Linear,
            ..Default::default()
        });
        let sharp = device.create_sampler(&wgpu::SamplerDescriptor::default());
        let atlas = atlas()?;
        let letters = texture(device, wgpu::TextureFormat::R8Unorm, [atlas.width(), atlas.height()]);
        let covers: Vec<u8> = atlas.rgb().iter().copied().step_by(3).collect();
        fill(queue, &letters, &covers);
        let letters = group(device, &layout, &letters, &sharp);
        let quads = quads(device, 1024);
        let (device, queue, light) = (device.clone(), queue.clone(), format.is_srgb());
        Ok(Self { device, queue, layout, frame, covered, smooth, letters, quads, light })
    }

    /// A texture for frames of this size. Its bytes go through to the window as they are.
    pub fn texture(&self, size: [u32; 2]) -> Shown {
        use wgpu::TextureFormat::{Rgba8Unorm, Rgba8UnormSrgb};
        let texture = texture(&self.device, if self.light { Rgba8UnormSrgb } else { Rgba8Unorm }, size);
        let group = group(&self.device, &self.layout, &texture, &self.smooth);
        Shown { texture, group }
    }

    /// Brings a frame to the GPU: the only time that its pixels cross.
    pub fn upload(&self, to: &Shown, rgba: &[u8]) {
        fill(&self.queue, &to.texture, rgba);
    }

    /// Draws a frame, and this over it, into a window's texture.
    pub fn paint(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        onto: &wgpu::Texture,
        shown: Option<&Shown>,
        over: &Overlay,
    ) {
        let window = [onto.width(), onto.height()];
        let frame = shown.map(|shown| {
            let at = placed([shown.texture.width(), shown.texture.height()], window);
            Quad { at, cell: Rectangle::new(0.0, 0.0, 1.0, 1.0), colour: [255; 3] }
        });
        let numbers: Vec<f32> = frame.iter().chain(&over.quads).flat_map(|quad| self.numbers(quad, window)).collect();
        let bytes: &[u8] = bytemuck::cast_slice(&numbers);
        if bytes.len() as u64 > self.quads.size() {
            self.quads = quads(&self.device, over.quads.len() * 2);
        }
        self.queue.write_buffer(&self.quads, 0, bytes);
        let view = onto.create_view(&wgpu::TextureViewDescriptor::default());
        let attachment = wgpu::RenderPassColorAttachment {
            view: &view,
            depth_slice: None,
            resolve_target: None,
            ops: wgpu::Operations { load: wgpu::LoadOp::Clear(wgpu::Color::BLACK), store: wgpu::StoreOp::Store },
        };
        let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            color_attachments: &[Some(attachment)],
            ..Default::default()
        });
        pass.set_vertex_buffer(0, self.quads.slice(..));
        let first = u32::from(frame.is_some());
        if let Some(shown) = shown {
            pass.set_pipeline(&self.frame);
            pass.set_bind_group(0, &shown.group, &[]);
            pass.draw(0..4, 0..first);
        }
        pass.set_pipeline(&self.covered);
        pass.set_bind_group(0, &self.letters, &[]);
        pass.draw(0..4, first..first + over.quads.len() as u32);
    }

    fn numbers(&self, quad: &Quad, window: [u32; 2]) -> [f32; 12] {
        let [width, height] = window.map(|side| side.max(1) as f32);
        let across = |x: f32| x / width * 2.0 - 1.0;
        let down = |y: f32| 1.0 - y / height * 2.0;
        let Quad { at, cell, colour } = quad;
        let [red, green, blue] = colour.map(|part| {
            let part = f32::from(part) / 255.0;
            match self.light {
                true if part <= 0.04045 => part / 12.92,
                true => ((part + 0.055) / 1.055).powf(2.4),
                false => part,
            }
        });
        [
            across(at.left),
            down(at.top),
            across(at.right),
            down(at.bottom),
            cell.left,
            cell.top,
            cell.right,
            cell.bottom,
            red,
            green,
            blue,
            1.0,
        ]
    }
}

#[expect(clippy::disallowed_methods, reason = "the application's own texture")]
fn texture(device: &wgpu::Device, format: wgpu::TextureFormat, [width, height]: [u32; 2]) -> wgpu::Texture {
    device.create_texture(&wgpu::TextureDescriptor {
        label: Some("frame"),
        size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    })
}

fn fill(queue: &wgpu::Queue, texture: &wgpu::Texture, texels: &[u8]) {
    let bytes_per_row = Some(texels.len() as u32 / texture.height());
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row, rows_per_image: None };
    queue.write_texture(texture.as_image_copy(), texels, layout, texture.size());
}

#[expect(clippy::disallowed_methods, reason = "the application's own bind group")]
fn group(
    device: &wgpu::Device,
    layout: &wgpu::BindGroupLayout,
    texture: &wgpu::Texture,
    sampler: &wgpu::Sampler,
) -> wgpu::BindGroup {
    let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
    let entries = [
        wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::TextureView(&view) },
        wgpu::BindGroupEntry { binding: 1, resource: wgpu::BindingResource::Sampler(sampler) },
    ];
    device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
}

#[expect(clippy::disallowed_methods, reason = "the application's own buffer")]
fn quads(device: &wgpu::Device, count: usize) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("quads"),
        size: (count * QUAD_BYTES) as u64,
        usage: wgpu::BufferUsages::VERTEX | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}
