//! The driver's compiled pipelines, kept between processes.

use super::GpuDevice;
use super::device::lock;
use crate::cache::Folder;
use crate::error::DeviceError;

/// The driver's cache, and the file that it is kept in.
#[derive(Debug)]
pub(super) struct PipelineCache {
    pub cache: wgpu::PipelineCache,
    folder: Folder,
    /// The hash of what the file holds, so that it is only written when that changes.
    written: Option<u128>,
}

impl GpuDevice {
    /// Keeps packed weights, compiled pipelines and what was measured in a folder, and takes what lies there: the second
    /// start of a program packs and compiles nothing. Only Vulkan has compiled pipelines to keep. A device keeps to its first folder.
    ///
    /// # Errors
    /// If the driver refuses. A file that cannot be read, or is another adapter's or driver's, is passed over.
    pub async fn keep_in(&self, folder: Folder) -> Result<(), DeviceError> {
        let folder = self.shared().folder.get_or_init(|| folder);
        self.recall();
        if !self.wgpu().features().contains(wgpu::Features::PIPELINE_CACHE)
            || lock(&self.shared().pipelines.cache).is_some()
        {
            return Ok(());
        }
        let data = folder.read("pipelines", &self.cache_key());
        let written = data.as_deref().map(crate::cache::hash);
        let made = self.guarded("a cache of pipelines", || self.create_pipeline_cache(data.as_deref())).await?;
        *lock(&self.shared().pipelines.cache) = Some(PipelineCache { cache: made, folder: folder.clone(), written });
        Ok(())
    }

    /// Writes the compiled pipelines to their folder, if there are new ones. What goes wrong is logged and has no other
    /// consequence than that the next start is slower.
    pub(super) fn save_pipelines(&self) {
        let mut slot = lock(&self.shared().pipelines.cache);
        let Some(cache) = slot.as_mut() else { return };
        let Some(data) = cache.cache.get_data() else { return };
        let hash = crate::cache::hash(&data);
        if cache.written == Some(hash) {
            return;
        }
        match cache.folder.write("pipelines", &self.cache_key(), &data) {
            Ok(()) => cache.written = Some(hash),
            Err(error) => log::warn!("the compiled pipelines could not be kept: {error}"),
        }
    }

    /// What a file of compiled pipelines belongs to: the adapter and the driver's version.
    pub(super) fn cache_key(&self) -> String {
        let info = self.info();
        format!("{}|{:x}|{:x}|{}|{}", info.backend, info.vendor, info.device, info.name, info.driver)
    }
}
