//! Faults of drivers that tests plant in a device.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::device::lock;
use crate::error::DeviceError;

/// What goes wrong on a device from now on.
#[derive(Debug, Default)]
pub struct Faults {
    /// A guarded call whose name holds this is refused so, again and again.
    refused: Mutex<Option<(&'static str, DeviceError)>>,
    /// Read-backs are never answered.
    silent: AtomicBool,
    /// The device is destroyed when so many submissions were made; never where it is 0.
    until_lost: AtomicI64,
    /// The adapter cannot be opened any more.
    gone: AtomicBool,
}

impl Faults {
    pub fn refuse(&self, what: &'static str, error: DeviceError) {
        *lock(&self.refused) = Some((what, error));
    }

    pub fn be_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }

    /// Loses the device at this submission, 1 being the next.
    pub fn lose_at(&self, submission: i64) {
        self.until_lost.store(submission, Ordering::Relaxed);
    }

    pub fn be_gone(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_refusing(&self) -> bool {
        lock(&self.refused).is_some()
    }

    pub(super) fn refuses(&self, what: &str) -> Option<DeviceError> {
        let refused = lock(&self.refused);
        refused.as_ref().filter(|(part, _)| what.contains(part)).map(|(_, error)| error.clone())
    }

    pub(super) fn holds_maps_back(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    pub(super) fn loses_now(&self) -> bool {
        self.until_lost.load(Ordering::Relaxed) > 0 && self.until_lost.fetch_sub(1, Ordering::Relaxed) == 1
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }
}
