//! Rimlight as a guest: an application that draws and computes with wgpu itself runs a model between its own passes.

#![allow(clippy::disallowed_methods, reason = "the application makes its own pipelines and buffers")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rimlight::gpu::{GpuTensor, wgpu};
use rimlight::{Device, ElementType, Model, Options, Placement, Session, Tensor, Tolerance};
use wgpu::BufferUsages as Use;

#[path = "embedding/textures.rs"]
mod textures;
#[path = "embedding/threads.rs"]
mod threads;

/// The side of the picture, which is the model's too.
const SIDE: u32 = 28;

/// The application: its device, its queue, and what nobody caught there.
struct Application {
    device: wgpu::Device,
    queue: wgpu::Queue,
    uncaught: Arc<AtomicUsize>,
}

impl Application {
    fn start() -> Option<Self> {
        Self::with(wgpu::Limits::default())
    }

    /// A device of these limits, without features.
    fn with(required_limits: wgpu::Limits) -> Option<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = match pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())) {
            Ok(adapter) => adapter,
            Err(error) => {
                assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{error}");
                eprintln!("skipped: {error}");
                return None;
            }
        };
        let descriptor = wgpu::DeviceDescriptor { required_limits, ..wgpu::DeviceDescriptor::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        let uncaught = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&uncaught);
        device.on_uncaptured_error(Arc::new(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        Some(Self { device, queue, uncaught })
    }

    fn guest(&self) -> Device {
        Device::from_wgpu(self.device.clone(), self.queue.clone())
    }

    fn buffer(&self, size: u64, usage: Use) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    }

    fn module(&self, wgsl: &str) -> wgpu::ShaderModule {
        let source = wgpu::ShaderSource::Wgsl(wgsl.into());
        self.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source })
    }

    fn compute(&self, wgsl: &str) -> wgpu::ComputePipeline {
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &self.module(wgsl),
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        })
    }

    fn dispatch(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        pipeline: &wgpu::ComputePipeline,
        resources: &[wgpu::BindingResource<'_>],
        groups: u32,
    ) {
        let entries: Vec<_> = (0..)
            .zip(resources)
            .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource: resource.clone() })
            .collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(groups, 1, 1);
    }

    /// What lies in a buffer, as floats.
    fn read(&self, buffer: &wgpu::Buffer) -> Vec<f32> {
        let there = self.buffer(buffer.size(), Use::MAP_READ | Use::COPY_DST);
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &there, 0, buffer.size());
        self.queue.submit([encoder.finish()]);
        there.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
        self.device.poll(wgpu::PollType::Wait { submission_index: None, timeout: None }).unwrap();
        let view = there.get_mapped_range(..).unwrap();
        view.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }
}

/// Draws a ring with a soft edge, `shift` pixels from the middle: a zero, as somebody may write it.
const RING: &str = "
    @vertex fn corner(@builtin(vertex_index) i: u32) -> @builtin(position) vec4<f32> {
        return vec4<f32>(f32(i32(i & 1u) * 4 - 1), f32(i32(i >> 1u) * 4 - 1), 0.0, 1.0);
    }
    @fragment fn ink(@builtin(position) at: vec4<f32>) -> @location(0) vec4<f32> {
        let d = length((at.xy - vec2<f32>(14.0 + SHIFT, 14.0)) / vec2<f32>(6.0, 9.0));
        return vec4<f32>(clamp(1.5 - abs(d - 1.0) * 6.0, 0.0, 1.0), 0.0, 0.0, 1.0);
    }";

/// The picture as the model's input: one number a pixel.
const PIXELS: &str = "
    @group(0) @binding(0) var frame: texture_2d<f32>;
    @group(0) @binding(1) var<storage, read_write> x: array<f32>;
    @compute @workgroup_size(28) fn main(@builtin(global_invocation_id) at: vec3<u32>) {
        for (var row = 0u; row < 28u; row++) {
            x[row * 28u + at.x] = textureLoad(frame, vec2<u32>(at.x, row), 0).r;
        }
    }";

/// What the application makes of the model's output: the largest probability, and where it is.
const VERDICT: &str = "
    @group(0) @binding(0) var<storage, read> probabilities: array<f32>;
    @group(0) @binding(1) var<storage, read_write> verdict: array<f32>;
    @compute @workgroup_size(1) fn main() {
        var best = 0u;
        for (var i = 1u; i < 10u; i++) {
            if probabilities[i] > probabilities[best] { best = i; }
        }
        verdict[0] = f32(best);
        verdict[1] = probabilities[best];
    }";

fn digits() -> Model {
    Model::open(rimlight_tests::root().join("models/digits.onnx")).unwrap()
}

/// One frame of the application, submitted at once: it draws, has the model look at what was drawn, and reads the answer on
/// the device. Gives the answer, and checks it against the CPU's.
fn frame(app: &Application, guest: &Device, session: &mut Session, shift: f32) -> (usize, f32) {
    let size = wgpu::Extent3d { width: SIDE, height: SIDE, depth_or_array_layers: 1 };
    let texture = app.device.create_texture(&wgpu::TextureDescriptor {
        label: None,
        size,
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::R8Unorm,
        usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::TEXTURE_BINDING,
        view_formats: &[],
    });
    let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
    let module = app.module(&RING.replace("SHIFT", &format!("{shift:?}")));
    let ring = app.device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: None,
        layout: None,
        vertex: wgpu::VertexState {
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            buffers: &[],
        },
        primitive: wgpu::PrimitiveState::default(),
        depth_stencil: None,
        multisample: wgpu::MultisampleState::default(),
        fragment: Some(wgpu::FragmentState {
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            targets: &[Some(texture.format().into())],
        }),
        multiview_mask: None,
        cache: None,
    });
    let (pixels, verdict) = (app.compute(PIXELS), app.compute(VERDICT));
    // The input lies in the middle of a buffer of the application's.
    let (offset, bytes) = (256, u64::from(SIDE * SIDE * 4));
    let input = app.buffer(1024 + bytes, Use::STORAGE | Use::COPY_SRC);
    let answer = app.buffer(8, Use::STORAGE | Use::COPY_SRC);
    let gpu = guest.as_gpu().unwrap();
    let tensor = GpuTensor::from_buffer(gpu, input.clone(), offset, ElementType::F32, [1, 1, 28, 28]).unwrap();
    let (x, y) = (session.input("image").unwrap(), session.output("probabilities").unwrap());
    session.set_on_device(x, &tensor).unwrap();
    pollster::block_on(session.keep(y)).unwrap();

    let mut encoder = app.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: &view,
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations::default(),
            })],
            ..wgpu::RenderPassDescriptor::default()
        });
        pass.set_pipeline(&ring);
        pass.draw(0..3, 0..1);
    }
    let part = wgpu::BufferBinding { buffer: &input, offset, size: wgpu::BufferSize::new(bytes) };
    let drawn = [wgpu::BindingResource::TextureView(&view), wgpu::BindingResource::Buffer(part)];
    app.dispatch(&mut encoder, &pixels, &drawn, 1);
    session.encode(&mut encoder).unwrap();
    let probabilities = session.device_output(y).unwrap();
    let seen = [probabilities.buffer().as_entire_binding(), answer.as_entire_binding()];
    app.dispatch(&mut encoder, &verdict, &seen, 1);
    app.queue.submit([encoder.finish()]);

    let answer = app.read(&answer);
    let first = offset as usize / 4;
    let picture = app.read(&input)[first..first + (SIDE * SIDE) as usize].to_vec();
    assert!(picture.contains(&1.0) && picture.contains(&0.0), "something was drawn");
    let picture = Tensor::new([1, 1, 28, 28], picture).unwrap();
    let mut on_cpu = digits().session(&Device::cpu()).unwrap();
    let expected = on_cpu.run_with([("image", picture.view())]).unwrap().remove(0).1;
    let got = Tensor::new([1, 10], app.read(probabilities.buffer())[..10].to_vec()).unwrap();
    let compared =
        Tolerance { rtol: 2e-5, atol: 1e-7, floor: 0.0, amplified: 0.0 }.compare("probabilities", &got, &expected);
    assert!(compared.passed, "{compared:?}");
    let (class, probability) = (answer[0] as usize, answer[1]);
    assert_eq!(got.as_slice::<f32>().unwrap()[class], probability);
    (class, probability)
}

/// Runs what an application does, and gives what its error scopes saw.
fn watched<T>(app: &Application, f: impl FnOnce() -> T) -> (T, Vec<wgpu::Error>) {
    let scopes = [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal]
        .map(|filter| app.device.push_error_scope(filter));
    let result = f();
    let seen = scopes.into_iter().rev().filter_map(|scope| pollster::block_on(scope.pop())).collect();
    (result, seen)
}

#[test]
fn a_model_runs_between_the_passes_of_a_frame() {
    let Some(app) = Application::start() else { return };
    let guest = app.guest();
    let ((), seen) = watched(&app, || {
        let options = Options::new().placement(Placement::GpuOnly);
        let mut session = digits().session_with(&guest, &options).unwrap();
        for shift in [0.0, 1.5, -1.0] {
            let (class, probability) = frame(&app, &guest, &mut session, shift);
            assert_eq!(class, 0, "a ring is a zero");
            assert!(probability > 0.5, "{probability}");
        }
    });
    assert!(seen.is_empty(), "{seen:?}");
    assert_eq!(app.uncaught.load(Ordering::Relaxed), 0);
}

#[test]
fn errors_of_the_guest_stay_with_the_guest() {
    let Some(app) = Application::start() else { return };
    let guest = app.guest();
    let (refused, seen) = watched(&app, || {
        let mut session = digits().session(&guest).unwrap();
        // Another device's tensor, and an input that is not there.
        let other = Application::start().unwrap().guest();
        let zeros = Tensor::zeros(ElementType::F32, [1, 1, 28, 28]).unwrap();
        let foreign = pollster::block_on(GpuTensor::upload(other.as_gpu().unwrap(), &zeros.view())).unwrap();
        let mut encoder = app.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let unset = session.encode(&mut encoder).is_err();
        session.set_on_device(session.input("image").unwrap(), &foreign).unwrap();
        let mixed = session.encode(&mut encoder).is_err() && session.run().is_err();
        app.queue.submit([encoder.finish()]);
        unset && mixed
    });
    assert!(refused && seen.is_empty(), "{seen:?}");
    // The handler is still the application's own.
    assert_eq!(app.uncaught.load(Ordering::Relaxed), 0);
    drop(app.buffer(1 << 60, Use::STORAGE));
    assert_eq!(app.uncaught.load(Ordering::Relaxed), 1);
}

#[test]
fn two_threads_share_the_device_with_the_application() {
    let Some(app) = Application::start() else { return };
    let guest = app.guest();
    let options = Options::new().placement(Placement::GpuOnly);
    let engine = rimlight::Engine::new(&digits(), &guest, &options).unwrap();
    std::thread::scope(|scope| {
        for shift in [-1.0f32, 1.0] {
            let (app, guest, engine) = (&app, &guest, &engine);
            scope.spawn(move || {
                let ((), seen) = watched(app, || {
                    // One session is encoded into frames, the other one submits by itself in between.
                    let (mut in_frames, mut alone) = (engine.session().unwrap(), engine.session().unwrap());
                    let zeros = Tensor::zeros(ElementType::F32, [1, 1, 28, 28]).unwrap();
                    let nothing = alone.run_with([("image", zeros.view())]).unwrap();
                    for i in 0..5u8 {
                        let (class, _) = frame(app, guest, &mut in_frames, shift * f32::from(i) / 4.0);
                        assert_eq!(class, 0);
                        assert_eq!(alone.run_with([("image", zeros.view())]).unwrap(), nothing);
                    }
                });
                assert!(seen.is_empty(), "{seen:?}");
            });
        }
    });
    assert_eq!(app.uncaught.load(Ordering::Relaxed), 0);
}
