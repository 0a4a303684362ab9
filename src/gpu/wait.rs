//! Waiting for the device, blocking or not.
//!
//! A buffer that is being mapped has a [`Signal`], which the driver's callback sets. On native somebody must poll the
//! device for callbacks to run: a blocking wait does so itself; for futures a thread of the device's own does, made at
//! the first of them, so that no runtime is needed. A browser polls by itself.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
#[cfg(not(target_arch = "wasm32"))]
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::GpuDevice;
use super::device::lock;
use crate::error::DeviceError;

/// How a run waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// By blocking the thread, at most so long.
    #[cfg(not(target_arch = "wasm32"))]
    Block(Duration),
    /// By giving the thread back.
    Async,
}

/// How long a blocking wait waits unless it is told.
#[cfg(not(target_arch = "wasm32"))]
const PATIENCE: Duration = Duration::from_secs(30);
/// What is added for each pipeline that the device may have to finish first: one has taken seconds on a busy machine.
#[cfg(not(target_arch = "wasm32"))]
const PER_PIPELINE: Duration = Duration::from_secs(10);

/// Where a buffer stands between host and device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mapping {
    /// The device's.
    #[default]
    Unmapped,
    /// Asked for.
    Pending,
    /// The host's.
    Mapped,
    /// It cannot be had: the device is lost, or the buffer was destroyed.
    Failed,
}

/// The state of a buffer's mapping, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Signal {
    state: Mutex<(Mapping, Option<Waker>)>,
}

impl Signal {
    pub fn get(&self) -> Mapping {
        lock(&self.state).0
    }

    pub fn set(&self, mapping: Mapping) {
        let waker = {
            let mut state = lock(&self.state);
            state.0 = mapping;
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether the mapping is no longer pending; if it is, who is to be woken then.
    fn settled(&self, waker: Option<&Waker>) -> bool {
        let mut state = lock(&self.state);
        let pending = state.0 == Mapping::Pending;
        if pending {
            state.1 = waker.cloned();
        }
        !pending
    }
}

/// A buffer that the host and the device take turns with.
#[derive(Debug)]
pub(super) struct Staging {
    pub buffer: wgpu::Buffer,
    mode: wgpu::MapMode,
    pub signal: Arc<Signal>,
}

impl Staging {
    /// Memory that the host writes and the device copies from. It begins mapped.
    pub fn upload(device: &GpuDevice, size: u64) -> Self {
        let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
        let buffer = device.create_buffer("upload", size, usage, true);
        let signal = Arc::new(Signal::default());
        signal.set(Mapping::Mapped);
        Self { buffer, mode: wgpu::MapMode::Write, signal }
    }

    /// Memory that the device copies to and the host reads. It begins unmapped.
    pub fn download(device: &GpuDevice, size: u64) -> Self {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let buffer = device.create_buffer("download", size, usage, false);
        Self { buffer, mode: wgpu::MapMode::Read, signal: Arc::default() }
    }

    /// Gives it to the device.
    pub fn unmap(&self) {
        if self.signal.get() == Mapping::Mapped {
            self.buffer.unmap();
            self.signal.set(Mapping::Unmapped);
        }
    }

    /// Asks for it back, once what was submitted is done.
    pub fn map(&self) {
        if self.signal.get() != Mapping::Unmapped {
            return;
        }
        self.signal.set(Mapping::Pending);
        let signal = Arc::clone(&self.signal);
        self.buffer.map_async(self.mode, .., move |result| {
            signal.set(if result.is_ok() { Mapping::Mapped } else { Mapping::Failed });
        });
    }

    /// Bytes that the device wrote.
    ///
    /// # Errors
    /// If it is not mapped.
    pub fn read(&self, range: std::ops::Range<u64>) -> Result<wgpu::BufferView, DeviceError> {
        self.buffer.get_mapped_range(range).map_err(unmapped)
    }

    /// Bytes for the device to read.
    ///
    /// # Errors
    /// If it is not mapped.
    pub fn write(&self, range: std::ops::Range<u64>) -> Result<wgpu::BufferViewMut, DeviceError> {
        self.buffer.get_mapped_range_mut(range).map_err(unmapped)
    }
}

fn unmapped(error: wgpu::MapRangeError) -> DeviceError {
    DeviceError::Refused { what: "the host's view of a buffer".to_owned(), message: error.to_string() }
}

/// What polls a device for those who wait without blocking.
#[derive(Debug, Default)]
pub(super) struct Waiter {
    #[cfg(not(target_arch = "wasm32"))]
    worker: Mutex<Option<Worker>>,
    /// Woken after each poll, so that nobody waits for a callback that a lost device never makes.
    #[cfg(not(target_arch = "wasm32"))]
    wakers: Arc<Mutex<Vec<Waker>>>,
}

/// The thread that waits, and the way to give it something to wait for.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug)]
struct Worker {
    requests: std::sync::mpsc::Sender<wgpu::SubmissionIndex>,
    thread: std::thread::JoinHandle<()>,
    /// Set when nobody waits any more.
    ends: Arc<AtomicBool>,
}

/// How long the thread waits at a stretch before it looks whether it is still wanted.
#[cfg(not(target_arch = "wasm32"))]
const STRETCH: Duration = Duration::from_millis(100);

#[cfg(not(target_arch = "wasm32"))]
impl Drop for Waiter {
    /// Sees the thread off, which holds the driver's device: one that outlived `main` would take it down while the
    /// process ends and the driver's own memory with it, and crash.
    fn drop(&mut self) {
        let Some(Worker { requests, thread, ends }) = lock(&self.worker).take() else { return };
        ends.store(true, Ordering::Relaxed);
        drop(requests);
        // Where a waker drops the last handle, it is this very thread.
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}

impl GpuDevice {
    /// Waits until a buffer that was asked for is mapped.
    ///
    /// # Errors
    /// [`DeviceError::Timeout`] where a blocking wait passes its bound, [`DeviceError::Lost`] if the device is.
    pub(super) async fn settle(
        &self,
        staging: &Staging,
        submission: &wgpu::SubmissionIndex,
        wait: Wait,
    ) -> Result<(), DeviceError> {
        match wait {
            #[cfg(not(target_arch = "wasm32"))]
            Wait::Block(timeout) => self.block(staging, submission, timeout)?,
            Wait::Async => {
                let mut asked = false;
                poll_fn(|cx| self.poll_settled(staging, submission, &mut asked, cx)).await?;
            }
        }
        match staging.signal.get() == Mapping::Failed {
            false => {
                #[cfg(not(target_arch = "wasm32"))]
                self.shared().unfinished.store(0, Ordering::Relaxed);
                Ok(())
            }
            true => {
                self.check()?;
                Err(DeviceError::Lost("a buffer could not be read back".to_owned()))
            }
        }
    }

    /// How long to wait by blocking: as was asked, or the default.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn patience(&self, asked: Option<Duration>) -> Wait {
        let pipelines = self.shared().unfinished.load(Ordering::Relaxed);
        Wait::Block(asked.unwrap_or(PATIENCE + PER_PIPELINE * pipelines))
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn block(
        &self,
        staging: &Staging,
        submission: &wgpu::SubmissionIndex,
        timeout: Duration,
    ) -> Result<(), DeviceError> {
        let settled = || staging.signal.settled(None);
        // A bound that no clock can name is none.
        let until = std::time::Instant::now().checked_add(timeout);
        while !settled() {
            let left = until.map_or(Duration::from_secs(1 << 20), |until| {
                until.saturating_duration_since(std::time::Instant::now())
            });
            let poll = wgpu::PollType::Wait { submission_index: Some(submission.clone()), timeout: Some(left) };
            match self.poll(poll) {
                // It may have been another thread that polled, and is still about to call back.
                Ok(()) if settled() => {}
                Ok(()) | Err(DeviceError::Timeout(_)) if left.is_zero() => return Err(DeviceError::Timeout(timeout)),
                Ok(()) | Err(DeviceError::Timeout(_)) => std::thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn poll_settled(
        &self,
        staging: &Staging,
        submission: &wgpu::SubmissionIndex,
        asked: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), DeviceError>> {
        if staging.signal.settled(Some(cx.waker())) {
            return Poll::Ready(Ok(()));
        }
        if let Err(error) = self.check() {
            return Poll::Ready(Err(error));
        }
        #[cfg(not(target_arch = "wasm32"))]
        {
            lock(&self.shared().waiter.wakers).push(cx.waker().clone());
            if !std::mem::replace(asked, true) {
                self.ask_waiter(submission);
            }
        }
        #[cfg(target_arch = "wasm32")]
        let _ = (submission, asked);
        Poll::Pending
    }

    /// Has the device's thread wait for a submission.
    #[cfg(not(target_arch = "wasm32"))]
    fn ask_waiter(&self, submission: &wgpu::SubmissionIndex) {
        let waiter = &self.shared().waiter;
        let mut worker = lock(&waiter.worker);
        if let Some(worker) = worker.as_ref()
            && worker.requests.send(submission.clone()).is_ok()
        {
            return;
        }
        let (requests, receiver) = std::sync::mpsc::channel::<wgpu::SubmissionIndex>();
        let (device, failure) = (self.wgpu().clone(), self.failure());
        let wakers = Arc::clone(&waiter.wakers);
        let ends = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&ends);
        let thread = std::thread::Builder::new().name("rimlight-waiter".to_owned()).spawn(move || {
            while let Ok(submission) = receiver.recv() {
                let wait = || {
                    let (submission_index, timeout) = (Some(submission.clone()), Some(STRETCH));
                    super::device::poll(&device, &failure, wgpu::PollType::Wait { submission_index, timeout })
                };
                while matches!(wait(), Err(DeviceError::Timeout(_))) && !ending.load(Ordering::Relaxed) {}
                for waker in std::mem::take(&mut *lock(&wakers)) {
                    waker.wake();
                }
            }
        });
        match thread {
            Ok(thread) => {
                let _ = requests.send(submission.clone());
                *worker = Some(Worker { requests, thread, ends });
            }
            // Without threads the caller's runtime has to ask again and again.
            Err(error) => {
                log::warn!("no thread to wait for the GPU: {error}");
                let _ = self.poll(wgpu::PollType::Poll);
                for waker in std::mem::take(&mut *lock(&waiter.wakers)) {
                    waker.wake();
                }
            }
        }
    }
}

/// The result of a future that is ready at once: what wgpu's are on native, and ours where they wait by blocking.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut cx) {
            return result;
        }
        std::thread::yield_now();
    }
}
