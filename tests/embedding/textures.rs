//! A renderer draws, a model changes the picture, and the renderer samples it: nothing leaves the GPU.

use rimlight::gpu::{GpuPicture, PictureOutput, wgpu};
use rimlight::graph::Definition;
use rimlight::image::{Picture, Preprocessing, Resize};
use rimlight::{Device, ElementType, Graph, Model, Options, Placement};

use super::{Application, watched};

/// What is drawn, and what the model takes and gives. A row of texels is a multiple of 256 bytes, as copies want it.
const DRAWN: [u32; 2] = [128, 96];
const SEEN: [u32; 2] = [64, 48];

/// Draws bands of colour, and samples a texture.
const SHADER: &str = "
    struct Corner { @builtin(position) at: vec4<f32>, @location(0) @interpolate(flat) frame: u32 }
    @vertex fn corner(@builtin(vertex_index) i: u32, @builtin(instance_index) frame: u32) -> Corner {
        return Corner(vec4<f32>(f32(i32(i & 1u) * 4 - 1), f32(i32(i >> 1u) * 4 - 1), 0.0, 1.0), frame);
    }
    @fragment fn bands(corner: Corner) -> @location(0) vec4<f32> {
        let at = corner.at.xy + f32(corner.frame) * 5.0;
        return vec4<f32>(fract(at.x / 37.0), fract(at.y / 29.0), fract((at.x + at.y) / 53.0), 1.0);
    }
    @group(0) @binding(0) var model: texture_2d<f32>;
    @group(0) @binding(1) var nearest: sampler;
    @fragment fn sampled(corner: Corner) -> @location(0) vec4<f32> {
        return textureSample(model, nearest, corner.at.xy / vec2<f32>(64.0, 48.0));
    }";

fn texture(app: &Application, [width, height]: [u32; 2], usage: wgpu::TextureUsages) -> wgpu::Texture {
    app.device.create_texture(&wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8Unorm,
        usage,
        view_formats: &[],
    })
}

fn renderer(app: &Application, fragment: &str) -> wgpu::RenderPipeline {
    let module = app.module(SHADER);
    app.device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: None,
        layout: None,
        vertex: wgpu::VertexState {
            module: &module,
            entry_point: Some("corner"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            buffers: &[],
        },
        primitive: wgpu::PrimitiveState::default(),
        depth_stencil: None,
        multisample: wgpu::MultisampleState::default(),
        fragment: Some(wgpu::FragmentState {
            module: &module,
            entry_point: Some(fragment),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            targets: &[Some(wgpu::TextureFormat::Rgba8Unorm.into())],
        }),
        multiview_mask: None,
        cache: None,
    })
}

/// A full-screen pass.
fn draw(
    encoder: &mut wgpu::CommandEncoder,
    target: &wgpu::Texture,
    pipeline: &wgpu::RenderPipeline,
    group: Option<&wgpu::BindGroup>,
    frame: u32,
) {
    let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
        color_attachments: &[Some(wgpu::RenderPassColorAttachment {
            view: &target.create_view(&wgpu::TextureViewDescriptor::default()),
            depth_slice: None,
            resolve_target: None,
            ops: wgpu::Operations::default(),
        })],
        ..wgpu::RenderPassDescriptor::default()
    });
    pass.set_pipeline(pipeline);
    if let Some(group) = group {
        pass.set_bind_group(0, group, &[]);
    }
    pass.draw(0..3, frame..frame + 1);
}

/// What a texture shows, for the test alone.
fn shown(app: &Application, texture: &wgpu::Texture) -> Picture {
    let [width, height] = [texture.width(), texture.height()];
    let buffer = app.buffer(u64::from(width * height * 4), wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC);
    let mut encoder = app.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(width * 4), rows_per_image: None };
    let to = wgpu::TexelCopyBufferInfo { buffer: &buffer, layout };
    encoder.copy_texture_to_buffer(texture.as_image_copy(), to, texture.size());
    app.queue.submit([encoder.finish()]);
    let bytes: Vec<u8> = app.read(&buffer).iter().flat_map(|v| v.to_le_bytes()).collect();
    Picture::from_rgb(width, height, bytes.chunks(4).flat_map(|p| [p[0], p[1], p[2]]).collect()).unwrap()
}

/// A picture made softer.
fn soft() -> Model {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [1, 3, SEEN[1] as usize, SEEN[0] as usize]);
    let pool = Definition::new("AveragePool").attribute("kernel_shape", [3, 3]).attribute("pads", [1, 1, 1, 1]);
    let y = graph.node(&pool, &[x]).unwrap();
    graph.output("y", y);
    Model::from_graph(graph.build().unwrap())
}

#[test]
fn a_frame_goes_from_renderer_to_renderer_on_the_gpu() {
    // What every device has, and no feature.
    let Some(app) = Application::with(wgpu::Limits::downlevel_defaults()) else { return };
    let guest = app.guest();
    let gpu = guest.as_gpu().unwrap();
    let (bands, sampled) = (renderer(&app, "bands"), renderer(&app, "sampled"));
    use wgpu::TextureUsages as Use;
    let camera = texture(&app, DRAWN, Use::RENDER_ATTACHMENT | Use::TEXTURE_BINDING | Use::COPY_SRC);
    let result = texture(&app, SEEN, Use::STORAGE_BINDING | Use::TEXTURE_BINDING);
    let screen = texture(&app, SEEN, Use::RENDER_ATTACHMENT | Use::COPY_SRC);
    let group = app.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &sampled.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::TextureView(
                    &result.create_view(&wgpu::TextureViewDescriptor::default()),
                ),
            },
            wgpu::BindGroupEntry {
                binding: 1,
                resource: wgpu::BindingResource::Sampler(
                    &app.device.create_sampler(&wgpu::SamplerDescriptor::default()),
                ),
            },
        ],
    });
    let mut how = Preprocessing::default();
    (how.resize, how.exact, how.mirror) = (Resize::Stretch, true, true);
    let ((), seen) = watched(&app, || {
        let model = soft();
        let fact = model.inputs().next().unwrap().fact.unwrap().clone();
        let mut session = model.session_with(&guest, &Options::new().placement(Placement::GpuOnly)).unwrap();
        let (x, y) = (session.input("x").unwrap(), session.output("y").unwrap());
        pollster::block_on(session.set_picture(x, &GpuPicture::new(&camera).unwrap(), &how)).unwrap();
        pollster::block_on(session.keep(y)).unwrap();
        let softened = session.device_output(y).unwrap();
        let output = pollster::block_on(PictureOutput::new(&softened, &result, &how)).unwrap();
        let mut on_cpu = model.session(&Device::cpu()).unwrap();
        for frame in 0..3 {
            let (calls, made) = (gpu.queue_calls(), gpu.creations());
            let mut encoder = app.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            draw(&mut encoder, &camera, &bands, None, frame);
            session.encode(&mut encoder).unwrap();
            output.encode(&mut encoder);
            draw(&mut encoder, &screen, &sampled, Some(&group), 0);
            app.queue.submit([encoder.finish()]);
            assert_eq!((gpu.queue_calls(), gpu.creations()), (calls, made), "the guest does nothing by itself");

            // What the host makes of the picture that was drawn.
            let tensor = how.tensor(&shown(&app, &camera), &fact).unwrap();
            let softened = on_cpu.run_with([("x", tensor.view())]).unwrap().remove(0).1;
            let softened = softened.as_slice::<f32>().unwrap();
            let got = shown(&app, &screen);
            assert!(got.rgb().iter().max() > Some(&100), "something was drawn");
            for (i, &got) in got.rgb().iter().enumerate() {
                // A byte is what the number was rounded to.
                let (pixel, c) = (i / 3, i % 3);
                let value = softened[c * (SEEN[0] * SEEN[1]) as usize + pixel];
                let expected = ((value * how.std[c] + how.mean[c]) / how.scale).clamp(0.0, 255.0);
                let error = (f32::from(got) - expected).abs();
                assert!(error < 0.502, "frame {frame}, pixel {pixel}: {got} for {expected}");
            }
        }
    });
    assert!(seen.is_empty(), "{seen:?}");
    assert_eq!(app.uncaught.load(std::sync::atomic::Ordering::Relaxed), 0);
}
