//! From kernels to pipelines: each is compiled once on a device, and shared by all that run there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::GpuDevice;
use super::device::lock;
use super::self_test::SelfCheck;
#[cfg(not(target_arch = "wasm32"))]
use super::threads;
use crate::error::DeviceError;
use crate::kernel::assemble::{Access, Assembled, Buffer, assemble_from};
use crate::kernel::{Dialect, Kernel, Shaders};

/// A compiled kernel.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    /// The buffers, in the order of the shader's declarations.
    pub buffers: Vec<Buffer>,
    /// Group 1, where the shader reads or writes textures.
    pub textures: Option<wgpu::BindGroupLayout>,
    /// Words of the uniform buffer at binding 0; none where there is no such buffer.
    pub words: usize,
}

/// What makes two kernels bind alike: whether there are parameters, and for each bound buffer whether it is only read.
type Signature = (bool, Vec<bool>);

/// The pipelines of a device.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    /// By the shaders' texts, so that two versions of one shader are two pipelines.
    compiled: Mutex<HashMap<Shaders, HashMap<Kernel, Arc<Pipeline>>>>,
    /// Those that bind textures beside their buffers.
    textured: Mutex<HashMap<Kernel, Arc<Pipeline>>>,
    layouts: Mutex<HashMap<Signature, (wgpu::BindGroupLayout, wgpu::PipelineLayout)>>,
    /// The driver's compiled code, kept between processes where a folder was given.
    pub cache: Mutex<Option<super::pipeline_cache::PipelineCache>>,
}

impl GpuDevice {
    /// How many pipelines were compiled on this device so far.
    pub fn pipelines(&self) -> usize {
        lock(&self.shared().pipelines.compiled).values().map(HashMap::len).sum()
    }

    /// The pipelines of these kernels, in their order; those that are missing are compiled, on several threads.
    ///
    /// # Errors
    /// With the first kernel that does not compile.
    pub(super) async fn compile(
        &self,
        kernels: &[Kernel],
        shaders: &Shaders,
    ) -> Result<Vec<Arc<Pipeline>>, DeviceError> {
        let pipelines = &self.shared().pipelines;
        let missing: Vec<&Kernel> = {
            let mut compiled = lock(&pipelines.compiled);
            let compiled = compiled.entry(shaders.clone()).or_default();
            kernels.iter().filter(|k| !compiled.contains_key(*k)).collect()
        };
        let cache = lock(&pipelines.cache).as_ref().map(|c| c.cache.clone());
        // Scopes of errors belong to a thread and are popped there; on native their futures are ready at once.
        #[cfg(not(target_arch = "wasm32"))]
        let made = {
            let idle = if missing.is_empty() { None } else { super::warm::Idle::new(self).await };
            let make = async |kernel| {
                let pipeline = self.pipeline(kernel, shaders, &[], cache.as_ref()).await;
                if let (Some(idle), Ok(pipeline)) = (&idle, &pipeline) {
                    idle.dispatch(self, pipeline).await;
                }
                pipeline
            };
            threads::map(missing.len(), |i| pollster::block_on(make(missing[i])))
        };
        #[cfg(target_arch = "wasm32")]
        let made = {
            let mut made = vec![];
            for kernel in &missing {
                made.push(self.pipeline(kernel, shaders, &[], cache.as_ref()).await);
            }
            made
        };
        let mut compiled = lock(&pipelines.compiled);
        let compiled = compiled.entry(shaders.clone()).or_default();
        for (kernel, pipeline) in missing.iter().zip(made) {
            let pipeline = match pipeline {
                Ok(pipeline) => Arc::new(pipeline),
                Err(error) => {
                    self.blame(kernel, shaders, &error);
                    return Err(error);
                }
            };
            compiled.entry((*kernel).clone()).or_insert(pipeline);
        }
        Ok(kernels.iter().map(|k| Arc::clone(&compiled[k])).collect())
    }

    async fn pipeline(
        &self,
        kernel: &Kernel,
        shaders: &Shaders,
        textures: &[wgpu::BindingType],
        cache: Option<&wgpu::PipelineCache>,
    ) -> Result<Pipeline, DeviceError> {
        self.pipeline_in(self.facts().dialect, kernel, shaders, textures, cache).await
    }

    async fn pipeline_in(
        &self,
        dialect: Dialect,
        kernel: &Kernel,
        shaders: &Shaders,
        textures: &[wgpu::BindingType],
        cache: Option<&wgpu::PipelineCache>,
    ) -> Result<Pipeline, DeviceError> {
        let what = format!("the kernel {} {:?}", kernel.shader, kernel.defines);
        #[cfg_attr(not(test), expect(unused_mut, reason = "only tests have drivers that are broken on purpose"))]
        let mut assembled = assemble_from(shaders, kernel, dialect)
            .map_err(|e| DeviceError::Refused { what: what.clone(), message: e.to_string() })?;
        #[cfg(test)]
        if let Some(broken) = lock(&self.shared().trust.broken).clone() {
            assembled.wgsl = broken(kernel, &assembled.wgsl);
        }
        let (pipeline, layout, textures) = self
            .guarded(what, || {
                let (group, of_buffers) = self.layouts(&assembled);
                let textures = self.textures_layout(textures);
                let of_both = textures.as_ref().map(|more| self.create_pipeline_layout(&[Some(&group), Some(more)]));
                let layout = of_both.unwrap_or(of_buffers);
                (self.create_compute_pipeline(kernel.shader, &assembled.wgsl, &layout, cache), group, textures)
            })
            .await?;
        #[cfg(not(target_arch = "wasm32"))]
        self.shared().unfinished.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let words = assembled.params.len();
        Ok(Pipeline { pipeline, layout, textures, buffers: assembled.buffers, words })
    }

    /// Plans pass over a kernel that this driver does not compile.
    fn blame(&self, kernel: &Kernel, shaders: &Shaders, error: &DeviceError) {
        if shaders.are_built_in() && matches!(error, DeviceError::Refused { .. }) {
            self.distrust_of(&[kernel], &SelfCheck::failed(kernel.shader, error.to_string()));
        }
    }

    /// A pipeline that no plan has, and nobody keeps.
    ///
    /// # Errors
    /// If it does not compile.
    pub(super) async fn own_pipeline(&self, kernel: &Kernel, dialect: Dialect) -> Result<Arc<Pipeline>, DeviceError> {
        let cache = lock(&self.shared().pipelines.cache).as_ref().map(|c| c.cache.clone());
        Ok(Arc::new(self.pipeline_in(dialect, kernel, &Shaders::default(), &[], cache.as_ref()).await?))
    }

    /// Has all kernels compiled anew: they are written in another dialect from now on.
    pub(super) fn forget_pipelines(&self) {
        lock(&self.shared().pipelines.compiled).clear();
        lock(&self.shared().pipelines.textured).clear();
    }

    /// The pipeline of a kernel that binds textures of these kinds in group 1, which its definitions tell.
    ///
    /// # Errors
    /// If it does not compile.
    pub(super) async fn textured(
        &self,
        kernel: &Kernel,
        textures: &[wgpu::BindingType],
    ) -> Result<Arc<Pipeline>, DeviceError> {
        let pipelines = &self.shared().pipelines;
        if let Some(found) = lock(&pipelines.textured).get(kernel) {
            return Ok(Arc::clone(found));
        }
        let cache = lock(&pipelines.cache).as_ref().map(|c| c.cache.clone());
        let made = Arc::new(self.pipeline(kernel, &Shaders::default(), textures, cache.as_ref()).await?);
        Ok(Arc::clone(lock(&pipelines.textured).entry(kernel.clone()).or_insert(made)))
    }

    /// The layout of a group of textures, if there are any.
    fn textures_layout(&self, textures: &[wgpu::BindingType]) -> Option<wgpu::BindGroupLayout> {
        let uniform = wgpu::BufferBindingType::Uniform;
        let entry = |(binding, &ty)| wgpu::BindGroupLayoutEntry { ty, ..entry(binding, uniform) };
        let entries: Vec<_> = (0..).zip(textures).map(entry).collect();
        (!entries.is_empty()).then(|| self.create_bind_group_layout(&entries))
    }

    fn layouts(&self, assembled: &Assembled) -> (wgpu::BindGroupLayout, wgpu::PipelineLayout) {
        let bound = assembled.buffers.iter().filter(|b| b.binding.is_some());
        let signature = (!assembled.params.is_empty(), bound.map(|b| b.access == Access::Read).collect::<Vec<_>>());
        let mut layouts = lock(&self.shared().pipelines.layouts);
        layouts
            .entry(signature)
            .or_insert_with_key(|(params, read_only)| {
                let uniform = params.then_some(entry(0, wgpu::BufferBindingType::Uniform));
                let storage = (1..)
                    .zip(read_only)
                    .map(|(binding, &read_only)| entry(binding, wgpu::BufferBindingType::Storage { read_only }));
                let entries: Vec<_> = uniform.into_iter().chain(storage).collect();
                let group = self.create_bind_group_layout(&entries);
                let layout = self.create_pipeline_layout(&[Some(&group)]);
                (group, layout)
            })
            .clone()
    }
}

const fn entry(binding: u32, ty: wgpu::BufferBindingType) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    }
}
