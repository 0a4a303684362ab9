//! A steady run makes nothing: no buffer, bind group or pipeline, and no memory of the engine's own.

#![allow(unsafe_code, reason = "counting allocations takes an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rimlight::gpu::GpuDevice;
use rimlight::gpu::wgpu::{self, BufferUsages};
use rimlight::graph::Definition;
use rimlight::{Backend, Device, DeviceOptions, Element, ElementType, Graph, Model, Options, Placement, Tensor};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations of this thread while `f` runs.
fn allocations(f: impl FnOnce()) -> usize {
    let before = COUNT.get();
    f();
    COUNT.get() - before
}

/// The usual one of several counts: now and then a list of wgpu's grows.
fn median(counts: impl Iterator<Item = usize>) -> usize {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_unstable();
    counts[counts.len() / 2]
}

/// As many poolings in a row, which nothing fuses.
fn model(layers: usize) -> Model {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [1usize, 8, 16, 16]);
    let mut sum = x;
    for _ in 0..layers {
        let pooled = Definition::new("MaxPool").attribute("kernel_shape", [3, 3]).attribute("pads", [1, 1, 1, 1]);
        sum = graph.node(&pooled, &[sum]).unwrap();
    }
    graph.output("y", sum);
    Model::from_graph(graph.build().unwrap())
}

fn filled<T: Element>(value: T) -> Tensor {
    Tensor::new([1, 8, 16, 16], vec![value; 8 * 16 * 16]).unwrap()
}

fn measured(device: &Device, layers: usize) -> usize {
    let mut session = model(layers).session_with(device, &Options::new().placement(Placement::Auto)).unwrap();
    let (x, y) = (session.input("x").unwrap(), session.output("y").unwrap());
    let inputs = [filled(1f32), filled(2f32)];
    let mut run = |i: usize| {
        session.set(x, inputs[i % 2].view()).unwrap();
        session.run().unwrap();
        assert_eq!(session.get(y).unwrap().as_slice::<f32>().unwrap()[0], [1.0, 2.0][i % 2]);
    };
    (0..3).for_each(&mut run);
    let made = device.as_gpu().map(|gpu| gpu.creations());
    let usual = median((0..100).map(|i| allocations(|| run(i))));
    assert_eq!(device.as_gpu().map(|gpu| gpu.creations()), made);
    usual
}

#[test]
fn a_steady_run_on_the_gpu_allocates_what_wgpu_does() {
    let mut options = DeviceOptions::default();
    options.backend = Backend::Gpu;
    let device = match Device::new(&options) {
        Ok(device) => device,
        Err(error) => {
            assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{error}");
            eprintln!("skipped: {error}");
            return;
        }
    };
    for dispatches in [2, 42] {
        let (ours, wgpu) = (measured(&device, dispatches), bare(device.as_gpu().unwrap(), dispatches));
        // Five were counted: the view that the application makes, and what wgpu needs to follow the uniform buffer.
        assert!(ours <= wgpu + 6, "{ours} allocations for {dispatches} dispatches, of which {wgpu} are wgpu's own");
    }
}

/// Allocations of the least that a run with as many dispatches takes: wgpu called as the engine calls it.
#[allow(clippy::disallowed_methods, reason = "there is no engine here")]
fn bare(gpu: &GpuDevice, dispatches: usize) -> usize {
    let (device, queue) = (gpu.wgpu(), gpu.queue());
    let size = 8 * 16 * 16 * 4;
    let buffer = |usage, mapped_at_creation| {
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation })
    };
    let (copies, storage) = (BufferUsages::COPY_SRC | BufferUsages::COPY_DST, BufferUsages::STORAGE);
    let values = [buffer(copies | storage, false), buffer(copies | storage, false)];
    let upload = buffer(BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC, true);
    let download = buffer(BufferUsages::MAP_READ | BufferUsages::COPY_DST, false);
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(
            "@group(0) @binding(0) var<storage, read> x: array<f32>;
             @group(0) @binding(1) var<storage, read_write> y: array<f32>;
             @compute @workgroup_size(1) fn main() { y[0] = x[0]; }"
                .into(),
        ),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let group = |i: usize| {
        device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[0, 1].map(|binding| wgpu::BindGroupEntry {
                binding,
                resource: values[(i + binding as usize) % 2].as_entire_binding(),
            }),
        })
    };
    let groups: Vec<_> = (0..dispatches).map(group).collect();
    let pixels = vec![0u8; 8 * 16 * 16 * 4];
    let run = || {
        upload.get_mapped_range_mut(..).unwrap().copy_from_slice(&pixels);
        let scopes = [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal]
            .map(|filter| device.push_error_scope(filter));
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("rimlight") });
        encoder.copy_buffer_to_buffer(&upload, 0, &values[0], 0, size);
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for group in &groups {
                pass.set_pipeline(&pipeline);
                pass.set_bind_group(0, group, &[]);
                pass.dispatch_workgroups(1, 1, 1);
            }
        }
        encoder.copy_buffer_to_buffer(&values[dispatches % 2], 0, &download, 0, size);
        upload.unmap();
        let submission = queue.submit([encoder.finish()]);
        let mapped = [Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false))];
        let handles = mapped.clone();
        for (buffer, (mode, mapped)) in
            [&upload, &download].into_iter().zip([wgpu::MapMode::Write, wgpu::MapMode::Read].into_iter().zip(handles))
        {
            buffer.map_async(mode, .., move |_| mapped.store(true, Ordering::Relaxed));
        }
        let [validation, memory, internal] = scopes;
        drop((internal.pop(), memory.pop(), validation.pop()));
        device.poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout: None }).unwrap();
        drop(download.get_mapped_range(..).unwrap());
        download.unmap();
    };
    (0..3).for_each(|_| run());
    // The two flags are the test's own.
    median((0..100).map(|_| allocations(run))) - 2
}
