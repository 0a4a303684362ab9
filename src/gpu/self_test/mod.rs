//! Whether a device answers right: small kernels whose answers the host knows.
//!
//! When a [`Device`](crate::Device) is opened first, what all kernels lean on is checked (`basics.rs`): three kernels, and
//! the answer is remembered for the process and in the cache folder. What answers wrong is switched off: a way of
//! writing kernels, subgroups, or all shaders that use what does not work, which plans then pass over. A device on which
//! nothing can be done without it is refused.

mod basics;
mod families;
mod kernels;
mod report;
mod specimen;
mod trust;
mod work;

use std::sync::Arc;

pub use report::{SelfCheck, SelfTestReport, Verdict};
pub(super) use trust::Trust;

use super::GpuDevice;
use super::device::lock;
use crate::error::DeviceError;
use crate::plan::shaders_that_say;
use basics::{Basic, Found};
use trust::Known;

/// When a device is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SelfTest {
    /// At the first use of an adapter by this process, unless the cache folder knows what it answered to this driver and
    /// these kernels.
    #[default]
    Auto,
    /// Each time, whatever is known.
    Always,
    /// Never.
    Off,
}

impl GpuDevice {
    /// Checks what all kernels lean on, and each family of kernels for products, convolutions and attention; what answers wrong
    /// is switched off. What was planned or loaded on it before stays as it is, so do it before the first model. It takes as
    /// long as some fifty kernels take to compile: a [`Device`](crate::Device) that is opened checks only what all lean on, and
    /// kernels when plans take them.
    ///
    /// # Errors
    /// If the device is lost, or does not answer.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn self_test(&self) -> Result<SelfTestReport, DeviceError> {
        pollster::block_on(self.self_test_async())
    }

    /// [`GpuDevice::self_test`], for callers that must not block.
    ///
    /// # Errors
    /// As [`GpuDevice::self_test`].
    pub async fn self_test_async(&self) -> Result<SelfTestReport, DeviceError> {
        let report = self.quick_self_test_async().await?;
        if self.info().backend == "noop" || report.unfit.is_some() {
            return Ok(report);
        }
        let checks = self.check_families(families::samples()).await?;
        lock(&self.shared().trust.known).report.checks.extend(checks);
        Ok(self.report())
    }

    /// What [`GpuDevice::self_test`] checks of what all kernels lean on, and no more: as when a [`Device`](crate::Device) is opened.
    ///
    /// # Errors
    /// As [`GpuDevice::self_test`].
    pub async fn quick_self_test_async(&self) -> Result<SelfTestReport, DeviceError> {
        self.test_basics().await?;
        Ok(self.report())
    }

    /// Checks what all kernels lean on.
    async fn test_basics(&self) -> Result<(), DeviceError> {
        if self.info().backend == "noop" {
            let reason = Verdict::Absent("it computes nothing".to_owned());
            let check = SelfCheck { name: "everything".to_owned(), verdict: reason, time: std::time::Duration::ZERO };
            lock(&self.shared().trust.known).report.checks = vec![check];
            return Ok(());
        }
        let mut found = self.check_basics().await?;
        let mut known = lock(&self.shared().trust.known).clone();
        known.basics = true;
        known.conclude(&found);
        let storage = known.no_halves || known.no_words64;
        self.narrow(&known);
        if storage {
            // Without these there is one way left.
            let again = self.check_storage().await?;
            if let Some((_, check)) = again.iter().find(|(_, check)| !check.verdict.is_good()) {
                known.unfit = Some(format!("{}: {}", check.name, check.verdict));
            }
            found.extend(again);
        }
        let checks: Vec<SelfCheck> = found.into_iter().map(|(_, check)| check).collect();
        for check in checks.iter().filter(|check| !check.verdict.is_good()) {
            log::warn!("{}: {}: {}", self.info(), check.name, check.verdict);
        }
        known.report.checks = checks;
        known.report.unfit.clone_from(&known.unfit);
        *lock(&self.shared().trust.known) = known;
        self.remember();
        Ok(())
    }

    /// What checks have found on this device so far, and what is known of its driver.
    pub fn report(&self) -> SelfTestReport {
        let report = lock(&self.shared().trust.known).report.clone();
        SelfTestReport { quirks: self.info().quirks.clone(), ..report }
    }

    /// Checks the device if that is asked for and not known yet.
    ///
    /// # Errors
    /// [`DeviceError::Unfit`] if it cannot be computed on.
    pub(crate) async fn examine(&self, when: SelfTest) -> Result<(), DeviceError> {
        match (when, self.remembered()) {
            (SelfTest::Off, _) => return Ok(()),
            (SelfTest::Auto, Some(known)) if known.basics => {
                self.narrow(&known);
                *lock(&self.shared().trust.known) = known;
                self.remember();
            }
            _ => self.test_basics().await?,
        }
        match lock(&self.shared().trust.known).unfit.clone() {
            Some(reason) => Err(DeviceError::Unfit { adapter: self.info().to_string(), reason }),
            None => Ok(()),
        }
    }

    /// Takes the device for what is left of it.
    fn narrow(&self, known: &Known) {
        let mut info = self.opened_as().clone();
        info.facts.dialect.words64 &= !known.no_words64;
        info.facts.dialect.halves &= !known.no_halves;
        if known.no_subgroups {
            (info.facts.subgroup_size, info.facts.matrix_side) = (None, None);
        }
        if info != *self.opened_as() {
            // A device is narrowed once: what is found later is distrust of its kernels.
            let _ = self.shared().trust.narrowed.set(info);
            self.forget_pipelines();
        }
    }
}

impl Known {
    /// What follows from what the basics answered.
    fn conclude(&mut self, found: &[Found]) {
        let mut distrust = (*self.distrust).clone();
        for (basic, check) in found.iter().filter(|(_, check)| !check.verdict.is_good()) {
            let mut without = |words: &[&str]| {
                for shader in shaders_that_say(words) {
                    distrust.add([shader]);
                }
            };
            let off = match basic {
                Basic::Loops | Basic::Bounds => {
                    self.unfit = Some(format!("{}: {}", check.name, check.verdict));
                    continue;
                }
                Basic::Barriers => {
                    without(&["workgroupBarrier"]);
                    "kernels whose invocations share workgroup memory"
                }
                Basic::Atomics => {
                    without(&[" atomic"]);
                    "kernels with atomics"
                }
                Basic::Dots => {
                    without(&["dot4I8Packed"]);
                    "kernels with integer dot products"
                }
                Basic::Halves => {
                    self.no_halves = true;
                    "the driver's conversions of 16-bit floats, which are taken apart bit by bit instead"
                }
                Basic::Words64 => {
                    self.no_words64 = true;
                    "storage in words of 64 bits"
                }
                Basic::Subgroups => {
                    self.no_subgroups = true;
                    without(&["subgroup"]);
                    "subgroups, and matrices that subgroups multiply"
                }
            };
            if !self.report.switched_off.iter().any(|known| known == off) {
                self.report.switched_off.push(off.to_owned());
            }
        }
        self.distrust = Arc::new(distrust);
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
