//! Runs that are under way while others are given: frames in flight.

use std::fmt;
use std::sync::{Arc, Mutex};
#[cfg(not(target_arch = "wasm32"))]
use std::time::Duration;

use super::frame::Frame;
use super::{GpuSession, Source};
use crate::error::RunError;
use crate::gpu::GpuEngine;
use crate::gpu::device::lock;
use crate::gpu::wait::Wait;
use crate::graph::{Value, ValueId};
use crate::interrupt::Interrupt;

/// Runs of one session that are under way, or whose outputs somebody holds, at most. More than the device and the host
/// can work on at once only wait.
const RUNS: usize = 8;

/// Frames between their runs.
#[derive(Debug, Default)]
pub(super) struct Frames {
    pub free: Vec<Frame>,
    /// Frames that somebody holds.
    held: usize,
}

/// The frames of a session, to which each finds its way back.
pub(super) type Spare = Arc<Mutex<Frames>>;

/// A run that was submitted, and its outputs once it is done. Dropped, it is not waited for.
pub struct GpuPending {
    engine: GpuEngine,
    /// There until this is dropped.
    frame: Option<Frame>,
    spare: Spare,
    interrupt: Interrupt,
    #[cfg(not(target_arch = "wasm32"))]
    timeout: Option<Duration>,
}

impl GpuSession {
    /// Hands a run to the device without waiting for its end: the session is free for the next one, whose inputs from the
    /// host must be given anew. Where host nodes stand between, it waits for what these read.
    ///
    /// # Errors
    /// As [`GpuSession::run`]; [`RunError::State`] if eight runs are under way or their outputs held.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn submit(&mut self) -> Result<GpuPending, RunError> {
        let wait = self.bound();
        crate::gpu::wait::now(self.submitted(&wait))
    }

    /// [`GpuSession::submit`], for callers that must not block.
    ///
    /// # Errors
    /// As [`GpuSession::submit`].
    pub async fn submit_async(&mut self) -> Result<GpuPending, RunError> {
        let wait = self.giving_back();
        self.submitted(&wait).await
    }

    async fn submitted(&mut self, wait: &Wait) -> Result<GpuPending, RunError> {
        let next = self.next_frame(wait).await?;
        if let Err(error) = self.start(wait).await {
            lock(&self.spare).free.push(next);
            return Err(error);
        }
        let frame = std::mem::replace(&mut self.frame, next);
        for source in self.sources.values_mut().filter(|source| matches!(source, Source::Host)) {
            *source = Source::Missing;
        }
        lock(&self.spare).held += 1;
        Ok(GpuPending {
            engine: self.engine.clone(),
            frame: Some(frame),
            spare: Arc::clone(&self.spare),
            interrupt: self.interrupt.clone(),
            #[cfg(not(target_arch = "wasm32"))]
            timeout: self.timeout,
        })
    }

    /// A frame for the run after the one to come.
    async fn next_frame(&self, wait: &Wait) -> Result<Frame, RunError> {
        let inner = self.engine.inner();
        // Those that were read back may not have been told yet that they can be written again.
        inner.device.poll(wgpu::PollType::Poll)?;
        let (found, frames) = {
            let mut spare = lock(&self.spare);
            let all = spare.free.len() + spare.held + 1;
            let at = spare.free.iter().position(Frame::is_settled);
            // Rather than make more and more of them, one that nobody waits for any more is waited for.
            let at = at.or((all > RUNS && !spare.free.is_empty()).then_some(0));
            (at.map(|at| spare.free.swap_remove(at)), all)
        };
        match found {
            Some(mut frame) => {
                // Of a run that nobody waited for, nobody wants the outputs.
                frame.begin(inner.program.segments.iter().flat_map(|s| &s.downloads).map(|t| t.value));
                frame.reclaim(inner, wait).await?;
                frame.begin(std::iter::empty());
                Ok(frame)
            }
            None if frames <= RUNS => Frame::new(inner).await,
            None => Err(RunError::State(format!(
                "{RUNS} runs are under way or their outputs held: wait for the oldest, and let go of it"
            ))),
        }
    }
}

impl GpuPending {
    /// Whether the run is done, so that waiting takes no time.
    pub fn is_ready(&self) -> bool {
        let polled = self.engine.device().poll(wgpu::PollType::Poll);
        // Who waits is told what is wrong.
        polled.is_err() || self.frame.as_ref().is_none_or(Frame::is_settled)
    }

    /// Waits for the run.
    ///
    /// # Errors
    /// If the device fails or takes too long.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait(&mut self) -> Result<(), RunError> {
        let wait = Wait::blocking(self.engine.inner().patience(self.timeout), self.interrupt.clone());
        crate::gpu::wait::now(self.finished(&wait))
    }

    /// [`GpuPending::wait`], for callers that must not block.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn wait_async(&mut self) -> Result<(), RunError> {
        #[cfg(not(target_arch = "wasm32"))]
        let wait = Wait::giving_back(self.engine.inner().patience(self.timeout), self.interrupt.clone());
        #[cfg(target_arch = "wasm32")]
        let wait = Wait::giving_back(self.interrupt.clone());
        self.finished(&wait).await
    }

    async fn finished(&mut self, wait: &Wait) -> Result<(), RunError> {
        if let Some(frame) = &mut self.frame {
            frame.reclaim(self.engine.inner(), wait).await?;
            frame.complete = true;
        }
        Ok(())
    }

    /// The output of this index of the graph that is run.
    pub fn output(&self, index: usize) -> Option<ValueId> {
        self.engine.schedule().graph.outputs.get(index).copied()
    }

    /// An output of the run, if it was read back or computed on the host.
    ///
    /// # Errors
    /// [`RunError::State`] before the run was waited for, and if the output stays on the device.
    pub fn value(&self, output: ValueId) -> Result<&Value, RunError> {
        match &self.frame {
            Some(frame) => frame.value(self.engine.inner(), output),
            None => Err(RunError::State("the run was given up".to_owned())),
        }
    }

    /// How long a blocking wait waits for the device: the session's, unless set.
    #[cfg(not(target_arch = "wasm32"))]
    pub const fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = Some(timeout);
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
impl GpuPending {
    /// Has the device's answer come here instead: for tests that hold it back.
    pub(in crate::gpu) fn hold_back(&mut self, signal: Arc<crate::gpu::wait::Signal>) -> Arc<crate::gpu::wait::Signal> {
        let download = self.frame.as_mut().and_then(|frame| frame.crossings[0].download.as_mut()).unwrap();
        std::mem::replace(&mut download.signal, signal)
    }
}

impl Drop for GpuPending {
    fn drop(&mut self) {
        let mut spare = lock(&self.spare);
        spare.held = spare.held.saturating_sub(1);
        spare.free.extend(self.frame.take());
    }
}

impl fmt::Debug for GpuPending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GpuPending({:?})", self.engine)
    }
}
