//! A device: opened from an adapter, or the application's own.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::adapter::{
    AdapterInfo, AdapterRequest, has_halves, matrix_side, surely_has_halves, wanted_features, wanted_limits,
};
use super::constants::Constants;
use super::create::experimental_features;
use super::pipeline::Pipelines;
use super::self_test::Trust;
use super::wait::Waiter;
use crate::cache::Folder;
use crate::error::DeviceError;
use crate::kernel::{DeviceClass, DeviceFacts};
use crate::plan::Tuning;

/// A GPU that can be computed on. Cloning it gives another handle to the same one.
#[derive(Clone)]
pub struct GpuDevice {
    shared: Arc<Shared>,
}

/// What went wrong on a device and could not be told to the caller whose fault it was.
pub(super) type Failure = Arc<Mutex<Option<DeviceError>>>;

/// What all handles of one device share.
pub(super) struct Shared {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: AdapterInfo,
    /// Why the device was lost, once it was; also set by an error that nobody caught on a device of our own.
    failure: Failure,
    pub(super) creations: AtomicU64,
    queue_calls: AtomicU64,
    pub(super) pipelines: Pipelines,
    /// Pipelines that were made since the device last answered: it may have to finish them first.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) unfinished: std::sync::atomic::AtomicU32,
    pub(super) constants: Constants,
    /// Where what makes the next start faster is kept, if anywhere.
    pub(super) folder: OnceLock<Folder>,
    pub(super) tuning: Mutex<Arc<Tuning>>,
    /// What its answers to the self-test were.
    pub(super) trust: Trust,
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "a browser polls by itself"))]
    pub(super) waiter: Waiter,
    #[cfg(test)]
    faults: Arc<super::faults::Faults>,
}

/// Takes a lock; what a thread that panicked left behind it is plain data and still good.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl GpuDevice {
    /// Opens an adapter.
    ///
    /// # Errors
    /// What the driver says.
    pub(super) async fn open(adapter: &wgpu::Adapter, request: &AdapterRequest) -> Result<Self, DeviceError> {
        let side = matrix_side(adapter).filter(|_| request.cooperative_matrices);
        let features = wanted_features(adapter, side);
        let limits = wanted_limits(adapter);
        let info = AdapterInfo::new(&adapter.get_info(), features, &limits, request.class, side, has_halves(adapter));
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("rimlight"),
            required_features: features,
            required_limits: limits,
            experimental_features: experimental_features(side.is_some()),
            // Fewer and larger blocks than for a game: few buffers are made, and those are large.
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let opened = request.imports.then(|| super::foreign::open(adapter, &descriptor)).flatten();
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let opened = None;
        let opened = match opened {
            Some(opened) => opened,
            None => adapter.request_device(&descriptor).await,
        };
        let (device, queue) = opened
            .map_err(|e| DeviceError::Refused { what: format!("to open {}", info.name), message: e.to_string() })?;
        let device = Self::new(device, queue, info);
        device.listen();
        Ok(device)
    }

    /// Takes the application's own device and queue.
    ///
    /// No handler for lost devices or uncaught errors is installed on it (wgpu keeps one of each, and they are the
    /// application's): tell it of a loss with [`GpuDevice::notify_lost`].
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue, class: Option<DeviceClass>) -> Self {
        let (info, features) = (device.adapter_info(), device.features());
        let halves = surely_has_halves(&info, features);
        let info = AdapterInfo::new(&info, features, &device.limits(), class, None, halves);
        Self::new(device, queue, info)
    }

    /// A device that accepts everything and computes nothing: wgpu's own checks, without a GPU.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn noop() -> Self {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let device = Self::from_wgpu(device, queue, Some(DeviceClass::Software));
        device.listen();
        device
    }

    /// The adapter that tests share, software or not; `None`, said once, where there is none. `RIMLIGHT_REQUIRE_GPU`
    /// makes that a failure.
    #[cfg(all(test, not(target_arch = "wasm32")))]
    pub(crate) fn for_tests() -> Option<Self> {
        static DEVICE: std::sync::OnceLock<Option<GpuDevice>> = std::sync::OnceLock::new();
        DEVICE.get_or_init(Self::for_this_test).clone()
    }

    /// As [`GpuDevice::for_tests`], shared with nobody.
    #[cfg(all(test, not(target_arch = "wasm32")))]
    pub(crate) fn for_this_test() -> Option<Self> {
        let request = super::AdapterRequest::any();
        let adapters = pollster::block_on(super::Adapters::find(&request));
        let (choice, device) = pollster::block_on(adapters.open(&request));
        if device.is_err() {
            assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "there is no adapter to test on: {choice}");
            eprintln!("skipped: there is no GPU adapter, nothing was run on one");
        }
        device.ok()
    }

    /// The same device, with kernels of its own that are written in a dialect.
    #[cfg(all(test, not(target_arch = "wasm32")))]
    pub(crate) fn speaking(&self, dialect: crate::kernel::Dialect) -> Self {
        let mut info = self.info().clone();
        info.facts.dialect = dialect;
        Self::new(self.wgpu().clone(), self.queue().clone(), info)
    }

    fn new(device: wgpu::Device, queue: wgpu::Queue, info: AdapterInfo) -> Self {
        let shared = Shared {
            device,
            queue,
            info,
            failure: Arc::default(),
            creations: AtomicU64::new(0),
            queue_calls: AtomicU64::new(0),
            pipelines: Pipelines::default(),
            #[cfg(not(target_arch = "wasm32"))]
            unfinished: std::sync::atomic::AtomicU32::new(0),
            constants: Constants::default(),
            folder: OnceLock::new(),
            tuning: Mutex::default(),
            trust: Trust::default(),
            waiter: Waiter::default(),
            #[cfg(test)]
            faults: Arc::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Installs the handlers that a device of our own needs.
    fn listen(&self) {
        let failure = Arc::clone(&self.shared.failure);
        self.wgpu().set_device_lost_callback(move |reason, message| {
            log::error!("the GPU was lost ({reason:?}): {message}");
            let message = if message.is_empty() { format!("{reason:?}").to_lowercase() } else { message };
            *lock(&failure) = Some(DeviceError::Lost(message));
        });
        let failure = Arc::clone(&self.shared.failure);
        // Errors are caught in scopes; one that comes outside of them must not abort the application.
        self.wgpu().on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            log::error!("an error that nobody caught: {error}");
            lock(&failure).get_or_insert(from_wgpu("a call", error));
        }));
    }

    /// What the planner knows of the device.
    pub fn facts(&self) -> &DeviceFacts {
        &self.info().facts
    }

    /// What the device is.
    pub fn info(&self) -> &AdapterInfo {
        self.shared.trust.narrowed.get().unwrap_or(&self.shared.info)
    }

    /// What the device was before anything was switched off.
    pub(super) fn opened_as(&self) -> &AdapterInfo {
        &self.shared.info
    }

    /// The wgpu device.
    pub fn wgpu(&self) -> &wgpu::Device {
        &self.shared.device
    }

    /// The wgpu queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.shared.queue
    }

    /// How often Rimlight submitted work on this device, wrote to a buffer, or polled. It stands still while the application
    /// encodes runs into its own commands.
    pub fn queue_calls(&self) -> u64 {
        self.shared.queue_calls.load(Ordering::Relaxed)
    }

    /// The faults that tests plant.
    #[cfg(test)]
    pub(crate) fn faults(&self) -> &Arc<super::faults::Faults> {
        &self.shared.faults
    }

    /// Submits work.
    pub(super) fn submit(&self, commands: impl IntoIterator<Item = wgpu::CommandBuffer>) -> wgpu::SubmissionIndex {
        #[cfg(test)]
        if self.shared.faults.loses_now() {
            self.wgpu().destroy();
        }
        self.shared.queue_calls.fetch_add(1, Ordering::Relaxed);
        self.queue().submit(commands)
    }

    /// Writes to a buffer before what is submitted next.
    pub(super) fn write(&self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) {
        self.shared.queue_calls.fetch_add(1, Ordering::Relaxed);
        self.queue().write_buffer(buffer, offset, bytes);
    }

    pub(super) fn encoder(&self) -> wgpu::CommandEncoder {
        self.wgpu().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("rimlight") })
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Whether both are handles of one device.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Says that the device was lost: what is done on it from now on ends with [`DeviceError::Lost`]. For the
    /// application, whose own handler learns of it first.
    pub fn notify_lost(&self, message: impl Into<String>) {
        *lock(&self.shared.failure) = Some(DeviceError::Lost(message.into()));
    }

    /// The device, if it is still good.
    ///
    /// # Errors
    /// [`DeviceError::Lost`], or the error of an earlier call that could not be told to its caller.
    pub fn check(&self) -> Result<(), DeviceError> {
        let mut failure = lock(&self.shared.failure);
        match &*failure {
            None => Ok(()),
            Some(lost @ DeviceError::Lost(_)) => Err(lost.clone()),
            // Told once: later calls may well succeed.
            Some(_) => failure.take().map_or(Ok(()), Err),
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn failure(&self) -> Failure {
        Arc::clone(&self.shared.failure)
    }

    /// Lets the device call back, and waits for it where asked to.
    ///
    /// # Errors
    /// [`DeviceError::Timeout`] where a bound was given and passed, [`DeviceError::Lost`].
    pub(super) fn poll(&self, poll_type: wgpu::PollType) -> Result<(), DeviceError> {
        self.shared.queue_calls.fetch_add(1, Ordering::Relaxed);
        poll(&self.shared.device, &self.shared.failure, poll_type)
    }

    /// Calls wgpu and turns what goes wrong into an error. `what` completes "the GPU refused …".
    ///
    /// The scopes are closed before this returns, so that the future may be awaited anywhere.
    pub(super) fn guarded<T, F: FnOnce() -> T, W: Into<Cow<'static, str>>>(
        &self,
        what: W,
        call: F,
    ) -> impl Future<Output = Result<T, DeviceError>> + use<T, F, W> {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        let validation = self.wgpu().push_error_scope(Validation);
        let memory = self.wgpu().push_error_scope(OutOfMemory);
        let internal = self.wgpu().push_error_scope(Internal);
        let made = call();
        // The innermost first.
        let (internal, memory, validation) = (internal.pop(), memory.pop(), validation.pop());
        let (what, device) = (what.into(), self.clone());
        async move {
            device.check()?;
            #[cfg(test)]
            if let Some(error) = device.faults().refuses(&what) {
                return Err(error);
            }
            // Out of memory first: what follows from it is no fault of its own.
            match memory.await.or(internal.await).or(validation.await) {
                None => Ok(made),
                Some(error) => {
                    // What a lost device refuses says only that; that it is lost it says when it is asked.
                    let _ = device.poll(wgpu::PollType::Poll);
                    device.check()?;
                    Err(from_wgpu(&what, error))
                }
            }
        }
    }
}

/// [`GpuDevice::poll`], for the thread that must not keep the device alive.
pub(super) fn poll(
    device: &wgpu::Device,
    failure: &Mutex<Option<DeviceError>>,
    poll_type: wgpu::PollType,
) -> Result<(), DeviceError> {
    let bound = match poll_type {
        wgpu::PollType::Wait { timeout, .. } => timeout,
        wgpu::PollType::Poll => None,
    };
    // wgpu panics in here, and nowhere else, when the driver says that the device is lost.
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| device.poll(poll_type)));
    let lost = |message: &str| lock(failure).get_or_insert(DeviceError::Lost(message.to_owned())).clone();
    match polled {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(wgpu::PollError::Timeout)) => Err(DeviceError::Timeout(bound.unwrap_or_default())),
        // The submission was turned away, which only a lost device does.
        Ok(Err(wgpu::PollError::WrongSubmissionIndex(..))) => Err(lost("it takes no work any more")),
        Err(_) => Err(lost("the driver reports an error")),
    }
}

impl fmt::Debug for GpuDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GpuDevice({})", self.shared.info)
    }
}

fn from_wgpu(what: &str, error: wgpu::Error) -> DeviceError {
    match error {
        wgpu::Error::OutOfMemory { .. } => DeviceError::OutOfMemory(what.to_owned()),
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            DeviceError::Refused { what: what.to_owned(), message: description.trim().to_owned() }
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn handles_may_cross_threads() {
        fn check<T: Send + Sync>() {}
        check::<GpuDevice>();
    }

    #[test]
    fn a_refused_call_is_an_error() {
        let device = GpuDevice::noop();
        let too_large = device.wgpu().limits().max_buffer_size + 16;
        let made =
            pollster::block_on(device.guarded("a buffer", || {
                device.create_buffer("too large", too_large, wgpu::BufferUsages::STORAGE, false)
            }));
        assert!(matches!(made, Err(DeviceError::Refused { ref what, .. }) if what == "a buffer"), "{made:?}");
        assert!(device.check().is_ok());
    }

    #[test]
    fn a_lost_device_stays_lost() {
        let device = GpuDevice::noop();
        device.notify_lost("the driver was replaced");
        let made = pollster::block_on(device.guarded("a buffer", || ()));
        assert!(matches!(made, Err(DeviceError::Lost(ref text)) if text == "the driver was replaced"));
        assert!(device.check().is_err());
    }

    #[test]
    fn a_device_that_is_destroyed_is_lost() {
        let Some(_) = GpuDevice::for_tests() else { return };
        let adapters = pollster::block_on(super::super::Adapters::find(&super::super::AdapterRequest::any()));
        let (_, device) = pollster::block_on(adapters.open(&super::super::AdapterRequest::any()));
        let device = device.unwrap();
        device.wgpu().destroy();
        let _ = device.wgpu().poll(wgpu::PollType::Poll);
        assert!(matches!(device.check(), Err(DeviceError::Lost(_))));
    }
}
