//! What becomes of a session whose device fails: it goes on on a new device, and then on the CPU.

use super::{Backend, Device, Engine, Event, Options, Precision, Session};
use crate::error::{DeviceError, RunError};
use crate::plan::Placement;

/// What a session does when its device fails (is lost, does not answer, is out of memory, refuses a kernel).
///
/// | the device | [`Recovery::Auto`] | [`Recovery::ToCpu`] |
/// |---|---|---|
/// | is lost, or does not answer [in time](Options::patience) | the adapter is opened anew, once; then the CPU, if nobody asked for a GPU | the same, the CPU in any case |
/// | has no memory, or refuses what it is given | the CPU, if nobody asked for a GPU | the CPU |
///
/// Nobody asked for a GPU where the device was chosen by [`Backend::Auto`] and the options leave
/// [`Placement`] and [`Precision`] as they are. The model is planned again (its weights are read again where they were let go
/// of), the run is made again with the inputs that the session was given, and the application is told by an
/// [`Event::Moved`]. All sessions of an engine, and all engines of a device, meet on the same new device.
///
/// What lay on the lost device is gone: where a session [carries](Session::carry) a state there, or was given inputs there,
/// the run ends with the error, and the session goes on with the states' first values.
///
/// An application's own device ([`Device::from_wgpu`]) is not opened anew; its sessions end with the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Recovery {
    /// Nothing: errors are the application's.
    Off,
    /// It goes on where it may.
    #[default]
    Auto,
    /// It goes on in any case, at last on the CPU.
    ToCpu,
}

/// What a failure calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// The same adapter, opened anew; failing that, the CPU.
    NewDevice,
    /// The CPU.
    Cpu,
}

impl Session {
    /// Moves to another device after a failure, so that the run can be made again.
    ///
    /// # Errors
    /// With the failure, where there is nowhere to go, or what the run needs lay on the device that failed.
    pub(super) async fn recover(&mut self, error: RunError) -> Result<(), RunError> {
        let Some((remedy, failure)) = self.remedy(&error) else { return Err(error) };
        let Some(engine) = self.engine.successor(remedy).await else { return Err(error) };
        let from = self.engine.device().name();
        let states_lost = self.move_to(engine);
        let device = self.engine.device();
        let event = Event::Moved {
            from,
            to: device.name(),
            backend: if device.is_gpu() { Backend::Gpu } else { Backend::Cpu },
            reason: failure.to_string(),
            states_lost,
        };
        self.engine.options().listener.tell(&event);
        if states_lost { Err(error) } else { Ok(()) }
    }

    /// What to do about an error, if it is the device's.
    fn remedy(&self, error: &RunError) -> Option<(Remedy, DeviceError)> {
        if self.engine.options().recovery == Recovery::Off {
            return None;
        }
        // A body's session knows no other device, and what failed in it comes out as a node's error.
        #[cfg(feature = "gpu")]
        if let Some(Err(lost @ DeviceError::Lost(_))) = self.engine.device().as_gpu().map(crate::gpu::GpuDevice::check)
        {
            return Some((Remedy::NewDevice, lost));
        }
        match error {
            RunError::Device(failure) => match failure {
                DeviceError::Lost(_) => Some((Remedy::NewDevice, failure.clone())),
                // Who has set a bound for a wait may wait again.
                DeviceError::Timeout(_) if self.is_timed() => None,
                DeviceError::Timeout(_) => Some((Remedy::NewDevice, failure.clone())),
                DeviceError::OutOfMemory(_) | DeviceError::Refused { .. } | DeviceError::Unfit { .. } => {
                    Some((Remedy::Cpu, failure.clone()))
                }
                DeviceError::NoAdapter(_) => None,
            },
            _ => None,
        }
    }

    /// Whether the application has bounded the waits of the current runner itself.
    #[cfg_attr(not(feature = "gpu"), allow(clippy::unused_self, reason = "the CPU is not waited for"))]
    fn is_timed(&self) -> bool {
        #[cfg(feature = "gpu")]
        return matches!(self.runners.last(), Some((_, super::run::Runner::Gpu(gpu))) if gpu.is_timed());
        #[cfg(not(feature = "gpu"))]
        false
    }

    /// Goes on with another engine. Whether something is lost that the next run would take.
    fn move_to(&mut self, engine: Engine) -> bool {
        #[cfg(not(feature = "gpu"))]
        let lost = false;
        #[cfg(feature = "gpu")]
        let lost = self.on_device.iter().any(Option::is_some) || !self.resting.is_empty();
        #[cfg(feature = "gpu")]
        {
            if lost {
                self.reset();
                // What was given on the device, at first or as a picture.
                self.on_device.fill(None);
                self.pictures.fill(None);
                self.resting.clear();
            }
            self.values.clear();
        }
        self.runners.clear();
        self.engine = engine;
        self.has_run = false;
        self.carries_anew = true;
        lost
    }
}

impl Engine {
    /// The engine that sessions go on with: this one, or what was made in its place.
    pub(super) fn current(&self) -> Self {
        let mut engine = self.clone();
        while let Some(next) = engine.next() {
            engine = next;
        }
        engine
    }

    /// The engine that takes this one's place after a failure: one for all its sessions.
    async fn successor(&self, remedy: Remedy) -> Option<Self> {
        if let Some(next) = self.next() {
            return Some(next);
        }
        let device = match remedy {
            Remedy::NewDevice => match self.device().renewed().await {
                Some(device) => Some(device),
                None => self.cpu_in_its_place(),
            },
            Remedy::Cpu => self.cpu_in_its_place(),
        }?;
        let mut options = self.options().clone();
        if !device.is_gpu() {
            options = Options { precision: Precision::F32, memory_limit: None, placement: Placement::Auto, ..options };
            options.shaders = Default::default();
        }
        let model = self.whole_model().ok()?;
        let made = Self::new(&model, &device, &options).ok()?;
        Some(self.give_way_to(made))
    }

    /// The CPU, if it may take the GPU's place.
    fn cpu_in_its_place(&self) -> Option<Device> {
        let options = self.options();
        let may = options.recovery == Recovery::ToCpu
            || (self.device().is_lenient()
                && options.placement == Placement::Auto
                && options.precision != Precision::F16
                && options.shaders.are_built_in());
        (may && self.device().is_gpu()).then(|| self.device().on_cpu("CPU: in the place of a GPU that failed"))
    }
}

#[cfg(all(test, feature = "gpu", not(target_arch = "wasm32")))]
mod tests;
