//! Memory for values between nodes. The plans of a session take turns with it, so that it is as large as the largest of those
//! that were run of late, and not as all of them together.

use super::GpuDevice;
use crate::error::DeviceError;

/// Runs after which is looked whether all of the memory is needed still.
pub(crate) const REVIEW: usize = 16;

/// Buffers that plans take turns with.
#[derive(Debug, Default)]
pub(crate) struct ValueBuffers {
    /// The largest first, as those of a plan are counted.
    buffers: Vec<wgpu::Buffer>,
    /// What the runs since the last review needed of each.
    needed: Vec<u64>,
    runs: usize,
}

impl ValueBuffers {
    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().map(wgpu::Buffer::size).sum()
    }

    /// Whether there are buffers for these sizes, the largest first.
    pub fn fit(&self, sizes: &[u64]) -> bool {
        self.buffers.len() >= sizes.len()
            && sizes.iter().zip(&self.buffers).all(|(size, buffer)| buffer.size() >= *size)
    }

    /// The buffers for these sizes, the largest first. Those that are too small make way for larger ones.
    pub async fn take(&mut self, device: &GpuDevice, sizes: &[u64]) -> Result<&[wgpu::Buffer], DeviceError> {
        if !self.fit(sizes) {
            let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
            let mut old = std::mem::take(&mut self.buffers).into_iter();
            let buffers = device.guarded("memory for a session", || {
                let buffer = |&size: &u64| {
                    // An old one goes before a new one is made.
                    let large = old.next().filter(|old| old.size() >= size);
                    large.unwrap_or_else(|| device.create_buffer("values", size, usage, false))
                };
                let mut buffers: Vec<_> = sizes.iter().map(buffer).collect();
                buffers.extend(old);
                buffers
            });
            self.buffers = buffers.await?;
        }
        Ok(&self.buffers[..sizes.len()])
    }

    /// Notes a run that needed these sizes, the largest first.
    pub fn note(&mut self, sizes: &[u64]) {
        if self.is_due() {
            return;
        }
        for (needed, &size) in self.needed.iter_mut().zip(sizes) {
            *needed = size.max(*needed);
        }
        self.needed.extend(sizes.iter().skip(self.needed.len()));
        self.runs += 1;
        // All of it may be: it is looked at again then.
        if self.runs == REVIEW && self.spare() == 0 {
            (self.runs, self.needed) = (0, vec![]);
        }
    }

    /// Bytes that no run since the last review needed.
    fn spare(&self) -> u64 {
        let needed = self.needed.iter().copied().chain(std::iter::repeat(0));
        self.buffers
            .iter()
            .zip(needed)
            .map(|(buffer, needed)| buffer.size().saturating_sub(needed.max(16).next_multiple_of(16)))
            .sum()
    }

    /// Whether there is more than the runs of late needed.
    pub const fn is_due(&self) -> bool {
        self.runs >= REVIEW
    }

    /// Lets go of all, and gives what the runs since the last review needed.
    pub fn clear(&mut self) -> Vec<u64> {
        self.buffers.clear();
        self.runs = 0;
        std::mem::take(&mut self.needed)
    }
}
