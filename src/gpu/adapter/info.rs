//! What an adapter is: its features, its limits, and the class of devices that it belongs to.

use std::fmt;

use super::super::quirks::{self, Applied};
use crate::kernel::{DeviceClass, DeviceFacts, Dialect};

/// What sort of hardware an adapter is, in the order in which they are preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AdapterKind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the host's memory.
    Integrated,
    /// A GPU that a virtual machine was lent.
    Virtual,
    /// A GPU of unknown sort (what GL reports).
    Other,
    /// A GPU in software, run by the CPU.
    Software,
}

impl AdapterKind {
    /// The name used on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Other => "other",
            Self::Software => "software",
        }
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an adapter is and can do, as far as Rimlight cares.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AdapterInfo {
    /// Its name, as the driver gives it.
    pub name: String,
    /// The interface that it is reached by: `vulkan`, `metal`, `dx12`, `gl`, `webgpu`, `noop`.
    pub backend: &'static str,
    /// The driver's name and version.
    pub driver: String,
    /// What sort of hardware it is.
    pub kind: AdapterKind,
    /// The vendor's number; 0 where the interface does not tell.
    pub vendor: u32,
    /// The device's number; 0 where the interface does not tell.
    pub device: u32,
    /// Which of the features that Rimlight would use it has.
    pub features: Vec<&'static str>,
    /// What the planner will know of it.
    pub facts: DeviceFacts,
    /// Bytes that one of its buffers may have.
    pub max_buffer_size: u64,
    /// Known faults of its driver, and what is done about them.
    pub quirks: Vec<Applied>,
}

impl AdapterInfo {
    /// What a device has that was made from `info`'s adapter with these features and limits.
    pub(in crate::gpu) fn new(
        info: &wgpu::AdapterInfo,
        features: wgpu::Features,
        limits: &wgpu::Limits,
        class: Option<DeviceClass>,
        matrix_side: Option<u32>,
        halves: bool,
    ) -> Self {
        let class = class.unwrap_or_else(|| classify(info));
        let mut info = Self {
            name: info.name.clone(),
            backend: backend_name(info.backend),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            kind: kind(info.device_type),
            vendor: info.vendor,
            device: info.device,
            features: FEATURES.iter().filter(|(f, _)| features.contains(*f)).map(|(_, name)| *name).collect(),
            facts: DeviceFacts { matrix_side, ..facts(info, features, limits, class, halves) },
            max_buffer_size: limits.max_buffer_size,
            quirks: vec![],
        };
        quirks::apply(&mut info);
        info
    }

    /// Whether a user who types `text` means this adapter: it occurs in the name, the driver or the backend's name.
    pub fn is_meant_by(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        [self.name.as_str(), &self.driver, self.backend].iter().any(|field| field.to_lowercase().contains(&text))
    }
}

impl fmt::Display for AdapterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.name, self.backend, self.kind)
    }
}

/// The features that a device is asked for where its adapter has them.
const FEATURES: [(wgpu::Features, &str); 5] = [
    (wgpu::Features::SUBGROUP, "subgroups"),
    (wgpu::Features::SHADER_INT64, "int64"),
    (wgpu::Features::TIMESTAMP_QUERY, "timestamps"),
    (wgpu::Features::PIPELINE_CACHE, "pipeline-cache"),
    (wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, "cooperative-matrices"),
];

/// What kernels on cooperative matrices need.
const MATRICES: wgpu::Features =
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(wgpu::Features::SHADER_F16).union(wgpu::Features::SUBGROUP);

/// The features to ask an adapter for, those of cooperative matrices included where it has such as are used.
pub(crate) fn wanted_features(adapter: &wgpu::Adapter, matrix_side: Option<u32>) -> wgpu::Features {
    let wanted = FEATURES.iter().fold(wgpu::Features::empty(), |all, (feature, _)| all | *feature);
    let usual = adapter.features() & wanted & !wgpu::Features::all_experimental_mask();
    if matrix_side.is_some() { usual | MATRICES } else { usual }
}

/// The side of the largest square matrices of 16-bit floats that an adapter's subgroups multiply, with sums in 32 bits.
pub(crate) fn matrix_side(adapter: &wgpu::Adapter) -> Option<u32> {
    use wgpu::CooperativeScalarType::{F16, F32};
    let used = |p: &wgpu::CooperativeMatrixProperties| {
        [p.n_size, p.k_size] == [p.m_size; 2] && (p.ab_type, p.cr_type) == (F16, F32)
    };
    let offered = adapter.cooperative_matrix_properties().into_iter().filter(used).map(|p| p.m_size).max();
    offered.filter(|_| adapter.features().contains(MATRICES))
}

/// Whether an adapter's shaders have `pack2x16float` and its inverse.
pub(crate) fn has_halves(adapter: &wgpu::Adapter) -> bool {
    adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::SHADER_F16_IN_F32)
}

/// [`has_halves`] of an application's device, whose adapter is not at hand: lavapipe has them where it has 16-bit arithmetic,
/// which nobody asks for.
pub(in crate::gpu) fn surely_has_halves(info: &wgpu::AdapterInfo, features: wgpu::Features) -> bool {
    info.driver != "llvmpipe" || features.contains(wgpu::Features::SHADER_F16)
}

/// The limits to ask an adapter for: what kernels and plans can use, or less where the adapter has less.
pub(in crate::gpu) fn wanted_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
    let has = adapter.limits();
    // Sizes in bytes stay below 2 GiB, so that a buffer's elements and bytes can be counted in 32 bits by a kernel.
    let largest = (1 << 31) - 4;
    let wanted = wgpu::Limits {
        max_buffer_size: largest,
        max_storage_buffer_binding_size: largest,
        max_storage_buffers_per_shader_stage: 32,
        max_compute_invocations_per_workgroup: 1024,
        max_compute_workgroup_size_x: 1024,
        max_compute_workgroup_size_y: 1024,
        max_compute_workgroup_storage_size: 32 << 10,
        min_uniform_buffer_offset_alignment: has.min_uniform_buffer_offset_alignment,
        min_storage_buffer_offset_alignment: has.min_storage_buffer_offset_alignment,
        max_immediate_size: 0,
        ..wgpu::Limits::default()
    };
    wanted.or_worse_values_from(&has)
}

fn facts(
    info: &wgpu::AdapterInfo,
    features: wgpu::Features,
    limits: &wgpu::Limits,
    class: DeviceClass,
    halves: bool,
) -> DeviceFacts {
    // On GL the sizes are given although there are no subgroups: the feature decides.
    let fixed = info.subgroup_min_size == info.subgroup_max_size && info.subgroup_min_size > 0;
    DeviceFacts {
        class,
        subgroup_size: (features.contains(wgpu::Features::SUBGROUP) && fixed).then_some(info.subgroup_min_size),
        max_invocations: limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x),
        workgroup_memory: limits.max_compute_workgroup_storage_size,
        max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
        max_binding_size: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
        max_buffer_size: limits.max_buffer_size,
        max_workgroups: limits.max_compute_workgroups_per_dimension,
        busy_workgroups: class.busy_workgroups(),
        matrix_side: None,
        offset_alignment: u64::from(limits.min_storage_buffer_offset_alignment).max(16),
        dialect: Dialect {
            words64: class == DeviceClass::Software && features.contains(wgpu::Features::SHADER_INT64),
            halves,
        },
    }
}

const fn kind(device_type: wgpu::DeviceType) -> AdapterKind {
    match device_type {
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
        wgpu::DeviceType::Other => AdapterKind::Other,
        wgpu::DeviceType::Cpu => AdapterKind::Software,
    }
}

const fn backend_name(backend: wgpu::Backend) -> &'static str {
    match backend {
        wgpu::Backend::Noop => "noop",
        wgpu::Backend::Vulkan => "vulkan",
        wgpu::Backend::Metal => "metal",
        wgpu::Backend::Dx12 => "dx12",
        wgpu::Backend::Gl => "gl",
        wgpu::Backend::BrowserWebGpu => "webgpu",
    }
}

/// The class of an adapter: by its interface, else by the vendor's number (PCI's, or Khronos's), else by its name.
fn classify(info: &wgpu::AdapterInfo) -> DeviceClass {
    match info.backend {
        wgpu::Backend::Gl => return DeviceClass::Gl,
        wgpu::Backend::BrowserWebGpu => return DeviceClass::Web,
        _ if info.device_type == wgpu::DeviceType::Cpu => return DeviceClass::Software,
        _ => {}
    }
    match info.vendor & 0xffff {
        0x10de => return DeviceClass::Nvidia,
        0x5143 => return DeviceClass::Adreno,
        0x13b5 => return DeviceClass::Mali,
        0x106b => return DeviceClass::Apple,
        0x8086 => return DeviceClass::Intel,
        0x1002 | 0x1022 => return DeviceClass::Amd,
        _ => {}
    }
    // Metal gives no number.
    let name = info.name.to_lowercase();
    let by_name = [
        ("nvidia", DeviceClass::Nvidia),
        ("geforce", DeviceClass::Nvidia),
        ("adreno", DeviceClass::Adreno),
        ("mali", DeviceClass::Mali),
        ("apple", DeviceClass::Apple),
        ("intel", DeviceClass::Intel),
        ("amd", DeviceClass::Amd),
        ("radeon", DeviceClass::Amd),
        ("llvmpipe", DeviceClass::Software),
        ("swiftshader", DeviceClass::Software),
    ];
    // An unknown one is taken for the most modest of them: no workgroup memory for weights, no subgroups.
    by_name.iter().find(|(part, _)| name.contains(part)).map_or(DeviceClass::Mali, |(_, class)| *class)
}
