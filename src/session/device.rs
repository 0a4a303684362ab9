//! The device that a model runs on, as the application sees it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(feature = "gpu")]
use std::sync::OnceLock;

use crate::error::DeviceError;
#[cfg(feature = "gpu")]
use crate::gpu::{AdapterRequest, Adapters, GpuDevice, SelfTest};
use crate::kernel::{DeviceClass, DeviceFacts};

/// Which kind of device is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Backend {
    /// A discrete or integrated GPU; the CPU where there is none, and for a model with a tensor that is too large for the
    /// GPU. Never a GPU in software, which the CPU beats, unless [`DeviceOptions::adapter`] names one.
    #[default]
    Auto,
    /// A GPU, one in software included; an error where there is none.
    Gpu,
    /// The CPU.
    Cpu,
}

/// How a device is chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceOptions {
    /// The kind of device.
    pub backend: Backend,
    /// A part of the adapter's name, where there are several.
    pub adapter: Option<String>,
    /// Plans as for a device of this class, whatever it is.
    pub class: Option<DeviceClass>,
    /// Asks for cooperative matrices (tensor cores, simdgroup matrices) where the GPU has them, so that
    /// [`Session::tune`](crate::Session::tune) measures the kernel that uses them in 16-bit storage; no plan takes it unmeasured.
    /// For wgpu they are experimental: by its own words a bug in them may be undefined behaviour.
    pub cooperative_matrices: bool,
    /// Opens the GPU with what it needs to read frames that other drivers made, where it has that: dma-bufs on Linux,
    /// `AHardwareBuffer`s on Android. See [`gpu::ForeignPicture`](crate::gpu::ForeignPicture).
    pub imports: bool,
    /// Threads of the CPU backend; as many as there are cores where not given.
    pub threads: Option<usize>,
    /// Where compiled pipelines, packed weights and what [`Session::tune`](crate::Session::tune) found may be kept between
    /// starts; nothing is written where not given.
    pub cache_folder: Option<PathBuf>,
    /// When the GPU is checked for wrong answers, which takes some milliseconds. What answers wrong is switched off on this
    /// device, and a GPU that cannot be computed on is refused: [`Device::auto`] takes the CPU then.
    #[cfg(feature = "gpu")]
    pub self_test: SelfTest,
}

/// A GPU or the CPU. Cloning it gives another handle to the same one.
///
/// ```
/// let device = rimlight::Device::auto(); // never fails: the CPU is always there
/// println!("{}\n{}", device.name(), device.choice());
/// ```
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    #[cfg(feature = "gpu")]
    gpu: Option<GpuDevice>,
    cpu: crate::cpu::Threads,
    choice: String,
    /// Whether the CPU may take a model that does not fit the GPU.
    #[cfg(feature = "gpu")]
    lenient: bool,
    /// How it was opened, if it may be opened anew once it is lost.
    #[cfg(feature = "gpu")]
    opened: Option<DeviceOptions>,
    /// The device that was opened in its place.
    #[cfg(feature = "gpu")]
    renewed: OnceLock<Device>,
}

impl Device {
    /// A discrete, then an integrated GPU; the CPU where there is none. [`Device::choice`] tells why.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn auto() -> Self {
        Self::new(&DeviceOptions::default()).unwrap_or_else(|_| Self::cpu())
    }

    /// A GPU, one in software included.
    ///
    /// # Errors
    /// [`DeviceError::NoAdapter`] where there is none, with the reason.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn gpu() -> Result<Self, DeviceError> {
        Self::new(&DeviceOptions { backend: Backend::Gpu, ..DeviceOptions::default() })
    }

    /// The CPU, with as many threads as there are cores.
    pub fn cpu() -> Self {
        Self::of_cpu(&DeviceOptions::default(), "CPU: asked for".to_owned())
    }

    /// The device that fits the options.
    ///
    /// # Errors
    /// [`DeviceError::NoAdapter`] if a GPU was asked for and there is none.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(options: &DeviceOptions) -> Result<Self, DeviceError> {
        pollster::block_on(Self::new_async(options))
    }

    /// [`Device::new`], for callers that must not block.
    ///
    /// # Errors
    /// [`DeviceError::NoAdapter`] if a GPU was asked for and there is none.
    pub async fn new_async(options: &DeviceOptions) -> Result<Self, DeviceError> {
        Self::open(options, true).await
    }

    /// Opens a device, which may be opened `anew` once it is lost.
    async fn open(options: &DeviceOptions, anew: bool) -> Result<Self, DeviceError> {
        #[cfg(not(feature = "gpu"))]
        let _ = anew;
        #[cfg(feature = "gpu")]
        if options.backend != Backend::Cpu {
            // Naming an adapter is asking for it, also for one in software.
            let named = options.adapter.is_some();
            let mut request =
                if options.backend == Backend::Gpu || named { AdapterRequest::any() } else { AdapterRequest::auto() };
            request.name.clone_from(&options.adapter);
            request.class = options.class;
            request.cooperative_matrices = options.cooperative_matrices;
            request.imports = options.imports;
            let (choice, gpu) = Adapters::find(&request).await.open(&request).await;
            let gpu = match gpu {
                Ok(gpu) => {
                    if let Some(folder) = &options.cache_folder {
                        gpu.keep_in(crate::cache::Folder::new(folder)).await?;
                    }
                    gpu.examine(options.self_test).await.map(|()| gpu)
                }
                Err(error) => Err(error),
            };
            match gpu {
                Ok(gpu) => {
                    return Ok(Self(Arc::new(Inner {
                        gpu: Some(gpu),
                        cpu: crate::cpu::Threads::new(options.threads),
                        choice: choice.to_string(),
                        lenient: options.backend == Backend::Auto,
                        opened: anew.then(|| options.clone()),
                        renewed: OnceLock::new(),
                    })));
                }
                Err(error) if options.backend == Backend::Gpu || named => return Err(error),
                Err(DeviceError::NoAdapter(_)) => {
                    return Ok(Self::of_cpu(options, format!("{choice}CPU: taken, since there is no GPU to take")));
                }
                Err(error) => return Ok(Self::of_cpu(options, format!("{choice}CPU: taken, since {error}"))),
            }
        }
        #[cfg(not(feature = "gpu"))]
        if options.backend == Backend::Gpu {
            return Err(DeviceError::NoAdapter("Rimlight was built without its feature `gpu`".to_owned()));
        }
        Ok(Self::of_cpu(options, "CPU: asked for".to_owned()))
    }

    /// The application's own device and queue.
    ///
    /// Rimlight installs no device-lost or uncaptured-error handler on it: tell it of a loss with
    /// [`Device::notify_lost`].
    #[cfg(feature = "gpu")]
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let gpu = GpuDevice::from_wgpu(device, queue, None);
        let choice = format!("{}: given by the application", gpu.info());
        Self(Arc::new(Inner {
            gpu: Some(gpu),
            cpu: crate::cpu::Threads::new(None),
            choice,
            lenient: false,
            opened: None,
            renewed: OnceLock::new(),
        }))
    }

    /// A GPU that a test has opened, examined as any.
    #[cfg(all(test, feature = "gpu", not(target_arch = "wasm32")))]
    pub(crate) fn examined(gpu: GpuDevice) -> Result<Self, DeviceError> {
        pollster::block_on(gpu.examine(SelfTest::Always))?;
        let (cpu, choice) = (crate::cpu::Threads::new(None), "a test's".to_owned());
        let (opened, renewed) = (None, OnceLock::new());
        Ok(Self(Arc::new(Inner { gpu: Some(gpu), cpu, choice, lenient: false, opened, renewed })))
    }

    fn of_cpu(options: &DeviceOptions, choice: String) -> Self {
        Self::of_threads(crate::cpu::Threads::new(options.threads), choice)
    }

    fn of_threads(cpu: crate::cpu::Threads, choice: String) -> Self {
        Self(Arc::new(Inner {
            #[cfg(feature = "gpu")]
            gpu: None,
            cpu,
            choice,
            #[cfg(feature = "gpu")]
            lenient: false,
            #[cfg(feature = "gpu")]
            opened: None,
            #[cfg(feature = "gpu")]
            renewed: OnceLock::new(),
        }))
    }

    /// Whether it is a GPU.
    pub fn is_gpu(&self) -> bool {
        #[cfg(feature = "gpu")]
        return self.0.gpu.is_some();
        #[cfg(not(feature = "gpu"))]
        false
    }

    /// What it is called: the adapter's name and interface, or the number of threads of the CPU.
    pub fn name(&self) -> String {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = &self.0.gpu {
            return gpu.info().to_string();
        }
        match self.0.cpu.count() {
            1 => "CPU, 1 thread".to_owned(),
            n => format!("CPU, {n} threads"),
        }
    }

    /// Every candidate that was looked at, and why it was or was not taken; a line each.
    pub fn choice(&self) -> &str {
        self.0.choice.trim_end()
    }

    /// What plans depend on, where it is a GPU.
    pub fn facts(&self) -> Option<&DeviceFacts> {
        #[cfg(feature = "gpu")]
        return self.0.gpu.as_ref().map(GpuDevice::facts);
        #[cfg(not(feature = "gpu"))]
        None
    }

    /// Tells of the loss of a device that the application gave: what runs on it ends with [`DeviceError::Lost`].
    #[cfg(feature = "gpu")]
    pub fn notify_lost(&self, message: &str) {
        if let Some(gpu) = &self.0.gpu {
            gpu.notify_lost(message);
        }
    }

    /// The GPU itself.
    #[cfg(feature = "gpu")]
    pub fn as_gpu(&self) -> Option<&GpuDevice> {
        self.0.gpu.as_ref()
    }

    /// What was measured on it, where it is a GPU.
    pub(crate) fn tuning(&self) -> Arc<crate::plan::Tuning> {
        #[cfg(feature = "gpu")]
        return self.0.gpu.as_ref().map(GpuDevice::tuning).unwrap_or_default();
        #[cfg(not(feature = "gpu"))]
        Arc::default()
    }

    /// The kernels that answer wrong on it, where it is a GPU.
    pub(crate) fn distrust(&self) -> Arc<crate::plan::Distrust> {
        #[cfg(feature = "gpu")]
        return self.0.gpu.as_ref().map(GpuDevice::distrust).unwrap_or_default();
        #[cfg(not(feature = "gpu"))]
        Arc::default()
    }

    /// Whether the CPU takes a model that does not fit this GPU: nobody asked for a GPU.
    pub(crate) fn is_lenient(&self) -> bool {
        #[cfg(feature = "gpu")]
        return self.0.lenient;
        #[cfg(not(feature = "gpu"))]
        false
    }

    /// The CPU with the same threads.
    pub(crate) fn on_cpu(&self, choice: &str) -> Self {
        Self::of_threads(self.0.cpu.clone(), choice.to_owned())
    }

    /// The same adapter opened anew, the same one for everybody who asks; `None` if it cannot be, or was before.
    pub(crate) async fn renewed(&self) -> Option<Self> {
        #[cfg(feature = "gpu")]
        {
            if let Some(renewed) = self.0.renewed.get() {
                return Some(renewed.clone());
            }
            let options = self.0.opened.as_ref()?;
            #[cfg(test)]
            if self.0.gpu.as_ref().is_some_and(|gpu| gpu.faults().is_gone()) {
                return None;
            }
            // What the CPU would take in its place is not asked here.
            let adapter = options.adapter.clone().or_else(|| self.as_gpu().map(|gpu| gpu.info().name.clone()));
            let options = DeviceOptions { backend: Backend::Gpu, adapter, ..options.clone() };
            let opened = Self::open(&options, false).await;
            if let Err(error) = &opened {
                log::warn!("{} could not be opened anew: {error}", self.name());
            }
            // It stays what it was: chosen by somebody, or not.
            let mut opened = opened.ok()?;
            Arc::get_mut(&mut opened.0)?.lenient = self.0.lenient;
            Some(self.0.renewed.get_or_init(|| opened).clone())
        }
        #[cfg(not(feature = "gpu"))]
        None
    }

    pub(crate) fn threads(&self) -> &crate::cpu::Threads {
        &self.0.cpu
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.name())
    }
}
