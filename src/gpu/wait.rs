//! Waiting for the device, blocking or not.
//!
//! A buffer that is being mapped has a [`Signal`], which the driver's callback sets. On native somebody must poll the
//! device for callbacks to run: a blocking wait does so itself; for futures a thread of the device's own does, made at
//! the first of them, so that no runtime is needed. A browser polls by itself.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
#[cfg(not(target_arch = "wasm32"))]
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use super::GpuDevice;
use super::device::lock;
use crate::error::{DeviceError, RunError};
use crate::interrupt::Interrupt;

/// How a run waits: by blocking the thread or by giving it back, how long, and what may end it sooner.
#[derive(Debug, Clone)]
pub(super) struct Wait {
    #[cfg(not(target_arch = "wasm32"))]
    blocks: bool,
    /// At most so long for one answer of the device. A browser has no thread that could look at the time.
    #[cfg(not(target_arch = "wasm32"))]
    patience: Duration,
    pub interrupt: Interrupt,
}

impl Wait {
    /// Blocks the thread.
    #[cfg(not(target_arch = "wasm32"))]
    pub const fn blocking(patience: Duration, interrupt: Interrupt) -> Self {
        Self { blocks: true, patience, interrupt }
    }

    /// Gives the thread back.
    #[cfg(not(target_arch = "wasm32"))]
    pub const fn giving_back(patience: Duration, interrupt: Interrupt) -> Self {
        Self { blocks: false, patience, interrupt }
    }

    /// Gives the thread back.
    #[cfg(target_arch = "wasm32")]
    pub const fn giving_back(interrupt: Interrupt) -> Self {
        Self { interrupt }
    }
}

/// How long a wait for the device takes at most unless it is told.
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
    #[cfg(test)]
    faults: Arc<super::faults::Faults>,
}

impl Staging {
    /// Memory that the host writes and the device copies from. It begins mapped.
    pub fn upload(device: &GpuDevice, size: u64) -> Self {
        let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
        let buffer = device.create_buffer("upload", size, usage, true);
        let signal = Arc::new(Signal::default());
        signal.set(Mapping::Mapped);
        Self {
            buffer,
            mode: wgpu::MapMode::Write,
            signal,
            #[cfg(test)]
            faults: Arc::clone(device.faults()),
        }
    }

    /// Memory that the device copies to and the host reads. It begins unmapped.
    pub fn download(device: &GpuDevice, size: u64) -> Self {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let buffer = device.create_buffer("download", size, usage, false);
        Self {
            buffer,
            mode: wgpu::MapMode::Read,
            signal: Arc::default(),
            #[cfg(test)]
            faults: Arc::clone(device.faults()),
        }
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
        #[cfg(test)]
        if self.faults.holds_maps_back() {
            return;
        }
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
    /// How often they were woken.
    #[cfg(not(target_arch = "wasm32"))]
    rounds: Arc<AtomicU64>,
}

/// The thread that waits, and the way to give it something to wait for.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug)]
struct Worker {
    /// What to wait for, and whether it was waited for before.
    requests: std::sync::mpsc::Sender<(wgpu::SubmissionIndex, bool)>,
    thread: std::thread::JoinHandle<()>,
    /// Set when nobody waits any more.
    ends: Arc<AtomicBool>,
}

/// How long the thread waits at a stretch before it looks whether it is still wanted, and has those who wait look at the time.
#[cfg(not(target_arch = "wasm32"))]
const STRETCH: Duration = Duration::from_millis(100);

/// How long a wait that may be interrupted goes on without looking whether it is.
#[cfg(not(target_arch = "wasm32"))]
const GLANCE: Duration = Duration::from_millis(2);

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
    /// [`DeviceError::Timeout`] where the wait passes its bound, [`DeviceError::Lost`] if the device is, and what interrupts the
    /// wait.
    pub(super) async fn settle(
        &self,
        staging: &Staging,
        submission: &wgpu::SubmissionIndex,
        wait: &Wait,
    ) -> Result<(), RunError> {
        self.signalled(&staging.signal, submission, wait).await?;
        if staging.signal.get() == Mapping::Failed {
            self.check()?;
            return Err(DeviceError::Lost("a buffer could not be read back".to_owned()).into());
        }
        Ok(())
    }

    /// A signal that is set once all that was submitted so far is done.
    pub(super) fn mark(&self) -> Arc<Signal> {
        let signal = Arc::new(Signal::default());
        signal.set(Mapping::Pending);
        let done = Arc::clone(&signal);
        self.queue().on_submitted_work_done(move || done.set(Mapping::Unmapped));
        signal
    }

    /// Waits until a signal is no longer pending, which it is when a submission is done.
    ///
    /// # Errors
    /// As [`GpuDevice::settle`].
    pub(super) async fn signalled(
        &self,
        signal: &Signal,
        submission: &wgpu::SubmissionIndex,
        wait: &Wait,
    ) -> Result<(), RunError> {
        #[cfg(not(target_arch = "wasm32"))]
        if wait.blocks {
            self.block(signal, submission, wait)?;
            self.shared().unfinished.store(0, Ordering::Relaxed);
            return Ok(());
        }
        #[cfg(not(target_arch = "wasm32"))]
        let (start, mut asked) = (std::time::Instant::now(), None);
        poll_fn(|cx| {
            if signal.settled(Some(cx.waker())) {
                return Poll::Ready(Ok::<_, RunError>(()));
            }
            self.check()?;
            wait.interrupt.wakes(cx.waker());
            wait.interrupt.check()?;
            #[cfg(not(target_arch = "wasm32"))]
            {
                if start.elapsed() >= wait.patience {
                    return Poll::Ready(Err(DeviceError::Timeout(wait.patience).into()));
                }
                let waiter = &self.shared().waiter;
                lock(&waiter.wakers).push(cx.waker().clone());
                let round = waiter.rounds.load(Ordering::Acquire);
                if asked != Some(round) {
                    self.ask_waiter(submission, asked.is_some());
                    asked = Some(round);
                }
            }
            Poll::Pending
        })
        .await?;
        #[cfg(not(target_arch = "wasm32"))]
        self.shared().unfinished.store(0, Ordering::Relaxed);
        #[cfg(target_arch = "wasm32")]
        let _ = submission;
        Ok(())
    }

    /// How long to wait for an answer: as was asked, or the default.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn patience(&self, asked: Option<Duration>) -> Duration {
        let pipelines = self.shared().unfinished.load(Ordering::Relaxed);
        asked.unwrap_or(PATIENCE + PER_PIPELINE * pipelines)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn block(&self, signal: &Signal, submission: &wgpu::SubmissionIndex, wait: &Wait) -> Result<(), RunError> {
        let settled = || signal.settled(None);
        // A bound that no clock can name is none.
        let until = std::time::Instant::now().checked_add(wait.patience);
        let mut vain = 0u32;
        while !settled() {
            wait.interrupt.check()?;
            let left = until.map_or(Duration::from_secs(1 << 20), |until| {
                until.saturating_duration_since(std::time::Instant::now())
            });
            let stretch = if wait.interrupt.is_possible() { left.min(GLANCE) } else { left };
            let poll = wgpu::PollType::Wait { submission_index: Some(submission.clone()), timeout: Some(stretch) };
            match self.poll(poll) {
                // It may have been another thread that polled, and is still about to call back.
                Ok(()) if settled() => {}
                Ok(()) | Err(DeviceError::Timeout(_)) if left.is_zero() => {
                    return Err(DeviceError::Timeout(wait.patience).into());
                }
                Ok(()) | Err(DeviceError::Timeout(_)) if vain < 100 => {
                    vain += 1;
                    std::thread::yield_now();
                }
                // It says that it is done, and does not call back.
                Ok(()) | Err(DeviceError::Timeout(_)) => std::thread::sleep(GLANCE.min(left)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Has the device's thread wait for a submission.
    #[cfg(not(target_arch = "wasm32"))]
    fn ask_waiter(&self, submission: &wgpu::SubmissionIndex, again: bool) {
        let waiter = &self.shared().waiter;
        let mut worker = lock(&waiter.worker);
        if let Some(worker) = worker.as_ref()
            && worker.requests.send((submission.clone(), again)).is_ok()
        {
            return;
        }
        let (requests, receiver) = std::sync::mpsc::channel::<(wgpu::SubmissionIndex, bool)>();
        let (device, failure) = (self.wgpu().clone(), self.failure());
        let (wakers, rounds) = (Arc::clone(&waiter.wakers), Arc::clone(&waiter.rounds));
        let ends = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&ends);
        let thread = std::thread::Builder::new().name("rimlight-waiter".to_owned()).spawn(move || {
            while let Ok((submission, again)) = receiver.recv() {
                let (submission_index, timeout) = (Some(submission), Some(STRETCH));
                let poll = wgpu::PollType::Wait { submission_index, timeout };
                // What is done and does not call back is not asked for without a pause.
                if super::device::poll(&device, &failure, poll).is_ok() && again {
                    std::thread::sleep(GLANCE);
                }
                // Those who are woken in vain ask again.
                rounds.fetch_add(1, Ordering::Release);
                for waker in std::mem::take(&mut *lock(&wakers)) {
                    waker.wake();
                }
                if ending.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        match thread {
            Ok(thread) => {
                let _ = requests.send((submission.clone(), again));
                *worker = Some(Worker { requests, thread, ends });
            }
            // Without threads the caller's runtime has to ask again and again.
            Err(error) => {
                log::warn!("no thread to wait for the GPU: {error}");
                let _ = self.poll(wgpu::PollType::Poll);
                waiter.rounds.fetch_add(1, Ordering::Release);
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
    let mut cx = std::task::Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut cx) {
            return result;
        }
        std::thread::yield_now();
    }
}
