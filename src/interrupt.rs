//! Ending a run before it is done: from another thread, or because its time is over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

#[cfg(not(target_arch = "wasm32"))]
use std::time::Instant;
#[cfg(target_arch = "wasm32")]
use web_time::Instant;

/// Ends the runs of sessions from another thread ([`Session::cancel_with`](crate::Session::cancel_with)). Clones are
/// handles to the same one, and several sessions may share it.
///
/// It stays cancelled, so that it does not matter whether it comes before a run or amid it, until it is [reset](Self::reset).
///
/// ```
/// use rimlight::{Cancel, Device, Model, RunError, TensorView};
/// let mut session = Model::open("models/digits.onnx")?.session(&Device::cpu())?;
/// let cancel = Cancel::new();
/// session.cancel_with(&cancel);
/// session.set(session.input("image")?, TensorView::new([1, 1, 28, 28], &[0f32; 784])?)?;
/// std::thread::scope(|scope| scope.spawn(|| cancel.cancel()).join()).unwrap();
/// assert!(matches!(session.run(), Err(RunError::Cancelled)));
/// cancel.reset();
/// session.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<State>);

#[derive(Debug, Default)]
struct State {
    cancelled: AtomicBool,
    /// Those who wait without blocking a thread.
    wakers: Mutex<Vec<Waker>>,
}

impl Cancel {
    /// One that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the runs under way, and those to come.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Release);
        let wakers = std::mem::take(&mut *self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Lets runs go on again.
    pub fn reset(&self) {
        self.0.cancelled.store(false, Ordering::Release);
    }

    /// Whether it is cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }
}

/// Why a run ended before it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Interrupted {
    /// Somebody cancelled it.
    #[error("the run was cancelled")]
    Cancelled,
    /// It took longer than it was given.
    #[error("the run was ended after {0:?}, which is all the time that it was given")]
    Deadline(Duration),
}

/// What may end a run.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    cancel: Option<Cancel>,
    /// Until when it may take, and how long that was at its begin.
    until: Option<(Instant, Duration)>,
}

impl Interrupt {
    /// For a run that begins now.
    pub(crate) fn new(cancel: Option<Cancel>, limit: Option<Duration>) -> Self {
        // A time that no clock can name is none.
        let until = limit.and_then(|limit| Some((Instant::now().checked_add(limit)?, limit)));
        Self { cancel, until }
    }

    /// Whether anything may end the run.
    #[cfg(feature = "gpu")]
    pub(crate) const fn is_possible(&self) -> bool {
        self.cancel.is_some() || self.until.is_some()
    }

    /// Whether the run may go on.
    ///
    /// # Errors
    /// With the reason why not.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.cancel.as_ref().is_some_and(Cancel::is_cancelled) {
            return Err(Interrupted::Cancelled);
        }
        match self.until {
            Some((until, limit)) if Instant::now() >= until => Err(Interrupted::Deadline(limit)),
            _ => Ok(()),
        }
    }

    /// Has somebody woken when it is cancelled.
    #[cfg(feature = "gpu")]
    pub(crate) fn wakes(&self, waker: &Waker) {
        if let Some(cancel) = &self.cancel {
            let mut wakers = cancel.0.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            if !wakers.iter().any(|other| other.will_wake(waker)) {
                wakers.push(waker.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cancelled_stays_so_until_it_is_reset() {
        let cancel = Cancel::new();
        let interrupt = Interrupt::new(Some(cancel.clone()), None);
        assert_eq!(interrupt.check(), Ok(()));
        cancel.cancel();
        assert_eq!(interrupt.check(), Err(Interrupted::Cancelled));
        cancel.reset();
        assert_eq!(interrupt.check(), Ok(()));
        let zero = Interrupt::new(None, Some(Duration::ZERO));
        assert_eq!(zero.check(), Err(Interrupted::Deadline(Duration::ZERO)));
        assert_eq!(Interrupt::new(None, Some(Duration::MAX)).check(), Ok(()));
    }
}
