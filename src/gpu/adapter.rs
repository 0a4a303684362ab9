//! Adapters: listing them, saying what they are, and choosing one.

use std::fmt;

use super::GpuDevice;
use super::diagnose::{Machine, why_none};
use crate::error::DeviceError;
use crate::kernel::{DeviceClass, DeviceFacts};

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
}

impl AdapterInfo {
    /// What a device has that was made from `info`'s adapter with these features and limits.
    pub(super) fn new(
        info: &wgpu::AdapterInfo,
        features: wgpu::Features,
        limits: &wgpu::Limits,
        class: Option<DeviceClass>,
    ) -> Self {
        let class = class.unwrap_or_else(|| classify(info));
        Self {
            name: info.name.clone(),
            backend: backend_name(info.backend),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            kind: kind(info.device_type),
            vendor: info.vendor,
            device: info.device,
            features: FEATURES.iter().filter(|(f, _)| features.contains(*f)).map(|(_, name)| *name).collect(),
            facts: facts(info, features, limits, class),
            max_buffer_size: limits.max_buffer_size,
        }
    }

    /// Whether a user who types `text` means this adapter: it occurs in the name, the driver or the backend's name.
    fn is_meant_by(&self, text: &str) -> bool {
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
const FEATURES: [(wgpu::Features, &str); 3] = [
    (wgpu::Features::SUBGROUP, "subgroups"),
    (wgpu::Features::TIMESTAMP_QUERY, "timestamps"),
    (wgpu::Features::PIPELINE_CACHE, "pipeline-cache"),
];

/// The features to ask an adapter for.
pub(super) fn wanted_features(adapter: &wgpu::Adapter) -> wgpu::Features {
    let wanted = FEATURES.iter().fold(wgpu::Features::empty(), |all, (feature, _)| all | *feature);
    adapter.features() & wanted & !wgpu::Features::all_experimental_mask()
}

/// The limits to ask an adapter for: what kernels and plans can use, or less where the adapter has less.
pub(super) fn wanted_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
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

fn facts(info: &wgpu::AdapterInfo, features: wgpu::Features, limits: &wgpu::Limits, class: DeviceClass) -> DeviceFacts {
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
        offset_alignment: u64::from(limits.min_storage_buffer_offset_alignment).max(16),
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

/// Which adapter is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdapterRequest {
    /// A part of its name, its driver's or its backend's (without case).
    pub name: Option<String>,
    /// Whether a GPU in software will do. [`AdapterRequest::name`] does not imply it.
    pub software: bool,
    /// The interfaces to look at, by their names (`vulkan`, `gl`, …); all where empty, GL only if the others have none.
    /// The environment's `WGPU_BACKEND` is used where this is empty.
    pub backends: Vec<String>,
    /// Treats the device as one of this class.
    pub class: Option<DeviceClass>,
}

impl AdapterRequest {
    /// A discrete, then an integrated GPU; never one in software.
    pub fn auto() -> Self {
        Self::default()
    }

    /// Any GPU, those in software included.
    pub fn any() -> Self {
        Self { software: true, ..Self::default() }
    }

    fn refusal(&self, info: &AdapterInfo) -> Option<String> {
        match &self.name {
            Some(name) if !info.is_meant_by(name) => Some(format!("its name does not hold '{name}'")),
            _ if !self.software && info.kind == AdapterKind::Software => {
                Some("it is a GPU in software, slower than the CPU itself; `gpu` instead of `auto` takes it".to_owned())
            }
            _ => None,
        }
    }
}

/// An adapter that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Considered {
    /// What it is.
    pub info: AdapterInfo,
    /// Why it was not taken; `None` for the one that was.
    pub passed_over: Option<String>,
}

/// What was chosen, among what, and why.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Choice {
    /// Every adapter that was found.
    pub considered: Vec<Considered>,
    /// Why there is none to take, and what to do about it.
    pub none: Option<String>,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for considered in &self.considered {
            match &considered.passed_over {
                None => writeln!(f, "{}: taken", considered.info)?,
                Some(reason) => writeln!(f, "{}: not taken: {reason}", considered.info)?,
            }
        }
        match &self.none {
            Some(reason) => writeln!(f, "{reason}"),
            None => Ok(()),
        }
    }
}

/// The adapters of this machine, found.
#[derive(Debug)]
pub struct Adapters {
    found: Vec<(wgpu::Adapter, AdapterInfo)>,
}

impl Adapters {
    /// Looks for the adapters that a request may take. GL is asked only where the other interfaces have none that fit:
    /// looking for it is slow, and EGL writes to the standard error by itself.
    pub async fn find(request: &AdapterRequest) -> Self {
        let named = backends(&request.backends);
        let first = named.unwrap_or(wgpu::Backends::all() & !wgpu::Backends::GL & !wgpu::Backends::NOOP);
        let mut found = enumerate(first, request.class).await;
        if named.is_none() && !found.iter().any(|(_, info)| request.refusal(info).is_none()) {
            found.extend(enumerate(wgpu::Backends::GL, request.class).await);
        }
        Self { found }
    }

    /// All adapters of all interfaces.
    pub async fn all() -> Self {
        let named = backends(&[]);
        Self { found: enumerate(named.unwrap_or(wgpu::Backends::all() & !wgpu::Backends::NOOP), None).await }
    }

    /// What was found.
    pub fn infos(&self) -> impl Iterator<Item = &AdapterInfo> {
        self.found.iter().map(|(_, info)| info)
    }

    /// Chooses: discrete before integrated before the rest, software last and only where the request takes it.
    pub fn choose(&self, request: &AdapterRequest) -> Choice {
        let fitting = |i: &usize| request.refusal(&self.found[*i].1).is_none();
        let best = (0..self.found.len()).filter(fitting).min_by_key(|&i| self.found[i].1.kind);
        let considered = self
            .infos()
            .enumerate()
            .map(|(i, info)| Considered {
                info: info.clone(),
                passed_over: if best == Some(i) {
                    None
                } else {
                    Some(request.refusal(info).unwrap_or_else(|| "another one is preferred".to_owned()))
                },
            })
            .collect::<Vec<_>>();
        let none = best.is_none().then(|| why_none(&considered, request, &Machine::look()));
        Choice { considered, none }
    }

    /// Opens the adapter that [`Adapters::choose`] takes.
    ///
    /// # Errors
    /// [`DeviceError::NoAdapter`] with the reason if it takes none, and what the driver says if it cannot be opened.
    pub async fn open(&self, request: &AdapterRequest) -> (Choice, Result<GpuDevice, DeviceError>) {
        let choice = self.choose(request);
        let taken = choice.considered.iter().position(|c| c.passed_over.is_none());
        let device = match taken {
            Some(i) => GpuDevice::open(&self.found[i].0, request.class).await,
            None => Err(DeviceError::NoAdapter(choice.none.clone().unwrap_or_default())),
        };
        (choice, device)
    }
}

/// The backends of these names, or those of the environment, or `None` where neither says.
fn backends(names: &[String]) -> Option<wgpu::Backends> {
    if names.is_empty() { wgpu::Backends::from_env() } else { Some(wgpu::Backends::from_comma_list(&names.join(","))) }
}

async fn enumerate(backends: wgpu::Backends, class: Option<DeviceClass>) -> Vec<(wgpu::Adapter, AdapterInfo)> {
    if (backends & wgpu::Instance::enabled_backend_features()).is_empty() {
        return vec![];
    }
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    // Vulkan's validation layers are for who debugs wgpu itself: `WGPU_VALIDATION=1` asks for them.
    descriptor.flags = wgpu::InstanceFlags::empty().with_env();
    descriptor.backend_options = wgpu::BackendOptions::from_env_or_default();
    let instance = wgpu::Instance::new(descriptor);
    let adapters = instance.enumerate_adapters(backends).await;
    adapters
        .into_iter()
        // Rimlight computes: an adapter without compute shaders (WebGL 2, old GL) is none.
        .filter(|a| a.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS))
        .map(|adapter| {
            let limits = wanted_limits(&adapter);
            let info = AdapterInfo::new(&adapter.get_info(), wanted_features(&adapter), &limits, class);
            (adapter, info)
        })
        .collect()
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    fn info(name: &str, kind: AdapterKind) -> AdapterInfo {
        AdapterInfo {
            name: name.to_owned(),
            backend: "vulkan",
            driver: "a driver".to_owned(),
            kind,
            vendor: 0,
            device: 0,
            features: vec![],
            facts: DeviceFacts::floor(DeviceClass::Intel),
            max_buffer_size: 1 << 28,
        }
    }

    #[test]
    fn software_is_refused_unless_asked_for() {
        let software = info("llvmpipe (LLVM 15.0.6, 256 bits)", AdapterKind::Software);
        assert!(AdapterRequest::auto().refusal(&software).is_some());
        assert!(AdapterRequest::any().refusal(&software).is_none());
        let named = AdapterRequest { name: Some("LLVMpipe".to_owned()), ..AdapterRequest::any() };
        assert!(named.refusal(&software).is_none());
        assert!(named.refusal(&info("GeForce", AdapterKind::Discrete)).is_some());
    }

    #[test]
    fn discrete_gpus_are_preferred() {
        assert!(AdapterKind::Discrete < AdapterKind::Integrated);
        assert!(AdapterKind::Other < AdapterKind::Software);
    }

    #[test]
    fn an_absent_name_is_an_error_that_lists_what_there_is() {
        let request = AdapterRequest { name: Some("no such adapter".to_owned()), ..AdapterRequest::any() };
        // Vulkan alone: GL would be asked as well and is slow to answer.
        let request = AdapterRequest { backends: vec!["vulkan".to_owned()], ..request };
        let adapters = pollster::block_on(Adapters::find(&request));
        let (choice, device) = pollster::block_on(adapters.open(&request));
        assert!(matches!(device, Err(DeviceError::NoAdapter(ref text)) if text.contains("no such adapter")));
        assert!(choice.considered.iter().all(|c| c.passed_over.is_some()));
    }

    #[test]
    fn lavapipe_is_what_plans_without_a_device_take_it_for() {
        let Some(device) = GpuDevice::for_tests() else { return };
        if device.info().name.contains("256 bits") && device.info().backend == "vulkan" {
            assert_eq!(*device.facts(), DeviceFacts::lavapipe());
        }
    }
}
