//! What the suites share: where models lie, and the arrays of reference files.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use npyz::{DType, NpyFile, Order, TypeChar};
use rimlight::gpu::wgpu;
use rimlight::tensor::Truth;
use rimlight::{Device, Element, Tensor};

/// Arrays by name.
pub type Arrays = Vec<(String, Tensor)>;

/// The folder of public models that `RIMLIGHT_MODELS` names, or `None`: then tests of them have nothing to do.
///
/// # Panics
/// If the variable names no folder: a test that was asked for must not pass unrun.
pub fn models() -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("RIMLIGHT_MODELS").map(PathBuf::from) else {
        eprintln!("skipped: RIMLIGHT_MODELS names no folder of models");
        return None;
    };
    // Tests run in their crate's folder; a relative path is meant from the repository's root.
    let folder = if folder.is_relative() { root().join(folder) } else { folder };
    assert!(folder.is_dir(), "RIMLIGHT_MODELS names '{}', which is no folder", folder.display());
    Some(folder)
}

/// A device of the application's own with the limits of a very small GPU, one binding and one buffer so many bytes; and how
/// many errors it was left alone with.
///
/// # Panics
/// If the environment demands a GPU and there is none.
#[allow(clippy::disallowed_methods, reason = "the application makes its own device")]
pub fn small_device(binding: u64) -> Option<(Device, Arc<AtomicUsize>)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = match pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())) {
        Ok(adapter) => adapter,
        Err(error) => {
            assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{error}");
            eprintln!("skipped: {error}");
            return None;
        }
    };
    let required_limits = wgpu::Limits {
        max_storage_buffer_binding_size: binding,
        max_buffer_size: binding,
        max_uniform_buffer_binding_size: 16 << 10,
        max_storage_buffers_per_shader_stage: 4,
        max_compute_invocations_per_workgroup: 128,
        max_compute_workgroup_size_x: 128,
        max_compute_workgroup_size_y: 128,
        max_compute_workgroup_storage_size: 16_352,
        ..wgpu::Limits::downlevel_defaults()
    };
    let descriptor = wgpu::DeviceDescriptor { required_limits, ..wgpu::DeviceDescriptor::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    let errors = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&errors);
    device.on_uncaptured_error(Arc::new(move |error| {
        eprintln!("nobody caught: {error}");
        counter.fetch_add(1, Ordering::Relaxed);
    }));
    Some((Device::from_wgpu(device, queue), errors))
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The arrays of an .npz file by name, in the file's order.
///
/// # Panics
/// If the file cannot be read.
pub fn npz(path: impl AsRef<Path>) -> Arrays {
    let path = path.as_ref();
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut archive = npyz::npz::NpzArchive::new(file).expect("an .npz file");
    let names: Vec<String> = archive.array_names().map(str::to_owned).collect();
    let mut read = |name: String| {
        let array = archive.by_name(&name).expect("a readable array").expect("an array of its own name");
        (name, tensor(array))
    };
    names.into_iter().map(&mut read).collect()
}

/// The inputs and outputs of a reference file: its arrays `in:NAME` and `out:NAME`.
pub fn reference(path: impl AsRef<Path>) -> (Arrays, Arrays) {
    let (mut inputs, mut outputs) = (vec![], vec![]);
    for (name, tensor) in npz(path) {
        if let Some(name) = name.strip_prefix("in:") {
            inputs.push((name.to_owned(), tensor));
        } else if let Some(name) = name.strip_prefix("out:") {
            outputs.push((name.to_owned(), tensor));
        }
    }
    (inputs, outputs)
}

fn tensor<R: Read>(array: NpyFile<R>) -> Tensor {
    assert_eq!(array.order(), Order::C, "arrays lie in C order");
    let shape: Vec<usize> = array.shape().iter().map(|&d| usize::try_from(d).expect("a size")).collect();
    let DType::Plain(plain) = array.dtype() else { panic!("a plain array") };
    match (plain.type_char(), plain.size_field()) {
        (TypeChar::Float, 4) => typed::<f32, _>(shape, array),
        (TypeChar::Float, 8) => typed::<f64, _>(shape, array),
        (TypeChar::Float, 2) => typed::<npyz::half::f16, _>(shape, array),
        (TypeChar::Int, 8) => typed::<i64, _>(shape, array),
        (TypeChar::Int, 4) => typed::<i32, _>(shape, array),
        (TypeChar::Int, 1) => typed::<i8, _>(shape, array),
        (TypeChar::Uint, 1) => typed::<u8, _>(shape, array),
        (TypeChar::Bool, _) => {
            let truth = array.into_vec::<bool>().expect("an array").into_iter().map(Truth::from).collect();
            Tensor::new(shape, truth).expect("a whole array")
        }
        _ => panic!("no tensor is of type {plain}"),
    }
}

fn typed<T: Element + npyz::Deserialize, R: Read>(shape: Vec<usize>, array: NpyFile<R>) -> Tensor {
    Tensor::new(shape, array.into_vec::<T>().expect("an array")).expect("a whole array")
}
