//! The adapter of the tests, and single candidates run on it, without planner or executor.

use std::collections::HashMap;
use std::sync::{Mutex, Once, PoisonError};

use wgpu::util::DeviceExt as _;

use super::Input;
use super::trap::trapped;
use crate::gpu::{experimental_features, has_halves, matrix_side, wanted_features};
#[cfg(test)]
use crate::kernel::assemble::assemble;
use crate::kernel::assemble::{Access, assemble_from};
use crate::kernel::{
    Binding, Candidate, Constant, DeviceClass, DeviceFacts, Dialect, Dispatch, Kernel, Layout, Shaders, Storage, Want,
    pack, units, unpack,
};
use crate::tensor::{ElementType, Tensor, Truth};

/// A device and what it has compiled so far.
pub struct Adapter {
    pub facts: DeviceFacts,
    device: wgpu::Device,
    queue: wgpu::Queue,
    pipelines: Mutex<HashMap<(Kernel, Build), wgpu::ComputePipeline>>,
    /// Where kernels with traps write the line of an index outside.
    trap: wgpu::Buffer,
}

/// How kernels are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Build {
    /// With naga's checks, as devices have them.
    Checked,
    /// With those, and traps that tell of every index outside.
    Trapped,
    /// Without checks. There are canaries around what they bind.
    Unchecked,
}

/// Bytes of the canaries before and behind a buffer.
const CANARY: u64 = 4096;

/// What canaries hold.
const SONG: u8 = 0xa7;

/// A buffer, or a part of one between canaries.
#[derive(Debug, Clone)]
struct Part {
    buffer: wgpu::Buffer,
    offset: u64,
    size: u64,
}

impl Part {
    fn binding(&self) -> wgpu::BindingResource<'_> {
        let size = wgpu::BufferSize::new(self.size);
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: &self.buffer, offset: self.offset, size })
    }
}

/// Devices that no thread has.
static FREE: Mutex<Vec<&'static Adapter>> = Mutex::new(vec![]);

/// A device that a thread has.
struct Lease(&'static Adapter);

impl Lease {
    fn take() -> Option<Self> {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let adapter =
            free.or_else(|| pollster::block_on(Adapter::open()).map(|adapter| &*Box::leak(Box::new(adapter))));
        if adapter.is_none() {
            static SAID: Once = Once::new();
            assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "there is no adapter to test on");
            SAID.call_once(|| eprintln!("skipped: there is no GPU adapter, nothing was run on one"));
        }
        adapter.map(Self)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Other tests have other kernels, and thousands of them take gigabytes.
        self.0.pipelines.lock().unwrap_or_else(PoisonError::into_inner).clear();
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
    }
}

impl Adapter {
    /// The first adapter that Vulkan (or what the environment's `WGPU_BACKEND` names) has, or `None`, which is said once.
    ///
    /// It is this thread's until it ends: a device makes its kernels one after the other, so that tests beside each other have one each.
    pub fn shared() -> Option<&'static Self> {
        thread_local!(static LEASE: Option<Lease> = Lease::take());
        LEASE.with(|lease| lease.as_ref().map(|lease| lease.0))
    }

    #[allow(clippy::disallowed_methods, reason = "tests make their own objects")]
    async fn open() -> Option<Self> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::VULKAN);
        let instance = wgpu::Instance::new(descriptor);
        let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await.ok()?;
        let side = matrix_side(&adapter);
        let features = wanted_features(&adapter, side);
        let limits = adapter.limits();
        let info = adapter.get_info();
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                required_features: features,
                required_limits: limits.clone(),
                experimental_features: experimental_features(side.is_some()),
                ..Default::default()
            })
            .await
            .ok()?;
        let subgroup = features.contains(wgpu::Features::SUBGROUP) && info.subgroup_min_size == info.subgroup_max_size;
        let class = if info.backend == wgpu::Backend::Gl { DeviceClass::Gl } else { DeviceClass::Software };
        let facts = DeviceFacts {
            class,
            subgroup_size: subgroup.then_some(info.subgroup_min_size),
            max_invocations: limits.max_compute_invocations_per_workgroup,
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            max_binding_size: limits.max_storage_buffer_binding_size,
            max_buffer_size: limits.max_buffer_size,
            max_workgroups: limits.max_compute_workgroups_per_dimension,
            busy_workgroups: class.busy_workgroups(),
            offset_alignment: limits.min_storage_buffer_offset_alignment.into(),
            matrix_side: side,
            dialect: Dialect { words64: features.contains(wgpu::Features::SHADER_INT64), halves: has_halves(&adapter) },
        };
        let trap = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("trap"),
            size: 16,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Some(Self { facts, device, queue, pipelines: Mutex::default(), trap })
    }

    /// Runs a candidate, with output 0 written over input `in_place` where that is given.
    pub fn run(
        &self,
        candidate: &Candidate,
        inputs: &[Input],
        outputs: &[Tensor],
        storages: (&[Option<Storage>], &[Option<Storage>]),
        in_place: Option<usize>,
    ) -> Result<Vec<Tensor>, String> {
        self.run_built(Build::Checked, candidate, inputs, outputs, storages, in_place)
    }

    /// [`Adapter::run`] with kernels built in a way.
    ///
    /// # Errors
    /// Also if an index was outside, or what lies beside a buffer was written.
    pub fn run_built(
        &self,
        build: Build,
        candidate: &Candidate,
        inputs: &[Input],
        outputs: &[Tensor],
        (input_storages, storages): (&[Option<Storage>], &[Option<Storage>]),
        in_place: Option<usize>,
    ) -> Result<Vec<Tensor>, String> {
        let mut input_buffers = vec![];
        for (i, (input, want)) in inputs.iter().zip(&candidate.inputs).enumerate() {
            input_buffers.push(match (input.tensor(), want) {
                (Some(tensor), Want::In(layout)) => {
                    let storage = input_storages[i].ok_or("an input that no kernel can hold")?;
                    Some(self.buffer(build, &stored(&with_padding(tensor, *layout)?, storage)?))
                }
                _ => None,
            });
        }
        if let Some(view_of) = candidate.view_of {
            let Some(tensor) = inputs.get(view_of).and_then(Input::tensor) else {
                return Err("a view of nothing".to_owned());
            };
            let output = &outputs[0];
            let Want::In(from) = candidate.inputs[view_of] else { return Err("a view of nothing".to_owned()) };
            // The same bytes, read as what they are now.
            let seen = pack(tensor, from).and_then(|bytes| unpack(&bytes, output.shape(), candidate.outputs[0]));
            return Ok(vec![seen.map_err(|e| e.to_string())?]);
        }
        let mut output_buffers = vec![];
        for (i, output) in outputs.iter().enumerate() {
            let storage = storages[i].ok_or("an output that no kernel can hold")?;
            let layout = *candidate.outputs.get(i).ok_or("a layout is missing for an output")?;
            let bytes = units(output.shape(), layout).unwrap_or(0) * storage.unit_bytes();
            let garbage = vec![0xffu8; usize::try_from(bytes).unwrap_or(0).max(16)];
            output_buffers.push(match in_place.filter(|_| i == 0) {
                Some(input) => input_buffers[input].clone().ok_or("in place of an input that is not bound")?,
                None => self.buffer(build, &garbage),
            });
        }
        let scratch: Vec<_> = candidate
            .scratch
            .iter()
            .map(|(units, storage)| self.buffer(build, &vec![0xffu8; (units * storage.unit_bytes()).max(16) as usize]))
            .collect();
        for dispatch in candidate.dispatched(in_place) {
            self.dispatch(build, dispatch, &input_buffers, &output_buffers, &scratch, in_place)?;
        }
        if build == Build::Unchecked {
            output_buffers.iter().chain(&scratch).try_for_each(|part| self.check_canaries(part))?;
        }
        let mut results = vec![];
        for (i, output) in outputs.iter().enumerate() {
            let storage = storages[i].ok_or("an output that no kernel can hold")?;
            let layout = candidate.outputs[i];
            let length = usize::try_from(units(output.shape(), layout).unwrap_or(0) * 4).unwrap_or(0);
            let bytes = self.read(&output_buffers[i]);
            let physical = loaded(&bytes, length, output.element_type(), storage)?;
            results.push(unpack(&physical, output.shape(), layout).map_err(|e| e.to_string())?);
        }
        Ok(results)
    }

    #[allow(clippy::disallowed_methods, reason = "tests make their own objects")]
    fn buffer(&self, build: Build, contents: &[u8]) -> Part {
        let canary = if build == Build::Unchecked { CANARY } else { 0 };
        let size = contents.len().next_multiple_of(4).max(16);
        let mut all = vec![SONG; canary as usize];
        all.extend_from_slice(contents);
        all.resize(canary as usize + size, 0);
        all.resize(2 * canary as usize + size, SONG);
        let buffer = self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: &all,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST
                | wgpu::BufferUsages::UNIFORM,
        });
        Part { buffer, offset: canary, size: size as u64 }
    }

    fn check_canaries(&self, part: &Part) -> Result<(), String> {
        let bytes = self.read_whole(&part.buffer);
        let (before, rest) = bytes.split_at(part.offset as usize);
        let sings = |canary: &[u8]| canary.iter().all(|byte| *byte == SONG);
        match sings(before) && sings(&rest[part.size as usize..]) {
            true => Ok(()),
            false => Err("what lies beside a buffer was written".to_owned()),
        }
    }

    fn dispatch(
        &self,
        build: Build,
        dispatch: &Dispatch,
        inputs: &[Option<Part>],
        outputs: &[Part],
        scratch: &[Part],
        in_place: Option<usize>,
    ) -> Result<(), String> {
        let mut kernel = dispatch.kernel.clone();
        if let Some(input) = in_place {
            let read = dispatch.bindings.iter().position(|b| *b == Binding::Input(input));
            let written = dispatch.bindings.iter().position(|b| *b == Binding::Output(0));
            kernel.in_place = read.zip(written);
        }
        let assembled = assemble_from(&Shaders::default(), &kernel, self.facts.dialect).map_err(|e| e.to_string())?;
        let mut words: Vec<u32> = assembled.buffers.iter().filter(|b| b.binding.is_some()).map(|_| 0).collect();
        let own: Vec<_> = assembled.params[words.len()..].to_vec();
        let given: Vec<_> = dispatch.params.iter().map(|(name, _)| (*name).to_owned()).collect();
        if own != given {
            return Err(format!("{} takes the parameters {own:?}, but {given:?} were given", kernel.shader));
        }
        words.extend(dispatch.params.iter().map(|(_, word)| word.bits()));
        words.resize(words.len().next_multiple_of(4).max(4), 0);
        let params = self.buffer(build, bytemuck::cast_slice(&words));
        let constants: Vec<Option<Part>> = dispatch
            .bindings
            .iter()
            .map(|binding| match binding {
                Binding::Constant(constant) => packed(constant).map(|bytes| Some(self.buffer(build, &bytes))),
                _ => Ok(None),
            })
            .collect::<Result<_, String>>()?;
        let mut entries = vec![];
        if !assembled.params.is_empty() {
            entries.push(wgpu::BindGroupEntry { binding: 0, resource: params.binding() });
        }
        for (i, buffer) in assembled.buffers.iter().enumerate() {
            let Some(binding) = buffer.binding else { continue };
            let bound = match &dispatch.bindings[i] {
                Binding::Input(k) => inputs[*k].as_ref().ok_or("an input is bound that was not wanted")?,
                Binding::Output(k) => &outputs[*k],
                Binding::Scratch(k) => &scratch[*k],
                Binding::Constant(_) => constants[i].as_ref().ok_or("a constant is missing")?,
            };
            entries.push(wgpu::BindGroupEntry { binding, resource: bound.binding() });
        }
        self.encode(build, &kernel, &assembled.wgsl, &entries, dispatch.workgroups)
    }

    #[allow(clippy::disallowed_methods, reason = "tests make their own objects")]
    fn encode(
        &self,
        build: Build,
        kernel: &Kernel,
        wgsl: &str,
        entries: &[wgpu::BindGroupEntry<'_>],
        [x, y, z]: [u32; 3],
    ) -> Result<(), String> {
        let mut pipelines = self.pipelines.lock().map_err(|e| e.to_string())?;
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let trapped = if build == Build::Trapped { trapped(wgsl)? } else { None };
        let pipeline = pipelines.entry((kernel.clone(), build)).or_insert_with(|| {
            let module = self.module(build, kernel.shader, trapped.as_deref().unwrap_or(wgsl));
            self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(kernel.shader),
                layout: None,
                module: &module,
                entry_point: None,
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: false,
                    ..Default::default()
                },
                cache: None,
            })
        });
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries,
        });
        let trap = trapped.is_some().then(|| {
            self.queue.write_buffer(&self.trap, 0, &[0; 16]);
            self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &pipeline.get_bind_group_layout(1),
                entries: &[wgpu::BindGroupEntry { binding: 0, resource: self.trap.as_entire_binding() }],
            })
        });
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, &group, &[]);
            if let Some(trap) = &trap {
                pass.set_bind_group(1, trap, &[]);
            }
            pass.dispatch_workgroups(x, y, z);
        }
        self.queue.submit([encoder.finish()]);
        match pollster::block_on(scope.pop()) {
            None => {
                let line = if trap.is_some() { self.read_whole(&self.trap) } else { vec![0; 4] };
                match line[..4].iter().rev().fold(0usize, |word, byte| word << 8 | usize::from(*byte)) {
                    0 => Ok(()),
                    line => {
                        let source = wgsl.lines().nth(line - 1).unwrap_or_default().trim();
                        Err(format!("{} has an index outside in line {line}: {source}", kernel.shader))
                    }
                }
            }
            Some(error) => {
                pipelines.remove(&(kernel.clone(), build));
                let numbered: Vec<_> = wgsl.lines().enumerate().map(|(i, l)| format!("{:4} {l}", i + 1)).collect();
                Err(format!("{error}\n{}", numbered.join("\n")))
            }
        }
    }

    #[allow(clippy::disallowed_methods, reason = "tests make their own objects")]
    fn module(&self, build: Build, label: &str, wgsl: &str) -> wgpu::ShaderModule {
        let descriptor =
            wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(wgsl.into()) };
        if build != Build::Unchecked {
            return self.device.create_shader_module(descriptor);
        }
        #[allow(unsafe_code)]
        // SAFETY: kernels index inside their bounds and end: that is what is shown here, after they have been run with traps.
        unsafe {
            self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
        }
    }

    fn read(&self, part: &Part) -> Vec<u8> {
        let mut bytes = self.read_whole(&part.buffer);
        bytes.drain(..part.offset as usize);
        bytes.truncate(part.size as usize);
        bytes
    }

    #[allow(clippy::disallowed_methods, reason = "tests make their own objects")]
    fn read_whole(&self, buffer: &wgpu::Buffer) -> Vec<u8> {
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: buffer.size(),
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        self.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |_| ());
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("the adapter answers");
        staging.get_mapped_range(..).expect("the buffer is mapped").to_vec()
    }
}

/// The elements of a tensor in a layout, with garbage (NaN, or the type's largest value) in the padding.
fn with_padding(tensor: &Tensor, layout: Layout) -> Result<Tensor, String> {
    let text = |e: crate::tensor::TensorError| e.to_string();
    let mut packed = pack(tensor, layout).map_err(text)?;
    let ones =
        Tensor::from_bytes(tensor.element_type(), tensor.shape().to_vec(), vec![1u8; tensor.bytes().len()].into());
    let mask = pack(&ones.map_err(text)?, layout).map_err(text)?;
    let size = tensor.element_type().size();
    let inside: Vec<bool> = mask.bytes().chunks(size).map(|c| c[0] == 1).collect();
    macro_rules! fill {
        ($type:ty, $garbage:expr) => {
            for (value, inside) in packed.as_mut_slice::<$type>().map_err(text)?.iter_mut().zip(inside) {
                if !inside {
                    *value = $garbage;
                }
            }
        };
    }
    match tensor.element_type() {
        ElementType::F32 => fill!(f32, f32::NAN),
        ElementType::F16 => fill!(half::f16, half::f16::NAN),
        ElementType::I32 => fill!(i32, i32::MAX),
        ElementType::I8 => fill!(i8, i8::MAX),
        ElementType::U8 => fill!(u8, u8::MAX),
        ElementType::Bool => fill!(Truth, Truth(1)),
        ElementType::I64 => fill!(i64, i64::MAX),
        ElementType::F64 => fill!(f64, f64::NAN),
        ElementType::U64 => fill!(u64, u64::MAX),
        ElementType::U32 => fill!(u32, u32::MAX),
        ElementType::I16 => fill!(i16, i16::MAX),
        ElementType::U16 => fill!(u16, u16::MAX),
        ElementType::BF16 => fill!(half::bf16, half::bf16::NAN),
        // Kernels move them.
        _ => {}
    }
    Ok(packed)
}

/// The bytes in which flat elements are stored.
fn stored(tensor: &Tensor, storage: Storage) -> Result<Vec<u8>, String> {
    let text = |e: crate::tensor::TensorError| e.to_string();
    Ok(match (tensor.element_type(), storage) {
        (ElementType::F32, Storage::F16) => {
            let halves: Vec<half::f16> =
                tensor.as_slice::<f32>().map_err(text)?.iter().map(|&v| half::f16::from_f32(v)).collect();
            bytemuck::cast_slice(&halves).to_vec()
        }
        (ElementType::I64, Storage::I32) => {
            let narrow: Result<Vec<i32>, _> =
                tensor.as_slice::<i64>().map_err(text)?.iter().map(|&v| i32::try_from(v)).collect();
            bytemuck::cast_slice(&narrow.map_err(|_| "a 64-bit integer does not fit".to_owned())?).to_vec()
        }
        _ => tensor.bytes().to_vec(),
    })
}

/// The inverse of [`stored`]: `length` flat elements.
fn loaded(bytes: &[u8], length: usize, element_type: ElementType, storage: Storage) -> Result<Tensor, String> {
    let cell = usize::try_from(storage.unit_bytes()).unwrap_or(4) / 4;
    let bytes = bytes.get(..length * cell).ok_or("a buffer is too short")?;
    let tensor = match (element_type, storage) {
        (ElementType::F32, Storage::F16) => {
            let halves: Vec<half::f16> = bytemuck::pod_collect_to_vec(bytes);
            Tensor::new([length], halves.iter().map(|h| h.to_f32()).collect())
        }
        (ElementType::I64, Storage::I32) => {
            let narrow: Vec<i32> = bytemuck::pod_collect_to_vec(bytes);
            Tensor::new([length], narrow.iter().map(|&v| i64::from(v)).collect())
        }
        _ => Tensor::from_bytes(element_type, [length], bytes.to_vec().into()),
    };
    tensor.map_err(|e| e.to_string())
}

fn packed(constant: &Constant) -> Result<Vec<u8>, String> {
    let packed = (constant.packing.pack)(&constant.source, &constant.parameters);
    if packed.len() as u64 != constant.units * 4 {
        return Err(format!(
            "packing '{}' made {} elements, but {} units were announced",
            constant.packing.name,
            packed.len(),
            constant.units
        ));
    }
    stored(&packed, constant.storage)
}

#[test]
fn an_index_outside_is_told_and_so_is_a_canary() {
    let Some(adapter) = Adapter::shared() else { return };
    let run = |build, index: &str| {
        let wgsl = format!(
            "@group(0) @binding(1) var<storage, read_write> y: array<u32>;\n\
             @compute @workgroup_size(4) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{\n\
             y[{index}] = select(1u, y[id.x], id.x > 9u);\n}}"
        );
        let part = adapter.buffer(build, &[0; 16]);
        let entries = [wgpu::BindGroupEntry { binding: 1, resource: part.binding() }];
        // A kernel of its own for each text.
        let kernel = Kernel::of("elementwise/unary.wgsl").define("INDEX", index.len() as i64);
        adapter.encode(build, &kernel, &wgsl, &entries, [1, 1, 1]).map(|()| part)
    };
    run(Build::Trapped, "id.x").unwrap();
    let error = run(Build::Trapped, "id.x + 1u").unwrap_err();
    assert!(error.contains("line 3: y[id.x + 1u]"), "{error}");
    let part = run(Build::Unchecked, "id.x").unwrap();
    adapter.check_canaries(&part).unwrap();
    adapter.queue.write_buffer(&part.buffer, part.offset + part.size + 8, &[1; 4]);
    assert!(adapter.check_canaries(&part).is_err());
}

/// That a shader declares what an access says (kept for the executor's tests too).
#[test]
fn the_placeholder_runs_on_the_adapter() {
    use super::{Tolerance, check};
    use crate::graph::Definition;
    let relu = crate::ops::operator(&Definition::new("Relu")).unwrap();
    for shape in [vec![], vec![0, 3], vec![2, 3, 5], vec![1, 7, 3, 2]] {
        let n = crate::tensor::shape::elements(&shape).unwrap();
        let x = Tensor::new(shape, (0..n).map(|i| i as f32 - 5.0).collect()).unwrap();
        check(&*relu, &[Input::Run(x)], Tolerance::EXACT);
    }
    let assembled = assemble(&Kernel {
        storages: vec![Storage::F32; 2],
        ..Kernel::of("elementwise/unary.wgsl").paste("EXPRESSION", "v")
    });
    assert_eq!(assembled.map(|a| a.buffers[0].access), Ok(Access::Read));
}
