//! Adapters: listing them, and choosing one.

mod info;

use std::fmt;

pub use info::{AdapterInfo, AdapterKind};
pub(crate) use info::{has_halves, matrix_side, wanted_features};
pub(super) use info::{surely_has_halves, wanted_limits};

use super::GpuDevice;
use super::diagnose::{Machine, why_none};
use crate::error::DeviceError;
use crate::kernel::DeviceClass;

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
    /// Asks for cooperative matrices where the adapter has such as are used, see
    /// [`DeviceOptions::cooperative_matrices`](crate::DeviceOptions::cooperative_matrices).
    pub cooperative_matrices: bool,
    /// Opens the adapter with what imports of foreign frames need, where it has that, see
    /// [`DeviceOptions::imports`](crate::DeviceOptions::imports).
    pub imports: bool,
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
            // Whoever names an adapter, or takes any, asks for it.
            None if !self.software => {
                let quirk = info.quirks.iter().find(|quirk| quirk.is_to_be_asked_for())?;
                Some(format!("{}: {} ({})", quirk.fault, quirk.remedy, quirk.source))
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
        let mut found = enumerate(first, request).await;
        if named.is_none() && !found.iter().any(|(_, info)| request.refusal(info).is_none()) {
            found.extend(enumerate(wgpu::Backends::GL, request).await);
        }
        Self { found }
    }

    /// All adapters of all interfaces, with all that Rimlight may ask them for.
    pub async fn all() -> Self {
        let named = backends(&[]).unwrap_or(wgpu::Backends::all() & !wgpu::Backends::NOOP);
        let request = AdapterRequest { cooperative_matrices: true, ..AdapterRequest::any() };
        Self { found: enumerate(named, &request).await }
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
            Some(i) => GpuDevice::open(&self.found[i].0, request).await,
            None => Err(DeviceError::NoAdapter(choice.none.clone().unwrap_or_default())),
        };
        (choice, device)
    }
}

/// The backends of these names, or those of the environment, or `None` where neither says.
fn backends(names: &[String]) -> Option<wgpu::Backends> {
    if names.is_empty() { wgpu::Backends::from_env() } else { Some(wgpu::Backends::from_comma_list(&names.join(","))) }
}

async fn enumerate(backends: wgpu::Backends, request: &AdapterRequest) -> Vec<(wgpu::Adapter, AdapterInfo)> {
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
            let side = matrix_side(&adapter).filter(|_| request.cooperative_matrices);
            let features = wanted_features(&adapter, side);
            let info =
                AdapterInfo::new(&adapter.get_info(), features, &limits, request.class, side, has_halves(&adapter));
            (adapter, info)
        })
        .collect()
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::kernel::DeviceFacts;

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
            quirks: vec![],
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
