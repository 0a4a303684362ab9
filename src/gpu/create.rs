//! The only place where wgpu is asked to make something that lasts. What is made is counted.

#![allow(clippy::disallowed_methods, reason = "this is the place where they are allowed")]

use std::sync::atomic::Ordering;

use super::GpuDevice;

/// What wgpu asks of a caller who wants experimental features.
#[allow(unsafe_code)]
pub(crate) const fn experimental_features(wanted: bool) -> wgpu::ExperimentalFeatures {
    if wanted {
        // SAFETY: wgpu has its callers acknowledge that what it calls experimental may still have bugs that are undefined
        // behaviour. They are asked for only where `DeviceOptions::cooperative_matrices` says so, whose documentation
        // passes that on; the one kernel that uses them stays inside its bounds by construction.
        unsafe { wgpu::ExperimentalFeatures::enabled() }
    } else {
        wgpu::ExperimentalFeatures::disabled()
    }
}

impl GpuDevice {
    /// How many objects (buffers, bind groups, pipelines and their parts, query sets, textures) were made on this device
    /// so far. It stands still while sessions run.
    pub fn creations(&self) -> u64 {
        self.shared().creations.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self) {
        self.shared().creations.fetch_add(1, Ordering::Relaxed);
    }

    /// A buffer of at least a unit: wgpu binds no empty one.
    pub(super) fn create_buffer(
        &self,
        label: &str,
        size: u64,
        usage: wgpu::BufferUsages,
        mapped: bool,
    ) -> wgpu::Buffer {
        self.count();
        self.wgpu().create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            // Whole units, so that the last binding and the last copy end inside.
            size: size.max(16).next_multiple_of(16),
            usage,
            mapped_at_creation: mapped,
        })
    }

    pub(super) fn create_bind_group(
        &self,
        layout: &wgpu::BindGroupLayout,
        entries: &[wgpu::BindGroupEntry<'_>],
    ) -> wgpu::BindGroup {
        self.count();
        self.wgpu().create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries })
    }

    pub(super) fn create_bind_group_layout(&self, entries: &[wgpu::BindGroupLayoutEntry]) -> wgpu::BindGroupLayout {
        self.count();
        self.wgpu().create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries })
    }

    pub(super) fn create_pipeline_layout(&self, groups: &[Option<&wgpu::BindGroupLayout>]) -> wgpu::PipelineLayout {
        self.count();
        self.wgpu().create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: groups,
            immediate_size: 0,
        })
    }

    /// A compute pipeline of a WGSL text with the entry point `main`.
    ///
    /// Workgroup memory is not set to zero: kernels write it before they read it.
    pub(super) fn create_compute_pipeline(
        &self,
        label: &str,
        wgsl: &str,
        layout: &wgpu::PipelineLayout,
        cache: Option<&wgpu::PipelineCache>,
    ) -> wgpu::ComputePipeline {
        self.count();
        // Accesses stay checked: a kernel of ours that is wrong must not reach another application's memory.
        let module = self.wgpu().create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(label),
            source: wgpu::ShaderSource::Wgsl(wgsl.into()),
        });
        self.wgpu().create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout: Some(layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache,
        })
    }

    /// A cache of compiled pipelines, from the data of an earlier one or empty.
    #[allow(unsafe_code)]
    pub(super) fn create_pipeline_cache(&self, data: Option<&[u8]>) -> wgpu::PipelineCache {
        self.count();
        // SAFETY: the data came from `PipelineCache::get_data` of the same adapter and driver: the cache file is keyed by
        // both, holds a hash of its content, and is passed over where that does not agree.
        unsafe {
            self.wgpu().create_pipeline_cache(&wgpu::PipelineCacheDescriptor { label: None, data, fallback: true })
        }
    }

    pub(super) fn create_timestamps(&self, count: u32) -> wgpu::QuerySet {
        self.count();
        self.wgpu().create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("profile"),
            ty: wgpu::QueryType::Timestamp,
            count,
        })
    }
}
