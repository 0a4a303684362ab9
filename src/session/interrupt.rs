//! Runs that end before they are done, because the application wants them to.

use std::time::Duration;

use super::Session;
use super::run::Runner;
use crate::interrupt::{Cancel, Interrupt};

impl Session {
    /// Lets runs be ended from another thread: one that is ended returns [`RunError::Cancelled`](crate::RunError::Cancelled), and
    /// the session can be run again. On a GPU it is submitted in parts of about 8 ms then, two ahead of what is computed, and ends
    /// between them; on the CPU, between nodes. What is planned or compiled for new shapes is not interrupted.
    pub fn cancel_with(&mut self, cancel: &Cancel) {
        self.cancel = Some(cancel.clone());
    }

    /// Ends runs that take longer, with [`RunError::Deadline`](crate::RunError::Deadline), in the way of
    /// [`Session::cancel_with`]; `None` takes the limit away. The time begins when the run is called; a run that is submitted
    /// ends when it is waited for.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rimlight::{Device, Model, RunError, TensorView};
    /// let mut session = Model::open("models/digits.onnx")?.session(&Device::cpu())?;
    /// session.set(session.input("image")?, TensorView::new([1, 1, 28, 28], &[0f32; 784])?)?;
    /// session.set_time_limit(Some(Duration::ZERO));
    /// assert!(matches!(session.run(), Err(RunError::Deadline(_))));
    /// session.set_time_limit(Some(Duration::from_secs(10)));
    /// session.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn set_time_limit(&mut self, limit: Option<Duration>) {
        self.time_limit = limit;
    }

    /// What may end the run that begins now.
    pub(super) fn interrupt(&self) -> Interrupt {
        // A body ends with what it is a body of.
        self.within.clone().unwrap_or_else(|| Interrupt::new(self.cancel.clone(), self.time_limit))
    }

    /// Tells the current runner what may end its run.
    pub(super) fn allow(&mut self, interrupt: &Interrupt) {
        match self.runners.last_mut().map(|(_, runner)| runner) {
            Some(Runner::Cpu(cpu)) => cpu.host.interrupt = interrupt.clone(),
            #[cfg(feature = "gpu")]
            Some(Runner::Gpu(gpu)) => {
                gpu.host.interrupt = interrupt.clone();
                gpu.interrupt = interrupt.clone();
            }
            None => {}
        }
    }
}

#[cfg(all(test, feature = "gpu", not(target_arch = "wasm32")))]
mod tests;
