//! Runs that are under way while the next ones are given: upload, computation and read-back of several frames overlap.

use std::fmt;

use super::run::{Runner, no_tensor};
use super::{OutputId, Session};
use crate::error::RunError;
#[cfg(feature = "gpu")]
use crate::gpu::GpuPending;
use crate::graph::Value;
use crate::interrupt::Interrupt;
use crate::tensor::Tensor;

/// A run that was submitted ([`Session::submit`]). It may be waited for on another thread, and outlive its session.
/// Dropped, it is not waited for.
#[must_use = "the outputs of a run are had by waiting for it"]
pub struct Pending(Outputs);

/// The outputs of a run that was waited for. What holds them is used again for a later run once they are dropped.
pub struct Outputs(Run);

enum Run {
    /// The CPU computes while it is asked.
    Cpu(Vec<Value>),
    #[cfg(feature = "gpu")]
    Gpu(GpuPending),
}

impl Session {
    /// Hands a run to the device and does not wait for its end: the next inputs can be set, and the next run submitted,
    /// while this one is computed. So a camera's frames overlap: one is written, one computed, one read. (On a GPU in
    /// software, which is the processor itself, that gains nothing.) Runs end in their order. On the CPU the run is over when
    /// this returns; where nodes run on the host, it waits for what they read.
    ///
    /// ```
    /// use rimlight::{Device, Model, TensorView};
    /// let mut session = Model::open("models/digits.onnx")?.session(&Device::auto())?;
    /// let (image, probabilities) = (session.input("image")?, session.output("probabilities")?);
    /// let mut before = None;
    /// for picture in [[0f32; 784], [1f32; 784]] {
    ///     session.set(image, TensorView::new([1, 1, 28, 28], &picture)?)?;
    ///     let pending = session.submit()?;
    ///     // Meanwhile, what the picture before was.
    ///     if let Some(outputs) = before.replace(pending).map(rimlight::Pending::wait) {
    ///         println!("{:?}", outputs?.get(probabilities)?);
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Session::run`]; [`RunError::State`] if eight runs of the session are under way, or their outputs held.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn submit(&mut self) -> Result<Pending, RunError> {
        let interrupt = self.interrupt();
        loop {
            match self.submit_once(&interrupt) {
                Err(error) => pollster::block_on(self.recover(error))?,
                pending => return pending,
            }
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn submit_once(&mut self, interrupt: &Interrupt) -> Result<Pending, RunError> {
        if self.must_select()? {
            pollster::block_on(self.select())?;
        }
        self.begin(interrupt)?;
        #[cfg(feature = "gpu")]
        if let Some((_, Runner::Gpu(gpu))) = self.runners.last_mut() {
            let pending = gpu.submit();
            return self.under_way(pending);
        }
        self.submit_to_cpu()
    }

    /// [`Session::submit`], for callers that must not block.
    ///
    /// # Errors
    /// As [`Session::submit`].
    pub async fn submit_async(&mut self) -> Result<Pending, RunError> {
        let interrupt = self.interrupt();
        loop {
            match self.submit_once_async(&interrupt).await {
                Err(error) => self.recover(error).await?,
                pending => return pending,
            }
        }
    }

    async fn submit_once_async(&mut self, interrupt: &Interrupt) -> Result<Pending, RunError> {
        self.select().await?;
        self.begin(interrupt)?;
        #[cfg(feature = "gpu")]
        if let Some((_, Runner::Gpu(gpu))) = self.runners.last_mut() {
            let pending = gpu.submit_async().await;
            return self.under_way(pending);
        }
        self.submit_to_cpu()
    }

    /// What precedes a run that is submitted.
    fn begin(&mut self, interrupt: &Interrupt) -> Result<(), RunError> {
        self.allow(interrupt);
        self.give()?;
        self.has_run = false;
        #[cfg(feature = "gpu")]
        if self.carries_by_host() {
            let reason = "a state goes by the host's memory, which must wait for each run: `run` it";
            return Err(RunError::State(reason.to_owned()));
        }
        Ok(())
    }

    #[cfg(feature = "gpu")]
    fn under_way(&mut self, pending: Result<GpuPending, RunError>) -> Result<Pending, RunError> {
        self.allow(&Interrupt::default());
        let pending = pending?;
        self.hand_on()?;
        Ok(Pending(Outputs(Run::Gpu(pending))))
    }

    fn submit_to_cpu(&mut self) -> Result<Pending, RunError> {
        let missing = || RunError::State("the output is of another model".to_owned());
        let outputs = match self.runners.last_mut() {
            Some((planned, Runner::Cpu(cpu))) => {
                cpu.run(&self.inputs)?;
                let outputs = (0..planned.graph.outputs.len()).map(|i| cpu.value(i).cloned().ok_or_else(missing));
                let outputs = outputs.collect::<Result<_, _>>()?;
                self.hand_on()?;
                outputs
            }
            _ => vec![],
        };
        Ok(Pending(Outputs(Run::Cpu(outputs))))
    }
}

impl Pending {
    /// Whether the run is done, so that waiting takes no time.
    pub fn is_ready(&self) -> bool {
        match &self.0.0 {
            Run::Cpu(_) => true,
            #[cfg(feature = "gpu")]
            Run::Gpu(gpu) => gpu.is_ready(),
        }
    }

    /// Waits for the run.
    ///
    /// # Errors
    /// What the device says.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait(mut self) -> Result<Outputs, RunError> {
        match &mut self.0.0 {
            Run::Cpu(_) => {}
            #[cfg(feature = "gpu")]
            Run::Gpu(gpu) => gpu.wait()?,
        }
        Ok(self.0)
    }

    /// [`Pending::wait`], for callers that must not block. The future needs no runtime.
    ///
    /// # Errors
    /// What the device says.
    pub async fn wait_async(mut self) -> Result<Outputs, RunError> {
        match &mut self.0.0 {
            Run::Cpu(_) => {}
            #[cfg(feature = "gpu")]
            Run::Gpu(gpu) => gpu.wait_async().await?,
        }
        Ok(self.0)
    }
}

impl Outputs {
    /// An output that is a tensor.
    ///
    /// # Errors
    /// [`RunError::State`] if it is no tensor, or stays on the device.
    pub fn get(&self, output: OutputId) -> Result<&Tensor, RunError> {
        let value = self.get_value(output)?;
        value.as_tensor().ok_or_else(|| no_tensor(value))
    }

    /// An output, whatever it is.
    ///
    /// # Errors
    /// [`RunError::State`] if it stays on the device.
    pub fn get_value(&self, output: OutputId) -> Result<&Value, RunError> {
        let missing = || RunError::State("the output is of another model".to_owned());
        match &self.0 {
            Run::Cpu(outputs) => outputs.get(output.0).ok_or_else(missing),
            #[cfg(feature = "gpu")]
            Run::Gpu(gpu) => gpu.value(gpu.output(output.0).ok_or_else(missing)?),
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pending({})", if self.is_ready() { "done" } else { "under way" })
    }
}

impl fmt::Debug for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = match &self.0 {
            Run::Cpu(_) => "of the CPU",
            #[cfg(feature = "gpu")]
            Run::Gpu(_) => "of the GPU",
        };
        write!(f, "Outputs({run})")
    }
}
