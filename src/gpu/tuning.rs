//! What was measured on a device, kept between processes.

use std::sync::Arc;

use super::GpuDevice;
use super::device::lock;
use crate::kernel::shaders::SHADERS;
use crate::plan::Tuning;

impl GpuDevice {
    /// What was measured on it: plans follow that.
    pub fn tuning(&self) -> Arc<Tuning> {
        Arc::clone(&lock(&self.shared().tuning))
    }

    /// Adds what was measured, here and in the device's folder if it has one. Engines follow it in the plans that they
    /// make from now on.
    pub fn learn(&self, newer: &Tuning) {
        // Another process may have measured meanwhile.
        let mut all = self.tuning_of_folder().unwrap_or_default();
        all.merge(&self.tuning());
        all.merge(newer);
        if let Some(folder) = self.shared().folder.get()
            && let Err(error) = folder.write("tuning", &self.tuning_key(), all.to_text().as_bytes())
        {
            log::warn!("what was measured could not be kept: {error}");
        }
        *lock(&self.shared().tuning) = Arc::new(all);
    }

    /// Takes what the device's folder knows.
    pub(super) fn recall(&self) {
        if let Some(tuning) = self.tuning_of_folder() {
            *lock(&self.shared().tuning) = Arc::new(tuning);
        }
    }

    fn tuning_of_folder(&self) -> Option<Tuning> {
        let content = self.shared().folder.get()?.read("tuning", &self.tuning_key())?;
        Tuning::from_text(&String::from_utf8(content).ok()?)
    }

    /// What it belongs to: the adapter, the driver, and the shaders.
    pub(super) fn tuning_key(&self) -> String {
        let shaders: String = SHADERS.iter().flat_map(|(path, text)| [*path, *text]).collect();
        format!("{}|{:032x}", self.cache_key(), crate::cache::hash(shaders.as_bytes()))
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::cache::Folder;

    #[test]
    fn what_is_learnt_is_known_at_the_next_start_and_damage_is_not() {
        let path = std::env::temp_dir().join(format!("rimlight-tuning-{}", std::process::id()));
        let start = || {
            let device = GpuDevice::noop();
            pollster::block_on(device.keep_in(Folder::new(&path))).unwrap();
            device
        };
        let tuning = |kind| {
            let mut tuning = Tuning::default();
            tuning.set(kind, 1);
            tuning
        };
        let first = start();
        assert!(first.tuning().is_empty());
        // Two that measure at the same time keep both.
        let second = start();
        first.learn(&tuning(1));
        second.learn(&tuning(2));
        assert_eq!(start().tuning().len(), 2);
        let files: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
        let file = files.iter().find(|file| file.to_string_lossy().contains("tuning-")).unwrap();
        let mut bytes = std::fs::read(file).unwrap();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        std::fs::write(file, &bytes).unwrap();
        assert!(start().tuning().is_empty());
        start().learn(&tuning(3));
        assert_eq!(start().tuning().len(), 1);
        std::fs::remove_dir_all(&path).unwrap();
    }
}
