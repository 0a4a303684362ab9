//! The memory of a session: values, which several plans may take turns with, and states, which stay where they are.

use super::frame::Frame;
use super::{GpuSession, Source};
use crate::error::{DeviceError, RunError};
use crate::gpu::bind::Memory;
use crate::gpu::device::lock;
use crate::gpu::engine::Engine;
use crate::gpu::values::ValueBuffers;

/// What a plan needs of the memory for values.
#[derive(Debug)]
pub(in crate::gpu) struct Needs {
    /// The buffers of the schedule that hold values alone, by their indices, the largest first.
    order: Vec<usize>,
    /// Their sizes.
    sizes: Vec<u64>,
    /// The other buffers: states that stay where they are.
    pub held: Vec<(usize, wgpu::Buffer)>,
}

impl Needs {
    /// Makes the buffers of states that nobody gave.
    pub async fn new(inner: &Engine, mut held: Vec<(usize, wgpu::Buffer)>) -> Result<Self, DeviceError> {
        let all = inner.buffer_sizes()?;
        let given = |held: &[(usize, wgpu::Buffer)], i: usize| held.iter().any(|(index, _)| *index == i);
        let missing: Vec<usize> =
            inner.schedule.held.iter().map(|held| held.buffer).filter(|&i| !given(&held, i)).collect();
        if !missing.is_empty() {
            let sizes: Vec<u64> = missing.iter().map(|&i| all[i]).collect();
            let made = ValueBuffers::default().take(&inner.device, &sizes).await?.to_vec();
            held.extend(missing.into_iter().zip(made));
        }
        let mut order: Vec<usize> = (0..all.len()).filter(|&i| !given(&held, i)).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(all[i]));
        let sizes = order.iter().map(|&i| all[i]).collect();
        Ok(Self { order, sizes, held })
    }
}

impl GpuSession {
    /// The sizes of the buffers that it needs for values, the largest first.
    pub(crate) fn needs(&self) -> &[u64] {
        &self.needs.sizes
    }

    /// Whether it has memory, and can run.
    pub(crate) const fn is_bound(&self) -> bool {
        self.memory.is_some()
    }

    /// Lets go of the memory for values, and of the pictures that it reads, which each run is given. States, outputs that stay on
    /// the device and those that were read back remain.
    pub(crate) fn unbind(&mut self) {
        self.memory = None;
        for source in self.sources.values_mut().filter(|source| matches!(source, Source::Picture(_))) {
            *source = Source::Missing;
        }
    }

    /// Takes memory out of these buffers, whose other users must not run between the beginning and the end of a run.
    pub(crate) async fn bind(&mut self, values: &mut ValueBuffers) -> Result<(), DeviceError> {
        let inner = self.engine.inner();
        let taken = values.take(&inner.device, &self.needs.sizes).await?;
        let own = self.needs.order.iter().copied().zip(taken.iter().cloned());
        let mut buffers: Vec<_> = own.chain(self.needs.held.iter().cloned()).collect();
        buffers.sort_by_key(|(i, _)| *i);
        self.memory = Some(Memory::new(inner, buffers.into_iter().map(|(_, buffer)| buffer).collect()).await?);
        Ok(())
    }

    /// That it has memory.
    pub(in crate::gpu) fn check_bound(&self) -> Result<(), RunError> {
        match self.is_bound() {
            true => Ok(()),
            false => {
                Err(RunError::State("the plan's memory was let go of: run the session that it belongs to".to_owned()))
            }
        }
    }

    /// The buffers that outputs and states lie in between runs.
    pub(crate) fn kept_buffers(&self) -> impl Iterator<Item = &wgpu::Buffer> {
        let held = self.needs.held.iter().map(|(_, buffer)| buffer);
        held.chain(self.kept.values().map(crate::gpu::GpuTensor::buffer))
    }

    /// Bytes that inputs and outputs cross in, but for those of runs under way.
    pub(crate) fn crossing_bytes(&self) -> u64 {
        let of = |frame: &Frame| -> u64 {
            let stagings = frame.crossings.iter().flat_map(|c| c.upload.iter().chain(&c.download));
            stagings.map(|staging| staging.buffer.size()).sum()
        };
        of(&self.frame) + lock(&self.spare).free.iter().map(of).sum::<u64>()
    }
}
